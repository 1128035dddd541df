;;; smtpmail-report.el --- say how a delivery went  -*- lexical-binding: t -*-

;; Copyright (C) 2026 The smtpmail contributors
;; SPDX-License-Identifier: GPL-3.0-or-later

;; This program is free software: you can redistribute it and/or modify
;; it under the terms of the GNU General Public License as published by
;; the Free Software Foundation, either version 3 of the License, or
;; (at your option) any later version.

;; This program is distributed in the hope that it will be useful,
;; but WITHOUT ANY WARRANTY; without even the implied warranty of
;; MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
;; GNU General Public License for more details.

;; You should have received a copy of the GNU General Public License
;; along with this program.  If not, see <https://www.gnu.org/licenses/>.

;;; Commentary:

;; The engine reports values: a verdict, a failure with its kind, phase and
;; reply, and what became of every recipient.  Here they become sentences: what
;; failed, the server's own words, and what to do.  Words that init files and
;; other packages look for stay as they are.

;;; Code:

(require 'subr-x)
(require 'smtpmail-options)

(defconst smtpmail-report--awaited
  '((resolve . "the look-up of its address")
    (connect . "the connection")
    (proxy . "the proxy")
    (handshake . "the TLS handshake")
    (greeting . "its greeting")
    (ehlo . "its answer to EHLO")
    (starttls . "its answer to STARTTLS")
    (auth . "its answer to AUTH")
    (idle . "its answer")
    (mail . "its answer to MAIL")
    (rcpt . "its answer to RCPT")
    (data . "its answer to DATA")
    (text . "it to take the message")
    (final . "it to accept the message"))
  "What is waited for in each phase.")

(defun smtpmail-report-awaited (phase)
  "Return what is waited for in PHASE, a noun phrase."
  (alist-get phase smtpmail-report--awaited "its answer"))

(defun smtpmail-report--command (phase)
  "Return the command that a reply in PHASE answers, or nil."
  (alist-get phase '((ehlo . "EHLO") (starttls . "STARTTLS") (auth . "AUTH")
                     (mail . "MAIL FROM") (rcpt . "RCPT TO") (data . "DATA")
                     (text . "the message") (final . "the message"))))

(defun smtpmail-report-failure (failure host port)
  "Return a sentence for FAILURE, a plist, of a delivery to HOST at PORT.
It says nothing of other recipients."
  (let ((text (plist-get failure :text))
        (phase (plist-get failure :phase))
        (recipient (plist-get failure :recipient)))
    (pcase (plist-get failure :kind)
      ;; The text names the proxy.
      ((and (or 'connect 'timeout) (guard (eq phase 'proxy)))
       (format "Cannot connect to %s:%s: %s" host port text))
      ((or 'refused 'transient)
       (cond ((eq phase 'greeting) (format "Connection not allowed: %s" text))
             (recipient (format "%s in response to RCPT TO:<%s>" text recipient))
             ((smtpmail-report--command phase)
              (format "%s in response to %s" text
                      (smtpmail-report--command phase)))
             (t text)))
      ('authentication
       (cond ((plist-get failure :said) text) ; by a method of the user
             ((plist-get failure :code) (format "%s in response to AUTH" text))
             (t (format "Not logged in at %s: %s" host text))))
      ('connect (format "Cannot connect to %s:%s: %s" host port
                        ;; An address is not named twice.
                        (string-remove-prefix (format "%s:%s: " host port)
                                              text)))
      ('resolve (format "%s; check `smtpmail-smtp-server'" text))
      ('closed (if (plist-get failure :code)
                   text
                 (format "%s, while waiting for %s"
                         (if (string-prefix-p host text)
                             text
                           (format "%s: %s" host text))
                         (smtpmail-report-awaited phase))))
      ('timeout (format "%s: %s, while waiting for %s" host text
                        (smtpmail-report-awaited phase)))
      ('protocol (format "%s broke the protocol (waiting for %s): %s" host
                         (smtpmail-report-awaited phase) text))
      ('insecure
       (pcase phase
         ('starttls
          (format "Server does not support TLS: %s does not offer STARTTLS, \
and nothing goes without" host))
         (_ (format "%s; set `smtpmail-stream-type' to `plain' \
only if you want that" text))))
      (_ text))))

(defun smtpmail-report--others (recipients)
  "Return what to add about RECIPIENTS, the report's list, or nil.
Only if some got the message, or if one of several was the reason."
  (let ((sent (seq-count (lambda (r) (plist-get r :accepted)) recipients))
        (all (length recipients))
        (refused (seq-filter (lambda (r) (plist-get r :failure)) recipients)))
    (cond ((> sent 0)
           (format "%d of %d recipients got the message; not %s" sent all
                   (mapconcat (lambda (r) (plist-get r :address))
                              (seq-remove (lambda (r) (plist-get r :accepted))
                                          recipients)
                              ", ")))
          ((and refused (cdr recipients))
           (concat
            (mapconcat (lambda (r)
                         (format "<%s>: %s" (plist-get r :address)
                                 (plist-get (plist-get r :failure) :text)))
                       (cdr refused) "; ")
            (and (cdr refused) "; ")
            (pcase (- all (length refused))
              (0 "no recipient was accepted")
              (1 "the other recipient did not get the message")
              (others (format "none of the %d other recipients got the message"
                              others))))))))

(defun smtpmail-report-error (report host port)
  "Return why the message was not sent, or nil if it was.
REPORT is the plist of a finished delivery to HOST at PORT."
  (unless (eq (plist-get report :verdict) 'accepted)
    (let* ((failure (plist-get report :failure))
           (why (smtpmail-report-failure failure host port))
           (others (smtpmail-report--others (plist-get report :recipients))))
      (if (eq (plist-get report :verdict) 'unknown)
          (format "The message may have been sent all the same: %s" why)
        (string-join (delq nil (list why others)) "; ")))))

(defun smtpmail-report-success (report)
  "Return what to tell of the message that REPORT says was sent."
  (let ((others (and (seq-find (lambda (r) (plist-get r :failure))
                               (plist-get report :recipients))
                     (smtpmail-report--others
                      (plist-get report :recipients)))))
    (concat "Sent: " (plist-get report :text) (and others "; ") others)))

(provide 'smtpmail-report)

;;; smtpmail-report.el ends here
