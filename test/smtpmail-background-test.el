;;; smtpmail-background-test.el --- What tests of background sending share  -*- lexical-binding: t -*-

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

;; A server, an outbox and an Emacs that counts as interactive, but in which
;; nobody is asked anything, and what its hooks were told.  No test lives here.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-background)
(require 'smtpmail-accepted)
(require 'smtpmail-ask)
(require 'smtpmail-leave)
(require 'smtpmail-mode-line)
(require 'smtpmail-notice)
(require 'smtpmail-undo)

(defvar smtpmail-background-tests--told nil
  "What the hooks were called with, (HOOK . FACTS), the last one first.")

(defun smtpmail-background-tests--sent (facts)
  "Note that `smtpmail-sent-functions' told FACTS."
  (push (cons 'sent facts) smtpmail-background-tests--told))

(defun smtpmail-background-tests--failed (facts)
  "Note that `smtpmail-failed-functions' told FACTS."
  (push (cons 'failed facts) smtpmail-background-tests--told))

(defun smtpmail-background-tests--reset ()
  "Forget everything that goes in the background."
  (dolist (process (smtpmail-background--couriers))
    (smtpmail-background--stop-courier process 'leaving)
    (smtpmail-background--discard process))
  (setq smtpmail-background--mails nil
        smtpmail-background--rung nil
        smtpmail-notice--list nil
        smtpmail-background-tests--told nil)
  (smtpmail-background--set-alarm)
  (smtpmail--close-connections)
  (smtpmail-mode-line-update))

(defmacro smtpmail-background-tests--with (spec &rest body)
  "Run BODY with a server and an outbox, and sending in the background on.
SPEC is as in `smtpmail-test-with-server'."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-server ,spec
     (smtpmail-test-with-directory queue
       (let ((smtpmail-queue-dir queue)
             (smtpmail-send-in-background t)
             (smtpmail-undo-seconds 0)
             (smtpmail-wait-for-acceptance nil)
             (smtpmail-background--network-pause 0.2)
             (smtpmail-background--refusal-pause 0.2)
             (smtpmail-background--resumed t)
             (smtpmail-sent-functions '(smtpmail-background-tests--sent))
             (smtpmail-failed-functions '(smtpmail-background-tests--failed))
             (noninteractive nil))
         (smtpmail-background-tests--reset)
         (unwind-protect (progn ,@body)
           (smtpmail-background-tests--reset))))))

(defun smtpmail-background-tests--wait (&rest kinds)
  "Wait until KINDS, `sent' or `failed', were told, in any order.
Return the facts, the first one first."
  (smtpmail-test-wait
   (format "%S" kinds)
   (lambda ()
     (and (>= (length smtpmail-background-tests--told) (length kinds))
          (not (smtpmail-background--couriers)))))
  (let ((told (reverse smtpmail-background-tests--told)))
    (should (equal (sort (mapcar #'car told) #'string<)
                   (sort kinds #'string<)))
    (setq smtpmail-background-tests--told nil)
    (mapcar #'cdr told)))

(defun smtpmail-background-tests--states ()
  "Return the states of the entries in the outbox."
  (mapcar (lambda (entry) (plist-get entry :state))
          (plist-get (smtpmail-outbox-entries) :entries)))

(defun smtpmail-background-tests--send (&optional subject header)
  "Send a message with SUBJECT and HEADER; it must not fail."
  (should-not (smtpmail-test-send
               (format "To: you@example.net\nSubject: %s\n%s" (or subject "Hi")
                       (or header "")))))

(provide 'smtpmail-background-test)

;;; smtpmail-background-test.el ends here
