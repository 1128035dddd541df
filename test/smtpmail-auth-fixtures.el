;;; smtpmail-auth-fixtures.el --- What the tests of logins share  -*- lexical-binding: t -*-

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

;; An auth-source of a few lines, somebody who answers questions, and a password
;; that may show up nowhere.

;;; Code:

(require 'ert)
(require 'cl-lib)
(require 'smtpmail-auth)

;; The face of the package defines these.
(defvar smtpmail-auth-credentials nil)
(defvar smtpmail-starttls-credentials nil)
(defvar smtpmail-smtp-user nil)
(defvar smtpmail-auth-supported '(cram-md5 plain login))
(defvar smtpmail-servers-requiring-authorization nil)
(defvar smtpmail-token-command nil)

(defconst smtpmail-auth-tests--lisp
  (file-name-directory (locate-library "smtpmail-auth"))
  "Where the library under test is.")

(defconst smtpmail-auth-tests--canary "Kanarie-4711"
  "A password that may show up nowhere.")

(defvar smtpmail-auth-tests--prompts nil
  "The questions asked, the last one first.")

(defvar smtpmail-auth-tests--messages 1
  "Where in *Messages* the running test began.")

(defmacro smtpmail-auth-tests--with (authinfo answers &rest body)
  "Run BODY with the text AUTHINFO as auth-source and ANSWERS to questions.
If ANSWERS is `nobody', there is nobody to ask.  In BODY, `file' is the
name of the file with AUTHINFO."
  (declare (indent 2))
  `(let* ((directory (make-temp-file "smtpmail-auth" t))
          (file (expand-file-name "authinfo" directory))
          (auth-sources (list file))
          (auth-source-do-cache t)
          (auth-source-save-behavior 'ask)
          (answers ,answers)
          (smtpmail-auth-tests--prompts nil)
          (smtpmail-auth-tests--messages
           (with-current-buffer (messages-buffer) (point-max)))
          (smtpmail-auth-credentials nil)
          (smtpmail-starttls-credentials nil)
          (smtpmail-smtp-user nil)
          (smtpmail-auth-supported '(cram-md5 plain login))
          (smtpmail-servers-requiring-authorization nil))
     (ignore file)
     (with-temp-file file (insert (or ,authinfo "")))
     (auth-source-forget-all-cached)
     (smtpmail-auth-forget)
     (unwind-protect
         (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p)
                    (lambda () (not (eq answers 'nobody))))
                   ((symbol-function 'read-passwd)
                    (lambda (prompt &rest _)
                      (push prompt smtpmail-auth-tests--prompts)
                      (copy-sequence (or (pop answers) (error "Asked: %s" prompt)))))
                   ((symbol-function 'read-string)
                    (lambda (prompt &rest _)
                      (push prompt smtpmail-auth-tests--prompts)
                      (or (pop answers) (error "Asked: %s" prompt)))))
           ,@body)
       (smtpmail-auth-forget)
       (auth-source-forget-all-cached)
       (delete-directory directory t))))

(defun smtpmail-auth-tests--pair (login)
  "Return (USER PASSWORD) of LOGIN, or nil for no login."
  (and login
       (list (smtpmail-auth-login-user login)
             (smtpmail-auth-secret-bytes login))))

(defun smtpmail-auth-tests--no-canary (&rest places)
  "Check that the canary, plain or in base64, is in none of PLACES.
It must not be in *Messages* or in a variable that mailers print, either."
  (let ((case-fold-search nil)
        (print-level nil) (print-length nil) (print-circle t)
        (forms (list smtpmail-auth-tests--canary
                     (base64-encode-string smtpmail-auth-tests--canary t))))
    (with-current-buffer (messages-buffer)
      (push (buffer-substring (min smtpmail-auth-tests--messages (point-max))
                              (point-max))
            places))
    (mapatoms
     (lambda (symbol)
       (when (and (boundp symbol)
                  (string-match-p
                   "\\`\\(smtpmail\\|async-smtpmail\\|\\(user-\\)?mail\\)-"
                   (symbol-name symbol))
                  (not (string-match-p "\\`smtpmail-[a-z]+-tests--"
                                       (symbol-name symbol)))
                  ;; What the user wrote there is the user's.
                  (not (eq symbol 'smtpmail-auth-credentials)))
         (push (cons symbol (symbol-value symbol)) places))))
    (dolist (place places)
      (let ((text (if (stringp place) place (prin1-to-string place))))
        (dolist (form forms)
          (should-not (string-search form text)))))))

(provide 'smtpmail-auth-fixtures)

;;; smtpmail-auth-fixtures.el ends here
