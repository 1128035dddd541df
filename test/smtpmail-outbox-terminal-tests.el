;;; smtpmail-outbox-terminal-tests.el --- the outbox at a terminal  -*- lexical-binding: t -*-

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

;; What the outbox looks like, and the question about unknown mail, in an
;; Emacs at a terminal.  The screen in the manual is taken here: `make screens'
;; writes it, and without that the test fails if it is not what is shown.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-terminal))

(defconst smtpmail-outbox-terminal-tests--screen
  (expand-file-name "../doc/outbox-screen.txt"
                    (file-name-directory (or load-file-name buffer-file-name)))
  "The screen in the manual.")

(defconst smtpmail-outbox-terminal-tests--keys
  '((setq smtpmail-queue-dir (concat tests-directory "queue/")
          user-full-name "Jane Doe")
    (defun tests-queue (subject to)
      (let ((smtpmail-queue-mail t))
        (with-temp-buffer
          (insert "From: Jane Doe <jane@example.org>\nTo: " to
                  "\nSubject: " subject "\n" mail-header-separator "\nText\n")
          (smtpmail-send-it))))
    (global-set-key (kbd "<f8>")
                    (lambda ()
                      (interactive)
                      (dolist (mail '(("Contract, signed" "lawyer@example.com")
                                      ("Einladung für Zoë" "slow@example.net")
                                      ("Your invoice" "gone@example.com")))
                        (apply #'tests-queue mail))
                      (tests-note "queued" t)))
    (global-set-key (kbd "<f9>") #'smtpmail-send-queued-mail)
    (global-set-key (kbd "<f10>")
                    (lambda ()
                      (interactive)
                      (tests-queue "Minutes of the meeting" "board@example.org")
                      (tests-queue "Draft of the poem" "editor@example.org")
                      (smtpmail-outbox)
                      (delete-other-windows))))
  "What the keys of the Emacs at the terminal do.")

(defmacro smtpmail-outbox-terminal-tests--with (terminal server &rest body)
  "Run BODY with TERMINAL and SERVER, which hangs up after the first message."
  (declare (indent 2) (debug t))
  `(smtpmail-test-with-server
       (,server "--on" "dot#1=close"
                "--on" "rcpt:slow@example.net=reply 450 4.2.0 greylisted"
                "--on" "rcpt:gone@example.com=reply 550 5.1.1 no such user"
                "--caps" "PIPELINING,8BITMIME,SIZE")
     (smtpmail-terminal-with
         (,terminal ,server ,@(mapcar (lambda (form) `',form)
                                      smtpmail-outbox-terminal-tests--keys))
       (smtpmail-terminal-keys ,terminal "F8")
       (smtpmail-terminal-note ,terminal "queued")
       (smtpmail-terminal-keys ,terminal "F9")
       (smtpmail-terminal-shows
        ,terminal "A message may have been delivered, .*Contract, signed to lawyer")
       ,@body)))

(ert-deftest smtpmail-outbox-terminal-tests-resend ()
  "The question about unknown mail is asked, and r sends it again."
  (smtpmail-outbox-terminal-tests--with terminal server
    (smtpmail-terminal-keys terminal "r")
    (smtpmail-terminal-shows terminal "Sending failed: 2 of 3 queued .*Zoë: 450")
    (smtpmail-terminal-shows terminal "1 sent, 1 waiting, 1 refused")
    (should (= 1 (length (smtpmail-test-messages server))))))

(ert-deftest smtpmail-outbox-terminal-tests-quit ()
  "A quit at the question leaves all as it is."
  (smtpmail-outbox-terminal-tests--with terminal server
    (smtpmail-terminal-keys terminal "C-g")
    ;; What is typed before that may be thrown away.
    (smtpmail-terminal-shows terminal "^Quit")
    (smtpmail-terminal-keys terminal "F10")
    (smtpmail-terminal-shows terminal "Contract, signed +[0-9]+ unknown")
    (should (= 0 (length (smtpmail-test-messages server))))))

(defun smtpmail-outbox-terminal-tests--steady (screen)
  "Return the rows of SCREEN with the same times always."
  (with-temp-buffer
    (insert screen)
    (goto-char (point-min))
    (while (re-search-forward "\\(?:[0-9]+-[0-9]+ \\)?[0-9][0-9]:[0-9][0-9]" nil t)
      (replace-match "20:31" t t))
    (goto-char (point-min))
    ;; How the column is marked by which the list is sorted: since Emacs 30.
    (when (re-search-forward "^  Queued v  " nil t)
      (replace-match "  Queued [v]" t t))
    (goto-char (point-min))
    (let ((rows nil))
      (while (re-search-forward "^\\(?:  Queued.*\\|[ *] 20:31 .*\\)$" nil t)
        (push (string-trim-right (match-string 0)) rows))
      (concat (string-join (nreverse rows) "\n") "\n"))))

(ert-deftest smtpmail-outbox-terminal-tests-screen ()
  "The manual shows what the program shows."
  (smtpmail-outbox-terminal-tests--with terminal server
    (smtpmail-terminal-keys terminal "l")
    (smtpmail-terminal-shows terminal "3 of 3 queued")
    ;; As wide as a page of the manual can be.
    (smtpmail-terminal--tmux terminal "resize-window" "-x" "100" "-y" "30")
    (smtpmail-terminal-keys terminal "F10")
    (smtpmail-terminal-shows terminal "Draft of .* waiting")
    ;; Hold the fourth one.
    (smtpmail-terminal-keys terminal "M-<" "Down" "Down" "Down" "h")
    (let ((screen (smtpmail-outbox-terminal-tests--steady
                   (smtpmail-terminal-shows
                    terminal "Minutes of .* held"))))
      (if (getenv "SMTPMAIL_WRITE_SCREENS")
          (let ((coding-system-for-write 'utf-8-unix))
            (write-region screen nil smtpmail-outbox-terminal-tests--screen))
        (should (equal screen
                       (decode-coding-string
                        (smtpmail-test-text
                         smtpmail-outbox-terminal-tests--screen)
                        'utf-8)))))))

(provide 'smtpmail-outbox-terminal-tests)

;;; smtpmail-outbox-terminal-tests.el ends here
