;;; smtpmail-message-copies.el --- write the file copies of a message  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This program is free software; you can redistribute it and/or modify
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

;; Fcc (RFC 5322 has no such field): what smtpmail-message.el took from the
;; header is written when the message is sent, as `mail-do-fcc' does it.

;;; Code:

(require 'sendmail)
(require 'smtpmail-message)

(defun smtpmail-message-write-fcc (message)
  "Write the file copies of MESSAGE, as `mail-do-fcc' does.
Return a list of (FILE ERROR BUFFER-NAME), one for each that could not
be written: ERROR is a text, and the buffer, which the user can see and
`smtpmail-message-discard' leaves alone, holds the copy.  Do not signal
an error, nor quit: the message is already sent."
  (let ((copies (smtpmail-message-fcc message))
        (failures nil))
    (setf (smtpmail-message-fcc message) nil)
    (pcase-dolist (`(,file . ,copy) copies)
      (condition-case failure
          (smtpmail-message--write-copy
           file copy (smtpmail-message-coding message))
        ((error quit)
         (push (list file (error-message-string failure)) failures))))
    (let ((copy (cdar copies)))
      (if (not failures)
          (smtpmail-message--kill copy)
        (with-current-buffer copy
          (rename-buffer (format "*Copy not written: %s*"
                                 (or (smtpmail-message-subject message)
                                     (smtpmail-message-message-id message)))
                         'unique)
          (buffer-enable-undo))
        (dolist (failure failures)
          (nconc failure (list (buffer-name copy))))))
    (nreverse failures)))

(defun smtpmail-message--write-copy (file copy coding)
  "Append the mail in the buffer COPY to FILE, encoded with CODING."
  (with-current-buffer copy
    (goto-char (point-min))
    (insert "Fcc: " file "\n")
    (let ((header-end (point-marker))
          ;; An mbox file has LF line ends on all systems.
          (coding-system-for-write (smtpmail-message--lf-coding coding)))
      (unwind-protect
          (mail-do-fcc header-end)
        ;; Not left there even if it failed half-way.
        (delete-region (point-min) header-end)
        (set-marker header-end nil)))))

(provide 'smtpmail-message-copies)

;;; smtpmail-message-copies.el ends here
