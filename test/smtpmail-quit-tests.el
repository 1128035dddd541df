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

(cl-defstruct smtpmail-quit-tests-terminal
  "An Emacs in a terminal."
  directory socket)

(defun smtpmail-quit-tests--tmux (terminal &rest arguments)
  "Run tmux for TERMINAL with ARGUMENTS and return what it prints."
  (with-temp-buffer
    (let ((process-environment (append '("TMUX=" "TERM=screen" "LC_ALL=C.UTF-8")
                                       process-environment)))
      (unless (eql 0 (apply #'call-process "tmux" nil t nil "-f" "/dev/null" "-S"
                            (smtpmail-quit-tests-terminal-socket terminal)
                            arguments))
        (error "The command tmux %s failed: %s" (car arguments) (buffer-string))))
    (buffer-string)))

(defun smtpmail-quit-tests--screen (terminal)
  "Return the text on the screen of TERMINAL."
  (smtpmail-quit-tests--tmux terminal "capture-pane" "-p" "-J"))

(defun smtpmail-quit-tests--shows (terminal regexp)
  "Wait until the screen of TERMINAL shows a match of REGEXP; return the screen."
  (let ((screen ""))
    (condition-case nil
        (smtpmail-test-wait
         regexp
         (lambda ()
           (setq screen (smtpmail-quit-tests--screen terminal))
           (string-match-p regexp screen)))
      (error (ert-fail (format "No %S on the screen:\n%s" regexp screen))))
    screen))

(defun smtpmail-quit-tests--keys (terminal &rest keys)
  "Press KEYS, as tmux names them, at TERMINAL."
  (apply #'smtpmail-quit-tests--tmux terminal "send-keys" keys))

(defun smtpmail-quit-tests--type (terminal text)
  "Type TEXT and the return key at TERMINAL."
  (smtpmail-quit-tests--tmux terminal "send-keys" "-l" text)
  (smtpmail-quit-tests--keys terminal "Enter"))

(defun smtpmail-quit-tests--file (terminal name)
  "Return the name of the file NAME that TERMINAL's Emacs writes."
  (expand-file-name name (smtpmail-quit-tests-terminal-directory terminal)))

(defun smtpmail-quit-tests--note (terminal name)
  "Wait for the file NAME that TERMINAL's Emacs writes; return what it read."
  (let ((file (smtpmail-quit-tests--file terminal name)))
    (smtpmail-test-wait name (lambda () (file-exists-p file)))
    (prog1 (read (decode-coding-string (smtpmail-test-text file) 'utf-8))
      (delete-file file))))

(defconst smtpmail-quit-tests--forms
  '(;; An Emacs that begins to compile natively swallows a C-g of that moment.
    (setq native-comp-jit-compilation nil
          native-comp-deferred-compilation nil)
    (require 'smtpmail)
    (setq ring-bell-function #'ignore
          message-log-max 1000)
    (defun tests-note (name value)
      (let ((inhibit-message t))
        (write-region (prin1-to-string value) nil (concat tests-directory name ".new")
                      nil 'quiet)
        (rename-file (concat tests-directory name ".new")
                     (concat tests-directory name) t)))
    (defun tests-send ()
      "Send as mail-mode does, and note how it ended."
      (interactive)
      (condition-case how
          (progn (smtpmail-send-it) (tests-note "end" '(sent)))
        (quit (tests-note "end" (list 'quit (float-time)
                                      (error-message-string how)
                                      (buffer-string)
                                      (mapcar #'process-name (process-list))))
              (signal (car how) (cdr how)))
        (error (tests-note "end" (list 'error (cadr how)))
               (signal (car how) (cdr how)))))
    (switch-to-buffer "mail")
    (insert tests-mail)
    (global-set-key (kbd "<f5>") #'tests-send)
    (global-set-key (kbd "<f6>") (lambda () (interactive) (tests-note "alive" 'alive)))
    (global-set-key (kbd "<f7>")
                    (lambda () (interactive)
                      (run-at-time 0 nil (lambda ()
                                           (with-current-buffer "mail" (tests-send))))))
    (tests-note "ready" 'ready))
  "What the Emacs at the terminal evaluates.")

(defmacro smtpmail-quit-tests--with-terminal (spec &rest body)
  "Run BODY with an Emacs at a terminal, set up for a server.
SPEC is (TERMINAL SERVER FORM...); FORMs are a list of what it evaluates."
  (declare (indent 1) (debug t))
  `(smtpmail-quit-tests--call ,(cadr spec) (list ,@(cddr spec))
                              (lambda (,(car spec)) ,@body)))

(defun smtpmail-quit-tests--call (server forms function)
  "Call FUNCTION with an Emacs at a terminal that knows SERVER and did FORMS."
  (unless (executable-find "tmux") (ert-skip "No tmux"))
  (smtpmail-test-with-directory directory
    (let* ((terminal (make-smtpmail-quit-tests-terminal
                      :directory directory
                      :socket (expand-file-name "tmux" directory)))
           (init (expand-file-name "init.el" directory)))
      (with-temp-file init
        (dolist (form (append
                       `((setq tests-directory ,directory
                               tests-mail ,(smtpmail-test-mail
                                            "To: you@example.net\nSubject: Hi")))
                       (smtpmail-test-settings server)
                       forms
                       smtpmail-quit-tests--forms))
          (prin1 form (current-buffer))
          (insert "\n")))
      (unwind-protect
          (progn
            (smtpmail-quit-tests--tmux
             terminal "new-session" "-d" "-x" "140" "-y" "30"
             (format "HOME=%s exec %s -nw -Q --eval '(setq load-prefer-newer t)' -L %s -l %s" directory
                     smtpmail-test-emacs smtpmail-test-lisp init))
            (smtpmail-quit-tests--note terminal "ready")
            (funcall function terminal))
        (ignore-errors (smtpmail-quit-tests--tmux terminal "kill-server"))))))

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
    (smtpmail-quit-tests--with-terminal (terminal server)
      (dolist (step '(greeting ehlo starttls handshake ehlo-tls mail rcpt data dot))
        (ert-info ((symbol-name step))
          (smtpmail-quit-tests--keys terminal "F5")
          (smtpmail-quit-tests--wait-for-session server step)
          (let ((pressed (float-time)))
            (smtpmail-quit-tests--keys terminal "C-g")
            (pcase-let ((`(,how ,when ,text ,buffer ,processes)
                         (smtpmail-quit-tests--note terminal "end")))
              (should (eq how 'quit))
              (should (< (- when pressed) 1))
              (should (equal text
                             (if (eq step 'dot)
                                 "Stopped; the server may have taken the message"
                               "Stopped; nothing was sent")))
              (should (equal buffer (smtpmail-test-mail
                                     "To: you@example.net\nSubject: Hi")))
              (should-not (member "smtpmail" processes))
              (smtpmail-quit-tests--shows terminal (concat "^" (regexp-quote text))))
            ;; The next key is a command again.
            (smtpmail-quit-tests--keys terminal "F6")
            (should (eq (smtpmail-quit-tests--note terminal "alive") 'alive)))))
      (smtpmail-quit-tests--keys terminal "F5")
      (should (equal (smtpmail-quit-tests--note terminal "end") '(sent)))
      (smtpmail-quit-tests--shows terminal "^Sent: 250 ")
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
  (smtpmail-test-with-server (server "--on" "mail=silence")
    (smtpmail-quit-tests--with-terminal (terminal server)
      (smtpmail-quit-tests--keys terminal "F7")
      (smtpmail-quit-tests--wait-for-log server "^\\*: silence")
      (let ((pressed (float-time)))
        (smtpmail-quit-tests--keys terminal "C-g")
        (pcase-let ((`(,how ,when ,text . ,_)
                     (smtpmail-quit-tests--note terminal "end")))
          (should (eq how 'quit))
          (should (< (- when pressed) 1))
          (should (equal text "Stopped; nothing was sent"))))
      (smtpmail-quit-tests--keys terminal "F6")
      (should (eq (smtpmail-quit-tests--note terminal "alive") 'alive)))))

;;;; What is shown

(ert-deftest smtpmail-quit-tests-stages ()
  "After a second the screen says what is waited for, and counts."
  (smtpmail-test-with-server (server "--on" "mail=silence")
    (smtpmail-quit-tests--with-terminal (terminal server)
      (smtpmail-quit-tests--keys terminal "F5")
      (smtpmail-quit-tests--shows
       terminal "^Waiting for localhost: its answer to MAIL ([12] s; C-g stops)")
      (smtpmail-quit-tests--shows
       terminal "^Waiting for localhost: its answer to MAIL ([3-5] s; C-g stops)")
      (smtpmail-quit-tests--keys terminal "C-g")
      (smtpmail-quit-tests--shows terminal "^Stopped; nothing was sent"))))

(ert-deftest smtpmail-quit-tests-upload ()
  "A large mail shows how much of it went, and how fast."
  (smtpmail-test-with-server (server "--on" "text:1000000=delay 1500"
                                     "--on" "text:9000000=delay 60000")
    (smtpmail-quit-tests--with-terminal
        (terminal server
                  '(setq tests-mail
                         (concat tests-mail
                                 (apply #'concat (make-list 800000 "a line of the text\n")))))
      (smtpmail-quit-tests--keys terminal "F5")
      (smtpmail-quit-tests--shows
       terminal "^Sending email [0-9]+% ([0-9.]+ of 1[56]\\.[0-9] MB, [0-9.]+ MB/s; C-g stops)")
      (smtpmail-quit-tests--keys terminal "C-g")
      (smtpmail-quit-tests--shows terminal "^Stopped; nothing was sent"))
    (should-not (smtpmail-test-messages server))))

;;;; Questions

(ert-deftest smtpmail-quit-tests-password ()
  "A password is typed, refused, typed again; the mail goes."
  (smtpmail-test-with-server (server "--user" "alice" "--password" "right")
    (smtpmail-quit-tests--with-terminal
        (terminal server '(setq smtpmail-auth-credentials
                                (list (list "localhost" smtpmail-smtp-service
                                            "alice" nil))))
      (smtpmail-quit-tests--keys terminal "F5")
      (smtpmail-quit-tests--shows terminal "^SMTP password for localhost:[0-9]+: ")
      (smtpmail-quit-tests--type terminal smtpmail-test-canary)
      (let ((screen (smtpmail-quit-tests--shows
                     terminal "^alice@localhost: 535 .*; password again: ")))
        (should-not (string-search smtpmail-test-canary screen)))
      (smtpmail-quit-tests--type terminal "right")
      (should (equal (smtpmail-quit-tests--note terminal "end") '(sent)))
      (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))
      ;; It is remembered.
      (smtpmail-quit-tests--keys terminal "F5")
      (should (equal (smtpmail-quit-tests--note terminal "end") '(sent))))))

(ert-deftest smtpmail-quit-tests-password-quit ()
  "C-g at the question for the password sends nothing."
  (smtpmail-test-with-server (server "--user" "alice" "--password" "right")
    (smtpmail-quit-tests--with-terminal
        (terminal server '(setq smtpmail-auth-credentials
                                (list (list "localhost" smtpmail-smtp-service
                                            "alice" nil))))
      (smtpmail-quit-tests--keys terminal "F5")
      (smtpmail-quit-tests--shows terminal "^SMTP password for localhost:[0-9]+: ")
      (smtpmail-quit-tests--keys terminal "C-g")
      (pcase-let ((`(,how ,_ ,text . ,_) (smtpmail-quit-tests--note terminal "end")))
        (should (equal (list how text) '(quit "Stopped; nothing was sent"))))
      (should-not (smtpmail-test-messages server)))))

(ert-deftest smtpmail-quit-tests-refused-recipient ()
  "The refused recipient is named, and the user's answer counts."
  (pcase-dolist (`(,answer ,end ,recipients)
                 '(("y" sent ("a@example.net" "c@example.net")) ("n" error nil)))
    (smtpmail-test-with-server
        (server "--on" "rcpt:b@example.net=reply 550 5.1.1 No such user")
      (smtpmail-quit-tests--with-terminal
          (terminal server
                    `(setq tests-mail
                           ,(smtpmail-test-mail "To: a@example.net, b@example.net, c@example.net")))
        (smtpmail-quit-tests--keys terminal "F5")
        (smtpmail-quit-tests--shows
         terminal
         "^<b@example.net> refused: 550 5.1.1 No such user.  Send to the other 2\\? (y or n)")
        (smtpmail-quit-tests--keys terminal answer)
        (should (eq (car (smtpmail-quit-tests--note terminal "end")) end)))
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
            (smtpmail-quit-tests--with-terminal
                (terminal server `(setq exec-path (cons ,bin exec-path)))
              (smtpmail-quit-tests--keys terminal "F5")
              (smtpmail-quit-tests--shows
               terminal
               "^Smtpmail.s engine is missing.  Build it, which takes a minute or two\\? (y or n)")
              (smtpmail-quit-tests--keys terminal answer)
              (let ((end (smtpmail-quit-tests--note terminal "end")))
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
