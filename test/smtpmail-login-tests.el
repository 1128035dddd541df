;;; smtpmail-login-tests.el --- When a password travels, and what its refusal means  -*- lexical-binding: t -*-

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

;; When a password may travel, what a refusal of it means, and how often it
;; is tried.  A server named 0.0.0.0 is this machine, but not by its name.

;;; Code:

(require 'smtpmail-test)

(defun smtpmail-login-tests--auth-commands (server)
  "Return the mechanisms of all AUTH commands that SERVER got, in their order."
  (let (mechanisms)
    (dolist (line (split-string (smtpmail-test-log server) "\r?\n"))
      (when (string-match "^C: AUTH \\([A-Z0-9-]+\\)" line)
        (push (match-string 1 line) mechanisms)))
    (nreverse mechanisms)))

(defun smtpmail-login-tests--send (server host password)
  "Send to SERVER, named HOST, with PASSWORD of alice; return the error text.
The canary must be in no buffer but the user's own."
  (let* ((smtpmail-smtp-server host)
         (smtpmail-auth-credentials
          `((,host ,(smtpmail-test-server-port server) "alice" ,password)))
         why
         (shown (smtpmail-test-log-of (setq why (smtpmail-test-send)))))
    (apply #'smtpmail-test-should-hide-canary shown (or why "")
           (mapcar (lambda (buffer) (with-current-buffer buffer (buffer-string)))
                   (cons (messages-buffer) (smtpmail-test-traces))))
    why))

(defconst smtpmail-login-tests--in-clear
  "Sending failed: the connection is not encrypted, and the password would \
travel in clear; set `smtpmail-stream-type' to `plain' only if you want that"
  "The error where a password would have to travel in clear.")

;;;; In clear

(ert-deftest smtpmail-login-tests-in-clear ()
  "A password goes in clear to this machine by its name, or if told so.
What does not show the password goes anyway."
  (pcase-dolist
      (`(,host ,type ,mechanisms ,expected)
       '(("0.0.0.0" nil "PLAIN LOGIN" nil)
         ("127.1" nil "PLAIN" nil)
         ("0.0.0.0" plain "PLAIN" ("PLAIN"))
         ("0.0.0.0" plain "LOGIN" ("LOGIN"))
         ("0.0.0.0" nil "PLAIN CRAM-MD5" ("CRAM-MD5"))
         ("localhost" nil "PLAIN" ("PLAIN"))
         ("127.0.0.1" nil "LOGIN" ("LOGIN"))))
    (ert-info ((format "%S" (list host type mechanisms)))
      (smtpmail-test-with-server (server "--user" "alice"
                                         "--password" smtpmail-test-canary
                                         "--caps" (concat "AUTH " mechanisms))
        (let ((smtpmail-stream-type type))
          (should (equal (smtpmail-login-tests--send server host smtpmail-test-canary)
                         (and (null expected) smtpmail-login-tests--in-clear))))
        (should (equal (smtpmail-login-tests--auth-commands server) expected))
        (should (= (length (smtpmail-test-messages server)) (if expected 1 0)))))))

(ert-deftest smtpmail-login-tests-this-machine ()
  "Names of this machine, and names that only look like one."
  (pcase-dolist (`(,name ,expected)
                 '(("localhost" t) ("LocalHost" t) ("127.0.0.1" t) ("127.8.9.10" t)
                   ("::1" t) ("[::1]" t)
                   ("localhost.example.org" nil) ("notlocalhost" nil)
                   ("127.0.0.1.example.org" nil) ("127.evil.example" nil)
                   ("x\n127.0.0.1" nil) ("::11" nil) ("1::1" nil) ("[::1" nil)
                   ("mail" nil)))
    (ert-info (name)
      (should (eq expected (and (smtpmail--this-machine-p name) t))))))

;;;; Refusals

(ert-deftest smtpmail-login-tests-refusals ()
  "A reply blames the mechanism, the password, or the moment.
After 504, 534, 538 and 5.5.4 the next mechanism is tried; after any other
none, but one more under TLS when CRAM-MD5 drew 535."
  (pcase-dolist
      (`(,rule ,mechanisms ,expected ,why)
       '(("auth#1=reply 504 No" "CRAM-MD5 PLAIN LOGIN" ("CRAM-MD5" "PLAIN") nil)
         ("auth#1=reply 534 No" "CRAM-MD5 PLAIN LOGIN" ("CRAM-MD5" "PLAIN") nil)
         ("auth#1=reply 538 No" "CRAM-MD5 PLAIN LOGIN" ("CRAM-MD5" "PLAIN") nil)
         ("auth#1=reply 501 5.5.4 No" "PLAIN LOGIN" ("PLAIN" "LOGIN") nil)
         ("auth#1=reply 535 No" "CRAM-MD5 PLAIN LOGIN" ("CRAM-MD5" "PLAIN") nil)
         ("auth=reply 535 No" "CRAM-MD5 PLAIN LOGIN" ("CRAM-MD5" "PLAIN")
          "Sending failed: 535 No in response to AUTH")
         ("auth#1=reply 535 No" "PLAIN LOGIN" ("PLAIN")
          "Sending failed: 535 No in response to AUTH")
         ("auth#1=reply 550 No" "CRAM-MD5 PLAIN" ("CRAM-MD5")
          "Sending failed: 550 No in response to AUTH")
         ("auth=reply 504 No" "CRAM-MD5 PLAIN LOGIN" ("CRAM-MD5" "PLAIN" "LOGIN")
          "Sending failed: Not logged in at localhost: the server takes none of \
the mechanisms it offers: 504 No")
         ("auth=reply 454 4.7.0 Later" "CRAM-MD5 PLAIN" ("CRAM-MD5")
          "Sending failed: 454 4.7.0 Later in response to AUTH")))
    (ert-info ((format "%S" (list rule mechanisms)))
      (smtpmail-test-with-server (server "--user" "alice"
                                         "--password" smtpmail-test-canary
                                         "--caps-tls" (concat "AUTH " mechanisms)
                                         "--on" rule)
        (should (equal (smtpmail-login-tests--send server "localhost"
                                                   smtpmail-test-canary)
                       why))
        (should (equal (smtpmail-login-tests--auth-commands server) expected))
        (should (= (length (smtpmail-test-messages server)) (if why 0 1)))))))

(ert-deftest smtpmail-login-tests-refused-in-clear ()
  "In clear, a password that CRAM-MD5 was refused for is not shown after that."
  (smtpmail-test-with-server (server "--user" "alice"
                                     "--password" smtpmail-test-canary
                                     "--caps" "AUTH CRAM-MD5 PLAIN"
                                     "--on" "auth#1=reply 535 No")
    (should (equal (smtpmail-login-tests--send server "0.0.0.0" smtpmail-test-canary)
                   "Sending failed: 535 No in response to AUTH"))
    (should (equal (smtpmail-login-tests--auth-commands server) '("CRAM-MD5")))))

(ert-deftest smtpmail-login-tests-later ()
  "454 is tried again, with the same password, and the login is not forgotten."
  (smtpmail-test-with-server (server "--user" "alice"
                                     "--password" smtpmail-test-canary
                                     "--caps-tls" "AUTH PLAIN"
                                     "--on" "auth#1=reply 454 4.7.0 Later")
    (let ((smtpmail-retries 2))
      (should-not (smtpmail-login-tests--send server "localhost"
                                              smtpmail-test-canary)))
    (should (equal (smtpmail-login-tests--auth-commands server) '("PLAIN" "PLAIN")))
    (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))))

(ert-deftest smtpmail-login-tests-long-and-utf-8 ()
  "Passwords outside ASCII go as UTF-8, and long ones whole."
  (dolist (password (list "Pässwort-€" (make-string 700 ?x)))
    (dolist (mechanism '("CRAM-MD5" "PLAIN" "LOGIN"))
      (ert-info ((format "%s %s" mechanism password))
        (smtpmail-test-with-server (server "--user" "alice" "--password" password
                                           "--caps-tls" (concat "AUTH " mechanism))
          (should-not (smtpmail-login-tests--send server "localhost" password))
          (should (equal (alist-get 'auth_user (smtpmail-test-message server))
                         "alice")))))))

;;;; Entries

(ert-deftest smtpmail-login-tests-entry-is-final ()
  "A server with an entry gets no mail without a login, whatever it does."
  (pcase-dolist (`(,options . ,why)
                 '((("--caps-tls" "SIZE") . "offers no authentication")
                   (("--caps-tls" "AUTH GSSAPI NTLM") . "GSSAPI")
                   (("--caps-tls" "AUTH PLAIN" "--on" "auth=reply 535 No") . "535 No")
                   (("--caps-tls" "AUTH PLAIN" "--on" "auth=reply 250 Ok") . "250")))
    (ert-info ((format "%S" options))
      (smtpmail-test-with-server (server "--user" "alice" "--password" "pw" options)
        (let ((failure (smtpmail-login-tests--send server "localhost" "pw")))
          (should failure)
          (should (string-match-p why failure)))
        (should-not (smtpmail-test-messages server))
        (should-not (string-match-p "^C: MAIL" (smtpmail-test-log server)))))))

(ert-deftest smtpmail-login-tests-incomplete-entry-in-batch ()
  "An entry without a password, and nobody to ask: the error names the entry."
  (smtpmail-test-with-server (server "--user" "alice" "--password" "pw")
    (should (equal (smtpmail-login-tests--send server "localhost" nil)
                   (format "The entry for localhost port %d in \
smtpmail-auth-credentials has no password, and nobody can be asked"
                           smtpmail-smtp-service)))
    (should-not (smtpmail-test-messages server))
    (should-not (string-match-p "^C: MAIL" (smtpmail-test-log server)))))

(provide 'smtpmail-login-tests)

;;; smtpmail-login-tests.el ends here
