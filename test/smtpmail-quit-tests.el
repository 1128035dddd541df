;;; smtpmail-quit-tests.el --- A person at a terminal  -*- lexical-binding: t -*-

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

;; An Emacs in a real terminal, under tmux: keys are pressed, the screen is
;; read.  One C-g stops a send at any step; stages and questions appear.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-terminal)

(defun smtpmail-quit-tests--wait-for-log (server regexp)
  "Wait until SERVER's log of a session has a match of REGEXP."
  (smtpmail-test-wait
   regexp
   (lambda ()
     (seq-some (lambda (file)
                 (string-match-p regexp (smtpmail-test-text file)))
               (directory-files (smtpmail-test-server-spool server) t
                                "\\`session-[0-9]+\\.log\\'")))))

;;;; C-g

(ert-deftest smtpmail-quit-tests-every-step ()
  "At each step one C-g gives Emacs back at once and says what became of the mail.
The mail buffer is as it was, and sending it again delivers it."
  (smtpmail-test-with-server
      (server "--on" "greeting#1=silence" "--on" "ehlo#1=silence"
              "--on" "starttls#1=silence" "--on" "handshake#1=silence"
              "--on" "ehlo-tls#1=silence" "--on" "mail#1=silence"
              "--on" "rcpt#1=silence" "--on" "data#1=silence"
              "--on" "dot#1=silence")
    (smtpmail-terminal-with (terminal server)
      (dolist (step '(greeting ehlo starttls handshake ehlo-tls mail rcpt data dot))
        (ert-info ((symbol-name step))
          (smtpmail-terminal-keys terminal "F5")
          (smtpmail-quit-tests--wait-for-session server step)
          (let ((pressed (float-time)))
            (smtpmail-terminal-keys terminal "C-g")
            (pcase-let ((`(,how ,when ,text ,buffer ,processes)
                         (smtpmail-terminal-note terminal "end")))
              (should (eq how 'quit))
              (should (< (- when pressed) 1))
              (should (equal text
                             (if (eq step 'dot)
                                 "Stopped; the server may have taken the message"
                               "Stopped; nothing was sent")))
              (should (equal buffer (smtpmail-test-mail
                                     "To: you@example.net\nSubject: Hi")))
              (should-not (member "smtpmail" processes))
              (smtpmail-terminal-shows terminal (concat "^" (regexp-quote text))))
            ;; The next key is a command again.
            (smtpmail-terminal-keys terminal "F6")
            (should (eq (smtpmail-terminal-note terminal "alive") 'alive)))))
      (smtpmail-terminal-keys terminal "F5")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (smtpmail-terminal-shows terminal "^Sent: 250 ")
      (should (smtpmail-test-message server)))))

(defun smtpmail-quit-tests--wait-for-session (server step)
  "Wait until the script of SERVER has fallen silent at STEP.
Each step ends one session, in their order."
  (let ((number (1+ (seq-position '(greeting ehlo starttls handshake ehlo-tls
                                             mail rcpt data dot)
                                  step))))
    (smtpmail-test-wait
     (format "silence in session %d" number)
     (lambda ()
       (let ((text (smtpmail-test-text
                    (expand-file-name (format "session-%d.log" number)
                                      (smtpmail-test-server-spool server)))))
         (and text (string-match-p "^\\*: silence" text)))))))

(ert-deftest smtpmail-quit-tests-from-a-timer ()
  "C-g stops a send that a timer began, which inhibits quitting."
  (smtpmail-test-with-server (server "--no-chunking" "--on" "mail=silence")
    (smtpmail-terminal-with (terminal server)
      (smtpmail-terminal-keys terminal "F7")
      (smtpmail-quit-tests--wait-for-log server "^\\*: silence")
      (let ((pressed (float-time)))
        (smtpmail-terminal-keys terminal "C-g")
        (pcase-let ((`(,how ,when ,text . ,_)
                     (smtpmail-terminal-note terminal "end")))
          (should (eq how 'quit))
          (should (< (- when pressed) 1))
          (should (equal text "Stopped; nothing was sent"))))
      (smtpmail-terminal-keys terminal "F6")
      (should (eq (smtpmail-terminal-note terminal "alive") 'alive)))))

;;;; What is shown

(ert-deftest smtpmail-quit-tests-stages ()
  "After a second the screen says what is waited for, and counts."
  (smtpmail-test-with-server (server "--no-chunking" "--on" "mail=silence")
    (smtpmail-terminal-with (terminal server)
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-shows
       terminal "^Waiting for localhost: its answer to MAIL ([12] s; C-g stops)")
      (smtpmail-terminal-shows
       terminal "^Waiting for localhost: its answer to MAIL ([3-5] s; C-g stops)")
      (smtpmail-terminal-keys terminal "C-g")
      (smtpmail-terminal-shows terminal "^Stopped; nothing was sent")))
  (smtpmail-test-with-server (server "--on" "dot=silence")
    (smtpmail-terminal-with (terminal server)
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-shows
       terminal "^Waiting for localhost to accept the message ([12] s; C-g stops)")
      (smtpmail-terminal-keys terminal "C-g")
      (smtpmail-terminal-shows terminal "^Stopped; the server may have taken the message"))))

(ert-deftest smtpmail-quit-tests-upload ()
  "A large mail shows how much of it went, and how fast."
  ;; What is left must not fit into the buffers of the system.
  (smtpmail-test-with-server (server "--on" "text:1000000=delay 1500"
                                     "--on" "text:3000000=delay 60000")
    (smtpmail-terminal-with
        (terminal server
                  '(setq tests-mail
                         (concat tests-mail
                                 (apply #'concat (make-list 800000 "a line of the text\n")))))
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-shows
       terminal "^Sending email [0-9]+% ([0-9.]+ of 1[56]\\.[0-9] MB, [0-9.]+ MB/s; C-g stops)")
      (smtpmail-terminal-keys terminal "C-g")
      (smtpmail-terminal-shows terminal "^Stopped; nothing was sent"))
    (should-not (smtpmail-test-messages server))))

;;;; Questions

(ert-deftest smtpmail-quit-tests-password ()
  "A password is typed, refused, typed again; the mail goes."
  (smtpmail-test-with-server (server "--user" "alice" "--password" "right")
    (smtpmail-terminal-with
        (terminal server '(setq smtpmail-auth-credentials
                                (list (list "localhost" smtpmail-smtp-service
                                            "alice" nil))))
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-shows terminal "^SMTP password for localhost:[0-9]+: ")
      (smtpmail-terminal-type terminal smtpmail-test-canary)
      (let ((screen (smtpmail-terminal-shows
                     terminal "^alice@localhost: 535 .*; password again: ")))
        (should-not (string-search smtpmail-test-canary screen)))
      (smtpmail-terminal-type terminal "right")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))
      ;; It is remembered.
      (smtpmail-terminal-keys terminal "F5")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent))))))

(ert-deftest smtpmail-quit-tests-password-quit ()
  "C-g at the question for the password sends nothing."
  (smtpmail-test-with-server (server "--user" "alice" "--password" "right")
    (smtpmail-terminal-with
        (terminal server '(setq smtpmail-auth-credentials
                                (list (list "localhost" smtpmail-smtp-service
                                            "alice" nil))))
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-shows terminal "^SMTP password for localhost:[0-9]+: ")
      (smtpmail-terminal-keys terminal "C-g")
      (pcase-let ((`(,how ,_ ,text . ,_) (smtpmail-terminal-note terminal "end")))
        (should (equal (list how text) '(quit "Stopped; nothing was sent"))))
      (should-not (smtpmail-test-messages server)))))

(ert-deftest smtpmail-quit-tests-refused-recipient ()
  "The refused recipient is named, and the user's answer counts."
  (pcase-dolist (`(,answer ,end ,recipients)
                 '(("y" sent ("a@example.net" "c@example.net")) ("n" error nil)))
    (smtpmail-test-with-server
        (server "--on" "rcpt:b@example.net=reply 550 5.1.1 No such user")
      (smtpmail-terminal-with
          (terminal server
                    `(setq tests-mail
                           ,(smtpmail-test-mail "To: a@example.net, b@example.net, c@example.net")))
        (smtpmail-terminal-keys terminal "F5")
        (smtpmail-terminal-shows
         terminal
         "^<b@example.net> refused: 550 5.1.1 No such user.  Send to the other 2\\? (y or n)")
        (smtpmail-terminal-keys terminal answer)
        (should (eq (car (smtpmail-terminal-note terminal "end")) end)))
      (should (equal (mapcan (lambda (message) (alist-get 'to message))
                             (smtpmail-test-messages server))
                     recipients)))))

;;;; The first send builds the module

(ert-deftest smtpmail-quit-tests-build ()
  "A missing module is built, after a question, by the first send, which goes."
  (dolist (answer '("y" "n"))
    (smtpmail-test-with-directory root
      (let ((lisp (expand-file-name "lisp/" root))
            (bin (expand-file-name "bin/" root))
            (built (expand-file-name "smtpmail-core.so" smtpmail-test-lisp)))
        (mapc (lambda (name) (make-directory (expand-file-name name root)))
              '("lisp" "bin" "src"))
        (write-region "" nil (expand-file-name "Cargo.toml" root) nil 'quiet)
        (dolist (file (directory-files smtpmail-test-lisp t "\\.elc?\\'"))
          (copy-file file lisp))
        ;; The real one takes minutes; this one has the real module at hand.
        (write-region (format "#!/bin/sh
echo \"$*\" >arguments
mkdir -p \"$CARGO_TARGET_DIR/release\"
cp %s \"$CARGO_TARGET_DIR/release/libsmtpmail_core.so\"\n" built)
                      nil (expand-file-name "cargo" bin) nil 'quiet)
        (set-file-modes (expand-file-name "cargo" bin) #o755)
        (smtpmail-test-with-server (server)
          (let ((smtpmail-test-lisp lisp))
            (smtpmail-terminal-with
                (terminal server `(setq exec-path (cons ,bin exec-path)))
              (smtpmail-terminal-keys terminal "F5")
              (smtpmail-terminal-shows
               terminal
               "^Smtpmail.s engine is missing.  Build it, which takes a minute or two\\? (y or n)")
              (smtpmail-terminal-keys terminal answer)
              (let ((end (smtpmail-terminal-note terminal "end")))
                (if (equal answer "y")
                    (progn
                      (should (equal end '(sent)))
                      (should (equal (smtpmail-test-text
                                      (expand-file-name "arguments" root))
                                     "build --release --locked --lib\n"))
                      (should (smtpmail-test-message server)))
                  (should (eq (car end) 'error))
                  (should (string-match-p
                           "\\`Not sent: smtpmail.s engine .* is missing\\.  Build it with: make -C "
                           (cadr end)))
                  (should-not (smtpmail-test-messages server)))))))))))

(provide 'smtpmail-quit-tests)

;;; smtpmail-quit-tests.el ends here
