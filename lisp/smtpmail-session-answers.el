;;; smtpmail-session-answers.el --- answer what a delivery asks  -*- lexical-binding: t -*-

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

;; The engine asks for a login, whether a password may travel in clear, what is
;; to become of a message some of whose recipients were refused, and whom to
;; trust.  The answers come from the settings, from auth-source, or from the
;; user, if there is one.

;;; Code:

(require 'seq)
(require 'smtpmail-auth)
(require 'smtpmail-auth-login)
(require 'smtpmail-auth-lookup)
(require 'smtpmail-methods)
(require 'smtpmail-proxy)
(require 'smtpmail-redefined)
(require 'smtpmail-session)

(declare-function smtpmail-module--login "ext:exports.rs" (delivery id login))
(declare-function smtpmail-module--answer "ext:exports.rs" (delivery id yes))

;; That file needs this one.
(autoload 'smtpmail-speak-log-in-by-method "smtpmail-speak")
(autoload 'smtpmail-speak-log-in-by-function "smtpmail-speak")
;; Only who is asked needs it.
(autoload 'smtpmail-trust-answer "smtpmail-trust")

(defun smtpmail-session--answer (session question)
  "Answer QUESTION, a plist, of SESSION."
  ;; The clock on the screen stands still while the user thinks.
  (setf (smtpmail-session-since session) nil)
  (let ((id (plist-get question :id))
        (delivery (smtpmail-session-delivery session)))
    (pcase (plist-get question :kind)
      ('credentials
       (when (plist-get question :protected)
         (setf (smtpmail-session-clear-login session) t))
       (if (smtpmail-redefined-p 'smtpmail-try-auth-methods)
           (smtpmail-speak-log-in-by-function session question)
         (smtpmail-session--answer-login
          session id (smtpmail-session--find-login session question)
          (plist-get question :offered))))
      ('clear-login
       (smtpmail-module--answer
        delivery id (smtpmail-session--clear-login-p session)))
      ('refused-recipients
       (smtpmail-module--answer
        delivery id (smtpmail-session--send-rest-p question)))
      ('proxy-login (smtpmail-proxy-answer delivery question))
      (_ (smtpmail-trust-answer delivery question
                                (smtpmail-session-host session)
                                (smtpmail-session-port session)
                                (smtpmail-session-service session))))))

(defun smtpmail-session--clear-login-p (session)
  "Ask whether the password of SESSION may travel in clear."
  (and (smtpmail-auth-can-prompt-p)
       (yes-or-no-p
        (format "The connection to %s is not encrypted, and your \
password would travel in clear.  Send it? "
                (smtpmail-session-host session)))))

(defun smtpmail-session--find-login (session question)
  "Return the login that QUESTION of SESSION asks for, or nil."
  (let ((host (smtpmail-session-host session))
        (service (smtpmail-session-service session))
        (login (smtpmail-session-login session))
        (refused (plist-get question :refused)))
    (setf (smtpmail-session-login session)
          (if refused
              (and login
                   (progn
                     (smtpmail-auth-refused login host service)
                     (or (smtpmail-auth-renewed login host service)
                         (smtpmail-auth-ask-again login host service
                                                  (plist-get refused :text)))))
            (smtpmail-auth-lookup
             host service
             (or (smtpmail-session-ask session)
                 (and (plist-get question :demanded)
                      (smtpmail-auth-can-prompt-p)))
             login)))))

(defun smtpmail-session--answer-login (session id login offered)
  "Answer question ID of SESSION with LOGIN, or with nothing if nil.
OFFERED are the server's mechanisms, strings.  If the user has defined a
method for the first mechanism, that speaks."
  (let* ((mechanisms (and login (smtpmail-auth-mechanisms login offered)))
         (first (car mechanisms))
         (secret (and login (smtpmail-auth-secret-bytes login))))
    (setf (smtpmail-session-question session) id)
    (unwind-protect
        (if (and first (smtpmail-auth-user-method-p first))
            (smtpmail-speak-log-in-by-method session login first secret)
          (smtpmail-module--login
           (smtpmail-session-delivery session) id
           (and login
                (list :user (smtpmail-auth-login-user login)
                      :secret secret
                      :mechanisms (mapcar #'symbol-name mechanisms)
                      :required (smtpmail-auth-login-final login)))))
      (when secret (clear-string secret)))))

(defun smtpmail-session--send-rest-p (question)
  "Ask whether those not refused in QUESTION shall get the message."
  (let* ((recipients (plist-get question :recipients))
         (refused (seq-filter (lambda (r) (plist-get r :failure)) recipients)))
    (and (smtpmail-auth-can-prompt-p)
         (y-or-n-p
          (format "%s%s.  Send to the other %d? "
                  (if smtpmail-session--about
                      (concat smtpmail-session--about ": ")
                    "")
                  (mapconcat (lambda (r)
                               (format "<%s> refused: %s" (plist-get r :address)
                                       (plist-get (plist-get r :failure) :text)))
                             refused "; ")
                  (- (length recipients) (length refused)))))))

(defun smtpmail-session--keep-login (session)
  "Let auth-source keep the login of SESSION, which the server accepted.
An error or a quit there must not look like a failed send."
  (condition-case problem
      (with-local-quit
        (smtpmail-auth-accepted (smtpmail-session-login session)))
    (error (message "The login could not be saved: %s"
                    (error-message-string problem)))))

(provide 'smtpmail-session-answers)

;;; smtpmail-session-answers.el ends here
