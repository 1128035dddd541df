;;; smtpmail-module.el --- find, build and load the engine  -*- lexical-binding: t -*-

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

;; The engine is a dynamic module, smtpmail-core.so, beside this file.  Its
;; base name is no Lisp file's: `load' would prefer it to them.  It is loaded
;; by the first send, and built before that if it is missing; a module of
;; another version than this Lisp is refused before it is loaded, for it could
;; not be unloaded again.

;;; Code:

(require 'seq)

;; Only who has no engine needs it.
(autoload 'smtpmail-module-build "smtpmail-module-build" nil t)

(declare-function smtpmail-module--version "ext:exports.rs" ())

(defconst smtpmail-module-version "0.1.0"
  "The version of smtpmail, which its engine must have too.")

(defconst smtpmail-module--directory
  (file-name-directory (or load-file-name buffer-file-name default-directory))
  "Where the Lisp files are, and the engine beside them.")

(defun smtpmail-module-file ()
  "Return the name of the engine's file, or signal that Emacs takes none."
  (unless (and (fboundp 'module-load) (bound-and-true-p module-file-suffix))
    (error "Smtpmail needs an Emacs with support for dynamic modules; \
M-x smtpmail-use-builtin goes back to the built-in smtpmail"))
  (expand-file-name (concat "smtpmail-core" module-file-suffix)
                    smtpmail-module--directory))

(defun smtpmail-module--source-directory ()
  "Return the directory of the engine's sources, or nil if they are not here."
  (seq-find (lambda (directory)
              (and (file-exists-p (expand-file-name "Cargo.toml" directory))
                   (file-directory-p (expand-file-name "src" directory))))
            ;; In a package, in a checkout, and where a package manager has
            ;; made links to the Lisp files of a checkout.
            (list (expand-file-name "engine/" smtpmail-module--directory)
                  (expand-file-name "../" smtpmail-module--directory)
                  (expand-file-name
                   "../" (file-name-directory
                          (file-truename
                           (expand-file-name "smtpmail-module.el"
                                             smtpmail-module--directory)))))))

(defconst smtpmail-module--piece (* 64 1024)
  "Octets of the engine's file read at once.
The version is near its beginning; all of it takes milliseconds.")

(defconst smtpmail-module--version-reach 64
  "Most octets that the version takes in the engine's file.")

(defun smtpmail-module--version-in (file)
  "Return the version of the engine in FILE without loading it, or nil."
  (with-temp-buffer
    (set-buffer-multibyte nil)
    (let ((case-fold-search nil)
          (offset 0)
          (version nil))
      (while (and (not version)
                  (progn
                    ;; It may lie across two pieces; the rest has been searched,
                    ;; and a buffer that grows costs more than the search.
                    (delete-region (point-min)
                                   (max (point-min)
                                        (- (point-max)
                                           smtpmail-module--version-reach)))
                    (goto-char (point-max))
                    (< 0 (cadr (insert-file-contents-literally
                                file nil offset
                                (+ offset smtpmail-module--piece))))))
        (goto-char (point-min))
        ;; A plain string is found many times faster than a regexp.
        (while (and (not version)
                    (search-forward "smtpmail-core version " nil t))
          (when (looking-at "\\([0-9a-z.-]+\\);")
            (setq version (match-string 1))))
        (setq offset (+ offset smtpmail-module--piece)))
      version)))

(defun smtpmail-module-ensure ()
  "Load the engine, and build it before if it is missing.
Signal an `error' that says what is wrong and what to do if that cannot be
done.  Nothing is sent then, and nothing else takes its place silently."
  (unless (featurep 'smtpmail-core)
    (let ((file (smtpmail-module-file)))
      (unless (file-exists-p file)
        (smtpmail-module--build-or-explain file "is missing"))
      (let ((version (smtpmail-module--version-in file)))
        (unless (equal version smtpmail-module-version)
          (smtpmail-module--build-or-explain
           file (format "is of version %s, the Lisp files of %s"
                        (or version "unknown") smtpmail-module-version))))
      (condition-case failure
          ;; Not `module-load': the same file must not be loaded twice.
          (require 'smtpmail-core file)
        (error
         ;; It may be for another machine: what was not loaded may be replaced.
         (smtpmail-module--build-or-explain file (error-message-string failure))
         (require 'smtpmail-core file)))))
  (unless (equal (smtpmail-module--version) smtpmail-module-version)
    (error "Smtpmail's engine is of version %s, its Lisp files of %s: \
restart Emacs to use one of them"
           (smtpmail-module--version) smtpmail-module-version)))

(defun smtpmail-module--fail (file reason)
  "Signal that the engine's FILE cannot be used for REASON, and what to do."
  (error "Not sent: smtpmail's engine %s %s.  %s" file reason
         (let ((source (smtpmail-module--source-directory)))
           (cond
            ((not source) "Install smtpmail again, or M-x smtpmail-use-builtin")
            ((string-prefix-p smtpmail-module--directory source)
             "Build it with: M-x smtpmail-module-build")
            (t (format "Build it with: make -C %s module"
                       (shell-quote-argument (directory-file-name source))))))))

(defun smtpmail-module--build-or-explain (file reason)
  "Build the engine's FILE if the user wants it; it cannot be used for REASON."
  (unless (and (not noninteractive)
               (smtpmail-module--source-directory)
               (y-or-n-p (format-message
                          "Smtpmail's engine %s.  Build it, which takes a minute or two? "
                          reason)))
    (smtpmail-module--fail file reason))
  (smtpmail-module-build))

(provide 'smtpmail-module)

;;; smtpmail-module.el ends here
