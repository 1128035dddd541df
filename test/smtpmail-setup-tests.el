;;; smtpmail-setup-tests.el --- Names, providers, and what is saved  -*- lexical-binding: t -*-

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

;; What smtpmail-setup decides without a network, and how it saves.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-setup)

;;;; Names

(ert-deftest smtpmail-setup-tests-names ()
  (pcase-dolist (`(,domain ,name)
                 '(("example.org" "example.org") ("EXAMPLE.org." "example.org")
                   ("grüße.example" "xn--gre-6ka8l.example")
                   ;; Composed and not, the same name.
                   ("gru\u0308ße.example" "xn--gre-6ka8l.example")
                   ("localhost" nil) ("" nil) (".example.org" nil) ("a..b" nil)
                   ("-a.example" nil) ("a b.example" nil) ("a\nb.example" nil)
                   ("[192.0.2.1]" nil) ("192.0.2.1" nil)))
    (ert-info (domain)
      (should (equal (smtpmail-setup-dns-ascii domain) name))))
  (should-not (smtpmail-setup-dns-host-p (concat (make-string 64 ?a) ".example")))
  (should-not (smtpmail-setup-dns-host-p
               (concat (mapconcat #'identity (make-list 130 "a") ".") ".example")))
  (should-not (smtpmail-setup-dns-host-p nil))
  (should (smtpmail-setup-dns-within-p "smtp.Example.org" "example.org"))
  (should-not (smtpmail-setup-dns-within-p "notexample.org" "example.org"))
  (should-not (smtpmail-setup-dns-within-p "example.org.evil.example" "example.org")))

;;;; Providers

(ert-deftest smtpmail-setup-tests-providers ()
  "The table is well formed: TLS everywhere, and no domain twice."
  (let ((domains nil)
        (exchangers nil))
    (pcase-dolist (`(,name ,server ,port ,security ,ours ,theirs ,note)
                   smtpmail-setup-providers)
      (ert-info (name)
        (when server
          (should (or (smtpmail-setup-dns-host-p server) (equal server "127.0.0.1")))
          (should (memq security '(ssl starttls)))
          (should (eq (= port 465) (eq security 'ssl))))
        (should (or server note))
        (should (or ours theirs))
        (dolist (domain (append ours theirs))
          (should (smtpmail-setup-dns-host-p domain))
          (should (equal domain (downcase domain))))
        (setq domains (append ours domains)
              exchangers (append theirs exchangers))))
    (should (equal (length domains) (length (delete-dups domains))))
    (should (equal (length exchangers) (length (delete-dups exchangers))))))

(ert-deftest smtpmail-setup-tests-known-providers ()
  "A known domain needs no network, and says what has to be known."
  (let* ((result (smtpmail-setup-search "gmail.com"))
         (candidate (caar result)))
    (should (equal (plist-get candidate :server) "smtp.gmail.com"))
    (should (equal (plist-get candidate :service) 465))
    (should (string-match-p "app password" (plist-get candidate :note)))
    (should-not (plist-get candidate :doubt)))
  (let ((candidate (caar (smtpmail-setup-search "proton.me"))))
    (should (equal (plist-get candidate :server) "127.0.0.1"))
    (should (string-match-p "Bridge" (plist-get candidate :note))))
  (should (equal (smtpmail-setup-search "tuta.com")
                 '(nil "Tuta has no server for other programs")))
  (should (equal (plist-get (smtpmail-setup-providers-of-exchanger
                             "in1-smtp.messagingengine.com")
                            :server)
                 "smtp.fastmail.com"))
  (should-not (smtpmail-setup-providers-of-exchanger "evilmessagingengine.com")))

;;;; Saving

(defmacro smtpmail-setup-tests--saving (file &rest body)
  "Run BODY while Customize saves into FILE, a new one; then forget it all."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-directory directory
     (let* ((,file (expand-file-name "custom.el" directory))
            (custom-file ,file)
            (user-init-file ,file)
            (inhibit-message t)
            (variables '(smtpmail-smtp-server smtpmail-smtp-service smtpmail-stream-type
                         smtpmail-smtp-user smtpmail-accounts send-mail-function
                         user-mail-address))
            (before (mapcar (lambda (variable)
                              (list variable (default-value variable)
                                    (get variable 'saved-value)
                                    (get variable 'theme-value)))
                            variables)))
       (unwind-protect (progn ,@body)
         (pcase-dolist (`(,variable ,value ,saved ,theme) before)
           (set-default variable value)
           (put variable 'saved-value saved)
           (put variable 'theme-value theme))))))

(defconst smtpmail-setup-tests--settings
  '(:server "smtp.example.org" :service 465 :security ssl :user "jane@example.org")
  "Settings of an account.")

(ert-deftest smtpmail-setup-tests-save-variables ()
  (smtpmail-setup-tests--saving file
    (let ((changes (smtpmail-setup-save-variables smtpmail-setup-tests--settings
                                                  "jane@example.org")))
      (should (equal (alist-get 'smtpmail-stream-type changes) 'ssl))
      (should (equal (alist-get 'user-mail-address changes) "jane@example.org"))
      (smtpmail-setup-save-settings changes)
      (should (equal smtpmail-smtp-server "smtp.example.org"))
      (should (string-search "'(smtpmail-smtp-service 465)" (smtpmail-test-text file)))
      ;; All is so already.
      (should-not (smtpmail-setup-save-variables smtpmail-setup-tests--settings
                                                 "jane@example.org")))))

(ert-deftest smtpmail-setup-tests-another-way-of-sending-stays ()
  "Who sends by another function keeps it."
  (let ((old send-mail-function))
    (unwind-protect
        (pcase-dolist (`(,function ,changed) '((sendmail-query-once t)
                                               (feedmail-send-it nil)
                                               (smtpmail-send-it nil)))
          (set-default 'send-mail-function function)
          (should (eq changed
                      (and (assq 'send-mail-function
                                 (smtpmail-setup-save-account
                                  smtpmail-setup-tests--settings "a@example.org"))
                           t))))
      (set-default 'send-mail-function old))))

(ert-deftest smtpmail-setup-tests-save-account ()
  "An account for the address is replaced where it stands, a new one comes first."
  (smtpmail-setup-tests--saving file
    (let ((smtpmail-accounts '(("@example.net" :server "a.example.net")
                               ("Jane@example.org" :server "old.example.org"))))
      (should (equal (mapcar (lambda (account) (plist-get (cdr account) :server))
                             (alist-get 'smtpmail-accounts
                                        (smtpmail-setup-save-account
                                         smtpmail-setup-tests--settings
                                         "jane@example.org")))
                     '("a.example.net" "smtp.example.org")))
      (let ((accounts (alist-get 'smtpmail-accounts
                                 (smtpmail-setup-save-account
                                  smtpmail-setup-tests--settings "bob@example.org"))))
        (should (equal (mapcar #'car accounts)
                       '("bob@example.org" "@example.net" "Jane@example.org")))
        (smtpmail-accounts-check accounts)))))

(ert-deftest smtpmail-setup-tests-save-all-or-nothing ()
  "If the file cannot be written, every variable is as it was."
  (smtpmail-setup-tests--saving file
    (make-directory file)
    (let ((before (mapcar (lambda (variable)
                            (list (default-value variable) (get variable 'saved-value)))
                          variables)))
      (should-error (smtpmail-setup-save-settings
                     (smtpmail-setup-save-variables smtpmail-setup-tests--settings
                                                    "jane@example.org")))
      (should (equal before
                     (mapcar (lambda (variable)
                               (list (default-value variable)
                                     (get variable 'saved-value)))
                             variables))))))

(ert-deftest smtpmail-setup-tests-stores ()
  "Stores that encrypt come first, and each says whether it does."
  (smtpmail-test-with-directory directory
    (let ((auth-sources (list (concat directory "authinfo")
                              (concat directory "authinfo.gpg")
                              '(:source "/nowhere/store.plist")
                              "secrets:Login" 'password-store)))
      (should (equal (mapcar (lambda (store)
                               (list (file-name-nondirectory
                                      (car (split-string (car store) " (")))
                                     (and (nth 2 store) t)
                                     (string-match-p "NOT encrypted" (car store))))
                             (smtpmail-setup-save-stores))
                     `(("authinfo.gpg" t nil) ("store.plist" t nil)
                       ("authinfo" nil ,(string-match-p
                                         "NOT" (car (nth 2 (smtpmail-setup-save-stores)))))))))))

(ert-deftest smtpmail-setup-tests-save-password ()
  "auth-source writes the line, finds it, and never writes a second one."
  (smtpmail-test-with-directory directory
    (let* ((file (concat directory "authinfo"))
           (auth-sources (list file))
           (auth-source-save-behavior nil)
           (inhibit-message t))
      (let ((n 0))
        (dolist (secret '("simple" "two words" "a#b'c" "\\back\\slash" "pässword" "x'"
                          "a\"b" "\\ and blank" "'quoted'" "\"quoted\"" "two\nlines"))
          (ert-info (secret)
            (let* ((host (format "s%d.example.org" (cl-incf n)))
                   (why-not (smtpmail-setup-save-password file host 465 "jane" secret))
                   (smtpmail-smtp-user "jane")
                   (login (smtpmail-auth-lookup host 465 nil)))
              ;; Either it is there as it was, or nothing is.
              (if why-not
                  (should (string-match-p "cannot hold this password" why-not))
                (should (equal (funcall (smtpmail-auth-login-secret login)) secret)))
              (should (eq (null why-not) (and login t)))
              (should (eq (and (< 6 n) t) (and why-not t)))))))
      (let ((text (smtpmail-test-text file)))
        (should (string-match-p "has a password for this user already"
                                (smtpmail-setup-save-password
                                 file "s1.example.org" 465 "jane" "other")))
        (should (equal text (smtpmail-test-text file)))))))

(ert-deftest smtpmail-setup-tests-behind-a-proxy ()
  "Behind a proxy no DNS is asked: the servers are looked for by the proxy."
  (let ((smtpmail-proxy '(socks5 "127.0.0.1" 1)))
    (cl-letf (((symbol-function 'smtpmail-setup-dns-look-up)
               (lambda (name) (error "Asked for %s" name))))
      (pcase-let ((`(,candidates ,remark) (smtpmail-setup-search "unknown.example")))
        (should-not candidates)
        (should (string-match-p "Nobody answers" remark))))))

(ert-deftest smtpmail-setup-tests-nobody-to-ask ()
  "In batch it is an error, and asks nothing."
  (should (equal (error-message-string
                  (should-error (smtpmail-setup "jane@example.org")))
                 "There is nobody to ask")))

(ert-deftest smtpmail-setup-tests-never-in-clear ()
  "Without TLS only this machine is offered."
  (pcase-dolist (`(,server ,offered) '(("smtp.example.org" nil) ("127.0.0.1" t)
                                       ("localhost" t) ("127.example.org" nil)))
    (let ((setup (smtpmail-setup--make :server server))
          (choices nil))
      (cl-letf (((symbol-function 'completing-read)
                 (lambda (_prompt collection &rest _)
                   (setq choices (mapcar #'car collection))
                   "STARTTLS")))
        (smtpmail-setup--read-security setup))
      (should (eq (smtpmail-setup-security setup) 'starttls))
      (should (eq offered (and (member "no TLS" choices) t))))))

(provide 'smtpmail-setup-tests)

;;; smtpmail-setup-tests.el ends here
