;;; smtpmail-outbox-list.el --- the outbox as a list  -*- lexical-binding: t -*-

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

;; `M-x smtpmail-outbox': every queued message in a row, what became of it,
;; and keys to do something about it.  Here are the mode and its commands;
;; the rows are made in smtpmail-outbox-rows.el.
;;
;; Commands never trust the rows: they ask, then look at the queue again, and
;; leave alone what has changed meanwhile.

;;; Code:

(require 'easymenu)
(require 'subr-x)
(require 'tabulated-list)
(require 'smtpmail-options)
(require 'smtpmail-background)
(require 'smtpmail-methods)
(require 'smtpmail-outbox)
(require 'smtpmail-outbox-rows)
(require 'smtpmail-outbox-view)

(declare-function smtpmail-background-from-entry "smtpmail-leave" (entry place))
(declare-function smtpmail-session-ask-outbox "smtpmail-session" (request))
(declare-function smtpmail-session-trace-name "smtpmail-session" (host))
(declare-function smtpmail-accepted-drop "smtpmail-accepted" (entry))
(declare-function smtpmail-accepted-give-back "smtpmail-accepted" (entry draft))
(declare-function smtpmail-outbox-draft-create "smtpmail-outbox-draft" (entry))
(declare-function smtpmail-outbox-draft-addresses "smtpmail-outbox-draft"
                  (fields))
(declare-function smtpmail-outbox-draft-missing "smtpmail-outbox-draft"
                  (some others))

;;;; How many

;;;###autoload
(defun smtpmail-outbox-count ()
  "Return how many queued messages may be sent now.
Only reads the index, so mode lines and scripts may ask often."
  (let ((index (and (stringp smtpmail-queue-dir)
                    (expand-file-name smtpmail-queue-index-file
                                      smtpmail-queue-dir))))
    (if (and index (file-regular-p index))
        (with-temp-buffer
          (set-buffer-multibyte nil)
          (insert-file-contents-literally index)
          (how-many "^[^\r\n]" (point-min) (point-max)))
      0)))

;;;; The mode

(defvar smtpmail-outbox-list-mode-map
  (let ((map (make-sparse-keymap)))
    (set-keymap-parent map tabulated-list-mode-map)
    (define-key map (kbd "RET") #'smtpmail-outbox-list-view)
    (define-key map [mouse-2] #'smtpmail-outbox-list-view-clicked)
    (define-key map [follow-link] 'mouse-face)
    (define-key map "m" #'smtpmail-outbox-list-mark)
    (define-key map "d" #'smtpmail-outbox-list-flag)
    (define-key map (kbd "DEL") #'smtpmail-outbox-list-unmark-backward)
    (define-key map "U" #'smtpmail-outbox-list-unmark-all)
    (define-key map "x" #'smtpmail-outbox-list-delete-flagged)
    (define-key map "D" #'smtpmail-outbox-list-delete)
    (define-key map "s" #'smtpmail-outbox-list-send)
    (define-key map "S" #'smtpmail-outbox-list-send-all)
    (define-key map "h" #'smtpmail-outbox-list-hold)
    (define-key map "u" #'smtpmail-outbox-list-release)
    (define-key map "k" #'smtpmail-stop-sending)
    (define-key map "e" #'smtpmail-outbox-list-edit)
    (define-key map "t" #'smtpmail-outbox-list-trace)
    (define-key map "g" #'smtpmail-outbox-list-refresh)
    (define-key map "?" #'describe-mode)
    map)
  "Keymap of `smtpmail-outbox-list-mode'.")

(easy-menu-define smtpmail-outbox-list-menu smtpmail-outbox-list-mode-map
  "Menu of the outbox."
  '("Outbox"
    ["Look at Message" smtpmail-outbox-list-view]
    ["Edit as Draft" smtpmail-outbox-list-edit]
    ["Trace of Its Session" smtpmail-outbox-list-trace]
    "---"
    ["Send" smtpmail-outbox-list-send]
    ["Send All" smtpmail-outbox-list-send-all]
    ["Hold" smtpmail-outbox-list-hold]
    ["Release or Resend" smtpmail-outbox-list-release]
    ["Stop Sending" smtpmail-stop-sending]
    ["Delete" smtpmail-outbox-list-delete]
    "---"
    ["Mark" smtpmail-outbox-list-mark]
    ["Flag for Deletion" smtpmail-outbox-list-flag]
    ["Delete Flagged" smtpmail-outbox-list-delete-flagged]
    ["Remove All Marks" smtpmail-outbox-list-unmark-all]
    "---"
    ["Refresh" smtpmail-outbox-list-refresh]
    ["Help" describe-mode]
    ["Quit" quit-window]))

(define-derived-mode smtpmail-outbox-list-mode tabulated-list-mode "Outbox"
  "Major mode for the list of queued mail.
The list follows the queue by itself.  What a message may be:

waiting    it goes with the next \\[smtpmail-outbox-list-send-all]
deferred   a server or the network said \"not now\"; it waits
stuck      it was to go in the background and needs you: a login, or your word;
           \\[smtpmail-outbox-list-send] sends it
scheduled  it waits for a time
held       it stays until you release it
sending    it is on its way just now
refused    a server said no for good: edit it, or delete it
unknown    it went out, but the server's answer was lost: it may have been
           delivered, so it is sent again only if you say so

\\{smtpmail-outbox-list-mode-map}"
  :interactive nil
  ;; Tables of its own would be variables that do not print.
  :abbrev-table nil
  :syntax-table nil
  (setq tabulated-list-padding 2
        tabulated-list-printer #'smtpmail-outbox-list--print
        tabulated-list-sort-key '("Queued" . nil)
        tabulated-list-format (smtpmail-outbox-list--format
                               (smtpmail-outbox-list--width)))
  (setq-local revert-buffer-function #'smtpmail-outbox-list-refresh)
  (setq truncate-lines t)
  (tabulated-list-init-header)
  (hl-line-mode)
  (smtpmail-outbox-list--begin))

;;;###autoload
(defun smtpmail-outbox ()
  "List the mail in `smtpmail-queue-dir', to look at it, send or change it."
  (interactive)
  ;; What is sent from here goes through `smtpmail-via-smtp'.
  (require 'smtpmail)
  (let ((buffer (get-buffer-create smtpmail-outbox-list--buffer)))
    (pop-to-buffer-same-window buffer)
    (unless (derived-mode-p 'smtpmail-outbox-list-mode)
      (smtpmail-outbox-list-mode))
    (smtpmail-outbox-list-refresh)))

;;;; Marks

(defun smtpmail-outbox-list-mark ()
  "Mark this message for the next command, and go to the next one."
  (interactive nil smtpmail-outbox-list-mode)
  (smtpmail-outbox-list--put-mark ?*)
  (forward-line 1))

(defun smtpmail-outbox-list-flag ()
  "Flag this message for deletion, and go to the next one."
  (interactive nil smtpmail-outbox-list-mode)
  (smtpmail-outbox-list--put-mark ?D)
  (forward-line 1))

(defun smtpmail-outbox-list-unmark-backward ()
  "Go to the message above and take its mark away."
  (interactive nil smtpmail-outbox-list-mode)
  (forward-line -1)
  (smtpmail-outbox-list--put-mark ?\s))

(defun smtpmail-outbox-list-unmark-all ()
  "Take all marks and flags away."
  (interactive nil smtpmail-outbox-list-mode)
  (setq smtpmail-outbox-list--marks nil)
  (smtpmail-outbox-list--redraw))

;;;; Changing

(defun smtpmail-outbox-list--still (entries)
  "Return those of ENTRIES that are as they were shown; tell of the others."
  (smtpmail-outbox-list-refresh)
  (let ((same (seq-filter
               (lambda (entry)
                 (eq (plist-get entry :state)
                     (plist-get (smtpmail-outbox-list--entry
                                 (plist-get entry :name))
                                :state)))
               entries)))
    (when (and entries (null same))
      (user-error "Nothing done: the outbox has changed meanwhile"))
    same))

(defun smtpmail-outbox-list--change-all (job entries done)
  "Do JOB to ENTRIES, tell how many are DONE, a word, and refresh.
Return those that were changed."
  (let ((changed nil))
    (unwind-protect
        (dolist (entry entries)
          (when (smtpmail-outbox-change job entry)
            (push entry changed)))
      (smtpmail-outbox-list-refresh))
    (let ((missed (- (length entries) (length changed))))
      (message "%s: %d%s" done (length changed)
               (if (> missed 0)
                   (format "; left alone, because changed meanwhile, on their way or gone: %d" missed)
                 "")))
    (nreverse changed)))

(defun smtpmail-outbox-list--only (entries states why)
  "Return those of ENTRIES whose state is one of STATES.
If there are none, signal a `user-error' with WHY."
  (or (seq-filter (lambda (entry) (memq (plist-get entry :state) states)) entries)
      (user-error "%s" why)))

(defun smtpmail-outbox-list--name (entries)
  "Return a short text for ENTRIES, for a question."
  (if (cdr entries)
      (format "%d messages" (length entries))
    (format "\"%s\" to %s"
            (truncate-string-to-width
             (smtpmail-outbox-list--subject (car entries)) 40 nil nil t)
            (truncate-string-to-width
             (smtpmail-visible-text
              (string-join (plist-get (car entries) :recipients) ", "))
             40 nil nil t))))

(defun smtpmail-outbox-list-hold ()
  "Let the marked messages, or this one, stay until they are released."
  (interactive nil smtpmail-outbox-list-mode)
  ;; Nothing else: to hold a refused or unknown one would forget what it is.
  (let ((entries (smtpmail-outbox-list--only
                  (smtpmail-outbox-list--targets) '(waiting deferred scheduled)
                  "Only messages that wait can be held")))
    (smtpmail-outbox-list--change-all
     'hold (smtpmail-outbox-list--still entries) "Held")))

(defun smtpmail-outbox-list--question (state entries)
  "Return what to ask before ENTRIES, all of STATE, wait again; or nil."
  (let ((reply (and (null (cdr entries))
                    (plist-get (car entries) :last-reply)))
        (name (smtpmail-outbox-list--name entries)))
    (pcase state
      ('unknown
       (format "%s may have been delivered already%s.  Send again, with the \
same Message-ID, so that some mail programs show it only once? "
               name (if reply (format " (%s)" (smtpmail-visible-text reply)) "")))
      ('refused
       (format "%s was refused%s.  Try again without a change? "
               name (if reply (format ": %s" (smtpmail-visible-text reply)) "")))
      ('scheduled
       (format "%s is to go later%s.  Let it go now? " name
               (if-let ((time (and (null (cdr entries))
                                   (plist-get (car entries) :time))))
                   (format ", at %s" (smtpmail-outbox-list--time time))
                 ""))))))

(defun smtpmail-outbox-list--confirmed (entries)
  "Ask about those of ENTRIES that must not just go; return the others."
  (let ((left entries))
    (dolist (state '(unknown refused scheduled))
      (when-let ((group (seq-filter (lambda (entry)
                                      (eq (plist-get entry :state) state))
                                    entries)))
        (unless (yes-or-no-p (smtpmail-outbox-list--question state group))
          (setq left (seq-difference left group #'eq)))))
    (or left (user-error "Nothing done"))))

(defun smtpmail-outbox-list-release ()
  "Let the marked messages, or this one, wait to be sent again.
Ask about those that were refused or may have been delivered."
  (interactive nil smtpmail-outbox-list-mode)
  (let ((entries (smtpmail-outbox-list--only
                  (smtpmail-outbox-list--targets)
                  '(held deferred scheduled refused unknown)
                  "It waits already, or is on its way")))
    (smtpmail-outbox-list--let-go
     (smtpmail-outbox-list--change-all
      'release
      (smtpmail-outbox-list--still (smtpmail-outbox-list--confirmed entries))
      "Released"))))

(defun smtpmail-outbox-list--let-go (entries)
  "Let ENTRIES, just released, go by themselves where mail does so.
With a function in `smtpmail-send-in-background' only those that did."
  (when (and smtpmail-send-in-background (not noninteractive))
    (dolist (entry entries)
      (let* ((name (plist-get entry :name))
             (mail (smtpmail-background-mail-named name))
             (now (smtpmail-outbox-list--entry name)))
        (cond (mail (smtpmail-background-retry mail))
              ((and now
                    (or (alist-get 'background (plist-get now :facts))
                        (not (functionp smtpmail-send-in-background))))
               (require 'smtpmail-leave)
               (smtpmail-background-add
                (smtpmail-background-from-entry now
                                                (smtpmail-outbox--place)))))))))

(defun smtpmail-outbox-list--delete (entries)
  "Delete ENTRIES after a question."
  (unless (yes-or-no-p (format "Delete %s from the outbox, unsent? "
                               (smtpmail-outbox-list--name entries)))
    (user-error "Nothing deleted"))
  (dolist (entry (smtpmail-outbox-list--change-all
                  'drop (smtpmail-outbox-list--still entries) "Deleted"))
    (when (featurep 'smtpmail-accepted)
      (smtpmail-accepted-drop (plist-get entry :name)))))

(defun smtpmail-outbox-list-delete ()
  "Delete the marked messages, or this one, after a question."
  (interactive nil smtpmail-outbox-list-mode)
  (smtpmail-outbox-list--delete (smtpmail-outbox-list--targets)))

(defun smtpmail-outbox-list-delete-flagged ()
  "Delete the messages flagged for deletion, after a question."
  (interactive nil smtpmail-outbox-list-mode)
  (smtpmail-outbox-list--delete
   (or (smtpmail-outbox-list--marked ?D)
       (user-error (substitute-command-keys
                    "No message is flagged; \\[smtpmail-outbox-list-flag] \
flags one")))))

;;;; Sending

(defun smtpmail-outbox-list-send ()
  "Send the marked messages, or this one, now.
Ask about those that were refused or may have been delivered; held ones
are released."
  (interactive nil smtpmail-outbox-list-mode)
  (let* ((entries (smtpmail-outbox-list--only
                   (smtpmail-outbox-list--targets)
                   '(waiting deferred held scheduled refused unknown)
                   "It is on its way"))
         (entries (smtpmail-outbox-list--still
                   (smtpmail-outbox-list--confirmed entries)))
         (failures nil))
    (unwind-protect
        (dolist (entry entries)
          (when-let ((failure (smtpmail-outbox-list--send-one entry)))
            (push (cons entry failure) failures)))
      (smtpmail-outbox-list-refresh))
    (if failures
        (message "Not sent, %d of %d: %s" (length failures) (length entries)
                 (mapconcat (pcase-lambda (`(,entry . ,why))
                              (format "%s: %s"
                                      (smtpmail-outbox-list--subject entry)
                                      (smtpmail-visible-text why)))
                            (nreverse failures) "; "))
      (message "Sent %s" (smtpmail-outbox-list--name entries)))))

(defun smtpmail-outbox-list--send-one (entry)
  "Send ENTRY; return nil, or why it was not sent, a string."
  (if (or (plist-get entry :sendable)
          (smtpmail-outbox-change 'release entry))
      (smtpmail-outbox--send entry)
    "somebody else is sending it or has changed it, or it is gone"))

(defun smtpmail-outbox-list-send-all ()
  "Send all messages that may go."
  (interactive nil smtpmail-outbox-list-mode)
  (smtpmail-outbox-list--check-directory)
  (let ((list (current-buffer)))
    (unwind-protect (smtpmail-send-queued-mail)
      (when (buffer-live-p list)
        (with-current-buffer list
          (smtpmail-outbox-list-refresh))))))

;;;; Looking

(defun smtpmail-outbox-list--facts (entry)
  "Return what the outbox knows about ENTRY, a list of (LABEL . TEXT)."
  (delq nil
        (list
         (cons "Queued" (format-time-string "%F %T" (plist-get entry :queued)))
         (cons "State" (smtpmail-outbox-list--state entry))
         (when-let ((reply (plist-get entry :last-reply)))
           (cons "Last reply" (format "%s (attempt %d)" reply
                                      (plist-get entry :attempts))))
         (when-let ((refused (plist-get entry :refused-recipients)))
           (cons "Refused for good"
                 (mapconcat (lambda (one) (format "%s: %s" (car one) (cdr one)))
                            refused "; ")))
         (when-let ((sender (plist-get entry :sender)))
           (cons "Envelope from" (format "<%s>" sender)))
         (cons "Envelope to" (string-join (plist-get entry :recipients) ", "))
         (when-let ((stored (plist-get entry :stored)))
           (cons "Server" (mapconcat (lambda (cell) (format "%s" (cdr cell)))
                                     (seq-filter #'cdr stored) " "))))))

(defun smtpmail-outbox-list-view ()
  "Look at this message."
  (interactive nil smtpmail-outbox-list-mode)
  (let ((entry (smtpmail-outbox-list--here)))
    ;; To open and close its file could end a lock, on some file systems.
    (when (eq (plist-get entry :state) 'sending)
      (user-error "It is on its way just now"))
    (pop-to-buffer (smtpmail-outbox-view-show
                    (plist-get entry :name)
                    (smtpmail-outbox-list--facts entry)))))

(defun smtpmail-outbox-list-view-clicked (event)
  "Look at the message where EVENT, a click, was."
  (interactive "e" smtpmail-outbox-list-mode)
  (mouse-set-point event)
  (smtpmail-outbox-list-view))

(defun smtpmail-outbox-list-trace ()
  "Show what was said when this message was last tried.
If the trace does not have it, show the last sessions with its server."
  (interactive nil smtpmail-outbox-list-mode)
  (let* ((entry (smtpmail-outbox-list--here))
         (stored (assq 'smtpmail-smtp-server (plist-get entry :stored)))
         (host (if stored (cdr stored) smtpmail-smtp-server))
         (trace (and (stringp host)
                     (get-buffer (smtpmail-session-trace-name host)))))
    (unless trace
      (user-error "No trace is kept of sessions with %s%s"
                  (if (stringp host) (smtpmail-visible-text host) "a server")
                  (if smtpmail-debug-info
                      "" "; only of failed ones, unless `smtpmail-debug-info'")))
    (pop-to-buffer trace)
    (goto-char (point-max))
    (if (re-search-backward (concat "\\*: message "
                                    (regexp-quote (plist-get entry :name)) "$")
                            nil t)
        (progn (beginning-of-line)
               (recenter 0))
      (message "These sessions have not tried this message"))))

;;;; Editing

(defun smtpmail-outbox-list-edit ()
  "Edit this message as a draft, and take it out of the outbox.
It stays in the outbox until the draft is there and you say so."
  (interactive nil smtpmail-outbox-list-mode)
  (let ((entry (smtpmail-outbox-list--here))
        (list (current-buffer)))
    (when (eq (plist-get entry :state) 'sending)
      (user-error "It is on its way just now"))
    (require 'smtpmail-outbox-draft)
    (let* ((fields (smtpmail-outbox-draft-create entry))
           (draft (current-buffer))
           (gone (smtpmail-outbox-draft-missing
                  (smtpmail-outbox-draft-addresses fields)
                  (plist-get entry :recipients))))
      (if (yes-or-no-p (smtpmail-outbox-list--edit-question entry gone draft))
          (smtpmail-outbox-list--take-out entry draft list)
        (message "It is still in the outbox as well as in %s" draft)))))

(defun smtpmail-outbox-list--edit-question (entry gone draft)
  "Return what to ask when the DRAFT of ENTRY is there.
GONE are addresses in its header that the entry does not wait for."
  (concat
   (and (eq (plist-get entry :state) 'unknown)
        "It may have been delivered already.  ")
   (and gone
        (format "It no longer waits for %s, who would get the draft again.  "
                (smtpmail-visible-text (string-join gone ", "))))
   (format "The draft is in %s.  Take the message out of the outbox? " draft)))

(defun smtpmail-outbox-list--take-out (entry draft list)
  "Drop ENTRY, whose DRAFT is there, and refresh LIST."
  (with-current-buffer (if (buffer-live-p list) list (current-buffer))
    (let ((taken (smtpmail-outbox-change 'drop entry)))
      (when (derived-mode-p 'smtpmail-outbox-list-mode)
        (smtpmail-outbox-list-refresh))
      (when (and taken (featurep 'smtpmail-accepted))
        (smtpmail-accepted-give-back (plist-get entry :name) draft))
      (if taken
          (message "It is out of the outbox; send the draft when it is ready")
        (display-warning
         'smtpmail
         (format "The message in %s is being sent just now, or was sent: \
sending the draft would send it twice" draft))))))

(provide 'smtpmail-outbox-list)

;;; smtpmail-outbox-list.el ends here
