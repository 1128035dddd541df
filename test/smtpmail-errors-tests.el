;;; smtpmail-errors-tests.el --- Mail that does not arrive  -*- lexical-binding: t -*-

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

;; For each reason why mail does not go: the exact words, and no mail, no
;; connection and no secret left behind.  Connections that break are in
;; smtpmail-breaks-tests.el.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail)

(defun smtpmail-errors-tests--why (options &optional header body)
  "Send HEADER and BODY to a server with OPTIONS; return error and messages.
The value is (ERROR NUMBER-OF-MESSAGES), with `PORT' in place of the port.
The connection must be over, and every trace free of the password."
  (smtpmail-test-with-server (server options)
    (let* (why
           (shown (smtpmail-test-log-of
                   (setq why (smtpmail-test-send header body)))))
      (smtpmail-test-log server)
      (apply #'smtpmail-test-should-hide-canary (or why "") shown
             (mapcar (lambda (buffer)
                       (with-current-buffer buffer (buffer-string)))
                     (buffer-list)))
      (list (and why (string-replace (format ":%s" smtpmail-smtp-service) ":PORT" why))
            (length (smtpmail-test-messages server))))))

(defun smtpmail-errors-tests--netrc (directory password)
  "Write a netrc file with PASSWORD of alice to DIRECTORY; return its name.
It is for every port of localhost."
  (let ((file (expand-file-name "netrc" directory)))
    (with-temp-file file
      (insert (format "machine localhost login alice password %s\n" password)))
    (auth-source-forget-all-cached)
    file))

;;;; What users do wrong

(ert-deftest smtpmail-errors-tests-settings ()
  "A wrong setting is named; the error comes before any connection."
  (pcase-dolist
      (`(,symbol ,value ,text)
       '((smtpmail-smtp-server nil "‘smtpmail-smtp-server’ not defined")
         (smtpmail-smtp-server "" "‘smtpmail-smtp-server’ not defined")
         (smtpmail-smtp-service "no such service"
          "‘smtpmail-smtp-service’ is neither a port nor a known service: \"no such service\"")
         (smtpmail-smtp-service 0
          "‘smtpmail-smtp-service’ is neither a port nor a known service: 0")
         (smtpmail-smtp-service "65536"
          "‘smtpmail-smtp-service’ is neither a port nor a known service: \"65536\"")
         (smtpmail-stream-type sll
          "Invalid connection type in ‘smtpmail-stream-type’: sll")))
    (ert-info ((format "%S %S" symbol value))
      (smtpmail-test-with-server (server)
        (cl-progv (list symbol) (list value)
          (should (equal (smtpmail-test-send) text)))
        (should (equal (smtpmail-test-log server) ""))))))

(ert-deftest smtpmail-errors-tests-no-recipients ()
  "A mail to nobody goes nowhere."
  (should (equal (smtpmail-errors-tests--why nil "Subject: Hi\n")
                 '("Sending failed; no recipients" 0))))

(ert-deftest smtpmail-errors-tests-nul ()
  "NUL in the text is refused before a connection is made."
  (pcase-let ((`(,why ,messages)
               (smtpmail-errors-tests--why nil nil "a\0b\n")))
    (should (string-match-p "\\`Sending failed: the message contains a NUL character" why))
    (should (= messages 0))))

(ert-deftest smtpmail-errors-tests-line-breaks-in-addresses ()
  "No address can add a command, wherever it comes from."
  (smtpmail-test-with-server (server)
    (with-temp-buffer
      (insert "From: f@example.org\nTo: a@example.net\n\nHi\n")
      (dolist (address '("a@example.net>\r\nRSET" "a@example.net\nRSET"
                         "a@example.net\nb@example.net"
                         "a\rb@example.net" "a\0b@example.net"))
        (ert-info ((format "%S" address))
          (should (stringp (smtpmail-via-smtp (list address) (current-buffer))))
          (should (stringp (smtpmail-via-smtp (list "c@example.net" address)
                                              (current-buffer))))
          (let ((smtpmail-mail-address address))
            (should (stringp (smtpmail-via-smtp '("a@example.net")
                                                (current-buffer))))))))
    (should-not (smtpmail-test-messages server))
    (should-not (string-match-p "RSET\\|MAIL" (smtpmail-test-log server)))))

;;;; No connection

(ert-deftest smtpmail-errors-tests-connection-refused ()
  "Where nobody listens, host, port and reason are told."
  (let* ((port (smtpmail-test-quiet-port)))
    (pcase-dolist (`(,host ,text)
                   `(("127.0.0.1" ,(format "127.0.0.1:%d: connection refused" port))
                     ("localhost" ,(format "localhost:%d: 127.0.0.1:%d: connection refused"
                                           port port))))
      (smtpmail-test-with-server (server)
        (let ((smtpmail-smtp-server host)
              (smtpmail-smtp-service port))
          (should (string-prefix-p
                   (concat "Sending failed: Cannot connect to " text)
                   (smtpmail-test-send))))))))

(ert-deftest smtpmail-errors-tests-unknown-host ()
  "A host without address is named, and where to look."
  (smtpmail-test-with-server (server)
    (let ((smtpmail-smtp-server "no.such.host.invalid"))
      (should (string-match-p
               "\\`Sending failed: no\\.such\\.host\\.invalid: .*; check .smtpmail-smtp-server"
               (smtpmail-test-send))))))

;;;; TLS

(ert-deftest smtpmail-errors-tests-certificates ()
  "A certificate that cannot be trusted ends the session, with the reason."
  (pcase-dolist (`(,kind ,reason)
                 '(("expired" "it has expired, on ")
                   ("future" "it is not yet valid, but from ")
                   ("wronghost" "it is for wrong.example, not for localhost.")
                   ("cnonly" "it names no host as its alternative name.")
                   ("selfsigned" "it is self-signed: ")
                   ("untrusted" "its signer, CN=smtpmail unknown CA, is not ")))
    (dolist (type '(nil starttls ssl))
      (ert-info ((format "%s %s" kind type))
        (smtpmail-test-with-directory home
          (let ((smtpmail-stream-type type)
                (smtpmail-auth-credentials
                 (smtpmail-errors-tests--netrc home smtpmail-test-canary)))
            (pcase-let
                ((`(,why ,sent)
                  (smtpmail-errors-tests--why
                   (list "--cert" kind (and (eq type 'ssl) "--ssl")
                         "--user" "alice" "--password" smtpmail-test-canary))))
              (should (string-prefix-p
                       (concat "Sending failed: certificate of localhost "
                               "not accepted: " reason)
                       why))
              (should (equal sent 0)))))))))

(ert-deftest smtpmail-errors-tests-no-starttls ()
  "Without STARTTLS where it is demanded, nothing goes."
  (let ((smtpmail-stream-type 'starttls))
    (should (equal (smtpmail-errors-tests--why '("--caps" "SIZE"))
                   '("Sending failed: Server does not support TLS: localhost \
does not offer STARTTLS, and nothing goes without" 0)))))

(ert-deftest smtpmail-errors-tests-starttls-injection ()
  "What comes behind the 220 to STARTTLS ends the session."
  (should (equal (smtpmail-errors-tests--why '("--on" "starttls=inject 250 x"))
                 '("Sending failed: the server sent something after its answer \
to STARTTLS and before TLS: an attack, or a broken server" 0))))

(ert-deftest smtpmail-errors-tests-no-downgrade ()
  "A handshake that fails is not followed by mail in clear."
  (dolist (rule '("handshake=plaintext" "handshake=no-certificate"
                  "handshake=close" "handshake=reset"))
    (smtpmail-test-with-server (server "--on" rule)
      (should (string-prefix-p "Sending failed: no TLS session with localhost: "
                               (smtpmail-test-send)))
      (should-not (string-match-p "^C: MAIL" (smtpmail-test-log server))))))

;;;; Logins

(ert-deftest smtpmail-errors-tests-wrong-password ()
  "A wrong password draws one AUTH; the password is told nowhere."
  (smtpmail-test-with-directory home
    (dolist (mechanism '("CRAM-MD5" "PLAIN" "LOGIN" "PLAIN LOGIN"))
      (ert-info (mechanism)
        (smtpmail-test-with-server (server "--user" "alice" "--password" "right"
                                           "--caps-tls" (concat "AUTH " mechanism))
          (let ((smtpmail-auth-credentials
                 (smtpmail-errors-tests--netrc home smtpmail-test-canary))
                why shown)
            (setq shown (smtpmail-test-log-of (setq why (smtpmail-test-send))))
            (should (equal why "Sending failed: 535 Authentication credentials \
invalid in response to AUTH"))
            (apply #'smtpmail-test-should-hide-canary shown why
                   (mapcar (lambda (buffer)
                             (with-current-buffer buffer (buffer-string)))
                           (smtpmail-test-traces)))
            (should (= 1 (cl-count-if
                          (lambda (line) (string-prefix-p "C: AUTH" line))
                          (split-string (smtpmail-test-log server) "\n"))))
            (should-not (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-errors-tests-login-impossible ()
  "Credentials for a server that offers no AUTH: no mail goes without login."
  (smtpmail-test-with-directory home
    (dolist (bindings (list (list '(smtpmail-auth-credentials)
                                  (list (smtpmail-errors-tests--netrc home "x")))
                            '((smtpmail-servers-requiring-authorization)
                              ("local"))))
      (cl-progv (car bindings) (cadr bindings)
        (pcase-let ((`(,why ,messages)
                     (smtpmail-errors-tests--why '("--caps-tls" "SIZE 1000000"))))
          (should (string-prefix-p "Sending failed: Not logged in at localhost: "
                                   (or why "sent")))
          (should (= messages 0)))))))

(ert-deftest smtpmail-errors-tests-login-demanded ()
  "A demand for a login, with nobody to ask, is the error."
  (should (equal (smtpmail-errors-tests--why
                  '("--user" "alice" "--password" "x" "--require-auth"))
                 '("Sending failed: 530 5.7.0 Authentication required in \
response to MAIL FROM" 0))))

;;;; Refusals

(ert-deftest smtpmail-errors-tests-refused-recipients ()
  "A refused recipient is named, and whether anybody got the mail."
  (let ((rule '("--on" "rcpt:b@example.net=reply 550 5.1.1 No such user"))
        (header "To: a@example.net, b@example.net, c@example.net\n"))
    (should (equal (smtpmail-errors-tests--why rule "To: b@example.net\n")
                   '("Sending failed: 550 5.1.1 No such user in response to \
RCPT TO:<b@example.net>" 0)))
    (dolist (smtpmail-on-refused-recipients '(abort ask))
      (should (equal (smtpmail-errors-tests--why rule header)
                     '("Sending failed: 550 5.1.1 No such user in response to \
RCPT TO:<b@example.net>; none of the 2 other recipients got the message" 0))))
    (let ((smtpmail-on-refused-recipients 'send-rest))
      (should (equal (smtpmail-errors-tests--why rule header) '(nil 1))))
    (should (equal (smtpmail-errors-tests--why
                    rule "To: a@example.net, b@example.net\n")
                   '("Sending failed: 550 5.1.1 No such user in response to \
RCPT TO:<b@example.net>; the other recipient did not get the message" 0)))))

(ert-deftest smtpmail-errors-tests-refused-at-the-dot ()
  "The reply to the message is the error."
  (should (equal (smtpmail-errors-tests--why '("--on" "dot=reply 554 5.6.0 Spam"))
                 '("Sending failed: 554 5.6.0 Spam in response to the message" 0))))

(ert-deftest smtpmail-errors-tests-visible-replies ()
  "Control and format characters of a reply are made visible, its length bounded."
  (should (equal (car (smtpmail-errors-tests--why
                       '("--on" "mail=reply 550 a \\x1b[2Jb \\xe2\\x80\\xae")))
                 "Sending failed: 550 a ^[[2Jb \\u{202E} in response to MAIL FROM"))
  (should (< (length (car (smtpmail-errors-tests--why
                           (list "--on" (concat "mail=reply 550 "
                                                (make-string 5000 ?x))))))
             2200)))

(ert-deftest smtpmail-errors-tests-retries ()
  "4xx is tried again as often as `smtpmail-retries' says, and told."
  (pcase-dolist (`(,rule ,why ,messages ,tries)
                 '(("mail=reply 451 4.3.0 Later"
                    "Sending failed: 451 4.3.0 Later in response to MAIL FROM" 0 2)
                   ("rcpt#1=reply 450 4.3.0 Later" nil 1 2)
                   ("dot#1=reply 451 4.3.0 Later" nil 1 2)
                   ("greeting#1=reply-close 421 4.3.0 Later" nil 1 2)))
    (ert-info (rule)
      (smtpmail-test-with-server (server "--on" rule)
        (let* ((smtpmail-retries 2)
               failure
               (shown (smtpmail-test-log-of
                       (setq failure (smtpmail-test-send)))))
          (should (equal failure why))
          (should (= messages (length (smtpmail-test-messages server))))
          (should (string-match-p "Later; trying again in 1 s\\.\\.\\." shown))
          (should (= tries (length (split-string (smtpmail-test-log server)
                                                 "\f")))))))))

(provide 'smtpmail-errors-tests)

;;; smtpmail-errors-tests.el ends here
