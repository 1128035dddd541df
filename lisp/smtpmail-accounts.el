;;; smtpmail-accounts.el --- Which account a message goes over  -*- lexical-binding: t -*-

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

;; The table `smtpmail-accounts', and how an entry of it becomes bindings of
;; the variables that everybody knows, for as long as one message is sent.
;; All else reads just those variables: nothing global changes, and who sends
;; without a table notices nothing.
;;
;; No password lives here: those are auth-source's.

;;; Code:

(require 'cl-lib)
(require 'mail-utils)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-options)
(require 'smtpmail-services)

(autoload 'ietf-drums-parse-address "ietf-drums")
(declare-function widget-convert "wid-edit" (type &rest args))

(defconst smtpmail-accounts--settings
  `((:name string "Name")
    (:server string "Server")
    (:service (choice (integer :tag "Port") (string :tag "Service")) "Port")
    (:security (choice (const :tag "TLS from the beginning" ssl)
                       (const :tag "Always STARTTLS" starttls)
                       (const :tag "STARTTLS if offered" nil)
                       (const :tag "Never TLS" plain))
               "Security")
    (:user (choice (const :tag "Any" nil) string) "User name")
    (:mechanisms (repeat symbol) "SASL mechanisms")
    (:client-key file "Key of the client certificate")
    (:client-certificate file "Client certificate")
    (:pin (choice string (repeat string))
          "SHA-256 of the server's certificate")
    (:proxy ,(get 'smtpmail-proxy 'custom-type) "Way to the server")
    (:ehlo-name string "Name to say in EHLO")
    (:envelope-sender string "Envelope sender")
    (:size-limit natnum "Octets that the server takes at most")
    (:refused-recipients (choice (const :tag "Ask" ask)
                                 (const :tag "Send to nobody" abort)
                                 (const :tag "Send to the others" send-rest))
                         "If some recipients are refused")
    (:dsn (set (const never) (const success) (const failure) (const delay)
               (const full) (const headers) (const required))
          "Delivery reports")
    (:priority (choice (const :tag "None" nil) integer) "Priority")
    (:require-tls boolean "TLS all the way to the recipients"))
  "What an account can say: (KEY TYPE TAG), for Customize.")

(defun smtpmail-accounts--problem (accounts)
  "Return what is wrong with ACCOUNTS, a value of `smtpmail-accounts', or nil."
  (seq-some
   (lambda (account)
     (let ((settings (cdr-safe account)))
       (cond
        ((not (and (consp account) (proper-list-p settings)))
         (format "not of the form (MATCH . SETTINGS): %S" account))
        ((not (pcase (car account)
                ('t t)
                ((pred stringp) (string-search "@" (car account)))
                (`(regexp . ,regexp)
                 (ignore-errors (string-match-p regexp "") t))
                ('nil nil)
                (match (functionp match))))
         (format "matches no address: %S" (car account)))
        ((cl-oddp (length settings))
         (format "a setting without a value: %S" settings))
        (t (seq-some
            (lambda (pair)
              (let ((type (nth 1 (assq (car pair) smtpmail-accounts--settings))))
                (cond
                 ((null type) (format "unknown setting %S" (car pair)))
                 ((not (widget-apply (widget-convert type) :match (cadr pair)))
                  (format "bad value for %S: %S" (car pair) (cadr pair))))))
            (seq-partition settings 2))))))
   accounts))

(defun smtpmail-accounts-check (accounts)
  "Signal an error if ACCOUNTS is no good value of `smtpmail-accounts'."
  (require 'wid-edit)
  (when-let ((problem (if (proper-list-p accounts)
                          (smtpmail-accounts--problem accounts)
                        "not a list")))
    (user-error "In `smtpmail-accounts': %s" problem)))

(defcustom smtpmail-accounts nil
  "Accounts to send mail over, chosen by the author of each message.
A list of (MATCH . SETTINGS).  The first whose MATCH fits the address in
From is used; without one, the variables like `smtpmail-smtp-server' hold.
MATCH is one of

  \"me@example.org\"     this address
  \"@example.org\"       every address of this domain
  (regexp . REGEXP)    addresses that REGEXP matches
  FUNCTION             if it returns non-nil for the address, called in
                       the buffer of the message
  t                    every address

SETTINGS is a property list of

  :name                what to call the account
  :server, :service, :security, :user
                       as in `smtpmail-smtp-server', `smtpmail-smtp-service',
                       `smtpmail-stream-type', `smtpmail-smtp-user'
  :mechanisms          as in `smtpmail-auth-supported'
  :client-key, :client-certificate
                       files to authenticate ourselves in TLS
  :pin                 SHA-256 of the certificate that the server must
                       show, 32 octets in hexadecimal, or a list of them;
                       authorities do not count then
  :proxy               as in `smtpmail-proxy'
  :ehlo-name           as in `smtpmail-ehlo-name'
  :envelope-sender     where failures are reported
  :size-limit          octets of the largest message that the server takes
  :refused-recipients  as in `smtpmail-on-refused-recipients'
  :dsn, :priority, :require-tls
                       as in `smtpmail-dsn', `smtpmail-priority',
                       `smtpmail-require-tls'

An account with a :server is complete: its :service is 587 if not given,
its :security is `ssl' for port 465 and else `starttls', and its :user any.
One without changes what it names, and leaves the rest to the variables.

Who has chosen a server otherwise, as a header X-Message-SMTP-Method and
`message-server-alist' do, gets that one."
  :type `(repeat
          (cons :tag "Account"
                (choice :tag "For mail from"
                        (string :tag "Address, or @ and domain" :value "@")
                        (cons :tag "Addresses that match"
                              (const :tag "" regexp) regexp)
                        (function :tag "Function of the address")
                        (const :tag "Everybody" t))
                (plist :tag "Settings"
                       :options
                       ,(mapcar (pcase-lambda (`(,key ,type ,tag))
                                  `((const :tag ,tag ,key) ,type))
                                smtpmail-accounts--settings))))
  :set (lambda (symbol accounts)
         (smtpmail-accounts-check accounts)
         (set-default symbol accounts))
  ;; A wrong value that was there before is told when it is used.
  :initialize #'custom-initialize-default
  :risky t
  :group 'smtpmail
  :package-version '(smtpmail . "0.1.0"))

(defvar smtpmail-accounts--current nil
  "The account in force, (NAME . SETTINGS); `none' if there is to be none.")

;;;; Whose turn it is

(defun smtpmail-accounts--author ()
  "Return the address in From of the message in this buffer, or nil.
A message that is resent goes over the account of who resends it."
  (save-excursion
    (save-restriction
      (widen)
      (goto-char (point-min))
      (narrow-to-region (point-min)
                        (if (re-search-forward "^\r?$" nil t)
                            (point)
                          (point-max)))
      (let ((from (or (mail-fetch-field "resent-from")
                      (mail-fetch-field "from"))))
        (and from
             (car (ignore-errors (ietf-drums-parse-address from))))))))

(defun smtpmail-accounts--match-p (match address)
  "Return non-nil if MATCH, of `smtpmail-accounts', fits ADDRESS."
  (pcase match
    ('t t)
    ((and (pred stringp) (pred (string-prefix-p "@")))
     (string-suffix-p match address t))
    ((pred stringp) (eq t (compare-strings match nil nil address nil nil t)))
    (`(regexp . ,regexp) (let ((case-fold-search t))
                           (string-match-p regexp address)))
    ((pred functionp) (funcall match address))))

(defun smtpmail-accounts--name (account)
  "Return what to call ACCOUNT, an entry of `smtpmail-accounts'."
  (or (plist-get (cdr account) :name)
      (format "%s" (car account))))

(defun smtpmail-accounts-of (buffer)
  "Return the account, (NAME . SETTINGS), of the message in BUFFER, or nil.
Signal an error if `smtpmail-accounts' is malformed."
  (when smtpmail-accounts
    (smtpmail-accounts-check smtpmail-accounts)
    (with-current-buffer buffer
      (when-let* ((address (or (smtpmail-accounts--author)
                               user-mail-address))
                  (account (seq-find
                            (lambda (account)
                              (smtpmail-accounts--match-p (car account) address))
                            smtpmail-accounts)))
        (cons (smtpmail-accounts--name account) (cdr account))))))

(defun smtpmail-accounts--caller-chose-p ()
  "Return non-nil if somebody has bound the server for this one message.
As the header X-Message-SMTP-Method does, or a file's variables."
  (seq-some (lambda (variable)
              (not (equal (symbol-value variable)
                          (default-toplevel-value variable))))
            (cons 'smtpmail-store-queue-variables
                  smtpmail--stored-queue-variables)))

;;;; What an account means

(defun smtpmail-accounts--server-bindings (settings)
  "Return the bindings for the server of SETTINGS, which name one."
  (let* ((service (or (plist-get settings :service) 587))
         (security (if (plist-member settings :security)
                       (plist-get settings :security)
                     (if (eql 465 (smtpmail-services-port service))
                         'ssl
                       'starttls))))
    `((smtpmail-smtp-server . ,(plist-get settings :server))
      (smtpmail-smtp-service . ,service)
      (smtpmail-stream-type . ,security)
      (smtpmail-smtp-user . ,(plist-get settings :user)))))

(defconst smtpmail-accounts--variables
  '((:service . smtpmail-smtp-service)
    (:security . smtpmail-stream-type)
    (:user . smtpmail-smtp-user)
    (:mechanisms . smtpmail-auth-supported)
    (:proxy . smtpmail-proxy)
    (:ehlo-name . smtpmail-ehlo-name)
    (:refused-recipients . smtpmail-on-refused-recipients)
    (:dsn . smtpmail-dsn)
    (:priority . smtpmail-priority)
    (:require-tls . smtpmail-require-tls))
  "Settings that are the values of variables.")

(defun smtpmail-accounts-bindings (account)
  "Return ACCOUNT, (NAME . SETTINGS), as an alist of variables and values.
nil is that there is none, whatever the message."
  (let* ((settings (cdr account))
         (bindings (and (plist-get settings :server)
                        (smtpmail-accounts--server-bindings settings)))
         (key (plist-get settings :client-key))
         (certificate (plist-get settings :client-certificate)))
    (pcase-dolist (`(,setting . ,variable) smtpmail-accounts--variables)
      (when (and (plist-member settings setting)
                 (not (assq variable bindings)))
        (push (cons variable (plist-get settings setting)) bindings)))
    (when (and key certificate)
      (push (cons 'smtpmail-starttls-credentials
                  (list (list (alist-get 'smtpmail-smtp-server bindings
                                         smtpmail-smtp-server)
                              (alist-get 'smtpmail-smtp-service bindings
                                         smtpmail-smtp-service)
                              key certificate)))
            bindings))
    (cons (cons 'smtpmail-accounts--current (or account 'none)) bindings)))

(defmacro smtpmail-accounts-with (bindings &rest body)
  "Evaluate BODY with BINDINGS, an alist of variables and values, in force."
  (declare (indent 1) (debug t))
  (let ((alist (make-symbol "bindings")))
    `(let ((,alist ,bindings))
       (cl-progv (mapcar #'car ,alist) (mapcar #'cdr ,alist)
         ,@body))))

(defun smtpmail-accounts-call (buffer function)
  "Call FUNCTION with the account of the message in BUFFER in force.
Return its value.  The account that is in force already stays."
  (if smtpmail-accounts--current
      (funcall function)
    (smtpmail-accounts-with
        (smtpmail-accounts-bindings
         (and (not (smtpmail-accounts--caller-chose-p))
              (smtpmail-accounts-of buffer)))
      (funcall function))))

(defun smtpmail-accounts-setting (setting)
  "Return the value of SETTING, a keyword, of the account in force, or nil."
  (plist-get (cdr-safe smtpmail-accounts--current) setting))

(defun smtpmail-accounts-name ()
  "Return the name of the account in force, a string, or nil."
  (car-safe smtpmail-accounts--current))

(defun smtpmail-accounts-named (name)
  "Return the account called NAME, (NAME . SETTINGS), or nil."
  (when name
    (seq-some (lambda (account)
                (and (equal name (smtpmail-accounts--name account))
                     (cons name (cdr account))))
              smtpmail-accounts)))

(defun smtpmail-accounts-check-size (buffer)
  "Signal an error if the account in force cannot take the text in BUFFER."
  (when-let ((limit (smtpmail-accounts-setting :size-limit)))
    (let ((octets (with-current-buffer buffer
                    (save-restriction
                      (widen)
                      ;; Each line end becomes two octets.
                      (+ (1- (position-bytes (point-max)))
                         (count-lines (point-min) (point-max)))))))
      (when (> octets limit)
        (error "Sending failed: the message has %s, and the account %s \
takes %s at most"
               (file-size-human-readable octets nil " " "B")
               (or (smtpmail-accounts-name) "in use")
               (file-size-human-readable limit nil " " "B"))))))

(provide 'smtpmail-accounts)

;;; smtpmail-accounts.el ends here
