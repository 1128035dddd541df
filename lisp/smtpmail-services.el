;;; smtpmail-services.el --- Hosts, ports and their entries for smtpmail  -*- lexical-binding: t -*-

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

;; The one place that compares servers: hosts in any case, ports whether
;; they are written as integer, digits or service name, without
;; /etc/services.  The tables of the 2007 manual, lists of entries that
;; start with (HOST PORT), are searched here.
;;
;; What may not live here: values of user options, files, the network.

;;; Code:

(eval-when-compile (require 'subr-x))

(require 'seq)

(defconst smtpmail-services--names
  '((25 "smtp") (465 "submissions" "smtps") (587 "submission"))
  "Ports and their names (RFC 6409, RFC 8314, and smtps as before that).")

(defun smtpmail-services-ascii-downcase (text)
  "Return TEXT with A to Z in lower case, in every locale.
Under Turkish rules LOGIN would get a dotless i."
  (with-case-table ascii-case-table (downcase text)))

(defun smtpmail-services-port (port)
  "Return PORT as an integer, or in lower case if it is an unknown name.
PORT is an integer, digits, a service name, or nil for the default, smtp."
  (cond
   ((null port) 25)
   ((integerp port) port)
   (t (let ((name (smtpmail-services-ascii-downcase (format "%s" port))))
        (cond ((string-match-p "\\`[0-9]+\\'" name) (string-to-number name))
              ((car (seq-find (lambda (service) (member name (cdr service)))
                              smtpmail-services--names)))
              (t name))))))

(defun smtpmail-services-port-key (port)
  "Return PORT as auth-source is asked for it, always a string."
  (if port (format "%s" port) "smtp"))

(defun smtpmail-services-other-port-keys (port)
  "Return the other ways, strings, in which PORT may be written."
  (let ((number (smtpmail-services-port port)))
    (remove (smtpmail-services-port-key port)
            (cons (format "%s" number)
                  (alist-get number smtpmail-services--names)))))

(defun smtpmail-services-same-server-p (entry host port)
  "Return non-nil if ENTRY, (HOST PORT ...), is about HOST and PORT."
  (let ((entry-host (car-safe entry)))
    (and (stringp entry-host)
         (stringp host)
         ;; The defaults of 2007 have an empty host: they match nothing.
         (not (string-empty-p entry-host))
         (equal (smtpmail-services-ascii-downcase entry-host)
                (smtpmail-services-ascii-downcase host))
         (equal (smtpmail-services-port (car-safe (cdr entry)))
                (smtpmail-services-port port)))))

(defun smtpmail-find-credentials (cred server port)
  "Return the first entry of CRED, a list, about SERVER and PORT, or nil.
Ports are compared as numbers, whether they are written as 587, \"587\"
or \"submission\"."
  (seq-find (lambda (entry) (smtpmail-services-same-server-p entry server port))
            cred))

(defun smtpmail-cred-server (cred) "Return the host of CRED." (nth 0 cred))
(defun smtpmail-cred-port (cred) "Return the port of CRED." (nth 1 cred))
(defun smtpmail-cred-key (cred) "Return the key file of CRED." (nth 2 cred))
(defun smtpmail-cred-user (cred) "Return the user name of CRED." (nth 2 cred))
(defun smtpmail-cred-cert (cred) "Return the certificate of CRED." (nth 3 cred))
(defun smtpmail-cred-passwd (cred) "Return the password of CRED." (nth 3 cred))

(defun smtpmail-services-given (text)
  "Return TEXT if it is a string that is not empty, else nil."
  (and (stringp text) (not (string-empty-p text)) text))

(provide 'smtpmail-services)

;;; smtpmail-services.el ends here
