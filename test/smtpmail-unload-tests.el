;;; smtpmail-unload-tests.el --- The built-in comes back  -*- lexical-binding: t -*-

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

;; What `unload-feature' leaves in an Emacs that used smtpmail.

;;; Code:

(require 'smtpmail-test)

(defvar smtpmail-unload-tests--before nil
  "A form to be evaluated before ours is there.")

(defun smtpmail-unload-tests--run (server &rest forms)
  "Evaluate FORMS in an Emacs set up for SERVER; return what the last one is.
Ours is there by its autoloads file alone, as users have it."
  (let ((result (smtpmail-test-run
                 `(,smtpmail-unload-tests--before
                   (load ,(expand-file-name "smtpmail-autoloads" smtpmail-test-lisp)
                         nil t)
                   ,@(smtpmail-test-settings server)
                   (setq backtrace-on-error-noninteractive nil)
                   (defun tests-send (subject)
                     (with-temp-buffer
                       (insert "To: you@example.net\nSubject: " subject "\n"
                               mail-header-separator "\nHello\n")
                       (let ((inhibit-message t)) (smtpmail-send-it))))
                   ,@(butlast forms)
                   (prin1 ,(car (last forms))))
                 :lisp nil)))
    (unless (eql 0 (plist-get result :exit))
      (ert-fail (plist-get result :stderr)))
    (read (plist-get result :stdout))))

(ert-deftest smtpmail-unload-tests-builtin-sends ()
  "After `unload-feature' the built-in sends in the same Emacs, as it was set."
  (dolist (smtpmail-unload-tests--before '(nil (load "mail/smtpmail" nil t)))
    (ert-info ((format "before: %S" smtpmail-unload-tests--before))
      ;; TLS of the built-in would want GnuTLS to know the authority.
      (smtpmail-test-with-server (server "--caps" "SIZE")
        (pcase-let
            ((`(,ours ,then ,server-name ,features ,path ,left)
              (smtpmail-unload-tests--run
               server
               '(setq smtpmail-local-domain "kept.example")
               '(require 'smtpmail-outbox-list)
               '(tests-send "ours")
               '(setq tests-ours (symbol-file 'smtpmail-send-it 'defun))
               '(let ((inhibit-message t)) (unload-feature 'smtpmail t))
               '(tests-send "builtin")
               `(list tests-ours
                      (symbol-file 'smtpmail-send-it 'defun)
                      (list smtpmail-smtp-server smtpmail-local-domain)
                      (seq-filter (lambda (feature)
                                    (string-prefix-p "smtpmail" (symbol-name feature)))
                                  features)
                      (seq-some (lambda (directory)
                                  (file-equal-p directory ,smtpmail-test-lisp))
                                load-path)
                      (seq-filter #'fboundp '(smtpmail-outbox smtpmail-version
                                              smtpmail-report-bug
                                              smtpmail-unload-function
                                              smtpmail-session-run))))))
          (should (file-in-directory-p ours smtpmail-test-lisp))
          (should (string-match-p "/mail/smtpmail\\.elc?\\'" then))
          (should (equal server-name '("localhost" "kept.example")))
          ;; The engine cannot be unloaded by any Emacs.
          (should (equal (sort features #'string<) '(smtpmail smtpmail-core)))
          (should-not path)
          (should-not left))
        (should (= 2 (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-unload-tests-nothing-stays ()
  "Hooks, timers, watchers and the mode line have nothing of ours left."
  (smtpmail-test-with-server (server)
    (should
     (equal (smtpmail-unload-tests--run
             server
             '(require 'smtpmail)
             '(setq smtpmail-queue-dir (expand-file-name "q/" (getenv "HOME")))
             '(defun smtpmail-tests-hook ())
             '(add-hook 'emacs-startup-hook #'smtpmail-tests-hook)
             '(add-hook 'emacs-startup-hook #'ignore)
             '(run-with-timer 1000 nil #'smtpmail-tests-hook)
             '(run-with-idle-timer 1000 nil #'apply #'smtpmail-tests-hook nil)
             '(setq global-mode-string '("" smtpmail-tests-string other-string))
             '(smtpmail-outbox)
             '(let ((inhibit-message t)) (unload-feature 'smtpmail t))
             '(setq smtpmail-queue-dir "~/elsewhere/")
             '(list (memq 'smtpmail-tests-hook emacs-startup-hook)
                    (and (memq 'ignore emacs-startup-hook) t)
                    (seq-filter (lambda (timer)
                                  (string-match-p "smtpmail"
                                                  (format "%S" timer)))
                                (append timer-list timer-idle-list))
                    global-mode-string
                    (get-variable-watchers 'smtpmail-queue-dir)
                    (seq-filter (lambda (buffer)
                                  (string-prefix-p
                                   "smtpmail"
                                   (symbol-name (buffer-local-value
                                                 'major-mode buffer))))
                                (buffer-list))))
            '(nil t nil ("" other-string) nil nil)))))

(ert-deftest smtpmail-unload-tests-customize ()
  "Customize sets the built-in's options again, and knows none of ours."
  (smtpmail-test-with-server (server)
    (should
     (equal (smtpmail-unload-tests--run
             server
             '(require 'smtpmail)
             '(let ((inhibit-message t)) (unload-feature 'smtpmail t))
             '(load "mail/smtpmail" nil t)
             '(customize-set-variable 'smtpmail-stream-type "no check of ours")
             '(list smtpmail-stream-type
                    (risky-local-variable-p 'smtpmail-smtp-server)
                    (and (assq 'smtpmail-stream-type (get 'smtpmail 'custom-group)) t)
                    (assq 'smtpmail-accounts (get 'smtpmail 'custom-group))
                    (custom-variable-p 'smtpmail-accounts)))
            '("no check of ours" nil t nil nil)))))

(ert-deftest smtpmail-unload-tests-asks ()
  "Nothing is unloaded while mail is under way and the user wants it to be."
  (smtpmail-test-with-server (server)
    (should
     (equal (smtpmail-unload-tests--run
             server
             '(require 'smtpmail)
             '(setq tests-order nil)
             '(defun smtpmail-tests-query () (push 'asked tests-order) tests-answer)
             '(defun smtpmail-tests-stop () (push 'stopped tests-order))
             '(add-hook 'kill-emacs-query-functions #'smtpmail-tests-query)
             '(add-hook 'kill-emacs-hook #'smtpmail-tests-stop)
             '(setq tests-answer nil)
             '(setq tests-first (condition-case why
                                    (unload-feature 'smtpmail t)
                                  (user-error (error-message-string why))))
             '(setq tests-there (and (featurep 'smtpmail-session)
                                     (fboundp 'smtpmail-session-run) t))
             '(setq tests-answer t)
             '(let ((inhibit-message t)) (unload-feature 'smtpmail t))
             '(list tests-first tests-there (reverse tests-order)
                    (featurep 'smtpmail-session)))
            '("Smtpmail stays: mail is being sent" t (asked asked stopped) nil)))))

(ert-deftest smtpmail-unload-tests-secrets ()
  "What was typed is forgotten; what was set is kept."
  (smtpmail-test-with-server (server)
    (should
     (equal (smtpmail-unload-tests--run
             server
             '(require 'smtpmail)
             '(require 'smtpmail-auth-login)
             `(put 'smtpmail-auth-forget 'smtpmail-auth--typed
                   '((key . ,smtpmail-test-canary)))
             '(setq smtpmail-auth-supported '(plain))
             '(let ((inhibit-message t)) (unload-feature 'smtpmail t))
             '(list (get 'smtpmail-auth-forget 'smtpmail-auth--typed)
                    smtpmail-auth-supported))
            '(nil (plain))))))

(ert-deftest smtpmail-unload-tests-again ()
  "Ours can be loaded again, with the engine that stayed."
  (smtpmail-test-with-server (server)
    (should
     (equal (smtpmail-unload-tests--run
             server
             '(tests-send "first")
             '(let ((inhibit-message t)) (unload-feature 'smtpmail t))
             `(load ,(expand-file-name "smtpmail-autoloads" smtpmail-test-lisp) nil t)
             '(tests-send "again")
             '(file-name-directory (symbol-file 'smtpmail-send-it 'defun)))
            smtpmail-test-lisp))
    (should (= 2 (length (smtpmail-test-messages server))))))

(provide 'smtpmail-unload-tests)

;;; smtpmail-unload-tests.el ends here
