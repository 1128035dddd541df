;;; smtpmail-module-build.el --- build the engine from its sources  -*- lexical-binding: t -*-

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

;; The engine is built with cargo, from sources that lie beside the Lisp files
;; or that these were linked from, and is put beside the Lisp files.

;;; Code:

(require 'smtpmail-module)

(defconst smtpmail-module--rust-version "1.89"
  "The oldest Rust that builds the engine.")

(defun smtpmail-module--missing ()
  "Return what is missing to build the engine, a text, or nil."
  (cond
   ((not (executable-find "cargo"))
    (format "the Rust toolchain, %s or newer (https://rustup.rs)"
            smtpmail-module--rust-version))
   ((let ((version (smtpmail-module--output "rustc" "--version")))
      (and (string-match "rustc \\([0-9.]+\\)" version)
           (version< (match-string 1 version) smtpmail-module--rust-version)
           (format "Rust %s or newer (this one is %s)"
                   smtpmail-module--rust-version (match-string 1 version)))))
   ((memq system-type '(darwin windows-nt)) nil)
   ((not (executable-find "cc")) "a C compiler (Debian: gcc)")
   ((not (executable-find "pkg-config")) "pkg-config (Debian: pkg-config)")
   ((not (eq 0 (call-process "pkg-config" nil nil nil "--exists" "openssl")))
    "the development files of OpenSSL (Debian: libssl-dev)")))

(defun smtpmail-module--output (program &rest arguments)
  "Return what PROGRAM prints when called with ARGUMENTS."
  (with-temp-buffer
    (ignore-errors (apply #'call-process program nil t nil arguments))
    (buffer-string)))

;;;###autoload
(defun smtpmail-module-build ()
  "Build smtpmail's engine and put it beside the Lisp files."
  (interactive)
  (let* ((file (smtpmail-module-file))
         (source (or (smtpmail-module--source-directory)
                     (error "The sources of smtpmail's engine are not beside %s"
                            smtpmail-module--directory)))
         (missing (smtpmail-module--missing)))
    (when missing
      (error "To build smtpmail's engine, install %s" missing))
    (smtpmail-module--run-cargo source)
    (smtpmail-module--install (smtpmail-module--built-file source) file)
    (message "Smtpmail's engine is built: %s" file)))

(defun smtpmail-module--built-file (source)
  "Return the file that cargo makes in SOURCE."
  (expand-file-name
   (pcase system-type
     ('darwin "target/release/libsmtpmail_core.dylib")
     ('windows-nt "target/release/smtpmail_core.dll")
     (_ "target/release/libsmtpmail_core.so"))
   source))

(defun smtpmail-module--install (built file)
  "Copy BUILT to FILE by way of another name.
A module that is loaded must not be written over: that would kill Emacs."
  (let ((temporary (make-temp-name (concat file "."))))
    (unwind-protect
        (progn
          (copy-file built temporary)
          (rename-file temporary file t))
      (when (file-exists-p temporary)
        (delete-file temporary)))))

(defun smtpmail-module--run-cargo (source)
  "Let cargo build the engine in SOURCE, and wait for it; \\[keyboard-quit] stops it."
  (let* ((default-directory source)
         (process-environment (cons "CARGO_TERM_COLOR=never" process-environment))
         (process-environment
          (cons (concat "CARGO_TARGET_DIR=" (expand-file-name "target" source))
                process-environment))
         (buffer (get-buffer-create "*smtpmail build*"))
         (begin (float-time))
         (process (progn
                    (with-current-buffer buffer (erase-buffer))
                    (make-process :name "smtpmail-build" :buffer buffer
                                  :command '("cargo" "build" "--release" "--locked" "--lib")
                                  :connection-type 'pipe :noquery t
                                  :sentinel #'ignore))))
    (unwind-protect
        (while (process-live-p process)
          (accept-process-output process 0.5)
          (smtpmail-module--tell-progress buffer (- (float-time) begin)))
      (when (process-live-p process)
        (kill-process process)))
    (unless (eq 0 (process-exit-status process))
      (unless noninteractive
        (with-selected-window (display-buffer buffer)
          ;; What went wrong is said last.
          (goto-char (point-max))
          (recenter -1)))
      (error "Smtpmail's engine could not be built; see the buffer %s"
             (buffer-name buffer)))))

(defun smtpmail-module--tell-progress (buffer seconds)
  "Say what cargo, whose output is in BUFFER, has been doing for SECONDS."
  (let ((message-log-max nil))
    (message "Building smtpmail's engine: %s (%d s%s)"
             (with-current-buffer buffer
               (save-excursion
                 (goto-char (point-max))
                 (if (re-search-backward
                      "^ *\\(Compiling\\|Downloaded\\) \\([[:alnum:]_-]+\\)" nil t)
                     (format "%s %s" (downcase (match-string 1)) (match-string 2))
                   "looking for what is needed")))
             seconds
             (if noninteractive "" (substitute-command-keys
                                    "; \\[keyboard-quit] stops")))))

(provide 'smtpmail-module-build)

;;; smtpmail-module-build.el ends here
