;;; smtpmail-client-mu4e-tests.el --- mu4e over a real server  -*- lexical-binding: t -*-

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

;; mu4e with its mu, started once, in the home directory of this Emacs: sending,
;; the queue and its line in the main view, contexts.  The queue is a maildir,
;; as mu4e's manual has it, that mu indexes.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-client))

(defvar mu4e-bookmarks)
(defvar mu4e-confirm-quit)
(defvar mu4e-context-policy)
(defvar mu4e-compose-context-policy)
(defvar mu4e-contexts)
(defvar mu4e-drafts-folder)
(defvar mu4e-hide-index-messages)
(defvar mu4e-main-buffer-name)
(defvar mu4e-mu-binary)
(defvar mu4e-refile-folder)
(defvar mu4e-sent-folder)
(defvar mu4e-sent-messages-behavior)
(defvar mu4e-trash-folder)
(declare-function make-mu4e-context "ext:mu4e-context" (&rest slots))
(declare-function mu4e "ext:mu4e" (&optional background))
(declare-function mu4e--server-index "ext:mu4e-server" (&optional cleanup lazy-check))
(declare-function mu4e--server-move "ext:mu4e-server"
                  (docid-or-msgid &optional maildir flags no-view))
(declare-function mu4e-compose-new "ext:mu4e-compose" ())
(declare-function mu4e-compose-reply "ext:mu4e-compose" ())
(declare-function mu4e-context-switch "ext:mu4e-context" (&optional force name))
(declare-function mu4e-get-headers-buffer "ext:mu4e-headers" ())
(declare-function mu4e-headers-search "ext:mu4e-headers" (&optional expr))
(declare-function mu4e-message-at-point "ext:mu4e-message" (&optional noerror))
(declare-function mu4e-running-p "ext:mu4e-server" ())
(declare-function mu4e-search "ext:mu4e-search" (&optional expr prompt edit
                                                           ignore-history msgid show))

(defconst smtpmail-client-mu4e-tests--maildir (expand-file-name "~/Maildir/")
  "The mail of the user that these tests are.")

(defun smtpmail-client-mu4e-tests--files (folder)
  "Return the messages in FOLDER, files."
  (seq-remove (lambda (file) (string-suffix-p ".el" file))
              (mapcan (lambda (part)
                        (directory-files (concat smtpmail-client-mu4e-tests--maildir
                                                 folder part)
                                         t "\\`[0-9]"))
                      (list "/cur" "/new"))))

(defun smtpmail-client-mu4e-tests--start ()
  "Start mu4e, once, with a mailbox of its own."
  (let ((mu (smtpmail-client-program "mu")))
    (unless (featurep 'mu4e)
      (dolist (folder '("inbox" "sent" "drafts" "trash" "queue"))
        (dolist (part '("cur" "new" "tmp"))
          (make-directory (concat smtpmail-client-mu4e-tests--maildir
                                  folder "/" part)
                          t)))
      (smtpmail-client-write
       (concat smtpmail-client-mu4e-tests--maildir "inbox/cur/1780000000.1.here:2,S")
       "From: Bob <bob@example.org>\nTo: alice@example.org\nSubject: Question\n"
       "Date: Mon, 01 Jun 2026 10:00:00 +0000\nMessage-ID: <first@example.net>\n\n"
       "What?\n")
      (dolist (arguments (list (list "init" (concat "--maildir="
                                                    smtpmail-client-mu4e-tests--maildir)
                                     "--my-address=alice@example.org")
                               '("index")))
        (with-temp-buffer
          (unless (eql 0 (apply #'call-process mu nil t nil arguments))
            (error "The command mu failed: %s" (buffer-string)))))
      (push (smtpmail-client-lisp :mu4e) load-path)
      (require 'mu4e)
      (setq mu4e-mu-binary mu
            mu4e-bookmarks nil
            mu4e-confirm-quit nil
            mu4e-context-policy nil
            mu4e-compose-context-policy nil
            mu4e-contexts nil
            mu4e-hide-index-messages t
            mu4e-sent-folder "/sent"
            mu4e-drafts-folder "/drafts"
            mu4e-trash-folder "/trash"
            mu4e-refile-folder "/inbox"
            mu4e-sent-messages-behavior 'sent))
    ;; This draws it, too.
    (mu4e)
    (smtpmail-client-await "mu4e's main view"
                           #'smtpmail-client-mu4e-tests--main-view)))

(defun smtpmail-client-mu4e-tests--main-view ()
  "Return the text of mu4e's main view, or nil if it is not complete."
  (when-let ((buffer (get-buffer mu4e-main-buffer-name)))
    (with-current-buffer buffer
      (and (string-search "in store" (buffer-string))
           (buffer-substring-no-properties (point-min) (point-max))))))

(defun smtpmail-client-mu4e-tests--redrawn ()
  "Draw mu4e's main view anew and return it."
  (with-current-buffer mu4e-main-buffer-name
    (let ((inhibit-read-only t))
      (erase-buffer))
    (revert-buffer))
  (smtpmail-client-await "mu4e's main view"
                         #'smtpmail-client-mu4e-tests--main-view))

(defmacro smtpmail-client-mu4e-tests--with (settings &rest body)
  "Run BODY as `smtpmail-client-with' does with SETTINGS, in mu4e.
Drafts, copies and queue are empty at first."
  (declare (indent 1) (debug t))
  (pcase-let ((`(,server ,kind . ,rest) settings))
    `(smtpmail-client-with (,server ,kind
                            smtpmail-queue-dir
                            (concat smtpmail-client-mu4e-tests--maildir "queue/cur")
                            mail-user-agent 'mu4e-user-agent
                            message-kill-buffer-on-exit t
                            ,@rest)
       (smtpmail-client-mu4e-tests--start)
       (dolist (folder '("sent" "drafts" "queue"))
         (dolist (file (directory-files (concat smtpmail-client-mu4e-tests--maildir
                                                folder "/cur")
                                        t directory-files-no-dot-files-regexp))
           (delete-file file)))
       (unwind-protect (progn ,@body)
         (dolist (buffer (buffer-list))
           (when (with-current-buffer buffer (derived-mode-p 'mu4e-compose-mode))
             (smtpmail-client-kill buffer)))))))

(defun smtpmail-client-mu4e-tests--drafts ()
  "Return the buffers in which mails are composed."
  (seq-filter (lambda (buffer)
                (with-current-buffer buffer (derived-mode-p 'mu4e-compose-mode)))
              (buffer-list)))

(defun smtpmail-client-mu4e-tests--compose (to body)
  "Compose a mail with BODY to TO in mu4e, and send it by C-c C-c."
  (with-current-buffer mu4e-main-buffer-name
    (mu4e-compose-new))
  (set-buffer (car (smtpmail-client-await "mu4e's draft"
                                          #'smtpmail-client-mu4e-tests--drafts)))
  (message-replace-header "To" to)
  (message-replace-header "Subject" "Hello")
  (message-goto-body)
  (delete-region (point) (point-max))
  (insert body)
  (smtpmail-client-press "C-c C-c"))

(defun smtpmail-client-mu4e-tests--press (key)
  "Press KEY in mu4e's main view."
  (with-current-buffer mu4e-main-buffer-name
    (smtpmail-client-press key)))

;;;; Sending

(ert-deftest smtpmail-client-mu4e-send ()
  "A mail goes; the copy is in the sent folder, the draft is not there any more."
  (smtpmail-client-mu4e-tests--with (server 'plain)
    (smtpmail-client-mu4e-tests--compose "bob@example.org" "Grüße\n.\n")
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("bob@example.org")))
      (should (equal (smtpmail-client-decoded-body message) "Grüße\n.\n")))
    (should (= 1 (length (smtpmail-client-mu4e-tests--files "sent"))))
    (smtpmail-client-await "the end of the draft"
                           (lambda ()
                             (null (smtpmail-client-mu4e-tests--files "drafts"))))))

(ert-deftest smtpmail-client-mu4e-refused ()
  "What is refused stays a draft; there is no copy of it."
  (smtpmail-client-mu4e-tests--with (server 'plain)
    (smtpmail-client-refused
      (smtpmail-client-mu4e-tests--compose (plist-get server :refused) "Text\n"))
    (should (smtpmail-client-mu4e-tests--drafts))
    (should (= 1 (length (smtpmail-client-mu4e-tests--files "drafts"))))
    (should-not (smtpmail-client-mu4e-tests--files "sent"))
    (smtpmail-client-nothing-arrived server)))

(ert-deftest smtpmail-client-mu4e-reply ()
  "A reply from the list of headers goes to the author."
  (smtpmail-client-mu4e-tests--with (server 'plain)
    (mu4e-search "msgid:first@example.net")
    (set-buffer (smtpmail-client-await
                 "the list of headers"
                 (lambda ()
                   (when-let ((buffer (mu4e-get-headers-buffer)))
                     (with-current-buffer buffer
                       (goto-char (point-min))
                       (and (ignore-errors (mu4e-message-at-point t)) buffer))))))
    (mu4e-compose-reply)
    (set-buffer (car (smtpmail-client-await
                      "mu4e's draft" #'smtpmail-client-mu4e-tests--drafts)))
    (message-goto-body)
    (insert "That.\n")
    (smtpmail-client-press "C-c C-c")
    (let ((message (smtpmail-client-only server)))
      (should (equal (plist-get message :to) '("bob@example.org")))
      (should (string-search "first@example.net"
                             (smtpmail-client-field message "In-Reply-To"))))))

(ert-deftest smtpmail-client-mu4e-contexts ()
  "A context decides over which server, and as whom, a mail goes."
  (smtpmail-client-mu4e-tests--with (server 'plain)
    (let* ((port smtpmail-smtp-service)
           (smtpmail-smtp-service (smtpmail-test-quiet-port))
           (mu4e-contexts
            (list (make-mu4e-context
                   :name "Work"
                   :vars `((user-mail-address . "boss@example.org")
                           (smtpmail-smtp-service . ,port)
                           (smtpmail-stream-type . plain)))
                  (make-mu4e-context
                   :name "Home"
                   :vars `((user-mail-address . "alice@example.org")
                           (smtpmail-smtp-service . ,smtpmail-smtp-service))))))
      (mu4e-context-switch nil "Home")
      (should-error (smtpmail-client-mu4e-tests--compose "bob@example.org" "One\n"))
      (mapc #'smtpmail-client-kill (smtpmail-client-mu4e-tests--drafts))
      (mu4e-context-switch nil "Work")
      (smtpmail-client-mu4e-tests--compose "bob@example.org" "Two\n")
      (let ((message (smtpmail-client-only server)))
        (should (equal (plist-get message :from) "boss@example.org"))
        (should (equal (smtpmail-client-body message) "Two\n"))))))

(ert-deftest smtpmail-client-mu4e-no-queue ()
  "Without `smtpmail-queue-dir' mails go; only the queue is an error."
  (smtpmail-client-mu4e-tests--with (server 'plain)
    (let ((smtpmail-queue-dir nil))
      ;; The main view of mu4e 1.8 cannot do without.
      (cl-letf (((symbol-function 'mu4e--main-redraw-buffer) #'ignore))
        (smtpmail-client-mu4e-tests--compose "bob@example.org" "Text\n"))
      (should (string-match-p "smtpmail-queue-dir"
                              (error-message-string
                               (should-error (smtpmail-send-queued-mail))))))
    (smtpmail-client-only server)))

;;;; The queue

(ert-deftest smtpmail-client-mu4e-queue ()
  "m queues, the main view counts, f sends all, and the count is gone."
  (smtpmail-client-mu4e-tests--with (server 'plain)
    (should (string-search "(currently direct)"
                           (smtpmail-client-mu4e-tests--redrawn)))
    (smtpmail-client-mu4e-tests--press "m")
    (should (eq smtpmail-queue-mail t))
    (should (string-search "(currently queued)"
                           (smtpmail-client-mu4e-tests--redrawn)))
    (smtpmail-client-mu4e-tests--compose "bob@example.org" "One\n")
    (should (string-search "lush 1 queued mail\n"
                           (smtpmail-client-mu4e-tests--redrawn)))
    (smtpmail-client-mu4e-tests--compose "bob@example.org" "Two: Grüße\n")
    (should (string-search "lush 2 queued mails\n"
                           (smtpmail-client-mu4e-tests--redrawn)))
    (smtpmail-client-nothing-arrived server)
    (should (= 2 (length (smtpmail-client-mu4e-tests--files "sent"))))
    (smtpmail-client-mu4e-tests--press "m")
    (should-not smtpmail-queue-mail)
    (smtpmail-client-mu4e-tests--press "f")
    (should (equal (mapcar #'smtpmail-client-decoded-body
                           (smtpmail-client-arrived server 2))
                   '("One\n" "Two: Grüße\n")))
    (should-not (string-search "queued mail" (smtpmail-client-mu4e-tests--redrawn)))
    (should-not (smtpmail-client-mu4e-tests--files "queue"))))

(ert-deftest smtpmail-client-mu4e-queue-refused ()
  "What did not go is told and stays; counted is what may go by itself."
  (smtpmail-client-mu4e-tests--with (server 'plain smtpmail-queue-mail t)
    (smtpmail-client-mu4e-tests--compose "bob@example.org" "One\n")
    (smtpmail-client-mu4e-tests--compose (plist-get server :refused) "Two\n")
    (smtpmail-client-mu4e-tests--compose (plist-get server :greylisted) "Three\n")
    (smtpmail-client-mu4e-tests--compose "bob@example.org" "Four\n")
    (should (string-search "lush 4 queued mails\n"
                           (smtpmail-client-mu4e-tests--redrawn)))
    (let ((why (error-message-string
                (should-error (smtpmail-client-mu4e-tests--press "f")))))
      (should (string-match-p "2 of 4 queued messages not sent" why))
      (should (string-match-p "550 5\\.1\\.1" why))
      (should (string-match-p "450 4\\.2\\.0" why)))
    (should (equal (mapcar #'smtpmail-client-body (smtpmail-client-arrived server 2))
                   '("One\n" "Four\n")))
    ;; The server said no to the other for good.
    (should (string-search "lush 1 queued mail\n"
                           (smtpmail-client-mu4e-tests--redrawn)))
    (should (equal (sort (mapcan (lambda (entry)
                                   (copy-sequence (plist-get entry :recipients)))
                                 (plist-get (smtpmail-outbox-entries) :entries))
                         #'string<)
                   (list (plist-get server :greylisted) (plist-get server :refused))))))

(ert-deftest smtpmail-client-mu4e-queue-renamed ()
  "mu, that indexes the queue, and then marks a mail as read, renames its file."
  (smtpmail-client-mu4e-tests--with (server 'plain smtpmail-queue-mail t)
    (smtpmail-client-mu4e-tests--compose "bob@example.org" "One\n")
    (smtpmail-client-mu4e-tests--compose "bob@example.org" "Two\n")
    (let ((files (smtpmail-client-mu4e-tests--files "queue"))
          (index (smtpmail-test-text
                  (concat smtpmail-client-mu4e-tests--maildir "queue/cur/index"))))
      (should (= 2 (length files)))
      (mu4e--server-index)
      (let ((id (with-temp-buffer
                  (insert-file-contents (car files))
                  (let ((case-fold-search t))
                    (re-search-forward "^Message-ID: <\\(.*\\)>$"))
                  (match-string 1))))
        (smtpmail-client-await
         "a file that mu renamed"
         (lambda ()
           ;; Not known until it is indexed.
           (mu4e--server-move id nil "+S-u-N")
           (accept-process-output nil 0.2)
           (not (file-exists-p (car files))))))
      ;; mbsync and others do it to all files, and so are two names changed.
      (dolist (file (smtpmail-client-mu4e-tests--files "queue"))
        (unless (string-search ":2," file)
          (rename-file file (concat file ":2,FS"))))
      ;; mu has read all of it: with another Emacs beside, that could be sending what
      ;; it has read, one would be asked.
      (dolist (file (directory-files (concat smtpmail-client-mu4e-tests--maildir "queue/cur")
                                     t "\\`[^.]"))
        (set-file-times file))
      (should (= 2 (seq-count (lambda (file) (string-search ":2," file))
                              (smtpmail-client-mu4e-tests--files "queue"))))
      (should (equal index
                     (smtpmail-test-text
                      (concat smtpmail-client-mu4e-tests--maildir "queue/cur/index")))))
    (should (string-search "lush 2 queued mails\n"
                           (smtpmail-client-mu4e-tests--redrawn)))
    (smtpmail-client-mu4e-tests--press "f")
    (should (equal (mapcar #'smtpmail-client-body (smtpmail-client-arrived server 2))
                   '("One\n" "Two\n")))
    (should-not (smtpmail-client-mu4e-tests--files "queue"))
    (should-not (string-search "queued mail" (smtpmail-client-mu4e-tests--redrawn)))))

;;;; In the background

(defun smtpmail-client-mu4e-tests--replied ()
  "Return non-nil if the mail received is marked as replied to."
  (seq-find (lambda (file) (string-match-p ":2,[A-Z]*R[A-Z]*\\'" file))
            (smtpmail-client-mu4e-tests--files "inbox")))

(defun smtpmail-client-mu4e-tests--reply (to)
  "Reply to the mail received, to TO."
  (mu4e-search "msgid:first@example.net")
  (set-buffer (smtpmail-client-await
               "the list of headers"
               (lambda ()
                 (when-let ((buffer (mu4e-get-headers-buffer)))
                   (with-current-buffer buffer
                     (goto-char (point-min))
                     (and (ignore-errors (mu4e-message-at-point t)) buffer))))))
  (mu4e-compose-reply)
  (set-buffer (car (smtpmail-client-await
                    "mu4e's draft" #'smtpmail-client-mu4e-tests--drafts)))
  (message-replace-header "To" to)
  (message-replace-header "Subject" "Hello")
  (message-goto-body)
  (insert "That.\n"))

(defun smtpmail-client-mu4e-tests--not-replied ()
  "Take the mark \"replied\" off the mail received."
  (when (smtpmail-client-mu4e-tests--replied)
    (smtpmail-client-await
     "the mark to be gone"
     (lambda ()
       (mu4e--server-move "first@example.net" nil "-R")
       (accept-process-output nil 0.2)
       (not (smtpmail-client-mu4e-tests--replied))))))

(ert-deftest smtpmail-client-mu4e-background ()
  "mu4e's copy and mark come when the mail is in the outbox; it is accepted later.
So it is whether one wants to wait or not: mu4e works on its draft's file."
  (smtpmail-client-mu4e-tests--with (server 'plain)
    (dolist (wait '(nil t))
      (ert-info ((format "smtpmail-wait-for-acceptance %s" wait))
        (smtpmail-client-mu4e-tests--not-replied)
        (mapc #'delete-file (smtpmail-client-mu4e-tests--files "sent"))
        (smtpmail-client-in-background server
          (let ((smtpmail-wait-for-acceptance wait))
            (smtpmail-client-mu4e-tests--reply "bob@example.org")
            (smtpmail-client-stop server)
            (smtpmail-client-press "C-c C-c")
            ;; Emacs goes on, though the server says nothing.
            (should (= 1 (length smtpmail-background--mails)))
            (should (= 1 (length (smtpmail-client-mu4e-tests--files "sent"))))
            (smtpmail-client-await "the mark \"replied\""
                                   #'smtpmail-client-mu4e-tests--replied)
            (smtpmail-client-await "the end of the draft"
                                   (lambda ()
                                     (null (smtpmail-client-mu4e-tests--drafts))))
            (should (= 1 (length smtpmail-background--mails)))
            (smtpmail-client-go-on server)
            (smtpmail-client-accepted)
            (should (= 1 (length (smtpmail-client-mu4e-tests--files "sent"))))
            (let ((message (smtpmail-client-only server)))
              (should (equal (plist-get message :to) '("bob@example.org"))))))))))

(ert-deftest smtpmail-client-mu4e-background-refused ()
  "The notice of a refusal names mu4e's copy; the draft that it makes is sent."
  (smtpmail-client-mu4e-tests--with (server 'plain)
    (smtpmail-client-in-background server
      (smtpmail-client-mu4e-tests--compose (plist-get server :refused) "Text\n")
      (smtpmail-test-wait "the notice" (lambda () smtpmail-notice--list))
      (with-current-buffer smtpmail-notice--buffer
        (should (string-match-p "Done already: the copy in .*/Maildir/sent/cur/"
                                (buffer-string))))
      (smtpmail-client-edit-refused)
      (message-replace-header "To" "bob@example.org")
      (smtpmail-client-press "C-c C-c")
      (smtpmail-client-accepted)
      (let ((message (smtpmail-client-only server)))
        (should (equal (plist-get message :to) '("bob@example.org")))
        (should (equal (smtpmail-client-body message) "Text\n"))))))

;;;; Two accounts

(ert-deftest smtpmail-client-mu4e-two-accounts-at-once ()
  "A context makes the author, and the author the account."
  (smtpmail-client-mu4e-tests--with (_server 'plain)
    (smtpmail-client-with-accounts (home work)
      (unwind-protect
          (progn
            (setq mu4e-contexts
                  (mapcar (lambda (name)
                            (make-mu4e-context
                             :name name
                             :vars `((user-mail-address
                                      . ,(format "me@%s.example" name)))))
                          '("home" "work")))
            (dolist (name '("home" "work"))
              (mu4e-context-switch t name)
              (smtpmail-client-mu4e-tests--compose "bob@example.org" "Text\n"))
            (smtpmail-client-under-way-at-once)
            (smtpmail-client-check-accounts home work))
        (setq mu4e-contexts nil)))))

(ert-deftest smtpmail-client-mu4e-contexts-with-the-variables-at-once ()
  "As most people have it: each context sets the server's variables.
What is on its way keeps those with which it was sent."
  (smtpmail-client-mu4e-tests--with (_server 'plain)
    (smtpmail-client-with-accounts (home work)
      (let ((smtpmail-accounts nil)
            (smtpmail-auth-supported smtpmail-auth-supported)
            (smtpmail-ehlo-name nil))
        (unwind-protect
            (progn
              (setq mu4e-contexts
                    (list (make-mu4e-context
                           :name "home"
                           :vars `((user-mail-address . "me@home.example")
                                   (smtpmail-smtp-server . "localhost")
                                   (smtpmail-smtp-service
                                    . ,(smtpmail-test-server-port home))
                                   (smtpmail-stream-type . ssl)
                                   (smtpmail-smtp-user . "alice")
                                   (smtpmail-ehlo-name . nil)))
                          (make-mu4e-context
                           :name "work"
                           :vars `((user-mail-address . "me@work.example")
                                   (smtpmail-smtp-server . "localhost")
                                   (smtpmail-smtp-service
                                    . ,(smtpmail-test-server-port work))
                                   (smtpmail-stream-type . starttls)
                                   (smtpmail-smtp-user . "bob")
                                   (smtpmail-auth-supported . (login))
                                   (smtpmail-ehlo-name
                                    . "client.work.example")))))
              (dolist (name '("home" "work"))
                (mu4e-context-switch t name)
                (smtpmail-client-mu4e-tests--compose "bob@example.org" "Text\n"))
              (smtpmail-client-under-way-at-once)
              (smtpmail-client-check-accounts home work))
          (setq mu4e-contexts nil))))))

(provide 'smtpmail-client-mu4e-tests)

;;; smtpmail-client-mu4e-tests.el ends here
