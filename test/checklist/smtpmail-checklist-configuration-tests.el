;;; smtpmail-checklist-configuration-tests.el --- Items 1 to 10  -*- lexical-binding: t -*-

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

;; Loading, variables, the server, logins: what an init file says, and what
;; becomes of it.

;;; Code:

(require 'smtpmail-checklist)

;;;; 1: loading

(defconst smtpmail-checklist-configuration--autoloads
  (expand-file-name "smtpmail-autoloads.el" smtpmail-test-lisp)
  "The file of autoloads.")

(ert-deftest smtpmail-checklist-01-order-of-loading ()
  "Ours is in force whether the built-in was loaded before, after, or not."
  (dolist (before '(nil (load "mail/smtpmail" nil t)))
    (ert-info ((format "%S" before))
      (should (equal (smtpmail-checklist-child
                      `(,before
                        (load ,smtpmail-checklist-configuration--autoloads nil t)
                        (require 'smtpmail)
                        (list (featurep 'smtpmail)
                              (file-name-directory
                               (symbol-file 'smtpmail-via-smtp 'defun))))
                      :lisp nil)
                     (list t smtpmail-test-lisp))))))

(ert-deftest smtpmail-checklist-01-autoloads ()
  "The two entry points are autoloads; the flush is a command, the send none."
  (should (equal (smtpmail-checklist-child
                  `((load ,smtpmail-checklist-configuration--autoloads nil t)
                    (list (autoloadp (symbol-function 'smtpmail-send-it))
                          (commandp 'smtpmail-send-it)
                          (autoloadp (symbol-function 'smtpmail-send-queued-mail))
                          (commandp 'smtpmail-send-queued-mail)
                          (featurep 'smtpmail)))
                  :lisp nil)
                 '(t nil t t nil))))

(ert-deftest smtpmail-checklist-01-send-mail-function ()
  "To set `send-mail-function' is enough for mail-mode and Message."
  (smtpmail-test-with-server (server)
    (smtpmail-checklist-child
     `((load ,smtpmail-checklist-configuration--autoloads nil t)
       ,@(smtpmail-test-settings server)
       (setq send-mail-function 'smtpmail-send-it
             message-send-mail-function 'smtpmail-send-it
             mail-interactive t)
       (progn
         (mail nil "a@example.net" "By mail-mode")
         (mail-send)
         (message-mail "b@example.net" "By Message")
         (message-send)
         nil))
     :lisp nil)
    (should (equal (mapcar (lambda (message)
                             (list (alist-get 'to message)
                                   (smtpmail-checklist-field message "subject")))
                           (smtpmail-test-messages server))
                   '((("a@example.net") "By mail-mode")
                     (("b@example.net") "By Message"))))))

;;;; 2, 3: variables

(ert-deftest smtpmail-checklist-02-variables ()
  "Each option of the built-in is one here: default, type, group.
Compared in depth by smtpmail-options-tests-like-the-built-in."
  (let ((describe
         '(mapcar (lambda (entry)
                    (list (car entry) (cadr entry)
                          (eval (car (get (car entry) 'standard-value)) t)
                          (get (car entry) 'custom-version)))
                  (sort (copy-sequence (get 'smtpmail 'custom-group))
                        (lambda (a b) (string< (car a) (car b)))))))
    (let ((builtin (smtpmail-checklist-child
                    (list '(load "mail/smtpmail" nil t) describe)
                    :lisp nil :environment '("SMTPSERVER")))
          (ours (smtpmail-checklist-child (list '(require 'smtpmail) describe)
                                          :environment '("SMTPSERVER"))))
      (should (assq 'smtpmail-store-queue-variables builtin))
      (dolist (option builtin)
        (should (equal (assq (car option) ours) option))))))

(ert-deftest smtpmail-checklist-02-customize-group ()
  "`customize-group' shows the options of smtpmail."
  (should (smtpmail-checklist-child
           '((require 'smtpmail)
             ;; Emacs 30 without windows has none, and Custom wants one.
             (defvar tool-bar-map (make-sparse-keymap))
             (let ((inhibit-message t))
               (customize-group 'smtpmail)
               (goto-char (point-min))
               (and (re-search-forward "Smtp Server" nil t)
                    (re-search-forward "Stream Type" nil t)
                    t))))))

(ert-deftest smtpmail-checklist-02-set-before-loading ()
  "What was set before loading is kept."
  (should (equal (smtpmail-checklist-child
                  '((setq smtpmail-smtp-server "a.example" smtpmail-stream-type 'ssl
                          smtpmail-auth-supported '(login))
                    (customize-set-variable 'smtpmail-smtp-service 587)
                    (require 'smtpmail)
                    (list smtpmail-smtp-server smtpmail-stream-type
                          smtpmail-smtp-service smtpmail-auth-supported)))
                 '("a.example" ssl 587 (login)))))

(ert-deftest smtpmail-checklist-03-smtpserver ()
  "SMTPSERVER names the server; empty, the site's is used; set late, neither is."
  (pcase-dolist (`(,environment ,expected)
                 '(("SMTPSERVER=env.example" "env.example")
                   ("SMTPSERVER=" "site.example")
                   ("SMTPSERVER" "site.example")))
    (should (equal (smtpmail-checklist-child
                    '((setq smtpmail-default-smtp-server "site.example")
                      (require 'smtpmail)
                      (setq smtpmail-default-smtp-server "late.example")
                      smtpmail-smtp-server)
                    :environment (list environment))
                   expected))))

;;;; 4: services

(ert-deftest smtpmail-checklist-04-services ()
  "A port is a number, a number in a string, or the name of a service."
  (smtpmail-test-with-server (server)
    (let ((port smtpmail-smtp-service))
      (should-not (smtpmail-test-send))
      (let ((smtpmail-smtp-service (number-to-string port)))
        (should-not (smtpmail-test-send)))
      (should (= 2 (length (smtpmail-test-messages server))))
      (pcase-dolist (`(,service ,number)
                     '((25 25) ("25" 25) ("smtp" 25) ("submission" 587) ("587" 587)
                       ("submissions" 465)))
        (let ((smtpmail-smtp-service service))
          (should (eql number (smtpmail--port)))))
      (let ((smtpmail-smtp-service "no such service"))
        (should (string-match-p "smtpmail-smtp-service.*no such service"
                                (smtpmail-test-send)))))))

;;;; 5, 6: the variables of 2007

(ert-deftest smtpmail-checklist-05-credentials-list ()
  "An entry is found by host and port, however either port is written."
  (dolist (in-entry '(identity number-to-string))
    (dolist (in-option '(identity number-to-string))
      (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
        (let* ((port smtpmail-smtp-service)
               (smtpmail-smtp-service (funcall in-option port))
               (smtpmail-auth-credentials
                `(("other.example" ,port "x" "y")
                  ("localhost" 1 "x" "y")
                  ("localhost" ,(funcall in-entry port)
                   "alice" ,smtpmail-test-canary))))
          (smtpmail-test-should-hide-canary
           (smtpmail-test-log-of (should-not (smtpmail-test-send)))))
        (should (equal (alist-get 'auth_user (smtpmail-test-message server))
                       "alice"))))))

(ert-deftest smtpmail-checklist-05-credentials-asked ()
  "A nil user and password are asked for, once in a session."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (let ((smtpmail-auth-credentials
           `(("localhost" ,smtpmail-smtp-service nil nil)))
          (answers (list "alice" smtpmail-test-canary)))
      (unwind-protect
          (should (equal (smtpmail-checklist-answering answers
                           (should-not (smtpmail-test-send))
                           (should-not (smtpmail-test-send)))
                         (list "SMTP user name for localhost: "
                               (format "SMTP password for localhost:%s: "
                                       smtpmail-smtp-service))))
        (smtpmail-auth-forget)))
    (should (= 2 (length (smtpmail-test-messages server))))))

(ert-deftest smtpmail-checklist-05-credentials-file ()
  "A string is the name of a netrc file."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (smtpmail-checklist-with-authinfo
        (format "machine localhost port %d login alice password %s\n"
                smtpmail-smtp-service smtpmail-test-canary)
      (let ((auth-sources nil) (smtpmail-auth-credentials authinfo))
        (should-not (smtpmail-test-send))))
    (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))))

(ert-deftest smtpmail-checklist-05-credentials-encrypted-file ()
  "The netrc file may be encrypted."
  (unless (executable-find "gpg") (ert-skip "gpg is not installed"))
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (smtpmail-test-with-directory home
      (let* ((file (expand-file-name "authinfo.gpg" home))
             (process-environment (cons (concat "GNUPGHOME=" home)
                                        process-environment))
             (text (format "machine localhost port %d login alice password %s\n"
                           smtpmail-smtp-service smtpmail-test-canary)))
        (set-file-modes home #o700)
        (unwind-protect
            (progn
              (should
               (eq 0 (call-process "gpg" nil nil nil "--batch" "--passphrase" ""
                                   "--quick-generate-key" "me@example.org"
                                   "default" "default" "never")))
              (with-temp-buffer
                (insert text)
                (should (eq 0 (call-process-region
                               nil nil "gpg" nil nil nil "--batch" "--encrypt"
                               "--recipient" "me@example.org" "--output" file))))
              (let ((smtpmail-auth-credentials file))
                (should-not (smtpmail-test-send))))
          (call-process "gpgconf" nil nil nil "--kill" "all"))))
    (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))))

(ert-deftest smtpmail-checklist-05-no-entry ()
  "Without an entry for the server, auth-source is asked."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (smtpmail-checklist-with-authinfo
        (format "machine localhost port %d login alice password %s\n"
                smtpmail-smtp-service smtpmail-test-canary)
      (let ((smtpmail-auth-credentials '(("other.example" 25 "x" "y"))))
        (should-not (smtpmail-test-send))))
    (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))))

(ert-deftest smtpmail-checklist-06-starttls-credentials ()
  "A matching entry demands STARTTLS; others, and the default of 2007, do not."
  (pcase-dolist (`(,caps ,entry ,sent)
                 '(("SIZE" (("localhost" PORT nil nil)) nil)
                   ("SIZE" (("localhost" PORT "" "")) nil)
                   ("SIZE" ("localhost" PORT nil nil) nil)
                   ("SIZE" (("other.example" PORT nil nil)) t)
                   ("SIZE" (("localhost" 1 nil nil)) t)
                   ("SIZE" (("" 25 "" "")) t)
                   ("STARTTLS" (("localhost" PORT nil nil)) t)))
    (ert-info ((format "%S" (list caps entry)))
      (smtpmail-test-with-server (server "--caps" caps)
        (let ((smtpmail-starttls-credentials
               (cl-subst smtpmail-smtp-service 'PORT entry)))
          (if sent
              (should-not (smtpmail-test-send))
            (should (string-match-p "Server does not support TLS"
                                    (smtpmail-test-send))))
          (should (= (if sent 1 0) (length (smtpmail-test-messages server)))))))))

(ert-deftest smtpmail-checklist-06-client-certificate ()
  "Key and certificate of the entry are presented."
  (smtpmail-test-with-server (server "--client-ca")
    (let* ((certificates (file-name-directory (smtpmail-test-server-ca server)))
           (smtpmail-starttls-credentials
            `(("localhost" ,smtpmail-smtp-service
               ,(expand-file-name "client.key" certificates)
               ,(expand-file-name "client.pem" certificates)))))
      (should-not (smtpmail-test-send)))
    (should (smtpmail-test-message server)))
  (smtpmail-test-with-server (server "--client-ca")
    (should (smtpmail-test-send))
    (should-not (smtpmail-test-messages server))))

;;;; 7: TLS

(ert-deftest smtpmail-checklist-07-stream-types ()
  "Each type, as symbol and as string, with servers that fit and do not."
  (pcase-dolist (`(,type ,options ,expected)
                 '((nil nil t) (network nil t) (nil ("--caps" "SIZE") nil)
                   (starttls nil t) ("starttls" nil t)
                   (starttls ("--caps" "SIZE") error)
                   (plain nil nil) ("plain" nil nil)
                   (ssl ("--ssl") t) (tls ("--ssl") t) ("ssl" ("--ssl") t)
                   (nonsense nil error)))
    (ert-info ((format "%S %S" type options))
      (smtpmail-test-with-server (server options)
        (let* ((smtpmail-stream-type type)
               (warned nil)
               (why (cl-letf (((symbol-function 'display-warning)
                               (lambda (&rest _) (setq warned t))))
                      (smtpmail-test-send))))
          (should (eq warned (stringp type)))
          (if (eq expected 'error)
              (progn (should why)
                     (should-not (smtpmail-test-messages server)))
            (should-not why)
            (should (eq expected
                        (and (alist-get 'tls (smtpmail-test-message server)) t)))))))))

;;;; 8: auth-source

(ert-deftest smtpmail-checklist-08-search-keys ()
  "The search has the keys that back ends of users know."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (let* ((searches nil)
           (port (number-to-string smtpmail-smtp-service))
           (smtpmail-smtp-user "alice"))
      (cl-letf (((symbol-function 'auth-source-search)
                 (lambda (&rest spec)
                   (push spec searches)
                   (list (list :host "localhost" :port port :user "alice"
                               ;; As the back ends of files have it.
                               :secret (lambda () (copy-sequence
                                                   smtpmail-test-canary)))))))
        (should-not (smtpmail-test-send)))
      (should searches)
      (should (seq-find (lambda (spec)
                          (and (equal (plist-get spec :host) "localhost")
                               (equal (plist-get spec :port) port)
                               (equal (plist-get spec :user) "alice")
                               (eql (plist-get spec :max) 1)))
                        searches)))
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-checklist-08-smtp-auth ()
  "`smtp-auth' of an entry chooses the mechanism."
  (dolist (mechanism '("login" "plain"))
    (smtpmail-test-with-server (server smtpmail-checklist-login
                                       "--caps-tls" "AUTH CRAM-MD5 PLAIN LOGIN")
      (smtpmail-checklist-with-authinfo
          (format "machine localhost port %d login alice password %s smtp-auth %s\n"
                  smtpmail-smtp-service smtpmail-test-canary mechanism)
        (should-not (smtpmail-test-send)))
      (should (= 1 (length (smtpmail-checklist-commands
                            server (concat "\\`AUTH " (upcase mechanism)))))))))

(ert-deftest smtpmail-checklist-08-forgotten-when-refused ()
  "A refused login is forgotten; what the file says then counts."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (let ((line (format "machine localhost port %d login alice password "
                        smtpmail-smtp-service)))
      (smtpmail-checklist-with-authinfo (concat line "wrong\n")
        (should (string-match-p "535" (smtpmail-test-send)))
        (with-temp-file authinfo (insert line smtpmail-test-canary "\n"))
        (should-not (smtpmail-test-send))))
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-checklist-08-saved-after-success-only ()
  "What was typed is saved if the server took it, and not before."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (smtpmail-checklist-with-authinfo ""
      (let ((auth-source-save-behavior t)
            (text (lambda () (with-temp-buffer
                               (insert-file-contents authinfo)
                               (buffer-string)))))
        (ignore-errors
          (smtpmail-checklist-answering (list "alice" "wrong")
            (ignore (smtpmail-test-send))))
        (should (equal (funcall text) ""))
        (smtpmail-auth-forget)
        (auth-source-forget-all-cached)
        (let ((asked (smtpmail-checklist-answering
                         (list "alice" (copy-sequence smtpmail-test-canary))
                       (should-not (smtpmail-test-send)))))
          (should (string-match-p "SMTP user name for localhost" (car asked)))
          (should (equal (cadr asked) "SMTP password for alice@localhost: ")))
        (should (string-match-p "login alice" (funcall text)))))))

;;;; 9, 10: the rest

(ert-deftest smtpmail-checklist-09-servers-requiring-authorization ()
  "A server that matches gets no mail without a login."
  (dolist (regexp '(nil "other" "local"))
    (smtpmail-test-with-server (server smtpmail-checklist-login
                                       "--caps-tls" "AUTH PLAIN")
      (let* ((smtpmail-servers-requiring-authorization regexp)
             (why (smtpmail-test-send)))
        (should (eq (equal regexp "local") (and why t)))
        (should (= (if why 0 1) (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-checklist-09-smtp-user ()
  "`smtpmail-smtp-user' chooses among the logins of a server."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (smtpmail-checklist-with-authinfo
        (format "machine localhost port %1$d login bob password no\nmachine localhost port %1$d login alice password %2$s\n"
                smtpmail-smtp-service smtpmail-test-canary)
      (let ((smtpmail-smtp-user "alice"))
        (should-not (smtpmail-test-send))))
    (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))))

(ert-deftest smtpmail-checklist-09-domains ()
  "Domains are appended to recipients and to the name in EHLO."
  (smtpmail-test-with-server (server)
    (let ((smtpmail-sendto-domain "site.example")
          (smtpmail-local-domain "here.example"))
      (should-not (smtpmail-test-send "To: bob, carol@example.net\n")))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'to message)
                     '("bob@site.example" "carol@example.net")))
      (should (equal (alist-get 'helo message)
                     (concat (system-name) ".here.example"))))))

(ert-deftest smtpmail-checklist-10-values-at-call-time ()
  "Bound and buffer-local values at the time of the call win."
  (smtpmail-test-with-server (server)
    (let ((port smtpmail-smtp-service)
          (smtpmail-smtp-service (smtpmail-test-quiet-port))
          (smtpmail-smtp-server "nowhere.invalid"))
      ;; As message.el binds them for X-Message-SMTP-Method.
      (let ((smtpmail-smtp-server "localhost") (smtpmail-smtp-service port))
        (should-not (smtpmail-test-send)))
      ;; As a context of a mail reader sets them.
      (with-temp-buffer
        (setq-local smtpmail-smtp-server "localhost"
                    smtpmail-smtp-service port)
        (insert (smtpmail-test-mail "To: you@example.net\n"))
        (smtpmail-send-it)))
    (should (= 2 (length (smtpmail-test-messages server))))))

(provide 'smtpmail-checklist-configuration-tests)

;;; smtpmail-checklist-configuration-tests.el ends here
