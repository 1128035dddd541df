;;; smtpmail-import.el --- Accounts from other programs  -*- lexical-binding: t -*-

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

;; Reads the accounts of msmtp into `smtpmail-accounts', and lists what could
;; not be carried over.  The file is data: no program that it names is run,
;; and no password in it is shown or copied.

;;; Code:

(require 'cl-lib)
(require 'cus-edit)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-accounts)
(require 'smtpmail-delivery)
(require 'smtpmail-services)

(cl-defstruct (smtpmail-import--account
               (:constructor smtpmail-import--make)
               (:copier smtpmail-import--copy))
  "An account of msmtp."
  (name nil :documentation "What msmtp calls it.")
  (commands nil :documentation "List of (COMMAND ARGUMENT LINE), the last first."))

(defun smtpmail-import--value (account command)
  "Return the argument of the last COMMAND of ACCOUNT, or nil."
  (nth 1 (assoc command (smtpmail-import--account-commands account))))

(defun smtpmail-import--on-p (account command default)
  "Return non-nil if COMMAND is on in ACCOUNT, where DEFAULT is without it."
  (let ((command (assoc command (smtpmail-import--account-commands account))))
    (if command (member (nth 1 command) '("" "on")) default)))

;;;; The file

(defun smtpmail-import--line ()
  "Return (COMMAND ARGUMENT LINE) of the line at point, or nil."
  (when (looking-at "[ \t]*\\([^ \t\n#]+\\)[ \t]*\\(.*?\\)[ \t]*$")
    (let ((command (match-string 1))
          (argument (match-string 2)))
      (when (string-match "\\`\"\\(.*\\)\"\\'" argument)
        (setq argument (match-string 1 argument)))
      (list command argument (line-number-at-pos)))))

(defun smtpmail-import--begin (argument line defaults accounts)
  "Return the account that \"account ARGUMENT\" in LINE begins.
DEFAULTS are commands that hold for every account, ACCOUNTS are those
before it.  Signal an error if it is to be like one that is not there."
  (pcase-let* ((`(,name ,models) (split-string argument "[ \t]*:[ \t]*"))
               (names (and models (split-string models "[ \t]*,[ \t]*" t))))
    (smtpmail-import--make
     :name name
     :commands
     (apply #'append
            (append
             (mapcar (lambda (model)
                       (if-let ((found (seq-find
                                        (lambda (account)
                                          (equal model
                                                 (smtpmail-import--account-name
                                                  account)))
                                        accounts)))
                           (smtpmail-import--account-commands found)
                         (user-error "Line %d: there is no account %s before it"
                                     line model)))
                     (reverse names))
             (list defaults))))))

(defun smtpmail-import--parse ()
  "Return the accounts in the current buffer, in order."
  (let ((accounts nil)
        (defaults nil))
    (save-excursion
      (goto-char (point-min))
      (while (not (eobp))
        (pcase (smtpmail-import--line)
          ('nil)
          (`("defaults" . ,_)
           (push (smtpmail-import--make :commands defaults) accounts))
          (`("account" ,argument ,line)
           (push (smtpmail-import--begin argument line defaults accounts)
                 accounts))
          (command
           (if (null accounts)
               (push command defaults)
             (push command (smtpmail-import--account-commands (car accounts)))
             (unless (smtpmail-import--account-name (car accounts))
               (setq defaults (smtpmail-import--account-commands
                               (car accounts)))))))
        (forward-line)))
    (seq-filter #'smtpmail-import--account-name (nreverse accounts))))

;;;; Into an account of ours

(defconst smtpmail-import--mechanisms
  '(("plain" . plain) ("login" . login) ("cram-md5" . cram-md5)
    ("scram-sha-1" . scram-sha-1) ("scram-sha-256" . scram-sha-256)
    ("scram-sha-1-plus" . scram-sha-1) ("scram-sha-256-plus" . scram-sha-256)
    ("external" . external) ("xoauth2" . xoauth2)
    ("oauthbearer" . oauthbearer))
  "Arguments of \"auth\" that name a mechanism that we have.")

(defconst smtpmail-import--carried
  '("host" "port" "from" "auth" "user" "tls" "tls_starttls" "tls_key_file"
    "tls_cert_file" "domain" "proxy_host" "proxy_port" "dsn_notify"
    "dsn_return")
  "Commands that become settings.")

(defconst smtpmail-import--hints
  '(("password" . "not copied; keep it in auth-source")
    ("passwordeval" . "not run; keep the password or token in auth-source")
    ("tls_trust_file" . "add it to `gnutls-trustfiles' if it is not the system's")
    ("tls_fingerprint" . "no SHA-256; you are asked for trust at the first \
connection")
    ("tls_certcheck" . "certificates are always verified")
    ("timeout" . "see `smtpmail-timeout'")
    ("aliases" . "see `mail-aliases'")
    ("logfile" . "see `smtpmail-debug-info'")
    ("syslog" . "see `smtpmail-debug-info'"))
  "What to say of commands that cannot be carried over.")

(defun smtpmail-import--security (account)
  "Return the :security of ACCOUNT."
  (cond ((not (smtpmail-import--on-p account "tls" nil)) 'plain)
        ((smtpmail-import--on-p account "tls_starttls" t) 'starttls)
        (t 'ssl)))

(defun smtpmail-import--port (account)
  "Return the :service of ACCOUNT."
  (let ((port (smtpmail-import--value account "port")))
    (cond ((and port (string-match-p "\\`[0-9]+\\'" port))
           (string-to-number port))
          ((smtpmail-services-given port))
          ((eq 'ssl (smtpmail-import--security account)) 465)
          (t 25))))

(defun smtpmail-import--proxy (account)
  "Return the :proxy of ACCOUNT, or nil.  Those of msmtp speak SOCKS5."
  (when-let ((host (smtpmail-services-given
                    (smtpmail-import--value account "proxy_host"))))
    (let ((port (smtpmail-import--value account "proxy_port")))
      (list 'socks5 host (if (and port (string-match-p "\\`[0-9]+\\'" port))
                             (string-to-number port)
                           1080)))))

(defun smtpmail-import--dsn (account)
  "Return the :dsn of ACCOUNT, or nil."
  (let ((words (split-string
                (downcase (concat (smtpmail-import--value account "dsn_notify") ","
                                  (smtpmail-import--value account "dsn_return")))
                "[, \t]+" t)))
    ;; "off" is none of ours, and nothing is what it asks for.
    (seq-filter (lambda (known) (member (symbol-name known) words))
                smtpmail-delivery--dsn-words)))

(defun smtpmail-import--pin (account)
  "Return the :pin of ACCOUNT, or nil if it has none that is a SHA-256."
  (when-let ((fingerprint (smtpmail-services-given
                           (smtpmail-import--value account "tls_fingerprint"))))
    (and (string-match-p "\\`\\(?:[0-9a-f]\\{2\\}:?\\)\\{32\\}\\'"
                         (downcase fingerprint))
         fingerprint)))

(defun smtpmail-import--settings (account)
  "Return the settings for `smtpmail-accounts' that ACCOUNT amounts to."
  (let* ((value (lambda (command)
                  (smtpmail-services-given
                   (smtpmail-import--value account command))))
         (mechanism (alist-get (downcase (or (funcall value "auth") ""))
                               smtpmail-import--mechanisms nil nil #'equal)))
    `( :name ,(smtpmail-import--account-name account)
       :server ,(funcall value "host")
       :service ,(smtpmail-import--port account)
       :security ,(smtpmail-import--security account)
       ,@(and (funcall value "user") (list :user (funcall value "user")))
       ,@(and mechanism (list :mechanisms (list mechanism)))
       ,@(and (funcall value "tls_key_file")
              (list :client-key (funcall value "tls_key_file")))
       ,@(and (funcall value "tls_cert_file")
              (list :client-certificate (funcall value "tls_cert_file")))
       ,@(and (smtpmail-import--pin account)
              (list :pin (smtpmail-import--pin account)))
       ,@(and (smtpmail-import--proxy account)
              (list :proxy (smtpmail-import--proxy account)))
       ,@(and (funcall value "domain")
              (list :ehlo-name (funcall value "domain")))
       ,@(and (smtpmail-import--dsn account)
              (list :dsn (smtpmail-import--dsn account))))))

(defun smtpmail-import--match (account)
  "Return for which authors ACCOUNT is, or nil if the file does not say."
  (let ((from (smtpmail-services-given (smtpmail-import--value account "from"))))
    (cond ((null from)
           (and (equal "default" (smtpmail-import--account-name account)) t))
          ((string-match "\\`\\*\\(@[^*?]+\\)\\'" from) (match-string 1 from))
          ((string-match-p "[*?]" from)
           (cons 'regexp (wildcard-to-regexp from)))
          ((string-search "@" from) from))))

(defun smtpmail-import--left (account)
  "Return what of ACCOUNT is not carried over, a list of strings."
  (let* ((name (smtpmail-import--account-name account))
         (commands (seq-uniq (smtpmail-import--account-commands account)
                             (lambda (a b) (equal (car a) (car b)))))
         (auth (downcase (or (smtpmail-import--value account "auth") ""))))
    (append
     (and (null (smtpmail-services-given (smtpmail-import--value account "host")))
          (list (format "account %s: it names no host" name)))
     (and (null (smtpmail-import--match account))
          (list (format "account %s: it names no address in \"from\", \
by which it could be chosen" name)))
     (and (not (member auth '("" "on" "off")))
          (not (assoc auth smtpmail-import--mechanisms))
          (list (format "account %s: auth %s is not known here" name auth)))
     (and (equal auth "off")
          (smtpmail-import--value account "user")
          (list (format "account %s: auth off; auth-source decides whether \
to log in" name)))
     (mapcar (pcase-lambda (`(,command ,_ ,line))
               (format "line %d, %s: %s" line command
                       (or (cdr (assoc command smtpmail-import--hints))
                           "has no counterpart here")))
             (seq-remove (lambda (command)
                           (or (member (car command) smtpmail-import--carried)
                               (and (equal (car command) "tls_fingerprint")
                                    (or (smtpmail-import--pin account)
                                        (equal (nth 1 command) "")))))
                         (reverse commands))))))

(defun smtpmail-import--accounts (accounts)
  "Return the value for `smtpmail-accounts' that ACCOUNTS of msmtp amount to.
The default account, which is for all that fits no other, comes last."
  (let ((default (seq-find
                  (lambda (account)
                    (equal "default" (smtpmail-import--account-name account)))
                  accounts))
        (usable (seq-filter
                 (lambda (account)
                   (and (smtpmail-services-given
                         (smtpmail-import--value account "host"))
                        (smtpmail-import--match account)))
                 accounts)))
    (append
     (mapcar (lambda (account)
               (cons (smtpmail-import--match account)
                     (smtpmail-import--settings account)))
             (remq default usable))
     (and (memq default usable)
          (list (cons t (smtpmail-import--settings default)))))))

;;;; The command

(defun smtpmail-import--default-file ()
  "Return the file in which msmtp looks first."
  (let ((files (list "~/.msmtprc"
                     (expand-file-name
                      "msmtp/config" (or (getenv "XDG_CONFIG_HOME") "~/.config")))))
    (or (seq-find #'file-readable-p files) (car files))))

(defun smtpmail-import--show (file new left)
  "Show the accounts NEW, read from FILE, and what is LEFT out."
  (with-current-buffer (get-buffer-create "*smtpmail import*")
    (let ((inhibit-read-only t))
      (erase-buffer)
      (insert (format "Accounts in %s\n\n" (abbreviate-file-name file)))
      (if new (insert (pp-to-string new)) (insert "None that can be used.\n"))
      (insert "\nNot carried over\n\n")
      (if left
          (dolist (line left) (insert "- " line "\n"))
        (insert "Nothing: all is in the accounts above.\n")))
    (goto-char (point-min))
    (special-mode)
    (display-buffer (current-buffer))))

;;;###autoload
(defun smtpmail-import-msmtprc (file)
  "Read the accounts of msmtp in FILE into `smtpmail-accounts'.
Show them and all that has no counterpart, and save them if the user
wants that; accounts that are there already stay and go before.  Return
the new accounts."
  (interactive
   (let ((file (smtpmail-import--default-file)))
     (list (read-file-name (format-prompt "Configuration of msmtp"
                                          (abbreviate-file-name file))
                           (file-name-directory file) file t))))
  (let* ((accounts (with-temp-buffer
                     (insert-file-contents file)
                     (smtpmail-import--parse)))
         (new (smtpmail-import--accounts accounts))
         (left (seq-uniq (mapcan #'smtpmail-import--left accounts))))
    (unless accounts
      (user-error "No account in %s" (abbreviate-file-name file)))
    (smtpmail-accounts-check new)
    (smtpmail-import--show file new left)
    (let ((missing (seq-remove (lambda (account) (member account smtpmail-accounts))
                               new)))
      (cond
       ((null missing) (message "`smtpmail-accounts' has them all"))
       ((y-or-n-p (format "Add %d account%s to `smtpmail-accounts' and save it? "
                          (length missing) (if (cdr missing) "s" "")))
        (customize-save-variable 'smtpmail-accounts
                                 (append smtpmail-accounts missing)))
       (t (message "Nothing was changed"))))
    new))

(provide 'smtpmail-import)

;;; smtpmail-import.el ends here
