;;; smtpmail-client-async-tests.el --- smtpmail-async over a real server  -*- lexical-binding: t -*-

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

;; async's smtpmail-async: an Emacs copies its variables to a child, which is
;; started with -Q and finds this package by EMACSLOADPATH only.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-client))

(declare-function async-inject-variables "ext:async"
                  (include-regexp &optional predicate exclude-regexp noprops))

(defconst smtpmail-client-async-tests--our-own
  "\\`smtpmail-\\(?:test\\|real\\|client\\)-"
  "Names of the variables of these tests.")

(defun smtpmail-client-async-tests--run (server kind to &rest forms)
  "Send a mail TO by smtpmail-async in another Emacs; return how it went.
SERVER is the plist of the server and KIND its port; FORMS are evaluated
before.  The value is that of `smtpmail-test-run'."
  (smtpmail-test-run
   `((push ,(smtpmail-client-lisp :async) load-path)
     (require 'smtpmail-async)
     (require 'mail-extr)
     (setq smtpmail-smtp-server "localhost"
           smtpmail-smtp-service ,(smtpmail-real-port server kind)
           smtpmail-stream-type ',kind
           gnutls-trustfiles '(,(plist-get server :ca))
           auth-sources '(,(smtpmail-real--authinfo server kind))
           user-mail-address "alice@example.org"
           user-full-name "Alice Ådams"
           message-auto-save-directory nil
           message-send-mail-function
           (lambda ()
             ;; In Emacs 30 it is an object that does not print; a later
             ;; async than 1.9.7 may know.
             (let ((mail-extr-all-top-level-domains nil))
               (async-smtpmail-send-it)))
           message-kill-buffer-on-exit t
           ;; Not among the variables that are copied.
           async-smtpmail-before-send-hook
           '((lambda () (setq gnutls-trustfiles '(,(plist-get server :ca))))))
     ,@forms
     (message-mail ,to "Grüße")
     (message-goto-body)
     (insert "Ärger\n.\n")
     (let ((draft (current-buffer)))
       (message-send-and-exit)
       (princ (if (buffer-live-p draft) "kept\n" "gone\n")))
     (let ((children (process-list))
           (end (+ (float-time) ,smtpmail-test-patience)))
       (princ (format "children %d\n" (length children)))
       (while (and (seq-some #'process-live-p children) (< (float-time) end))
         (accept-process-output nil 0.05))
       (princ (format "exits %S\n" (mapcar #'process-exit-status children)))
       ;; The sentinel tells how it ended.
       (accept-process-output nil 0.1)))
   :environment (list (concat "EMACSLOADPATH=" smtpmail-test-lisp path-separator))))

(ert-deftest smtpmail-client-async-send ()
  "The child sends, logged in, by this package; then it exits."
  (smtpmail-client-with (server 'plain)
    (let* ((note (expand-file-name "note" home))
           (result
            (smtpmail-client-async-tests--run
             server 'ssl "carol@elsewhere.example"
             ;; Variables have been used: one mail went before, from here.
             `(let ((smtpmail-debug-info t)
                    (smtpmail-queue-dir ,(expand-file-name "queue" home)))
                (with-temp-buffer
                  (insert "To: bob@example.org\nSubject: First\n"
                          mail-header-separator "\nFirst\n")
                  (smtpmail-send-it)
                  (let ((smtpmail-queue-mail t)) (smtpmail-send-it))))
             `(push '(lambda ()
                       ;; async writes all files of the child with a BOM.
                       (let ((coding-system-for-write 'utf-8-unix))
                         (write-region (prin1-to-string
                                        (list (symbol-file 'smtpmail-send-it 'defun)
                                              noninteractive))
                                       nil ,note nil 'quiet)))
                    async-smtpmail-before-send-hook))))
      (ert-info ((format "%S" result))
        (should (eql 0 (plist-get result :exit)))
        (should (equal (plist-get result :stdout) "gone\nchildren 1\nexits (0)\n"))
        (should (string-match-p "Delivering message to carol@elsewhere\\.example\\.\\.\\.done"
                                (plist-get result :stderr)))
        (pcase-let ((`(,first ,second) (smtpmail-client-arrived server 2)))
          (should (equal (smtpmail-client-field first "Subject") "First"))
          (should (equal (plist-get second :to) '("carol@elsewhere.example")))
          (should (equal (smtpmail-client-field second "From")
                         "Alice Ådams <alice@example.org>"))
          (should (equal (smtpmail-client-decoded-body second) "Ärger\n.\n")))
        ;; Ours sent it, and in batch mode.
        (pcase-let ((`(,file ,batch) (car (read-from-string (smtpmail-test-text note)))))
          (should (file-equal-p (file-name-directory file) smtpmail-test-lisp))
          (should batch))))))

(ert-deftest smtpmail-client-async-refused ()
  "What the child was refused is told in the parent."
  (smtpmail-client-with (server 'plain)
    (let ((result (smtpmail-client-async-tests--run
                   server 'ssl (plist-get server :refused)
                   ;; It signals in a sentinel, which ends Emacs in batch mode.
                   `(advice-add 'async-handle-result :before
                                (lambda (_function result _buffer)
                                  (princ (format "result %S\n" result)))))))
      (ert-info ((format "%S" result))
        (should (string-match-p
                 "^result (async-signal (error \"Sending failed: .*550 5\\.1\\.1"
                 (plist-get result :stdout)))
        (should-not (string-search "refused@example.org...done"
                                   (plist-get result :stderr)))
        (should-not (string-search (plist-get server :password)
                                   (plist-get result :stderr)))))
    (smtpmail-client-nothing-arrived server)))

(ert-deftest smtpmail-client-async-queue ()
  "With `smtpmail-queue-mail' the child queues, durably, and exits."
  (smtpmail-client-with (server 'plain)
    (let ((result (smtpmail-client-async-tests--run
                   server 'plain "bob@example.org"
                   `(setq smtpmail-queue-mail t
                          smtpmail-queue-dir ,smtpmail-queue-dir))))
      (ert-info ((format "%S" result))
        (should (equal (plist-get result :stdout) "gone\nchildren 1\nexits (0)\n"))))
    (smtpmail-client-nothing-arrived server)
    (smtpmail-send-queued-mail)
    (should (equal (smtpmail-client-decoded-body (smtpmail-client-only server))
                   "Ärger\n.\n"))))

(ert-deftest smtpmail-client-async-variables ()
  "What `async-inject-variables' copies reads back as it was."
  (smtpmail-client-with (server 'plain)
    (push (smtpmail-client-lisp :async) load-path)
    (require 'async)
    ;; After both ways to end, and with a queue.
    (with-temp-buffer
      (insert "To: bob@example.org\n" mail-header-separator "\nText\n")
      (smtpmail-send-it)
      (let ((smtpmail-queue-mail t)) (smtpmail-send-it))
      (let ((smtpmail-smtp-service (smtpmail-test-quiet-port)))
        (should-error (smtpmail-send-it))))
    (smtpmail-send-queued-mail)
    (smtpmail-client-arrived server 2)
    ;; All that it copies can be read,
    (should (car (read-from-string
                  (prin1-to-string
                   (async-inject-variables
                    (concat "\\`\\(?:smtpmail\\|async-smtpmail\\|\\(?:user-\\)?mail\\)-"
                            "\\|auth-sources\\|epg\\|nsm")
                    nil
                    (concat "\\`\\(?:mail-header-format-function"
                            "\\|mail-mode-abbrev-table"
                            ;; See above.
                            "\\|mail-extr-all-top-level-domains\\)\\|"
                            smtpmail-client-async-tests--our-own))))))
    ;; and ours are the same then.
    (dolist (symbol (apropos-internal "\\`smtpmail-" #'boundp))
      (unless (string-match-p smtpmail-client-async-tests--our-own
                              (symbol-name symbol))
        (ert-info ((symbol-name symbol))
          (let ((value (symbol-value symbol)))
            (should (equal (car (read-from-string (prin1-to-string value)))
                           value))))))))

(provide 'smtpmail-client-async-tests)

;;; smtpmail-client-async-tests.el ends here
