;;; smtpmail-message-corpus.el --- Mails that every smtpmail sends alike  -*- lexical-binding: t; -*-

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

;; Mails as people write them, for comparisons with Emacs's own smtpmail:
;; how they are prepared (smtpmail-message-parity-tests.el) and what of
;; them goes over the wire (smtpmail-wire-parity-tests.el).  No test lives
;; here.

;;; Code:

(require 'ert)
(require 'cl-lib)
(require 'message)
(load (expand-file-name "smtpmail-message-fixtures"
                        (file-name-directory
                         (or load-file-name buffer-file-name)))
      nil t)

(defun smtpmail-message-tests--mml ()
  "Return a multipart mail as Message mode hands it over, in bytes."
  (let (text)
    (with-temp-buffer
      (let ((message-send-mail-function
             (lambda () (setq text (buffer-substring-no-properties
                                    (point-min) (point-max)))))
            (user-mail-address "me@example.org")
            (message-interactive nil)
            (message-required-mail-headers '(From Subject))
            (message-send-mail-partially-limit nil)
            (message-confirm-send nil)
            (message-setup-hook nil)
            (message-signature nil))
        (message-mode)
        (insert "To: a@x.org, \"Doe, J\" <j@x.org>\nBcc: b@x.org\n"
                "Subject: Grüße\nFrom: Jörg <f@x.org>\n"
                mail-header-separator "\n"
                "<#multipart type=mixed>\n"
                "<#part type=text/plain>\nGrüße\n.\n..dots\n"
                "<#part type=text/html>\n<b>x</b>\n<#/multipart>\n")
        (message-send-mail)))
    (should (stringp text))
    (should-not (multibyte-string-p text))
    text))

(defun smtpmail-message-tests--corpus ()
  "Return a list (NAME TEXT VARIABLES), VARIABLES being an alist.
In TEXT, @FCC@ stands for the name of a file."
  (let ((mail #'smtpmail-message-tests--mail)
        (head "To: a@x.org\nSubject: S\n"))
    `((ascii ,(funcall mail head))
      (utf-8 ,(funcall mail "To: Jörg <a@x.org>\nSubject: Grüße\n" "Grüße あ\n"))
      (latin-1 ,(funcall mail head "Grüße\n")
               (smtpmail-code-conv-from . iso-8859-1))
      (latin-1-header ,(funcall mail "To: a@x.org\nSubject: Grüße\n")
                      (smtpmail-code-conv-from . iso-8859-1))
      (japanese ,(funcall mail "To: a@x.org\nSubject: あ\n" "あいう\n")
                (smtpmail-code-conv-from . iso-2022-jp))
      (no-mime ,(funcall mail head "Grüße\n") (mail-send-nonascii))
      (mime-t ,(funcall mail head "Grüße\n") (mail-send-nonascii . t))
      (mime-there ,(funcall mail (concat head "Mime-Version: 1.0\n") "ü\n"))
      (unibyte-utf-8 ,(encode-coding-string
                       (funcall mail (concat head "From: f@x.org\n") "Grüße\n")
                       'utf-8))
      (unibyte-latin-1 ,(encode-coding-string
                         (funcall mail (concat head "From: f@x.org\n")
                                  "Grüße\n.\n")
                         'iso-8859-1))
      (unibyte-from ,(encode-coding-string (funcall mail head "ü\n") 'utf-8)
                    (user-full-name . "Jörg"))
      (multipart ,(smtpmail-message-tests--mml))
      (dots ,(funcall mail head ".\n..\n.x\n\n.\n"))
      (no-final-newline ,(funcall mail head "one\ntwo"))
      (empty-body ,(funcall mail head ""))
      (header-only ,head)
      (no-separator ,(concat head "From: f@x.org\n\nbody: x\n\ny\n"))
      (empty-separator ,(concat head "\nbody\n") (mail-header-separator . ""))
      (aliases ,(funcall mail "To: pals, c@x.org\nCc: ann\nReply-To: ann\n")
               (mail-aliases ("pals" . "a@x.org, ann") ("ann" . "ann@x.org")))
      (aliases-no-file ,(funcall mail "To: pals\n") (mail-aliases))
      (resent ,(funcall mail "Resent-To: r@x.org,\n s@x.org\nResent-Cc: t@x.org\nResent-Bcc: u@x.org\nResent-From: me@x.org\nFrom: f@x.org\nTo: a@x.org\nBcc: b@x.org\n"))
      (rmail-resend ,(concat "Resent-From: me@x.org\nResent-To: r@x.org\n"
                             "Resent-To: s@x.org\nFrom: f@x.org\n"
                             "To: a@x.org\nDate: x\nMessage-Id: <x@y>\n\nHi\n")
                    (mail-aliases))
      (bcc ,(funcall mail "Bcc: b@x.org,\n\tc@x.org,\n  D <d@x.org>\nTo: a@x.org\nbcc: e@x.org\nX-Bcc: no\n"))
      (blank-subject ,(funcall mail "To: a@x.org\nSubject:  \nCc: c@x.org\n"))
      (blank-subject-last ,(funcall mail "To: a@x.org\nSubject:\n"))
      (blank-subject-first ,(funcall mail "Subject: \n \nTo: a@x.org\n"))
      (folded-subject ,(funcall mail "Subject:\n real\nTo: a@x.org\n"))
      (long-subject ,(funcall mail (concat "To: a@x.org\nSubject: "
                                           (make-string 90 ?x) " "
                                           (make-string 90 ?ü) "\n")))
      ,@(cl-loop for (name style full)
                 in '((angles angles "A B") (angles-quoted angles "A. \"\\B\"")
                      (angles-utf-8 angles "Jörg B") (angles-empty angles "")
                      (parens parens "A (b (c)) )d( \\") (nothing nil "A")
                      (parens-utf-8 parens "Jörg (B)")
                      (system-default system-default "A B"))
                 collect `(,name ,(funcall mail head) (mail-from-style . ,style)
                                 (user-full-name . ,full)))
      (envelope ,(funcall mail head) (mail-specify-envelope-from . t)
                (mail-envelope-from . "e@x.org"))
      (envelope-header ,(funcall mail (concat "From: F <f@x.org>\n" head))
                       (mail-specify-envelope-from . t)
                       (mail-envelope-from . header))
      (fcc ,(funcall mail "To: a@x.org\nFcc: @FCC@\nBcc: b@x.org\nSubject: ü\n"
                     "From here\nüx\n\nFrom there"))
      (fcc-latin-1 ,(funcall mail "Fcc: @FCC@\nTo: a@x.org\n" "üx\n")
                   (smtpmail-code-conv-from . iso-8859-1))
      (fcc-crlf ,(funcall mail "Fcc: @FCC@\nTo: a@x.org\n" "üx\n")
                (smtpmail-code-conv-from . utf-8-dos))
      (swallow ,(funcall mail head) (mail-mailer-swallows-blank-line . t)))))

(defconst smtpmail-message-tests--defaults
  '((mail-aliases) (mail-personal-alias-file . "/nonexistent")
    (mail-from-style . angles) (user-full-name . "Me Myself")
    (user-mail-address . "me@example.org") (mail-interactive)
    (smtpmail-code-conv-from) (mail-send-nonascii . mime)
    (mail-specify-envelope-from) (mail-envelope-from)
    (mail-header-separator . "--text follows this line--"))
  "Settings of all cases of the corpus.")

(provide 'smtpmail-message-corpus)

;;; smtpmail-message-corpus.el ends here
