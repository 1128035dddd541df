;;; smtpmail-auth-login.el --- What smtpmail logs in with  -*- lexical-binding: t -*-

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

;; A login as a value, the questions for its parts, and what was typed in this
;; session.  Where else logins come from, is not known here.
;;
;; What may not live here: any memory of a password in a place that gets
;; printed.  Variables named smtpmail-* are copied to other Emacsen by
;; asynchronous mailers, and logins end in backtraces: so secrets are kept
;; behind uninterned symbols, which print as their name.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-auth)
(require 'smtpmail-methods)
(require 'smtpmail-services)

(declare-function smtpmail-module--forget-keys "ext:exports.rs" ())

;;;; Logins

(cl-defstruct (smtpmail-auth-login
               (:constructor smtpmail-auth--make-login)
               (:copier smtpmail-auth--copy-login)
               ;; Half of what loading this file takes would be for inlining.
               (:noinline t))
  "What to authenticate with.  It prints without any secret."
  (host nil :documentation "Server name, as it was looked up.")
  (port nil :documentation "Port, as it was looked up.")
  (line-host nil :documentation "What its line calls the server, if another name.")
  (user nil :documentation "User name, a string.")
  (secret nil :documentation "Function without arguments: the password.")
  (mechanisms nil :documentation "Symbols from `:smtp-auth', or nil: any.")
  (final nil :documentation "Non-nil: without this login, mail may not go.")
  (source nil :documentation "Where it comes from, for messages.")
  (save-function nil :documentation "Function that stores it, or nil.")
  (asked nil :documentation "Non-nil if the user was asked for a part of it.")
  (renewed nil :documentation "Non-nil: the secret was looked up once more.")
  (kind 'password :documentation "What the secret is."))

(defun smtpmail-auth--veil (value)
  "Return a function without arguments for VALUE, and hide VALUE.
The function is an uninterned symbol, of which only the name prints."
  (let ((veil (make-symbol "hidden")))
    (fset veil (lambda () value))
    veil))

(defun smtpmail-auth--veil-function (function)
  "Return FUNCTION, whose environment may hold secrets, hidden; nil for nil."
  (when function
    (let ((veil (make-symbol "hidden")))
      (fset veil function)
      veil)))

(defun smtpmail-auth-secret-bytes (login)
  "Return the password of LOGIN in UTF-8, a new unibyte string.
The caller overwrites it with `clear-string' after use."
  (smtpmail-auth-unibyte (funcall (smtpmail-auth-login-secret login))))

(defun smtpmail-auth-unibyte (secret)
  "Return SECRET, a string, in UTF-8, a new unibyte string."
  (if (multibyte-string-p secret)
      (let ((bytes (encode-coding-string secret 'utf-8-unix)))
        ;; Pure ASCII may come back as the very string of the caller.
        (if (eq bytes secret) (copy-sequence bytes) bytes))
    (copy-sequence secret)))

;;;; Questions

(defun smtpmail-auth--ask-user (host)
  "Ask for the user name at HOST; return nil if there is no answer."
  (smtpmail-services-given
   (string-trim (read-string (format "SMTP user name for %s: "
                                     (smtpmail-visible-text host))))))

(defun smtpmail-auth--ask-secret (prompt)
  "Ask for a password with PROMPT; return it hidden, nil for no answer."
  (let ((secret (smtpmail-services-given (read-passwd prompt))))
    (and secret (smtpmail-auth--veil secret))))

;;;; What was typed in this session

;; Kept as a symbol property, not in a variable (see Commentary), as
;; ((KIND HOST PORT NAME) . HIDDEN); KIND is `user' or `secret'.

(defun smtpmail-auth--typed-key (kind host port name)
  "Return the key under which the KIND typed for NAME at HOST:PORT is kept."
  (list kind (smtpmail-services-ascii-downcase host) (smtpmail-services-port port)
        name))

(defun smtpmail-auth--typed (kind host port name)
  "Return the hidden KIND that was typed for NAME at HOST and PORT, or nil."
  (cdr (assoc (smtpmail-auth--typed-key kind host port name)
              (get 'smtpmail-auth-forget 'smtpmail-auth--typed))))

(defun smtpmail-auth--remember (kind host port name hidden)
  "Keep HIDDEN, the KIND typed for NAME at HOST and PORT; nil forgets it."
  (let* ((key (smtpmail-auth--typed-key kind host port name))
         (others (seq-remove
                  (lambda (cell) (equal key (car cell)))
                  (get 'smtpmail-auth-forget 'smtpmail-auth--typed))))
    (put 'smtpmail-auth-forget 'smtpmail-auth--typed
         (if hidden (cons (cons key hidden) others) others))
    hidden))

(defun smtpmail-auth-forget ()
  "Forget the SMTP user names and passwords typed in this session.
The keys of client certificates that were unlocked are locked again."
  (interactive)
  (when (fboundp 'smtpmail-module--forget-keys)
    (smtpmail-module--forget-keys))
  (put 'smtpmail-auth-forget 'smtpmail-auth--typed nil)
  (when (called-interactively-p 'interactive)
    (message "SMTP passwords typed in this session are forgotten")))

(defun smtpmail-auth-login-unload-function ()
  "Forget what was typed, which nothing could forget any more."
  (ignore (smtpmail-auth-forget)))

(provide 'smtpmail-auth-login)

;;; smtpmail-auth-login.el ends here
