;;; smtpmail-bug.el --- What a report of a problem needs  -*- lexical-binding: t -*-

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

;; A buffer with what others need to understand a problem: versions, settings
;; that are not the default, and the last trace if the user wants it there.  It
;; is shown, and sent nowhere: sending may be what fails.
;;
;; What is not known to be harmless is left out: of a text in a setting, unless
;; it is one of those in `smtpmail-bug--open-options', only that it is there.

;;; Code:

(require 'cl-lib)
(require 'smtpmail-module)
(require 'smtpmail-options)
(require 'smtpmail-trace)

(defconst smtpmail-bug--open-options
  '(smtpmail-smtp-server smtpmail-smtp-service smtpmail-default-smtp-server
    smtpmail-stream-type smtpmail-tls-min-version)
  "Options whose texts are shown: without them no report is of use.")

(defconst smtpmail-bug--counted-options
  '(smtpmail-auth-credentials smtpmail-starttls-credentials)
  "Options of which only the number of entries is shown.
A password in them may look like anything.")

(defconst smtpmail-bug--other-variables
  '(send-mail-function message-send-mail-function mail-user-agent
    mail-specify-envelope-from mail-envelope-from mail-default-reply-to
    user-mail-address auth-sources gnutls-trustfiles network-security-level
    smtpmail-auth-supported)
  "Variables of others that bear on sending.")

(defun smtpmail-bug--redact (value)
  "Return VALUE with each text and function in it replaced by what it is."
  (cond
   ((stringp value) '<text>)
   ((keywordp value) value)
   ((or (symbolp value) (numberp value)) value)
   ((functionp value) '<function>)
   ((consp value)
    (let ((parts nil))
      (while (consp value)
        (push (smtpmail-bug--redact (pop value)) parts))
      (nconc (nreverse parts) (and value (smtpmail-bug--redact value)))))
   (t '<object>)))

(defun smtpmail-bug--shown (variable)
  "Return the value of VARIABLE as a report shows it, a text."
  (let ((value (symbol-value variable)))
    (cond
     ((memq variable smtpmail-bug--open-options) (format "%S" value))
     ((and (memq variable smtpmail-bug--counted-options) (proper-list-p value))
      (format "<%d entries>" (length value)))
     (t (format "%S" (smtpmail-bug--redact value))))))

(defun smtpmail-bug--changed-p (variable)
  "Return non-nil if VARIABLE is set to something else than its default."
  (and (boundp variable)
       (let ((standard (get variable 'standard-value)))
         (not (and standard
                   (equal (symbol-value variable)
                          (ignore-errors (eval (car standard) t))))))))

(defun smtpmail-bug--options ()
  "Return the loaded options of smtpmail, in alphabetical order."
  (let ((options nil))
    (mapatoms (lambda (symbol)
                (when (and (string-prefix-p "smtpmail-" (symbol-name symbol))
                           (custom-variable-p symbol)
                           (boundp symbol))
                  (push symbol options))))
    (sort options #'string<)))

(defun smtpmail-bug--insert-settings ()
  "Insert a line for each setting that is not the default."
  (dolist (variable (append (smtpmail-bug--options)
                            smtpmail-bug--other-variables))
    (when (smtpmail-bug--changed-p variable)
      (insert (format "  %s: %s\n" variable (smtpmail-bug--shown variable))))))

(defun smtpmail-bug--advised ()
  "Return those functions of smtpmail that have advice."
  (let ((advised nil))
    (mapatoms (lambda (symbol)
                (when (and (string-prefix-p "smtpmail-" (symbol-name symbol))
                           (fboundp symbol))
                  (advice-mapc (lambda (&rest _) (cl-pushnew symbol advised))
                               symbol))))
    (sort advised #'string<)))

(defun smtpmail-bug--trace ()
  "Return the text of the last trace without texts and names, or nil."
  (when-let ((buffer (smtpmail-trace-last-buffer)))
    (let ((name (buffer-name buffer))
          (text (with-current-buffer buffer
                  (buffer-substring-no-properties (point-min) (point-max)))))
      (with-temp-buffer
        (insert text)
        (smtpmail-trace-remove-texts)
        (goto-char (point-min))
        ;; The local part is a person's name; the domain may matter.
        (while (re-search-forward "[^][ \t\n<>@:;,()\"']+\\(@[^ \t\n@]\\)" nil t)
          (replace-match "..\\1" t))
        (concat name "\n" (buffer-string))))))

;;;###autoload
(defun smtpmail-report-bug ()
  "Show a report of the state of smtpmail, for those who can mend it.
It has versions, the settings that differ from their defaults (no login
and no text but the server's name), and the last trace if you want it.
Nothing is sent: read it, change what you like, and hand it on."
  (interactive)
  (let ((trace (and (smtpmail-trace-last-buffer)
                    (y-or-n-p "Put the last trace into the report? ")
                    (smtpmail-bug--trace))))
    (pop-to-buffer (get-buffer-create "*smtpmail report*"))
    (erase-buffer)
    (text-mode)
    (insert "What did you do, what did you expect, and what happened?\n\n\n"
            "Read what follows, and remove what others shall not see.\n\n"
            (format "%s\n%s, on %s\nModules: %s; GnuTLS: %s\n"
                    (smtpmail-bug--version)
                    (emacs-version) system-configuration
                    (or (bound-and-true-p module-file-suffix) "none")
                    (or (bound-and-true-p libgnutls-version) "none"))
            "\nSettings that are not the default:\n")
    (smtpmail-bug--insert-settings)
    (when-let ((advised (smtpmail-bug--advised)))
      (insert (format "\nFunctions with advice: %s\n"
                      (mapconcat #'symbol-name advised ", "))))
    (when trace
      (insert "\n" trace))
    (goto-char (point-min))
    (forward-line 1)
    (message "Nothing is sent: copy it to where you report the problem")))

(defun smtpmail-bug--version ()
  "Return the version of smtpmail and of its engine, without directories."
  (format "smtpmail %s (engine %s)" smtpmail-module-version
          (cond
           ((featurep 'smtpmail-core) "loaded")
           ((file-exists-p (smtpmail-module-file)) "there, not loaded")
           (t "missing"))))

(provide 'smtpmail-bug)

;;; smtpmail-bug.el ends here
