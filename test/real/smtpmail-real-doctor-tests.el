;;; smtpmail-real-doctor-tests.el --- Doctor and set-up at real servers  -*- lexical-binding: t; -*-

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

;; What the doctor finds at real servers, and an account at Postfix that is set
;; up at a terminal.
;;
;; make test-servers

;;; Code:

(eval-and-compile
  (let ((here (file-name-directory (or load-file-name
                                       (bound-and-true-p byte-compile-current-file)
                                       buffer-file-name))))
    (push here load-path)
    (push (expand-file-name ".." here) load-path))
  (require 'smtpmail-real)
  (require 'smtpmail-terminal))
(require 'smtpmail-doctor)

(defun smtpmail-real-doctor-tests--findings (recipient)
  "Return what the doctor finds with the variables, trying RECIPIENT."
  (nth 1 (smtpmail-doctor--examine nil recipient)))

(defun smtpmail-real-doctor-tests--find (what findings)
  "Return the finding about WHAT in FINDINGS."
  (seq-find (lambda (finding) (equal (nth 1 finding) what)) findings))

(smtpmail-real-deftest doctor (postfix exim aiosmtpd smtp-server)
  "All is well at each port that has a login, and nothing is sent."
  (dolist (kind '(starttls ssl))
    (ert-info ((symbol-name kind))
      (smtpmail-real-with (server kind)
        (let ((findings (smtpmail-real-doctor-tests--findings "bob@example.org")))
          (ert-info ((format "%S" findings))
            (should-not (assq 'failure findings))
            (dolist (what '("Address" "Greeting" "Our name" "TLS" "Certificate"
                            "Mechanisms" "Password" "Login" "Sender" "Recipient"))
              (should (eq 'ok (car (smtpmail-real-doctor-tests--find what findings)))))
            (should-not (string-search (plist-get server :password)
                                       (format "%S" findings))))
          (smtpmail-real-check-nothing-arrived server))))))

(smtpmail-real-deftest doctor-wrong-password (postfix exim aiosmtpd smtp-server)
  "The server's refusal, and the line to correct."
  (smtpmail-real-with (server 'starttls
                       auth-sources (list (smtpmail-real--authinfo
                                           server 'starttls "wr0ng")))
    (let ((failure (assq 'failure (smtpmail-real-doctor-tests--findings nil))))
      (should (equal (nth 1 failure) "Login"))
      (should (string-match-p "535" (nth 2 failure)))
      (should (string-match-p "Correct user name or password in .*authinfo-"
                              (nth 3 failure))))))

(smtpmail-real-deftest doctor-wrong-security (postfix)
  "The port for STARTTLS taken for one with TLS, and the other way round."
  (smtpmail-real-with (server 'starttls smtpmail-stream-type 'ssl)
    (should (string-match-p "`smtpmail-stream-type' to `starttls'"
                            (nth 3 (assq 'failure (smtpmail-real-doctor-tests--findings
                                                   nil))))))
  (smtpmail-real-with (server 'ssl smtpmail-stream-type 'starttls
                       smtpmail-doctor-timeout 5)
    (should (string-match-p "begins with TLS: set `smtpmail-stream-type' to `ssl'"
                            (nth 3 (assq 'failure (smtpmail-real-doctor-tests--findings
                                                   nil)))))))

(smtpmail-real-deftest setup (postfix)
  "An account is set up, and the test mail arrives."
  (let* ((port (smtpmail-real-port server 'ssl))
         (user (plist-get server :user)))
    (smtpmail-terminal-with
        (terminal (smtpmail-test--make-server :port port :ca (plist-get server :ca))
                  '(setq smtpmail-smtp-server nil
                         smtpmail-trust-file nil
                         auth-sources '("~/.authinfo")
                         user-init-file (concat tests-directory "none.el")
                         custom-file (concat tests-directory "custom.el")))
      (smtpmail-terminal-keys terminal "C-u" "M-x")
      (smtpmail-terminal-type terminal "smtpmail-setup")
      (smtpmail-terminal-shows terminal "^Your mail address")
      (smtpmail-terminal-type terminal "alice@example.org")
      (smtpmail-terminal-shows terminal "^Server that takes your mail")
      (smtpmail-terminal-type terminal "localhost")
      (smtpmail-terminal-shows terminal "^Port (465")
      (smtpmail-terminal-type terminal (number-to-string port))
      (smtpmail-terminal-shows terminal "^Protected by")
      (smtpmail-terminal-type terminal "TLS from the beginning")
      (smtpmail-terminal-shows terminal "^Password of alice@example\\.org")
      (unless (equal user "alice@example.org")
        (smtpmail-terminal-keys terminal "Enter")
        (smtpmail-terminal-shows terminal "It answers; no login was tried")
        (smtpmail-terminal-keys terminal "u")
        (smtpmail-terminal-shows terminal "^User name at the server")
        (smtpmail-terminal-keys terminal "C-a" "C-k")
        (smtpmail-terminal-type terminal user)
        (smtpmail-terminal-shows terminal "Try it (t)\\?")
        (smtpmail-terminal-keys terminal "t")
        (smtpmail-terminal-shows terminal (concat "^Password of " user)))
      (smtpmail-terminal-type terminal (plist-get server :password))
      (smtpmail-terminal-shows terminal "It works")
      (smtpmail-terminal-keys terminal "m")
      (smtpmail-terminal-shows terminal "Sent a test mail to alice@example\\.org")
      (smtpmail-terminal-keys terminal "q")
      (let ((file (car (smtpmail-real--await smtpmail-real--delivery-limit
                                             (smtpmail-real--unseen server)))))
        (should file)
        (push file smtpmail-real--seen)
        (with-temp-buffer
          (insert-file-contents (expand-file-name (file-name-nondirectory file)
                                                  (plist-get server :envelopes)))
          (should (equal (split-string (buffer-string) "\n" t)
                         '("alice@example.org" "alice@example.org"))))))))

(provide 'smtpmail-real-doctor-tests)

;;; smtpmail-real-doctor-tests.el ends here
