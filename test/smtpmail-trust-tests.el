;;; smtpmail-trust-tests.el --- Certificates, pins, TLS that went away  -*- lexical-binding: t -*-

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

;; What batch Emacs refuses, what is remembered, and logins that depend on
;; the connection.  The questions are in smtpmail-trust-terminal-tests.el.

;;; Code:

(require 'smtpmail-test)
(require 'network-stream)
(require 'nsm)

(defun smtpmail-trust-tests-facts (server)
  "Return what SERVER printed when it began, an alist."
  (with-current-buffer (process-buffer (smtpmail-test-server-process server))
    (save-excursion
      (goto-char (point-min))
      (json-parse-buffer :object-type 'alist))))

(defun smtpmail-trust-tests-pin (server)
  "Return the SHA-256 of the certificate of SERVER, with colons."
  (let ((digits (alist-get 'cert_sha256 (smtpmail-trust-tests-facts server))))
    (string-join (seq-map #'concat (seq-partition digits 2)) ":")))

(defmacro smtpmail-trust-tests-remembering (&rest body)
  "Run BODY with a trust file of its own."
  (declare (debug t))
  `(smtpmail-test-with-directory trust-directory
     ;; The server's macro binds it to nil for all others.
     (let ((trust-file (expand-file-name "trust" trust-directory)))
       ,@body)))

(defun smtpmail-trust-tests-certificate (server kind)
  "Return the file of the certificate of KIND that SERVER shows."
  (expand-file-name (format "server-%s.pem" kind)
                    (file-name-directory (smtpmail-test-server-ca server))))

(ert-deftest smtpmail-trust-tests-batch-refuses-and-says-what-to-do ()
  (pcase-dolist (`(,kind . ,words)
                 '(("expired" "it has expired" "renew it")
                   ("future" "not yet valid" "clock")
                   ("wronghost" "it is for wrong.example, not for localhost")
                   ("cnonly" "names no host")
                   ("selfsigned" "self-signed" "gnutls-trustfiles")
                   ("untrusted" "CN=smtpmail unknown CA" "gnutls-trustfiles")
                   ("weakkey" "too weak (RSA of 1024 bits)")))
    (smtpmail-test-with-server (server "--cert" kind "--user" "alice" "--password"
                                       smtpmail-test-canary)
      (let* ((smtpmail-auth-credentials
              `(("localhost" ,smtpmail-smtp-service "alice" ,smtpmail-test-canary)))
             (why (smtpmail-test-send)))
        (dolist (word (append words
                              (list "certificate of localhost not accepted"
                                    "signed by CN=" " until "
                                    (concat "SHA-256 "
                                            (smtpmail-trust-tests-pin server)))))
          (should (string-search word why)))
        (should-not (smtpmail-test-messages server))
        (should-not (string-match-p "^C: \\(?:AUTH\\|MAIL\\)"
                                    (smtpmail-test-log server)))))))

(ert-deftest smtpmail-trust-tests-trustfiles-count ()
  (smtpmail-test-with-server (server "--cert" "selfsigned")
    (should (string-search "self-signed" (smtpmail-test-send)))
    (let ((gnutls-trustfiles
           (list (smtpmail-trust-tests-certificate server "selfsigned"))))
      (should-not (smtpmail-test-send))
      (should (alist-get 'tls (smtpmail-test-message server))))))

(ert-deftest smtpmail-trust-tests-a-pin-counts-in-batch-and-a-changed-certificate-not ()
  (smtpmail-trust-tests-remembering
    (let (port)
      (smtpmail-test-with-server (server "--cert" "selfsigned")
        (setq port smtpmail-smtp-service)
        (with-temp-file trust-file
          (insert (format "smtpmail-trust 1\npin localhost %d 2026-01-01 %s\n"
                          port (smtpmail-trust-tests-pin server))))
        (set-file-modes trust-file #o600)
        (let ((smtpmail-trust-file trust-file))
          (should-not (smtpmail-test-send)))
        (should (alist-get 'tls (smtpmail-test-message server))))
      (smtpmail-test-with-server (server "--cert" "selfsigned"
                                         "--port" (number-to-string port))
        (let* ((smtpmail-trust-file trust-file)
               (why (smtpmail-test-send)))
          (should (string-search "HAS CHANGED" why))
          (should (string-search "smtpmail-forget-server" why)))
        (should-not (smtpmail-test-messages server))))))

(ert-deftest smtpmail-trust-tests-a-trust-file-of-others-stops-the-mail ()
  (smtpmail-trust-tests-remembering
    (smtpmail-test-with-server (server)
      (let ((smtpmail-trust-file trust-file))
        (with-temp-file trust-file (insert "smtpmail-trust 1\n"))
        (set-file-modes trust-file #o666)
        (should (string-search trust-file (smtpmail-test-send)))
        (should-not (smtpmail-test-messages server))
        (set-file-modes trust-file #o600)
        (should-not (smtpmail-test-send))))))

(ert-deftest smtpmail-trust-tests-an-entry-of-the-security-manager-is-a-pin ()
  (smtpmail-trust-tests-remembering
    (smtpmail-test-with-server (server "--cert" "selfsigned" "--ssl")
      (let* ((smtpmail-stream-type 'ssl)
             (port smtpmail-smtp-service)
             (key (smtpmail-test-public-key port))
             (nsm-settings-file (expand-file-name "nsm" trust-directory))
             (entry (lambda (host port key)
                      (list (list :id (nsm-id host port) :fingerprints (list key)
                                  :conditions '(:self-signed)))))
             (try (lambda (entries)
                    (with-temp-file nsm-settings-file
                      (insert (format "%S" entries)))
                    (set-file-modes nsm-settings-file #o600)
                    (smtpmail-test-send))))
        (should (string-prefix-p "sha1:" key))
        (should (funcall try (funcall entry "localhost" port
                                      (concat "sha1:00" (substring key 7)))))
        (should (funcall try (funcall entry "localhost" (1+ port) key)))
        (should (funcall try (funcall entry "elsewhere" port key)))
        (should (funcall try `((:id 1 . 2) nil 3 (:id "x" :fingerprints 4))))
        (should-not (smtpmail-test-messages server))
        (should-not (funcall try (funcall entry "localhost" port key)))
        (should (alist-get 'tls (smtpmail-test-message server)))
        ;; Who else can write to it says nothing.
        (set-file-modes nsm-settings-file #o622)
        (should (smtpmail-test-send))
        (delete-file nsm-settings-file)
        (should (eql 0 (call-process "mkfifo" nil nil nil nsm-settings-file)))
        (should (smtpmail-test-send))
        (should (= 1 (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-trust-tests-low-verifies-and-paranoid-refuses-in-batch ()
  (smtpmail-test-with-server (server "--cert" "selfsigned")
    (let ((network-security-level 'low))
      (should (string-search "self-signed" (smtpmail-test-send)))
      (should-not (smtpmail-test-messages server))))
  (smtpmail-test-with-server (server)
    (let ((network-security-level 'paranoid))
      (should (string-search "not seen before" (smtpmail-test-send)))
      (should-not (smtpmail-test-messages server)))
    (let ((network-security-level 'high))
      (should-not (smtpmail-test-send)))))

(ert-deftest smtpmail-trust-tests-tls-that-went-away-is-refused-in-batch ()
  (smtpmail-trust-tests-remembering
    (let (port)
      (smtpmail-test-with-server (server)
        (let ((smtpmail-trust-file trust-file))
          (setq port smtpmail-smtp-service)
          (should-not (smtpmail-test-send))))
      (smtpmail-test-with-server (server "--port" (number-to-string port)
                                         "--caps" "8BITMIME")
        (let ((smtpmail-trust-file trust-file))
          (should (string-search "spoke TLS before" (smtpmail-test-send)))
          (should-not (string-search "MAIL" (smtpmail-test-log server)))
          (smtpmail-forget-server "localhost" port)
          (should-not (smtpmail-test-send)))
        (should-not (alist-get 'tls (smtpmail-test-message server)))))))

(ert-deftest smtpmail-trust-tests-what-is-known-is-listed-and-forgotten ()
  (smtpmail-trust-tests-remembering
    (let ((smtpmail-trust-file trust-file)
          (inhibit-message t))
      (with-temp-file trust-file
        (insert "smtpmail-trust 1\n# mine\ntls mx.example.org 587 2026-01-02\n"
                "login mx.example.org 587 2026-01-02 PLAIN ada%20l\n"
                "tls mx.example.net 25 2026-01-03\n"))
      (set-file-modes trust-file #o600)
      (save-window-excursion
        (smtpmail-known-servers)
        (let ((text (buffer-string)))
          (should (string-search "mx.example.org:587" text))
          (should (string-search "login by PLAIN" text))
          (should (string-search "ada l" text))
          (should (string-search "speaks TLS" text)))
        (goto-char (point-min))
        (search-forward "mx.example.net")
        (cl-letf (((symbol-function 'y-or-n-p) #'always))
          (call-interactively (key-binding "k")))
        (should-not (string-search "example.net" (buffer-string)))
        (kill-buffer))
      (should (equal (smtpmail-test-text trust-file)
                     "smtpmail-trust 1\n# mine\ntls mx.example.org 587 2026-01-02
login mx.example.org 587 2026-01-02 PLAIN ada%20l\n"))
      (smtpmail-forget-server "mx.example.org" 587)
      (should (equal (smtpmail-test-text trust-file) "smtpmail-trust 1\n# mine\n")))
    (let ((smtpmail-trust-file nil))
      (should-error (smtpmail-known-servers) :type 'user-error))))

(ert-deftest smtpmail-trust-tests-oldest-version ()
  (smtpmail-test-with-server (server)
    (let ((smtpmail-tls-min-version "1.3"))
      (should-not (smtpmail-test-send))
      (should (string-search "tls TLSv1.3" (smtpmail-test-log server))))
    (let ((smtpmail-tls-min-version "1.1"))
      (should (string-search "smtpmail-tls-min-version" (smtpmail-test-send))))))

;;;; Our own certificate

(defun smtpmail-trust-tests-client (server name)
  "Return the file NAME of the client that SERVER made certificates for."
  (expand-file-name name (file-name-directory (smtpmail-test-server-ca server))))

(defconst smtpmail-trust-tests--external
  '("--client-ca" "--caps" "STARTTLS,AUTH EXTERNAL PLAIN" "--require-auth")
  "Options of a server that knows clients by their certificate.")

(ert-deftest smtpmail-trust-tests-external-by-starttls-credentials ()
  (smtpmail-test-with-server (server smtpmail-trust-tests--external)
    (let ((smtpmail-auth-supported '(external plain))
          (smtpmail-starttls-credentials
           `(("localhost" ,smtpmail-smtp-service
              ,(smtpmail-trust-tests-client server "client.key")
              ,(smtpmail-trust-tests-client server "client.pem")))))
      (should-not (smtpmail-test-send))
      (let ((message (smtpmail-test-message server)))
        (should (equal (alist-get 'auth_user message) "smtpmail test client"))))))

(ert-deftest smtpmail-trust-tests-external-by-auth-source-without-a-password ()
  (smtpmail-test-with-server (server smtpmail-trust-tests--external)
    (smtpmail-test-with-directory directory
      (let* ((netrc (expand-file-name "netrc" directory))
             (auth-sources (list netrc))
             (auth-source-do-cache nil))
        (with-temp-file netrc
          (insert (format "machine localhost port %d login ada smtp-auth external \
key \"%s\" cert \"%s\"\n" smtpmail-smtp-service
                          (smtpmail-trust-tests-client server "client.key")
                          (smtpmail-trust-tests-client server "client.pem"))))
        (should-not (smtpmail-test-send))
        (should (equal (alist-get 'auth_user (smtpmail-test-message server))
                       "smtpmail test client"))))))

(ert-deftest smtpmail-trust-tests-a-pkcs12-file-holds-key-and-certificate ()
  (unless (executable-find "openssl") (ert-skip "No openssl"))
  (smtpmail-test-with-server (server smtpmail-trust-tests--external)
    (smtpmail-test-with-directory directory
      (let ((file (expand-file-name "client.p12" directory)))
        (should (eql 0 (call-process
                        "openssl" nil nil nil "pkcs12" "-export" "-out" file
                        "-inkey" (smtpmail-trust-tests-client server "client.key")
                        "-in" (smtpmail-trust-tests-client server "client.pem")
                        "-passout" "pass:")))
        (let ((smtpmail-auth-supported '(external))
              (smtpmail-starttls-credentials
               `(("localhost" ,smtpmail-smtp-service ,file nil))))
          (should-not (smtpmail-test-send))
          (should (equal (alist-get 'client_certificate
                                    (smtpmail-test-message server))
                         "smtpmail test client")))))))

(ert-deftest smtpmail-trust-tests-a-locked-key-is-refused-in-batch ()
  (unless (executable-find "openssl") (ert-skip "No openssl"))
  (smtpmail-test-with-server (server smtpmail-trust-tests--external)
    (smtpmail-test-with-directory directory
      (let ((file (expand-file-name "locked.key" directory)))
        (should (eql 0 (call-process
                        "openssl" nil nil nil "pkcs8" "-topk8" "-out" file
                        "-in" (smtpmail-trust-tests-client server "client.key")
                        "-passout" (concat "pass:" smtpmail-test-canary))))
        (let* ((smtpmail-starttls-credentials
                `(("localhost" ,smtpmail-smtp-service ,file
                   ,(smtpmail-trust-tests-client server "client.pem"))))
               (why (smtpmail-test-send)))
          (should (string-search file why))
          (should (string-search "passphrase" why))
          (should (equal (smtpmail-test-log server) "")))))))

;;;; Logins

(ert-deftest smtpmail-trust-tests-scram-is-bound-where-that-is-announced ()
  (smtpmail-test-with-server
      (server "--user" "alice" "--password" smtpmail-test-canary
              "--caps" "STARTTLS,AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN")
    (let ((smtpmail-auth-supported '(scram-sha-256 plain))
          (smtpmail-auth-credentials
           `(("localhost" ,smtpmail-smtp-service "alice" ,smtpmail-test-canary))))
      (should-not (smtpmail-test-send))
      (should (string-search "C: AUTH SCRAM-SHA-256-PLUS "
                             (smtpmail-test-log server))))))

(ert-deftest smtpmail-trust-tests-an-expired-token-is-got-anew-once ()
  (dolist (case '((("stale" "fresh") nil 2)
                  (("stale" "staler" "fresh") t 2)
                  (("stale" "stale" "fresh") t 1)))
    (smtpmail-test-with-server (server "--user" "alice" "--password" "fresh"
                                       "--caps" "STARTTLS,AUTH XOAUTH2"
                                       "--require-auth")
      (let* ((tokens (copy-sequence (car case)))
             (smtpmail-auth-supported '(xoauth2))
             (why
              (cl-letf (((symbol-function 'auth-source-search)
                         (lambda (&rest _)
                           ;; As those do that run a program for it.
                           (list (list :user "alice"
                                       :secret (lambda ()
                                                 (if (cdr tokens) (pop tokens)
                                                   (car tokens))))))))
                (smtpmail-test-send))))
        (if (not (nth 1 case))
            (should-not why)
          (should (string-search "401" why))
          (should-not (string-search "{" why)))
        (should (= (nth 2 case)
                   (1- (length (split-string (smtpmail-test-log server)
                                             "^C: AUTH XOAUTH2")))))))))

(ert-deftest smtpmail-trust-tests-a-weaker-login-is-said ()
  (smtpmail-trust-tests-remembering
    (let (port
          (options (list "--user" "alice" "--password" smtpmail-test-canary))
          (smtpmail-auth-supported '(scram-sha-256 plain)))
      (cl-flet ((send (port)
                  (let ((smtpmail-trust-file trust-file)
                        (smtpmail-auth-credentials
                         `(("localhost" ,port "alice" ,smtpmail-test-canary)))
                        (warned nil))
                    (cl-letf (((symbol-function 'display-warning)
                               (lambda (_type text &rest _) (push text warned))))
                      (should-not (smtpmail-test-send)))
                    warned)))
        (smtpmail-test-with-server (server options "--caps"
                                           "STARTTLS,AUTH SCRAM-SHA-256 PLAIN")
          (setq port smtpmail-smtp-service)
          (should-not (send port))
          (should-not (send port)))
        (smtpmail-test-with-server (server options "--port" (number-to-string port)
                                           "--caps" "STARTTLS,AUTH PLAIN")
          (let ((warned (send port)))
            (should (= 1 (length warned)))
            (should (string-search "alice logs in at localhost by PLAIN now"
                                   (car warned)))
            (should (string-search "SCRAM-SHA-256 before" (car warned))))
          (smtpmail-test-should-hide-canary (smtpmail-test-text trust-file)))))))

(provide 'smtpmail-trust-tests)

;;; smtpmail-trust-tests.el ends here
