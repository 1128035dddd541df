;;; smtpmail-send-terminal-tests.el --- What one sees of a send  -*- lexical-binding: t -*-

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

;; A large mail is sent at a terminal, over a line that takes its time.  What the
;; echo area shows is what README.org shows: `make screens' writes it there.

;;; Code:

(require 'smtpmail-terminal)

(defconst smtpmail-send-terminal-tests--screen
  (expand-file-name "../doc/send-screen.txt" smtpmail-test-lisp)
  "What the README shows of a send.")

(defun smtpmail-send-terminal-tests--steady (line)
  "Return LINE without what differs from one send to the next."
  (thread-last line
    (string-trim)
    (replace-regexp-in-string "[0-9]+%" "40%")
    (replace-regexp-in-string "[0-9.]+ of \\([0-9.]+\\) MB, [0-9.]+ MB/s"
                              "3.2 of \\1 MB, 1.5 MB/s")
    (replace-regexp-in-string "queued as [0-9A-Za-z]+" "queued as 4bXq7T")))

(defun smtpmail-send-terminal-tests--line (screen regexp)
  "Return the line of SCREEN that REGEXP matches, made steady."
  (string-match (concat "^.*" regexp ".*$") screen)
  (smtpmail-send-terminal-tests--steady (match-string 0 screen)))

(ert-deftest smtpmail-send-terminal-tests-screen ()
  "Progress is shown while a large mail goes out, then the server's words."
  (smtpmail-test-with-server
      (server "--on" "text:1000000=delay 1500"
              "--on" "text:6000000=delay 5000"
              "--on" "dot=reply 250 2.0.0 Ok: queued as 4bXq7T")
    (smtpmail-terminal-with
        (terminal server
                  '(progn
                     (require 'smtpmail)
                     (setq mail-user-agent 'sendmail-user-agent)
                     (global-set-key
                      (kbd "<f8>")
                      (lambda ()
                        (interactive)
                        (goto-char (point-max))
                        (dotimes (_ 230000)
                          (insert "A line of a photograph, as it goes by mail, "
                                  "is as long as this one.\n"))
                        (goto-char (point-min))))))
      (smtpmail-terminal-keys terminal "F8")
      (smtpmail-terminal-keys terminal "F5")
      (let* ((progress "Sending email [0-9]+% (.*C-g stops)")
             (sent "Sent: 250")
             (lines
              (list (smtpmail-send-terminal-tests--line
                     (smtpmail-terminal-shows terminal progress) progress)
                    (smtpmail-send-terminal-tests--line
                     (smtpmail-terminal-shows terminal sent) sent)))
             (text (concat (string-join lines "\n") "\n")))
        (if (getenv "SMTPMAIL_WRITE_SCREENS")
            (let ((coding-system-for-write 'utf-8-unix))
              (write-region text nil smtpmail-send-terminal-tests--screen))
          (should (equal text (smtpmail-test-text
                               smtpmail-send-terminal-tests--screen))))))))

(ert-deftest smtpmail-send-terminal-tests-readme ()
  "README.org shows the screens that were taken."
  (let ((readme (smtpmail-test-text
                 (expand-file-name "../README.org" smtpmail-test-lisp))))
    (dolist (file (list smtpmail-send-terminal-tests--screen))
      (should (string-search (smtpmail-test-text file) readme)))))

(provide 'smtpmail-send-terminal-tests)

;;; smtpmail-send-terminal-tests.el ends here
