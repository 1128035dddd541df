;;; smtpmail-wire-corpus.el --- Mails for the wire, and where the built-in is wrong  -*- lexical-binding: t -*-

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

;; The cases of smtpmail-wire-parity-tests.el, in the form that
;; smtpmail-wire-driver.el takes, with :exceptions besides: a list of
;; names, or of (NAME ARGUMENT...), of `smtpmail-wire-exceptions'.  No test
;; lives here.

;;; Code:

(require 'cl-lib)
(require 'subr-x)
(load (expand-file-name "smtpmail-message-corpus"
                        (file-name-directory
                         (or load-file-name buffer-file-name)))
      nil t)

;;;; What differs between any two runs

(defun smtpmail-wire--text (said)
  "Return the octets of the text in SAID as they count for SIZE, or nil."
  (when (string-match "^DATA\r\n" said)
    (let* ((start (match-end 0))
           (end (string-match "^\\.\r\n" said start)))
      (when end
        (replace-regexp-in-string "^\\.\\." "." (substring said start end))))))

(defun smtpmail-wire-normal (said)
  "Return SAID, octets of a client, without what differs between two runs.
A right SIZE (RFC 1870 §5) is \"octets\": dates differ in length.  If no
text followed, nothing is known of it."
  (let ((case-fold-search t)
        (text (smtpmail-wire--text said)))
    (setq said (replace-regexp-in-string
                (format "\\(\\`EHLO .*\r\nMAIL FROM:<.*>\\) SIZE=%s\\b"
                        (if text (length text) "[0-9]+"))
                "\\1 SIZE=octets" said))
    (dolist (pair '(("^Date: [A-Z][a-z][a-z], [^\r\n]*" . "Date: D")
                    ("^\\(Resent-\\)?Message-Id: [^\r\n]*" . "\\1Message-Id: M")
                    ("^Resent-Date: [^\r\n]*" . "Resent-Date: D")))
      (setq said (replace-regexp-in-string (car pair) (cdr pair) said)))
    said))

(defun smtpmail-wire-copy-normal (copy)
  "Return COPY, octets of a file copy or nil, without what differs."
  (smtpmail-message-tests--normal copy))

;;;; Exceptions

(defun smtpmail-wire--recipients (said)
  "Return the lines of RCPT in SAID."
  (let ((start 0) lines)
    (while (string-match "^RCPT TO:[^\r\n]*\r\n" said start)
      (push (match-string 0 said) lines)
      (setq start (match-end 0)))
    (nreverse lines)))

(defun smtpmail-wire--replace-recipients (said lines)
  "Return SAID with LINES in place of those of RCPT."
  (if (string-match "\\(?:^RCPT TO:[^\r\n]*\r\n\\)+" said)
      (replace-match (apply #'concat lines) t t said)
    said))

(defun smtpmail-wire--map-said (function result)
  "Return RESULT with FUNCTION applied to what each connection said."
  (plist-put (copy-sequence result) :said
             (mapcar function (plist-get result :said))))

(defconst smtpmail-wire-exceptions
  '((recipients
     "§3 #17: the last recipient first, and each as often as it is named"
     smtpmail-wire--except-order)
    (addresses
     "§3 #17: groups, quoted local parts and the like are cut at blanks and commas"
     smtpmail-wire--except-says)
    (line-ends
     "§3 #19: CR LF in the buffer becomes CR CR LF, and a lonely CR stays"
     smtpmail-wire--except-line-ends)
    (mail-parameters
     "§3 #19: SIZE counts characters, and 8-bit text goes without BODY=8BITMIME"
     smtpmail-wire--except-mail-parameters)
    (aliases
     "§2.2 step 4: without a file of aliases, `mail-aliases' t is an error"
     smtpmail-wire--except-says)
    (injection
     "§3 #18: a line break in an address adds a command"
     smtpmail-wire--except-refuses)
    (no-sender
     "§3 #15: without a sender, \"Wrong type argument\" is the error"
     smtpmail-wire--except-refuses)
    (not-ascii
     "§3 #17: an address beyond ASCII becomes an encoded word in RCPT"
     smtpmail-wire--except-refuses)
    (pipelined
     "§3 #22: nothing is pipelined; where it is, DATA is out before RCPT is refused"
     smtpmail-wire--except-pipelined)
    (error-names-command
     "§3 #15: the error does not say what the server refused"
     smtpmail-wire--except-error))
  "Where the built-in is wrong: (NAME REASON FUNCTION).
FUNCTION makes of what the built-in did what has to be done.  It is
called with a result as of `smtpmail-wire-send-case', whose :said is
normal, and with the arguments that the case gives.")

(defun smtpmail-wire-apply-exception (exception result)
  "Return what RESULT has to be, by EXCEPTION."
  (pcase-let* ((`(,name . ,arguments) (ensure-list exception))
               (`(,_reason ,function)
                (or (alist-get name smtpmail-wire-exceptions)
                    (error "No exception %s" name))))
    (apply function result arguments)))

(defun smtpmail-wire--except-order (result)
  "Return RESULT with the recipients in order, each once."
  (smtpmail-wire--map-said
   (lambda (said)
     (smtpmail-wire--replace-recipients
      said (delete-dups (nreverse (smtpmail-wire--recipients said)))))
   result))

(defun smtpmail-wire--except-says (result header &rest addresses)
  "Return RESULT as if the small mail with HEADER had gone to ADDRESSES."
  (append
   (list
    :connections 1 :error nil
    :said
    (list
     (concat
      "EHLO " (system-name) "\r\nMAIL FROM:<me@example.org>\r\n"
      (mapconcat (lambda (address) (format "RCPT TO:<%s>\r\n" address))
                 addresses "")
      "DATA\r\n"
      (replace-regexp-in-string
       "\n" "\r\n"
       (concat "Date: D\nMessage-Id: M\nFrom: Me Myself <me@example.org>\n"
               header "\nHello\n"))
      ".\r\nQUIT\r\n")))
   result))

(defun smtpmail-wire--except-refuses (result error &rest said)
  "Return RESULT as if ERROR had come after each of SAID, one a connection."
  (append (list :connections (length said) :error error :said said) result))

(defun smtpmail-wire--except-error (result)
  "Return RESULT with the command that the server refused in the error."
  (let ((error (plist-get result :error))
        (said (car (plist-get result :said))))
    (cond
     ((not error))
     ((string-suffix-p " in response to ." error)
      (setq error (concat (substring error 0 -1) "the message")))
     ((and (string-match "\\`Sending failed: [45][0-9][0-9] " error)
           (not (string-search " in response to " error))
           ;; Its argument too, if it is a recipient.
           (string-match "^\\(RCPT TO:.*\\|MAIL FROM\\)[^\r\n]*\r\nQUIT\r\n\\'" said))
      (setq error (concat error " in response to "
                          (string-trim-right (match-string 1 said))))))
    (append (list :error error) result)))

(defun smtpmail-wire--except-line-ends (result)
  "Return RESULT with one kind of line end in the text."
  (smtpmail-wire--map-said
   (lambda (said)
     (replace-regexp-in-string
      "\r\\([^\n]\\)" "\r\n\\1"
      (replace-regexp-in-string "\r\r\n" "\r\n" said t t)
      t))
   result))

(defun smtpmail-wire--except-mail-parameters (result)
  "Return RESULT with the octets of the text as SIZE, and BODY where due."
  (smtpmail-wire--map-said
   (lambda (said)
     (if-let ((text (smtpmail-wire--text said)))
         (replace-regexp-in-string
          "\\(\\`EHLO .*\r\nMAIL FROM:<.*>\\).*?\\(\r?\\)$"
          (concat "\\1 SIZE=octets"
                  (and (string-match-p "[^[:ascii:]]" text) " BODY=8BITMIME")
                  "\\2")
          said)
       said))
   result))

(defun smtpmail-wire--except-pipelined (result)
  "Return RESULT with DATA before QUIT where the one recipient was refused."
  (smtpmail-wire--map-said
   (lambda (said)
     (replace-regexp-in-string "\\(^RCPT TO:.*\r\n\\)QUIT\r\n\\'"
                               "\\1DATA\r\nQUIT\r\n" said))
   result))

;;;; The mails

(defconst smtpmail-wire-corpus-settings
  '((setq send-mail-function #'smtpmail-send-it
          message-send-mail-function #'smtpmail-send-it
          message-resend-hook nil
          message-signature nil
          message-interactive t
          message-confirm-send nil
          message-auto-save-directory nil
          message-kill-buffer-on-exit nil
          message-setup-hook nil
          message-default-charset 'iso-8859-1
          message-user-fqdn "example.org"
          mail-signature nil
          mail-setup-hook nil
          mail-interactive t
          message-directory temporary-file-directory
          user-mail-address "me@example.org"
          user-full-name "Me Myself"
          auth-sources nil
          smtpmail-stream-type 'plain
          smtpmail-retries 1
          inhibit-message t))
  "What both Emacsen evaluate first.")

(defun smtpmail-wire--case (name text &rest properties)
  "Return the case NAME with TEXT and PROPERTIES.
Its variables have the defaults of all cases behind them."
  (let* ((case (append (list :name name :text text) properties))
         (own (plist-get case :variables)))
    (plist-put case :variables
               (append own
                       (cl-remove-if (lambda (cell) (assq (car cell) own))
                                     smtpmail-message-tests--defaults)))))

(defconst smtpmail-wire--prepared-exceptions
  '((aliases recipients) (resent recipients) (rmail-resend recipients)
    (bcc recipients) (fcc recipients) (multipart recipients)
    (blank-subject recipients))
  "The exceptions for the mails of smtpmail-message-corpus.el, by name.")

(defun smtpmail-wire--prepared ()
  "Return the mails of smtpmail-message-corpus.el as cases."
  (mapcar (lambda (mail)
            (smtpmail-wire--case
             (nth 0 mail) (nth 1 mail)
             :variables (nthcdr 2 mail)
             :exceptions (alist-get (nth 0 mail)
                                    smtpmail-wire--prepared-exceptions)))
          (smtpmail-message-tests--corpus)))

(defun smtpmail-wire--body (name body &rest properties)
  "Return the case NAME, a plain mail with BODY, and PROPERTIES."
  (apply #'smtpmail-wire--case name
         (smtpmail-message-tests--mail "To: a@x.org\nSubject: S\n" body)
         properties))

(defun smtpmail-wire--to (name header &rest properties)
  "Return the case NAME, a mail with the lines HEADER, and PROPERTIES."
  (apply #'smtpmail-wire--case name
         (smtpmail-message-tests--mail header) properties))

(defun smtpmail-wire--bodies ()
  "Return cases of what a text may be."
  (let ((body #'smtpmail-wire--body)
        (raw (string-to-multibyte "\300\377\200")))
    `(,(funcall body 'crlf "one\r\ntwo\r\n\r\n.three\r\n" :exceptions '(line-ends))
      ,(funcall body 'lonely-cr "one\rtwo\n" :exceptions '(line-ends))
      ,(funcall body 'cr-at-end "one\r" :exceptions '(line-ends))
      ,(funcall body 'blank-lines "\n\n\none\n\n\n\n")
      ,(funcall body 'only-dot ".")
      ,(funcall body 'dots-at-end "one\n.\n..\n.")
      ,(funcall body 'dots-everywhere
                (mapconcat (lambda (n) (make-string n ?.)) (number-sequence 0 40) "\n"))
      ,(funcall body 'white-space " \n\t\none \t\n\f\n\v\n")
      ,(funcall body 'control-characters "\1\2\e[0m\b\177\n")
      ,(funcall body 'from-lines "From me\n>From you\n From\nFrom: x\n")
      ,(funcall body 'smtp-in-text "QUIT\nRSET\nDATA\n.\nMAIL FROM:<x>\n")
      ,(funcall body 'line-of-998 (concat (make-string 998 ?x) "\n"))
      ,(funcall body 'line-of-999 (concat (make-string 999 ?x) "\n"))
      ,(funcall body 'line-of-100000 (concat (make-string 100000 ?x) "\n.y\n"))
      ,(funcall body 'long-line-utf-8 (concat (make-string 3000 ?ü) "\n"))
      ,(funcall body 'many-lines
                (mapconcat (lambda (n) (format ".%d" n)) (number-sequence 1 5000) "\n"))
      ;; Ours goes by a file from 256 KiB on.
      ,(funcall body 'large-ascii
                (mapconcat (lambda (n) (format ".%060d" n)) (number-sequence 1 5000) "\n"))
      ,(funcall body 'large-utf-8
                (mapconcat (lambda (n) (format "ü%060d" n)) (number-sequence 1 5000) "\n"))
      ,(funcall body 'large-latin-1
                (mapconcat (lambda (n) (format "ü%060d" n)) (number-sequence 1 5000) "\n")
                :variables '((smtpmail-code-conv-from . iso-8859-1)))
      ,@(cl-loop
         for (coding . text)
         in '((utf-8 . "Grüße, 世界 🎉") (iso-8859-1 . "Grüße") (iso-8859-15 . "5 €")
              (windows-1252 . "„Grüße“ €") (koi8-r . "Привет") (gb18030 . "世界")
              (big5 . "世界") (shift_jis . "世界") (euc-kr . "안녕")
              (iso-2022-jp . "世界\nあいう") (utf-8-unix . "ü") (utf-8-dos . "ü")
              (iso-8859-1-dos . "ü") (utf-8-emacs . "ü世") (emacs-internal . "ü世")
              (undecided . "ü") (raw-text . "x"))
         collect (funcall body (intern (format "coding-%s" coding))
                          (concat text "\n.\n" text "\n")
                          :variables `((smtpmail-code-conv-from . ,coding))))
      ,(funcall body 'raw-bytes (concat raw "\n." raw "\n")
                :variables '((smtpmail-code-conv-from . raw-text)))
      ,(funcall body 'raw-bytes-utf-8 (concat raw "ü\n")
                :variables '((smtpmail-code-conv-from . utf-8)))
      ,(funcall body 'raw-bytes-emacs-internal (concat raw "ü\n")
                :variables '((smtpmail-code-conv-from . emacs-internal)))
      ,(funcall body 'unencodable "ü世\n"
                :variables '((smtpmail-code-conv-from . iso-8859-1))
                :answers '(utf-8))
      ,(funcall body 'unencodable-unanswered "ü世\n"
                :variables '((smtpmail-code-conv-from . iso-8859-1)))
      ,(funcall body 'sendmail-coding-system "Grüße\n"
                :variables '((sendmail-coding-system . iso-8859-1)
                             (default-sendmail-coding-system . iso-8859-1)))
      ,(funcall body 'default-coding-system "Grüße\n"
                :variables '((default-sendmail-coding-system . utf-8)))
      ,(smtpmail-wire--to 'quoted-printable
                          "To: a@x.org\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n")
      ,(smtpmail-wire--case
        'quoted-printable-text
        (smtpmail-message-tests--mail
         "To: a@x.org\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n"
         "Gr=C3=BC=C3=9Fe =\n.=20\n..=3D\n"))
      ,(smtpmail-wire--case
        'flowed
        (smtpmail-message-tests--mail
         "To: a@x.org\nMIME-Version: 1.0\nContent-Type: text/plain; format=flowed; delsp=yes\n"
         "A line that goes on \nhere.\n > quoted \n-- \nMe \n"))
      ,(smtpmail-wire--case
        'octets-of-latin-1
        (encode-coding-string
         (smtpmail-message-tests--mail
          "From: f@x.org\nTo: a@x.org\nMIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n"
          "Grüße\n.ü\n")
         'iso-8859-1))
      ,(smtpmail-wire--case
        'octets-of-all-values
        (concat "From: f@x.org\nTo: a@x.org\n--text follows this line--\n"
                (apply #'unibyte-string
                       (cl-loop for octet from 1 to 255
                                unless (memq octet '(10 13)) collect octet))
                "\n")))))

(defun smtpmail-wire--headers ()
  "Return cases of what a header may be."
  (let ((to #'smtpmail-wire--to))
    `(,(funcall to 'two-recipients "To: a@x.org, b@x.org\n"
                :exceptions '(recipients))
      ,(funcall to 'many-recipients
                (concat "To: " (mapconcat (lambda (n) (format "user%d@x.org" n))
                                          (number-sequence 1 150) ",\n ")
                        "\n")
                :exceptions '(recipients))
      ,(funcall to 'twice "To: a@x.org, b@x.org\nCc: a@x.org\n"
                :exceptions '(recipients))
      ,(funcall to 'bcc-only "Bcc: b@x.org\nSubject: S\n")
      ,(funcall to 'bcc-continued
                "To: a@x.org\nBcc: b@x.org,\n c@x.org\nSubject: S\nBCC:\n d@x.org\nX-After: 1\n"
                :exceptions '(recipients))
      ,(funcall to 'no-recipients "Subject: S\n")
      ,(funcall to 'names "To: \"Doe, J.\" <j@x.org>, K <k@x.org> (a, comment), l@x.org (L)\n"
                :exceptions '(recipients))
      ,(funcall to 'encoded-name "From: =?utf-8?Q?J=C3=B6rg?= <f@x.org>\nTo: =?utf-8?Q?J=C3=B6rg?= <a@x.org>\n")
      ,(funcall to 'names-utf-8 "From: Jörg <f@x.org>\nTo: Jörg <a@x.org>\nCc: \"Größe\" <c@x.org>\nSubject: Grüße あ\n"
                :exceptions '(recipients))
      ,(funcall to 'names-latin-1 "From: Jörg <f@x.org>\nTo: Jörg <a@x.org>\n"
                :variables '((smtpmail-code-conv-from . iso-8859-1)))
      ,(funcall to 'folded "To: A\n <a@x.org>\nSubject: one\n two\n\tthree\nReferences: <a@b>\n <c@d>\n")
      ,(funcall to 'long-references
                (concat "To: a@x.org\nReferences: "
                        (mapconcat (lambda (n) (format "<%030d@x.org>" n))
                                   (number-sequence 1 60) " ")
                        "\n"))
      ,(funcall to 'own-date-and-id "To: a@x.org\nDate: yesterday\nMessage-ID: <mine@x.org>\nFrom: f@x.org\n")
      ,(funcall to 'x-fields "To: a@x.org\nX-To: no\nX-Bcc: no\nX-Mailer: x\nResent-From: n@x.org\n")
      ,(funcall to 'sendto-domain "To: a, b@x.org\n"
                :variables '((smtpmail-sendto-domain . "y.org"))
                :exceptions '(recipients))
      ,(funcall to 'local-domain "To: a@x.org\n"
                :variables '((smtpmail-local-domain . "example.com")))
      ,(funcall to 'envelope-nil "To: a@x.org\nFrom: f@x.org\n"
                :variables '((mail-specify-envelope-from . t)
                             (mail-envelope-from)))
      ,(funcall to 'from-with-name "To: a@x.org\nFrom: F G <f@x.org>\n"
                :variables '((user-mail-address . "me")))
      ,(funcall to 'sender-field "To: a@x.org\nFrom: f@x.org\nSender: s@x.org\n")
      ,(funcall to 'resent-bcc "From: f@x.org\nTo: a@x.org\nResent-To: r@x.org\nResent-Bcc: s@x.org,\n t@x.org\n"
                :exceptions '(recipients))
      ;; Where the built-in is wrong.
      ,@(cl-loop
         for (name header . addresses)
         in '((group "To: Friends: a@x.org, B <b@x.org>;\nCc: c@x.org\n"
                     "a@x.org" "b@x.org" "c@x.org")
              (empty-group "To: undisclosed-recipients:;\nCc: a@x.org\n" "a@x.org")
              (quoted-local-part "To: \"a b\"@x.org\n" "\"a b\"@x.org"))
         collect (funcall to name header
                          :exceptions `((addresses ,header ,@addresses))))
      ,(funcall to 'aliases-nowhere "To: a@x.org\n"
                :variables '((mail-aliases . t) (mail-personal-alias-file))
                :exceptions '((aliases "To: a@x.org\n" "a@x.org")))
      ,(funcall to 'no-sender "To: a@x.org\n"
                :variables '((user-mail-address . "me"))
                :exceptions
                '((no-sender "No envelope sender: the message has no From, and ‘user-mail-address’ is not an address")))
      ,(funcall to 'recipient-beyond-ascii "To: jörg@x.org\n"
                :exceptions
                `((not-ascii
                   "Sending failed: the server does not take addresses that are not ASCII (no SMTPUTF8)"
                   ,(format "EHLO %s\r\nQUIT\r\n" (system-name)))))
      ,(funcall to 'sender-of-two-lines "To: a@x.org\n"
                :variables '((mail-specify-envelope-from . t)
                             (mail-envelope-from . "e@x.org>\r\nRCPT TO:<x@x.org"))
                :exceptions
                '((injection "Invalid `mail-envelope-from': control character in the address \"e@x.org>\\15\\nRCPT TO:<x@x.org\""))))))

(defun smtpmail-wire--questions ()
  "Return cases of mail mode, with each state of its questions."
  (let ((text (smtpmail-message-tests--mail "To: a@x.org\nSubject: S\n" "Grüße\n")))
    `(,(smtpmail-wire--case 'mail-mode (smtpmail-message-tests--mail "To: a@x.org\nSubject: S\n")
                            :by 'mail)
      ,@(cl-loop for (name value . answers)
                 in '((t t) (mime mime) (nil nil) (query-yes query t)
                      (query-no query nil) (query-unanswered query))
                 collect (smtpmail-wire--case
                          (intern (format "mail-mode-nonascii-%s" name)) text
                          :by 'mail :answers answers
                          :variables `((mail-send-nonascii . ,value))))
      ,(smtpmail-wire--case 'mail-mode-unencodable
                            (smtpmail-message-tests--mail "To: a@x.org\n" "ü世\n")
                            :by 'mail :answers '(iso-2022-jp-2 utf-8)
                            :variables '((smtpmail-code-conv-from . iso-8859-1)))
      ,(smtpmail-wire--case 'mail-mode-mml
                            (smtpmail-message-tests--mail
                             "To: a@x.org\n" "ü\n<#part type=text/html>\n<b>ü</b>\n<#/part>\n")
                            :by 'mail :variables '((mail-encode-mml . t))))))

(defun smtpmail-wire--messages ()
  "Return cases of message mode."
  (cl-flet ((message (name body &rest properties)
              (apply #'smtpmail-wire--case name
                     (smtpmail-message-tests--mail
                      "From: Jörg <f@x.org>\nTo: a@x.org\nSubject: Grüße\n" body)
                     :by 'message properties)))
    (list
     (message 'message "Hello\n.\n")
     (message 'message-utf-8 "Grüße, 世界\n.\n")
     (message 'message-latin-1 "Grüße\n"
              :variables '((mm-coding-system-priorities iso-8859-1 utf-8)))
     (message 'message-8bit "Grüße\n.ü\n"
              :variables '((mm-body-charset-encoding-alist
                            (iso-8859-1 . 8bit) (utf-8 . 8bit))))
     (message 'message-quoted-printable "Grüße \n.\n=\n"
              :variables '((mm-body-charset-encoding-alist
                            (iso-8859-1 . quoted-printable)
                            (utf-8 . quoted-printable))))
     (message 'message-base64 "Grüße\n"
              :variables '((mm-body-charset-encoding-alist (utf-8 . base64)
                                                           (iso-8859-1 . base64))))
     (message 'message-no-newline "Hello")
     (message 'message-empty "")
     (message 'message-long-line (concat (make-string 2000 ?x) "\n"))
     (message 'message-alternative
              "<#multipart type=alternative>\n<#part type=text/plain>\nGrüße\n.\n<#part type=text/html>\n<b>Grüße</b>\n<#/multipart>\n")
     (message 'message-attachment
              "Grüße\n<#part type=\"application/octet-stream\" filename=\"@FILE@\" disposition=attachment>\n<#/part>\n"
              :file (apply #'unibyte-string
                           (cl-loop for n from 0 to 5000 collect (% (* n 7) 256))))
     (message 'message-attached-text
              "See\n<#part type=\"text/plain\" filename=\"@FILE@\" disposition=inline>\n<#/part>\n"
              :file "one\n.\ntwo")
     (message 'message-attachment-named
              "See\n<#part type=\"text/plain\" filename=\"@FILE@\" recipient-filename=\"Grüße.txt\" description=\"Grüße\">\n<#/part>\n"
              :file "x\n")
     (message 'message-large-attachment
              "See\n<#part type=\"application/octet-stream\" filename=\"@FILE@\" disposition=attachment>\n<#/part>\n"
              :file (apply #'unibyte-string
                           (cl-loop for n from 0 to 400000 collect (% (* n 7) 251))))
     (smtpmail-wire--case
      'message-bcc
      (smtpmail-message-tests--mail
       "From: f@x.org\nTo: a@x.org\nCc: Jörg <c@x.org>\nBcc: b@x.org,\n d@x.org\nSubject: S\n")
      :by 'message :exceptions '(recipients))
     (smtpmail-wire--case
      'message-fcc
      (smtpmail-message-tests--mail
       "From: f@x.org\nTo: a@x.org\nFcc: @FCC@\nSubject: Grüße\n" "Grüße\n")
      :by 'message :variables '((message-fcc-handler-function . message-output)))
     (smtpmail-wire--case
      'message-no-recipients
      (smtpmail-message-tests--mail "From: f@x.org\nSubject: S\n")
      :by 'message)
     (smtpmail-wire--case
      'resend "From: f@x.org\nTo: a@x.org\nBcc: b@x.org\nSubject: S\nDate: x\nMessage-ID: <x@y>\n\nHello\n.\n"
      :by 'resend :exceptions '(recipients))
     (smtpmail-wire--case
      'resend-octets
      (encode-coding-string "From: f@x.org\nTo: a@x.org\nSubject: S\nDate: x\nMessage-ID: <x@y>\n\nGr\374\337e \377\n"
                            'raw-text)
      :by 'resend :answers '(t t) :exceptions '(recipients))
     (smtpmail-wire--case
      'resend-delivered
      "From MAILER x\nReceived: x\nReturn-Path: <x>\nDelivered-To: me\nFrom: f@x.org\nTo: a@x.org\nResent-To: old@x.org\n\nHello"
      :by 'resend :exceptions '(recipients)))))

(defun smtpmail-wire-corpus ()
  "Return all cases."
  (append (smtpmail-wire--prepared) (smtpmail-wire--bodies)
          (smtpmail-wire--headers) (smtpmail-wire--questions)
          (smtpmail-wire--messages)))

(defun smtpmail-wire-corpus-logins ()
  "Return a case with a login."
  (let ((file (make-temp-file "smtpmail-wire-authinfo")))
    (add-hook 'kill-emacs-hook (lambda () (delete-file file)))
    (write-region (concat "machine 127.0.0.1 login alice password "
                          smtpmail-test-canary "\n")
                  nil file nil 'quiet)
    (list (smtpmail-wire--to 'login "To: a@x.org\n"
                             :variables `((auth-sources ,file)
                                          (auth-source-do-cache))))))

(defun smtpmail-wire-corpus-few (&optional variables)
  "Return a few cases with VARIABLES, for what does not depend on the mail."
  (list (smtpmail-wire--to 'one "To: a@x.org\n" :variables variables)
        (smtpmail-wire--body 'eight-bit "Grüße\n.\n" :variables variables)
        (smtpmail-wire--case 'message
                             (smtpmail-message-tests--mail "To: a@x.org\nSubject: S\n")
                             :by 'message :variables variables)))

(provide 'smtpmail-wire-corpus)

;;; smtpmail-wire-corpus.el ends here
