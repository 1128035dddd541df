;;; smtpmail-doctor-screen-tests.el --- The report as it is seen  -*- lexical-binding: t -*-

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

;; The report of the doctor in the manual is taken here: `make screens' writes
;; it, and without that the test fails if it is not what is shown.  And the
;; report at a terminal, with its keys.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-terminal))
(require 'smtpmail-doctor)

(defconst smtpmail-doctor-screen-tests--file
  (expand-file-name "../doc/doctor-report.txt"
                    (file-name-directory (or load-file-name buffer-file-name)))
  "The report in the manual.")

(defun smtpmail-doctor-screen-tests--steady (reports port)
  "Return REPORTS with the same times, names and numbers always.
PORT is that of the server."
  (let ((pairs `((,(number-to-string port) . "587")
                 ("[0-9]+-[0-9]+-[0-9]+ [0-9]+:[0-9]+:[0-9]+ [-+][0-9]+"
                  . "2026-05-04 20:31:07 +0200")
                 ("from [A-Z][a-z][a-z] .* \\+00:00 until .* \\+00:00,"
                  . "from May  1 00:00:00 2026 +00:00 until Jul 30 23:59:59 2026 +00:00,")
                 ("SHA-256 .*" . "SHA-256 5e:0c:...:71")
                 ("smtpmail test CA" . "Example CA")
                 ("[^ ]+/\\(authinfo\\)" . "~/.\\1"))))
    (mapcar (pcase-lambda (`(,title ,findings))
              (let ((steady (lambda (part)
                              (if (stringp part)
                                  (seq-reduce
                                   (lambda (text pair)
                                     (replace-regexp-in-string
                                      (car pair) (cdr pair) text t))
                                   pairs part)
                                part))))
                (list (funcall steady title)
                      (mapcar (lambda (finding) (mapcar steady finding))
                              findings))))
            reports)))

(ert-deftest smtpmail-doctor-screen-tests-manual ()
  "The manual shows what the program shows."
  (smtpmail-test-with-server (server "--user" "jane" "--password" smtpmail-test-canary
                                     "--caps" "STARTTLS,PIPELINING,SIZE 35882577"
                                     "--caps-tls" "PIPELINING,SIZE 35882577,AUTH PLAIN LOGIN"
                                     "--require-auth")
    (smtpmail-test-with-directory directory
      (let* ((netrc (expand-file-name "authinfo" directory))
             (auth-sources (list netrc))
             (auth-source-do-cache nil)
             (smtpmail-ehlo-name "laptop.example.org")
             (user-mail-address "jane@example.org"))
        (with-temp-file netrc
          (insert "machine imap.localhost port imap login jane password "
                  smtpmail-test-canary "\n"))
        (let* ((text (smtpmail-doctor--text
                      (smtpmail-doctor-screen-tests--steady
                       (smtpmail-doctor--reports nil "friend@example.net")
                       (smtpmail-test-server-port server))))
               (report (substring-no-properties
                        text (string-match "^The variables" text))))
          (smtpmail-test-should-hide-canary report)
          (if (getenv "SMTPMAIL_WRITE_SCREENS")
              (write-region report nil smtpmail-doctor-screen-tests--file)
            (should (equal report (smtpmail-test-text
                                   smtpmail-doctor-screen-tests--file)))))))))

(ert-deftest smtpmail-doctor-screen-tests-terminal ()
  "The report comes up, g looks again, and C-g ends a look at a silent server."
  (smtpmail-test-with-server (server "--on" "greeting#3=silence")
    (smtpmail-terminal-with (terminal server)
      (smtpmail-terminal-keys terminal "M-x")
      (smtpmail-terminal-type terminal "smtpmail-doctor")
      (smtpmail-terminal-shows terminal "ok +Greeting")
      (smtpmail-terminal-keys terminal "g")
      (smtpmail-test-wait "the second look"
                          (lambda ()
                            (directory-files (smtpmail-test-server-spool server)
                                             nil "\\`session-0*2\\.log\\'")))
      (smtpmail-terminal-shows terminal "ok +Greeting")
      (smtpmail-terminal-keys terminal "g")
      (smtpmail-terminal-shows terminal "Waiting for localhost: its greeting")
      (smtpmail-terminal-keys terminal "C-g")
      (smtpmail-terminal-shows terminal "Stopped; nothing was sent"))))

(provide 'smtpmail-doctor-screen-tests)

;;; smtpmail-doctor-screen-tests.el ends here
