;;; smtpmail-client-mail-tests.el --- mail-mode, and who writes mails by itself  -*- lexical-binding: t -*-

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

;; `mail-mode' and what it adds; bug reports, patches, the diary.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-client))

(require 'sendmail)
(require 'mailalias)
(require 'emacsbug)
(require 'reporter)
(require 'diary-lib)
(require 'gnus-start)

(defmacro smtpmail-client-mail-tests--compose (fields &rest body)
  "Begin a mail with FIELDS, an alist, in `mail-mode', and run BODY there.
Its buffer is `draft', and it goes at the end."
  (declare (indent 1) (debug t))
  `(let* ((draft nil)
          (fields ,fields)
          (mail-user-agent 'sendmail-user-agent)
          (mail-setup-with-from (not (assq 'From fields)))
          (mail-default-directory home))
     (unwind-protect
         (progn
           (compose-mail (alist-get 'To fields) (alist-get 'Subject fields "Hello"))
           (setq draft (current-buffer))
           (auto-save-mode -1)
           (pcase-dolist (`(,name . ,value) fields)
             (unless (memq name '(To Subject))
               (mail-position-on-field (symbol-name name))
               (insert value)))
           (mail-text)
           ,@body)
       (smtpmail-client-kill draft))))

(defun smtpmail-client-mail-tests--recipients (server fields)
  "Send a mail with FIELDS to SERVER; return the recipients it got."
  (let ((home (make-temp-file "smtpmail" t)))
    (unwind-protect
        (smtpmail-client-mail-tests--compose fields
          (insert "Text\n")
          (smtpmail-client-press "C-c C-s"))
      (delete-directory home t))
    (plist-get (smtpmail-client-only server) :to)))

;;;; mail-mode

(ert-deftest smtpmail-client-mail-send ()
  "C-c C-c sends, with the fields that mail-mode leaves to us."
  (smtpmail-client-with (server 'plain)
    (let ((copy (expand-file-name "sent" home)))
      (smtpmail-client-mail-tests--compose
          `((To . "Bob <bob@example.org>,\n\tcarol@example.org")
            (Cc . "dave@example.org") (Bcc . "erin@example.org")
            (Subject . "Grüße") (FCC . ,copy))
        (insert "Ärger 世界\n.\n")
        (smtpmail-client-press "C-c C-c")
        (should-not (buffer-modified-p draft)))
      (let ((message (smtpmail-client-only server)))
        (should (equal (plist-get message :from) "alice@example.org"))
        (should (equal (plist-get message :to)
                       '("bob@example.org" "carol@example.org" "dave@example.org"
                         "erin@example.org")))
        (should (equal (smtpmail-client-field message "From")
                       "Alice Adams <alice@example.org>"))
        (should (equal (smtpmail-client-field message "Subject") "Grüße"))
        (dolist (name '("Date" "Message-ID" "MIME-Version"))
          (should (smtpmail-client-field message name)))
        (dolist (name '("Bcc" "FCC"))
          (should-not (smtpmail-client-field message name)))
        (should (equal (smtpmail-client-decoded-body message) "Ärger 世界\n.\n")))
      (should (string-prefix-p "From " (smtpmail-test-text copy)))
      (should (string-match-p "^\\.$" (smtpmail-test-text copy))))))

(ert-deftest smtpmail-client-mail-refused-stays ()
  "What the server refuses stays modified, with no copy, and can go again."
  (smtpmail-client-with (server 'plain)
    (let ((copy (expand-file-name "sent" home)))
      (smtpmail-client-mail-tests--compose
          `((To . ,(plist-get server :refused)) (FCC . ,copy))
        (insert "Text\n")
        (let ((text (buffer-string)))
          (smtpmail-client-refused (smtpmail-client-press "C-c C-c"))
          (should (equal (with-current-buffer draft (buffer-string)) text)))
        (should (buffer-modified-p draft))
        (should-not (file-exists-p copy))
        (smtpmail-client-nothing-arrived server)
        (with-current-buffer draft
          (goto-char (point-min))
          (search-forward (plist-get server :refused))
          (replace-match "bob@example.org")
          (smtpmail-client-press "C-c C-c")))
      (smtpmail-client-only server)
      (should (file-exists-p copy)))))

(ert-deftest smtpmail-client-mail-not-interactive ()
  "`mail-interactive' nil changes nothing: what is refused is an error."
  (smtpmail-client-with (server 'plain mail-interactive nil)
    (smtpmail-client-mail-tests--compose `((To . ,(plist-get server :refused)))
      (smtpmail-client-refused (smtpmail-client-press "C-c C-c")))
    (smtpmail-client-nothing-arrived server)))

(ert-deftest smtpmail-client-mail-from-styles ()
  "`mail-from-style' decides how From reads; a name with a comma is quoted."
  (smtpmail-client-with (server 'plain)
    (pcase-dolist (`(,style ,name ,expected)
                   '((nil "Alice Adams" "alice@example.org")
                     (parens "Alice Adams" "alice@example.org (Alice Adams)")
                     (angles "Alice Adams" "Alice Adams <alice@example.org>")
                     (angles "Adams, A." "\"Adams, A.\" <alice@example.org>")
                     (angles "Älice Ådams" "Älice Ådams <alice@example.org>")))
      (ert-info ((format "%s %s" style name))
        (let ((mail-from-style style)
              (user-full-name name))
          (smtpmail-client-mail-tests--compose '((To . "bob@example.org"))
            (smtpmail-client-press "C-c C-c"))
          (should (equal (smtpmail-client-field (smtpmail-client-only server) "From")
                         expected)))))))

(ert-deftest smtpmail-client-mail-envelope-from ()
  "`mail-specify-envelope-from' and `mail-envelope-from' name the reverse-path."
  (smtpmail-client-with (server 'plain)
    (pcase-dolist (`(,specify ,address ,expected)
                   '((nil "bounces@example.org" "boss@example.org")
                     (t nil "boss@example.org")
                     (t "bounces@example.org" "bounces@example.org")
                     (t header "boss@example.org")))
      (ert-info ((format "%S %S" specify address))
        (let ((mail-specify-envelope-from specify)
              (mail-envelope-from address))
          (smtpmail-client-mail-tests--compose
              '((To . "bob@example.org") (From . "The Boss <boss@example.org>"))
            (smtpmail-client-press "C-c C-c"))
          (should (equal (plist-get (smtpmail-client-only server) :from)
                         expected)))))))

(ert-deftest smtpmail-client-mail-self-blind ()
  "`mail-self-blind' sends us a copy that nobody sees."
  (smtpmail-client-with (server 'plain mail-self-blind t)
    (smtpmail-client-mail-tests--compose '((To . "bob@example.org"))
      (smtpmail-client-press "C-c C-c"))
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("alice@example.org" "bob@example.org")))
      (should-not (smtpmail-client-field message "Bcc")))))

(ert-deftest smtpmail-client-mail-archive-and-signature ()
  "`mail-archive-file-name' and `mail-signature' do what they say."
  (smtpmail-client-with (server 'plain
                         mail-signature "\n-- \nAlice\n")
    (let ((mail-archive-file-name (expand-file-name "archive" home)))
      (smtpmail-client-mail-tests--compose '((To . "bob@example.org"))
        (goto-char (point-min))
        (mail-text)
        (insert "Text\n")
        (smtpmail-client-press "C-c C-c"))
      (should (equal (smtpmail-client-body (smtpmail-client-only server))
                     "Text\n\n-- \nAlice\n"))
      (should (string-match-p "^To: bob@example\\.org$"
                              (smtpmail-test-text mail-archive-file-name))))))

;;;; Aliases

(ert-deftest smtpmail-client-mail-aliases-unread ()
  "`mail-aliases' t: the file is read at the first mail."
  (smtpmail-client-with (server 'plain mail-aliases t)
    (smtpmail-client-write
     mail-personal-alias-file
     "# Friends\nalias bob bob@example.org\n"
     "alias team bob \"Carol C <carol@example.org>\" \\\n dave@example.org\n")
    (should (equal (smtpmail-client-mail-tests--recipients
                    server '((To . "team") (Bcc . "erin@example.org, bob")))
                   '("bob@example.org" "carol@example.org" "dave@example.org"
                     "erin@example.org")))))

(ert-deftest smtpmail-client-mail-aliases-none ()
  "`mail-aliases' nil or t: without a file mails go all the same."
  (smtpmail-client-with (server 'plain)
    (dolist (aliases '(nil t))
      (dolist (file (list nil (expand-file-name "missing" home)))
        (ert-info ((format "%S %S" aliases file))
          (let ((mail-aliases aliases)
                (mail-personal-alias-file file))
            (should (equal (smtpmail-client-mail-tests--recipients
                            server '((To . "bob@example.org")))
                           '("bob@example.org")))))))))

(ert-deftest smtpmail-client-mail-aliases-defined ()
  "Aliases of `define-mail-alias', with no file at all, are expanded."
  (smtpmail-client-with (server 'plain mail-aliases nil
                         mail-personal-alias-file nil)
    (define-mail-alias "bob" "bob@example.org")
    (define-mail-alias "both" "bob, carol@example.org")
    (should (equal (smtpmail-client-mail-tests--recipients
                    server '((To . "both") (Cc . "Dave D <dave@example.org>")))
                   '("bob@example.org" "carol@example.org" "dave@example.org")))))

;;;; Each `mail-user-agent'

(ert-deftest smtpmail-client-mail-user-agents ()
  "`compose-mail' sends by each agent that ends at `send-mail-function'."
  (smtpmail-client-with (server 'plain)
    (dolist (mail-user-agent '(sendmail-user-agent message-user-agent
                                                   gnus-user-agent))
      (ert-info ((symbol-name mail-user-agent))
        (let ((gnus-init-file nil)
              (default-directory home)
              draft)
          (unwind-protect
              (progn
                (compose-mail "bob@example.org" "Hello" '(("X-Test" . "yes")))
                (setq draft (current-buffer))
                (goto-char (point-max))
                (insert "By " (symbol-name mail-user-agent) "\n")
                (call-interactively (get mail-user-agent 'sendfunc))
                (should-not (and (buffer-live-p draft) (buffer-modified-p draft))))
            (smtpmail-client-kill draft)))
        (let ((message (smtpmail-client-only server)))
          (should (equal (smtpmail-client-field message "X-Test") "yes"))
          (should (string-suffix-p (format "By %s\n" mail-user-agent)
                                   (plist-get message :text))))))))

;;;; Who writes mails by itself

(ert-deftest smtpmail-client-mail-report-emacs-bug ()
  "`report-emacs-bug' sends the report, by either agent."
  (smtpmail-client-with (server 'ssl)
    (dolist (mail-user-agent '(message-user-agent sendmail-user-agent))
      (ert-info ((symbol-name mail-user-agent))
        (let ((report-emacs-bug-no-explanations t)
              (default-directory home)
              draft)
          (unwind-protect
              (progn
                (report-emacs-bug "It sends")
                (setq draft (current-buffer))
                (insert "That is what it is for.\n")
                (smtpmail-client-answering '(("Send this bug report" . t)
                                             ("your email address" . t))
                  (smtpmail-client-press "C-c C-c")))
            (smtpmail-client-kill draft)))
        (let ((message (smtpmail-client-only server)))
          (should (equal (plist-get message :to) '("bug-gnu-emacs@gnu.org")))
          (should (string-suffix-p "; It sends"
                                   (smtpmail-client-field message "Subject")))
          (should (string-search "That is what it is for.\n"
                                 (smtpmail-client-decoded-body message))))))))

(ert-deftest smtpmail-client-mail-submit-emacs-patch ()
  "`submit-emacs-patch' sends what was written, with the patch."
  (smtpmail-client-with (server 'ssl)
    (let ((patch (smtpmail-client-write (expand-file-name "the.patch" home)
                                        "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n"))
          (inhibit-read-only t)
          draft)
      (unwind-protect
          (progn
            (submit-emacs-patch "Fix it" patch)
            (setq draft (current-buffer))
            (message-goto-body)
            (insert "This fixes it.\n")
            (smtpmail-client-press "C-c C-c")
            (should-not (buffer-live-p draft)))
        (smtpmail-client-kill draft)))
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("bug-gnu-emacs@gnu.org")))
      (should (string-search "Tags: patch" (plist-get message :text)))
      (should (string-search "-old\n+new\n" (plist-get message :text))))))

(ert-deftest smtpmail-client-mail-reporter ()
  "`reporter-submit-bug-report' composes a report that goes."
  (smtpmail-client-with (server 'plain)
    (let ((mail-user-agent 'sendmail-user-agent)
          (default-directory home)
          (reporter-prompt-for-summary-p nil)
          draft)
      (unwind-protect
          (progn
            (reporter-submit-bug-report "bob@example.org" "smtpmail-test"
                                        '(smtpmail-smtp-server smtpmail-stream-type))
            (setq draft (current-buffer))
            (insert "It works.\n")
            (smtpmail-client-press "C-c C-c"))
        (smtpmail-client-kill draft)))
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("bob@example.org")))
      (should (string-search "smtpmail-smtp-server \"localhost\""
                             (smtpmail-client-decoded-body message))))))

(ert-deftest smtpmail-client-mail-diary ()
  "`diary-mail-entries' mails what is due, by either agent."
  (smtpmail-client-with (server 'plain)
    (let ((diary-file (smtpmail-client-write
                       (expand-file-name "diary" home)
                       (format-time-string "%B %-d, %Y") " Größe messen\n"))
          (diary-mail-addr "bob@example.org")
          (calendar-date-style 'american)
          (default-directory home))
      (dolist (mail-user-agent '(message-user-agent sendmail-user-agent))
        (ert-info ((symbol-name mail-user-agent))
          (diary-mail-entries 2)
          (let ((message (smtpmail-client-only server)))
            (should (equal (plist-get message :to) '("bob@example.org")))
            (should (string-search "Größe messen"
                                   (smtpmail-client-decoded-body message)))))))))

(when (>= emacs-major-version 29)
  (declare-function vc-prepare-patch "vc" (addressee subject revisions))
  (defvar vc-prepare-patches-separately)
  (ert-deftest smtpmail-client-mail-vc-prepare-patch ()
    "`vc-prepare-patch' sends each revision as a mail of its own."
    (require 'vc)
    (smtpmail-client-with (server 'plain)
      (let ((default-directory home)
            (mail-user-agent 'message-user-agent)
            (vc-prepare-patches-separately t)
            (message-confirm-send nil))
        (dolist (arguments '(("init" "-q")
                             ("config" "user.name" "Alice Adams")
                             ("config" "user.email" "alice@example.org")))
          (should (eql 0 (apply #'call-process "git" nil nil nil arguments))))
        (dolist (n '("1" "2" "3"))
          (smtpmail-client-write (expand-file-name "file" home) "Line " n "\n")
          (should (eql 0 (call-process "git" nil nil nil "add" "file")))
          (should (eql 0 (call-process "git" nil nil nil "commit" "-q" "-m"
                                       (concat "Change " n)))))
        (find-file (expand-file-name "file" home))
        (unwind-protect
            (let ((before (buffer-list)))
              (vc-prepare-patch "bob@example.org" "Changes" '("HEAD~1" "HEAD"))
              (dolist (draft (seq-difference (buffer-list) before))
                (when (and (buffer-live-p draft)
                           (with-current-buffer draft
                             (derived-mode-p 'message-mode)))
                  (with-current-buffer draft
                    (smtpmail-client-press "C-c C-c"))
                  (should-not (buffer-live-p draft)))))
          (smtpmail-client-kill (find-buffer-visiting
                                 (expand-file-name "file" home))))
        (let ((subjects (mapcar (lambda (message)
                                  (should (string-search "\n+Line "
                                                         (plist-get message :text)))
                                  (smtpmail-client-field message "Subject"))
                                (smtpmail-client-arrived server 2))))
          (should (equal (mapcar (lambda (subject)
                                   (and (string-match "Change [0-9]" subject)
                                        (match-string 0 subject)))
                                 (sort subjects #'string<))
                         '("Change 2" "Change 3"))))))))

(provide 'smtpmail-client-mail-tests)

;;; smtpmail-client-mail-tests.el ends here
