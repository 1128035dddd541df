;;; smtpmail-auth.el --- User names and passwords for smtpmail  -*- lexical-binding: t -*-

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

;; Where user name, password, mechanisms and client certificate of a
;; server come from: the two variables of the 2007 manual, auth-source
;; (smtpmail-auth-source.el), what the user typed before in this session, or a
;; question (smtpmail-auth-login.el).  And what the settings say of how the
;; server has to show who it is; questions about that are smtpmail-trust.el.
;;
;; What may not live here: the exchange with the server, in Lisp
;; (smtpmail-methods.el) or natively.

;;; Code:

(require 'auth-source)
(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-accounts)
(require 'smtpmail-auth-login)
(require 'smtpmail-methods)
(require 'smtpmail-redefined)
(require 'smtpmail-services)

;; Only who sends needs these.
(autoload 'smtpmail-auth--from-auth-source "smtpmail-auth-source")
(autoload 'smtpmail-auth--mechanism-list "smtpmail-auth-source")
(autoload 'smtpmail-auth--search "smtpmail-auth-source")
(autoload 'smtpmail-auth-token-login "smtpmail-auth-token")

(defvar smtpmail-auth-credentials)
(defvar smtpmail-auth-supported)
(defvar smtpmail-servers-requiring-authorization)
(defvar smtpmail-smtp-user)
(defvar smtpmail-starttls-credentials)
(defvar smtpmail-tls-min-version)
(defvar smtpmail-token-command)
(defvar smtpmail-trust-file)

(defvar network-security-level)

;;;; `smtpmail-auth-credentials'

(defun smtpmail-auth--wanted-user-p (user)
  "Return non-nil if USER, a string, may be used by `smtpmail-smtp-user'."
  (or (null smtpmail-smtp-user)
      (eq smtpmail-smtp-user t)
      (member user (ensure-list smtpmail-smtp-user))))

(defconst smtpmail-auth--netrc-limit (ash 1 20)
  "Most octets of a netrc file: some ten thousand logins.")

(defun smtpmail-auth--check-netrc (file)
  "Signal an error if there is a FILE that cannot be a netrc file.
To read a FIFO would hold Emacs up, a device would fill its memory."
  (let ((attributes (file-attributes (file-truename file))))
    (unless (or (null attributes)
                (and (string-prefix-p "-" (file-attribute-modes attributes))
                     (<= (file-attribute-size attributes)
                         smtpmail-auth--netrc-limit)))
      (error "%s is no netrc file: not a plain file of a sensible size" file))))

(defun smtpmail-auth--netrc-entry (file host port)
  "Return the entry for HOST and PORT of the netrc FILE, or nil.
It has the form (HOST PORT USER PASSWORD), as in a list."
  (smtpmail-auth--check-netrc file)
  (let* ((auth-sources (list file))
         ;; The file is read again when it has changed.
         (auth-source-do-cache nil)
         (found (car (auth-source-search
                      :host host
                      :port (cons (smtpmail-services-port-key port)
                                  (smtpmail-services-other-port-keys port))
                      :user (or smtpmail-smtp-user t)
                      :max 1)))
         (secret (plist-get found :secret)))
    (when found
      (list host port (plist-get found :user)
            (if (functionp secret) (funcall secret) secret)))))

(defun smtpmail-auth--credentials-entry (host port)
  "Return (USER PASSWORD SOURCE) of `smtpmail-auth-credentials', or nil.
It is the entry for HOST and PORT that `smtpmail-smtp-user' admits; USER
and PASSWORD are nil where the user is to be asked."
  (let* ((file (smtpmail-services-given smtpmail-auth-credentials))
         (entry
          (if file
              (smtpmail-auth--netrc-entry file host port)
            (seq-find
             (lambda (entry)
               (and (smtpmail-services-same-server-p entry host port)
                    (let ((user (smtpmail-services-given
                                 (smtpmail-cred-user entry))))
                      (or (null user) (smtpmail-auth--wanted-user-p user)))))
             (and (listp smtpmail-auth-credentials)
                  smtpmail-auth-credentials)))))
    (when entry
      (list (or (smtpmail-services-given (smtpmail-cred-user entry))
                (smtpmail-services-given smtpmail-smtp-user))
            (smtpmail-services-given (smtpmail-cred-passwd entry))
            (format "entry for %s port %s in %s"
                    host (smtpmail-services-port-key port)
                    (or file "smtpmail-auth-credentials"))))))

(defun smtpmail-auth-entry-p (host port)
  "Return non-nil if `smtpmail-auth-credentials' names HOST and PORT.
Such a server gets no mail without a login."
  (and (smtpmail-auth--credentials-entry host port) t))

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

(defun smtpmail-try-auth-methods (process supported-extensions host port
                                          &optional ask-for-password)
  "Authenticate over PROCESS at HOST and PORT; return the mechanism used.
SUPPORTED-EXTENSIONS is an alist in which `auth' has the mechanisms that
the server offers.  With ASK-FOR-PASSWORD, ask for a missing login.
Without login, the value is the mechanism that would be tried.  Throw the
error text to `done' if the server refuses."
  (let* ((login (smtpmail-auth-lookup host port ask-for-password))
         (mechanisms (smtpmail-auth-mechanisms
                      login (cdr-safe (assoc 'auth supported-extensions))))
         (mechanism (car mechanisms))
         (refusal nil))
    (when login
      (unless mechanisms
        (when (smtpmail-auth-login-final login)
          (throw 'done (format "%s offers no way to authenticate for the %s"
                               host (smtpmail-auth-login-source login)))))
      (while mechanisms
        (setq mechanism (pop mechanisms)
              refusal
              (catch 'done
                (smtpmail-try-auth-method
                 process mechanism (smtpmail-auth-login-user login)
                 (funcall (smtpmail-auth-login-secret login)))
                nil))
        ;; Another mechanism with a wrong password is one step to a lock-out.
        (unless (and refusal (smtpmail-auth--blames-mechanism-p refusal))
          (setq mechanisms nil)))
      (when refusal
        (unless (smtpmail-auth--blames-mechanism-p refusal)
          (smtpmail-auth-refused login host port))
        (throw 'done refusal))
      (when mechanism
        (smtpmail-auth-accepted login)))
    mechanism))

;; The engine logs in unless users have put something in its place.
(smtpmail-redefined-note 'smtpmail-try-auth-methods 'smtpmail-auth-lookup)

;;;; Client certificates

(defun smtpmail-auth--starttls-entries ()
  "Return `smtpmail-starttls-credentials' as a list of entries.
smtpmail-multi sets it to the four elements of a single one."
  (cond ((stringp (car-safe smtpmail-starttls-credentials))
         (list smtpmail-starttls-credentials))
        ((listp smtpmail-starttls-credentials)
         smtpmail-starttls-credentials)))

(defun smtpmail-auth-starttls-required-p (host port)
  "Return non-nil if `smtpmail-starttls-credentials' names HOST and PORT."
  (and (smtpmail-find-credentials (smtpmail-auth--starttls-entries) host port)
       t))

(defun smtpmail-auth--key-pair (key certificate source)
  "Return (KEY . CERTIFICATE), absolute file names, if both can be read.
A PKCS#12 file as KEY holds both.  SOURCE says where they are named, for a
warning if they cannot."
  (when (and (smtpmail-services-given key)
             (not (smtpmail-services-given certificate))
             (string-match-p "\\.\\(?:p12\\|pfx\\)\\'" key))
    (setq certificate key))
  (when (and (smtpmail-services-given key) (smtpmail-services-given certificate))
    (let ((pair (cons (expand-file-name key) (expand-file-name certificate))))
      (if (and (file-readable-p (car pair)) (file-readable-p (cdr pair)))
          pair
        (display-warning
         'smtpmail
         (format "Client certificate not used: cannot read %s (%s)"
                 (if (file-readable-p (car pair)) (cdr pair) (car pair))
                 source))
        nil))))

(defun smtpmail-auth-client-certificate (host port)
  "Return (KEY . CERTIFICATE), file names, to present to HOST at PORT, or nil.
They come from `smtpmail-starttls-credentials' or from the keys `:key' and
`:cert' of auth-source."
  (or (seq-some
       (lambda (entry)
         (and (smtpmail-services-same-server-p entry host port)
              (smtpmail-auth--key-pair
               (smtpmail-cred-key entry) (smtpmail-cred-cert entry)
               "smtpmail-starttls-credentials")))
       (smtpmail-auth--starttls-entries))
      (let ((found (smtpmail-auth--search
                    :max 1 :host host :port (smtpmail-services-port-key port))))
        (smtpmail-auth--key-pair (plist-get found :key) (plist-get found :cert)
                                 "auth-source"))))

;;;; Whom to trust

(defun smtpmail-auth-known-servers-file ()
  "Return the absolute name of the file of known servers, or nil."
  (and (smtpmail-services-given smtpmail-trust-file)
       (expand-file-name smtpmail-trust-file)))

(defun smtpmail-auth-trust-request ()
  "Return the part of a request that says whom to trust."
  (list :known-servers (smtpmail-auth-known-servers-file)
        :pins (smtpmail-auth--pins (smtpmail-accounts-setting :pin))
        :ask-new-certificate (eq (bound-and-true-p network-security-level)
                                 'paranoid)
        :tls-1.3 (pcase smtpmail-tls-min-version
                   ((or 'nil "1.2") nil)
                   ("1.3" t)
                   (other (error "Invalid `smtpmail-tls-min-version': %S"
                                 other)))))

(defun smtpmail-auth--pins (pins)
  "Return PINS, a string or a list of them, as the engine writes them.
Signal an error if one is no SHA-256."
  (mapcar
   (lambda (pin)
     (let ((digits (downcase (replace-regexp-in-string "[: ]" "" pin))))
       (unless (string-match-p "\\`[0-9a-f]\\{64\\}\\'" digits)
         (error "The :pin of an account is the SHA-256 of a certificate, \
64 hexadecimal digits: %s" pin))
       (string-join (seq-partition digits 2) ":")))
   (ensure-list pins)))

(provide 'smtpmail-auth)

;;; smtpmail-auth.el ends here
