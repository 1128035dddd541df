;;; smtpmail-outcome.el --- what becomes of mail in the background  -*- lexical-binding: t -*-

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

;; The couriers (smtpmail-couriers.el) bring a report for each message.
;; Here it is decided what that means, when a message is tried again, who is
;; told, and what the user's own word does: to stop a message, or to let it
;; go.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'smtpmail-background)

(autoload 'smtpmail-mode-line-update "smtpmail-mode-line")
(autoload 'smtpmail-notice-refused "smtpmail-notice")
(autoload 'smtpmail-notice-withdraw "smtpmail-notice")
(autoload 'smtpmail-accepted-perform "smtpmail-accepted")

(declare-function smtpmail-module--cancel "ext:exports.rs" (delivery))
(declare-function smtpmail-outbox-last-stop "smtpmail-outbox-last" ())

(defvar smtpmail-background--network-pause 15
  "Seconds until the first new try when the network or the server is away.")

(defvar smtpmail-background--refusal-pause 60
  "Seconds until the first new try when the server says \"not now\".")

(defconst smtpmail-background--quiet-time 900
  "Seconds for which delays are no news: a train may be in a tunnel.")

;;;; How it went

(defun smtpmail-background--finished (process mail report)
  "Act on REPORT, a plist, of MAIL, which the courier of PROCESS had."
  (when (memq mail smtpmail-background--mails)
    (let* ((session (process-get process 'smtpmail-session))
           (host (smtpmail-session-host session))
           (port (smtpmail-session-port session))
           (failure (plist-get report :failure))
           (method (smtpmail-session-report session))
           (why (smtpmail-report-error
                 ;; A method of the user told why it was stopped.
                 (if (plist-get (plist-get method :failure) :said) method report)
                 host port)))
      (unless (eq (plist-get report :verdict) 'accepted)
        (process-put process 'smtpmail-failed t))
      (setf (smtpmail-background-mail-why mail) why)
      (pcase (plist-get report :verdict)
        ('accepted (smtpmail-background--accepted mail report))
        ('unknown (smtpmail-background--ended mail why 'unknown report))
        (_ (smtpmail-background--failed process mail why failure report))))))

(defun smtpmail-background--hurry (mail)
  "Let those go that wait because the server of MAIL, now sent, was away."
  (let ((key (smtpmail-background--key mail)))
    (dolist (other (smtpmail-background-mails 'delayed))
      (when (and (eq (smtpmail-background-mail-reason other) 'network)
                 (equal key (smtpmail-background--key other)))
        (setf (smtpmail-background-mail-time other) (float-time))))))

(defun smtpmail-background--left (report)
  "Return the addresses in REPORT that are tried again."
  (mapcar (lambda (recipient) (plist-get recipient :address))
          (seq-filter
           (lambda (recipient)
             (and (not (plist-get recipient :accepted))
                  (memq (plist-get (plist-get recipient :failure) :kind)
                        '(nil transient))))
           (plist-get report :recipients))))

(defun smtpmail-background--accepted (mail report)
  "MAIL was accepted, says REPORT, for some of its recipients at least."
  (let ((left (smtpmail-background--left report)))
    (smtpmail-background--say "%s (%s)" (smtpmail-report-success report)
                              (smtpmail-background--label mail))
    (smtpmail-background--run-hook
     'smtpmail-sent-functions
     (smtpmail-background--facts mail
                                 :reply (plist-get report :text)
                                 :recipients
                                 (or (plist-get report :recipients)
                                     ;; None is named where all got it.
                                     (mapcar (lambda (address)
                                               (list :address address :accepted t))
                                             (smtpmail-background-mail-recipients
                                              mail)))))
    (smtpmail-accepted-perform mail)
    (smtpmail-background--hurry mail)
    (if (not left)
        (smtpmail-background-forget mail)
      (smtpmail-background--keep-rest mail left)
      (smtpmail-background--delay mail "some recipients were refused for now"
                                  'refusal))
    ;; Who will never get it is news.
    (when-let ((refused (seq-filter (lambda (recipient)
                                      (eq (plist-get (plist-get recipient :failure)
                                                     :kind)
                                          'refused))
                                    (plist-get report :recipients))))
      (smtpmail-notice-refused
       mail
       (format (if left "%s.  Some got it: %s; the rest is tried again"
                 "%s.  The others got it: %s")
               (mapconcat (lambda (recipient)
                            (format "<%s>: %s" (plist-get recipient :address)
                                    (plist-get (plist-get recipient :failure)
                                               :text)))
                          refused "; ")
               (plist-get report :text))
       'partly))))

(defun smtpmail-background--keep-rest (mail left)
  "Let MAIL go to LEFT only, addresses."
  (setf (smtpmail-background-mail-recipients mail) left
        (smtpmail-background-mail-tries mail) 0))

(defun smtpmail-background--failed (process mail why failure report)
  "MAIL was not sent by the courier of PROCESS, for WHY.
FAILURE is the engine's, and REPORT tells of the recipients."
  (when (seq-find (lambda (recipient) (plist-get recipient :accepted))
                  (plist-get report :recipients))
    (smtpmail-background--keep-rest mail (smtpmail-background--left report)))
  (pcase (plist-get failure :kind)
    ('cancelled
     (pcase (process-get process 'smtpmail-stopped)
       ;; Another one of the same courier was meant.
       ('other (setf (smtpmail-background-mail-state mail) 'waiting))
       (_ (smtpmail-background--stuck
           mail (if (plist-get (plist-get (smtpmail-session-report
                                           (process-get process 'smtpmail-session))
                                          :failure)
                               :said)
                    why
                  "Stopped; it waits in the outbox")
           'stopped))))
    ;; Another program has it, or it is gone.
    ('busy (smtpmail-background-forget mail))
    ((or 'refused 'content)
     (smtpmail-background--ended mail why 'refused report))
    ((or 'closed 'connect 'resolve 'timeout)
     (smtpmail-background--delay mail why 'network))
    ('transient (smtpmail-background--delay mail why 'refusal))
    ;; Until it has sent it, or is certainly not going to.
    ('read-elsewhere (smtpmail-background--delay mail why 'refusal))
    (_ (smtpmail-background--stuck mail why 'stuck))))

(defun smtpmail-background--delay (mail why reason)
  "Try MAIL again later, because of WHY; REASON is `network' or `refusal'."
  (let* ((first (if (eq reason 'network)
                    smtpmail-background--network-pause
                  smtpmail-background--refusal-pause))
         (tries (min 16 (cl-incf (smtpmail-background-mail-tries mail))))
         (pause (min smtpmail-background--longest-pause
                     (* first (expt 2 (1- tries)))))
         (now (float-time))
         (since (or (smtpmail-background-mail-troubled mail) now)))
    (setf (smtpmail-background-mail-state mail) 'delayed
          (smtpmail-background-mail-why mail) why
          (smtpmail-background-mail-reason mail) reason
          (smtpmail-background-mail-troubled mail) since
          (smtpmail-background-mail-time mail) (+ now pause))
    (when (= tries 1)
      (smtpmail-background--say "Not sent yet, trying again in %d s: %s" pause why))
    (when (> (- now since) smtpmail-background--quiet-time)
      ;; Told once in a while only.
      (setf (smtpmail-background-mail-troubled mail) now)
      (smtpmail-background--tell-failure mail why 'delayed nil))))

(defun smtpmail-background--stuck (mail why state)
  "Leave MAIL in the outbox until the user says more, because of WHY.
STATE is `stopped', as the user wanted, or `stuck'."
  (setf (smtpmail-background-mail-state mail) 'stuck
        (smtpmail-background-mail-time mail) nil
        (smtpmail-background-mail-why mail) why)
  (if (eq state 'stopped)
      (smtpmail-background--say "%s (%s)" why (smtpmail-background--label mail))
    (smtpmail-background--tell-failure mail why state nil))
  (smtpmail-mode-line-update))

(defun smtpmail-background--ended (mail why state report)
  "MAIL is not tried again by itself, because of WHY.
STATE is `refused' or `unknown'; REPORT tells of the recipients."
  (setf (smtpmail-background-mail-state mail) 'stuck)
  (smtpmail-background--tell-failure mail why state report)
  (setq smtpmail-background--mails (delq mail smtpmail-background--mails)))

(defun smtpmail-background--tell-failure (mail why state report)
  "Tell that MAIL was not sent for WHY, and is in STATE, a symbol.
REPORT, or nil, tells of the recipients."
  (smtpmail-notice-refused mail why state)
  (smtpmail-background--run-hook
   'smtpmail-failed-functions
   (smtpmail-background--facts mail
                               :reason why :state state
                               :reply (plist-get (plist-get report :failure) :text)
                               :recipients (or (plist-get report :recipients)
                                               (mapcar
                                                (lambda (address)
                                                  (list :address address))
                                                (smtpmail-background-mail-recipients
                                                 mail))))))

;;;; What the user can do

(defun smtpmail-background-retry (mail)
  "Let MAIL go now, also if the last login of its account was refused."
  (let ((variables (smtpmail-background-mail-variables mail))
        (account (smtpmail-background-mail-account mail)))
    (smtpmail-accounts-with variables
      (smtpmail-outbox-rest-forget (plist-get account :host)
                                   (plist-get account :port))))
  (setf (smtpmail-background-mail-state mail) 'waiting
        (smtpmail-background-mail-time mail) nil
        (smtpmail-background-mail-undoable mail) nil)
  (smtpmail-notice-withdraw (smtpmail-background-mail-name mail))
  (smtpmail-background-wake))

(defun smtpmail-background-note-listing (place listing)
  "Forget messages that LISTING, of the outbox at PLACE, shows no more.
Others may send them, too, or the user has deleted them."
  (dolist (mail (smtpmail-background-mails 'held 'waiting 'delayed 'stuck))
    (unless (or (not (equal place (smtpmail-background-mail-place mail)))
                (seq-find (lambda (entry)
                            (equal (plist-get entry :name)
                                   (smtpmail-background-mail-name mail)))
                          (plist-get listing :entries)))
      (smtpmail-background-forget mail))))

(defun smtpmail-background-stop (mail)
  "Stop MAIL, wherever it is; it stays in the outbox until the user says more.
Return non-nil if the server may have taken it: its report will tell."
  (if-let ((process (smtpmail-background-courier-of mail)))
      (smtpmail-background--stop-one process mail)
    (setf (smtpmail-background-mail-state mail) 'stuck
          (smtpmail-background-mail-time mail) nil
          (smtpmail-background-mail-why mail) "Stopped; it waits in the outbox")
    (message "Stopped; %s waits in the outbox" (smtpmail-background--label mail))
    (smtpmail-background-wake)
    nil))

(defun smtpmail-background--stop-one (process mail)
  "Stop the courier of PROCESS because of MAIL; the others go on with the next."
  (let ((each (smtpmail-session-each (process-get process 'smtpmail-session))))
    (setf (smtpmail-session-each (process-get process 'smtpmail-session))
          (lambda (report)
            (process-put process 'smtpmail-stopped
                         (if (eq mail (aref (process-get process 'smtpmail-mails)
                                            (plist-get report :index)))
                             'user
                           'other))
            (funcall each report))))
  (smtpmail-module--cancel
   (smtpmail-session-delivery (process-get process 'smtpmail-session))))

;;;###autoload
(defun smtpmail-stop-sending ()
  "Stop a message that goes in the background; it stays in the outbox.
If the server may have taken it already, that is told, and it is not sent
again by itself.  If a flush was quit and has a message in hand, that is
what is stopped."
  (interactive)
  (unless (and (fboundp 'smtpmail-outbox-last-stop)
               (smtpmail-outbox-last-stop))
    (smtpmail-outcome--stop-one-of-them)))

(defun smtpmail-outcome--stop-one-of-them ()
  "Stop the message that goes in the background, or the one that the user names."
  (let* ((mails (or (smtpmail-background-mails 'sending 'waiting 'held 'delayed)
                    (user-error "Nothing is being sent")))
         (here (and (derived-mode-p 'smtpmail-outbox-list-mode)
                    (fboundp 'tabulated-list-get-id)
                    (smtpmail-background-mail-named (tabulated-list-get-id))))
         (choices (mapcar (lambda (mail)
                            (cons (format "%s (%s)"
                                          (smtpmail-background--label mail)
                                          (smtpmail-background-mail-name mail))
                                  mail))
                          mails)))
    (smtpmail-background-stop
     (cond ((memq here mails) here)
           ((null (cdr mails)) (car mails))
           (t (cdr (assoc (completing-read "Stop message: " choices nil t) choices)))))))

(provide 'smtpmail-outcome)

;;; smtpmail-outcome.el ends here
