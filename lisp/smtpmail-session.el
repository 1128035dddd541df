;;; smtpmail-session.el --- wait for a delivery and serve it  -*- lexical-binding: t -*-

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

;; A delivery runs on a thread of the engine.  Here Lisp waits for it, in a
;; loop that \`C-g' leaves at once: it takes the events, keeps the trace
;; buffer, tells the user what is being waited for, and has questions answered
;; (smtpmail-session-answers.el): in the loop, never in a process filter.

;;; Code:

(require 'cl-lib)
(require 'smtpmail-options)
(require 'smtpmail-module)
(require 'smtpmail-delivery)
(require 'smtpmail-outbox-rest)
(require 'smtpmail-proxy)
(require 'smtpmail-report)
(require 'smtpmail-stock)

(declare-function smtpmail-module--open "ext:exports.rs" (request pipe))
(declare-function smtpmail-module--outbox "ext:exports.rs" (request pipe))
(declare-function smtpmail-module--events "ext:exports.rs" (delivery))
(declare-function smtpmail-module--cancel "ext:exports.rs" (delivery))
(declare-function smtpmail-module--finish-current "ext:exports.rs" (delivery))
(declare-function smtpmail-outbox-last-take "smtpmail-outbox-last" (session entry))

;; Only a server that asks for something needs it.
(autoload 'smtpmail-session--answer "smtpmail-session-answers")
(autoload 'smtpmail-session--answer-login "smtpmail-session-answers")
(autoload 'smtpmail-session--clear-login-p "smtpmail-session-answers")
(autoload 'smtpmail-session--find-login "smtpmail-session-answers")
(autoload 'smtpmail-session--keep-login "smtpmail-session-answers")
;; Only a flush that is quit needs it.
(autoload 'smtpmail-outbox-last-take "smtpmail-outbox-last")
;; Only traces that are kept need it.
(autoload 'smtpmail-trace-keep "smtpmail-trace")

(defconst smtpmail-session--patience 1.0
  "Seconds after which the user is told what is being waited for.")

(defconst smtpmail-session--last-word-limit 5.0
  "Seconds to wait for the disk to learn how a queue was left.")

(defconst smtpmail-session--kept-traces 5
  "How many sessions a trace buffer keeps.")

(cl-defstruct (smtpmail-session
               (:constructor smtpmail-session--make)
               (:copier nil)
               ;; A third of the file would be copies of its accessors.
               (:noinline t))
  "A delivery that is being waited for."
  (host nil :documentation "The server, as the user named it.")
  (port nil :documentation "Its port, an integer.")
  (service nil :documentation "The port, as the user named it.")
  (clear-login nil :documentation "Non-nil: a password may travel in clear.")
  (ask nil :documentation "Non-nil if credentials are to be asked for at once.")
  (delivery nil :documentation "The engine's object.")
  (process nil :documentation "The pipe process; its buffer is the trace.")
  (login nil :documentation "The `smtpmail-auth-login' used last.")
  (phase nil :documentation "What is being waited for, a symbol.")
  (since nil :documentation "When that began, in seconds.")
  (told nil :documentation "When the user was last told, in seconds.")
  (progress nil :documentation "(OCTETS . OF), of the text sent.")
  (text-since nil :documentation "When the text began, in seconds.")
  (question nil :documentation "The number of the question for credentials.")
  (line-due nil :documentation "Non-nil: a line of ours awaits its reply.")
  (heard nil :documentation "The plist of the reply to a line of ours.")
  (authenticated nil :documentation "Non-nil: that reply was a 235.")
  (watch nil :documentation "Called with each event; non-nil if it dealt with it.")
  (each nil :documentation "Called with the report of each message, or nil.")
  (failed nil :documentation "Non-nil if a message was not sent.")
  (report nil :documentation "The plist of the finished delivery.")
  (over nil :documentation "`done', or `ended' by a report of Lisp's own."))

;;;; Trace

(defun smtpmail-session-trace-name (host)
  "Return the name of the trace buffer for HOST."
  (format "*trace of SMTP session to %s*" host))

(defun smtpmail-session--open-trace (host port)
  "Return the trace buffer for HOST, with a heading for a session at PORT."
  (with-current-buffer (get-buffer-create (smtpmail-session-trace-name host))
    (setq buffer-undo-list t)
    (let ((inhibit-read-only t))
      (goto-char (point-max))
      (unless (bobp) (insert "\n\f\n"))
      (insert (format "Session to %s port %s, %s\n" host port
                      (format-time-string "%F %T %z")))
      (smtpmail-session--shorten-trace))
    (current-buffer)))

(defun smtpmail-session--shorten-trace ()
  "Keep the last sessions only in the current buffer, a trace."
  (save-excursion
    (goto-char (point-max))
    (when (re-search-backward "^\f$" nil t smtpmail-session--kept-traces)
      (delete-region (point-min) (line-beginning-position 2)))))

(defun smtpmail-session--close-trace (session keep)
  "Drop the trace of SESSION unless KEEP; other sessions' traces stay."
  (let ((buffer (process-buffer (smtpmail-session-process session))))
    (cond
     ((not (buffer-live-p buffer)))
     (keep
      ;; To load a file acts on a quit that is pending, whatever is inhibited.
      (let ((quit-flag nil))
        (smtpmail-trace-keep buffer (smtpmail-session--why-not session))))
     (t (with-current-buffer buffer
          (let ((inhibit-read-only t))
            (goto-char (point-max))
            (if (search-backward "\n\f\n" nil t)
                (delete-region (point) (point-max))
              (let ((kill-buffer-query-functions nil))
                (kill-buffer buffer)))))))))

(defun smtpmail-session--why-not (session)
  "Return why the message of SESSION was not accepted, if that is known."
  (let ((report (smtpmail-session-report session)))
    (and (plist-get report :failure)
         (not (smtpmail-session-each session))
         (smtpmail-report-error report (smtpmail-session-host session)
                                (smtpmail-session-port session)))))

(defun smtpmail-session--trace (session text)
  "Append TEXT, lines, to the trace of SESSION, and echo replies if wanted."
  ;; By its symbol: what advises it sees all that is said.
  (funcall #'smtpmail-process-filter (smtpmail-session-process session) text)
  (when smtpmail-debug-info
    (dolist (line (split-string text "\n" t))
      (when (string-match "\\` *[0-9.]+ S: \\(.*\\)" line)
        (message "%s" (match-string 1 line))))))

;;;; What the user sees

(defun smtpmail-session--tell (session)
  "Tell the user what SESSION waits for, once a second."
  (let ((now (float-time))
        (since (smtpmail-session-since session)))
    (when (and since
               (not noninteractive)
               (> (- now since) smtpmail-session--patience)
               (> (- now (or (smtpmail-session-told session) 0)) 1))
      (setf (smtpmail-session-told session) now)
      (let ((message-log-max nil))
        (message "%s" (smtpmail-session--stage session now))))))

(defun smtpmail-session--stage (session now)
  "Return what SESSION is doing at the time NOW, a text."
  (let ((progress (smtpmail-session-progress session))
        (seconds (- now (smtpmail-session-since session))))
    (if (and progress (eq (smtpmail-session-phase session) 'text))
        (let ((elapsed (- now (smtpmail-session-text-since session))))
          (format "Sending email %d%% (%.1f of %.1f MB, %.1f MB/s; C-g stops)"
                  (/ (* 100 (car progress)) (max 1 (cdr progress)))
                  (/ (car progress) 1e6) (/ (cdr progress) 1e6)
                  (/ (car progress) 1e6 (max 0.1 elapsed))))
      (let ((host (smtpmail-session-host session))
            (awaited (smtpmail-report-awaited (smtpmail-session-phase session))))
        (format "Waiting for %s (%d s; C-g stops)"
                (if (string-prefix-p "it " awaited)
                    (concat host (string-remove-prefix "it" awaited))
                  (format "%s: %s" host awaited))
                seconds)))))

;;;; Events

(defun smtpmail-session--dispatch (session event)
  "Act on EVENT, a list (TYPE . PLIST), of SESSION."
  (pcase event
    (`(trace . ,plist)
     (smtpmail-session--trace session (plist-get plist :text)))
    (`(phase . ,plist)
     (setf (smtpmail-session-phase session) (plist-get plist :phase)
           (smtpmail-session-since session) (float-time))
     (when (eq (plist-get plist :phase) 'text)
       (setf (smtpmail-session-text-since session) (float-time))))
    (`(progress . ,plist)
     (setf (smtpmail-session-progress session)
           (cons (plist-get plist :octets) (plist-get plist :of))))
    (`(retry . ,plist)
     (setf (smtpmail-session-since session) nil)
     (message "%s; trying again in %d s..."
              (plist-get (plist-get plist :failure) :text)
              (plist-get plist :seconds)))
    (`(unknown-extensions . ,plist)
     (when smtpmail-warn-about-unknown-extensions
       (dolist (keyword (plist-get plist :keywords))
         (message "Unknown extension %s" (downcase keyword)))))
    (`(heard . ,plist)
     ;; Not nil even if the connection is gone.
     (setf (smtpmail-session-heard session) (cons t plist)))
    (`(question . ,plist)
     (smtpmail-session--answer session plist))
    (`(left-out . ,plist)
     (smtpmail-delivery-tell (smtpmail-session-host session)
                             (smtpmail-session-port session)
                             (plist-get plist :text)))
    (`(warning . ,plist)
     (display-warning 'smtpmail (plist-get plist :text)))
    (`(,(and verdict (or 'queued 'listed 'changed 'text 'servers 'probed)) . ,plist)
     (setf (smtpmail-session-report session)
           (plist-put plist :verdict verdict)))
    (`(finished . ,plist)
     (unless (smtpmail-session-over session)
       (setf (smtpmail-session-report session) plist))
     (unless (eq (plist-get plist :verdict) 'accepted)
       (setf (smtpmail-session-failed session) t))
     (when (smtpmail-session-each session)
       (funcall (smtpmail-session-each session) plist)))
    (`(done . ,plist)
     (setf (smtpmail-session-over session) 'done)
     (when-let ((warning (plist-get plist :warning)))
       (display-warning
        'smtpmail (format "The outbox could not be brought up to date: %s"
                          (plist-get warning :text)))))))

(defvar smtpmail-session--about nil
  "A text that names the message of a question, where the user cannot know.
Or nil.")

;;;; Waiting

(defun smtpmail-session--wait (session)
  "Serve SESSION until it is over."
  (let ((process (smtpmail-session-process session))
        (delivery (smtpmail-session-delivery session)))
    (while (not (smtpmail-session-over session))
      (dolist (event (smtpmail-module--events delivery))
        (unless (and (smtpmail-session-watch session)
                     (funcall (smtpmail-session-watch session) delivery event))
          (smtpmail-session--dispatch session event)))
      (unless (smtpmail-session-over session)
        (smtpmail-session--tell session)
        (accept-process-output process 0.5)))))

(defun smtpmail-session--open (session buffer start)
  "Begin SESSION, whose process gets BUFFER.
START is called with the process and returns the engine's object."
  ;; Otherwise each event would be delayed by 24 ms.
  (let ((process-adaptive-read-buffering nil))
    (setf (smtpmail-session-process session)
          (make-pipe-process :name "smtpmail" :buffer buffer :noquery t
                             :coding 'no-conversion
                             :filter #'ignore :sentinel #'ignore)
          (smtpmail-session-delivery session)
          (funcall start (smtpmail-session-process session)))))

(defun smtpmail-session--serve (session buffer start)
  "Begin SESSION with BUFFER and START, and serve it to its end.
Return the report; or nil after a quit, with `quit-flag' set if the
caller inhibits quitting, as it must.  Errors pass through."
  (let ((problem nil))
    (with-local-quit
      (condition-case failure
          (progn
            (smtpmail-session--open session buffer start)
            (smtpmail-session--wait session))
        (error (setq problem failure))))
    (when problem
      (smtpmail-session--end session t)
      (signal (car problem) (cdr problem)))
    (smtpmail-session-report session)))

(defun smtpmail-session--end (session keep-trace)
  "Stop what SESSION still does; keep its trace if KEEP-TRACE.
Return non-nil if a message may have reached the server unreported."
  (prog1 (and (smtpmail-session-delivery session)
              ;; Also if Lisp has ended it by a report of its own.
              (smtpmail-module--cancel (smtpmail-session-delivery session))
              (not (smtpmail-session-report session)))
    (when (smtpmail-session-process session)
      (when (process-buffer (smtpmail-session-process session))
        (smtpmail-session--close-trace session keep-trace))
      (delete-process (smtpmail-session-process session)))))

(defun smtpmail-session-run (request service ask &optional each)
  "Deliver what the plist REQUEST says; return the report, a plist.
SERVICE is the port as the user named it, for credentials; ASK non-nil
asks for them at the first opportunity.  `C-g' ends the delivery at once:
it signals `quit' with a text that says whether the message may have been
sent.  The trace stays if the message was not sent.

If REQUEST is of the outbox, what the server has in hand at a `C-g' is
finished in the background; in batch, it is waited for.  Nothing further
is begun.

If REQUEST has several messages, EACH is called with the report of each of
them as it comes in, also after a quit; what is returned is the last one."
  (smtpmail-module-ensure)
  (let* ((host (plist-get request :host))
         (port (plist-get request :port))
         (session (smtpmail-session--make :host host :port port
                                          :service service :ask ask
                                          :each each
                                          :clear-login
                                          (plist-get request :clear-login)))
         ;; What follows a quit must not be quit; callers may be timers, which
         ;; inhibit quitting from the outset.
         (inhibit-quit t))
    (smtpmail-session--serve session (smtpmail-session--open-trace host port)
                             (lambda (process)
                               (smtpmail-module--open (smtpmail-proxy-complete request)
                                                      process)))
    (if (and (not (smtpmail-session-over session))
             (plist-get request :queue-directory)
             (smtpmail-session--finish session (plist-get request :entry)))
        (smtpmail-session--quit 'smtpmail-session-stopped-ending)
      (smtpmail-session--conclude session (smtpmail-session-report session)))))

(defun smtpmail-session--finish (session entry)
  "Let SESSION, of the outbox, which was quit, finish what the server has.
ENTRY is the name of its only message, or nil.  Return non-nil if that
goes on while Emacs does something else."
  (if noninteractive
      (progn
        ;; Nobody waits for the keyboard.
        (when (smtpmail-module--finish-current
               (smtpmail-session-delivery session))
          (smtpmail-session--last-word session nil))
        nil)
    ;; To load a file acts on a quit that is pending, whatever is inhibited.
    (let ((quit-flag nil))
      (smtpmail-outbox-last-take session entry))))

(defun smtpmail-session--conclude (session report)
  "Do what is left to do after SESSION, with REPORT, the last one.
Return REPORT, or signal a quit if the session was quit."
  (let* ((host (smtpmail-session-host session))
         (port (smtpmail-session-port session))
         (each (smtpmail-session-each session))
         (sent (and (eq (plist-get report :verdict) 'accepted)
                    (not (smtpmail-session-failed session))))
         (maybe (smtpmail-session--end session (or smtpmail-debug-info
                                                   (not sent)))))
    (when (and each (not (eq (smtpmail-session-over session) 'done)))
      (smtpmail-session--last-word session smtpmail-session--last-word-limit))
    (unless (if each (smtpmail-session-over session) report)
      (smtpmail-session--quit
       (if maybe 'smtpmail-session-stopped-late 'smtpmail-session-stopped)))
    (smtpmail-outbox-rest-note report host port)
    (when (and (plist-get report :logged-in) (smtpmail-session-login session))
      (smtpmail-session--keep-login session))
    report))

(defun smtpmail-session-probe (request service watch)
  "Look at the server of the plist REQUEST, and return the report, a plist.
SERVICE is the port as the user named it.  WATCH is called with the
delivery and each event; if it returns nil, what is usual is done with that.
No message is sent.  `C-g' ends it at once and signals `quit'."
  (smtpmail-module-ensure)
  (let* ((host (plist-get request :host))
         (port (plist-get request :port))
         (session (smtpmail-session--make :host host :port port
                                          :service service :watch watch))
         (inhibit-quit t)
         (report (smtpmail-session--serve
                  session (smtpmail-session--open-trace host port)
                  (lambda (process)
                    (smtpmail-module--open (smtpmail-proxy-complete request)
                                           process)))))
    (smtpmail-session--end session t)
    (unless report
      (smtpmail-session--quit 'smtpmail-session-stopped))
    report))

;; Emacs shows the text of a kind of quit as it stands, but an argument of
;; `quit' within quotation marks.
(define-error 'smtpmail-session-stopped "Stopped; nothing was sent" 'quit)
(define-error 'smtpmail-session-stopped-late
  "Stopped; the server may have taken the message" 'quit)
(define-error 'smtpmail-session-stopped-ending
  "Stopped; the message in hand is still being sent, and how that ends is told"
  'quit)
(define-error 'smtpmail-session-stopped-outbox "Stopped" 'quit)

(defun smtpmail-session--quit (kind)
  "Signal KIND, a kind of quit, in place of the quit that is pending."
  (setq quit-flag nil)
  (signal kind nil))

(defun smtpmail-session-ask-outbox (request)
  "Let the engine do what the plist REQUEST asks of the outbox.
Return the report, a plist, or signal an `error' with the reason.
`C-g' signals `quit', and what was not done then is not done."
  (smtpmail-module-ensure)
  (let* ((session (smtpmail-session--make))
         (inhibit-quit t)
         (report (smtpmail-session--serve
                  session nil
                  (lambda (process) (smtpmail-module--outbox request process)))))
    (unless report
      ;; The disk may have been faster: its word counts.
      (smtpmail-session--end session nil)
      (smtpmail-session--last-word session 1.0)
      (setq report (smtpmail-session-report session))
      (when (eq (plist-get report :verdict) 'failed)
        (setq report nil)))
    (delete-process (smtpmail-session-process session))
    (cond ((null report) (smtpmail-session--quit 'smtpmail-session-stopped-outbox))
          ((eq (plist-get report :verdict) 'failed)
           (error "%s" (plist-get (plist-get report :failure) :text)))
          (t report))))

(defun smtpmail-session--last-word (session limit)
  "Take the last events of SESSION, which was stopped, for LIMIT seconds at most.
An entry that was committed or sent before the stop stays so.  LIMIT nil
is the engine's own time limits."
  (let ((end (and limit (+ (float-time) limit))))
    (while (and (smtpmail-session-delivery session)
                (not (eq (smtpmail-session-over session) 'done))
                (or (null end) (< (float-time) end)))
      (smtpmail-session--take-words session)
      (sleep-for 0.01))))

(defun smtpmail-session--take-words (session)
  "Take the events of SESSION that are left, and act on outcomes only."
  (mapc (lambda (event)
          (when (memq (car event) '(finished queued listed changed text done))
            (smtpmail-session--dispatch session event)))
        (smtpmail-module--events (smtpmail-session-delivery session))))

(provide 'smtpmail-session)

;;; smtpmail-session.el ends here
