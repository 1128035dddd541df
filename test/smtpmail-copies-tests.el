;;; smtpmail-copies-tests.el --- Copies of what was sent  -*- lexical-binding: t -*-

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

;; Copies by Fcc: when they are written, and what is said if they cannot be.

;;; Code:

(require 'smtpmail-test)

(defmacro smtpmail-copies-tests--with-copies (spec &rest body)
  "Run BODY with a directory and what is warned of.
SPEC is (DIRECTORY WARNINGS).  Buffers of copies that were not written go."
  (declare (indent 1) (debug t))
  (let ((buffers (make-symbol "buffers")))
    `(smtpmail-test-with-directory ,(car spec)
       (let ((,(cadr spec) nil)
             (,buffers (buffer-list))
             (inhibit-message t))
         (unwind-protect
             (cl-letf (((symbol-function 'display-warning)
                        (lambda (_type text &rest _) (push text ,(cadr spec)))))
               ,@body)
           (dolist (buffer (seq-difference (buffer-list) ,buffers))
             (when (string-prefix-p "*" (buffer-name buffer))
               (with-current-buffer buffer (set-buffer-modified-p nil))
               (kill-buffer buffer))))))))

(defun smtpmail-copies-tests--header (&rest files)
  "Return a header with an Fcc field for each of FILES."
  (concat "To: a@example.net\nBcc: b@example.net\nSubject: Größe\n"
          (mapconcat (lambda (file) (format "Fcc: %s\n" file)) files "")))

(ert-deftest smtpmail-copies-tests-only-after-acceptance ()
  "A copy is there after a mail that went, and after no other.
It has what the user wrote: the Bcc, and a subject that is not encoded."
  (pcase-dolist (`(,rule ,copied) '(("noop=reply 250 Ok" t)
                                    ("mail=reply 550 No" nil)
                                    ("rcpt:b@example.net=reply 550 No" nil)
                                    ("dot=reply 451 Later" nil)
                                    ("dot=accept-close" nil)
                                    ("quit=reply-close 554 No" t)))
    (ert-info (rule)
      (smtpmail-copies-tests--with-copies (directory warnings)
        (let ((copy (expand-file-name "copy" directory)))
          (smtpmail-test-with-server (server "--on" rule)
            (should (eq copied (not (smtpmail-test-send
                                     (smtpmail-copies-tests--header copy))))))
          (should (eq copied (file-exists-p copy)))
          (when copied
            (let ((text (decode-coding-string (smtpmail-test-text copy) 'utf-8)))
              (should (string-match-p "^Bcc: b@example\\.net\nSubject: Größe\n" text))
              (should-not (string-match-p "^Fcc:" text))))
          (should-not warnings))))))

(ert-deftest smtpmail-copies-tests-after-queueing ()
  "A mail that was queued has its copy; one that could not be queued has none."
  (smtpmail-copies-tests--with-copies (directory warnings)
    (let ((smtpmail-queue-mail t)
          (smtpmail-queue-dir (expand-file-name "queue/" directory))
          (copy (expand-file-name "copy" directory)))
      (should-not (smtpmail-test-send (smtpmail-copies-tests--header copy)))
      (should (string-match-p "^Bcc: b@example\\.net\n" (smtpmail-test-text copy)))
      (delete-file copy)
      ;; No directory can be made there.
      (write-region "" nil (expand-file-name "file" directory) nil 'quiet)
      (setq smtpmail-queue-dir (expand-file-name "file/queue/" directory))
      (should (smtpmail-test-send (smtpmail-copies-tests--header copy)))
      (should-not (file-exists-p copy))
      (should-not warnings))))

(ert-deftest smtpmail-copies-tests-failure ()
  "A copy that cannot be written makes no failed send.
What was done is said, with the reason; the copy stays in a buffer, and
the other copies are written."
  (dolist (queue '(nil t))
    (smtpmail-copies-tests--with-copies (directory warnings)
      (let ((smtpmail-queue-mail queue)
            (smtpmail-queue-dir (expand-file-name "queue/" directory))
            (wrong (expand-file-name "no/such/copy" directory))
            (copy (expand-file-name "copy" directory)))
        (smtpmail-test-with-server (server)
          (should-not (smtpmail-test-send
                       (smtpmail-copies-tests--header wrong copy)))
          (should (= (length (smtpmail-test-messages server)) (if queue 0 1))))
        (should (file-exists-p copy))
        (should (= 1 (length warnings)))
        (should (string-match
                 (format "\\`%s, but the copy in %s could not be written: .*\
; it is in the buffer \\(.+\\)\\'"
                         (if queue "Queued" "Sent") (regexp-quote wrong))
                 (car warnings)))
        (with-current-buffer (match-string 1 (car warnings))
          (should (string-match-p "^Bcc: b@example\\.net\nSubject: Größe\n"
                                  (buffer-string)))
          (should (string-suffix-p "\n\nHello\n" (buffer-string))))))))

(provide 'smtpmail-copies-tests)

;;; smtpmail-copies-tests.el ends here
