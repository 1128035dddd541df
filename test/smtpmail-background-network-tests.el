;;; smtpmail-background-network-tests.el --- Networks, servers and machines that go away  -*- lexical-binding: t -*-

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

;; A server that stands still, that is killed and comes back, a network that is
;; down, an Emacs that was stopped for longer than any time limit, a clock that
;; is put back: delays, of which no notice is shown, and then the message goes,
;; once.  Processes are stopped by SIGSTOP; the network is one of a namespace
;; that the test makes.

;;; Code:

(require 'smtpmail-background-test)
(require 'smtpmail-terminal)

(defvar smtpmail-background-network-tests--pauses nil
  "For how many seconds each delay was, the last one first.")

(defun smtpmail-background-network-tests--note-pause (mail &rest _)
  "Note for how long MAIL is delayed."
  (push (- (smtpmail-background-mail-time mail) (float-time))
        smtpmail-background-network-tests--pauses))

(defmacro smtpmail-background-network-tests--noting-pauses (&rest body)
  "Run BODY and note the pauses between tries."
  (declare (indent 0) (debug t))
  `(progn
     (setq smtpmail-background-network-tests--pauses nil)
     (advice-add 'smtpmail-background--delay :after
                 #'smtpmail-background-network-tests--note-pause)
     (unwind-protect (progn ,@body)
       (advice-remove 'smtpmail-background--delay
                      #'smtpmail-background-network-tests--note-pause))))

(defun smtpmail-background-network-tests--should-wait ()
  "Check that the message waits, and that this is no news."
  (should-not smtpmail-background-tests--told)
  (should-not smtpmail-notice--list)
  (should (string-match-p "\\` Mail:1 " smtpmail-mode-line-string)))

(defun smtpmail-background-network-tests--await-tries (count)
  "Wait until the only message was tried COUNT times in vain."
  (smtpmail-test-wait
   (format "%d tries" count)
   (lambda ()
     (>= (smtpmail-background-mail-tries (car smtpmail-background--mails)) count))))

(defun smtpmail-background-network-tests--await-phase (phase)
  "Wait until the only courier waits in PHASE."
  (smtpmail-test-wait
   (symbol-name phase)
   (lambda ()
     (when-let ((process (car (smtpmail-background--couriers))))
       (eq phase (smtpmail-session-phase
                  (process-get process 'smtpmail-session)))))))

;;;; The server

(ert-deftest smtpmail-background-network-server-stands-still ()
  "A server that stands still is tried again, less and less often."
  (smtpmail-background-tests--with (server)
    (let ((process (smtpmail-test-server-process server))
          (smtpmail-timeout 1))
      (smtpmail-background-network-tests--noting-pauses
        (signal-process process 'SIGSTOP)
        (unwind-protect
            (progn
              (smtpmail-background-tests--send)
              (smtpmail-background-network-tests--await-tries 3)
              (smtpmail-background-network-tests--should-wait)
              (should (string-match-p
                       "no answer within 1 s"
                       (smtpmail-background-mail-why
                        (car smtpmail-background--mails))))
              (should (member (smtpmail-background-tests--states)
                              '((waiting) (deferred)))))
          (continue-process process))
        (smtpmail-background-tests--wait 'sent)
        (should (smtpmail-test-message server))
        (should-not (smtpmail-background-tests--states))
        (let ((pauses (nreverse smtpmail-background-network-tests--pauses)))
          ;; 0.2, 0.4, 0.8, ...
          (should (> (length pauses) 2))
          (cl-mapc (lambda (pause next) (should (< (* 1.5 pause) next)))
                   pauses (cdr pauses)))))))

(ert-deftest smtpmail-background-network-server-killed ()
  "A server killed before it has the text gets it when it is back, once."
  (dolist (phase '(greeting mail data))
    (ert-info ((symbol-name phase))
      (smtpmail-background-tests--with
          (first "--no-chunking" "--on" (format "%s=silence" phase))
        (let ((port smtpmail-smtp-service)
              (queue smtpmail-queue-dir))
          (smtpmail-background-tests--send)
          (smtpmail-background-network-tests--await-phase phase)
          (signal-process (smtpmail-test-server-process first) 'SIGKILL)
          (smtpmail-background-network-tests--await-tries 2)
          (smtpmail-background-network-tests--should-wait)
          (smtpmail-test-with-server (back "--port" (number-to-string port))
            (setq smtpmail-queue-dir queue)
            (smtpmail-background-tests--wait 'sent)
            (should (smtpmail-test-message back))
            (should-not (smtpmail-background-tests--states))))))))

(ert-deftest smtpmail-background-network-handshake-cut ()
  "A connection that ends in the handshake is a delay, too; nothing goes in clear."
  (dolist (rule '("handshake#1=close" "handshake#1=reset"))
    (ert-info (rule)
      (smtpmail-background-tests--with (server "--on" rule)
        (let ((smtpmail-stream-type 'starttls))
          (smtpmail-background-tests--send)
          (smtpmail-background-tests--wait 'sent)
          (should-not smtpmail-notice--list)
          (should (alist-get 'tls (smtpmail-test-message server))))))))

;;;; The network

(defun smtpmail-background-network-tests--program (directory)
  "Return a program that is Emacs in a network of its own, or skip.
It is a file in DIRECTORY."
  (unless (eql 0 (call-process "unshare" nil nil nil "--user" "--map-root-user"
                               "--net" "ip" "link" "set" "lo" "up"))
    (ert-skip "no private network namespace here"))
  (let ((file (expand-file-name "emacs" directory)))
    (with-temp-file file
      (insert "#!/bin/sh\nexec unshare --user --map-root-user --net sh -c '"
              "ip link set lo up && exec \"$@\"' sh "
              smtpmail-test-emacs " \"$@\"\n"))
    (set-file-modes file #o755)
    file))

(ert-deftest smtpmail-background-network-down ()
  "Without a network mail waits, also what was on its way, and goes afterwards.
All of it in an Emacs with a network of its own."
  (smtpmail-test-with-directory directory
    (let* ((program (smtpmail-background-network-tests--program directory))
           (run (smtpmail-test-run
                 (list `(push ,(file-name-directory
                                (locate-library "smtpmail-background-test"))
                              load-path)
                       '(require 'smtpmail-background-test)
                       '(load "smtpmail-background-network-tests")
                       '(smtpmail-background-network-tests--without-network))
                 :program program)))
      (unless (equal 0 (plist-get run :exit))
        (ert-fail (plist-get run :stderr))))))

(defun smtpmail-background-network-tests--link (state)
  "Set the network to STATE, `up' or `down'."
  (should (eql 0 (call-process "ip" nil nil nil "link" "set" "lo"
                               (symbol-name state)))))

(defun smtpmail-background-network-tests--without-network ()
  "Take the network away before a connection, and in one; bring it back."
  (smtpmail-background-tests--with (server)
    (let ((smtpmail-timeout 2)
          (smtpmail-connect-timeout 2))
      (smtpmail-background-network-tests--link 'down)
      (smtpmail-background-tests--send "Before")
      (smtpmail-background-network-tests--await-tries 2)
      (smtpmail-background-network-tests--should-wait)
      (smtpmail-background-network-tests--link 'up)
      (smtpmail-background-tests--wait 'sent)
      (should (= 1 (length (smtpmail-test-messages server))))))
  ;; The connection stands, the server thinks, and its words get lost.
  (smtpmail-background-tests--with (server "--no-chunking" "--on" "data#1=delay 1500")
    (let ((smtpmail-timeout 3)
          (smtpmail-connect-timeout 2))
      (smtpmail-background-tests--send "Within")
      (smtpmail-background-network-tests--await-phase 'data)
      (smtpmail-background-network-tests--link 'down)
      (smtpmail-background-network-tests--await-tries 2)
      (smtpmail-background-network-tests--should-wait)
      (smtpmail-background-network-tests--link 'up)
      (smtpmail-background-tests--wait 'sent)
      (should (= 1 (length (smtpmail-test-messages server))))
      (should-not (smtpmail-background-tests--states)))))

;;;; The machine

(ert-deftest smtpmail-background-network-emacs-stopped ()
  "An Emacs that was stopped for longer than its limits finds the answer there."
  (smtpmail-test-with-server (server "--no-chunking" "--on" "dot=delay 2000")
    (smtpmail-terminal--call
     server
     '((setq smtpmail-queue-dir (concat tests-directory "queue/")
             smtpmail-send-in-background t
             smtpmail-timeout 3
             smtpmail-sent-functions
             (list (lambda (facts) (tests-note "sent" facts)))
             smtpmail-failed-functions
             (list (lambda (facts) (tests-note "failed" facts))))
       (run-with-timer 0 nil (lambda () (tests-note "pid" (emacs-pid)))))
     (lambda (terminal)
       (let ((pid (smtpmail-terminal-note terminal "pid")))
         (smtpmail-terminal-keys terminal "F5")
         (smtpmail-terminal-note terminal "end")
         ;; The text is there, the server thinks about it.
         (smtpmail-test-wait
          "the end of the text"
          (lambda ()
            (seq-find (lambda (log)
                        (string-match-p "^\\*: delay"
                                        (or (smtpmail-test-text log) "")))
                      (directory-files (smtpmail-test-server-spool server) t
                                       "\\`session-[0-9]+\\.log\\'"))))
         (signal-process pid 'SIGSTOP)
         (unwind-protect (sleep-for 5)
           (signal-process pid 'SIGCONT))
         (should (string-match-p
                  "\\`250 " (plist-get (smtpmail-terminal-note terminal "sent")
                                       :reply)))
         (should-not (file-exists-p (smtpmail-terminal--file terminal "failed")))
         (should (smtpmail-test-message server)))))))

(ert-deftest smtpmail-background-network-clock-put-back ()
  "A clock that is put back by an hour does not hold up what is tried again."
  (smtpmail-background-tests--with (server "--on" "mail#1=reply 451 4.7.1 Later")
    (let ((smtpmail-background--refusal-pause 60))
      (smtpmail-background-tests--send)
      (smtpmail-test-wait "the delay" (lambda () (smtpmail-background-mails 'delayed)))
      (let ((now (symbol-function 'float-time)))
        ;; Emacs reads no other clock for this.
        (cl-letf (((symbol-function 'float-time)
                   (lambda (&optional time)
                     (if time (funcall now time) (- (funcall now) 3600)))))
          (smtpmail-background-wake)))
      (smtpmail-background-tests--wait 'sent)
      (should (smtpmail-test-message server)))))

(provide 'smtpmail-background-network-tests)

;;; smtpmail-background-network-tests.el ends here
