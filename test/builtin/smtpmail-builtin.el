;;; smtpmail-builtin.el --- Run the tests of the built-in's defects  -*- lexical-binding: t -*-

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

;; emacs -Q --batch -L lisp -L test -L test/checklist -L test/builtin
;;       -l smtpmail-builtin -f smtpmail-builtin-batch
;;
;; Runs each test with the built-in and with ours, prints who passes, and
;; compares that with the table in the manual, doc/builtin.texi, which it
;; writes if the environment has UPDATE.  Exits with 0 if ours passes all and
;; the table is current.  The table is of Emacs 28: with a later one only
;; ours is judged, since some defects are gone there.

;;; Code:

(require 'smtpmail-builtin-tests)

(defconst smtpmail-builtin--table
  (expand-file-name "../doc/builtin.texi" smtpmail-test-lisp)
  "The part of the manual that is written here.")

(defun smtpmail-builtin--tests ()
  "Return the tests, in the order of their file."
  (let ((file (symbol-file 'smtpmail-builtin--child 'defun)))
    (with-temp-buffer
      (insert-file-contents (concat (file-name-sans-extension file) ".el"))
      (let ((tests nil))
        (while (re-search-forward "^(smtpmail-builtin-deftest \\([a-z0-9-]+\\)$" nil t)
          (push (ert-get-test (intern (concat "smtpmail-builtin-" (match-string 1))))
                tests))
        (nreverse tests)))))

(defun smtpmail-builtin--passes-p (test builtin)
  "Return non-nil if TEST passes, with the BUILTIN or else with ours.
Tell why not if ours fails, or if the environment has VERBOSE."
  (let* ((smtpmail-builtin-under-test builtin)
         (result (ert-run-test test))
         (passed (ert-test-passed-p result)))
    (unless (or passed (and builtin (not (getenv "VERBOSE"))))
      (message "%s: %S" (ert-test-name test)
               (ert-test-result-with-condition-condition result)))
    passed))

(defun smtpmail-builtin--texinfo (results)
  "Return the table of RESULTS, a list of (TEST BUILTIN OURS), as Texinfo."
  (concat
   "@c Written by `make test-builtin UPDATE=1'; do not edit.\n"
   "@multitable @columnfractions .70 .15 .15\n"
   "@headitem What a mailer should do @tab Emacs 28 @tab Here\n"
   (mapconcat (pcase-lambda (`(,test ,builtin ,ours))
                (format "@item %s\n@tab %s @tab %s\n"
                        (car (split-string (ert-test-documentation test) "\n"))
                        (if builtin "yes" "no") (if ours "yes" "no")))
              results "")
   "@end multitable\n"))

(defun smtpmail-builtin--check-set-up ()
  "Signal unless both send a plain mail, log in, and flush a queue.
Otherwise the built-in might fail the tests for a reason of ours."
  (dolist (smtpmail-builtin-under-test '(t nil))
    (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth"
                                       "--caps-tls" "AUTH LOGIN")
      (should-not
       (smtpmail-builtin--child
        server
        (smtpmail-builtin--authinfo server "localhost" smtpmail-test-canary)
        (smtpmail-checklist-send-form)))
      (should (smtpmail-test-message server)))
    (smtpmail-test-with-server (server)
      (smtpmail-builtin--child server smtpmail-builtin--queue
                               (smtpmail-builtin--mail "a@x.example")
                               (smtpmail-builtin--mail "b@x.example")
                               (smtpmail-builtin--flush))
      (should (= 2 (length (smtpmail-test-messages server)))))))

(defun smtpmail-builtin-batch ()
  "Run all tests with both, compare with the manual, and exit."
  (smtpmail-builtin--check-set-up)
  (let* ((results
          (mapcar (lambda (test)
                    (let ((result (list test
                                        (smtpmail-builtin--passes-p test t)
                                        (smtpmail-builtin--passes-p test nil))))
                      (message "built-in %-6s ours %-6s  %s"
                               (if (nth 1 result) "passes" "fails")
                               (if (nth 2 result) "passes" "FAILS")
                               (car (split-string (ert-test-documentation test)
                                                  "\n")))
                      result))
                  (smtpmail-builtin--tests)))
         (table (smtpmail-builtin--texinfo results))
         (reference (= emacs-major-version 28))
         (wrong nil))
    (message "%d tests; the built-in of Emacs %s fails %d, ours %d"
             (length results) emacs-version
             (seq-count (lambda (result) (not (nth 1 result))) results)
             (seq-count (lambda (result) (not (nth 2 result))) results))
    (unless (seq-every-p (lambda (result) (nth 2 result)) results)
      (push "ours fails" wrong))
    (when reference
      (when (seq-some (lambda (result) (nth 1 result)) results)
        (push "the built-in passes what it should fail" wrong))
      (when (and (getenv "UPDATE") (null wrong))
        (write-region table nil smtpmail-builtin--table nil 'quiet))
      (unless (equal table (smtpmail-test-text smtpmail-builtin--table))
        (push "doc/builtin.texi is not current: make test-builtin UPDATE=1" wrong)))
    (when wrong
      (message "test-builtin: %s" (string-join wrong "; ")))
    (kill-emacs (if wrong 1 0))))

(provide 'smtpmail-builtin)

;;; smtpmail-builtin.el ends here
