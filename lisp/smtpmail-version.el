;;; smtpmail-version.el --- which smtpmail is in force  -*- lexical-binding: t -*-

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

;; Says which smtpmail is at work, this one or the one that came with Emacs, and
;; loads that over this one.

;;; Code:

(require 'seq)
(require 'subr-x)
(require 'smtpmail-module)

;;;###autoload
(defun smtpmail-version (&optional show)
  "Return the version of smtpmail; SHOW it, and the files in force."
  (interactive (list t))
  (let ((text (format "smtpmail %s (%s; engine %s)"
                      smtpmail-module-version
                      (symbol-file 'smtpmail-send-it 'defun)
                      (if (featurep 'smtpmail-core)
                          (smtpmail-module-file)
                        (format "not loaded: %s" (smtpmail-module-file))))))
    (when show (message "%s" text))
    text))

;;;###autoload
(defun smtpmail-use-builtin ()
  "Load the smtpmail that came with Emacs over this one, for this session."
  (interactive)
  (let ((builtin (smtpmail-version--builtin-file)))
    (load builtin nil t)
    (message "The built-in smtpmail is in force: %s" builtin)))

(defun smtpmail-version--builtin-file ()
  "Return the file of the smtpmail that came with Emacs, without suffix."
  (let* ((ours (file-name-as-directory smtpmail-module--directory))
         (load-path (seq-remove
                     (lambda (directory)
                       (and directory
                            (file-equal-p (file-name-as-directory directory) ours)))
                     load-path)))
    (if-let ((file (locate-library "smtpmail")))
        (file-name-sans-extension (string-remove-suffix ".gz" file))
      (error "This Emacs has no built-in smtpmail"))))

(provide 'smtpmail-version)

;;; smtpmail-version.el ends here
