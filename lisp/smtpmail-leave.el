;;; smtpmail-leave.el --- background sending across Emacsen  -*- lexical-binding: t -*-

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

;; Leaving Emacs while mail is on its way asks people first, and stops the
;; couriers in any case, for a bounded time.  What is left is in the outbox;
;; the next Emacs goes on with it, once the one that left it is gone.

;;; Code:

(require 'smtpmail-background)
(require 'smtpmail-ask)

(declare-function smtpmail-module--outbox "ext:exports.rs" (request pipe))

(declare-function smtpmail-module--events "ext:exports.rs" (delivery))
(declare-function smtpmail--host "smtpmail" ())
(declare-function smtpmail-notice-refused "smtpmail-notice" (mail why state))
(declare-function smtpmail--account-request "smtpmail" (host))
(declare-function smtpmail-accepted-recover "smtpmail-accepted" (mail))
(autoload 'smtpmail-accepted-recover "smtpmail-accepted")

(defconst smtpmail-leave--limit 3.0
  "Most seconds that leaving Emacs waits for couriers that were stopped.
They have to write down how far they came.")

(defconst smtpmail-leave--other-pause 60
  "Seconds until we look again whether an Emacs is gone that has mail left.")

;;;; Leaving

(defun smtpmail-leave--under-way ()
  "Return the messages that are sent soon if Emacs stays."
  (append (smtpmail-background-mails 'sending 'waiting)
          (seq-filter #'smtpmail-background-mail-undoable
                      (smtpmail-background-mails 'held))))

(defun smtpmail-leave--query ()
  "Ask what becomes of mail on its way; return nil if Emacs shall stay.
For `kill-emacs-query-functions'."
  ;; Among them may be copies of what was accepted already.
  (smtpmail-ask-all)
  (let ((count (+ (length (smtpmail-leave--under-way))
                  (length (smtpmail-background-mails 'delayed)))))
    (or (zerop count)
        noninteractive
        (pcase (car (read-multiple-choice
                     (format "%s being sent: wait, or leave %s in the outbox?"
                             (if (= count 1) "1 message is"
                               (format "%d messages are" count))
                             (if (= count 1) "it" "them"))
                     '((?w "wait" "Wait until all is sent, then leave Emacs")
                       (?l "leave" "Leave Emacs; the next one sends them")
                       (?s "stay" "Stay in Emacs"))))
          (?w (smtpmail-leave--wait))
          (?l t)
          (_ nil)))))

(defun smtpmail-leave--wait ()
  "Wait until no message is on its way; return nil if one needs the user.
\\`C-g' stops waiting, and Emacs stays."
  (let ((left 0))
    (while (> (setq left (length (smtpmail-leave--under-way))) 0)
      (let ((message-log-max nil))
        (message "Sending %d message%s (C-g stops waiting)" left
                 (if (= left 1) "" "s")))
      (sit-for 0.1)
      (smtpmail-background--turn)
      (smtpmail-ask-all))
    (smtpmail-ask-all)
    (or (not (smtpmail-background-mails 'stuck 'delayed))
        (yes-or-no-p "Some messages were not sent and stay in the outbox.  \
Leave Emacs? "))))

(defun smtpmail-leave--stop ()
  "Stop all couriers, and give them a moment to write down how far they came.
For `kill-emacs-hook'."
  (let ((end (+ (float-time) smtpmail-leave--limit)))
    (dolist (process (smtpmail-background--couriers))
      (ignore-errors
        (smtpmail-background--stop-courier process 'leaving)))
    (while (and (smtpmail-background--couriers)
                (< (float-time) end))
      (dolist (process (smtpmail-background--couriers))
        (let ((session (process-get process 'smtpmail-session)))
          (ignore-errors
            (dolist (event (smtpmail-module--events
                            (smtpmail-session-delivery session)))
              (when (eq (car event) 'done)
                (process-put process 'smtpmail-mails nil))))))
      (when (smtpmail-background--couriers)
        (sleep-for 0.01)))))

;; What is asked and stopped is there only once something goes.
(add-hook 'kill-emacs-query-functions #'smtpmail-leave--query)
(add-hook 'kill-emacs-hook #'smtpmail-leave--stop)

;;;; Going on with what was left

;;;###autoload
(progn
  (defun smtpmail-background-start-up ()
    "Go on with mail that an earlier Emacs left, if it may have left some."
    (when (or (bound-and-true-p smtpmail-send-in-background)
              (let ((directory (if (boundp 'smtpmail-queue-dir)
                                   (symbol-value 'smtpmail-queue-dir)
                                 "~/Mail/queued-mail/")))
                ;; What is scheduled is hidden from other programs.
                (and (stringp directory)
                     (file-directory-p directory)
                     (directory-files directory nil "\\`\\.smtpmail-.*\\.text\\'"
                                      t))))
      (run-with-idle-timer 2 nil #'smtpmail-background-resume)))
  (unless noninteractive
    (add-hook 'emacs-startup-hook #'smtpmail-background-start-up)))

;;;###autoload
(defun smtpmail-background-resume ()
  "Go on with mail that an earlier Emacs was sending in the background.
What another running Emacs has is left alone.  What was to go at a time
that has passed goes after a question."
  (interactive)
  (require 'smtpmail)
  (smtpmail-module-ensure)
  (let* ((place (smtpmail-outbox--place))
         (session (smtpmail-session--make)))
    (smtpmail-session--open
     session nil
     (lambda (process)
       (smtpmail-module--outbox `(:job list ,@place) process)))
    (let ((process (smtpmail-session-process session)))
      (process-put process 'smtpmail-listing session)
      (set-process-filter
       process
       (lambda (process _octets)
         (run-with-timer 0 nil #'smtpmail-background--guarded
                         #'smtpmail-leave--listed process place)))
      (run-with-timer 0 nil #'smtpmail-background--guarded
                      #'smtpmail-leave--listed process place))))

(defun smtpmail-leave--listed (process place)
  "Take up what the listing of PROCESS shows in the outbox at PLACE."
  (when-let ((session (process-get process 'smtpmail-listing)))
    (mapc (lambda (event) (smtpmail-session--dispatch session event))
          (smtpmail-module--events (smtpmail-session-delivery session)))
    (when (smtpmail-session-over session)
      (process-put process 'smtpmail-listing nil)
      (delete-process process)
      (smtpmail-leave--take-up
       (plist-get (smtpmail-session-report session) :entries) place))))

(defun smtpmail-leave--take-up (entries place)
  "Go on with those of ENTRIES, of the outbox at PLACE, that were left."
  (let ((left nil)
        (others nil)
        (overdue nil)
        (unknown nil))
    (dolist (entry entries)
      (when-let ((owner (alist-get 'background (plist-get entry :facts))))
        (cond ((smtpmail-background-mail-named (plist-get entry :name)))
              ((smtpmail-leave--alive-p owner)
               (setq others t))
              ((eq (plist-get entry :state) 'unknown)
               (push entry unknown))
              ((and (plist-get entry :sendable)
                    (alist-get 'scheduled (plist-get entry :facts))
                    (eq (plist-get entry :state) 'scheduled))
               (push entry overdue))
              ((memq (plist-get entry :state) '(waiting deferred scheduled))
               (push entry left)))))
    (dolist (entry (nreverse left))
      (smtpmail-background--guarded
       (lambda ()
         (smtpmail-background-add
          (smtpmail-background-from-entry entry place)))))
    (dolist (entry (nreverse unknown))
      (smtpmail-notice-refused
       (smtpmail-background-from-entry entry place)
       (or (plist-get entry :last-reply)
           "Emacs ended before the server's answer was there")
       'unknown))
    (when overdue
      (smtpmail-ask-later
       (lambda () (smtpmail-leave--ask-overdue (nreverse overdue) place)))
      (smtpmail-mode-line-update))
    (when others
      (cancel-function-timers #'smtpmail-background-resume)
      (run-with-timer smtpmail-leave--other-pause nil
                      #'smtpmail-background-resume))))

(defun smtpmail-leave--ask-overdue (entries place)
  "Ask whether ENTRIES of the outbox at PLACE, whose time has passed, shall go."
  (if (y-or-n-p
       (format "%s to go at %s.  Send %s now? "
               (if (cdr entries) (format "%d messages were" (length entries))
                 (format "%s was"
                         (smtpmail-background--label
                          (smtpmail-background-from-entry (car entries) place))))
               (format-time-string "%F %R" (plist-get (car entries) :time))
               (if (cdr entries) "them" "it")))
      (dolist (entry entries)
        (smtpmail-background-add (smtpmail-background-from-entry entry place)))
    ;; Its time has passed, so any program might send it.
    (dolist (entry entries)
      (smtpmail-session-ask-outbox
       `(:job hold ,@place :entry ,(plist-get entry :name))))
    (message "Held in the outbox; M-x smtpmail-outbox releases")))

(defun smtpmail-background-from-entry (entry place)
  "Return a message that goes in the background, for ENTRY at PLACE.
ENTRY is a plist of the outbox's listing."
  (let* ((variables (smtpmail-outbox--account entry))
         (mail nil)
         (facts (plist-get entry :facts))
         (time (and (eq (plist-get entry :state) 'scheduled)
                    (not (plist-get entry :sendable))
                    (plist-get entry :time))))
    (smtpmail-accounts-with variables
      (smtpmail-proxy-check entry)
      (setq mail (smtpmail-background--make-mail
                  :name (plist-get entry :name)
                  :place place
                  :account (let ((smtpmail-background--order '(:resumed t)))
                             (smtpmail--account-request (smtpmail--host)))
                  :variables variables
                  :sender (or (plist-get entry :sender)
                              (let ((smtpmail-queue-dir (plist-get place :queue-directory)))
                                (smtpmail-outbox--sender-in-file
                                 (smtpmail-outbox--file entry))))
                  :recipients (mapcar #'smtpmail-maybe-append-domain
                                      (plist-get entry :recipients))
                  :options (smtpmail-delivery-entry-bindings entry)
                  :subject (plist-get entry :subject)
                  :message-id (plist-get entry :message-id)
                  :fcc (when-let ((files (alist-get 'fcc facts)))
                         (split-string files "\n" t))
                  :state (if time 'held 'waiting)
                  :time time)))
    (smtpmail-accepted-recover mail)
    mail))

(defun smtpmail-leave--alive-p (owner)
  "Return non-nil if OWNER, of `smtpmail-background-owner', is another Emacs.
Of another machine we cannot know; its locks protect what it sends."
  (and (not (equal owner (smtpmail-background-owner)))
       (string-match "\\` *\\(.*\\) \\([0-9]+\\) \\([0-9]+\\)\\'" owner)
       (let ((host (match-string 1 owner))
             (pid (string-to-number (match-string 2 owner)))
             (started (string-to-number (match-string 3 owner))))
         (and (equal host (system-name))
              (when-let ((attributes (process-attributes pid)))
                ;; The same number may be another program's by now.
                (or (not (alist-get 'start attributes))
                    (< (abs (- (float-time (alist-get 'start attributes))
                               started))
                       120)))))))

(provide 'smtpmail-leave)

;;; smtpmail-leave.el ends here
