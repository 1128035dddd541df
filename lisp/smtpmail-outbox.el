;;; smtpmail-outbox.el --- queue mail, and send what is queued  -*- lexical-binding: t -*-

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

;; The queue is a directory that the built-in smtpmail, mu4e and scripts read
;; too; the engine keeps it.  Here are the two things that users do with it:
;; put a message in, and send all that waits.

;;; Code:

(require 'subr-x)
(require 'smtpmail-options)
(require 'smtpmail-message)
(require 'smtpmail-session)

(declare-function smtpmail-via-smtp "smtpmail"
                  (recipient smtpmail-text-buffer
                             &optional ask-for-password send-attempts))
(declare-function smtpmail--text "smtpmail" (buffer coding))

(defvar smtpmail-queue-counter 0
  "Stock: counted queued messages; names do not need it any more.")

(defvar smtpmail-outbox--entry nil
  "While an entry is sent: (NAME TEXT-TICK REPORT), else nil.
`smtpmail-via-smtp' sends the entry itself unless the text buffer has
changed since TEXT-TICK, and leaves its report.")

(defun smtpmail-outbox--place ()
  "Return the queue's directory and index as part of a request."
  (unless (stringp smtpmail-queue-dir)
    (error "`smtpmail-queue-dir' is not set, so there is no queue"))
  (list :queue-directory (directory-file-name
                          (expand-file-name smtpmail-queue-dir))
        :queue-index smtpmail-queue-index-file))

;;;; Into the queue

(defun smtpmail-outbox-add (message)
  "Put MESSAGE, a `smtpmail-message', into the queue, durably."
  (let ((report
         (smtpmail-session-ask-outbox
          `( :job add
             ,@(smtpmail-outbox--place)
             :recipients ,(smtpmail-message-recipients message)
             :sender ,(smtpmail-message-sender message)
             :message-id ,(smtpmail-message-message-id message)
             ,@(smtpmail--text (smtpmail-message-buffer message)
                               (smtpmail-message-coding message))
             ,@(and smtpmail-store-queue-variables
                    (list :stored-server (list smtpmail-smtp-server)
                          :stored-stream-type (list smtpmail-stream-type)
                          :stored-service (list smtpmail-smtp-service)
                          :stored-user (list smtpmail-smtp-user)))))))
    (when-let ((warning (plist-get report :warning)))
      (display-warning 'smtpmail (format "Queued, but: %s" warning)))
    (message "Queued (%d in %s); M-x smtpmail-send-queued-mail sends %s"
             (plist-get report :waiting)
             (abbreviate-file-name (expand-file-name smtpmail-queue-dir))
             (if (eql 1 (plist-get report :waiting)) "it" "them"))))

;;;; Out of the queue

(defun smtpmail-outbox-entries ()
  "Return the queue's listing, a plist with :entries and :problems."
  (smtpmail-session-ask-outbox `(:job list ,@(smtpmail-outbox--place))))

;;;###autoload
(defun smtpmail-send-queued-mail ()
  "Send all mail that waits in `smtpmail-queue-dir'.
Try every message, and signal an error at the end if some were not sent;
those stay in the queue."
  (interactive)
  (let* ((listing (smtpmail-outbox-entries))
         (waiting (seq-filter (lambda (entry) (plist-get entry :sendable))
                              (plist-get listing :entries)))
         (failures nil))
    (dolist (problem (plist-get listing :problems))
      (display-warning 'smtpmail (concat "In the queue: " problem)))
    (dolist (entry waiting)
      (when-let ((failure (smtpmail-outbox--send entry)))
        (push (cons entry failure) failures)))
    (smtpmail-outbox--summarize (length waiting) (nreverse failures))))

(defun smtpmail-outbox--summarize (all failures)
  "Tell how sending ALL messages went; FAILURES are (ENTRY . TEXT)."
  (cond
   ((zerop all) (message "No queued mail"))
   ((null failures)
    (message "Sent %d queued message%s" all (if (= all 1) "" "s")))
   (t
    (error "Sending failed: %d of %d queued messages not sent (%s)"
           (length failures) all
           (mapconcat (pcase-lambda (`(,entry . ,why))
                        (format "%s: %s"
                                (or (plist-get entry :subject)
                                    (plist-get entry :name))
                                why))
                      failures "; ")))))

(defun smtpmail-outbox--send (entry)
  "Send ENTRY, a plist, with the variables stored in it.
Return nil, or why it was not sent, a string."
  (let ((buffer (generate-new-buffer " smtpmail queued")))
    (unwind-protect
        (cl-progv (mapcar #'car (plist-get entry :stored))
            (mapcar #'cdr (plist-get entry :stored))
          (with-current-buffer buffer
            (set-buffer-multibyte nil)
            (insert-file-contents-literally
             (expand-file-name (plist-get entry :name) smtpmail-queue-dir))
            (let ((smtpmail-mail-address (smtpmail-outbox--sender entry))
                  (smtpmail-code-conv-from nil)
                  (smtpmail-outbox--entry
                   (list (plist-get entry :name)
                         (buffer-chars-modified-tick)
                         nil)))
              (condition-case problem
                  (smtpmail-outbox--settle
                   entry
                   (funcall #'smtpmail-via-smtp
                            (plist-get entry :recipients) buffer))
                (error (error-message-string problem))))))
      (kill-buffer buffer))))

(defun smtpmail-outbox--sender (entry)
  "Return the envelope sender of ENTRY, or nil to let the message say."
  (plist-get entry :sender))

(defun smtpmail-outbox--settle (entry failure)
  "Return FAILURE, what sending ENTRY gave; give ENTRY its outcome.
The engine did that already if it sent the entry itself; a function in
the place of `smtpmail-via-smtp' may have sent it by other ways."
  (unless (nth 2 smtpmail-outbox--entry)
    (smtpmail-session-ask-outbox
     `( ,@(if failure '(:job release) '(:job accepted))
        ,@(smtpmail-outbox--place)
        :entry ,(plist-get entry :name))))
  (if (or (null failure) (stringp failure))
      failure
    (format "%s" failure)))

(provide 'smtpmail-outbox)

;;; smtpmail-outbox.el ends here
