;;; smtpmail-client-feedmail-tests.el --- feedmail over a real server  -*- lexical-binding: t -*-

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

;; feedmail with `feedmail-buffer-to-smtpmail' and its own queue.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-client))

(require 'feedmail)

(defmacro smtpmail-client-feedmail-tests--with (settings &rest body)
  "Run BODY as `smtpmail-client-with' does with SETTINGS, with feedmail."
  (declare (indent 1) (debug t))
  `(smtpmail-client-with ,settings
     (let ((send-mail-function #'feedmail-send-it)
           (feedmail-buffer-eating-function #'feedmail-buffer-to-smtpmail)
           (feedmail-confirm-outgoing nil)
           (feedmail-enable-queue nil)
           (feedmail-queue-directory (expand-file-name "feedmail" home))
           (feedmail-queue-draft-directory (expand-file-name "drafts" home))
           (feedmail-from-line nil)
           (feedmail-message-id-generator t)
           (feedmail-date-generator t)
           (feedmail-queue-chatty nil)
           (mail-user-agent 'sendmail-user-agent)
           (default-directory home))
       ,@body)))

(defun smtpmail-client-feedmail-tests--send (to body &optional bcc)
  "Send a mail with BODY to TO, and to BCC if non-nil, by mail-mode's command."
  (let (draft)
    (unwind-protect
        (progn
          (compose-mail to "Hello")
          (setq draft (current-buffer))
          (auto-save-mode -1)
          (when bcc (mail-position-on-field "Bcc") (insert bcc))
          (mail-text)
          (insert body)
          (smtpmail-client-press "C-c C-s"))
      (smtpmail-client-kill draft))))

(defun smtpmail-client-feedmail-tests--queued ()
  "Return how many mails are in feedmail's queue."
  (length (directory-files feedmail-queue-directory nil "\\.fqm\\'")))

(ert-deftest smtpmail-client-feedmail-send ()
  "feedmail composes the envelope, we send it."
  (smtpmail-client-feedmail-tests--with (server 'plain)
    (smtpmail-client-feedmail-tests--send "Bob <bob@example.org>, carol@example.org"
                                          "Text\n.\n" "erin@example.org")
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to)
                     '("bob@example.org" "carol@example.org" "erin@example.org")))
      (should (equal (plist-get message :from) "alice@example.org"))
      (should-not (smtpmail-client-field message "Bcc"))
      (should (equal (smtpmail-client-body message) "Text\n.\n")))
    (should-not (get-buffer "*FQM smtpmail errors*"))))

(ert-deftest smtpmail-client-feedmail-refused ()
  "What is refused is an error; feedmail's buffer has the reason and the trace."
  (smtpmail-client-feedmail-tests--with (server 'plain)
    (should-error (smtpmail-client-feedmail-tests--send
                   (plist-get server :refused) "Text\n"))
    (smtpmail-client-nothing-arrived server)
    (let ((errors (seq-find (lambda (buffer)
                              (with-current-buffer buffer
                                (save-excursion
                                  (goto-char (point-min))
                                  (search-forward "Send via smtpmail failed: " nil t))))
                            (buffer-list))))
      (should errors)
      (with-current-buffer errors
        (should (string-match-p "failed: .*550 5\\.1\\.1" (buffer-string)))
        (should (string-match-p "SMTP Trace from " (buffer-string)))
        (should (string-match-p "RCPT TO:<refused@example\\.org>" (buffer-string))))
      (smtpmail-client-kill errors))))

(ert-deftest smtpmail-client-feedmail-return-values ()
  "The call that feedmail makes returns nil, or a reason that can be inserted."
  (smtpmail-client-feedmail-tests--with (server 'plain)
    (with-temp-buffer
      (insert "From: alice@example.org\nTo: bob@example.org\n\nText\n")
      (let ((prepared (current-buffer)))
        (with-temp-buffer
          (feedmail-buffer-to-smtpmail prepared (current-buffer) '("bob@example.org"))
          (should (equal (buffer-string) ""))
          (smtpmail-client-only server)
          (let ((smtpmail-smtp-service (smtpmail-test-quiet-port)))
            (feedmail-buffer-to-smtpmail prepared (current-buffer)
                                         '("bob@example.org"))
            (should (string-match-p "failed: Cannot connect" (buffer-string)))))))))

(ert-deftest smtpmail-client-feedmail-queue ()
  "feedmail's own queue goes, mail by mail; what is refused stays in it."
  (smtpmail-client-feedmail-tests--with (server 'plain)
    (let ((feedmail-enable-queue t)
          (feedmail-ask-before-queue nil)
          (feedmail-queue-reminder-alist nil)
          (feedmail-queue-runner-confirm-global nil)
          (feedmail-queue-runner-is-active nil))
      (make-directory feedmail-queue-directory)
      (smtpmail-client-feedmail-tests--send "bob@example.org" "One\n")
      (smtpmail-client-feedmail-tests--send "bob@example.org" "Two: Grüße\n")
      (smtpmail-client-feedmail-tests--send (plist-get server :refused) "Three\n")
      (smtpmail-client-nothing-arrived server)
      (should (= 3 (smtpmail-client-feedmail-tests--queued)))
      (let ((feedmail-queue-runner-message-sender
             (lambda (&rest _) (let ((feedmail-enable-queue nil)) (mail-send)))))
        ;; It lets people read each failure for some seconds.
        (cl-letf (((symbol-function 'sit-for) #'ignore))
          (feedmail-run-the-queue)))
      ;; feedmail adds no MIME fields.
      (should (equal (sort (mapcar #'smtpmail-client-body
                                   (smtpmail-client-arrived server 2))
                           #'string<)
                     (list "One\n" (encode-coding-string "Two: Grüße\n" 'utf-8))))
      (should (= 1 (smtpmail-client-feedmail-tests--queued))))))

(provide 'smtpmail-client-feedmail-tests)

;;; smtpmail-client-feedmail-tests.el ends here
