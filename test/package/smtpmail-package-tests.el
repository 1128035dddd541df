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
;; A checkout is installed by package-vc and use-package, where Emacs has them.

;;; Code:

(require 'smtpmail-test)

(defconst smtpmail-package-tests--archive (getenv "SMTPMAIL_PACKAGE")
  "The package under test.")

(defconst smtpmail-package-tests--root
  (file-name-directory (directory-file-name smtpmail-test-lisp))
  "The checkout under test.")

(defconst smtpmail-package-tests--build-patience 900
  "Seconds that the engine may take to be built.")

(defun smtpmail-package-tests--emacs (home &rest forms)
  "Evaluate FORMS in an Emacs with HOME that knows nothing of ours.
Return what the last one is."
  (let* ((smtpmail-test-patience smtpmail-package-tests--build-patience)
         (result (smtpmail-test-run
                  `((setq backtrace-on-error-noninteractive nil)
                    ,@(butlast forms)
                    (prin1 ,(car (last forms))))
                  :lisp nil :home home
                  :environment (list (concat "CARGO_HOME="
                                             (expand-file-name "cargo" home))
                                     (concat "RUSTUP_HOME="
                                             (or (getenv "RUSTUP_HOME")
                                                 (expand-file-name ".rustup" (getenv "SMTPMAIL_USER_HOME"))))
                                     "CARGO_NET_OFFLINE=true"))))
    (unless (eql 0 (plist-get result :exit))
      (ert-fail (plist-get result :stderr)))
    (with-temp-buffer
      (insert (plist-get result :stdout))
      ;; Installing may have printed, too.
      (goto-char (point-max))
      (backward-sexp)
      (read (current-buffer)))))

(defun smtpmail-package-tests--send-forms (server)
  "Return forms that send a mail to SERVER, and one that tells what sent it."
  `(,@(smtpmail-test-settings server)
    (with-temp-buffer
      (insert ,(smtpmail-test-mail "To: you@example.net"))
      (let ((inhibit-message t)) (smtpmail-send-it)))
    (list (file-name-directory (symbol-file 'smtpmail-send-it 'defun))
          (featurep 'smtpmail-core))))

(defconst smtpmail-package-tests--builtin
  '(load "mail/smtpmail" nil t)
  "Loads the built-in.")

(defun smtpmail-package-tests--install (home &rest before)
  "Install the package into HOME, after the forms BEFORE in the same Emacs."
  (apply #'smtpmail-package-tests--emacs home
         `(,@before
           (require 'package)
           (package-initialize)
           (let ((inhibit-message t))
             (package-install-file ,smtpmail-package-tests--archive))
           (file-name-directory (locate-library "smtpmail-options")))))

(ert-deftest smtpmail-package-tests-install-file ()
  "`package-install-file' alone is enough to send, now and in the next Emacs."
  (dolist (before (list nil smtpmail-package-tests--builtin))
    (ert-info ((format "before: %S" before))
      (smtpmail-test-with-directory home
        (smtpmail-test-with-server (server)
          (let ((sent (apply #'smtpmail-package-tests--emacs home
                             `(,before
                               (require 'package)
                               (package-initialize)
                               (let ((inhibit-message t))
                                 (package-install-file
                                  ,smtpmail-package-tests--archive))
                               ,@(smtpmail-package-tests--send-forms server)))))
            (should (file-in-directory-p
                     (car sent) (expand-file-name ".emacs.d/elpa" home)))
            (should (nth 1 sent))
            (should (equal sent
                           (apply #'smtpmail-package-tests--emacs home
                                  `(,before
                                    (require 'package)
                                    (package-initialize)
                                    ,@(smtpmail-package-tests--send-forms server)))))
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
        (dolist (before (list nil smtpmail-package-tests--builtin))
          (let ((sent (apply #'smtpmail-package-tests--emacs home
                             `(,before
                               (push ,(directory-file-name lisp) load-path)
                               ;; As use-package does with `:load-path'.
                               ,(if before '(load "smtpmail" nil t)
                                  '(require 'smtpmail))
                               ,@(smtpmail-package-tests--send-forms server)))))
            (should (file-equal-p (car sent) lisp))
            (should (nth 1 sent))))
        (should (= 2 (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-package-tests-build-offline ()
  "The engine is built from what the package has, without a network."
  (smtpmail-test-with-directory home
    (smtpmail-test-with-server (server)
      (let ((lisp (smtpmail-package-tests--install home)))
        (delete-file (expand-file-name "smtpmail-core.so" lisp))
        (let ((sent (apply #'smtpmail-package-tests--emacs home
                           `((require 'package)
                             (package-initialize)
                             (require 'smtpmail)
                             (let ((inhibit-message t)) (smtpmail-module-build))
                             ,@(smtpmail-package-tests--send-forms server)))))
          (should (equal sent (list lisp t))))
        (should (smtpmail-test-message server))
        ;; Nothing was fetched.
        (should-not (file-exists-p (expand-file-name "cargo/registry/cache" home)))))))

(defun smtpmail-package-tests--checkout (directory)
  "Make DIRECTORY a clone of what is committed here."
  (should (eql 0 (call-process "git" nil nil nil "clone" "-q"
                               smtpmail-package-tests--root directory))))

(defun smtpmail-package-tests--put-engine (home)
  "Put the engine of this machine beside the Lisp files installed in HOME."
  (let ((lisp (file-name-directory
               (car (directory-files-recursively
                     (expand-file-name ".emacs.d/elpa" home)
                     "\\`smtpmail-options\\.el\\'")))))
    (copy-file (expand-file-name "smtpmail-core.so" smtpmail-test-lisp) lisp)
    lisp))

(ert-deftest smtpmail-package-tests-vc ()
  "A checkout by package-vc sends, in the next Emacs."
  (skip-unless (>= emacs-major-version 29))
  (dolist (before (list nil smtpmail-package-tests--builtin))
    (ert-info ((format "before: %S" before))
      (smtpmail-test-with-directory home
        (smtpmail-test-with-server (server)
          (let ((clone (expand-file-name "smtpmail" home)))
            (smtpmail-package-tests--checkout clone)
            (smtpmail-package-tests--emacs
             home before
             '(require 'package)
             '(package-initialize)
             `(let ((inhibit-message t))
                (package-vc-install '(smtpmail :url ,clone :lisp-dir "lisp"
                                               :vc-backend Git)))
             nil)
            (let ((lisp (smtpmail-package-tests--put-engine home))
                  (sent (apply #'smtpmail-package-tests--emacs home
                               `(,before
                                 (require 'package)
                                 (package-initialize)
                                 ,@(smtpmail-package-tests--send-forms server)))))
              (should (file-equal-p (car sent) lisp))
              (should (nth 1 sent)))
            (should (smtpmail-test-message server))))))))

(ert-deftest smtpmail-package-tests-use-package ()
  "`use-package' with `:load-path' sends, even over a loaded built-in."
  (skip-unless (>= emacs-major-version 29))
  (dolist (before (list nil smtpmail-package-tests--builtin))
    (ert-info ((format "before: %S" before))
      (smtpmail-test-with-directory home
        (smtpmail-test-with-server (server)
          (let ((sent (apply #'smtpmail-package-tests--emacs home
                             `(,before
                               (require 'use-package)
                               (use-package smtpmail
                                 :load-path ,smtpmail-test-lisp
                                 :init (load "smtpmail-autoloads" nil t)
                                 :config (setq send-mail-function
                                               'smtpmail-send-it))
                               ,@(smtpmail-package-tests--send-forms server)))))
            (should (file-equal-p (car sent) smtpmail-test-lisp))
            (should (nth 1 sent)))
          (should (smtpmail-test-message server)))))))

(provide 'smtpmail-package-tests)

;;; smtpmail-package-tests.el ends here
