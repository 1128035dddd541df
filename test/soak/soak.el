;;; soak.el --- An Emacs that sends and sends  -*- lexical-binding: t -*-

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

;; What test/soak/soak.py loads into an Emacs in a terminal: it sends messages
;; of mixed kinds in the background and notes in a journal what it does, one
;; Lisp object a line.  Which number is of which kind is decided by chance, and
;; noted.  It goes on where an Emacs before it was killed.

;;; Code:

(require 'cl-lib)
(require 'json)
(require 'message)
(require 'mml)
(require 'sendmail)
(require 'smtpmail)
(require 'smtpmail-background)
(require 'smtpmail-outcome)
(require 'smtpmail-leave)

(defconst soak-most-waiting 200
  "No more messages than this are under way, so that a kill hits some of each.")

(defconst soak-tick 0.02
  "Seconds between two messages, if Emacs is no busier than that.")

(defvar soak-job nil
  "What the program said, a plist: :directory, :next, :last, :accounts, :ca, :octets.")

(defvar soak--next nil
  "Number of the next message.")

(defvar soak--number nil
  "Number of the message that is being sent.")

(defun soak--note (&rest object)
  "Add OBJECT, a list, to the journal."
  (let ((write-region-inhibit-fsync t)
        (coding-system-for-write 'utf-8-unix)
        (print-escape-newlines t))
    (write-region (concat (json-encode (vconcat object)) "\n") nil
                  (expand-file-name "journal" (plist-get soak-job :directory))
                  'append 'quiet)))

;;;; What is noted

(defun soak--prepared (_recipients buffer &rest _)
  "Note what is sent: the octets in BUFFER."
  (with-current-buffer buffer
    (soak--note "prepared" soak--number
                (secure-hash 'sha256
                             (if enable-multibyte-characters
                                 (encode-coding-string (buffer-string) 'utf-8-unix)
                               (buffer-string))))))

(defun soak--number-of (facts)
  "Return the number of the message that FACTS are about."
  (string-to-number (plist-get facts :subject)))

(defun soak--sent (facts)
  "Note that the message of FACTS was accepted, for whom, and the server's words."
  (soak--note "sent" (soak--number-of facts)
              (plist-get facts :reply)
              (vconcat (mapcar (lambda (recipient) (plist-get recipient :address))
                               (seq-filter (lambda (recipient)
                                             (plist-get recipient :accepted))
                                           (plist-get facts :recipients))))))

(defun soak--failed (facts)
  "Note that the message of FACTS was not sent, and why."
  (soak--note "failed" (soak--number-of facts)
              (symbol-name (plist-get facts :state))
              (plist-get facts :reason)))

;;;; Messages

(defun soak--text (lines)
  "Return LINES lines of text, of which some begin with a dot."
  (mapconcat (lambda (number)
               (format "%s%d The quick brown fox jumps over the lazy dog"
                       (if (zerop (random 9)) "." "") number))
             (number-sequence 1 lines) "\n"))

(defun soak--recipients (kind number)
  "Return the recipients of message NUMBER, of KIND."
  (let ((good (lambda (index) (format "r%d-%d@example.org" number index)))
        (refused (format "refused%d@example.org" number))
        (grey (format "grey%d@example.org" number)))
    (pcase kind
      ('several (mapcar good (number-sequence 1 (+ 2 (random 19)))))
      ('refused (list refused))
      ('some-refused (list (funcall good 1) refused (funcall good 2)))
      ('greylisted (list grey))
      ('some-greylisted (list (funcall good 1) grey (funcall good 2)))
      (_ (list (funcall good 1))))))

(defconst soak--kinds
  '((plain . 45) (several . 12) (8-bit . 15) (attachment . 10) (large . 1)
    (refused . 3) (some-refused . 4) (greylisted . 6) (some-greylisted . 4))
  "Kinds of messages, and how often each comes.")

(defun soak--kind ()
  "Return a kind by chance."
  (let ((draw (random (apply #'+ (mapcar #'cdr soak--kinds))))
        (kinds soak--kinds))
    (while (>= draw (cdar kinds))
      (setq draw (- draw (cdr (pop kinds)))))
    (caar kinds)))

(defun soak--send-mail (recipients lines)
  "Send a mail with LINES lines to RECIPIENTS as Mail mode does."
  (with-temp-buffer
    (insert "To: " (string-join recipients ",\n\t") "\n"
            "Subject: " (number-to-string soak--number) "\n"
            mail-header-separator "\n" (soak--text lines) "\n")
    (smtpmail-send-it)))

(defun soak--send-message (recipients attachments)
  "Send a message to RECIPIENTS as Message mode does, with so many ATTACHMENTS."
  (save-window-excursion
    (message-mail (string-join recipients ", ") (number-to-string soak--number))
    (message-goto-body)
    (insert "Grüße, Здравствуйте, 你好!\n" (soak--text (1+ (random 40))) "\n")
    (dotimes (_ attachments)
      (mml-insert-empty-tag 'part 'type "application/octet-stream"
                            'filename (plist-get soak-job :octets)
                            'disposition "attachment"))
    (message-send-and-exit)))

(defun soak--send-one ()
  "Send the next message."
  (let* ((soak--number soak--next)
         (kind (soak--kind))
         (user-mail-address (nth (random 3) '("alice@example.org" "alice@tls.example"
                                              "alice@starttls.example")))
         (recipients (soak--recipients kind soak--number)))
    (setq soak--next (1+ soak--next))
    (soak--note "begun" soak--number (symbol-name kind) (vconcat recipients))
    (pcase kind
      ('8-bit (soak--send-message recipients 0))
      ('attachment (soak--send-message recipients (1+ (random 4))))
      ('large (soak--send-message recipients 40))
      (_ (soak--send-mail recipients (1+ (random 60)))))
    (soak--note "handed-over" soak--number)))

;;;; Going on

(defun soak--retry-stuck ()
  "Press \"Try again\" for what waits for the user, as one does who looked at it."
  (dolist (mail (smtpmail-background-mails 'stuck))
    (soak--note "retried" (string-to-number (smtpmail-background-mail-subject mail))
                (smtpmail-background-mail-why mail))
    (smtpmail-background-retry mail)))

(defun soak--turn ()
  "Send a message if there are not too many, and come back."
  (condition-case problem
      (soak--retry-stuck)
    (error (soak--note "error" soak--next (error-message-string problem))))
  (condition-case problem
      (if (> soak--next (plist-get soak-job :last))
          (unless smtpmail-background--mails
            (soak--note "idle" soak--next))
        (when (< (length smtpmail-background--mails) soak-most-waiting)
          (soak--send-one)))
    (error (soak--note "error" soak--next (error-message-string problem))))
  (run-with-timer (if (> soak--next (plist-get soak-job :last)) 1 soak-tick)
                  nil #'soak--turn))

(defun soak-start (job)
  "Do what JOB, a plist, says."
  (setq soak-job job
        soak--next (plist-get job :next)
        smtpmail-accounts (plist-get job :accounts)
        auth-sources (list (plist-get job :authinfo))
        gnutls-trustfiles (list (plist-get job :ca))
        smtpmail-trust-file nil
        smtpmail-queue-dir (expand-file-name "queue/" (plist-get job :directory))
        smtpmail-send-in-background t
        smtpmail-on-refused-recipients 'send-rest
        ;; So that it takes minutes: what takes hours otherwise.
        smtpmail-timeout 5
        smtpmail-connect-timeout 5
        smtpmail-background--network-pause 1
        smtpmail-background--refusal-pause 2
        smtpmail-sent-functions (list #'soak--sent)
        smtpmail-failed-functions (list #'soak--failed)
        user-full-name "Alice"
        send-mail-function #'smtpmail-send-it
        message-send-mail-function #'smtpmail-send-it
        message-kill-buffer-on-exit t
        message-auto-save-directory nil
        message-confirm-send nil
        message-signature nil
        message-generate-hashcash nil
        message-mail-alias-type nil
        mail-personal-alias-file nil
        mm-coding-system-priorities '(utf-8)
        create-lockfiles nil
        native-comp-jit-compilation nil
        native-comp-deferred-compilation nil)
  (advice-add 'smtpmail-via-smtp :before #'soak--prepared)
  (random t)
  (soak--note "started" soak--next (emacs-pid))
  (run-with-timer 0.5 nil #'soak--turn))

(defun soak-print-outbox (directory)
  "Print what is left in the outbox in DIRECTORY, as JSON."
  (setq smtpmail-queue-dir directory)
  (princ (json-encode
          (vconcat (mapcar (lambda (entry)
                             `((subject . ,(plist-get entry :subject))
                               (state . ,(symbol-name (plist-get entry :state)))
                               (recipients . ,(vconcat (plist-get entry :recipients)))))
                           (plist-get (smtpmail-outbox-entries) :entries))))))

(provide 'soak)

;;; soak.el ends here
