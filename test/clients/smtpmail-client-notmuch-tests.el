;;; smtpmail-client-notmuch-tests.el --- notmuch-emacs over a real server  -*- lexical-binding: t -*-

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

;; notmuch-emacs with its notmuch, and a database in the home directory of this
;; Emacs.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-client))

(defvar notmuch-command)
(defvar notmuch-fcc-dirs)
(defvar notmuch-maildir-use-notmuch-insert)
(defvar notmuch-mua-user-agent-function)
(declare-function notmuch-mua-mail "ext:notmuch-mua"
                  (&optional to subject other-headers &rest rest))
(declare-function notmuch-mua-new-mail "ext:notmuch-mua" (&optional prompt))
(declare-function notmuch-mua-new-reply "ext:notmuch-mua"
                  (query-string &optional prompt reply-all duplicate))
(declare-function notmuch-show "ext:notmuch-show" (thread-id &rest rest))
(declare-function notmuch-show-resend-message "ext:notmuch-show" (addresses))

(defconst smtpmail-client-notmuch-tests--mail (expand-file-name "~/mail/")
  "The mail of the user that these tests are.")

(defun smtpmail-client-notmuch-tests--notmuch (&rest arguments)
  "Run notmuch with ARGUMENTS and return what it prints."
  (with-temp-buffer
    (unless (eql 0 (apply #'call-process notmuch-command nil t nil arguments))
      (error "The command notmuch failed: %s" (buffer-string)))
    (string-trim (buffer-string))))

(defun smtpmail-client-notmuch-tests--start ()
  "Make the database, once, and load notmuch."
  (let ((program (smtpmail-client-program "notmuch")))
    (unless (featurep 'notmuch)
      (setenv "NOTMUCH_CONFIG"
              (smtpmail-client-write
               (expand-file-name "~/.notmuch-config")
               "[database]\npath=" smtpmail-client-notmuch-tests--mail "\n"
               "[user]\nname=Alice Adams\nprimary_email=alice@example.org\n"))
      (dolist (part '("cur" "new" "tmp"))
        (make-directory (concat smtpmail-client-notmuch-tests--mail "sent/" part) t))
      (let ((coding-system-for-write 'no-conversion))
        (write-region
         (concat "From: Bob <bob@example.org>\nTo: alice@example.org\n"
                 "Subject: Question\nDate: Mon, 01 Jun 2026 10:00:00 +0000\n"
                 "Message-ID: <first@example.net>\nMIME-Version: 1.0\n"
                 "Content-Type: text/plain; charset=iso-8859-1\n"
                 "Content-Transfer-Encoding: 8bit\n\nGr\374\337e \377?\n.\n")
         nil (concat smtpmail-client-notmuch-tests--mail "first") nil 'quiet))
      (push (smtpmail-client-lisp :notmuch) load-path)
      (require 'notmuch)
      (setq notmuch-command program)
      (smtpmail-client-notmuch-tests--notmuch "new"))))

(defmacro smtpmail-client-notmuch-tests--with (settings &rest body)
  "Run BODY as `smtpmail-client-with' does with SETTINGS, in notmuch.
The draft is `draft', once `smtpmail-client-notmuch-tests--write' ran."
  (declare (indent 1) (debug t))
  `(smtpmail-client-with ,settings
     (smtpmail-client-notmuch-tests--start)
     (let ((mail-user-agent 'notmuch-user-agent)
           (before (buffer-list)))
       (unwind-protect (progn ,@body)
         (mapc #'smtpmail-client-kill (seq-difference (buffer-list) before))))))

(defun smtpmail-client-notmuch-tests--sent ()
  "Return how many mails notmuch has that are from us."
  (smtpmail-client-notmuch-tests--notmuch "new")
  (string-to-number
   (smtpmail-client-notmuch-tests--notmuch "count" "from:alice@example.org")))

(defun smtpmail-client-notmuch-tests--write (to body)
  "Begin a mail to TO in notmuch, with BODY, and return its buffer."
  (notmuch-mua-new-mail)
  (message-goto-to)
  (insert to)
  (message-goto-subject)
  (insert "Hello")
  (message-goto-body)
  (insert body)
  (current-buffer))

(ert-deftest smtpmail-client-notmuch-own-method ()
  "As notmuch's own tests do it: a port that is a string, and a plain server."
  (smtpmail-client-notmuch-tests--with (server 'plain)
    (let ((message-send-mail-function #'message-smtpmail-send-it)
          (mail-host-address "example.com")
          (smtpmail-stream-type nil)
          (smtpmail-smtp-server "localhost")
          (smtpmail-smtp-service (number-to-string smtpmail-smtp-service))
          (notmuch-fcc-dirs nil))
      (notmuch-mua-mail)
      (message-goto-to)
      (insert "bob@example.org\nDate: 01 Jan 2000 12:00:00 -0000")
      (message-goto-subject)
      (insert "Delivered")
      (message-goto-body)
      (insert "A small test\n")
      (call-interactively (get 'notmuch-user-agent 'sendfunc)))
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("bob@example.org")))
      (should (equal (smtpmail-client-field message "Date")
                     "01 Jan 2000 12:00:00 -0000"))
      (should (equal (smtpmail-client-body message) "A small test\n")))))

(ert-deftest smtpmail-client-notmuch-fcc ()
  "A mail goes, and its copy is in the database, by either way to put it there."
  (smtpmail-client-notmuch-tests--with (server 'plain)
    (dolist (notmuch-maildir-use-notmuch-insert '(t nil))
      (ert-info ((format "%s" notmuch-maildir-use-notmuch-insert))
        (let* ((notmuch-fcc-dirs (if notmuch-maildir-use-notmuch-insert
                                     "sent +sent -unread"
                                   "sent"))
               (before (smtpmail-client-notmuch-tests--sent))
               (draft (smtpmail-client-notmuch-tests--write "bob@example.org"
                                                            "Grüße\n")))
          (smtpmail-client-press "C-c C-c")
          (should-not (buffer-live-p draft))
          (let ((message (smtpmail-client-only server)))
            (should (equal (smtpmail-client-decoded-body message) "Grüße\n"))
            (should-not (smtpmail-client-field message "Fcc")))
          (should (= (1+ before) (smtpmail-client-notmuch-tests--sent))))))))

(ert-deftest smtpmail-client-notmuch-refused ()
  "What is refused stays a draft.
notmuch's hook for copies runs after a mail was sent only."
  (smtpmail-client-notmuch-tests--with (server 'plain)
    (let* ((notmuch-fcc-dirs "sent")
           (before (smtpmail-client-notmuch-tests--sent))
           (draft (smtpmail-client-notmuch-tests--write
                   (plist-get server :refused) "Text\n")))
      (smtpmail-client-refused (smtpmail-client-press "C-c C-c"))
      (should (buffer-live-p draft))
      (should (buffer-modified-p draft))
      (should (= before (smtpmail-client-notmuch-tests--sent)))
      (smtpmail-client-nothing-arrived server))))

(ert-deftest smtpmail-client-notmuch-reply ()
  "A reply goes to the author, and says to what it is one."
  (smtpmail-client-notmuch-tests--with (server 'plain)
    (let ((notmuch-fcc-dirs nil))
      (notmuch-mua-new-reply "id:first@example.net" nil t)
      (message-goto-body)
      (insert "That.\n")
      (smtpmail-client-press "C-c C-c"))
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("bob@example.org")))
      (should (equal (smtpmail-client-field message "In-Reply-To")
                     "<first@example.net>"))
      (should (string-search "> Grüße" (smtpmail-client-decoded-body message))))))

(ert-deftest smtpmail-client-notmuch-resend ()
  "A mail that is resent has the same octets."
  (smtpmail-client-notmuch-tests--with (server 'plain)
    (notmuch-show "id:first@example.net")
    (smtpmail-client-answering '(("Confirm\\|[Rr]esend" . t))
      (notmuch-show-resend-message "carol@example.org"))
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("carol@example.org")))
      (should (equal (smtpmail-client-field message "Message-ID")
                     "<first@example.net>"))
      (should (equal (smtpmail-client-body message) "Gr\374\337e \377?\n.\n")))))

;;;; In the background

(ert-deftest smtpmail-client-notmuch-background ()
  "In the background the copy is filed at once, or when the mail was accepted."
  (smtpmail-client-notmuch-tests--with (server 'plain)
    (dolist (wait '(nil t))
      (ert-info ((format "smtpmail-wait-for-acceptance %s" wait))
        (smtpmail-client-in-background server
          (let* ((smtpmail-wait-for-acceptance wait)
                 (notmuch-fcc-dirs "sent +sent -unread")
                 (before (smtpmail-client-notmuch-tests--sent))
                 (draft (smtpmail-client-notmuch-tests--write "bob@example.org"
                                                              "Grüße\n")))
            (smtpmail-client-stop server)
            (smtpmail-client-press "C-c C-c")
            ;; Emacs goes on, though the server says nothing.
            (should-not (buffer-live-p draft))
            (should (= 1 (length smtpmail-background--mails)))
            (should (= (if wait before (1+ before))
                       (smtpmail-client-notmuch-tests--sent)))
            (smtpmail-client-go-on server)
            (smtpmail-client-accepted)
            (should (= (1+ before) (smtpmail-client-notmuch-tests--sent)))
            (should (equal (smtpmail-client-decoded-body
                            (smtpmail-client-only server))
                           "Grüße\n"))))))))

(ert-deftest smtpmail-client-notmuch-background-refused ()
  "What is refused is edited and sent again; only then there is a copy."
  (smtpmail-client-notmuch-tests--with (server 'plain)
    (smtpmail-client-in-background server
      (let* ((smtpmail-wait-for-acceptance t)
             (notmuch-fcc-dirs "sent +sent -unread")
             (before (smtpmail-client-notmuch-tests--sent)))
        (smtpmail-client-notmuch-tests--write (plist-get server :refused) "Text\n")
        (smtpmail-client-press "C-c C-c")
        (smtpmail-client-edit-refused)
        (should (= before (smtpmail-client-notmuch-tests--sent)))
        (message-replace-header "To" "bob@example.org")
        (smtpmail-client-press "C-c C-c")
        (should (= before (smtpmail-client-notmuch-tests--sent)))
        (smtpmail-client-accepted)
        (should (= (1+ before) (smtpmail-client-notmuch-tests--sent)))
        (let ((message (smtpmail-client-only server)))
          (should (equal (plist-get message :to) '("bob@example.org")))
          (should (equal (smtpmail-client-body message) "Text\n")))))))

(provide 'smtpmail-client-notmuch-tests)

;;; smtpmail-client-notmuch-tests.el ends here
