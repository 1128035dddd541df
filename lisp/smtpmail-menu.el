;;; smtpmail-menu.el --- the commands of smtpmail in a menu and a keymap  -*- lexical-binding: t -*-

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
;;; Commentary:

;; "Outgoing Mail" in the menu Tools, behind "Compose New Mail", and the same
;; commands as a keymap for a key of the user's choice:
;;
;;   (global-set-key (kbd "C-c m") 'smtpmail-command-map)

;;; Code:

(require 'easymenu)

(autoload 'smtpmail-background-mails "smtpmail-background-mail")

;;;###autoload (autoload 'smtpmail-command-map "smtpmail-menu" "Commands for outgoing mail." nil 'keymap)

(defalias 'smtpmail-command-map
  (let ((map (make-sparse-keymap "Outgoing mail")))
    (pcase-dolist (`(,key . ,command)
                   '(("o" . smtpmail-outbox)
                     ("s" . smtpmail-send-queued-mail)
                     ("l" . smtpmail-send-later)
                     ("u" . smtpmail-undo)
                     ("k" . smtpmail-stop-sending)
                     ("t" . smtpmail-show-trace)
                     ("d" . smtpmail-doctor)
                     ("n" . smtpmail-setup)
                     ("c" . smtpmail-customize)
                     ("i" . smtpmail-manual)))
      (define-key map key command))
    map)
  "Commands for outgoing mail, for a key of the user's choice.")

;;;###autoload
(defun smtpmail-customize ()
  "Customize sending mail: the server, the login, the outbox and more."
  (interactive)
  (customize-group 'smtpmail))

;;;###autoload
(defun smtpmail-manual ()
  "Read the manual of smtpmail."
  (interactive)
  (info "(smtpmail)"))

(defun smtpmail-menu--under-way-p ()
  "Return non-nil if messages are under way in the background."
  (and (featurep 'smtpmail-background-mail)
       (smtpmail-background-mails)
       t))

;; The name of a function, not of a variable: packages copy all variables.
;;;###autoload (autoload 'smtpmail-menu-map "smtpmail-menu" "Menu of outgoing mail." nil 'keymap)
;;;###autoload (define-key-after menu-bar-tools-menu [smtpmail] '(menu-item "Outgoing Mail" smtpmail-menu-map) 'compose-mail)

(defalias 'smtpmail-menu-map
  (easy-menu-create-menu
   "Outgoing Mail"
   '(["Outbox" smtpmail-outbox
      :help "List the messages that wait, to look at them, send or change them"]
     ["Send Queued Mail" smtpmail-send-queued-mail
      :help "Send all messages that wait in the outbox"]
     "---"
     ["Send This Message Later..." smtpmail-send-later
      :active (derived-mode-p 'message-mode 'mail-mode)
      :help "Ask for a time at which this message is to go"]
     ["Take Back the Last Message" smtpmail-undo
      :active (smtpmail-menu--under-way-p)
      :help "Make a draft again of a message that has not gone yet"]
     ["Stop Sending" smtpmail-stop-sending
      :active (smtpmail-menu--under-way-p)
      :help "Stop a message that goes in the background"]
     "---"
     ["Why Does Mail Not Go?" smtpmail-doctor
      :help "Look at the server, TLS and the login; no mail is sent"]
     ["Show the Last Trace" smtpmail-show-trace
      :help "Show what was said to the server and by it"]
     ["Known Servers" smtpmail-known-servers
      :help "List the servers and certificates that are trusted"]
     ["Report a Bug" smtpmail-report-bug
      :help "Make a report without secrets"]
     "---"
     ["Set Up an Account..." smtpmail-setup
      :help "Find the server of a mail address, try it, and save it"]
     ["Customize" smtpmail-customize
      :help "Set the server, the login, the outbox and more"]
     ["Manual" smtpmail-manual
      :help "Read the manual"]))
  "Menu of outgoing mail.")

(provide 'smtpmail-menu)

;;; smtpmail-menu.el ends here
