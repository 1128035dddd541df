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
;; from there to the server while the user does something else.  One courier
;; of the engine serves one account; those of several accounts run side by
;; side.  A message that comes while its account's courier is under way waits
;; for the next one.
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
(require 'smtpmail-auth)
(require 'smtpmail-message)
(require 'smtpmail-outbox)
(require 'smtpmail-outbox-rest)
(require 'smtpmail-redefined)
(require 'smtpmail-report)
(require 'smtpmail-session)
(require 'smtpmail-trace)

(declare-function smtpmail-module--open "ext:exports.rs" (request pipe))
(declare-function smtpmail-module--events "ext:exports.rs" (delivery))
(declare-function smtpmail-module--login "ext:exports.rs" (delivery id login))
(declare-function smtpmail-module--cancel "ext:exports.rs" (delivery))
(declare-function smtpmail--send "smtpmail" (message))
(declare-function smtpmail--text "smtpmail" (buffer coding))
(declare-function smtpmail--host "smtpmail" ())
(declare-function smtpmail--login-demanded-p "smtpmail" (host))
(declare-function smtpmail--account-request "smtpmail" (host))
(declare-function smtpmail--sender "smtpmail" (buffer))
(declare-function smtpmail-mode-line-update "smtpmail-mode-line" ())
(declare-function smtpmail-notice-refused "smtpmail-notice" (mail why state))
(declare-function smtpmail-notice-withdraw "smtpmail-notice" (name))
(declare-function smtpmail-ask-later "smtpmail-ask" (function))
(declare-function smtpmail-accepted-perform "smtpmail-accepted" (mail))
(declare-function smtpmail-accepted-keep "smtpmail-accepted" (mail message))

(autoload 'smtpmail-mode-line-update "smtpmail-mode-line")
(autoload 'smtpmail-notice-refused "smtpmail-notice")
(autoload 'smtpmail-notice-withdraw "smtpmail-notice")
(autoload 'smtpmail-ask-later "smtpmail-ask")
(autoload 'smtpmail-accepted-perform "smtpmail-accepted")
(autoload 'smtpmail-accepted-keep "smtpmail-accepted")

(defvar smtpmail-background--network-pause 15
  "Seconds until the first new try when the network or the server is away.")

(defvar smtpmail-background--refusal-pause 60
  "Seconds until the first new try when the server says \"not now\".")

(defconst smtpmail-background--longest-pause 1800
  "Most seconds between two tries; each pause is twice the one before.
RFC 5321 section 4.5.4.1 asks relays for 30 minutes at least.")

(defconst smtpmail-background--look-interval 0.5
  "Seconds after which events are taken for which the engine rings no bell.
It rings where something waits, and seldom otherwise.")

(defconst smtpmail-background--quiet-time 900
  "Seconds for which delays are no news: a train may be in a tunnel.")

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
                  '( :host :port :security :ehlo-name :refused-recipients
                     :client-key :client-certificate :login-account))
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

(defun smtpmail-background-forget (mail)
  "Let MAIL be no longer a message that goes in the background."
  (setq smtpmail-background--mails (delq mail smtpmail-background--mails))
  (smtpmail-notice-withdraw (smtpmail-background-mail-name mail))
  (smtpmail-mode-line-update))

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

(defun smtpmail-background--release ()
  "Let those wait for a courier whose time has come."
  (dolist (mail (smtpmail-background-mails 'held 'delayed))
    (when (<= (smtpmail-background-mail-time mail) (float-time))
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
    (cl-progv (mapcar #'car variables) (mapcar #'cdr variables)
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
              `( :attempts 1
                 :messages ,(mapcar #'smtpmail-background--message mails)
                 ,@(smtpmail-background-mail-place first)
                 ,@account)
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
        :recipients (smtpmail-background-mail-recipients mail)))

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
  (let ((variables (make-symbol "variables")))
    `(let ((,variables (smtpmail-background-mail-variables
                        (aref (process-get ,process 'smtpmail-mails) 0))))
       (cl-progv (mapcar #'car ,variables) (mapcar #'cdr ,variables)
         ,@body))))

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
         (cl-progv (mapcar #'car variables) (mapcar #'cdr variables)
           (smtpmail-session--keep-login session)))))))

;;;; Questions

(defun smtpmail-background--answer (process session question)
  "Answer QUESTION, a plist, of SESSION; let the user be asked if it must be.
PROCESS is its courier's."
  (unless (and (eq (plist-get question :kind) 'credentials)
               (not (plist-get question :refused))
               ;; What users put in its place may ask, and waits for replies.
               (not (smtpmail-redefined-p 'smtpmail-try-auth-methods))
               (smtpmail-background--answer-quietly session question))
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

(defun smtpmail-background--ask (process question)
  "Let the user answer QUESTION of the courier of PROCESS.
A quit leaves its messages waiting in the outbox."
  (when (and (process-get process 'smtpmail-mails)
             (eq question (process-get process 'smtpmail-question)))
    (process-put process 'smtpmail-question nil)
    (let ((session (process-get process 'smtpmail-session)))
      (condition-case problem
          (smtpmail-background--with-account process
            (smtpmail-session--answer session question))
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

(provide 'smtpmail-background)

;; What becomes of a message; it needs all of the above.
(require 'smtpmail-outcome)

;;; smtpmail-background.el ends here
