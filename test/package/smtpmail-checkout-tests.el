;;; smtpmail-checkout-tests.el --- Installing from a checkout  -*- lexical-binding: t -*-

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

;; A checkout is installed by package-vc and use-package, which Emacs has from 29
;; on, and sends.

;;; Code:

(require 'smtpmail-test)
(load (expand-file-name "smtpmail-package-test"
                        (file-name-directory (or load-file-name buffer-file-name)))
      nil t)

(defun smtpmail-checkout-tests--root ()
  "Return the checkout under test; `make test-matrix' runs in a copy below it."
  (with-temp-buffer
    (let ((default-directory smtpmail-test-lisp))
      (should (eql 0 (call-process "git" nil t nil "rev-parse" "--show-toplevel")))
      (string-trim (buffer-string)))))

(defun smtpmail-checkout-tests--checkout (directory)
  "Make DIRECTORY a clone of what is committed here."
  (should (eql 0 (call-process "git" nil nil nil "clone" "-q"
                               (smtpmail-checkout-tests--root) directory))))

(defun smtpmail-checkout-tests--put-engine (home)
  "Put the engine of this machine beside the Lisp files installed in HOME."
  (let ((lisp (file-name-directory
               (car (directory-files-recursively
                     (expand-file-name ".emacs.d/elpa" home)
                     "\\`smtpmail-options\\.el\\'")))))
    (copy-file (expand-file-name "smtpmail-core.so" smtpmail-test-lisp) lisp)
    lisp))

(ert-deftest smtpmail-checkout-tests-vc ()
  "A checkout by package-vc sends, in the next Emacs."
  (skip-unless (>= emacs-major-version 29))
  (dolist (before (list nil smtpmail-package-test-builtin))
    (ert-info ((format "before: %S" before))
      (smtpmail-test-with-directory home
        (smtpmail-test-with-server (server)
          (let ((clone (expand-file-name "smtpmail" home)))
            (smtpmail-checkout-tests--checkout clone)
            (smtpmail-package-test-emacs
             home before
             '(require 'package)
             '(package-initialize)
             `(let ((inhibit-message t))
                (package-vc-install '(smtpmail :url ,clone :lisp-dir "lisp"
                                               :doc "doc/smtpmail.texi"
                                               :vc-backend Git)))
             nil)
            ;; Of tests and the like nothing is compiled.
            (should-not (directory-files-recursively
                         (expand-file-name ".emacs.d/elpa/smtpmail/test" home)
                         "\\.elc\\'"))
            (let ((lisp (smtpmail-checkout-tests--put-engine home))
                  (sent (apply #'smtpmail-package-test-emacs home
                               `(,before
                                 (require 'package)
                                 (package-initialize)
                                 (info "(smtpmail)Installing")
                                 ,@(smtpmail-package-test-send-forms server)))))
              (should (file-equal-p (car sent) lisp))
              (should (nth 1 sent)))
            (should (smtpmail-test-message server))))))))

(ert-deftest smtpmail-checkout-tests-use-package ()
  "`use-package' with `:load-path' sends, even over a loaded built-in."
  (skip-unless (>= emacs-major-version 29))
  (dolist (before (list nil smtpmail-package-test-builtin))
    (ert-info ((format "before: %S" before))
      (smtpmail-test-with-directory home
        (smtpmail-test-with-server (server)
          (let ((sent (apply #'smtpmail-package-test-emacs home
                             `(,before
                               (require 'use-package)
                               (use-package smtpmail
                                 :load-path ,smtpmail-test-lisp
                                 :init (load "smtpmail-autoloads" nil t)
                                 :config (setq send-mail-function
                                               'smtpmail-send-it))
                               ,@(smtpmail-package-test-send-forms server)))))
            (should (file-equal-p (car sent) smtpmail-test-lisp))
            (should (nth 1 sent)))
          (should (smtpmail-test-message server)))))))

(provide 'smtpmail-checkout-tests)

;;; smtpmail-checkout-tests.el ends here
