;;; smtpmail-notice.el --- tell what was not sent  -*- lexical-binding: t -*-

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

;; A message that was sent in the background and refused, got stuck, or met an
;; unknown fate must not go unnoticed: a buffer is shown, not selected, that
;; tells why, in the server's words, and has buttons to do something about it.
;; Each message is told of once, until something was done.

;;; Code:

(require 'smtpmail-background)
(require 'smtpmail-outbox)

(declare-function smtpmail-outbox "smtpmail-outbox-list" ())
(declare-function smtpmail-background-from-entry "smtpmail-leave" (entry place))
(declare-function smtpmail-outbox-draft-create "smtpmail-outbox-draft" (entry))
(declare-function dbus-call-method-asynchronously "dbus"
                  (bus service path interface method handler &rest args))
(declare-function smtpmail-outbox-list--edit-question "smtpmail-outbox-list"
                  (entry gone draft))
(declare-function smtpmail-outbox-draft-addresses "smtpmail-outbox-draft"
                  (fields))
(declare-function smtpmail-outbox-draft-missing "smtpmail-outbox-draft"
                  (some others))

(declare-function smtpmail-accepted-drop "smtpmail-accepted" (entry))
(declare-function smtpmail-accepted-give-back "smtpmail-accepted" (entry draft))

(autoload 'smtpmail-background-from-entry "smtpmail-leave")

(defconst smtpmail-notice--buffer "*smtpmail notice*"
  "Name of the buffer with notices.")

(defconst smtpmail-notice--most-shown 20
  "So many notices are shown; the outbox lists what they are about.
An account that is closed refuses all that waits for it.")

(defvar smtpmail-notice--list nil
  "Notices that stand, plists, the newest first.")

(defun smtpmail-notice-count ()
  "Return how many notices stand."
  (length smtpmail-notice--list))

(defvar smtpmail-notice-mode-map
  (let ((map (make-sparse-keymap)))
    (set-keymap-parent map (make-composed-keymap button-buffer-map
                                                 special-mode-map))
    (define-key map "o" #'smtpmail-outbox)
    map)
  "Keymap of `smtpmail-notice-mode'.")

(easy-menu-define nil smtpmail-notice-mode-map
  "Menu of notices."
  '("Notice"
    ["Outbox" smtpmail-outbox]
    ["Next Button" forward-button]
    ["Previous Button" backward-button]
    "---"
    ["Help" describe-mode]
    ["Quit" quit-window]))

(define-derived-mode smtpmail-notice-mode special-mode "Mail notice"
  "Major mode of the buffer that tells which messages were not sent.
\\{smtpmail-notice-mode-map}"
  :interactive nil
  :abbrev-table nil
  :syntax-table nil
  (setq-local word-wrap t)
  (setq buffer-undo-list t))

;;;; Telling

(defun smtpmail-notice-refused (mail why state)
  "Tell that MAIL was not sent for WHY, a sentence, and is in STATE.
STATE is `refused', `unknown', `stuck', `delayed', or `partly' when some of
its recipients were refused."
  (let ((name (smtpmail-background-mail-name mail))
        (label (smtpmail-background--label mail)))
    (push (list :name name :label label :why why :state state
                :place (smtpmail-background-mail-place mail)
                :recipients (smtpmail-background-mail-recipients mail)
                :server (plist-get (smtpmail-background-mail-account mail) :host)
                :done (smtpmail-background-mail-done mail)
                :time (float-time))
          smtpmail-notice--list)
    (smtpmail-notice--remove-older name)
    (smtpmail-notice--show)
    (let ((heading (smtpmail-notice--heading (car smtpmail-notice--list)))
          (why (smtpmail-visible-text why)))
      (smtpmail-background--say "%s: %s" heading why)
      (smtpmail-notice--tell-desktop heading why))
    (smtpmail-mode-line-update)))

(defun smtpmail-notice--remove-older (name)
  "Let the newest notice of the entry NAME be its only one."
  (let ((newest (car smtpmail-notice--list)))
    (setq smtpmail-notice--list
          (seq-filter (lambda (notice)
                        (or (eq notice newest)
                            (not (equal name (plist-get notice :name)))))
                      smtpmail-notice--list))))

(defun smtpmail-notice--heading (notice)
  "Return what NOTICE is about."
  (format (pcase (plist-get notice :state)
            ('unknown "May or may not have been sent: %s")
            ('partly "Not sent to all: %s")
            ('delayed "Still not sent: %s")
            (_ "Not sent: %s"))
          (plist-get notice :label)))

(defun smtpmail-notice--show ()
  "Show the notices without selecting their window."
  (let ((buffer (smtpmail-notice--draw)))
    (when-let ((window (display-buffer
                        buffer
                        '((display-buffer-reuse-window display-buffer-at-bottom)
                          (inhibit-same-window . t)))))
      (smtpmail-notice--fit window))))

(defun smtpmail-notice--fit (window)
  "Let WINDOW, if it was made for the notices, be as high as they need.
But not higher than a third of its frame."
  (when (eq (car (window-parameter window 'quit-restore)) 'window)
    (fit-window-to-buffer window (/ (frame-height (window-frame window)) 3))))

(defun smtpmail-notice--draw ()
  "Write the notices into their buffer, and return that."
  (with-current-buffer (get-buffer-create smtpmail-notice--buffer)
    (unless (derived-mode-p 'smtpmail-notice-mode)
      (smtpmail-notice-mode))
    (let ((inhibit-read-only t))
      (erase-buffer)
      (mapc #'smtpmail-notice--insert
            (seq-take smtpmail-notice--list smtpmail-notice--most-shown))
      (smtpmail-notice--insert-rest
       (- (length smtpmail-notice--list) smtpmail-notice--most-shown))
      (goto-char (point-min)))
    (set-buffer-modified-p nil)
    (current-buffer)))

(defun smtpmail-notice--insert (notice)
  "Insert NOTICE, with its buttons."
  (insert (propertize (smtpmail-notice--heading notice) 'face 'error) "\n"
          "  " (smtpmail-visible-text (plist-get notice :why)) "\n"
          (format "  %s, to %s by %s\n"
                  (format-time-string "%F %R" (plist-get notice :time))
                  (smtpmail-visible-text
                   (string-join (plist-get notice :recipients) ", "))
                  (smtpmail-visible-text (plist-get notice :server))))
  (when-let ((done (plist-get notice :done)))
    (insert "  Done already: " (smtpmail-visible-text (string-join done "; "))
            "\n"))
  (insert "  ")
  (let ((actions (if (eq (plist-get notice :state) 'partly)
                     '(("Dismiss" . smtpmail-notice-dismiss))
                   '(("Edit" . smtpmail-notice-edit)
                     ("Try again" . smtpmail-notice-retry)
                     ("Delete" . smtpmail-notice-drop)
                     ("Dismiss" . smtpmail-notice-dismiss)))))
    (pcase-dolist (`(,label . ,function) actions)
      (insert-text-button label 'action (lambda (_) (funcall function notice))
                          'follow-link t)
      (insert "  ")))
  (insert "\n\n"))

(defun smtpmail-notice--insert-rest (count)
  "Insert a line about COUNT notices that are not shown, if there are any."
  (when (> count 0)
    (insert (format "And %d more.  " count))
    (insert-text-button "Outbox" 'action (lambda (_) (smtpmail-outbox))
                        'follow-link t)
    (insert "  ")
    (insert-text-button "Dismiss all"
                        'action (lambda (_)
                                  (setq smtpmail-notice--list nil)
                                  (smtpmail-notice--redraw))
                        'follow-link t)
    (insert "\n")))

(defun smtpmail-notice-withdraw (name)
  "Take the notice of the entry NAME away, if there is one."
  (let ((others (seq-remove (lambda (notice)
                              (and (equal name (plist-get notice :name))
                                   ;; It went to the others; that stays true.
                                   (not (eq (plist-get notice :state) 'partly))))
                            smtpmail-notice--list)))
    (unless (equal others smtpmail-notice--list)
      (setq smtpmail-notice--list others)
      (smtpmail-notice--redraw))))

(defun smtpmail-notice--redraw ()
  "Show the notices that are left; none, no window."
  (when (get-buffer smtpmail-notice--buffer)
    (let ((buffer (smtpmail-notice--draw)))
      (dolist (window (get-buffer-window-list buffer nil t))
        (if smtpmail-notice--list
            (smtpmail-notice--fit window)
          (quit-restore-window window 'bury)))))
  (smtpmail-mode-line-update))

(defun smtpmail-notice--tell-desktop (heading why)
  "Let the desktop, if there is one, show HEADING and WHY, visible texts.
As `notifications-notify' does, but without waiting for it."
  (when (and (getenv "DBUS_SESSION_BUS_ADDRESS")
             (featurep 'dbusbind)
             (require 'dbus nil t))
    (ignore-errors
      (dbus-call-method-asynchronously
       :session "org.freedesktop.Notifications" "/org/freedesktop/Notifications"
       "org.freedesktop.Notifications" "Notify" nil
       "Emacs" :uint32 0 "emacs" heading
       ;; The body, not the summary, is markup.
       (smtpmail-notice--without-markup why)
       '(:array) '(:array :signature "{sv}")
       :int32 -1))))

(defun smtpmail-notice--without-markup (text)
  "Return TEXT so that nothing in it is a tag or an entity of HTML."
  (replace-regexp-in-string
   "[&<>]" (lambda (octet) (pcase octet ("&" "&amp;") ("<" "&lt;") (_ "&gt;")))
   text t t))

;;;; Doing something about it

(defun smtpmail-notice--entry (notice)
  "Return the entry of NOTICE as the outbox has it now."
  (let* ((place (plist-get notice :place))
         (smtpmail-queue-dir (plist-get place :queue-directory))
         (smtpmail-queue-index-file (plist-get place :queue-index))
         (entry (seq-find (lambda (entry)
                            (equal (plist-get entry :name)
                                   (plist-get notice :name)))
                          (plist-get (smtpmail-outbox-entries) :entries))))
    (unless entry
      (smtpmail-notice-dismiss notice)
      (user-error "It is not in the outbox any more"))
    (when (eq (plist-get entry :state) 'sending)
      (user-error "It is on its way just now"))
    entry))

(defun smtpmail-notice--change (notice job)
  "Let the outbox do JOB to the entry of NOTICE; return non-nil if it did."
  (plist-get (smtpmail-session-ask-outbox
              `( :job ,job ,@(plist-get notice :place)
                 :entry ,(plist-get notice :name)))
             :done))

(defun smtpmail-notice-dismiss (notice)
  "Take NOTICE away; the message stays where it is."
  (setq smtpmail-notice--list (delq notice smtpmail-notice--list))
  (smtpmail-notice--redraw))

(defun smtpmail-notice--forget (notice)
  "The message of NOTICE is out of the outbox."
  (when-let ((mail (smtpmail-background-mail-named (plist-get notice :name))))
    (smtpmail-background-forget mail))
  (smtpmail-notice-dismiss notice))

(defun smtpmail-notice-retry (notice)
  "Send the message of NOTICE again."
  (let* ((entry (smtpmail-notice--entry notice))
         (state (plist-get entry :state))
         (mail (smtpmail-background-mail-named (plist-get notice :name))))
    (when (and (eq state 'unknown)
               (not (yes-or-no-p "It may have been delivered already.  \
Send it again, with the same Message-ID? ")))
      (user-error "Nothing done"))
    (unless (or (plist-get entry :sendable)
                (smtpmail-notice--change notice 'release))
      (user-error "It is on its way, or gone"))
    (if mail
        (smtpmail-background-retry mail)
      (smtpmail-background-add
       (smtpmail-background-from-entry entry (plist-get notice :place))))
    (smtpmail-notice-dismiss notice)))

(defun smtpmail-notice-drop (notice)
  "Delete the message of NOTICE after a question."
  (smtpmail-notice--entry notice)
  (when (yes-or-no-p (format "Delete %s from the outbox, unsent? "
                             (plist-get notice :label)))
    (unless (smtpmail-notice--change notice 'drop)
      (user-error "It is on its way, or gone"))
    (when (featurep 'smtpmail-accepted)
      (smtpmail-accepted-drop (plist-get notice :name)))
    (smtpmail-notice--forget notice)))

(defun smtpmail-notice-edit (notice)
  "Edit the message of NOTICE as a draft, and take it out of the outbox."
  (let* ((entry (smtpmail-notice--entry notice))
         (smtpmail-queue-dir
          (plist-get (plist-get notice :place) :queue-directory)))
    (require 'smtpmail-outbox-draft)
    (require 'smtpmail-outbox-list)
    ;; The window of the notices is low.
    (when (eq (window-buffer) (get-buffer smtpmail-notice--buffer))
      (select-window (or (get-mru-window nil nil t) (selected-window))))
    (let* ((fields (smtpmail-outbox-draft-create entry))
           (draft (current-buffer))
           (gone (smtpmail-outbox-draft-missing
                  (smtpmail-outbox-draft-addresses fields)
                  (plist-get entry :recipients))))
      (if (not (yes-or-no-p
                (smtpmail-outbox-list--edit-question entry gone draft)))
          (message "It is still in the outbox as well as in %s" draft)
        (unless (smtpmail-notice--change notice 'drop)
          (user-error "It is being sent just now, or was sent: \
sending the draft would send it twice"))
        (when (featurep 'smtpmail-accepted)
          (smtpmail-accepted-give-back (plist-get notice :name) draft))
        (smtpmail-notice--forget notice)))))

(provide 'smtpmail-notice)

;;; smtpmail-notice.el ends here
