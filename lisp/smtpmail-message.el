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
(require 'sendmail)
(require 'smtpmail-address)
(require 'smtpmail-header)

(eval-when-compile (require 'subr-x))

;; Few messages have a copy.
(autoload 'smtpmail-message-write-fcc "smtpmail-message-copies")

;; Owned by smtpmail.el, which requires this file.
(defvar smtpmail-code-conv-from)
(defvar smtpmail-local-domain)
(defvar smtpmail-sendto-domain)
(defvar smtpmail-strict-content)

;; Needed for few messages.
(declare-function quoted-printable-encode-region "qp")

(defvar mail-mailer-swallows-blank-line)

;;; What comes out

(cl-defstruct (smtpmail-message
               (:constructor smtpmail-message--make)
               (:copier nil)
               (:noinline t))
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
  (let ((addresses nil))
    (pcase-dolist (`(,name . ,value)
                   (or (smtpmail-header-fields "Resent-\\(?:To\\|B?Cc\\)")
                       (smtpmail-header-fields "To\\|B?Cc")))
      (setq name (concat name " field")
            addresses (nconc addresses
                             (smtpmail-message--checked-addresses name value))))
    (smtpmail-message--without-repeats addresses)))

(defun smtpmail-message--checked-addresses (what value)
  "Return the addresses in VALUE, checked and decoded; errors name WHAT."
  (let ((addresses (smtpmail-message-addresses value)))
    ;; One look at all of them: there may be thousands, and few are odd.
    (if (string-match-p "[^ -~]" (apply #'concat addresses))
        (mapcar (lambda (address)
                  (smtpmail-message--decode
                   (smtpmail-message--check what address)))
                addresses)
      addresses)))

(defun smtpmail-message--without-repeats (addresses)
  "Return the list ADDRESSES with each mailbox once."
  (if (null (cdr addresses))
      addresses
    (smtpmail-message--distinct addresses)))

(defun smtpmail-message--distinct (addresses)
  "Do the work of `smtpmail-message--without-repeats' for several ADDRESSES."
  (if (let ((case-fold-search nil))
        (string-match-p "[^\0-@[-\177]" (apply #'concat addresses)))
      (let ((seen (make-hash-table :test #'equal :size (length addresses))))
        (seq-filter (lambda (address)
                      (let ((key (smtpmail-message--mailbox-key address)))
                        (unless (gethash key seen)
                          (puthash key t seen))))
                    addresses))
    ;; Nearly all addresses have lower case only, and are their own keys.
    (delete-dups (copy-sequence addresses))))

(defun smtpmail-message--mailbox-key (address)
  "Return a string that is `equal' for the same mailbox as ADDRESS.
RFC 5321 §2.4: only the domain is without case."
  (let* ((case-fold-search nil)
         (at (string-match-p "@[^@]*[^\0-@[-\177][^@]*\\'" address)))
    (if at
        (concat (substring address 0 at) (downcase (substring address at)))
      address)))

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
  (when-let ((field (car (smtpmail-header-fields "From")))
             (address (car (smtpmail-message-addresses (cdr field)))))
    (smtpmail-message--decode
     (smtpmail-message--check "From field" address))))

;;; Text

(defun smtpmail-message--bytes-p ()
  "Return non-nil if all that is not ASCII in the current buffer is raw bytes.
So it is with a mail as it was received, which Rmail resends."
  (and (not (smtpmail-header-ascii-p (point-min) (point-max)))
       (save-excursion
         (goto-char (point-min))
         (skip-chars-forward "\0-\177\x3fff80-\x3fffff")
         (eobp))))

(defun smtpmail-message--coding (header-end)
  "Return the coding system for the mail in the current buffer, or nil.
Its header ends at HEADER-END."
  (cond ((not enable-multibyte-characters) nil)
        ;; Nothing but raw-text can encode them; stock asks which.
        ((smtpmail-message--bytes-p) 'raw-text)
        ;; How `message-resend' asks that the bytes stay as they are.
        ((and (not smtpmail-code-conv-from)
              (eq sendmail-coding-system 'raw-text))
         'raw-text)
        (t (let ((sendmail-coding-system smtpmail-code-conv-from))
             (save-excursion
               (save-restriction
                 ;; Every coding system has ASCII, so a text of that has no
                 ;; say, however long it is.
                 (when (smtpmail-header-ascii-p (point-min) (point-max))
                   (narrow-to-region (point-min) header-end))
                 (select-message-coding-system)))))))

(defun smtpmail-message--append-text (mail start)
  "Append the text of the buffer MAIL from START, nil if there is none.
A blank line goes before it, a final newline behind."
  (when start
    (smtpmail-message--append-blank-line)
    (insert-buffer-substring-no-properties
     mail start (with-current-buffer mail (point-max)))
    (unless (bolp) (insert "\n"))))

(defun smtpmail-message--append-blank-line ()
  "Append what stands between header and text."
  (goto-char (point-max))
  (insert "\n")
  ;; Unbound since Emacs 30.
  ;; The built-in of Emacs 30 heeds it no more.
  (when (and (< emacs-major-version 30)
             (boundp 'mail-mailer-swallows-blank-line)
             (eval (with-no-warnings mail-mailer-swallows-blank-line) t))
    (insert "\n")))

;;; A large text stays in the mail's buffer

(defvar-local smtpmail-message--rest nil
  "Where the rest of this text is: (BUFFER START END TICK), or nil.")

(defun smtpmail-message--may-stay-p (mail start coding)
  "Return non-nil if the text of the buffer MAIL from START need not be copied.
In CODING it must be the same octets whatever stands before it."
  (and (memq (and coding (coding-system-type coding))
             '(nil charset raw-text undecided utf-8))
       (>= (- (with-current-buffer mail (point-max)) start)
           smtpmail-message-string-limit)))

(defun smtpmail-message--leave-text (mail start)
  "Note that the text of the buffer MAIL from START follows the current header."
  (smtpmail-message--append-blank-line)
  (setq smtpmail-message--rest
        (with-current-buffer mail
          (list mail start (point-max) (buffer-chars-modified-tick)))))

(defun smtpmail-message--rest-of (buffer)
  "Return the rest of the text in BUFFER, (MAIL START END), or nil.
Signal an error if it is not any more what it was."
  (pcase (buffer-local-value 'smtpmail-message--rest buffer)
    (`(,mail ,start ,end ,tick)
     (unless (and (buffer-live-p mail)
                  (eql tick (buffer-chars-modified-tick mail)))
       (error "The mail was changed while it was being sent"))
     (list mail start end))))

(defun smtpmail-message-size (buffer)
  "Return how many characters the text has that BUFFER begins."
  (pcase (smtpmail-message--rest-of buffer)
    (`(,_ ,start ,end) (+ (buffer-size buffer) (- end start)))
    (_ (buffer-size buffer))))

(defun smtpmail-message--complete (buffer)
  "Bring the rest of the text into BUFFER, if it is not there."
  (pcase (smtpmail-message--rest-of buffer)
    (`(,mail ,start ,end)
     (with-current-buffer buffer
       (save-excursion
         (goto-char (point-max))
         (insert-buffer-substring-no-properties mail start end)
         (unless (bolp) (insert "\n")))
       (setq smtpmail-message--rest nil)))))

;;; All of it

(defun smtpmail-message-prepare (&optional lean)
  "Return a `smtpmail-message' for the mail in the current buffer.
Only the accessible portion counts.  Neither its text nor anything else
about the buffer changes.  Signal an `error' if an address holds a
control character or the aliases cannot be expanded.  A message without
a recipient or a sender is not an error here.

LEAN non-nil says that nobody but `smtpmail-message-encode' and
`smtpmail-message-write' will look at the text: a large one is not
copied then, and must not change before it is written.

Kill its buffers with `smtpmail-message-discard'."
  (save-match-data
    (let* ((deactivate-mark nil)
           (split (smtpmail-header-split))
           (message (smtpmail-message--make
                     :coding (smtpmail-message--coding (car split))
                     :buffer (generate-new-buffer " smtpmail temp")))
           (done nil))
      (unwind-protect
          (progn
            (smtpmail-message--fill message (current-buffer)
                                    (car split) (cdr split) lean)
            (setq smtpmail-recipient-address-list
                  (copy-sequence (smtpmail-message-recipients message))
                  done t)
            message)
        (unless done (smtpmail-message-discard message))))))

(defun smtpmail-message--fill (message mail header-end text-start lean)
  "Fill in MESSAGE from the buffer MAIL, which is current.
Its header ends at HEADER-END, its text starts at TEXT-START or is nil.
LEAN is that of `smtpmail-message-prepare'."
  (let ((specified (smtpmail-message--specified-sender header-end))
        (own-address (smtpmail-user-mail-address))
        (header-start (point-min))
        (ascii-text-p (or (null text-start)
                          (smtpmail-header-ascii-p text-start (point-max))))
        (coding (smtpmail-message-coding message))
        (quoted nil)
        (case-fold-search nil))
    (when own-address
      (smtpmail-message--check "`user-mail-address'" own-address))
    (with-current-buffer (smtpmail-message-buffer message)
      (set-buffer-file-coding-system coding nil t)
      (insert-buffer-substring-no-properties mail header-start header-end)
      (unless (bolp) (insert "\n"))
      (smtpmail-header-expand-aliases)
      (smtpmail-header-drop-blanks)
      (let ((sender (or specified
                        (smtpmail-message--from-address)
                        own-address)))
        (setf (smtpmail-message-sender message) sender)
        (smtpmail-header-add-fields (if (member sender '(nil ""))
                                          own-address
                                        sender)))
      ;; Text that has come with MIME fields may be signed, and stays as it is.
      (setq quoted (and (smtpmail-header-add-mime coding ascii-text-p)
                        smtpmail-strict-content))
      (setf (smtpmail-message-recipients message)
            (smtpmail-message--recipients)
            (smtpmail-message-message-id message)
            (smtpmail-header-field "Message-Id")
            (smtpmail-message-subject message)
            (smtpmail-header-field "Subject"))
      ;; Orders to us reach no copy either.
      (setf (smtpmail-message-options message)
            (smtpmail-header-fields "X-Smtpmail-[^: \t\n]*" 'delete))
      (smtpmail-message--take-fcc message mail text-start)
      (smtpmail-header-fields "\\(?:Resent-\\)?Bcc" 'delete)
      (when quoted
        (smtpmail-header-say-quoted-printable))
      (smtpmail-header-encode coding)
      ;; Bytes stay bytes, and cost no conversion.
      (unless coding
        (set-buffer-multibyte nil))
      (if (and lean text-start (not quoted)
               (smtpmail-message--may-stay-p mail text-start coding))
          (smtpmail-message--leave-text mail text-start)
        (smtpmail-message--append-text mail text-start))
      (when (and quoted text-start)
        (smtpmail-message--quote-text coding))
      (goto-char (point-min)))))

(defun smtpmail-message--quote-text (coding)
  "Make the text of the current mail, in CODING, quoted-printable."
  (require 'qp)
  (goto-char (point-min))
  (when (search-forward "\n\n" nil t)
    (let ((octets (encode-coding-string
                   (delete-and-extract-region (point) (point-max))
                   (smtpmail-message--lf-coding coding) t)))
      (insert (with-temp-buffer
                (set-buffer-multibyte nil)
                (insert octets)
                (quoted-printable-encode-region (point-min) (point-max) t)
                (buffer-string))))))

;;; File copies

(defun smtpmail-message--take-fcc (message mail text-start)
  "Move the Fcc fields of the current header into MESSAGE.
The copy is taken here, before RFC 2047 and with Bcc, as `mail-do-fcc'
would write it; its text is that of the buffer MAIL from TEXT-START."
  (when-let ((files (mapcar #'cdr (smtpmail-header-fields "Fcc" 'delete)))
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
  (smtpmail-message--complete buffer)
  (with-current-buffer buffer
    (let ((text (buffer-substring-no-properties (point-min) (point-max))))
      (if (or (not enable-multibyte-characters)
              (smtpmail-header-ascii-p (point-min) (point-max)))
          text
        (encode-coding-string text (smtpmail-message--lf-coding coding) t)))))

(defun smtpmail-message-write (buffer coding path)
  "Write the accessible portion of BUFFER to PATH, encoded with CODING.
The bytes are those of `smtpmail-message-encode'.  PATH is used as it
stands, be it /proc/self/fd/N: no handler, lock, backup, annotation or
question, and no sync, which is the module's to do.  Signal `file-error'
if it cannot be written."
  (with-current-buffer buffer
    (smtpmail-message--write-region (point-min) (point-max) coding path nil)
    (pcase (smtpmail-message--rest-of buffer)
      (`(,mail ,start ,end)
       (with-current-buffer mail
         (save-restriction
           (widen)
           (smtpmail-message--write-region start end coding path t)
           (unless (eq (char-before end) ?\n)
             (smtpmail-message--write-region "\n" nil coding path t))))))))

(defun smtpmail-message--write-region (start end coding path append)
  "Write what is from START to END to PATH, encoded with CODING.
START may be a string instead.  APPEND non-nil leaves what is there."
  (let* ((verbatim (or (not enable-multibyte-characters)
                       (and (not (stringp start))
                            (smtpmail-header-ascii-p start end))))
         (lf-coding (smtpmail-message--lf-coding coding))
         ;; `write-region' leaves out the last escape sequence of these.
         (string (and (not (or verbatim (stringp start)))
                      (eq (coding-system-type lf-coding) 'iso-2022)
                      (smtpmail-message-encode (current-buffer) coding)))
         (coding-system-for-write
          (if (or verbatim string) 'no-conversion lf-coding))
         (coding-system-require-warning nil)
         (file-name-handler-alist nil)
         (create-lockfiles nil)
         (write-region-annotate-functions nil)
         (write-region-post-annotation-function nil)
         (buffer-file-format nil)
         (write-region-inhibit-fsync t))
    (write-region (or string start) end path append 'quiet)))

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
  (smtpmail-header-map-fields "\\(?:Resent-\\)?Bcc" header-end
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
