;;; smtpmail-stop-terminal-tests.el --- C-g in a flush, at a terminal  -*- lexical-binding: t -*-

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

;; A person quits a flush while the server has a message in hand: Emacs is free
;; at once, and the outcome of that message is told when it comes.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-terminal)
  (require 'smtpmail))

(defconst smtpmail-stop-tests--forms
  '((setq smtpmail-queue-dir (concat tests-directory "queue/"))
    (global-set-key (kbd "<f8>")
                    (lambda ()
                      (interactive)
                      (let ((smtpmail-queue-mail t))
                        (dolist (subject '("a" "b" "c" "d" "e"))
                          (with-temp-buffer
                            (insert "From: jane@example.org\nTo: you@example.net"
                                    "\nSubject: " subject "\n"
                                    mail-header-separator "\nText\n")
                            (smtpmail-send-it))))
                      (tests-note "queued" t)))
    (global-set-key (kbd "<f9>") #'smtpmail-send-queued-mail)
    (global-set-key (kbd "<f10>") #'smtpmail-stop-sending)
    (global-set-key (kbd "<f11>")
                    (lambda ()
                      (interactive)
                      (tests-note "states"
                                  (mapcar (lambda (entry)
                                            (cons (plist-get entry :subject)
                                                  (plist-get entry :state)))
                                          (plist-get (smtpmail-outbox-entries)
                                                     :entries))))))
  "What the keys of the Emacs at the terminal do.")

(defmacro smtpmail-stop-tests--with (terminal rule &rest body)
  "Run BODY when TERMINAL has quit a flush with the third message in hand.
RULE is what the server does at its end."
  (declare (indent 2) (debug t))
  `(smtpmail-test-with-server (server "--no-chunking" "--on" ,rule)
     (smtpmail-terminal-with
         (,terminal server ,@(mapcar (lambda (form) `',form)
                                     smtpmail-stop-tests--forms))
       (smtpmail-terminal-keys ,terminal "F8")
       (smtpmail-terminal-note ,terminal "queued")
       (smtpmail-terminal-keys ,terminal "F9")
       (smtpmail-test-wait
        "the third message"
        (lambda ()
          (= 3 (with-temp-buffer
                 (insert (or (smtpmail-test-text
                              (expand-file-name
                               "session-1.log"
                               (smtpmail-test-server-spool server)))
                             ""))
                 (goto-char (point-min))
                 (how-many "bytes of message>")))))
       ;; What the server said to the second one is written down behind that.
       (smtpmail-test-wait
        "the end of the second message"
        (lambda ()
          (let ((smtpmail-queue-dir
                 (concat (smtpmail-terminal-directory ,terminal) "queue/")))
            (= 3 (length (plist-get (smtpmail-outbox-entries) :entries))))))
       (smtpmail-terminal-keys ,terminal "C-g")
       (smtpmail-terminal-shows
        ,terminal
        "Stopped; 2 of 5 queued messages sent; the message in hand is still being sent")
       ;; While the server takes its time, Emacs does something else.
       (smtpmail-terminal-keys ,terminal "F6")
       (should (eq 'alive (smtpmail-terminal-note ,terminal "alive")))
       (should-not (string-match-p "After the stop"
                                   (smtpmail-terminal-screen ,terminal)))
       ,@body)))

(defun smtpmail-stop-tests--states (terminal)
  "Return (SUBJECT . STATE) of all entries that TERMINAL's Emacs lists."
  (smtpmail-terminal-keys terminal "F11")
  (smtpmail-terminal-note terminal "states"))

(ert-deftest smtpmail-stop-tests-current-message-is-finished ()
  (smtpmail-stop-tests--with terminal "dot#3=delay 6000"
    (should (equal (smtpmail-stop-tests--states terminal)
                   '(("c" . sending) ("d" . sending) ("e" . sending))))
    (smtpmail-terminal-shows terminal "After the stop: 1 sent$")
    (should (= 3 (length (smtpmail-test-messages server))))
    (should (equal (smtpmail-stop-tests--states terminal)
                   '(("d" . waiting) ("e" . waiting))))
    ;; The next flush is as any other.
    (smtpmail-terminal-keys terminal "F9")
    (smtpmail-terminal-shows terminal "Sent 2 queued messages")))

(ert-deftest smtpmail-stop-tests-second-stop-is-at-once ()
  (smtpmail-stop-tests--with terminal "dot#3=silence"
    (smtpmail-terminal-keys terminal "F10")
    (smtpmail-terminal-shows terminal
                             "After the stop: 1 that may have been sent; c: ")
    (should (equal (smtpmail-stop-tests--states terminal)
                   '(("c" . unknown) ("d" . waiting) ("e" . waiting))))))

(ert-deftest smtpmail-stop-tests-leaving-asks ()
  "Who leaves Emacs meanwhile is asked, and waits for the server's word."
  (smtpmail-stop-tests--with terminal "dot#3=delay 8000"
    (smtpmail-terminal-keys terminal "C-x" "C-c")
    (smtpmail-terminal-shows terminal "A queued message is being sent: wait, or leave")
    (smtpmail-terminal-keys terminal "s")
    (smtpmail-terminal-keys terminal "C-x" "C-c")
    (smtpmail-terminal-shows terminal "A queued message is being sent: wait, or leave")
    (smtpmail-terminal-keys terminal "w")
    (let ((emacs (string-to-number
                  (smtpmail-terminal--tmux terminal "display-message" "-p"
                                           "#{pane_pid}"))))
      (smtpmail-test-wait "the end of Emacs"
                          (lambda () (not (process-attributes emacs)))))
    ;; It was written down how that ended.
    (let ((smtpmail-queue-dir (concat (smtpmail-terminal-directory terminal)
                                      "queue/")))
      (should (equal (mapcar (lambda (entry)
                               (cons (plist-get entry :subject)
                                     (plist-get entry :state)))
                             (plist-get (smtpmail-outbox-entries) :entries))
                     '(("d" . waiting) ("e" . waiting)))))))

(provide 'smtpmail-stop-terminal-tests)

;;; smtpmail-stop-terminal-tests.el ends here
