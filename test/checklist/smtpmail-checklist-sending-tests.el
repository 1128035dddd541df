;;; smtpmail-checklist-sending-tests.el --- Items 19 to 25  -*- lexical-binding: t -*-

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

;; Methods of Message, errors, traces, replies, and what a return means.

;;; Code:

(require 'smtpmail-checklist)

;;;; 19: methods of Message

(defun smtpmail-checklist-sending--message (header)
  "Send a message with HEADER by Message; return nil or the error text."
  (let ((message-send-mail-function #'smtpmail-send-it)
        (message-confirm-send nil)
        (message-kill-buffer-on-exit t)
        (message-auto-save-directory nil)
        (buffer (generate-new-buffer "*mail in a test*")))
    (unwind-protect
        (with-current-buffer buffer
          (insert "From: Me Myself <me@example.org>\n" header
                  mail-header-separator "\nText\n")
          (message-mode)
          (condition-case why (ignore (message-send-and-exit))
            (error (error-message-string why))))
      (when (buffer-live-p buffer)
        (with-current-buffer buffer (set-buffer-modified-p nil))
        (kill-buffer buffer)))))

(ert-deftest smtpmail-checklist-19-method-header ()
  "X-Message-SMTP-Method names server, port and user, and does not go out."
  (smtpmail-checklist-elsewhere (server _here smtpmail-checklist-login
                                                 "--require-auth")
    (let ((port (smtpmail-test-server-port server)))
      (smtpmail-checklist-with-authinfo
          (format "machine localhost port %1$d login bob password no\nmachine localhost port %1$d login alice password %2$s\n"
                  port smtpmail-test-canary)
        (should-not (smtpmail-checklist-sending--message
                     (format "To: a@x.example\nX-Message-SMTP-Method: smtp localhost %d alice\n" port)))))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'auth_user message) "alice"))
      (should-not (smtpmail-checklist-field message "x-message-smtp-method")))))

(ert-deftest smtpmail-checklist-19-server-alist ()
  "`message-server-alist' chooses by From, where this Emacs has it.
Where it has none, From chooses nothing."
  (smtpmail-checklist-elsewhere (server _here)
    (cl-progv '(message-server-alist)
        (list (list (cons "me@example.org"
                          (format "smtp localhost %d"
                                  (smtpmail-test-server-port server)))))
      (let ((why (smtpmail-checklist-sending--message "To: a@x.example\n")))
        (should (eq (and why t) (< emacs-major-version 29)))))
    (should (= (if (< emacs-major-version 29) 0 1)
               (length (smtpmail-test-messages server))))))

(ert-deftest smtpmail-checklist-19-variables-bound-by-message ()
  "Port 465 has TLS from the beginning; queued variables are stored."
  (let ((seen nil)
        (smtpmail-stream-type nil)
        (user-mail-address "me@example.org"))
    (cl-letf (((symbol-function 'smtpmail-via-smtp)
               (lambda (&rest _)
                 (ignore (push (list smtpmail-smtp-server smtpmail-smtp-service
                                     (smtpmail--security smtpmail-smtp-server)
                                     smtpmail-store-queue-variables)
                               seen)))))
      (should-not (smtpmail-checklist-sending--message
                   "To: a@x.example\nX-Message-SMTP-Method: smtp mx.example 465\n"))
      (should-not (smtpmail-checklist-sending--message
                   "To: a@x.example\nX-Message-SMTP-Method: smtp mx.example 587\n")))
    (should (equal seen '(("mx.example" 587 opportunistic t)
                          ("mx.example" 465 implicit t))))))

;;;; 20: errors

(ert-deftest smtpmail-checklist-20-texts ()
  "Errors begin as ever, and say what the server said."
  (pcase-dolist
      (`(,options ,header ,expected)
       '((nil "Subject: to nobody\n" "\\`Sending failed; no recipients\\'")
         (("--on" "greeting=reply 554 Closed")
          nil "\\`Sending failed: Connection not allowed: 554 Closed")
         (("--on" "mail=reply 550 5.7.1 Not you")
          nil "\\`Sending failed: 550 5\\.7\\.1 Not you in response to MAIL FROM")
         (("--on" "rcpt=reply 550 5.1.1 Who?")
          nil "\\`Sending failed: 550 5\\.1\\.1 Who\\? in response to RCPT TO")
         (("--on" "data=reply 554 No")
          nil "\\`Sending failed: 554 No in response to DATA")
         (("--on" "dot=reply 554 5.6.0 Spam")
          nil "\\`Sending failed: 554 5\\.6\\.0 Spam")))
    (ert-info ((format "%S" options))
      (smtpmail-test-with-server (server options)
        (should (string-match-p expected (smtpmail-test-send header)))
        (should-not (smtpmail-test-messages server)))))
  (let ((smtpmail-smtp-server nil))
    (should (string-match-p "\\`.smtpmail-smtp-server. not defined\\'"
                            (smtpmail-test-send)))))

(ert-deftest smtpmail-checklist-20-no-secret ()
  "The error of a refused login has no secret, whatever the server repeats."
  (dolist (mechanism '("PLAIN" "LOGIN" "CRAM-MD5"))
    (smtpmail-test-with-server
        (server "--user" "alice" "--password" "other" "--require-auth"
                "--caps-tls" (concat "AUTH " mechanism))
      (let ((smtpmail-auth-credentials
             `(("localhost" ,smtpmail-smtp-service "alice"
                ,smtpmail-test-canary)))
            why)
        (smtpmail-test-should-hide-canary
         (smtpmail-test-log-of (setq why (smtpmail-test-send))))
        (should (string-match-p "\\`Sending failed: 535 " why))
        (smtpmail-test-should-hide-canary why)))))

;;;; 21: the trace

(ert-deftest smtpmail-checklist-21-trace ()
  "The trace has its name and both directions, and is kept as wanted."
  (dolist (debug '(nil t))
    (dolist (refuse '(nil t))
      (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth"
                                         (and refuse '("--on" "dot=reply 554 No")))
        (let ((smtpmail-debug-info debug)
              (smtpmail-auth-credentials
               `(("localhost" ,smtpmail-smtp-service "alice"
                  ,smtpmail-test-canary))))
          (should (eq refuse
                      (and (smtpmail-test-send nil (make-string 100000 ?x)) t))))
        (let ((trace (get-buffer "*trace of SMTP session to localhost*")))
          (should (eq (or debug refuse) (and trace t)))
          (when trace
            (let ((text (with-current-buffer trace (buffer-string))))
              (should (string-match-p "S: 220 " text))
              (should (string-match-p "C: MAIL FROM:<me@example.org>" text))
              (smtpmail-test-should-hide-canary text)
              (should (< (length text) 20000)))))))))

(ert-deftest smtpmail-checklist-21-process-filter ()
  "All of the trace passes `smtpmail-process-filter', which may be advised."
  (smtpmail-test-with-server (server)
    (let* ((heard nil)
           (advice (lambda (process output)
                     (push (cons (processp process) output) heard))))
      (advice-add 'smtpmail-process-filter :before advice)
      (unwind-protect (should-not (smtpmail-test-send))
        (advice-remove 'smtpmail-process-filter advice))
      (should (seq-every-p #'car heard))
      (let ((text (mapconcat #'cdr (reverse heard) "")))
        (should (string-match-p "S: 220 " text))
        (should (string-match-p "C: EHLO " text))))))

(ert-deftest smtpmail-checklist-21-verb ()
  "VERB is said if wanted and offered."
  (pcase-dolist (`(,wanted ,caps ,said) '((t "VERB" ("VERB")) (nil "VERB" nil)
                                          (t "SIZE" nil)))
    (smtpmail-test-with-server (server "--caps" caps)
      (let ((smtpmail-debug-verb wanted))
        (should-not (smtpmail-test-send)))
      (should (equal (smtpmail-checklist-commands server "VERB") said)))))

(ert-deftest smtpmail-checklist-21-old-words ()
  "ONEX and XUSR, of old servers, do no harm where they are refused."
  (smtpmail-test-with-server (server "--caps" "ONEX,XUSR,SIZE")
    (should-not (smtpmail-test-send))
    (should (smtpmail-test-message server))))

;;;; 22: again

(ert-deftest smtpmail-checklist-22-retries ()
  "4yz is tried again, as often as `smtpmail-retries' says."
  (pcase-dolist (`(,retries ,refusals ,sent) '((2 1 t) (1 1 nil) (2 2 nil)))
    (smtpmail-test-with-server
        (server (mapcar (lambda (n) (list "--on" (format "mail#%d=reply 451 4.3.0 Later"
                                                         (1+ n))))
                        (number-sequence 0 (1- refusals))))
      (let* ((smtpmail-retries retries) (why (smtpmail-test-send)))
        (should (eq sent (not why)))
        (unless sent (should (string-match-p "451 4\\.3\\.0 Later" why)))
        (should (= (min retries (1+ refusals))
                   (length (smtpmail-checklist-commands server "MAIL"))))))))

(ert-deftest smtpmail-checklist-22-login-on-demand ()
  "A server that demands a login after all makes us ask for one, once."
  (dolist (rule '("mail#1=reply 530 5.7.0 Log in" "mail#1=reply 503 5.5.1 AUTH first"
                  "rcpt#1=reply 550 5.7.1 Relaying denied, authenticate"
                  "rcpt#1=reply 554 5.7.1 Relaying denied"))
    (ert-info (rule)
      (smtpmail-test-with-server (server smtpmail-checklist-login "--on" rule
                                         "--caps-tls" "AUTH PLAIN")
        (smtpmail-checklist-with-authinfo ""
          (let ((auth-source-save-behavior t))
            (should (= 2 (length (smtpmail-checklist-answering
                                     (list "alice" (copy-sequence
                                                    smtpmail-test-canary))
                                   (should-not (smtpmail-test-send))))))))
        (should (equal (alist-get 'auth_user (smtpmail-test-message server))
                       "alice"))))))

;;;; 23: replies

(ert-deftest smtpmail-checklist-23-replies ()
  "HELO where EHLO fails, codes alone, several lines, lines of 0yz, no 221."
  (dolist (rule '("ehlo=reply 502 5.5.1 What?" "mail=reply 250" "dot=reply 250"
                  "greeting=reply 220-one\\r\\n220-two\\r\\n220 three"
                  "rcpt=reply 250-a\\r\\n250 b" "quit=close"
                  "verb=reply 050 talk\\r\\n250 ok"))
    (ert-info (rule)
      (smtpmail-test-with-server (server "--caps" "VERB,SIZE" "--on" rule)
        (let ((smtpmail-debug-verb t))
          (should-not (smtpmail-test-send)))
        (should (smtpmail-test-log server))
        (when (string-prefix-p "ehlo" rule)
          (should (smtpmail-checklist-commands server "HELO")))))))

;;;; 24: what a return means

(ert-deftest smtpmail-checklist-24-message-send ()
  "A failure leaves the draft and runs no hook; only a sent mail is gone."
  (pcase-dolist (`(,rule ,runs) '((nil 1) ("dot=reply 554 No" 0) ("dot=close" 0)
                                  ("mail=close" 0)))
    (smtpmail-test-with-server (server (and rule (list "--on" rule)))
      (smtpmail-test-with-directory directory
        (let ((sent 0)
              (copy (expand-file-name "copy" directory))
              (message-send-mail-function #'smtpmail-send-it)
              (message-confirm-send nil)
              (message-kill-buffer-on-exit t)
              (message-auto-save-directory nil)
              (message-fcc-handler-function
               (lambda (file) (write-region nil nil file nil 'quiet)))
              (buffer (generate-new-buffer "*mail in a test*")))
          (unwind-protect
              (with-current-buffer buffer
                (insert "From: Me <me@example.org>\nTo: a@x.example\nFcc: " copy
                        "\n" mail-header-separator "\nText\n")
                (message-mode)
                (set-buffer-modified-p t)
                (add-hook 'message-sent-hook (lambda () (cl-incf sent)) nil t)
                (let ((failed (condition-case nil (ignore (message-send-and-exit))
                                (error t))))
                  (should (eq (and rule t) failed)))
                (should (= sent runs))
                (should (eq (buffer-live-p buffer) (= runs 0)))
                (should (eq (file-exists-p copy) (= runs 1))))
            (when (buffer-live-p buffer)
              (with-current-buffer buffer (set-buffer-modified-p nil))
              (kill-buffer buffer))))))))

(ert-deftest smtpmail-checklist-24-queued-is-on-the-disk ()
  "A mail that is queued is complete in the directory when the call returns."
  (smtpmail-test-with-directory directory
    (let ((smtpmail-queue-mail t)
          (smtpmail-queue-dir (expand-file-name "q" directory))
          (user-mail-address "me@example.org")
          (mail-aliases nil)
          (inhibit-message t))
      (should-not (smtpmail-test-send))
      (with-temp-buffer
        (insert-file-contents (expand-file-name "index" smtpmail-queue-dir))
        (let ((file (buffer-substring (point-min) (line-end-position))))
          (should (string-match-p "Hello\n\\'" (smtpmail-test-text file)))
          (should (file-exists-p (concat file ".el"))))))))

;;;; 25: nobody there

(ert-deftest smtpmail-checklist-25-batch ()
  "In batch nothing is asked; a send fails with a reason, and with an exit code."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (pcase-dolist (`(,setting ,expected)
                   '(((setq smtpmail-smtp-server nil)
                      "smtpmail-smtp-server. not defined")
                     (nil "Sending failed: 530 ")
                     ((setq smtpmail-servers-requiring-authorization ".")
                      "Sending failed: ")
                     ((setq smtpmail-auth-credentials
                            (list (list "localhost" smtpmail-smtp-service
                                        "alice" nil)))
                      "nobody can be asked")))
      (ert-info ((format "%S" setting))
        (let ((result (smtpmail-test-run
                       `((require 'smtpmail)
                         ,@(smtpmail-test-settings server)
                         ,setting
                         ;; It cuts long texts.
                         (setq backtrace-on-error-noninteractive nil)
                         (with-temp-buffer
                           (insert ,(smtpmail-test-mail "To: you@example.net\n"))
                           (smtpmail-send-it))))))
          (should-not (eql 0 (plist-get result :exit)))
          (should (string-match-p expected (plist-get result :stderr)))
          (should-not (string-match-p "end of file from terminal\\|Error reading from stdin"
                                      (plist-get result :stderr))))))
    (should-not (smtpmail-test-messages server))))

(provide 'smtpmail-checklist-sending-tests)

;;; smtpmail-checklist-sending-tests.el ends here
