;;; smtpmail-setup-save.el --- Keep what smtpmail-setup has found  -*- lexical-binding: t -*-

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

;; Settings go into Customize, all of them or none; the password goes into a
;; store of auth-source, by auth-source's own function.

;;; Code:

(require 'auth-source)
(require 'cl-lib)
(require 'cus-edit)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-accounts)
(require 'smtpmail-auth)

(defvar epa-file-name-regexp)

;;;; Settings

(defun smtpmail-setup-save-variables (settings address)
  "Return what SETTINGS, of an account of ADDRESS, are as variables.
An alist of those that have to change."
  (seq-remove
   (pcase-lambda (`(,variable . ,value))
     (equal value (default-value variable)))
   `((smtpmail-smtp-server . ,(plist-get settings :server))
     (smtpmail-smtp-service . ,(plist-get settings :service))
     (smtpmail-stream-type . ,(plist-get settings :security))
     (smtpmail-smtp-user . ,(plist-get settings :user))
     ,@(smtpmail-setup-save--function)
     (user-mail-address . ,address))))

(defun smtpmail-setup-save--function ()
  "Return the setting that lets mail go by smtpmail, in a list, if it is needed.
Who has chosen another way keeps it."
  (and (memq (default-value 'send-mail-function)
             '(sendmail-query-once sendmail-send-it mailclient-send-it))
       '((send-mail-function . smtpmail-send-it))))

(defun smtpmail-setup-save-account (settings address)
  "Return the change that makes SETTINGS the account of ADDRESS, an alist.
An account for just that address is replaced; a new one comes first."
  (let* ((account (cons address settings))
         (old (assoc address smtpmail-accounts
                     (lambda (match wanted)
                       (and (stringp match) (equal (downcase match) (downcase wanted)))))))
    `((smtpmail-accounts
       . ,(if old
              (mapcar (lambda (entry) (if (eq entry old) account entry))
                      smtpmail-accounts)
            (cons account smtpmail-accounts)))
      ,@(smtpmail-setup-save--function))))

(defun smtpmail-setup-save-place ()
  "Return the file that Customize saves into, or nil if it cannot save."
  (and (or custom-file user-init-file)
       (ignore-errors (custom-file t))))

(defun smtpmail-setup-save-settings (changes)
  "Save CHANGES, an alist of variables and values, by Customize.
If that fails, all variables are again what they were."
  (let ((before (mapcar (pcase-lambda (`(,variable . ,_))
                          (list variable
                                (and (default-boundp variable)
                                     (list (default-value variable)))
                                (get variable 'saved-value)
                                (get variable 'customized-value)
                                (get variable 'theme-value)))
                        changes))
        (done nil))
    (unwind-protect
        (let ((inhibit-quit t))
          (pcase-dolist (`(,variable . ,value) changes)
            (customize-save-variable variable value))
          (setq done t))
      (unless done
        (pcase-dolist (`(,variable ,value ,saved ,customized ,theme) before)
          (when value (set-default variable (car value)))
          (put variable 'saved-value saved)
          (put variable 'customized-value customized)
          (put variable 'theme-value theme))))))

;;;; Passwords

(defun smtpmail-setup-save--encrypted-p (file)
  "Return non-nil if Emacs encrypts FILE when it writes it."
  (require 'epa-hook)
  (string-match-p epa-file-name-regexp file))

(defun smtpmail-setup-save--store (source)
  "Return (TEXT SOURCE ENCRYPTED) for SOURCE, of `auth-sources', or nil.
It is nil if nothing can be written there."
  (let ((backend (let ((inhibit-message t))
                   (ignore-errors (auth-source-backend-parse source)))))
    (when backend
      (let ((file (slot-value backend 'source)))
        (pcase (slot-value backend 'type)
          ((or 'ignore 'password-store) nil)
          ('netrc
           ;; Without the Secret Service, Emacs takes its name for a file.
           (unless (string-prefix-p "secrets:" file)
             (let ((encrypted (smtpmail-setup-save--encrypted-p file)))
               (list (format "%s (%s)" (abbreviate-file-name file)
                             (if encrypted "encrypted" "NOT encrypted"))
                     source encrypted))))
          ('plstore (list (format "%s (encrypted)" (abbreviate-file-name file))
                          source t))
          ('secrets (list (format "collection %s of the desktop's keyring (encrypted)"
                                  file)
                          source t))
          ((or 'macos-keychain-generic 'macos-keychain-internet)
           (list "the keychain of macOS (encrypted)" source t)))))))

(defun smtpmail-setup-save-stores ()
  "Return the stores of `auth-sources', ((TEXT SOURCE ENCRYPTED) ...), best first.
Those that encrypt come first."
  (seq-sort-by (lambda (store) (if (nth 2 store) 0 1)) #'<
               (delq nil (mapcar #'smtpmail-setup-save--store auth-sources))))

(defun smtpmail-setup-save--holds-p (source secret)
  "Return non-nil if SOURCE, of `auth-sources', can hold SECRET.
What auth-source writes into a netrc file with quotation marks, it does not
read as it was."
  (not (and (eq 'netrc (slot-value (auth-source-backend-parse source) 'type))
            (or (string-match-p "\\`['\"]\\|[\r\n]" secret)
                (and (string-match-p "[\"# ]" secret)
                     (string-match-p "[\"\\]" secret))))))

(defun smtpmail-setup-save-password (source host port user secret)
  "Let auth-source save SECRET of USER at HOST and PORT in SOURCE.
SOURCE is an element of `auth-sources'.  Return nil if it did, else a
sentence that says why not, in which %s is for the store."
  (if (not (smtpmail-setup-save--holds-p source secret))
      "%s cannot hold this password, which has quotation marks; it was not saved."
    (let* ((auth-sources (list source))
           (auth-source-do-cache nil)
           ;; The user has chosen this file a moment ago.
           (auth-source-save-behavior t)
           (auth-source-creation-defaults (list (cons 'secret secret)))
           (found (car (auth-source-search :host host :port (format "%s" port)
                                           :user user :max 1
                                           :require '(:secret) :create t)))
           (save (plist-get found :save-function)))
      (if (not save)
          "%s has a password for this user already, which was left alone: correct \
it there."
        (funcall save)
        (auth-source-forget+ :host host)
        nil))))

(provide 'smtpmail-setup-save)

;;; smtpmail-setup-save.el ends here
