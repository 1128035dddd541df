;;; smtpmail-background-accounts-tests.el --- Accounts and trust in the background  -*- lexical-binding: t -*-

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

;; Which account mail goes over that is sent while Emacs goes on, accounts that
;; rest after a refused login, and questions of trust.

;;; Code:

(require 'smtpmail-background-test)
(require 'smtpmail-accounts)
(require 'smtpmail-auth-lookup)
(require 'smtpmail-outbox-list)
(require 'smtpmail-trust)

(defun smtpmail-background-accounts-tests--account (server &rest settings)
  "Return an entry of `smtpmail-accounts' for me@work.example over SERVER.
SETTINGS are more of it."
  `("me@work.example" :server "localhost"
    :service ,(smtpmail-test-server-port server) ,@settings))

(ert-deftest smtpmail-background-account-of-the-author ()
  "The table chooses the server, and its envelope sender and limit hold."
  (smtpmail-background-tests--with (home)
    (let ((queue smtpmail-queue-dir))
      (smtpmail-test-with-server (work)
        (let* ((smtpmail-queue-dir queue)
               (smtpmail-smtp-service (smtpmail-test-server-port home))
               (smtpmail-accounts
                (list (smtpmail-background-accounts-tests--account
                       work :name "Work" :security nil
                       :envelope-sender "bounces@example.org"
                       :size-limit 5000)))
               (user-mail-address "me@work.example"))
          ;; No caller chose the server: the global value is that of home.
          (cl-letf (((default-value 'smtpmail-smtp-service) smtpmail-smtp-service)
                    ((symbol-function 'smtpmail-accounts--caller-chose-p) #'ignore))
            (should-not (smtpmail-test-send
                         "From: me@work.example\nTo: you@example.net\nSubject: Hi\n"))
            (should (string-match-p
                     "takes .* at most"
                     (smtpmail-test-send
                      "From: me@work.example\nTo: you@example.net\nSubject: Big\n"
                      (make-string 6000 ?x)))))
          (smtpmail-background-tests--wait 'sent)
          (should-not (smtpmail-test-messages home))
          (should (equal "bounces@example.org"
                         (alist-get 'from (smtpmail-test-message work)))))))))

(ert-deftest smtpmail-background-account-is-stored ()
  "Another Emacs learns from the outbox over which account a message goes."
  (smtpmail-background-tests--with (server "--on" "greeting=silence")
    (let ((smtpmail-accounts
           (list (smtpmail-background-accounts-tests--account server :name "Work"))))
      (cl-letf (((symbol-function 'smtpmail-accounts--caller-chose-p) #'ignore))
        (should-not (smtpmail-test-send
                     "From: me@work.example\nTo: you@example.net\nSubject: Hi\n")))
      (let* ((entry (car (plist-get (smtpmail-outbox-entries) :entries)))
             (mail (smtpmail-background-from-entry
                    entry (smtpmail-outbox--place))))
        (should (equal "Work" (plist-get entry :account)))
        ;; An account with a server asks for TLS, the variables do not.
        (should (eq 'required
                    (plist-get (smtpmail-background-mail-account mail) :security)))
        (should (equal (smtpmail-background--key mail)
                       (smtpmail-background--key
                        (car smtpmail-background--mails))))))))

(ert-deftest smtpmail-background-account-rests ()
  "After a refused login the next message asks before it logs in."
  (smtpmail-background-tests--with
      (server "--user" "alice" "--password" smtpmail-test-canary "--require-auth"
              "--caps" "STARTTLS,PIPELINING,AUTH PLAIN")
    (let* ((asked nil)
           (answer nil)
           (smtpmail-outbox-rest--accounts nil)
           (smtpmail-auth-credentials
            (list (list "localhost" smtpmail-smtp-service "alice" "wrong"))))
      (cl-letf (((symbol-function 'smtpmail-auth-ask-again) #'ignore)
                ((symbol-function 'smtpmail-auth-can-prompt-p)
                 (lambda () (not smtpmail-auth-prompt-inhibited)))
                ((symbol-function 'y-or-n-p)
                 (lambda (question) (push question asked) answer)))
        (cl-flet ((ask () (smtpmail-test-wait
                           "an end"
                           (lambda ()
                             (smtpmail-ask-all)
                             smtpmail-background-tests--told))
                       (smtpmail-background-tests--wait 'failed)))
          (smtpmail-background-tests--send "One")
          (ask)
          (should smtpmail-outbox-rest--accounts)
          (let ((logins (smtpmail-background-accounts-tests--logins server)))
            (should (> logins 0))
            (smtpmail-background-tests--send "Two")
            (should (string-match-p "refused" (plist-get (car (ask)) :reason)))
            (should (= 1 (length asked)))
            (should (= logins (smtpmail-background-accounts-tests--logins server)))
            (setq answer t)
            (setf (nth 3 (car smtpmail-auth-credentials)) smtpmail-test-canary)
            ;; Both wait for a word; this is the user's.
            (smtpmail-background-retry
             (car (smtpmail-background-mails 'stuck)))
            (smtpmail-background-tests--wait 'sent)
            (should-not smtpmail-outbox-rest--accounts)))))))

(defun smtpmail-background-accounts-tests--logins (server)
  "Return how often a login was tried at SERVER."
  (let ((log (smtpmail-test-log server))
        (count 0)
        (start 0))
    (while (string-match "^C: AUTH " log start)
      (setq count (1+ count) start (match-end 0)))
    count))

(ert-deftest smtpmail-background-certificate-is-asked-about ()
  "A certificate that is not accepted is asked about, once for all messages."
  (smtpmail-background-tests--with (server "--cert" "selfsigned")
    (let ((asked 0)
          (smtpmail-stream-type 'starttls))
      (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p)
                 (lambda () (not smtpmail-auth-prompt-inhibited)))
                ((symbol-function 'smtpmail-trust--choose)
                 (lambda (&rest _) (setq asked (1+ asked)) 'once)))
        (smtpmail-background-tests--send)
        (smtpmail-test-wait "the question" (lambda () (> (smtpmail-ask-count) 0)))
        (should-not (smtpmail-test-messages server))
        (smtpmail-ask-all)
        (smtpmail-background-tests--wait 'sent)
        (should (= asked 1))
        (should (smtpmail-test-message server))
        ;; Trusted once is not trusted for the next, on a kept connection either.
        (smtpmail-background-tests--send)
        (smtpmail-test-wait "the question" (lambda () (> (smtpmail-ask-count) 0)))
        (cl-letf (((symbol-function 'smtpmail-trust--choose)
                   (lambda (&rest _) (signal 'quit nil))))
          (smtpmail-ask-all))
        (smtpmail-test-wait "its end"
                            (lambda () (smtpmail-background-mails 'stuck)))
        (should (equal (smtpmail-background-tests--states) '(waiting)))
        (should (= 1 (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-background-released-in-the-list ()
  "What was held or refused goes by itself when it is released."
  (smtpmail-background-tests--with (server "--on" "rcpt#1=reply 550 5.1.1 Nobody")
    (smtpmail-background-tests--send)
    (smtpmail-background-tests--wait 'failed)
    (should (equal (smtpmail-background-tests--states) '(refused)))
    (save-window-excursion
      (smtpmail-outbox)
      (cl-letf (((symbol-function 'yes-or-no-p) (lambda (&rest _) t)))
        (smtpmail-outbox-list-release))
      (kill-buffer))
    (smtpmail-background-tests--wait 'sent)
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-background-state-in-the-list ()
  "The outbox shows when this Emacs tries again, and what waits for the user."
  (smtpmail-background-tests--with (server "--on" "mail#1=reply 451 4.7.1 Later")
    (let ((smtpmail-background--refusal-pause 1000)
          (state (lambda ()
                   (smtpmail-outbox-list--state
                    (car (plist-get (smtpmail-outbox-entries) :entries))))))
      (smtpmail-background-tests--send)
      (smtpmail-test-wait "the delay" (lambda () (smtpmail-background-mails 'delayed)))
      (let ((mail (car smtpmail-background--mails)))
        (should (equal (funcall state)
                       (concat "deferred "
                               (smtpmail-outbox-list--time
                                (smtpmail-background-mail-time mail)))))
        (smtpmail-background-stop mail)
        (should (equal (funcall state) "stuck")))
      (save-window-excursion
        (smtpmail-outbox)
        (smtpmail-outbox-list-send)
        (kill-buffer))
      (should (smtpmail-test-message server))
      (should-not (smtpmail-background-tests--states))
      (should-not smtpmail-background--mails)
      (should (equal smtpmail-mode-line-string "")))))

(ert-deftest smtpmail-background-accounts-every-setting-holds-now-and-later ()
  "For a message that is waited for, from the queue, and in the background."
  (smtpmail-background-tests--with
      (server "--user" "alice" "--password" smtpmail-test-canary "--require-auth"
              "--client-ca" "--cert" "selfsigned" "--require-tls"
              "--on" "rcpt:no@example.net=reply 550 5.1.1 Nobody")
    (smtpmail-test-with-directory directory
      (let* ((port (smtpmail-test-server-port server))
             (certificates (file-name-directory (smtpmail-test-server-ca server)))
             (netrc (expand-file-name "netrc" directory))
             (settings
              (list :name "x" :server "localhost" :service port :security 'starttls
                    :user "alice" :mechanisms '(login)
                    :client-key (expand-file-name "client.key" certificates)
                    :client-certificate (expand-file-name "client.pem" certificates)
                    :pin (upcase (smtpmail-test-server-sha256 server))
                    :ehlo-name "client.example" :envelope-sender "bounces@example.org"
                    :size-limit 5000 :refused-recipients 'send-rest
                    :dsn '(failure) :priority 1))
             (smtpmail-accounts (list (cons t settings)))
             ;; No authority vouches for it.
             (gnutls-trustfiles nil)
             (auth-source-do-cache nil)
             (auth-sources (list netrc))
             (header "From: me@example.org\nTo: you@example.net, no@example.net\n")
             (before (list smtpmail-smtp-server smtpmail-smtp-service
                           smtpmail-starttls-credentials smtpmail-ehlo-name
                           smtpmail-auth-supported)))
        (with-temp-file netrc
          (insert (format "machine localhost port %d login bob password no\n\
machine localhost port %d login alice password %s\n" port port smtpmail-test-canary)))
        (smtpmail-accounts-with (smtpmail-accounts-bindings (cons "x" settings))
          (should (string-match-p "account x takes"
                                  (smtpmail-test-send header (make-string 9000 ?x))))
          (cl-letf (((symbol-function 'display-warning) #'ignore))
            (let ((smtpmail-send-in-background nil))
              (should-not (smtpmail-test-send header))
              (let ((smtpmail-queue-mail t))
                (should-not (smtpmail-test-send header))))
            (should-not (smtpmail-test-send header))))
        (cl-letf (((symbol-function 'display-warning) #'ignore))
          (smtpmail-background-tests--wait 'sent)
          (smtpmail-send-queued-mail))
        (should (equal before (list smtpmail-smtp-server smtpmail-smtp-service
                                    smtpmail-starttls-credentials
                                    smtpmail-ehlo-name smtpmail-auth-supported)))
        (let ((messages (smtpmail-test-messages server)))
          (should (= 3 (length messages)))
          (dolist (message messages)
            (should (equal '("alice" "client.example" "bounces@example.org"
                             ("you@example.net"))
                           (mapcar (lambda (key) (alist-get key message))
                                   '(auth_user helo from to))))
            (should (alist-get 'client_certificate message))
            (should (alist-get 'tls message))
            (should (member "NOTIFY=FAILURE" (car (alist-get 'rcpt_params message))))))
        (smtpmail--close-connections)
        (should (string-search "C: AUTH LOGIN" (smtpmail-test-log server)))))))

(ert-deftest smtpmail-background-accounts-a-wrong-pin-keeps-all-here ()
  "Although an authority vouches for the certificate; nobody is asked."
  (smtpmail-background-tests--with (server)
    (let ((account `("x" :security starttls :pin (,(make-string 64 ?a)))))
      (smtpmail-accounts-with (smtpmail-accounts-bindings account)
        (let ((smtpmail-send-in-background nil))
          (should (string-match-p "not the one that the settings name"
                                  (smtpmail-test-send))))
        (smtpmail-background-tests--send)
        (cl-letf (((symbol-function 'display-warning) #'ignore))
          (smtpmail-background-tests--wait 'failed)))
      (smtpmail-accounts-with (smtpmail-accounts-bindings '("x" :pin "abc"))
        (should (string-match-p "64 hexadecimal digits: abc"
                                (let ((smtpmail-send-in-background nil))
                                  (smtpmail-test-send))))))
    (should-not (smtpmail-test-messages server))))

(provide 'smtpmail-background-accounts-tests)

;;; smtpmail-background-accounts-tests.el ends here
