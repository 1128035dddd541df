;;; smtpmail-outbox-draft.el --- edit a queued message again  -*- lexical-binding: t -*-

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

;; A queued message becomes a draft in the user's mail composer: its header
;; decoded, its parts as MML, and those recipients that no field names as
;; Bcc.  What came from the message must not do anything when the draft is
;; sent that its writer, who may be anybody, could have wished: no field that
;; makes Emacs write files or post, and no tag that attaches them.

;;; Code:

(require 'message)
(require 'mml)
(require 'sendmail)
(require 'smtpmail-delivery)
(require 'smtpmail-outbox-view)

;; Bound by `smtpmail-outbox-view-without-programs'.
(defvar uudecode-use-external)
(defvar binhex-use-external)

(declare-function smtpmail-message-addresses "smtpmail-address" (string))

(defconst smtpmail-outbox-draft--dropped
  (concat "\\`\\(?:"
          ;; Of that very transmission; the composer makes new ones.
          "message-id\\|date\\|lines\\|received\\|return-path\\|delivered-to"
          "\\|dkim-signature\\|mime-version\\|content-.*\\|user-agent\\|x-mailer"
          ;; Orders to Emacs; smtpmail never leaves them in what it queues.
          "\\|fcc\\|gcc\\|bcc\\|mail-header-separator\\|x-message-smtp-method"
          "\\|x-draft-from\\|x-gnus-.*\\|x-smtpmail-.*"
          ;; It was posted when it was queued.
          "\\|newsgroups"
          "\\)\\'")
  "Fields, in lower case, of a queued message that a draft does not get.")

(defconst smtpmail-outbox-draft--address-fields
  '("from" "sender" "reply-to" "to" "cc" "mail-followup-to" "mail-reply-to"
    "disposition-notification-to" "return-receipt-to")
  "Fields, in lower case, that hold addresses.")

(defun smtpmail-outbox-draft--line (field)
  "Return FIELD, (NAME . VALUE), as a decoded line of a draft."
  (let* ((rfc2047-quote-decoded-words-containing-tspecials
          (and (member (downcase (car field))
                       smtpmail-outbox-draft--address-fields)
               t))
         (value (smtpmail-outbox-view-decode (cdr field))))
    ;; An encoded word may hold a line end, and another field behind it.
    (format "%s: %s\n" (car field)
            (replace-regexp-in-string "[\0\r\n]+[ \t]*" " " value))))

(defun smtpmail-outbox-draft-addresses (fields)
  "Return the addresses in To and Cc of FIELDS."
  (mapcan (pcase-lambda (`(,name . ,value))
            (and (member (downcase name) '("to" "cc"))
                 (smtpmail-message-addresses value)))
          fields))

(defun smtpmail-outbox-draft-missing (some others)
  "Return those addresses of SOME that OTHERS lack; case does not matter."
  (let ((known (mapcar #'downcase others)))
    (seq-remove (lambda (address) (member (downcase address) known)) some)))

(defun smtpmail-outbox-draft--account (entry)
  "Return a line that makes Message mode send by the server stored in ENTRY.
Or nil if that is what it would do anyway."
  (let* ((stored (plist-get entry :stored))
         (server (alist-get 'smtpmail-smtp-server stored))
         (service (alist-get 'smtpmail-smtp-service stored))
         (user (alist-get 'smtpmail-smtp-user stored))
         (words (delq nil (list server (and service (format "%s" service)) user))))
    (and server service
         (not (and (equal server smtpmail-smtp-server)
                   (equal service smtpmail-smtp-service)
                   (equal user smtpmail-smtp-user)))
         (seq-every-p (lambda (word)
                        (and (stringp word) (string-match-p "\\`[!-~]+\\'" word)))
                      words)
         (format "X-Message-SMTP-Method: smtp %s\n" (string-join words " ")))))

(defconst smtpmail-outbox-draft--plain-address
  "\\`\\(?:[^][:cntrl:] ,;:<>()\\\"[]+\\|\"[^[:cntrl:]\\\"]*\"\\)@[^[:cntrl:] ,;<>()\\\"]+\\'\\|\\`[^][:cntrl:] ,;:<>()\\\"@[]+\\'"
  "Regexp of addresses that can stand in a field as they are.")

(defun smtpmail-outbox-draft--bcc (entry fields)
  "Return a line with the recipients of ENTRY that FIELDS do not name, or nil."
  (let ((bcc (smtpmail-outbox-draft-missing
              (plist-get entry :recipients)
              (smtpmail-outbox-draft-addresses fields))))
    (dolist (address bcc)
      (unless (string-match-p smtpmail-outbox-draft--plain-address address)
        (user-error "The recipient %s cannot be written in a header"
                    (smtpmail-visible-text address))))
    (and bcc (format "Bcc: %s\n" (string-join bcc ", ")))))

(defun smtpmail-outbox-draft--header (entry fields)
  "Return the header of the draft of ENTRY, whose text has FIELDS."
  (concat
   (mapconcat #'smtpmail-outbox-draft--line
              (seq-remove (lambda (field)
                            (string-match-p smtpmail-outbox-draft--dropped
                                            (downcase (car field))))
                          fields)
              "")
   (smtpmail-outbox-draft--bcc entry fields)
   (smtpmail-delivery-fields entry)))

;;;; Parts

(defun smtpmail-outbox-draft--safe-p (handles)
  "Return non-nil if HANDLES, a tree of parts, can become MML.
MML puts parameters between quotation marks as they are, so one with a
quotation mark in it could make a tag attach any file."
  (cond
   ((null handles) t)
   ((smtpmail-outbox-view-multipart-p handles)
    (and (smtpmail-outbox-draft--harmless-p (substring-no-properties (car handles)))
         (smtpmail-outbox-draft--harmless-p
          (mm-handle-multipart-ctl-parameter handles 'start))
         (seq-every-p #'smtpmail-outbox-draft--safe-p (cdr handles))))
   (t
    (and (seq-every-p #'smtpmail-outbox-draft--harmless-p
                      (append (flatten-tree (mm-handle-type handles))
                              (flatten-tree (mm-handle-disposition handles))
                              (list (mm-handle-id handles)
                                    (mm-handle-description handles))))
         (or (not (equal (mm-handle-media-type handles) "message/rfc822"))
             ;; It becomes MML too.
             (smtpmail-outbox-draft--nested-safe-p handles))))))

(defun smtpmail-outbox-draft--harmless-p (value)
  "Return non-nil if VALUE can stand between quotation marks of a tag."
  (or (null value)
      (not (string-match-p "[\"<>\\[:cntrl:]]"
                           (if (symbolp value) (symbol-name value) value)))))

(defun smtpmail-outbox-draft--nested-safe-p (handle)
  "Return non-nil if the message in HANDLE, a part, can become MML."
  (let ((message (mm-get-part handle))
        (nested nil))
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (insert message)
      (unwind-protect
          (smtpmail-outbox-draft--safe-p (setq nested (mm-dissect-buffer t)))
        (mm-destroy-parts nested)))))

(defun smtpmail-outbox-draft--fill-message (header handles)
  "Make the current, empty buffer of Message mode a draft.
HEADER is its header, HANDLES its parts."
  (let ((inhibit-read-only t))
    (erase-buffer)
    ;; `mime-to-mml' decodes the header as well; ours is decoded, and must not
    ;; be once more.
    (insert "X-Draft: x\n\n")
    (when handles
      (mime-to-mml handles))
    (goto-char (point-min))
    (search-forward "\n\n")
    (delete-region (point-min) (point))
    (insert header mail-header-separator "\n")
    (message-position-point)))

(defun smtpmail-outbox-draft--fill-mail (header handles)
  "Make a buffer of Mail mode the current one, with a draft.
HEADER is its header, HANDLES its only part, of text, or nil."
  (pop-to-buffer (generate-new-buffer "*queued mail*"))
  (insert header mail-header-separator "\n"
          (if handles (smtpmail-outbox-view-part-text handles) ""))
  (mail-mode)
  (auto-save-mode (if auto-save-default 1 0))
  (mail-text))

(defun smtpmail-outbox-draft--mail-mode-p (handles)
  "Return non-nil if a message of HANDLES is edited in Mail mode.
That has no attachments."
  (and (eq mail-user-agent 'sendmail-user-agent)
       (not (smtpmail-outbox-view-multipart-p handles))
       (or (null handles)
           (equal (mm-handle-media-type handles) "text/plain"))))

(defun smtpmail-outbox-draft-create (entry)
  "Select a new buffer with a draft of ENTRY; return the fields it came from.
The entry stays as it is."
  (let ((handles nil)
        (fields nil))
    (unwind-protect
        (smtpmail-outbox-view-without-programs
          (with-temp-buffer
            (smtpmail-outbox-view-insert (plist-get entry :name))
            (setq fields (smtpmail-outbox-view-fields))
            (when (seq-find (lambda (field)
                              (string-prefix-p "resent-" (downcase (car field))))
                            fields)
              (user-error "A message that is resent is not yours to edit"))
            (setq handles (mm-dissect-buffer t))
            (unless (smtpmail-outbox-draft--safe-p handles)
              (user-error "The parts of this message cannot be edited safely")))
          (let ((header (smtpmail-outbox-draft--header entry fields)))
            (if (smtpmail-outbox-draft--mail-mode-p handles)
                (smtpmail-outbox-draft--fill-mail header handles)
              (message-pop-to-buffer
               (generate-new-buffer-name "*unsent queued mail*"))
              (smtpmail-outbox-draft--fill-message
               (concat header (smtpmail-outbox-draft--account entry)) handles))))
      (mm-destroy-parts handles))
    (set-buffer-modified-p t)
    fields))

(provide 'smtpmail-outbox-draft)

;;; smtpmail-outbox-draft.el ends here
