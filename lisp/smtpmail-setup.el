;;; smtpmail-setup.el --- set a mail account up  -*- lexical-binding: t -*-

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

;; `M-x smtpmail-setup': from a mail address to an account that works.  What
;; was found is shown, and can be changed; it is tried at the real server, and
;; saved only when the user says so.  Where servers are looked for, is
;; smtpmail-setup-search.el's, how it looks, -show's, and how things are kept,
;; -save's; the try is the doctor's.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'smtpmail)
(require 'smtpmail-auth-login)
(require 'smtpmail-doctor)
(require 'smtpmail-setup-providers)
(require 'smtpmail-setup-save)
(require 'smtpmail-setup-search)
(require 'smtpmail-setup-show)

(defvar smtpmail-doctor-probe-ask)

;;;; Questions

(defun smtpmail-setup--read-address ()
  "Ask for the mail address."
  (let ((default (smtpmail-user-mail-address)))
    (string-trim (read-string (if default
                                  (format "Your mail address (default %s): " default)
                                "Your mail address: ")
                              nil nil default))))

(defun smtpmail-setup--check-address (address)
  "Signal an error unless ADDRESS may be a mail address."
  (unless (string-match-p "\\`[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+\\'"
                          address)
    (user-error "Not a mail address: %s" (smtpmail-visible-text address))))

(defun smtpmail-setup--label (candidate)
  "Return CANDIDATE as it is offered."
  (format "%s port %s, %s" (plist-get candidate :server) (plist-get candidate :service)
          (smtpmail-setup--security-text (plist-get candidate :security))))

(defun smtpmail-setup--take (setup candidate)
  "Let the server of SETUP be CANDIDATE."
  (setf (smtpmail-setup-server setup) (plist-get candidate :server)
        (smtpmail-setup-service setup) (plist-get candidate :service)
        (smtpmail-setup-security setup)
        (or (plist-get candidate :security) 'starttls)
        (smtpmail-setup-source setup) (plist-get candidate :source)
        (smtpmail-setup-note setup) (plist-get candidate :note)
        (smtpmail-setup-doubt setup) (plist-get candidate :doubt)
        (smtpmail-setup-findings setup) nil))

(defun smtpmail-setup--choose (setup candidates)
  "Let the user choose one of CANDIDATES, or type another server, for SETUP."
  (let* ((labels (mapcar (lambda (candidate)
                           (cons (smtpmail-setup--label candidate) candidate))
                         candidates))
         (answer (and labels
                      (completing-read
                       (format "Server, or another one (default %s): " (caar labels))
                       labels nil nil nil nil (caar labels))))
         (candidate (and answer (cdr (assoc answer labels)))))
    (cond
     ((null candidate)
      (smtpmail-setup--read-server setup (smtpmail-services-given answer)))
     ((and (plist-get candidate :doubt)
           (not (yes-or-no-p (format "%s.  Use it? " (plist-get candidate :doubt)))))
      (smtpmail-setup--choose setup (remq candidate candidates)))
     (t (smtpmail-setup--take setup candidate)))))

(defun smtpmail-setup--read-server (setup &optional server)
  "Ask for SERVER, if it is nil, its port and security, for SETUP."
  (let ((server (or server
                    (string-trim
                     (read-string "Server that takes your mail (such as \
smtp.example.org): " (smtpmail-setup-server setup))))))
    (when (or (string-empty-p server)
              (string-match-p "[^[:alnum:]._:-]" server))
      (user-error "Not the name of a server: %s" (smtpmail-visible-text server)))
    (let* ((provider (smtpmail-setup-providers-of-server server)))
      (smtpmail-setup--take
       setup (list :server server :note (plist-get provider :note)
                   :service (or (plist-get provider :service)
                                (smtpmail-setup-service setup) 465)
                   :security (plist-get provider :security)
                   :source "you")))
    (smtpmail-setup--read-port setup)))

(defun smtpmail-setup--read-port (setup)
  "Ask for the port of SETUP, and how TLS begins there."
  (let ((port (read-number "Port (465: TLS from the beginning, 587: STARTTLS): "
                           (or (smtpmail-setup-service setup) 465))))
    (unless (and (integerp port) (< 0 port 65536))
      (user-error "Not a port: %s" port))
    (setf (smtpmail-setup-service setup) port
          (smtpmail-setup-findings setup) nil)
    (if (memq port '(465 587))
        (setf (smtpmail-setup-security setup) (if (= port 465) 'ssl 'starttls))
      (smtpmail-setup--read-security setup))))

(defun smtpmail-setup--read-security (setup)
  "Ask how the connection of SETUP is protected."
  (let* ((local (smtpmail--this-machine-p (or (smtpmail-setup-server setup) "")))
         (choices (append '(("TLS from the beginning" . ssl) ("STARTTLS" . starttls))
                          ;; No password ever goes in clear over a network.
                          (and local '(("no TLS" . plain)))))
         (default (or (car (rassq (smtpmail-setup-security setup) choices))
                      "STARTTLS")))
    (setf (smtpmail-setup-security setup)
          (cdr (assoc (completing-read (format "Protected by (default %s): " default)
                                       choices nil t nil nil default)
                      choices))
          (smtpmail-setup-findings setup) nil)))

(defun smtpmail-setup--read-user (setup)
  "Ask for the user name of SETUP."
  (smtpmail-setup--forget setup)
  (let ((user (string-trim
               (read-string "User name at the server (empty: any that auth-source has): "
                            (or (smtpmail-setup-user setup)
                                (smtpmail-setup-address setup))))))
    (setf (smtpmail-setup-user setup) (smtpmail-services-given user)
          (smtpmail-setup-findings setup) nil)))

;;;; The password

(defun smtpmail-setup--remember (setup secret)
  "Keep SECRET, hidden, for SETUP in this session; nil forgets it."
  (smtpmail-auth--remember 'secret (smtpmail-setup-server setup)
                           (smtpmail-setup-service setup)
                           (smtpmail-setup-user setup) secret)
  (setf (smtpmail-setup-typed setup) (and secret t)
        (smtpmail-setup-findings setup) nil))

(defun smtpmail-setup--forget (setup)
  "Forget the password that was typed for SETUP."
  (when (smtpmail-setup-typed setup)
    (smtpmail-setup--remember setup nil)))

(defun smtpmail-setup--secret (setup)
  "Return the password that was typed for SETUP, hidden, or nil."
  (and (smtpmail-setup-typed setup)
       (smtpmail-auth--typed 'secret (smtpmail-setup-server setup)
                             (smtpmail-setup-service setup)
                             (smtpmail-setup-user setup))))

(defun smtpmail-setup--read-password (setup)
  "Ask for the password of SETUP."
  (smtpmail-setup--remember
   setup (smtpmail-auth--ask-secret
          (format "Password of %s at %s (empty: what auth-source has): "
                  (smtpmail-visible-text (smtpmail-setup-user setup))
                  (smtpmail-visible-text (smtpmail-setup-server setup))))))

(defun smtpmail-setup--change-port (setup)
  "Ask for another port of SETUP's server; the password typed for it stays."
  (let ((secret (smtpmail-setup--secret setup)))
    (smtpmail-setup--forget setup)
    (unwind-protect
        (smtpmail-setup--read-port setup)
      (when secret
        (smtpmail-setup--remember setup secret)))))

(defun smtpmail-setup--known-password-p (setup)
  "Return non-nil if there is a password for SETUP already."
  (smtpmail-accounts-with (smtpmail-setup--bindings setup)
    (ignore-errors
      (smtpmail-auth-lookup (smtpmail-setup-server setup)
                            (smtpmail-setup-service setup) nil))))

;;;; Steps

(defun smtpmail-setup--try (setup)
  "Connect, begin TLS and log in as SETUP says; note what was found."
  (when (and (smtpmail-setup-user setup)
             (not (smtpmail-setup--known-password-p setup)))
    (smtpmail-setup--show setup)
    (smtpmail-setup--read-password setup))
  (message "Trying %s..." (smtpmail-setup-server setup))
  (let ((smtpmail-doctor-probe-ask t))
    (setf (smtpmail-setup-findings setup)
          (nth 1 (smtpmail-doctor--examine
                  (cons (smtpmail-setup-address setup)
                        (smtpmail-setup--settings setup))
                  nil))))
  ;; One that was refused is forgotten.
  (unless (smtpmail-setup--secret setup)
    (setf (smtpmail-setup-typed setup) nil)))

(defun smtpmail-setup--works-p (setup)
  "Return non-nil if SETUP was tried, and nothing was wrong."
  (and (smtpmail-setup-findings setup)
       (not (assq 'failure (smtpmail-setup-findings setup)))))

(defun smtpmail-setup--logged-in-p (setup)
  "Return non-nil if the server accepted the login of SETUP, or offers none."
  (seq-some (lambda (finding)
              (and (equal (nth 1 finding) "Login") (eq (car finding) 'ok)))
            (smtpmail-setup-findings setup)))

(defun smtpmail-setup--done (setup format &rest arguments)
  "Note for SETUP that something was done, by FORMAT and ARGUMENTS."
  (push (apply #'format format arguments) (smtpmail-setup-done setup)))

(defun smtpmail-setup--changes (setup)
  "Ask how SETUP is to be saved; return the changes, and what they are called."
  (let* ((address (smtpmail-setup-address setup))
         (settings (smtpmail-setup--settings setup))
         (one (format "an account, for mail from %s" address))
         (all "the variables, for all other mail")
         (default (if (and (null smtpmail-accounts)
                           (member smtpmail-smtp-server
                                   (list nil (smtpmail-setup-server setup))))
                      all
                    one))
         (answer (completing-read (format "Save it as (default %s): " default)
                                  (list all one) nil t nil nil default)))
    (if (equal answer all)
        (smtpmail-setup-save-variables settings address)
      (smtpmail-setup-save-account settings address))))

(defun smtpmail-setup--save (setup)
  "Save SETUP, as far as the user wants."
  (when (or (smtpmail-setup--works-p setup)
            (yes-or-no-p "It was not seen to work.  Save it all the same? "))
    (setf (smtpmail-setup-changes setup) (smtpmail-setup--changes setup))
    (unwind-protect
        (smtpmail-setup--save-settings setup)
      (setf (smtpmail-setup-changes setup) nil))
    (smtpmail-setup--save-password setup)))

(defun smtpmail-setup--save-settings (setup)
  "Show the changes of SETUP, and save them if the user wants."
  (let* ((changes (smtpmail-setup-changes setup))
         (place (smtpmail-setup-save-place))
         (file (if place (abbreviate-file-name place)
                 "this session only: this Emacs has no init file")))
    (cond
     ((null changes)
      (setf (smtpmail-setup-kept setup) t)
      (smtpmail-setup--done setup "The settings were so already."))
     ((progn (smtpmail-setup--show setup)
             (y-or-n-p (format "Save what is to be set, in %s? " file)))
      (smtpmail-setup-save-settings changes)
      (setf (smtpmail-setup-kept setup) t)
      (smtpmail-setup--done
       setup "Saved %s in %s.  To change it: M-x smtpmail-setup again, or M-x \
customize-group RET smtpmail."
       (mapconcat (lambda (change) (format "`%s'" (car change))) changes ", ")
       file)))))

(defun smtpmail-setup--save-password (setup)
  "Offer to save the password that was typed for SETUP."
  (when-let ((secret (smtpmail-setup--secret setup)))
    (let* ((stores (smtpmail-setup-save-stores))
           (nowhere "nowhere: ask me again in the next Emacs")
           (default (or (caar stores) nowhere))
           (answer (completing-read
                    (format "Save the password in (default %s): " default)
                    (append (mapcar #'car stores) (list nowhere))
                    nil t nil nil default))
           (store (assoc answer stores)))
      (if (null store)
          (smtpmail-setup--done setup "The password is kept until this Emacs ends.")
        (let ((why-not (smtpmail-setup-save-password
                        (nth 1 store) (smtpmail-setup-server setup)
                        (smtpmail-setup-service setup) (smtpmail-setup-user setup)
                        (funcall secret))))
          (if why-not
              (smtpmail-setup--done setup why-not (car store))
            (smtpmail-setup--done setup "Saved the password in %s." (car store))
            (setf (smtpmail-setup-store setup) (format "in %s" (car store)))
            (smtpmail-setup--keep-findings setup #'smtpmail-setup--forget)))))))

(defun smtpmail-setup--keep-findings (setup function)
  "Call FUNCTION with SETUP, whose findings stay."
  (let ((findings (smtpmail-setup-findings setup)))
    (funcall function setup)
    (setf (smtpmail-setup-findings setup) findings)))

(defun smtpmail-setup--send (setup)
  "Send a test mail to the address of SETUP, over its account."
  (let ((address (smtpmail-setup-address setup)))
    (with-temp-buffer
      (insert "From: " address "\nTo: " address
              "\nSubject: Test of smtpmail\n" mail-header-separator "\n"
              "This mail was sent by M-x smtpmail-setup in Emacs, over "
              (smtpmail-setup-server setup) ".\n")
      (let ((smtpmail-send-in-background nil)
            (smtpmail-queue-mail nil)
            (user-mail-address address)
            (mail-specify-envelope-from nil))
        (condition-case why
            (progn
              (smtpmail-accounts-with (smtpmail-setup--bindings setup)
                (smtpmail-send-it))
              (smtpmail-setup--done setup "Sent a test mail to %s: see whether it \
arrives." address))
          (error (smtpmail-setup--done setup "%s" (error-message-string why))))))))

;;;; The command

(defconst smtpmail-setup--steps
  '((?t "try" "Connect, begin TLS and log in; nothing is sent")
    (?s "server" "Use another server")
    (?p "port" "Use another port")
    (?e "encryption" "TLS from the beginning, or STARTTLS")
    (?u "user" "Use another user name")
    (?w "password" "Type the password again")
    (?v "save" "Save this account, after questions")
    (?m "mail" "Send a test mail to yourself")
    (?q "quit" "Leave; what was not saved is forgotten"))
  "What can be done with what was found, for `read-multiple-choice'.")

(defun smtpmail-setup--step (setup key)
  "Do with SETUP what KEY says."
  (pcase key
    (?t (smtpmail-setup--try setup))
    (?s (smtpmail-setup--forget setup) (smtpmail-setup--read-server setup))
    (?p (smtpmail-setup--change-port setup))
    (?e (smtpmail-setup--read-security setup))
    (?u (smtpmail-setup--read-user setup))
    (?w (when (smtpmail-setup-user setup) (smtpmail-setup--read-password setup)))
    (?v (smtpmail-setup--save setup))
    (?m (smtpmail-setup--send setup))))

(defun smtpmail-setup--advice (setup)
  "Return what to do next with SETUP, in words."
  (cond ((smtpmail-setup-done setup) "Next?")
        ((and (smtpmail-setup--works-p setup)
              (smtpmail-setup--logged-in-p setup))
         "It works.  Save it (v)?")
        ((smtpmail-setup--works-p setup)
         "It answers; no login was tried.  Save it (v), or type a password (w)?")
        ((smtpmail-setup-findings setup) "It does not work: see above.  Change?")
        (t "Try it (t)?")))

(defun smtpmail-setup--loop (setup)
  "Let the user change, try and save SETUP until that is over."
  (let ((key nil))
    (while (not (eq key ?q))
      (smtpmail-setup--show setup)
      (setq key (car (read-multiple-choice (smtpmail-setup--advice setup)
                                           smtpmail-setup--steps)))
      (condition-case why
          (smtpmail-setup--step setup key)
        (user-error (message "%s" (error-message-string why))
                    (sit-for 2))))))

(defun smtpmail-setup--find (setup)
  "Look for the server of SETUP, and let the user choose."
  (let* ((address (smtpmail-setup-address setup))
         (result (smtpmail-setup-search (cadr (split-string address "@")))))
    (setf (smtpmail-setup-remarks setup) (cdr result)
          (smtpmail-setup-user setup) address)
    (smtpmail-setup--show setup)
    (smtpmail-setup--choose setup (car result))))

;;;###autoload
(defun smtpmail-setup (address &optional by-hand)
  "Set up sending mail from ADDRESS: find the server, try it, save it.
The server is looked for in what is known of large providers, in the DNS,
and at last by the names that most servers have.  With a prefix argument,
BY-HAND, nothing is looked for, and you name the server.

All that was found is shown, and can be changed.  The try connects, begins
TLS and logs in; no password ever goes in clear over a network.  Nothing is
saved before you say so: the settings by Customize, and the password where
you choose, by auth-source.  Quitting leaves all as it was."
  (interactive (list (smtpmail-setup--read-address) current-prefix-arg))
  (unless (smtpmail-auth-can-prompt-p)
    (error "There is nobody to ask"))
  (smtpmail-setup--check-address address)
  (let ((setup (smtpmail-setup--make :address address :user address))
        (windows (current-window-configuration))
        (left nil)
        (saved nil))
    (unwind-protect
        (progn
          (if by-hand
              (smtpmail-setup--read-server setup)
            (smtpmail-setup--find setup))
          (smtpmail-setup--try setup)
          (smtpmail-setup--loop setup)
          (setq left t))
      (setq saved (smtpmail-setup-done setup))
      ;; Who has saved the account, but not the password, wants to send now.
      (unless (smtpmail-setup-kept setup)
        (smtpmail-setup--forget setup))
      (unless (and left saved)
        (set-window-configuration windows)))
    (message "%s" (if saved (string-join (reverse saved) "  ")
                    "Nothing was saved"))))

(provide 'smtpmail-setup)

;;; smtpmail-setup.el ends here
