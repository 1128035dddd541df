;;; smtpmail-background-tests.el --- Sending while Emacs goes on  -*- lexical-binding: t -*-

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

;; What becomes of messages that go in the background.  What is asked, and
;; what is seen, is tested at a terminal (smtpmail-background-terminal-tests.el).

;;; Code:

(require 'smtpmail-background-test)

;;;; Accepted

(ert-deftest smtpmail-background-accepted ()
  "Control is back before the server says anything, the word after its 250."
  (smtpmail-background-tests--with (server "--on" "greeting=delay 1000")
    (smtpmail-background-tests--send)
    (should (equal (smtpmail-background-tests--states) '(waiting)))
    (should (string-match-p "\\` Mail:1 " smtpmail-mode-line-string))
    (should (memq 'smtpmail-mode-line-string global-mode-string))
    (should-not smtpmail-background-tests--told)
    (should-not (smtpmail-test-messages server))
    (let ((facts (car (smtpmail-background-tests--wait 'sent))))
      (should (string-match-p "\\`250 " (plist-get facts :reply)))
      (should (equal (plist-get facts :subject) "Hi"))
      (should (string-match-p "\\`<.*>\\'" (plist-get facts :message-id)))
      (should (equal (plist-get (car (plist-get facts :recipients)) :address)
                     "you@example.net"))
      (should (string-search (plist-get facts :message-id)
                             (alist-get 'bytes (smtpmail-test-message server)))))
    (should-not (smtpmail-background-tests--states))
    (should (equal smtpmail-mode-line-string ""))
    (should-not (memq 'smtpmail-mode-line-string global-mode-string))))

(ert-deftest smtpmail-background-large ()
  "A large text arrives as it is."
  (smtpmail-background-tests--with (server)
    (let ((body (mapconcat #'number-to-string (number-sequence 1 200000) "\n")))
      (should-not (smtpmail-test-send "To: you@example.net\nSubject: Large\n"
                                      (concat body "\n")))
      (smtpmail-background-tests--wait 'sent)
      (should (equal (smtpmail-test-body (smtpmail-test-message server))
                     (concat (string-replace "\n" "\r\n" body) "\r\n"))))))

(ert-deftest smtpmail-background-many ()
  "Twenty messages at once arrive once each, over few connections."
  (smtpmail-background-tests--with (server)
    (dotimes (number 20)
      (smtpmail-background-tests--send (format "Number %d" number)))
    (apply #'smtpmail-background-tests--wait (make-list 20 'sent))
    (should (= (length (delete-dups
                        (mapcar (lambda (message)
                                  (let ((bytes (alist-get 'bytes message)))
                                    (string-match "Subject: \\(.*\\)\r" bytes)
                                    (match-string 1 bytes)))
                                (smtpmail-test-messages server))))
               20))
    (should (= (length (smtpmail-test-messages server)) 20))
    (should-not (smtpmail-background-tests--states))))

(ert-deftest smtpmail-background-one-login ()
  "Messages that come one after the other go over one login."
  (smtpmail-background-tests--with (server "--user" "alice"
                                           "--password" smtpmail-test-canary)
    (let ((smtpmail-auth-credentials
           (list (list "localhost" smtpmail-smtp-service
                       "alice" smtpmail-test-canary))))
      (unwind-protect
          (dotimes (_ 10)
            (smtpmail-background-tests--send)
            (smtpmail-background-tests--wait 'sent))
        (smtpmail--close-connections))
      (should (= (length (smtpmail-test-messages server)) 10))
      (let ((log (smtpmail-test-log server))
            (start 0)
            (logins 0))
        (while (string-match "^C: AUTH" log start)
          (setq start (match-end 0)
                logins (1+ logins)))
        (should (= logins 1))
        (should (string-match-p "^C: QUIT" log))))))

(ert-deftest smtpmail-background-two-accounts ()
  "A server that says nothing does not hold up another account's mail."
  (smtpmail-background-tests--with (silent "--on" "greeting=silence")
    (smtpmail-background-tests--send "To the silent one")
    (let ((queue smtpmail-queue-dir))
      (smtpmail-test-with-server (other)
        (setq smtpmail-queue-dir queue)
        (smtpmail-background-tests--send "To the other one")
        (smtpmail-test-wait "one" (lambda () smtpmail-background-tests--told))
        (should (equal (plist-get (cdar smtpmail-background-tests--told) :subject)
                       "To the other one"))
        (should (= 1 (length (smtpmail-background-mails 'sending))))
        (should (smtpmail-test-message other))))))

(ert-deftest smtpmail-background-advice ()
  "An advice of `smtpmail-via-smtp' chooses the server, and what is sent."
  (smtpmail-background-tests--with (server)
    (let* ((port smtpmail-smtp-service)
           (advice (lambda (function recipients buffer &rest rest)
                     (let ((smtpmail-smtp-server "localhost")
                           (smtpmail-smtp-service port))
                       (with-current-buffer buffer
                         (save-excursion
                           (goto-char (point-max))
                           (insert "Added\n")))
                       (apply function (cons "more@example.net" recipients)
                              buffer rest)))))
      (advice-add 'smtpmail-via-smtp :around advice)
      (unwind-protect
          (let ((smtpmail-smtp-server "nowhere.invalid")
                (smtpmail-smtp-service 25))
            (smtpmail-background-tests--send))
        (advice-remove 'smtpmail-via-smtp advice))
      (smtpmail-background-tests--wait 'sent)
      (let ((message (smtpmail-test-message server)))
        (should (string-suffix-p "Added\r\n" (alist-get 'bytes message)))
        (should (= 2 (length (alist-get 'to message))))))))

(ert-deftest smtpmail-background-function ()
  "A function decides by the facts of each message."
  (smtpmail-background-tests--with (server)
    (let ((smtpmail-send-in-background
           (lambda (facts)
             (should (equal (plist-get facts :recipients) '("you@example.net")))
             (equal (plist-get facts :subject) "Later"))))
      (smtpmail-background-tests--send "Now")
      (should-not smtpmail-background--mails)
      (should (smtpmail-test-message server))
      (smtpmail-background-tests--send "Later")
      (should smtpmail-background--mails)
      (smtpmail-background-tests--wait 'sent))))

(ert-deftest smtpmail-background-batch ()
  "In batch mode Emacs waits for the server."
  (smtpmail-background-tests--with (server)
    (let ((noninteractive t))
      (smtpmail-background-tests--send))
    (should-not smtpmail-background--mails)
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-background-variables-print ()
  "While mail goes, the value of every variable prints and reads back."
  (smtpmail-background-tests--with (_server "--on" "greeting=silence")
    (smtpmail-background-tests--send)
    (should (smtpmail-background-mails 'sending))
    (mapatoms
     (lambda (symbol)
       (when (and (boundp symbol)
                  (string-prefix-p "smtpmail-" (symbol-name symbol))
                  (not (string-search "tests" (symbol-name symbol)))
                  (not (eq symbol 'smtpmail-address-buffer)))
         (should (ignore-errors
                   (read (prin1-to-string (symbol-value symbol)))
                   symbol)))))))

;;;; Not accepted

(ert-deftest smtpmail-background-refused ()
  "A refusal is shown where it cannot be missed, and takes no focus."
  (smtpmail-background-tests--with (server "--on" "rcpt=reply 550 5.1.1 Nobody")
    (let ((selected (selected-window)))
      (smtpmail-background-tests--send)
      (let ((facts (car (smtpmail-background-tests--wait 'failed))))
        (should (eq (plist-get facts :state) 'refused))
        (should (string-match-p "550 5\\.1\\.1 Nobody" (plist-get facts :reason)))
        (should (string-match-p "550 5\\.1\\.1 Nobody" (plist-get facts :reply))))
      (should (equal (smtpmail-background-tests--states) '(refused)))
      (should (eq (selected-window) selected))
      (should (string-match-p "Mail!" smtpmail-mode-line-string))
      (with-current-buffer smtpmail-notice--buffer
        (should (string-match-p "550 5\\.1\\.1 Nobody" (buffer-string)))
        (should (string-match-p "Edit +Try again +Delete" (buffer-string))))
      (should-not (smtpmail-test-messages server))
      ;; Delete.
      (cl-letf (((symbol-function 'yes-or-no-p) (lambda (&rest _) t)))
        (smtpmail-notice-drop (car smtpmail-notice--list)))
      (should-not (smtpmail-background-tests--states))
      (should (equal smtpmail-mode-line-string "")))))

(ert-deftest smtpmail-background-refused-retried ()
  "The button of a notice sends once more."
  (smtpmail-background-tests--with (server "--on" "rcpt#1=reply 550 5.1.1 Nobody")
    (smtpmail-background-tests--send)
    (smtpmail-background-tests--wait 'failed)
    (smtpmail-notice-retry (car smtpmail-notice--list))
    (smtpmail-background-tests--wait 'sent)
    (should (smtpmail-test-message server))
    (should-not smtpmail-notice--list)))

(ert-deftest smtpmail-background-not-now ()
  "What the server refuses for now goes later, by itself and without a notice."
  (smtpmail-background-tests--with (server "--on" "mail#1=reply 451 4.7.1 Greylisted")
    (smtpmail-background-tests--send)
    (smtpmail-background-tests--wait 'sent)
    (should (smtpmail-test-message server))
    (should-not smtpmail-notice--list)
    (should-not (smtpmail-background-tests--states))))

(ert-deftest smtpmail-background-server-comes-back ()
  "While the server is away, mail waits; it goes when the server is there."
  (smtpmail-background-tests--with (first)
    (let ((port (smtpmail-test-quiet-port))
          (queue smtpmail-queue-dir))
      (let ((smtpmail-smtp-service port))
        (smtpmail-background-tests--send))
      (smtpmail-test-wait "a new try"
                          (lambda ()
                            (when-let ((mail (car smtpmail-background--mails)))
                              (> (smtpmail-background-mail-tries mail) 1))))
      (should-not smtpmail-background-tests--told)
      (should-not smtpmail-notice--list)
      (should (string-match-p "Mail:1" smtpmail-mode-line-string))
      (smtpmail-test-with-server (back "--port" (number-to-string port))
        (setq smtpmail-queue-dir queue)
        (smtpmail-background-tests--wait 'sent)
        (should (smtpmail-test-message back)))
      (should-not (smtpmail-test-messages first)))))

(ert-deftest smtpmail-background-disappears ()
  "A server that hangs up before the end is tried again; one behind it is not."
  (pcase-dolist (`(,rule ,kind ,state)
                 '(("data#1=close" sent nil)
                   ("text#1=close" sent nil)
                   ("dot#1=close" failed unknown)
                   ("dot#1=accept-close" failed unknown)))
    (smtpmail-background-tests--with (server "--no-chunking" "--on" rule)
      (smtpmail-background-tests--send)
      (let ((facts (car (smtpmail-background-tests--wait kind))))
        (should (eq (plist-get facts :state) state)))
      (should (equal (smtpmail-background-tests--states)
                     (and state (list state))))
      (should (<= (length (smtpmail-test-messages server)) 1))
      (when state
        (should (string-match-p "May or may not have been sent"
                                (with-current-buffer smtpmail-notice--buffer
                                  (buffer-string))))))))

(ert-deftest smtpmail-background-stalls ()
  "A server that stalls is given up and tried again."
  (smtpmail-background-tests--with (server "--no-chunking" "--on" "data#1=silence")
    (let ((smtpmail-timeout 1))
      (smtpmail-background-tests--send))
    (smtpmail-background-tests--wait 'sent)
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-background-partly ()
  "Who is refused for now gets the message later, the others do not again."
  (smtpmail-background-tests--with (server "--on"
                                           "rcpt:b@example.net#1=reply 450 4.2.0 Busy")
    (let ((smtpmail-on-refused-recipients 'send-rest))
      (should-not (smtpmail-test-send
                   "To: a@example.net, b@example.net\nSubject: Two\n"))
      (smtpmail-background-tests--wait 'sent 'sent))
    (should (= (length (smtpmail-test-messages server)) 2))
    (should-not (smtpmail-background-tests--states))
    (should-not smtpmail-background--mails)))

(ert-deftest smtpmail-background-back-for-one-back-for-all ()
  "When one message gets through, those that met no server go, too."
  (smtpmail-background-tests--with (_server)
    (let ((smtpmail-background--network-pause 1000)
          (port (smtpmail-test-quiet-port))
          (queue smtpmail-queue-dir))
      (let ((smtpmail-smtp-service port))
        (smtpmail-background-tests--send "Early")
        (smtpmail-test-wait "the delay"
                            (lambda () (smtpmail-background-mails 'delayed))))
      (smtpmail-test-with-server (back "--port" (number-to-string port))
        (setq smtpmail-queue-dir queue)
        (smtpmail-background-tests--send "Late")
        (smtpmail-background-tests--wait 'sent 'sent)
        (should (= 2 (length (smtpmail-test-messages back))))))))

(ert-deftest smtpmail-background-notice-edit ()
  "The button of a notice makes a draft, and takes the message out."
  (smtpmail-background-tests--with (_server "--on" "rcpt=reply 550 5.1.1 Nobody")
    (smtpmail-background-tests--send "Wrong address")
    (smtpmail-background-tests--wait 'failed)
    (save-window-excursion
      (cl-letf (((symbol-function 'yes-or-no-p) (lambda (&rest _) t)))
        (smtpmail-notice-edit (car smtpmail-notice--list)))
      (unwind-protect
          (should (string-match-p "^Subject: Wrong address\n" (buffer-string)))
        (set-buffer-modified-p nil)
        (kill-buffer)))
    (should-not (smtpmail-background-tests--states))
    (should-not smtpmail-notice--list)
    (should-not smtpmail-background--mails)))

(ert-deftest smtpmail-background-notices-are-bounded ()
  "Of many refusals some are shown, and the rest is counted."
  (smtpmail-background-tests--with (_server "--on" "rcpt=reply 550 5.1.1 Nobody")
    (dotimes (_ 23)
      (smtpmail-background-tests--send))
    (apply #'smtpmail-background-tests--wait (make-list 23 'failed))
    (with-current-buffer smtpmail-notice--buffer
      (should (= 20 (how-many "^Not sent: " (point-min) (point-max))))
      (goto-char (point-min))
      (search-forward "And 3 more.")
      (search-forward "Dismiss all")
      (push-button (1- (point)))
      (should (= 0 (buffer-size))))
    (should-not smtpmail-notice--list)
    (should (= 23 (length (smtpmail-background-tests--states))))))

;;;; Stopped

(ert-deftest smtpmail-background-stopped ()
  "What is stopped before its end stays in the outbox, and goes when told to."
  (smtpmail-background-tests--with (server "--no-chunking" "--on" "data#1=silence")
    (smtpmail-background-tests--send)
    (smtpmail-test-wait "DATA"
                        (lambda ()
                          (when-let ((process (car (smtpmail-background--couriers))))
                            (eq 'data (smtpmail-session-phase
                                       (process-get process 'smtpmail-session))))))
    (should-not (smtpmail-background-stop (car smtpmail-background--mails)))
    (smtpmail-test-wait "its end"
                        (lambda () (smtpmail-background-mails 'stuck)))
    (should (equal (smtpmail-background-tests--states) '(waiting)))
    (should-not (smtpmail-test-messages server))
    (smtpmail-background-retry (car smtpmail-background--mails))
    (smtpmail-background-tests--wait 'sent)
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-background-stopped-late ()
  "What is stopped behind its end is unknown, and is called so."
  (smtpmail-background-tests--with (server "--no-chunking" "--on" "dot#1=silence")
    (smtpmail-background-tests--send)
    (smtpmail-test-wait "the end"
                        (lambda ()
                          (when-let ((process (car (smtpmail-background--couriers))))
                            (eq 'final (smtpmail-session-phase
                                        (process-get process 'smtpmail-session))))))
    (should (smtpmail-background-stop (car smtpmail-background--mails)))
    (should (eq 'unknown (plist-get (car (smtpmail-background-tests--wait 'failed))
                                    :state)))
    (should (equal (smtpmail-background-tests--states) '(unknown)))))

(ert-deftest smtpmail-background-stop-one-of-many ()
  "Stopping one message lets the others of its connection go."
  (smtpmail-background-tests--with (server "--no-chunking" "--on" "data#1=silence"
                                           "--on" "greeting#1=delay 300")
    (smtpmail-background-tests--send "First")
    (smtpmail-background-tests--send "Second")
    (smtpmail-test-wait "DATA"
                        (lambda ()
                          (when-let ((process (car (smtpmail-background--couriers))))
                            (eq 'data (smtpmail-session-phase
                                       (process-get process 'smtpmail-session))))))
    (smtpmail-background-stop (car (smtpmail-background-mails 'sending)))
    (smtpmail-test-wait "the other" (lambda () smtpmail-background-tests--told))
    (should (equal (plist-get (cdar smtpmail-background-tests--told) :subject)
                   "Second"))
    (should (= 1 (length (smtpmail-background-mails 'stuck))))))

(provide 'smtpmail-background-tests)

;;; smtpmail-background-tests.el ends here
