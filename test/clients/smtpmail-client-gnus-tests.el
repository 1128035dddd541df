;;; smtpmail-client-gnus-tests.el --- Gnus over a real server  -*- lexical-binding: t -*-

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

;; The agent's queue, drafts, delayed articles, posting styles and Gcc.  One
;; Gnus, started once, in the home directory of this Emacs.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-client))

;; Read when Gnus is loaded.
(defvar gnus-init-file)
(defvar gnus-select-method)
(defvar gnus-secondary-select-methods)
(setq gnus-init-file nil
      gnus-select-method '(nnnil "")
      gnus-secondary-select-methods '((nnml "")))

(require 'gnus)
(require 'gnus-agent)
(require 'gnus-cache)
(require 'gnus-delay)
(require 'gnus-draft)
(require 'gnus-group)
(require 'gnus-msg)
(require 'nndraft)
(require 'nnml)

(setq gnus-expert-user t
      gnus-interactive-exit nil
      gnus-novice-user nil
      gnus-read-active-file nil
      gnus-save-newsrc-file nil
      gnus-read-newsrc-file nil
      gnus-agent-queue-mail t
      gnus-message-archive-group nil
      ;; Without font-lock, in batch, it calls itself for ever.
      gnus-message-highlight-citation nil)

(defun smtpmail-client-gnus-tests--start ()
  "Start Gnus, once, with an empty mail group nnml:sent."
  (unless (gnus-alive-p)
    (let ((inhibit-message t))
      (gnus)
      (gnus-delay-initialize nil t)
      (gnus-group-make-group "sent" '(nnml "")))))

(defmacro smtpmail-client-gnus-tests--with (settings &rest body)
  "Run BODY as `smtpmail-client-with' does with SETTINGS, in Gnus, plugged."
  (declare (indent 1) (debug t))
  `(smtpmail-client-with ,settings
     (smtpmail-client-gnus-tests--start)
     (dolist (group '("drafts" "queue" "delayed"))
       (mapc #'delete-file (smtpmail-client-gnus-tests--files group)))
     (setq gnus-plugged t
           gnus-posting-styles nil)
     ,@body))

(defun smtpmail-client-gnus-tests--files (group)
  "Return the files of the articles in the draft group GROUP."
  (let ((directory (expand-file-name group nndraft-directory)))
    (and (file-directory-p directory)
         (directory-files directory t "\\`[0-9]+\\'"))))

(defun smtpmail-client-gnus-tests--filed ()
  "Return the articles in the mail group nnml:sent, the text of each."
  (mapcar #'smtpmail-test-text
          (directory-files (expand-file-name "sent" nnml-directory) t
                           "\\`[0-9]+\\'")))

(defun smtpmail-client-gnus-tests--compose (to body &rest fields)
  "Begin a mail to TO with BODY and FIELDS in Gnus, and leave it current."
  (set-buffer gnus-group-buffer)
  (gnus-group-mail)
  (message-replace-header "To" to)
  (message-replace-header "Subject" "Hello")
  (while fields
    (message-replace-header (pop fields) (pop fields)))
  (message-goto-body)
  (delete-region (point) (point-max))
  (insert body))

(ert-deftest smtpmail-client-gnus-gcc ()
  "Gnus files the copy once the mail is sent, and no copy of what was not."
  (smtpmail-client-gnus-tests--with (server 'plain)
    (let ((before (length (smtpmail-client-gnus-tests--filed)))
          draft)
      (unwind-protect
          (progn
            (smtpmail-client-gnus-tests--compose
             (plist-get server :refused) "Text\n" "Gcc" "nnml:sent")
            (setq draft (current-buffer))
            (smtpmail-client-refused (smtpmail-client-press "C-c C-c"))
            (should (buffer-live-p draft))
            (should (= before (length (smtpmail-client-gnus-tests--filed))))
            (set-buffer draft)
            (message-replace-header "To" "bob@example.org")
            (smtpmail-client-press "C-c C-c")
            (should-not (buffer-live-p draft)))
        (smtpmail-client-kill draft))
      (should-not (smtpmail-client-field (smtpmail-client-only server) "Gcc"))
      (let ((filed (smtpmail-client-gnus-tests--filed)))
        (should (= (1+ before) (length filed)))
        (should (string-match-p "^To: bob@example\\.org$" (car (last filed))))))))

(ert-deftest smtpmail-client-gnus-agent-queue ()
  "Unplugged, mails wait in the agent's queue; plugged, they go."
  (smtpmail-client-gnus-tests--with (server 'plain)
    (setq gnus-plugged nil)
    (dolist (body '("One: Grüße\n" "Two\n.\n"))
      (smtpmail-client-gnus-tests--compose "bob@example.org" body)
      (smtpmail-client-press "C-c C-c"))
    (smtpmail-client-nothing-arrived server)
    (should (= 2 (length (smtpmail-client-gnus-tests--files "queue"))))
    (setq gnus-plugged t)
    (with-current-buffer gnus-group-buffer (gnus-group-send-queue))
    (should (equal (sort (mapcar #'smtpmail-client-decoded-body
                                 (smtpmail-client-arrived server 2))
                         #'string<)
                   '("One: Grüße\n" "Two\n.\n")))
    (should-not (smtpmail-client-gnus-tests--files "queue"))))

(ert-deftest smtpmail-client-gnus-agent-queue-refused ()
  "What the server refuses stays in the agent's queue; a fix lets it go."
  (smtpmail-client-gnus-tests--with (server 'plain)
    (setq gnus-plugged nil)
    (smtpmail-client-gnus-tests--compose (plist-get server :refused) "Text\n"
                                         "Gcc" "nnml:sent")
    (smtpmail-client-press "C-c C-c")
    (setq gnus-plugged t)
    (let ((before (length (smtpmail-client-gnus-tests--filed))))
      (smtpmail-client-refused
        (with-current-buffer gnus-group-buffer (gnus-group-send-queue)))
      (should (= before (length (smtpmail-client-gnus-tests--filed)))))
    (smtpmail-client-nothing-arrived server)
    (should (= 1 (length (smtpmail-client-gnus-tests--files "queue"))))
    ;; Put right where it waits.
    (let ((file (car (smtpmail-client-gnus-tests--files "queue")))
          (coding-system-for-read 'no-conversion)
          (coding-system-for-write 'no-conversion))
      (with-temp-buffer
        (insert-file-contents file)
        (search-forward (plist-get server :refused))
        (replace-match "bob@example.org")
        (write-region nil nil file nil 'quiet)))
    (with-current-buffer gnus-group-buffer (gnus-group-send-queue))
    (should (equal (plist-get (smtpmail-client-only server) :to) '("bob@example.org")))
    (should-not (smtpmail-client-gnus-tests--files "queue"))))

(ert-deftest smtpmail-client-gnus-drafts ()
  "A draft that is sent goes, and leaves nndraft:drafts; refused, it stays there."
  (smtpmail-client-gnus-tests--with (server 'plain)
    (pcase-dolist (`(,to ,goes) `(("bob@example.org" t)
                                  (,(plist-get server :refused) nil)))
      (ert-info (to)
        (let ((message-auto-save-directory nndraft-directory))
          (smtpmail-client-gnus-tests--compose to "A draft\n")
          (message-dont-send))
        (let* ((files (smtpmail-client-gnus-tests--files "drafts"))
               (article (string-to-number (file-name-nondirectory (car files)))))
          (should-not (cdr files))
          (if goes
              (gnus-draft-send article "nndraft:drafts" t)
            (smtpmail-client-refused
              (gnus-draft-send article "nndraft:drafts" t)))
          (should (eq goes (null (smtpmail-client-gnus-tests--files
                                  "drafts")))))
        (if goes
            (should (equal (smtpmail-client-body (smtpmail-client-only server))
                           "A draft\n"))
          (smtpmail-client-nothing-arrived server))))))

(ert-deftest smtpmail-client-gnus-delayed ()
  "A delayed article goes when it is due, not before; refused, it stays."
  (smtpmail-client-gnus-tests--with (server 'plain)
    (pcase-dolist (`(,to ,goes) `(("bob@example.org" t)
                                  (,(plist-get server :refused) nil)))
      (ert-info (to)
        (smtpmail-client-gnus-tests--compose to "In time\n")
        (gnus-delay-article "1h")
        (gnus-delay-send-queue)
        (smtpmail-client-nothing-arrived server)
        (should (= 1 (length (smtpmail-client-gnus-tests--files
                              "delayed"))))
        ;; Two hours later.
        (cl-letf* ((less-p (symbol-function 'time-less-p))
                   ((symbol-function 'time-less-p)
                    (lambda (a b)
                      (funcall less-p (time-add (or a (current-time)) 7200) b))))
          (if goes
              (gnus-delay-send-queue)
            (smtpmail-client-refused (gnus-delay-send-queue))))
        (should (eq goes (null (smtpmail-client-gnus-tests--files
                                "delayed"))))
        (if goes
            (should-not (smtpmail-client-field (smtpmail-client-only server)
                                               gnus-delay-header))
          (smtpmail-client-nothing-arrived server))))))

(ert-deftest smtpmail-client-gnus-posting-styles ()
  "A posting style names the server, and the sender, of one account."
  (smtpmail-client-gnus-tests--with (server 'plain)
    (let ((method (format "smtp localhost %d" smtpmail-smtp-service))
          (smtpmail-smtp-service (smtpmail-test-quiet-port)))
      (setq gnus-posting-styles
            `((".*" (address "boss@example.org")
               ("X-Message-SMTP-Method" ,method))))
      (smtpmail-client-gnus-tests--compose "bob@example.org" "Text\n")
      (smtpmail-client-press "C-c C-c")
      (let ((message (smtpmail-client-only server)))
        (should (equal (plist-get message :from) "boss@example.org"))
        (should-not (smtpmail-client-field message "X-Message-SMTP-Method"))))))

(ert-deftest smtpmail-client-gnus-agent-queue-keeps-method ()
  "What a posting style chose for a queued mail holds when the queue goes."
  (smtpmail-client-gnus-tests--with (server 'plain)
    (let ((method (format "smtp localhost %d" smtpmail-smtp-service))
          (smtpmail-smtp-service (smtpmail-test-quiet-port)))
      (setq gnus-plugged nil
            gnus-posting-styles `((".*" ("X-Message-SMTP-Method" ,method))))
      (smtpmail-client-gnus-tests--compose "bob@example.org" "Text\n")
      (smtpmail-client-press "C-c C-c")
      (setq gnus-plugged t
            gnus-posting-styles nil)
      (with-current-buffer gnus-group-buffer (gnus-group-send-queue))
      (should (equal (plist-get (smtpmail-client-only server) :to)
                     '("bob@example.org")))
      (should-not (smtpmail-client-gnus-tests--files "queue")))))

(ert-deftest smtpmail-client-gnus-two-accounts-at-once ()
  "A posting style makes the author, and the author the account."
  (smtpmail-client-gnus-tests--with (_server 'plain)
    (smtpmail-client-with-accounts (home work)
      (dolist (domain '("home.example" "work.example"))
        (setq gnus-posting-styles `((".*" (address ,(concat "me@" domain)))))
        (smtpmail-client-gnus-tests--compose "bob@example.org" "Text\n")
        (smtpmail-client-press "C-c C-c"))
      (smtpmail-client-under-way-at-once)
      (smtpmail-client-check-accounts home work))))

(ert-deftest smtpmail-client-gnus-a-style-chooses-the-server ()
  "X-Message-SMTP-Method, which people put there, goes before the table."
  (smtpmail-client-gnus-tests--with (_server 'plain)
    (smtpmail-client-with-accounts (home work)
      (setq gnus-posting-styles
            `((".*" (address "me@home.example")
               ("X-Message-SMTP-Method"
                ,(format "smtp localhost %d bob" (smtpmail-test-server-port work))))))
      (smtpmail-client-gnus-tests--compose "bob@example.org" "Text\n")
      (smtpmail-client-press "C-c C-c")
      (smtpmail-background-tests--wait 'sent)
      (should-not (smtpmail-test-messages home))
      (should (equal "bob" (alist-get 'auth_user (smtpmail-test-message work)))))))

(provide 'smtpmail-client-gnus-tests)

;;; smtpmail-client-gnus-tests.el ends here
