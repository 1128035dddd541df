;;; smtpmail-quirks-tests.el --- What real servers do to a client  -*- lexical-binding: t -*-

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

;; The oddities of real servers that no transcript can show, because they
;; need time, TLS or a whole Emacs, and a check of the tables in
;; test/servers/*.org that say what shows which.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-test))

(defconst smtpmail-quirks-tests--root
  (expand-file-name "../" (file-name-directory
                           (or load-file-name buffer-file-name)))
  "Directory of the project.")

(ert-deftest smtpmail-quirks-tests-never-greets ()
  "A server that never greets is given up, and named."
  (smtpmail-test-with-server (server "--on" "greeting=silence")
    (let* ((smtpmail-timeout 1)
           (why (smtpmail-test-send)))
      (should (string-match-p "\\`Sending failed: localhost: no answer .*greeting" why)))))

(ert-deftest smtpmail-quirks-tests-slow-login ()
  "A login that takes the server seconds is waited for, be it right or wrong."
  (dolist (password (list smtpmail-test-canary "wrong"))
    (smtpmail-test-with-server (server "--caps" "AUTH PLAIN"
                                       "--user" "alice"
                                       "--password" smtpmail-test-canary
                                       "--require-auth"
                                       "--on" "auth=delay 2500")
      (let* ((smtpmail-auth-credentials
              `(("localhost" ,(smtpmail-test-server-port server)
                 "alice" ,password)))
             (why (smtpmail-test-send)))
        (if (equal password "wrong")
            (should (string-match-p "\\`Sending failed: 535 .*in response to AUTH"
                                    why))
          (should-not why)
          (should (equal (alist-get 'auth_user (smtpmail-test-message server))
                         "alice")))))))

(ert-deftest smtpmail-quirks-tests-550-where-auth-is-offered-in-clear ()
  "In batch, a 550 to RCPT stays the error where AUTH is offered in clear.
The built-in connects again, its security manager refuses, and the error
is \"Unable to contact server\"."
  (smtpmail-test-with-server (server "--caps" "AUTH PLAIN LOGIN"
                                     "--on" "rcpt=reply 550 5.7.1 No relaying")
    (should (equal (smtpmail-test-send)
                   (concat "Sending failed: 550 5.7.1 No relaying in response"
                           " to RCPT TO:<you@example.net>")))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-quirks-tests-tls-without-a-home ()
  "TLS needs nothing in the home directory, nor that there is one.
The built-in writes network-security.data there, and fails if it cannot."
  (dolist (type '(starttls ssl))
    (smtpmail-test-with-server (server "--also-ssl")
      (let ((run (smtpmail-test-run
                  `((require 'smtpmail)
                    ,@(smtpmail-test-settings server)
                    (setq smtpmail-stream-type ',type
                          smtpmail-smtp-service
                          ,(if (eq type 'ssl)
                               (smtpmail-test-server-tls-port server)
                             (smtpmail-test-server-port server)))
                    (with-temp-buffer
                      (insert ,(smtpmail-test-mail "To: you@example.net\n"))
                      (smtpmail-send-it)))
                  :home "/dev/null/home")))
        (ert-info ((plist-get run :stderr))
          (should (eql 0 (plist-get run :exit))))
        (should (alist-get 'tls (smtpmail-test-message server)))))))

(ert-deftest smtpmail-quirks-tests-table ()
  "What the tables name is there: each row a test, each test a test."
  (let ((tests (with-temp-buffer
                 (dolist (file (append
                                (directory-files
                                 (concat smtpmail-quirks-tests--root "test") t
                                 "-tests\\.el\\'")
                                (directory-files-recursively
                                 (concat smtpmail-quirks-tests--root
                                         "test/checklist")
                                 "-tests\\.el\\'")
                                (directory-files-recursively
                                 (concat smtpmail-quirks-tests--root "test/real")
                                 "-tests\\.el\\'")
                                (directory-files-recursively
                                 (concat smtpmail-quirks-tests--root "test/rust")
                                 "\\.rs\\'")
                                (directory-files-recursively
                                 (concat smtpmail-quirks-tests--root "src")
                                 "\\.rs\\'")))
                   (insert-file-contents file))
                 (buffer-string)))
        (rows 0))
    (with-temp-buffer
      (dolist (table '("quirks" "starttls" "hostile" "safety"))
        (insert-file-contents
         (format "%stest/servers/%s.org" smtpmail-quirks-tests--root table)))
      (while (re-search-forward "^| [^|]+ | +\\([^|\n]+[^ |]\\) +|$" nil t)
        (let ((shown (match-string 1)))
          (unless (equal shown "shown by")
            (setq rows (1+ rows))
            (dolist (name (split-string shown ", "))
              (ert-info (name)
                (should
                 (if (string-suffix-p ".txt" name)
                     (file-exists-p (concat smtpmail-quirks-tests--root
                                            "test/transcripts/" name))
                   (string-match-p
                    (concat "\\(?:deftest \\|fn \\)"
                            (regexp-quote
                             (replace-regexp-in-string "\\`real " "" name))
                            "[ (]")
                    tests)))))))))
    (should (> rows 110))))

(provide 'smtpmail-quirks-tests)

;;; smtpmail-quirks-tests.el ends here
