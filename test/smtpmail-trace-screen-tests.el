;;; smtpmail-trace-screen-tests.el --- The trace in the manual  -*- lexical-binding: t -*-

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

;; The trace in the manual is taken here: `make screens' writes it, and without
;; that the test fails if it is not what is kept.

;;; Code:

(require 'smtpmail-test)

(defconst smtpmail-trace-screen-tests--file
  (expand-file-name "../doc/trace-screen.txt"
                    (file-name-directory (or load-file-name buffer-file-name)))
  "The trace in the manual.")

(defun smtpmail-trace-screen-tests--steady (text port)
  "Return TEXT, a trace, with the same times, ports and dates always.
PORT is that of the server.  The reply to QUIT, which nobody waits for, is
not in it."
  (let ((milliseconds 0))
    (seq-reduce
     (lambda (text pair)
       (replace-regexp-in-string (car pair) (cdr pair) text t))
     `(("^ *[0-9.]+ S: 221 .*\n" . "")
       (,(format "\\b%d\\b" port) . "587")
       ("[0-9]+-[0-9]+-[0-9]+ [0-9]+:[0-9]+:[0-9]+ [-+][0-9]+"
        . "2026-05-04 20:31:07 +0200")
       ("valid from .* until .* \\+00:00"
        . "valid from May  1 ... until Jul 30 23:59:59 2026 +00:00")
       ("\\(?:[0-9a-f][0-9a-f]:\\)\\{31\\}[0-9a-f][0-9a-f]" . "5e:0c:...:71")
       ("smtpmail test CA" . "Example CA")
       ("^ *[0-9]+\\.[0-9]+ " . ,(lambda (_)
                                 (format "%8.3f "
                                         (/ (setq milliseconds (+ 2 milliseconds))
                                            1000.0)))))
     text)))

(ert-deftest smtpmail-trace-screen-tests-manual ()
  "The manual shows what the program keeps."
  (smtpmail-test-with-server
      (server "--user" "jane" "--password" smtpmail-test-canary "--require-auth"
              "--caps" "STARTTLS,PIPELINING,SIZE 35882577"
              "--caps-tls" "PIPELINING,SIZE 35882577,AUTH PLAIN LOGIN"
              "--on" "rcpt=reply 550 5.1.1 No such user here")
    (smtpmail-test-with-directory directory
      (let* ((netrc (expand-file-name "authinfo" directory))
             (auth-sources (list netrc))
             (auth-source-do-cache nil)
             (port (smtpmail-test-server-port server))
             (smtpmail-ehlo-name "laptop.example.org"))
        (with-temp-file netrc
          (insert (format "machine localhost port %d login jane password %s\n"
                          port smtpmail-test-canary)))
        (should (string-match-p "No such user here"
                                (smtpmail-test-send "From: jane@example.org
To: freind@example.net")))
        (let ((trace (smtpmail-trace-screen-tests--steady
                      (with-current-buffer (car (smtpmail-test-traces))
                        (buffer-substring-no-properties (point-min) (point-max)))
                      port)))
          (smtpmail-test-should-hide-canary trace)
          (if (getenv "SMTPMAIL_WRITE_SCREENS")
              (write-region trace nil smtpmail-trace-screen-tests--file)
            (should (equal trace (smtpmail-test-text
                                  smtpmail-trace-screen-tests--file)))))))))

(provide 'smtpmail-trace-screen-tests)

;;; smtpmail-trace-screen-tests.el ends here
