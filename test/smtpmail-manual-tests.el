;;; smtpmail-manual-tests.el --- The manual tells of what there is  -*- lexical-binding: t -*-

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

;; Compares doc/smtpmail.texi, and the names in the other texts, with what the
;; Lisp files define.  What they define is read from their source, so that an
;; option in a file that nothing loads counts, too.

;;; Code:

(require 'ert)
(require 'seq)
(require 'subr-x)
(require 'smtpmail)

(defconst smtpmail-manual-tests--root
  (file-name-directory
   (directory-file-name
    (file-name-directory (locate-library "smtpmail-options"))))
  "The directory of the sources.")

(defun smtpmail-manual-tests--text (file)
  "Return the text of FILE, named from the directory of the sources."
  (with-temp-buffer
    (insert-file-contents (expand-file-name file smtpmail-manual-tests--root))
    (buffer-string)))

(defun smtpmail-manual-tests--matches (regexp text)
  "Return what group 1 of REGEXP matches in TEXT, symbols, each once."
  (let ((start 0)
        (found nil))
    (while (string-match regexp text start)
      (setq start (match-end 0))
      (push (intern (match-string 1 text)) found))
    (seq-uniq (nreverse found))))

(defun smtpmail-manual-tests--documented (kind)
  "Return what the manual defines with a line that begins with KIND, a regexp."
  (smtpmail-manual-tests--matches
   (concat "^@" kind " +\\(smtpmail[^ \n]*\\)")
   (smtpmail-manual-tests--text "doc/smtpmail.texi")))

;;;; What the Lisp defines

(defun smtpmail-manual-tests--forms ()
  "Return the top-level forms of all our Lisp files."
  (mapcan
   (lambda (file)
     (let ((forms nil))
       (with-temp-buffer
         (insert-file-contents file)
         (condition-case nil
             (while t (push (read (current-buffer)) forms))
           (end-of-file (nreverse forms))))))
   (seq-remove
    (lambda (file) (string-suffix-p "-autoloads.el" file))
    (directory-files (expand-file-name "lisp" smtpmail-manual-tests--root)
                     t "\\`smtpmail.*\\.el\\'"))))

(defun smtpmail-manual-tests--public-p (name)
  "Return non-nil if NAME, a symbol, is a public one of ours."
  (and (string-prefix-p "smtpmail-" (symbol-name name))
       (not (string-search "--" (symbol-name name)))))

(defun smtpmail-manual-tests--interactive-p (form)
  "Return non-nil if FORM defines a command."
  (pcase form
    (`(defun ,_ ,_ . ,body)
     (seq-some (lambda (part) (eq (car-safe part) 'interactive)) body))
    (`(,(or 'define-minor-mode 'define-derived-mode 'define-globalized-minor-mode)
       . ,_)
     t)))

(defun smtpmail-manual-tests--defined (predicate)
  "Return the public names defined by the forms that PREDICATE admits."
  (seq-filter #'smtpmail-manual-tests--public-p
              (mapcar #'cadr
                      (seq-filter predicate (smtpmail-manual-tests--forms)))))

(defun smtpmail-manual-tests--same (expected documented)
  "Check that EXPECTED and DOCUMENTED, lists of symbols, have the same elements."
  (should-not (seq-difference expected documented))
  (should-not (seq-difference documented expected)))

;;;; Tests

(ert-deftest smtpmail-manual-has-every-option ()
  "The options of the Lisp are the options of the manual."
  (let ((options (smtpmail-manual-tests--defined
                  (lambda (form) (eq (car-safe form) 'defcustom)))))
    (should (memq 'smtpmail-smtp-server options))
    (smtpmail-manual-tests--same
     options (smtpmail-manual-tests--documented "defopt"))))

(ert-deftest smtpmail-manual-has-every-command ()
  "The commands of the Lisp are the commands of the manual."
  (let ((commands (smtpmail-manual-tests--defined
                   #'smtpmail-manual-tests--interactive-p)))
    (should (memq 'smtpmail-send-queued-mail commands))
    (smtpmail-manual-tests--same
     commands (smtpmail-manual-tests--documented "deffnx? +Command"))))

(ert-deftest smtpmail-manual-defines-only-what-is-there ()
  "Every function and variable that the manual defines is bound."
  (let ((functions (smtpmail-manual-tests--documented "deffnx? +Function"))
        (variables (smtpmail-manual-tests--documented "defvarx?")))
    (should (memq 'smtpmail-send-it functions))
    (should (memq 'smtpmail-auth-supported variables))
    (should-not (seq-remove #'fboundp functions))
    (should-not (seq-remove #'boundp variables))
    (should-not (seq-filter #'custom-variable-p variables))))

(ert-deftest smtpmail-manual-has-no-other-entries ()
  "The manual defines nothing by ways that the tests above do not see."
  (let ((text (smtpmail-manual-tests--text "doc/smtpmail.texi"))
        (start 0))
    (while (string-match "^@\\(def[a-z]+\\)\\(.*\\)$" text start)
      (setq start (match-end 0))
      (should (string-match-p
               "\\`\\(defopt\\|defvar\\|deffn +\\(Command\\|Function\\)\\) +smtpmail-"
               (concat (match-string 1 text) (match-string 2 text)))))))

(ert-deftest smtpmail-texts-name-only-what-is-there ()
  "Names of variables and functions in manual, README and news are bound."
  (dolist (file '("doc/smtpmail.texi" "README.org" "NEWS.org"))
    (let ((names (smtpmail-manual-tests--matches
                  ;; Not the arguments of functions, in @var.
                  "\\(?:@code{\\|M-x \\|['(=]\\|\n +\\)\\(smtpmail-[a-z0-9-]*[a-z0-9]\\)"
                  (smtpmail-manual-tests--text file))))
      (should (memq 'smtpmail-stream-type names))
      (should-not (seq-remove (lambda (name) (or (boundp name) (fboundp name)))
                              names)))))

(ert-deftest smtpmail-manual-builds-without-a-warning ()
  "Info and HTML come out, and makeinfo has nothing to say."
  (let ((program (or (executable-find "makeinfo")
                     (ert-skip "makeinfo is not installed")))
        (directory (make-temp-file "smtpmail-manual" t)))
    (unwind-protect
        (dolist (format '("--info" "--html"))
          (with-temp-buffer
            (let ((file (expand-file-name (concat "manual" format) directory)))
              (should (eq 0 (call-process
                             program nil t nil format "--no-split" "-o" file
                             (expand-file-name "doc/smtpmail.texi"
                                               smtpmail-manual-tests--root))))
              (should (equal "" (buffer-string)))
              (should (file-exists-p file)))))
      (delete-directory directory t))))

(ert-deftest smtpmail-manual-is-of-this-version ()
  "The manual says the version that the Lisp says."
  (should (string-match-p
           (format "^@set VERSION %s$" (regexp-quote smtpmail-module-version))
           (smtpmail-manual-tests--text "doc/smtpmail.texi"))))

(ert-deftest smtpmail-manual-is-found-by-info ()
  "Once the autoloads are loaded, Info shows our manual and not the built-in's."
  (let* ((program (or (executable-find "makeinfo")
                      (ert-skip "makeinfo is not installed")))
         (directory (file-name-as-directory (make-temp-file "smtpmail-info" t)))
         (lisp (expand-file-name "lisp" smtpmail-manual-tests--root)))
    (unwind-protect
        (with-temp-buffer
          (dolist (file (directory-files lisp t "\\.elc?\\'"))
            (copy-file file directory))
          (should (eq 0 (call-process
                         program nil t nil "--no-split" "-o"
                         (expand-file-name "smtpmail.info" directory)
                         (expand-file-name "doc/smtpmail.texi"
                                           smtpmail-manual-tests--root))))
          (should
           (eq 0 (call-process
                  (expand-file-name invocation-name invocation-directory)
                  nil t nil "-Q" "--batch" "--eval"
                  (format "(load %S nil t)"
                          (expand-file-name "smtpmail-autoloads" directory))
                  "--eval" "(info \"(smtpmail)Quick Start\")"
                  "--eval" "(princ (buffer-substring (point) (point-max)))")))
          (should (string-match-p "make install" (buffer-string))))
      (delete-directory directory t))))

(provide 'smtpmail-manual-tests)

;;; smtpmail-manual-tests.el ends here
