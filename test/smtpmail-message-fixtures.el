;;; smtpmail-message-fixtures.el --- Mails for the tests of smtpmail-message  -*- lexical-binding: t; -*-

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

;; What the tests of message preparation share.  No test lives here.

;;; Code:

(require 'smtpmail-message)

;; smtpmail.el owns these.
(defvar smtpmail-code-conv-from nil)
(defvar smtpmail-local-domain nil)
(defvar smtpmail-sendto-domain nil)
(defvar smtpmail-strict-content nil)
(defvar mail-aliases)
(defvar mail-alias-modtime)

(defconst smtpmail-message-tests--separator "--text follows this line--\n")

(defmacro smtpmail-message-tests--with (spec &rest body)
  "Prepare the mail TEXT, then run BODY with its MSG and BYTES.
SPEC is (TEXT VARIABLE VALUE...): VALUEs are bound around the work."
  (declare (indent 1) (debug t))
  (let ((bindings nil) (rest (cdr spec)))
    (while rest
      (push (list (pop rest) (pop rest)) bindings))
    `(let ((mail-aliases nil)
           (mail-personal-alias-file nil)
           (mail-header-separator "--text follows this line--")
           (mail-specify-envelope-from nil)
           (mail-envelope-from nil)
           (mail-from-style 'angles)
           (user-mail-address "me@example.org")
           (user-full-name "Me Myself")
           ,@(nreverse bindings))
       (with-temp-buffer
         (insert ,(car spec))
         (let ((msg (smtpmail-message-prepare)))
           (unwind-protect
               (let ((bytes (smtpmail-message-encode
                             (smtpmail-message-buffer msg)
                             (smtpmail-message-coding msg))))
                 (ignore bytes)
                 ,@body)
             (smtpmail-message-discard msg)))))))

(defun smtpmail-message-tests--mail (header &optional body)
  "Return the text of a mail buffer with HEADER and BODY."
  (concat header smtpmail-message-tests--separator (or body "Hello\n")))

(defun smtpmail-message-tests--normal (bytes)
  "Return BYTES without what differs between any two runs."
  (when bytes
    (let ((case-fold-search t))
      (setq bytes (replace-regexp-in-string
                   "^Date: [A-Z][a-z][a-z], .*$" "Date: D" bytes)
            bytes (replace-regexp-in-string
                   "^Message-Id: .*$" "Message-Id: M" bytes))
      (replace-regexp-in-string "^From root .*$" "From root" bytes))))

(provide 'smtpmail-message-fixtures)

;;; smtpmail-message-fixtures.el ends here
