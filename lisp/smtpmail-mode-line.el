;;; smtpmail-mode-line.el --- mail on its way in the mode line  -*- lexical-binding: t -*-

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

;; An element of `global-mode-string', there only while there is something to
;; show: how many messages are on their way, how much of a large one went
;; out, and a mark when something needs the user.  A click leads to the
;; outbox.

;;; Code:

(require 'smtpmail-background)
(require 'smtpmail-ask)

(declare-function smtpmail-outbox "smtpmail-outbox-list" ())
(declare-function smtpmail-undo "smtpmail-undo" ())
(autoload 'smtpmail-menu-map "smtpmail-menu" nil nil 'keymap)
(declare-function smtpmail-notice-count "smtpmail-notice" ())

(defconst smtpmail-mode-line--large (* 1024 1024)
  "Octets of a message from which on its progress is shown.
Smaller ones are over before anybody looks.")

(defface smtpmail-mode-line-attention '((t :inherit error))
  "Face of the mark in the mode line that something needs the user."
  :group 'smtpmail-background)

(defvar smtpmail-mode-line-string ""
  "What the mode line shows of mail on its way, a string.")
;;;###autoload
(put 'smtpmail-mode-line-string 'risky-local-variable t)

(defvar smtpmail-mode-line-map
  (let ((map (make-sparse-keymap)))
    (define-key map [mode-line mouse-1] #'smtpmail-outbox)
    (define-key map [mode-line mouse-2] #'smtpmail-undo)
    (define-key map [mode-line down-mouse-3] 'smtpmail-menu-map)
    map)
  "Keymap of what the mode line shows of mail on its way.")

(defun smtpmail-mode-line--progress ()
  "Return the progress of a large message, a text, or nil."
  (seq-some
   (lambda (process)
     (when-let ((session (process-get process 'smtpmail-session))
                (progress (smtpmail-session-progress session)))
       (and (eq (smtpmail-session-phase session) 'text)
            (>= (cdr progress) smtpmail-mode-line--large)
            (format " %d%%%%" (/ (* 100 (car progress)) (cdr progress))))))
   (smtpmail-background--couriers)))

(defun smtpmail-mode-line--under-way ()
  "Return the messages that are under way or soon will be."
  (seq-filter (lambda (mail)
                (or (not (eq (smtpmail-background-mail-state mail) 'held))
                    (smtpmail-background-mail-undoable mail)))
              (smtpmail-background-mails 'held 'waiting 'sending 'delayed)))

(defun smtpmail-mode-line--attention-p ()
  "Return non-nil if something needs the user."
  (or (smtpmail-background-mails 'stuck)
      (> (smtpmail-ask-count) 0)
      (and (featurep 'smtpmail-notice)
           (> (smtpmail-notice-count) 0))))

(defun smtpmail-mode-line--help (&rest _)
  "Return a line for each message that goes in the background."
  (concat
   (mapconcat (lambda (mail)
                (format "%s: %s%s" (smtpmail-background--label mail)
                        (smtpmail-background-mail-state mail)
                        (if-let ((why (smtpmail-background-mail-why mail)))
                            (concat ", " why)
                          "")))
              smtpmail-background--mails "\n")
   "\nmouse-1: outbox, mouse-2: take back, mouse-3: menu"))

(defun smtpmail-mode-line--text ()
  "Return what the mode line is to show."
  (let ((count (length (smtpmail-mode-line--under-way)))
        (attention (smtpmail-mode-line--attention-p)))
    (if (and (zerop count) (not attention))
        ""
      (propertize
       (concat " Mail"
               (if (> count 0) (format ":%d" count) "")
               (smtpmail-mode-line--progress)
               (if attention
                   (propertize "!" 'face 'smtpmail-mode-line-attention)
                 "")
               " ")
       'help-echo #'smtpmail-mode-line--help
       'mouse-face 'mode-line-highlight
       'local-map smtpmail-mode-line-map))))

(defun smtpmail-mode-line-update ()
  "Bring what the mode line shows up to date."
  (let ((text (smtpmail-mode-line--text)))
    (unless (equal-including-properties text smtpmail-mode-line-string)
      (setq smtpmail-mode-line-string text)
      (if (string-empty-p text)
          (setq global-mode-string
                (remq 'smtpmail-mode-line-string
                      (ensure-list global-mode-string)))
        (setq global-mode-string
              (append (or (ensure-list global-mode-string) '(""))
                      (unless (memq 'smtpmail-mode-line-string
                                    (ensure-list global-mode-string))
                        '(smtpmail-mode-line-string)))))
      (force-mode-line-update t))))

(provide 'smtpmail-mode-line)

;;; smtpmail-mode-line.el ends here
