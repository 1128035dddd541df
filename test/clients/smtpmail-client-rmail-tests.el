;;; smtpmail-client-rmail-tests.el --- Rmail over a real server  -*- lexical-binding: t -*-

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

;; What one does with a mail in Rmail that sends another.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-client))

(require 'rmail)
(require 'rmailout)
(require 'rmailsum)
(require 'mailabbrev)

(defmacro smtpmail-client-rmail-tests--with (settings text &rest body)
  "Run BODY as `smtpmail-client-with' does with SETTINGS, in Rmail.
TEXT is the mail that it shows."
  (declare (indent 2) (debug t))
  `(smtpmail-client-with ,settings
     (let ((mail-user-agent 'sendmail-user-agent)
           (rmail-mail-new-frame nil)
           (default-directory home)
           (rmail-file-name (smtpmail-client-write
                             (expand-file-name "RMAIL" home)
                             "From bob@example.net Mon Jun  1 10:00:00 2026\n"
                             ,text "\n")))
       (unwind-protect
           (progn
             (rmail-input rmail-file-name)
             ,@body)
         ;; Its view buffer goes with it.
         (mapc #'smtpmail-client-kill
               (list (find-buffer-visiting rmail-file-name)
                     (get-buffer "*mail*")))))))

(defun smtpmail-client-rmail-tests--marked-p (index)
  "Return non-nil if the current mail of Rmail has the attribute INDEX."
  (with-current-buffer (find-buffer-visiting rmail-file-name)
    (rmail-message-attr-p rmail-current-message
                          (concat "\\`" (make-string index ?.) "[^-]"))))

(defconst smtpmail-client-rmail-tests--mail
  "From: Bob <bob@example.org>
To: alice@example.org
Cc: carol@example.org
Subject: Question
Date: Mon, 01 Jun 2026 10:00:00 +0000
Message-ID: <first@example.net>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße?
.
The end

"
  "A mail that Rmail shows.")

(ert-deftest smtpmail-client-rmail-reply ()
  "A reply goes to author and copies, and is marked once it went."
  (smtpmail-client-rmail-tests--with (server 'plain)
      smtpmail-client-rmail-tests--mail
    (rmail-reply nil)
    (mail-text)
    (insert "Ja, Grüße.\n")
    (smtpmail-client-press "C-c C-s")
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("bob@example.org" "carol@example.org")))
      (should (equal (smtpmail-client-field message "Subject") "Re: Question"))
      (should (string-match-p "<first@example\\.net>"
                              (smtpmail-client-field message "In-Reply-To")))
      (should (equal (smtpmail-client-decoded-body message) "Ja, Grüße.\n")))
    (should (smtpmail-client-rmail-tests--marked-p rmail-answered-attr-index))))

(ert-deftest smtpmail-client-rmail-reply-refused ()
  "A refused reply stays in its buffer, and its mail is not marked."
  (smtpmail-client-rmail-tests--with (server 'plain)
      (string-replace "bob@example.org" (plist-get server :refused)
                      smtpmail-client-rmail-tests--mail)
    (rmail-reply t)
    (let ((draft (current-buffer)))
      (mail-text)
      (insert "Text\n")
      (smtpmail-client-refused (smtpmail-client-press "C-c C-s"))
      (should (buffer-modified-p draft)))
    (should-not (smtpmail-client-rmail-tests--marked-p rmail-answered-attr-index))
    (smtpmail-client-nothing-arrived server)))

(ert-deftest smtpmail-client-rmail-resend ()
  "A resend goes to those of Resent-To only, its text in the same octets."
  (smtpmail-client-rmail-tests--with (server 'plain)
      smtpmail-client-rmail-tests--mail
    (rmail-resend '("dave@example.org" "Erin <erin@example.org>"))
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("dave@example.org" "erin@example.org")))
      (should (equal (smtpmail-client-field message "Resent-To")
                     "dave@example.org, Erin <erin@example.org>"))
      (should (equal (smtpmail-client-field message "To") "alice@example.org"))
      (should (equal (smtpmail-client-field message "Cc") "carol@example.org"))
      (should (equal (smtpmail-client-field message "From") "Bob <bob@example.org>"))
      (should (equal (smtpmail-client-field message "Message-ID")
                     "<first@example.net>"))
      (should (string-prefix-p "Grüße?\n.\nThe end\n"
                               (smtpmail-client-decoded-body message))))
    (should (smtpmail-client-rmail-tests--marked-p rmail-resent-attr-index))))

(ert-deftest smtpmail-client-rmail-resend-alias-and-refusal ()
  "Aliases in Resent-To are expanded; a refusal is an error and leaves no mark."
  (smtpmail-client-rmail-tests--with (server 'plain mail-abbrevs nil)
      smtpmail-client-rmail-tests--mail
    (build-mail-abbrevs
     (smtpmail-client-write mail-personal-alias-file
                            "alias team dave@example.org erin@example.org\n"))
    (rmail-resend "team")
    (should (equal (plist-get (smtpmail-client-only server) :to)
                   '("dave@example.org" "erin@example.org")))
    (rmail-set-attribute rmail-resent-attr-index nil)
    (smtpmail-client-refused (rmail-resend (plist-get server :refused)))
    (should-not (smtpmail-client-rmail-tests--marked-p rmail-resent-attr-index))
    (smtpmail-client-nothing-arrived server)))

(ert-deftest smtpmail-client-rmail-forward ()
  "A forwarded mail goes with the text of the first."
  (smtpmail-client-rmail-tests--with (server 'plain)
      smtpmail-client-rmail-tests--mail
    (rmail-forward nil)
    (mail-to)
    (insert "dave@example.org")
    (smtpmail-client-press "C-c C-s")
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("dave@example.org")))
      (should (string-match-p "^Content-Type: message/rfc822"
                              (plist-get message :text)))
      (should (string-search (encode-coding-string "Grüße?\n.\nThe end" 'utf-8)
                             (plist-get message :text))))
    (should (smtpmail-client-rmail-tests--marked-p rmail-forwarded-attr-index))))

(ert-deftest smtpmail-client-rmail-retry-failure ()
  "The mail in a notice of failure can be edited and sent once more."
  (smtpmail-client-rmail-tests--with (server 'plain)
      "From: MAILER-DAEMON@example.net
To: alice@example.org
Subject: Undelivered
Date: Mon, 01 Jun 2026 10:00:00 +0000

No such user.
   ----- Unsent message follows -----
To: bobb@example.org
Subject: Typo

The text

"
    (rmail-retry-failure)
    (goto-char (point-min))
    (search-forward "bobb@")
    (replace-match "bob@")
    (smtpmail-client-press "C-c C-s")
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("bob@example.org")))
      (should (equal (smtpmail-client-field message "Subject") "Typo"))
      (should (string-prefix-p "The text\n" (smtpmail-client-body message))))))

(provide 'smtpmail-client-rmail-tests)

;;; smtpmail-client-rmail-tests.el ends here
