;;; smtpmail-outbox-unknown.el --- mail that may have been sent  -*- lexical-binding: t -*-

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

;; When a connection breaks after the end of a message and before its reply,
;; nobody knows whether the server has the message.  It is never sent again by
;; itself; the user is asked, once for all such messages, and only where
;; somebody is there to answer.

;;; Code:

(require 'seq)
(require 'smtpmail-options)
(require 'smtpmail-auth)
(require 'smtpmail-methods)

(declare-function smtpmail-outbox-title "smtpmail-outbox" (entry))
(declare-function smtpmail-outbox-entries "smtpmail-outbox" ())
(declare-function smtpmail-outbox-change "smtpmail-outbox"
                  (job entry &rest more))

(defconst smtpmail-outbox-unknown--named 3
  "How many messages the question names.")

(defvar smtpmail-outbox-unknown--left nil
  "Names of entries that the user has left as they are.
They are not asked about again by this Emacs; the outbox lists them.")

(defun smtpmail-outbox-unknown--entries ()
  "Return the entries that the user is to be asked about."
  (seq-filter (lambda (entry)
                (and (eq (plist-get entry :state) 'unknown)
                     (not (member (plist-get entry :name)
                                  smtpmail-outbox-unknown--left))))
              (plist-get (smtpmail-outbox-entries) :entries)))

(defun smtpmail-outbox-unknown--question (entries)
  "Return what to ask about ENTRIES."
  (format "%s may have been delivered, but the answer was lost: %s%s"
          (if (cdr entries) (format "%d messages" (length entries)) "A message")
          (mapconcat
           (lambda (entry)
             (format "%s to %s" (smtpmail-outbox-title entry)
                     (smtpmail-visible-text
                      (string-join (plist-get entry :recipients) ", "))))
           (seq-take entries smtpmail-outbox-unknown--named) "; ")
          (if (nthcdr smtpmail-outbox-unknown--named entries) "; …" "")))

(defun smtpmail-outbox-unknown-ask ()
  "Ask once what is to become of all mail that may have been sent.
Return those that shall be sent again, entries that wait now.  Nobody is
asked where nobody can answer; a quit leaves all as it is."
  (when-let ((entries (and (smtpmail-auth-can-prompt-p)
                           (smtpmail-outbox-unknown--entries))))
    (pcase (car (read-multiple-choice
                 (smtpmail-outbox-unknown--question entries)
                 '((?l "leave" "Leave them in the outbox, as unknown")
                   (?r "resend" "Send again, with the same Message-ID, so that \
some mail programs show them only once")
                   (?d "drop" "Delete them: they were delivered, or do not matter"))))
      (?r (seq-filter (lambda (entry)
                        (smtpmail-outbox-change 'release entry))
                      entries))
      (?d (let ((dropped (seq-count (lambda (entry)
                                      (smtpmail-outbox-change 'drop entry))
                                    entries)))
            (message "Dropped %d" dropped)
            nil))
      (_ (setq smtpmail-outbox-unknown--left
               (append (mapcar (lambda (entry) (plist-get entry :name)) entries)
                       smtpmail-outbox-unknown--left))
         nil))))

(provide 'smtpmail-outbox-unknown)

;;; smtpmail-outbox-unknown.el ends here
