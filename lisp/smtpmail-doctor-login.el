;;; smtpmail-doctor-login.el --- what came of the login  -*- lexical-binding: t -*-

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

;; What the facts about a server (smtpmail-doctor-probe.el) say of the login:
;; mechanisms, password, and what the server said to it.

;;; Code:

(require 'seq)
(require 'subr-x)
(require 'smtpmail)
(require 'smtpmail-auth-login)
(require 'smtpmail-doctor-lines)
(require 'smtpmail-doctor-probe)
(require 'smtpmail-doctor-remedies)

(defconst smtpmail-doctor-login--others-limit 5
  "How many lines that did not serve are told beside a refused one.")

(defun smtpmail-doctor-findings--login (facts)
  "Tell of the login in FACTS."
  (let ((offered (smtpmail-doctor-facts-offered facts))
        (ended (smtpmail-doctor-facts-failure facts)))
    (cond
     (offered
      (smtpmail-doctor-findings--add
       'ok "Mechanisms"
       (concat (string-join offered " ")
               (when-let ((first (car (smtpmail-doctor-probe-mechanisms facts))))
                 (format "; %s is our first choice"
                         (upcase (symbol-name first))))))
      (smtpmail-doctor-findings--credentials facts))
     ((or (smtpmail-doctor-findings--failed-p)
          (null (smtpmail-doctor-probe-replies facts "EHLO "))))
     (t
      (smtpmail-doctor-probe-look-up facts)
      (let ((login (smtpmail-doctor-facts-login facts)))
        (cond
         ((and (or login ended)
               (not (smtpmail-doctor-facts-secured facts))
               (smtpmail-doctor-findings--offers-p facts "STARTTLS"))
          (smtpmail-doctor-findings--add
           'failure "Login" "The server offers no login without TLS"
           (smtpmail-doctor-findings--sentence
            (smtpmail-doctor-findings--set 'required))))
         (login
          (smtpmail-doctor-findings--add
           (if ended 'failure 'warning) "Login"
           (format "There is a password (%s), and the server offers no login"
                   (smtpmail-auth-login-source login))
           "Use the port for users, 587 or 465: set `smtpmail-smtp-service'"))
         (t
          (smtpmail-doctor-findings--add
           'ok "Login" "none: the server offers none"))))))))

(defun smtpmail-doctor-findings--credentials (facts)
  "Tell of the password in FACTS, and what came of it."
  (let ((login (smtpmail-doctor-facts-login facts))
        (problem (smtpmail-doctor-facts-problem facts))
        (mechanisms (smtpmail-doctor-probe-mechanisms facts)))
    (cond
     (problem
      (smtpmail-doctor-findings--add
       'failure "Password" problem
       (if smtpmail-token-command
           "Run that program in a shell: it has to print a token, and nothing \
else; or correct `smtpmail-token-command'"
         "Complete that entry, or have an Emacs that can ask you send the mail")))
     ((null login) (smtpmail-doctor-findings--no-credentials facts))
     (t
      (smtpmail-doctor-findings--add
       'ok "Password"
       (if (smtpmail-doctor-login--typed-p login)
           (format "of user %s, as you typed it" (smtpmail-auth-login-user login))
         (format "of user %s, from %s" (smtpmail-auth-login-user login)
                 (smtpmail-auth-login-source login))))
      (cond
       ((null mechanisms)
        (smtpmail-doctor-findings--add
         'failure "Login"
         (format "None of the mechanisms is among ours: %s"
                 (mapconcat #'symbol-name
                            (or (smtpmail-auth-login-mechanisms login)
                                smtpmail-auth-supported)
                            " "))
         "Add one that the server offers to `smtpmail-auth-supported'"))
       ((smtpmail-doctor-facts-in-clear facts)
        (smtpmail-doctor-findings--add
         'failure "Login" "The connection is not encrypted, and the password \
would travel in clear"
         (if (smtpmail-doctor-findings--offers-p facts "STARTTLS")
             (smtpmail-doctor-findings--sentence
              (smtpmail-doctor-findings--set 'required))
           "Use a port with TLS: set `smtpmail-smtp-service' to 465, and \
`smtpmail-stream-type' to `ssl'")))
       ((smtpmail-doctor-facts-refused facts)
        (smtpmail-doctor-findings--refused facts login))
       ((smtpmail-doctor-facts-logged-in facts)
        (smtpmail-doctor-findings--add
         'ok "Login" (format "accepted, by %s"
                             (smtpmail-doctor-probe-mechanism facts))))
       (t
        (smtpmail-doctor-findings--add
         'failure "Login"
         (format "%s did not end well: %s" (car mechanisms)
                 (plist-get (smtpmail-doctor-facts-failure facts) :text))
         "Try again later, or with another mechanism first in \
`smtpmail-auth-supported'")))))))

(defun smtpmail-doctor-login--typed-p (login)
  "Return non-nil if the user typed LOGIN in this session."
  (equal (smtpmail-auth-login-source login) "typed"))

(defun smtpmail-doctor-findings--refused (facts login)
  "Tell that the server of FACTS refused LOGIN."
  (let ((user (smtpmail-auth-login-user login)))
    (smtpmail-doctor-findings--add
     'failure "Login" (plist-get (smtpmail-doctor-facts-refused facts) :text)
     (concat
      (cond
       ((smtpmail-doctor-login--typed-p login)
        "Type user name and password anew")
       ((eq (smtpmail-auth-login-kind login) 'token)
        (format "Correct `smtpmail-smtp-user', or see for what the %s is: it \
has to be for sending mail" (smtpmail-auth-login-source login)))
       (t (format "Correct user name or password in the %s"
                  (smtpmail-auth-login-source login))))
      (unless (string-search "@" user)
        (format "; many servers want the full address in the place of \"%s\"" user))
      ".  Large providers want a password made for this program, or a token"))
    (pcase-dolist (`(,text ,remedy)
                   (seq-take (smtpmail-doctor-lines-near
                              (smtpmail-doctor-probe-get facts :host)
                              smtpmail-smtp-service smtpmail-smtp-user user)
                             smtpmail-doctor-login--others-limit))
      (smtpmail-doctor-findings--add 'warning "Password" text remedy))))

(defun smtpmail-doctor-findings--no-credentials (facts)
  "Tell that there is no password for the server of FACTS, and why not."
  (let* ((host (smtpmail-doctor-probe-get facts :host))
         (near (smtpmail-doctor-lines-near host smtpmail-smtp-service
                                           smtpmail-smtp-user))
         (needed (or near
                     (smtpmail-doctor-probe-get facts :login-required)
                     (memql (smtpmail-doctor-probe-get facts :port) '(465 587)))))
    (pcase-dolist (`(,text ,remedy) near)
      (smtpmail-doctor-findings--add 'failure "Password" text remedy))
    (unless near
      (smtpmail-doctor-findings--add
       (if needed 'failure 'warning) "Password"
       (format "There is none for %s port %s" host smtpmail-smtp-service)
       (format "If the server wants one, add a line to %s: \"machine %s port %s \
login USER password SECRET\""
               (or (seq-find #'stringp auth-sources) "a file of `auth-sources'")
               host smtpmail-smtp-service)))))

(provide 'smtpmail-doctor-login)

;;; smtpmail-doctor-login.el ends here
