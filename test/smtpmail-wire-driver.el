;;; smtpmail-wire-driver.el --- Send a corpus with whatever smtpmail there is  -*- lexical-binding: t -*-

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

;; Loaded by two batch Emacsen, one with Emacs's own smtpmail and one with
;; ours, that have to do the same with each mail of a corpus.  So it knows
;; Emacs only, and nothing of ours.
;;
;; A case is a plist:
;;   :name       a symbol
;;   :by         `send-it' (default), `mail', `message' or `resend'
;;   :text       the mail buffer; @FCC@ in it names a file, @FILE@ another one,
;;               with the octets of :file
;;   :variables  an alist
;;   :answers    what the user answers to the questions, in order

;;; Code:

(require 'cl-lib)
(require 'message)
(require 'mml)
(require 'sendmail)
(require 'smtpmail)

(defvar smtpmail-wire--asked nil
  "The questions of the case, latest first.")

(defvar smtpmail-wire--answers nil
  "The answers that are left.")

(defun smtpmail-wire--answer (question &rest _)
  "Note QUESTION and return the next answer; without one it is an error."
  (push (replace-regexp-in-string "smtpmail-wire[^/]*/" "" question)
        smtpmail-wire--asked)
  (if smtpmail-wire--answers
      (pop smtpmail-wire--answers)
    (error "Asked: %s" (car smtpmail-wire--asked))))

(defun smtpmail-wire--send (by)
  "Send the mail in the current buffer as BY says."
  (pcase by
    ('send-it (funcall #'smtpmail-send-it))
    ('mail (mail-mode)
           (set-buffer-modified-p t)
           (mail-send))
    ('message (message-mode)
              (set-buffer-modified-p t)
              (message-send))
    ('resend (message-resend "r@x.org, \"R, S\" <s@x.org>"))))

(defun smtpmail-wire--octets (file)
  "Return the octets of FILE, or nil if it is not there."
  (when (file-exists-p file)
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (insert-file-contents-literally file)
      (buffer-string))))

(defun smtpmail-wire--connections (spool)
  "Return how many connections the server that stores in SPOOL has had."
  (length (directory-files spool nil "\\`session-")))

(defun smtpmail-wire-send-case (case spool directory)
  "Send CASE to the server that stores in SPOOL; files go into DIRECTORY.
Return a plist: :name, :connections, :error (nil or a text), :asked,
:copy (the octets of the file copy) and :touched (whether the mail
buffer changed)."
  (let* ((fcc (expand-file-name "fcc" directory))
         (file (expand-file-name "attached.bin" directory))
         (text (plist-get case :text))
         (before (smtpmail-wire--connections spool))
         (smtpmail-wire--asked nil)
         (smtpmail-wire--answers (plist-get case :answers))
         (by (or (plist-get case :by) 'send-it))
         (failure nil)
         (touched nil))
    (dolist (old (list fcc file))
      (when (file-exists-p old) (delete-file old)))
    (when (plist-get case :file)
      (let ((coding-system-for-write 'no-conversion))
        (write-region (plist-get case :file) nil file nil 'quiet)))
    (setq text (replace-regexp-in-string "@FCC@" fcc text t t)
          text (replace-regexp-in-string "@FILE@" file text t t))
    (cl-letf (((symbol-function 'y-or-n-p) #'smtpmail-wire--answer)
              ((symbol-function 'yes-or-no-p) #'smtpmail-wire--answer)
              ((symbol-function 'read-coding-system) #'smtpmail-wire--answer))
      (cl-progv (mapcar #'car (plist-get case :variables))
          (mapcar #'cdr (plist-get case :variables))
        (with-temp-buffer
          (unless (multibyte-string-p text)
            (when (string-match-p "[^[:ascii:]]" text)
              (set-buffer-multibyte nil)))
          (insert text)
          (condition-case problem
              (smtpmail-wire--send by)
            (error (setq failure (error-message-string problem))))
          (setq touched (and (eq by 'send-it)
                             (not (equal (buffer-string) text)))))))
    (list :name (plist-get case :name)
          :connections (- (smtpmail-wire--connections spool) before)
          :error failure
          :asked (reverse smtpmail-wire--asked)
          :copy (smtpmail-wire--octets fcc)
          :touched touched)))

(defun smtpmail-wire-send-corpus (corpus spool answer)
  "Send all cases of CORPUS; SPOOL is the server's.
Write to the file ANSWER where smtpmail was loaded from, and a list of
what `smtpmail-wire-send-case' returned."
  (let* ((directory (make-temp-file "smtpmail-wire" t))
         (results (unwind-protect
                      (mapcar (lambda (case)
                                (smtpmail-wire-send-case case spool directory))
                              corpus)
                    (delete-directory directory t)))
         (print-escape-nonascii t)
         (coding-system-for-write 'utf-8-emacs-unix))
    (with-temp-file answer
      (prin1 (cons (symbol-file 'smtpmail-via-smtp 'defun) results)
             (current-buffer)))))

(provide 'smtpmail-wire-driver)

;;; smtpmail-wire-driver.el ends here
