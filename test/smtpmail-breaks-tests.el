;;; smtpmail-breaks-tests.el --- Connections that break  -*- lexical-binding: t -*-

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

;; The server leaves, falls silent or talks nonsense at every step; what is told
;; is true, and a batch Emacs ends with it.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail)

(defconst smtpmail-breaks-tests--server
  '("--user" "alice" "--password" "right"
    "--caps" "STARTTLS,AUTH LOGIN,SIZE" "--caps-tls" "AUTH LOGIN,SIZE")
  "A server that goes through every step, one after the other.")

(defmacro smtpmail-breaks-tests--with-login (&rest body)
  "Run BODY with credentials for `smtpmail-breaks-tests--server'."
  (declare (indent 0) (debug t))
  `(let ((smtpmail-auth-credentials
          `(("localhost" ,smtpmail-smtp-service "alice" "right"))))
     ,@body))

(defconst smtpmail-breaks-tests--steps
  '(("greeting" . "its greeting")
    ("ehlo" . "its answer to EHLO")
    ("starttls" . "its answer to STARTTLS")
    ("ehlo-tls" . "its answer to EHLO")
    ("auth" . "its answer to AUTH")
    ("auth-response" . "its answer to AUTH")
    ("mail" . "its answer to MAIL")
    ("rcpt" . "its answer to RCPT")
    ("data" . "its answer to DATA"))
  "Places where a server can leave before the text, and what was awaited.")

(ert-deftest smtpmail-breaks-tests-closed-at-each-step ()
  "A server that leaves before the message is told with what was awaited."
  (pcase-dolist (`(,step . ,awaited) smtpmail-breaks-tests--steps)
    (pcase-dolist (`(,ending . ,text)
                   '(("close" . "localhost closed the connection")
                     ("reset" . "localhost: the connection broke: connection reset by peer")))
      (ert-info ((format "%s %s" step ending))
        (smtpmail-test-with-server (server smtpmail-breaks-tests--server
                                           "--on" (concat step "=" ending))
          (smtpmail-breaks-tests--with-login
            (should (equal (smtpmail-test-send)
                           (format "Sending failed: %s, while waiting for %s"
                                   text awaited))))
          (should-not (smtpmail-test-messages server)))))))

(ert-deftest smtpmail-breaks-tests-last-words-are-kept ()
  "A refusal before the server hangs up is the error, pipelined or not."
  (pcase-dolist (`(,step . ,command)
                 '(("ehlo" . "EHLO") ("starttls" . "STARTTLS") ("ehlo-tls" . "EHLO")
                   ("auth" . "AUTH") ("auth-response" . "AUTH") ("mail" . "MAIL FROM")
                   ("rcpt" . "RCPT TO:<you@example.net>") ("data" . "DATA")
                   ("dot" . "the message")))
    (dolist (caps '("AUTH LOGIN" "AUTH LOGIN,PIPELINING"))
      (ert-info ((format "%s %s" step caps))
        (smtpmail-test-with-server (server smtpmail-breaks-tests--server
                                            "--caps-tls" caps "--on"
                                            (concat step "=reply-close 554 5.7.1 Go"))
          (smtpmail-breaks-tests--with-login
            (should (equal (smtpmail-test-send)
                           (format "Sending failed: 554 5.7.1 Go in response to %s"
                                   command)))))))))

(ert-deftest smtpmail-breaks-tests-no-welcome ()
  "A server that does not want us at all is quoted."
  (smtpmail-test-with-server (server "--on" "greeting=reply-close 554 5.7.1 Go")
    (should (equal (smtpmail-test-send)
                   "Sending failed: Connection not allowed: 554 5.7.1 Go"))))

(ert-deftest smtpmail-breaks-tests-within-the-text ()
  "A large message that broke off was not sent, and that is not in doubt."
  (dolist (ending '("close" "reset"))
    (smtpmail-test-with-server (server "--on" (concat "text:50000=" ending))
      (let ((why (smtpmail-test-send
                  nil (apply #'concat (make-list 300000 "lines of a text, many\n")))))
        (should (string-match-p
                 "\\`Sending failed: .*connection.*, while waiting for it to take the message"
                 why)))
      (should-not (smtpmail-test-messages server)))))

(ert-deftest smtpmail-breaks-tests-after-the-dot ()
  "Once the end went out, a break leaves it open whether the mail was sent."
  (pcase-dolist (`(,rule ,messages) '(("dot=close" 0) ("dot=accept-close" 1)
                                      ("dot=accept-reset" 1)))
    (smtpmail-test-with-directory home
      (smtpmail-test-with-server (server "--on" rule)
        (let ((copy (expand-file-name "copy" home))
              (smtpmail-retries 5))
          (should (string-match-p
                   "\\`Sending failed: The message may have been sent all the \
same: .*, while waiting for it to accept the message\\'"
                   (smtpmail-test-send (format "To: a@example.net\nFcc: %s\n" copy))))
          (should-not (file-exists-p copy)))
        ;; Never resent silently.
        (should (= messages (length (smtpmail-test-messages server))))
        (should-not (string-search "\f" (smtpmail-test-log server)))))))

(ert-deftest smtpmail-breaks-tests-quit-does-not-matter ()
  "Whatever comes after the acceptance, the mail was sent, and at once."
  (dolist (rule '("quit=close" "quit=reset" "quit=silence" "quit=reply 554 No"))
    (smtpmail-test-with-server (server "--on" rule)
      (let ((start (float-time)))
        (should-not (smtpmail-test-send))
        (should (< (- (float-time) start) 5)))
      (should (smtpmail-test-message server)))))

(ert-deftest smtpmail-breaks-tests-timeouts ()
  "A server that says nothing is given up after the time of the options."
  (pcase-dolist (`(,step . ,text)
                 '(("greeting" . "no answer within 1 s, while waiting for its greeting")
                   ("mail" . "no answer within 1 s, while waiting for its answer to MAIL")
                   ("dot" . "no answer within 1 s, while waiting for it to accept the message")))
    (smtpmail-test-with-server (server "--no-chunking" "--on" (concat step "=silence"))
      (let ((smtpmail-timeout 1))
        (should (string-suffix-p (concat "localhost: " text) (smtpmail-test-send))))
      (should-not (smtpmail-test-messages server)))))

(ert-deftest smtpmail-breaks-tests-nonsense ()
  "A server that does not speak SMTP is told so, in a bounded text."
  (pcase-dolist (`(,rule . ,text)
                 '(("ehlo=garbage 5000" . "not an SMTP reply")
                   ("ehlo=flood" . "a reply without end")
                   ("ehlo=flood-line" . "a reply line of more than [0-9]+ octets")))
    (smtpmail-test-with-server (server "--on" rule)
      (let ((why (smtpmail-test-send)))
        (should (string-match-p
                 (concat "\\`Sending failed: localhost broke the protocol .*: " text)
                 why))
        (should (< (length why) 2200))))))

;;;; A batch Emacs of its own

(defun smtpmail-breaks-tests--batch (server &rest forms)
  "Evaluate FORMS and send a mail from a batch Emacs to SERVER."
  (smtpmail-test-run
   `((setq backtrace-on-error-noninteractive nil)
     ,@(smtpmail-test-settings server)
     (require 'smtpmail)
     ,@forms
     (with-temp-buffer
       (insert ,(smtpmail-test-mail "To: you@example.net"))
       (smtpmail-send-it)))))

(ert-deftest smtpmail-breaks-tests-batch ()
  "In batch the error is on stderr, the exit code 255, and nothing lingers."
  (pcase-dolist
      (`(,options ,forms ,exit ,text)
       `((nil nil 0 "Sent: 250 2.0.0 Message stored")
         (("--user" "alice" "--password" "right")
          ((setq smtpmail-auth-credentials
                 (list (list "localhost" smtpmail-smtp-service "alice"
                             ,smtpmail-test-canary))))
          255 "Sending failed: 535 5.7.8 Authentication credentials invalid in response to AUTH")
         (("--cert" "untrusted") nil
          255 "Sending failed: certificate of localhost not accepted: its signer, CN=smtpmail unknown CA, is not trusted here…")
         (("--on" "rcpt=reply 550 5.1.1 No") nil
          255 "Sending failed: 550 5.1.1 No in response to RCPT TO:<you@example.net>")
         (("--on" "data=close") nil
          255 "Sending failed: localhost closed the connection, while waiting for its answer to DATA")
         (("--on" "dot=silence") ((setq smtpmail-timeout 1))
          255 "Sending failed: The message may have been sent all the same: localhost: no answer within 1 s, while waiting for it to accept the message")
         (("--on" "quit=silence") nil 0 "Sent: 250 2.0.0 Message stored")
         (nil ((setq smtpmail-smtp-server nil))
          255 "‘smtpmail-smtp-server’ not defined")))
    (ert-info ((format "%S %S" options forms))
      (smtpmail-test-with-server (server options)
        (let* ((result (apply #'smtpmail-breaks-tests--batch server forms))
               (said (plist-get result :stderr)))
          ;; What follows has fingerprints and times.
          (when (string-suffix-p "…" text)
            (setq text (string-remove-suffix "…" text)
                  said (concat (substring said 0 (min (length text) (length said)))
                               "\n")))
          (should (equal (list (plist-get result :exit) said
                               (plist-get result :stdout))
                         (list exit (concat text "\n") "")))
          (smtpmail-test-log server))))))

(ert-deftest smtpmail-breaks-tests-batch-exits-under-way ()
  "Emacs can exit while a delivery is under way, and does so quietly."
  (dolist (step '("greeting" "handshake" "mail" "dot"))
    (ert-info (step)
      (smtpmail-test-with-server (server "--no-chunking" "--on" (concat step "=silence"))
        (let ((result (smtpmail-breaks-tests--batch
                       server
                       '(run-at-time 0.5 nil (lambda () (kill-emacs 7))))))
          (should (equal (list 7 "" "") (list (plist-get result :exit)
                                              (plist-get result :stderr)
                                              (plist-get result :stdout)))))))))

(provide 'smtpmail-breaks-tests)

;;; smtpmail-breaks-tests.el ends here
