;;; smtpmail-message.el --- From a mail buffer to an envelope and a message  -*- lexical-binding: t; -*-

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
;;; Commentary:

;; A mail buffer in; an envelope (RFC 5321 §2.3.1) and the message as it
;; goes out come back, and the mail buffer is left as it was.  Here is
;; what Emacs's own smtpmail does before it opens a connection, and how a
;; text becomes the bytes that the module takes.
;;
;; No server, credentials, queue or module call lives here, and nothing
;; that asks the user, but for a coding system (as all mail senders do)
;; and what `mail-do-fcc' asks about a file copy.
;;
;; The header is prepared in a buffer of its own and the text is appended
;; last, once, so that the size of the text does not matter to the work.

;;; Code:

(require 'cl-lib)
(require 'mail-utils)
(require 'sendmail)
(require 'smtpmail-address)

(autoload 'message-make-date "message")
(autoload 'message-make-message-id "message")
(autoload 'expand-mail-aliases "mailalias")
(autoload 'puny-encode-domain "puny")

;; Owned by smtpmail.el, which requires this file.
(defvar smtpmail-code-conv-from)
(defvar smtpmail-local-domain)
(defvar smtpmail-sendto-domain)

(defvar mail-aliases)
(defvar mail-mailer-swallows-blank-line)
(defvar mail-personal-alias-file)

;;; What comes out

(cl-defstruct (smtpmail-message
               (:constructor smtpmail-message--make)
               (:copier nil))
  "A message ready to be sent, and its envelope."
  (buffer nil :documentation "Buffer of the message, live until discarded.")
  (recipients nil :documentation "Addr-specs, in order, each once.")
  (sender nil :documentation "Reverse-path; \"\" is <>, nil is none known.")
  (coding nil :documentation "Coding system for the buffer, nil for bytes.")
  (fcc nil :documentation "List of (FILE . BUFFER): copies to be written.")
  (message-id nil :documentation "Message-ID with its angles.")
  (subject nil :documentation "Subject before RFC 2047, or nil.")
  (options nil :documentation "Alist (NAME . VALUE) of X-Smtpmail-* fields."))

(defvar smtpmail-recipient-address-list nil
  "Recipients of the message last prepared, a list of addr-specs.")

(defvar smtpmail-address-buffer nil
  "Scratch buffer of `smtpmail-deduce-address-list', bound by its callers.
Sending does not set it: a variable of smtpmail must print and read back.")

(defconst smtpmail-message-string-limit (* 256 1024)
  "Size in characters from which a text goes to the module by a file.
Measured: below it one string costs less than `write-region' does.")

(defconst smtpmail-message--stray-line-reach (* 64 1024)
  "How far behind a stray line in a header its separator is looked for.
No header with a mistake in it is longer, and a text may be of any size.")

(defun smtpmail-message-discard (message)
  "Kill the buffers of MESSAGE, a `smtpmail-message'."
  (mapc #'smtpmail-message--kill
        (cons (smtpmail-message-buffer message)
              (mapcar #'cdr (smtpmail-message-fcc message))))
  (setf (smtpmail-message-buffer message) nil
        (smtpmail-message-fcc message) nil))

(defun smtpmail-message--kill (buffer)
  "Kill BUFFER without a question, if it is live."
  (when (buffer-live-p buffer)
    (let ((kill-buffer-query-functions nil))
      (kill-buffer buffer))))

;;; Where the header ends

(defun smtpmail-message--split ()
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
            (forward-line 1))
           (t
            (unless (or blank stray)
              (narrow-to-region (point-min)
                                (min (point-max)
                                     (+ (point)
                                        smtpmail-message--stray-line-reach))))
            (if (looking-at "\r?$")
                (setq blank (or blank (point)))
              (setq stray (or stray (point))))
            (unless (and blank stray)
              (forward-line 1)))))
        split))))

;;; Fields of a header

(defun smtpmail-message--map-fields (names end function)
  "Call FUNCTION on each field before END whose name matches NAMES.
It gets the name as written, with the buffer narrowed to the value and
its final newline.  If it returns `delete', the field is deleted."
  (let ((case-fold-search t)
        (regexp (concat "^\\(" names "\\)[ \t]*:[ \t]*"))
        (end (copy-marker end)))
    (save-excursion
      (goto-char (point-min))
      (while (re-search-forward regexp end t)
        (let ((start (match-beginning 0))
              (value (point))
              (name (match-string-no-properties 1)))
          (forward-line 1)
          (while (and (< (point) end) (looking-at "[ \t]"))
            (forward-line 1))
          (when (eq 'delete
                    (save-excursion
                      (save-restriction
                        (narrow-to-region value (point))
                        (funcall function name))))
            (delete-region start (point))))))
    (set-marker end nil)))

(defun smtpmail-message--fields (names &optional delete)
  "Return the fields whose name matches NAMES, as a list (NAME . VALUE).
The current buffer is a header.  VALUE may be folded.  DELETE non-nil
means to delete them."
  (let ((fields nil))
    (smtpmail-message--map-fields
     names (point-max)
     (lambda (name)
       (push (cons name (replace-regexp-in-string
                         "[ \t\r\n]+\\'" ""
                         (buffer-substring-no-properties
                          (point-min) (point-max))))
             fields)
       (and delete 'delete)))
    (nreverse fields)))

(defun smtpmail-message--field (name)
  "Return the unfolded value of the first field NAME, or nil."
  (when-let ((field (car (smtpmail-message--fields name))))
    (replace-regexp-in-string "\r?\n[ \t]*" " " (cdr field))))

;;; Envelope

(defun smtpmail-message--check (what address)
  "Signal an error that names WHAT if ADDRESS has control characters.
Return ADDRESS.  RFC 5321 §4.1.2 has none in a path, and a line break
would add a command of its own to the dialogue."
  (when (string-match-p "[\0-\37\177]" address)
    (let ((print-escape-newlines t)
          (print-escape-control-characters t))
      (error "Invalid %s: control character in the address %S"
             what address)))
  address)

(defun smtpmail-message--decode (address)
  "Return ADDRESS with its raw bytes, if any, decoded as UTF-8.
An already encoded mail buffer has nothing else (RFC 6532 §3.2)."
  (if (string-match-p "[^[:ascii:]]" address)
      (decode-coding-string (encode-coding-string address 'utf-8-emacs-unix)
                            'utf-8-unix)
    address))

(defun smtpmail-message--recipients ()
  "Return the recipients that the current header names.
If it has Resent-To, Resent-Cc or Resent-Bcc, only those count."
  (let ((seen (make-hash-table :test #'equal))
        (recipients nil))
    (pcase-dolist (`(,name . ,value)
                   (or (smtpmail-message--fields "Resent-\\(?:To\\|B?Cc\\)")
                       (smtpmail-message--fields "To\\|B?Cc")))
      (dolist (address (smtpmail-message-addresses value))
        (setq address (smtpmail-message--decode
                       (smtpmail-message--check (concat name " field")
                                                address)))
        ;; RFC 5321 §2.4: only the domain is without case.
        (let ((key (if (string-match "@[^@]*\\'" address)
                       (concat (substring address 0 (match-beginning 0))
                               (downcase (match-string 0 address)))
                     address)))
          (unless (gethash key seen)
            (puthash key t seen)
            (push address recipients)))))
    (nreverse recipients)))

(defun smtpmail-user-mail-address ()
  "Return `user-mail-address' if it is a full address, or nil.
That is one with a dot in its domain."
  (and (stringp user-mail-address)
       (string-match-p "\\`[^@]*@[^@]*\\.[^@]*\\'" user-mail-address)
       user-mail-address))

(defun smtpmail-message--specified-sender (header-end)
  "Return the reverse-path that the user's settings name, or nil.
The current buffer is the mail, its header ending at HEADER-END."
  (when (and mail-specify-envelope-from
             ;; From is ours to find: stock fails if there is none.
             (not (eq mail-envelope-from 'header)))
    (let ((address (save-excursion
                     (save-restriction
                       (narrow-to-region (point-min) header-end)
                       (mail-envelope-from)))))
      (when (stringp address)
        (smtpmail-message--check "`mail-envelope-from'" address)
        (if (string-match-p "\\`[ \t]*\\(?:<[ \t]*>\\)?[ \t]*\\'" address)
            ""
          (let ((addresses (smtpmail-message-addresses address)))
            (if (= (length addresses) 1) (car addresses) address)))))))

(defun smtpmail-message--from-address ()
  "Return the first address of the current header's From field, or nil."
  (when-let ((field (car (smtpmail-message--fields "From")))
             (address (car (smtpmail-message-addresses (cdr field)))))
    (smtpmail-message--decode
     (smtpmail-message--check "From field" address))))

;;; Header work, in a buffer that has nothing else

(defun smtpmail-message--expand-aliases ()
  "Expand the `mail-aliases' in the current header."
  (when (or (consp mail-aliases)
            ;; To be read from a file, if the user has one.
            (and mail-aliases (stringp mail-personal-alias-file)))
    (let ((before mail-aliases))
      (condition-case failure
          (expand-mail-aliases (point-min) (point-max))
        (error
         ;; A file that cannot be read leaves it nil: the next mail would
         ;; go out with its aliases.
         (setq mail-aliases before)
         (error "Cannot expand mail aliases: %s"
                (error-message-string failure)))))))

(defun smtpmail-message--drop-blanks ()
  "Delete blank lines and a blank Subject from the current header."
  (goto-char (point-min))
  (while (re-search-forward "^\r?\n" nil t)
    (replace-match ""))
  (goto-char (point-min))
  (let ((case-fold-search t))
    (when (and (re-search-forward "^Subject:\\(?:[ \t]*\n\\)+" nil t)
               (not (looking-at "[ \t]")))
      (replace-match ""))))

(defun smtpmail-message--escape-comment (text)
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

(defun smtpmail-message--from-line (address)
  "Return a From field for ADDRESS in `mail-from-style', or nil.
Stock: `system-default' leaves the field to the server."
  (let* ((case-fold-search nil)
         (name (replace-regexp-in-string "[\0-\37\177]+" " "
                                         (or (user-full-name) "")))
         ;; RFC 5322 §3.2.3: what may stand in a phrase unquoted.
         (special "[^- !#-'*+/-9=?A-Z^-~]")
         (comment (smtpmail-message--escape-comment name)))
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

(defun smtpmail-message--add-fields (from-address)
  "Add Date, Message-Id and From to the current header where missing.
FROM-ADDRESS is for From; nil means that there is none to be had."
  (let ((missing (lambda (name) (not (smtpmail-message--fields name)))))
    (goto-char (point-min))
    (when-let ((line (and from-address
                          (funcall missing "From")
                          (smtpmail-message--from-line from-address))))
      (insert line))
    (when (funcall missing "Message-Id")
      (goto-char (point-min))
      (insert "Message-Id: " (message-make-message-id) "\n"))
    (when (funcall missing "Date")
      (goto-char (point-min))
      (insert "Date: " (message-make-date) "\n"))))

(defun smtpmail-message--add-mime (coding ascii-text-p)
  "Add MIME fields for CODING to the current header if they are needed.
ASCII-TEXT-P says that the text has ASCII characters only."
  (when-let ((charset (and (eq mail-send-nonascii 'mime)
                           coding
                           (coding-system-get coding :mime-charset))))
    (unless (or (and ascii-text-p
                     (smtpmail-message--ascii-p (point-min) (point-max)))
                (smtpmail-message--fields "MIME-Version"))
      (goto-char (point-max))
      (insert "MIME-version: 1.0\n"
              "Content-type: text/plain; charset=" (symbol-name charset) "\n"
              "Content-Transfer-Encoding: 8bit\n"))))

(defun smtpmail-message--header-address (address)
  "Return how the non-ASCII ADDRESS is written in a header.
RFC 2047 §5 forbids encoded words in it.  A domain has an ASCII form
\(RFC 5890); a local part is UTF-8 (RFC 6532 §3.2), whatever the charset
of the text, hence raw bytes."
  (if (string-match "\\`\\([[:ascii:]]+@\\)\\([^@]+\\)\\'" address)
      (concat (match-string 1 address)
              (puny-encode-domain (downcase (match-string 2 address))))
    (string-to-multibyte (encode-coding-string address 'utf-8-unix))))

(defun smtpmail-message--hide-addresses ()
  "Replace the non-ASCII addresses in the current header.
Return an alist of what stands there now and what is to be put there."
  (let ((hidden nil)
        (count 0))
    (smtpmail-message--map-fields
     "\\(?:Resent-\\)?\\(?:From\\|Sender\\|To\\|B?Cc\\|Reply-To\\)"
     (point-max)
     (lambda (_name)
       (unless (smtpmail-message--ascii-p (point-min) (point-max))
         (dolist (address (delete-dups (smtpmail-message-addresses
                                        (buffer-substring-no-properties
                                         (point-min) (point-max)))))
           (unless (string-match-p "\\`[[:ascii:]]*\\'" address)
             (let ((place (format "smtpmail-%d-%d@address.invalid"
                                  (random 1000000)
                                  (setq count (1+ count)))))
               (push (cons place (smtpmail-message--header-address address))
                     hidden)
               (goto-char (point-min))
               (while (search-forward address nil t)
                 (replace-match place t t))))))
       nil))
    hidden))

(defun smtpmail-message--encode-header (coding)
  "Encode the current header by RFC 2047; CODING is the message's."
  (let ((hidden (and coding (not (eq coding 'raw-text))
                     (smtpmail-message--hide-addresses))))
    (mail-encode-header (point-min) (point-max))
    (pcase-dolist (`(,place . ,address) hidden)
      (goto-char (point-min))
      (while (search-forward place nil t)
        (replace-match address t t)))))

;;; Text

(defun smtpmail-message--ascii-p (beg end)
  "Return non-nil if the current buffer is pure ASCII from BEG to END.
A unibyte buffer never is: its characters are not looked at."
  (and enable-multibyte-characters
       (= (- end beg) (- (position-bytes end) (position-bytes beg)))))

(defun smtpmail-message--coding ()
  "Return the coding system for the mail in the current buffer, or nil."
  (cond ((not enable-multibyte-characters) nil)
        ;; How `message-resend' asks that the bytes stay as they are.
        ((and (not smtpmail-code-conv-from)
              (eq sendmail-coding-system 'raw-text))
         'raw-text)
        (t (let ((sendmail-coding-system smtpmail-code-conv-from))
             (save-excursion (select-message-coding-system))))))

(defun smtpmail-message--append-text (mail start)
  "Append the text of the buffer MAIL from START, nil if there is none.
A blank line goes before it, a final newline behind."
  (goto-char (point-max))
  (when start
    (insert "\n")
    ;; Unbound since Emacs 30.
    (when (and (boundp 'mail-mailer-swallows-blank-line)
               (eval (with-no-warnings mail-mailer-swallows-blank-line) t))
      (insert "\n"))
    (insert-buffer-substring-no-properties
     mail start (with-current-buffer mail (point-max)))
    (unless (bolp) (insert "\n"))))

;;; All of it

(defun smtpmail-message-prepare ()
  "Return a `smtpmail-message' for the mail in the current buffer.
Only the accessible portion counts.  Neither its text nor anything else
about the buffer changes.  Signal an `error' if an address holds a
control character or the aliases cannot be expanded.  A message without
a recipient or a sender is not an error here.

Kill its buffers with `smtpmail-message-discard'."
  (save-match-data
    (let* ((deactivate-mark nil)
           (split (smtpmail-message--split))
           (message (smtpmail-message--make
                     :coding (smtpmail-message--coding)
                     :buffer (generate-new-buffer " smtpmail temp")))
           (done nil))
      (unwind-protect
          (progn
            (smtpmail-message--fill message (current-buffer)
                                    (car split) (cdr split))
            (setq smtpmail-recipient-address-list
                  (copy-sequence (smtpmail-message-recipients message))
                  done t)
            message)
        (unless done (smtpmail-message-discard message))))))

(defun smtpmail-message--fill (message mail header-end text-start)
  "Fill in MESSAGE from the buffer MAIL, which is current.
Its header ends at HEADER-END, its text starts at TEXT-START or is nil."
  (let ((specified (smtpmail-message--specified-sender header-end))
        (own-address (smtpmail-user-mail-address))
        (header-start (point-min))
        (ascii-text-p (or (null text-start)
                          (smtpmail-message--ascii-p text-start (point-max))))
        (coding (smtpmail-message-coding message))
        (case-fold-search nil))
    (when own-address
      (smtpmail-message--check "`user-mail-address'" own-address))
    (with-current-buffer (smtpmail-message-buffer message)
      (set-buffer-file-coding-system coding nil t)
      (insert-buffer-substring-no-properties mail header-start header-end)
      (unless (bolp) (insert "\n"))
      (smtpmail-message--expand-aliases)
      (smtpmail-message--drop-blanks)
      (let ((sender (or specified
                        (smtpmail-message--from-address)
                        own-address)))
        (setf (smtpmail-message-sender message) sender)
        (smtpmail-message--add-fields (if (member sender '(nil ""))
                                          own-address
                                        sender)))
      (smtpmail-message--add-mime coding ascii-text-p)
      (setf (smtpmail-message-recipients message)
            (smtpmail-message--recipients)
            (smtpmail-message-message-id message)
            (smtpmail-message--field "Message-Id")
            (smtpmail-message-subject message)
            (smtpmail-message--field "Subject"))
      (smtpmail-message--take-fcc message mail text-start)
      (setf (smtpmail-message-options message)
            (smtpmail-message--fields "X-Smtpmail-[^: \t\n]*" 'delete))
      (smtpmail-message--fields "\\(?:Resent-\\)?Bcc" 'delete)
      (smtpmail-message--encode-header coding)
      (smtpmail-message--append-text mail text-start)
      (goto-char (point-min)))))

;;; File copies

(defun smtpmail-message--take-fcc (message mail text-start)
  "Move the Fcc fields of the current header into MESSAGE.
The copy is taken here, before RFC 2047 and with Bcc, as `mail-do-fcc'
would write it; its text is that of the buffer MAIL from TEXT-START."
  (when-let ((files (mapcar #'cdr (smtpmail-message--fields "Fcc" 'delete)))
             (files (delete "" files)))
    (let ((header (current-buffer))
          (copy (generate-new-buffer " smtpmail fcc")))
      (setf (smtpmail-message-fcc message)
            (mapcar (lambda (file)
                      (cons (expand-file-name
                             (replace-regexp-in-string "\r?\n[ \t]*" " " file))
                            copy))
                    files))
      (with-current-buffer copy
        (set-buffer-file-coding-system (smtpmail-message-coding message) nil t)
        (insert-buffer-substring-no-properties header)
        (smtpmail-message--append-text mail text-start)))))

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

;;; How a text goes to the module

(defun smtpmail-message--lf-coding (coding)
  "Return CODING with LF line ends; nil is for bytes as they are."
  (pcase (and coding (coding-system-type coding))
    ('nil 'raw-text-unix)
    ;; It would guess, which is for reading.
    ('undecided 'utf-8-unix)
    (_ (coding-system-change-eol-conversion coding 'unix))))

(defun smtpmail-message-encode (buffer coding)
  "Return the accessible portion of BUFFER, encoded with CODING.
The value is a unibyte string, or one with ASCII characters only.  Raw
bytes become themselves.  CODING nil encodes nothing.  Line ends stay
LF: the module makes them CRLF.

For a text from `smtpmail-message-string-limit' on, prefer
`smtpmail-message-write'."
  (with-current-buffer buffer
    (let ((text (buffer-substring-no-properties (point-min) (point-max))))
      (if (or (not enable-multibyte-characters)
              (smtpmail-message--ascii-p (point-min) (point-max)))
          text
        (encode-coding-string text (smtpmail-message--lf-coding coding) t)))))

(defun smtpmail-message-write (buffer coding path)
  "Write the accessible portion of BUFFER to PATH, encoded with CODING.
The bytes are those of `smtpmail-message-encode'.  PATH is used as it
stands, be it /proc/self/fd/N: no handler, lock, backup, annotation or
question, and no sync, which is the module's to do.  Signal `file-error'
if it cannot be written."
  (with-current-buffer buffer
    (let* ((verbatim (or (not enable-multibyte-characters)
                         (smtpmail-message--ascii-p (point-min) (point-max))))
           (lf-coding (smtpmail-message--lf-coding coding))
           ;; `write-region' leaves out the last escape sequence of these.
           (string (and (not verbatim)
                        (eq (coding-system-type lf-coding) 'iso-2022)
                        (smtpmail-message-encode buffer coding)))
           (coding-system-for-write
            (if (or verbatim string) 'no-conversion lf-coding))
           (coding-system-require-warning nil)
           (file-name-handler-alist nil)
           (create-lockfiles nil)
           (write-region-annotate-functions nil)
           (write-region-post-annotation-function nil)
           (buffer-file-format nil)
           (write-region-inhibit-fsync t))
      (write-region (or string (point-min)) (point-max) path nil 'quiet))))

;;; What init files of old call

(defun smtpmail-deduce-address-list (smtpmail-text-buffer header-start header-end)
  "Return the recipients of a header, and set the variable for them.
The header is in SMTPMAIL-TEXT-BUFFER from HEADER-START to HEADER-END.
The variable is `smtpmail-recipient-address-list'.  The buffer
`smtpmail-address-buffer', if live, gets them too, between blanks."
  (setq smtpmail-recipient-address-list
        (with-temp-buffer
          (insert-buffer-substring-no-properties
           smtpmail-text-buffer header-start header-end)
          (smtpmail-message--recipients)))
  (when (buffer-live-p (and smtpmail-address-buffer
                            (get-buffer smtpmail-address-buffer)))
    (with-current-buffer smtpmail-address-buffer
      (erase-buffer)
      (insert " " (mapconcat #'identity smtpmail-recipient-address-list " ")
              " \n")))
  smtpmail-recipient-address-list)

(defun smtpmail-do-bcc (header-end)
  "Delete the Bcc and Resent-Bcc fields before HEADER-END.
All of them go, with their continuation lines."
  (smtpmail-message--map-fields "\\(?:Resent-\\)?Bcc" header-end
                                (lambda (_name) 'delete)))

(defun smtpmail-maybe-append-domain (recipient)
  "Return RECIPIENT, with `smtpmail-sendto-domain' if it has no domain."
  (if (or (not smtpmail-sendto-domain)
          (string-search "@" recipient))
      recipient
    (concat recipient "@" smtpmail-sendto-domain)))

(defun smtpmail-fqdn ()
  "Return the name of this machine, with `smtpmail-local-domain' if set."
  (if smtpmail-local-domain
      (concat (system-name) "." smtpmail-local-domain)
    (system-name)))

(provide 'smtpmail-message)

;;; smtpmail-message.el ends here
