;;; smtpmail-auth-alias-tests.el --- Lines that call server or user otherwise  -*- lexical-binding: t -*-

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

;; Which lines of authinfo serve a server whose name, or whose user's name,
;; they write in another way; and, as important, which do not.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-auth-alias)
(require 'smtpmail-doctor-lines)

(defmacro smtpmail-auth-alias-tests--with (lines &rest body)
  "Run BODY while auth-source has LINES, a string."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-directory directory
     (let* ((netrc (expand-file-name "authinfo" directory))
            (auth-sources (list netrc))
            (auth-source-do-cache nil)
            (inhibit-message t))
       (with-temp-file netrc (insert ,lines "\n"))
       ,@body)))

(defun smtpmail-auth-alias-tests--login (host port user)
  "Return (USER PASSWORD) of the login of USER at HOST and PORT, or nil."
  (let* ((smtpmail-smtp-user user)
         (login (smtpmail-auth-lookup host port nil)))
    (and login
         (list (smtpmail-auth-login-user login)
               (smtpmail-auth-secret-bytes login)))))

(ert-deftest smtpmail-auth-alias-tests-lines ()
  "Each of these lines serves, or does not serve, the server asked for."
  (pcase-dolist
      (`(,line ,host ,port ,user ,expected)
       '(;; Other names of the server, the port said in either way.
         ("machine example.org port 587 login al" "smtp.example.org" 587 nil "al")
         ("machine mail.example.org port submission login al"
          "smtp.example.org" 587 nil "al")
         ("machine smtp.example.org port 465 login al"
          "mail.example.org" "smtps" nil "al")
         ("machine mail.example.co.uk port 587 login al"
          "smtp.example.co.uk" 587 nil "al")
         ("machine smtp.example.org port 587 login al" "example.org" 587 nil "al")
         ("machine smtp.example.org port 587 login al" "SMTP.Example.ORG" 587 nil "al")
         ;; A line for another name says its port, or it is about anything.
         ("machine example.org login al" "smtp.example.org" 587 nil nil)
         ("machine smtp.example.org login al" "smtp.example.org" 587 nil "al")
         ("machine mail.example.org port imap login al" "smtp.example.org" 587 nil nil)
         ("machine mail.example.org port 465 login al" "smtp.example.org" 587 nil nil)
         ;; Others' servers.
         ("machine smtp.example.net port 587 login al" "smtp.example.org" 587 nil nil)
         ("machine example.org port 587 login al" "evil-example.org" 587 nil nil)
         ("machine example.org port 587 login al" "bob.example.org" 587 nil nil)
         ("machine bob.example.org port 587 login al" "smtp.example.org" 587 nil nil)
         ("machine co.uk port 587 login al" "smtp.co.uk" 587 nil nil)
         ("machine mail.co.uk port 587 login al" "smtp.co.uk" 587 nil nil)
         ("machine mail.github.io port 587 login al" "smtp.github.io" 587 nil nil)
         ("machine 0.0.1 port 587 login al" "127.0.0.1" 587 nil nil)
         ("machine smtp.localhost port 587 login al" "localhost" 587 nil nil)
         ;; The user, whom we call as the variable does.
         ("machine smtp.example.org port 587 login al" "smtp.example.org" 587
          "al@example.org" "al@example.org")
         ("machine smtp.example.org login al@example.org" "smtp.example.org" 587
          "al" "al")
         ("machine mail.example.org port 587 login al@example.org"
          "smtp.example.org" 587 "al" "al")
         ("machine smtp.example.org port 587" "smtp.example.org" 587 "al" "al")
         ("machine smtp.example.org port 587 login al" "smtp.example.org" 587
          "al@example.net" nil)
         ("machine smtp.example.org port 587 login al@example.net"
          "smtp.example.org" 587 "al" nil)
         ("machine smtp.example.org port 587 login bob" "smtp.example.org" 587 "al" nil)
         ("machine mail.example.org port 587 login bob" "smtp.example.org" 587 "al" nil)
         ("machine mail.example.org port 587" "smtp.example.org" 587 "al" nil)))
    (ert-info ((format "%s for %s@%s:%s" line user host port))
      (smtpmail-auth-alias-tests--with (concat line " password pw")
        (should (equal (smtpmail-auth-alias-tests--login host port user)
                       (and expected (list expected "pw"))))))))

(ert-deftest smtpmail-auth-alias-tests-own-line-first ()
  "A line with the names asked for goes before those with others."
  (smtpmail-auth-alias-tests--with
      (concat "machine example.org port 587 login al password 1\n"
              "machine smtp.example.org port 587 login al@example.org password 2\n"
              "machine smtp.example.org port submission login al password 3")
    (should (equal (smtpmail-auth-alias-tests--login "smtp.example.org" 587 "al")
                   '("al" "3")))
    (should (equal (smtpmail-auth-alias-tests--login "smtp.example.org" 587 nil)
                   '("al@example.org" "2")))))

(ert-deftest smtpmail-auth-alias-tests-only-files ()
  "Stores that fill in the port by themselves are not searched for other names."
  (let* ((asked nil)
         (auth-source-do-cache nil)
         (auth-sources '(test)))
    (cl-letf (((symbol-function 'auth-source-backend-parse)
               (lambda (_)
                 (auth-source-backend
                  :type 'test :source "."
                  :search-function (lambda (&rest spec)
                                     (push (plist-get spec :host) asked)
                                     nil)))))
      (should-not (smtpmail-auth-alias-tests--login "smtp.example.org" 587 nil))
      (should (equal (delete-dups asked) '("smtp.example.org"))))))

(ert-deftest smtpmail-auth-alias-tests-said ()
  "It is said whose line it is: in *Messages* once, and to the doctor always."
  (put 'smtpmail-auth--tell-other-names 'told nil)
  (smtpmail-auth-alias-tests--with
      (format "machine mail.example.org port 587 login al password %s"
              smtpmail-test-canary)
    (let* ((smtpmail-smtp-user "al@example.org")
           login
           (log (smtpmail-test-log-of
                 (setq login (smtpmail-auth-lookup "smtp.example.org" 587 nil))
                 (smtpmail-auth-lookup "smtp.example.org" 587 nil))))
      (should (equal log "Login at smtp.example.org as al@example.org with the \
password of the line for al@mail.example.org\n"))
      (should (string-match-p "authinfo line for al@mail\\.example\\.org, a name of \
smtp\\.example\\.org, who is al@example\\.org)\\'"
                              (smtpmail-auth-login-source login)))
      (smtpmail-test-should-hide-canary log (smtpmail-auth-login-source login)))))

(ert-deftest smtpmail-auth-alias-tests-corrected-line ()
  "A line for another name that was refused is read anew once it is corrected."
  (smtpmail-auth-alias-tests--with "machine example.org port 587 login al password old"
    (let* ((auth-source-do-cache t)
           (login (smtpmail-auth-lookup "smtp.example.org" 587 nil)))
      (with-temp-file netrc
        (insert "machine example.org port 587 login al password new\n"))
      (smtpmail-auth-refused login "smtp.example.org" 587)
      (should (equal (smtpmail-auth-secret-bytes
                      (smtpmail-auth-renewed login "smtp.example.org" 587))
                     "new")))))

(ert-deftest smtpmail-auth-alias-tests-on-the-wire ()
  "A server whose name is written otherwise gets the login of that line."
  (smtpmail-test-with-server (server "--user" "alice@example.org"
                                     "--password" smtpmail-test-canary "--require-auth")
    (smtpmail-auth-alias-tests--with
        (format "machine localhost port %d password %s"
                smtpmail-smtp-service smtpmail-test-canary)
      (let ((smtpmail-smtp-user "alice@example.org"))
        (should-not (smtpmail-test-send))
        (should (smtpmail-test-message server))))))

(provide 'smtpmail-auth-alias-tests)

;;; smtpmail-auth-alias-tests.el ends here
