;;; smtpmail-starttls-tests.el --- Somebody in the middle before TLS  -*- lexical-binding: t -*-

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

;; What the user gets when STARTTLS is attacked; test/servers/starttls.org has
;; all classes of attacks and what shows them.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-test))

(defun smtpmail-starttls-tests--unsent (server why expected)
  "Check that WHY matches EXPECTED, and that SERVER got neither mail nor login."
  (should (stringp why))
  (should (string-match-p expected why))
  (should-not (smtpmail-test-messages server))
  (should-not (string-match-p "C: \\(?:MAIL\\|AUTH\\)" (smtpmail-test-log server)))
  (smtpmail-test-should-hide-canary (smtpmail-test-log server)))

(defmacro smtpmail-starttls-tests--attacked (spec &rest body)
  "Run BODY with a server and a login for it.
SPEC is (SERVER OPTION...)."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-server (,(car spec) "--user" "alice"
                               "--password" smtpmail-test-canary ,@(cdr spec))
     (let ((smtpmail-auth-credentials
            `(("localhost" ,smtpmail-smtp-service "alice" ,smtpmail-test-canary))))
       ,@body)))

(ert-deftest smtpmail-starttls-tests-stripped ()
  "Without the offer, nothing goes where TLS is wanted."
  (smtpmail-starttls-tests--attacked (server "--caps" "AUTH PLAIN,SIZE")
    (let ((smtpmail-stream-type 'starttls))
      (smtpmail-starttls-tests--unsent
       server (smtpmail-test-send) "does not offer STARTTLS"))))

(ert-deftest smtpmail-starttls-tests-stripped-keeps-the-password ()
  "Without the offer, and TLS not insisted on, no password goes in batch.
A server that is this machine is another matter, hence the switch."
  (smtpmail-starttls-tests--attacked (server "--caps" "AUTH PLAIN,SIZE")
    (cl-letf (((symbol-function 'smtpmail--this-machine-p) #'ignore))
      (smtpmail-starttls-tests--unsent
       server (smtpmail-test-send) "not encrypted.*in clear"))))

(ert-deftest smtpmail-starttls-tests-refused ()
  "What was offered must succeed, whether it was insisted on or not."
  (dolist (type '(nil starttls))
    (dolist (rule '("starttls=reply 454 4.7.0 Not now" "starttls=reply 501 What?"
                    "starttls=reply 250 Fine" "starttls=close"
                    "starttls=reply 235 2.7.0 Welcome" "handshake=plaintext"))
      (ert-info ((format "%s %s" type rule))
        (smtpmail-starttls-tests--attacked (server "--on" rule)
          (let ((smtpmail-stream-type type))
            (smtpmail-starttls-tests--unsent
             server (smtpmail-test-send) "\\`Sending failed: ")))))))

(ert-deftest smtpmail-starttls-tests-injected ()
  "Octets that stand before or behind the 220 are an error that says so."
  (pcase-dolist (`(,rule ,words)
                 '(("ehlo=inject 220 go" "answered STARTTLS before it was said")
                   ("starttls=inject 250 forged" "after its answer to STARTTLS")
                   ("starttls=inject 250-for\\c" "after its answer to STARTTLS")))
    (dolist (type '(nil starttls))
      (ert-info (rule)
        (smtpmail-starttls-tests--attacked (server "--on" rule)
          (let ((smtpmail-stream-type type))
            (smtpmail-starttls-tests--unsent
             server (smtpmail-test-send) words)))))))

(ert-deftest smtpmail-starttls-tests-words-before-tls ()
  "Words of a server that is not proven cannot write to the screen."
  (smtpmail-starttls-tests--attacked
      (server "--on" "greeting=reply 554 \\x1b[2Jcall +1\\x07")
    (let ((why (smtpmail-test-send)))
      (smtpmail-starttls-tests--unsent server why "Connection not allowed: 554 ")
      (should-not (string-match-p "[[:cntrl:]]" why)))))

(ert-deftest smtpmail-starttls-tests-certificate ()
  "Another certificate ends it before the login; the error says what to do."
  (smtpmail-starttls-tests--attacked (server "--cert" "untrusted")
    (let ((why (smtpmail-test-send)))
      (smtpmail-starttls-tests--unsent server why "certificate")
      (should (string-match-p "gnutls-trustfiles" why)))))

(provide 'smtpmail-starttls-tests)

;;; smtpmail-starttls-tests.el ends here
