;;; smtpmail-couriers.el --- The couriers that send in the background  -*- lexical-binding: t -*-

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

;; One courier of the engine serves one account; those of several accounts run
;; side by side.  A message that comes while its account's courier is under way
;; waits for the next one.
;;
;; Nothing in here waits.  A courier rings a pipe, whose filter does no more
;; than start a timer; the timer takes the events and acts on them.  What
;; needs the user is asked when Emacs is idle (smtpmail-ask.el asks,
;; smtpmail-notice.el tells).
;;
;; No variable holds a process or a closure, for packages copy all variables
;; of smtpmail to another Emacs: couriers are found among the processes, by a
;; property.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-options)
(require 'smtpmail-accounts)
(require 'smtpmail-background-mail)
(require 'smtpmail-auth)
(require 'smtpmail-auth-login)
(require 'smtpmail-delivery)
(require 'smtpmail-outbox-rest)
(require 'smtpmail-proxy)
(require 'smtpmail-redefined)
(require 'smtpmail-session)
(require 'smtpmail-trace)

(declare-function smtpmail-module--open "ext:exports.rs" (request pipe))
(declare-function smtpmail-module--events "ext:exports.rs" (delivery))
(declare-function smtpmail-module--cancel "ext:exports.rs" (delivery))
(declare-function smtpmail--login-demanded-p "smtpmail" (host))

(declare-function smtpmail-background--finished "smtpmail-outcome" (process mail report))
(declare-function smtpmail-background--delay "smtpmail-outcome" (mail why reason))
(declare-function smtpmail-background--stuck "smtpmail-outcome" (mail why state))

(autoload 'smtpmail-mode-line-update "smtpmail-mode-line")
(autoload 'smtpmail-ask-later "smtpmail-ask")

(defconst smtpmail-background--longest-pause 1800
  "Most seconds between two tries; each pause is twice the one before.
RFC 5321 section 4.5.4.1 asks relays for 30 minutes at least.")

(defconst smtpmail-background--look-interval 0.5
  "Seconds after which events are taken for which the engine rings no bell.
It rings where something waits, and seldom otherwise.")

;;;; Couriers

(defun smtpmail-background--couriers ()
  "Return the processes of the couriers that run."
  (seq-filter (lambda (process) (process-get process 'smtpmail-mails))
              (process-list)))

(defun smtpmail-background--courier (key)
  "Return the process of the courier for KEY, or nil."
  (seq-find (lambda (process) (equal key (process-get process 'smtpmail-key)))
            (smtpmail-background--couriers)))

(defun smtpmail-background-courier-of (mail)
  "Return the process of the courier that has MAIL, or nil."
  (seq-find (lambda (process)
              (seq-contains-p (process-get process 'smtpmail-mails) mail #'eq))
            (smtpmail-background--couriers)))

(defun smtpmail-background-wake ()
  "Start the couriers that can start now, and set the alarm for the others."
  (smtpmail-background--release)
  (dolist (key (seq-uniq (mapcar #'smtpmail-background--key
                                 (smtpmail-background-mails 'waiting))))
    (unless (smtpmail-background--courier key)
      (smtpmail-background--start
       (seq-filter (lambda (mail) (equal key (smtpmail-background--key mail)))
                   (smtpmail-background-mails 'waiting)))))
  (smtpmail-background--set-alarm)
  (smtpmail-mode-line-update))

(defun smtpmail-background--due-p (mail)
  "Return non-nil if the time of MAIL, held or delayed, has come."
  (let ((left (- (smtpmail-background-mail-time mail) (float-time))))
    (or (<= left 0)
        ;; No pause is so long: the clock was put back.
        (and (eq (smtpmail-background-mail-state mail) 'delayed)
             (> left smtpmail-background--longest-pause)))))

(defun smtpmail-background--release ()
  "Let those wait for a courier whose time has come."
  (dolist (mail (smtpmail-background-mails 'held 'delayed))
    (when (smtpmail-background--due-p mail)
      (setf (smtpmail-background-mail-state mail) 'waiting
            (smtpmail-background-mail-time mail) nil
            (smtpmail-background-mail-undoable mail) nil))))

(defun smtpmail-background--set-alarm ()
  "Let `smtpmail-background-wake' be called when the next one's time comes."
  (cancel-function-timers #'smtpmail-background--alarm)
  (when-let ((times (delq nil (mapcar #'smtpmail-background-mail-time
                                      (smtpmail-background-mails
                                       'held 'delayed)))))
    ;; Not before its time: the engine looks at the clock, too.
    (run-with-timer (max 0 (+ 0.005 (- (apply #'min times) (float-time)))) nil
                    #'smtpmail-background--alarm)))

(defun smtpmail-background--alarm ()
  "Called by a timer when a message's time has come."
  (smtpmail-background--guarded #'smtpmail-background-wake))

(defun smtpmail-background--guarded (function &rest arguments)
  "Call FUNCTION with ARGUMENTS; an error becomes a warning."
  (condition-case problem
      (apply function arguments)
    (error (display-warning
            'smtpmail (format "Sending in the background: %s"
                              (error-message-string problem))))))

(defun smtpmail-background--start (mails)
  "Start a courier for MAILS, which are of one account.
If its last login was refused, ask before another one locks it."
  (if-let ((why (smtpmail-background--rests (car mails) nil)))
      (progn
        (dolist (mail mails)
          (setf (smtpmail-background-mail-state mail) 'stuck
                (smtpmail-background-mail-why mail) why))
        (smtpmail-ask-later
         (lambda () (smtpmail-background--ask-rested mails))))
    (smtpmail-background--begin mails)))

(defun smtpmail-background--rests (mail may-ask)
  "Return why the account of MAIL rests, or nil.
MAY-ASK non-nil asks the user whether it shall."
  (let ((variables (smtpmail-background-mail-variables mail))
        (account (smtpmail-background-mail-account mail))
        (smtpmail-auth-prompt-inhibited
         (if may-ask smtpmail-auth-prompt-inhibited 'inhibited)))
    (smtpmail-accounts-with variables
      (smtpmail-outbox-rest-reason (plist-get account :host)
                                   (plist-get account :port)))))

(defun smtpmail-background--ask-rested (mails)
  "Ask whether MAILS, of an account whose login was refused, are tried again."
  (let ((still (seq-filter (lambda (mail)
                             (and (memq mail smtpmail-background--mails)
                                  (eq (smtpmail-background-mail-state mail)
                                      'stuck)))
                           mails)))
    (when still
      (if-let ((why (condition-case nil
                        (smtpmail-background--rests (car still) t)
                      (quit "stopped; it waits in the outbox"))))
          (dolist (mail still)
            (smtpmail-background--stuck mail why 'stuck))
        (dolist (mail still)
          (setf (smtpmail-background-mail-state mail) 'waiting))
        (smtpmail-background-wake)))))

(defun smtpmail-background--begin (mails)
  "Start a courier for MAILS, which are of one account."
  (let* ((first (car mails))
         (account (smtpmail-background-mail-account first))
         (host (plist-get account :host))
         (variables (smtpmail-background-mail-variables first))
         (session nil))
    (dolist (mail mails)
      (setf (smtpmail-background-mail-state mail) 'sending))
    (condition-case problem
        (progn
          (smtpmail-module-ensure)
          (setq session (smtpmail-session--make
                         :host host :port (plist-get account :port)
                         :service (alist-get 'smtpmail-smtp-service variables)
                         :ask (smtpmail--login-demanded-p host)
                         :clear-login (plist-get account :clear-login)))
          (smtpmail-session--open
           session (generate-new-buffer " *smtpmail background*")
           (lambda (process)
             (smtpmail-module--open
              (smtpmail-proxy-complete
               `( :attempts 1
                  :messages ,(mapcar #'smtpmail-background--message mails)
                  ,@(smtpmail-background-mail-place first)
                  ,@account))
              process)))
          (smtpmail-background--watch (smtpmail-session-process session)
                                      session mails))
      (error
       (when (and session (smtpmail-session-process session))
         (smtpmail-background--discard (smtpmail-session-process session)))
       (dolist (mail mails)
         (smtpmail-background--stuck mail (error-message-string problem)
                                     'stuck))))))

(defun smtpmail-background--watch (process session mails)
  "Let PROCESS ring for SESSION, the courier of MAILS."
  (let ((mails (vconcat mails)))
    (process-put process 'smtpmail-session session)
    (process-put process 'smtpmail-mails mails)
    (process-put process 'smtpmail-key
                 (smtpmail-background--key (aref mails 0)))
    (setf (smtpmail-session-each session)
          (lambda (report)
            (smtpmail-background--finished
             process (aref mails (plist-get report :index)) report)))
    (set-process-filter process #'smtpmail-background--rung)
    ;; It may have rung before.
    (smtpmail-background--rung process "")))

(defun smtpmail-background--message (mail)
  "Return the plist of MAIL for a request."
  (list :entry (smtpmail-background-mail-name mail)
        :sender (smtpmail-background-mail-sender mail)
        :recipients (smtpmail-background-mail-recipients mail)
        :options (plist-get (smtpmail-delivery-request
                             (smtpmail-background-mail-options mail))
                            :options)))

(defun smtpmail-background--discard (process)
  "Forget PROCESS, of a courier that is over."
  (let ((buffer (process-buffer process))
        (kill-buffer-query-functions nil))
    (process-put process 'smtpmail-mails nil)
    (delete-process process)
    (when (buffer-live-p buffer)
      (kill-buffer buffer))))

;;;; Events

(defvar smtpmail-background--rung nil
  "Non-nil while a timer is about to take the events of couriers.")

(defun smtpmail-background--rung (_process _octets)
  "Take the events of the couriers soon; a filter must do nothing else."
  (unless smtpmail-background--rung
    (setq smtpmail-background--rung t)
    (run-with-timer 0 nil #'smtpmail-background--turn)))

(defun smtpmail-background--turn ()
  "Take the events of all couriers and act on them; called by a timer."
  (setq smtpmail-background--rung nil)
  (dolist (process (smtpmail-background--couriers))
    (smtpmail-background--guarded #'smtpmail-background--serve process))
  (cancel-function-timers #'smtpmail-background--look)
  (when (smtpmail-background--couriers)
    (run-with-timer smtpmail-background--look-interval nil
                    #'smtpmail-background--look)))

(defun smtpmail-background--look ()
  "Take the events for which no bell was rung; called by a timer."
  (smtpmail-background--turn))

(defmacro smtpmail-background--with-account (process &rest body)
  "Evaluate BODY with the variables of the account of PROCESS."
  (declare (indent 1) (debug t))
  `(smtpmail-accounts-with (smtpmail-background-mail-variables
                            (aref (process-get ,process 'smtpmail-mails) 0))
     ,@body))

(defun smtpmail-background--serve (process)
  "Take the events of the courier of PROCESS."
  (let ((session (process-get process 'smtpmail-session)))
    (smtpmail-background--with-account process
      (dolist (event (smtpmail-module--events
                      (smtpmail-session-delivery session)))
        (smtpmail-background--guarded
         #'smtpmail-background--dispatch process session event)))
    (when (eq (smtpmail-session-over session) 'done)
      (smtpmail-background--over process session))
    (smtpmail-mode-line-update)))

(defun smtpmail-background--dispatch (process session event)
  "Act on EVENT of SESSION, the courier of PROCESS."
  (if (eq (car event) 'question)
      (smtpmail-background--answer process session (cdr event))
    (smtpmail-session--dispatch session event)))

(defun smtpmail-background--over (process session)
  "The courier of PROCESS, with SESSION, has nothing more to do."
  (let ((report (smtpmail-session-report session))
        (mails (append (process-get process 'smtpmail-mails) nil)))
    (when (or smtpmail-debug-info
              (process-get process 'smtpmail-failed))
      (smtpmail-background--keep-trace process session))
    (when (and (plist-get report :logged-in) (smtpmail-session-login session))
      (smtpmail-background--keep-login process session))
    (smtpmail-background--with-account process
      (smtpmail-outbox-rest-note report (smtpmail-session-host session)
                                 (smtpmail-session-port session)))
    (smtpmail-background--discard process)
    ;; Each has its report; but were it not so, none may hang for ever.
    (dolist (mail mails)
      (when (and (eq (smtpmail-background-mail-state mail) 'sending)
                 (memq mail smtpmail-background--mails)
                 (not (smtpmail-background-courier-of mail)))
        (smtpmail-background--delay mail "it was not tried" 'network)))
    (smtpmail-background-wake)))

(defun smtpmail-background--keep-trace (process session)
  "Put the trace of PROCESS, of SESSION, where others of its server are."
  (let ((text (with-current-buffer (process-buffer process) (buffer-string))))
    (with-current-buffer (smtpmail-session--open-trace
                          (smtpmail-session-host session)
                          (smtpmail-session-port session))
      (let ((inhibit-read-only t))
        (save-excursion
          (goto-char (point-max))
          (insert text)))
      (let ((mails (process-get process 'smtpmail-mails)))
        ;; Of several the trace itself says which was refused.
        (smtpmail-trace-keep (current-buffer)
                             (and (= 1 (length mails))
                                  (smtpmail-background-mail-why
                                   (aref mails 0))))))))

(defun smtpmail-background--keep-login (process session)
  "Let auth-source keep the login of SESSION, of PROCESS, which was accepted.
It asks whether it shall."
  (let ((login (smtpmail-session-login session))
        (variables (smtpmail-background-mail-variables
                    (aref (process-get process 'smtpmail-mails) 0))))
    (when (and (smtpmail-auth-login-save-function login)
               (smtpmail-auth-login-asked login))
      (smtpmail-ask-later
       (lambda ()
         (smtpmail-accounts-with variables
           (smtpmail-session--keep-login session)))))))

;;;; Questions

(defun smtpmail-background--answer (process session question)
  "Answer QUESTION, a plist, of SESSION; let the user be asked if it must be.
PROCESS is its courier's."
  (unless (or
           (and (eq (plist-get question :kind) 'proxy-login)
                (smtpmail-proxy-answer-quietly
                 (smtpmail-session-delivery session) question))
           (and (eq (plist-get question :kind) 'credentials)
                (not (plist-get question :refused))
                ;; What users put in its place may ask, and waits for replies.
                (not (smtpmail-redefined-p 'smtpmail-try-auth-methods))
                (smtpmail-background--answer-quietly session question)))
    (setf (smtpmail-session-since session) nil)
    (process-put process 'smtpmail-question question)
    (smtpmail-ask-later
     (lambda () (smtpmail-background--ask process question)))))

(defun smtpmail-background--answer-quietly (session question)
  "Answer QUESTION of SESSION, for credentials, if nobody need be asked.
Return non-nil if that was so."
  (let* ((smtpmail-auth-prompt-inhibited 'inhibited)
         (login (condition-case nil
                    (smtpmail-session--find-login session question)
                  (error (setq smtpmail-auth-prompt-inhibited 'wanted)
                         nil)))
         (first (and login
                     (car (smtpmail-auth-mechanisms
                           login (plist-get question :offered))))))
    (unless (or (eq smtpmail-auth-prompt-inhibited 'wanted)
                ;; It waits for replies.
                (and first (smtpmail-auth-user-method-p first)))
      (when (plist-get question :protected)
        (setf (smtpmail-session-clear-login session) t))
      (smtpmail-session--answer-login session (plist-get question :id) login
                                      (plist-get question :offered))
      t)))

(defun smtpmail-background--about (process question)
  "Return a text that names the message of QUESTION of PROCESS, or nil.
Nil if it is about the account."
  (when-let* ((addresses (mapcar (lambda (recipient) (plist-get recipient :address))
                                 (plist-get question :recipients)))
              (mail (seq-find
                     (lambda (mail)
                       (null (seq-difference
                              addresses
                              (smtpmail-background-mail-recipients mail))))
                     (process-get process 'smtpmail-mails))))
    (smtpmail-background--label mail)))

(defun smtpmail-background--ask (process question)
  "Let the user answer QUESTION of the courier of PROCESS.
A quit leaves its messages waiting in the outbox."
  (when (and (process-get process 'smtpmail-mails)
             (eq question (process-get process 'smtpmail-question)))
    (process-put process 'smtpmail-question nil)
    (let ((session (process-get process 'smtpmail-session)))
      (condition-case problem
          (let ((smtpmail-session--about
                 (smtpmail-background--about process question)))
            (smtpmail-background--with-account process
              (smtpmail-session--answer session question)))
        (quit (smtpmail-background--stop-courier process 'user))
        (error
         (smtpmail-background--stop-courier process 'user)
         (message "%s" (error-message-string problem)))))
    ;; A method of the user may have taken events.
    (when (process-get process 'smtpmail-mails)
      (smtpmail-background--rung process ""))))

(defun smtpmail-background--stop-courier (process reason)
  "Stop the courier of PROCESS for REASON, a symbol.
`user' means that its messages wait until the user says more.
Return non-nil if the server may have taken a message unreported."
  (process-put process 'smtpmail-stopped reason)
  (smtpmail-module--cancel
   (smtpmail-session-delivery (process-get process 'smtpmail-session))))

(provide 'smtpmail-couriers)

;;; smtpmail-couriers.el ends here
