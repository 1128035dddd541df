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

(autoload 'smtpmail-auth-alias-hosts "smtpmail-auth-alias")
(autoload 'smtpmail-auth-alias-users "smtpmail-auth-alias")

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
A line for port smtp is found for port 25 as well, and the like, and one for
another name of the server or its user if there is none for these names."
  (or (smtpmail-auth--search-port host port smtpmail-smtp-user
                                  (and ask '(:user :secret)))
      (smtpmail-auth--search-other-names host port)
      (and ask
           (smtpmail-auth--search
            :host host :port (smtpmail-services-port-key port)
            :user smtpmail-smtp-user :max 1 :require '(:user :secret)
            :create t))))

(defun smtpmail-auth--search-port (host port user require)
  "Search auth-source for USER at HOST; PORT may be written in another way.
What is found has what is in REQUIRE."
  (seq-some (lambda (key)
              (and key (smtpmail-auth--search :host host :port key :user user
                                              :max 1 :require require
                                              :create nil)))
            (list (smtpmail-services-port-key port)
                  (smtpmail-services-other-port-keys port))))

(defun smtpmail-auth--search-other-names (host port)
  "Search auth-source for other names of HOST at PORT and of its user.
What is found has a password; it says in :smtpmail-line whose line it is."
  (let ((users (smtpmail-auth--users host)))
    (or (seq-some (lambda (names)
                    (smtpmail-auth--search-other host port host names))
                  ;; This server's lines may be without a port, the user's
                  ;; name was looked for.
                  (seq-filter (lambda (names) (not (equal (car names) (cdr names))))
                              users))
        (let ((auth-sources (smtpmail-auth--files)))
          (and auth-sources
               (seq-some
                (lambda (other)
                  (seq-some (lambda (names)
                              (smtpmail-auth--search-other host port other names))
                            users))
                (smtpmail-auth-alias-hosts host)))))))

(defun smtpmail-auth--tell-other-names (found host)
  "Tell, once in a session, if FOUND for HOST is a line with other names."
  (let ((line (plist-get found :smtpmail-line)))
    (when (and line
               (not (member line (get 'smtpmail-auth--tell-other-names 'told))))
      (put 'smtpmail-auth--tell-other-names 'told
           (cons line (get 'smtpmail-auth--tell-other-names 'told)))
      (message "Login at %s as %s with the password of the line for %s@%s"
               (smtpmail-visible-text host)
               (smtpmail-visible-text (plist-get found :user))
               (smtpmail-visible-text (cdr line))
               (smtpmail-visible-text (car line))))))

(defun smtpmail-auth--users (host)
  "Return what users at HOST may be called in auth-source.
It is a list of (NAME . OURS): NAME there is OURS in `smtpmail-smtp-user'.
Both are nil if any user will do."
  (let ((wanted (seq-filter #'stringp (ensure-list smtpmail-smtp-user))))
    (if wanted
        (mapcan (lambda (user)
                  (cons (cons user user)
                        (mapcar (lambda (other) (cons other user))
                                (smtpmail-auth-alias-users user host))))
                wanted)
      '((nil)))))

(defun smtpmail-auth--search-other (host port other names)
  "Search auth-source for OTHER, a name of HOST, at PORT.
NAMES is an element of `smtpmail-auth--users'."
  (let* ((found (smtpmail-auth--search-port other port (car names) '(:secret)))
         (user (plist-get found :user)))
    (when (and found
               (smtpmail-services-given user)
               (or (equal host other) (plist-get found :port)))
      (append (list :smtpmail-line (cons other user)
                    :user (or (cdr names) user))
              found))))

(defun smtpmail-auth--files ()
  "Return the files of `auth-sources' that have lines, as they stand there."
  (seq-filter
   (lambda (source)
     (let ((file (if (stringp source) source
                   (and (keywordp (car-safe source)) (plist-get source :source)))))
       (and (stringp file)
            (file-regular-p file)
            (not (string-match-p "\\.\\(plist\\|json\\)\\(\\.gpg\\)?\\'" file)))))
   auth-sources))

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

(defun smtpmail-auth--file-of (user host port)
  "Return the netrc file with the line of USER at HOST and PORT, or nil."
  (seq-some
   (lambda (source)
     (let ((file (if (stringp source) source (plist-get source :source))))
       (and (ignore-errors
              (auth-source-netrc-parse
               :file file :max 1 :host host :user user
               :port (cons (smtpmail-services-port-key port)
                           (smtpmail-services-other-port-keys port))))
            file)))
   (smtpmail-auth--files)))

(defun smtpmail-auth--source (found user host port)
  "Return where FOUND, for USER at HOST and PORT, comes from."
  (let* ((line (plist-get found :smtpmail-line))
         (line-host (or (car line) host))
         (line-user (or (cdr line) user))
         (file (smtpmail-auth--file-of line-user line-host port)))
    (concat (if file
                (format "auth-source (%s line for %s@%s"
                        (abbreviate-file-name file) line-user line-host)
              (format "auth-source (%s@%s" line-user line-host))
            (unless (equal line-host host) (format ", a name of %s" host))
            (unless (equal line-user user) (format ", who is %s" user))
            ")")))

(defun smtpmail-auth--from-auth-source (host port ask)
  "Return the login for HOST and PORT that auth-source has, or nil.
The user is asked for what it lacks if ASK, and for the password of a
known user name always, if somebody is there."
  (let* ((found (smtpmail-auth--search-server host port ask))
         (ours (smtpmail-services-given smtpmail-smtp-user))
         (user (or (smtpmail-services-given (plist-get found :user))
                   ;; A line may leave that to the variable.
                   (and ours
                        (or found (smtpmail-auth--typed 'secret host port ours))
                        ours)))
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
      (unless typed
        (smtpmail-auth--tell-other-names found host))
      (let ((saver (plist-get found :save-function)))
        (smtpmail-auth--make-login
         :host host :port port :user user
         :line-host (car (plist-get found :smtpmail-line))
         :secret (or typed (smtpmail-auth--veil secret))
         :mechanisms (smtpmail-auth--mechanism-list
                      (plist-get found :smtp-auth))
         :source (if (or typed saver) "typed"
                   (smtpmail-auth--source found user host port))
         :save-function (and (not typed)
                             (smtpmail-auth--veil-function saver))
         :asked (and saver (not typed) t))))))

(provide 'smtpmail-auth-source)

;;; smtpmail-auth-source.el ends here
