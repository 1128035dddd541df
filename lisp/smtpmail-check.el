;;; smtpmail-check.el --- values of options that cannot be right  -*- lexical-binding: t -*-

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

;; What Customize, `setopt' and use-package's `:custom' may put into an option.
;; A value that cannot be right is refused where it is set, and not when the
;; mail is to go.  `setq' is not checked.

;;; Code:

(require 'seq)
(require 'smtpmail-services)

(defconst smtpmail-check--protecting
  '(smtpmail-stream-type smtpmail-tls-min-version
    smtpmail-servers-requiring-authorization smtpmail-starttls-credentials)
  "Options that a wrong value of is kept for: it stops the mail.
To refuse it would leave less protection in force than was asked for.")

(defun smtpmail-check--seconds (value least)
  "Return what is wrong with VALUE as seconds, LEAST or more; nil if nothing."
  (unless (and (integerp value) (>= value least))
    (format "it is a number of seconds, %d or more" least)))

(defun smtpmail-check--server (value)
  "Return what is wrong with VALUE as the name of a server; nil if nothing."
  (cond
   ((null value) nil)
   ((not (stringp value)) "it is a string, or nil")
   ((string-match-p "[[:space:][:cntrl:]]" value) "there is white space in it")
   ((string-match-p "/" value) "it is a name or an address, and no URL")
   ;; More than one colon is an IPv6 address.
   ((string-match-p "\\`[^:]*:[0-9]+\\'" value)
    "the port belongs into `smtpmail-smtp-service'")))

(defun smtpmail-check--service (value)
  "Return what is wrong with VALUE as a service; nil if nothing."
  (let ((port (and (or (null value) (integerp value) (stringp value))
                   (smtpmail-services-port value))))
    (unless (and (integerp port) (< 0 port 65536))
      (concat "it is a port from 1 to 65535, or the name of a service: "
              "\"submission\", \"submissions\", \"smtp\""))))

(defun smtpmail-check--stream-type (value)
  "Return what is wrong with VALUE as a stream type; nil if nothing."
  (let ((types '(nil starttls ssl tls plain network)))
    (cond
     ((memq value types) nil)
     ((and (stringp value) (memq (intern-soft value) types))
      (format "write the symbol %s, not a string" value))
     (t "it is nil, starttls, ssl or plain"))))

(defun smtpmail-check--entries (value)
  "Return what is wrong with VALUE as (HOST PORT THIRD FOURTH)...; nil if nothing.
Nothing of VALUE is in that: it may be a password."
  (let ((number 0))
    (if (not (proper-list-p value))
        "it is a list of entries"
      (seq-some (lambda (entry)
                  (setq number (1+ number))
                  (unless (and (proper-list-p entry)
                               (<= 2 (length entry) 4)
                               (stringp (car entry))
                               (or (natnump (nth 1 entry))
                                   (stringp (nth 1 entry)))
                               (seq-every-p (lambda (part)
                                              (or (null part) (stringp part)))
                                            (nthcdr 2 entry)))
                    (format "entry %d is not a host, a port and two strings"
                            number)))
                value))))

(defun smtpmail-check-problem (option value)
  "Return why VALUE cannot be right for OPTION, a text, or nil."
  (pcase option
    ((or 'smtpmail-smtp-server 'smtpmail-default-smtp-server)
     (smtpmail-check--server value))
    ('smtpmail-smtp-service (smtpmail-check--service value))
    ('smtpmail-stream-type (smtpmail-check--stream-type value))
    ('smtpmail-tls-min-version
     (unless (member value '(nil "1.2" "1.3"))
       "it is nil, \"1.2\" or \"1.3\""))
    ('smtpmail-ehlo-name
     (unless (or (null value)
                 (and (stringp value)
                      (string-match-p "\\`[^[:space:][:cntrl:]]+\\'" value)))
       "it is a domain, an address in brackets, or nil"))
    ('smtpmail-servers-requiring-authorization
     (condition-case problem
         (ignore (or (null value) (string-match-p value "")))
       (error (error-message-string problem))))
    ('smtpmail-auth-credentials
     (unless (stringp value)
       (smtpmail-check--entries value)))
    ('smtpmail-starttls-credentials
     ;; Once there was one entry, without a list around it.
     (smtpmail-check--entries (if (stringp (car-safe value)) (list value) value)))
    ('smtpmail-retries
     (unless (natnump value) "it is a number of tries"))
    ('smtpmail-priority
     (unless (or (null value) (and (integerp value) (<= -9 value 9)))
       "it is an integer from -9 to 9, or nil"))
    ('smtpmail-on-refused-recipients
     (unless (memq value '(ask abort send-rest))
       "it is ask, abort or send-rest"))
    ((or 'smtpmail-connect-timeout 'smtpmail-timeout)
     (smtpmail-check--seconds value 1))
    ('smtpmail-undo-seconds (smtpmail-check--seconds value 0))
    ('smtpmail-keep-connection-seconds
     (and value (smtpmail-check--seconds value 0)))))

(defun smtpmail-check-set (option value)
  "Set OPTION to VALUE, for `:set'.
Refuse what cannot be right; warn of it if that takes protection away."
  (when-let ((problem (smtpmail-check-problem option value)))
    (let ((text (format-message
                 "`%s' cannot be %s: %s" option
                 ;; It may be a login.
                 (if (consp value) "that" (format "%S" value))
                 problem)))
      (if (memq option smtpmail-check--protecting)
          (display-warning 'smtpmail text)
        (user-error "%s" text))))
  (set-default-toplevel-value option value))

(provide 'smtpmail-check)

;;; smtpmail-check.el ends here
