;;; smtpmail-queue-fixtures.el --- queues and servers for tests  -*- lexical-binding: t -*-

;; Copyright (C) 2026  The smtpmail-rs authors

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

;; A queue of its own for each test, filled as users do it, and servers whose
;; spools tell what arrived.  No test lives here.

;;; Code:

(require 'ert)
(require 'cl-lib)
(require 'json)
(require 'smtpmail)

(defvar smtpmail-queue-tests--directory nil
  "The directory of the test that runs.")

(defun smtpmail-queue-tests--start (name &rest options)
  "Start a server with its spool at NAME; return (PROCESS PORT SPOOL).
OPTIONS are for its command line."
  (let* ((spool (expand-file-name name smtpmail-queue-tests--directory))
         (process (let ((process-connection-type nil))
                    (apply #'start-process name (generate-new-buffer " server")
                           (getenv "SMTPMAIL_TEST_SERVER")
                           "--spool" spool options)))
         (end (+ (float-time) 20)))
    (set-process-query-on-exit-flag process nil)
    (with-current-buffer (process-buffer process)
      (while (not (save-excursion (goto-char (point-min))
                                  (search-forward "\n" nil t)))
        (should (< (float-time) end))
        (accept-process-output process 0.1))
      (goto-char (point-min))
      (list process (alist-get 'port (json-read)) spool))))

(defun smtpmail-queue-tests--arrived (server)
  "Return the subjects of the messages that SERVER took, in order."
  (mapcar (lambda (file)
            (with-temp-buffer
              (insert-file-contents file)
              (mail-fetch-field "subject")))
          (directory-files (nth 2 server) t "\\.eml\\'")))

(defun smtpmail-queue-tests--envelopes (server)
  "Return what SERVER wrote down of the messages that it took."
  (mapcar #'json-read-file (directory-files (nth 2 server) t "\\.json\\'")))

(defun smtpmail-queue-tests--sessions (server)
  "Return how many sessions SERVER had."
  (length (directory-files (nth 2 server) nil "\\`session-.*\\.log\\'")))

(defun smtpmail-queue-tests--use (server)
  "Let the variables name SERVER."
  (setq smtpmail-smtp-server "127.0.0.1"
        smtpmail-smtp-service (nth 1 server)))

(defmacro smtpmail-queue-tests--with (servers &rest body)
  "Evaluate BODY with SERVERS, a list of (VARIABLE OPTION...), and a queue.
The first one is the server that the variables name."
  (declare (indent 1) (debug t))
  `(let* ((smtpmail-queue-tests--directory (make-temp-file "smtpmail-queue" t))
          (smtpmail-queue-dir
           (file-name-as-directory
            (expand-file-name "queue" smtpmail-queue-tests--directory)))
          (user-mail-address "me@example.org")
          (mail-specify-envelope-from nil)
          (smtpmail-queue-mail t)
          (smtpmail-store-queue-variables nil)
          (smtpmail-stream-type 'plain)
          (smtpmail-smtp-user nil)
          (smtpmail-smtp-server nil)
          (smtpmail-smtp-service nil)
          (auth-sources nil)
          ,@(mapcar #'car servers))
     (unwind-protect
         (progn
           ,@(mapcar (pcase-lambda (`(,variable . ,options))
                       `(setq ,variable
                              (smtpmail-queue-tests--start
                               ,(symbol-name variable) ,@options)))
                     servers)
           (smtpmail-queue-tests--use ,(caar servers))
           ,@body)
       (dolist (server (list ,@(mapcar #'car servers)))
         (when server (delete-process (car server))))
       (delete-directory smtpmail-queue-tests--directory t))))

(defun smtpmail-queue-tests--queue (subject &optional to header)
  "Queue a message with SUBJECT to TO, with HEADER lines."
  (with-temp-buffer
    (insert "From: me@example.org\nTo: " (or to "you@example.net")
            "\nSubject: " subject "\n" (or header "")
            mail-header-separator "\ntext of " subject "\n.\n")
    (smtpmail-send-it)))

(defun smtpmail-queue-tests--index ()
  "Return how many lines the index has."
  (with-temp-buffer
    (insert-file-contents (expand-file-name smtpmail-queue-index-file
                                            smtpmail-queue-dir))
    (count-lines (point-min) (point-max))))

(defmacro smtpmail-queue-tests--telling (&rest body)
  "Return the last text that BODY showed, or the text of its error."
  `(let ((told nil))
     (cl-letf (((symbol-function 'message)
                (lambda (format &rest arguments)
                  (when format
                    (setq told (apply #'format-message format arguments))))))
       (condition-case problem
           (progn ,@body)
         (error (setq told (error-message-string problem)))))
     told))

(provide 'smtpmail-queue-fixtures)

;;; smtpmail-queue-fixtures.el ends here
