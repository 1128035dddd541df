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

;; What becomes of messages that go in the background, here in an Emacs that
;; counts as interactive: nobody is asked anything.  What is asked, and what
;; is seen, is tested at a terminal (smtpmail-background-terminal-tests.el).

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-background)
(require 'smtpmail-accepted)
(require 'smtpmail-ask)
(require 'smtpmail-leave)
(require 'smtpmail-mode-line)
(require 'smtpmail-notice)
(require 'smtpmail-undo)

(defvar smtpmail-background-tests--told nil
  "What the hooks were called with, (HOOK . FACTS), the last one first.")

(defun smtpmail-background-tests--sent (facts)
  "Note that `smtpmail-sent-functions' told FACTS."
  (push (cons 'sent facts) smtpmail-background-tests--told))

(defun smtpmail-background-tests--failed (facts)
  "Note that `smtpmail-failed-functions' told FACTS."
  (push (cons 'failed facts) smtpmail-background-tests--told))

(defun smtpmail-background-tests--reset ()
  "Forget everything that goes in the background."
  (dolist (process (smtpmail-background--couriers))
    (smtpmail-background--stop-courier process 'leaving)
    (smtpmail-background--discard process))
  (setq smtpmail-background--mails nil
        smtpmail-background--rung nil
        smtpmail-notice--list nil
        smtpmail-background-tests--told nil)
  (smtpmail-background--set-alarm)
  (smtpmail--close-connections)
  (smtpmail-mode-line-update))

(defmacro smtpmail-background-tests--with (spec &rest body)
  "Run BODY with a server and an outbox, and sending in the background on.
SPEC is as in `smtpmail-test-with-server'."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-server ,spec
     (smtpmail-test-with-directory queue
       (let ((smtpmail-queue-dir queue)
             (smtpmail-send-in-background t)
             (smtpmail-undo-seconds 0)
             (smtpmail-wait-for-acceptance nil)
             (smtpmail-background--network-pause 0.2)
             (smtpmail-background--refusal-pause 0.2)
             (smtpmail-background--resumed t)
             (smtpmail-sent-functions '(smtpmail-background-tests--sent))
             (smtpmail-failed-functions '(smtpmail-background-tests--failed))
             (noninteractive nil))
         (smtpmail-background-tests--reset)
         (unwind-protect (progn ,@body)
           (smtpmail-background-tests--reset))))))

(defun smtpmail-background-tests--wait (&rest kinds)
  "Wait until KINDS, `sent' or `failed', were told, in any order.
Return the facts, the first one first."
  (smtpmail-test-wait
   (format "%S" kinds)
   (lambda ()
     (and (>= (length smtpmail-background-tests--told) (length kinds))
          (not (smtpmail-background--couriers)))))
  (let ((told (reverse smtpmail-background-tests--told)))
    (should (equal (sort (mapcar #'car told) #'string<)
                   (sort kinds #'string<)))
    (setq smtpmail-background-tests--told nil)
    (mapcar #'cdr told)))

(defun smtpmail-background-tests--states ()
  "Return the states of the entries in the outbox."
  (mapcar (lambda (entry) (plist-get entry :state))
          (plist-get (smtpmail-outbox-entries) :entries)))

(defun smtpmail-background-tests--send (&optional subject header)
  "Send a message with SUBJECT and HEADER; it must not fail."
  (should-not (smtpmail-test-send
               (format "To: you@example.net\nSubject: %s\n%s" (or subject "Hi")
                       (or header "")))))

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
    (smtpmail-background-tests--with (server "--on" rule)
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
  (smtpmail-background-tests--with (server "--on" "data#1=silence")
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

;;;; Stopped

(ert-deftest smtpmail-background-stopped ()
  "What is stopped before its end stays in the outbox, and goes when told to."
  (smtpmail-background-tests--with (server "--on" "data#1=silence")
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
  (smtpmail-background-tests--with (server "--on" "dot#1=silence")
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
  (smtpmail-background-tests--with (server "--on" "data#1=silence"
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

;;;; Copies

(ert-deftest smtpmail-background-copy-waits ()
  "With `smtpmail-wait-for-acceptance' a file copy is written after the 250."
  (smtpmail-background-tests--with (_server "--on" "dot#1=reply 451 4.3.0 Not now"
                                            "--on" "greeting#2=delay 500")
    (let ((smtpmail-wait-for-acceptance t)
          (copy (expand-file-name "copy" smtpmail-queue-dir)))
      (smtpmail-background-tests--send "Copied" (format "Fcc: %s\n" copy))
      (should-not (file-exists-p copy))
      (smtpmail-background-tests--wait 'sent)
      (should (string-match-p "^Subject: Copied\n" (smtpmail-test-text copy)))
      (should-not (seq-find (lambda (buffer)
                              (string-prefix-p " *smtpmail copy" (buffer-name buffer)))
                            (buffer-list))))))

(ert-deftest smtpmail-background-copy-at-once ()
  "Without that option a copy is written when the message is in the outbox."
  (smtpmail-background-tests--with (_server "--on" "greeting=silence")
    (let ((copy (expand-file-name "copy" smtpmail-queue-dir)))
      (smtpmail-background-tests--send "Copied" (format "Fcc: %s\n" copy))
      (should (file-exists-p copy)))))

(defvar smtpmail-background-tests--actions nil
  "What Message mode did.")

(ert-deftest smtpmail-background-message-mode-waits ()
  "What Message mode does after sending waits for the 250, too."
  (require 'message)
  (smtpmail-background-tests--with (_server "--on" "greeting=delay 500")
    (let* ((smtpmail-wait-for-acceptance t)
           (smtpmail-background-tests--actions nil)
           (message-send-mail-function #'smtpmail-send-it)
           (message-interactive t)
           (message-kill-buffer-on-exit t)
           (copy (expand-file-name "copy" smtpmail-queue-dir))
           (message-sent-hook
            (list (lambda ()
                    (push (list 'hook (message-fetch-field "subject"))
                          smtpmail-background-tests--actions)))))
      (message-mail "you@example.net" "From Message")
      (setq message-send-actions
            '((push 'action smtpmail-background-tests--actions)))
      (write-region "" nil copy nil 'quiet)
      (goto-char (point-min))
      (insert (format "Fcc: %s\nX-Smtpmail-Note: for us\n" copy))
      (message-goto-body)
      (insert "Hello\n")
      (message-send-and-exit)
      (should-not smtpmail-background-tests--actions)
      (should (equal (smtpmail-test-text copy) ""))
      (smtpmail-background-tests--wait 'sent)
      ;; It may ask something.
      (should (= (smtpmail-ask-count) 1))
      (smtpmail-ask--now)
      (should (equal smtpmail-background-tests--actions
                     '(action (hook "From Message"))))
      (let ((text (smtpmail-test-text copy)))
        (should (string-match-p "^Subject: From Message\n" text))
        (should-not (string-match-p "X-Smtpmail" text)))
      (should-not (seq-find (lambda (buffer)
                              (string-prefix-p " *smtpmail sent" (buffer-name buffer)))
                            (buffer-list))))))

(ert-deftest smtpmail-background-gnus-waits ()
  "Gnus's copy (Gcc) waits for the 250."
  (require 'gnus)
  (require 'gnus-msg)
  (require 'nnfolder)
  (smtpmail-background-tests--with (_server "--on" "greeting=delay 500")
    (let* ((smtpmail-wait-for-acceptance t)
           (message-send-mail-function #'smtpmail-send-it)
           (message-kill-buffer-on-exit t)
           (directory (expand-file-name "archive/" smtpmail-queue-dir))
           (gnus-newsrc-hashtb (gnus-make-hashtable 10))
           (gnus-message-archive-method
            `(nnfolder "archive"
                       (nnfolder-directory ,directory)
                       (nnfolder-active-file ,(concat directory "active"))
                       (nnfolder-get-new-mail nil)
                       (nnfolder-inhibit-expiry t)))
           (gnus-verbose 0)
           (copy (concat directory "sent"))
           (message-sent-hook '(gnus-inews-do-gcc)))
      (make-directory directory)
      (message-mail "you@example.net" "From Gnus")
      (goto-char (point-min))
      (insert "Gcc: nnfolder+archive:sent\n")
      (message-goto-body)
      (insert "Hello\n")
      (message-send-and-exit)
      (should-not (file-exists-p copy))
      (smtpmail-background-tests--wait 'sent)
      (should-not (file-exists-p copy))
      (smtpmail-ask--now)
      (should (string-match-p "^Subject: From Gnus\n"
                              (or (smtpmail-test-text copy) ""))))))

;;;; Back, and later

(ert-deftest smtpmail-background-undo ()
  "A message is taken back into a draft with its Bcc and Fcc; nothing was sent."
  (smtpmail-background-tests--with (server)
    (let ((smtpmail-undo-seconds 600)
          (smtpmail-wait-for-acceptance t)
          (copy (expand-file-name "copy" smtpmail-queue-dir)))
      (smtpmail-background-tests--send
       "Oops" (format "Bcc: secret@example.net\nFcc: %s\n" copy))
      (should (equal (smtpmail-background-tests--states) '(scheduled)))
      (should (string-match-p "Mail:1" smtpmail-mode-line-string))
      (save-window-excursion
        (smtpmail-undo)
        (unwind-protect
            (progn
              (should (derived-mode-p 'message-mode))
              (should (string-match-p "^Subject: Oops\n" (buffer-string)))
              (should (string-match-p "^Bcc: secret@example.net\n" (buffer-string)))
              (should (string-match-p "^Fcc: .*copy\n" (buffer-string)))
              (should (string-match-p "^Hello\n" (buffer-string))))
          (set-buffer-modified-p nil)
          (kill-buffer)))
      (should-not (smtpmail-background-tests--states))
      (should-not smtpmail-background--mails)
      (should-error (smtpmail-undo) :type 'user-error)
      (should-not (file-exists-p copy))
      (should-not (smtpmail-test-messages server)))))

(ert-deftest smtpmail-background-undo-time-over ()
  "When the time for taking back is over, the message goes."
  (smtpmail-background-tests--with (server)
    (let ((smtpmail-undo-seconds 1))
      (smtpmail-background-tests--send)
      (should (equal (smtpmail-background-tests--states) '(scheduled)))
      (smtpmail-background-tests--wait 'sent)
      (should (smtpmail-test-message server)))))

(ert-deftest smtpmail-background-later ()
  "A message with X-Smtpmail-Send-At goes at that time, without the field."
  (smtpmail-background-tests--with (server)
    (let ((smtpmail-send-in-background nil)
          (copy (expand-file-name "copy" smtpmail-queue-dir)))
      (smtpmail-background-tests--send
       "Later" (format "X-Smtpmail-Send-At: +1s\nFcc: %s\n" copy))
      (should (equal (smtpmail-background-tests--states) '(scheduled)))
      (should-not (smtpmail-test-messages server))
      (smtpmail-background-tests--wait 'sent)
      (should-not (string-match-p "X-Smtpmail" (alist-get
                                                'bytes
                                                (smtpmail-test-message server))))
      (should-not (string-match-p "X-Smtpmail" (smtpmail-test-text copy)))
      (should (string-match-p "No time that can be understood"
                              (smtpmail-test-send
                               "To: a@example.net\nX-Smtpmail-Send-At: whenever\n"))))))

(ert-deftest smtpmail-background-times ()
  "Times are understood as people write them."
  (let ((now (float-time (encode-time '(0 0 12 15 6 2026 nil -1 nil)))))
    (cl-flet ((at (text) (format-time-string
                          "%F %R" (smtpmail-undo-parse-time text now))))
      (should (equal (at "16:30") "2026-06-15 16:30"))
      (should (equal (at "9:00") "2026-06-16 09:00"))
      (should (equal (at "tomorrow 8:15") "2026-06-16 08:15"))
      (should (equal (at "tomorrow") "2026-06-16 09:00"))
      (should (equal (at "+2h") "2026-06-15 14:00"))
      (should (equal (at "+ 3 d") "2026-06-18 12:00"))
      (should (equal (at "2 hours") "2026-06-15 14:00"))
      (should (equal (at "2026-07-01") "2026-07-01 09:00"))
      (should (equal (at "2026-07-01 10:05") "2026-07-01 10:05"))
      (should (= (smtpmail-undo-parse-time "Wed, 01 Jul 2026 10:00:00 +0000" now)
                 (float-time (encode-time '(0 0 10 1 7 2026 nil nil 0)))))
      (dolist (text '("" "soon" "2020-01-01" "+x"))
        (should-error (smtpmail-undo-parse-time text now) :type 'user-error)))))

;;;; Another Emacs

(defun smtpmail-background-tests--left-by-another (server rule-forms)
  "Let another Emacs put a message into the outbox, run RULE-FORMS and die.
SERVER is for its settings."
  (smtpmail-test-run
   `(,@(smtpmail-test-settings server)
     (require 'smtpmail)
     (setq smtpmail-queue-dir ,smtpmail-queue-dir
           smtpmail-send-in-background t)
     (with-temp-buffer
       (insert ,(smtpmail-test-mail "To: you@example.net\nSubject: Left\n"))
       (let ((noninteractive nil) (inhibit-message t))
         (smtpmail-send-it)
         ,@rule-forms))
     (signal-process (emacs-pid) 'kill))))

(defun smtpmail-background-tests--until-phase (phase)
  "Return forms that wait until a courier waits for what comes in PHASE."
  `((while (not (seq-some
                 (lambda (process)
                   (when-let ((session (process-get process 'smtpmail-session)))
                     (eq ',phase (smtpmail-session-phase session))))
                 (process-list)))
      (accept-process-output nil 0.02))))

(ert-deftest smtpmail-background-resumed ()
  "What an Emacs that was killed left, the next one sends."
  (smtpmail-background-tests--with (server "--on" "greeting#1=silence")
    (smtpmail-background-tests--left-by-another
     server (smtpmail-background-tests--until-phase 'greeting))
    (should (equal (smtpmail-background-tests--states) '(waiting)))
    (smtpmail-background-resume)
    (smtpmail-background-tests--wait 'sent)
    (should (string-match-p "^Subject: Left\r"
                            (alist-get 'bytes (smtpmail-test-message server))))))

(ert-deftest smtpmail-background-resumed-unknown ()
  "What may have been sent when Emacs was killed is told, and not sent again."
  (smtpmail-background-tests--with (server "--on" "dot#1=silence")
    (smtpmail-background-tests--left-by-another
     server (smtpmail-background-tests--until-phase 'final))
    (smtpmail-background-resume)
    (smtpmail-test-wait "the notice" (lambda () smtpmail-notice--list))
    (should (eq 'unknown (plist-get (car smtpmail-notice--list) :state)))
    (should (equal (smtpmail-background-tests--states) '(unknown)))
    (should-not smtpmail-background--mails)
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-background-others-left-alone ()
  "What another Emacs that runs has in hand is left to it."
  (smtpmail-background-tests--with (_server "--on" "greeting=silence")
    (cl-letf (((symbol-function 'smtpmail-background-owner)
               (lambda ()
                 ;; Process 1 runs as long as the machine.
                 (format "%s %d %s" (system-name) 1
                         (format-time-string
                          "%s" (alist-get 'start (process-attributes 1)))))))
      (smtpmail-background-tests--send))
    (smtpmail-background-tests--reset)
    (let ((before (length (process-list))))
      (smtpmail-background-resume)
      (smtpmail-test-wait "the listing"
                          (lambda () (<= (length (process-list)) before))))
    (should-not smtpmail-background--mails)
    (cancel-function-timers #'smtpmail-background-resume)))

(ert-deftest smtpmail-background-overdue-asks ()
  "What was to go while no Emacs ran goes after a question, or is held."
  (pcase-dolist (`(,answer ,states) '((t nil) (nil (held))))
    (smtpmail-background-tests--with (server)
      (cl-letf (((symbol-function 'smtpmail-background-owner)
                 (lambda () "gone 1 1")))
        (smtpmail-background-tests--send "Overdue" "X-Smtpmail-Send-At: +1s\n"))
      (smtpmail-background-tests--reset)
      (sleep-for 1.2)
      (cl-letf (((symbol-function 'smtpmail-ask--possible-p) (lambda () t))
                ((symbol-function 'y-or-n-p)
                 (lambda (question)
                   (should (string-match-p "\"Overdue\" was to go at" question))
                   answer)))
        (smtpmail-background-resume)
        (smtpmail-test-wait "the question" (lambda () (> (smtpmail-ask-count) 0)))
        (should-not (smtpmail-test-messages server))
        (smtpmail-ask--now))
      (when answer (smtpmail-background-tests--wait 'sent))
      (should (equal (smtpmail-background-tests--states) states))
      (should (= (length (smtpmail-test-messages server)) (if answer 1 0))))))

(provide 'smtpmail-background-tests)

;;; smtpmail-background-tests.el ends here
