;;; smtpmail-header.el --- The header of a mail that is to go out  -*- lexical-binding: t; -*-

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

;; Where the header of a mail buffer ends, and what is done to it before
;; it goes out (RFC 5322 §2.2, §3.6; RFC 2047): aliases, missing fields,
;; MIME fields, encoded words.  But for the first, all work on a buffer
;; that has the header and nothing else, so that a text of any size is
;; never looked at.  No envelope, no text and no file copy lives here.

;;; Code:

(require 'sendmail)
(require 'smtpmail-address)

(eval-when-compile (require 'subr-x))

(autoload 'message-make-date "message")
(autoload 'message-make-message-id "message")
(autoload 'expand-mail-aliases "mailalias")
(autoload 'puny-encode-domain "puny")

(defvar mail-aliases)
(defvar mail-personal-alias-file)

;;; Where the header ends

(defconst smtpmail-header--stray-line-reach (* 64 1024)
  "How far behind a stray line in a header its separator is looked for.
No header with a mistake in it is longer, and a text may be of any size.")

(defun smtpmail-header-split ()
  "Return (HEADER-END . TEXT-START) of the mail in the current buffer.
TEXT-START is nil if the mail is all header.  The header ends at the
line `mail-header-separator', even if blank lines or one kind of stray
lines come before it; without one, at the first line that is not of a
header."
  (save-excursion
    (save-restriction
      (goto-char (point-min))
      (let ((separator (and (> (length mail-header-separator) 0)
                            (concat (regexp-quote mail-header-separator)
                                    "\\(?:\r?\n\\|\\'\\)")))
            (odd-separator (string-match-p "\\`[ \t]" mail-header-separator))
            (blank nil)
            (stray nil)
            (split nil))
        (while (not split)
          (cond
           ((and separator (looking-at separator))
            (setq split (cons (point) (match-end 0))))
           ((and (or (eobp)
                     ;; Both kinds: this is the text of a mail without a
                     ;; separator, which may quote one.
                     (and blank stray)
                     (and (not separator) (or blank stray)))
                 (or blank stray))
            (setq split (if (and blank (or (not stray) (< blank stray)))
                            (cons blank (progn (goto-char blank)
                                               (forward-line 1)
                                               (point)))
                          (cons stray stray))))
           ((eobp) (setq split (cons (point) nil)))
           ((looking-at "[ \t]\\|[^: \t\n]+[ \t]*:")
            (forward-line 1)
            (unless odd-separator
              (smtpmail-header--skip-folded nil)))
           (t
            (unless (or blank stray)
              (narrow-to-region (point-min)
                                (min (point-max)
                                     (+ (point)
                                        smtpmail-header--stray-line-reach))))
            (if (looking-at "\r?$")
                (setq blank (or blank (point)))
              (setq stray (or stray (point))))
            (unless (and blank stray)
              (forward-line 1)))))
        split))))

;;; Fields of a header

(defun smtpmail-header--find-fields (end)
  "Return the fields before END, in order: a list of (NAME START VALUE END).
START and END are positions of the whole field, VALUE is that of its value."
  (let ((fields nil))
    (save-excursion
      (goto-char (point-min))
      (while (< (point) end)
        (let ((field (and (looking-at "\\([^: \t\n]+\\)[ \t]*:[ \t]*")
                          (list (match-string-no-properties 1)
                                (point) (match-end 0)))))
          (forward-line 1)
          (smtpmail-header--skip-folded end)
          (when field
            (push (nconc field (list (point))) fields)))))
    (nreverse fields)))

(defun smtpmail-header--skip-folded (end)
  "Move over the continuation lines at point, but not over END, if non-nil."
  ;; In one search: a To field may have thousands of lines.
  (when (and (or (null end) (< (point) end))
             (looking-at "[ \t]")
             (re-search-forward "^[^ \t]" end 'move))
    (backward-char)))

(defvar-local smtpmail-header--known nil
  "What `smtpmail-header--find-fields' found here last: (STATE . FIELDS).")

(defun smtpmail-header--known-fields ()
  "Return what `smtpmail-header--find-fields' finds in the current buffer.
The buffer is searched only if it has changed."
  (let ((state (list (buffer-chars-modified-tick) (point-min) (point-max))))
    (unless (equal state (car smtpmail-header--known))
      (setq smtpmail-header--known
            (cons state (smtpmail-header--find-fields (point-max)))))
    (cdr smtpmail-header--known)))

(defun smtpmail-header--named (names fields)
  "Return those of FIELDS whose name matches NAMES."
  (let ((case-fold-search t)
        (regexp (concat "\\`\\(?:" names "\\)\\'"))
        (named nil))
    (dolist (field fields (nreverse named))
      (when (string-match-p regexp (car field))
        (push field named)))))

(defun smtpmail-header-map-fields (names end function)
  "Call FUNCTION on each field before END whose name matches NAMES.
It gets the name as written, with the buffer narrowed to the value and
its final newline.  If it returns `delete', the field is deleted."
  (let ((fields (mapcar (pcase-lambda (`(,name . ,positions))
                          (cons name (mapcar #'copy-marker positions)))
                        (smtpmail-header--named
                         names (smtpmail-header--find-fields end)))))
    (pcase-dolist (`(,name ,start ,value ,end) fields)
      (when (eq 'delete
                (save-excursion
                  (save-restriction
                    (narrow-to-region value end)
                    (goto-char end)
                    (funcall function name))))
        (delete-region start end))
      (dolist (marker (list start value end))
        (set-marker marker nil)))))

(defun smtpmail-header-fields (names &optional delete)
  "Return the fields whose name matches NAMES, as a list (NAME . VALUE).
The current buffer is a header.  VALUE may be folded.  DELETE non-nil
means to delete them."
  (let ((fields (smtpmail-header--named names (smtpmail-header--known-fields))))
    (prog1 (save-excursion
             (mapcar (pcase-lambda (`(,name ,_ ,value ,end))
                       (goto-char end)
                       (skip-chars-backward " \t\r\n" value)
                       (cons name
                             (buffer-substring-no-properties value (point))))
                     fields))
      (when delete
        (pcase-dolist (`(,_ ,start ,_ ,end) (reverse fields))
          (delete-region start end))))))

(defun smtpmail-header-field (name)
  "Return the unfolded value of the first field NAME, or nil."
  (when-let ((field (car (smtpmail-header-fields name))))
    (replace-regexp-in-string "\r?\n[ \t]*" " " (cdr field))))

(defun smtpmail-header-ascii-p (beg end)
  "Return non-nil if the current buffer is pure ASCII from BEG to END.
A unibyte buffer never is: its characters are not looked at."
  (and enable-multibyte-characters
       (= (- end beg) (- (position-bytes end) (position-bytes beg)))))

;;; What is done to it

(defun smtpmail-header-expand-aliases ()
  "Expand the `mail-aliases' in the current header."
  (when (or (consp mail-aliases)
            ;; To be read from a file, if the user has one.
            (and mail-aliases
                 (stringp mail-personal-alias-file)
                 (file-exists-p mail-personal-alias-file)))
    (let ((before mail-aliases))
      (condition-case failure
          (expand-mail-aliases (point-min) (point-max))
        (error
         ;; A file that cannot be read leaves it nil: the next mail would
         ;; go out with its aliases.
         (setq mail-aliases before)
         (error "Cannot expand mail aliases: %s"
                (error-message-string failure)))))))

(defun smtpmail-header-drop-blanks ()
  "Delete blank lines and a blank Subject from the current header."
  (goto-char (point-min))
  (while (re-search-forward "^\r?\n" nil t)
    (replace-match ""))
  (goto-char (point-min))
  (let ((case-fold-search t))
    (when (and (re-search-forward "^Subject:\\(?:[ \t]*\n\\)+" nil t)
               (not (looking-at "[ \t]")))
      (replace-match ""))))

(defun smtpmail-header--escape-comment (text)
  "Return TEXT with backslashes and unmatched parentheses escaped."
  (let ((open nil)
        (lone nil)
        (pieces nil))
    (dotimes (i (length text))
      (pcase (aref text i)
        (?\( (push i open))
        (?\) (if open (pop open) (push i lone)))
        (?\\ (push i lone))))
    (setq lone (append open lone))
    (dotimes (i (length text))
      (when (memq i lone) (push "\\" pieces))
      (push (substring text i (1+ i)) pieces))
    (apply #'concat (nreverse pieces))))

(defun smtpmail-header--from-line (address)
  "Return a From field for ADDRESS in `mail-from-style', or nil.
Stock: `system-default' leaves the field to the server."
  (let* ((case-fold-search nil)
         (name (replace-regexp-in-string "[\0-\37\177]+" " "
                                         (or (user-full-name) "")))
         ;; RFC 5322 §3.2.3: what may stand in a phrase unquoted.
         (special "[^- !#-'*+/-9=?A-Z^-~]")
         (comment (smtpmail-header--escape-comment name)))
    (cond
     ((null mail-from-style)
      (concat "From: " address "\n"))
     ((eq mail-from-style 'system-default) nil)
     ((or (eq mail-from-style 'parens)
          ;; As the option's text says of any other value.
          (and (not (eq mail-from-style 'angles))
               (string-match-p special name)
               (equal comment name)))
      (concat "From: " address " (" comment ")\n"))
     (t
      (concat "From: "
              (if (string-match-p special name)
                  (concat "\""
                          (replace-regexp-in-string "[\"\\]" "\\\\\\&" name)
                          "\"")
                name)
              " <" address ">\n")))))

(defun smtpmail-header-add-fields (from-address)
  "Add Date, Message-Id and From to the current header where missing.
FROM-ADDRESS is for From; nil means that there is none to be had."
  (let ((missing (lambda (name) (not (smtpmail-header-fields name)))))
    (goto-char (point-min))
    (when-let ((line (and from-address
                          (funcall missing "From")
                          (smtpmail-header--from-line from-address))))
      (insert line))
    (when (funcall missing "Message-Id")
      (goto-char (point-min))
      (insert "Message-Id: " (message-make-message-id) "\n"))
    (when (funcall missing "Date")
      (goto-char (point-min))
      (insert "Date: " (message-make-date) "\n"))))

(defun smtpmail-header-add-mime (coding ascii-text-p)
  "Add MIME fields for CODING to the current header if they are needed.
ASCII-TEXT-P says that the text has ASCII characters only.  Return
non-nil if they were added."
  (when-let ((charset (and (eq mail-send-nonascii 'mime)
                           coding
                           (coding-system-get coding :mime-charset))))
    (unless (or (and ascii-text-p
                     (smtpmail-header-ascii-p (point-min) (point-max)))
                (smtpmail-header-fields "MIME-Version"))
      (goto-char (point-max))
      (insert "MIME-version: 1.0\n"
              "Content-type: text/plain; charset=" (symbol-name charset) "\n"
              "Content-Transfer-Encoding: 8bit\n")
      t)))

(defun smtpmail-header-say-quoted-printable ()
  "Say in the current header that the text is quoted-printable.
The fields are those of `smtpmail-header-add-mime'."
  (smtpmail-header-fields "Content-Transfer-Encoding" 'delete)
  (goto-char (point-max))
  (insert "Content-Transfer-Encoding: quoted-printable\n"))

(defun smtpmail-header--address (address)
  "Return how the non-ASCII ADDRESS is written in a header.
RFC 2047 §5 forbids encoded words in it.  A domain has an ASCII form
\(RFC 5890); a local part is UTF-8 (RFC 6532 §3.2), whatever the charset
of the text, hence raw bytes."
  (if (string-match "\\`\\([[:ascii:]]+@\\)\\([^@]+\\)\\'" address)
      (concat (match-string 1 address)
              (puny-encode-domain (downcase (match-string 2 address))))
    (string-to-multibyte (encode-coding-string address 'utf-8-unix))))

(defun smtpmail-header--hide-addresses ()
  "Replace the non-ASCII addresses in the current header.
Return an alist of what stands there now and what is to be put there."
  (let ((hidden nil)
        (count 0))
    (smtpmail-header-map-fields
     "\\(?:Resent-\\)?\\(?:From\\|Sender\\|To\\|B?Cc\\|Reply-To\\)"
     (point-max)
     (lambda (_name)
       (unless (smtpmail-header-ascii-p (point-min) (point-max))
         (dolist (address (delete-dups (smtpmail-message-addresses
                                        (buffer-substring-no-properties
                                         (point-min) (point-max)))))
           (unless (string-match-p "\\`[[:ascii:]]*\\'" address)
             (let ((place (format "smtpmail-%d-%d@address.invalid"
                                  (random 1000000)
                                  (setq count (1+ count)))))
               (push (cons place (smtpmail-header--address address))
                     hidden)
               (goto-char (point-min))
               (while (search-forward address nil t)
                 (replace-match place t t))))))
       nil))
    hidden))

(defun smtpmail-header--raw-p (beg end)
  "Return non-nil if there are raw bytes from BEG to END."
  (save-excursion
    (goto-char beg)
    (re-search-forward "[\x3fff80-\x3fffff]" end t)))

(defun smtpmail-header--nothing-to-encode-p ()
  "Return non-nil if RFC 2047 leaves the current header as it is.
Quoted strings and what looks encoded are looked at more closely."
  (and (smtpmail-header-ascii-p (point-min) (point-max))
       (save-excursion
         (goto-char (point-min))
         (not (re-search-forward "[\"\e]\\|=\\?" nil t)))))

(defun smtpmail-header-encode (coding)
  "Encode the current header by RFC 2047; CODING is the message's.
Of a mail that is bytes already, only a From added here is encoded, if
any: stock asks for a coding system for the bytes of the others."
  (cond
   ((smtpmail-header--nothing-to-encode-p))
   ((or (eq coding 'raw-text)
        (and (not coding)
             (smtpmail-header--raw-p (point-min) (point-max))))
    (let ((case-fold-search t))
      (goto-char (point-min))
      (when (and (re-search-forward "^From:.*\n" nil t)
                 (not (smtpmail-header--raw-p (match-beginning 0)
                                              (match-end 0))))
        (mail-encode-header (match-beginning 0) (match-end 0)))))
   (t
    (let ((hidden (and coding (smtpmail-header--hide-addresses))))
      (mail-encode-header (point-min) (point-max))
      (pcase-dolist (`(,place . ,address) hidden)
        (goto-char (point-min))
        (while (search-forward place nil t)
          (replace-match address t t)))))))

(provide 'smtpmail-header)

;;; smtpmail-header.el ends here
