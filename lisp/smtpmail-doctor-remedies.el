;;; smtpmail-doctor-remedies.el --- collect findings, try what may cure  -*- lexical-binding: t -*-

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

;; The findings while they are collected, and what those of several files need.
;; Where a cure is a guess, the guess is tried before it is told.

;;; Code:

(require 'seq)
(require 'subr-x)
(require 'smtpmail-doctor-probe)

(defconst smtpmail-doctor-findings--guess-patience 5
  "Seconds for each connection of a guess.")

(defvar smtpmail-doctor-findings--ports
  '((587 . opportunistic) (465 . implicit) (25 . opportunistic))
  "Ports where a server is looked for, and how it begins there.")

(defvar smtpmail-doctor-findings--all nil
  "The findings so far, the last one first.")

(defun smtpmail-doctor-findings--add (level what text &optional remedy)
  "Add a finding: LEVEL is ok, warning or failure; WHAT is it about.
TEXT is what was found, REMEDY the sentence that cures it."
  (push (list level what text remedy) smtpmail-doctor-findings--all))

(defun smtpmail-doctor-findings--failed-p (&rest topics)
  "Return non-nil if a failure about one of TOPICS, or any, was found."
  (seq-some (lambda (finding)
              (and (eq (car finding) 'failure)
                   (or (null topics) (member (nth 1 finding) topics))))
            smtpmail-doctor-findings--all))

(defun smtpmail-doctor-findings--text (reply)
  "Return REPLY, lines with codes, as one line."
  (concat (substring (car reply) 0 (min 3 (length (car reply)))) " "
          (mapconcat (lambda (line) (substring line (min 4 (length line))))
                     reply " / ")))

(defun smtpmail-doctor-findings--offers-p (facts keyword)
  "Return the arguments of KEYWORD, in a list, if the last EHLO in FACTS has it."
  (let ((reply (car (last (smtpmail-doctor-probe-replies facts "EHLO ")))))
    (and reply
         (string-prefix-p "250" (car reply))
         (assoc keyword (smtpmail-doctor-probe-keywords reply)))))

(defun smtpmail-doctor-findings--sentence (text)
  "Return TEXT with a capital letter."
  (concat (upcase (substring text 0 1)) (substring text 1)))

;;;; Guesses

(defun smtpmail-doctor-findings--guess (facts port security)
  "Return what is seen at PORT of the server of FACTS with SECURITY, or nil.
It is nil unless a server greets there, or shows a certificate."
  (let* (;; Whoever asked for the port is not asked about another one.
         (smtpmail-doctor-probe-ask nil)
         (seen (smtpmail-doctor-probe
                (append (list :port port :security security
                             :login-required nil :sender nil
                             :connect-timeout
                             smtpmail-doctor-findings--guess-patience
                             :timeout smtpmail-doctor-findings--guess-patience)
                       (smtpmail-doctor-facts-request facts)))))
    (and (or (smtpmail-doctor-facts-certificate seen)
             (string-prefix-p "220" (or (car (smtpmail-doctor-probe-greeting seen))
                                        "")))
         seen)))

(defun smtpmail-doctor-findings--set (security)
  "Return how to set the variable so that SECURITY, of the engine, is used."
  (format "set `smtpmail-stream-type' to `%s'"
          (pcase security
            ('implicit 'ssl)
            ('never 'plain)
            (_ 'starttls))))

(defun smtpmail-doctor-findings--elsewhere (facts)
  "Return a sentence about ports where the server of FACTS can be met, or nil."
  (when-let ((found (seq-find
                     (pcase-lambda (`(,port . ,security))
                       (and (not (eql port (smtpmail-doctor-probe-get facts :port)))
                            (smtpmail-doctor-findings--guess facts port security)))
                     smtpmail-doctor-findings--ports)))
    (format "A mail server answers at port %d: set `smtpmail-smtp-service' to %d, \
and %s" (car found) (car found)
            (smtpmail-doctor-findings--set (cdr found)))))

(provide 'smtpmail-doctor-remedies)

;;; smtpmail-doctor-remedies.el ends here
