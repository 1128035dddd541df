;;; smtpmail-outbox-rest.el --- accounts whose login was refused  -*- lexical-binding: t -*-

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

;; After a refused login an account rests: servers lock accounts that try too
;; often.  Its queued mail waits, and no flush logs in again, until the user
;; says so, a login succeeds, or what logins are made of has changed.  What is
;; sent at once is not held up: there the user is asked anyway.
;;
;; This is known to this Emacs only; another one has its own credentials.

;;; Code:

(require 'smtpmail-options)
(require 'smtpmail-auth)

(defvar smtpmail-outbox-rest--accounts nil
  "Accounts that rest: alist of (HOST PORT USER) and (WHY . FINGERPRINT).")

(defun smtpmail-outbox-rest--key (host port)
  "Return what names the account at HOST and PORT."
  (list host port smtpmail-smtp-user))

(defun smtpmail-outbox-rest--fingerprint ()
  "Return a text that changes with what logins are made of."
  (secure-hash
   'sha256
   (prin1-to-string
    (list auth-sources
          (mapcar (lambda (source)
                    (let ((file (if (consp source) (plist-get source :source)
                                  source)))
                      (and (stringp file) (not (file-remote-p file))
                           (file-attribute-modification-time
                            (file-attributes file)))))
                  (if (listp auth-sources) auth-sources (list auth-sources)))
          (bound-and-true-p smtpmail-auth-credentials)
          smtpmail-auth-supported
          smtpmail-stream-type))))

(defun smtpmail-outbox-rest-note (report host port)
  "Note what REPORT of a delivery to HOST at PORT says of the login there."
  (let ((key (smtpmail-outbox-rest--key host port))
        (failure (plist-get report :failure)))
    (cond
     ((plist-get report :logged-in)
      (setq smtpmail-outbox-rest--accounts
            (assoc-delete-all key smtpmail-outbox-rest--accounts)))
     ((eq (plist-get failure :kind) 'authentication)
      (setf (alist-get key smtpmail-outbox-rest--accounts nil nil #'equal)
            (cons (plist-get failure :text)
                  (smtpmail-outbox-rest--fingerprint)))))))

(defun smtpmail-outbox-rest-reason (host port)
  "Return why queued mail for HOST at PORT has to wait, or nil.
Ask whether to try again, if somebody is there."
  (let* ((key (smtpmail-outbox-rest--key host port))
         (rest (alist-get key smtpmail-outbox-rest--accounts nil nil #'equal)))
    (when (and rest
               (or (not (equal (cdr rest) (smtpmail-outbox-rest--fingerprint)))
                   (and (smtpmail-auth-can-prompt-p)
                        (y-or-n-p
                         (format "The last login at %s was refused: %s.  \
Try again? "
                                 host (car rest))))))
      (setq smtpmail-outbox-rest--accounts
            (assoc-delete-all key smtpmail-outbox-rest--accounts)
            rest nil))
    (and rest
         (format "waiting, because the last login at %s was refused (%s)"
                 host (car rest)))))

(provide 'smtpmail-outbox-rest)

;;; smtpmail-outbox-rest.el ends here
