;;; smtpmail-own-methods-tests.el --- Mechanisms that users define  -*- lexical-binding: t -*-

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

;; A method of `smtpmail-try-auth-method' that a user writes speaks on the
;; engine's connection, through the stock functions.

;;; Code:

(require 'smtpmail-test)

(defvar smtpmail-own-methods-tests--heard nil
  "Replies that the method below got.")

(cl-defmethod smtpmail-try-auth-method (process (_mech (eql x-own)) user password)
  "Log USER in over PROCESS with PASSWORD by PLAIN, in two steps."
  (push (smtpmail-command-or-throw process "AUTH PLAIN" 334)
        smtpmail-own-methods-tests--heard)
  (smtpmail-send-command
   process (base64-encode-string (concat "\0" user "\0" password) t))
  (let ((reply (smtpmail-read-response process)))
    (push reply smtpmail-own-methods-tests--heard)
    (unless (smtpmail-ok-p reply 235)
      (throw 'done (smtpmail-response-text reply)))))

(defmacro smtpmail-own-methods-tests--with (server password options &rest body)
  "Run BODY with SERVER, started with OPTIONS, and PASSWORD for alice."
  (declare (indent 3))
  `(smtpmail-test-with-server (,server "--user" "alice" "--password" "sesame"
                                       "--require-auth" ,options)
     (let ((smtpmail-auth-supported '(x-own))
           (smtpmail-own-methods-tests--heard nil)
           (smtpmail-auth-credentials
            (list (list smtpmail-smtp-server smtpmail-smtp-service
                        "alice" ,password))))
       ,@body)))

(ert-deftest smtpmail-own-methods-log-in ()
  "The method's lines make a login; it hears whole replies."
  (smtpmail-own-methods-tests--with server "sesame"
      '("--caps-tls" "PIPELINING,AUTH PLAIN X-OWN")
    (should-not (smtpmail-test-send))
    (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))
    (should (equal (mapcar #'car smtpmail-own-methods-tests--heard) '(235 334)))
    (should (string-prefix-p "334" (cadr (cadr smtpmail-own-methods-tests--heard))))))

(ert-deftest smtpmail-own-methods-fail-by-throwing ()
  "What a method throws is why the message was not sent."
  (smtpmail-own-methods-tests--with server "wrong"
      '("--caps-tls" "PIPELINING,AUTH PLAIN X-OWN")
    (should (string-match-p "\\`Sending failed: 535 " (smtpmail-test-send)))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-own-methods-hear-that-the-server-left ()
  "A connection that is gone is a reply without code."
  (smtpmail-own-methods-tests--with server "sesame"
      '("--caps-tls" "PIPELINING,AUTH PLAIN X-OWN" "--on" "auth-response=close")
    (should (string-prefix-p "Sending failed" (smtpmail-test-send)))
    (should (equal (car smtpmail-own-methods-tests--heard) '(nil)))))

(ert-deftest smtpmail-own-methods-do-not-speak-in-clear ()
  "In batch, nothing is said that might hold the password, unless allowed."
  (dolist (allowed '(nil t))
    (smtpmail-test-with-server (server "--user" "alice" "--password" "sesame"
                                       "--caps" "AUTH PLAIN X-OWN")
      ;; Not a name of this machine.
      (let* ((smtpmail-smtp-server "0.0.0.0")
             (smtpmail-stream-type (and allowed 'plain))
             (smtpmail-auth-supported '(x-own))
             (smtpmail-auth-credentials
              (list (list "0.0.0.0" smtpmail-smtp-service "alice" "sesame")))
             (failure (smtpmail-test-send)))
        (if allowed
            (should-not failure)
          (should (string-match-p "not encrypted" failure))
          (should-not (string-search "AUTH PLAIN\n" (smtpmail-test-log server))))))))

(ert-deftest smtpmail-own-methods-leave-no-secret-in-the-trace ()
  "The trace of a failed login omits what the method said."
  (smtpmail-own-methods-tests--with server smtpmail-test-canary
      '("--caps-tls" "PIPELINING,AUTH PLAIN X-OWN")
    (let ((failure (smtpmail-test-send)))
      (smtpmail-test-should-hide-canary
       failure
       (with-current-buffer (smtpmail-session-trace-name smtpmail-smtp-server)
         (buffer-string))))))

(provide 'smtpmail-own-methods-tests)

;;; smtpmail-own-methods-tests.el ends here
