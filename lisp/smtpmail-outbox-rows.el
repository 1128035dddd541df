;;; smtpmail-outbox-rows.el --- what the list of the outbox shows  -*- lexical-binding: t -*-

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

;; The rows of `M-x smtpmail-outbox', which messages a command means, and how
;; the list follows the directory: what other programs and other Emacsen do
;; there shows up by itself.  Commands are in smtpmail-outbox-list.el.
;;
;; No variable here holds a timer or a buffer: packages copy all variables of
;; smtpmail to another Emacs.  There is one list, and it has a name.

;;; Code:

(require 'filenotify)
(require 'subr-x)
(require 'tabulated-list)
(require 'smtpmail-options)
(require 'smtpmail-background-mail)
(require 'smtpmail-methods)
(require 'smtpmail-outbox)
(require 'smtpmail-outbox-view)

(defconst smtpmail-outbox-list--buffer "*smtpmail outbox*"
  "Name of the buffer with the list.")

(defconst smtpmail-outbox-list--interval 10
  "Seconds between two looks at the queue while the list can be seen.
For directories whose changes the system does not tell.")

(defconst smtpmail-outbox-list--delay 0.2
  "Seconds that the list waits for further changes after a first one.
Sending one message changes the directory several times.")

(defconst smtpmail-outbox-list--text-limit 1000
  "Longest field that is decoded for a row, in characters.")

(defface smtpmail-outbox-unknown '((t :inherit warning))
  "Face for messages of which nobody knows whether they were sent."
  :group 'smtpmail-outbox)

(defface smtpmail-outbox-refused '((t :inherit error))
  "Face for messages that a server refused."
  :group 'smtpmail-outbox)

(defface smtpmail-outbox-problem '((t :inherit error))
  "Face for what is wrong in the queue."
  :group 'smtpmail-outbox)

(defface smtpmail-outbox-held '((t :inherit shadow))
  "Face for messages that do not go by themselves."
  :group 'smtpmail-outbox)

(defface smtpmail-outbox-sending '((t :inherit success))
  "Face for messages that are being sent."
  :group 'smtpmail-outbox)

(defface smtpmail-outbox-mark '((t :inherit font-lock-constant-face))
  "Face for marks."
  :group 'smtpmail-outbox)

(defvar-local smtpmail-outbox-list--listing nil
  "The engine's listing that is shown, a plist.")

(defvar-local smtpmail-outbox-list--directory nil
  "The queue that is shown.")

(defvar-local smtpmail-outbox-list--marks nil
  "Alist of the names of entries and their marks, characters.")

(defvar-local smtpmail-outbox-list--watch nil
  "Descriptor and directory of the file notification, (WATCH . DIRECTORY).")

;;;; Rows

(defun smtpmail-outbox-list--time (seconds)
  "Return SECONDS since 1970 as a short text, relative to today."
  (format-time-string
   (cond ((equal (format-time-string "%F" seconds) (format-time-string "%F"))
          "%H:%M")
         ((equal (format-time-string "%Y" seconds) (format-time-string "%Y"))
          "%m-%d %H:%M")
         (t "%F"))
   seconds))

(defun smtpmail-outbox-list--state (entry)
  "Return the state of ENTRY in words."
  (let* ((state (symbol-name (plist-get entry :state)))
         (mail (and (memq (plist-get entry :state) '(waiting deferred))
                    (smtpmail-background-mail-named (plist-get entry :name))))
         (time (plist-get entry :time)))
    ;; What this Emacs will do, and not what another program would.
    (pcase (and mail (smtpmail-background-mail-state mail))
      ('delayed (setq time (smtpmail-background-mail-time mail)))
      ('stuck (setq state "stuck" time nil)))
    (if time
        (format "%s %s" state (smtpmail-outbox-list--time time))
      state)))

(defun smtpmail-outbox-list--face (entry)
  "Return the face for ENTRY, or nil."
  (pcase (plist-get entry :state)
    ('unknown 'smtpmail-outbox-unknown)
    ('refused 'smtpmail-outbox-refused)
    ((or 'held 'scheduled) 'smtpmail-outbox-held)
    ('sending 'smtpmail-outbox-sending)))

(defun smtpmail-outbox-list--text (value)
  "Return VALUE, of a field, as it may be shown in a row."
  (let* ((value (or value ""))
         (bounded (substring value 0 (min (length value)
                                          smtpmail-outbox-list--text-limit))))
    (smtpmail-visible-text (smtpmail-outbox-view-decode bounded))))

(defun smtpmail-outbox-list--from (entry)
  "Return who ENTRY is from, without the address if there is a name."
  (replace-regexp-in-string
   "\\`\\(.*[^ ]\\) *<[^<>]*>\\'" "\\1"
   (smtpmail-outbox-list--text
    (or (plist-get entry :from) (plist-get entry :sender)))))

(defun smtpmail-outbox-list--subject (entry)
  "Return the subject of ENTRY, never empty."
  (let ((subject (smtpmail-outbox-list--text (plist-get entry :subject))))
    (if (string-empty-p subject) "(no subject)" subject)))

(defun smtpmail-outbox-list--row (entry)
  "Return the row for ENTRY, as in `tabulated-list-entries'."
  (let ((face (smtpmail-outbox-list--face entry)))
    (list (plist-get entry :name)
          (vconcat
           (mapcar
            (lambda (text) (if face (propertize text 'font-lock-face face) text))
            (list (propertize (smtpmail-outbox-list--time (plist-get entry :queued))
                              'smtpmail-outbox-number (plist-get entry :queued))
                  (smtpmail-outbox-list--from entry)
                  (smtpmail-visible-text
                   (string-join (plist-get entry :recipients) ", "))
                  (smtpmail-outbox-list--subject entry)
                  (propertize (file-size-human-readable (plist-get entry :bytes))
                              'smtpmail-outbox-number (plist-get entry :bytes))
                  (smtpmail-outbox-list--state entry)
                  (smtpmail-visible-text
                   (or (plist-get entry :last-reply) ""))))))))

(defun smtpmail-outbox-list--rows (listing)
  "Return the rows for LISTING; an ID that is no string is no message."
  (or (append
       (mapcar #'smtpmail-outbox-list--row (plist-get listing :entries))
       (mapcar (lambda (problem)
                 (smtpmail-outbox-list--sentence 'problem problem))
               (plist-get listing :problems)))
      (list (smtpmail-outbox-list--sentence 'empty "No queued mail"))))

(defun smtpmail-outbox-list--sentence (kind text)
  "Return a row for TEXT that is no message, of KIND."
  (list (cons kind text)
        (vconcat (list text) (make-vector 6 ""))))

(defun smtpmail-outbox-list--print (id columns)
  "Insert the row ID with COLUMNS; for `tabulated-list-printer'."
  (let ((start (point)))
    (pcase id
      (`(,kind . ,text)
       (insert (if (eq kind 'problem)
                   (propertize (concat "! " (smtpmail-visible-text text))
                               'font-lock-face 'smtpmail-outbox-problem)
                 (concat "  " text))
               "\n")
       (add-text-properties start (point)
                            `(tabulated-list-id ,id
                              tabulated-list-entry ,columns)))
      (_
       (tabulated-list-print-entry id columns)
       (add-text-properties start (1- (point))
                            '(mouse-face highlight
                              help-echo "mouse-1: look at this message"))
       (smtpmail-outbox-list--draw-mark id start)))))

(defun smtpmail-outbox-list--draw-mark (name position)
  "Show the mark of the entry NAME, whose row is at POSITION."
  (with-silent-modifications
    (save-excursion
      (goto-char position)
      (tabulated-list-put-tag
       (propertize (string (alist-get name smtpmail-outbox-list--marks ?\s
                                      nil #'equal))
                   'font-lock-face 'smtpmail-outbox-mark)))))

(defun smtpmail-outbox-list--sort (column)
  "Return a predicate that sorts rows by the number behind COLUMN.
Rows that are no message stay behind."
  (lambda (one other)
    (< (smtpmail-outbox-list--number one column)
       (smtpmail-outbox-list--number other column))))

(defun smtpmail-outbox-list--number (row column)
  "Return the number behind COLUMN of ROW."
  (or (get-text-property 0 'smtpmail-outbox-number (aref (cadr row) column))
      most-positive-fixnum))

(defun smtpmail-outbox-list--format (width)
  "Return columns for a window of WIDTH, for `tabulated-list-format'."
  ;; When, size, state and what is between the columns take 42, the others at
  ;; least 36; of a wider window, the last reply gets half of what is left.
  (let ((rest (+ 36 (max 0 (/ (- width 78) 2)))))
    (vector (list "Queued" 11 (smtpmail-outbox-list--sort 0))
            (list "From" (/ (* rest 28) 100) t)
            (list "To" (/ (* rest 32) 100) t)
            (list "Subject" (/ (* rest 40) 100) t)
            (list "Size" 5 (smtpmail-outbox-list--sort 4) :right-align t)
            (list "State" 20 t)
            (list "Last reply" 0 t))))

;;;; Keeping up to date

(defun smtpmail-outbox-list-refresh (&rest _)
  "Show the queue as it is now."
  (interactive nil smtpmail-outbox-list-mode)
  (let ((listing (smtpmail-outbox-entries)))
    (smtpmail-outbox-list--show listing)))

(defun smtpmail-outbox-list--show (listing)
  "Show LISTING in the current buffer, unless it is shown already."
  (let ((directory (expand-file-name smtpmail-queue-dir))
        (format (smtpmail-outbox-list--format (smtpmail-outbox-list--width))))
    (unless (equal directory smtpmail-outbox-list--directory)
      (setq smtpmail-outbox-list--directory directory
            smtpmail-outbox-list--marks nil))
    (smtpmail-outbox-list--watch)
    (setq smtpmail-outbox-list--listing listing
          smtpmail-outbox-list--marks
          (seq-filter (lambda (mark) (smtpmail-outbox-list--entry (car mark)))
                      smtpmail-outbox-list--marks))
    (unless (equal (mapcar #'cadr format) (mapcar #'cadr tabulated-list-format))
      (setq tabulated-list-format format)
      (tabulated-list-init-header))
    (setq tabulated-list-entries (smtpmail-outbox-list--rows listing))
    (setq mode-line-process
          (format " %d" (length (plist-get listing :entries))))
    (smtpmail-outbox-list--redraw)))

(defun smtpmail-outbox-list--width ()
  "Return the width of the window that shows the list."
  (window-width (or (get-buffer-window (current-buffer) t) (selected-window))))

(defun smtpmail-outbox-list--redraw ()
  "Print the rows; every window stays at its row."
  (let ((places (mapcar
                 (lambda (window)
                   (save-excursion
                     (goto-char (window-point window))
                     (list window (tabulated-list-get-id)
                           (line-number-at-pos) (current-column)
                           (line-number-at-pos (window-start window)))))
                 (get-buffer-window-list nil nil t))))
    (tabulated-list-print t)
    (pcase-dolist (`(,window ,id ,line ,column ,start) places)
      (save-excursion
        (goto-char (point-min))
        (forward-line (1- start))
        (set-window-start window (point) t)
        (goto-char (point-min))
        (while (not (or (eobp) (equal (tabulated-list-get-id) id)))
          (forward-line 1))
        (when (eobp)
          (goto-char (point-min))
          (forward-line (1- line)))
        (move-to-column column)
        (set-window-point window (point))))))

(defun smtpmail-outbox-list--watch ()
  "Let the system tell of changes in the queue's directory."
  (let ((directory smtpmail-outbox-list--directory))
    (unless (and smtpmail-outbox-list--watch
                 (equal (cdr smtpmail-outbox-list--watch) directory)
                 (file-notify-valid-p (car smtpmail-outbox-list--watch)))
      (smtpmail-outbox-list--unwatch)
      (when (and (file-directory-p directory) (not (file-remote-p directory)))
        (let ((watch (ignore-error file-notify-error
                       (file-notify-add-watch directory '(change)
                                              #'smtpmail-outbox-list--noticed))))
          (when watch
            (setq smtpmail-outbox-list--watch (cons watch directory))))))))

(defun smtpmail-outbox-list--unwatch ()
  "Forget about changes in the queue's directory."
  (when smtpmail-outbox-list--watch
    (ignore-errors
      (file-notify-rm-watch (car smtpmail-outbox-list--watch)))
    (setq smtpmail-outbox-list--watch nil)))

(defun smtpmail-outbox-list--noticed (_event)
  "Look at the queue soon, because something happened in its directory."
  (unless (seq-find (lambda (timer)
                      (and (eq (timer--function timer)
                               #'smtpmail-outbox-list--catch-up)
                           (not (timer--repeat-delay timer))))
                    timer-list)
    (run-with-timer smtpmail-outbox-list--delay nil
                    #'smtpmail-outbox-list--catch-up)))

(defun smtpmail-outbox-list--catch-up ()
  "Bring the list up to date if it can be seen; called by timers."
  (when-let ((buffer (get-buffer smtpmail-outbox-list--buffer)))
    (when (get-buffer-window buffer 'visible)
      (with-current-buffer buffer
        (condition-case problem
            (let ((listing (smtpmail-outbox-entries)))
              ;; Time passes even where nothing happens: `sendable' changes.
              (unless (and (equal listing smtpmail-outbox-list--listing)
                           (equal (expand-file-name smtpmail-queue-dir)
                                  smtpmail-outbox-list--directory))
                (smtpmail-outbox-list--show listing)))
          (quit nil)
          (error
           (smtpmail-outbox-list--show
            (list :problems (list (error-message-string problem))))))))))

(defun smtpmail-outbox-list--begin ()
  "Look at the queue from time to time, until the buffer is gone."
  (cancel-function-timers #'smtpmail-outbox-list--catch-up)
  (run-with-timer smtpmail-outbox-list--interval smtpmail-outbox-list--interval
                  #'smtpmail-outbox-list--catch-up)
  (add-hook 'window-buffer-change-functions #'smtpmail-outbox-list--noticed
            nil t)
  (add-hook 'kill-buffer-hook #'smtpmail-outbox-list--end nil t)
  (add-hook 'change-major-mode-hook #'smtpmail-outbox-list--end nil t))

(defun smtpmail-outbox-list--end ()
  "End what keeps the current buffer up to date."
  (smtpmail-outbox-list--unwatch)
  (cancel-function-timers #'smtpmail-outbox-list--catch-up))

;;;; Which messages

(defun smtpmail-outbox-list--entry (name)
  "Return the entry NAME of the list, or nil."
  (and (stringp name)
       (seq-find (lambda (entry) (equal (plist-get entry :name) name))
                 (plist-get smtpmail-outbox-list--listing :entries))))

(defun smtpmail-outbox-list--here ()
  "Return the entry of the row at point, or tell what is there."
  (smtpmail-outbox-list--check-directory)
  (let ((id (tabulated-list-get-id)))
    (or (smtpmail-outbox-list--entry id)
        (user-error "%s" (if (eq (car-safe id) 'problem)
                             (smtpmail-visible-text (cdr id))
                           "There is no message in this line")))))

(defun smtpmail-outbox-list--check-directory ()
  "Make sure that the list shows the queue that commands work on."
  (unless (equal (expand-file-name smtpmail-queue-dir)
                 smtpmail-outbox-list--directory)
    (smtpmail-outbox-list-refresh)
    (user-error "`smtpmail-queue-dir' was changed; this is the list of %s"
                smtpmail-queue-dir)))

(defun smtpmail-outbox-list--marked (mark)
  "Return the entries that have MARK, a character."
  (smtpmail-outbox-list--check-directory)
  (seq-filter (lambda (entry)
                (eql mark (alist-get (plist-get entry :name)
                                     smtpmail-outbox-list--marks
                                     nil nil #'equal)))
              (plist-get smtpmail-outbox-list--listing :entries)))

(defun smtpmail-outbox-list--targets ()
  "Return the marked entries, or a list of the one at point."
  (or (smtpmail-outbox-list--marked ?*)
      (list (smtpmail-outbox-list--here))))

(defun smtpmail-outbox-list--put-mark (mark)
  "Give the entry at point MARK, a character; a blank takes it away."
  (let ((name (plist-get (smtpmail-outbox-list--here) :name)))
    (setf (alist-get name smtpmail-outbox-list--marks nil t #'equal)
          (if (eql mark ?\s) nil mark))
    (smtpmail-outbox-list--draw-mark name (line-beginning-position))))

(provide 'smtpmail-outbox-rows)

;;; smtpmail-outbox-rows.el ends here
