;;; smtpmail-methods.el --- SMTP AUTH exchanges written in Lisp  -*- lexical-binding: t -*-

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

;; The native engine speaks SASL itself.  This file keeps the other way
;; alive: `smtpmail-try-auth-method', the generic function to which users
;; and packages add mechanisms, and the small functions such methods call.
;;
;; What may not live here: where user names and passwords come from
;; (smtpmail-auth.el), and how bytes travel: the two functions below all
;; of this, `smtpmail-send-command' and `smtpmail-read-response', belong
;; to smtpmail-speak.el.
;;
;; RFC 4954 (SMTP AUTH), RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5).

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)

(autoload 'rfc2104-hash "rfc2104")
;; Only who logs in needs it, or has loaded the built-in smtpmail.
(autoload 'smtpmail-auth-user-method-p "smtpmail-methods-owner")
(autoload 'smtpmail-methods--built-in-p "smtpmail-methods-owner")

(declare-function smtpmail-send-command "smtpmail-speak" (process command))
(declare-function smtpmail-read-response "smtpmail-speak" (process))

;;;; Text that strangers sent

(defconst smtpmail-visible-text-limit 300
  "Longest text of a server shown in a prompt or an error, in characters.
An echo area of three lines holds about as much.")

(defun smtpmail-visible-character (char)
  "Return CHAR as a string, as an escape if it would not be seen as it is."
  (cond
   ((eq (char-charset char) 'eight-bit)
    (format "\\x%02x" (logand char #xff)))
   ((memq (get-char-code-property char 'general-category)
          '(Cc Cf Zl Zp Cs Co Cn))
    (format "\\x%02x" char))
   (t (string char))))

(defun smtpmail-visible-text (text)
  "Return TEXT as it may be shown: on one line, bounded, nothing hidden.
Line ends become blanks.  Control and format characters (a reply could
hide what follows with a carriage return or turn it around with U+202E)
become escapes such as \\x1b."
  (let* ((line (replace-regexp-in-string
                "[ \t]*[\r\n]+[ \t]*" " "
                (string-trim (substring-no-properties text))))
         (cut (if (> (length line) smtpmail-visible-text-limit)
                  (concat (substring line 0 smtpmail-visible-text-limit) "...")
                line)))
    ;; Nearly all text is such, and lists show a lot of it.
    (if (string-match-p "\\`[ -~]*\\'" cut)
        cut
      (mapconcat #'smtpmail-visible-character cut ""))))

;;;; Replies

(defun smtpmail-response-code (string)
  "Return the reply code of the last line of the reply STRING, or nil."
  (when (and string (string-match "^\\([0-9]+\\) " string))
    (string-to-number (match-string 1 string))))

(defun smtpmail-ok-p (response &optional code)
  "Return non-nil if RESPONSE, a list (CODE LINE...), is no refusal.
With CODE non-nil, it must be exactly that reply."
  (and (integerp (car response))
       (< (car response) 400)
       (or (null code)
           (= code (car response)))))

(defun smtpmail-response-text (response)
  "Return the lines of RESPONSE, a list (CODE LINE...), as one string."
  (mapconcat #'identity (cdr response) "\n"))

(defun smtpmail-intersection (list1 list2)
  "Return the elements of LIST1 that are in LIST2, in the order of LIST2."
  (seq-filter (lambda (element) (memq element list1)) list2))
(make-obsolete 'smtpmail-intersection 'seq-intersection "28.1")

;;;; Commands

(defconst smtpmail-methods--open-verbs
  '("." "BDAT" "DATA" "EHLO" "ETRN" "EXPN" "HELO" "HELP" "MAIL" "NOOP" "ONEX"
    "QUIT" "RCPT" "RSET" "STARTTLS" "VERB" "VRFY" "XUSR")
  "Commands whose arguments hold no secret.
Any other line may be the answer to a challenge, which does.")

(defvar smtpmail-methods--exchange nil
  "The AUTH command whose exchange is going on, without its arguments, or nil.")

(defun smtpmail-methods-command-name (line)
  "Return how an error names LINE, a command or an answer to a challenge.
Only the mechanism is told of an AUTH exchange: the rest is the password
in base64."
  (let* ((words (split-string line "[ \t\r\n]+" t))
         (verb (let ((case-fold-search nil))
                 (with-case-table ascii-case-table
                   (upcase (or (car words) ""))))))
    (cond
     ((equal verb "AUTH")
      (string-join (seq-take words 2) " "))
     (smtpmail-methods--exchange)
     ((member verb smtpmail-methods--open-verbs) line)
     (t "AUTH"))))

(defun smtpmail-methods--secrets-of (line)
  "Return the texts in LINE, a part of an AUTH exchange, that nobody may see."
  (let* ((encoded (car (last (split-string line " " t))))
         (decoded (and encoded
                       (ignore-errors (base64-decode-string encoded))))
         (password (and decoded
                        (car (last (split-string decoded "[\0\1 ]" t))))))
    (seq-filter
     ;; Shorter ones would tear holes into the words of the server.
     (lambda (text) (and text (> (length text) 3)))
     (list encoded decoded password
           (and password (base64-encode-string password t))))))

(defun smtpmail-methods--refusal (response line)
  "Return the error text for RESPONSE, drawn by LINE.
A server may repeat what it was sent, so the secrets of an AUTH exchange
are taken out of its words, too."
  (let ((name (smtpmail-methods-command-name line))
        (text (smtpmail-response-text response)))
    (when (string-prefix-p "AUTH" name t)
      (unless (equal name line)
        (dolist (secret (smtpmail-methods--secrets-of line))
          (setq text (string-replace secret "..." text)))))
    (format "%s in response to %s"
            (if (string-empty-p text) "No reply" (smtpmail-visible-text text))
            (smtpmail-visible-text name))))

(defun smtpmail-command-or-throw (process string &optional code)
  "Send the command STRING to PROCESS and return the reply, (CODE LINE...).
If the server refuses, or CODE is non-nil and the reply is another one,
throw the error text to `done'."
  (smtpmail-send-command process string)
  (let* ((response (smtpmail-read-response process))
         (name (smtpmail-methods-command-name string)))
    (if (smtpmail-ok-p response code)
        (setq smtpmail-methods--exchange
              ;; RFC 4954 §4: 334 asks for more, all else ends the exchange.
              (and (eql (car response) 334) name))
      (let ((refusal (smtpmail-methods--refusal response string)))
        (setq smtpmail-methods--exchange nil)
        (throw 'done refusal)))
    response))

;;;; The mechanisms of the stock library

(defun smtpmail-methods--base64 (&rest texts)
  "Return TEXTS joined, in UTF-8 (RFC 4616 §2) and then base64, on one line."
  (let* ((bytes (mapconcat (lambda (text)
                             (if (multibyte-string-p text)
                                 (encode-coding-string text 'utf-8-unix)
                               text))
                           texts ""))
         (encoded (base64-encode-string bytes t)))
    (clear-string bytes)
    encoded))

(defun smtpmail-methods--challenge (response)
  "Return the challenge in RESPONSE, a reply 334, decoded.
Throw to `done' if it is none."
  (or (ignore-errors
        (base64-decode-string
         (string-trim (substring (cadr response) (length "334 ")))))
      (throw 'done "The server sent a challenge that is not base64")))

(defun smtpmail-methods--cram-md5 (process user password)
  "Authenticate as USER with PASSWORD over PROCESS by CRAM-MD5 (RFC 2195)."
  (let* ((challenge (smtpmail-methods--challenge
                     (smtpmail-command-or-throw process "AUTH CRAM-MD5" 334)))
         (key (encode-coding-string password 'utf-8-unix))
         (digest (rfc2104-hash 'md5 64 16 key challenge)))
    (smtpmail-command-or-throw
     process (smtpmail-methods--base64 user " " digest) 235)))

(defun smtpmail-methods--login (process user password)
  "Authenticate as USER with PASSWORD over PROCESS by LOGIN."
  (smtpmail-command-or-throw process "AUTH LOGIN" 334)
  (smtpmail-command-or-throw process (smtpmail-methods--base64 user) 334)
  (smtpmail-command-or-throw process (smtpmail-methods--base64 password) 235))

(defun smtpmail-methods--plain (process user password)
  "Authenticate as USER with PASSWORD over PROCESS by PLAIN (RFC 4616)."
  (when (or (string-search "\0" user) (string-search "\0" password))
    ;; NUL separates the fields: with one inside, others would be sent.
    (throw 'done "AUTH PLAIN: NUL in the user name or password"))
  (smtpmail-command-or-throw
   process
   (concat "AUTH PLAIN " (smtpmail-methods--base64 "\0" user "\0" password))
   235))

(defun smtpmail-methods--xoauth2 (process user password)
  "Authenticate as USER over PROCESS by XOAUTH2; PASSWORD is the token.
A server explains its refusal in a challenge first, which must be
answered, by an empty line, to get the refusal itself."
  (let ((response
         (smtpmail-command-or-throw
          process
          (concat "AUTH XOAUTH2 "
                  (smtpmail-methods--base64
                   "user=" user "\1auth=Bearer " password "\1\1")))))
    (if (eql (car response) 334)
        (smtpmail-command-or-throw process "" 235)
      response)))

(defconst smtpmail-methods--own-mechanisms
  '((cram-md5 . smtpmail-methods--cram-md5)
    (login . smtpmail-methods--login)
    (plain . smtpmail-methods--plain)
    (xoauth2 . smtpmail-methods--xoauth2))
  "Mechanisms with a function of PROCESS, USER and PASSWORD in this file.")

;;;; The generic function

(defun smtpmail-methods--table ()
  "Return the methods of `smtpmail-try-auth-method', if it exists."
  (let ((generic (get 'smtpmail-try-auth-method 'cl--generic)))
    (and generic (cl--generic-method-table generic))))

(defun smtpmail-methods--own-p (method)
  "Return non-nil if METHOD was defined by this file."
  (eq (cl--generic-method-function method)
      (get 'smtpmail-try-auth-method 'smtpmail-methods--own)))

(defun smtpmail-methods--find (specializers)
  "Return the primary method with SPECIALIZERS, or nil."
  (seq-find (lambda (method)
              (and (null (cl--generic-method-qualifiers method))
                   (equal specializers
                          (cl--generic-method-specializers method))))
            (smtpmail-methods--table)))

(dolist (method (smtpmail-methods--table))
  (when (smtpmail-methods--built-in-p method)
    (loadhist-unload-element
     `(cl-defmethod smtpmail-try-auth-method
                    ,(cl--generic-method-qualifiers method)
                    . ,(cl--generic-method-specializers method)))))

;; Without a default body, this keeps the methods that are there.
(cl-defgeneric smtpmail-try-auth-method (process mech user password)
  "Authenticate over PROCESS as USER with PASSWORD by the mechanism MECH.
MECH is a symbol in lower case, as in `smtpmail-auth-supported'.  A method
sends and reads with `smtpmail-command-or-throw' and fails by throwing a
text to `done'.  Methods of users run instead of the native exchange.")

;; One method on `symbol', less specific than any `eql' specializer however
;; it is spelt: a method of the user always comes first, and
;; `cl-call-next-method' in it gets here.
(let ((present (smtpmail-methods--find '(t symbol t t))))
  (when (or (null present) (smtpmail-methods--own-p present))
    (cl-defmethod smtpmail-try-auth-method (process (mech symbol) user password)
      (let ((exchange (alist-get mech smtpmail-methods--own-mechanisms)))
        (if exchange
            (funcall exchange process user password)
          (condition-case nil
              (cl-call-next-method)     ; a default method of the user
            (cl-no-next-method (error "Mechanism %S not implemented" mech))))))
    (put 'smtpmail-try-auth-method 'smtpmail-methods--own
         (cl--generic-method-function
          (smtpmail-methods--find '(t symbol t t))))))

(provide 'smtpmail-methods)

;;; smtpmail-methods.el ends here
