;;; smtpmail-speak.el --- logins that users wrote, over a delivery  -*- lexical-binding: t -*-

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

;; A method of `smtpmail-try-auth-method', or another `smtpmail-try-auth-methods',
;; logs in from Lisp while the delivery waits at its question for credentials:
;; each line goes to the engine, which says it and brings the reply.
;;
;; PROCESS is the pipe process of the delivery.  It is live, and its buffer is
;; the trace, but it is no connection: `smtpmail-send-command' speaks, and
;; `process-send-string' does not.
;;
;; RFC 4954 (SMTP AUTH).

;;; Code:

(require 'smtpmail-auth)
(require 'smtpmail-methods)
(require 'smtpmail-services)
(require 'smtpmail-session)
(require 'smtpmail-stock)

(declare-function smtpmail-auth-login-user "smtpmail-auth-login" (login) t)
(declare-function smtpmail-module--events "ext:exports.rs" (delivery))
(declare-function smtpmail-module--login "ext:exports.rs" (delivery id login))
(declare-function smtpmail-module--say "ext:exports.rs" (delivery id line))
(declare-function smtpmail-module--logged-in "ext:exports.rs" (delivery id))

;;;; Logins

(defun smtpmail-speak-log-in-by-method (session login mechanism secret)
  "Let the user's method for MECHANISM log SESSION in with LOGIN.
SECRET is the password, a unibyte string in UTF-8."
  (let ((failure
         (smtpmail-speak--call
          session
          (lambda (process)
            (smtpmail-try-auth-method
             process mechanism (smtpmail-auth-login-user login)
             (decode-coding-string secret 'utf-8 t))))))
    (if (not failure)
        (smtpmail-module--logged-in (smtpmail-session-delivery session)
                                    (smtpmail-session-question session))
      (smtpmail-auth-refused login (smtpmail-session-host session)
                             (smtpmail-session-service session))
      (smtpmail-speak--fail-login session failure))))

(defun smtpmail-speak-log-in-by-function (session question)
  "Let the user's `smtpmail-try-auth-methods' answer QUESTION of SESSION.
If it brings about no login, there is none."
  (let ((delivery (smtpmail-session-delivery session))
        (id (plist-get question :id)))
    (setf (smtpmail-session-question session) id
          (smtpmail-session-authenticated session) nil)
    (let ((failure
           (smtpmail-speak--call
            session
            (lambda (process)
              (smtpmail-try-auth-methods
               process
               ;; No symbol is made of a word of the server.
               (list (cons 'auth
                           (delq nil (mapcar
                                      (lambda (name)
                                        (intern-soft
                                         (smtpmail-services-ascii-downcase name)))
                                      (plist-get question :offered)))))
               (smtpmail-session-host session)
               (smtpmail-session-service session)
               (and (or (smtpmail-session-ask session)
                        (plist-get question :demanded))
                    (smtpmail-auth-can-prompt-p)))))))
      (cond (failure (smtpmail-speak--fail-login session failure))
            ((smtpmail-session-authenticated session)
             (smtpmail-module--logged-in delivery id))
            (t (smtpmail-module--login delivery id nil))))))

(defun smtpmail-speak--fail-login (session failure)
  "End SESSION: its login failed, and FAILURE says why."
  (setf (smtpmail-session-over session) 'ended
        (smtpmail-session-report session)
        (list :verdict 'failed
              :failure (list :kind 'authentication :phase 'auth
                             :said t :text (format "%s" failure)))))

(defun smtpmail-speak--call (session function)
  "Call FUNCTION with the process of SESSION, over which it may speak.
Return nil, or what it threw to `done': why it failed."
  (let ((process (smtpmail-session-process session)))
    (process-put process 'smtpmail-session session)
    (setf (smtpmail-session-line-due session) nil)
    (catch 'done
      (with-current-buffer (process-buffer process)
        (funcall function process))
      nil)))

(defun smtpmail-speak--session (process)
  "Return the session that may speak over PROCESS, or nil if that is no delivery's."
  (or (process-get process 'smtpmail-session)
      (and (eq (process-type process) 'pipe)
           (error "No SMTP session waits for a command on %s" process))))

(defun smtpmail-speak--check-clear (session)
  "Throw to `done' if what SESSION says now would travel in clear, and may not.
What a method says, nobody knows before."
  (unless (smtpmail-session-clear-login session)
    (if (smtpmail-session--clear-login-p session)
        (setf (smtpmail-session-clear-login session) t)
      (throw 'done "The connection is not encrypted, \
and the password would travel in clear"))))

;;;; What such logins call

(defun smtpmail-send-command (process command)
  "Send COMMAND, a string without its line end, over PROCESS.
PROCESS is what a method of `smtpmail-try-auth-method' is called with, on
which `process-send-string' does not work; or else a connection that was
opened in Lisp, and the current buffer its trace."
  (let ((session (smtpmail-speak--session process)))
    (if (not session)
        (smtpmail-stock-send-command process command)
      (smtpmail-speak--check-clear session)
      (setf (smtpmail-session-heard session) nil)
      (unless (smtpmail-module--say
               (smtpmail-session-delivery session)
               (smtpmail-session-question session)
               (encode-coding-string command 'utf-8-unix))
        (error "A command with a line break or another control character, or far too long"))
      (setf (smtpmail-session-line-due session) t))))

(defun smtpmail-read-response (process)
  "Return the reply to the command sent last over PROCESS.
It is a list (CODE LINE...): CODE an integer, nil if the connection is
gone; each LINE a string that begins with the code."
  (let ((session (smtpmail-speak--session process)))
    (if session
        (smtpmail-speak--read-response session)
      (smtpmail-stock-read-response process))))

(defun smtpmail-speak--read-response (session)
  "Return the reply to the line that SESSION said last, (CODE LINE...)."
  (unless (smtpmail-session-line-due session)
    ;; Nothing would ever come.
    (error "No command was sent by `smtpmail-send-command'; \
what `process-send-string' sends does not reach the server"))
  (while (not (or (smtpmail-session-heard session)
                  (smtpmail-session-report session)))
    (mapc (lambda (event) (smtpmail-session--dispatch session event))
          (smtpmail-module--events (smtpmail-session-delivery session)))
    (unless (smtpmail-session-heard session)
      (smtpmail-session--tell session)
      (accept-process-output (smtpmail-session-process session) 0.5)))
  (let* ((reply (cdr (smtpmail-session-heard session)))
         (code (plist-get reply :code)))
    (setf (smtpmail-session-line-due session) nil
          ;; RFC 4954 §4: no other reply is a success.
          (smtpmail-session-authenticated session) (eql code 235))
    (cons code (plist-get reply :lines))))

(provide 'smtpmail-speak)

;;; smtpmail-speak.el ends here
