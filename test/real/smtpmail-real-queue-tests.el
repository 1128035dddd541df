;;; smtpmail-real-queue-tests.el --- A long queue to a real server  -*- lexical-binding: t; -*-

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

;; make test-servers

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-real))

(defconst smtpmail-real-queue-tests--count 1000
  "How many messages are queued.")

(defconst smtpmail-real-queue-tests--limit 240
  "Seconds in which the server has to store them.")

(defun smtpmail-real-queue-tests--read (file)
  "Return (NUMBER . TIME) of the message in FILE.
The number is its subject, the time that at which the server took it."
  (with-temp-buffer
    (insert-file-contents file)
    (let ((received (mail-fetch-field "received")))
      (cons (string-to-number (mail-fetch-field "subject"))
            (float-time (date-to-time
                         (substring received (1+ (string-search ";" received)))))))))

(smtpmail-real-deftest thousand-queued (postfix)
  "A thousand queued messages: all there, once, and taken in order."
  (smtpmail-real-with (server 'starttls)
    (let ((smtpmail-queue-dir
           (file-name-as-directory
            (expand-file-name "queue" smtpmail-real--directory)))
          (text (make-string 400 ?x)))
      (let ((smtpmail-queue-mail t))
        (dotimes (number smtpmail-real-queue-tests--count)
          (with-temp-buffer
            (insert "From: alice@example.org\nTo: bob@example.org\nSubject: "
                    (number-to-string number) "\n" mail-header-separator "\n"
                    text "\n")
            (smtpmail-send-it))))
      (smtpmail-send-queued-mail)
      (should-not (plist-get (smtpmail-outbox-entries) :entries))
      (should (smtpmail-real--await
               smtpmail-real-queue-tests--limit
               (= smtpmail-real-queue-tests--count
                  (length (smtpmail-real--unseen server)))))
      ;; None comes after them.
      (sleep-for smtpmail-real--calm)
      (let* ((files (smtpmail-real--unseen server))
             (all (sort (mapcar #'smtpmail-real-queue-tests--read files)
                        (lambda (one other) (< (car one) (car other))))))
        (setq smtpmail-real--seen (append files smtpmail-real--seen))
        (should (equal (mapcar #'car all)
                       (number-sequence 0 (1- smtpmail-real-queue-tests--count))))
        (should (apply #'<= (mapcar #'cdr all))))
      ;; All over one connection.
      (should (= 1 (smtpmail-real-count "220 .*ESMTP" (smtpmail-real-trace server)))))))

(smtpmail-real-deftest text-refused-at-its-end (postfix)
  "A text refused at its end leaves a transaction open; the next message goes.
With DATA (port ssl) and with BDAT."
  (dolist (kind '(ssl starttls))
    (ert-info ((symbol-name kind))
      (smtpmail-real-queue-tests--refused-at-the-end server kind))))

(defun smtpmail-real-queue-tests--refused-at-the-end (server kind)
  "Queue three messages, of which SERVER refuses the second, and flush by KIND."
  (smtpmail-real-with
      (server 'starttls
       smtpmail-stream-type kind
       smtpmail-smtp-service (smtpmail-real-port server kind)
       auth-sources (list (smtpmail-real--authinfo server kind))
       smtpmail-queue-dir (file-name-as-directory
                           (make-temp-file
                            (expand-file-name "queue" smtpmail-real--directory) t)))
    (let ((smtpmail-queue-mail t))
      (dolist (sender '("alice" "late" "alice"))
        (with-temp-buffer
          (let ((user-mail-address (concat sender "@example.org")))
            (insert "To: bob@example.org\nSubject: Hello\n"
                    mail-header-separator "\nText\n")
            (smtpmail-send-it)))))
    (should (string-match-p "1 of 3 queued messages not sent.*451 4\\.3\\.0"
                            (error-message-string
                             (should-error (smtpmail-send-queued-mail)))))
    (should (equal '(deferred)
                   (mapcar (lambda (entry) (plist-get entry :state))
                           (plist-get (smtpmail-outbox-entries) :entries))))
    (should (smtpmail-real--await smtpmail-real--delivery-limit
                                  (= 2 (length (smtpmail-real--unseen server)))))
    (setq smtpmail-real--seen (append (smtpmail-real--unseen server)
                                      smtpmail-real--seen))))

(provide 'smtpmail-real-queue-tests)

;;; smtpmail-real-queue-tests.el ends here
