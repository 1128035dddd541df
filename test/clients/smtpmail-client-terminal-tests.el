;;; smtpmail-client-terminal-tests.el --- Clients at a terminal, over a real server  -*- lexical-binding: t -*-

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

;; What somebody types, and sees, who writes a mail, sends the first one ever,
;; or empties the queue from mu4e.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-client))

(require 'smtpmail-terminal)

(defmacro smtpmail-client-terminal-tests--with (spec &rest body)
  "Run BODY with an Emacs at a terminal that uses the real server.
SPEC is (TERMINAL SERVER KIND FORM...): BODY finds the terminal and the
plist of the server in these variables; KIND is the port to use; FORMs
are lists of what the Emacs evaluates."
  (declare (indent 1) (debug t))
  (pcase-let ((`(,terminal ,server ,kind . ,forms) spec))
    `(smtpmail-client-with (,server ,kind)
       (smtpmail-terminal-with
           (,terminal
            (smtpmail-test--make-server
             :port smtpmail-smtp-service :ca (plist-get ,server :ca))
            `(setq smtpmail-stream-type ',smtpmail-stream-type
                   auth-sources ',auth-sources
                   user-mail-address "alice@example.org"
                   user-full-name "Alice Adams"
                   message-kill-buffer-on-exit t
                   message-auto-save-directory nil)
            ,@forms)
         ,@body))))

(defun smtpmail-client-terminal-tests--insert (terminal text)
  "Type TEXT at TERMINAL, as it is."
  (smtpmail-terminal-keys terminal "-l" text))

(defun smtpmail-client-terminal-tests--compose (terminal to body)
  "Begin a mail with BODY to TO at TERMINAL, by keys."
  (smtpmail-terminal-keys terminal "C-x" "m")
  (smtpmail-terminal-shows terminal "unsent mail")
  (smtpmail-client-terminal-tests--insert terminal to)
  (smtpmail-terminal-keys terminal "C-c" "C-f" "C-s")
  (smtpmail-client-terminal-tests--insert terminal "From a terminal")
  (smtpmail-terminal-keys terminal "C-c" "C-b")
  (smtpmail-terminal-type terminal body)
  (smtpmail-terminal-shows terminal (regexp-quote body)))

(ert-deftest smtpmail-client-terminal-message ()
  "Keys compose a mail, attach a file and send it; the screen tells that it went."
  (smtpmail-client-terminal-tests--with
      (terminal server 'plain
                '(setq message-send-mail-function #'smtpmail-send-it
                       message-signature nil))
    (let ((file (expand-file-name "attached" home)))
      (let ((coding-system-for-write 'no-conversion))
        (write-region "\0\377\r\n.\n" nil file nil 'quiet))
      (smtpmail-client-terminal-tests--compose terminal "bob@example.org" "By hand, = as it is")
      (smtpmail-terminal-keys terminal "C-c" "C-a")
      (smtpmail-terminal-shows terminal "Attach file: ")
      ;; In place of the directory that it proposes.
      (smtpmail-terminal-keys terminal "C-a" "C-k")
      (smtpmail-terminal-type terminal file)
      (smtpmail-terminal-shows terminal "Content type")
      (smtpmail-terminal-keys terminal "Enter")
      (smtpmail-terminal-shows terminal "One line description")
      (smtpmail-terminal-keys terminal "Enter")
      (smtpmail-terminal-shows terminal "Disposition")
      (smtpmail-terminal-keys terminal "Enter")
      (smtpmail-terminal-shows terminal "<#part")
      (smtpmail-terminal-keys terminal "C-c" "C-c")
      (smtpmail-terminal-shows terminal "Sending\\.\\.\\.done")
      (let ((message (smtpmail-client-only server)))
        (should (equal (plist-get message :to) '("bob@example.org")))
        (should (equal (smtpmail-client-field message "Subject") "From a terminal"))
        (should (string-search "\nBy hand, = as it is\n" (plist-get message :text)))
        (should (string-search (concat "\n\n" (base64-encode-string "\0\377\r\n.\n")
                                       "\n")
                               (plist-get message :text)))))))

(ert-deftest smtpmail-client-terminal-first-mail ()
  "The first mail ever asks how, and where to, goes, and saves the answers."
  (smtpmail-client-terminal-tests--with
      (terminal server 'plain
                '(setq send-mail-function #'sendmail-query-once
                       smtpmail-smtp-server nil
                       message-signature nil
                       ;; With -Q nothing is saved while this is nil.
                       user-init-file (concat tests-directory "none.el")
                       custom-file (concat tests-directory "custom.el")))
    (let ((custom (expand-file-name "custom.el"
                                    (smtpmail-terminal-directory terminal))))
      (smtpmail-client-terminal-tests--compose terminal "bob@example.org" "My first")
      (smtpmail-terminal-keys terminal "C-c" "C-c")
      (smtpmail-terminal-shows terminal "Send mail via (default")
      (smtpmail-terminal-type terminal "smtp")
      (smtpmail-terminal-shows terminal "Outgoing SMTP mail server: ")
      (smtpmail-terminal-type terminal "localhost")
      (smtpmail-terminal-shows terminal "Save this mail sending choice\\? ")
      ;; It went before the question.
      (should (string-search "My first\n" (smtpmail-client-body
                                           (smtpmail-client-only server))))
      (smtpmail-terminal-keys terminal "y")
      (smtpmail-client-await
       "the saved answer"
       (lambda ()
         (string-match-p "send-mail-function 'smtpmail-send-it"
                         (or (smtpmail-test-text custom) ""))))
      (should (string-search "'(smtpmail-smtp-server \"localhost\")"
                             (smtpmail-test-text custom))))))

(ert-deftest smtpmail-client-terminal-mu4e ()
  "In mu4e's main view f empties the queue, and g shows that it is empty."
  (let ((mu (smtpmail-client-program "mu")))
    (smtpmail-client-terminal-tests--with
        (terminal server 'ssl
                  `(progn
                     (push ,(smtpmail-client-lisp :mu4e) load-path)
                     (dolist (folder '("queue" "sent" "drafts" "trash"))
                       (dolist (part '("cur" "new" "tmp"))
                         (make-directory (concat tests-directory "Maildir/"
                                                 folder "/" part)
                                         t)))
                     (call-process ,mu nil nil nil "init"
                                   (concat "--maildir=" tests-directory "Maildir"))
                     (require 'mu4e)
                     (setq mu4e-mu-binary ,mu
                           mu4e-bookmarks nil
                           smtpmail-queue-mail t
                           smtpmail-queue-dir (concat tests-directory
                                                      "Maildir/queue/cur"))))
      (smtpmail-terminal-keys terminal "F5")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (smtpmail-terminal-shows terminal "Queued (1 in ")
      (smtpmail-terminal-keys terminal "M-x")
      (smtpmail-terminal-type terminal "mu4e")
      (smtpmail-terminal-shows terminal "\\[?f\\]?lush 1 queued mail")
      (smtpmail-terminal-keys terminal "f")
      (smtpmail-terminal-shows terminal "Sent 1 queued message")
      (should (equal (plist-get (smtpmail-client-only server) :to)
                     '("you@example.net")))
      (smtpmail-terminal-keys terminal "g")
      (smtpmail-client-await
       "a main view without a queue"
       (lambda ()
         (let ((screen (smtpmail-terminal-screen terminal)))
           (and (string-search "]ail sending mode" screen)
                (not (string-search "queued mail" screen)))))))))

(provide 'smtpmail-client-terminal-tests)

;;; smtpmail-client-terminal-tests.el ends here
