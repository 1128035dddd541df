;;; smtpmail-package-test.el --- An Emacs that knows nothing of ours  -*- lexical-binding: t -*-

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

;; For the tests of installing: an Emacs with an empty home, in which something
;; is installed and sends.

;;; Code:

(require 'smtpmail-test)

(defconst smtpmail-package-test-build-patience 900
  "Seconds that the engine may take to be built.")

(defun smtpmail-package-test-emacs (home &rest forms)
  "Evaluate FORMS in an Emacs with HOME that knows nothing of ours.
Return what the last one is."
  (let* ((smtpmail-test-patience smtpmail-package-test-build-patience)
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

(defun smtpmail-package-test-send-forms (server)
  "Return forms that send a mail to SERVER, and one that tells what sent it."
  `(,@(smtpmail-test-settings server)
    (with-temp-buffer
      (insert ,(smtpmail-test-mail "To: you@example.net"))
      (let ((inhibit-message t)) (smtpmail-send-it)))
    (list (file-name-directory (symbol-file 'smtpmail-send-it 'defun))
          (featurep 'smtpmail-core))))

(defconst smtpmail-package-test-builtin
  '(load "mail/smtpmail" nil t)
  "Loads the built-in.")

(provide 'smtpmail-package-test)

;;; smtpmail-package-test.el ends here
