;;; smtpmail-trust-terminal-tests.el --- The questions of trust at a terminal  -*- lexical-binding: t -*-

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

;; A person at a terminal is asked about a certificate, about TLS that went
;; away, and for the passphrase of a key.

;;; Code:

(require 'smtpmail-terminal)

(defun smtpmail-trust-terminal-tests-file (terminal)
  "Return the text of the trust file of TERMINAL's Emacs, or nil."
  (smtpmail-test-text (smtpmail-terminal--file terminal ".emacs.d/smtpmail-trust")))

(defun smtpmail-trust-terminal-tests-ask (terminal)
  "Send at TERMINAL and wait for the question about the certificate."
  (smtpmail-terminal-keys terminal "F5")
  (smtpmail-terminal-shows terminal "n: no, o: this once, a: always"))

(ert-deftest smtpmail-trust-terminal-tests-a-certificate-is-trusted-once-always-or-not ()
  (smtpmail-test-with-server (server "--cert" "selfsigned")
    (smtpmail-terminal-with (terminal server)
      (smtpmail-trust-terminal-tests-ask terminal)
      (let ((screen (smtpmail-terminal-shows terminal "Nothing was sent")))
        (dolist (word '("self-signed" "Signed by: +CN=localhost" "Valid: "
                        "For: +localhost, 127.0.0.1" "SHA-256: "
                        "Nothing was sent"))
          (should (string-match-p word screen))))
      ;; Anything else is no answer.
      (smtpmail-terminal-keys terminal "x")
      (smtpmail-terminal-keys terminal "n")
      (should (string-search "self-signed"
                             (cadr (smtpmail-terminal-note terminal "end"))))
      (smtpmail-trust-terminal-tests-ask terminal)
      (smtpmail-terminal-keys terminal "C-g")
      (let ((end (smtpmail-terminal-note terminal "end")))
        (should (eq (car end) 'quit))
        (should (string-search "nothing was sent" (nth 2 end))))
      (should-not (smtpmail-test-messages server))
      (smtpmail-trust-terminal-tests-ask terminal)
      (smtpmail-terminal-keys terminal "o")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (should-not (string-search "pin " (or (smtpmail-trust-terminal-tests-file
                                             terminal)
                                            "")))
      ;; Once is once.
      (smtpmail-trust-terminal-tests-ask terminal)
      (smtpmail-terminal-keys terminal "a")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (should (string-match-p
               (format "^pin localhost %d [-0-9]+ [:0-9a-f]+$"
                       (smtpmail-test-server-port server))
               (smtpmail-trust-terminal-tests-file terminal)))
      ;; Always needs no question any more.
      (smtpmail-terminal-keys terminal "F5")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (should (= 3 (length (smtpmail-test-messages server)))))))

(ert-deftest smtpmail-trust-terminal-tests-a-bridge-on-this-machine-takes-one-question ()
  (smtpmail-test-with-server (server "--cert" "selfsigned" "--user" "alice"
                                     "--password" smtpmail-test-canary
                                     "--require-auth")
    (smtpmail-terminal-with
        (terminal server
                  `(setq smtpmail-stream-type 'starttls
                         smtpmail-auth-credentials
                         '(("localhost" ,(smtpmail-test-server-port server) "alice"
                            ,smtpmail-test-canary))))
      (smtpmail-trust-terminal-tests-ask terminal)
      (smtpmail-terminal-keys terminal "a")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (smtpmail-terminal-keys terminal "F5")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (dolist (message (smtpmail-test-messages server))
        (should (alist-get 'tls message))
        (should (equal (alist-get 'auth_user message) "alice"))))))

(ert-deftest smtpmail-trust-terminal-tests-tls-that-went-away-is-asked-about ()
  (smtpmail-test-with-server (server "--caps" "8BITMIME")
    (smtpmail-terminal-with
        (terminal server
                  `(let ((file (locate-user-emacs-file "smtpmail-trust")))
                     (write-region
                      ,(format "smtpmail-trust 1\ntls localhost %d 2026-01-01\n"
                               (smtpmail-test-server-port server))
                      nil file nil 'quiet)
                     (set-file-modes file #o600)))
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-shows terminal "spoke TLS before.*without encryption")
      (smtpmail-terminal-type terminal "no")
      (should (string-search "spoke TLS before"
                             (cadr (smtpmail-terminal-note terminal "end"))))
      (should-not (smtpmail-test-messages server))
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-shows terminal "without encryption")
      (smtpmail-terminal-type terminal "yes")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent))))))

(ert-deftest smtpmail-trust-terminal-tests-paranoid-asks-about-a-good-certificate ()
  (smtpmail-test-with-server (server)
    (smtpmail-terminal-with (terminal server
                                      '(setq network-security-level 'paranoid))
      (smtpmail-trust-terminal-tests-ask terminal)
      (smtpmail-terminal-shows terminal "not seen before")
      (smtpmail-terminal-keys terminal "a")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (smtpmail-terminal-keys terminal "F5")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent))))))

(ert-deftest smtpmail-trust-terminal-tests-a-passphrase-is-asked-for-once-and-not-kept ()
  (unless (executable-find "openssl") (ert-skip "No openssl"))
  (smtpmail-test-with-server (server "--client-ca")
    (smtpmail-test-with-directory directory
      (let ((key (expand-file-name "locked.key" directory))
            (certs (file-name-directory (smtpmail-test-server-ca server))))
        (should (eql 0 (call-process
                        "openssl" nil nil nil "pkcs8" "-topk8" "-out" key
                        "-in" (expand-file-name "client.key" certs)
                        "-passout" (concat "pass:" smtpmail-test-canary))))
        (smtpmail-terminal-with
            (terminal server
                      `(setq smtpmail-debug-info t
                             smtpmail-starttls-credentials
                             '(("localhost" ,(smtpmail-test-server-port server)
                                ,key ,(expand-file-name "client.pem" certs))))
                      '(global-set-key
                        (kbd "<f8>")
                        (lambda () (interactive)
                          (tests-note "texts"
                                      (mapcar (lambda (buffer)
                                                (with-current-buffer buffer
                                                  (buffer-substring-no-properties
                                                   (point-min) (point-max))))
                                              (buffer-list))))))
          (smtpmail-terminal-keys terminal "F5")
          (smtpmail-terminal-shows terminal "Passphrase of the key .*locked.key:")
          (smtpmail-terminal-type terminal "wrong")
          (smtpmail-terminal-shows terminal "does not fit.*Passphrase")
          (smtpmail-terminal-type terminal smtpmail-test-canary)
          (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
          (smtpmail-terminal-keys terminal "F5")
          (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
          (dolist (message (smtpmail-test-messages server))
            (should (equal (alist-get 'client_certificate message)
                           "smtpmail test client")))
          (smtpmail-terminal-keys terminal "F8")
          (apply #'smtpmail-test-should-hide-canary
                 (smtpmail-terminal-note terminal "texts")))))))

(provide 'smtpmail-trust-terminal-tests)

;;; smtpmail-trust-terminal-tests.el ends here
