;;; smtpmail-background-kill-tests.el --- kill -9 while mail goes in the background  -*- lexical-binding: t -*-

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

;; An Emacs that sends in the background is killed at a random moment, another
;; one goes on.  Nothing that was handed over may be lost, nothing be called
;; sent that the server has not, and nothing arrive twice.
;;
;; SMTPMAIL_KILLS says how often (make soak: hundreds of times).

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-background)
(require 'smtpmail-leave)
(require 'smtpmail-notice)

(defconst smtpmail-background-kill-tests--runs
  (string-to-number (or (getenv "SMTPMAIL_KILLS") "15"))
  "How many Emacsen are killed.")

(defconst smtpmail-background-kill-tests--messages 3
  "How many messages each of them sends.")

(defun smtpmail-background-kill-tests--forms (server directory)
  "Return what an Emacs evaluates that sends to SERVER, and notes in DIRECTORY."
  `(,@(smtpmail-test-settings server)
    (require 'smtpmail)
    (setq smtpmail-queue-dir ,(concat directory "queue/")
          smtpmail-send-in-background t)
    (defun note (file line)
      (let ((write-region-inhibit-fsync t))
        (write-region (concat line "\n") nil (concat ,directory file) t 'quiet)))
    (setq smtpmail-sent-functions
          (list (lambda (facts) (note "sent" (plist-get facts :subject)))))
    (let ((noninteractive nil)
          (inhibit-message t))
      (dotimes (number ,smtpmail-background-kill-tests--messages)
        (with-temp-buffer
          (insert "To: you@example.net\nSubject: " (number-to-string number) "\n"
                  mail-header-separator "\n" (make-string 100000 ?x) "\n")
          (note "begun" (number-to-string number))
          (smtpmail-send-it)
          (note "handed-over" (number-to-string number))))
      (while t (accept-process-output nil 0.05)))))

(defun smtpmail-background-kill-tests--lines (file)
  "Return the lines of FILE."
  (split-string (or (smtpmail-test-text file) "") "\n" t))

(defun smtpmail-background-kill-tests--arrived (server subject)
  "Return how often the message with SUBJECT arrived at SERVER."
  (seq-count (lambda (message)
               (string-match-p (format "^Subject: %s\r" subject)
                               (alist-get 'bytes message)))
             (smtpmail-test-messages server)))

(defun smtpmail-background-kill-tests--kill (server directory milliseconds)
  "Start an Emacs that sends to SERVER from DIRECTORY, and kill it.
It is killed MILLISECONDS after it handed the first message over."
  (let ((file (concat directory "forms.el"))
        (process nil))
    (with-temp-file file
      (dolist (form (smtpmail-background-kill-tests--forms server directory))
        (prin1 form (current-buffer))
        (insert "\n")))
    (setq process
          (make-process :name "emacs" :noquery t :connection-type 'pipe
                        :command (list smtpmail-test-emacs "-Q" "--batch"
                                       "-L" smtpmail-test-lisp
                                       "--eval" "(setq load-prefer-newer t)"
                                       "-l" file)))
    (smtpmail-test-wait "a message" (lambda ()
                                      (should (process-live-p process))
                                      (file-exists-p (concat directory "begun"))))
    (sleep-for (/ milliseconds 1000.0))
    (signal-process process 'SIGKILL)
    (smtpmail-test-wait "its death" (lambda () (not (process-live-p process))))
    (delete-process process)))

(defun smtpmail-background-kill-tests--go-on (directory)
  "Let this Emacs send what is left in DIRECTORY."
  (let ((smtpmail-queue-dir (concat directory "queue/"))
        (smtpmail-background--resumed t)
        (smtpmail-sent-functions nil)
        (noninteractive nil)
        (inhibit-message t))
    (when (file-directory-p smtpmail-queue-dir)
      (smtpmail-background-resume)
      (smtpmail-test-wait "the listing"
                          (lambda ()
                            (not (seq-find (lambda (process)
                                             (process-get process 'smtpmail-listing))
                                           (process-list)))))
      (smtpmail-test-wait "all to be sent"
                          (lambda () (null smtpmail-background--mails)))
      (mapcar (lambda (entry)
                (cons (plist-get entry :subject) (plist-get entry :state)))
              (plist-get (smtpmail-outbox-entries) :entries)))))

(ert-deftest smtpmail-background-kill-at-random ()
  "Killed at any moment: nothing lost, nothing falsely sent, nothing twice."
  (let ((seed (or (getenv "SMTPMAIL_SEED") (format "%s" (float-time)))))
    (random seed)
    (message "SMTPMAIL_SEED=%s" seed)
    (dotimes (run smtpmail-background-kill-tests--runs)
      (smtpmail-test-with-server (server "--delay-all" "8")
        (smtpmail-test-with-directory directory
          (let ((milliseconds (random 350))
                (sent nil)
                (left nil))
            (setq smtpmail-background--mails nil
                  smtpmail-notice--list nil)
            (ert-info ((format "run %d, killed after %d ms" run milliseconds))
              (smtpmail-background-kill-tests--kill server directory milliseconds)
              ;; What it called sent, the server has by now.
              (setq sent (smtpmail-background-kill-tests--lines
                          (concat directory "sent")))
              (dolist (subject sent)
                (should (= 1 (smtpmail-background-kill-tests--arrived
                              server subject))))
              (setq left (smtpmail-background-kill-tests--go-on directory))
              (let ((inhibit-message nil))
                (message "Killed after %d ms: %d handed over, %d called sent, %d unknown"
                       milliseconds
                       (length (smtpmail-background-kill-tests--lines
                                (concat directory "handed-over")))
                       (length sent)
                       (seq-count (lambda (cell) (eq (cdr cell) 'unknown)) left)))
              (dolist (subject (smtpmail-background-kill-tests--lines
                                (concat directory "handed-over")))
                (let ((arrived (smtpmail-background-kill-tests--arrived
                                server subject))
                      (state (alist-get subject left nil nil #'equal)))
                  ;; Either it is there, or nobody knows and we say so.
                  (should (<= arrived 1))
                  (should (memq state '(nil unknown)))
                  (should (or (= arrived 1) (eq state 'unknown)))
                  (when (eq state 'unknown)
                    (should (seq-find (lambda (notice)
                                        (eq (plist-get notice :state) 'unknown))
                                      smtpmail-notice--list))))))))))))

(provide 'smtpmail-background-kill-tests)

;;; smtpmail-background-kill-tests.el ends here
