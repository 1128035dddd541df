;;; smtpmail-message-parity-tests.el --- The same bytes as the stock smtpmail  -*- lexical-binding: t; -*-

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

;; A corpus of mails is prepared by the smtpmail of the running Emacs, up
;; to its own `smtpmail-via-smtp', in a second batch Emacs, and by ours.
;; Envelope, message and file copy must agree byte by byte, but for Date
;; and Message-ID.
;;
;; Not in the corpus, since stock is wrong there; each has a literal test
;; in smtpmail-message-tests.el:
;; - recipients are in order, and each once (compared here without that)
;; - groups, quoted local parts, routes, nested comments: stock splits
;;   them at blanks and commas
;; - non-ASCII addresses: stock makes encoded words of them
;; - control characters in addresses: stock sends them
;; - blank and stray lines before the separator: stock takes the rest of
;;   the header, Bcc too, for text; likewise a quoted separator line in a
;;   mail without one of its own vanishes
;; - text right after the header, without a blank line: stock adds none
;; - `mail-from-style' `default': stock adds no From
;; - `mail-aliases' t without a file: stock fails
;; - `message-resend' of a multibyte mail: stock ignores its raw-text
;; - raw bytes in a header: stock asks for a coding system, even in batch
;; - X-Smtpmail fields, which stock does not know

;;; Code:

(require 'ert)
(require 'cl-lib)
(load (expand-file-name "smtpmail-message-corpus"
                        (file-name-directory
                         (or load-file-name buffer-file-name)))
      nil t)

(defconst smtpmail-message-tests--prepare-case
  '(lambda (case defaults prepare)
     ;; Both Emacsen evaluate this form.  PREPARE is called in the mail
     ;; buffer; it returns (BYTES RECIPIENTS SENDER).
     (let* ((file (make-temp-name
                   (expand-file-name "smtpmail-fcc" temporary-file-directory)))
            (text (replace-regexp-in-string "@FCC@" file (nth 1 case) t t))
            (settings (append (nthcdr 2 case) defaults))
            (names (delete-dups (mapcar #'car settings))))
       (unwind-protect
           (cl-progv names (mapcar (lambda (name) (cdr (assq name settings)))
                                   names)
             (with-temp-buffer
               (unless (multibyte-string-p text)
                 (when (string-match-p "[^[:ascii:]]" text)
                   (set-buffer-multibyte nil)))
               (insert text)
               (append (funcall prepare)
                       (list (and (file-exists-p file)
                                  (with-temp-buffer
                                    (set-buffer-multibyte nil)
                                    (insert-file-contents-literally file)
                                    (buffer-string)))))))
         (when (file-exists-p file) (delete-file file)))))
  "What is done with a case (NAME TEXT VARIABLES) of the corpus.")

(defun smtpmail-message-tests--stock (corpus)
  "Return the preparation of CORPUS by the smtpmail of this Emacs.
That is an alist of names and (BYTES RECIPIENTS SENDER COPY)."
  (let ((script (make-temp-file "smtpmail-stock" nil ".el"))
        (answer (make-temp-file "smtpmail-stock"))
        (coding-system-for-write 'utf-8-emacs)
        (coding-system-for-read 'utf-8-emacs)
        (print-escape-nonascii t))
    (unwind-protect
        (progn
          (with-temp-file script
            (insert ";; -*- lexical-binding: t; coding: utf-8-emacs -*-\n")
            (prin1
             `(progn
                (require 'cl-lib)
                (require 'smtpmail)
                (defvar stock-answer nil)
                (fset 'smtpmail-via-smtp
                      (lambda (recipients buffer &rest _)
                        (setq stock-answer
                              (list (with-current-buffer buffer
                                      (encode-coding-string
                                       (buffer-string)
                                       (or (and smtpmail-code-conv-from
                                                (coding-system-change-eol-conversion
                                                 smtpmail-code-conv-from 'unix))
                                           'raw-text-unix)))
                                    (reverse recipients)
                                    smtpmail-mail-address))
                        nil))
                (let ((answers
                       (mapcar
                        (lambda (case)
                          (cons (car case)
                                (funcall ,smtpmail-message-tests--prepare-case
                                         case
                                         ',smtpmail-message-tests--defaults
                                         (lambda ()
                                           (smtpmail-send-it)
                                           stock-answer))))
                        ',corpus))
                      (print-escape-nonascii t)
                      (coding-system-for-write 'utf-8-emacs))
                  (with-temp-file ,answer
                    (prin1 (cons (symbol-file 'smtpmail-send-it) answers)
                           (current-buffer)))))
             (current-buffer)))
          (with-temp-buffer
            (unless (eq 0 (call-process
                           (expand-file-name invocation-name
                                             invocation-directory)
                           nil t nil "-Q" "--batch" "-l" script))
              (error "The other Emacs failed: %s" (buffer-string))))
          (with-temp-buffer
            (insert-file-contents answer)
            (let ((read (read (current-buffer))))
              (should (string-match-p "/mail/smtpmail\\.el" (car read)))
              (cdr read))))
      (delete-file script)
      (delete-file answer))))

(ert-deftest smtpmail-message-tests-parity ()
  "Both prepare the corpus alike."
  (let* ((corpus (smtpmail-message-tests--corpus))
         (stock (smtpmail-message-tests--stock corpus))
         (prepare (eval smtpmail-message-tests--prepare-case t)))
    (should (= (length stock) (length corpus)))
    (dolist (case corpus)
      (ert-info ((format "case %s: " (car case)))
        (pcase-let
            ((`(,bytes ,recipients ,sender ,copy)
              (funcall
               prepare case smtpmail-message-tests--defaults
               (lambda ()
                 (let ((msg (smtpmail-message-prepare)))
                   (unwind-protect
                       (prog1 (list (smtpmail-message-encode
                                     (smtpmail-message-buffer msg)
                                     (smtpmail-message-coding msg))
                                    (smtpmail-message-recipients msg)
                                    (smtpmail-message-sender msg))
                         (should-not (smtpmail-message-write-fcc msg)))
                     (smtpmail-message-discard msg))))))
             (`(,stock-bytes ,stock-recipients ,stock-sender ,stock-copy)
              (cdr (assq (car case) stock))))
          (should (equal (smtpmail-message-tests--normal bytes)
                         (smtpmail-message-tests--normal stock-bytes)))
          ;; Stock sends to a recipient as often as it is named.
          (should (equal recipients (delete-dups stock-recipients)))
          (should (equal sender stock-sender))
          (should (equal (and copy t)
                         (and (string-match-p "@FCC@" (nth 1 case)) t)))
          (should (equal (smtpmail-message-tests--normal copy)
                         (smtpmail-message-tests--normal stock-copy))))))))

(provide 'smtpmail-message-parity-tests)

;;; smtpmail-message-parity-tests.el ends here
