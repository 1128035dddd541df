;;; smtpmail-accepted.el --- what is to happen when a message is accepted  -*- lexical-binding: t -*-

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

;; With `smtpmail-wait-for-acceptance', what says "sent" waits until a message
;; that goes in the background was accepted: file copies, and what Message
;; mode and the clients built on it do after sending (Fcc, `message-sent-hook',
;; actions such as the mark "replied").
;;
;; All of it waits in a hidden buffer with a name made of the entry's: no
;; variable of smtpmail may hold a buffer or a closure.

;;; Code:

(require 'smtpmail-ask)
(require 'smtpmail-background)
(require 'smtpmail-header)
(require 'smtpmail-message)

(defvar message-encoded-mail-cache)
(defvar message-send-actions)
(defvar message-sent-hook)

(declare-function message-clone-locals "message" (buffer &optional varstr))
(declare-function message-do-actions "message" (actions))
(declare-function message-do-fcc "message" ())
(declare-function message-narrow-to-headers "message" ())
(declare-function message-remove-header "message"
                  (header &optional is-regexp first reverse))

(defvar-local smtpmail-accepted--files nil
  "In a hidden buffer with a copy: files to which it goes.")

(defvar-local smtpmail-accepted--coding nil
  "In a hidden buffer with a copy: its coding system.")

(defun smtpmail-accepted--copy-name (entry)
  "Return the name of the buffer with the file copy of the message ENTRY."
  (format " *smtpmail copy %s*" entry))

(defun smtpmail-accepted--sent-name (entry)
  "Return the name of the buffer in which Message mode's part of ENTRY waits."
  (format " *smtpmail sent %s*" entry))

;;;; File copies of our own

(defun smtpmail-accepted-keep (mail message)
  "Keep the file copies of MESSAGE, a `smtpmail-message', until MAIL is accepted."
  (when-let ((copies (smtpmail-message-fcc message)))
    (with-current-buffer (cdar copies)
      (rename-buffer (smtpmail-accepted--copy-name
                      (smtpmail-background-mail-name mail))
                     t)
      (setq smtpmail-accepted--files (mapcar #'car copies)
            smtpmail-accepted--coding (smtpmail-message-coding message)))
    ;; It is not the message's any more, which is about to be discarded.
    (setf (smtpmail-message-fcc message) nil)))

(defun smtpmail-accepted-recover (mail)
  "Make the file copies of MAIL, which another Emacs queued, of its text."
  (when-let ((files (smtpmail-background-mail-fcc mail)))
    (let ((smtpmail-queue-dir (plist-get (smtpmail-background-mail-place mail)
                                         :queue-directory)))
      (require 'smtpmail-outbox-view)
      (with-current-buffer (get-buffer-create
                            (smtpmail-accepted--copy-name
                             (smtpmail-background-mail-name mail)))
        (smtpmail-outbox-view-insert (smtpmail-background-mail-name mail))
        (setq smtpmail-accepted--files files
              smtpmail-accepted--coding nil)))))

(declare-function smtpmail-outbox-view-insert "smtpmail-outbox-view"
                  (name &optional limit))

(defun smtpmail-accepted--write-copies (mail)
  "Write the file copies that wait for MAIL."
  (when-let ((copy (get-buffer (smtpmail-accepted--copy-name
                                (smtpmail-background-mail-name mail)))))
    (let* ((files (buffer-local-value 'smtpmail-accepted--files copy))
           (message (smtpmail-message--make
                     :coding (buffer-local-value 'smtpmail-accepted--coding copy)
                     :subject (smtpmail-background-mail-subject mail)
                     :message-id (smtpmail-background-mail-message-id mail)
                     :fcc (mapcar (lambda (file) (cons file copy)) files))))
      (smtpmail--write-copies message "Sent"))))

(declare-function smtpmail--write-copies "smtpmail" (message done))

;;;; Message mode

(defun smtpmail-accepted--background-mail ()
  "Return the message in the current Message buffer if it goes in the background."
  (when-let ((id (save-excursion
                   (save-restriction
                     (message-narrow-to-headers)
                     (mail-fetch-field "Message-ID")))))
    (seq-find (lambda (mail)
                (equal id (smtpmail-background-mail-message-id mail)))
              smtpmail-background--mails)))

(defun smtpmail-accepted--without-options (text)
  "Return TEXT, of a message, without fields that are orders to smtpmail."
  (with-temp-buffer
    (unless (multibyte-string-p text)
      (set-buffer-multibyte nil))
    (insert text)
    (smtpmail-accepted--delete-options)
    (buffer-string)))

(defun smtpmail-accepted--delete-options ()
  "Delete the fields that are orders to smtpmail in the current message."
  (goto-char (point-min))
  (let ((end (car (smtpmail-header-split))))
    (smtpmail-header-map-fields "X-Smtpmail-[^: \t\n]*" end
                                (lambda (_name) 'delete))))

(defun smtpmail-accepted--clone (name)
  "Return a copy of the current Message buffer, a buffer called NAME.
It lacks orders to smtpmail."
  (let ((original (current-buffer))
        (text (buffer-substring-no-properties (point-min) (point-max)))
        (cache (bound-and-true-p message-encoded-mail-cache)))
    (with-current-buffer (get-buffer-create name)
      (insert text)
      (message-clone-locals original)
      (message-clone-locals original "\\`\\(?:gnus\\|mu4e\\|notmuch\\)")
      (smtpmail-accepted--delete-options)
      (when (stringp cache)
        (setq-local message-encoded-mail-cache
                    (smtpmail-accepted--without-options cache)))
      (current-buffer))))

(defvar smtpmail-accepted--performing nil
  "Non-nil while what waited for the acceptance of a message is done.")

(defvar-local smtpmail-accepted--function nil
  "In a hidden buffer with a message: the function that files its copies.")

(defvar-local smtpmail-accepted--mode nil
  "In a hidden buffer with a message: the major mode in which it was written.")

(defun smtpmail-accepted--do-fcc (original)
  "Call ORIGINAL, `message-do-fcc', when the message is accepted.
At once, if it does not go in the background or nobody wants to wait."
  (smtpmail-accepted--file-copies 'message-do-fcc original))

(defun smtpmail-accepted--do-notmuch-fcc (original)
  "Call ORIGINAL, which notmuch puts in the place of `message-do-fcc', likewise."
  (smtpmail-accepted--file-copies 'notmuch-maildir-message-do-fcc original))

(defun smtpmail-accepted--file-copies (function original)
  "Call FUNCTION, or ORIGINAL, which it was, for the message of this buffer.
When it is accepted, or now."
  (let ((mail (smtpmail-accepted--background-mail)))
    (cond
     (smtpmail-accepted--performing (funcall original))
     ((and mail smtpmail-wait-for-acceptance
           ;; It works on the file of its draft, at once.
           (not (derived-mode-p 'mu4e-compose-mode)))
      (smtpmail-accepted--keep-message mail function))
     ((save-excursion
        (save-restriction
          (message-narrow-to-headers)
          (goto-char (point-min))
          (re-search-forward "^X-Smtpmail-" nil t)))
      (smtpmail-accepted--note-done mail)
      (with-current-buffer (smtpmail-accepted--clone
                            (generate-new-buffer-name " *smtpmail fcc*"))
        (unwind-protect (funcall original)
          (kill-buffer))))
     (t
      (smtpmail-accepted--note-done mail)
      (funcall original)))))

(defun smtpmail-accepted--keep-message (mail function)
  "Keep the message of this buffer, that is MAIL, until it is accepted.
Its copies are filed by FUNCTION, a symbol."
  (let ((hook message-sent-hook)
        (actions message-send-actions)
        (mode major-mode)
        (clone (smtpmail-accepted--clone
                (smtpmail-accepted--sent-name
                 (smtpmail-background-mail-name mail)))))
    ;; What Message mode would do next.
    (setq-local message-sent-hook nil)
    (setq-local message-send-actions nil)
    (with-current-buffer clone
      (setq smtpmail-accepted--function function
            smtpmail-accepted--mode mode)
      (setq-local message-sent-hook hook)
      (setq-local message-send-actions actions))))

(defun smtpmail-accepted--note-done (mail)
  "Note what is done for MAIL, or nil, before its acceptance.
A notice, and who takes it back, tell of it."
  (when mail
    (setf (smtpmail-background-mail-done-known mail) t)
    (let ((copies (save-restriction
                    (message-narrow-to-headers)
                    (smtpmail-header-fields "[FG]cc"))))
      (pcase-dolist (`(,_ . ,value) copies)
        (push (format "the copy in %s" (abbreviate-file-name value))
              (smtpmail-background-mail-done mail)))
      (when message-send-actions
        (push "what your mail program does after sending, such as the mark \
\"replied\""
              (smtpmail-background-mail-done mail))))))

(advice-add 'message-do-fcc :around #'smtpmail-accepted--do-fcc)
(advice-add 'notmuch-maildir-message-do-fcc :around
            #'smtpmail-accepted--do-notmuch-fcc)

(defun smtpmail-accepted--finish-message (mail)
  "Do what Message mode does when a message is sent, for MAIL."
  (when-let ((buffer (get-buffer (smtpmail-accepted--sent-name
                                  (smtpmail-background-mail-name mail)))))
    (condition-case problem
        (progn
          (with-current-buffer buffer
            (let ((actions message-send-actions)
                  (smtpmail-accepted--performing t))
              (funcall (or smtpmail-accepted--function #'message-do-fcc))
              (save-excursion
                (run-hooks 'message-sent-hook))
              (message-do-actions actions)))
          (when (buffer-live-p buffer)
            (let ((kill-buffer-query-functions nil))
              (with-current-buffer buffer (set-buffer-modified-p nil))
              (kill-buffer buffer))))
      ((error quit)
       (when (buffer-live-p buffer)
         (with-current-buffer buffer
           (rename-buffer (format "*Copy not written: %s*"
                                  (or (smtpmail-background-mail-subject mail)
                                      (smtpmail-background-mail-message-id mail)))
                          t)))
       (display-warning
        'smtpmail (format "Sent, but what comes after sending failed: %s"
                          (error-message-string problem)))))))

;;;; All of it

(defun smtpmail-accepted-perform (mail)
  "Do what waited for the acceptance of MAIL; errors become warnings."
  (smtpmail-background--guarded #'smtpmail-accepted--write-copies mail)
  (when (get-buffer (smtpmail-accepted--sent-name
                     (smtpmail-background-mail-name mail)))
    ;; It may ask, for instance whether a file is to be created.
    (smtpmail-ask-later
     (lambda () (smtpmail-accepted--finish-message mail)))))

(defun smtpmail-accepted--fields (entry)
  "Return the fields Fcc and Gcc that wait for the message ENTRY.
They are a list of (NAME . VALUE)."
  (append
   (when-let ((copy (get-buffer (smtpmail-accepted--copy-name entry))))
     (mapcar (lambda (file) (cons "Fcc" (abbreviate-file-name file)))
             (buffer-local-value 'smtpmail-accepted--files copy)))
   (when-let ((sent (get-buffer (smtpmail-accepted--sent-name entry))))
     (with-current-buffer sent
       (save-restriction
         (narrow-to-region (point-min)
                           (progn (goto-char (point-min))
                                  (car (smtpmail-header-split))))
         (smtpmail-header-fields "[FG]cc"))))))

(defconst smtpmail-accepted--draft-variables
  '(message-send-actions message-sent-hook message-fcc-handler-function)
  "Variables of a message that waits which a draft made of it has, too.
They say what is done when it is sent.")

(defun smtpmail-accepted-give-back (entry draft)
  "Let what waits for the message ENTRY wait until DRAFT, a buffer, is sent.
ENTRY will not be sent: it has become that draft."
  (let* ((fields (smtpmail-accepted--fields entry))
         (sent (get-buffer (smtpmail-accepted--sent-name entry)))
         (mode (and sent (buffer-local-value 'smtpmail-accepted--mode sent))))
    (with-current-buffer draft
      ;; What its fields and actions mean, the mode of its program knows.
      (when (and mode
                 (derived-mode-p 'message-mode)
                 (provided-mode-derived-p mode 'message-mode)
                 (not (eq mode major-mode)))
        (funcall mode))
      (save-excursion
        (goto-char (point-min))
        (when (re-search-forward
               (concat "^" (regexp-quote mail-header-separator) "$") nil t)
          (forward-line 0)
          (pcase-dolist (`(,name . ,value) fields)
            (insert name ": " value "\n"))))
      (when (and sent (derived-mode-p 'message-mode))
        (dolist (variable smtpmail-accepted--draft-variables)
          (when (local-variable-p variable sent)
            (set (make-local-variable variable)
                 (buffer-local-value variable sent))))))
    (smtpmail-accepted-drop entry)))

(defun smtpmail-accepted-drop (entry)
  "Forget what waits for the acceptance of the message ENTRY, which never comes."
  (dolist (name (list (smtpmail-accepted--copy-name entry)
                      (smtpmail-accepted--sent-name entry)))
    (smtpmail-message--kill (get-buffer name))))

(provide 'smtpmail-accepted)

;;; smtpmail-accepted.el ends here
