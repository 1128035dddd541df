;;; smtpmail-background-mail.el --- Messages that go in the background  -*- lexical-binding: t -*-

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

;; What Emacs knows of a message of the outbox that goes in the background, and
;; the list of them.  It prints and reads back, for packages copy all variables
;; of smtpmail to another Emacs.  Nothing is sent from here.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-options)
(require 'smtpmail-methods)

(autoload 'smtpmail-mode-line-update "smtpmail-mode-line")
(autoload 'smtpmail-notice-withdraw "smtpmail-notice")

;;;; A message on its way

(cl-defstruct (smtpmail-background-mail
               (:constructor smtpmail-background--make-mail)
               (:copier nil))
  "A message of the outbox that goes in the background.  It prints."
  (name nil :documentation "Its entry in the outbox.")
  (place nil :documentation "Where the outbox is, as part of a request.")
  (account nil :documentation "The part of a request that its account says.")
  (variables nil :documentation "Alist of variables that say which account.")
  (sender nil :documentation "Reverse-path.")
  (recipients nil :documentation "Those who wait for it.")
  (options nil :documentation "Alist of what it asks of the server.")
  (subject nil :documentation "Its subject, decoded, or nil.")
  (message-id nil :documentation "Its Message-ID.")
  (state 'waiting :documentation
         "`held', `waiting', `sending', `delayed' or `stuck' (needs the user).")
  (time nil :documentation "When it goes, if held or delayed; float seconds.")
  (tries 0 :documentation "How often it was tried in vain.")
  (troubled nil :documentation "Since when it is delayed, or nil.")
  (why nil :documentation "Why it was not sent, a sentence, or nil.")
  (reason nil :documentation "`network' or `refusal', if delayed.")
  (done nil :documentation "What the client did already, a list of texts.")
  (undoable nil :documentation "Non-nil while it can be taken back.")
  (fcc nil :documentation "Files of copies to be written when it is sent."))

(defvar smtpmail-background--mails nil
  "Messages that go in the background, `smtpmail-background-mail', in order.")

(defun smtpmail-background-mails (&rest states)
  "Return the messages that go in the background and are in one of STATES.
All, if there are none."
  (seq-filter (lambda (mail)
                (or (null states)
                    (memq (smtpmail-background-mail-state mail) states)))
              smtpmail-background--mails))

(defun smtpmail-background-mail-named (name)
  "Return the message of the entry NAME that goes in the background, or nil."
  (seq-find (lambda (mail) (equal name (smtpmail-background-mail-name mail)))
            smtpmail-background--mails))

(defun smtpmail-background--label (mail)
  "Return a short text that tells MAIL from others."
  (let ((subject (smtpmail-background-mail-subject mail)))
    (if (or (null subject) (string-empty-p subject))
        (format "the message to %s"
                (smtpmail-visible-text
                 (string-join (smtpmail-background-mail-recipients mail) ", ")))
      (format "\"%s\""
              (truncate-string-to-width (smtpmail-visible-text subject)
                                        40 nil nil t)))))

(defun smtpmail-background--key (mail)
  "Return what MAIL must have in common with another one of its courier."
  (let ((account (smtpmail-background-mail-account mail)))
    (list (mapcar (lambda (key) (plist-get account key))
                  '( :host :port :proxy :security :ehlo-name :refused-recipients
                     :pins :client-key :client-certificate :login-account))
          (smtpmail-background-mail-place mail))))

(defun smtpmail-background--facts (mail &rest more)
  "Return the facts of MAIL for a hook, a plist that begins with MORE."
  (append more
          (list :message-id (smtpmail-background-mail-message-id mail)
                :subject (smtpmail-background-mail-subject mail)
                :sender (smtpmail-background-mail-sender mail)
                :entry (smtpmail-background-mail-name mail)
                :server (plist-get (smtpmail-background-mail-account mail) :host))))

(defun smtpmail-background--run-hook (hook facts)
  "Run HOOK with FACTS; a function that fails is told of, and stops no other."
  (run-hook-wrapped
   hook (lambda (function)
          (condition-case problem
              (funcall function facts)
            (error (display-warning
                    'smtpmail (format "%s in `%s': %s" function hook
                                      (error-message-string problem)))))
          nil)))

(defun smtpmail-background-forget (mail)
  "Let MAIL be no longer a message that goes in the background."
  (setq smtpmail-background--mails (delq mail smtpmail-background--mails))
  (smtpmail-notice-withdraw (smtpmail-background-mail-name mail))
  (smtpmail-mode-line-update))

(provide 'smtpmail-background-mail)

;;; smtpmail-background-mail.el ends here
