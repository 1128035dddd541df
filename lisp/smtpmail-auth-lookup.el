;;; smtpmail-auth-lookup.el --- the login for a session  -*- lexical-binding: t; -*-

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

;; Where user name, password and mechanisms for a server come from when it
;; asks for a login: the two variables of the 2007 manual, a program that
;; prints a token (smtpmail-auth-token.el), auth-source
;; (smtpmail-auth-source.el), what the user typed before in this session, or a
;; question (smtpmail-auth-login.el).  And what becomes of a login when the
;; server has accepted or refused it.
;;
;; What may not live here: the exchange with the server, in Lisp
;; (smtpmail-methods.el) or natively.

;;; Code:

(require 'auth-source)
(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-auth)
(require 'smtpmail-auth-login)
(require 'smtpmail-methods)
(require 'smtpmail-services)

(autoload 'smtpmail-auth--from-auth-source "smtpmail-auth-source")
(autoload 'smtpmail-auth--mechanism-list "smtpmail-auth-source")
(autoload 'smtpmail-auth-token-login "smtpmail-auth-token")

(defvar smtpmail-auth-supported)
(defvar smtpmail-servers-requiring-authorization)
(defvar smtpmail-token-command)

(defun smtpmail-auth--from-credentials (host port)
  "Return the login for HOST and PORT of `smtpmail-auth-credentials', or nil.
What the entry leaves out is asked for, once in a session."
  (pcase-let ((`(,user ,password ,source)
               (smtpmail-auth--credentials-entry host port))
              (asked nil))
    (when source
      (cl-flet ((ask (what question)
                  (unless (smtpmail-auth-can-prompt-p)
                    (error "The %s has no %s, and nobody can be asked"
                           source what))
                  (setq asked t)
                  (or (funcall question)
                      (error "No %s given for the %s" what source))))
        (unless user
          (setq user
                (funcall
                 (or (smtpmail-auth--typed 'user host port nil)
                     (smtpmail-auth--remember
                      'user host port nil
                      (smtpmail-auth--veil
                       (ask "user name" (lambda ()
                                          (smtpmail-auth--ask-user host)))))))))
        (smtpmail-auth--make-login
         :host host :port port :user user :source source :final t
         :secret
         (or (smtpmail-auth--typed 'secret host port user)
             (and password (smtpmail-auth--veil password))
             (smtpmail-auth--remember
              'secret host port user
              (ask "password"
                   (lambda ()
                     (smtpmail-auth--ask-secret
                      (format "SMTP password for %s:%s: "
                              (smtpmail-visible-text host)
                              (smtpmail-services-port-key port)))))))
         :asked asked)))))

(defun smtpmail-auth--by-certificate (host port)
  "Return a login without password for HOST and PORT, or nil.
It is there if we have a certificate to present: that says who we are."
  (when (smtpmail-auth-client-certificate host port)
    (smtpmail-auth--make-login
     :host host :port port :user "" :secret (smtpmail-auth--veil "")
     :mechanisms '(external) :source "client certificate")))

;;;; The questions of a session

(defun smtpmail-auth-lookup (host port ask &optional previous)
  "Return the `smtpmail-auth-login' for HOST and PORT, or nil for none.
HOST is a string; PORT is an integer, a string, or nil for smtp.

An entry of `smtpmail-auth-credentials' comes first, then a token by
`smtpmail-token-command'.  Then auth-source is searched; if ASK, or if
`smtpmail-servers-requiring-authorization' matches HOST, the user is asked
for what it lacks, if somebody is there.

PREVIOUS is the login already used for this message, or nil.  If it is one
for HOST and PORT, it is the result: the user answers a question once.

Signal an error if an entry of `smtpmail-auth-credentials' matches but is
incomplete and the user cannot be asked or gives no answer, or if the
program prints no token."
  (if (and previous
           (equal host (smtpmail-auth-login-host previous))
           (equal (smtpmail-services-port port)
                  (smtpmail-services-port (smtpmail-auth-login-port previous))))
      previous
    (or (smtpmail-auth--from-credentials host port)
        (and smtpmail-token-command (smtpmail-auth-token-login host port))
        (and (memq 'external
                   (smtpmail-auth--mechanism-list smtpmail-auth-supported))
             (or (smtpmail-auth--from-auth-source host port nil)
                 (smtpmail-auth--by-certificate host port)))
        (smtpmail-auth--from-auth-source
         host port
         (and (or ask
                  (and smtpmail-servers-requiring-authorization
                       (string-match-p smtpmail-servers-requiring-authorization
                                       host)))
              (smtpmail-auth-can-prompt-p))))))

(defun smtpmail-auth-accepted (login)
  "Note that the server accepted LOGIN: store it, if the user was asked.
Whether, is up to `auth-source-save-behavior'.  Nothing is stored twice."
  (let ((save (smtpmail-auth-login-save-function login)))
    (when (and save (smtpmail-auth-login-asked login))
      (setf (smtpmail-auth-login-save-function login) nil)
      (let* ((done (or (get 'smtpmail-auth-accepted 'smtpmail-auth--saved)
                       (put 'smtpmail-auth-accepted 'smtpmail-auth--saved
                            (make-hash-table :test #'eq :weakness 'key))))
             (function (symbol-function save)))
        ;; auth-source hands out what was typed until it expires, each time
        ;; with the function that would ask and store once more.
        (unless (gethash function done)
          (puthash function t done)
          (funcall function))))))

(defun smtpmail-auth-refused (login host port)
  "Note that the server at HOST and PORT refused LOGIN: forget its password."
  (dolist (key (cons (smtpmail-services-port-key port)
                     (smtpmail-services-other-port-keys port)))
    (auth-source-forget+ :host host :port key)
    (when (and login (smtpmail-auth-login-line-host login))
      (auth-source-forget+ :host (smtpmail-auth-login-line-host login) :port key)))
  (when login
    (smtpmail-auth--remember 'user host port nil nil)
    (smtpmail-auth--remember 'secret host port (smtpmail-auth-login-user login)
                             nil)))

(defun smtpmail-auth-renewed (login host port)
  "Return LOGIN for HOST and PORT with the secret that it would have now.
Return nil if that is the one that was refused, if it was renewed before,
or if it was typed.  So a token that expired is got anew, once."
  (when-let ((found (and (not (smtpmail-auth-login-renewed login))
                         (smtpmail-auth--found-anew login host port))))
    (when (and (equal (smtpmail-auth-login-user found)
                      (smtpmail-auth-login-user login))
               (not (equal (funcall (smtpmail-auth-login-secret found))
                           (funcall (smtpmail-auth-login-secret login)))))
      (setf (smtpmail-auth-login-renewed found) t)
      found)))

(defun smtpmail-auth--found-anew (login host port)
  "Return what is in the place of LOGIN for HOST and PORT now, or nil."
  (cond
   ((eq (smtpmail-auth-login-kind login) 'token)
    (smtpmail-auth-token-login host port))
   ((not (or (smtpmail-auth-login-asked login)
             (smtpmail-auth-login-final login)
             (equal (smtpmail-auth-login-source login) "typed")))
    (let ((inhibit-message t))
      (smtpmail-auth--from-auth-source host port nil)))))

(defun smtpmail-auth-ask-again (login host port reply-text)
  "Ask for another password for LOGIN at HOST and PORT; return the new login.
REPLY-TEXT is the refusal in the words of the server.  The value is nil if
nobody can be asked or the answer is empty.  The answer is remembered for
the session, and goes before what auth-source has stored.  Nobody can type
a token."
  (when (and (not (eq (smtpmail-auth-login-kind login) 'token))
             (smtpmail-auth-can-prompt-p))
    (let* ((user (smtpmail-auth-login-user login))
           (secret (smtpmail-auth--ask-secret
                    (format "%s@%s: %s; password again: "
                            (smtpmail-visible-text user)
                            (smtpmail-visible-text host)
                            (smtpmail-visible-text reply-text)))))
      (when secret
        (smtpmail-auth--remember 'secret host port user secret)
        (let ((again (smtpmail-auth--copy-login login)))
          (setf (smtpmail-auth-login-secret again) secret
                (smtpmail-auth-login-save-function again) nil
                (smtpmail-auth-login-source again) "typed"
                (smtpmail-auth-login-asked again) t)
          again)))))

;;;; Mechanisms

(defun smtpmail-auth-mechanisms (login offered)
  "Return the mechanisms to try for LOGIN, symbols, the preferred one first.
They are those of `:smtp-auth' or else `smtpmail-auth-supported' that are
OFFERED by the server, a list of symbols or strings in any case.  LOGIN may
be nil."
  (let ((names (mapcar (lambda (name)
                         (smtpmail-services-ascii-downcase (format "%s" name)))
                       offered)))
    ;; No symbol is made of a word of the server.
    (seq-filter
     (lambda (mechanism) (member (symbol-name mechanism) names))
     (seq-uniq
      (mapcan #'smtpmail-auth--with-binding
              (smtpmail-auth--mechanism-list
               (or (and login (smtpmail-auth-login-mechanisms login))
                   smtpmail-auth-supported)))))))

(defun smtpmail-auth--with-binding (mechanism)
  "Return a list of MECHANISM, behind its form with channel binding if any."
  (pcase mechanism
    ('scram-sha-256 (list 'scram-sha-256-plus mechanism))
    ('scram-sha-1 (list 'scram-sha-1-plus mechanism))
    (_ (list mechanism))))

(defun smtpmail-auth--blames-mechanism-p (refusal)
  "Return non-nil if REFUSAL is about the mechanism, not about the password.
RFC 4954 §4, §6: 504, 534, 538, and 5.5.4."
  (string-match-p "\\`\\(?:504\\|53[48]\\|[0-9]\\{3\\}[ -]5\\.5\\.4\\)"
                  refusal))

(provide 'smtpmail-auth-lookup)

;;; smtpmail-auth-lookup.el ends here
