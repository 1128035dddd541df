;;; smtpmail-address-tests.el --- Addresses and recipients  -*- lexical-binding: t -*-

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

;; Which addresses header fields have, and who gets a message by them.

;;; Code:

(require 'ert)
(require 'cl-lib)
(load (expand-file-name "smtpmail-message-fixtures"
                        (file-name-directory
                         (or load-file-name buffer-file-name)))
      nil t)

(ert-deftest smtpmail-address-tests-parsed ()
  "Each form of RFC 5322 §3.4 and §4.4, and usual slips."
  (pcase-dolist
      (`(,text . ,addresses)
       '(("" . nil) (" ,\n\t," . nil) ("<>" . nil)
         ("bob" "bob")
         ("a@x.org,b@y.org" "a@x.org" "b@y.org")
         ("a@x.org,\n\tb@y.org\r\n c@z.org" "a@x.org" "b@y.org" "c@z.org")
         ("\"a b\"@y.org" "\"a b\"@y.org")
         ("<\"a b\"@y.org>" "\"a b\"@y.org")
         ("\"a\\\"b, c\"@y.org" "\"a\\\"b, c\"@y.org")
         ("\"Doe, J\" <j@x.org>, bob" "j@x.org" "bob")
         ("\"D\\\"oe, J\" <j@x.org>" "j@x.org")
         ("Joe Q. Public <j@x.org>" "j@x.org")
         ("joe@x <joe@y>" "joe@y")
         ("Friends: a@x.org, B <b@x.org>;, c@x.org"
          "a@x.org" "b@x.org" "c@x.org")
         ("Undisclosed recipients:;" . nil)
         ("A:;, B: b@x.org;" "b@x.org")
         ("a@x.org (hi (nested, c) \\) x), b@y.org" "a@x.org" "b@y.org")
         ("(c) a (c) @ (c) x . org" "a@x.org")
         ("<@a,@b:c@d>" "c@d")
         ("R <@a , @b : c@d>" "c@d")
         ("a@[1.2.3.4], <b@[IPv6:::1]>" "a@[1.2.3.4]" "b@[IPv6:::1]")
         ("=?utf-8?Q?J=C3=B6rg?= <j@x.org>" "j@x.org")
         ("=?utf-8?Q?Doe,_J?= <j@x.org>, b" "j@x.org" "b")
         ("jörg@bü.de" "jörg@bü.de")
         ("a@x.org; b@x.org" "a@x.org" "b@x.org")
         ("bob alice" "bob" "alice")
         ("\"Joe\" joe@x.org" "joe@x.org")
         ("<a@x.org> <b@y.org>" "a@x.org" "b@y.org")
         ("<a@x.org, b@y.org" "a@x.org" "b@y.org")
         ("<a@x.org, bob" "a@x.org" "bob")
         ("\"a@x.org, b@y.org" "\"a@x.org" "b@y.org")
         ("(a@x.org, b@y.org" "(a@x.org" "b@y.org")
         ("a@x.org, a@x.org" "a@x.org" "a@x.org")
         ("a@x\r.org" "a@x\r.org")
         ("a\0@x.org" "a\0@x.org")))
    (should (equal (cons text (smtpmail-message-addresses text))
                   (cons text addresses)))))

;; The clock tells of the machine, too; these count what the parser does.
(defun smtpmail-address-tests--steps (text)
  "Return how much the parser does for TEXT: (MATCHES TOKENS SCANNED).
MATCHES and TOKENS are calls, SCANNED the characters of which it looked
whether they close something."
  (let ((matches 0)
        (tokens 0)
        (scanned 0)
        (match (symbol-function 'looking-at))
        (token (symbol-function 'smtpmail-address--token))
        (skip (symbol-function 'smtpmail-address--skip-balanced)))
    (cl-letf (((symbol-function 'looking-at)
               (lambda (&rest arguments)
                 (cl-incf matches)
                 (apply match arguments)))
              ((symbol-function 'smtpmail-address--token)
               (lambda ()
                 (cl-incf tokens)
                 (funcall token)))
              ((symbol-function 'smtpmail-address--skip-balanced)
               (lambda (open)
                 (let* ((start (point))
                        (known (memq open smtpmail-address--unclosed))
                        (closed (funcall skip open)))
                   (cl-incf scanned (cond (closed (- (point) start))
                                          (known 1)
                                          ;; It went to the end, and back.
                                          (t (- (point-max) start))))
                   closed))))
      (smtpmail-message-addresses text))
    (list matches tokens scanned)))

(ert-deftest smtpmail-address-tests-parsed-linear ()
  "Ten times the text takes ten times as many steps, not a hundred times."
  (dolist (piece '("(" "\"" "<" "\\" "a." "\"," "x (" "\"a\\" ":" ";" "<@a,"))
    (ert-info (piece)
      (cl-flet ((steps (count)
                  (smtpmail-address-tests--steps
                   (apply #'concat (make-list count piece)))))
        (let ((few (steps 300)))
          (should (> (apply #'+ few) 0))
          (cl-mapc (lambda (short long)
                     (should (<= long (+ (* 10 short) 100))))
                   few (steps 3000)))))))

(ert-deftest smtpmail-address-tests-parsed-many ()
  "A thousand recipients of the usual shape are all found, by a match each."
  (let ((text (mapconcat (lambda (i)
                           (format "User Number %d <user%d@example.org>" i i))
                         (number-sequence 1 1000) ",\n\t")))
    (should (equal (smtpmail-message-addresses text)
                   (mapcar (lambda (i) (format "user%d@example.org" i))
                           (number-sequence 1 1000))))
    (should (equal (smtpmail-address-tests--steps text) '(1000 0 0)))))

;;; Envelope

(ert-deftest smtpmail-address-tests-recipients ()
  "Each recipient once, in order; Resent fields alone if there are any."
  (smtpmail-message-tests--with
      ((smtpmail-message-tests--mail
        "To: a@x.org, B <b@X.org>\nBcc: c@x.org,\n  d@x.org\ncc: b@x.ORG, B@x.org\nBCC: e@x.org\nX-To: no@x.org\n"))
    (should (equal (smtpmail-message-recipients msg)
                   '("a@x.org" "b@X.org" "c@x.org" "d@x.org" "B@x.org"
                     "e@x.org")))
    (should (equal smtpmail-recipient-address-list
                   (smtpmail-message-recipients msg)))
    (should-not (string-match-p "[cde]@x" bytes)))
  (smtpmail-message-tests--with
      ((smtpmail-message-tests--mail
        "Resent-To: r@x.org\nTo: a@x.org\nResent-Bcc: s@x.org\nBcc: b@x.org\nResent-From: me@x.org\nresent-to: t@x.org\n"))
    (should (equal (smtpmail-message-recipients msg)
                   '("r@x.org" "s@x.org" "t@x.org")))
    (should-not (string-match-p "^\\(Resent-\\)?Bcc\\|[bs]@x" bytes))))

(ert-deftest smtpmail-address-tests-recipients-none ()
  "No recipients is for the caller to judge."
  (smtpmail-message-tests--with ((smtpmail-message-tests--mail "To: A:;\n"))
    (should-not (smtpmail-message-recipients msg))))

(ert-deftest smtpmail-address-tests-recipients-non-ascii ()
  "An address is never an encoded word, in the envelope or the header."
  (smtpmail-message-tests--with
      ((smtpmail-message-tests--mail
        "To: Jörg <joerg@bücher.de>, Ö <jörg@bücher.de>\nSubject: Ü\n"))
    (should (equal (smtpmail-message-recipients msg)
                   '("joerg@bücher.de" "jörg@bücher.de")))
    (should (string-match-p
             (regexp-quote
              (encode-coding-string
               "=?utf-8?Q?J=C3=B6rg?= <joerg@xn--bcher-kva.de>" 'utf-8))
             bytes))
    (should (string-match-p
             (regexp-quote (encode-coding-string "<jörg@bücher.de>" 'utf-8))
             bytes))
    (should (string-match-p "^Subject: =\\?utf-8\\?" bytes))))

(ert-deftest smtpmail-address-tests-injection ()
  "Control characters are refused, and the error says where they are."
  (pcase-dolist (`(,header ,value ,where)
                 '(("To: a@x.org\rRCPT TO:<z@x.org>\n" nil "To field")
                   ("Bcc: <a\0@x.org>\n" nil "Bcc field")
                   ("To: a@x.org\nFrom: <b\r@x.org>\n" nil "From field")
                   ("To: a@x.org\n" "b@x.org>\r\nRCPT TO:<z@x.org"
                    "`mail-envelope-from'")
                   ("To: a@x.org\n" "b@x.org\n" "`mail-envelope-from'")))
    (let ((failure (should-error
                    (smtpmail-message-tests--with
                        ((smtpmail-message-tests--mail header)
                         mail-specify-envelope-from t
                         mail-envelope-from value)))))
      (should (string-match-p (concat "\\`Invalid " where)
                              (error-message-string failure)))
      (should-not (string-match-p "[\0\r\n]"
                                  (error-message-string failure))))))

(provide 'smtpmail-address-tests)

;;; smtpmail-address-tests.el ends here
