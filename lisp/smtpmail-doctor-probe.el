;;; smtpmail-doctor-probe.el --- look at a server without sending  -*- lexical-binding: t -*-

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

;; One look at a server by the engine's probe, and what was seen, as facts.
;; What the facts mean, is smtpmail-doctor-findings.el's.
;;
;; No password lives here longer than the question for it.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'smtpmail)
(require 'smtpmail-auth-login)
(require 'smtpmail-trust)

(declare-function smtpmail-module--answer "ext:exports.rs" (delivery id yes))
(declare-function smtpmail-module--login "ext:exports.rs" (delivery id login))
(declare-function smtpmail-module--trust "ext:exports.rs" (delivery id choice))

(cl-defstruct (smtpmail-doctor-facts
               (:constructor smtpmail-doctor-probe--make)
               (:copier nil))
  "What was seen of a server."
  (request nil :documentation "The plist that the engine got.")
  (addresses nil :documentation "((ADDRESS . FAILURE) ...), FAILURE nil if it answered.")
  (said nil :documentation "What was said: ((SIDE . TEXT) ...), SIDE ?C, ?S or ?*.")
  (secured nil :documentation "The plist of TLS, or nil.")
  (certificate nil :documentation "The plist of a certificate not accepted, or nil.")
  (offered nil :documentation "SASL mechanisms that the server offers, strings.")
  (login nil :documentation "The `smtpmail-auth-login' used, or nil.")
  (problem nil :documentation "Why no login could be looked up, or nil.")
  (refused nil :documentation "The failure of the login, or nil.")
  (logged-in nil :documentation "Non-nil: the login was accepted.")
  (in-clear nil :documentation "Non-nil: a password would have gone in clear.")
  (tried nil :documentation "Plists of the commands of the envelope, with replies.")
  (failure nil :documentation "Why it did not come to its end, or nil."))

(defvar smtpmail-doctor-probe-ask nil
  "Non-nil means to ask the user about a certificate that is not accepted.")

(defun smtpmail-doctor-probe-get (facts key)
  "Return what the request of FACTS says for KEY."
  (plist-get (smtpmail-doctor-facts-request facts) key))

(defun smtpmail-doctor-probe (request &optional log-in)
  "Look at the server of the plist REQUEST; return `smtpmail-doctor-facts'.
Log in only if LOG-IN."
  (let* ((lines nil)
         (facts (smtpmail-doctor-probe--make :request request))
         (report
          (smtpmail-session-probe
           request smtpmail-smtp-service
           (lambda (delivery event)
             (when (eq (car event) 'trace)
               (push (plist-get (cdr event) :text) lines))
             (smtpmail-doctor-probe--note facts delivery event log-in)))))
    (setf (smtpmail-doctor-facts-failure facts) (plist-get report :failure)
          (smtpmail-doctor-facts-said facts)
          (smtpmail-doctor-probe--said (string-join (nreverse lines))))
    facts))

(defun smtpmail-doctor-probe--note (facts delivery event log-in)
  "Note EVENT of DELIVERY in FACTS; LOG-IN if a login is wanted.
Return nil if more is to be done with it."
  (pcase event
    (`(address . ,plist)
     ;; A certificate not accepted is looked at by a second connection.
     (unless (assoc (plist-get plist :address)
                    (smtpmail-doctor-facts-addresses facts))
       (setf (smtpmail-doctor-facts-addresses facts)
             (append (smtpmail-doctor-facts-addresses facts)
                     (list (cons (plist-get plist :address)
                                 (plist-get plist :failure))))))
     t)
    (`(secured . ,plist) (setf (smtpmail-doctor-facts-secured facts) plist))
    ('(logged-in) (setf (smtpmail-doctor-facts-logged-in facts) t))
    (`(tried . ,plist)
     (setf (smtpmail-doctor-facts-tried facts)
           (append (smtpmail-doctor-facts-tried facts) (list plist))))
    (`(question . ,plist)
     (smtpmail-doctor-probe--answer facts delivery plist log-in))
    ;; The report says it.
    (`(warning . ,_) t)))

(defun smtpmail-doctor-probe--answer (facts delivery question log-in)
  "Answer QUESTION of DELIVERY without asking, and note it in FACTS.
Log in if LOG-IN.  Return nil if only the user can answer."
  (let ((id (plist-get question :id))
        (host (smtpmail-doctor-probe-get facts :host))
        (port (smtpmail-doctor-probe-get facts :port)))
    (pcase (plist-get question :kind)
      ('credentials
       (setf (smtpmail-doctor-facts-offered facts) (plist-get question :offered))
       (if-let ((refused (plist-get question :refused)))
           (progn
             (setf (smtpmail-doctor-facts-refused facts) refused)
             ;; A corrected line has to be found.
             (smtpmail-auth-refused (smtpmail-doctor-facts-login facts)
                                    host smtpmail-smtp-service)
             (smtpmail-module--login delivery id nil))
         (when log-in (smtpmail-doctor-probe-look-up facts))
         (smtpmail-doctor-probe--log-in facts delivery id))
       t)
      ('clear-login
       (setf (smtpmail-doctor-facts-in-clear facts) t)
       (smtpmail-module--answer delivery id nil)
       t)
      ('without-tls
       (smtpmail-module--answer delivery id nil)
       t)
      ('certificate
       (setf (smtpmail-doctor-facts-certificate facts) question)
       (unless smtpmail-doctor-probe-ask
         (smtpmail-module--trust
          delivery id
          (or (smtpmail-trust-known question host port smtpmail-smtp-service) 'no))
         t)))))

(defun smtpmail-doctor-probe-look-up (facts)
  "Look for the credentials for the server of FACTS, and note them there."
  (condition-case why
      (setf (smtpmail-doctor-facts-login facts)
            (smtpmail-auth-lookup (smtpmail-doctor-probe-get facts :host)
                                  smtpmail-smtp-service nil))
    (error (setf (smtpmail-doctor-facts-problem facts)
                 (error-message-string why)))))

(defun smtpmail-doctor-probe--log-in (facts delivery id)
  "Answer question ID of DELIVERY with the login in FACTS."
  (let* ((login (smtpmail-doctor-facts-login facts))
         (secret (and login (smtpmail-auth-secret-bytes login))))
    (unwind-protect
        (smtpmail-module--login
         delivery id
         (and login
              (list :user (smtpmail-auth-login-user login)
                    :secret secret
                    :mechanisms (mapcar #'symbol-name
                                        (smtpmail-doctor-probe-mechanisms facts))
                    :required nil)))
      (when secret (clear-string secret)))))

(defun smtpmail-doctor-probe-mechanisms (facts)
  "Return the mechanisms to log in by at the server of FACTS, best first."
  (smtpmail-auth-mechanisms (smtpmail-doctor-facts-login facts)
                            (smtpmail-doctor-facts-offered facts)))

;;;; What was said

(defun smtpmail-doctor-probe--said (trace)
  "Return what TRACE says was said, ((SIDE . TEXT) ...)."
  (delq nil
        (mapcar (lambda (line)
                  (and (string-match "\\` *[0-9.]+ \\([CS*]\\): \\(.*\\)" line)
                       (cons (aref (match-string 1 line) 0)
                             (match-string 2 line))))
                (split-string trace "\n" t))))

(defun smtpmail-doctor-probe-greeting (facts)
  "Return the lines of the greeting in FACTS, with their codes."
  (let ((said (seq-drop-while (lambda (line) (not (eq (car line) ?S)))
                              (smtpmail-doctor-facts-said facts))))
    (mapcar #'cdr (seq-take-while (lambda (line) (eq (car line) ?S)) said))))

(defun smtpmail-doctor-probe-replies (facts command)
  "Return the replies in FACTS to commands that begin with COMMAND.
Each is a list of lines with their codes; the first one came first."
  (let ((rest (smtpmail-doctor-facts-said facts))
        (replies nil))
    (while rest
      (pcase-let ((`(,side . ,text) (pop rest)))
        (when (and (eq side ?C) (string-prefix-p command text))
          (push (mapcar #'cdr (seq-take-while (lambda (line) (eq (car line) ?S))
                                              rest))
                replies))))
    (nreverse (delq nil replies))))

(defun smtpmail-doctor-probe-keywords (reply)
  "Return the extensions in REPLY, to EHLO, as ((KEYWORD . ARGUMENTS) ...)."
  (mapcar (lambda (line)
            (let ((words (split-string (substring line (min 4 (length line))) nil t)))
              (cons (upcase (or (car words) "")) (cdr words))))
          (cdr reply)))

(defun smtpmail-doctor-probe-mechanism (facts)
  "Return the mechanism of the last login tried in FACTS, a string, or nil."
  (seq-some (lambda (line)
              (and (eq (car line) ?C)
                   (string-match "\\`AUTH \\([^ ]+\\)" (cdr line))
                   (match-string 1 (cdr line))))
            (reverse (smtpmail-doctor-facts-said facts))))

(provide 'smtpmail-doctor-probe)

;;; smtpmail-doctor-probe.el ends here
