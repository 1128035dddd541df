;;; smtpmail-auth-token-tests.el --- OAuth tokens that a program prints  -*- lexical-binding: t -*-

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

;; Real programs that print tokens, or what is none, and a server that takes
;; one of them.  Also the way of the package auth-source-xoauth2: a function
;; as secret, and a method of its own.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-terminal))
(require 'smtpmail-auth-token)
(require 'smtpmail-doctor)

(defconst smtpmail-auth-token-tests--server
  (list "--user" "alice@example.org" "--password" smtpmail-test-canary
        "--require-auth" "--caps-tls" "AUTH PLAIN OAUTHBEARER XOAUTH2")
  "Options of a server that takes the canary as a token.")

(defun smtpmail-auth-token-tests--program (directory text)
  "Write the shell program TEXT into DIRECTORY; return its name."
  (let ((file (expand-file-name "get token" directory)))
    (with-temp-file file (insert "#!/bin/sh\n" text "\n"))
    (set-file-modes file #o700)
    file))

(defmacro smtpmail-auth-token-tests--with (text &rest body)
  "Run BODY while `smtpmail-token-command' runs the shell program TEXT.
In BODY, `directory' is that of the program, and its first argument."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-directory directory
     (let ((smtpmail-token-command
            (list (smtpmail-auth-token-tests--program directory ,text)
                  directory "%u" "%h:%p" "a;b $(c) 100%%"))
           (smtpmail-smtp-user "alice@example.org")
           (auth-sources nil)
           (smtpmail-auth-prompt-inhibited nil))
       ,@body)))

(defun smtpmail-auth-token-tests--why (text)
  "Return why the program TEXT gets no login."
  (smtpmail-auth-token-tests--with text
    (let ((inhibit-message t))
      (prog1 (error-message-string
              (should-error (smtpmail-auth-lookup "smtp.example.org" 587 nil)))
        ;; Nothing of it stays.
        (should-not (seq-find (lambda (process)
                                (string-prefix-p "smtpmail token"
                                                 (process-name process)))
                              (process-list)))
        (should-not (seq-find (lambda (buffer)
                                (string-prefix-p " *smtpmail token"
                                                 (buffer-name buffer)))
                              (buffer-list)))))))

(ert-deftest smtpmail-auth-token-tests-arguments ()
  "The program gets its arguments as they are, without a shell."
  (smtpmail-auth-token-tests--with
      "d=$1; shift; printf '%s\\n' \"$@\" >\"$d/arguments\"; cat >\"$d/input\"; echo t0ken"
    (let ((login (smtpmail-auth-lookup "smtp.example.org" 587 nil)))
      (should (equal (smtpmail-auth-secret-bytes login) "t0ken"))
      (should (equal (smtpmail-auth-login-user login) "alice@example.org"))
      (should (equal (smtpmail-auth-mechanisms login '("PLAIN" "XOAUTH2" "OAUTHBEARER"))
                     '(xoauth2 oauthbearer)))
      (should (equal (smtpmail-test-text (expand-file-name "arguments" directory))
                     "alice@example.org\nsmtp.example.org:587\na;b $(c) 100%\n"))
      ;; Its input has an end, or it would still read.
      (should (equal (smtpmail-test-text (expand-file-name "input" directory)) "")))))

(ert-deftest smtpmail-auth-token-tests-no-token ()
  "What goes wrong is told with what the program said, made visible."
  (pcase-dolist
      (`(,program ,regexp)
       `(("echo 'no \033[2Jrefresh token' >&2; exit 3"
          "get token ended with status 3: \
no \\\\x1b\\[2Jrefresh token\\'")
         ("echo please log in; echo here" "did not print just a token\\'")
         ("echo 'two words'" "did not print just a token\\'")
         ("true" "did not print just a token\\'")
         ("echo never >&2; kill -9 $$" "ended with status 9: never\\'")
         ("yes" "printed too much for a token\\'")))
    (ert-info (program)
      (should (string-match-p regexp (smtpmail-auth-token-tests--why program))))))

(ert-deftest smtpmail-auth-token-tests-no-end ()
  "A program that does not end is ended, whatever it says meanwhile."
  (let ((smtpmail-auth-token--seconds 1))
    (dolist (program '("sleep 1000" "exec yes >&2"))
      (ert-info (program)
        (should (string-match-p "did not end within 1 s"
                                (smtpmail-auth-token-tests--why program)))))))

(ert-deftest smtpmail-auth-token-tests-missing-program ()
  (let ((smtpmail-token-command '("/nowhere/token-please"))
        (smtpmail-smtp-user "alice@example.org"))
    (should (string-match-p "token-please"
                            (error-message-string
                             (should-error (smtpmail-auth-lookup "h.example" 587 nil)))))))

(ert-deftest smtpmail-auth-token-tests-no-secret-shown ()
  "A text that is no token is not shown: it may have one in it."
  (smtpmail-test-should-hide-canary
   (smtpmail-auth-token-tests--why
    (format "echo token: %s" smtpmail-test-canary))))

(ert-deftest smtpmail-auth-token-tests-sent ()
  "Mail goes with the token of the account's program, and no secret is left."
  (smtpmail-test-with-server (server smtpmail-auth-token-tests--server)
    (smtpmail-auth-token-tests--with (format "echo %s" smtpmail-test-canary)
      (let ((smtpmail-debug-info t)
            (account (smtpmail-accounts-bindings
                      `("work" :server "localhost" :service ,smtpmail-smtp-service
                        :user "alice@example.org"
                        :token-command ,smtpmail-token-command)))
            (smtpmail-token-command '("false")))
        (smtpmail-accounts-with account
          (should-not (smtpmail-test-send)))
        (should (smtpmail-test-message server))
        (should (string-match-p "^C: AUTH XOAUTH2" (smtpmail-test-log server)))
        (dolist (buffer (smtpmail-test-traces))
          (smtpmail-test-should-hide-canary
           (with-current-buffer buffer (buffer-string))))))))

(ert-deftest smtpmail-auth-token-tests-account-without ()
  "An account with a server of its own has no token of the variable."
  (smtpmail-test-with-server (server "--user" "alice" "--password" smtpmail-test-canary
                                     "--require-auth")
    (smtpmail-auth-token-tests--with "exit 1"
      (let* ((netrc (expand-file-name "authinfo" directory))
             (auth-sources (list netrc))
             (auth-source-do-cache nil)
             (account (smtpmail-accounts-bindings
                       `("work" :server "localhost" :service ,smtpmail-smtp-service))))
        (with-temp-file netrc
          (insert (format "machine localhost port %d login alice password %s\n"
                          smtpmail-smtp-service smtpmail-test-canary)))
        (smtpmail-accounts-with account
          (should-not (smtpmail-test-send)))
        (should (string-match-p "ended with status 1" (smtpmail-test-send)))))))

(defconst smtpmail-auth-token-tests--second
  "if [ -e \"$1/ran\" ]; then echo %s; else touch \"$1/ran\"; echo st4le; fi"
  "A program that prints another token the second time.")

(ert-deftest smtpmail-auth-token-tests-refreshed-once ()
  "A token that the server refuses is asked for once more, and only once."
  (smtpmail-test-with-server (server smtpmail-auth-token-tests--server)
    (smtpmail-auth-token-tests--with (format smtpmail-auth-token-tests--second
                                             smtpmail-test-canary)
      (should-not (smtpmail-test-send))
      (should (smtpmail-test-message server))))
  (smtpmail-test-with-server (server smtpmail-auth-token-tests--server)
    (smtpmail-auth-token-tests--with "echo x >>\"$1/runs\"; echo st4le$$"
      (should (string-match-p "535" (smtpmail-test-send)))
      (should (equal (smtpmail-test-text (expand-file-name "runs" directory)) "x\nx\n"))
      (should-not (smtpmail-test-messages server)))))

(ert-deftest smtpmail-auth-token-tests-auth-source-xoauth2 ()
  "The way of the package auth-source-xoauth2 works, token and method.
Its backend gives a function as secret; its method for the mechanism says
the command itself."
  (smtpmail-test-with-server (server smtpmail-auth-token-tests--server)
    (let* ((calls 0)
           (auth-sources '(xoauth2))
           (auth-source-do-cache nil)
           (smtpmail-auth-supported '(xoauth2))
           (parse (lambda (entry)
                    (when (eq entry 'xoauth2)
                      (auth-source-backend
                       :source "." :type 'xoauth2
                       :search-function
                       (lambda (&rest _)
                         (list (list :host "localhost"
                                     :user "alice@example.org"
                                     :secret (lambda ()
                                               (if (= (setq calls (1+ calls)) 1)
                                                   "st4le"
                                                 smtpmail-test-canary))))))))))
      (add-hook 'auth-source-backend-parser-functions parse)
      (unwind-protect
          (progn
            ;; The first token is refused; the function has another one.
            (should-not (smtpmail-test-send))
            (should (equal (length (smtpmail-test-messages server)) 1))
            (should (= 2 calls))
            (let ((result
                   (smtpmail-test-run
                    `(,@(smtpmail-test-settings server)
                      (require 'smtpmail)
                      (setq smtpmail-auth-supported '(xoauth2)
                            auth-sources '(xoauth2))
                      (add-hook 'auth-source-backend-parser-functions
                                (lambda (entry)
                                  (when (eq entry 'xoauth2)
                                    (auth-source-backend
                                     :source "." :type 'xoauth2
                                     :search-function
                                     (lambda (&rest _)
                                       (list (list :host "localhost"
                                                   :user "alice@example.org"
                                                   :secret
                                                   (lambda () ,smtpmail-test-canary))))))))
                      (cl-defmethod smtpmail-try-auth-method
                        (process (_mech (eql xoauth2)) user password)
                        (smtpmail-command-or-throw
                         process
                         (concat "AUTH XOAUTH2 "
                                 (base64-encode-string
                                  (format "user=%s\1auth=Bearer %s\1\1" user password)
                                  t))
                         235))
                      (with-temp-buffer
                        (insert "To: you@example.net\n" mail-header-separator "\nHi\n")
                        (smtpmail-send-it))))))
              (ert-info ((format "%S" result))
                (should (equal 0 (plist-get result :exit)))
                (should (equal (length (smtpmail-test-messages server)) 2)))))
        (remove-hook 'auth-source-backend-parser-functions parse)))))

(ert-deftest smtpmail-auth-token-tests-doctor ()
  "The doctor says what to do when the program has no token."
  (smtpmail-test-with-server (server smtpmail-auth-token-tests--server)
    (smtpmail-auth-token-tests--with "echo log in first >&2; exit 1"
      (let ((failure (assq 'failure (nth 1 (smtpmail-doctor--examine nil nil)))))
        (should (equal (nth 1 failure) "Password"))
        (should (string-match-p "log in first" (nth 2 failure)))
        (should (string-match-p "correct `smtpmail-token-command'" (nth 3 failure)))))
    (smtpmail-auth-token-tests--with "echo st4le"
      (let ((failure (assq 'failure (nth 1 (smtpmail-doctor--examine nil nil)))))
        (should (equal (nth 1 failure) "Login"))
        (should (string-match-p "token of .*get token.*for sending mail"
                                (nth 3 failure)))))))

(ert-deftest smtpmail-auth-token-tests-background ()
  "In the background the program runs when Emacs is idle, and the mail goes."
  (smtpmail-test-with-server (server smtpmail-auth-token-tests--server)
    (smtpmail-test-with-directory directory
      (let ((program (smtpmail-auth-token-tests--program
                      directory (format "touch \"$1/ran\"; echo %s"
                                        smtpmail-test-canary))))
        (smtpmail-terminal-with
            (terminal server
                      `(setq smtpmail-send-in-background t
                             smtpmail-queue-dir (concat tests-directory "queue/")
                             smtpmail-token-command '(,program ,directory)
                             smtpmail-smtp-user "alice@example.org"))
          (smtpmail-terminal-keys terminal "F5")
          (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
          (smtpmail-test-wait "the mail" (lambda () (smtpmail-test-messages server)))
          (should (file-exists-p (expand-file-name "ran" directory))))))))

(ert-deftest smtpmail-auth-token-tests-later ()
  "Where nobody is to be disturbed, it waits; where nobody is there, it does not."
  (smtpmail-auth-token-tests--with (format "touch \"$1/ran\"; echo %s" smtpmail-test-canary)
    (let ((smtpmail-auth-prompt-inhibited 'inhibited))
      ;; In batch nobody is there.
      (should (smtpmail-auth-lookup "smtp.example.org" 587 nil))
      (should (file-exists-p (expand-file-name "ran" directory)))
      (delete-file (expand-file-name "ran" directory))
      (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p)
                 (lambda () (not smtpmail-auth-prompt-inhibited))))
        (should-not (smtpmail-auth-lookup "smtp.example.org" 587 nil))
        (should (eq smtpmail-auth-prompt-inhibited 'wanted))
        (should-not (file-exists-p (expand-file-name "ran" directory)))))))

(ert-deftest smtpmail-auth-token-tests-quit ()
  "\\`C-g' gives control back while a program does not end, and ends that."
  (smtpmail-test-with-server (server smtpmail-auth-token-tests--server)
    (smtpmail-test-with-directory directory
      (let ((program (smtpmail-auth-token-tests--program
                      directory "echo $$ >\"$1/pid\"; exec sleep 1000")))
        (smtpmail-terminal-with
            (terminal server
                      `(setq smtpmail-token-command '(,program ,directory)
                             smtpmail-smtp-user "alice@example.org"))
          (smtpmail-terminal-keys terminal "F5")
          (smtpmail-terminal-shows terminal "Waiting for a token by .*get token")
          (smtpmail-terminal-keys terminal "C-g")
          (should (eq 'quit (car (smtpmail-terminal-note terminal "end"))))
          (let ((pid (string-to-number
                      (smtpmail-test-text (expand-file-name "pid" directory)))))
            (smtpmail-test-wait "the end of the program"
                                (lambda () (not (process-attributes pid)))))
          (should-not (smtpmail-test-messages server)))))))

(provide 'smtpmail-auth-token-tests)

;;; smtpmail-auth-token-tests.el ends here
