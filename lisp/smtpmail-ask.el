;;; smtpmail-ask.el --- ask the user when it does not disturb  -*- lexical-binding: t -*-

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

;; What runs in the background may have a question.  It is asked when Emacs
;; is idle: never while a key sequence or a search is under way, never over a
;; minibuffer in use, never in a filter.  Questions wait in order; they are
;; functions, so they are kept as a property of a symbol and in no variable.
;;
;; What is asked, and what is made of the answer, is not known here.

;;; Code:

(require 'smtpmail-auth)

(declare-function smtpmail-mode-line-update "smtpmail-mode-line" ())
(autoload 'smtpmail-mode-line-update "smtpmail-mode-line")

(defconst smtpmail-ask--pause 0.5
  "Seconds for which the user must have done nothing before a question.")

(defun smtpmail-ask--waiting ()
  "Return the questions that wait, a list of functions."
  (get 'smtpmail-ask-later 'smtpmail-ask--waiting))

(defun smtpmail-ask--set-waiting (functions)
  "Let FUNCTIONS be the questions that wait."
  (put 'smtpmail-ask-later 'smtpmail-ask--waiting functions)
  (smtpmail-mode-line-update))

(defun smtpmail-ask-later (function)
  "Call FUNCTION, which asks the user something, when it does not disturb.
A quit in it is a quit, though timers inhibit that."
  (smtpmail-ask--set-waiting
   (append (smtpmail-ask--waiting) (list function)))
  (smtpmail-ask--set-timer))

(defun smtpmail-ask-count ()
  "Return how many questions wait for the user."
  (length (smtpmail-ask--waiting)))

(defun smtpmail-ask-all ()
  "Ask all that waits now, because the user is about to leave."
  (let ((count (smtpmail-ask-count)))
    (while (and (> count 0) (smtpmail-ask--possible-p))
      (setq count (1- count))
      (smtpmail-ask--now))))

(defun smtpmail-ask--set-timer ()
  "Look for an opportunity as soon as Emacs is idle for a while."
  (cancel-function-timers #'smtpmail-ask--when-idle)
  ;; In an idle Emacs a timer for less than it is idle would wait for the
  ;; next pause.
  (run-with-idle-timer (time-add smtpmail-ask--pause (or (current-idle-time) 0))
                       nil #'smtpmail-ask--when-idle))

(defun smtpmail-ask--possible-p ()
  "Return non-nil if a question would not disturb."
  (and (smtpmail-auth-can-prompt-p)
       (not executing-kbd-macro)
       (not (bound-and-true-p isearch-mode))
       (not (input-pending-p))))

(defun smtpmail-ask--undisturbing-p ()
  "Return non-nil if the user is not in the middle of a key sequence either."
  (and (smtpmail-ask--possible-p)
       (equal (this-command-keys-vector) [])))

(defun smtpmail-ask--when-idle ()
  "Ask the first question that waits, if it does not disturb."
  (if (smtpmail-ask--undisturbing-p)
      (smtpmail-ask--now)
    (when (smtpmail-ask--waiting)
      (smtpmail-ask--set-timer))))

(defun smtpmail-ask--now ()
  "Ask the first question that waits."
  (when-let ((functions (smtpmail-ask--waiting)))
    (unwind-protect
        (progn
          (smtpmail-ask--set-waiting (cdr functions))
          (condition-case problem
              (let ((inhibit-quit nil))
                (funcall (car functions)))
            (quit nil)
            (error (message "%s" (error-message-string problem)))))
      (when (smtpmail-ask--waiting)
        (smtpmail-ask--set-timer)))))

(provide 'smtpmail-ask)

;;; smtpmail-ask.el ends here
