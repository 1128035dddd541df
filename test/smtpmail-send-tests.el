;;; smtpmail-send-tests.el --- Mail that arrives  -*- lexical-binding: t -*-

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

;; From a mail buffer to what a server stored, byte for byte, by every kind of
;; connection and login.  Mail that does not arrive is in
;; smtpmail-errors-tests.el.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail)

(defconst smtpmail-send-tests--login
  (list "--user" "alice" "--password" smtpmail-test-canary "--require-auth")
  "A server that takes mail of alice only.")

(defun smtpmail-send-tests--entry (&optional port user password)
  "Return a list for `smtpmail-auth-credentials': PORT, USER and PASSWORD."
  (list (list "localhost" (or port smtpmail-smtp-service) user password)))

;;;; Connections

(ert-deftest smtpmail-send-tests-stream-types ()
  "Every value of `smtpmail-stream-type' makes the connection that it names."
  (pcase-dolist (`(,type ,options ,tls)
                 '((nil () t)
                   (network () t)
                   ("network" () t)
                   (nil ("--caps" "8BITMIME") nil)
                   (starttls ("--require-tls") t)
                   ("starttls" ("--require-tls") t)
                   (plain () nil)
                   ("plain" () nil)
                   (ssl ("--ssl") t)
                   (tls ("--ssl") t)
                   ("ssl" ("--ssl") t)
                   ("tls" ("--ssl") t)))
    (ert-info ((format "%S %S" type options))
      (smtpmail-test-with-server (server options)
        (let ((smtpmail-stream-type type))
          (should-not (smtpmail-test-send)))
        (let ((message (smtpmail-test-message server)))
          (should (eq (and (alist-get 'tls message) t) tls))
          (should (equal (smtpmail-test-body message) "Hello\r\n")))))))

(ert-deftest smtpmail-send-tests-services ()
  "The port is a number or digits."
  (smtpmail-test-with-server (server)
    (should-not (smtpmail-test-send))
    (let ((smtpmail-smtp-service (number-to-string smtpmail-smtp-service)))
      (should-not (smtpmail-test-send)))
    (should (= 2 (length (smtpmail-test-messages server))))))

(ert-deftest smtpmail-send-tests-trustfiles-customized ()
  "`gnutls-trustfiles' counts even if its library was not yet loaded."
  (smtpmail-test-with-server (server)
    (let ((result
           (smtpmail-test-run
            `((custom-set-variables
               '(gnutls-trustfiles '(,(smtpmail-test-server-ca server))))
              (require 'smtpmail)
              (setq smtpmail-smtp-server "localhost"
                    smtpmail-smtp-service ,smtpmail-smtp-service
                    smtpmail-stream-type 'starttls
                    user-mail-address "me@example.org")
              (with-temp-buffer
                (insert ,(smtpmail-test-mail "To: you@example.net"))
                (smtpmail-send-it))))))
      (should (equal (plist-get result :stderr) "Sent: 250 2.0.0 Message stored\n"))
      (should (alist-get 'tls (smtpmail-test-message server))))))

;;;; Logins

(ert-deftest smtpmail-send-tests-mechanisms ()
  "Each mechanism, with a password from auth-source, logs in under TLS."
  (smtpmail-test-with-directory home
    (let ((authinfo (expand-file-name "authinfo" home)))
      (dolist (mechanism '("CRAM-MD5" "PLAIN" "LOGIN"))
        (ert-info (mechanism)
          (smtpmail-test-with-server (server smtpmail-send-tests--login
                                             "--caps-tls"
                                             (concat "AUTH " mechanism))
            (with-temp-file authinfo
              (insert (format "machine localhost port %s login alice password %s\n"
                              smtpmail-smtp-service smtpmail-test-canary)))
            (auth-source-forget-all-cached)
            (let ((auth-sources (list authinfo))
                  (smtpmail-stream-type 'starttls))
              (should-not (smtpmail-test-send)))
            (should (equal (alist-get 'auth_user (smtpmail-test-message server))
                           "alice"))
            (should (string-match-p (concat "^C: AUTH " mechanism)
                                    (smtpmail-test-log server)))))))))

(ert-deftest smtpmail-send-tests-mechanism-preference ()
  "The order is that of `smtpmail-auth-supported', not the server's."
  (pcase-dolist (`(,supported ,expected)
                 '(((cram-md5 plain login) "CRAM-MD5")
                   ((login plain) "LOGIN")
                   ((gssapi plain) "PLAIN")))
    (smtpmail-test-with-server (server smtpmail-send-tests--login
                                       "--caps-tls" "AUTH PLAIN LOGIN CRAM-MD5")
      (let ((smtpmail-auth-supported supported)
            (smtpmail-auth-credentials
             (smtpmail-send-tests--entry nil "alice" smtpmail-test-canary)))
        (should-not (smtpmail-test-send)))
      (should (string-match-p (concat "^C: AUTH " expected)
                              (smtpmail-test-log server))))))

(ert-deftest smtpmail-send-tests-credentials-forms ()
  "`smtpmail-auth-credentials' as a list, by any port, and as a netrc file."
  (smtpmail-test-with-directory home
    (let ((netrc (expand-file-name "netrc" home)))
      (smtpmail-test-with-server (server smtpmail-send-tests--login)
        (with-temp-file netrc
          (insert (format "machine localhost port %s login alice password %s\n"
                          smtpmail-smtp-service smtpmail-test-canary)))
        (let ((port smtpmail-smtp-service)
              (sent 0))
          (dolist (credentials
                   (list (smtpmail-send-tests--entry port "alice" smtpmail-test-canary)
                         (smtpmail-send-tests--entry (number-to-string port) "alice"
                                                     smtpmail-test-canary)
                         (append '(("elsewhere" 25 "eve" "wrong")
                                   ("localhost" 25 "eve" "wrong"))
                                 (smtpmail-send-tests--entry
                                  port "alice" smtpmail-test-canary))
                         netrc))
            (ert-info ((format "%S" credentials))
              (dolist (smtpmail-smtp-service (list port (number-to-string port)))
                (let ((smtpmail-auth-credentials credentials))
                  (should-not (smtpmail-test-send)))
                (cl-incf sent)
                (should (= sent (length (smtpmail-test-messages server)))))))
          (should (seq-every-p (lambda (message)
                                 (equal (alist-get 'auth_user message) "alice"))
                               (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-send-tests-no-needless-login ()
  "Without credentials, mail goes to a server that merely offers AUTH."
  (smtpmail-test-with-server (server "--user" "alice" "--password" "x")
    (should-not (smtpmail-test-send))
    (should-not (alist-get 'auth_user (smtpmail-test-message server)))))

;;;; Envelope

(ert-deftest smtpmail-send-tests-envelope ()
  "The envelope is the sender and all recipients; Bcc stays out of the text."
  (smtpmail-test-with-server (server)
    (should-not (smtpmail-test-send
                 (concat "From: Me <from@example.org>\n"
                         "To: a@example.net, \"B, b\" <b@example.net>\n"
                         "Cc: c@example.net\nBcc: d@example.net,\n e@example.net\n"
                         "Subject: Hi\n")))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'from message) "from@example.org"))
      (should (equal (alist-get 'to message)
                     '("a@example.net" "b@example.net" "c@example.net"
                       "d@example.net" "e@example.net")))
      (should-not (string-match-p "bcc\\|[de]@example"
                                  (downcase (alist-get 'bytes message)))))))

(ert-deftest smtpmail-send-tests-envelope-sender ()
  "The sender is the specified one, or the one in From, or the user."
  (smtpmail-test-with-server (server)
    (let ((mail-specify-envelope-from t))
      (let ((mail-envelope-from "bounce@example.org"))
        (should-not (smtpmail-test-send "From: f@example.org\nTo: a@example.net")))
      (let ((mail-envelope-from 'header))
        (should-not (smtpmail-test-send "From: f@example.org\nTo: a@example.net"))))
    (should-not (smtpmail-test-send "To: a@example.net"))
    (should (equal (mapcar (lambda (message) (alist-get 'from message))
                           (smtpmail-test-messages server))
                   '("bounce@example.org" "f@example.org" "me@example.org")))))

(ert-deftest smtpmail-send-tests-domains ()
  "`smtpmail-sendto-domain' and `smtpmail-local-domain' are appended."
  (smtpmail-test-with-server (server)
    (let ((smtpmail-sendto-domain "example.com")
          (smtpmail-local-domain "example.edu"))
      (should-not (smtpmail-test-send "To: someone, a@example.net")))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'to message) '("someone@example.com" "a@example.net")))
      (should (equal (alist-get 'helo message)
                     (concat (system-name) ".example.edu"))))))

;;;; Content

(ert-deftest smtpmail-send-tests-bodies ()
  "Dots, line ends and octets arrive as they were written."
  (smtpmail-test-with-server (server)
    (pcase-dolist (`(,body . ,wire)
                   '(("." . ".\r\n")
                     (".\n..\n.x\n\n.\n" . ".\r\n..\r\n.x\r\n\r\n.\r\n")
                     ("no final newline" . "no final newline\r\n")
                     ("cr lf\r\nand lf\n" . "cr lf\r\nand lf\r\n")
                     ("bare\rcr\n" . "bare\r\ncr\r\n")
                     ("" . "")
                     ("\n\n\n" . "\r\n\r\n\r\n")
                     ("From here\n" . "From here\r\n")))
      (ert-info ((format "%S" body))
        (should-not (smtpmail-test-send nil body))
        (let ((message (car (last (smtpmail-test-messages server)))))
          (should (equal (smtpmail-test-body message) wire))
          (should (equal 0 (alist-get 'bare_lf message)))
          (should (equal 0 (alist-get 'bare_cr message))))))))

(ert-deftest smtpmail-send-tests-eight-bit ()
  "Text outside ASCII goes as UTF-8 with BODY=8BITMIME; bytes stay bytes."
  (smtpmail-test-with-server (server)
    (let ((mail-send-nonascii 'mime)
          (sendmail-coding-system 'utf-8))
      (should-not (smtpmail-test-send "To: a@example.net\nSubject: Größe\n"
                                      "Ärger\n")))
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (insert (smtpmail-test-mail "To: a@example.net") "\344\200\377\n")
      (smtpmail-send-it))
    (pcase-let ((`(,text ,bytes) (smtpmail-test-messages server)))
      (should (equal (smtpmail-test-body text)
                     (encode-coding-string "Ärger\r\n" 'utf-8)))
      (should (string-match-p "^Subject: =\\?utf-8\\?" (alist-get 'bytes text)))
      (should (member "BODY=8BITMIME" (alist-get 'mail_params text)))
      (should (equal (smtpmail-test-body bytes) "Hello\r\n\344\200\377\r\n")))))

(ert-deftest smtpmail-send-tests-large ()
  "25 MiB arrive octet for octet, and their size was announced to the octet."
  (smtpmail-test-with-server (server)
    (let* ((line (concat (make-string 75 ?x) "\n"))
           (lines (/ (* 25 1024 1024) 77))
           (size (* lines 77)))
      (with-temp-buffer
        (set-buffer-multibyte nil)
        (insert (smtpmail-test-mail "To: a@example.net" ""))
        (dotimes (i lines)
          ;; No two lines are alike, and one in sixteen begins with a dot.
          (let ((copy (copy-sequence line))
                (number (format (if (zerop (% i 16)) ".%d" "%d") i)))
            (store-substring copy 0 number)
            (insert copy)))
        (let ((begin (point-min)))
          (goto-char begin)
          (smtpmail-send-it))
        (let* ((message (smtpmail-test-message server))
               (body (smtpmail-test-body message)))
          (should (= (length body) size))
          (should (member (format "SIZE=%d" (length (alist-get 'bytes message)))
                          (alist-get 'mail_params message)))
          (goto-char (point-min))
          (search-forward (concat "\n" mail-header-separator "\n"))
          (should (equal (secure-hash 'sha256 (string-replace "\r\n" "\n" body))
                         (secure-hash 'sha256 (current-buffer)
                                      (point) (point-max)))))))))

(ert-deftest smtpmail-send-tests-buffer-untouched ()
  "The mail buffer is as before: text, point, mark, narrowing, modified flag."
  (smtpmail-test-with-server (server)
    (with-temp-buffer
      (insert "junk\n")
      (let ((start (point)))
        (insert (smtpmail-test-mail "To: a@example.net\nBcc: b@example.net\n"))
        (narrow-to-region start (point-max)))
      (goto-char 12)
      (push-mark 9 t t)
      (set-buffer-modified-p nil)
      (let ((buffers (buffer-list))
            (state (lambda () (list (point) (mark) (point-min) (point-max)
                                    (buffer-modified-p) (buffer-string)))))
        (let ((before (funcall state)))
          (smtpmail-send-it)
          (should (equal before (funcall state)))
          (should (equal (seq-difference (buffer-list) buffers) nil)))))
    (should-not (string-match-p "junk" (alist-get 'bytes
                                                  (smtpmail-test-message server))))))

(ert-deftest smtpmail-send-tests-fcc ()
  "The Fcc copy is written after the server took the mail, and only then."
  (smtpmail-test-with-directory home
    (let* ((copy (expand-file-name "copy" home))
           (header (format "To: a@example.net\nFcc: %s\nSubject: Kept\n" copy)))
      (smtpmail-test-with-server (server "--on" "dot=reply 554 5.6.0 No")
        (should (smtpmail-test-send header))
        (should-not (file-exists-p copy)))
      (smtpmail-test-with-server (server)
        (should-not (smtpmail-test-send header))
        (should-not (string-match-p "Fcc" (alist-get 'bytes
                                                     (smtpmail-test-message server))))
        (should (string-match-p "^Subject: Kept\n" (smtpmail-test-text copy)))))))

(ert-deftest smtpmail-send-tests-fcc-failure-is-no-failed-send ()
  "A copy that cannot be written does not make the send look failed."
  (smtpmail-test-with-directory home
    (smtpmail-test-with-server (server)
      (let (warnings)
        (cl-letf (((symbol-function 'display-warning)
                   (lambda (_type text &rest _) (push text warnings))))
          (should-not (smtpmail-test-send
                       (format "To: a@example.net\nFcc: %s\n"
                               (expand-file-name "no/such/dir/copy" home)))))
        (should (string-match-p "Sent, but the copy in .* could not be written"
                                (car warnings)))
        (should (smtpmail-test-message server))
        (dolist (buffer (buffer-list))
          (when (string-prefix-p "*Copy not written" (buffer-name buffer))
            (with-current-buffer buffer (set-buffer-modified-p nil))
            (kill-buffer buffer)))))))

;;;; Variables at the time of the call

(ert-deftest smtpmail-send-tests-buffer-local-variables ()
  "Values that are local to the mail buffer are the ones used."
  (smtpmail-test-with-server (server)
    (let ((port smtpmail-smtp-service)
          (smtpmail-smtp-service (smtpmail-test-quiet-port)))
      (with-temp-buffer
        (setq-local smtpmail-smtp-service port
                    smtpmail-stream-type 'starttls
                    smtpmail-local-domain "local.example")
        (insert (smtpmail-test-mail "To: a@example.net"))
        (smtpmail-send-it)))
    (let ((message (smtpmail-test-message server)))
      (should (alist-get 'tls message))
      (should (string-suffix-p ".local.example" (alist-get 'helo message))))))

(ert-deftest smtpmail-send-tests-advice-chooses-server ()
  "Advice on `smtpmail-via-smtp' reads the text and sets the server."
  (smtpmail-test-with-server (server)
    (let* ((port smtpmail-smtp-service)
           (smtpmail-smtp-service (smtpmail-test-quiet-port))
           (smtpmail-smtp-server "nowhere.invalid")
           (seen nil)
           (advice (lambda (recipients buffer &rest _)
                     (with-current-buffer buffer
                       (goto-char (point-min))
                       (setq seen (list recipients
                                        (and (re-search-forward "^From: .*work@" nil t)
                                             t)))
                       (goto-char (point-max))
                       (insert "added\n"))
                     (setq smtpmail-smtp-server "127.0.0.1"
                           smtpmail-smtp-service port))))
      (unwind-protect
          (progn
            (advice-add 'smtpmail-via-smtp :before advice)
            (should-not (smtpmail-test-send
                         "From: work@example.org\nTo: a@example.net\n")))
        (advice-remove 'smtpmail-via-smtp advice))
      (should (equal seen '(("a@example.net") t)))
      (should (equal (smtpmail-test-body (smtpmail-test-message server))
                     "Hello\r\nadded\r\n")))))

(ert-deftest smtpmail-send-tests-via-smtp-value ()
  "`smtpmail-via-smtp' returns nil for sent, a string for not, as feedmail wants."
  (smtpmail-test-with-server (server "--on" "rcpt:bad@example.net=reply 550 5.1.1 No")
    (with-temp-buffer
      (insert "From: f@example.org\nTo: ignored@example.net\n\nHi\n")
      (should (eq nil (smtpmail-via-smtp '("a@example.net") (current-buffer))))
      (let ((why (smtpmail-via-smtp '("bad@example.net") (current-buffer))))
        (should (stringp why))
        (should (string-prefix-p "550 5.1.1 No in response to RCPT TO:<bad@example.net>"
                                 why))))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'to message) '("a@example.net")))
      (should (equal (alist-get 'from message) "f@example.org")))))

(ert-deftest smtpmail-send-tests-variables-print ()
  "After a send, all variables of smtpmail print and read back."
  (smtpmail-test-with-server (server smtpmail-send-tests--login)
    (let ((smtpmail-auth-credentials
           (smtpmail-send-tests--entry nil "alice" smtpmail-test-canary)))
      (should-not (smtpmail-test-send)))
    (mapatoms
     (lambda (symbol)
       (when (and (boundp symbol)
                  (string-match-p "\\`\\(?:smtpmail\\|\\(?:user-\\)?mail\\)-"
                                  (symbol-name symbol))
                  (not (string-match-p "-\\(?:mode-map\\|syntax-table\\|abbrev-table\\|map\\)\\'\\|-tests?-\\|-hook\\'"
                                       (symbol-name symbol))))
         (ert-info ((symbol-name symbol))
           (should (equal (symbol-value symbol)
                          (read (let ((print-level nil) (print-length nil))
                                  (prin1-to-string (symbol-value symbol))))))))))))

(provide 'smtpmail-send-tests)

;;; smtpmail-send-tests.el ends here
