;;; smtpmail-undo.el --- take a message back, or send it later  -*- lexical-binding: t -*-

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

;; With `smtpmail-undo-seconds' a message that goes in the background stays in
;; the outbox for a while, where `smtpmail-undo' takes it back into a draft.
;; One with the field X-Smtpmail-Send-At, which `smtpmail-send-later' writes,
;; stays there until its time.
;;
;; What keeps it from going is its state on the disk, so that another Emacs,
;; or this one after a crash, does not send it before its time either.

;;; Code:

(require 'parse-time)
(require 'smtpmail-background)
(require 'smtpmail-header)
(require 'smtpmail-outbox)

(declare-function message-send-and-exit "message" (&optional arg))
(declare-function mail-send-and-exit "sendmail" (&optional arg))
(declare-function org-read-date "org" (&optional with-time to-time from-string
                                                 prompt default-time
                                                 default-input inactive))
(declare-function smtpmail-accepted-give-back "smtpmail-accepted" (entry draft))
(declare-function smtpmail-outbox-draft-create "smtpmail-outbox-draft" (entry))

(defconst smtpmail-undo-field "X-Smtpmail-Send-At"
  "The field that says when a message goes.")

;;;; Taking back

;;;###autoload
(defun smtpmail-undo ()
  "Take the message sent last back into a draft.
That is possible for `smtpmail-undo-seconds', and until its time for a
message that is to go later.  Tell what the mail program had done already."
  (interactive)
  (let* ((mail (or (car (last (seq-filter #'smtpmail-background-mail-undoable
                                          (smtpmail-background-mails 'held))))
                   (car (last (smtpmail-background-mails 'held)))
                   (user-error "No message can be taken back%s"
                               (if (> smtpmail-undo-seconds 0) " any more"
                                 "; see `smtpmail-undo-seconds'"))))
         (place (smtpmail-background-mail-place mail))
         (request (append (list :entry (smtpmail-background-mail-name mail))
                          place))
         (smtpmail-queue-dir (plist-get place :queue-directory))
         (smtpmail-queue-index-file (plist-get place :queue-index)))
    (require 'smtpmail-outbox-draft)
    (unless (plist-get (smtpmail-session-ask-outbox `(:job hold ,@request))
                       :done)
      (user-error "Too late: it is on its way"))
    ;; From here on nothing sends it, whatever happens.
    (setf (smtpmail-background-mail-state mail) 'stuck
          (smtpmail-background-mail-time mail) nil
          (smtpmail-background-mail-why mail) "Held while it is taken back")
    (smtpmail-background-wake)
    (let ((entry (seq-find (lambda (entry)
                             (equal (plist-get entry :name)
                                    (smtpmail-background-mail-name mail)))
                           (plist-get (smtpmail-outbox-entries) :entries))))
      (smtpmail-outbox-draft-create entry)
      (when (featurep 'smtpmail-accepted)
        (smtpmail-accepted-give-back (smtpmail-background-mail-name mail)
                                     (current-buffer)))
      (smtpmail-session-ask-outbox `(:job drop ,@request))
      (smtpmail-background-forget mail)
      (message "Taken back; nothing was sent%s"
               (smtpmail-undo--done mail)))))

(defun smtpmail-undo--done (mail)
  "Return what to tell of what was done already when MAIL was taken back."
  (let ((done (smtpmail-background-mail-done mail)))
    (cond (done (format ".  Done already: %s" (string-join done "; ")))
          ((or smtpmail-wait-for-acceptance
               (smtpmail-background-mail-done-known mail))
           "")
          (t ".  Done already: what your mail program does after sending, \
such as its copy or the mark \"replied\""))))

;;;; Later

(defun smtpmail-undo-parse-time (text &optional now)
  "Return the time that TEXT tells, in seconds since 1970, or signal an error.
TEXT is a date in most forms (also one of e-mail), with or without a time;
a time of today or, if that has passed, of tomorrow; or what comes from
now: \"+2h\", \"2 hours\".  NOW is the time at which it is read."
  (let* ((now (or now (float-time)))
         (text (string-trim text))
         (time (or (smtpmail-undo--relative text now)
                   (smtpmail-undo--date text now)
                   (user-error "No time that can be understood: %s" text))))
    (when (<= time now)
      (user-error "That time has passed: %s" text))
    (float time)))

(defun smtpmail-undo--relative (text now)
  "Return the time that TEXT tells from NOW, or nil."
  (cond
   ((string-match "\\`\\+ *\\([0-9]+\\) *\\([smhdw]\\)\\'" text)
    (+ now (* (string-to-number (match-string 1 text))
              (alist-get (aref (match-string 2 text) 0)
                         '((?s . 1) (?m . 60) (?h . 3600) (?d . 86400)
                           (?w . 604800))))))
   ((string-match-p "\\`\\+? *[0-9]+ +[a-z]+\\'" text)
    (require 'timer)
    (when-let ((seconds (timer-duration (string-trim-left text "\\+ *"))))
      (+ now seconds)))))

(defun smtpmail-undo--date (text now)
  "Return the time that TEXT, a date or a time of the day, tells, or nil.
What it leaves out is as it is NOW."
  (pcase-let* ((tomorrow (string-match "\\`tomorrow\\>[ ,]*" text))
               (rest (if tomorrow (substring text (match-end 0)) text))
               (`(,second ,minute ,hour ,day ,month ,year ,_ ,_ ,zone)
                (parse-time-string rest))
               (today (decode-time now)))
    (when (or day hour (and tomorrow (string-empty-p rest)))
      (let ((time (float-time
                   (encode-time
                    (list (or second 0) (or minute 0)
                          (or hour 9)
                          (or day (+ (nth 3 today) (if tomorrow 1 0)))
                          (or month (nth 4 today))
                          (or year (nth 5 today))
                          nil -1 zone)))))
        (if (and (not day) (not tomorrow) (<= time now))
            (+ time 86400)
          time)))))

(defun smtpmail-undo-time (options)
  "Return when a message with OPTIONS goes, or nil for now.
OPTIONS is an alist of its fields that are orders to smtpmail."
  (when-let ((text (cdr (assoc-string smtpmail-undo-field options t))))
    (smtpmail-undo-parse-time text)))

;;;###autoload
(defun smtpmail-send-later (time)
  "Send the message in this buffer at TIME, in seconds since 1970.
It stays in the outbox until then, and goes if Emacs runs; if not, the
next Emacs asks.  TIME is read as Org reads dates if Org is loaded, else
a date, a time or the like; see the manual."
  (interactive (list (smtpmail-undo--read-time)))
  (let ((send (cond ((derived-mode-p 'message-mode) #'message-send-and-exit)
                    ((derived-mode-p 'mail-mode) #'mail-send-and-exit)
                    (t (user-error "This is no buffer of a message")))))
    (save-excursion
      (save-restriction
        (goto-char (point-min))
        (narrow-to-region
         (point)
         (if (re-search-forward (concat "^" (regexp-quote mail-header-separator)
                                        "$")
                                nil t)
             (line-beginning-position)
           (user-error "This message has no header")))
        (smtpmail-header-map-fields (regexp-quote smtpmail-undo-field)
                                    (point-max) (lambda (_) 'delete))
        (goto-char (point-max))
        (insert smtpmail-undo-field ": "
                (format-time-string "%F %T %z" time) "\n")))
    (funcall send)))

(defun smtpmail-undo--read-time ()
  "Ask when to send; return seconds since 1970."
  (let ((time (if (and (featurep 'org) (fboundp 'org-read-date))
                  (float-time (org-read-date t t nil "Send at"))
                (smtpmail-undo-parse-time
                 (read-string "Send at (16:30, tomorrow 9:00, +2h, date): ")))))
    (when (<= time (float-time))
      (user-error "That time has passed"))
    time))

(provide 'smtpmail-undo)

;;; smtpmail-undo.el ends here
