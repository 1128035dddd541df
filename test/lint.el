;;; lint.el --- check the Lisp files  -*- lexical-binding: t -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; emacs -Q --batch -L lisp -l test/lint.el -f smtpmail-lint-batch FILE...
;; Runs checkdoc, check-declare and, if it is in `load-path', package-lint;
;; exits with 1 if one of them complains.

;;; Code:

(require 'checkdoc)
(require 'check-declare)

(defvar package-lint-main-file)
(declare-function package-lint-buffer "ext:package-lint" (&optional buffer))
(defvar jka-compr-verbose)

(defvar smtpmail-lint--complaints 0)

(defconst smtpmail-lint--excused
  '(("smtpmail.el" "Homepage or URL header"
     "There is no page of the package yet.")
    ("smtpmail.el" "uninstallable in all released Emacs versions"
     "This package-lint knows no Emacs after 27.")
    ("smtpmail.el" "`with-eval-after-load' is for use in configurations"
     "The manual has the name of the built-in's, so Info must look here first."))
  "Complaints of package-lint that are none: file, part of the text, reason.")

(defun smtpmail-lint--package (files)
  "Let package-lint look at FILES."
  (let ((package-lint-main-file
         (seq-find (lambda (file) (string-suffix-p "/smtpmail.el" file)) files))
        (unused (copy-sequence smtpmail-lint--excused)))
    (dolist (file files)
      (with-current-buffer (find-file-noselect file)
        (pcase-dolist (`(,line ,_column ,_type ,text) (package-lint-buffer))
          (let ((excuse (seq-find (lambda (excuse)
                                    (and (equal (file-name-nondirectory file)
                                                (car excuse))
                                         (string-search (nth 1 excuse) text)))
                                  smtpmail-lint--excused)))
            (if excuse
                (setq unused (delq excuse unused))
              (setq smtpmail-lint--complaints (1+ smtpmail-lint--complaints))
              (message "%s:%d: %s" file line text))))))
    (dolist (excuse unused)
      (setq smtpmail-lint--complaints (1+ smtpmail-lint--complaints))
      (message "lint.el: nothing to excuse any more: %s" (nth 1 excuse)))))

(defun smtpmail-lint-batch ()
  "Check the files on the command line and exit."
  (let ((checkdoc-create-error-function
         (lambda (text start _end &optional _unfixable)
           ;; The name of the package `emacs' in Package-Requires is no prose.
           (unless (save-excursion
                     (goto-char (or start 1))
                     (beginning-of-line)
                     (looking-at ";; Package-Requires:"))
             (setq smtpmail-lint--complaints (1+ smtpmail-lint--complaints))
             (message "%s:%d: %s" (buffer-file-name)
                      (line-number-at-pos (or start 1)) text))
           nil))
        (checkdoc-verb-check-experimental-flag nil)
        (jka-compr-verbose nil)
        (files command-line-args-left))
    (setq command-line-args-left nil)
    (dolist (file files)
      (with-current-buffer (find-file-noselect file)
        (checkdoc-current-buffer t))
      (let ((wrong (check-declare-file file)))
        (when (and wrong (bufferp wrong))
          (setq smtpmail-lint--complaints (1+ smtpmail-lint--complaints))
          (message "%s" (with-current-buffer wrong (buffer-string))))))
    (when (require 'package-lint nil t)
      (smtpmail-lint--package (mapcar #'expand-file-name files)))
    (kill-emacs (if (> smtpmail-lint--complaints 0) 1 0))))

(provide 'lint)

;;; lint.el ends here
