;;; lint.el --- check the Lisp files  -*- lexical-binding: t -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; emacs -Q --batch -L lisp -l test/lint.el -f smtpmail-lint-batch FILE...
;; Runs checkdoc and check-declare; exits with 1 if either complains.

;;; Code:

(require 'checkdoc)
(require 'check-declare)

(defvar jka-compr-verbose)

(defvar smtpmail-lint--complaints 0)

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
    (kill-emacs (if (> smtpmail-lint--complaints 0) 1 0))))

(provide 'lint)

;;; lint.el ends here
