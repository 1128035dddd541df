;;; smtpmail-auth-token.el --- OAuth tokens that a program prints  -*- lexical-binding: t -*-

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

;; An access token (RFC 6749) by `smtpmail-token-command'.  The program runs
;; without a shell, for a limited time, and what it prints is a token or an
;; error.  The token is kept nowhere: the program knows whether it still holds.

;;; Code:

(require 'format-spec)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-auth-login)
(require 'smtpmail-options)

(declare-function smtpmail-auth--mechanism-list "smtpmail-auth-source" (value))

(defconst smtpmail-auth-token--seconds 60
  "Seconds that the program has; it may ask its user something.")

(defconst smtpmail-auth-token--octets 16384
  "Octets that the program may print; tokens of large providers have 2000 to 5000.")

(defconst smtpmail-auth-token--mechanisms '(xoauth2 oauthbearer)
  "Mechanisms that take a token, the more usual one first.")

(defun smtpmail-auth-token--user ()
  "Return whose token is wanted."
  (or (seq-find #'stringp (ensure-list smtpmail-smtp-user))
      (smtpmail-services-given user-mail-address)
      (error "Whose token?  Set `smtpmail-smtp-user'")))

(defun smtpmail-auth-token--later-p ()
  "Return non-nil if the program is to run in a moment that does not disturb."
  (and smtpmail-auth-prompt-inhibited
       (let ((smtpmail-auth-prompt-inhibited nil))
         (smtpmail-auth-can-prompt-p))
       (setq smtpmail-auth-prompt-inhibited 'wanted)))

(defun smtpmail-auth-token-login (host port)
  "Return the login for HOST and PORT with a token of `smtpmail-token-command'.
Return nil if it is to be asked for later.  Signal an error if there is no
token."
  (unless (smtpmail-auth-token--later-p)
    (let ((user (smtpmail-auth-token--user)))
      (smtpmail-auth--make-login
       :host host :port port :user user :kind 'token :final t
       :secret (smtpmail-auth--veil
                (smtpmail-auth-token--run
                 (mapcar (lambda (word)
                           (format-spec word `((?u . ,user) (?h . ,host)
                                               (?p . ,(format "%s" port)))
                                        'ignore))
                         smtpmail-token-command)))
       :mechanisms (or (seq-intersection
                        (smtpmail-auth--mechanism-list smtpmail-auth-supported)
                        smtpmail-auth-token--mechanisms)
                       smtpmail-auth-token--mechanisms)
       :source (format "token of %s" (car smtpmail-token-command))))))

(defun smtpmail-auth-token--run (command)
  "Run COMMAND, a list of strings, and return the token that it prints."
  (let ((output (generate-new-buffer " *smtpmail token*"))
        (errors (generate-new-buffer " *smtpmail token errors*"))
        (process nil))
    (unwind-protect
        (progn
          (with-current-buffer output (set-buffer-multibyte nil))
          (setq process
                (condition-case why
                    (smtpmail-auth-token--start command output errors)
                  (error (error "No token: the program %s cannot be run: %s"
                                (smtpmail-visible-text (car command))
                                (error-message-string why)))))
          (smtpmail-auth-token--wait process)
          (smtpmail-auth-token--read process output errors))
      (when process (delete-process process))
      ;; No token in the memory of a dead buffer.
      (with-current-buffer output (erase-buffer))
      (kill-buffer output)
      (when-let ((pipe (get-buffer-process errors)))
        (delete-process pipe))
      (kill-buffer errors))))

(defun smtpmail-auth-token--start (command output errors)
  "Start COMMAND, a list of strings, with its buffers OUTPUT and ERRORS."
  (let* (;; That of the buffer may be on another machine, or gone.
         (default-directory (expand-file-name "~/"))
         (process (make-process
                   :name "smtpmail token" :command command :buffer output
                   :stderr (make-pipe-process
                            :name "smtpmail token errors" :buffer errors
                            :noquery t :coding 'utf-8-unix
                            :sentinel #'ignore
                            :filter #'smtpmail-auth-token--collect)
                   :connection-type 'pipe :coding 'no-conversion :noquery t
                   :sentinel #'ignore :filter #'smtpmail-auth-token--collect)))
    ;; Nobody types anything there.  It may have ended already.
    (ignore-errors (process-send-eof process))
    process))

(defun smtpmail-auth-token--collect (process octets)
  "Keep OCTETS of PROCESS unless there are too many of them."
  (when (buffer-live-p (process-buffer process))
    (with-current-buffer (process-buffer process)
      (goto-char (point-max))
      (insert (substring octets 0 (min (length octets)
                                       (- (1+ smtpmail-auth-token--octets)
                                          (buffer-size)))))
      ;; Who never stops would keep everybody else from being heard.
      (when (> (buffer-size) smtpmail-auth-token--octets)
        (set-process-filter process t)))))

(defun smtpmail-auth-token--wait (process)
  "Wait until PROCESS has ended, for its time at most, or printed too much."
  (let ((end (+ (float-time) smtpmail-auth-token--seconds))
        (told (+ (float-time) 1)))
    (while (and (process-live-p process)
                (<= (buffer-size (process-buffer process))
                    smtpmail-auth-token--octets)
                (< (float-time) end))
      (when (< told (float-time))
        (setq told end)
        (message "Waiting for a token by %s (C-g stops)"
                 (smtpmail-visible-text (car (process-command process)))))
      (accept-process-output process 0.1))
    ;; What it said at its end.
    (unless (process-live-p process)
      (while (accept-process-output process 0.05)))))

(defun smtpmail-auth-token--read (process output errors)
  "Return the token of PROCESS in the buffer OUTPUT, or signal an error.
ERRORS is the buffer of what it said beside."
  (let* ((program (smtpmail-visible-text (car (process-command process))))
         (pipe (get-buffer-process errors))
         (why (cond
               ((> (buffer-size output) smtpmail-auth-token--octets)
                "printed too much for a token")
               ((process-live-p process)
                (format "did not end within %d s" smtpmail-auth-token--seconds))
               ((not (equal 0 (process-exit-status process)))
                (format "ended with status %s" (process-exit-status process)))
               ((with-current-buffer output
                  (goto-char (point-min))
                  ;; RFC 6750 §2.1, and what others make of it: no white space.
                  (not (looking-at-p "[!-~]+[ \t\r\n]*\\'")))
                "did not print just a token"))))
    (when why
      (when pipe (accept-process-output pipe 0.2))
      (let ((said (with-current-buffer errors (string-trim (buffer-string)))))
        (error "No token: the program %s %s%s" program why
               (if (string-empty-p said) ""
                 (concat ": " (smtpmail-visible-text said))))))
    (with-current-buffer output
      (string-trim (buffer-string)))))

(provide 'smtpmail-auth-token)

;;; smtpmail-auth-token.el ends here
