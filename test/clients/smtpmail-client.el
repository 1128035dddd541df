;;; smtpmail-client.el --- What the tests of mail clients share  -*- lexical-binding: t -*-

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

;; One real server an Emacs, the settings of an init file that knows it, and
;; what it got.  Clients that are not part of Emacs come from
;; test/clients/fetch.  No test lives here.

;;; Code:

(eval-and-compile
  (let ((here (file-name-directory (or load-file-name
                                       (bound-and-true-p byte-compile-current-file)
                                       buffer-file-name))))
    (push (expand-file-name "../real" here) load-path)
    (push (expand-file-name ".." here) load-path)))

(require 'cl-lib)
(require 'ert)
(require 'smtpmail)
(require 'smtpmail-test)
(require 'smtpmail-background-test)
(require 'smtpmail-real)

;;;; The server

(defvar smtpmail-client-server-name
  (intern (or (getenv "SMTPMAIL_CLIENT_SERVER") "aiosmtpd"))
  "Which of the servers of `smtpmail-real--servers' the clients send to.
The default needs neither root nor a namespace, and keeps the octets.")

(defun smtpmail-client-server ()
  "Return the plist of the running server."
  ;; Of the real servers, this one only.
  (let ((smtpmail-real--servers (list smtpmail-client-server-name)))
    (smtpmail-real-server smtpmail-client-server-name)))

(defmacro smtpmail-client-with (settings &rest body)
  "Run BODY in a new home directory, as a user of the server.
SETTINGS is (SERVER KIND VARIABLE VALUE...): SERVER is bound to the
server's plist, and HOME to the directory; KIND is the port, and the
stream type that goes with it, and VALUEs are bound last."
  (declare (indent 1) (debug t))
  (pcase-let ((`(,server ,kind . ,rest) settings))
    `(let ((,server (smtpmail-client-server)))
       (smtpmail-test-with-directory home
         (ignore home)
         (smtpmail-real-with (,server ,kind
                              message-send-mail-function #'smtpmail-send-it
                              message-auto-save-directory nil
                              message-confirm-send nil
                              message-interactive t
                              message-kill-buffer-on-exit t
                              message-signature nil
                              message-user-organization nil
                              message-generate-hashcash nil
                              mail-signature nil
                              mail-interactive t
                              mail-aliases nil
                              mail-personal-alias-file
                              (expand-file-name "mailrc" home)
                              smtpmail-debug-info nil
                              smtpmail-queue-mail nil
                              smtpmail-queue-dir (expand-file-name "queue/" home)
                              mail-header-separator "--text follows this line--"
                              ,@rest)
           (save-window-excursion ,@body))))))

(defun smtpmail-client-await (what function)
  "Return the value of FUNCTION once it is non-nil, else fail for want of WHAT."
  (smtpmail-test-wait what function))

(defun smtpmail-client-arrived (server &optional count)
  "Return the COUNT messages, default one, that SERVER got since last asked.
Each is a plist: :from, the sender, :to, the sorted recipients, and :text,
octets with LF line ends.  Neither more nor fewer may be there."
  (let* ((count (or count 1))
         (files (smtpmail-client-await
                 (format "%d messages at the server" count)
                 (lambda ()
                   (let ((files (smtpmail-real--unseen server)))
                     (and (>= (length files) count) files))))))
    (setq smtpmail-real--seen (append files smtpmail-real--seen))
    (should (= (length files) count))
    (mapcar (lambda (file) (smtpmail-client--read server file)) files)))

(defun smtpmail-client--read (server file)
  "Return the message of SERVER in FILE, a plist."
  (with-temp-buffer
    (set-buffer-multibyte nil)
    (let ((coding-system-for-read 'no-conversion))
      (should (eql 0 (call-process (smtpmail-real--program "read_mail.py")
                                   nil '(t nil) nil file))))
    (let ((text (buffer-string)))
      (erase-buffer)
      (insert-file-contents (expand-file-name (file-name-nondirectory file)
                                              (plist-get server :envelopes)))
      (pcase-let ((`(,from . ,to) (split-string (buffer-string) "\n")))
        (list :from from :to (sort (delete "" to) #'string<) :text text)))))

(defun smtpmail-client-only (server)
  "Return the only message that SERVER got since last asked, a plist."
  (car (smtpmail-client-arrived server 1)))

(defun smtpmail-client-nothing-arrived (server)
  "Check that SERVER got nothing since last asked."
  (smtpmail-real-check-nothing-arrived server))

;;;; Two accounts

(defun smtpmail-client--account-server (directory name user &rest options)
  "Return a new test server below DIRECTORY called NAME.
It lets in USER only, and has OPTIONS."
  (let ((spool (expand-file-name name directory)))
    (make-directory spool)
    (smtpmail-test-start
     spool (append options
                   (list "--user" user "--password" (concat user "-secret")
                         ;; So that what goes at once is under way at once.
                         "--require-auth" "--delay-all" "100")))))

(defun smtpmail-client--account-netrc (directory &rest servers)
  "Return a new netrc file in DIRECTORY for SERVERS, (SERVER USER)."
  (let ((file (expand-file-name "netrc" directory)))
    (with-temp-file file
      (pcase-dolist (`(,server ,user) servers)
        (insert (format "machine localhost port %d login %s password %s-secret\n"
                        (smtpmail-test-server-port server) user user))))
    file))

(defmacro smtpmail-client-with-accounts (servers &rest body)
  "Run BODY with two accounts, and what is sent going in the background.
SERVERS is (HOME WORK), bound to test servers: HOME begins with TLS and
knows alice, who is anybody at home.example; WORK wants STARTTLS and knows
bob, who is anybody at work.example, and logs in by LOGIN."
  (declare (indent 1) (debug t))
  (pcase-let ((`(,home ,work) servers))
    `(smtpmail-test-with-directory directory
       (let* ((,home (smtpmail-client--account-server directory "home" "alice"
                                                      "--ssl"))
              (,work (smtpmail-client--account-server directory "work" "bob"
                                                      "--require-tls"))
              (smtpmail-accounts
               `(("@home.example" :server "localhost" :security ssl :user "alice"
                  :service ,(smtpmail-test-server-port ,home))
                 ("@work.example" :server "localhost" :user "bob"
                  :service ,(smtpmail-test-server-port ,work)
                  :mechanisms (login) :ehlo-name "client.work.example")))
              ;; To bind another value would be to choose a server.
              (smtpmail-smtp-server (default-toplevel-value 'smtpmail-smtp-server))
              (smtpmail-smtp-service (default-toplevel-value 'smtpmail-smtp-service))
              (smtpmail-stream-type (default-toplevel-value 'smtpmail-stream-type))
              (smtpmail-smtp-user (default-toplevel-value 'smtpmail-smtp-user))
              (gnutls-trustfiles (list (smtpmail-test-server-ca ,home)))
              (smtpmail-trust-file nil)
              (auth-source-do-cache nil)
              (auth-sources (list (smtpmail-client--account-netrc
                                   directory (list ,home "alice") (list ,work "bob"))))
              (smtpmail-queue-dir (expand-file-name "queue" directory))
              (smtpmail-send-in-background t)
              (smtpmail-undo-seconds 0)
              (smtpmail-background--resumed t)
              (smtpmail-sent-functions '(smtpmail-background-tests--sent))
              (smtpmail-failed-functions '(smtpmail-background-tests--failed))
              (noninteractive nil))
         (smtpmail-background-tests--reset)
         (unwind-protect (progn ,@body)
           (smtpmail-background-tests--reset)
           (smtpmail-test-stop ,home)
           (smtpmail-test-stop ,work)
           (smtpmail-test-kill-traces))))))

(defun smtpmail-client-under-way-at-once ()
  "Check that both accounts are sending, and wait until they have."
  (should (= 2 (length (smtpmail-background--couriers))))
  (smtpmail-background-tests--wait 'sent 'sent))

(defun smtpmail-client-check-accounts (home work)
  "Check that HOME and WORK have a message each, of theirs, as they want it."
  (pcase-dolist (`(,server ,user ,domain) `((,home "alice" "home.example")
                                            (,work "bob" "work.example")))
    (let ((message (smtpmail-test-message server)))
      (should (equal user (alist-get 'auth_user message)))
      (should (alist-get 'tls message))
      (should (string-suffix-p domain (alist-get 'from message)))
      (should (string-match-p (format "^From:.*%s" domain)
                              (alist-get 'bytes message)))))
  (smtpmail--close-connections)
  (should-not (string-search "STARTTLS" (smtpmail-test-log home)))
  (should-not (string-search "client.work.example" (smtpmail-test-log home)))
  (let ((log (smtpmail-test-log work)))
    (should (string-search "C: STARTTLS" log))
    (should (string-search "C: AUTH LOGIN" log))
    (should (string-search "C: EHLO client.work.example" log))))

;;;; What arrived

(defun smtpmail-client-field (message name)
  "Return the value of the only field NAME of MESSAGE, or nil; decoded.
Two of them are an error."
  (let ((case-fold-search t)
        (text (plist-get message :text))
        values)
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (insert (substring text 0 (string-search "\n\n" text)) "\n")
      (goto-char (point-min))
      (while (re-search-forward
              (format "^%s:[ \t]*\\(.*\\(?:\n[ \t].*\\)*\\)$" (regexp-quote name))
              nil t)
        (push (replace-regexp-in-string "\n[ \t]+" " " (match-string 1)) values)))
    (should-not (cdr values))
    (and values (mail-decode-encoded-word-string (car values)))))

(defun smtpmail-client-body (message)
  "Return the octets of MESSAGE behind its header."
  (smtpmail-real-body (plist-get message :text)))

(defun smtpmail-client-decoded-body (message)
  "Return the text of MESSAGE, of one part, as its MIME fields say it reads."
  (require 'mm-bodies)
  (let* ((body (smtpmail-client-body message))
         (type (smtpmail-client-field message "Content-Type"))
         (encoding (smtpmail-client-field message "Content-Transfer-Encoding"))
         (charset (if (and type (string-match "charset=\"?\\([^\"; ]+\\)" type))
                      (match-string 1 type)
                    "us-ascii")))
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (insert body)
      (mm-decode-content-transfer-encoding
       (if encoding (intern (downcase encoding)) '7bit))
      (decode-coding-string (buffer-string) (mm-charset-to-coding-system charset)))))

(defmacro smtpmail-client-refused (&rest body)
  "Run BODY, which has to fail as the server refuses the recipient."
  (declare (indent 0) (debug t))
  `(should (string-match-p "\\`Sending failed: .*550 5\\.1\\.1"
                           (error-message-string (should-error (progn ,@body))))))

(defmacro smtpmail-client-answering (answers &rest body)
  "Run BODY; questions that match a key of ANSWERS, an alist, get its value.
Any other question is an error.  A key is a regexp, a value a string, or
for yes and no t or nil."
  (declare (indent 1) (debug t))
  `(let ((answers ,answers))
     (cl-letf* ((answer (lambda (prompt &rest _)
                          (cdr (or (assoc prompt answers
                                          (lambda (key asked)
                                            (string-match-p key asked)))
                                   (error "Unexpected question: %s" prompt)))))
                ((symbol-function 'y-or-n-p) answer)
                ((symbol-function 'yes-or-no-p) answer)
                ((symbol-function 'read-string) answer)
                ((symbol-function 'completing-read) answer))
       ,@body)))

(defun smtpmail-client-press (keys)
  "Do what KEYS, as for `kbd', do in the current buffer."
  (let ((command (key-binding (kbd keys))))
    (should (commandp command))
    (call-interactively command)))

(defun smtpmail-client-write (file &rest text)
  "Write the strings TEXT, as UTF-8, to FILE, and return its name."
  (make-directory (file-name-directory file) t)
  (let ((coding-system-for-write 'utf-8-unix))
    (write-region (apply #'concat text) nil file nil 'quiet))
  file)

(defun smtpmail-client-kill (buffer)
  "Kill BUFFER, if it is live, without a question."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (set-buffer-modified-p nil)
      (let ((kill-buffer-query-functions nil))
        (kill-buffer)))))

;;;; Clients that are not part of Emacs

(defvar smtpmail-client--fetched nil
  "What test/clients/fetch said, a plist, or why there is nothing, a string.")

(defun smtpmail-client-fetched ()
  "Return where the fetched clients are, a plist; skip if they cannot be had."
  (unless smtpmail-client--fetched
    (let ((errors (make-temp-file "smtpmail-fetch")))
      (unwind-protect
          (with-temp-buffer
            (let ((status (call-process
                           (expand-file-name "test/clients/fetch"
                                             smtpmail-real--root)
                           nil (list t errors))))
              (setq smtpmail-client--fetched
                    (if (eql status 0)
                        (json-parse-string (buffer-string) :object-type 'plist
                                           :array-type 'list)
                      (string-trim (smtpmail-test-text errors))))
              (unless (member status '(0 77))
                (error "%s" smtpmail-client--fetched))
              (unless (eql status 0)
                ;; For the run's summary.
                (let ((inhibit-message nil))
                  (message "%s" smtpmail-client--fetched)))))
        (delete-file errors))))
  (if (stringp smtpmail-client--fetched)
      (ert-skip smtpmail-client--fetched)
    smtpmail-client--fetched))

(defun smtpmail-client-lisp (client)
  "Return the directory of the Lisp files of CLIENT, a keyword."
  (plist-get (plist-get (smtpmail-client-fetched) :lisp) client))

(defun smtpmail-client-program (name)
  "Return the file of the fetched program NAME, and let it find its libraries."
  (let ((fetched (smtpmail-client-fetched)))
    (setenv "LD_LIBRARY_PATH"
            (string-join (plist-get fetched :libraries) path-separator))
    (expand-file-name name (plist-get fetched :programs))))

(provide 'smtpmail-client)

;;; smtpmail-client.el ends here
