;;; smtpmail-checklist.el --- What the suites of the checklist share  -*- lexical-binding: t -*-

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

;; The checklist of what a drop-in must do has numbers; each test in this
;; directory is named for the number that it proves, smtpmail-checklist-NN-WHAT.
;; Every one sends to the test server, or looks at what another Emacs does.
;; The suites one directory up go deeper into each matter.
;;
;; No test lives here.

;;; Code:

(require 'smtpmail-test)
;; Loaded later, it would undo what tests put in the place of its functions.
(require 'warnings)
(require 'message)

(defun smtpmail-checklist-child (forms &rest options)
  "Return what the last of FORMS is in another Emacs with OPTIONS.
OPTIONS are those of `smtpmail-test-run'."
  (let ((result (apply #'smtpmail-test-run
                       (append (butlast forms)
                               `((let ((print-quoted nil))
                                   (prin1 ,(car (last forms))))))
                       options)))
    (unless (eql 0 (plist-get result :exit))
      (ert-fail (list (plist-get result :exit) (plist-get result :stderr))))
    (read (plist-get result :stdout))))

(defun smtpmail-checklist-send-form (&optional header body)
  "Return a form that sends a mail, with HEADER and BODY, in another Emacs.
Its value is nil, or the error text."
  `(with-temp-buffer
     (insert ,(smtpmail-test-mail (or header "To: you@example.net\n") body))
     (condition-case why (ignore (funcall 'smtpmail-send-it))
       (error (error-message-string why)))))

(defun smtpmail-checklist-field (message name)
  "Return the field NAME of MESSAGE, one that the test server stored."
  (with-temp-buffer
    (insert (replace-regexp-in-string "\r\n" "\n" (alist-get 'bytes message)))
    (message-narrow-to-headers)
    (mail-fetch-field name)))

(defun smtpmail-checklist-commands (server &optional regexp)
  "Return the commands that SERVER got, those that match REGEXP, in order."
  (let ((commands nil))
    (dolist (line (split-string (smtpmail-test-log server) "\r?\n"))
      (when (and (string-match "\\`C: \\(.*\\)" line)
                 (string-match-p (or regexp "") (match-string 1 line)))
        (push (match-string 1 line) commands)))
    (nreverse commands)))

(defconst smtpmail-checklist-login
  (list "--user" "alice" "--password" smtpmail-test-canary)
  "Options of a server where one may log in.")

(defmacro smtpmail-checklist-with-authinfo (text &rest body)
  "Run BODY with an auth-source file that has TEXT, bound to `authinfo'."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-directory directory
     (let* ((authinfo (expand-file-name "authinfo" directory))
            (auth-sources (list authinfo))
            (auth-source-do-cache t))
       (with-temp-file authinfo (insert ,text))
       (auth-source-forget-all-cached)
       (unwind-protect (progn ,@body)
         (smtpmail-auth-forget)
         (auth-source-forget-all-cached)))))

(defmacro smtpmail-checklist-answering (answers &rest body)
  "Run BODY as if a user gave ANSWERS to what is asked; return the questions.
An error in BODY passes."
  (declare (indent 1) (debug t))
  `(let ((answers ,answers) (asked nil))
     (cl-flet ((answer (prompt &rest _)
                 (push prompt asked)
                 (copy-sequence (or (pop answers) (error "Asked: %s" prompt)))))
       (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p) #'always)
                 ((symbol-function 'read-passwd) #'answer)
                 ((symbol-function 'read-string) #'answer))
         ,@body))
     (nreverse asked)))

(defmacro smtpmail-checklist-elsewhere (spec &rest body)
  "Run BODY with a server that the variables do not name.
SPEC is (SERVER HERE OPTION...); `(HERE)' sets the variables for it."
  (declare (indent 1) (debug t))
  (let ((port (make-symbol "port")))
    `(smtpmail-test-with-server (,(car spec) ,@(cddr spec))
       (let ((,port smtpmail-smtp-service)
             (smtpmail-smtp-service (smtpmail-test-quiet-port))
             (smtpmail-smtp-server "nowhere.invalid"))
         (cl-flet ((,(cadr spec) ()
                     (setq smtpmail-smtp-server "localhost"
                           smtpmail-smtp-service ,port)))
           ,@body)))))

(provide 'smtpmail-checklist)

;;; smtpmail-checklist.el ends here
