;;; smtpmail-checklist-queue-tests.el --- Items 26 to 30  -*- lexical-binding: t -*-

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

;; The queue's files, and what a flush does with them and with those of other
;; Emacsen.

;;; Code:

(require 'smtpmail-checklist)

(defmacro smtpmail-checklist-queue--with (spec &rest body)
  "Run BODY with a server and a queue; SPEC is (SERVER OPTION...)."
  (declare (indent 1) (debug t))
  (let ((directory (make-symbol "directory")))
    `(smtpmail-test-with-server ,spec
       (smtpmail-test-with-directory ,directory
         (let ((smtpmail-queue-dir
                (file-name-as-directory (expand-file-name "queue" ,directory)))
               (smtpmail-queue-mail t)
               (smtpmail-store-queue-variables nil))
           ,@body)))))

(defun smtpmail-checklist-queue--flush ()
  "Flush the queue; return the text that this ended with."
  (let ((told nil))
    (cl-letf (((symbol-function 'message)
               (lambda (format &rest arguments)
                 (when format (setq told (apply #'format-message format arguments))))))
      (condition-case why (smtpmail-send-queued-mail)
        (error (setq told (error-message-string why)))))
    told))

(defun smtpmail-checklist-queue--index ()
  "Return the lines of the index."
  (split-string (or (smtpmail-test-text (expand-file-name smtpmail-queue-index-file
                                                          smtpmail-queue-dir))
                    "")
                "\n" t))

(defun smtpmail-checklist-queue--add (name text form)
  "Put into the queue what another Emacs would have: TEXT and FORM under NAME."
  (make-directory smtpmail-queue-dir t)
  (let ((file (expand-file-name name smtpmail-queue-dir)))
    (write-region text nil file nil 'quiet)
    (write-region form nil (concat file ".el") nil 'quiet)
    (write-region (concat file "\n") nil
                  (expand-file-name smtpmail-queue-index-file smtpmail-queue-dir)
                  t 'quiet)))

(defun smtpmail-checklist-queue--subjects (server)
  "Return the subjects of what SERVER stored, in order."
  (mapcar (lambda (message) (smtpmail-checklist-field message "subject"))
          (smtpmail-test-messages server)))

;;;; 26: what is written

(ert-deftest smtpmail-checklist-26-format ()
  "Message, its .el file, and a line in the index, in the known format."
  (dolist (store '(nil t))
    (smtpmail-checklist-queue--with (server)
      (let ((smtpmail-store-queue-variables store)
            (smtpmail-queue-index-file "list"))
        (should-not (smtpmail-test-send
                     "To: a@x.example\nBcc: b@x.example\nSubject: S\n" "é\n.\n"))
        (let* ((file (car (smtpmail-checklist-queue--index)))
               (form (with-temp-buffer
                       (insert-file-contents (concat file ".el"))
                       (read (current-buffer)))))
          (should (= 1 (length (smtpmail-checklist-queue--index))))
          (should (file-name-absolute-p file))
          ;; No colons: they are no file names everywhere.
          (should (string-match-p
                   "\\`[0-9]\\{4\\}-[0-9][0-9]-[0-9][0-9]_[0-9][0-9]-[0-9][0-9]-[0-9][0-9]Z_"
                   (file-name-nondirectory file)))
          (let ((text (smtpmail-test-text file)))
            (should (string-suffix-p "\n\n\303\251\n.\n" text))
            (should-not (string-match-p "\r" text))
            (should-not (string-match-p "^Bcc:" text)))
          (should (eq (car form) 'setq))
          (should (equal (sort (copy-sequence
                                (plist-get (cdr form)
                                           'smtpmail-recipient-address-list))
                               #'string<)
                         '("a@x.example" "b@x.example")))
          (should (equal (plist-get (cdr form) 'smtpmail-smtp-server)
                         (and store "localhost")))
          (should (eql (plist-get (cdr form) 'smtpmail-smtp-service)
                       (and store smtpmail-smtp-service)))
          ;; What the built-in does not know, it ignores, but it must be a setq.
          (should (= 0 (% (length (cdr form)) 2))))))))

(ert-deftest smtpmail-checklist-26-the-builtin-flushes-ours ()
  "The smtpmail of this Emacs sends what was queued here."
  (smtpmail-checklist-queue--with (server)
    (dolist (subject '("one" "two"))
      (should-not (smtpmail-test-send (format "To: a@x.example\nSubject: %s\n" subject))))
    (smtpmail-checklist-child
     `((load "mail/smtpmail" nil t)
       ,@(smtpmail-test-settings server)
       ;; Over TLS it would write its own file of certificates.
       (setq smtpmail-queue-dir ,smtpmail-queue-dir
             smtpmail-stream-type 'plain)
       (progn (smtpmail-send-queued-mail) nil))
     :lisp nil)
    (should (equal (smtpmail-checklist-queue--subjects server) '("one" "two")))
    (should (equal (smtpmail-checklist-queue--flush) "No queued mail"))))

(ert-deftest smtpmail-checklist-26-no-directory ()
  "Without `smtpmail-queue-dir' mail goes, and only queueing is an error."
  (smtpmail-test-with-server (server)
    (let ((smtpmail-queue-dir nil))
      (should-not (smtpmail-test-send))
      (let ((smtpmail-queue-mail t))
        (should (string-match-p "smtpmail-queue-dir" (smtpmail-test-send)))))
    (should (smtpmail-test-message server))))

;;;; 27: what is read

(ert-deftest smtpmail-checklist-27-forms-of-other-emacsen ()
  "The forms of Emacs up to 27 and since 28, with and without variables."
  (smtpmail-checklist-queue--with (server)
    (let ((other (smtpmail-test-quiet-port)))
      (pcase-dolist (`(,subject . ,form)
                     `(("27" . "(setq smtpmail-recipient-address-list '(\"a@x.example\"))\n")
                       ("28" . "(setq      smtpmail-recipient-address-list (\"b@x.example\")\n)\n")
                       ("stored" . ,(format "(setq smtpmail-recipient-address-list (\"c@x.example\")\n smtpmail-smtp-server \"localhost\"\n smtpmail-smtp-service %d)\n"
                                            smtpmail-smtp-service))))
        (smtpmail-checklist-queue--add
         (format "2024-01-01_00:00:00_%s" subject)
         (format "From: f@x.example\nSubject: %s\n\nHi\n" subject) form))
      ;; The variables of one entry hold for it alone.
      (let ((smtpmail-smtp-service other))
        (should (string-match-p "2 of 3" (smtpmail-checklist-queue--flush)))
        (should (eql smtpmail-smtp-service other)))
      (should (equal (smtpmail-checklist-queue--subjects server) '("stored")))
      (should (equal (smtpmail-checklist-queue--flush) "Sent 2 queued messages"))
      (should (equal (mapcar (lambda (message) (alist-get 'to message))
                             (smtpmail-test-messages server))
                     '(("c@x.example") ("a@x.example") ("b@x.example")))))))

(ert-deftest smtpmail-checklist-27-code-is-not-run ()
  "An .el file with other code is refused, told, and not run."
  (smtpmail-checklist-queue--with (server)
    (let ((trap (expand-file-name "trap" smtpmail-queue-dir)))
      (pcase-dolist (`(,name . ,form)
                     `(("1" . ,(format "(write-region \"\" nil %S)" trap))
                       ("2" . ,(format "(setq smtpmail-recipient-address-list (progn (write-region \"\" nil %S) '(\"a@x.example\")))" trap))
                       ("3" . "(setq smtpmail-recipient-address-list (\"b@x.example\"))")))
        (smtpmail-checklist-queue--add
         (concat "2024-01-01_00:00:00_" name)
         (format "From: f@x.example\nSubject: %s\n\nHi\n" name) form))
      (let ((warnings nil) (told nil))
        (cl-letf (((symbol-function 'display-warning)
                   (lambda (_type text &rest _) (push text warnings))))
          (setq told (smtpmail-checklist-queue--flush)))
        (ert-info ((format "%S %S" told (smtpmail-outbox-entries)))
          (should (= 2 (length warnings)))))
      (should-not (file-exists-p trap))
      (should (equal (smtpmail-checklist-queue--subjects server) '("3"))))))

;;;; 28: what stays

(ert-deftest smtpmail-checklist-28-one-fails ()
  "The others go; the index has a line for what waits, and no other."
  (smtpmail-checklist-queue--with (server "--on" "rcpt:bad@x.example=reply 450 4.2.0 Later")
    (pcase-dolist (`(,to ,subject) '(("a@x.example" "one") ("bad@x.example" "two")
                                     ("b@x.example" "three")))
      (should-not (smtpmail-test-send (format "To: %s\nSubject: %s\n" to subject))))
    (should (= 3 (length (smtpmail-checklist-queue--index))))
    (should (string-match-p "1 of 3" (smtpmail-checklist-queue--flush)))
    (should (equal (smtpmail-checklist-queue--subjects server) '("one" "three")))
    (should (= 1 (length (smtpmail-checklist-queue--index))))
    (should (string-match-p "1 of 1" (smtpmail-checklist-queue--flush)))
    (should (equal (smtpmail-checklist-queue--subjects server) '("one" "three")))))

(ert-deftest smtpmail-checklist-28-index-after-each ()
  "The index is right after each message, not only at the end."
  (smtpmail-checklist-queue--with (server)
    (dotimes (n 3)
      (should-not (smtpmail-test-send (format "To: a@x.example\nSubject: %d\n" n))))
    (let* ((counts nil)
           (advice (lambda (send &rest arguments)
                     (push (length (smtpmail-checklist-queue--index)) counts)
                     (apply send arguments))))
      (advice-add 'smtpmail-via-smtp :around advice)
      (unwind-protect (smtpmail-checklist-queue--flush)
        (advice-remove 'smtpmail-via-smtp advice))
      (should (equal (nreverse counts) '(3 2 1))))))

(ert-deftest smtpmail-checklist-28-renamed-and-missing ()
  "A file that mu or mbsync renamed is found; one that is gone harms no other."
  (smtpmail-checklist-queue--with (server)
    (dolist (subject '("renamed" "gone" "there"))
      (should-not (smtpmail-test-send (format "To: a@x.example\nSubject: %s\n" subject))))
    (pcase-let ((`(,renamed ,gone ,_) (smtpmail-checklist-queue--index)))
      (rename-file renamed (concat renamed ":2,S"))
      (delete-file gone)
      (let ((warnings nil))
        (cl-letf (((symbol-function 'display-warning)
                   (lambda (_type text &rest _) (push text warnings))))
          (smtpmail-checklist-queue--flush))
        (should (string-match-p (regexp-quote (file-name-nondirectory gone))
                                (string-join warnings "\n")))))
    (should (equal (sort (smtpmail-checklist-queue--subjects server) #'string<)
                   '("renamed" "there")))))

(ert-deftest smtpmail-checklist-28-no-index ()
  "Without an index there is no queued mail, and no error."
  (smtpmail-checklist-queue--with (server)
    (should (equal (smtpmail-checklist-queue--flush) "No queued mail"))
    (make-directory smtpmail-queue-dir t)
    (should (equal (smtpmail-checklist-queue--flush) "No queued mail"))
    (should-not (smtpmail-test-messages server))))

;;;; 29: several Emacsen

(ert-deftest smtpmail-checklist-29-two-emacsen-queue ()
  "Two Emacsen that queue in the same second overwrite nothing."
  (smtpmail-checklist-queue--with (server)
    (let ((forms `((require 'smtpmail)
                   ,@(smtpmail-test-settings server)
                   (setq smtpmail-queue-mail t
                         smtpmail-queue-dir ,smtpmail-queue-dir)
                   (dotimes (_ 5) ,(smtpmail-checklist-send-form)))))
      (let ((other (make-process
                    :name "other" :noquery t :sentinel #'ignore
                    :command (list smtpmail-test-emacs "-Q" "--batch" "-L"
                                   smtpmail-test-lisp "--eval"
                                   (let ((print-quoted nil))
                                     (prin1-to-string (cons 'progn forms)))))))
        (smtpmail-checklist-child forms)
        (smtpmail-test-wait "the other Emacs"
                            (lambda () (not (process-live-p other))))
        (should (eql 0 (process-exit-status other)))))
    (should (= 10 (length (delete-dups (smtpmail-checklist-queue--index)))))
    (should (equal (smtpmail-checklist-queue--flush) "Sent 10 queued messages"))
    (should (= 10 (length (smtpmail-test-messages server))))))

(ert-deftest smtpmail-checklist-29-two-emacsen-flush ()
  "Two Emacsen that flush at once send each message once."
  (smtpmail-checklist-queue--with (server "--delay-all" "5")
    (dotimes (n 8)
      (should-not (smtpmail-test-send (format "To: a@x.example\nSubject: %d\n" n))))
    (let* ((forms `(progn (require 'smtpmail)
                          ,@(smtpmail-test-settings server)
                          (setq smtpmail-queue-dir ,smtpmail-queue-dir)
                          (smtpmail-send-queued-mail)))
           (emacsen
            (mapcar (lambda (n)
                      (make-process
                       :name (format "flush %d" n) :noquery t :sentinel #'ignore
                       :command (list smtpmail-test-emacs "-Q" "--batch" "-L"
                                      smtpmail-test-lisp "--eval"
                                      (let ((print-quoted nil))
                                        (prin1-to-string forms)))))
                    '(1 2))))
      (dolist (emacs emacsen)
        (smtpmail-test-wait "a flush" (lambda () (not (process-live-p emacs))))))
    (should (equal (sort (smtpmail-checklist-queue--subjects server) #'string<)
                   (mapcar #'number-to-string (number-sequence 0 7))))
    (should-not (smtpmail-checklist-queue--index))))

(ert-deftest smtpmail-checklist-29-modes ()
  "Nobody else may read the queue, whatever the umask is."
  (smtpmail-checklist-queue--with (server)
    (with-file-modes #o777
      (should-not (smtpmail-test-send)))
    (should (= #o700 (file-modes smtpmail-queue-dir)))
    (dolist (file (directory-files smtpmail-queue-dir t "\\`[^.]"))
      (ert-info (file)
        (should (= #o600 (file-modes file)))))))

;;;; 30: connections and senders

(ert-deftest smtpmail-checklist-30-one-connection-per-account ()
  "Messages of one account go over one connection, each with its own sender."
  (smtpmail-checklist-queue--with (server)
    (dolist (from '("a@x.example" "b@x.example"))
      (should-not (smtpmail-test-send (format "From: %s\nTo: c@x.example\n" from))))
    (let ((mail-specify-envelope-from t) (mail-envelope-from "env@x.example"))
      (should-not (smtpmail-test-send "From: a@x.example\nTo: c@x.example\n")))
    ;; Of another program, which stores no sender.
    (smtpmail-checklist-queue--add
     "2024-01-01_00:00:00_1" "From: F <f@x.example>\n\nHi\n"
     "(setq smtpmail-recipient-address-list (\"c@x.example\"))")
    (should (equal (smtpmail-checklist-queue--flush) "Sent 4 queued messages"))
    (should (equal (sort (mapcar (lambda (message) (alist-get 'from message))
                                 (smtpmail-test-messages server))
                         #'string<)
                   '("a@x.example" "b@x.example" "env@x.example" "f@x.example")))
    (should (= 1 (length (directory-files (smtpmail-test-server-spool server) nil
                                          "\\`session-"))))))

(provide 'smtpmail-checklist-queue-tests)

;;; smtpmail-checklist-queue-tests.el ends here
