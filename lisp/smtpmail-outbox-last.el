;;; smtpmail-outbox-last.el --- what a stopped flush still has in hand  -*- lexical-binding: t -*-

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

;; A flush that is quit gives Emacs back at once.  What the server has in hand
;; then, whose end is written, is finished by the engine, within its time
;; limits, and its outcome is told here when it comes.  Nothing further is begun.

;;; Code:

(require 'seq)
(require 'smtpmail-options)
(require 'smtpmail-session)
(require 'smtpmail-outbox)

(declare-function smtpmail-module--finish-current "ext:exports.rs" (delivery))
(declare-function smtpmail-module--cancel "ext:exports.rs" (delivery))
(declare-function smtpmail-module--events "ext:exports.rs" (delivery))

(defun smtpmail-outbox-last--processes ()
  "Return the processes of flushes that were quit and have mail in hand."
  (seq-filter (lambda (process) (process-get process 'smtpmail-last))
              (process-list)))

(defun smtpmail-outbox-last-take (session entry)
  "Let SESSION, of a flush that was quit, end in the background.
Return nil if the server has nothing of it in hand: then it is stopped.
ENTRY is the name of the only entry, where there is one."
  (when (smtpmail-module--finish-current (smtpmail-session-delivery session))
    (let ((process (smtpmail-session-process session)))
      ;; What was over before belongs to what the flush says.
      (smtpmail-session--take-words session)
      (process-put process 'smtpmail-last session)
      (process-put process 'smtpmail-entry entry)
      (process-put process 'smtpmail-each (smtpmail-session-each session))
      (setf (smtpmail-session-each session)
            (lambda (report) (smtpmail-outbox-last--note process report)))
      (set-process-filter process #'smtpmail-outbox-last--rung)
      ;; It may have rung before.
      (smtpmail-outbox-last--rung process "")
      t)))

(defun smtpmail-outbox-last--note (process report)
  "Note REPORT, of a message of the flush of PROCESS, which was quit."
  (let ((session (process-get process 'smtpmail-last))
        (smtpmail-outbox--outcomes nil)
        (smtpmail-outbox--count 0)
        (inhibit-message t)
        (message-log-max nil))
    (if (process-get process 'smtpmail-each)
        (funcall (process-get process 'smtpmail-each) report)
      (smtpmail-outbox--note
       (list :name (process-get process 'smtpmail-entry))
       (smtpmail-outbox--outcome report (smtpmail-session-host session)
                                 (smtpmail-session-port session))
       1))
    (process-put process 'smtpmail-outcomes
                 (append (process-get process 'smtpmail-outcomes)
                         smtpmail-outbox--outcomes))))

(defun smtpmail-outbox-last--rung (process _octets)
  "Take the events of PROCESS soon; a filter must do nothing else."
  (run-with-timer 0 nil #'smtpmail-outbox-last--serve process))

(defun smtpmail-outbox-last--serve (process)
  "Take the events of PROCESS, and tell the outcomes once all are known."
  (when-let ((session (process-get process 'smtpmail-last)))
    (condition-case problem
        (progn
          (smtpmail-session--take-words session)
          (when (eq (smtpmail-session-over session) 'done)
            (process-put process 'smtpmail-last nil)
            (smtpmail-session--end session t)
            (message "%s" (smtpmail-outbox-last--told
                           (process-get process 'smtpmail-outcomes)))))
      (error (message "%s" (error-message-string problem))))))

(defun smtpmail-outbox-last--told (outcomes)
  "Return what to tell of OUTCOMES, (ENTRY . OUTCOME), after a flush was quit.
Those that were stopped with it are not told once more."
  (let* ((smtpmail-outbox--outcomes
          (seq-remove (lambda (outcome) (equal (cdr outcome) '(wait . "stopped")))
                      outcomes))
         (others (seq-filter (lambda (outcome) (consp (cdr outcome)))
                             smtpmail-outbox--outcomes))
         (sent (+ (seq-count (lambda (outcome) (null (cdr outcome)))
                             smtpmail-outbox--outcomes)
                  (length (smtpmail-outbox--of-kind 'sent)))))
    (concat "After the stop: "
            (if smtpmail-outbox--outcomes
                (smtpmail-outbox--counted sent)
              "nothing was sent")
            (and others (concat "; " (smtpmail-outbox--named others))))))

(defun smtpmail-outbox-last-stop ()
  "Stop at once what flushes that were quit have in hand.
Return non-nil if there was anything.  What the server may have taken is
unknown then."
  (let ((processes (smtpmail-outbox-last--processes)))
    (dolist (process processes)
      (smtpmail-module--cancel
       (smtpmail-session-delivery (process-get process 'smtpmail-last))))
    processes))

(defun smtpmail-outbox-last--leave ()
  "Ask what becomes of mail in hand; return nil if Emacs shall stay.
For `kill-emacs-query-functions'."
  (or (null (smtpmail-outbox-last--processes))
      noninteractive
      (pcase (car (read-multiple-choice
                   "A queued message is being sent: wait, or leave without \
knowing how it ends?"
                   '((?w "wait" "Wait for the server's answer, then leave Emacs")
                     (?l "leave" "Leave Emacs; the outbox asks about it later")
                     (?s "stay" "Stay in Emacs"))))
        (?w (while (smtpmail-outbox-last--processes)
              (let ((message-log-max nil))
                (message "Waiting for the server's answer (C-g stops waiting)"))
              (sit-for 0.1))
            t)
        (?l t)
        (_ nil))))

(add-hook 'kill-emacs-query-functions #'smtpmail-outbox-last--leave)

(provide 'smtpmail-outbox-last)

;;; smtpmail-outbox-last.el ends here
