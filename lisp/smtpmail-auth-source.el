;;; smtpmail-auth-source.el --- What auth-source has for a server  -*- lexical-binding: t -*-

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

;; Which entry of auth-source is that of a server, and the login that it makes.
;;
;; What may not live here: the order in which logins are looked for
;; (smtpmail-auth.el).

;;; Code:

(require 'auth-source)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-auth-login)
(require 'smtpmail-services)

(defvar smtpmail-smtp-user)

;;;; auth-source

(defun smtpmail-auth--search (&rest spec)
  "Return the first result of `auth-source-search' for SPEC, or nil.
Unlike there, that nothing was found is not remembered: a line that the
user adds to the file is found by the next mail."
  (let ((auth-source-creation-prompts
         '((user . "SMTP user name for %h: ")
           (secret . "SMTP password for %u@%h: "))))
    (or (car (apply #'auth-source-search spec))
        (ignore (auth-source-forget spec)))))

(defun smtpmail-auth--search-server (host port ask)
  "Search auth-source for HOST and PORT; create what is missing if ASK.
A line for port smtp is found for port 25 as well, and the like."
  (let* ((others (smtpmail-services-other-port-keys port))
         (spec (lambda (port create)
                 (list :host host :port port :user smtpmail-smtp-user :max 1
                       :require (and ask '(:user :secret))
                       :create create))))
    (or (apply #'smtpmail-auth--search
               (funcall spec (smtpmail-services-port-key port)
                        (and ask (null others))))
        (and others
             (apply #'smtpmail-auth--search (funcall spec others nil)))
        (and ask others
             (apply #'smtpmail-auth--search
                    (funcall spec (smtpmail-services-port-key port) t))))))

(defun smtpmail-auth--secret-of (found)
  "Return the secret of FOUND, a result of auth-source, or nil.
A line end that a program printed after a token does not belong to it."
  (let* ((secret (plist-get found :secret))
         (value (if (functionp secret) (funcall secret) secret)))
    (and (stringp value)
         (smtpmail-services-given (string-trim-right value "[\r\n]+")))))

(defun smtpmail-auth--mechanism-list (value)
  "Return VALUE of `:smtp-auth', a string or list, as symbols in lower case."
  (mapcan (lambda (item)
            (mapcar (lambda (name)
                      (intern (smtpmail-services-ascii-downcase name)))
                    (split-string (format "%s" item) "[ ,]+" t)))
          (ensure-list value)))

(defun smtpmail-auth--file-of (found host port)
  "Return the netrc file that FOUND, for HOST and PORT, is a line of, or nil."
  (seq-some
   (lambda (source)
     (let ((file (if (stringp source) source (plist-get source :source))))
       (and (stringp file)
            (file-regular-p file)
            (not (string-match-p "\\.\\(plist\\|json\\)\\(\\.gpg\\)?\\'" file))
            (ignore-errors
              (auth-source-netrc-parse
               :file file :max 1 :host host
               :user (plist-get found :user)
               :port (cons (smtpmail-services-port-key port)
                           (smtpmail-services-other-port-keys port))))
            file)))
   (seq-filter (lambda (source) (or (stringp source) (keywordp (car-safe source))))
               auth-sources)))

(defun smtpmail-auth--from-auth-source (host port ask)
  "Return the login for HOST and PORT that auth-source has, or nil.
The user is asked for what it lacks if ASK, and for the password of a
known user name always, if somebody is there."
  (let* ((found (smtpmail-auth--search-server host port ask))
         (user (smtpmail-services-given (plist-get found :user)))
         (typed (and user (smtpmail-auth--typed 'secret host port user)))
         (secret (and user (not typed)
                      (or (smtpmail-auth--secret-of found)
                          ;; The certificate says who we are.
                          (and (equal (smtpmail-auth--mechanism-list
                                       (plist-get found :smtp-auth))
                                      '(external))
                               "")))))
    (when (and user (not typed) (not secret) (smtpmail-auth-can-prompt-p))
      (setq found (smtpmail-auth--search
                   :max 1 :host host :port (smtpmail-services-port-key port)
                   :user user :require '(:user :secret) :create t)
            secret (smtpmail-auth--secret-of found)))
    (when (or typed secret)
      (let* ((saver (plist-get found :save-function))
             (file (and (not saver)
                        (smtpmail-auth--file-of found host port))))
        (smtpmail-auth--make-login
         :host host :port port :user user
         :secret (or typed (smtpmail-auth--veil secret))
         :mechanisms (smtpmail-auth--mechanism-list
                      (plist-get found :smtp-auth))
         :source (cond ((or typed saver) "typed")
                       (file (format "auth-source (%s line for %s@%s)"
                                     (abbreviate-file-name file) user host))
                       (t (format "auth-source (%s@%s)" user host)))
         :save-function (and (not typed)
                             (smtpmail-auth--veil-function saver))
         :asked (and saver (not typed) t))))))

(provide 'smtpmail-auth-source)

;;; smtpmail-auth-source.el ends here
