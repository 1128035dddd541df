;;; smtpmail-accounts-tests.el --- Which account a message goes over  -*- lexical-binding: t -*-

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

;; Two servers, and messages that must find the right one.

;;; Code:

(require 'message)
(require 'smtpmail-test)

(defvar message-server-alist)

(defvar smtpmail-accounts-tests--home nil "The first server.")
(defvar smtpmail-accounts-tests--work nil "The second server.")

(defmacro smtpmail-accounts-tests--with (options &rest body)
  "Run BODY with two servers, the second one with OPTIONS.
No variable is bound that says which of them to use: to bind it is to
choose."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-directory directory
     (let* ((spool (lambda (name)
                     (let ((spool (expand-file-name name directory)))
                       (make-directory spool)
                       spool)))
            (smtpmail-accounts-tests--home
             (smtpmail-test-start (funcall spool "home") nil))
            (smtpmail-accounts-tests--work
             (smtpmail-test-start (funcall spool "work") ,options))
            (gnutls-trustfiles
             (list (smtpmail-test-server-ca smtpmail-accounts-tests--home)))
            (auth-sources nil)
            (smtpmail-retries 1)
            (smtpmail-queue-dir (expand-file-name "queue" directory))
            (user-mail-address "me@example.org")
            (user-full-name "Me Myself")
            (inhibit-message t))
       (unwind-protect (progn ,@body)
         (smtpmail-test-stop smtpmail-accounts-tests--home)
         (smtpmail-test-stop smtpmail-accounts-tests--work)
         (smtpmail-test-kill-traces)))))

(defun smtpmail-accounts-tests--account (match server &rest settings)
  "Return an account for MATCH at SERVER with SETTINGS."
  `(,match :server "localhost" :service ,(smtpmail-test-server-port server)
           ,@settings))

(defun smtpmail-accounts-tests--from (from &optional more)
  "Send a message from FROM with MORE header; return nil, or the error text."
  (smtpmail-test-send (concat "From: " from "\nTo: you@example.net\nSubject: Hi\n"
                              more)))

(defun smtpmail-accounts-tests--arrived ()
  "Return how many messages the two servers have, as a list."
  (list (length (smtpmail-test-messages smtpmail-accounts-tests--home))
        (length (smtpmail-test-messages smtpmail-accounts-tests--work))))

(ert-deftest smtpmail-accounts-are-chosen-by-author ()
  "By address, domain, regexp and function; the first that fits wins."
  (smtpmail-accounts-tests--with nil
    (let ((home smtpmail-accounts-tests--home)
          (work smtpmail-accounts-tests--work))
      (pcase-dolist
          (`(,match ,from ,arrived)
           `(("me@work.example" "Me <Me@Work.Example>" (0 1))
             ("me@work.example" "me@work.example.org" (1 0))
             ("@work.example" "\"x, y\" <boss@WORK.example>" (0 1))
             ("@work.example" "boss@network.example" (1 0))
             ((regexp . "\\+list@") "me+list@home.example" (0 1))
             ((regexp . "\\+list@") "me@home.example" (1 0))
             (,(lambda (address)
                 (and (equal address "f@home.example")
                      (equal (mail-fetch-field "Subject") "Hi")))
              "f@home.example" (0 1))))
        (let* ((smtpmail-accounts
                (list (smtpmail-accounts-tests--account match work)
                      (smtpmail-accounts-tests--account t home)))
               (before (smtpmail-accounts-tests--arrived)))
          (should-not (smtpmail-accounts-tests--from from))
          (should (equal (cl-mapcar #'+ before arrived)
                         (smtpmail-accounts-tests--arrived))))))))

(ert-deftest smtpmail-accounts-a-resent-message-goes-over-the-resender ()
  "Resent-From goes before From."
  (smtpmail-accounts-tests--with nil
    (let ((smtpmail-accounts
           (list (smtpmail-accounts-tests--account
                  "@work.example" smtpmail-accounts-tests--work)
                 (smtpmail-accounts-tests--account
                  t smtpmail-accounts-tests--home))))
      (should-not (smtpmail-accounts-tests--from
                   "a@home.example"
                   "Resent-From: b@work.example\nResent-To: c@example.net\n"))
      (should (equal '(0 1) (smtpmail-accounts-tests--arrived))))))

(ert-deftest smtpmail-accounts-change-nothing-global ()
  "Sending over an account leaves every variable as it was."
  (smtpmail-accounts-tests--with nil
    (let* ((smtpmail-accounts
            (list (smtpmail-accounts-tests--account
                   t smtpmail-accounts-tests--work
                   :security 'starttls :ehlo-name "client.example"
                   :envelope-sender "bounces@example.org"
                   :mechanisms '(plain))))
           (state (lambda ()
                    (let (values)
                      (mapatoms
                       (lambda (symbol)
                         (and (boundp symbol)
                              (string-match-p
                               "\\`\\(?:smtpmail\\|user-mail\\|mail\\)-"
                               (symbol-name symbol))
                              (not (memq symbol '(smtpmail-recipient-address-list
                                                  smtpmail--report)))
                              (push (cons symbol
                                          (list (default-toplevel-value symbol)
                                                (symbol-value symbol)))
                                    values))))
                      (sort values (lambda (a b) (string< (car a) (car b)))))))
           (before (funcall state)))
      (should-not (smtpmail-accounts-tests--from "me@example.org"))
      (should (equal before (funcall state)))
      (let ((message (smtpmail-test-message smtpmail-accounts-tests--work))
            (log (smtpmail-test-log smtpmail-accounts-tests--work)))
        (should (string-match-p "^C: STARTTLS" log))
        (should (string-match-p "^C: EHLO client\\.example\r?$" log))
        (should (string-match-p "^C: MAIL FROM:<bounces@example\\.org>" log))
        (should message)))))

(ert-deftest smtpmail-accounts-log-in-each-as-its-own ()
  "User and mechanisms of an account; its credentials are auth-source's."
  (smtpmail-accounts-tests--with '("--user" "alice" "--password" "c4nary-Passw0rd"
                                   "--require-auth")
    (let* ((port (smtpmail-test-server-port smtpmail-accounts-tests--work))
           (netrc (make-temp-file "smtpmail" nil nil
                                  (format "machine localhost port %d login bob \
password no\nmachine localhost port %d login alice password %s\n"
                                          port port smtpmail-test-canary)))
           (auth-sources (list netrc))
           (smtpmail-accounts
            (list (smtpmail-accounts-tests--account
                   "@work.example" smtpmail-accounts-tests--work
                   :user "alice" :mechanisms '(login)))))
      (unwind-protect
          (progn
            (auth-source-forget-all-cached)
            (should-not (smtpmail-accounts-tests--from "me@work.example"))
            (should (string-match-p
                     "^C: AUTH LOGIN"
                     (smtpmail-test-log smtpmail-accounts-tests--work))))
        (delete-file netrc)))))

(ert-deftest smtpmail-accounts-a-chosen-server-wins ()
  "X-Message-SMTP-Method and `message-server-alist' go before the table."
  (smtpmail-accounts-tests--with nil
    (let ((smtpmail-accounts
           (list (smtpmail-accounts-tests--account
                  t smtpmail-accounts-tests--home)))
          (message-send-mail-function 'smtpmail-send-it)
          (method (format "smtp localhost %d"
                          (smtpmail-test-server-port
                           smtpmail-accounts-tests--work)))
          (mail-interactive t)
          (message-interactive t))
      (cl-flet ((send (header)
                  (with-temp-buffer
                    (message-mode)
                    (insert "From: me@work.example\nTo: you@example.net\n"
                            "Subject: Hi\n" header mail-header-separator
                            "\nHello\n")
                    ;; As the command to send does, since Emacs 29.
                    (when (fboundp 'message-update-smtp-method-header)
                      (message-update-smtp-method-header))
                    (message-send-mail))))
        (send (format "X-Message-SMTP-Method: %s\n" method))
        (should (equal '(0 1) (smtpmail-accounts-tests--arrived)))
        (when (boundp 'message-server-alist)
          (let ((message-server-alist `(("me@work.example" . ,method))))
            (send ""))
          (should (equal '(0 2) (smtpmail-accounts-tests--arrived))))
        (send "")
        (should (equal 1 (car (smtpmail-accounts-tests--arrived))))))))

(ert-deftest smtpmail-accounts-hold-for-callers-of-via-smtp ()
  "Who calls `smtpmail-via-smtp' gets the account of the message as well."
  (smtpmail-accounts-tests--with nil
    (let ((smtpmail-accounts
           (list (smtpmail-accounts-tests--account
                  "@work.example" smtpmail-accounts-tests--work
                  :envelope-sender "bounces@example.org"))))
      (with-temp-buffer
        (insert "From: me@work.example\nTo: you@example.net\n\nHello\n")
        (should-not (smtpmail-via-smtp '("you@example.net") (current-buffer))))
      (should (equal "bounces@example.org"
                     (alist-get 'from
                                (smtpmail-test-message
                                 smtpmail-accounts-tests--work)))))))

(ert-deftest smtpmail-accounts-advice-has-the-last-word ()
  "What advice sets within `smtpmail-via-smtp' goes before the account."
  (smtpmail-accounts-tests--with nil
    (let ((smtpmail-accounts
           (list (smtpmail-accounts-tests--account
                  t smtpmail-accounts-tests--home)))
          (advice (lambda (&rest _)
                    (setq smtpmail-smtp-service
                          (smtpmail-test-server-port
                           smtpmail-accounts-tests--work)))))
      (advice-add 'smtpmail-via-smtp :before advice)
      (unwind-protect
          (should-not (smtpmail-accounts-tests--from "me@work.example"))
        (advice-remove 'smtpmail-via-smtp advice))
      (should (equal '(0 1) (smtpmail-accounts-tests--arrived))))))

(ert-deftest smtpmail-accounts-queued-mail-keeps-its-account ()
  "A flush sends each message over its account, as the table has it then."
  (smtpmail-accounts-tests--with nil
    (let ((smtpmail-accounts
           (list (smtpmail-accounts-tests--account
                  "@work.example" smtpmail-accounts-tests--work
                  :name "Work" :ehlo-name "client.example")
                 (smtpmail-accounts-tests--account
                  t smtpmail-accounts-tests--home)))
          (smtpmail-queue-mail t))
      (dolist (from '("a@work.example" "b@home.example" "c@work.example"))
        (should-not (smtpmail-accounts-tests--from from)))
      (should (equal '("Work" "t" "Work")
                     (mapcar (lambda (entry) (plist-get entry :account))
                             (plist-get (smtpmail-outbox-entries) :entries))))
      (smtpmail-send-queued-mail)
      (should (equal '(1 2) (smtpmail-accounts-tests--arrived)))
      (let ((log (smtpmail-test-log smtpmail-accounts-tests--work)))
        (should-not (string-search "\f" log))
        (should (string-match-p "^C: EHLO client\\.example\r?$" log)))
      ;; One whose account is gone goes to the server stored with it.
      (should-not (smtpmail-accounts-tests--from "a@work.example"))
      (let ((smtpmail-accounts nil))
        (smtpmail-send-queued-mail))
      (should (equal '(1 3) (smtpmail-accounts-tests--arrived))))))

(ert-deftest smtpmail-accounts-without-server-change-what-they-name ()
  "The rest is what the variables say."
  (let* ((smtpmail-smtp-user "someone")
         (bindings (smtpmail-accounts-bindings '("x" :user "alice"))))
    (should (equal "alice" (alist-get 'smtpmail-smtp-user bindings)))
    (should-not (assq 'smtpmail-smtp-server bindings))
    (should-not (assq 'smtpmail-stream-type bindings))))

(ert-deftest smtpmail-accounts-with-server-are-complete ()
  "Nothing of the variables leaks into them."
  (pcase-dolist (`(,settings ,service ,security)
                 '((() 587 starttls)
                   ((:service 465) 465 ssl)
                   ((:service "submissions") "submissions" ssl)
                   ((:service 25) 25 starttls)
                   ((:service 25 :security nil) 25 nil)
                   ((:security plain) 587 plain)))
    (let* ((smtpmail-smtp-user "someone")
           (smtpmail-stream-type 'plain)
           (bindings (smtpmail-accounts-bindings
                      `("x" :server "smtp.example.org" ,@settings))))
      (should (equal (cons 'smtpmail-smtp-user nil)
                     (assq 'smtpmail-smtp-user bindings)))
      (should (equal service (alist-get 'smtpmail-smtp-service bindings)))
      (should (equal (cons 'smtpmail-stream-type security)
                     (assq 'smtpmail-stream-type bindings))))))

(ert-deftest smtpmail-accounts-a-too-large-message-is-refused-at-once ()
  "Before any connection, in words that name the account."
  (smtpmail-accounts-tests--with nil
    (let ((smtpmail-accounts
           (list (smtpmail-accounts-tests--account
                  t smtpmail-accounts-tests--home
                  :name "Home" :size-limit 1000))))
      (should-not (smtpmail-accounts-tests--from "me@example.org"))
      (let ((why (smtpmail-test-send
                  "From: me@example.org\nTo: you@example.net\n"
                  (make-string 2000 ?x))))
        (should (string-match-p "account Home takes 1000 B at most" why)))
      (should (equal '(1 0) (smtpmail-accounts-tests--arrived))))))

(ert-deftest smtpmail-accounts-mistakes-are-named ()
  "At Customize, and when it is used."
  (pcase-dolist (`(,accounts ,text)
                 '((x "not a list")
                   ((("me" :server "s")) "matches no address: \"me\"")
                   ((((regexp . "\\(") :server "s")) "matches no address")
                   (((t :servr "s")) "unknown setting :servr")
                   (((t :service (1))) "bad value for :service: (1)")
                   (((t :server)) "a setting without a value")
                   ((t) "not of the form (MATCH \\. SETTINGS)")))
    (let ((why (cadr (should-error
                      (funcall (get 'smtpmail-accounts 'custom-set)
                               'smtpmail-accounts accounts)
                      :type 'user-error))))
      (should (string-search "smtpmail-accounts" why))
      (should (string-match-p text why)))
    (when (proper-list-p accounts)
      (let ((smtpmail-accounts accounts))
        (should (string-match-p
                 text (smtpmail-accounts-tests--from "me@example.org")))))))

(provide 'smtpmail-accounts-tests)

;;; smtpmail-accounts-tests.el ends here
