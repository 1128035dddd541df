;;; smtpmail-background-terminal-tests.el --- Background sending as people see it  -*- lexical-binding: t -*-

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

;; An Emacs in a real terminal sends in the background: what it shows, what it
;; asks and when, and that one can type meanwhile.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-terminal)

(defconst smtpmail-background-terminal-tests--forms
  '((setq smtpmail-queue-dir (concat tests-directory "queue/")
          smtpmail-send-in-background t
          smtpmail-sent-functions
          (list (lambda (facts) (tests-note "sent" facts)))
          smtpmail-failed-functions
          (list (lambda (facts) (tests-note "failed" facts))))
    (global-set-key (kbd "<f8>") #'tests-outbox)
    (defun tests-outbox ()
      "Note what is in the outbox, and which window is selected."
      (interactive)
      (tests-note "outbox"
                  (list (mapcar (lambda (entry) (plist-get entry :state))
                                (plist-get (smtpmail-outbox-entries) :entries))
                        (buffer-name (window-buffer (selected-window)))))))
  "What an Emacs that sends in the background evaluates.")

(defmacro smtpmail-background-terminal-tests--with (spec &rest body)
  "Run BODY with a server and an Emacs at a terminal that knows it.
SPEC is (TERMINAL SERVER OPTIONS FORM...), OPTIONS a list for the server."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-server (,(nth 1 spec) ,@(nth 2 spec))
     (apply #'smtpmail-background-terminal-tests--call ,(nth 1 spec)
            (lambda (,(nth 0 spec)) ,@body)
            (list ,@(nthcdr 3 spec)))))

(defun smtpmail-background-terminal-tests--call (server function &rest forms)
  "Call FUNCTION with a terminal whose Emacs knows SERVER and did FORMS."
  (smtpmail-terminal--call
   server
   (append smtpmail-background-terminal-tests--forms forms)
   function))

(defun smtpmail-background-terminal-tests--outbox (terminal)
  "Return the states in the outbox of TERMINAL's Emacs, and its buffer."
  (smtpmail-terminal-keys terminal "F8")
  (smtpmail-terminal-note terminal "outbox"))

(ert-deftest smtpmail-background-terminal-typing ()
  "One types while a large message goes; its progress is in the mode line."
  (smtpmail-background-terminal-tests--with
      (terminal server ("--on" "dot=delay 3000")
                '(setq tests-mail
                       (concat tests-mail
                               (mapconcat #'identity
                                          (make-list 400000 (make-string 72 ?x))
                                          "\n")
                               "\n"))
                '(setq display-time-default-load-average nil))
    (smtpmail-terminal-keys terminal "F5")
    (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
    (smtpmail-terminal-shows terminal "Mail:1")
    (smtpmail-terminal-keys terminal "C-x" "b")
    (smtpmail-terminal-type terminal "other")
    (smtpmail-terminal--tmux terminal "send-keys" "-l" "typed while sending")
    (let ((screen (smtpmail-terminal-shows terminal "^typed while sending")))
      (should (string-match-p "Mail:1" screen)))
    ;; All of this before the server had a word.
    (should-not (file-exists-p (smtpmail-terminal--file terminal "sent")))
    (should (string-match-p "\\`250 "
                            (plist-get (smtpmail-terminal-note terminal "sent")
                                       :reply)))
    (smtpmail-terminal-shows terminal "^Sent: 250 ")
    (should-not (string-match-p "Mail:" (smtpmail-terminal-screen terminal)))
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-background-terminal-slow-tls ()
  "50 MiB over TLS to a server that stops reading: one types, and sees how far it is."
  (smtpmail-background-terminal-tests--with
      (terminal server ("--max-size" "100000000"
                        ;; Room for what the system's buffers hold.
                        "--on" "text:17000000=delay 6000")
                '(setq smtpmail-stream-type 'starttls)
                '(setq tests-mail
                       (concat tests-mail
                               (mapconcat #'identity
                                          (make-list 720000 (make-string 72 ?x))
                                          "\n")
                               "\n")))
    (smtpmail-terminal-keys terminal "F5")
    (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
    (smtpmail-terminal-keys terminal "C-x" "b")
    (smtpmail-terminal-type terminal "other")
    (smtpmail-terminal-shows terminal "Mail:1 [34][0-9]%")
    (smtpmail-terminal--tmux terminal "send-keys" "-l" "typed while sending")
    (let ((screen (smtpmail-terminal-shows terminal "^typed while sending")))
      (should (string-match-p "Mail:1 [34][0-9]%" screen)))
    (should-not (file-exists-p (smtpmail-terminal--file terminal "sent")))
    (smtpmail-terminal-note terminal "sent")
    (should (alist-get 'tls (smtpmail-test-message server)))))

(ert-deftest smtpmail-background-terminal-refused ()
  "A refusal is shown beside what one does, and one goes on typing."
  (smtpmail-background-terminal-tests--with
      (terminal _server ("--on" "rcpt=reply 550 5.1.1 No such user here"
                         "--on" "greeting=delay 500"))
    (smtpmail-terminal-keys terminal "F5")
    (smtpmail-terminal-note terminal "end")
    (smtpmail-terminal-keys terminal "C-x" "b")
    (smtpmail-terminal-type terminal "other")
    (smtpmail-terminal-shows terminal "^Not sent: \"Hi\"\n +550 5\\.1\\.1 No such user here")
    (smtpmail-terminal-shows terminal "Edit +Try again +Delete +Dismiss")
    (smtpmail-terminal-shows terminal "Mail!")
    (smtpmail-terminal--tmux terminal "send-keys" "-l" "goes on")
    (smtpmail-terminal-shows terminal "^goes on")
    (should (equal (smtpmail-background-terminal-tests--outbox terminal)
                   '((refused) "other")))))

(ert-deftest smtpmail-background-terminal-password ()
  "A wrong password is asked for again, not over a minibuffer in use."
  (smtpmail-background-terminal-tests--with
      (terminal server ("--user" "alice" "--password" smtpmail-test-canary
                        "--require-auth" "--on" "greeting=delay 700")
                '(setq smtpmail-auth-credentials
                       (list (list "localhost" smtpmail-smtp-service
                                   "alice" "wrong"))))
    (smtpmail-terminal-keys terminal "F5")
    (smtpmail-terminal-note terminal "end")
    (smtpmail-terminal-keys terminal "M-x")
    (smtpmail-terminal-shows terminal "Mail:1!")
    (smtpmail-terminal--tmux terminal "send-keys" "-l" "forward")
    (smtpmail-terminal-shows terminal "^M-x forward")
    ;; The question has had time to come, and did not.
    (sleep-for 2)
    (should (string-match-p "^M-x forward" (smtpmail-terminal-screen terminal)))
    (smtpmail-terminal-keys terminal "C-g")
    (smtpmail-terminal-shows terminal "^alice@localhost: 535 .*; password again:")
    (smtpmail-terminal-type terminal smtpmail-test-canary)
    (smtpmail-terminal-note terminal "sent")
    (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))))

(ert-deftest smtpmail-background-terminal-quit-at-question ()
  "`C-g' at a question leaves the message in the outbox, and Emacs as it was."
  (smtpmail-background-terminal-tests--with
      (terminal server ("--user" "alice" "--password" smtpmail-test-canary
                        "--require-auth")
                '(setq smtpmail-auth-credentials
                       (list (list "localhost" smtpmail-smtp-service
                                   "alice" "wrong"))))
    (smtpmail-terminal-keys terminal "F5")
    (smtpmail-terminal-shows terminal "; password again:")
    (smtpmail-terminal-keys terminal "C-g")
    (smtpmail-terminal-shows terminal "^Stopped; it waits in the outbox")
    (should (equal (smtpmail-background-terminal-tests--outbox terminal)
                   '((waiting) "mail")))
    (smtpmail-terminal-shows terminal "Mail!")
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-background-terminal-refused-recipients ()
  "Whether the others get a message is asked in the background, too."
  (smtpmail-background-terminal-tests--with
      (terminal server ("--on" "rcpt:b@example.net=reply 550 5.1.1 Nobody")
                '(setq tests-mail (string-replace "you@example.net"
                                                  "a@example.net, b@example.net"
                                                  tests-mail)))
    (smtpmail-terminal-keys terminal "F5")
    (smtpmail-terminal-shows terminal "^\"Hi\": <b@example.net> refused: 550 .*Send to the other 1\\?")
    (smtpmail-terminal-keys terminal "y")
    (smtpmail-terminal-note terminal "sent")
    (smtpmail-terminal-shows
     terminal
     "^Not sent to all: \"Hi\"\n +<b@example.net>: 550 .*Nobody\\.  The others got it: 250 ")
    (should (equal (alist-get 'to (smtpmail-test-message server))
                   '("a@example.net")))))

(ert-deftest smtpmail-background-terminal-undo ()
  "One key takes a message back that was sent a moment ago."
  (smtpmail-background-terminal-tests--with
      (terminal server ()
                '(setq smtpmail-undo-seconds 600)
                '(global-set-key (kbd "C-c u") #'smtpmail-undo))
    (smtpmail-terminal-keys terminal "F5")
    (smtpmail-terminal-shows terminal "^Goes in 600 s; C-c u takes it back")
    (smtpmail-terminal-shows terminal "Mail:1")
    (smtpmail-terminal-keys terminal "C-c" "u")
    (let ((screen (smtpmail-terminal-shows terminal "^Taken back; nothing was sent")))
      (should (string-match-p "^Subject: Hi" screen))
      (should-not (string-match-p "Mail:1" screen)))
    (should-not (car (smtpmail-background-terminal-tests--outbox terminal)))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-background-terminal-no-false-word ()
  "What Message mode says, \"done\", does not stand; nor is anything invented."
  (smtpmail-background-terminal-tests--with
      (terminal _server ()
                '(setq message-send-mail-function #'smtpmail-send-it
                       smtpmail-undo-seconds 600)
                '(global-set-key (kbd "C-c u") #'smtpmail-undo)
                '(global-set-key (kbd "<f10>")
                                 (lambda ()
                                   (interactive)
                                   (message-mail "you@example.net" "Too early")
                                   (insert "Hello\n"))))
    (smtpmail-terminal-keys terminal "F10")
    (smtpmail-terminal-shows terminal "^Subject: Too early")
    (smtpmail-terminal-keys terminal "C-c" "C-c")
    (smtpmail-terminal-shows terminal "^Goes in 600 s; C-c u takes it back")
    (smtpmail-terminal-keys terminal "C-c" "u")
    ;; It had no copy, and answered nothing.
    (smtpmail-terminal-shows terminal "^Taken back; nothing was sent *$")))

(ert-deftest smtpmail-background-terminal-send-later ()
  "A message of Message mode is sent later by a command that asks when."
  (smtpmail-background-terminal-tests--with
      (terminal server ()
                '(setq message-send-mail-function #'smtpmail-send-it)
                '(global-set-key (kbd "<f10>")
                                 (lambda ()
                                   (interactive)
                                   (message-mail "you@example.net" "Later")
                                   (insert "Hello\n"))))
    (smtpmail-terminal-keys terminal "F10")
    (smtpmail-terminal-shows terminal "^Subject: Later")
    (smtpmail-terminal-keys terminal "M-x")
    (smtpmail-terminal-type terminal "smtpmail-send-later")
    (smtpmail-terminal-shows terminal "^Send at ")
    (smtpmail-terminal-type terminal "+3d")
    (smtpmail-terminal-shows terminal "Goes at [0-9]\\{4\\}-\\|Sending\\.\\.\\.done")
    (should (equal (car (smtpmail-background-terminal-tests--outbox terminal))
                   '(scheduled)))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-background-terminal-leave ()
  "Who leaves Emacs while mail is on its way is asked; what is left, is there."
  (smtpmail-background-terminal-tests--with
      (terminal server ("--no-chunking" "--on" "mail#1=silence"))
    (let ((queue (smtpmail-terminal--file terminal "queue/")))
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-note terminal "end")
      (smtpmail-terminal-shows terminal "Mail:1")
      (smtpmail-terminal-keys terminal "C-x" "C-c")
      (smtpmail-terminal-shows terminal "1 message is being sent: wait, or leave it in the outbox\\?")
      (smtpmail-terminal-keys terminal "s")
      (smtpmail-terminal-keys terminal "F6")
      (smtpmail-terminal-note terminal "alive")
      (smtpmail-terminal-keys terminal "C-x" "C-c")
      (smtpmail-terminal-shows terminal "wait, or leave it in the outbox\\?")
      (smtpmail-terminal-keys terminal "l")
      (smtpmail-test-wait
       "the end of Emacs"
       (lambda ()
         (not (ignore-errors (smtpmail-terminal--tmux terminal "list-sessions")))))
      (let ((smtpmail-queue-dir queue))
        (should (equal (mapcar (lambda (entry) (plist-get entry :state))
                               (plist-get (smtpmail-outbox-entries) :entries))
                       '(waiting))))
      (should-not (smtpmail-test-messages server)))))

(ert-deftest smtpmail-background-terminal-leave-after-waiting ()
  "Who waits when leaving Emacs leaves when all is sent."
  (smtpmail-background-terminal-tests--with
      (terminal server ("--on" "mail#1=delay 3000"))
    (smtpmail-terminal-keys terminal "F5")
    (smtpmail-terminal-note terminal "end")
    (smtpmail-terminal-keys terminal "C-x" "C-c")
    (smtpmail-terminal-shows terminal "wait, or leave it in the outbox\\?")
    (smtpmail-terminal-keys terminal "w")
    (smtpmail-test-wait
     "the end of Emacs"
     (lambda ()
       (not (ignore-errors (smtpmail-terminal--tmux terminal "list-sessions")))))
    (should (smtpmail-test-message server))))

(provide 'smtpmail-background-terminal-tests)

;;; smtpmail-background-terminal-tests.el ends here
