;;; smtpmail-outbox-list-tests.el --- the list of the outbox  -*- lexical-binding: t -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Real queues, made by queueing, with the real engine; states come from a
;; test server that refuses, postpones or hangs up.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail)
(require 'smtpmail-outbox-list)
(require 'smtpmail-outbox-draft)

(defvar smtpmail-outbox-list-tests--asked nil
  "Questions that were asked, the last one first.")

(defmacro smtpmail-outbox-list-tests--with-queue (answer &rest body)
  "Run BODY with a new queue; every question is answered with ANSWER.
ANSWER may also be a list of answers in turn."
  (declare (indent 1) (debug t))
  (let ((directory (make-symbol "directory"))
        (answers (make-symbol "answers")))
    `(smtpmail-test-with-directory ,directory
       (let* ((smtpmail-queue-dir (concat ,directory "queue/"))
              (smtpmail-queue-mail t)
              (smtpmail-outbox-list-tests--asked nil)
              (user-mail-address "me@example.org")
              (user-full-name "Me Myself")
              (mail-specify-envelope-from nil)
              (mail-aliases nil)
              (inhibit-message t)
              (,answers ,answer))
         (cl-letf (((symbol-function 'yes-or-no-p)
                    (lambda (prompt)
                      (push prompt smtpmail-outbox-list-tests--asked)
                      (if (consp ,answers) (pop ,answers) ,answers))))
           (unwind-protect (save-window-excursion ,@body)
             (smtpmail-outbox-list-tests--clean)))))))

(defun smtpmail-outbox-list-tests--clean ()
  "Kill the buffers that the list has made."
  (dolist (buffer (buffer-list))
    (when (string-match-p "\\`\\*\\(smtpmail outbox\\|unsent queued\\|queued mail\\)"
                          (buffer-name buffer))
      (with-current-buffer buffer (set-buffer-modified-p nil))
      (kill-buffer buffer))))

(defun smtpmail-outbox-list-tests--queue (subject &optional to body)
  "Queue a mail with SUBJECT to TO, with BODY."
  (let ((failure (smtpmail-test-send
                  (format "To: %s\nSubject: %s\n" (or to "you@example.net") subject)
                  body)))
    (when failure (error "Not queued: %s" failure))))

(defun smtpmail-outbox-list-tests--lines ()
  "Return the lines of the list, as they can be read."
  (with-current-buffer smtpmail-outbox-list--buffer
    (split-string (buffer-substring-no-properties (point-min) (point-max))
                  "\n" t)))

(defun smtpmail-outbox-list-tests--go (subject)
  "Go to the row of the list with SUBJECT."
  (set-buffer smtpmail-outbox-list--buffer)
  (goto-char (point-min))
  (while (not (equal subject
                     (plist-get (smtpmail-outbox-list--entry
                                 (tabulated-list-get-id))
                                :subject)))
    (when (eobp) (error "No row with %s" subject))
    (forward-line 1)))

(defun smtpmail-outbox-list-tests--state (subject)
  "Return the state on the disk of the entry with SUBJECT, or nil."
  (plist-get (seq-find (lambda (entry) (equal (plist-get entry :subject) subject))
                       (plist-get (smtpmail-outbox-entries) :entries))
             :state))

(defun smtpmail-outbox-list-tests--face (text)
  "Return the face of TEXT in the list."
  (with-current-buffer smtpmail-outbox-list--buffer
    (goto-char (point-min))
    (search-forward text)
    (get-text-property (match-beginning 0) 'font-lock-face)))

;;;; Rows

(ert-deftest smtpmail-outbox-list-tests-empty ()
  "A queue that is empty, or not there, says so."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox)
    (should (equal (smtpmail-outbox-list-tests--lines) '("  No queued mail")))
    (should-error (smtpmail-outbox-list-view) :type 'user-error)
    (should (= 0 (smtpmail-outbox-count)))
    (smtpmail-outbox-list-tests--queue "One")
    (revert-buffer)
    (should (= 1 (smtpmail-outbox-count)))
    (smtpmail-outbox-list-tests--go "One")
    (smtpmail-outbox-list-delete)
    (should (equal (smtpmail-outbox-list-tests--lines) '("  No queued mail")))
    (should (= 0 (smtpmail-outbox-count)))))

(ert-deftest smtpmail-outbox-list-tests-row ()
  "A row says when, from, to, subject, size and state."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox-list-tests--queue "Gr\u00fc\u00dfe" "a@x.org, b@y.org")
    (smtpmail-outbox)
    (let ((line (car (smtpmail-outbox-list-tests--lines))))
      (should (string-match-p "\\`  [0-9]\\{2\\}:[0-9]\\{2\\} +Me Myself" line))
      (should (string-match-p "a@x\\.org" line))
      (should (string-match-p "Gr\u00fc\u00dfe +[0-9]+ +waiting" line)))))

(ert-deftest smtpmail-outbox-list-tests-states ()
  "Each state has its row, and those that need the user a face."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-test-with-server
        (server "--on" "rcpt:refused@example.net=reply 550 5.1.1 no such user"
                "--on" "rcpt:later@example.net=reply 450 4.2.0 greylisted"
                "--caps" "PIPELINING,8BITMIME,SIZE"
                "--on" "dot#1=close")
      (smtpmail-outbox-list-tests--queue "Unknown")
      (ignore-errors (smtpmail-send-queued-mail))
      (smtpmail-outbox-list-tests--queue "Refused" "refused@example.net")
      (smtpmail-outbox-list-tests--queue "Deferred" "later@example.net")
      (ignore-errors (smtpmail-send-queued-mail))
      (smtpmail-outbox-list-tests--queue "Held")
      (smtpmail-outbox-list-tests--queue "Waiting")
      (smtpmail-outbox)
      (smtpmail-outbox-list-tests--go "Held")
      (smtpmail-outbox-list-hold)
      (let ((lines (smtpmail-outbox-list-tests--lines)))
        (should (= 5 (length lines)))
        (pcase-dolist (`(,subject ,state)
                       '(("Unknown" "unknown") ("Refused" "refused +.*550 5\\.1\\.1")
                         ("Deferred" "deferred \\(?:[0-9]+-[0-9]+ \\)?[0-9:]+ .*450 4\\.2\\.0")
                         ("Held" "held") ("Waiting" "waiting")))
          (should (seq-find (lambda (line)
                              (string-match-p
                               (format " %s +[0-9.k]+ +%s" subject state) line))
                            lines))))
      (should (eq 'smtpmail-outbox-unknown (smtpmail-outbox-list-tests--face "Unknown")))
      (should (eq 'smtpmail-outbox-refused (smtpmail-outbox-list-tests--face "Refused")))
      (should (eq 'smtpmail-outbox-held (smtpmail-outbox-list-tests--face "Held")))
      (should-not (smtpmail-outbox-list-tests--face "Waiting"))
      (should (= 2 (smtpmail-outbox-count))))))

(ert-deftest smtpmail-outbox-list-tests-problem ()
  "What is wrong in the queue is a row of its own."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox-list-tests--queue "Good")
    (let ((bad (concat smtpmail-queue-dir "2020-01-01_00:00:00_1")))
      (write-region "To: x@y.org\n\nHi\n" nil bad)
      (write-region "(setq x (delete-file \"/nowhere\"))\n(message \"run\")\n"
                    nil (concat bad ".el")))
    (smtpmail-outbox)
    (let ((lines (smtpmail-outbox-list-tests--lines)))
      (should (string-match-p " Good +[0-9]+ +waiting" (car lines)))
      (should (string-match-p "\\`! .*2020-01-01_00:00:00_1\\.el: unexpected code"
                              (cadr lines))))
    (should (eq 'smtpmail-outbox-problem (smtpmail-outbox-list-tests--face "! ")))
    (goto-char (point-max))
    (forward-line -1)
    (should-error (smtpmail-outbox-list-delete) :type 'user-error)))

(ert-deftest smtpmail-outbox-list-tests-hostile-row ()
  "Nothing of a message reaches the screen but as plain, bounded text."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox-list-tests--queue
     (concat "=?utf-8?Q?a=0Ab=1B]0;x=07=E2=80=AEc?= " (make-string 900 ?y)))
    (smtpmail-outbox)
    (let* ((lines (smtpmail-outbox-list-tests--lines))
           (subject (aref (tabulated-list-get-entry
                           (with-current-buffer smtpmail-outbox-list--buffer
                             (point-min)))
                          3)))
      (should (= 1 (length lines)))
      (should (string-search "a b\\x1b]0;x\\x07\\x202ec" subject))
      (should (< (length subject) 400)))))

(ert-deftest smtpmail-outbox-list-tests-mouse ()
  "A row is a link, and a click on it looks at the message there."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox-list-tests--queue "One")
    (smtpmail-outbox-list-tests--queue "Two")
    (smtpmail-outbox)
    (switch-to-buffer smtpmail-outbox-list--buffer)
    (smtpmail-outbox-list-tests--go "Two")
    (let ((place (list (selected-window) (+ 4 (point)) '(0 . 0) 0)))
      (goto-char (point-min))
      (should (mouse-on-link-p place))
      (should (eq 'smtpmail-outbox-list-view-clicked (key-binding [mouse-2])))
      (smtpmail-outbox-list-view-clicked (list 'mouse-2 place)))
    (should (string-search "Subject: Two\n" (buffer-string)))))

(ert-deftest smtpmail-outbox-list-tests-autoload ()
  "The command works in an Emacs that has loaded nothing else."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-test-with-server (server)
      (smtpmail-outbox-list-tests--queue "One")
      (let ((run (smtpmail-test-run
                  `((autoload 'smtpmail-outbox "smtpmail-outbox-list" nil t)
                    ,@(smtpmail-test-settings server)
                    (setq smtpmail-queue-dir ,smtpmail-queue-dir)
                    (smtpmail-outbox)
                    (smtpmail-outbox-list-send)
                    (princ (buffer-string))))))
        (should (equal (plist-get run :exit) 0))
        (should (equal (plist-get run :stdout) "  No queued mail\n"))
        (should (smtpmail-test-message server))))))

(ert-deftest smtpmail-outbox-list-tests-point-stays ()
  "A refresh leaves point at its message, in windows not selected too."
  (smtpmail-outbox-list-tests--with-queue t
    (dolist (subject '("One" "Two" "Three"))
      (smtpmail-outbox-list-tests--queue subject))
    (smtpmail-outbox)
    (delete-other-windows)
    (let ((window (selected-window)))
      (switch-to-buffer smtpmail-outbox-list--buffer)
      (smtpmail-outbox-list-tests--go "Three")
      (set-window-point window (point))
      (select-window (split-window))
      (switch-to-buffer "*scratch*")
      (smtpmail-session-ask-outbox
       `( :job drop ,@(smtpmail-outbox--place)
          :entry ,(plist-get (car (plist-get (smtpmail-outbox-entries) :entries))
                             :name)))
      (smtpmail-outbox-list--catch-up)
      (with-current-buffer smtpmail-outbox-list--buffer
        (should (= 2 (length (smtpmail-outbox-list-tests--lines))))
        (goto-char (window-point window))
        (should (equal "Three" (plist-get (smtpmail-outbox-list--here)
                                          :subject)))))))

;;;; Changing

(ert-deftest smtpmail-outbox-list-tests-hold-and-release ()
  "A held message is not sent; a released one is."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-test-with-server (server)
      (smtpmail-outbox-list-tests--queue "One")
      (smtpmail-outbox)
      (smtpmail-outbox-list-tests--go "One")
      (smtpmail-outbox-list-hold)
      (should (eq 'held (smtpmail-outbox-list-tests--state "One")))
      (smtpmail-outbox-list-send-all)
      (should-not (smtpmail-test-messages server))
      (smtpmail-outbox-list-tests--go "One")
      (smtpmail-outbox-list-release)
      (should (eq 'waiting (smtpmail-outbox-list-tests--state "One")))
      (should-not smtpmail-outbox-list-tests--asked)
      (smtpmail-outbox-list-send-all)
      (should (smtpmail-test-message server))
      (should (equal (smtpmail-outbox-list-tests--lines) '("  No queued mail"))))))

(ert-deftest smtpmail-outbox-list-tests-unknown-only-by-word ()
  "An unknown message goes again only after a yes, with its Message-ID."
  (smtpmail-outbox-list-tests--with-queue '(nil t)
    (smtpmail-test-with-server
        (server "--caps" "PIPELINING,8BITMIME,SIZE" "--on" "dot#1=close")
      (smtpmail-outbox-list-tests--queue "One")
      (ignore-errors (smtpmail-send-queued-mail))
      (smtpmail-outbox)
      (smtpmail-outbox-list-tests--go "One")
      (let ((id (plist-get (smtpmail-outbox-list--here) :message-id)))
        (should-error (smtpmail-outbox-list-hold) :type 'user-error)
        (should-error (smtpmail-outbox-list-send) :type 'user-error)
        (should (string-match-p "may have been delivered already"
                                (car smtpmail-outbox-list-tests--asked)))
        (should (eq 'unknown (smtpmail-outbox-list-tests--state "One")))
        (should-not (smtpmail-test-messages server))
        (smtpmail-outbox-list-tests--go "One")
        (smtpmail-outbox-list-send)
        (should (stringp id))
        (should (string-search id (alist-get 'bytes
                                             (smtpmail-test-message server))))))))

(ert-deftest smtpmail-outbox-list-tests-send-marked ()
  "Only what is marked is sent; the mark outlives a refresh."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-test-with-server (server)
      (dolist (subject '("One" "Two" "Three"))
        (smtpmail-outbox-list-tests--queue subject))
      (smtpmail-outbox)
      (smtpmail-outbox-list-tests--go "Two")
      (smtpmail-outbox-list-mark)
      (smtpmail-outbox-list-refresh)
      (should (string-prefix-p "*" (cadr (smtpmail-outbox-list-tests--lines))))
      (smtpmail-outbox-list-tests--go "One")
      (smtpmail-outbox-list-send)
      (should (string-search "\r\nSubject: Two\r\n"
                             (alist-get 'bytes (smtpmail-test-message server))))
      (should (= 2 (length (smtpmail-outbox-list-tests--lines)))))))

(ert-deftest smtpmail-outbox-list-tests-failed-send-is-told ()
  "A send that fails says why, and the row shows it."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-test-with-server
        (server "--on" "rcpt:refused@example.net=reply 550 5.1.1 no such user")
      (smtpmail-outbox-list-tests--queue "One" "refused@example.net")
      (smtpmail-outbox)
      (smtpmail-outbox-list-tests--go "One")
      (should (string-match-p "Not sent, 1 of 1: One: .*550 5\\.1\\.1"
                              (smtpmail-test-log-of (smtpmail-outbox-list-send))))
      (should (string-match-p "refused .*550 5\\.1\\.1"
                              (car (smtpmail-outbox-list-tests--lines))))
      (smtpmail-outbox-list-tests--go "One")
      (smtpmail-outbox-list-trace)
      (should (string-search "550 5.1.1" (buffer-string))))))

(ert-deftest smtpmail-outbox-list-tests-delete ()
  "Nothing is deleted without a yes, and only what is flagged."
  (smtpmail-outbox-list-tests--with-queue '(nil t)
    (dolist (subject '("One" "Two"))
      (smtpmail-outbox-list-tests--queue subject))
    (smtpmail-outbox)
    (smtpmail-outbox-list-tests--go "Two")
    (smtpmail-outbox-list-flag)
    (should-error (smtpmail-outbox-list-delete-flagged) :type 'user-error)
    (should (string-search "Two" (car smtpmail-outbox-list-tests--asked)))
    (should (smtpmail-outbox-list-tests--state "Two"))
    (smtpmail-outbox-list-delete-flagged)
    (should-not (smtpmail-outbox-list-tests--state "Two"))
    (should (eq 'waiting (smtpmail-outbox-list-tests--state "One")))))

(ert-deftest smtpmail-outbox-list-tests-changed-meanwhile ()
  "What has changed since it was shown is left alone."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox-list-tests--queue "One")
    (smtpmail-outbox)
    (smtpmail-outbox-list-tests--go "One")
    (smtpmail-session-ask-outbox
     `( :job refused ,@(smtpmail-outbox--place) :reply "550 no"
        :entry ,(plist-get (smtpmail-outbox-list--here) :name)))
    (should-error (smtpmail-outbox-list-hold) :type 'user-error)
    (should (eq 'refused (smtpmail-outbox-list-tests--state "One")))))

;;;; Keeping up

(ert-deftest smtpmail-outbox-list-tests-follows-the-directory ()
  "What others do to the queue shows up; the watch dies with the buffer."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox-list-tests--queue "One")
    (smtpmail-outbox)
    (switch-to-buffer smtpmail-outbox-list--buffer)
    ;; Only the watch, not the clock.
    (let ((smtpmail-outbox-list--interval most-positive-fixnum))
      (smtpmail-outbox-list--begin))
    (should smtpmail-outbox-list--watch)
    (smtpmail-outbox-list-tests--queue "Two")
    (smtpmail-test-wait "the new row"
                        (lambda ()
                          ;; Notifications are events, which batch Emacs
                          ;; does not read by itself.
                          (read-event nil nil 0.05)
                          (= 2 (length (smtpmail-outbox-list-tests--lines)))))
    (let ((watch (car smtpmail-outbox-list--watch)))
      (kill-buffer smtpmail-outbox-list--buffer)
      (should-not (and watch (file-notify-valid-p watch)))
      (should-not (seq-find (lambda (timer)
                              (eq (timer--function timer)
                                  #'smtpmail-outbox-list--catch-up))
                            timer-list)))))

(ert-deftest smtpmail-outbox-list-tests-rests ()
  "To look at the queue does not make it change, and so look again."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox-list-tests--queue "One")
    (smtpmail-outbox)
    (switch-to-buffer smtpmail-outbox-list--buffer)
    (let ((looks 0))
      (cl-letf* ((list (symbol-function 'smtpmail-outbox-entries))
                 ((symbol-function 'smtpmail-outbox-entries)
                  (lambda () (setq looks (1+ looks)) (funcall list))))
        (smtpmail-outbox-list--noticed nil)
        (let ((end (+ (float-time) 2)))
          (while (< (float-time) end) (read-event nil nil 0.05))))
      (should (<= 1 looks 2)))))

(ert-deftest smtpmail-outbox-list-tests-variables-print ()
  "No variable holds what another Emacs could not read."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox-list-tests--queue "One")
    (smtpmail-outbox)
    (mapatoms
     (lambda (symbol)
       (when (and (string-prefix-p "smtpmail-outbox" (symbol-name symbol))
                  (not (string-match-p "-tests-" (symbol-name symbol)))
                  (boundp symbol))
         (should-not (string-match-p
                      "#<" (let ((print-circle t))
                             (prin1-to-string (symbol-value symbol))))))))))

;;;; Looking and editing

(ert-deftest smtpmail-outbox-list-tests-view ()
  "A message is shown decoded and as plain text; held ones too."
  (smtpmail-outbox-list-tests--with-queue t
    (smtpmail-outbox-list-tests--queue
     "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=" nil
     "Caf\u00e9 \e[31mred\u202e\n\C-l\n;; Local Variables:\n;; eval: (setq bad t)\n;; End:\n")
    (smtpmail-outbox)
    (smtpmail-outbox-list-tests--go "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=")
    (smtpmail-outbox-list-hold)
    (smtpmail-outbox-list-view)
    (should (derived-mode-p 'special-mode))
    (should buffer-read-only)
    (let ((text (buffer-string)))
      (should (string-search "Subject: Gr\u00fc\u00dfe\n" text))
      (should (string-search "State: held\n" text))
      (should (string-search "Caf\u00e9 \\x1b[31mred\\x202e\n" text))
      (should (string-search ";; eval: (setq bad t)\n" text))
      (should-not (string-match-p "[\e\u202e\C-l]" text)))))

(ert-deftest smtpmail-outbox-list-tests-view-multipart ()
  "Of alternatives the plain one is shown; an attachment is named."
  (smtpmail-outbox-list-tests--with-queue t
    (let ((failure
           (smtpmail-test-send
            "To: you@example.net\nSubject: Parts\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n"
            "--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nna=EFve\n--b\nContent-Type: image/png; name=\"x.png\"\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n")))
      (should-not failure))
    (smtpmail-outbox)
    (smtpmail-outbox-list-view)
    (should (string-search "na\u00efve\n" (buffer-string)))
    (should (string-search "[image/png x.png, " (buffer-string)))))

(defun smtpmail-outbox-list-tests--edit (subject)
  "Edit the entry with SUBJECT and return the buffer of the draft."
  (smtpmail-outbox)
  (smtpmail-outbox-list-tests--go subject)
  (smtpmail-outbox-list-edit)
  (current-buffer))

(ert-deftest smtpmail-outbox-list-tests-edit-round-trip ()
  "A draft has text and recipients, Bcc too, and sends to all of them."
  (dolist (mail-user-agent '(message-user-agent sendmail-user-agent))
    (smtpmail-outbox-list-tests--with-queue t
      (smtpmail-test-with-server (server)
        (should-not (smtpmail-test-send
                     "To: you@example.net\nCc: Z\u00e9 <ze@example.net>\nBcc: secret@example.net\nSubject: Gr\u00fc\u00dfe\nIn-Reply-To: <1@x>\n"
                     "Caf\u00e9\n<#part filename=/etc/passwd>\n"))
        (smtpmail-outbox)
        (let ((old (plist-get (smtpmail-outbox-list--here) :message-id)))
          (smtpmail-outbox-list-edit)
          (should (derived-mode-p (if (eq mail-user-agent 'message-user-agent)
                                      'message-mode 'mail-mode)))
          (should-not (plist-get (smtpmail-outbox-entries) :entries))
          (let ((text (buffer-substring-no-properties (point-min) (point-max))))
            (should (string-match-p "^Subject: Gr\u00fc\u00dfe$" text))
            (should (string-match-p "^Cc: .*Z\u00e9.* <ze@example\\.net>$" text))
            (should (string-match-p "^Bcc: secret@example\\.net$" text))
            (should (string-match-p "^In-Reply-To: <1@x>$" text))
            (should-not (string-match-p "^\\(Message-I[dD]\\|Date\\|Content-\\|MIME\\)" text))
            (should (string-search "\nCaf\u00e9\n" text)))
          (let ((smtpmail-queue-mail nil)
                (send-mail-function 'smtpmail-send-it)
                (message-send-mail-function 'smtpmail-send-it)
                (message-confirm-send nil)
                (message-interactive t))
            (if (derived-mode-p 'message-mode) (message-send) (mail-send)))
          (let* ((sent (smtpmail-test-message server))
                 (bytes (alist-get 'bytes sent)))
            (should (equal '("you@example.net" "ze@example.net" "secret@example.net")
                           (alist-get 'to sent)))
            (should (string-match-p "<#part filename=\\(3D\\)?/etc/passwd>" bytes))
            (should-not (string-search "secret@" bytes))
            (should-not (string-search "root:" bytes))
            (should (string-match-p "Caf\\(=C3=A9\\|=E9\\|\303\251\\|\351\\)" bytes))
            (should-not (string-search old bytes))))))))

(ert-deftest smtpmail-outbox-list-tests-edit-keeps-without-yes ()
  "The entry stays if the user does not say that it may go."
  (smtpmail-outbox-list-tests--with-queue nil
    (smtpmail-outbox-list-tests--queue "One")
    (let ((draft (smtpmail-outbox-list-tests--edit "One")))
      (should (string-search (buffer-name draft)
                             (car smtpmail-outbox-list-tests--asked)))
      (should (eq 'waiting (smtpmail-outbox-list-tests--state "One"))))))

(ert-deftest smtpmail-outbox-list-tests-edit-keeps-attachments ()
  "A message of several parts becomes MML, and MIME again."
  (let ((mail-user-agent 'message-user-agent))
    (smtpmail-outbox-list-tests--with-queue t
      (smtpmail-test-with-server (server)
        (should-not
         (smtpmail-test-send
          "To: you@example.net\nSubject: Parts\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n"
          "--b\nContent-Type: text/plain; charset=utf-8\n\nSee below\n--b\nContent-Type: image/png\nContent-Disposition: attachment; filename=\"x.png\"\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--b--\n"))
        (smtpmail-outbox-list-tests--edit "Parts")
        (let ((smtpmail-queue-mail nil)
              (message-send-mail-function 'smtpmail-send-it)
              (message-interactive t))
          (message-send))
        (let ((bytes (alist-get 'bytes (smtpmail-test-message server))))
          (should (string-search "See below" bytes))
          (should (string-search "filename=x.png" bytes))
          (should (string-search "iVBORw0KGgo=" bytes)))))))

(ert-deftest smtpmail-outbox-list-tests-edit-names-who-has-it ()
  "Who got the message already is named before the draft replaces it."
  (let ((smtpmail-on-refused-recipients 'send-rest))
    (smtpmail-outbox-list-tests--with-queue t
      (smtpmail-test-with-server
          (server "--on" "rcpt:later@example.net=reply 450 4.2.0 greylisted")
        (smtpmail-outbox-list-tests--queue "One" "you@example.net, later@example.net")
        (ignore-errors (smtpmail-send-queued-mail))
        (should (equal '("you@example.net")
                       (alist-get 'to (smtpmail-test-message server))))
        (smtpmail-outbox-list-tests--edit "One")
        (should (string-match-p "no longer waits for you@example\\.net, who"
                                (car smtpmail-outbox-list-tests--asked)))))))

(ert-deftest smtpmail-outbox-list-tests-edit-keeps-the-account ()
  "A draft goes through the server that was stored with the message."
  (let ((mail-user-agent 'message-user-agent)
        (smtpmail-store-queue-variables t))
    (smtpmail-outbox-list-tests--with-queue t
      (let ((smtpmail-smtp-server "mail.example.org")
            (smtpmail-smtp-service 587)
            (smtpmail-smtp-user "jane"))
        (smtpmail-outbox-list-tests--queue "One"))
      (let ((smtpmail-smtp-server "other.example.org"))
        (with-current-buffer (smtpmail-outbox-list-tests--edit "One")
          (goto-char (point-min))
          (should (re-search-forward
                   "^X-Message-SMTP-Method: smtp mail\\.example\\.org 587 jane$"
                   nil t)))))))

(ert-deftest smtpmail-outbox-list-tests-edit-hostile ()
  "A message cannot give orders to the Emacs that edits it."
  (let ((mail-user-agent 'message-user-agent))
    (smtpmail-outbox-list-tests--with-queue t
      (smtpmail-outbox-list-tests--queue
       "=?utf-8?Q?x=0AFcc:_/tmp/bad?=\nX-Message-SMTP-Method: smtp evil.example 25\nGcc: nnfolder:x")
      (with-current-buffer
          (smtpmail-outbox-list-tests--edit "=?utf-8?Q?x=0AFcc:_/tmp/bad?=")
        (goto-char (point-min))
        (should (re-search-forward "^Subject: x Fcc: /tmp/bad$" nil t))
        (goto-char (point-min))
        (should-not (re-search-forward "^\\(Fcc\\|Gcc\\|X-Message-SMTP-Method\\):"
                                       nil t)))
      ;; A parameter that would end its own quotation in MML.
      (should-not
       (smtpmail-test-send
        "To: you@example.net\nSubject: Parts\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n"
        "--b\nContent-Type: text/plain; x=\"a\\\" filename=\\\"/etc/passwd\"\n\nHi\n--b--\n"))
      (should-error (smtpmail-outbox-list-tests--edit "Parts") :type 'user-error)
      (should (eq 'waiting (smtpmail-outbox-list-tests--state "Parts"))))))

(provide 'smtpmail-outbox-list-tests)

;;; smtpmail-outbox-list-tests.el ends here
