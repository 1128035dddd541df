;;; send.el --- what `make bench' times in a batch Emacs  -*- lexical-binding: t -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; bench.py runs it with the built-in smtpmail and with ours, which is first
;; in `load-path' then:
;;   emacs -Q --batch [-L lisp] -l send.el -f bench-send JSON
;; Only what the manual of smtpmail documents is used.  JSON is an object of
;; port, tls ("plain", "ssl" or "starttls"), authority, message (a file),
;; recipients, sends, queue (a directory, or null), directory (of the smtpmail
;; wanted, or null).  Printed is one line of JSON: for each send, or for the
;; flush of the queue, seconds, cpu and stall; and rss and load.

;;; Code:

(require 'json)
(require 'seq)

(defconst bench-tick 0.005
  "Seconds between two runs of the timer that shows how long Emacs stood still.")

(defvar bench--ticks nil
  "When the timer ran, the last time first.")

(defun bench--cpu ()
  "Return the seconds of processor time that this Emacs has used."
  (float-time (get-internal-run-time)))

(defun bench--timed (function)
  "Call FUNCTION; return what it cost, an alist."
  (garbage-collect)
  (let* ((start (float-time))
         (cpu (bench--cpu))
         (timer (run-with-timer bench-tick bench-tick
                                (lambda () (push (float-time) bench--ticks))))
         end)
    (setq bench--ticks (list start))
    (funcall function)
    (setq end (float-time))
    (cancel-timer timer)
    (let ((times (cons end bench--ticks)))
      `((seconds . ,(- end start))
        (cpu . ,(- (bench--cpu) cpu))
        (stall . ,(max 0 (- (apply #'max (cl-mapcar #'- times (cdr times)))
                            bench-tick)))))))

(defun bench--peak ()
  "Return the most memory that this Emacs has had, in MiB."
  (with-temp-buffer
    (insert-file-contents "/proc/self/status")
    (re-search-forward "^VmHWM:[ \t]*\\([0-9]+\\)")
    (/ (string-to-number (match-string 1)) 1024.0)))

(defun bench--mail (file recipients)
  "Return a buffer with the message in FILE as a mail mode leaves it.
It goes to as many RECIPIENTS."
  (with-current-buffer (generate-new-buffer "*mail*")
    (setq buffer-undo-list t)
    (insert "To: " (mapconcat (lambda (number) (format "r%d@example.net" number))
                              (number-sequence 1 recipients) ",\n\t")
            "\n")
    (let ((coding-system-for-read 'utf-8-unix))
      (insert-file-contents file))
    (goto-char (point-min))
    (search-forward "\n\n")
    (backward-char)
    (insert mail-header-separator)
    (current-buffer)))

(defun bench-send ()
  "Do what the JSON on the command line says."
  (let* ((json-null nil)
         (job (json-read-from-string (pop command-line-args-left)))
         (its (lambda (key) (alist-get key job)))
         (start (float-time))
         load runs)
    (require 'smtpmail)
    (setq load (- (float-time) start))
    (require 'cl-lib)
    (require 'sendmail)
    (require 'gnutls)
    (when (funcall its 'directory)
      (unless (file-in-directory-p (symbol-file 'smtpmail-send-it)
                                   (funcall its 'directory))
        (error "The wrong smtpmail: %s" (symbol-file 'smtpmail-send-it))))
    (setq user-mail-address "sender@example.org"
          smtpmail-smtp-server "127.0.0.1"
          smtpmail-smtp-service (funcall its 'port)
          smtpmail-stream-type (intern (funcall its 'tls))
          gnutls-trustfiles (list (funcall its 'authority))
          auth-sources nil
          create-lockfiles nil)
    (with-current-buffer (bench--mail (funcall its 'message)
                                      (funcall its 'recipients))
      (if (not (funcall its 'queue))
          (dotimes (_ (funcall its 'sends))
            (push (bench--timed #'smtpmail-send-it) runs))
        (setq smtpmail-queue-dir (file-name-as-directory (funcall its 'queue))
              smtpmail-queue-mail t)
        (dotimes (_ (funcall its 'sends))
          (smtpmail-send-it))
        (push (bench--timed #'smtpmail-send-queued-mail) runs)))
    (princ (concat (json-encode `((runs . ,(vconcat (nreverse runs)))
                                  (load . ,load)
                                  (rss . ,(bench--peak))))
                   "\n"))))

(provide 'send)

;;; send.el ends here
