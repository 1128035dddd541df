;;; smtpmail-auth-terminal-tests.el --- Tests of smtpmail-auth at a terminal  -*- lexical-binding: t -*-

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

;; A person at a terminal: an interactive Emacs under tmux gets its answers
;; by keys, and a daemon without clients asks nobody.

;;; Code:

(require 'ert)
(require 'cl-lib)
(require 'smtpmail-auth)

(defconst smtpmail-auth-terminal-tests--lisp
  (file-name-directory (locate-library "smtpmail-auth"))
  "Where the library under test is.")

(defconst smtpmail-auth-terminal-tests--patience 30
  "Seconds to wait for an Emacs to show or write something.
A busy machine takes several to start one.")

(defconst smtpmail-auth-terminal-tests--emacs
  (expand-file-name invocation-name invocation-directory)
  "The Emacs to start.")

(defun smtpmail-auth-terminal-tests--wait (what function)
  "Return the value of FUNCTION as soon as it is non-nil; fail without WHAT."
  (let ((end (+ (float-time) smtpmail-auth-terminal-tests--patience))
        value)
    (while (not (setq value (funcall function)))
      (when (> (float-time) end)
        (error "Waited in vain for %s" what))
      (sleep-for 0.1))
    value))

(defun smtpmail-auth-terminal-tests--text (file)
  "Return the text of FILE if it is there and complete."
  (and (file-exists-p file)
       (with-temp-buffer
         (insert-file-contents file)
         (and (string-suffix-p "\n" (buffer-string)) (buffer-string)))))

(defun smtpmail-auth-terminal-tests--tmux (socket &rest arguments)
  "Run tmux on SOCKET with ARGUMENTS and return what it prints."
  (with-temp-buffer
    (let ((process-environment (append '("TMUX=" "TERM=screen" "LC_ALL=C.UTF-8")
                                       process-environment)))
      (unless (eql 0 (apply #'call-process "tmux" nil t nil
                            "-f" "/dev/null" "-S" socket arguments))
        (error "The command tmux %s failed: %s"
               (car arguments) (buffer-string))))
    (buffer-string)))

(defun smtpmail-auth-terminal-tests--answer (socket prompt answer)
  "Wait until the terminal at SOCKET shows PROMPT, then type ANSWER."
  (let ((screen ""))
    (condition-case nil
        (smtpmail-auth-terminal-tests--wait
         prompt
         (lambda ()
           (setq screen (smtpmail-auth-terminal-tests--tmux
                         socket "capture-pane" "-p" "-J"))
           (string-search prompt screen)))
      (error (error "No %S on the screen:\n%s" prompt screen))))
  (smtpmail-auth-terminal-tests--tmux socket "send-keys" "-l" answer)
  (smtpmail-auth-terminal-tests--tmux socket "send-keys" "Enter"))

(defconst smtpmail-auth-terminal-tests--session
  '((require 'smtpmail-auth)
    (setq smtpmail-auth-credentials '(("mx.example" 587 nil nil)))
    (setq smtpmail-starttls-credentials nil)
    (setq smtpmail-smtp-user nil)
    (setq smtpmail-servers-requiring-authorization nil)
    (setq smtpmail-auth-supported '(plain))
    (defun tests-run ()
      (let* ((login (smtpmail-auth-lookup "mx.example" 587 nil))
             (again (smtpmail-auth-ask-again
                     login "mx.example" 587 "535 5.7.8 no\e[2J"))
             (in-minibuffer
              (minibuffer-with-setup-hook
                  (lambda ()
                    (insert (format "%s" (smtpmail-auth-can-prompt-p)))
                    (run-at-time 0 nil #'exit-minibuffer))
                (read-from-minibuffer "> "))))
        (with-temp-file tests-result
          (prin1 (list (smtpmail-auth-login-user login)
                       (secure-hash 'sha256 (smtpmail-auth-secret-bytes login))
                       (secure-hash 'sha256 (smtpmail-auth-secret-bytes again))
                       in-minibuffer
                       (with-current-buffer (messages-buffer) (buffer-string))
                       (prin1-to-string (list login again))
                       ;; What can be recalled with M-p.
                       (prin1-to-string minibuffer-history))
                 (current-buffer))
          (insert "\n")))
      (kill-emacs))
    (run-at-time 0.1 nil #'tests-run))
  "What the Emacs in the terminal evaluates.")

(ert-deftest smtpmail-auth-terminal-tests-typed ()
  "User name and password typed at a terminal, unseen, and once more."
  (skip-unless (executable-find "tmux"))
  (let* ((directory (make-temp-file "smtpmail" t))
         (socket (expand-file-name "tmux" directory))
         (init (expand-file-name "init.el" directory))
         (result (expand-file-name "result" directory))
         (typed "Kanarie-é-4711")
         (second "Kanarie-4712"))
    (unwind-protect
        (progn
          (with-temp-file init
            (insert ";; -*- lexical-binding: t; coding: utf-8 -*-\n")
            (dolist (form `((defconst tests-result ,result)
                            ,@smtpmail-auth-terminal-tests--session))
              (prin1 form (current-buffer))
              (insert "\n")))
          (smtpmail-auth-terminal-tests--tmux
           socket "new-session" "-d" "-x" "120" "-y" "30"
           smtpmail-auth-terminal-tests--emacs "-Q" "-nw"
           "-L" smtpmail-auth-terminal-tests--lisp "-l" init)
          (smtpmail-auth-terminal-tests--answer
           socket "SMTP user name for mx.example: " "alice")
          (smtpmail-auth-terminal-tests--answer
           socket "SMTP password for mx.example:587: " typed)
          (smtpmail-auth-terminal-tests--answer
           socket "alice@mx.example: 535 5.7.8 no\\x1b[2J; password again: "
           second)
          (let* ((text (smtpmail-auth-terminal-tests--wait
                        "the result"
                        (lambda () (smtpmail-auth-terminal-tests--text result))))
                 (facts (read text)))
            (should (equal (butlast facts 3)
                           (list "alice"
                                 (secure-hash 'sha256 (encode-coding-string
                                                       typed 'utf-8))
                                 (secure-hash 'sha256 second)
                                 "nil")))
            (should-not (string-search "Kanarie" text))))
      (ignore-errors
        (smtpmail-auth-terminal-tests--tmux socket "kill-server"))
      (delete-directory directory t))))

(ert-deftest smtpmail-auth-terminal-tests-daemon ()
  "A daemon asks nobody as long as it has no client."
  (skip-unless (executable-find "emacsclient"))
  (skip-unless (executable-find "tmux"))
  (let* ((directory (make-temp-file "smtpmail" t))
         (socket (expand-file-name "server" directory))
         (tmux (expand-file-name "tmux" directory))
         (daemon nil))
    (cl-flet ((client (form)
                (with-temp-buffer
                  (let ((status (call-process
                                 "emacsclient" nil t nil "-s" socket
                                 "--eval" (prin1-to-string form))))
                    (and (eql 0 status) (string-trim (buffer-string)))))))
      (unwind-protect
          (progn
            ;; Emacs removes an empty directory before it makes the socket.
            (with-temp-file (expand-file-name "keep" directory))
            (setq daemon
                  (make-process
                   :name "daemon"
                   ;; On a terminal of its own it would read keys from it.
                   :connection-type 'pipe
                   :command (list smtpmail-auth-terminal-tests--emacs
                                  "-Q" (concat "--fg-daemon=" socket)
                                  "-L" smtpmail-auth-terminal-tests--lisp
                                  "-l" "smtpmail-auth")))
            (set-process-query-on-exit-flag daemon nil)
            (should (equal "(nil nil)"
                           (smtpmail-auth-terminal-tests--wait
                            "the daemon"
                            (lambda ()
                              (client '(list noninteractive
                                             (smtpmail-auth-can-prompt-p)))))))
            ;; With a client, there is somebody.
            (smtpmail-auth-terminal-tests--tmux
             tmux "new-session" "-d" "-x" "80" "-y" "24"
             "emacsclient" "-t" "-s" socket)
            (smtpmail-auth-terminal-tests--wait
             "a client to ask"
             (lambda () (equal "t" (client '(smtpmail-auth-can-prompt-p))))))
        (ignore-errors
          (smtpmail-auth-terminal-tests--tmux tmux "kill-server"))
        (when daemon (delete-process daemon))
        (delete-directory directory t)))))

(provide 'smtpmail-auth-terminal-tests)

;;; smtpmail-auth-terminal-tests.el ends here
