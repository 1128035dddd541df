;;; smtpmail-builtin-tests.el --- Defects of the built-in smtpmail  -*- lexical-binding: t -*-

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

;; Each test says what a mailer should do, and sends by an Emacs that has one
;; smtpmail or the other: the built-in fails it, and ours passes.  As a suite,
;; ours is under test; `make test-builtin' runs both (smtpmail-builtin.el).
;;
;; The first line of a test's docstring is a line of the table in the manual.

;;; Code:

(require 'smtpmail-checklist)

(defvar smtpmail-builtin-under-test nil
  "Non-nil if the built-in is under test, and not ours.")

(defun smtpmail-builtin--patience ()
  "Return how many seconds an Emacs may take to end, where it might not.
The built-in does not, so waiting long for it would show nothing more."
  (if smtpmail-builtin-under-test 12 smtpmail-test-patience))

(defun smtpmail-builtin--child (server &rest forms)
  "Return what the last of FORMS is in an Emacs that is set up for SERVER."
  (smtpmail-checklist-child
   `((make-directory user-emacs-directory t)
     (require 'message)
     ,(if smtpmail-builtin-under-test
          '(load "mail/smtpmail" nil t)
        '(require 'smtpmail))
     (unless (eq ,smtpmail-builtin-under-test (not (featurep 'smtpmail-options)))
       (error "The wrong smtpmail"))
     ,@(smtpmail-test-settings server)
     (setq mail-aliases nil
           inhibit-message t)
     ,@forms)
   :lisp (unless smtpmail-builtin-under-test smtpmail-test-lisp)))

(defmacro smtpmail-builtin-deftest (name docstring options &rest body)
  "Define the test NAME with DOCSTRING: run BODY with a server of OPTIONS.
In BODY, `(child FORM...)' is the value of the last FORM in the Emacs under
test, and `server' is the server."
  (declare (indent 3) (doc-string 2) (debug (symbolp stringp form body)))
  `(ert-deftest ,(intern (format "smtpmail-builtin-%s" name)) ()
     ,docstring
     (smtpmail-test-with-server (server ,@options)
       (cl-flet ((child (&rest forms)
                   (apply #'smtpmail-builtin--child server forms)))
         (ignore #'child)
         ,@body))))

(defconst smtpmail-builtin--login
  '(setq auth-sources (list (expand-file-name "authinfo" "~")))
  "Makes auth-source look into a file of the child's home.")

(defun smtpmail-builtin--authinfo (server host password)
  "Return a form that makes PASSWORD the login of alice at HOST, for SERVER."
  `(progn
     ,smtpmail-builtin--login
     (with-temp-file (car auth-sources)
       (insert ,(format "machine %s port %d login alice password %s\n" host
                        (smtpmail-test-server-port server) password)))))

(defun smtpmail-builtin--recipients (server)
  "Return the recipients of the only message that SERVER stored, sorted."
  (sort (copy-sequence (alist-get 'to (smtpmail-test-message server))) #'string<))

;;;; Waiting

(smtpmail-builtin-deftest silent-server
    "Gives up a server that says nothing."
    ("--on" "greeting=silence")
  (let ((smtpmail-test-patience (smtpmail-builtin--patience)))
    (should (child '(setq smtpmail-timeout 1) (smtpmail-checklist-send-form)))))

(smtpmail-builtin-deftest silent-farewell
    "Does not wait for the answer to QUIT."
    ("--on" "quit=silence")
  (let ((smtpmail-test-patience (smtpmail-builtin--patience)))
    (should-not (child (smtpmail-checklist-send-form)))))

;;;; Safety

(smtpmail-builtin-deftest failed-handshake
    "Sends nothing in clear after a failed TLS handshake."
    ("--on" "handshake=close")
  (should (child (smtpmail-checklist-send-form)))
  (should-not (smtpmail-test-messages server)))

(smtpmail-builtin-deftest password-in-clear
    "Sends no password in clear where somebody hides STARTTLS."
    (smtpmail-checklist-login "--caps" "AUTH PLAIN")
  (child '(setq smtpmail-smtp-server "0.0.0.0" smtpmail-auth-supported '(plain))
         (smtpmail-builtin--authinfo server "0.0.0.0" smtpmail-test-canary)
         (smtpmail-checklist-send-form))
  (should-not (smtpmail-checklist-commands server "AUTH")))

(smtpmail-builtin-deftest password-in-error
    "Shows no password in the error after a refused login."
    ("--user" "alice" "--password" "other" "--caps-tls" "AUTH LOGIN")
  (let ((why (child (smtpmail-builtin--authinfo server "localhost"
                                                smtpmail-test-canary)
                    (smtpmail-checklist-send-form))))
    (should (string-match-p "535" why))
    (smtpmail-test-should-hide-canary why)))

(smtpmail-builtin-deftest password-in-trace
    "Shows no password in the trace."
    (smtpmail-checklist-login "--caps-tls" "AUTH LOGIN")
  (smtpmail-test-should-hide-canary
   (child (smtpmail-builtin--authinfo server "localhost" smtpmail-test-canary)
          '(setq smtpmail-debug-info t)
          (smtpmail-checklist-send-form)
          '(with-current-buffer "*trace of SMTP session to localhost*"
             (buffer-string))))
  (should (smtpmail-test-message server)))

(smtpmail-builtin-deftest line-break-in-address
    "Lets no line break in an address add commands."
    nil
  (child '(setq mail-specify-envelope-from t
                mail-envelope-from "me@example.org>\r\nNOOP\r\nRSET <x")
         (smtpmail-checklist-send-form))
  (should-not (smtpmail-checklist-commands server "NOOP")))

;;;; Logins

(smtpmail-builtin-deftest settings-of-2007
    "Heeds smtpmail-auth-credentials."
    (smtpmail-checklist-login "--require-auth")
  (should-not (child `(setq smtpmail-auth-credentials
                            '(("localhost" ,smtpmail-smtp-service "alice"
                               ,smtpmail-test-canary)))
                     (smtpmail-checklist-send-form)))
  (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice")))

(smtpmail-builtin-deftest password-outside-ascii
    "Sends passwords outside ASCII as UTF-8."
    ("--user" "alice" "--password" "Pässwört" "--require-auth"
     "--caps-tls" "AUTH PLAIN")
  (should-not (child (smtpmail-builtin--authinfo server "localhost" "Pässwört")
                     (smtpmail-checklist-send-form)))
  (should (smtpmail-test-message server)))

(smtpmail-builtin-deftest next-mechanism
    "Goes on to the next mechanism if the server does not know one."
    (smtpmail-checklist-login "--caps-tls" "AUTH CRAM-MD5 PLAIN"
                              "--require-auth" "--on" "auth#1=reply 504 Not that")
  (should-not (child (smtpmail-builtin--authinfo server "localhost"
                                                 smtpmail-test-canary)
                     (smtpmail-checklist-send-form)))
  (should (smtpmail-test-message server)))

;;;; Replies

(smtpmail-builtin-deftest code-alone
    "Takes a reply that is a code alone for what it is."
    ("--on" "dot=reply 250")
  (should-not (child (smtpmail-checklist-send-form))))

(smtpmail-builtin-deftest last-words
    "Tells what the server said before it closed."
    ("--on" "text=reply-close 421 4.3.2 Going down" "--caps" "SIZE")
  (should (string-match-p
           "421 4\\.3\\.2 Going down"
           (child '(setq smtpmail-stream-type 'plain)
                  (smtpmail-checklist-send-form nil (make-string 3000000 ?x))))))

(smtpmail-builtin-deftest later-at-greeting
    "Tries again after \"not now\" instead of a welcome."
    ("--on" "greeting#1=reply-close 421 4.3.2 Later")
  (should-not (child '(setq smtpmail-retries 3) (smtpmail-checklist-send-form)))
  (should (smtpmail-test-message server)))

(smtpmail-builtin-deftest later-at-recipient
    "Tries again after \"not now\" for a recipient (greylisting)."
    ("--on" "rcpt#1=reply 450 4.2.0 Greylisted")
  (should-not (child '(setq smtpmail-retries 3) (smtpmail-checklist-send-form)))
  (should (smtpmail-test-message server)))

;;;; Recipients and sender

(smtpmail-builtin-deftest refused-recipient
    "Can send to the others if one recipient is refused."
    ("--on" "rcpt:bad@x.example=reply 550 5.1.1 No")
  (child '(setq smtpmail-on-refused-recipients 'send-rest)
         (smtpmail-checklist-send-form "To: a@x.example, bad@x.example\n"))
  (should (equal (smtpmail-builtin--recipients server) '("a@x.example"))))

(smtpmail-builtin-deftest quoted-local-part
    "Sends to a quoted local part with a blank."
    nil
  (should-not (child (smtpmail-checklist-send-form "To: \"a b\"@x.example\n")))
  (should (equal (smtpmail-builtin--recipients server) '("\"a b\"@x.example"))))

(smtpmail-builtin-deftest group
    "Sends to the members of a group."
    nil
  (should-not (child (smtpmail-checklist-send-form
                      "To: Friends: a@x.example, b@x.example;\n")))
  (should (equal (smtpmail-builtin--recipients server)
                 '("a@x.example" "b@x.example"))))

(smtpmail-builtin-deftest named-twice
    "Names a recipient once, however often the header does."
    nil
  (should-not (child (smtpmail-checklist-send-form
                      "To: a@x.example\nCc: a@x.example\n")))
  (should (equal (smtpmail-builtin--recipients server) '("a@x.example"))))

(smtpmail-builtin-deftest no-sender
    "Says that it knows no sender, and sends no \"nil\"."
    nil
  (child '(setq user-mail-address nil)
         '(with-temp-buffer
            (insert "Subject: S\n\nHi\n")
            (condition-case nil
                (ignore (smtpmail-via-smtp '("a@x.example") (current-buffer)))
              (error nil))))
  (should-not (smtpmail-checklist-commands server "MAIL")))

(smtpmail-builtin-deftest no-alias-file
    "Sends where mail-personal-alias-file is nil."
    nil
  (should-not (child '(setq mail-aliases t mail-personal-alias-file nil)
                     (smtpmail-checklist-send-form)))
  (should (smtpmail-test-message server)))

;;;; Text

(smtpmail-builtin-deftest body-8bitmime
    "Declares a text of eight bits (BODY=8BITMIME)."
    nil
  (should-not (child (smtpmail-checklist-send-form nil "Grüße\n")))
  (should (smtpmail-checklist-commands server "MAIL .*BODY=8BITMIME")))

(smtpmail-builtin-deftest line-ends
    "Sends CR LF in a text as one line end."
    nil
  (should-not (child (smtpmail-checklist-send-form nil "a\r\nb\r\n")))
  (should (equal (smtpmail-test-body (smtpmail-test-message server)) "a\r\nb\r\n")))

(smtpmail-builtin-deftest size-in-octets
    "Counts octets, not characters, for SIZE."
    nil
  (should-not (child (smtpmail-checklist-send-form nil (make-string 1000 ?ü))))
  (let ((command (car (smtpmail-checklist-commands server "MAIL"))))
    (should (string-match "SIZE=\\([0-9]+\\)" command))
    (should (>= (string-to-number (match-string 1 command))
                (length (alist-get 'bytes (smtpmail-test-message server)))))))

(smtpmail-builtin-deftest copy-of-a-failure
    "Writes no copy (Fcc) of a mail that was not sent."
    ("--on" "mail=reply 550 5.7.1 No")
  (should-not (child (smtpmail-checklist-send-form
                      "To: a@x.example\nFcc: ~/copy\n")
                     '(file-exists-p "~/copy"))))

;;;; Queue

(defconst smtpmail-builtin--queue
  '(setq smtpmail-queue-mail t smtpmail-queue-dir "~/queue/"
         ;; One after the other goes over one connection only so.
         smtpmail-stream-type 'plain)
  "Turns queueing on.")

(defun smtpmail-builtin--flush (&optional times)
  "Return a form that flushes the queue, TIMES times if given."
  `(dotimes (_ ,(or times 1))
     (ignore-errors (smtpmail-send-queued-mail))))

(defun smtpmail-builtin--mail (to &optional more)
  "Return a form that sends or queues a mail to TO, with the header lines MORE."
  (smtpmail-checklist-send-form
   (format "To: %s\nSubject: to %s\n%s" to to (or more ""))))

(smtpmail-builtin-deftest queue-one-fails
    "Sends the rest of the queue if one message fails."
    ("--on" "rcpt:bad@x.example=reply 550 5.1.1 No")
  (child smtpmail-builtin--queue
         (smtpmail-builtin--mail "a@x.example")
         (smtpmail-builtin--mail "bad@x.example")
         (smtpmail-builtin--mail "b@x.example")
         (smtpmail-builtin--flush 3))
  (should (equal (mapcar (lambda (message) (alist-get 'to message))
                         (smtpmail-test-messages server))
                 '(("a@x.example") ("b@x.example")))))

(smtpmail-builtin-deftest queue-missing-file
    "Sends the rest of the queue if the file of a message is missing."
    nil
  (child smtpmail-builtin--queue
         (smtpmail-builtin--mail "a@x.example")
         (smtpmail-builtin--mail "b@x.example")
         '(with-temp-buffer
            (insert-file-contents "~/queue/index")
            (delete-file (buffer-substring (point-min) (line-end-position))))
         (smtpmail-builtin--flush 3))
  (should (equal (smtpmail-builtin--recipients server) '("b@x.example"))))

(smtpmail-builtin-deftest queue-overwritten
    "Overwrites no mail that was queued in the same second."
    nil
  (should (= 2 (child smtpmail-builtin--queue
                      ;; As in two Emacsen, or after a restart.
                      '(cl-letf (((symbol-function 'format-time-string)
                                  (lambda (&rest _) "2024-01-01_00:00:00")))
                         (dolist (to '("a@x.example" "b@x.example"))
                           (setq smtpmail-queue-counter 0)
                           (with-temp-buffer
                             (insert "From: me@example.org\nDate: D\nTo: " to "\n"
                                     "Message-ID: <1@x>\n"
                                     mail-header-separator "\nHi\n")
                             (smtpmail-send-it))))
                      '(length (directory-files "~/queue" nil "\\.el\\'"))))))

(smtpmail-builtin-deftest queue-of-emacs-27
    "Reads what Emacs 27 and before have queued."
    nil
  (child smtpmail-builtin--queue
         '(make-directory "~/queue")
         '(let ((file (expand-file-name "~/queue/2020-01-01_00:00:00_1")))
            (with-temp-file file (insert "From: f@x.example\nSubject: S\n\nHi\n"))
            (with-temp-file (concat file ".el")
              (insert "(setq smtpmail-recipient-address-list '(\"a@x.example\"))\n"))
            (with-temp-file "~/queue/index" (insert file "\n")))
         (smtpmail-builtin--flush))
  (should (equal (smtpmail-builtin--recipients server) '("a@x.example"))))

(smtpmail-builtin-deftest queue-stored-server
    "Uses the server that was stored with a message for that message only."
    nil
  (smtpmail-test-with-server (other)
    (child smtpmail-builtin--queue
           `(let ((smtpmail-store-queue-variables t)
                  (smtpmail-smtp-service ,(smtpmail-test-server-port other)))
              ,(smtpmail-builtin--mail "a@x.example"))
           (smtpmail-builtin--mail "b@x.example")
           (smtpmail-builtin--flush))
    (should (equal (smtpmail-builtin--recipients other) '("a@x.example")))
    (should (equal (smtpmail-builtin--recipients server) '("b@x.example")))))

(smtpmail-builtin-deftest queue-sender
    "Sends queued mail with the sender that it had."
    nil
  (child smtpmail-builtin--queue
         (smtpmail-builtin--mail "a@x.example" "From: other@example.org\n")
         (smtpmail-builtin--flush))
  (should (equal (alist-get 'from (smtpmail-test-message server))
                 "other@example.org")))

(smtpmail-builtin-deftest queue-modes
    "Lets nobody else read queued mail."
    nil
  (should (equal '(#o700 #o600)
                 (child smtpmail-builtin--queue
                        '(set-default-file-modes #o755)
                        (smtpmail-builtin--mail "a@x.example")
                        '(list (file-modes "~/queue")
                               (file-modes "~/queue/index"))))))

(smtpmail-builtin-deftest queue-one-connection
    "Sends a queue over one connection."
    nil
  (child smtpmail-builtin--queue
         (smtpmail-builtin--mail "a@x.example")
         (smtpmail-builtin--mail "b@x.example")
         (smtpmail-builtin--flush))
  (should (= 2 (length (smtpmail-test-messages server))))
  (should (= 1 (length (directory-files (smtpmail-test-server-spool server) nil
                                        "\\`session-")))))

(smtpmail-builtin-deftest queue-empty
    "Takes a missing index for an empty queue."
    nil
  (should-not (child smtpmail-builtin--queue
                     '(condition-case why (ignore (smtpmail-send-queued-mail))
                        (error (error-message-string why))))))

(provide 'smtpmail-builtin-tests)

;;; smtpmail-builtin-tests.el ends here
