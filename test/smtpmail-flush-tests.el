;;; smtpmail-flush-tests.el --- what a flush says, asks and leaves  -*- lexical-binding: t -*-

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

;; Flushes that do not simply work, and flushes of many: what is on the disk
;; and at the server afterwards, and what the user is told and asked.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-queue-fixtures))
(require 'smtpmail-outbox-list)

(defun smtpmail-flush-tests--entries ()
  "Return the entries of the queue."
  (plist-get (smtpmail-outbox-entries) :entries))

(defun smtpmail-flush-tests--get (property)
  "Return PROPERTY of all entries of the queue."
  (mapcar (lambda (entry) (plist-get entry property))
          (smtpmail-flush-tests--entries)))

(defun smtpmail-flush-tests--flush ()
  "Flush the queue; return what was told."
  (smtpmail-queue-tests--telling (smtpmail-send-queued-mail)))

;;;; An account rests

(defun smtpmail-flush-tests--authinfo (server password)
  "Write the PASSWORD of ada at SERVER to the file of `auth-sources'."
  (write-region (format "machine 127.0.0.1 port %s login ada password %s\n"
                        (nth 1 server) password)
                nil (car auth-sources) nil 'silent)
  (auth-source-forget-all-cached))

(defun smtpmail-flush-tests--logins (server)
  "Return how often a login was tried at SERVER."
  (let ((count 0))
    (dolist (log (directory-files (nth 2 server) t "\\`session-.*\\.log\\'") count)
      (with-temp-buffer
        (insert-file-contents log)
        (setq count (+ count (how-many "C: AUTH "
                                       (point-min) (point-max))))))))

(ert-deftest smtpmail-flush-tests-account-rests ()
  "After a refused login nobody logs in again until something has changed."
  (dolist (advised '(nil t))
    (smtpmail-queue-tests--with
        ((server "--user" "ada" "--password" "right" "--require-auth"
                 "--caps" "PIPELINING,8BITMIME,AUTH PLAIN"))
      (let ((auth-sources (list (expand-file-name
                                 "authinfo" smtpmail-queue-tests--directory)))
            (smtpmail-outbox-rest--accounts nil))
        (smtpmail-flush-tests--authinfo server "wrong")
        (when advised (advice-add 'smtpmail-via-smtp :around #'funcall))
        (unwind-protect
            (progn
              (dolist (subject '("a" "b" "c"))
                (smtpmail-queue-tests--queue subject))
              (should (string-match-p "\\`Sending failed: 3 of 3 .*535"
                                      (smtpmail-flush-tests--flush)))
              (should (= 1 (smtpmail-flush-tests--logins server)))
              (let ((sessions (smtpmail-queue-tests--sessions server)))
                (should (string-match-p
                         "waiting, because the last login at 127.0.0.1 was refused"
                         (smtpmail-flush-tests--flush)))
                (should (= sessions (smtpmail-queue-tests--sessions server))))
              (should (= 3 (smtpmail-queue-tests--index)))
              ;; The user's word.
              (let ((asked nil))
                (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p)
                           (lambda () (null asked)))
                          ((symbol-function 'y-or-n-p)
                           (lambda (question) (setq asked question) t)))
                  (smtpmail-flush-tests--flush))
                (should (string-match-p "was refused: .*Try again" asked))
                (should (= 2 (smtpmail-flush-tests--logins server))))
              (smtpmail-flush-tests--authinfo server "right")
              (should (equal (smtpmail-flush-tests--flush)
                             "Sent 3 queued messages"))
              (should-not smtpmail-outbox-rest--accounts))
          (advice-remove 'smtpmail-via-smtp #'funcall))))))

;;;; Reasons

(ert-deftest smtpmail-flush-tests-all-have-the-reason ()
  "A server that cannot be reached is the reason of all entries, on the disk."
  (smtpmail-queue-tests--with ((server))
    (dotimes (number 20)
      (smtpmail-queue-tests--queue (format "number %d" number)))
    (let ((pid (process-id (car server))))
      (delete-process (car server))
      ;; As long as it dies, it may still take a connection.
      (while (process-attributes pid)
        (sleep-for 0.01)))
    (should (string-match-p "20 of 20 .*; 20 waiting\\'"
                            (smtpmail-flush-tests--flush)))
    (dolist (reply (smtpmail-flush-tests--get :last-reply))
      (should (string-match-p "refused" reply)))
    (should (equal (delete-dups (smtpmail-flush-tests--get :state)) '(deferred)))
    (should (= 20 (smtpmail-queue-tests--index)))))

(ert-deftest smtpmail-flush-tests-server-that-refuses-everybody ()
  "A refusal before MAIL is not one of the message: it waits."
  (smtpmail-queue-tests--with ((server "--on" "greeting=reply 554 5.3.2 not today"))
    (smtpmail-queue-tests--queue "a")
    (smtpmail-queue-tests--queue "b")
    (should (string-match-p "not today.*; 2 waiting\\'"
                            (smtpmail-flush-tests--flush)))
    (should (equal (smtpmail-flush-tests--get :state) '(deferred deferred)))))

(ert-deftest smtpmail-flush-tests-some-recipients ()
  "Who did not get a message that others got is told, and waits if he may."
  (smtpmail-queue-tests--with
      ((server "--on" "rcpt:bad@example.net=reply 550 5.1.1 nobody"
               "--on" "rcpt:slow@example.net=reply 450 4.2.0 greylisted"))
    (let ((smtpmail-on-refused-recipients 'send-rest))
      (smtpmail-queue-tests--queue "one" "good@example.net, bad@example.net")
      (should (string-match-p
               "\\`Sent 1 queued message; not to all: one: bad@example.net was \
refused (.*nobody"
               (smtpmail-flush-tests--flush)))
      (should-not (smtpmail-flush-tests--entries))
      (smtpmail-queue-tests--queue
       "two" "good@example.net, bad@example.net, slow@example.net")
      (let ((told (smtpmail-flush-tests--flush)))
        (should (string-match-p
                 "\\`Sending failed: 1 of 1 .*slow@example.net waits (.*greylisted.*; \
1 waiting\\'"
                 told))
        (should (string-match-p "bad@example.net was refused" told)))
      (should (equal (smtpmail-flush-tests--get :recipients)
                     '(("slow@example.net"))))
      (should (equal (mapcar #'caar
                             (smtpmail-flush-tests--get :refused-recipients))
                     '("bad@example.net"))))))

(ert-deftest smtpmail-flush-tests-counts-in-the-end ()
  (smtpmail-queue-tests--with
      ((server "--on" "rcpt:bad@example.net=reply 550 5.1.1 nobody"
               "--on" "rcpt:slow@example.net=reply 450 4.2.0 greylisted"))
    (dolist (to '("a@example.net" "bad@example.net" "slow@example.net"
                  "b@example.net"))
      (smtpmail-queue-tests--queue to to))
    (should (string-match-p
             "\\`Sending failed: 2 of 4 .*; 2 sent, 1 waiting, 1 refused\\'"
             (smtpmail-flush-tests--flush)))))

;;;; Unknown ones

(defun smtpmail-flush-tests--answering (key)
  "Flush; answer the question about unknown mail with KEY.
Return what was told and the questions."
  (let ((questions nil))
    (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p) #'always)
              ((symbol-function 'read-multiple-choice)
               (lambda (question choices &rest _)
                 (push question questions)
                 (assq key choices))))
      (list (smtpmail-flush-tests--flush) questions))))

(ert-deftest smtpmail-flush-tests-unknown-one-question ()
  "All that may have been sent is asked about at once; nothing goes by itself."
  (pcase-dolist (`(,key ,arrived ,left ,told)
                 '((?l ("a" "c") (unknown unknown) "2 that may have been sent")
                   (?d ("a" "c") nil nil)
                   (?r ("a" "c" "b" "d") nil "\\`Sent 4 queued messages")))
    (smtpmail-queue-tests--with ((server "--on" "dot#2=close" "--on" "dot#4=close"))
      (let ((smtpmail-outbox-unknown--left nil)
            (id nil))
        (dolist (subject '("a" "b" "c" "d"))
          (smtpmail-queue-tests--queue subject))
        (setq id (nth 1 (smtpmail-flush-tests--get :message-id)))
        (pcase-let ((`(,said ,questions) (smtpmail-flush-tests--answering key)))
          (should (= 1 (length questions)))
          (should (string-match-p "\\`2 messages may have been delivered.*b to .*d to "
                                  (car questions)))
          (when told (should (string-match-p told said))))
        (should (equal (smtpmail-queue-tests--arrived server) arrived))
        (should (equal (smtpmail-flush-tests--get :state) left))
        (when (eq key ?r)
          (with-temp-buffer
            (insert-file-contents
             (nth 2 (directory-files (nth 2 server) t "\\.eml\\'")))
            (should (equal (mail-fetch-field "message-id") id))))
        ;; What was left is not asked about again, and in batch nothing is.
        (should-not (nth 1 (smtpmail-flush-tests--answering ?d)))
        (should (equal (smtpmail-flush-tests--get :state) left))))))

(ert-deftest smtpmail-flush-tests-unknown-at-the-next-use ()
  "What a killed Emacs left is asked about by the next one, never in batch."
  (smtpmail-queue-tests--with ((server "--on" "dot#1=close"))
    (let ((smtpmail-outbox-unknown--left nil))
      (smtpmail-queue-tests--queue "a")
      (should (string-match-p "1 that may have been sent"
                              (smtpmail-flush-tests--flush)))
      (should (equal (smtpmail-flush-tests--flush) "No queued mail"))
      (should (equal (smtpmail-flush-tests--get :state) '(unknown)))
      (pcase-let ((`(,told ,questions) (smtpmail-flush-tests--answering ?r)))
        (should (= 1 (length questions)))
        (should (equal told "Sent 1 queued message")))
      (should (equal (smtpmail-queue-tests--arrived server) '("a"))))))

;;;; Changes

(ert-deftest smtpmail-flush-tests-changes-expect-a-state ()
  (smtpmail-queue-tests--with ((server))
    (smtpmail-queue-tests--queue "a")
    (let ((seen (car (smtpmail-flush-tests--entries))))
      (should (smtpmail-outbox-change 'hold seen))
      ;; Still the entry as it was seen before.
      (dolist (job '(drop release hold))
        (should-not (smtpmail-outbox-change job seen)))
      (should (equal (smtpmail-flush-tests--get :state) '(held)))
      (should (smtpmail-outbox-change
               'drop (car (smtpmail-flush-tests--entries))))
      (should-not (smtpmail-flush-tests--entries)))))

(ert-deftest smtpmail-flush-tests-not-before-a-time ()
  (smtpmail-queue-tests--with ((server))
    (let ((later (+ 3600 (truncate (float-time)))))
      (smtpmail-queue-tests--queue "now")
      (with-temp-buffer
        (insert "From: me@example.org\nTo: you@example.net\nSubject: later\n"
                mail-header-separator "\ntext\n")
        (let ((message (smtpmail-message-prepare)))
          (smtpmail-outbox-add message :not-before later)
          (smtpmail-message-discard message)))
      (should (= 1 (smtpmail-queue-tests--index)))
      (should (equal (smtpmail-flush-tests--flush) "Sent 1 queued message"))
      (should (equal (smtpmail-flush-tests--get :state) '(scheduled)))
      (should (equal (smtpmail-flush-tests--get :time) (list later)))
      ;; Its time comes.
      (should (smtpmail-outbox-change
               'schedule (car (smtpmail-flush-tests--entries))
               :not-before (- (truncate (float-time)) 1)))
      (should (= 1 (smtpmail-queue-tests--index)))
      (should (equal (smtpmail-flush-tests--flush) "Sent 1 queued message"))
      (should (equal (smtpmail-queue-tests--arrived server) '("now" "later"))))))

(ert-deftest smtpmail-flush-tests-trace-of-an-entry ()
  "The trace is shown where the message of this row begins."
  (smtpmail-queue-tests--with ((server "--on" "mail#2=reply 550 5.7.1 not this one"))
    (dolist (subject '("a" "b" "c"))
      (smtpmail-queue-tests--queue subject))
    (smtpmail-flush-tests--flush)
    (let ((name (car (smtpmail-flush-tests--get :name))))
      (save-window-excursion
        (smtpmail-outbox)
        (unwind-protect
            (progn
              (goto-char (point-min))
              (smtpmail-outbox-list-trace)
              (should (looking-at (format ".* \\*: message %s$" name)))
              (should (re-search-forward "550 5.7.1 not this one" nil t)))
          (kill-buffer smtpmail-outbox-list--buffer))))))

;;;; Many

(defun smtpmail-flush-tests--start-emacs (library server &rest more)
  "Start an Emacs that flushes the queue to SERVER with smtpmail LIBRARY.
MORE is evaluated before."
  (let ((process-connection-type nil))
    (apply #'start-process "flush" (generate-new-buffer " flush")
           (expand-file-name invocation-name invocation-directory)
           "-Q" "--batch"
           (append
            (and (eq library 'ours)
                 (list "-L" (file-name-directory (locate-library "smtpmail"))))
            (list
             "-l" "smtpmail" "--eval"
             (prin1-to-string
              `(progn (setq smtpmail-queue-dir ,smtpmail-queue-dir
                            user-mail-address "me@example.org"
                            smtpmail-smtp-server "127.0.0.1"
                            smtpmail-stream-type 'plain
                            auth-sources nil
                            smtpmail-smtp-service ,(nth 1 server))
                      ,@more
                      ;; Others send, too: what they have is no error of ours.
                      (condition-case problem (smtpmail-send-queued-mail)
                        (error (message "%s" (error-message-string problem)))))))))))

(defun smtpmail-flush-tests--await (&rest processes)
  "Wait for the end of PROCESSES."
  (dolist (process processes)
    (while (process-live-p process)
      (accept-process-output process 0.1))
    (should (= 0 (process-exit-status process)))))

(ert-deftest smtpmail-flush-tests-two-emacsen ()
  "Two Emacsen flush 200 messages together: each goes once."
  (smtpmail-queue-tests--with ((server))
    (dotimes (number 200)
      (smtpmail-queue-tests--queue (format "%03d" number)))
    (smtpmail-flush-tests--await
     (smtpmail-flush-tests--start-emacs 'ours server)
     (smtpmail-flush-tests--start-emacs 'ours server))
    (let ((arrived (smtpmail-queue-tests--arrived server)))
      (should (equal (sort arrived #'string<)
                     (mapcar (lambda (number) (format "%03d" number))
                             (number-sequence 0 199)))))
    (should (= 0 (smtpmail-queue-tests--index)))
    (should-not (smtpmail-flush-tests--entries))))

(defun smtpmail-flush-tests--race (server number)
  "Let the built-in and ours flush NUMBER messages to SERVER side by side.
One begins some random time after the other.  Return what ours said."
  (let* ((libraries (if (zerop (random 2)) '(builtin ours) '(ours builtin)))
         (processes (mapcar (lambda (library)
                              (prog1 (smtpmail-flush-tests--start-emacs
                                      library server)
                                (sleep-for (/ (random 700) 1000.0))))
                            libraries)))
    (apply #'smtpmail-flush-tests--await processes)
    (ert-info ((format "%d messages, %S" number libraries))
      (with-current-buffer (process-buffer (nth (seq-position libraries 'ours)
                                                processes))
        (buffer-string)))))

(ert-deftest smtpmail-flush-tests-beside-the-builtin ()
  "The built-in flushes beside ours: nothing is lost, nothing goes twice.
The server takes its time, so that there is always one in somebody's hands."
  (dotimes (round 8)
    (smtpmail-queue-tests--with ((server "--on" "dot=delay 40"))
      (dotimes (number 40)
        (smtpmail-queue-tests--queue (format "%03d" number)))
      (let ((said (smtpmail-flush-tests--race server 40))
            (arrived (smtpmail-queue-tests--arrived server)))
        (ert-info ((format "Round %d; ours said: %s" round said))
          (should (equal (sort arrived #'string<)
                         (mapcar (lambda (number) (format "%03d" number))
                                 (number-sequence 0 39))))
          (should-not (smtpmail-flush-tests--entries))
          (should-not (directory-files smtpmail-queue-dir nil
                                       "\\`[0-9]\\|text\\'")))))))

(defun smtpmail-flush-tests--read-elsewhere (name)
  "Let another program read the entry NAME as the built-in does."
  (should (eql 0 (call-process "cat" nil nil nil
                               (concat smtpmail-queue-dir name ".el")
                               (concat smtpmail-queue-dir name)))))

(defmacro smtpmail-flush-tests--beside-another-emacs (&rest body)
  "Evaluate BODY while another Emacs lives."
  (declare (indent 0) (debug t))
  `(let ((process (start-process
                   "another" nil
                   (expand-file-name invocation-name invocation-directory)
                   "-Q" "--batch" "--eval" "(sleep-for 600)")))
     (unwind-protect
         (progn ,@body)
       (delete-process process))))

(ert-deftest smtpmail-flush-tests-read-elsewhere ()
  "What another program may be sending waits, and is told; the user may insist."
  (unless (eq system-type 'gnu/linux)
    (ert-skip "Other systems do not tell who reads"))
  (smtpmail-queue-tests--with ((server))
    (smtpmail-flush-tests--beside-another-emacs
      (dolist (subject '("a" "b" "c"))
        (smtpmail-queue-tests--queue subject))
      (smtpmail-flush-tests--read-elsewhere
       (nth 1 (smtpmail-flush-tests--get :name)))
      (should (string-match-p
               (concat "\\`Sending failed: 1 of 3 queued messages not sent "
                       "(b: another program read it [0-9]+ s ago and may be "
                       "sending it); 2 sent, 1 waiting\\'")
               (smtpmail-flush-tests--flush)))
      (should (equal (smtpmail-queue-tests--arrived server) '("a" "c")))
      (should (equal (smtpmail-flush-tests--get :state) '(waiting)))
      (should (equal (smtpmail-flush-tests--get :attempts) '(0)))
      (should (= 1 (smtpmail-queue-tests--index)))
      ;; Also where each goes by itself, and there is no question.
      (advice-add 'smtpmail-via-smtp :around #'funcall)
      (unwind-protect
          (should (string-match-p "1 of 1 .*may be sending it"
                                  (smtpmail-flush-tests--flush)))
        (advice-remove 'smtpmail-via-smtp #'funcall))
      (let ((questions nil))
        (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p) #'always)
                  ((symbol-function 'yes-or-no-p)
                   (lambda (question) (push question questions) (cdr questions))))
          (should (string-match-p "1 of 1 .*may be sending it"
                                  (smtpmail-flush-tests--flush)))
          (should (equal (smtpmail-flush-tests--flush) "Sent 1 queued message")))
        (should (= 2 (length questions)))
        (should (string-match-p
                 "\\`Another program read a message .*b: .*Send it all the same"
                 (car questions))))
      (should (equal (smtpmail-queue-tests--arrived server) '("a" "c" "b"))))))

(ert-deftest smtpmail-flush-tests-looking-is-not-reading ()
  "What is looked at in this Emacs, and sent from it then, has not been read."
  (smtpmail-queue-tests--with ((server))
    (smtpmail-flush-tests--beside-another-emacs
      (smtpmail-queue-tests--queue "a")
      ;; All octets there are.
      (let ((name (car (smtpmail-flush-tests--get :name)))
            (octets (apply #'unibyte-string (number-sequence 0 255))))
        (smtpmail-outbox-view-show name nil)
        (with-temp-buffer
          (should (smtpmail-outbox-view-insert name 5))
          (should (equal (buffer-string) "Date:")))
        (let ((coding-system-for-write 'no-conversion))
          (write-region octets nil (concat smtpmail-queue-dir "other") nil 'silent))
        (with-temp-buffer
          (should-not (smtpmail-outbox-view-insert "other"))
          (should (equal (buffer-string) octets))
          (should (eq (point) (point-min)))))
      (should-error (smtpmail-outbox-insert "nothing") :type 'user-error)
      (should (equal (smtpmail-flush-tests--flush) "Sent 1 queued message")))))

(ert-deftest smtpmail-flush-tests-a-thousand ()
  "A thousand messages of two accounts: all there, once, in order."
  (smtpmail-queue-tests--with ((first) (second))
    (let ((smtpmail-store-queue-variables t)
          (servers (list first second))
          (inhibit-message t))
      (dotimes (number 1000)
        (smtpmail-queue-tests--use (nth (% number 2) servers))
        (smtpmail-queue-tests--queue (format "%04d" number)))
      (should (equal (smtpmail-flush-tests--flush) "Sent 1000 queued messages"))
      (dotimes (which 2)
        (should (equal (smtpmail-queue-tests--arrived (nth which servers))
                       (mapcar (lambda (number) (format "%04d" number))
                               (number-sequence which 999 2))))
        (should (= 1 (smtpmail-queue-tests--sessions (nth which servers)))))
      (should (= 0 (smtpmail-queue-tests--index))))))

;;;; Round trip

(ert-deftest smtpmail-flush-tests-what-the-builtin-queued ()
  "Mail that this Emacs's own smtpmail queues, with and without variables."
  (smtpmail-queue-tests--with ((server))
    (make-directory smtpmail-queue-dir t)
    (let ((process-connection-type nil))
      (smtpmail-flush-tests--await
       (start-process
        "queue" (generate-new-buffer " queue")
        (expand-file-name invocation-name invocation-directory)
        "-Q" "--batch" "-l" "smtpmail" "--eval"
        (prin1-to-string
         `(dolist (stored '(nil t))
            (setq smtpmail-queue-dir ,smtpmail-queue-dir
                  smtpmail-queue-mail t
                  smtpmail-store-queue-variables stored
                  user-mail-address "me@example.org"
                  smtpmail-smtp-server "127.0.0.1"
                  smtpmail-stream-type 'plain
                  smtpmail-smtp-service ,(nth 1 server))
            (dolist (to '("one@example.net" "two@example.net, three@example.net"))
              (with-temp-buffer
                (insert "From: Who <who@example.org>\nTo: " to
                        "\nSubject: " (if stored "stored " "") to "\n"
                        mail-header-separator "\ngrüße\n.dot\n")
                (smtpmail-send-it))
              ;; Its names have a resolution of a second.
              (sleep-for 1.1)))))))
    (should (= 4 (length (smtpmail-flush-tests--entries))))
    (should (equal (smtpmail-flush-tests--flush) "Sent 4 queued messages"))
    (should (equal (smtpmail-queue-tests--arrived server)
                   '("one@example.net" "two@example.net, three@example.net"
                     "stored one@example.net"
                     "stored two@example.net, three@example.net")))
    (should (equal (mapcar (lambda (envelope)
                             (length (alist-get 'to envelope)))
                           (smtpmail-queue-tests--envelopes server))
                   '(1 2 1 2)))
    (should-not (smtpmail-flush-tests--entries))))

(provide 'smtpmail-flush-tests)

;;; smtpmail-flush-tests.el ends here
