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

;; What the settings say of logins, certificates and trust, for each request.
;; The login itself is found when a server asks for it
;; (smtpmail-auth-lookup.el); questions about a server's certificate are
;; smtpmail-trust.el.
;;
;; What may not live here: the exchange with the server, in Lisp
;; (smtpmail-methods.el) or natively.

;;; Code:

(require 'auth-source)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-accounts)
(require 'smtpmail-methods)
(require 'smtpmail-redefined)
(require 'smtpmail-services)

;; Only a server that wants a login needs these.
(autoload 'smtpmail-auth--search "smtpmail-auth-source")
(autoload 'smtpmail-auth-forget "smtpmail-auth-login" nil t)
(autoload 'smtpmail-auth-lookup "smtpmail-auth-lookup")
(autoload 'smtpmail-auth-accepted "smtpmail-auth-lookup")
(autoload 'smtpmail-auth-refused "smtpmail-auth-lookup")
(autoload 'smtpmail-auth-renewed "smtpmail-auth-lookup")
(autoload 'smtpmail-auth-ask-again "smtpmail-auth-lookup")
(autoload 'smtpmail-auth-mechanisms "smtpmail-auth-lookup")
(autoload 'smtpmail-auth--blames-mechanism-p "smtpmail-auth-lookup")

(declare-function smtpmail-auth-login-final "smtpmail-auth-login" (login) t)
(declare-function smtpmail-auth-login-secret "smtpmail-auth-login" (login) t)
(declare-function smtpmail-auth-login-source "smtpmail-auth-login" (login) t)
(declare-function smtpmail-auth-login-user "smtpmail-auth-login" (login) t)

(defvar smtpmail-auth-credentials)
(defvar smtpmail-smtp-user)
(defvar smtpmail-starttls-credentials)
(defvar smtpmail-tls-min-version)
(defvar smtpmail-trust-file)

(defvar network-security-level)

;;;; Is anybody there?

(defvar smtpmail-auth-prompt-inhibited nil
  "Non-nil means that nobody is to be asked now.
If somebody would have been asked, it becomes the symbol `wanted'.")

(defun smtpmail-auth-can-prompt-p ()
  "Return non-nil if there is somebody to ask, and a free minibuffer."
  (not (or (and smtpmail-auth-prompt-inhibited
                (setq smtpmail-auth-prompt-inhibited 'wanted))
           noninteractive
           (> (minibuffer-depth) 0)
           ;; A daemon without clients has just the frame it started with.
           (equal (terminal-name (frame-terminal)) "initial_terminal"))))

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

;;;; The login

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
(smtpmail-redefined-note 'smtpmail-try-auth-methods 'smtpmail-auth-entry-p)

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
