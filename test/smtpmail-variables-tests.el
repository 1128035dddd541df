;;; smtpmail-variables-tests.el --- What the variables of smtpmail do  -*- lexical-binding: t -*-

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

;; What the variables do, seen at the server: each with a value bound by
;; `let', local to the mail buffer, or set by advice at the last moment.

;;; Code:

(require 'smtpmail-test)
(require 'warnings)

(defun smtpmail-variables-tests--session-count (log)
  "Return how many sessions the server's LOG tells of."
  (length (split-string log "\f")))

(defun smtpmail-variables-tests--count (regexp text)
  "Return how often REGEXP matches in TEXT."
  (cl-count-if (lambda (line) (string-match-p regexp line))
               (split-string text "\r?\n")))

;;;; Bound, local, or set late

(defconst smtpmail-variables-tests--effects
  `((smtpmail-smtp-server "127.0.0.1" ("--cert" "expired")
     error "certificate of 127\\.0\\.0\\.1 not accepted")
    (smtpmail-smtp-service 1 () error "Cannot connect to localhost:1:")
    (smtpmail-stream-type starttls ("--caps" "SIZE")
     error "does not support TLS")
    (smtpmail-local-domain "local.example" () log "^C: EHLO [^ \n]+\\.local\\.example")
    (smtpmail-sendto-domain "to.example" () log "^C: RCPT TO:<someone@to\\.example>")
    (smtpmail-smtp-user "bob" ("--user" "alice" "--password" "a"
                               "--user" "bob" "--password" "b")
     log "AUTH PLAIN AGJvYgBi" smtpmail-auth-credentials
     ,(lambda () (list (list "localhost" smtpmail-smtp-service "alice" "a")
                       (list "localhost" smtpmail-smtp-service "bob" "b")))
     smtpmail-auth-supported ,(lambda () '(plain)))
    (smtpmail-auth-supported (login) ("--user" "alice" "--password" "a")
     log "^C: AUTH LOGIN" smtpmail-auth-credentials
     ,(lambda () (list (list "localhost" smtpmail-smtp-service "alice" "a"))))
    (smtpmail-auth-credentials
     ,(lambda () (list (list "localhost" smtpmail-smtp-service "alice" "a")))
     ("--user" "alice" "--password" "a") log "^C: AUTH ")
    (smtpmail-starttls-credentials
     ,(lambda () (list (list "localhost" smtpmail-smtp-service nil nil)))
     ("--caps" "SIZE") error "does not support TLS")
    (smtpmail-servers-requiring-authorization
     "\\`local" ("--user" "alice" "--password" "a")
     error "Not logged in at localhost: no credentials")
    (smtpmail-retries 2 ("--on" "mail#1=reply 451 Later") log "\f")
    (smtpmail-on-refused-recipients
     send-rest ("--on" "rcpt:you@example.net=reply 550 No") shown "^Sent: 250 ")
    (smtpmail-debug-info t () shown "^250 .*STARTTLS\\|^250-STARTTLS")
    (smtpmail-debug-verb t ("--caps" "VERB") log "^C: VERB")
    (smtpmail-warn-about-unknown-extensions
     t ("--caps" "X-FOO,SIZE") shown "^Unknown extension x-foo$"))
  "What values of variables do: (VARIABLE VALUE OPTIONS WHERE REGEXP MORE...).
VALUE may be a function that returns it.  With OPTIONS of the server, a
match for REGEXP is WHERE: in the `error', in the server's `log', or
`shown'; without VALUE it is not.  MORE are other variables, with functions
that return their values.")

(defun smtpmail-variables-tests--effect (row bind)
  "Return whether the effect in ROW of the table is there; BIND binds.
BIND is called with a function that sends, and with variable and value."
  (pcase-let ((`(,symbol ,value ,options ,where ,regexp . ,more) row))
    (smtpmail-test-with-server (server options)
      (let (symbols values why shown)
        (while more
          (push (pop more) symbols)
          (push (funcall (pop more)) values))
        (cl-progv symbols values
          (setq shown
                (smtpmail-test-log-of
                 (funcall bind
                          (lambda ()
                            (condition-case failure
                                (smtpmail-send-it)
                              (error (setq why (error-message-string failure)))))
                          symbol (if (functionp value) (funcall value) value)))))
        (and (string-match-p
              regexp
              (pcase where
                ('error (or why ""))
                ('shown shown)
                ('log (smtpmail-test-log server))))
             t)))))

(defun smtpmail-variables-tests--in-mail-buffer (function)
  "Call FUNCTION in a buffer with a mail to three, one of them without domain."
  (with-temp-buffer
    (insert (smtpmail-test-mail "To: someone, you@example.net, other@example.net\n"))
    (funcall function)))

(ert-deftest smtpmail-variables-tests-bound ()
  "A value bound with `let' is the one that is used."
  (dolist (row smtpmail-variables-tests--effects)
    (ert-info ((symbol-name (car row)))
      (should-not (smtpmail-variables-tests--effect
                   row (lambda (send &rest _)
                         (smtpmail-variables-tests--in-mail-buffer send))))
      (should (smtpmail-variables-tests--effect
               row (lambda (send symbol value)
                     (cl-progv (list symbol) (list value)
                       (smtpmail-variables-tests--in-mail-buffer send))))))))

(ert-deftest smtpmail-variables-tests-buffer-local ()
  "A value local to the mail buffer is the one that is used."
  (dolist (row smtpmail-variables-tests--effects)
    (ert-info ((symbol-name (car row)))
      (should (smtpmail-variables-tests--effect
               row (lambda (send symbol value)
                     (smtpmail-variables-tests--in-mail-buffer
                      (lambda ()
                        (set (make-local-variable symbol) value)
                        (funcall send)))))))))

(ert-deftest smtpmail-variables-tests-advice ()
  "A value set by advice when `smtpmail-via-smtp' is called is used."
  (dolist (row smtpmail-variables-tests--effects)
    (ert-info ((symbol-name (car row)))
      (should (smtpmail-variables-tests--effect
               row (lambda (send symbol value)
                     (cl-progv (list symbol) (list (symbol-value symbol))
                       (let ((advice (lambda (&rest _) (set symbol value))))
                         (unwind-protect
                             (progn
                               (advice-add 'smtpmail-via-smtp :before advice)
                               (smtpmail-variables-tests--in-mail-buffer send))
                           (advice-remove 'smtpmail-via-smtp advice))))))))))

;;;; What has no effect at the server's other than by itself

(ert-deftest smtpmail-variables-tests-coding ()
  "`smtpmail-code-conv-from' encodes the text, unless the buffer has a coding."
  (smtpmail-test-with-server (server)
    (let ((sendmail-coding-system 'utf-8))
      (pcase-dolist (`(,coding ,file-coding ,bytes)
                     '((nil nil "\303\204rger\r\n")
                       (iso-8859-1 nil "\304rger\r\n")
                       (cp850 nil "\216rger\r\n")
                       (iso-8859-1 utf-8 "\303\204rger\r\n")))
        (ert-info ((format "%S" (list coding file-coding)))
          (let ((smtpmail-code-conv-from coding))
            (with-temp-buffer
              (when file-coding
                (setq-local buffer-file-coding-system file-coding))
              (insert (smtpmail-test-mail "To: you@example.net" "Ärger\n"))
              (smtpmail-send-it)))
          (should (equal (smtpmail-test-body
                          (car (last (smtpmail-test-messages server))))
                         bytes)))))))

(ert-deftest smtpmail-variables-tests-mail-address ()
  "`smtpmail-mail-address' is the sender for those who call `smtpmail-via-smtp'.
`smtpmail-send-it' finds its own."
  (smtpmail-test-with-server (server)
    (let ((smtpmail-mail-address "bounce@example.org"))
      (with-temp-buffer
        (insert "From: f@example.org\nTo: you@example.net\n\nHi\n")
        (should-not (smtpmail-via-smtp '("you@example.net") (current-buffer))))
      (should-not (smtpmail-test-send "From: f@example.org\nTo: you@example.net")))
    (should (equal (mapcar (lambda (message) (alist-get 'from message))
                           (smtpmail-test-messages server))
                   '("bounce@example.org" "f@example.org")))))

(ert-deftest smtpmail-variables-tests-queue-needs-no-server ()
  "A mail is queued without any server, in the directory and index named."
  (smtpmail-test-with-directory directory
    (let ((smtpmail-smtp-server nil)
          (smtpmail-queue-mail t)
          (smtpmail-queue-dir (expand-file-name "new/queue/" directory))
          (smtpmail-queue-index-file "list")
          (inhibit-message t))
      (should-not (smtpmail-test-send))
      (should (file-exists-p (expand-file-name "list" smtpmail-queue-dir)))
      (should (= 1 (length (plist-get (smtpmail-outbox-entries) :entries)))))))

(ert-deftest smtpmail-variables-tests-string-stream-type ()
  "A string for `smtpmail-stream-type' works, with a warning that names the symbol."
  (pcase-dolist (`(,type ,options) '(("ssl" ("--ssl")) ("tls" ("--ssl"))
                                     ("starttls" nil) ("plain" nil)))
    (smtpmail-test-with-server (server options)
      (let ((smtpmail-stream-type type) warnings)
        (cl-letf (((symbol-function 'display-warning)
                   (lambda (_type text &rest _) (push text warnings))))
          (should-not (smtpmail-test-send))
          (should (equal warnings
                         (list (format-message "`smtpmail-stream-type' should be the \
symbol %s, not a string" type))))
          (setq warnings nil
                smtpmail-stream-type (intern type))
          (should-not (smtpmail-test-send))
          (should-not warnings))
        (should (= 2 (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-variables-tests-timeouts ()
  "`smtpmail-timeout' and `smtpmail-connect-timeout' end what stands still.
Drips of a reply are no reply."
  (pcase-dolist (`(,symbol ,rule ,why)
                 '((smtpmail-timeout "mail=drip 200"
                    "no answer within 1 s, while waiting for its answer to MAIL")
                   (smtpmail-timeout "rcpt=silence"
                    "no answer within 1 s, while waiting for its answer to RCPT")
                   (smtpmail-connect-timeout "handshake=silence"
                    "no answer in time, while waiting for the TLS handshake")))
    (ert-info ((format "%s %s" symbol rule))
      (smtpmail-test-with-server (server "--no-chunking" "--on" rule)
        (cl-progv (list symbol) '(1)
          (let ((start (float-time)))
            (should (string-match-p (regexp-quote why) (smtpmail-test-send)))
            (should (< 0.9 (- (float-time) start) 3))))))))

;;;; Rules

(ert-deftest smtpmail-variables-tests-helo ()
  "HELO is said where EHLO is refused, unless security or a login is demanded."
  (smtpmail-test-with-server (server "--on" "ehlo=reply 502 5.5.1 What?")
    (let ((smtpmail-local-domain "local.example"))
      (should-not (smtpmail-test-send)))
    (should (string-match-p "^C: HELO [^ \n]+\\.local\\.example"
                            (smtpmail-test-log server)))
    (should (smtpmail-test-message server))
    (let ((smtpmail-stream-type 'starttls))
      (should (smtpmail-test-send)))
    (let ((smtpmail-auth-credentials `(("localhost" ,smtpmail-smtp-service "a" "b"))))
      (should (smtpmail-test-send)))
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-variables-tests-retries-told ()
  "Each new try is told in the echo area, with pauses of 1, 2 s and so on."
  (smtpmail-test-with-server (server "--on" "mail=reply 451 4.3.0 Later")
    (let* ((smtpmail-retries 3)
           (start (float-time))
           (shown (smtpmail-test-log-of
                   (should (equal (smtpmail-test-send)
                                  "Sending failed: 451 4.3.0 Later in response \
to MAIL FROM")))))
      (should (equal shown "451 4.3.0 Later; trying again in 1 s...
451 4.3.0 Later; trying again in 2 s...\n"))
      (should (< 2.9 (- (float-time) start) 6))
      (should (= 3 (smtpmail-variables-tests--count
                    "^C: MAIL" (smtpmail-test-log server)))))))

(ert-deftest smtpmail-variables-tests-retries-after-the-text ()
  "After the text went out once, there is at most one retry."
  (smtpmail-test-with-server (server "--on" "dot=reply 451 4.3.0 Later")
    (let ((smtpmail-retries 10))
      (should (equal (smtpmail-test-send)
                     "Sending failed: 451 4.3.0 Later in response to the message")))
    (should (= 2 (smtpmail-variables-tests--count
                  "^C: \\(?:DATA\\|BDAT\\)" (smtpmail-test-log server))))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-variables-tests-reconnects-after-421 ()
  "421, wherever it comes, is followed by another connection."
  (dolist (step '("ehlo-tls" "mail" "rcpt" "dot"))
    (ert-info (step)
      (smtpmail-test-with-server (server "--on"
                                         (concat step "#1=reply-close 421 4.3.2 Bye"))
        (let ((smtpmail-retries 2))
          (should-not (smtpmail-test-send)))
        (should (smtpmail-test-message server))
        (should (= 2 (smtpmail-variables-tests--session-count
                      (smtpmail-test-log server))))))))

(ert-deftest smtpmail-variables-tests-refused-recipients ()
  "`smtpmail-on-refused-recipients' decides, and every refused one is named."
  (pcase-dolist (`(,value ,recipients ,shown)
                 '((ask nil nil) (abort nil nil)
                   (send-rest ("a@example.net")
                    "^Sent: 250 .*; 1 of 3 recipients got the message; not \
b@example\\.net, c@example\\.net")))
    (ert-info ((format "%S" value))
      (smtpmail-test-with-server (server "--on" "rcpt:b@example.net=reply 550 No b"
                                         "--on" "rcpt:c@example.net=reply 551 No c")
        (let* ((smtpmail-on-refused-recipients value) why
               (text (smtpmail-test-log-of
                      (setq why (smtpmail-test-send
                                 "To: a@example.net, b@example.net, c@example.net")))))
          (if recipients
              (progn (should-not why)
                     (should (string-match-p shown text)))
            (dolist (part '("550 No b" "b@example.net" "551 No c" "c@example.net"))
              (should (string-search part why)))))
        (should (equal (mapcan (lambda (message) (alist-get 'to message))
                               (smtpmail-test-messages server))
                       recipients))))))

(defconst smtpmail-variables-tests--five
  '("a@example.net" "b@example.net" "c@example.net" "d@example.net" "e@example.net")
  "Recipients, too many for the servers of the tests below.")

(ert-deftest smtpmail-variables-tests-too-many-recipients ()
  "More recipients than the server takes at once get several transactions."
  (dolist (options '(("--max-rcpts" "2")
                     ("--max-rcpts" "2" "--caps" "PIPELINING")
                     ("--max-rcpts" "2" "--caps" "LIMITS RCPTMAX=2,PIPELINING")))
    (ert-info ((format "%S" options))
      (smtpmail-test-with-server (server options)
        (should-not (smtpmail-test-send
                     (concat "To: " (string-join smtpmail-variables-tests--five ", "))))
        (let ((lists (mapcar (lambda (message) (alist-get 'to message))
                             (smtpmail-test-messages server))))
          (should (equal (apply #'append lists) smtpmail-variables-tests--five))
          (should (= 3 (length lists))))
        ;; With LIMITS, none was offered in vain.
        (should (eq (and (member "LIMITS RCPTMAX=2,PIPELINING" options) t)
                    (not (string-match-p "^S: 452" (smtpmail-test-log server)))))))))

(ert-deftest smtpmail-variables-tests-too-many-recipients-half-way ()
  "If only some got it, they are told apart, and a retry is for the others only."
  (smtpmail-test-with-server (server "--max-rcpts" "2" "--on" "dot#2=reply 451 Later")
    (let ((smtpmail-retries 2))
      (should-not (smtpmail-test-send
                   (concat "To: " (string-join smtpmail-variables-tests--five ", ")))))
    (should (equal (sort (mapcan (lambda (message) (alist-get 'to message))
                                 (smtpmail-test-messages server))
                         #'string<)
                   smtpmail-variables-tests--five)))
  (smtpmail-test-with-server (server "--max-rcpts" "2" "--on" "dot#2-=reply 554 Spam")
    (should (string-match-p
             "\\`Sending failed: 554 Spam in response to the message; 2 of 5 \
recipients got the message; not c@example.net, d@example.net, e@example.net\\'"
             (smtpmail-test-send
              (concat "To: " (string-join smtpmail-variables-tests--five ", ")))))
    (should (equal (alist-get 'to (smtpmail-test-message server))
                   '("a@example.net" "b@example.net")))))

(provide 'smtpmail-variables-tests)

;;; smtpmail-variables-tests.el ends here
