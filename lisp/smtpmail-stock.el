;;; smtpmail-stock.el --- what the built-in does over a connection in Lisp  -*- lexical-binding: t -*-

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

;; Our own mail goes through the engine.  But init files hold functions made
;; of the built-in's (a `smtpmail-via-smtp' that opens its connection by other
;; ways, say), which call smaller functions of the built-in on a process of
;; their own.  Those are here, and work on such a process as they always did.
;;
;; Nothing of a delivery lives here: on its PROCESS, commands are said by
;; smtpmail-speak.el, and the text is sent by the engine.
;;
;; RFC 5321 (SMTP).

;;; Code:

(require 'smtpmail-options)
(require 'smtpmail-methods)

(defconst smtpmail-stock--reply-limit (* 64 1024)
  "Longest reply that is read, in characters.
RFC 5321 §4.5.3.1.5 has lines of 512 octets; no server sends a hundred.")

(defvar smtpmail-read-point nil
  "Stock: where in a trace the next reply of the server begins.
Only for connections that functions of users open.")

;;;; The name of the queue's index

(defun smtpmail-stock--queue-index (directory file)
  "Return the name of the index FILE in DIRECTORY, or nil if there is no queue."
  (and (stringp directory) (stringp file)
       (expand-file-name file directory)))

(defvar smtpmail-queue-index
  (smtpmail-stock--queue-index smtpmail-queue-dir smtpmail-queue-index-file)
  "Stock: the name of the queue's index, which follows the variables below.
To set it has no effect.")
(make-obsolete-variable
 'smtpmail-queue-index
 "see `smtpmail-queue-dir' and `smtpmail-queue-index-file'." "24.1")

(defun smtpmail-stock--follow-queue (symbol value _operation buffer)
  "Let `smtpmail-queue-index' follow SYMBOL, which gets VALUE.
BUFFER non-nil means that only a buffer-local value changes."
  (unless buffer
    (setq smtpmail-queue-index
          (smtpmail-stock--queue-index
           (if (eq symbol 'smtpmail-queue-dir) value smtpmail-queue-dir)
           (if (eq symbol 'smtpmail-queue-index-file) value
             smtpmail-queue-index-file)))))

(add-variable-watcher 'smtpmail-queue-dir #'smtpmail-stock--follow-queue)
(add-variable-watcher 'smtpmail-queue-index-file #'smtpmail-stock--follow-queue)

;;;; Commands and replies

(defun smtpmail-process-filter (process output)
  "Append OUTPUT to the buffer of PROCESS, and move the mark of PROCESS there.
For a delivery, that buffer is the trace, and OUTPUT is a part of it."
  (let ((buffer (process-buffer process)))
    (when (buffer-live-p buffer)
      (with-current-buffer buffer
        (let ((inhibit-read-only t))
          (save-excursion
            (goto-char (point-max))
            (insert output)
            (set-marker (process-mark process) (point))))))))

(defun smtpmail-stock-send-command (process command)
  "Send COMMAND over PROCESS, a connection that is no delivery's.
The current buffer is its trace, which gets no secret."
  (let ((name (smtpmail-methods-command-name command)))
    (goto-char (point-max))
    (insert (if (equal name command) command (concat name " <omitted>")) "\r\n")
    (setq smtpmail-read-point (point))
    (process-send-string process (concat command "\r\n"))))

(defun smtpmail-stock--read-line (process end)
  "Return the line at `smtpmail-read-point' from PROCESS, without CR LF.
END is where it must be complete.  The value is nil if there will be none."
  (goto-char smtpmail-read-point)
  (catch 'line
    (while (not (search-forward "\r\n" nil t))
      (when (> (point-max) end)
        (throw 'line nil))
      (unless (and (memq (process-status process) '(open run))
                   (accept-process-output process smtpmail-timeout))
        (throw 'line nil))
      (goto-char smtpmail-read-point))
    (prog1 (buffer-substring-no-properties smtpmail-read-point (- (point) 2))
      (setq smtpmail-read-point (point)))))

(defun smtpmail-stock-read-response (process)
  "Return the next reply from PROCESS, a connection that is no delivery's.
The current buffer is its trace.  The value is (CODE LINE...), without CODE
if there was no reply within `smtpmail-timeout' seconds, or it was none."
  (let ((end (+ smtpmail-read-point smtpmail-stock--reply-limit))
        (lines nil)
        (reply nil))
    (while (not reply)
      (let ((line (smtpmail-stock--read-line process end)))
        (when line
          (push line lines)
          (when smtpmail-debug-info (message "%s" line)))
        (cond
         ((null line) (setq reply (cons nil (nreverse lines))))
         ;; Sendmail's words to VERB come between the replies.
         ((string-match-p "\\`0[0-9]+ " line) (pop lines))
         ;; The text may be missing (RFC 5321 §4.2).
         ((string-match "\\`\\([0-9]+\\)\\(?: \\|\\'\\)" line)
          (setq reply (cons (string-to-number (match-string 1 line))
                            (nreverse lines))))
         ((not (string-match-p "\\`[0-9]+-" line))
          (setq reply (cons nil (nreverse lines)))))))
    reply))

;;;; The text

(defun smtpmail-stock--check-text (process)
  "Signal that PROCESS takes no text if it is a delivery's."
  (when (eq (process-type process) 'pipe)
    (error "The text of a delivery is sent by the engine; `smtpmail-via-smtp' sends the text in a buffer")))

(defun smtpmail-send-data-1 (process data)
  "Send the line DATA of a message over PROCESS, after DATA.
PROCESS is a connection that is no delivery's; the current buffer is its
trace."
  (smtpmail-stock--check-text process)
  (when (and (multibyte-string-p data) smtpmail-code-conv-from)
    (setq data (encode-coding-string data smtpmail-code-conv-from)))
  (goto-char (point-max))
  (when smtpmail-debug-info
    (insert data "\r\n"))
  (setq smtpmail-read-point (point))
  ;; RFC 5321 §4.5.2.
  (process-send-string
   process (concat (and (string-prefix-p "." data) ".") data "\r\n")))

(defun smtpmail-send-data (process buffer)
  "Send the text in BUFFER over PROCESS, after DATA, and hear the reply.
PROCESS is a connection that is no delivery's; the current buffer is its
trace.  A refusal is thrown to `done'."
  (smtpmail-stock--check-text process)
  (let ((reporter (with-current-buffer buffer
                    (goto-char (point-min))
                    (make-progress-reporter "Sending email "
                                            (point-min) (point-max))))
        (more t))
    (while more
      (smtpmail-send-data-1
       process
       (with-current-buffer buffer
         (progress-reporter-update reporter (point))
         (prog1 (buffer-substring-no-properties (line-beginning-position)
                                                (line-end-position))
           (forward-line 1)
           (setq more (not (eobp)))))))
    (smtpmail-command-or-throw process ".")
    (progress-reporter-done reporter)))

(provide 'smtpmail-stock)

;;; smtpmail-stock.el ends here
