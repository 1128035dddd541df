;;; smtpmail-outbox-view.el --- look at a queued message  -*- lexical-binding: t -*-

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

;; The text of an entry of the outbox, and a buffer that shows it.  Whoever
;; wrote the message is not trusted: headers and text are shown as plain
;; text, bounded, with control characters made visible; nothing in them is
;; evaluated, fetched, run or rendered.

;;; Code:

(require 'mail-parse)
(require 'mm-decode)
(require 'mm-archive)
(require 'rfc2047)
(require 'subr-x)
(require 'smtpmail-options)
(require 'smtpmail-methods)
(require 'smtpmail-outbox)

(defvar uudecode-use-external)
(defvar binhex-use-external)

(defconst smtpmail-outbox-view-limit (* 512 1024)
  "How many octets of a message are looked at.
More than anybody reads, and little enough to be shown at once.")

(defconst smtpmail-outbox-view--field-limit 2000
  "Longest field of a header that is shown, in characters.")

(defconst smtpmail-outbox-view--fields
  '("From" "Sender" "Reply-To" "To" "Cc" "Bcc" "Subject" "Date" "Message-ID")
  "Fields of a header that are shown, in this order.")

(defconst smtpmail-outbox-view--buffer "*smtpmail outbox message*"
  "Name of the buffer that shows a message.")

;;;; The text on the disk

(defun smtpmail-outbox-view-insert (name &optional limit)
  "Insert the octets of the entry NAME, at most LIMIT of them.
The current buffer becomes unibyte.  Return non-nil if that was not all."
  (smtpmail-outbox-insert name (and limit (list :limit limit))))

(defun smtpmail-outbox-view-fields ()
  "Return the header of the message in the current buffer.
It is a list of (NAME . VALUE), VALUE unfolded but not decoded; lines that
are no field (RFC 5322 section 2.2) are left out."
  (let ((case-fold-search t)
        (fields nil))
    (save-excursion
      (goto-char (point-min))
      (while (not (or (eobp) (eolp)))
        (when (looking-at "\\([!-9;-~]+\\):[ \t]*\\(.*\\(?:\n[ \t].*\\)*\\)")
          (push (cons (match-string-no-properties 1)
                      (replace-regexp-in-string
                       "[\r\n]+[ \t]*" " "
                       (match-string-no-properties 2)))
                fields)
          (goto-char (match-end 0)))
        (forward-line 1)))
    (nreverse fields)))

(defun smtpmail-outbox-view-decode (value)
  "Return VALUE, of a field, with its encoded words (RFC 2047) decoded.
What they hide may be anything, a line end included."
  (let ((text (if (multibyte-string-p value)
                  value
                (decode-coding-string value 'utf-8 t))))
    (condition-case nil
        (rfc2047-decode-string text)
      (error text))))

;;;; Parts

(defmacro smtpmail-outbox-view-without-programs (&rest body)
  "Run BODY; what it does to MIME parts starts no program and asks nothing."
  (declare (indent 0) (debug t))
  `(let ((mm-verify-option 'never)
         (mm-decrypt-option 'never)
         (mm-archive-decoders nil)
         (uudecode-use-external nil)
         (binhex-use-external nil))
     ,@body))

(defun smtpmail-outbox-view--octets (handle)
  "Return the content of HANDLE, of a part that is no multipart."
  (let ((octets (with-current-buffer (mm-handle-buffer handle)
                  (buffer-substring-no-properties (point-min) (point-max)))))
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (insert octets)
      (ignore-errors
        (pcase (mm-handle-encoding handle)
          ('base64 (base64-decode-region (point-min) (point-max)))
          ('quoted-printable
           (quoted-printable-decode-region (point-min) (point-max)))))
      (buffer-string))))

(defun smtpmail-outbox-view-part-text (handle)
  "Return the text of HANDLE, a part, decoded."
  (let* ((charset (mail-content-type-get (mm-handle-type handle) 'charset))
         (coding (and (stringp charset) (intern-soft (downcase charset)))))
    (decode-coding-string
     (smtpmail-outbox-view--octets handle)
     ;; Not Emacs's own formats, which may say more than text.
     (if (and (coding-system-p coding) (coding-system-get coding :mime-charset))
         coding
       'utf-8)
     t)))

(defun smtpmail-outbox-view-multipart-p (handles)
  "Return non-nil if HANDLES, of a whole message, has several parts."
  (stringp (car-safe handles)))

(defun smtpmail-outbox-view--insert-parts (handles)
  "Insert what HANDLES, a tree of parts, has to read."
  (cond
   ((null handles))
   ((smtpmail-outbox-view-multipart-p handles)
    (let ((plain (and (equal (car handles) "multipart/alternative")
                      (seq-find (lambda (part)
                                  (and (not (smtpmail-outbox-view-multipart-p part))
                                       (equal (mm-handle-media-type part)
                                              "text/plain")))
                                (cdr handles)))))
      (mapc #'smtpmail-outbox-view--insert-parts
            (if plain (list plain) (cdr handles)))))
   (t
    (let ((type (mm-handle-media-type handles))
          (name (mm-handle-filename handles)))
      (unless (equal type "text/plain")
        (unless (bolp) (insert "\n"))
        (insert (format "[%s%s, %s]\n" (smtpmail-visible-text type)
                        (if name (concat " " (smtpmail-visible-text name)) "")
                        (file-size-human-readable
                         (buffer-size (mm-handle-buffer handles))))))
      (when (string-prefix-p "text/" type)
        (unless (bolp) (insert "\n"))
        (insert (smtpmail-outbox-view-part-text handles)))))))

(defun smtpmail-outbox-view--body ()
  "Return the text of the message in the current buffer, not yet harmless."
  (let ((handles nil))
    (condition-case nil
        (smtpmail-outbox-view-without-programs
          (setq handles (mm-dissect-buffer t))
          (unwind-protect
              (with-temp-buffer
                (smtpmail-outbox-view--insert-parts handles)
                (buffer-string))
            (mm-destroy-parts handles)))
      ;; As it is, then.
      (error
       (goto-char (point-min))
       (decode-coding-string
        (buffer-substring (if (search-forward "\n\n" nil t) (point) (point-min))
                          (point-max))
        'utf-8 t)))))

(defun smtpmail-outbox-view--make-visible ()
  "Make every character of the accessible part visible, line ends apart."
  (goto-char (point-min))
  (while (search-forward "\r\n" nil t)
    (replace-match "\n" t t))
  (goto-char (point-min))
  ;; Almost all text is ASCII, and this is fast.
  (while (progn (skip-chars-forward "\n\t -~") (not (eobp)))
    (let ((text (smtpmail-visible-character (char-after))))
      (if (eql (length text) 1)
          (forward-char)
        (delete-char 1)
        (insert text)))))

;;;; Showing

(define-derived-mode smtpmail-outbox-view-mode special-mode "Outbox message"
  "Major mode for looking at a queued message."
  :interactive nil
  :abbrev-table nil
  :syntax-table nil
  (setq truncate-lines nil)
  (setq-local word-wrap t)
  (setq buffer-undo-list t))

(defun smtpmail-outbox-view-show (name facts)
  "Show the entry NAME of the outbox in a buffer, and return the buffer.
FACTS is a list of (LABEL . TEXT) to show above the message."
  (let* ((cut nil)
         (fields nil)
         (body (with-temp-buffer
                 (setq cut (smtpmail-outbox-view-insert
                            name smtpmail-outbox-view-limit)
                       fields (smtpmail-outbox-view-fields))
                 (smtpmail-outbox-view--body)))
         (smtpmail-visible-text-limit smtpmail-outbox-view--field-limit)
         (inhibit-read-only t))
    (with-current-buffer (get-buffer-create smtpmail-outbox-view--buffer)
      (smtpmail-outbox-view-mode)
      (erase-buffer)
      (pcase-dolist (`(,label . ,text) facts)
        (smtpmail-outbox-view--insert-line label text 'shadow))
      (insert "\n")
      (dolist (label smtpmail-outbox-view--fields)
        (pcase-dolist (`(,field . ,value) fields)
          (when (string= (downcase label) (downcase field))
            (smtpmail-outbox-view--insert-line
             label (smtpmail-outbox-view-decode value) 'bold))))
      (insert "\n")
      (save-restriction
        (narrow-to-region (point) (point))
        (insert body)
        (smtpmail-outbox-view--make-visible)
        (goto-char (point-max)))
      (when cut
        (unless (bolp) (insert "\n"))
        (insert (propertize
                 (format "[Only the first %s are shown.]\n"
                         (file-size-human-readable smtpmail-outbox-view-limit))
                 'face 'shadow)))
      (set-buffer-modified-p nil)
      (goto-char (point-min))
      (current-buffer))))

(defun smtpmail-outbox-view--insert-line (label text face)
  "Insert TEXT behind LABEL in FACE, on one line."
  (insert (propertize (concat label ":") 'face face) " "
          (smtpmail-visible-text text) "\n"))

(provide 'smtpmail-outbox-view)

;;; smtpmail-outbox-view.el ends here
