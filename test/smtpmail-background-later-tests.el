;;; smtpmail-background-later-tests.el --- Copies, taking back, later, another Emacs  -*- lexical-binding: t -*-

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

;; What waits for the acceptance of a message that goes in the background; a
;; message that is taken back or goes at a time; and what another Emacs left.

;;; Code:

(require 'smtpmail-background-test)

;;;; Copies

(ert-deftest smtpmail-background-copy-waits ()
  "With `smtpmail-wait-for-acceptance' a file copy is written after the 250."
  (smtpmail-background-tests--with (_server "--on" "dot#1=reply 451 4.3.0 Not now"
                                            "--on" "greeting#2=delay 500")
    (let ((smtpmail-wait-for-acceptance t)
          (copy (expand-file-name "copy" smtpmail-queue-dir)))
      (smtpmail-background-tests--send "Copied" (format "Fcc: %s\n" copy))
      (should-not (file-exists-p copy))
      (smtpmail-background-tests--wait 'sent)
      (should (string-match-p "^Subject: Copied\n" (smtpmail-test-text copy)))
      (should-not (seq-find (lambda (buffer)
                              (string-prefix-p " *smtpmail copy" (buffer-name buffer)))
                            (buffer-list))))))

(ert-deftest smtpmail-background-copy-at-once ()
  "Without that option a copy is written when the message is in the outbox."
  (smtpmail-background-tests--with (_server "--on" "greeting=silence")
    (let ((copy (expand-file-name "copy" smtpmail-queue-dir)))
      (smtpmail-background-tests--send "Copied" (format "Fcc: %s\n" copy))
      (should (file-exists-p copy)))))

(defvar smtpmail-background-tests--actions nil
  "What Message mode did.")

(ert-deftest smtpmail-background-message-mode-waits ()
  "What Message mode does after sending waits for the 250, too."
  (require 'message)
  (smtpmail-background-tests--with (_server "--on" "greeting=delay 500")
    (let* ((smtpmail-wait-for-acceptance t)
           (smtpmail-background-tests--actions nil)
           (message-send-mail-function #'smtpmail-send-it)
           (message-interactive t)
           (message-kill-buffer-on-exit t)
           (copy (expand-file-name "copy" smtpmail-queue-dir))
           (message-sent-hook
            (list (lambda ()
                    (push (list 'hook (message-fetch-field "subject"))
                          smtpmail-background-tests--actions)))))
      (message-mail "you@example.net" "From Message")
      (setq message-send-actions
            '((push 'action smtpmail-background-tests--actions)))
      (write-region "" nil copy nil 'quiet)
      (goto-char (point-min))
      (insert (format "Fcc: %s\nX-Smtpmail-Note: for us\n" copy))
      (message-goto-body)
      (insert "Hello\n")
      (message-send-and-exit)
      (should-not smtpmail-background-tests--actions)
      (should (equal (smtpmail-test-text copy) ""))
      (smtpmail-background-tests--wait 'sent)
      ;; It may ask something.
      (should (= (smtpmail-ask-count) 1))
      (smtpmail-ask--now)
      (should (equal smtpmail-background-tests--actions
                     '(action (hook "From Message"))))
      (let ((text (smtpmail-test-text copy)))
        (should (string-match-p "^Subject: From Message\n" text))
        (should-not (string-match-p "X-Smtpmail" text)))
      (should-not (seq-find (lambda (buffer)
                              (string-prefix-p " *smtpmail sent" (buffer-name buffer)))
                            (buffer-list))))))

(ert-deftest smtpmail-background-gnus-waits ()
  "Gnus's copy (Gcc) waits for the 250."
  (require 'gnus)
  (require 'gnus-msg)
  (require 'nnfolder)
  (smtpmail-background-tests--with (_server "--on" "greeting=delay 500")
    (let* ((smtpmail-wait-for-acceptance t)
           (message-send-mail-function #'smtpmail-send-it)
           (message-kill-buffer-on-exit t)
           (directory (expand-file-name "archive/" smtpmail-queue-dir))
           (gnus-newsrc-hashtb (gnus-make-hashtable 10))
           (gnus-message-archive-method
            `(nnfolder "archive"
                       (nnfolder-directory ,directory)
                       (nnfolder-active-file ,(concat directory "active"))
                       (nnfolder-get-new-mail nil)
                       (nnfolder-inhibit-expiry t)))
           (gnus-verbose 0)
           (copy (concat directory "sent"))
           (message-sent-hook '(gnus-inews-do-gcc)))
      (make-directory directory)
      (message-mail "you@example.net" "From Gnus")
      (goto-char (point-min))
      (insert "Gcc: nnfolder+archive:sent\n")
      (message-goto-body)
      (insert "Hello\n")
      (message-send-and-exit)
      (should-not (file-exists-p copy))
      (smtpmail-background-tests--wait 'sent)
      (should-not (file-exists-p copy))
      (smtpmail-ask--now)
      (should (string-match-p "^Subject: From Gnus\n"
                              (or (smtpmail-test-text copy) ""))))))

;;;; Back, and later

(ert-deftest smtpmail-background-undo ()
  "A message is taken back into a draft with its Bcc and Fcc; nothing was sent."
  (smtpmail-background-tests--with (server)
    (let ((smtpmail-undo-seconds 600)
          (smtpmail-wait-for-acceptance t)
          (copy (expand-file-name "copy" smtpmail-queue-dir)))
      (smtpmail-background-tests--send
       "Oops" (format "Bcc: secret@example.net\nFcc: %s\n" copy))
      (should (equal (smtpmail-background-tests--states) '(scheduled)))
      (should (string-match-p "Mail:1" smtpmail-mode-line-string))
      (save-window-excursion
        (smtpmail-undo)
        (unwind-protect
            (progn
              (should (derived-mode-p 'message-mode))
              (should (string-match-p "^Subject: Oops\n" (buffer-string)))
              (should (string-match-p "^Bcc: secret@example.net\n" (buffer-string)))
              (should (string-match-p "^Fcc: .*copy\n" (buffer-string)))
              (should (string-match-p "^Hello\n" (buffer-string))))
          (set-buffer-modified-p nil)
          (kill-buffer)))
      (should-not (smtpmail-background-tests--states))
      (should-not smtpmail-background--mails)
      (should-error (smtpmail-undo) :type 'user-error)
      (should-not (file-exists-p copy))
      (should-not (smtpmail-test-messages server)))))

(ert-deftest smtpmail-background-undo-time-over ()
  "When the time for taking back is over, the message goes."
  (smtpmail-background-tests--with (server)
    (let ((smtpmail-undo-seconds 1))
      (smtpmail-background-tests--send)
      (should (equal (smtpmail-background-tests--states) '(scheduled)))
      (smtpmail-background-tests--wait 'sent)
      (should (smtpmail-test-message server)))))

(ert-deftest smtpmail-background-later ()
  "A message with X-Smtpmail-Send-At goes at that time, without the field."
  (smtpmail-background-tests--with (server)
    (let ((smtpmail-send-in-background nil)
          (copy (expand-file-name "copy" smtpmail-queue-dir)))
      (smtpmail-background-tests--send
       "Later" (format "X-Smtpmail-Send-At: +1s\nFcc: %s\n" copy))
      (should (equal (smtpmail-background-tests--states) '(scheduled)))
      (should-not (smtpmail-test-messages server))
      (smtpmail-background-tests--wait 'sent)
      (should-not (string-match-p "X-Smtpmail" (alist-get
                                                'bytes
                                                (smtpmail-test-message server))))
      (should-not (string-match-p "X-Smtpmail" (smtpmail-test-text copy)))
      (should (string-match-p "No time that can be understood"
                              (smtpmail-test-send
                               "To: a@example.net\nX-Smtpmail-Send-At: whenever\n"))))))

(ert-deftest smtpmail-background-times ()
  "Times are understood as people write them."
  (let ((now (float-time (encode-time '(0 0 12 15 6 2026 nil -1 nil)))))
    (cl-flet ((at (text) (format-time-string
                          "%F %R" (smtpmail-undo-parse-time text now))))
      (should (equal (at "16:30") "2026-06-15 16:30"))
      (should (equal (at "9:00") "2026-06-16 09:00"))
      (should (equal (at "tomorrow 8:15") "2026-06-16 08:15"))
      (should (equal (at "tomorrow") "2026-06-16 09:00"))
      (should (equal (at "+2h") "2026-06-15 14:00"))
      (should (equal (at "+ 3 d") "2026-06-18 12:00"))
      (should (equal (at "2 hours") "2026-06-15 14:00"))
      (should (equal (at "2026-07-01") "2026-07-01 09:00"))
      (should (equal (at "2026-07-01 10:05") "2026-07-01 10:05"))
      (should (= (smtpmail-undo-parse-time "Wed, 01 Jul 2026 10:00:00 +0000" now)
                 (float-time (encode-time '(0 0 10 1 7 2026 nil nil 0)))))
      (dolist (text '("" "soon" "2020-01-01" "+x"))
        (should-error (smtpmail-undo-parse-time text now) :type 'user-error)))))

;;;; Another Emacs

(defun smtpmail-background-tests--left-by-another (server rule-forms)
  "Let another Emacs put a message into the outbox, run RULE-FORMS and die.
SERVER is for its settings."
  (smtpmail-test-run
   `(,@(smtpmail-test-settings server)
     (require 'smtpmail)
     (setq smtpmail-queue-dir ,smtpmail-queue-dir
           smtpmail-send-in-background t)
     (with-temp-buffer
       (insert ,(smtpmail-test-mail "To: you@example.net\nSubject: Left\n"))
       (let ((noninteractive nil) (inhibit-message t))
         (smtpmail-send-it)
         ,@rule-forms))
     (signal-process (emacs-pid) 'kill))))

(defun smtpmail-background-tests--until-phase (phase)
  "Return forms that wait until a courier waits for what comes in PHASE."
  `((while (not (seq-some
                 (lambda (process)
                   (when-let ((session (process-get process 'smtpmail-session)))
                     (eq ',phase (smtpmail-session-phase session))))
                 (process-list)))
      (accept-process-output nil 0.02))))

(ert-deftest smtpmail-background-resumed ()
  "What an Emacs that was killed left, the next one sends."
  (smtpmail-background-tests--with (server "--on" "greeting#1=silence")
    (smtpmail-background-tests--left-by-another
     server (smtpmail-background-tests--until-phase 'greeting))
    (should (equal (smtpmail-background-tests--states) '(waiting)))
    (smtpmail-background-resume)
    (smtpmail-background-tests--wait 'sent)
    (should (string-match-p "^Subject: Left\r"
                            (alist-get 'bytes (smtpmail-test-message server))))))

(ert-deftest smtpmail-background-resumed-unknown ()
  "What may have been sent when Emacs was killed is told, and not sent again."
  (smtpmail-background-tests--with (server "--no-chunking" "--on" "dot#1=silence")
    (smtpmail-background-tests--left-by-another
     server (smtpmail-background-tests--until-phase 'final))
    (smtpmail-background-resume)
    (smtpmail-test-wait "the notice" (lambda () smtpmail-notice--list))
    (should (eq 'unknown (plist-get (car smtpmail-notice--list) :state)))
    (should (equal (smtpmail-background-tests--states) '(unknown)))
    (should-not smtpmail-background--mails)
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-background-leave-asks ()
  "What can still be taken back, and what waits for a server, is asked about."
  (smtpmail-background-tests--with (_server)
    (cl-letf* ((questions nil)
               ((symbol-function 'read-multiple-choice)
                (lambda (question choices &rest _)
                  (push question questions)
                  (assq ?l choices))))
      (should (smtpmail-leave--query))
      (should-not questions)
      (let ((smtpmail-undo-seconds 600))
        (smtpmail-background-tests--send))
      (should (smtpmail-leave--query))
      (should (string-match-p "\\`1 message is being sent" (pop questions)))
      (let ((smtpmail-background--network-pause 1000)
            (smtpmail-smtp-service (smtpmail-test-quiet-port)))
        (smtpmail-background-tests--send)
        (smtpmail-test-wait "the delay"
                            (lambda () (smtpmail-background-mails 'delayed))))
      (should (smtpmail-leave--query))
      (should (string-match-p "\\`2 messages are being sent" (pop questions))))))

(ert-deftest smtpmail-background-others-left-alone ()
  "What another Emacs that runs has in hand is left to it."
  (smtpmail-background-tests--with (_server "--on" "greeting=silence")
    (cl-letf (((symbol-function 'smtpmail-background-owner)
               (lambda ()
                 ;; Process 1 runs as long as the machine.
                 (format "%s %d %s" (system-name) 1
                         (format-time-string
                          "%s" (alist-get 'start (process-attributes 1)))))))
      (smtpmail-background-tests--send))
    (smtpmail-background-tests--reset)
    (let ((before (length (process-list))))
      (smtpmail-background-resume)
      (smtpmail-test-wait "the listing"
                          (lambda () (<= (length (process-list)) before))))
    (should-not smtpmail-background--mails)
    (cancel-function-timers #'smtpmail-background-resume)))

(ert-deftest smtpmail-background-overdue-asks ()
  "What was to go while no Emacs ran goes after a question, or is held."
  (pcase-dolist (`(,answer ,states) '((t nil) (nil (held))))
    (smtpmail-background-tests--with (server)
      (cl-letf (((symbol-function 'smtpmail-background-owner)
                 (lambda () "gone 1 1")))
        (smtpmail-background-tests--send "Overdue" "X-Smtpmail-Send-At: +1s\n"))
      (smtpmail-background-tests--reset)
      (sleep-for 1.2)
      (cl-letf (((symbol-function 'smtpmail-ask--possible-p) (lambda () t))
                ((symbol-function 'y-or-n-p)
                 (lambda (question)
                   (should (string-match-p "\"Overdue\" was to go at" question))
                   answer)))
        (smtpmail-background-resume)
        (smtpmail-test-wait "the question" (lambda () (> (smtpmail-ask-count) 0)))
        (should-not (smtpmail-test-messages server))
        (smtpmail-ask--now))
      (when answer (smtpmail-background-tests--wait 'sent))
      (should (equal (smtpmail-background-tests--states) states))
      (should (= (length (smtpmail-test-messages server)) (if answer 1 0))))))

(provide 'smtpmail-background-later-tests)

;;; smtpmail-background-later-tests.el ends here
