;;; smtpmail-loading-tests.el --- Which smtpmail is loaded, and its module  -*- lexical-binding: t -*-

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

;; The built-in and this one in any order of loading, and a module that is
;; missing, of another version, no module at all, or replaced.

;;; Code:

(require 'smtpmail-test)

(defconst smtpmail-loading-tests--builtin
  '(progn
     (load "mail/smtpmail" nil t)
     (or (not (featurep 'smtpmail-options)) (error "Not the built-in")))
  "Loads the built-in.")

(defun smtpmail-loading-tests--eval (&rest forms)
  "Return what the last of FORMS is in a batch Emacs without load-path of ours."
  (smtpmail-loading-tests--value
   (smtpmail-test-run (append (butlast forms)
                              `((prin1 ,(car (last forms)))))
                      :lisp nil)))

(defun smtpmail-loading-tests--value (result)
  "Return the value that RESULT, of `smtpmail-test-run', printed."
  (unless (eql 0 (plist-get result :exit))
    (ert-fail (plist-get result :stderr)))
  (read (plist-get result :stdout)))

(defun smtpmail-loading-tests--copy (directory &optional without-lisp-suffix)
  "Copy the files of smtpmail to DIRECTORY and return it.
Those whose names end in WITHOUT-LISP-SUFFIX are left out."
  (make-directory directory t)
  (dolist (file (directory-files smtpmail-test-lisp t "\\`smtpmail.*\\.\\(elc?\\|so\\)\\'"))
    (unless (and without-lisp-suffix (string-suffix-p without-lisp-suffix file))
      (copy-file file (file-name-as-directory directory))))
  (file-name-as-directory directory))

(defun smtpmail-loading-tests--send-forms (server)
  "Return forms that send a mail to SERVER."
  `(,@(smtpmail-test-settings server)
    (setq backtrace-on-error-noninteractive nil)
    (with-current-buffer (get-buffer-create "mail")
      (insert ,(smtpmail-test-mail "To: you@example.net"))
      (smtpmail-send-it))))

(defmacro smtpmail-loading-tests--with-copy (spec &rest body)
  "Run BODY with a copy of smtpmail; SPEC is (DIRECTORY [SUFFIX-LEFT-OUT])."
  (declare (indent 1) (debug t))
  (let ((parent (make-symbol "parent")))
    `(smtpmail-test-with-directory ,parent
       (let ((,(car spec) (smtpmail-loading-tests--copy
                           (expand-file-name "lisp" ,parent) ,(cadr spec))))
         ,@body))))

;;;; Which smtpmail is in force

(ert-deftest smtpmail-loading-tests-load-path ()
  "With the directory first in `load-path', ours is what is required."
  (should (equal (smtpmail-loading-tests--value
                  (smtpmail-test-run
                   '((require 'smtpmail)
                     (prin1 (list (file-name-directory
                                   (symbol-file 'smtpmail-send-it 'defun))
                                  (featurep 'smtpmail) (featurep 'smtpmail-options)
                                  (featurep 'smtpmail-core))))))
                 ;; The module is loaded by the first send only.
                 (list smtpmail-test-lisp t t nil))))

(defconst smtpmail-loading-tests--autoloads
  (expand-file-name "smtpmail-autoloads.el" smtpmail-test-lisp)
  "The file of autoloads.")

(ert-deftest smtpmail-loading-tests-autoloads ()
  "The autoloads file alone makes ours what is called, and puts it first."
  (dolist (before (list nil
                        `(setq load-path
                               (append load-path
                                       '(,(directory-file-name smtpmail-test-lisp))))
                        smtpmail-loading-tests--builtin))
    (ert-info ((format "%S" before))
      (should (equal (smtpmail-loading-tests--eval
                      before
                      `(load ,smtpmail-loading-tests--autoloads nil t)
                      '(condition-case why (with-temp-buffer (smtpmail-send-it))
                         (error (setq tests-why (error-message-string why))))
                      `(list tests-why
                             (file-name-directory
                              (symbol-file 'smtpmail-send-it 'defun))
                             (file-equal-p (car load-path) ,smtpmail-test-lisp)))
                     (list "Sending failed; no recipients" smtpmail-test-lisp t))))))

(ert-deftest smtpmail-loading-tests-user-methods ()
  "Methods of the user survive ours over the built-in; the built-in's do not count."
  (should (equal (smtpmail-loading-tests--eval
                  smtpmail-loading-tests--builtin
                  '(cl-defmethod smtpmail-try-auth-method
                     (_process (_mech (eql 'mine)) _user _password) 'mine-ran)
                  `(load ,smtpmail-loading-tests--autoloads nil t)
                  '(list (smtpmail-try-auth-method nil 'mine "u" "p")
                         (mapcar (lambda (mechanism)
                                   (and (smtpmail-auth-user-method-p mechanism) t))
                                 '(mine plain login cram-md5 xoauth2))))
                 '(mine-ran (t nil nil nil nil)))))

(ert-deftest smtpmail-loading-tests-user-values ()
  "What the user set before loading is kept, in all orders of loading."
  (dolist (load (list '(require 'smtpmail)
                      `(progn ,smtpmail-loading-tests--builtin
                              (load ,smtpmail-loading-tests--autoloads nil t))))
    (should (equal (smtpmail-loading-tests--eval
                    '(setq smtpmail-smtp-server "mx.example" smtpmail-smtp-service 587
                           smtpmail-auth-credentials '(("mx.example" 587 "u" "p")))
                    `(setq load-path (cons ,smtpmail-test-lisp load-path))
                    load
                    '(list smtpmail-smtp-server smtpmail-smtp-service
                           smtpmail-auth-credentials))
                   '("mx.example" 587 (("mx.example" 587 "u" "p")))))))

(ert-deftest smtpmail-loading-tests-version ()
  "`smtpmail-version' names version and files, before and after a send."
  (smtpmail-test-with-server (server)
    (pcase-let ((`(,before ,after)
                 (smtpmail-loading-tests--value
                  (smtpmail-test-run
                   `((require 'smtpmail)
                     (setq tests-before (smtpmail-version))
                     ,@(smtpmail-loading-tests--send-forms server)
                     (prin1 (list tests-before (smtpmail-version))))))))
      (dolist (text (list before after))
        (should (string-match-p (concat "smtpmail 0\\.[0-9.]+ ("
                                        (regexp-quote smtpmail-test-lisp)
                                        "smtpmail\\.elc?; ")
                                text)))
      (should (string-match-p "engine not loaded: .*smtpmail-core\\.so" before))
      (should (string-match-p (concat "engine " (regexp-quote smtpmail-test-lisp)
                                      "smtpmail-core\\.so)")
                              after)))))

(ert-deftest smtpmail-loading-tests-use-builtin ()
  "`smtpmail-use-builtin' makes the built-in send."
  (smtpmail-test-with-server (server "--caps" "SIZE")
    (let ((result (smtpmail-test-run
                   `((require 'smtpmail)
                     (let ((inhibit-message t)) (smtpmail-use-builtin))
                     ,@(smtpmail-loading-tests--send-forms server)
                     (prin1 (list (symbol-file 'smtpmail-send-it 'defun)
                                  (featurep 'smtpmail-core)))))))
      (pcase-let ((`(,file ,core) (smtpmail-loading-tests--value result)))
        (should (string-match-p "/mail/smtpmail\\.elc?\\'" file))
        (should-not core)))
    ;; Only the built-in says QUIT and waits, and never pipelines; its EHLO is
    ;; the same, so the file above is what tells them apart.
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-loading-tests-uncompiled ()
  "Ours works from its sources alone, too."
  (smtpmail-loading-tests--with-copy (lisp ".elc")
    (smtpmail-test-with-server (server)
      (let ((result (smtpmail-test-run
                     `((require 'smtpmail)
                       ,@(smtpmail-loading-tests--send-forms server)
                       (prin1 (symbol-file 'smtpmail-send-it 'defun)))
                     :lisp lisp)))
        (should (equal (smtpmail-loading-tests--value result)
                       (expand-file-name "smtpmail.el" lisp))))
      (should (smtpmail-test-message server)))))

;;;; The module

(ert-deftest smtpmail-loading-tests-module-missing ()
  "Without the module, a batch send names file, reason and command."
  (smtpmail-test-with-server (server)
    (smtpmail-loading-tests--with-copy (lisp ".so")
      (dolist (sources '(nil t))
        (when sources
          (write-region "" nil (expand-file-name "../Cargo.toml" lisp) nil 'quiet)
          (make-directory (expand-file-name "../src" lisp)))
        (let ((result (smtpmail-test-run
                       `((require 'smtpmail)
                         (add-hook 'kill-emacs-hook
                                   (lambda ()
                                     (prin1 (with-current-buffer "mail"
                                              (buffer-string)))))
                         ,@(smtpmail-loading-tests--send-forms server))
                       :lisp lisp)))
          (should (eql 255 (plist-get result :exit)))
          (should (equal (plist-get result :stderr)
                         (format "Not sent: smtpmail’s engine %ssmtpmail-core.so \
is missing.  %s\n"
                                 lisp
                                 (if sources
                                     (format "Build it with: make -C %s module"
                                             (directory-file-name
                                              (file-name-directory
                                               (directory-file-name lisp))))
                                   "Install smtpmail again, or M-x smtpmail-use-builtin"))))
          (should (equal (read (plist-get result :stdout))
                         (smtpmail-test-mail "To: you@example.net"))))))
    (should (equal (smtpmail-test-log server) ""))))

(defun smtpmail-loading-tests--patch-version (file)
  "Give the module FILE another version, where it is read before loading."
  (with-temp-buffer
    (set-buffer-multibyte nil)
    (insert-file-contents-literally file)
    (goto-char (point-min))
    (re-search-forward "smtpmail-core version 0\\(\\.\\)")
    (goto-char (match-beginning 1))
    (delete-char -1)
    (insert "9")
    (let ((coding-system-for-write 'no-conversion)
          (inhibit-message t))
      (write-region nil nil file nil 'quiet))))

(ert-deftest smtpmail-loading-tests-module-of-another-version ()
  "A module of another version is refused before it is loaded."
  (smtpmail-test-with-server (server)
    (smtpmail-loading-tests--with-copy (lisp)
      (smtpmail-loading-tests--patch-version (expand-file-name "smtpmail-core.so" lisp))
      (let ((result (smtpmail-test-run
                     `((require 'smtpmail)
                       (add-hook 'kill-emacs-hook
                                 (lambda () (prin1 (featurep 'smtpmail-core))))
                       ,@(smtpmail-loading-tests--send-forms server))
                     :lisp lisp)))
        (should (string-match-p "smtpmail-core\\.so is of version 9\\.[0-9.]+, \
the Lisp files of 0\\.[0-9.]+\\.  " (plist-get result :stderr)))
        (should (equal (plist-get result :stdout) "nil"))
        (should (eql 255 (plist-get result :exit)))))
    (should (equal (smtpmail-test-log server) ""))))

(ert-deftest smtpmail-loading-tests-version-in-file ()
  "The version is found in an engine's file wherever it stands, or nil."
  (let ((file (make-temp-file "smtpmail-engine"))
        (text "smtpmail-core version 7.8.9;"))
    (unwind-protect
        (dolist (offset (list 0 1 (- smtpmail-module--piece 5)
                              smtpmail-module--piece
                              (- (* 3 smtpmail-module--piece) 20)
                              nil))
          (let ((coding-system-for-write 'no-conversion))
            (write-region (concat (make-string (or offset 100) ?\n)
                                  (and offset text) "\377\n")
                          nil file nil 'quiet))
          (should (equal (smtpmail-module--version-in file)
                         (and offset "7.8.9"))))
      (delete-file file))))

(ert-deftest smtpmail-loading-tests-module-unloadable ()
  "A file that is no module is named with the loader's reason."
  (smtpmail-test-with-server (server)
    (smtpmail-loading-tests--with-copy (lisp)
      (write-region "smtpmail-core version 0.1.0; and no more" nil
                    (expand-file-name "smtpmail-core.so" lisp) nil 'quiet)
      (let ((result (smtpmail-test-run
                     `((require 'smtpmail)
                       ,@(smtpmail-loading-tests--send-forms server))
                     :lisp lisp)))
        (should (string-match-p
                 "\\`Not sent: smtpmail.s engine .*smtpmail-core\\.so .*\\(too short\\|invalid ELF header\\)"
                 (plist-get result :stderr)))))))

(ert-deftest smtpmail-loading-tests-module-replaced ()
  "A module replaced by an installation while it is loaded goes on working."
  (smtpmail-test-with-server (server)
    (smtpmail-loading-tests--with-copy (lisp)
      (let ((result (smtpmail-test-run
                     `((require 'smtpmail)
                       ,@(smtpmail-loading-tests--send-forms server)
                       (require 'smtpmail-module-build)
                       (smtpmail-module--install
                        ,(expand-file-name "smtpmail-core.so" smtpmail-test-lisp)
                        ,(expand-file-name "smtpmail-core.so" lisp))
                       (with-current-buffer "mail" (smtpmail-send-it)))
                     :lisp lisp)))
        (should (equal 0 (plist-get result :exit)))
        (should (= 2 (length (smtpmail-test-messages server))))
        ;; No temporary file is left.
        (should (equal (directory-files lisp nil "smtpmail-core")
                       '("smtpmail-core.so")))))))

(ert-deftest smtpmail-loading-tests-toolchain-missing ()
  "What is missing to build the module is named in one line, before the build."
  (smtpmail-loading-tests--with-copy (lisp ".so")
    (write-region "" nil (expand-file-name "../Cargo.toml" lisp) nil 'quiet)
    (make-directory (expand-file-name "../src" lisp))
    (let ((result (smtpmail-test-run
                   '((setq exec-path '("/nowhere"))
                     (require 'smtpmail)
                     (setq backtrace-on-error-noninteractive nil)
                     (smtpmail-module-build))
                   :lisp lisp :environment '("PATH=/nowhere"))))
      (should (equal (plist-get result :stderr)
                     "To build smtpmail’s engine, install the Rust toolchain, \
1.89 or newer (https://rustup.rs)\n")))))

(ert-deftest smtpmail-loading-tests-toolchain-old ()
  "A Rust that is too old is named with its version."
  (smtpmail-loading-tests--with-copy (lisp ".so")
    (write-region "" nil (expand-file-name "../Cargo.toml" lisp) nil 'quiet)
    (make-directory (expand-file-name "../src" lisp))
    (let ((bin (expand-file-name "../bin/" lisp)))
      (make-directory bin)
      (dolist (name '("cargo" "rustc"))
        (write-region (format "#!/bin/sh\necho '%s 1.63.0 (abc 2022-08-08)'\n" name)
                      nil (expand-file-name name bin) nil 'quiet)
        (set-file-modes (expand-file-name name bin) #o755))
      (let ((result (smtpmail-test-run
                     `((setq exec-path (cons ,bin exec-path))
                       (require 'smtpmail)
                       (setq backtrace-on-error-noninteractive nil)
                       (smtpmail-module-build))
                     :lisp lisp)))
        (should (equal (plist-get result :stderr)
                       "To build smtpmail’s engine, install Rust 1.89 or newer \
(this one is 1.63.0)\n"))))))

(ert-deftest smtpmail-loading-tests-sources-behind-links ()
  "The sources are found where a package manager has made links to the Lisp."
  (smtpmail-loading-tests--with-copy (lisp ".so")
    (write-region "" nil (expand-file-name "../Cargo.toml" lisp) nil 'quiet)
    (make-directory (expand-file-name "../src" lisp))
    (smtpmail-test-with-directory build
      (dolist (file (directory-files lisp t "\\.elc?\\'"))
        (let ((new (expand-file-name (file-name-nondirectory file) build)))
          ;; straight and elpaca compile in their own directory.
          (if (string-suffix-p ".elc" file)
              (copy-file file new)
            (make-symbolic-link file new))))
      (should (equal (smtpmail-loading-tests--value
                      (smtpmail-test-run
                       '((require 'smtpmail)
                         (prin1 (list (smtpmail-module--source-directory)
                                      (smtpmail-module-file))))
                       :lisp build))
                     (list (file-truename (expand-file-name "../" lisp))
                           (expand-file-name "smtpmail-core.so" build)))))))

;;;; Installation

(defun smtpmail-loading-tests--make-install (&rest settings)
  "Run `make install' with SETTINGS; return the file that it says to load."
  (with-temp-buffer
    (unless (eql 0 (apply #'call-process "make" nil t nil "-C"
                          (expand-file-name ".." smtpmail-test-lisp)
                          "install" (concat "EMACS=" smtpmail-test-emacs)
                          settings))
      (ert-fail (buffer-string)))
    (goto-char (point-min))
    (should (re-search-forward "(load \"\\(.*/smtpmail-autoloads\\)\" nil t)" nil t))
    (match-string 1)))

(ert-deftest smtpmail-loading-tests-install-for-a-user ()
  "`make install' alone is enough to send, from the directory of the user.
The manual is found, too."
  (dolist (before '(nil (load "mail/smtpmail" nil t)))
    (smtpmail-test-with-directory home
      (smtpmail-test-with-server (server)
        (let ((load (smtpmail-loading-tests--make-install
                     (concat "HOME=" (directory-file-name home))))
              (lisp (expand-file-name ".local/share/emacs/site-lisp/smtpmail/" home)))
          (should (equal load (concat lisp "smtpmail-autoloads")))
          (should (equal (smtpmail-loading-tests--value
                          (smtpmail-test-run
                           `(,before
                             (load ,load nil t)
                             (setq send-mail-function 'smtpmail-send-it)
                             ,@(smtpmail-loading-tests--send-forms server)
                             (info "(smtpmail)Installing")
                             (prin1 (list (symbol-file 'smtpmail-send-it 'defun)
                                          Info-current-node)))
                           :lisp nil))
                         (list (concat lisp "smtpmail.elc") "Installing")))
          (should (smtpmail-test-message server)))))))

(ert-deftest smtpmail-loading-tests-install ()
  "What `make install' puts below DESTDIR sends, from a clean home."
  (smtpmail-test-with-directory root
    (smtpmail-test-with-server (server)
      ;; What it says is to be put into init files is what is tried.
      (let ((load (smtpmail-loading-tests--make-install
                   "PREFIX=/usr" (concat "DESTDIR=" (directory-file-name root)))))
        (should (equal load "/usr/share/emacs/site-lisp/smtpmail/smtpmail-autoloads"))
        (let* ((lisp (concat (directory-file-name root) (file-name-directory load)))
               (result (smtpmail-test-run
                        `((load ,(concat lisp "smtpmail-autoloads") nil t)
                          (setq send-mail-function 'smtpmail-send-it)
                          ,@(smtpmail-loading-tests--send-forms server)
                          (prin1 (list (symbol-file 'smtpmail-send-it 'defun)
                                       (smtpmail-module-file))))
                        :lisp nil)))
          (should (equal (smtpmail-loading-tests--value result)
                         (list (concat lisp "smtpmail.elc")
                               (concat lisp "smtpmail-core.so"))))
          (should (smtpmail-test-message server))
          ;; Nothing half-written, no build directory of ours.
          (should-not (directory-files lisp nil "\\.new\\'")))))))

(provide 'smtpmail-loading-tests)

;;; smtpmail-loading-tests.el ends here
