;;; smtpmail-background.el --- send while Emacs goes on  -*- lexical-binding: t -*-

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

;; With `smtpmail-send-in-background' a message goes into the outbox, and
;; from there to the server while the user does something else.  What takes it
;; there is in smtpmail-couriers.el.

;;; Code:

(require 'subr-x)
(require 'smtpmail-options)
(require 'smtpmail-background-mail)
(require 'smtpmail-couriers)
(require 'smtpmail-delivery)
(require 'smtpmail-accounts)
(require 'smtpmail-message)
(require 'smtpmail-outbox)
(require 'smtpmail-proxy)
(require 'smtpmail-session)

(declare-function smtpmail--send "smtpmail" (message))
(declare-function smtpmail--text "smtpmail" (buffer coding))
(declare-function smtpmail--host "smtpmail" ())
(declare-function smtpmail--account-request "smtpmail" (host))
(declare-function smtpmail--sender "smtpmail" (buffer))

(autoload 'smtpmail-accepted-keep "smtpmail-accepted")

;;;; Into the outbox

(defvar smtpmail-background--order nil
  "While a message is handed over to the background: a plist about it, or nil.
`smtpmail-via-smtp' then calls `smtpmail-background-accept', which adds
:mail.")

(defun smtpmail-background-wanted-p (message)
  "Return non-nil if MESSAGE, a `smtpmail-message', goes in the background."
  (and smtpmail-send-in-background
       (not noninteractive)
       (stringp smtpmail-queue-dir)
       (or (not (functionp smtpmail-send-in-background))
           (with-current-buffer (smtpmail-message-buffer message)
             (funcall smtpmail-send-in-background
                      (list :recipients (smtpmail-message-recipients message)
                            :sender (smtpmail-message-sender message)
                            :subject (smtpmail-message-subject message)
                            :message-id (smtpmail-message-message-id message)
                            :octets (buffer-size)))))))

(defun smtpmail-background-send (message &optional time)
  "Put MESSAGE, a `smtpmail-message', into the outbox and let it go from there.
TIME non-nil is when it goes, in seconds since 1970.  Return a word for
what was done: it may have been sent by other means."
  (let* ((undo (and (not time) (> smtpmail-undo-seconds 0)))
         (smtpmail-background--order
          (list :message-id (smtpmail-message-message-id message)
                :subject (smtpmail-message-subject message)
                :undo undo
                :fcc (and smtpmail-wait-for-acceptance
                          (mapcar #'car (smtpmail-message-fcc message)))
                :time (or time
                          (and undo (+ (float-time) smtpmail-undo-seconds)))))
         (word (smtpmail--send message))
         (mail (plist-get smtpmail-background--order :mail)))
    (cond ((not mail) word)
          (t (when smtpmail-wait-for-acceptance
               (smtpmail-accepted-keep mail message))
             (when (smtpmail-message-fcc message)
               (push (format "the copy in %s"
                             (mapconcat (lambda (copy)
                                          (abbreviate-file-name (car copy)))
                                        (smtpmail-message-fcc message) ", "))
                     (smtpmail-background-mail-done mail)))
             (smtpmail-background--tell-queued mail)
             "Queued"))))

(defun smtpmail-background--tell-queued (mail)
  "Tell the user that MAIL is in the outbox and will go."
  (let ((time (smtpmail-background-mail-time mail)))
    (message
     "%s"
     (cond ((smtpmail-background-mail-undoable mail)
            (format "Goes in %d s; %s takes it back" smtpmail-undo-seconds
                    (substitute-command-keys "\\[smtpmail-undo]")))
           (time (format "Goes at %s"
                         (format-time-string "%F %R" time)))
           (t (format "Sending %s in the background"
                      (smtpmail-background--label mail)))))))

(defun smtpmail-background-accept (recipients buffer)
  "Put the text in BUFFER, for RECIPIENTS, into the outbox, durably.
Called by `smtpmail-via-smtp', so that the variables are what advice has
made of them; they are kept.  Return nil: there is no failure yet."
  (require 'smtpmail-leave)
  (smtpmail-background--resume-once)
  (let* ((order smtpmail-background--order)
         (host (smtpmail--host))
         (account (smtpmail--account-request host))
         ;; Timers that run meanwhile may send.
         (smtpmail-background--order nil)
         (time (plist-get order :time))
         (mail (smtpmail-background--make-mail
                :place (smtpmail-outbox--place)
                :account account
                :variables (smtpmail-background--variables)
                :sender (smtpmail--sender buffer)
                :recipients (mapcar #'smtpmail-maybe-append-domain recipients)
                :options (smtpmail-delivery-values buffer)
                :subject (plist-get order :subject)
                :message-id (plist-get order :message-id)
                :fcc (plist-get order :fcc)
                :undoable (plist-get order :undo)
                :state (if time 'held 'waiting)
                :time time))
         (report (smtpmail-session-ask-outbox
                  `( :job add
                     ,@(smtpmail-background-mail-place mail)
                     :recipients ,(smtpmail-background-mail-recipients mail)
                     :sender ,(smtpmail-background-mail-sender mail)
                     :message-id ,(smtpmail-background-mail-message-id mail)
                     :not-before ,time
                     :account ,(smtpmail-accounts-name)
                     :facts ,(smtpmail-background--kept-facts mail)
                     :stored-server (,smtpmail-smtp-server)
                     :stored-stream-type (,smtpmail-stream-type)
                     :stored-service (,smtpmail-smtp-service)
                     :stored-user (,smtpmail-smtp-user)
                     ,@(smtpmail--text buffer smtpmail-code-conv-from)))))
    (when-let ((warning (plist-get report :warning)))
      (display-warning 'smtpmail (format "In the outbox, but: %s" warning)))
    (setf (smtpmail-background-mail-name mail) (plist-get report :name))
    ;; In place: the caller has this very list.
    (plist-put order :mail mail)
    (smtpmail-background-add mail)
    nil))

(defun smtpmail-background--variables ()
  "Return the variables that say over which account mail goes now, an alist.
An advice to `smtpmail-via-smtp' may have set them otherwise than the
account in force."
  (mapcar (lambda (variable) (cons variable (symbol-value variable)))
          (delete-dups
           `( smtpmail-accounts--current
              ,@smtpmail--stored-queue-variables
              ,@(and (consp smtpmail-accounts--current)
                     (mapcar #'car (smtpmail-accounts-bindings
                                    smtpmail-accounts--current)))))))

(defvar smtpmail-background--resumed nil
  "Non-nil if mail that another Emacs left was looked for.")

(defun smtpmail-background--resume-once ()
  "Look for mail that another Emacs left, if that was not done yet."
  (unless smtpmail-background--resumed
    (setq smtpmail-background--resumed t)
    (run-with-timer 1 nil #'smtpmail-background--guarded
                    #'smtpmail-background-resume)))

(declare-function smtpmail-background-resume "smtpmail-leave" ())

(defun smtpmail-background--kept-facts (mail)
  "Return what the outbox keeps with MAIL, so that another Emacs can go on."
  `((background . ,(smtpmail-background-owner))
    ,@(smtpmail-proxy-facts)
    ,@(smtpmail-delivery-facts (smtpmail-background-mail-options mail))
    ,@(and (smtpmail-background-mail-fcc mail)
           `((fcc . ,(string-join (smtpmail-background-mail-fcc mail) "\n"))))
    ,@(and (smtpmail-background-mail-time mail)
           (not (smtpmail-background-mail-undoable mail))
           '((scheduled . t)))))

(defun smtpmail-background-owner ()
  "Return a text that names this Emacs among all."
  (format "%s %d %s" (system-name) (emacs-pid)
          (format-time-string "%s" before-init-time)))

(defun smtpmail-background-add (mail)
  "Let MAIL, which is in the outbox, go when its turn comes."
  (setq smtpmail-background--mails
        (append smtpmail-background--mails (list mail)))
  (smtpmail-background-wake))

(provide 'smtpmail-background)

;; That file needs this one.
(require 'smtpmail-outcome)

;;; smtpmail-background.el ends here
