;;; smtpmail-terminal.el --- An Emacs at a terminal for the suites of smtpmail  -*- lexical-binding: t -*-

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
;; read, and what that Emacs notes is waited for.  F5 sends the mail in its
;; buffer, F6 notes that it is alive, F7 sends from a timer.  No test lives
;; here.

;;; Code:

(require 'smtpmail-test)

(cl-defstruct smtpmail-terminal
  "An Emacs in a terminal."
  directory socket)

(defun smtpmail-terminal--tmux (terminal &rest arguments)
  "Run tmux for TERMINAL with ARGUMENTS and return what it prints."
  (with-temp-buffer
    (let ((process-environment (append '("TMUX=" "TERM=screen" "LC_ALL=C.UTF-8")
                                       process-environment)))
      (unless (eql 0 (apply #'call-process "tmux" nil t nil "-f" "/dev/null" "-S"
                            (smtpmail-terminal-socket terminal)
                            arguments))
        (error "The command tmux %s failed: %s" (car arguments) (buffer-string))))
    (buffer-string)))

(defun smtpmail-terminal-screen (terminal)
  "Return the text on the screen of TERMINAL."
  (smtpmail-terminal--tmux terminal "capture-pane" "-p" "-J"))

(defun smtpmail-terminal-shows (terminal regexp)
  "Wait until the screen of TERMINAL shows a match of REGEXP; return the screen."
  (let ((screen ""))
    (condition-case nil
        (smtpmail-test-wait
         regexp
         (lambda ()
           (setq screen (smtpmail-terminal-screen terminal))
           (string-match-p regexp screen)))
      (error (ert-fail (format "No %S on the screen:\n%s" regexp screen))))
    screen))

(defun smtpmail-terminal-keys (terminal &rest keys)
  "Press KEYS, as tmux names them, at TERMINAL."
  (apply #'smtpmail-terminal--tmux terminal "send-keys" keys))

(defun smtpmail-terminal-type (terminal text)
  "Type TEXT and the return key at TERMINAL."
  (smtpmail-terminal--tmux terminal "send-keys" "-l" text)
  (smtpmail-terminal-keys terminal "Enter"))

(defun smtpmail-terminal--file (terminal name)
  "Return the name of the file NAME that TERMINAL's Emacs writes."
  (expand-file-name name (smtpmail-terminal-directory terminal)))

(defun smtpmail-terminal-note (terminal name)
  "Wait for the file NAME that TERMINAL's Emacs writes; return what it read."
  (let ((file (smtpmail-terminal--file terminal name)))
    (smtpmail-test-wait name (lambda () (file-exists-p file)))
    (prog1 (read (decode-coding-string (smtpmail-test-text file) 'utf-8))
      (delete-file file))))

(defconst smtpmail-terminal--forms
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

(defmacro smtpmail-terminal-with (spec &rest body)
  "Run BODY with an Emacs at a terminal, set up for a server.
SPEC is (TERMINAL SERVER FORM...); FORMs are a list of what it evaluates."
  (declare (indent 1) (debug t))
  `(smtpmail-terminal--call ,(cadr spec) (list ,@(cddr spec))
                              (lambda (,(car spec)) ,@body)))

(defun smtpmail-terminal--call (server forms function)
  "Call FUNCTION with an Emacs at a terminal that knows SERVER and did FORMS."
  (unless (executable-find "tmux") (ert-skip "No tmux"))
  (smtpmail-test-with-directory directory
    (let* ((terminal (make-smtpmail-terminal
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
                       smtpmail-terminal--forms))
          (prin1 form (current-buffer))
          (insert "\n")))
      (unwind-protect
          (progn
            (smtpmail-terminal--tmux
             terminal "new-session" "-d" "-x" "140" "-y" "30"
             (format "HOME=%s exec %s %s -nw -Q --eval '(setq load-prefer-newer t)' -L %s -l %s" directory
                     smtpmail-test-emacs (or (getenv "EMACSFLAGS") "")
                     smtpmail-test-lisp init))
            (smtpmail-terminal-note terminal "ready")
            (funcall function terminal))
        (smtpmail-terminal--end terminal)))))

(defun smtpmail-terminal--end (terminal)
  "End TERMINAL, and wait until its Emacs, which may save a draft, is gone."
  (let ((emacs (ignore-errors
                 (string-to-number
                  (smtpmail-terminal--tmux terminal "display-message" "-p"
                                           "#{pane_pid}")))))
    (ignore-errors (smtpmail-terminal--tmux terminal "kill-server"))
    (when emacs
      (smtpmail-test-wait "the end of the Emacs at the terminal"
                          (lambda () (not (process-attributes emacs)))))))

(provide 'smtpmail-terminal)

;;; smtpmail-terminal.el ends here
