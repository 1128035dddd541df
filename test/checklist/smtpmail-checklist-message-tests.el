;;; smtpmail-checklist-message-tests.el --- Items 11 to 16  -*- lexical-binding: t -*-

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

;; From the mail buffer to what arrives: text, header, recipients, envelope.

;;; Code:

(require 'smtpmail-checklist)

;;;; 11: the same octets as the built-in's

(defconst smtpmail-checklist-message--corpus
  (let ((head "From: Me <me@example.org>\nTo: you@example.net\nSubject: S\nDate: Mon, 01 Jan 2024 00:00:00 +0000\nMessage-ID: <m@example.org>\n"))
    `((ascii ,(smtpmail-test-mail head "Plain\n\ntext\n"))
      (eight-bit ,(smtpmail-test-mail head "Grüße\n"))
      (quoted-printable
       ,(smtpmail-test-mail
         (concat head "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n")
         "Gr=C3=BC=C3=9Fe=\nlong\n"))
      (multipart
       ,(smtpmail-test-mail
         (concat head "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=-=\"\n")
         "--=-=\nContent-Type: text/plain\n\nHi\n--=-=\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\nAAECAwQ=\n--=-=--\n"))
      (dots ,(smtpmail-test-mail head ".\n..\n.x\n\n.\n"))
      (no-final-newline ,(smtpmail-test-mail head "one\ntwo"))
      (empty ,(smtpmail-test-mail head ""))))
  "Names and mail buffers.")

(ert-deftest smtpmail-checklist-11-same-octets ()
  "What arrives is what the built-in would have sent, octet by octet.
smtpmail-message-tests-parity has many more cases, before the wire."
  (smtpmail-test-with-server (builtin "--caps" "SIZE,8BITMIME")
    (smtpmail-checklist-child
     `((load "mail/smtpmail" nil t)
       ,@(smtpmail-test-settings builtin)
       (setq mail-aliases nil)
       (dolist (case ',smtpmail-checklist-message--corpus)
         (with-temp-buffer (insert (cadr case)) (smtpmail-send-it)))
       nil)
     :lisp nil)
    (let ((theirs (mapcar (lambda (message) (alist-get 'bytes message))
                          (smtpmail-test-messages builtin))))
      (smtpmail-test-with-server (server)
        (pcase-dolist (`(,_ ,text) smtpmail-checklist-message--corpus)
          (with-temp-buffer (insert text) (smtpmail-send-it)))
        (let ((ours (mapcar (lambda (message) (alist-get 'bytes message))
                            (smtpmail-test-messages server))))
          (should (= (length theirs) (length smtpmail-checklist-message--corpus)))
          (cl-mapc (lambda (case mine other)
                     (ert-info ((symbol-name (car case)))
                       (should (equal mine other))))
                   smtpmail-checklist-message--corpus ours theirs))))))

(ert-deftest smtpmail-checklist-11-line-ends ()
  "CR LF and bare CR in a text arrive as line ends, where the built-in erred."
  (smtpmail-test-with-server (server)
    (should-not (smtpmail-test-send nil "a\r\nb\rc\n"))
    (should (equal (smtpmail-test-body (smtpmail-test-message server))
                   "a\r\nb\r\nc\r\n"))))

;;;; 12: the header

(ert-deftest smtpmail-checklist-12-missing-fields ()
  "Date, Message-ID, From and MIME fields are added where they are missing."
  (smtpmail-test-with-server (server)
    (should-not (smtpmail-test-send nil "Grüße\n"))
    (should-not (smtpmail-test-send
                 "To: a@example.net\nFrom: x@example.org\nDate: D\nMessage-Id: <i@x>\n"))
    (pcase-let ((`(,first ,second) (smtpmail-test-messages server)))
      (should (equal (smtpmail-checklist-field first "from")
                     "Me Myself <me@example.org>"))
      (should (string-match-p "\\`<[^@ ]+@[^@ ]+>\\'"
                              (smtpmail-checklist-field first "message-id")))
      (should (parse-time-string (smtpmail-checklist-field first "date")))
      (should (equal (smtpmail-checklist-field first "content-transfer-encoding")
                     "8bit"))
      (should (equal (mapcar (lambda (name) (smtpmail-checklist-field second name))
                             '("from" "date" "message-id" "mime-version"))
                     '("x@example.org" "D" "<i@x>" nil))))))

(ert-deftest smtpmail-checklist-12-from-style ()
  "`mail-from-style' decides how From is written."
  (pcase-dolist (`(,style ,from)
                 '((angles "Me Myself <me@example.org>")
                   (parens "me@example.org (Me Myself)")
                   (nil "me@example.org")))
    (smtpmail-test-with-server (server)
      (let ((mail-from-style style))
        (should-not (smtpmail-test-send)))
      (should (equal (smtpmail-checklist-field (smtpmail-test-message server) "from")
                     from)))))

(ert-deftest smtpmail-checklist-12-blanks ()
  "A blank Subject and blank lines in the header go."
  (smtpmail-test-with-server (server)
    (should-not (smtpmail-test-send "To: a@example.net\nSubject: \n\nCc: c@example.net\n"))
    (let ((message (smtpmail-test-message server)))
      (should-not (smtpmail-checklist-field message "subject"))
      (should (equal (smtpmail-checklist-field message "cc") "c@example.net"))
      (should (equal (smtpmail-test-body message) "Hello\r\n")))))

;;;; 13: recipients

(ert-deftest smtpmail-checklist-13-recipients ()
  "To, Cc and Bcc, or the Resent fields alone; groups, quotes, comments; each once."
  (pcase-dolist
      (`(,header ,recipients)
       '(("To: a@x.example, B <b@x.example>\nCc: c@x.example\nBcc: d@x.example,\n e@x.example\nBcc: f@x.example\n"
          ("a@x.example" "b@x.example" "c@x.example" "d@x.example" "e@x.example"
           "f@x.example"))
         ("To: a@x.example\nResent-To: r@x.example\nResent-To: s@x.example\nResent-Bcc: t@x.example\nBcc: b@x.example\n"
          ("r@x.example" "s@x.example" "t@x.example"))
         ("To: \"a b\"@x.example\n" ("\"a b\"@x.example"))
         ("To: Friends: a@x.example, B <b@x.example>;, c@x.example\n"
          ("a@x.example" "b@x.example" "c@x.example"))
         ("To: a@x.example (to, me), \"Last, First\" <b@x.example>\n"
          ("a@x.example" "b@x.example"))
         ("To: a@x.example\nCc: a@x.example\nBcc: A <a@x.example>\n" ("a@x.example"))))
    (ert-info (header)
      (smtpmail-test-with-server (server)
        (should-not (smtpmail-test-send header))
        (let ((message (smtpmail-test-message server)))
          (should (equal (sort (copy-sequence (alist-get 'to message)) #'string<)
                         (sort (copy-sequence recipients) #'string<)))
          (should-not (string-match-p "^\\(?:Resent-\\)?Bcc:"
                                      (alist-get 'bytes message)))
          (should-not (string-match-p "^ e@x" (alist-get 'bytes message))))))))

;;;; 14: the envelope

(ert-deftest smtpmail-checklist-14-envelope-from ()
  "The reverse-path: what is specified, or From, or the user's address."
  (pcase-dolist
      (`(,specify ,from ,header ,expected)
       '((t "env@x.example" "From: f@x.example\n" "env@x.example")
         (t header "From: F <f@x.example>\n" "f@x.example")
         (t nil "From: f@x.example\n" "f@x.example")
         (nil "env@x.example" "From: f@x.example\n" "f@x.example")
         (nil nil "" "me@example.org")))
    (ert-info ((format "%S" (list specify from header)))
      (smtpmail-test-with-server (server)
        (let ((mail-specify-envelope-from specify)
              (mail-envelope-from from))
          (should-not (smtpmail-test-send (concat header "To: a@example.net\n"))))
        (should (equal (alist-get 'from (smtpmail-test-message server)) expected))))))

(ert-deftest smtpmail-checklist-14-no-envelope-from ()
  "Without any address of ours the error says so, and no \"nil\" is sent."
  (smtpmail-test-with-server (server)
    (let ((user-mail-address nil))
      (with-temp-buffer
        (insert "To: a@example.net\n\nHi\n")
        (let ((why (condition-case failure
                       (smtpmail-via-smtp '("a@example.net") (current-buffer))
                     (error (error-message-string failure)))))
          (should (string-match-p "No envelope sender" why)))))
    (should-not (smtpmail-checklist-commands server "MAIL"))))

;;;; 15: aliases

(ert-deftest smtpmail-checklist-15-aliases ()
  "Aliases are expanded: given, from the file, or none; no file is no error."
  (smtpmail-test-with-directory directory
    (let ((file (expand-file-name "mailrc" directory)))
      (with-temp-file file (insert "alias pals ann@x.example bob@x.example\n"))
      (pcase-dolist
          (`(,aliases ,name ,recipients)
           `(((("pals" . "carl@x.example")) ,(concat file "-missing")
              ("carl@x.example"))
             ((t) ,file ("ann@x.example" "bob@x.example"))
             ((nil) ,file ("pals@x.example"))
             ((t) ,(concat file "-missing") ("pals@x.example"))
             ((t) nil ("pals@x.example"))))
        (ert-info ((format "%S" (list aliases name)))
          (smtpmail-test-with-server (server)
            ;; A list of a list: t and nil are values here.
            (let ((mail-aliases (if (memq (car aliases) '(t nil)) (car aliases)
                                  aliases))
                  (mail-personal-alias-file name)
                  (mail-alias-modtime nil)
                  ;; The server takes no bare name.
                  (smtpmail-sendto-domain "x.example"))
              (should-not (smtpmail-test-send "To: pals\n")))
            (should (equal (alist-get 'to (smtpmail-test-message server))
                           recipients))))))))

;;;; 16: nothing else happens

(ert-deftest smtpmail-checklist-16-fcc ()
  "The copy is written, without Bcc's loss and without Fcc; not if the send failed."
  (dolist (refuse '(nil t))
    (smtpmail-test-with-server (server (and refuse '("--on" "dot=reply 554 No")))
      (smtpmail-test-with-directory directory
        (let* ((file (expand-file-name "copy" directory))
               (why (smtpmail-test-send
                     (format "To: a@example.net\nSubject: kept\nFcc: %s\n" file))))
          (should (eq refuse (and why t)))
          (should (eq refuse (not (file-exists-p file))))
          (unless refuse
            (should (string-match-p "^Subject: kept" (smtpmail-test-text file)))
            (should-not (string-match-p
                         "^Fcc:" (alist-get 'bytes (smtpmail-test-message
                                                    server))))))))))

(ert-deftest smtpmail-checklist-16-buffer-untouched ()
  "Text, point, narrowing and match data stay; no buffer is left over."
  (dolist (refuse '(nil t))
    (smtpmail-test-with-server (server (and refuse '("--on" "rcpt=reply 550 No")))
      ;; What stays in an Emacs for good is not of this mail.
      (smtpmail-test-send)
      (smtpmail-test-kill-traces)
      (with-temp-buffer
        (insert "not this\n" (smtpmail-test-mail "To: a@example.net\n") "nor this\n")
        (goto-char (point-min))
        (narrow-to-region (line-beginning-position 2)
                          (save-excursion (goto-char (point-max))
                                          (line-beginning-position 0)))
        (goto-char (+ (point-min) 5))
        (string-match "a\\(b\\)" "xab")
        (let* ((facts (lambda ()
                        (list (save-restriction (widen) (buffer-string))
                              (point) (point-min) (point-max) (match-data)
                              (buffer-modified-p))))
               (before (funcall facts))
               (buffers (buffer-list))
               (why (condition-case failure
                        (ignore (smtpmail-send-it))
                      (error failure))))
          (should (eq refuse (and why t)))
          (should (equal (funcall facts) before))
          (should-not (seq-difference (seq-difference (buffer-list) buffers)
                                      (smtpmail-test-traces))))
        (unless refuse
          (should (equal (smtpmail-test-body
                          (car (last (smtpmail-test-messages server))))
                         "Hello\r\n")))))))

(provide 'smtpmail-checklist-message-tests)

;;; smtpmail-checklist-message-tests.el ends here
