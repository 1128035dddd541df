;;; smtpmail-doctor-lines.el --- why lines of auth-source do not match  -*- lexical-binding: t -*-

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

;; Which entries of auth-source are nearly those of a server, and what keeps
;; them from being used.  Secrets are not read here.

;;; Code:

(require 'auth-source)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-auth-alias)
(require 'smtpmail-services)

(defconst smtpmail-doctor-lines--limit 1000
  "How many entries of auth-source are looked at.")

(defun smtpmail-doctor-lines--all ()
  "Return all entries of auth-source, plists without secrets."
  ;; What is found for every host is no answer to keep.
  (let ((auth-source-do-cache nil))
    (mapcar (lambda (entry)
              (list :host (plist-get entry :host)
                    :port (plist-get entry :port)
                    :user (plist-get entry :user)
                    :secret (and (plist-get entry :secret) t)))
            (ignore-errors
              (auth-source-search :host t :max smtpmail-doctor-lines--limit)))))

(defun smtpmail-doctor-lines--domain (host)
  "Return HOST without its first label, or all of it if it has only one."
  (if (string-match "\\`[^.]+\\.\\(.+\\)" host)
      (match-string 1 host)
    host))

(defun smtpmail-doctor-lines--akin-p (one other)
  "Return non-nil if the hosts ONE and OTHER may be of the same provider."
  (let ((one-domain (smtpmail-doctor-lines--domain one))
        (other-domain (smtpmail-doctor-lines--domain other)))
    (or (equal one other-domain)
        (equal one-domain other)
        (and (equal one-domain other-domain)
             (string-search "." one-domain)))))

(defun smtpmail-doctor-lines--name (entry)
  "Return how ENTRY begins in a netrc file."
  (concat "machine " (plist-get entry :host)
          (and (plist-get entry :port)
               (format " port %s" (plist-get entry :port)))
          (and (plist-get entry :user)
               (format " login %s" (plist-get entry :user)))))

(defun smtpmail-doctor-lines--why (entry host service user used)
  "Return (TEXT REMEDY), why ENTRY does not serve HOST at SERVICE, or nil.
USER is as in `smtpmail-smtp-user', USED the user whose line served, or nil.
The value is nil, too, if ENTRY has nothing to do with that server."
  (let* ((entry-host (smtpmail-services-ascii-downcase
                      (format "%s" (plist-get entry :host))))
         (host (smtpmail-services-ascii-downcase host))
         (port (plist-get entry :port))
         (same-port (or (null port)
                        (equal (smtpmail-services-port port)
                               (smtpmail-services-port service))))
         (name (smtpmail-doctor-lines--name entry)))
    (cond
     ((equal entry-host host)
      (cond
       ((not same-port)
        (list (format "The line \"%s\" is for port %s, not for %s" name port service)
              (format "In that line, write \"port %s\"" service)))
       ((and (or (stringp user) (consp user))
             (not (member (plist-get entry :user) (ensure-list user))))
        (list (format "The line \"%s\" is not for the user %s" name
                      (string-join (ensure-list user) " or "))
              "Correct `smtpmail-smtp-user', or \"login\" in that line"))
       ((not (plist-get entry :secret))
        (list (format "The line \"%s\" has no password" name)
              "Add \"password\" and the password to that line"))
       ((and used (plist-get entry :user) (not (equal used (plist-get entry :user))))
        (list (format "The line \"%s\" stands behind the one that serves" name)
              (format "If it is the right one, set `smtpmail-smtp-user' to \"%s\""
                      (plist-get entry :user))))))
     ((and (null port) (member entry-host (smtpmail-auth-alias-hosts host)))
      (list (format "The line \"%s\" is for %s and has no port, so it may be \
about something else than mail" name entry-host)
            (format "If it is about mail, add \"port %s\" to it: then it serves %s, \
too" service host)))
     ((smtpmail-doctor-lines--akin-p entry-host host)
      (list (format "The line \"%s\" is for %s, not for %s" name entry-host host)
            (format "If its password is right for %s, too, add the line \
\"machine %s port %s login %s password ...\""
                    host host service (or (plist-get entry :user) "USER")))))))

(defun smtpmail-doctor-lines-near (host service user &optional used)
  "Return ((TEXT REMEDY) ...) of the entries that nearly serve HOST at SERVICE.
USER is as in `smtpmail-smtp-user', USED the user whose line served."
  (seq-uniq
   (delq nil (mapcar (lambda (entry)
                       (smtpmail-doctor-lines--why entry host service user used))
                     (smtpmail-doctor-lines--all)))))

(provide 'smtpmail-doctor-lines)

;;; smtpmail-doctor-lines.el ends here
