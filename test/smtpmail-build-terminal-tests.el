;;; smtpmail-build-terminal-tests.el --- The first use builds the engine  -*- lexical-binding: t -*-

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

;; What one sees at a terminal when the engine is missing: the question, that
;; something goes on, and the end.  Here "cargo" takes a few seconds and hands out
;; the engine that is there: the true one is test/package's.

;;; Code:

(require 'smtpmail-terminal)

(defmacro smtpmail-build-terminal-tests--with (spec &rest body)
  "Run BODY with a terminal and a server; SPEC is (TERMINAL SERVER SCRIPT).
SCRIPT is what \"cargo\" does, a shell script; it is run in the sources."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-directory root
     (let* ((engine (expand-file-name "smtpmail-core.so" smtpmail-test-lisp))
            (lisp (expand-file-name "lisp/" root))
            (bin (expand-file-name "bin/" root)))
       (mapc #'make-directory (list lisp bin (expand-file-name "src" root)))
       (write-region "" nil (expand-file-name "Cargo.toml" root) nil 'quiet)
       (dolist (file (directory-files smtpmail-test-lisp t "\\.elc?\\'"))
         (copy-file file lisp nil t))
       (pcase-dolist (`(,name ,script)
                      (list (list "rustc" "echo 'rustc 1.95.0 (abc 2026-01-01)'")
                            (list "cargo" (format ,(nth 2 spec) engine))))
         (let ((file (expand-file-name name bin)))
           (write-region (concat "#!/bin/sh\n" script "\n") nil file nil 'quiet)
           (set-file-modes file #o755)))
       (smtpmail-test-with-server (,(nth 1 spec))
         (let ((smtpmail-test-lisp lisp))
           (smtpmail-terminal-with
               (,(nth 0 spec) ,(nth 1 spec)
                `(progn
                   (setq exec-path (cons ,bin exec-path))
                   (setenv "PATH" (concat ,bin ":" (getenv "PATH")))))
             ,@body))))))

(ert-deftest smtpmail-build-terminal-tests-builds ()
  "The user is asked, sees that the engine is being built, and the mail goes."
  (smtpmail-build-terminal-tests--with
      (terminal server "echo '   Compiling some-crate v0.1.0'; sleep 3; mkdir -p target/release; cp %s target/release/libsmtpmail_core.so")
    (smtpmail-terminal-keys terminal "F5")
    (smtpmail-terminal-shows terminal "engine is missing\\.  Build it, .*(y or n)")
    (smtpmail-terminal-keys terminal "y")
    (smtpmail-terminal-shows terminal "^Building smtpmail.s engine: compiling some-crate ([0-9]+ s; C-g stops)")
    (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
    (smtpmail-terminal-shows terminal "^Sent: 250")
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-build-terminal-tests-fails ()
  "What the compiler said is shown, and the mail is not sent."
  (smtpmail-build-terminal-tests--with
      (terminal server "echo 'error: linker cc not found (%s)'; exit 101")
    (smtpmail-terminal-keys terminal "F5")
    (smtpmail-terminal-shows terminal "Build it, .*(y or n)")
    (smtpmail-terminal-keys terminal "y")
    (should (eq 'error (car (smtpmail-terminal-note terminal "end"))))
    (smtpmail-terminal-shows terminal "linker cc not found")
    (smtpmail-terminal-shows terminal "could not be built; see the buffer")
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-build-terminal-tests-quit ()
  "`C-g' ends the building at once."
  (smtpmail-build-terminal-tests--with
      (terminal server "echo $$ >pid; exec sleep 1000 # %s")
    (smtpmail-terminal-keys terminal "F5")
    (smtpmail-terminal-shows terminal "Build it, .*(y or n)")
    (smtpmail-terminal-keys terminal "y")
    (smtpmail-test-wait "the build" (lambda ()
                                      (file-exists-p (expand-file-name "pid" root))))
    (smtpmail-terminal-keys terminal "C-g")
    (should (eq 'quit (car (smtpmail-terminal-note terminal "end"))))
    (let ((pid (string-to-number
                (smtpmail-test-text (expand-file-name "pid" root)))))
      (smtpmail-test-wait "the end of the build"
                          (lambda () (not (process-attributes pid)))))))

(provide 'smtpmail-build-terminal-tests)

;;; smtpmail-build-terminal-tests.el ends here
