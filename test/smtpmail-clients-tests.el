;;; smtpmail-clients-tests.el --- Traces, and who calls smtpmail  -*- lexical-binding: t -*-

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

;; What is left of a session to look at, and real mail composers on top:
;; mail-mode, message-mode, feedmail.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail)
(require 'message)
(require 'mm-bodies)

(declare-function feedmail-buffer-to-smtpmail "feedmail" (prepped errors addr-listoid))

(defun smtpmail-clients-tests--trace ()
  "Return the text of the only trace buffer, or nil if there is none."
  (let ((buffers (smtpmail-test-traces)))
    (when buffers
      (should-not (cdr buffers))
      (should (equal (buffer-name (car buffers))
                     "*trace of SMTP session to localhost*"))
      (with-current-buffer (car buffers)
        (buffer-substring-no-properties (point-min) (point-max))))))

;;;; Traces

(ert-deftest smtpmail-clients-tests-trace-goes ()
  "After a mail that was sent, no trace is left."
  (smtpmail-test-with-server (server)
    (should-not (smtpmail-test-send))
    (should-not (smtpmail-clients-tests--trace))))

(ert-deftest smtpmail-clients-tests-trace-stays-after-failure ()
  "After a failure the trace is there, with both directions."
  (smtpmail-test-with-server (server "--on" "mail#1=reply 550 5.7.1 Not you")
    (should (smtpmail-test-send))
    (let ((trace (smtpmail-clients-tests--trace)))
      (should (string-match-p " S: 220 mail.example.org" trace))
      (should (string-match-p " C: EHLO " trace))
      (should (string-match-p " C: MAIL FROM:<me@example.org>" trace))
      (should (string-match-p " S: 550 5.7.1 Not you" trace))
      (should (string-match-p "TLS 1\\.[23], [A-Z0-9_]+" trace))
      (should-not (string-match-p "^Hello" trace)))
    ;; A mail that goes does not take the trace of one that did not.
    (should-not (smtpmail-test-send))
    (should (string-match-p "Not you" (smtpmail-clients-tests--trace)))))

(ert-deftest smtpmail-clients-tests-trace-of-several ()
  "The last five sessions are kept, and no more."
  (smtpmail-test-with-server (server "--on" "mail#1-=reply 550 5.7.1 Not you")
    (dotimes (i 7)
      (let ((smtpmail-local-domain (format "n%d.example" i)))
        (should (smtpmail-test-send))))
    (let ((trace (smtpmail-clients-tests--trace)))
      (should-not (string-match-p "n1\\.example" trace))
      (should (equal (mapcar (lambda (i)
                               (and (string-match-p (format "EHLO .*n%d\\.example" i)
                                                    trace)
                                    i))
                             '(0 1 2 3 4 5 6))
                     '(nil nil 2 3 4 5 6))))))

(ert-deftest smtpmail-clients-tests-trace-with-debug-info ()
  "`smtpmail-debug-info' keeps the trace and echoes the replies, without secrets."
  (dolist (mechanism '("CRAM-MD5" "PLAIN" "LOGIN"))
    (ert-info (mechanism)
      (smtpmail-test-with-server (server "--user" "alice"
                                          "--password" smtpmail-test-canary
                                          "--caps-tls" (concat "AUTH " mechanism))
        (let* ((smtpmail-debug-info t)
               (smtpmail-auth-credentials
                `(("localhost" ,smtpmail-smtp-service
                   "alice" ,smtpmail-test-canary)))
               (echoed (smtpmail-test-log-of
                        (should-not (smtpmail-test-send nil "The text\n"))))
               (trace (smtpmail-clients-tests--trace)))
          (should (string-match-p "^220 mail\\.example\\.org" echoed))
          (should (string-match-p "^235 " echoed))
          (should (string-match-p "^Sent: 250 Message stored$" echoed))
          (should (string-match-p (concat " C: AUTH " mechanism) trace))
          (should (string-match-p " C: .*omitted" trace))
          (should (string-match-p " C: The text" trace))
          (smtpmail-test-should-hide-canary trace echoed))))))

(ert-deftest smtpmail-clients-tests-show-trace ()
  "`smtpmail-show-trace' shows the trace that was kept."
  (smtpmail-test-with-server (server "--on" "mail=reply 550 5.7.1 Not you")
    (save-window-excursion
      (smtpmail-show-trace)
      (should-not (string-match-p "trace" (buffer-name))))
    (should (smtpmail-test-send))
    (save-window-excursion
      (smtpmail-show-trace)
      (should (equal (buffer-name) "*trace of SMTP session to localhost*")))))

(ert-deftest smtpmail-clients-tests-verb ()
  "VERB is said if it is wanted and offered, else not."
  (pcase-dolist (`(,wanted ,caps ,said)
                 '((t "VERB" t) (nil "VERB" nil) (t "DSN" nil)))
    (smtpmail-test-with-server (server "--caps" caps)
      (let ((smtpmail-debug-verb wanted))
        (should-not (smtpmail-test-send)))
      (should (eq said (and (string-match-p "^C: VERB" (smtpmail-test-log server))
                            t))))))

(ert-deftest smtpmail-clients-tests-verb-refused ()
  "A server that refuses VERB gets the mail all the same."
  (smtpmail-test-with-server (server "--caps" "VERB" "--on" "verb=reply 502 No")
    (let ((smtpmail-debug-verb t))
      (should-not (smtpmail-test-send)))
    (should (smtpmail-test-message server))))

;;;; Clients

(ert-deftest smtpmail-clients-tests-feedmail ()
  "Feedmail's call sends; its error buffer gets the reason and the trace."
  (require 'feedmail)
  (smtpmail-test-with-server (server "--on" "rcpt:bad@example.net=reply 550 5.1.1 No")
    (with-temp-buffer
      (insert "From: f@example.org\nTo: a@example.net\n\nHi\n")
      (let ((prepared (current-buffer)))
        (with-temp-buffer
          (let ((errors (current-buffer)))
            (feedmail-buffer-to-smtpmail prepared errors '("a@example.net"))
            (should (equal (buffer-string) ""))
            (feedmail-buffer-to-smtpmail prepared errors '("bad@example.net"))
            (should (string-match-p "failed: .*550 5\\.1\\.1 No" (buffer-string)))
            (should (string-match-p "RCPT TO:<bad@example.net>"
                                    (buffer-string)))))))
    (should (equal (alist-get 'to (smtpmail-test-message server))
                   '("a@example.net")))))

(defmacro smtpmail-clients-tests--with-message (header body &rest forms)
  "Evaluate FORMS in a message buffer with HEADER and BODY, then drop it."
  (declare (indent 2) (debug t))
  `(let ((message-send-mail-function #'smtpmail-send-it)
         (message-interactive t)
         (message-confirm-send nil)
         (message-kill-buffer-on-exit t)
         (message-auto-save-directory nil)
         (message-fcc-handler-function #'ignore)
         (user-mail-address "me@example.org")
         (buffer (generate-new-buffer "*mail in a test*")))
     (unwind-protect
         (with-current-buffer buffer
           ;; As a message buffer has it from the outset.
           (insert "From: Me Myself <me@example.org>\n"
                   ,header mail-header-separator "\n" ,body)
           (message-mode)
           (set-buffer-modified-p t)
           ,@forms)
       (when (buffer-live-p buffer)
         (with-current-buffer buffer (set-buffer-modified-p nil))
         (kill-buffer buffer)))))

(ert-deftest smtpmail-clients-tests-message-mode ()
  "`message-send-and-exit' sends, and the buffer goes."
  (smtpmail-test-with-server (server)
    (let ((sent 0)
          (mm-body-charset-encoding-alist '((utf-8 . 8bit))))
      (smtpmail-clients-tests--with-message
          "To: a@example.net\nSubject: Grüße\n" "Ärger\n.\n"
        (add-hook 'message-sent-hook (lambda () (cl-incf sent)) nil t)
        (message-send-and-exit)
        (should-not (buffer-live-p buffer)))
      (should (= sent 1)))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'to message) '("a@example.net")))
      (should (string-match-p "^Subject: =\\?" (alist-get 'bytes message)))
      ;; Already encoded by message-mode; not once more by us.
      (should (string-match-p "^Content-Type: text/plain" (alist-get 'bytes message)))
      (should (equal (smtpmail-test-body message)
                     (encode-coding-string "Ärger\r\n.\r\n" 'utf-8))))))

(ert-deftest smtpmail-clients-tests-message-mode-failure ()
  "A mail that was refused stays, unsent, and no hook says it was sent."
  (smtpmail-test-with-server (server "--on" "dot=reply 554 5.6.0 Spam")
    (let ((sent 0))
      (smtpmail-clients-tests--with-message
          "To: a@example.net\nSubject: S\n" "Text\n"
        (add-hook 'message-sent-hook (lambda () (cl-incf sent)) nil t)
        (let ((text (buffer-string)))
          (should (string-match-p
                   "\\`Sending failed: 554 5\\.6\\.0 Spam"
                   (condition-case failure (message-send-and-exit)
                     (error (error-message-string failure)))))
          (should (buffer-live-p buffer))
          (should (string-suffix-p "Text\n" (buffer-string)))
          (should (buffer-modified-p))
          (should (string-search "\nTo: a@example.net\n" text))))
      (should (= sent 0)))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-clients-tests-message-method-header ()
  "X-Message-SMTP-Method chooses server, port and user; it does not go out."
  (smtpmail-test-with-server (server "--ssl")
    (let ((port smtpmail-smtp-service)
          (smtpmail-stream-type 'tls)
          (smtpmail-smtp-service (smtpmail-test-quiet-port)))
      (smtpmail-clients-tests--with-message
          (format "To: a@example.net\nSubject: S\nX-Message-SMTP-Method: smtp localhost %d alice\n"
                  port)
          "Text\n"
        (message-send-and-exit)))
    (should-not (string-match-p "SMTP-Method" (alist-get 'bytes
                                                         (smtpmail-test-message server))))))

(ert-deftest smtpmail-clients-tests-mail-mode ()
  "`mail-send' in mail-mode sends; the text stays until it has."
  (dolist (refuse '(nil t))
    (smtpmail-test-with-server (server (and refuse '("--on" "rcpt=reply 550 5.1.1 No")))
      (let ((send-mail-function #'smtpmail-send-it)
            (mail-send-hook nil)
            (mail-interactive t))
        (with-temp-buffer
          (insert "To: a@example.net\nBcc: b@example.net\nSubject: Größe\n"
                  mail-header-separator "\nÄrger\n")
          (mail-mode)
          (let ((text (buffer-string))
                (why (condition-case failure (ignore (mail-send))
                       (error (error-message-string failure)))))
            (if refuse
                (should (string-prefix-p "Sending failed: 550 5.1.1 No" why))
              (should-not why))
            (should (eq (buffer-modified-p) refuse))
            (should (equal (buffer-string) text)))))
      (unless refuse
        (let ((message (smtpmail-test-message server)))
          (should (equal (alist-get 'to message) '("a@example.net" "b@example.net")))
          (should (equal (smtpmail-test-body message)
                         (encode-coding-string "Ärger\r\n" 'utf-8))))))))

(ert-deftest smtpmail-clients-tests-resend ()
  "`message-resend' sends the same octets to the new recipient only."
  (smtpmail-test-with-server (server)
    (let ((message-send-mail-function #'smtpmail-send-it)
          (message-generate-hashcash nil))
      (with-temp-buffer
        (insert "From: old@example.org\nTo: first@example.net\nSubject: S\n\nText\n.\n")
        (message-resend "new@example.net")))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'to message) '("new@example.net")))
      (should (string-match-p "^Resent-To: new@example.net" (alist-get 'bytes message)))
      (should (equal (smtpmail-test-body message) "Text\r\n.\r\n")))))

(provide 'smtpmail-clients-tests)

;;; smtpmail-clients-tests.el ends here
