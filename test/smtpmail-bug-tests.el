;;; smtpmail-bug-tests.el --- What a report of a problem shows  -*- lexical-binding: t -*-

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

;; The report has what helps, and no secret, wherever one may be set.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-bug)

(defun smtpmail-bug-tests--report (with-trace)
  "Return the report's text, WITH-TRACE or without."
  (cl-letf (((symbol-function 'y-or-n-p) (lambda (_) with-trace)))
    (save-window-excursion
      (let ((inhibit-message t)) (smtpmail-report-bug))
      (prog1 (buffer-string)
        (kill-buffer)))))

(defconst smtpmail-bug-tests--user "alice.secret"
  "A user name that may not be in a report.")

(ert-deftest smtpmail-bug-tests-settings ()
  "Settings that differ are there, and those that do not are not."
  (let ((smtpmail-smtp-server "mx.example.org")
        (smtpmail-stream-type 'starttls)
        (smtpmail-retries 3)
        (smtpmail-debug-verb nil))
    (let ((report (smtpmail-bug-tests--report nil)))
      (should (string-search (concat "smtpmail " smtpmail-module-version) report))
      (should (string-search emacs-version report))
      (should (string-search "smtpmail-smtp-server: \"mx.example.org\"" report))
      (should (string-search "smtpmail-stream-type: starttls" report))
      (should (string-search "smtpmail-retries: 3" report))
      (should-not (string-search "smtpmail-debug-verb" report)))))

(ert-deftest smtpmail-bug-tests-secrets ()
  "No password and no name of a user, in whatever option it stands."
  (let* ((secret smtpmail-test-canary)
         (user smtpmail-bug-tests--user)
         (smtpmail-auth-credentials
          `(("mx.example.org" 587 ,user ,secret)
            ;; Whatever somebody may have taken for a text.
            ("mx.example.org" 25 ,(intern user) ,(intern secret))))
         (smtpmail-starttls-credentials `(("mx.example.org" 587 ,secret ,user)))
         (smtpmail-smtp-user user)
         (smtpmail-accounts
          `((".*" :server "mx.example.org" :user ,user :envelope-sender ,user)))
         (smtpmail-ehlo-name secret)
         (auth-sources (list `(:source ,secret :host "x" :user ,user)
                             (lambda () secret)))
         (user-mail-address (concat user "@example.org"))
         (mail-envelope-from (cons secret user))
         (report (smtpmail-bug-tests--report nil)))
    (smtpmail-test-should-hide-canary report)
    (should-not (string-search user report))
    ;; That they are set is there.
    (should (string-search "smtpmail-auth-credentials: <2 entries>" report))
    (should (string-search "smtpmail-smtp-user: <text>" report))
    (should (string-search "smtpmail-accounts: " report))))

(ert-deftest smtpmail-bug-tests-trace ()
  "The last trace comes if it is wanted, without login, text and names."
  (smtpmail-test-with-server (server "--user" smtpmail-bug-tests--user
                                     "--password" smtpmail-test-canary
                                     "--require-auth"
                                     "--on" "dot=reply 554 5.7.1 no")
    (let ((smtpmail-auth-credentials
           `(("localhost" ,(smtpmail-test-server-port server)
              ,smtpmail-bug-tests--user ,smtpmail-test-canary)))
          (smtpmail-debug-info t))
      (should (smtpmail-test-send "To: bob.private@example.net\nSubject: hush\n"
                                  "Dear Bob\n"))
      (let ((without (smtpmail-bug-tests--report nil))
            (with (smtpmail-bug-tests--report t)))
        (should-not (string-search "S: 220" without))
        (should (string-search "S: 220" with))
        (should (string-search "RCPT TO:<..@example.net>" with))
        (dolist (report (list without with))
          (smtpmail-test-should-hide-canary report)
          (dolist (private (list smtpmail-bug-tests--user "bob.private"
                                 "Dear Bob" "hush"))
            (should-not (string-search private report))))
        ;; The trace itself is as it was.
        (should (string-search "Dear Bob"
                               (with-current-buffer (smtpmail-trace-last-buffer)
                                 (buffer-string))))))))

(provide 'smtpmail-bug-tests)

;;; smtpmail-bug-tests.el ends here
