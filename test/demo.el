;;; demo.el --- Send a message and show what arrived  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This program is free software; you can redistribute it and/or modify
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

;; The part of `make demo' that is done in Emacs: test/demo.sh starts the
;; server and writes the init file that is loaded before this.  Every claim
;; on the screen is checked; one that does not hold is marked, and makes the
;; exit status 1.

;;; Code:

(require 'json)
(require 'message)
(require 'mm-decode)
(require 'mml)
(require 'smtpmail)

(defvar smtpmail-demo--wrong 0
  "How many claims did not hold.")

(defvar smtpmail-demo--prepared nil
  "The octets of the message as Emacs prepared it, with CR LF line ends.")

(defconst smtpmail-demo--shown-run 9
  "How many lines of the trace are shown that the server does not answer.")

(defconst smtpmail-demo--body
  "Hello Bob,\n\nhere is the engine of smtpmail: Grüße, 你好!\n.\nAbove is a lonely dot, which must not end the mail.\n\n"
  "The text of the message.")

(defun smtpmail-demo--say (format &rest args)
  "Print a line made of FORMAT and ARGS."
  (princ (concat (apply #'format-message format args) "\n")))

(defun smtpmail-demo--claim (holds format &rest args)
  "Print a line made of FORMAT and ARGS, and mark it unless HOLDS is non-nil."
  (unless holds
    (setq smtpmail-demo--wrong (1+ smtpmail-demo--wrong)))
  (smtpmail-demo--say "   %s %s" (if holds "[ok]" "[WRONG]")
                      (apply #'format-message format args)))

(defun smtpmail-demo--octets (file)
  "Return the octets in FILE."
  (with-temp-buffer
    (set-buffer-multibyte nil)
    (insert-file-contents-literally file)
    (buffer-string)))

(defun smtpmail-demo--size (octets)
  "Return the size of OCTETS, a string, for people."
  (file-size-human-readable (length octets) 'si " " "B"))

(defun smtpmail-demo--note-prepared (_recipients buffer &rest _)
  "Keep the text in BUFFER as `smtpmail-demo--prepared'."
  (with-current-buffer buffer
    (setq smtpmail-demo--prepared
          (replace-regexp-in-string
           "\n" "\r\n" (encode-coding-string (buffer-string) 'utf-8-unix) t t))))

;;;; Sending

(defun smtpmail-demo--send (attachment)
  "Write a message with the file ATTACHMENT and send it, as people do."
  (let ((message-kill-buffer-on-exit t)
        (message-signature nil)
        (message-auto-save-directory nil)
        (message-confirm-send nil))
    (let ((inhibit-message t))
      (message-mail "Bob <bob@example.org>" "The engine, with greetings: Grüße")
      (message-goto-cc)
      (insert "carol@example.org")
      (message-goto-bcc)
      (insert "dave@example.org")
      (message-goto-body)
      (insert smtpmail-demo--body)
      (mml-attach-file attachment "application/octet-stream" nil "attachment"))
    (smtpmail-demo--say "
3. A message is written in message-mode, to Bob, Cc Carol and Bcc Dave, with
   the file %s (%s) attached, and sent with C-c C-c."
                        (file-name-nondirectory attachment)
                        (smtpmail-demo--size (smtpmail-demo--octets attachment)))
    (advice-add 'smtpmail-via-smtp :before #'smtpmail-demo--note-prepared)
    (let ((start (float-time)) (inhibit-message t) (failure nil))
      (condition-case problem
          (message-send-and-exit)
        (error (setq failure (error-message-string problem))))
      (smtpmail-demo--claim
       (not failure) "%s" (or failure
                              (format "sent, in %.2f s"
                                      (- (float-time) start)))))))

;;;; What arrived

(defun smtpmail-demo--show-lines (lines)
  "Print LINES, a trace; of a long run of our lines only the beginning."
  (let ((run 0))
    (dolist (line lines)
      (setq run (if (string-match-p "\\` *[0-9.]+ C: " line) (1+ run) 0))
      (cond ((<= run smtpmail-demo--shown-run)
             (smtpmail-demo--say "     %s" line))
            ((string-match " C: \\(<.* in all .*>\\)\\'" line)
             (smtpmail-demo--say "           C: %s" (match-string 1 line)))))))

(defun smtpmail-demo--show-structure (handle depth)
  "Print a line for HANDLE, what `mm-dissect-buffer' returns, at DEPTH."
  (let ((indent (make-string (+ 5 (* 2 depth)) ?\s)))
    (if (stringp (car handle))
        (progn
          (smtpmail-demo--say "%s%s" indent (car handle))
          (dolist (part (cdr handle))
            (smtpmail-demo--show-structure part (1+ depth))))
      (smtpmail-demo--say
       "%s%s%s" indent (mm-handle-media-type handle)
       (if-let ((name (mm-handle-filename handle)))
           (format ", %s, %s" name
                   (smtpmail-demo--size (mm-get-part handle)))
         "")))))

(defun smtpmail-demo--leaves (handle)
  "Return the parts in HANDLE that have no parts."
  (if (stringp (car handle))
      (apply #'append (mapcar #'smtpmail-demo--leaves (cdr handle)))
    (list handle)))

(defun smtpmail-demo--show-message (octets attachment)
  "Show the message OCTETS, and check it and its ATTACHMENT, a file."
  (with-temp-buffer
    (set-buffer-multibyte nil)
    (insert (replace-regexp-in-string "\r\n" "\n" octets t t))
    (goto-char (point-min))
    (dolist (line (split-string
                   (buffer-substring (point-min)
                                     (1- (search-forward "\n\n" nil t)))
                   "\n" t))
      (smtpmail-demo--say "     %s" line))
    (smtpmail-demo--say "\n   It has these parts:")
    (let* ((handle (mm-dissect-buffer t))
           (leaves (smtpmail-demo--leaves handle))
           (text (and leaves (mm-get-part (car leaves))))
           (expected (encode-coding-string smtpmail-demo--body 'utf-8))
           (arrived (and (cdr leaves) (mm-get-part (cadr leaves)))))
      (smtpmail-demo--show-structure handle 0)
      (smtpmail-demo--say "\n   The first of them reads:")
      (dolist (line (split-string
                     (string-trim (decode-coding-string (or text "") 'utf-8))
                     "\n"))
        (smtpmail-demo--say "     | %s" line))
      (smtpmail-demo--claim (and text (string-prefix-p expected text))
                            "the text is as it was written, the dot too")
      (let ((digest (secure-hash 'sha256 (smtpmail-demo--octets attachment))))
        (smtpmail-demo--claim
         (and arrived (equal digest (secure-hash 'sha256 arrived)))
         "the attachment is the same file, SHA-256 %s…" (substring digest 0 16))))))

(defun smtpmail-demo--show-arrived (spool attachment)
  "Show what is in the directory SPOOL and check it and ATTACHMENT, a file."
  (let* ((files (directory-files spool t "\\.eml\\'"))
         (octets (and files (smtpmail-demo--octets (car files))))
         (json-object-type 'alist) (json-array-type 'list) (json-false nil)
         (facts (and files
                     (json-read-file
                      (concat (file-name-sans-extension (car files)) ".json")))))
    (smtpmail-demo--say "\n4. What arrived is in build/demo/spool:\n")
    (smtpmail-demo--claim (= (length files) 1) "%d message" (length files))
    (when files
      (smtpmail-demo--show-message octets attachment)
      (smtpmail-demo--claim
       (equal (alist-get 'sha256 facts)
              (secure-hash 'sha256 smtpmail-demo--prepared))
       "all %s of the message are those that Emacs prepared"
       (smtpmail-demo--size octets))
      (smtpmail-demo--say "\n5. What the server knows of it:\n")
      (smtpmail-demo--claim (equal (alist-get 'from facts) "alice@example.org")
                            "from %s" (alist-get 'from facts))
      (smtpmail-demo--claim (equal (sort (copy-sequence (alist-get 'to facts))
                                         #'string<)
                                   '("bob@example.org" "carol@example.org"
                                     "dave@example.org"))
                            "to %s" (string-join (alist-get 'to facts) ", "))
      (smtpmail-demo--claim (not (string-match-p "bcc:\\|dave@" octets))
                            "Dave is in the envelope only: his Bcc does not show")
      (smtpmail-demo--claim (eq t (alist-get 'tls facts))
                            "it came under TLS")
      (smtpmail-demo--claim (equal (alist-get 'auth_user facts) "alice")
                            "logged in as %s" (alist-get 'auth_user facts)))))

(defun smtpmail-demo--show-trace ()
  "Show the trace, in which no secret may be."
  (let ((trace (get-buffer (smtpmail-session-trace-name "localhost")))
        (secret (plist-get (car (auth-source-search :host "localhost" :max 1))
                           :secret)))
    (smtpmail-demo--say "\n6. How they talked (C: Emacs, S: the server):\n")
    (smtpmail-demo--claim trace "there is a trace")
    (when trace
      (with-current-buffer trace
        (smtpmail-demo--show-lines (split-string (buffer-string) "\n" t))
        (let ((secret (if (functionp secret) (funcall secret) secret)))
          (smtpmail-demo--claim
           (and secret
                (not (string-search secret (buffer-string)))
                (not (string-search (base64-encode-string secret t)
                                    (buffer-string)))
                (not (string-search
                      (base64-encode-string (concat "\0alice\0" secret) t)
                      (buffer-string))))
           "the password is not in it"))))))

(defun smtpmail-demo ()
  "Send a message to the server that keeps its mail in the directory in argv."
  (let ((spool (pop command-line-args-left))
        (attachment (smtpmail-module-file)))
    (smtpmail-demo--send attachment)
    (smtpmail-demo--show-arrived spool attachment)
    (smtpmail-demo--show-trace)
    (kill-emacs (if (= 0 smtpmail-demo--wrong) 0 1))))

(provide 'demo)

;;; demo.el ends here
