;;; smtpmail-queue-tests.el --- Tests of queueing and flushing  -*- lexical-binding: t -*-

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

;; Messages are queued and sent as users do it, to servers of their own; what
;; arrived is read from the servers' spools.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-queue-fixtures))

(ert-deftest smtpmail-queue-tests-queue-and-flush ()
  (smtpmail-queue-tests--with ((server))
    (dolist (subject '("one" "two" "three"))
      (smtpmail-queue-tests--queue subject))
    (should (= 3 (smtpmail-queue-tests--index)))
    (should-not (smtpmail-queue-tests--arrived server))
    (should (equal (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))
                   "Sent 3 queued messages"))
    (should (equal (smtpmail-queue-tests--arrived server)
                   '("one" "two" "three")))
    (should (= 1 (smtpmail-queue-tests--sessions server)))
    (should (= 0 (smtpmail-queue-tests--index)))
    (should (equal (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))
                   "No queued mail"))))

(ert-deftest smtpmail-queue-tests-nothing-stays-open ()
  "What is over keeps no descriptor, however rarely garbage is collected.
Many people set `gc-cons-threshold' high; a descriptor for each message
that was queued would soon be one too many."
  (smtpmail-queue-tests--with ((server))
    (smtpmail-queue-tests--queue "first")
    (let* ((gc-cons-threshold most-positive-fixnum)
           (count (lambda () (length (directory-files "/proc/self/fd"))))
           (before (funcall count)))
      (dotimes (number 20)
        (smtpmail-queue-tests--queue (format "number %d" number)))
      (smtpmail-send-queued-mail)
      ;; The last one's thread may not be gone yet.
      (should (< (funcall count) (+ before 10))))))

(ert-deftest smtpmail-queue-tests-no-directory ()
  (smtpmail-queue-tests--with ((server))
    (should (equal (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))
                   "No queued mail"))
    (let ((smtpmail-queue-dir nil))
      (should (string-match-p
               "smtpmail-queue-dir.* is not set"
               (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))))
      (should-error (smtpmail-queue-tests--queue "nowhere")))))

(ert-deftest smtpmail-queue-tests-accounts-of-their-own ()
  "What an entry stores holds for it alone."
  (smtpmail-queue-tests--with ((first) (second))
    (let ((smtpmail-store-queue-variables t))
      (smtpmail-queue-tests--queue "a")
      (let ((smtpmail-smtp-service (nth 1 second)))
        (smtpmail-queue-tests--queue "b"))
      (smtpmail-queue-tests--queue "c"))
    (smtpmail-queue-tests--queue "d")
    (let ((smtpmail-smtp-service (number-to-string (nth 1 second))))
      ;; d has none: it goes where the variables say now.
      (should (equal (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))
                     "Sent 4 queued messages"))
      (should (equal smtpmail-smtp-service (number-to-string (nth 1 second)))))
    (should (equal (smtpmail-queue-tests--arrived first) '("a" "c")))
    (should (equal (smtpmail-queue-tests--arrived second) '("b" "d")))
    (should (= 1 (smtpmail-queue-tests--sessions first)))
    (should (= 1 (smtpmail-queue-tests--sessions second)))))

(ert-deftest smtpmail-queue-tests-one-dead-account ()
  "An account whose server is gone keeps nobody else's mail."
  (smtpmail-queue-tests--with ((dead) (alive))
    (let ((smtpmail-store-queue-variables t))
      (smtpmail-queue-tests--queue "a")
      (smtpmail-queue-tests--use alive)
      (smtpmail-queue-tests--queue "b"))
    (signal-process (car dead) 'KILL)
    (while (process-live-p (car dead))
      (accept-process-output (car dead) 0.02))
    (should (string-match-p
             "\\`Sending failed: 1 of 2 queued messages not sent (a: Cannot connect"
             (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))))
    (should (equal (smtpmail-queue-tests--arrived alive) '("b")))
    (should (= 1 (smtpmail-queue-tests--index)))))

(ert-deftest smtpmail-queue-tests-a-failing-entry ()
  (smtpmail-queue-tests--with ((server "--on" "rcpt:bad@example.net=reply 550 5.1.1 nobody"))
    (smtpmail-queue-tests--queue "good")
    (smtpmail-queue-tests--queue "bad" "bad@example.net")
    (smtpmail-queue-tests--queue "better")
    (let ((told (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))))
      (should (string-match-p
               "\\`Sending failed: 1 of 3 queued messages not sent (bad: .*nobody"
               told)))
    (should (equal (smtpmail-queue-tests--arrived server) '("good" "better")))
    ;; For the user to edit or drop, not to be sent by anybody.
    (should (= 0 (smtpmail-queue-tests--index)))
    (let ((entries (plist-get (smtpmail-outbox-entries) :entries)))
      (should (equal (mapcar (lambda (entry) (plist-get entry :state)) entries)
                     '(refused))))))

(ert-deftest smtpmail-queue-tests-bounded-summary ()
  (smtpmail-queue-tests--with ((server "--on" "mail=reply 550 5.7.1 no"))
    (dotimes (number 8)
      (smtpmail-queue-tests--queue (format "number %d" number)))
    (let ((told (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))))
      (should (string-prefix-p "Sending failed: 8 of 8 queued" told))
      (should (string-match-p "number 4" told))
      (should-not (string-match-p "number 5" told)))))

(ert-deftest smtpmail-queue-tests-advice-is-asked-for-each ()
  (smtpmail-queue-tests--with ((first) (second))
    (smtpmail-queue-tests--queue "a")
    (smtpmail-queue-tests--queue "b" "other@example.net")
    (let ((advice (lambda (send recipients &rest rest)
                    (let ((smtpmail-smtp-service
                           (if (member "other@example.net" recipients)
                               (nth 1 second)
                             smtpmail-smtp-service)))
                      (apply send recipients rest)))))
      (advice-add 'smtpmail-via-smtp :around advice)
      (unwind-protect
          (smtpmail-send-queued-mail)
        (advice-remove 'smtpmail-via-smtp advice)))
    (should (equal (smtpmail-queue-tests--arrived first) '("a")))
    (should (equal (smtpmail-queue-tests--arrived second) '("b")))
    (should (= 0 (smtpmail-queue-tests--index)))
    (should (smtpmail--own-via-smtp-p))))

(ert-deftest smtpmail-queue-tests-another-definition ()
  "What users put in the place of `smtpmail-via-smtp' sends, and is believed."
  (smtpmail-queue-tests--with ((server))
    (smtpmail-queue-tests--queue "a")
    (smtpmail-queue-tests--queue "b")
    (let ((texts nil))
      (cl-letf (((symbol-function 'smtpmail-via-smtp)
                 (lambda (_recipients buffer &rest _)
                   (with-current-buffer buffer
                     (goto-char (point-min))
                     (let ((subject (mail-fetch-field "subject")))
                       (push subject texts)
                       (and (equal subject "b") "not this one"))))))
        (should (equal (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))
                       "Sending failed: 1 of 2 queued messages not sent \
(b: not this one); 1 sent, 1 waiting")))
      (should (equal texts '("b" "a"))))
    (should-not (smtpmail-queue-tests--arrived server))
    (should (= 1 (smtpmail-queue-tests--index)))))

(ert-deftest smtpmail-queue-tests-entries-of-the-builtin ()
  "The forms that Emacs 28 and later, and those before, write."
  (smtpmail-queue-tests--with ((server))
    (make-directory smtpmail-queue-dir t)
    (pcase-dolist (`(,name ,form)
                   '(("2020-01-01_10:00:00_1"
                      "(setq smtpmail-recipient-address-list '(\"old@example.net\"))\n")
                     ("2022-01-01_10:00:00_2"
                      "(setq smtpmail-recipient-address-list (\"new@example.net\")\n)\n")))
      (let ((file (expand-file-name name smtpmail-queue-dir)))
        (write-region (format "From: Me <who@example.org>\nSubject: %s\n\ntext\n"
                              (substring name 0 4))
                      nil file nil 'silent)
        (write-region form nil (concat file ".el") nil 'silent)
        (write-region (concat file "\n") nil
                      (expand-file-name smtpmail-queue-index-file
                                        smtpmail-queue-dir)
                      t 'silent)))
    (should (equal (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))
                   "Sent 2 queued messages"))
    (should (equal (smtpmail-queue-tests--arrived server) '("2020" "2022")))
    (should (equal (mapcar (lambda (envelope) (append (alist-get 'to envelope) nil))
                           (smtpmail-queue-tests--envelopes server))
                   '(("old@example.net") ("new@example.net"))))
    (should (equal (mapcar (lambda (envelope) (alist-get 'from envelope))
                           (smtpmail-queue-tests--envelopes server))
                   '("who@example.org" "who@example.org")))))

(ert-deftest smtpmail-queue-tests-the-builtin-flushes-ours ()
  (smtpmail-queue-tests--with ((server))
    (smtpmail-queue-tests--queue "for the built-in")
    (should
     (= 0 (call-process
           (expand-file-name invocation-name invocation-directory) nil nil nil
           "-Q" "--batch" "-l" "smtpmail" "--eval"
           (format "%S" `(setq smtpmail-queue-dir ,smtpmail-queue-dir
                               user-mail-address "me@example.org"
                               smtpmail-smtp-server "127.0.0.1"
                               smtpmail-stream-type 'plain
                               smtpmail-smtp-service ,(nth 1 server)))
           "-f" "smtpmail-send-queued-mail")))
    (should (equal (smtpmail-queue-tests--arrived server) '("for the built-in")))
    (should (equal (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))
                   "No queued mail"))))

(ert-deftest smtpmail-queue-tests-fcc-when-queueing ()
  "The copy is written when the message is queued, not when it is sent."
  (smtpmail-queue-tests--with ((server))
    (let ((copy (expand-file-name "copy" smtpmail-queue-tests--directory)))
      (smtpmail-queue-tests--queue "kept" nil (format "Fcc: %s\n" copy))
      (with-temp-buffer
        (insert-file-contents copy)
        (should (search-forward "Subject: kept" nil t)))
      (let ((before (file-attribute-size (file-attributes copy))))
        (smtpmail-send-queued-mail)
        (should (= before (file-attribute-size (file-attributes copy)))))
      (should (equal (smtpmail-queue-tests--arrived server) '("kept"))))))

(ert-deftest smtpmail-queue-tests-quit-leaves-the-rest-waiting ()
  (smtpmail-queue-tests--with ((server "--no-chunking" "--on" "mail#3=silence"))
    (dolist (subject '("a" "b" "c" "d"))
      (smtpmail-queue-tests--queue subject))
    (let* ((told nil)
           (began (float-time))
           (timer (run-at-time 1 nil (lambda () (setq quit-flag t)))))
      (unwind-protect
          (condition-case problem
              (smtpmail-send-queued-mail)
            (quit (setq told (cadr problem))))
        (cancel-timer timer))
      (should (equal told "Stopped; 2 of 4 queued messages sent"))
      (should (< (- (float-time) began) 8)))
    (should (equal (smtpmail-queue-tests--arrived server) '("a" "b")))
    (should (= 2 (smtpmail-queue-tests--index)))
    (should (equal (mapcar (lambda (entry) (plist-get entry :state))
                           (plist-get (smtpmail-outbox-entries) :entries))
                   '(waiting waiting)))))

(ert-deftest smtpmail-queue-tests-quit-finishes-what-is-in-hand ()
  "What the server has is waited for in batch, and nothing further begins."
  (smtpmail-queue-tests--with ((server "--no-chunking" "--on" "dot#3=delay 1500"))
    (dolist (subject '("a" "b" "c" "d" "e"))
      (smtpmail-queue-tests--queue subject))
    (let* ((told nil)
           (log (expand-file-name "session-1.log" (nth 2 server)))
           (timer (run-at-time
                   0.05 0.05
                   (lambda ()
                     (when (and (file-exists-p log)
                                (with-temp-buffer
                                  (insert-file-contents log)
                                  (= 3 (how-many "bytes of message>"))))
                       (setq quit-flag t))))))
      (unwind-protect
          (condition-case problem
              (smtpmail-send-queued-mail)
            (quit (setq told (cadr problem))))
        (cancel-timer timer))
      (should (equal told "Stopped; 3 of 5 queued messages sent")))
    (should (equal (smtpmail-queue-tests--arrived server) '("a" "b" "c")))
    (should (= 2 (smtpmail-queue-tests--index)))
    (should (equal (mapcar (lambda (entry) (plist-get entry :state))
                           (plist-get (smtpmail-outbox-entries) :entries))
                   '(waiting waiting)))))

(provide 'smtpmail-queue-tests)

;;; smtpmail-queue-tests.el ends here
