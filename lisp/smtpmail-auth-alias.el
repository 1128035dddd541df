;;; smtpmail-auth-alias.el --- Other names of a server and its user  -*- lexical-binding: t -*-

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

;; A line of authinfo may call a server example.org that is smtp.example.org,
;; and a user alice who is alice@example.org.  Which names mean the same, is
;; decided here, and narrowly: a password goes to nobody whom the line does not
;; mean.
;;
;; - Names of a server differ in their first label only, one of a few that
;;   mean mail, or have none there.  What is left is no public suffix.
;; - A line is taken for another name only if it says the port itself: one
;;   without may be about anything, as the web server.
;; - A user with and without the domain is the same only if that is the
;;   server's own domain.

;;; Code:

(require 'seq)
(require 'subr-x)
(require 'smtpmail-services)

(autoload 'url-domsuf-cookie-allowed-p "url-domsuf")

(defconst smtpmail-auth-alias--labels '("smtp" "mail" "submission")
  "First labels of names of a server that mean nothing but mail.")

(defun smtpmail-auth-alias--registrable-p (domain)
  "Return non-nil if somebody may own DOMAIN: it is no public suffix."
  (and (string-search "." domain)
       ;; It says that it uncompresses its list.
       (let ((inhibit-message t)
             (message-log-max nil))
         (url-domsuf-cookie-allowed-p domain))))

(defun smtpmail-auth-alias-domain (host)
  "Return the mail domain whose server HOST is by its name, or nil."
  (let* ((name (smtpmail-services-ascii-downcase host))
         (labels (split-string name "\\."))
         (domain (if (member (car labels) smtpmail-auth-alias--labels)
                     (string-join (cdr labels) ".")
                   name)))
    (and (string-match-p "\\`[[:alnum:]_.-]+\\.[[:alpha:]][[:alnum:]-]*\\'" domain)
         (smtpmail-auth-alias--registrable-p domain)
         domain)))

(defun smtpmail-auth-alias-hosts (host)
  "Return the other names of the server HOST."
  (when-let ((domain (smtpmail-auth-alias-domain host)))
    (delete host
            (cons domain
                  (mapcar (lambda (label) (concat label "." domain))
                          smtpmail-auth-alias--labels)))))

(defun smtpmail-auth-alias-users (user host)
  "Return the other names of USER at the server HOST, a list."
  (when-let ((domain (smtpmail-auth-alias-domain host)))
    (if (string-match "@" user)
        (and (smtpmail-services-given (substring user 0 (match-beginning 0)))
             (equal domain (smtpmail-services-ascii-downcase
                            (substring user (match-end 0))))
             (list (substring user 0 (match-beginning 0))))
      (list (concat user "@" domain)))))

(provide 'smtpmail-auth-alias)

;;; smtpmail-auth-alias.el ends here
