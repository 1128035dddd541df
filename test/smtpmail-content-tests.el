;;; smtpmail-content-tests.el --- What servers may not stand  -*- lexical-binding: t -*-

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

;; 8-bit text, headers that are not ASCII and long lines: as they are by
;; default, as the built-in sends them, and refused or encoded with
;; `smtpmail-strict-content'.  The transcripts content-*.txt have every
;; combination; here is what the user sees and what arrives.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-test)
  (require 'qp))

(defconst smtpmail-content-tests--mime
  "To: a@x.example\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
  "A header with the MIME fields of a client.")

(defun smtpmail-content-tests--trace ()
  "Return the trace that was kept."
  (with-current-buffer "*trace of SMTP session to localhost*"
    (buffer-string)))

(defun smtpmail-content-tests--arrived (server)
  "Return (HEADER . TEXT) of the only message of SERVER, octets."
  (let ((octets (smtpmail-test-text
                 (expand-file-name "0001.eml" (smtpmail-test-server-spool server)))))
    (string-match "\r?\n\r?\n" octets)
    (cons (substring octets 0 (match-beginning 0))
          (substring octets (match-end 0)))))

(ert-deftest smtpmail-content-tests-as-it-is ()
  "By default all goes as it is, as with the built-in; the trace says so."
  (pcase-dolist (`(,header ,text ,note)
                 `((,smtpmail-content-tests--mime "Grüße" "does not announce 8BITMIME")
                   ("To: a@x.example\n" "Grüße" "does not announce 8BITMIME")
                   ("To: a@x.example\n" ,(make-string 999 ?x) "more than 998 octets")
                   ("To: a@x.example\n" ,(make-string 998 ?x) nil)))
    (ert-info (note)
      (smtpmail-test-with-server (server "--caps" "SIZE")
        (let ((smtpmail-debug-info t)
              (inhibit-message t))
          (should-not (smtpmail-test-send header text)))
        (should (string-prefix-p (encode-coding-string text 'utf-8)
                                 (cdr (smtpmail-content-tests--arrived server))))
        (if note
            (should (string-search note (smtpmail-content-tests--trace)))
          (should-not (string-search "sent as it is"
                                     (smtpmail-content-tests--trace))))))))

(ert-deftest smtpmail-content-tests-strict-refuses ()
  "With `smtpmail-strict-content' it is refused before MAIL, with what to do."
  (pcase-dolist (`(,header ,text ,why)
                 `((,smtpmail-content-tests--mime "Grüße" "no 8BITMIME.*base64")
                   ("To: a@x.example\n" ,(make-string 999 ?x)
                    "line of 999 octets.*998.*break it")))
    (ert-info (why)
      (smtpmail-test-with-server (server "--caps" "SIZE")
        (let ((smtpmail-strict-content t))
          (should (string-match-p (concat "\\`Sending failed: .*" why)
                                  (smtpmail-test-send header text))))
        (should-not (smtpmail-test-messages server))
        (should-not (string-match-p "MAIL FROM" (smtpmail-test-log server)))))))

(ert-deftest smtpmail-content-tests-strict-and-offered ()
  "Strictly, too, 8-bit text goes as it is where the server offers 8BITMIME."
  (smtpmail-test-with-server (server "--caps" "8BITMIME")
    (let ((smtpmail-strict-content t))
      (should-not (smtpmail-test-send smtpmail-content-tests--mime "Grüße")))
    (should (string-search "BODY=8BITMIME" (smtpmail-test-log server)))
    (should (string-prefix-p (encode-coding-string "Grüße" 'utf-8)
                             (cdr (smtpmail-content-tests--arrived server))))))

(ert-deftest smtpmail-content-tests-strict-encodes-our-own ()
  "Strictly, text that gets its MIME fields from us is quoted-printable.
It arrives as it was written, at a server that takes ASCII only."
  (dolist (coding '(utf-8 iso-8859-1))
    (dolist (text (list "Grüße\n.ü\nFrom = here \n"
                        (concat "ä" (make-string 2000 ?x) "ö") "ä"))
      (ert-info ((format "%s %S" coding text))
        (smtpmail-test-with-server (server "--caps" "SIZE")
          (let ((smtpmail-strict-content t)
                (smtpmail-code-conv-from coding)
                (mail-send-nonascii 'mime))
            (should-not (smtpmail-test-send "To: a@x.example\n" text)))
          (pcase-let ((`(,header . ,body) (smtpmail-content-tests--arrived server))
                      (case-fold-search t))
            (should (string-match-p
                     "^Content-Transfer-Encoding: quoted-printable\r?$" header))
            (should-not (string-match-p "8bit" header))
            (should-not (string-match-p "[^\0-\177]" body))
            (should (equal (decode-coding-string
                            (quoted-printable-decode-string
                             (string-replace "\r\n" "\n" body))
                            coding)
                           (if (string-suffix-p "\n" text) text
                             (concat text "\n"))))))))))

(ert-deftest smtpmail-content-tests-strict-copy ()
  "The copy of a text that went quoted-printable has what was written."
  (smtpmail-test-with-directory directory
    (smtpmail-test-with-server (server "--caps" "SIZE")
      (let ((smtpmail-strict-content t)
            (inhibit-message t)
            (copy (expand-file-name "copy" directory)))
        (should-not (smtpmail-test-send (format "To: a@x.example\nFcc: %s\n" copy)
                                        "Grüße"))
        (let ((text (decode-coding-string (smtpmail-test-text copy) 'utf-8)))
          (should (string-match-p "^Grüße$" text))
          (should (string-match-p "^Content-Transfer-Encoding: 8bit$" text)))))))

(ert-deftest smtpmail-content-tests-international-names ()
  "A host name goes as A-labels, and only a name before the @ needs SMTPUTF8."
  (pcase-dolist (`(,caps ,to ,said)
                 '(("SIZE" "a@büro.example" "RCPT TO:<a@xn--bro-hoa.example>")
                   ("SMTPUTF8" "a@büro.example" "RCPT TO:<a@xn--bro-hoa.example>")
                   ("SMTPUTF8" "jürgen@büro.example" " SMTPUTF8")
                   ("SIZE" "jürgen@büro.example" nil)))
    (ert-info ((concat caps " " to))
      (smtpmail-test-with-server (server "--caps" caps)
        (let ((why (smtpmail-test-send (format "To: %s\n" to))))
          (if (not said)
              (progn (should (string-match-p "no SMTPUTF8" why))
                     (should-not (string-match-p "MAIL FROM"
                                                 (smtpmail-test-log server))))
            (should-not why)
            (should (string-search said (smtpmail-test-log server)))
            (should (eq (and (string-match-p "MAIL .* SMTPUTF8"
                                             (smtpmail-test-log server))
                             t)
                        (equal said " SMTPUTF8")))))))))

(provide 'smtpmail-content-tests)

;;; smtpmail-content-tests.el ends here
