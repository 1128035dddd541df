;;; smtpmail-outbox.el --- queue mail, and send what is queued  -*- lexical-binding: t -*-

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

;; The queue is a directory that the built-in smtpmail, mu4e and scripts read
;; too; the engine keeps it.  Here are the two things that users do with it:
;; put a message in, and send all that waits.

;;; Code:

(require 'cl-lib)
(require 'subr-x)
(require 'smtpmail-options)
(require 'smtpmail-accounts)
(require 'smtpmail-delivery)
(require 'smtpmail-services)
(require 'smtpmail-report)
(require 'smtpmail-message)
(require 'smtpmail-methods)
(require 'smtpmail-proxy)
(require 'smtpmail-session)
(require 'smtpmail-outbox-rest)
(require 'smtpmail-outbox-unknown)

(defvar smtpmail-outbox--entry)         ; of smtpmail.el

(declare-function rfc2047-decode-string "rfc2047" (string &optional address-mime))
(declare-function smtpmail-via-smtp "smtpmail"
                  (recipient smtpmail-text-buffer
                             &optional ask-for-password send-attempts))
(declare-function smtpmail--text "smtpmail" (buffer coding))
(declare-function smtpmail--own-via-smtp-p "smtpmail" ())
(declare-function smtpmail--host "smtpmail" ())
(declare-function smtpmail--login-demanded-p "smtpmail" (host))
(declare-function smtpmail--account-request "smtpmail" (host))
(declare-function smtpmail--sender "smtpmail" (buffer))
(declare-function smtpmail-background-note-listing "smtpmail-outcome"
                  (place listing))

(defvar smtpmail-outbox--outcomes nil
  "What became of the messages of this flush, the last one first.
Each is (ENTRY . OUTCOME): nil if it was sent, `elsewhere' if another
program has it, else (KIND . WHY): `wait', `read' (it waits, since another
program may be sending it), `refused' or `unknown', and a string; or `sent',
and whom it did not reach.")

(defvar smtpmail-outbox--despite-readers nil
  "Non-nil: send also what another program may be sending.
Bound while the user wants that.")

(defvar smtpmail-outbox--count 0
  "How many outcomes this flush has.")

(defun smtpmail-outbox--place ()
  "Return the queue's directory and index as part of a request."
  (unless (stringp smtpmail-queue-dir)
    (error "`smtpmail-queue-dir' is not set, so there is no queue"))
  (list :queue-directory (directory-file-name
                          (expand-file-name smtpmail-queue-dir))
        :queue-index smtpmail-queue-index-file))

;;;; Into the queue

(defun smtpmail-outbox-add (message &rest more)
  "Put MESSAGE, a `smtpmail-message', into the queue, durably.
MORE is a plist: with :not-before, seconds since 1970, no program sends
the message before that time; with :held t, none before it is released."
  (let ((report
         (smtpmail-session-ask-outbox
          `( :job add
             ,@more
             ,@(smtpmail-outbox--place)
             :recipients ,(smtpmail-message-recipients message)
             :sender ,(smtpmail-message-sender message)
             :message-id ,(smtpmail-message-message-id message)
             ,@(smtpmail--text (smtpmail-message-buffer message)
                               (smtpmail-message-coding message))
             :account ,(smtpmail-accounts-name)
             :facts (,@(smtpmail-proxy-facts)
                     ,@(smtpmail-delivery-facts
                        (smtpmail-delivery-values
                         (smtpmail-message-buffer message))))
             ,@(and (or smtpmail-store-queue-variables (smtpmail-accounts-name))
                    (list :stored-server (list smtpmail-smtp-server)
                          :stored-stream-type (list smtpmail-stream-type)
                          :stored-service (list smtpmail-smtp-service)
                          :stored-user (list smtpmail-smtp-user)))))))
    (when-let ((warning (plist-get report :warning)))
      (display-warning 'smtpmail (format "Queued, but: %s" warning)))
    (message "Queued (%d in %s); M-x smtpmail-send-queued-mail sends %s"
             (plist-get report :waiting)
             (abbreviate-file-name (expand-file-name smtpmail-queue-dir))
             (if (eql 1 (plist-get report :waiting)) "it" "them"))))

;;;; Out of the queue

(defun smtpmail-outbox-entries ()
  "Return the queue's listing, a plist with :entries and :problems."
  (let* ((place (smtpmail-outbox--place))
         (listing (smtpmail-session-ask-outbox `(:job list ,@place))))
    (when (featurep 'smtpmail-background)
      (smtpmail-background-note-listing place listing))
    listing))

(defun smtpmail-outbox-change (job entry &rest more)
  "Let the engine do JOB to ENTRY, of `smtpmail-outbox-entries'.
JOB is `drop', `hold', `release', or `schedule' with :not-before, seconds
since 1970, in the plist MORE.  Return nil, and change nothing, if ENTRY
is not in the state any more that it was in, is being sent, or is gone."
  (plist-get (smtpmail-session-ask-outbox
              `( :job ,job ,@(smtpmail-outbox--place)
                 :entry ,(plist-get entry :name)
                 :expected-state ,(plist-get entry :state)
                 ,@more))
             :done))

(defun smtpmail-outbox-insert (name &optional more)
  "Insert the octets of the entry NAME; return non-nil if that was not all.
The current buffer becomes unibyte.  MORE is a plist: :limit, how many
octets, and :to-send, non-nil if nobody else may have the entry.  The
engine reads them, unnoticed: whoever else reads an entry is taken for
one who sends it."
  (let* ((report (smtpmail-session-ask-outbox
                  `( :job read ,@(smtpmail-outbox--place) :entry ,name ,@more)))
         (octets (or (plist-get report :octets)
                     (user-error "That message is not in the outbox any more"))))
    (set-buffer-multibyte nil)
    (insert (encode-coding-string octets 'latin-1-unix t))
    (goto-char (point-min))
    (plist-get report :cut)))

(defun smtpmail-outbox-flush ()
  "Do the work of `smtpmail-send-queued-mail'."
  (let* ((listing (smtpmail-outbox-entries))
         (waiting (seq-filter (lambda (entry) (plist-get entry :sendable))
                              (plist-get listing :entries)))
         (unknown (seq-find (lambda (entry)
                              (eq (plist-get entry :state) 'unknown))
                            (plist-get listing :entries))))
    (dolist (problem (plist-get listing :problems))
      (display-warning 'smtpmail (concat "In the outbox: " problem)))
    (setq smtpmail-outbox--outcomes nil
          smtpmail-outbox--count 0)
    (smtpmail-outbox--send-all waiting)
    (when-let ((again (smtpmail-outbox--ask-despite-readers)))
      (smtpmail-outbox--forget again)
      (let ((smtpmail-outbox--despite-readers t))
        (smtpmail-outbox--send-all again (length waiting))))
    (when (or unknown (smtpmail-outbox--of-kind 'unknown))
      (when-let ((again (smtpmail-outbox-unknown-ask)))
        (smtpmail-outbox--forget again)
        (setq waiting (append (seq-remove
                               (lambda (entry)
                                 (smtpmail-outbox--same-as entry again))
                               waiting)
                              again))
        (smtpmail-outbox--send-all again (length waiting))))
    (smtpmail-outbox--summarize (length waiting)
                                (reverse smtpmail-outbox--outcomes))))

(defun smtpmail-outbox--send-all (entries &optional all)
  "Send ENTRIES, all or some of ALL, a number; note what becomes of each."
  (let ((all (or all (length entries))))
    (condition-case nil
        (if (smtpmail--own-via-smtp-p)
            (dolist (group (smtpmail-outbox--groups entries))
              (smtpmail-outbox--send-group group all))
          (dolist (entry entries)
            (let ((outcome (smtpmail-outbox--send entry)))
              (smtpmail-outbox--note entry
                                     (if (stringp outcome) (cons 'wait outcome)
                                       outcome)
                                     all))))
      (smtpmail-session-stopped-ending
       (signal 'quit (list (concat (smtpmail-outbox--stopped all)
                                   "; the message in hand is still being sent, \
and how that ends is told"))))
      (quit (signal 'quit (list (smtpmail-outbox--stopped all)))))))

(defun smtpmail-outbox--ask-despite-readers ()
  "Ask whether that is sent which another program may be sending.
Return the entries if so.  Nobody is asked where nobody can answer."
  (let ((outcomes (reverse (smtpmail-outbox--of-kind 'read))))
    (and outcomes
         (smtpmail-auth-can-prompt-p)
         ;; For somebody in a hurry, RET must not mean yes.
         (yes-or-no-p
          (format "Another program read %s a while ago and may be sending %s: \
%s.  Send %s all the same? "
                  (if (cdr outcomes)
                      (format "%d messages" (length outcomes))
                    "a message")
                  (if (cdr outcomes) "them" "it")
                  (smtpmail-outbox--named outcomes)
                  (if (cdr outcomes) "them" "it")))
         (mapcar #'car outcomes))))

(defun smtpmail-outbox--same-as (entry others)
  "Return non-nil if ENTRY is one of OTHERS."
  (seq-find (lambda (other)
              (equal (plist-get other :name) (plist-get entry :name)))
            others))

(defun smtpmail-outbox--forget (entries)
  "Forget what became of ENTRIES, which are sent again."
  (setq smtpmail-outbox--outcomes
        (seq-remove (lambda (outcome)
                      (smtpmail-outbox--same-as (car outcome) entries))
                    smtpmail-outbox--outcomes)
        smtpmail-outbox--count (length smtpmail-outbox--outcomes)))

;;;; How it went

(defconst smtpmail-outbox--told 5
  "How many messages that were not sent are told one by one.")

(defun smtpmail-outbox--note (entry outcome all)
  "Note OUTCOME of ENTRY, one of ALL, and tell how far we are."
  (push (cons entry outcome) smtpmail-outbox--outcomes)
  (setq smtpmail-outbox--count (1+ smtpmail-outbox--count))
  (unless noninteractive
    (let ((message-log-max nil))
      (message "Sending queued mail %d/%d" smtpmail-outbox--count all))))

(defun smtpmail-outbox--of-kind (&rest kinds)
  "Return the outcomes of this flush that are one of KINDS, the last first."
  (seq-filter (lambda (outcome) (memq (car-safe (cdr outcome)) kinds))
              smtpmail-outbox--outcomes))

(defun smtpmail-outbox--stopped (all)
  "Return what to tell of ALL messages after a quit."
  (let ((sent (seq-count (lambda (outcome)
                           (memq (or (car-safe (cdr outcome)) (cdr outcome))
                                 '(nil sent)))
                         smtpmail-outbox--outcomes))
        (unknown (length (smtpmail-outbox--of-kind 'unknown))))
    (format "Stopped; %d of %d queued messages sent%s" sent all
            (if (zerop unknown) ""
              (format ", %d may have been sent" unknown)))))

(defun smtpmail-outbox-title (entry)
  "Return a word or more by which the user knows ENTRY."
  (require 'rfc2047)
  (let ((subject (or (plist-get entry :subject) "")))
    (if (string-empty-p subject)
        (plist-get entry :name)
      (smtpmail-visible-text
       (condition-case nil
           (rfc2047-decode-string subject)
         (error subject))))))

(defun smtpmail-outbox--named (outcomes)
  "Return the first ones of OUTCOMES, (ENTRY KIND . WHY), as a text."
  (concat
   (mapconcat (pcase-lambda (`(,entry ,_ . ,why))
                (format "%s: %s" (smtpmail-outbox-title entry) why))
              (seq-take outcomes smtpmail-outbox--told) "; ")
   (if (nthcdr smtpmail-outbox--told outcomes) "; …" "")))

(defun smtpmail-outbox--counted (sent)
  "Return how many of this flush were SENT, wait, and so on, as a text."
  (mapconcat (pcase-lambda (`(,count . ,words)) (format "%d %s" count words))
             (seq-remove
              (lambda (count) (zerop (car count)))
              `((,sent . "sent")
                (,(length (smtpmail-outbox--of-kind 'wait 'read)) . "waiting")
                (,(length (smtpmail-outbox--of-kind 'refused)) . "refused")
                (,(length (smtpmail-outbox--of-kind 'unknown))
                 . "that may have been sent")))
             ", "))

(defun smtpmail-outbox--summarize (all outcomes)
  "Tell how sending ALL messages went; OUTCOMES are (ENTRY . OUTCOME)."
  (let* ((elsewhere (seq-count (lambda (outcome) (eq (cdr outcome) 'elsewhere))
                               outcomes))
         (failures (seq-filter (lambda (outcome)
                                 (memq (car-safe (cdr outcome))
                                       '(wait read refused unknown)))
                               outcomes))
         (partial (seq-filter (lambda (outcome)
                                (eq (car-safe (cdr outcome)) 'sent))
                              outcomes))
         (sent (- all elsewhere (length failures))))
    (cond
     ((zerop all) (message "No queued mail"))
     (failures
      (error "Sending failed: %d of %d queued messages not sent (%s); %s"
             (length failures) all (smtpmail-outbox--named failures)
             (smtpmail-outbox--counted sent)))
     (t (message "Sent %d queued message%s%s%s" sent (if (= sent 1) "" "s")
                 (if (zerop elsewhere) ""
                   (format "; another program took %d" elsewhere))
                 (if partial
                     (format "; not to all: %s" (smtpmail-outbox--named partial))
                   ""))))))

;;;; Account by account

(defun smtpmail-outbox--account (entry)
  "Return the variables that say over which account ENTRY goes, an alist.
What `smtpmail-accounts' says of its account now goes before what was
stored with the entry."
  (let ((bindings (smtpmail-accounts-bindings
                   (smtpmail-accounts-named (plist-get entry :account)))))
    (append bindings
            (mapcar (lambda (variable)
                      (cons variable
                            (alist-get variable (plist-get entry :stored)
                                       (symbol-value variable))))
                    (seq-difference smtpmail--stored-queue-variables
                                    (mapcar #'car bindings))))))

(defun smtpmail-outbox--groups (entries)
  "Return ENTRIES as a list of lists, each of one account, in order."
  ;; Many entries have few accounts: each is looked at once.
  (let ((keys (make-hash-table :test #'equal)))
    (mapcar #'cdr
            (seq-group-by
             (lambda (entry)
               (let ((same (cons (plist-get entry :account)
                                 (plist-get entry :stored))))
                 (or (gethash same keys)
                     (puthash same (smtpmail-outbox--account-key entry) keys))))
             entries))))

(defun smtpmail-outbox--account-key (entry)
  "Return what ENTRY has in common with all that go over its account."
  (let ((account (smtpmail-outbox--account entry)))
    ;; 587 and \"submission\" are one port.
    (setf (alist-get 'smtpmail-smtp-service account)
          (smtpmail-services-port (alist-get 'smtpmail-smtp-service account)))
    account))

(defun smtpmail-outbox--send-group (entries all)
  "Send ENTRIES, all of one account and some of ALL, over one connection."
  (let ((account (smtpmail-outbox--account (car entries)))
        (open (make-hash-table :test #'eq :size (length entries)))
        (messages nil))
    (dolist (entry entries) (puthash entry t open))
    (smtpmail-accounts-with account
      (cl-flet ((note (entry outcome)
                  (remhash entry open)
                  (smtpmail-outbox--note entry outcome all)))
        (condition-case problem
            (let* ((host (smtpmail--host))
                   (account (smtpmail--account-request host))
                   (port (plist-get account :port)))
              (when-let ((why (smtpmail-outbox-rest-reason host port)))
                (error "%s" why))
              (dolist (entry entries)
                (condition-case problem
                    (push (cons entry (smtpmail-outbox--message entry)) messages)
                  (error (note entry (cons 'wait (error-message-string problem))))))
              (setq messages (vconcat (nreverse messages)))
              (unless (seq-empty-p messages)
                (smtpmail-outbox--report-rest
                 (smtpmail-session-run
                  ;; What is refused for now waits in the queue.
                  `( :attempts 1
                     :messages ,(mapcar #'cdr messages)
                     :despite-readers ,smtpmail-outbox--despite-readers
                     ,@(smtpmail-outbox--place)
                     ,@account)
                  smtpmail-smtp-service (smtpmail--login-demanded-p host)
                  (lambda (report)
                    (note (car (aref messages (plist-get report :index)))
                          (smtpmail-outbox--outcome report host port))))
                 host port)))
          ;; The account cannot be used; others can.
          (error (dolist (entry entries)
                   (when (gethash entry open)
                     (note entry (cons 'wait (error-message-string problem)))))))))))

(defun smtpmail-outbox--report-rest (report host port)
  "Say why a login by a method of the user stopped all; REPORT tells.
The engine only knows that it was stopped by us.  HOST and PORT are the
server's."
  (when (plist-get (plist-get report :failure) :said)
    (let ((why (smtpmail-report-error report host port)))
      (setq smtpmail-outbox--outcomes
            (mapcar (lambda (outcome)
                      (if (equal (cdr outcome) '(wait . "stopped"))
                          (cons (car outcome) (cons 'wait why))
                        outcome))
                    smtpmail-outbox--outcomes)))))

(defun smtpmail-outbox--outcome (report host port)
  "Return the outcome that REPORT of a message to HOST at PORT tells."
  (let ((kind (plist-get (plist-get report :failure) :kind))
        (verdict (plist-get report :verdict)))
    (cond
     ((eq kind 'busy) 'elsewhere)
     ((eq verdict 'accepted) (smtpmail-outbox--partial report))
     ((and (eq kind 'cancelled) (eq verdict 'failed)) (cons 'wait "stopped"))
     ((eq kind 'read-elsewhere)
      (cons 'read (smtpmail-report-error report host port)))
     (t (cons (cond ((eq verdict 'unknown) 'unknown)
                    ((smtpmail-outbox--final-p report) 'refused)
                    (t 'wait))
              (smtpmail-report-error report host port))))))

(defun smtpmail-outbox--final-p (report)
  "Return non-nil if REPORT tells of a refusal that no time changes."
  (let ((failure (plist-get report :failure)))
    (or (eq (plist-get failure :kind) 'content)
        (and (eq (plist-get failure :kind) 'refused)
             ;; Before, it is about the server and not about the message.
             (memq (plist-get failure :phase) '(mail rcpt data text final))
             (not (seq-find (lambda (recipient) (plist-get recipient :accepted))
                            (plist-get report :recipients)))))))

(defun smtpmail-outbox--partial (report)
  "Return the outcome of a message that was taken, as REPORT tells.
That is nil if it was for all recipients."
  (let ((others (seq-remove (lambda (recipient) (plist-get recipient :accepted))
                            (plist-get report :recipients))))
    (when others
      (cons (if (seq-find (lambda (recipient)
                            (eq 'transient (plist-get (plist-get recipient :failure)
                                                      :kind)))
                          others)
                'wait 'sent)
            (mapconcat
             (lambda (recipient)
               (let ((failure (plist-get recipient :failure)))
                 (format "%s %s (%s)" (plist-get recipient :address)
                         (if (eq 'transient (plist-get failure :kind))
                             "waits" "was refused")
                         (plist-get failure :text))))
             others ", ")))))

(defun smtpmail-outbox--rests (host port)
  "Return why the entry that is being sent has to wait, or nil.
The login at HOST and PORT may have been refused."
  (when smtpmail-outbox--entry
    (let ((why (smtpmail-outbox-rest-reason host port)))
      (when why
        ;; It lies there as it did.
        (setf (nth 2 smtpmail-outbox--entry) '(:verdict failed)))
      why)))

(defun smtpmail-outbox--message (entry)
  "Return the plist of ENTRY for a request."
  (smtpmail-proxy-check entry)
  (list :entry (plist-get entry :name)
        :sender (or (plist-get entry :sender)
                    (smtpmail-outbox--sender-in-text (plist-get entry :name)))
        :recipients (mapcar #'smtpmail-maybe-append-domain
                            (plist-get entry :recipients))
        ;; Most entries ask for nothing, and there may be thousands.
        :options (and (plist-get entry :facts)
                      (plist-get (smtpmail-delivery-request
                                  (smtpmail-delivery-entry-bindings entry))
                                 :options))))

(defconst smtpmail-outbox--header-limit (* 256 1024)
  "Octets of a message in which its From is looked for.")

(defun smtpmail-outbox--sender-in-text (name)
  "Return the envelope sender that the header of the entry NAME tells.
Entries of other programs have none beside it."
  (let ((buffer (generate-new-buffer " smtpmail header")))
    (unwind-protect
        (with-current-buffer buffer
          (smtpmail-outbox-insert
           name (list :limit smtpmail-outbox--header-limit))
          (let ((smtpmail-mail-address nil))
            (smtpmail--sender buffer)))
      (kill-buffer buffer))))

;;;; One by one, through what users put in the place of `smtpmail-via-smtp'

(defun smtpmail-outbox--send (entry)
  "Send ENTRY, a plist, with the variables stored in it.
Return nil, or why it was not sent, a string."
  (let ((buffer (generate-new-buffer " smtpmail queued")))
    (unwind-protect
        (condition-case problem
            (smtpmail-accounts-with (smtpmail-outbox--account entry)
              (smtpmail-accounts-with (smtpmail-delivery-entry-bindings entry)
                (smtpmail-outbox--send-buffer entry buffer)))
          (error (error-message-string problem)))
      (kill-buffer buffer))))

(defun smtpmail-outbox--send-buffer (entry buffer)
  "Send ENTRY, whose text goes into BUFFER, with the variables in force.
Return nil, or why it was not sent, a string."
  (smtpmail-proxy-check entry)
  (with-current-buffer buffer
    (smtpmail-outbox-insert (plist-get entry :name) '(:to-send t))
    (let ((smtpmail-mail-address (plist-get entry :sender))
          (smtpmail-code-conv-from nil)
          (smtpmail-outbox--entry (list (plist-get entry :name)
                                        (buffer-chars-modified-tick)
                                        nil)))
      (smtpmail-outbox--settle
       entry
       (funcall #'smtpmail-via-smtp (plist-get entry :recipients) buffer)))))

(defun smtpmail-outbox--settle (entry failure)
  "Return FAILURE, what sending ENTRY gave; give ENTRY its outcome.
The engine did that already if it sent the entry itself; a function in
the place of `smtpmail-via-smtp' may have sent it by other ways."
  (unless (nth 2 smtpmail-outbox--entry)
    (smtpmail-session-ask-outbox
     `( ,@(if failure '(:job release) '(:job accepted))
        ,@(smtpmail-outbox--place)
        :entry ,(plist-get entry :name))))
  (if (or (null failure) (stringp failure))
      failure
    (format "%s" failure)))

(provide 'smtpmail-outbox)

;;; smtpmail-outbox.el ends here
