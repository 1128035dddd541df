;;; smtpmail-package-tests.el --- Installing the package, from a clean home  -*- lexical-binding: t -*-

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

;; What `make package' made (SMTPMAIL_PACKAGE) is installed as users do it, each
;; time into an empty home, and sends; its engine is built without a network.

;;; Code:

(require 'smtpmail-test)
(load (expand-file-name "smtpmail-package-test"
                        (file-name-directory (or load-file-name buffer-file-name)))
      nil t)

(defconst smtpmail-package-tests--archive (getenv "SMTPMAIL_PACKAGE")
  "The package under test.")

(defun smtpmail-package-tests--install (home &rest before)
  "Install the package into HOME, after the forms BEFORE in the same Emacs."
  (apply #'smtpmail-package-test-emacs home
         `(,@before
           (require 'package)
           (package-initialize)
           (let ((inhibit-message t))
             (package-install-file ,smtpmail-package-tests--archive))
           (file-name-directory (locate-library "smtpmail-options")))))

(ert-deftest smtpmail-package-tests-install-file ()
  "`package-install-file' alone is enough to send, now and in the next Emacs."
  (dolist (before (list nil smtpmail-package-test-builtin))
    (ert-info ((format "before: %S" before))
      (smtpmail-test-with-directory home
        (smtpmail-test-with-server (server)
          (let ((sent (apply #'smtpmail-package-test-emacs home
                             `(,before
                               (require 'package)
                               (package-initialize)
                               (let ((inhibit-message t))
                                 (package-install-file
                                  ,smtpmail-package-tests--archive))
                               ,@(smtpmail-package-test-send-forms server)))))
            (should (file-in-directory-p
                     (car sent) (expand-file-name ".emacs.d/elpa" home)))
            (should (nth 1 sent))
            (should (equal sent
                           (apply #'smtpmail-package-test-emacs home
                                  `(,before
                                    (require 'package)
                                    (package-initialize)
                                    ,@(smtpmail-package-test-send-forms server)))))
            (should (= 2 (length (smtpmail-test-messages server))))
            ;; Info finds the manual by the `dir' file.
            (should (file-exists-p (expand-file-name "dir" (car sent))))
            (should (file-exists-p (expand-file-name "smtpmail.info" (car sent))))))))))

(ert-deftest smtpmail-package-tests-load-path ()
  "An unpacked package works with `load-path' and `require' alone."
  (smtpmail-test-with-directory home
    (smtpmail-test-with-server (server)
      (should (eql 0 (call-process "tar" nil nil nil "xf"
                                   smtpmail-package-tests--archive "-C" home)))
      (let ((lisp (file-name-as-directory
                   (car (directory-files home t "\\`smtpmail-[0-9.]+\\'")))))
        (dolist (before (list nil smtpmail-package-test-builtin))
          (let ((sent (apply #'smtpmail-package-test-emacs home
                             `(,before
                               (push ,(directory-file-name lisp) load-path)
                               ;; As use-package does with `:load-path'.
                               ,(if before '(load "smtpmail" nil t)
                                  '(require 'smtpmail))
                               ,@(smtpmail-package-test-send-forms server)))))
            (should (file-equal-p (car sent) lisp))
            (should (nth 1 sent))))
        (should (= 2 (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-package-tests-build-offline ()
  "The engine is built from what the package has, without a network."
  (smtpmail-test-with-directory home
    (smtpmail-test-with-server (server)
      (let ((lisp (smtpmail-package-tests--install home)))
        (delete-file (expand-file-name "smtpmail-core.so" lisp))
        (let ((sent (apply #'smtpmail-package-test-emacs home
                           `((require 'package)
                             (package-initialize)
                             (require 'smtpmail)
                             (let ((inhibit-message t)) (smtpmail-module-build))
                             ,@(smtpmail-package-test-send-forms server)))))
          (should (equal sent (list lisp t))))
        (should (smtpmail-test-message server))
        ;; Nothing was fetched.
        (should-not (file-exists-p (expand-file-name "cargo/registry/cache" home)))))))

(provide 'smtpmail-package-tests)

;;; smtpmail-package-tests.el ends here
