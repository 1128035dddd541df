;;; smtpmail-questions-tests.el --- Questions at a terminal, and where none is asked  -*- lexical-binding: t -*-

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

;; Questions at a terminal that belong to sending, what the answers do, and
;; where nobody is asked.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-terminal)

(defconst smtpmail-questions-tests--memory
  '(global-set-key
    (kbd "<f8>")
    (lambda ()
      (interactive)
      (tests-note
       "memory"
       (list (with-current-buffer (messages-buffer) (buffer-string))
             (prin1-to-string (mapcar #'symbol-value
                                      '(smtpmail-auth-credentials
                                        minibuffer-history)))
             (mapcar (lambda (file)
                       (with-temp-buffer (insert-file-contents file)
                                         (buffer-string)))
                     (directory-files (expand-file-name "~") t "authinfo"))))))
  "Makes F8 note where a password could have stayed.")

(defun smtpmail-questions-tests--sent (terminal)
  "Check that what was sent at TERMINAL went."
  (should (equal (smtpmail-terminal-note terminal "end") '(sent))))

;;;; In clear

(ert-deftest smtpmail-questions-tests-in-clear ()
  "Whether a password may travel in clear is asked; only yes lets it."
  (pcase-dolist (`(,answer ,sent) '(("yes" t) ("no" nil)))
    (smtpmail-test-with-server (server "--user" "alice"
                                       "--password" smtpmail-test-canary
                                       "--caps" "AUTH PLAIN")
      (smtpmail-terminal-with
          (terminal server
                    `(setq smtpmail-smtp-server "0.0.0.0"
                           smtpmail-auth-credentials
                           (list (list "0.0.0.0" smtpmail-smtp-service
                                       "alice" ,smtpmail-test-canary))))
        (smtpmail-terminal-keys terminal "F5")
        (smtpmail-terminal-shows
         terminal "^The connection to 0\\.0\\.0\\.0 is not encrypted, and your \
password would travel in clear\\.  Send it\\? (yes or no)")
        (smtpmail-terminal-type terminal answer)
        (if sent
            (smtpmail-questions-tests--sent terminal)
          (should (string-match-p "the password would travel in clear"
                                  (cadr (smtpmail-terminal-note terminal "end"))))))
      (should (eq sent (and (string-match-p "^C: AUTH PLAIN"
                                            (smtpmail-test-log server))
                            t)))
      (should (= (if sent 1 0) (length (smtpmail-test-messages server)))))))

;;;; Once

(ert-deftest smtpmail-questions-tests-entry-asked-once ()
  "User and password that an entry leaves out are asked once, and stay in memory."
  (smtpmail-test-with-server (server "--user" "alice"
                                     "--password" smtpmail-test-canary)
    (smtpmail-terminal-with
        (terminal server smtpmail-questions-tests--memory
                  '(setq smtpmail-auth-credentials
                         (list (list "localhost" smtpmail-smtp-service nil nil))))
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-shows terminal "^SMTP user name for localhost: ")
      (smtpmail-terminal-type terminal "alice")
      (smtpmail-terminal-shows terminal "^SMTP password for localhost:[0-9]+: ")
      (smtpmail-terminal-type terminal smtpmail-test-canary)
      (smtpmail-questions-tests--sent terminal)
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-questions-tests--sent terminal)
      (smtpmail-terminal-keys terminal "F8")
      (pcase-let ((`(,messages ,variables ,files)
                   (smtpmail-terminal-note terminal "memory")))
        (should (string-match-p "^Sent: 250 " messages))
        (should-not files)
        (smtpmail-test-should-hide-canary messages variables)))
    (should (equal (mapcar (lambda (message) (alist-get 'auth_user message))
                           (smtpmail-test-messages server))
                   '("alice" "alice")))))

(ert-deftest smtpmail-questions-tests-demanded ()
  "A login that the server demands at MAIL or RCPT is asked for once, and used.
If the server hung up meanwhile, it is called again, and the answer kept."
  (pcase-dolist (`(,rule ,sessions)
                 '(("mail#1=reply 530 5.7.0 Log in" 1)
                   ("mail#1=reply-close 530 5.7.0 Log in" 2)
                   ("rcpt#1=reply 550 5.7.1 Relaying denied" 1)
                   ("rcpt#1=reply 503 5.5.1 Log in before relaying" 1)))
    (ert-info (rule)
      (smtpmail-test-with-server (server "--user" "alice"
                                         "--password" smtpmail-test-canary
                                         "--on" rule)
        (smtpmail-terminal-with
            (terminal server smtpmail-questions-tests--memory
                      '(setq auth-sources '("~/authinfo")))
          (smtpmail-terminal-keys terminal "F5")
          (smtpmail-terminal-shows terminal "^SMTP user name for localhost")
          (smtpmail-terminal-type terminal "alice")
          (smtpmail-terminal-shows terminal "^SMTP password for alice@localhost: ")
          (smtpmail-terminal-type terminal smtpmail-test-canary)
          ;; Not before the server has taken the mail.
          (smtpmail-terminal-shows terminal "^Save auth info to file ")
          (should (smtpmail-test-message server))
          (smtpmail-terminal-keys terminal "n")
          (smtpmail-questions-tests--sent terminal)
          (smtpmail-terminal-keys terminal "F8")
          (pcase-let ((`(,messages ,variables ,files)
                       (smtpmail-terminal-note terminal "memory")))
            (should-not files)
            (smtpmail-test-should-hide-canary messages variables)))
        (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))
        (should (= sessions (length (split-string (smtpmail-test-log server)
                                                  "\f"))))))))

;;;; Later

(ert-deftest smtpmail-questions-tests-queue-instead ()
  "A mail that is refused for now can be queued; it has its copy then."
  (pcase-dolist (`(,answer ,queued) '(("y" t) ("n" nil)))
    (smtpmail-test-with-directory directory
      (let ((copy (expand-file-name "copy" directory))
            (smtpmail-queue-dir (expand-file-name "queue/" directory)))
        (smtpmail-test-with-server (server "--on" "rcpt=reply 450 4.2.0 Greylisted")
          (smtpmail-terminal-with
              (terminal server smtpmail-questions-tests--memory
                        `(setq smtpmail-queue-dir ,smtpmail-queue-dir
                               tests-mail ,(smtpmail-test-mail
                                            (format "To: a@example.net\nFcc: %s\n"
                                                    copy))))
            (smtpmail-terminal-keys terminal "F5")
            (smtpmail-terminal-shows
             terminal "^Not sent: 450 4\\.2\\.0 Greylisted.*  Queue it for later\\? (y or n)")
            (smtpmail-terminal-keys terminal answer)
            (if queued
                (progn
                  (smtpmail-questions-tests--sent terminal)
                  (smtpmail-terminal-keys terminal "F8")
                  (should (string-match-p
                           "^Queued (1 in .*); M-x smtpmail-send-queued-mail sends it$"
                           (car (smtpmail-terminal-note terminal "memory")))))
              (should (string-prefix-p "Sending failed: 450 4.2.0 Greylisted"
                                       (cadr (smtpmail-terminal-note
                                              terminal "end"))))))
          (should (eq queued (file-exists-p copy)))
          (should (= (if queued 1 0)
                     (length (plist-get (smtpmail-outbox-entries) :entries)))))))))

;;;; Nobody

(ert-deftest smtpmail-questions-tests-not-within-a-question ()
  "While the user answers something else, nothing is asked."
  (smtpmail-test-with-server (server "--user" "alice" "--password" "right")
    (smtpmail-terminal-with
        (terminal server
                  '(progn
                     (setq smtpmail-auth-credentials
                           (list (list "localhost" smtpmail-smtp-service "alice" nil)))
                     (global-set-key
                      (kbd "<f9>")
                      (lambda ()
                        (interactive)
                        (run-at-time 0.1 nil
                                     (lambda ()
                                       (with-current-buffer "mail"
                                         (ignore-errors (tests-send)))))
                        (tests-note "answer" (read-string "Your answer: "))))))
      (smtpmail-terminal-keys terminal "F9")
      (should (string-match-p "has no password, and nobody can be asked"
                              (cadr (smtpmail-terminal-note terminal "end"))))
      ;; The other question is still there.
      (smtpmail-terminal-shows terminal "Your answer: ")
      (smtpmail-terminal-type terminal "this")
      (should (equal (smtpmail-terminal-note terminal "answer") "this")))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-questions-tests-daemon ()
  "A daemon that no client is connected to asks nothing, and does not wait."
  (smtpmail-test-with-directory directory
    (smtpmail-test-with-server
        (server "--user" "alice" "--password" "right" "--caps" "AUTH PLAIN,SIZE"
                "--on" "rcpt:refused@example.net=reply 550 5.1.1 No"
                "--on" "rcpt:demanded@example.net=reply 530 5.7.0 Log in"
                "--on" "rcpt:later@example.net=reply 450 4.2.0 Later")
      (let* ((file (expand-file-name "init.el" directory))
             (result (expand-file-name "result" directory))
             (forms
              `(,@(smtpmail-test-settings server)
                (require 'smtpmail)
                (setq smtpmail-queue-dir ,(expand-file-name "queue/" directory))
                (defun tests-why (to host password)
                  (let ((smtpmail-smtp-server host)
                        (smtpmail-auth-credentials
                         (and password
                              (list (list host smtpmail-smtp-service "alice"
                                          (and (stringp password) password))))))
                    (with-temp-buffer
                      (insert (format "To: %s\n%s\nHi\n" to mail-header-separator))
                      (condition-case why
                          (progn (smtpmail-send-it) 'sent)
                        (error (error-message-string why))))))
                (defun tests-run ()
                  (let ((answers
                         (list noninteractive
                               (tests-why "a@example.net" "localhost" t)
                               (tests-why "a@example.net" "0.0.0.0" "right")
                               (tests-why "refused@example.net, a@example.net"
                                          "localhost" nil)
                               (tests-why "demanded@example.net" "localhost" nil)
                               (tests-why "later@example.net" "localhost" nil)
                               (tests-why "a@example.net" "" nil))))
                    (write-region (prin1-to-string answers) nil ,(concat result ".new"))
                    (rename-file ,(concat result ".new") ,result))
                  (kill-emacs))
                (run-at-time 0 nil #'tests-run)))
             (process-environment (cons (concat "HOME=" directory)
                                        process-environment)))
        (with-temp-file file
          (dolist (form forms) (prin1 form (current-buffer)) (insert "\n")))
        (let ((daemon (make-process
                       :name "daemon" :noquery t :connection-type 'pipe
                       :command (list smtpmail-test-emacs "-Q"
                                      (concat "--fg-daemon="
                                              (expand-file-name "socket" directory))
                                      "--eval" "(setq load-prefer-newer t)"
                                      "-L" smtpmail-test-lisp "-l" file))))
          (unwind-protect
              (smtpmail-test-wait "what the daemon did"
                                  (lambda () (file-exists-p result)))
            (delete-process daemon)))
        (cl-mapc
         (lambda (expected answer)
           (ert-info ((format "%S" expected))
             (if expected
                 (should (string-match-p expected answer))
               (should-not answer))))
         '(nil
           "has no password, and nobody can be asked"
           "the password would travel in clear"
           "550 5\\.1\\.1 No in response to RCPT TO:<refused@example\\.net>; the other"
           "530 5\\.7\\.0 Log in in response to RCPT"
           "450 4\\.2\\.0 Later in response to RCPT"
           "smtpmail-smtp-server.* not defined")
         (read (decode-coding-string (smtpmail-test-text result) 'utf-8)))
        (should-not (smtpmail-test-messages server))))))

(provide 'smtpmail-questions-tests)

;;; smtpmail-questions-tests.el ends here
