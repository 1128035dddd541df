;;; smtpmail-unload.el --- Give the built-in smtpmail back  -*- lexical-binding: t -*-

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

;; (unload-feature 'smtpmail t) takes everything of ours out of this Emacs but
;; the engine, which no Emacs can unload, and what the user set.  After it the
;; built-in is what sends.  Nothing else lives here.

;;; Code:

(require 'cl-lib)
(require 'loadhist)
(require 'seq)

(defvar Info-directory-list)

(defconst smtpmail-unload--directory
  (file-name-directory (or load-file-name buffer-file-name default-directory))
  "Where our files are.")

(defconst smtpmail-unload--builtin-autoloads
  '((smtpmail-send-it) (smtpmail-send-queued-mail . t))
  "Functions that Emacs itself autoloads, each with whether it is a command.")

(defun smtpmail-unload--name-p (symbol)
  "Return non-nil if SYMBOL has a name of ours."
  (and symbol (symbolp symbol)
       (string-match-p "\\`smtpmail\\(?:-\\|\\'\\)" (symbol-name symbol))))

(defun smtpmail-unload--functions-of (hook)
  "Return our functions in HOOK."
  (seq-filter #'smtpmail-unload--name-p
              (and (boundp hook) (default-value hook)
                   (ensure-list (default-value hook)))))

(defun smtpmail-unload--processes ()
  "Return the processes of deliveries that are under way."
  (seq-filter (lambda (process)
                (and (eq (process-type process) 'pipe)
                     (process-live-p process)
                     (string-match-p "\\`smtpmail\\(?:<\\|\\'\\)"
                                     (process-name process))))
              (process-list)))

(defun smtpmail-unload--stop ()
  "Stop what is under way, or signal if the user wants it to go on."
  ;; What is asked and done when Emacs is left is asked and done now.
  (dolist (function (smtpmail-unload--functions-of 'kill-emacs-query-functions))
    (unless (funcall function)
      (user-error "Smtpmail stays: mail is being sent")))
  (mapc #'funcall (smtpmail-unload--functions-of 'kill-emacs-hook))
  (let ((processes (smtpmail-unload--processes)))
    (when (and processes
               (not noninteractive)
               (not (yes-or-no-p "Mail is being sent.  Stop it? ")))
      (user-error "Smtpmail stays: mail is being sent"))
    ;; The engine gives up a delivery that nobody can hear of.
    (mapc #'delete-process processes)))

(defun smtpmail-unload--withdraw ()
  "Remove our functions from hooks and timers; leave mode line and menu bar."
  (dolist (timer (append timer-list timer-idle-list nil))
    (when (seq-some #'smtpmail-unload--name-p
                    (cons (timer--function timer)
                          (ensure-list (timer--args timer))))
      (cancel-timer timer)))
  (mapatoms
   (lambda (variable)
     (when (and (string-match-p "-\\(?:hooks?\\|functions\\)\\'"
                                (symbol-name variable))
                (not (smtpmail-unload--name-p variable)))
       (dolist (function (ignore-errors (smtpmail-unload--functions-of variable)))
         (remove-hook variable function)))))
  (advice-remove 'message-do-fcc 'smtpmail-accepted--do-fcc)
  (advice-remove 'notmuch-maildir-message-do-fcc 'smtpmail-accepted--do-notmuch-fcc)
  (when (consp global-mode-string)
    (setq global-mode-string
          (seq-remove #'smtpmail-unload--name-p global-mode-string)))
  (delq (assq 'smtpmail menu-bar-tools-menu) menu-bar-tools-menu)
  (force-mode-line-update t))

(defun smtpmail-unload--entries ()
  "Return what `load-history' has of our Lisp files, the last one first."
  (seq-filter (lambda (entry)
                (and (stringp (car entry))
                     ;; Not the engine: it cannot be loaded a second time.
                     (string-match-p "\\.elc?\\'" (car entry))
                     (file-equal-p (file-name-directory (car entry))
                                   smtpmail-unload--directory)))
              load-history))

(defun smtpmail-unload--features ()
  "Return our features, those first that others need least."
  (delq 'smtpmail-unload
        (delete-dups
         (delq nil (mapcar (lambda (entry) (alist-get 'provide (cdr entry)))
                           (smtpmail-unload--entries))))))

(defun smtpmail-unload--spare-others ()
  "Let the functions of others stay for which our files have autoloads.
Unloading our files would make them undefined."
  (dolist (entry (smtpmail-unload--entries))
    (setcdr entry
            (seq-remove (lambda (item)
                          (and (eq (car-safe item) 'autoload)
                               (not (smtpmail-unload--name-p (cdr item)))))
                        (cdr entry)))))

(defun smtpmail-unload--settings (features)
  "Return the public variables of FEATURES that have a value, with it."
  (let ((settings nil))
    (dolist (feature features)
      (dolist (item (cdr (feature-symbols feature)))
        (when (and item (symbolp item) (default-boundp item)
                   (not (string-search "--" (symbol-name item)))
                   (or (eq item 'smtpmail-auth-supported)
                       (and (custom-variable-p item)
                            (not (equal (default-value item)
                                        (ignore-errors
                                          (eval (car (get item 'standard-value))
                                                t)))))))
          (push (cons item (default-value item)) settings))))
    settings))

(defun smtpmail-unload--withdraw-options ()
  "Make Customize forget our options and groups.
The built-in has some of the same names, and defines those anew."
  (mapatoms
   (lambda (symbol)
     (when (smtpmail-unload--name-p symbol)
       (dolist (property '(custom-group custom-set custom-type standard-value
                           risky-local-variable safe-local-variable))
         (put symbol property nil))))))

(defun smtpmail-unload--remove-autoloads ()
  "Make the functions undefined that would be loaded from our files."
  (mapatoms
   (lambda (symbol)
     (let ((function (and (fboundp symbol) (symbol-function symbol))))
       (when (and (autoloadp function)
                  (stringp (nth 1 function))
                  (smtpmail-unload--name-p
                   (intern (file-name-nondirectory (nth 1 function)))))
         (put symbol 'autoload nil)
         (fmakunbound symbol))))))

(defun smtpmail-unload--leave-path ()
  "Take our directory out of where Emacs looks for Lisp and manuals."
  (cl-flet ((without (directories)
              (seq-remove (lambda (directory)
                            (and (stringp directory)
                                 (file-equal-p directory
                                               smtpmail-unload--directory)))
                          directories)))
    (setq load-path (without load-path))
    (when (boundp 'Info-directory-list)
      (setq Info-directory-list (without Info-directory-list)))))

;;;###autoload
(defun smtpmail-unload-function ()
  "Put the built-in in the place of smtpmail; for `unload-feature'.
Ask first if mail is being sent.  What the user set is kept."
  (smtpmail-unload--stop)
  (smtpmail-unload--withdraw)
  (let* ((features (smtpmail-unload--features))
         (settings (smtpmail-unload--settings features)))
    ;; Each of them has the standard unloading, this one's last.
    (fmakunbound 'smtpmail-unload-function)
    (smtpmail-unload--spare-others)
    (dolist (feature features)
      (when (featurep feature)
        (unload-feature feature t)))
    (smtpmail-unload--withdraw-options)
    (smtpmail-unload--remove-autoloads)
    (smtpmail-unload--leave-path)
    (pcase-dolist (`(,function . ,command) smtpmail-unload--builtin-autoloads)
      (fmakunbound function)
      (autoload function "smtpmail" nil command))
    (pcase-dolist (`(,variable . ,value) settings)
      (set-default variable value)))
  (unload-feature 'smtpmail-unload t)
  ;; From Emacs 29 on that brings the autoload back.
  (fmakunbound 'smtpmail-unload-function)
  (message "The built-in smtpmail is back")
  ;; There is nothing left to unload.
  t)

(provide 'smtpmail-unload)

;;; smtpmail-unload.el ends here
