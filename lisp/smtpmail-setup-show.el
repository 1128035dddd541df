;;; smtpmail-setup-show.el --- an account that is being set up  -*- lexical-binding: t -*-

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

;; What `smtpmail-setup' knows of an account, and the buffer that shows it.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'smtpmail)
(require 'smtpmail-doctor)

(cl-defstruct (smtpmail-setup (:constructor smtpmail-setup--make) (:copier nil))
  "An account that is being set up.  It has no password."
  (address nil :documentation "The mail address.")
  (server nil :documentation "Server name.")
  (service nil :documentation "Port, an integer.")
  (security nil :documentation "As in `smtpmail-stream-type'.")
  (user nil :documentation "User name, or nil for any that auth-source has.")
  (source nil :documentation "Where the server was found.")
  (note nil :documentation "What has to be known, or nil.")
  (doubt nil :documentation "What speaks against the server, or nil.")
  (remarks nil :documentation "Sentences about the search.")
  (typed nil :documentation "Non-nil: a password was typed.")
  (findings nil :documentation "What the last try found, or nil.")
  (changes nil :documentation "What is about to be saved: ((VARIABLE . VALUE) ...).")
  (kept nil :documentation "Non-nil: the settings are in force from now on.")
  (store nil :documentation "Where the password was saved, or nil.")
  (done nil :documentation "Sentences about what was saved and sent."))

(defconst smtpmail-setup--buffer "*SMTP setup*"
  "Name of the buffer that shows what was found.")

(defun smtpmail-setup--settings (setup)
  "Return SETUP as the settings of an account."
  `( :server ,(smtpmail-setup-server setup)
     :service ,(smtpmail-setup-service setup)
     :security ,(smtpmail-setup-security setup)
     :user ,(smtpmail-setup-user setup)
     ,@(and smtpmail-token-command
            (list :token-command smtpmail-token-command))))

(defun smtpmail-setup--bindings (setup)
  "Return the bindings in which mail goes over the account of SETUP."
  (smtpmail-accounts-bindings
   (cons (smtpmail-setup-address setup) (smtpmail-setup--settings setup))))

;;;; What is shown

(define-derived-mode smtpmail-setup-mode special-mode "SMTP setup"
  "Mode for what `smtpmail-setup' has found."
  ;; Packages copy all variables of smtpmail: tables do not always read back.
  :abbrev-table nil
  :syntax-table nil)

(defun smtpmail-setup--security-text (security)
  "Return SECURITY, of `smtpmail-stream-type', in words."
  (pcase security
    ('ssl "TLS from the beginning")
    ('starttls "STARTTLS")
    (_ "no TLS")))

(defun smtpmail-setup--lines (setup)
  "Return what SETUP is so far, a list of (WHAT . TEXT)."
  `(("Address" . ,(smtpmail-setup-address setup))
    ("Server" . ,(if (smtpmail-setup-server setup)
                     (format "%s port %s, %s" (smtpmail-setup-server setup)
                             (smtpmail-setup-service setup)
                             (smtpmail-setup--security-text
                              (smtpmail-setup-security setup)))
                   "not known yet"))
    ,@(when (smtpmail-setup-source setup)
        `(("Found by" . ,(smtpmail-setup-source setup))))
    ,@(mapcar (lambda (remark) (cons "Note" remark))
              (delq nil (append (list (smtpmail-setup-note setup))
                                (smtpmail-setup-remarks setup))))
    ,@(when (smtpmail-setup-doubt setup)
        `(("Doubt" . ,(smtpmail-setup-doubt setup))))
    ("User name" . ,(or (smtpmail-setup-user setup) "any that auth-source has"))
    ("Password" . ,(cond ((smtpmail-setup-typed setup)
                          "typed, and saved nowhere yet")
                         ((smtpmail-setup-store setup))
                         (t "what auth-source has, if anything")))
    ,@(mapcar (pcase-lambda (`(,variable . ,value))
                (cons "To be set" (format "`%s' to %s" variable
                                          (smtpmail-setup--value-text value))))
              (smtpmail-setup-changes setup))))

(defun smtpmail-setup--value-text (value)
  "Return VALUE, of a variable, as text."
  (let ((print-level 4)
        (print-length 12))
    (prin1-to-string value)))

(defun smtpmail-setup--text (setup)
  "Return the text of the buffer for SETUP."
  (concat
   (mapconcat (lambda (sentence)
                (concat (smtpmail-setup--fill sentence 0) "\n"))
              (reverse (smtpmail-setup-done setup)) "")
   (and (smtpmail-setup-done setup) "\n")
   (mapconcat (pcase-lambda (`(,what . ,text))
                (format "%-11s %s\n" (propertize what 'face 'bold)
                        (smtpmail-setup--fill text 12)))
              (smtpmail-setup--lines setup) "")
   (when (smtpmail-setup-findings setup)
     (concat "\n" (smtpmail-doctor--verdict (smtpmail-setup-findings setup)) "\n"
             (mapconcat #'smtpmail-doctor--line
                        ;; What matters first: the screen may be small.
                        (seq-sort-by (lambda (finding)
                                       (seq-position '(failure warning ok) (car finding)))
                                     #'< (smtpmail-setup-findings setup))
                        "")))))

(defun smtpmail-setup--fill (text columns)
  "Return TEXT, made visible, in lines that begin behind COLUMNS."
  (let ((smtpmail-visible-text-limit 1000))
    (with-temp-buffer
      (insert (smtpmail-visible-text text))
      (let ((fill-column (- smtpmail-doctor--width columns))
            (sentence-end-double-space t))
        (fill-region (point-min) (point-max)))
      (string-join (split-string (buffer-string) "\n" t)
                   (concat "\n" (make-string columns ?\s))))))

(defun smtpmail-setup--show (setup)
  "Show what SETUP is so far."
  (pop-to-buffer-same-window (get-buffer-create smtpmail-setup--buffer))
  (unless (derived-mode-p 'smtpmail-setup-mode)
    (smtpmail-setup-mode))
  (let ((inhibit-read-only t))
    (erase-buffer)
    (insert (smtpmail-setup--text setup))
    (goto-char (point-min))))

(provide 'smtpmail-setup-show)

;;; smtpmail-setup-show.el ends here
