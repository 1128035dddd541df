;;; smtpmail-large-tests.el --- Large texts are not copied  -*- lexical-binding: t -*-

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

;; A large text goes from the mail's buffer to the engine.  What arrives is
;; what a copy of the whole message would have been.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-test))

(defun smtpmail-large-tests--octets (message)
  "Return what MESSAGE is written as, and discard it."
  (let ((file (make-temp-file "smtpmail-large"))
        (buffer (smtpmail-message-buffer message)))
    (unwind-protect
        (progn
          (smtpmail-message-write buffer (smtpmail-message-coding message) file)
          (with-temp-buffer
            (set-buffer-multibyte nil)
            (insert-file-contents-literally file)
            (buffer-string)))
      (delete-file file)
      (smtpmail-message-discard message))))

(defmacro smtpmail-large-tests--with-mail (text &rest body)
  "Evaluate BODY in the buffer of a mail with TEXT."
  (declare (indent 1) (debug t))
  `(with-temp-buffer
     (insert "To: you@example.org\nFrom: me@example.org\n"
             "Subject: large\nMessage-Id: <1@example.org>\nDate: now\n"
             mail-header-separator "\n" ,text)
     ,@body))

(ert-deftest smtpmail-large-tests-same-octets ()
  "What is written is what a copy would be, whatever the text and its coding."
  (let ((line "The quick brown fox.\n")
        (count (/ smtpmail-message-string-limit 10)))
    (pcase-dolist (`(,what ,text ,coding ,stays)
                   `(("ASCII" ,(apply #'concat (make-list count line)) nil t)
                     ("no last line end" ,(make-string (* 30 count) ?x) nil t)
                     ("UTF-8" ,(make-string (* 20 count) ?ß) utf-8 t)
                     ("Latin-1" ,(make-string (* 20 count) ?ß) iso-8859-1 t)
                     ("raw bytes" ,(string-to-multibyte
                                    (make-string (* 20 count) #xff))
                      nil t)
                     ;; What it is depends on what stands before it.
                     ("JIS" ,(make-string (* 20 count) ?あ) iso-2022-jp nil)
                     ("UTF-16" ,(make-string (* 20 count) ?あ) utf-16 nil)
                     ("small" "A few words.\n" nil nil)))
      (ert-info (what)
        (smtpmail-large-tests--with-mail text
          (let* ((smtpmail-code-conv-from coding)
                 (sendmail-coding-system coding)
                 (whole (smtpmail-message-prepare))
                 (lean (smtpmail-message-prepare t))
                 (characters (smtpmail-message-size
                              (smtpmail-message-buffer lean)))
                 (copied (buffer-size (smtpmail-message-buffer lean))))
            (should (eq stays (< copied characters)))
            ;; Not the octets themselves: a failure shows what it compares.
            (should (equal (secure-hash 'sha256 (smtpmail-large-tests--octets lean))
                           (secure-hash 'sha256
                                        (smtpmail-large-tests--octets whole))))))))))

(ert-deftest smtpmail-large-tests-accessible-portion ()
  "Of a narrowed mail only what is accessible goes, even if widened later."
  (smtpmail-large-tests--with-mail (make-string smtpmail-message-string-limit ?x)
    (insert "\nnot this")
    (narrow-to-region (point-min) (line-beginning-position))
    (let ((lean (smtpmail-message-prepare t)))
      (widen)
      (let ((octets (smtpmail-large-tests--octets lean)))
        (should (string-suffix-p "xx\n" octets))))))

(ert-deftest smtpmail-large-tests-whole-for-who-looks ()
  "The encoded text of such a message is whole."
  (smtpmail-large-tests--with-mail (make-string smtpmail-message-string-limit ?x)
    (let* ((lean (smtpmail-message-prepare t))
           (text (smtpmail-message-encode (smtpmail-message-buffer lean)
                                          (smtpmail-message-coding lean))))
      (should (equal text (smtpmail-large-tests--octets lean))))))

(ert-deftest smtpmail-large-tests-changed-meanwhile ()
  "A mail that changed before it was written does not go out in two halves."
  (smtpmail-large-tests--with-mail (make-string smtpmail-message-string-limit ?x)
    (let ((lean (smtpmail-message-prepare t)))
      (goto-char (point-max))
      (insert "more")
      (should-error (smtpmail-large-tests--octets lean)))))

(ert-deftest smtpmail-large-tests-advice-sees-all ()
  "A function in the place of `smtpmail-via-smtp' is given the whole text."
  (let* ((seen nil)
         (see (lambda (_recipients buffer &rest _)
                (setq seen (with-current-buffer buffer (buffer-size)))
                nil))
         (smtpmail-smtp-server "localhost"))
    (smtpmail-large-tests--with-mail (make-string smtpmail-message-string-limit ?x)
      (unwind-protect
          (progn
            (advice-add 'smtpmail-via-smtp :override see)
            (smtpmail-send-it))
        (advice-remove 'smtpmail-via-smtp see)))
    (should (> seen smtpmail-message-string-limit))))

(provide 'smtpmail-large-tests)

;;; smtpmail-large-tests.el ends here
