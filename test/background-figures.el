;;; background-figures.el --- How little Emacs waits  -*- lexical-binding: t -*-

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

;; Prints what sending in the background costs the user of an Emacs in a
;; terminal: until control is back, and how late a timer of 10 ms comes while
;; the message goes.  Figures of this machine, at this moment; nothing is
;; asserted.  `make figures-background' runs it.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-terminal)

(defconst background-figures-forms
  '((require 'smtpmail-background)
    (setq smtpmail-queue-dir (concat tests-directory "queue/")
          smtpmail-send-in-background t
          smtpmail-sent-functions (list (lambda (_) (figures-sent))))
    (defvar figures-start nil)
    (defvar figures-back nil)
    (defvar figures-waited 0)
    (defvar figures-due nil)
    (defvar figures-late '(0 . 0))
    (defun figures-tick ()
      (let ((late (- (float-time) figures-due)))
        (if figures-back
            (setcdr figures-late (max late (cdr figures-late)))
          (setcar figures-late (max late (car figures-late)))))
      (setq figures-due (+ (float-time) 0.01))
      (run-with-timer 0.01 nil #'figures-tick))
    (defun figures-sent ()
      (tests-note "figures"
                  (list (- figures-back figures-start figures-waited)
                        figures-waited
                        (car figures-late) (cdr figures-late)
                        (- (float-time) figures-start))))
    (advice-add 'smtpmail-session-ask-outbox :around
                (lambda (function &rest arguments)
                  (let ((start (float-time)))
                    (prog1 (apply function arguments)
                      (setq figures-waited (- (float-time) start))))))
    (defun figures-send ()
      (interactive)
      (setq figures-back nil figures-late (cons 0 0))
      (garbage-collect)
      (figures-tick-start)
      (setq figures-start (float-time))
      (smtpmail-send-it)
      (setq figures-back (float-time)))
    (defun figures-tick-start ()
      (cancel-function-timers #'figures-tick)
      (setq figures-due (+ (float-time) 0.01))
      (run-with-timer 0.01 nil #'figures-tick))
    (defun figures-fill (mebibytes)
      (switch-to-buffer "mail")
      (buffer-disable-undo)
      ;; Where large messages come from: Message mode hands over octets.
      (set-buffer-multibyte nil)
      (erase-buffer)
      (insert tests-mail)
      (let ((line (concat (make-string 76 ?x) "\n")))
        (dotimes (_ (/ (* mebibytes 1024 1024) (length line)))
          (insert line)))
      (goto-char (point-min)))
    (global-set-key (kbd "<f9>") #'figures-send))
  "What the Emacs evaluates that is measured.")

(defconst background-figures-rounds 3
  "How often each size is sent in one Emacs.")

(defun background-figures-of (mebibytes)
  "Return what sending MEBIBYTES costs, a list for each round.
That is in seconds: Emacs is busy, it waits for the disk, a timer is late
meanwhile, a timer is late while the message goes, until it was accepted."
  (let ((rounds nil))
    (smtpmail-test-with-server (server "--max-size" "100000000")
      (smtpmail-terminal--call
       server (append background-figures-forms
                      `((run-with-timer 0 nil (lambda () (figures-fill ,mebibytes)
                                                (tests-note "filled" t)))))
       (lambda (terminal)
         (smtpmail-terminal-note terminal "filled")
         (dotimes (_ background-figures-rounds)
           (smtpmail-terminal-keys terminal "F9")
           (push (smtpmail-terminal-note terminal "figures") rounds)))))
    (nreverse rounds)))

(defun background-figures ()
  "Print the figures for some sizes."
  (princ "MiB  in Emacs  fsync wait  timer late: handing over, delivering  sent after\n")
  (dolist (size '(1 25 50))
    (pcase-dolist (`(,emacs ,wait ,late-over ,late ,all)
                   (background-figures-of size))
      (princ (format "%3d  %5.0f ms  %7.0f ms  %19.0f ms  %6.0f ms  %9.2f s\n"
                     size (* 1000 emacs) (* 1000 wait) (* 1000 late-over)
                     (* 1000 late) all)))))

(defun background-figures-json ()
  "Print the figures for 25 and 50 MiB as JSON, for benches/bench.py."
  (princ (concat (json-encode
                  (mapcar (lambda (size)
                            (cons (number-to-string size)
                                  (vconcat (mapcar #'vconcat
                                                   (background-figures-of size)))))
                          '(25 50)))
                 "\n")))

;;; background-figures.el ends here
