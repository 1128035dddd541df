;;; smtpmail-checklist-lisp-tests.el --- Items 17 and 18  -*- lexical-binding: t -*-

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

;; `smtpmail-via-smtp' and what users put around it, and logins that they
;; wrote in Lisp.

;;; Code:

(require 'smtpmail-checklist)

;;;; 17: `smtpmail-via-smtp'

(ert-deftest smtpmail-checklist-17-value ()
  "Two to four arguments; nil for sent, a string for not."
  (smtpmail-test-with-server (server "--on" "mail#4=reply 550 5.7.1 Not you")
    (with-temp-buffer
      (insert "From: f@example.org\n\nHi\n")
      (let ((text (current-buffer)))
        (should-not (smtpmail-via-smtp '("a@x.example") text))
        (should-not (smtpmail-via-smtp '("b@x.example") text nil))
        (should-not (smtpmail-via-smtp '("c@x.example") text nil 1))
        (let ((why (smtpmail-via-smtp '("d@x.example") text)))
          (should (string-prefix-p "550 5.7.1 Not you" why)))))
    ;; The recipients are those of the call, not of the text.
    (should (equal (mapcar (lambda (message) (alist-get 'to message))
                           (smtpmail-test-messages server))
                   '(("a@x.example") ("b@x.example") ("c@x.example"))))))

(ert-deftest smtpmail-checklist-17-advice ()
  "Advice before and around chooses the server, and finds a live text."
  (dolist (how '(:before :around))
    (ert-info ((format "%s" how))
      (smtpmail-checklist-elsewhere (server here)
        (let* ((seen nil)
               (look (lambda (recipients text &rest _)
                       (should (buffer-live-p text))
                       (push (list recipients
                                   (with-current-buffer text
                                     (mail-fetch-field "subject")))
                             seen)
                       (here)))
               (advice (if (eq how :before) look
                         (lambda (send &rest arguments)
                           (apply look arguments)
                           (apply send arguments)))))
          (advice-add 'smtpmail-via-smtp how advice)
          (unwind-protect
              (should-not (smtpmail-test-send "To: a@x.example\nSubject: S\n"))
            (advice-remove 'smtpmail-via-smtp advice))
          (should (equal seen '((("a@x.example") "S")))))
        (should (smtpmail-test-message server))))))

(ert-deftest smtpmail-checklist-17-old-advice ()
  "Advice by `defadvice', as in recipes of long ago."
  (smtpmail-test-with-server (server)
    (let ((told (smtpmail-checklist-child
                 `((require 'smtpmail)
                   ,@(smtpmail-test-settings server)
                   (setq smtpmail-smtp-server "nowhere.invalid")
                   (with-no-warnings
                     (require 'advice)
                     (defadvice smtpmail-via-smtp
                         (before change-server
                                 (recipient smtpmail-text-buffer &optional ask)
                                 activate)
                       (with-current-buffer smtpmail-text-buffer
                         (when (string-match "@work" (message-fetch-field "From"))
                           (setq smtpmail-smtp-server "localhost")))))
                   ,(smtpmail-checklist-send-form
                     "From: me@work.example\nTo: a@x.example\n")))))
      (should-not told))
    (should (smtpmail-test-message server))))

(ert-deftest smtpmail-checklist-17-redefined ()
  "What is in its place is called, with recipients and text; its value counts."
  (smtpmail-test-with-server (server)
    (let ((calls nil))
      (dolist (value '(nil "out of stamps"))
        (cl-letf (((symbol-function 'smtpmail-via-smtp)
                   (lambda (recipients text &rest _)
                     (push (list recipients (buffer-live-p text)) calls)
                     value)))
          (should (equal (smtpmail-test-send "To: a@x.example\n")
                         (and value "Sending failed: out of stamps")))))
      (should (equal calls '((("a@x.example") t) (("a@x.example") t)))))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-checklist-17-edits ()
  "What advice makes of text and recipients is what is sent."
  (smtpmail-test-with-server (server)
    (let ((advice (lambda (send _recipients text &rest rest)
                    (with-current-buffer text
                      (goto-char (point-min))
                      (insert "X-Added: yes\n")
                      (goto-char (point-max))
                      (insert "Added.\n"))
                    (apply send '("other@x.example") text rest))))
      (advice-add 'smtpmail-via-smtp :around advice)
      (unwind-protect
          (should-not (smtpmail-test-send "To: a@x.example\n"))
        (advice-remove 'smtpmail-via-smtp advice)))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'to message) '("other@x.example")))
      (should (equal (smtpmail-checklist-field message "x-added") "yes"))
      (should (equal (smtpmail-test-body message) "Hello\r\nAdded.\r\n")))))

(ert-deftest smtpmail-checklist-17-login-set-by-advice ()
  "Logins that advice sets are those used: all is read after it."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (let* ((port smtpmail-smtp-service)
           (smtpmail-auth-credentials nil)
           (advice (lambda (&rest _)
                     (setq smtpmail-auth-credentials
                           `(("localhost" ,port "alice" ,smtpmail-test-canary))
                           smtpmail-stream-type 'starttls)))
           (smtpmail-stream-type 'plain))
      (advice-add 'smtpmail-via-smtp :before advice)
      (unwind-protect (should-not (smtpmail-test-send))
        (advice-remove 'smtpmail-via-smtp advice)))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'auth_user message) "alice"))
      (should (alist-get 'tls message)))))

;;;; 18: logins in Lisp

(defconst smtpmail-checklist-lisp--small-functions
  '(progn
     (let ((reply (progn (smtpmail-send-command process "AUTH PLAIN")
                         (smtpmail-read-response process))))
       (unless (smtpmail-ok-p reply 334)
         (throw 'done (smtpmail-response-text reply))))
     (smtpmail-command-or-throw
      process (base64-encode-string (concat "\0" user "\0" password) t) 235))
  "The body of a method that logs in by all the small functions.")

(defun smtpmail-checklist-lisp--child (server forms &rest settings)
  "Send to SERVER from an Emacs where FORMS define methods, after SETTINGS.
Return nil or the error text, and *Messages*."
  (smtpmail-checklist-child
   `((require 'smtpmail)
     ,@(smtpmail-test-settings server)
     (setq smtpmail-auth-credentials
           '(("localhost" ,(smtpmail-test-server-port server)
              "alice" ,smtpmail-test-canary)))
     ,@settings
     ,@forms
     ,(smtpmail-checklist-send-form))))

(ert-deftest smtpmail-checklist-18-methods ()
  "A method of the user logs in, its `eql' quoted or not, new or in our place."
  (dolist (mechanism '(x-own plain))
    (dolist (specializer (list mechanism (list 'quote mechanism)))
      (ert-info ((format "%S" specializer))
        (smtpmail-test-with-server (server smtpmail-checklist-login
                                           "--require-auth"
                                           "--caps-tls" "AUTH LOGIN PLAIN X-OWN")
          (should-not
           (smtpmail-checklist-lisp--child
            server
            `((cl-defmethod smtpmail-try-auth-method
                (process (_mech (eql ,specializer)) user password)
                ,smtpmail-checklist-lisp--small-functions))
            `(setq smtpmail-auth-supported '(,mechanism))))
          (should (equal (alist-get 'auth_user (smtpmail-test-message server))
                         "alice"))
          ;; In two lines, as the engine would not.
          (should (member "AUTH PLAIN"
                          (smtpmail-checklist-commands server "AUTH"))))))))

(ert-deftest smtpmail-checklist-18-process ()
  "PROCESS is live, and its buffer is the trace."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth"
                                     "--caps-tls" "AUTH PLAIN X-OWN")
    (let ((told (smtpmail-checklist-lisp--child
                 server
                 '((cl-defmethod smtpmail-try-auth-method
                     (process (_mech (eql 'x-own)) _user _password)
                     (throw 'done (format "%s %s %s"
                                          (and (process-live-p process) t)
                                          (buffer-name (process-buffer process))
                                          (eq (current-buffer)
                                              (process-buffer process))))))
                 '(setq smtpmail-auth-supported '(x-own)))))
      (should (equal told "Sending failed: t *trace of SMTP session to localhost* t")))))

(ert-deftest smtpmail-checklist-18-throw ()
  "What a method throws to `done' is why the mail was not sent."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth"
                                     "--caps-tls" "AUTH PLAIN X-OWN")
    (should (equal (smtpmail-checklist-lisp--child
                    server
                    '((cl-defmethod smtpmail-try-auth-method
                        (_process (_mech (eql x-own)) _user _password)
                        (throw 'done "No token")))
                    '(setq smtpmail-auth-supported '(x-own)))
                   "Sending failed: No token"))
    (should-not (smtpmail-checklist-commands server "AUTH\\|MAIL"))))

(ert-deftest smtpmail-checklist-18-process-send-string ()
  "A method that speaks by `process-send-string' does not hang: it is told."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth"
                                     "--caps-tls" "AUTH PLAIN X-OWN")
    (should (string-match-p
             "process-send-string.*does not reach the server"
             (smtpmail-checklist-lisp--child
              server
              '((cl-defmethod smtpmail-try-auth-method
                  (process (_mech (eql x-own)) _user _password)
                  (process-send-string process "AUTH PLAIN\r\n")
                  (smtpmail-read-response process)))
              '(setq smtpmail-auth-supported '(x-own)))))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-checklist-18-try-auth-methods-redefined ()
  "A `smtpmail-try-auth-methods' of the user logs in over our connection.
It gets the extensions of the server, its name and port."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth"
                                     "--caps-tls" "AUTH LOGIN PLAIN")
    (should-not
     (smtpmail-checklist-lisp--child
      server
      `((defun smtpmail-try-auth-methods
            (process extensions host port &optional ask)
          (unless (equal (list (assoc 'auth extensions) host port ask)
                         '((auth login plain) "localhost"
                           ,(smtpmail-test-server-port server) nil))
            (error "Called with %S" (list extensions host port ask)))
          (let ((user "alice") (password ,smtpmail-test-canary))
            ,smtpmail-checklist-lisp--small-functions)))
      '(setq smtpmail-auth-credentials nil)))
    (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))
    (should (equal (smtpmail-checklist-commands server "AUTH") '("AUTH PLAIN")))))

(ert-deftest smtpmail-checklist-18-try-auth-methods-advised ()
  "Advice on it runs, and the original logs in for it."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth"
                                     "--caps-tls" "AUTH LOGIN PLAIN")
    (should-not
     (smtpmail-checklist-lisp--child
      server
      `((advice-add 'smtpmail-try-auth-methods :before
                    (lambda (_process _extensions host port &rest _)
                      (setq smtpmail-auth-credentials
                            (list (list host port
                                        "alice" ,smtpmail-test-canary))))))
      '(setq smtpmail-auth-credentials nil)))
    (should (equal (alist-get 'auth_user (smtpmail-test-message server)) "alice"))))

(ert-deftest smtpmail-checklist-18-try-auth-methods-fails ()
  "What it throws is the failure; without a login of it, the server decides."
  (pcase-dolist (`(,body ,required ,expected)
                 '(((throw 'done "Not today") t "\\`Sending failed: Not today\\'")
                   ((throw 'done "Not today") nil "\\`Sending failed: Not today\\'")
                   (nil nil nil)
                   ('plain t "\\`Sending failed: 530 ")
                   ((error "Broken") t "\\`Broken\\'")))
    (ert-info ((format "%S" (list body required)))
      (smtpmail-test-with-server (server smtpmail-checklist-login
                                         (and required "--require-auth")
                                         "--caps-tls" "AUTH PLAIN")
        (let ((why (smtpmail-checklist-lisp--child
                    server `((defun smtpmail-try-auth-methods (&rest _) ,body))
                    '(setq smtpmail-auth-credentials nil))))
          (if expected
              (should (string-match-p expected why))
            (should-not why))
          (should (= (if expected 0 1)
                     (length (smtpmail-test-messages server)))))))))

(ert-deftest smtpmail-checklist-18-try-auth-methods-in-clear ()
  "Nor does it speak over a connection in clear, unless that was allowed."
  (smtpmail-test-with-server (server smtpmail-checklist-login
                                     "--caps" "AUTH PLAIN")
    (let ((told (smtpmail-checklist-lisp--child
                 server
                 `((defun smtpmail-try-auth-methods (process &rest _)
                     (let ((user "alice") (password ,smtpmail-test-canary))
                       ,smtpmail-checklist-lisp--small-functions)))
                 ;; Not a name of this machine.
                 '(setq smtpmail-smtp-server "0.0.0.0"
                        smtpmail-auth-credentials nil))))
      (should (string-match-p "not encrypted" told)))
    (should-not (smtpmail-checklist-commands server "AUTH"))))

(provide 'smtpmail-checklist-lisp-tests)

;;; smtpmail-checklist-lisp-tests.el ends here
