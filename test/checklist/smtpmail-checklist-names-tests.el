;;; smtpmail-checklist-names-tests.el --- The names of the built-in  -*- lexical-binding: t -*-

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

;; What the smtpmail of this Emacs defines is asked of that smtpmail, in an
;; Emacs of its own, and compared with what ours defines: each function with
;; its arguments, each variable, each text that users match.  What is not the
;; same is listed here with its reason.

;;; Code:

(require 'smtpmail-test)

;;;; What is defined

(defconst smtpmail-checklist-names--describe
  '(let (found)
     (dolist (entry load-history)
       (when (and (stringp (car entry))
                  (string-match-p "/smtpmail[a-z-]*\\.elc?\\(?:\\.gz\\)?\\'" (car entry)))
         (dolist (definition (cdr entry))
           (pcase definition
             (`(,(or 'defun 'cl-defmethod) . ,name)
              (let ((symbol (if (consp name) (car name) name)))
                (when (and (symbolp symbol) (fboundp symbol)
                           (string-prefix-p "smtpmail-" (symbol-name symbol)))
                  (push (list 'function symbol
                              (help-function-arglist symbol t)
                              (and (commandp symbol) t)
                              (and (get symbol 'byte-obsolete-info) t))
                        found))))))))
     (mapatoms
      (lambda (symbol)
        (when (and (special-variable-p symbol)
                   (string-prefix-p "smtpmail-" (symbol-name symbol)))
          (push (list 'variable symbol (boundp symbol)
                      (and (boundp symbol) (default-value symbol)))
                found))))
     (let ((print-quoted nil)) (prin1 (delete-dups found))))
  "Prints the functions and variables of smtpmail.")

(defun smtpmail-checklist-names--of (builtin)
  "Return what smtpmail defines: the BUILTIN, or else ours."
  (let ((result
         (smtpmail-test-run
          (list '(require 'help-fns)
                '(require 'message)
                (if builtin '(load "mail/smtpmail" nil t) '(require 'smtpmail))
                `(unless (eq ,builtin (not (featurep 'smtpmail-options)))
                   (error "The wrong smtpmail"))
                smtpmail-checklist-names--describe)
          :lisp (unless builtin smtpmail-test-lisp)
          :environment '("SMTPSERVER"))))
    (unless (eql 0 (plist-get result :exit))
      (ert-fail (plist-get result :stderr)))
    (read (plist-get result :stdout))))

(defun smtpmail-checklist-names--plain (arguments)
  "Return ARGUMENTS without the underscores of unused ones."
  (mapcar (lambda (name)
            (intern (string-remove-prefix "_" (symbol-name name))))
          arguments))

(defconst smtpmail-checklist-names--other-arguments
  '((smtpmail--sanitize-error-message
     . "Private; its argument is called otherwise, and it takes one as well."))
  "Functions of the built-in whose argument list is another one here, and why.")

(ert-deftest smtpmail-checklist-33-functions ()
  "Every function of the built-in is here, with the same arguments."
  (let* ((builtin (smtpmail-checklist-names--of t))
         (ours (smtpmail-checklist-names--of nil))
         (functions (seq-filter (lambda (fact) (eq (car fact) 'function)) builtin)))
    ;; A load without effect would leave few.
    (should (> (length functions) 25))
    (should (assq 'smtpmail-send-data-1 (mapcar #'cdr functions)))
    (pcase-dolist (`(function ,symbol ,arguments ,command ,obsolete) functions)
      (ert-info ((symbol-name symbol))
        (let ((mine (seq-find (lambda (fact)
                                (and (eq (car fact) 'function)
                                     (eq (cadr fact) symbol)))
                              ours)))
          (should mine)
          (unless (assq symbol smtpmail-checklist-names--other-arguments)
            (should (equal (smtpmail-checklist-names--plain (nth 2 mine))
                           (smtpmail-checklist-names--plain arguments))))
          (should (eq (nth 3 mine) command))
          (when obsolete
            (should (nth 4 mine))))))))

(ert-deftest smtpmail-checklist-33-variables ()
  "Every variable of the built-in is here, with the same value at first."
  (let* ((builtin (smtpmail-checklist-names--of t))
         (ours (smtpmail-checklist-names--of nil))
         (variables (seq-filter (lambda (fact) (eq (car fact) 'variable)) builtin)))
    (should (> (length variables) 20))
    (pcase-dolist (`(variable ,symbol ,bound ,value) variables)
      (ert-info ((symbol-name symbol))
        (let ((mine (seq-find (lambda (fact)
                                (and (eq (car fact) 'variable)
                                     (eq (cadr fact) symbol)))
                              ours)))
          (should mine)
          (should bound)
          (should (equal (nth 3 mine) value)))))
    ;; Those have no value before the first send there.
    (dolist (symbol '(smtpmail-address-buffer smtpmail-read-point))
      (should (member (list 'variable symbol t nil) ours)))))

(ert-deftest smtpmail-checklist-33-queue-index ()
  "`smtpmail-queue-index', which went with Emacs 24, follows the options."
  (should (get 'smtpmail-queue-index 'byte-obsolete-variable))
  (with-no-warnings
    (let ((smtpmail-queue-dir "/var/q"))
      (should (equal smtpmail-queue-index "/var/q/index"))
      (let ((smtpmail-queue-index-file "other"))
        (should (equal smtpmail-queue-index "/var/q/other")))
      (should (equal smtpmail-queue-index "/var/q/index"))
      (with-temp-buffer
        (setq-local smtpmail-queue-dir "/elsewhere")
        (should (equal smtpmail-queue-index "/var/q/index")))
      (let ((smtpmail-queue-dir nil))
        (should-not smtpmail-queue-index)))
    (should (equal smtpmail-queue-index
                   (expand-file-name smtpmail-queue-index-file
                                     smtpmail-queue-dir)))))

(ert-deftest smtpmail-checklist-33-small-functions ()
  "The small functions return what the built-in's do."
  (let ((calls
         '((smtpmail-cred-server '("h" 25 "u" "p"))
           (smtpmail-cred-port '("h" 25 "u" "p"))
           (smtpmail-cred-key '("h" 25 "u" "p"))
           (smtpmail-cred-user '("h" 25 "u" "p"))
           (smtpmail-cred-cert '("h" 25 "u" "p"))
           (smtpmail-cred-passwd '("h" 25 "u" "p"))
           (smtpmail-find-credentials '(("g" 25 "x" "y") ("h" 25 "u" "p")) "h" 25)
           (smtpmail-find-credentials '(("g" 25 "x" "y")) "h" 25)
           (smtpmail-intersection '(a b c d) '(d a x c))
           (smtpmail-response-code "250-a\n251 b")
           (smtpmail-response-code "none")
           (smtpmail-response-code nil)
           (smtpmail-response-text '(250 "250-a" "250 b"))
           (and (smtpmail-ok-p '(250 "250 b")) t)
           (smtpmail-ok-p '(250 "250 b") 235)
           (smtpmail-ok-p '(nil "x"))
           (smtpmail-ok-p '(550 "550 x"))
           (let ((smtpmail-sendto-domain "d.example"))
             (list (smtpmail-maybe-append-domain "a")
                   (smtpmail-maybe-append-domain "a@b")))
           (let ((smtpmail-sendto-domain nil)) (smtpmail-maybe-append-domain "a"))
           (let ((user-mail-address "a@b.example")) (smtpmail-user-mail-address))
           (let ((user-mail-address "a@b")) (smtpmail-user-mail-address))
           (let ((user-mail-address nil)) (smtpmail-user-mail-address))
           (let ((smtpmail-local-domain "l.example"))
             (equal (smtpmail-fqdn) (concat (system-name) ".l.example")))
           (let ((smtpmail-local-domain nil)) (equal (smtpmail-fqdn) (system-name)))
           ;; As functions made of the built-in's `smtpmail-send-it' call them.
           (with-temp-buffer
             (insert "To: a@x.example, B <b@x.example>\nCc: c@x.example\n"
                     "Bcc: d@x.example,\n e@x.example\nSubject: s\n\ntext\n")
             ;; Both are global variables there.
             (setq smtpmail-address-buffer (generate-new-buffer "*smtp-mail*"))
             (let ((text (current-buffer))
                   (smtpmail-recipient-address-list nil)
                   (end (save-excursion (goto-char (point-min))
                                        (search-forward "\n\n")
                                        (copy-marker (1- (point))))))
               (unwind-protect
                   (progn
                     (smtpmail-deduce-address-list text (point-min) end)
                     (smtpmail-do-bcc end)
                     (list (sort (copy-sequence smtpmail-recipient-address-list)
                                 #'string<)
                           (buffer-string)))
                 (kill-buffer smtpmail-address-buffer)))))))
    (let ((form `(let ((print-quoted nil))
                   (prin1 (mapcar (lambda (call) (eval call t)) ',calls)))))
      (cl-flet ((values (lisp load)
                  (let ((result (smtpmail-test-run
                                 (list '(require 'message) load form) :lisp lisp)))
                    (unless (eql 0 (plist-get result :exit))
                      (ert-fail (plist-get result :stderr)))
                    (read (plist-get result :stdout)))))
        (let ((theirs (values nil '(load "mail/smtpmail" nil t)))
              (ours (values smtpmail-test-lisp '(require 'smtpmail))))
          (cl-mapc (lambda (call mine other)
                     (ert-info ((format "%S" call))
                       (should (equal mine other))))
                   calls ours theirs))))))

;;;; On connections of their own

(defconst smtpmail-checklist-names--copied
  '(with-temp-buffer
     ;; The built-in's, compressed or not.
     (insert-file-contents (locate-library "mail/smtpmail.el"))
     (goto-char (point-min))
     (re-search-forward "^(defun smtpmail-via-smtp ")
     (beginning-of-line)
     (eval (read (current-buffer)) t))
  "Defines the built-in's `smtpmail-via-smtp', as an init file may hold it.")

(ert-deftest smtpmail-checklist-33-copied-via-smtp ()
  "The built-in's `smtpmail-via-smtp', copied, sends by our small functions.
It opens a connection in Lisp, over which `smtpmail-send-command',
`smtpmail-read-response', `smtpmail-try-auth-methods' and
`smtpmail-send-data' work."
  (smtpmail-test-with-server (server "--user" "alice"
                                     "--password" smtpmail-test-canary
                                     "--require-auth"
                                     "--caps" "8BITMIME,AUTH PLAIN LOGIN")
    (let ((result
           (smtpmail-test-run
            `((require 'smtpmail)
              ,@(smtpmail-test-settings server)
              ,smtpmail-checklist-names--copied
              (setq smtpmail-stream-type 'plain
                    smtpmail-debug-info t
                    smtpmail-auth-credentials
                    '(("localhost" ,smtpmail-smtp-service "alice"
                       ,smtpmail-test-canary)))
              (dolist (mechanism '(plain login))
                (setq smtpmail-auth-supported (list mechanism))
                (with-temp-buffer
                  (insert ,(smtpmail-test-mail
                            "To: you@example.net\n" "One\n.\n..two\nlast"))
                  (smtpmail-send-it)))
              (prin1 (list (featurep 'smtpmail-core)
                           (with-current-buffer
                               "*trace of SMTP session to localhost*"
                             (buffer-string))))))))
      (unless (eql 0 (plist-get result :exit))
        (ert-fail (plist-get result :stderr)))
      (pcase-let ((`(,engine ,trace) (read (plist-get result :stdout))))
        (should-not engine)
        (should (string-match-p "^250 Message stored" trace))
        (smtpmail-test-should-hide-canary trace (plist-get result :stderr))))
    (let ((messages (smtpmail-test-messages server)))
      (should (= 2 (length messages)))
      (dolist (message messages)
        (should (equal (alist-get 'auth_user message) "alice"))
        (should (equal (smtpmail-test-body message)
                       "One\r\n.\r\n..two\r\nlast\r\n"))))))

(ert-deftest smtpmail-checklist-33-copied-via-smtp-fails ()
  "A refusal over such a connection is what `smtpmail-via-smtp' returns."
  (smtpmail-test-with-server (server "--on" "dot=reply 554 5.6.0 Spam")
    (let ((result
           (smtpmail-test-run
            `((require 'smtpmail)
              ,@(smtpmail-test-settings server)
              ,smtpmail-checklist-names--copied
              (setq smtpmail-stream-type 'plain)
              (with-temp-buffer
                (insert ,(smtpmail-test-mail "To: you@example.net\n"))
                (prin1 (condition-case why (smtpmail-send-it)
                         (error (error-message-string why)))))))))
      (should (equal (plist-get result :stdout)
                     "\"Sending failed: 554 5.6.0 Spam in response to .\"")))))

(defun smtpmail-checklist-names--replies (text)
  "Return the replies that `smtpmail-read-response' reads from a server's TEXT.
The server closes behind it."
  (let* ((listener (make-network-process
                    :name "replies" :server t :host "127.0.0.1" :service t
                    :family 'ipv4 :noquery t
                    :log (lambda (_listener client _message)
                           (process-send-string client text)
                           (delete-process client))))
         (replies nil))
    (unwind-protect
        (with-temp-buffer
          (let ((process (make-network-process
                          :name "client" :host "127.0.0.1" :noquery t
                          :buffer (current-buffer) :sentinel #'ignore
                          :coding 'raw-text-unix
                          :service (process-contact listener :service)
                          :filter #'smtpmail-process-filter))
                (smtpmail-timeout 20))
            (setq-local smtpmail-read-point (point-min))
            (while (and (< (length replies) 20)
                        (car (push (smtpmail-read-response process) replies))
                        (caar replies)))
            (delete-process process)))
      (delete-process listener))
    (nreverse replies)))

(ert-deftest smtpmail-checklist-33-read-response ()
  "`smtpmail-read-response' reads each form of a reply, and ends at the end."
  (should (equal (smtpmail-checklist-names--replies
                  "220-one\r\n220 two\r\n250\r\n050 words\r\n354 go\r\n")
                 '((220 "220-one" "220 two") (250 "250") (354 "354 go") (nil))))
  (should (equal (smtpmail-checklist-names--replies "250-cut") '((nil))))
  (should (equal (smtpmail-checklist-names--replies "What?\r\n") '((nil "What?"))))
  ;; A flood ends, too.
  (should-not (caar (smtpmail-checklist-names--replies
                     (make-string (* 3 smtpmail-stock--reply-limit) ?x)))))

(ert-deftest smtpmail-checklist-33-send-data-of-a-delivery ()
  "The process of a delivery takes no text by `smtpmail-send-data', and says so."
  (let ((process (make-pipe-process :name "smtpmail" :noquery t)))
    (unwind-protect
        (dolist (call (list (lambda () (smtpmail-send-data-1 process "x"))
                            (lambda () (smtpmail-send-data process (current-buffer)))))
          (should (string-match-p "sent by the engine"
                                  (cadr (should-error (funcall call))))))
      (delete-process process))))

;;;; Texts

(defconst smtpmail-checklist-names--texts
  '("Sending failed: %s" "Sending failed; no recipients" "%s in response to %s"
    "Connection not allowed: %s" "Server does not support TLS" "Sending email "
    "Outgoing SMTP mail server: " "Port number to use when contacting %s? "
    "Couldn't contact an SMTP server" "`smtpmail-smtp-server' not defined"
    "SMTP user name for %h: " "SMTP password for %u@%h: "
    "SMTP password for %s:%s: " "Mechanism %S not implemented"
    "Unknown extension %s")
  "Texts of the built-in, now or long ago, that users match; here, too.")

(defconst smtpmail-checklist-names--other-texts
  '(("Unable to contact server" . "Says nothing; the reason is told.")
    ("No greeting: %s" . "As any other answer that is none.")
    ("Got transient error code %s when sending; retrying attempt %d..."
     . "Names no reason; the server's words are told, and the pause.")
    ("Unexpected code in %S: %S"
     . "A warning for the entry, which stops no other entry."))
  "Texts of the built-in that are others here, and why.")

(ert-deftest smtpmail-checklist-20-texts-of-the-built-in ()
  "Each text that users match is in our Lisp, but those listed."
  (let ((ours (mapconcat #'smtpmail-test-text
                         (directory-files smtpmail-test-lisp t
                                          "\\`smtpmail[a-z-]*\\.el\\'")
                         "\n")))
    (dolist (text smtpmail-checklist-names--texts)
      (ert-info (text)
        (should (string-search text ours))))
    (pcase-dolist (`(,text . ,_) smtpmail-checklist-names--other-texts)
      (ert-info (text)
        (should-not (string-search (format "%S" text) ours))))))

;;;; The checklist itself

(ert-deftest smtpmail-checklist-every-item-has-a-test ()
  "Each number from 1 to 36 is in the name of a test of this directory."
  (let ((text (mapconcat #'smtpmail-test-text
                         (directory-files
                          (file-name-directory
                           (symbol-file 'smtpmail-checklist-names--of 'defun))
                          t "-tests\\.el\\'")
                         "\n")))
    (dolist (item (number-sequence 1 36))
      (should (string-match-p (format "^(ert-deftest smtpmail-checklist-%02d-" item)
                              text)))))

(provide 'smtpmail-checklist-names-tests)

;;; smtpmail-checklist-names-tests.el ends here
