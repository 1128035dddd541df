;;; smtpmail-real.el --- Real mail servers for the tests  -*- lexical-binding: t; -*-

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

;; Starts the servers of test/servers/run, all at once and once in an Emacs,
;; sends to them by `smtpmail-send-it', and reads back what they kept.  The
;; servers end with this Emacs.  No test lives here.

;;; Code:

(require 'auth-source)
(require 'cl-lib)
(require 'ert)
(require 'gnutls)
(require 'json)
(require 'message)
(require 'mml)
(require 'smtpmail)

(defconst smtpmail-real--servers '(postfix aiosmtpd smtp-server exim sendmail)
  "The servers, as test/servers/run names them.")

(defconst smtpmail-real--start-limit 300
  "Seconds for a server to greet; the first time it is downloaded.")

(defconst smtpmail-real--delivery-limit 30
  "Seconds in which a server has to store what it took.")

(defconst smtpmail-real--calm 0.3
  "Seconds after which a message that was not sent has not arrived.")

(defconst smtpmail-real--root
  (expand-file-name "../.." (file-name-directory
                             (or load-file-name buffer-file-name)))
  "Directory of the project.")

(defvar smtpmail-real--directory nil
  "Directory of this run, for all servers.")

(defvar smtpmail-real--processes nil
  "Alist of server to its driver's process.")

(defvar smtpmail-real--started nil
  "Alist of server to what its driver said of it, a plist, or why it does not run.")

(defvar smtpmail-real--seen nil
  "Files of messages that were read.")

;;;; Starting and stopping

(defmacro smtpmail-real--await (seconds condition &optional process)
  "Wait up to SECONDS for CONDITION, and return its value.
The output of PROCESS, if it is given, ends a pause early."
  `(let ((end (+ (float-time) ,seconds)) value)
     (while (and (not (setq value ,condition)) (< (float-time) end))
       (accept-process-output ,process 0.02))
     value))

(defun smtpmail-real--program (name)
  "Return the file NAME of test/servers."
  (expand-file-name (concat "test/servers/" name) smtpmail-real--root))

(defun smtpmail-real--start-all ()
  "Start every server, if that was not done before."
  (unless smtpmail-real--directory
    (let ((parent (expand-file-name "build/test/" smtpmail-real--root)))
      (make-directory parent t)
      (setq smtpmail-real--directory
            (let ((temporary-file-directory parent))
              (make-temp-file "real-" t))))
    ;; The servers' own users go through it.
    (set-file-modes smtpmail-real--directory #o755)
    (add-hook 'kill-emacs-hook #'smtpmail-real--stop-all)
    (dolist (server smtpmail-real--servers)
      (let ((name (symbol-name server)))
        (push (cons server
                    (make-process
                     :name name
                     :buffer (generate-new-buffer (format " *%s*" name))
                     :stderr (generate-new-buffer (format " *%s errors*" name))
                     :command (list (smtpmail-real--program "run") name
                                    (expand-file-name
                                     name smtpmail-real--directory))
                     :connection-type 'pipe
                     :noquery t
                     :sentinel #'ignore))
              smtpmail-real--processes)))))

(defun smtpmail-real--stop-all ()
  "Stop the servers and remove what they kept."
  (dolist (cell smtpmail-real--processes)
    (when (process-live-p (cdr cell))
      (process-send-eof (cdr cell))))
  (dolist (cell smtpmail-real--processes)
    (smtpmail-real--await 20 (not (process-live-p (cdr cell)))
                          (cdr cell)))
  (delete-directory smtpmail-real--directory t))

(defun smtpmail-real--first-line (server)
  "Return what the driver of SERVER says, a plist, or a text that says why not."
  (let* ((process (alist-get server smtpmail-real--processes))
         (line (smtpmail-real--await
                smtpmail-real--start-limit
                (with-current-buffer (process-buffer process)
                  (goto-char (point-min))
                  (cond ((search-forward "\n" nil t)
                         (buffer-substring (point-min) (1- (point))))
                        ((not (process-live-p process)) 'ended)))
                process)))
    (if (stringp line)
        (let ((json-object-type 'plist) (json-array-type 'list))
          (json-read-from-string line))
      (with-current-buffer (format " *%s errors*" server)
        ;; The pipe of the errors is a process of its own.
        (smtpmail-real--await 1 (> (buffer-size) 0))
        (let ((errors (string-trim (buffer-string))))
          (if (string-prefix-p "skip: " errors)
              errors
            (format "%s: %s: %s" server (or line 'silent) errors)))))))

(defun smtpmail-real-server (server)
  "Return the plist of the running SERVER; skip the test if it cannot run.
That it failed is an error, not a skip."
  (smtpmail-real--start-all)
  (let ((known (assq server smtpmail-real--started)))
    (unless known
      (setq known (cons server (smtpmail-real--first-line server)))
      (push known smtpmail-real--started)
      (when (stringp (cdr known))
        (message "%s" (cdr known))))
    (cond ((listp (cdr known)) (cdr known))
          ((string-prefix-p "skip: " (cdr known)) (ert-skip (cdr known)))
          (t (error "%s" (cdr known))))))

(defmacro smtpmail-real-deftest (name servers docstring &rest body)
  "Define a test of BODY for each of SERVERS, a list of symbols; t is all.
The tests are called smtpmail-real/SERVER/NAME; DOCSTRING says what has
to be.  BODY finds the plist of the server in the variable `server'."
  (declare (indent 2) (doc-string 3) (debug t))
  `(progn
     ,@(mapcar
        (lambda (server)
          `(ert-deftest ,(intern (format "smtpmail-real/%s/%s" server name)) ()
             ,docstring
             (let ((server (smtpmail-real-server ',server)))
               (ignore server)
               ,@body)))
        (if (eq servers t) smtpmail-real--servers servers))))

;;;; Settings

(defun smtpmail-real--authinfo (server kind &optional password)
  "Return the name of a netrc file for the port KIND of SERVER.
PASSWORD is the one in it, or the right one if nil."
  (let ((file (make-temp-file
               (expand-file-name "authinfo-" smtpmail-real--directory))))
    (with-temp-file file
      (insert (format "machine localhost port %d login %s password %s\n"
                      (smtpmail-real-port server kind)
                      (plist-get server :user)
                      (or password (plist-get server :password)))))
    file))

(defun smtpmail-real-port (server kind)
  "Return the port of SERVER that is for KIND, a symbol."
  (plist-get (plist-get server :ports) (intern (format ":%s" kind))))

(defmacro smtpmail-real-with (settings &rest body)
  "Run BODY as a user of a server, configured by SETTINGS.
SETTINGS is (SERVER KIND VARIABLE VALUE...).  KIND is the port to use, and
the stream type that goes with it: `plain', `starttls' or `ssl'.  The last
two need a login, which auth-source has.  VALUEs are bound last."
  (declare (indent 1) (debug t))
  (pcase-let ((`(,server ,kind . ,rest) settings))
    `(let* ((smtpmail-smtp-server "localhost")
            (smtpmail-smtp-service (smtpmail-real-port ,server ,kind))
            (smtpmail-stream-type ,kind)
            (smtpmail-retries 1)
            ;; Keeps the trace, to look at.
            (smtpmail-debug-info t)
            (smtpmail-code-conv-from nil)
            (gnutls-trustfiles (list (plist-get ,server :ca)))
            (auth-source-do-cache nil)
            (auth-sources (and (not (eq ,kind 'plain))
                               (list (smtpmail-real--authinfo ,server ,kind))))
            (send-mail-function #'smtpmail-send-it)
            (user-mail-address "alice@example.org")
            (user-full-name "Alice Adams")
            (mail-header-separator "--text follows this line--")
            (mail-specify-envelope-from nil)
            (mail-personal-alias-file nil)
            (inhibit-message t)
            ,@(cl-loop for (variable value) on rest by #'cddr
                       collect (list variable value)))
       (smtpmail-real--forget-trace)
       ;; What a test before this one left behind fails this one, and no more.
       (let ((left (smtpmail-real--unseen ,server)))
         (setq smtpmail-real--seen (append left smtpmail-real--seen))
         (should-not left))
       ,@body)))

;;;; Sending

(defvar smtpmail-real--prepared nil
  "The octets of the text that `smtpmail-via-smtp' was called with last.")

(defun smtpmail-real--note-prepared (_recipients buffer &rest _)
  "Keep the octets of the text in BUFFER, encoded as Emacs encodes a file."
  (with-current-buffer buffer
    (setq smtpmail-real--prepared
          (if enable-multibyte-characters
              (encode-coding-string
               (buffer-string)
               (coding-system-change-eol-conversion
                (or smtpmail-code-conv-from 'utf-8) 'unix))
            (buffer-string)))))

(defmacro smtpmail-real--noting (&rest body)
  "Run BODY; `smtpmail-real--prepared' is then what was prepared in it."
  (declare (indent 0) (debug t))
  `(progn
     (setq smtpmail-real--prepared nil)
     (advice-add 'smtpmail-via-smtp :before #'smtpmail-real--note-prepared)
     (unwind-protect
         (progn ,@body)
       (advice-remove 'smtpmail-via-smtp #'smtpmail-real--note-prepared))))

(defun smtpmail-real-mail (header body)
  "Send a mail with HEADER, lines, and BODY by `smtpmail-send-it'."
  (with-temp-buffer
    (insert header mail-header-separator "\n" body)
    (let ((before (buffer-string)))
      (smtpmail-real--noting (smtpmail-send-it))
      (should (equal (buffer-string) before)))))

(defun smtpmail-real-message (to &rest files)
  "Send a message to TO with FILES attached, as people do, by `message-mode'."
  (let ((message-kill-buffer-on-exit t)
        (message-signature nil)
        (message-user-organization nil)
        (message-auto-save-directory nil)
        (message-interactive t)
        (message-confirm-send nil)
        (message-generate-hashcash nil)
        (message-mail-alias-type nil)
        (mail-header-separator "--text follows this line--")
        (coding-system-for-read nil))
    (message-mail to "A message with everything: Grüße")
    (message-goto-body)
    (insert "Grüße!\n.\nWhat you asked for is attached.\n")
    (dolist (file files)
      (mml-attach-file file "application/octet-stream" "Octets" "attachment"))
    (let ((buffer (current-buffer)))
      (smtpmail-real--noting
        (unwind-protect
            (message-send-and-exit)
          (when (buffer-live-p buffer)
            (with-current-buffer buffer
              (set-buffer-modified-p nil)
              (kill-buffer buffer))
            (setq buffer nil))))
      ;; It says by killing its buffer that the message was sent.
      (should buffer))))

(defun smtpmail-real-octets-file (size)
  "Return the name of a new file with SIZE octets of every value."
  (let ((file (make-temp-file
               (expand-file-name "octets-" smtpmail-real--directory)))
        (coding-system-for-write 'no-conversion))
    (call-process "head" nil `(:file ,file) nil
                  "-c" (number-to-string size) "/dev/urandom")
    (should (= (file-attribute-size (file-attributes file)) size))
    file))

(defun smtpmail-real-file-octets (file)
  "Return the octets in FILE."
  (with-temp-buffer
    (set-buffer-multibyte nil)
    (insert-file-contents-literally file)
    (buffer-string)))

(defun smtpmail-real-attachment (text)
  "Return the octets of the base64 part of the message TEXT."
  (with-temp-buffer
    (set-buffer-multibyte nil)
    (insert text)
    (goto-char (point-min))
    (re-search-forward "^Content-Transfer-Encoding: base64\n")
    (search-forward "\n\n")
    (base64-decode-string
     (buffer-substring (point) (progn (search-forward "\n--") (- (point) 3))))))

;;;; What arrived

(defun smtpmail-real--unseen (server)
  "Return the files of messages in the mailbox of SERVER not yet read."
  (cl-set-difference
   (directory-files (plist-get server :mailbox) t "\\`[^.]")
   smtpmail-real--seen :test #'equal))

(defun smtpmail-real--comparable (server text)
  "Return TEXT without what SERVER may change in a message.
That is nothing, but for sendmail the white space in the header: it folds
fields of addresses anew."
  (if (not (equal (plist-get server :server) "sendmail"))
      text
    (let ((end (or (string-match "\n\n" text) (length text))))
      (concat (replace-regexp-in-string "[ \t]+\\|\n[ \t]+" " "
                                        (substring text 0 end))
              (substring text end)))))

(defun smtpmail-real-arrived (server)
  "Return (SENDER RECIPIENTS TEXT) of the one message that SERVER got.
RECIPIENTS are sorted; TEXT, octets with LF line ends, is that of the
sender, and has to be what was prepared."
  (let ((file (car (smtpmail-real--await smtpmail-real--delivery-limit
                                         (smtpmail-real--unseen server))))
        text)
    (should file)
    (push file smtpmail-real--seen)
    (should-not (smtpmail-real--unseen server))
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (let ((coding-system-for-read 'no-conversion))
        (should (eql 0 (call-process (smtpmail-real--program "read_mail.py")
                                     nil '(t nil) nil file))))
      (setq text (buffer-string)))
    ;; The texts are not shown, they may be long: where they part is.
    (should (eq t (compare-strings
                   (smtpmail-real--comparable server text) nil nil
                   (smtpmail-real--comparable server smtpmail-real--prepared)
                   nil nil)))
    (with-temp-buffer
      (insert-file-contents (expand-file-name (file-name-nondirectory file)
                                              (plist-get server :envelopes)))
      (pcase-let ((`(,sender . ,recipients)
                   (split-string (buffer-string) "\n" t)))
        (list sender (sort recipients #'string<) text)))))

(defun smtpmail-real-body (text)
  "Return what follows the header in TEXT."
  (substring text (+ 2 (string-match "\n\n" text))))

(defun smtpmail-real-check-nothing-arrived (server)
  "Check that SERVER stored nothing."
  (sleep-for smtpmail-real--calm)
  (should-not (smtpmail-real--unseen server)))

(defun smtpmail-real-refusal (server send)
  "Call SEND, which has to fail; return the text of the error.
SERVER has to have stored nothing."
  (let ((text (error-message-string (should-error (funcall send)))))
    (smtpmail-real-check-nothing-arrived server)
    (should-not (string-search (plist-get server :password) text))
    text))

(defun smtpmail-real--forget-trace ()
  "Kill the trace of earlier sessions."
  (when-let ((buffer (get-buffer (smtpmail-session-trace-name "localhost"))))
    (let ((kill-buffer-query-functions nil))
      (kill-buffer buffer))))

(defun smtpmail-real-trace (server)
  "Return the trace, in which no secret of SERVER may be."
  (let ((trace (with-current-buffer (smtpmail-session-trace-name "localhost")
                 (buffer-string))))
    (dolist (secret (delq nil (list (plist-get server :password)
                                    (plist-get server :access_token))))
      (should-not (string-search secret trace))
      (should-not (string-search (base64-encode-string secret t) trace)))
    trace))

(defun smtpmail-real-count (regexp text)
  "Return how many lines of TEXT match REGEXP."
  (cl-count-if (lambda (line) (string-match-p regexp line))
               (split-string text "\n")))

(provide 'smtpmail-real)

;;; smtpmail-real.el ends here
