;;; smtpmail-message-tests.el --- Tests of smtpmail-message  -*- lexical-binding: t; -*-

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

;; What goes out is compared with literal texts.  The comparison with the
;; stock smtpmail is in smtpmail-message-parity-tests.el.

;;; Code:

(require 'ert)
(require 'cl-lib)
(load (expand-file-name "smtpmail-message-fixtures"
                        (file-name-directory
                         (or load-file-name buffer-file-name)))
      nil t)

(ert-deftest smtpmail-message-tests-sender ()
  "`mail-envelope-from' if wanted, else From, else the user's own address."
  (pcase-dolist
      (`(,from ,specify ,value ,address ,sender)
       '(("From: F <f@x.org>\n" nil "e@x.org" "me@x.org" "f@x.org")
         ("From: F <f@x.org>\n" t "e@x.org" "me@x.org" "e@x.org")
         ("From: F <f@x.org>\n" t "<e@x.org>" "me@x.org" "e@x.org")
         ("From: F <f@x.org>\n" t header "me@x.org" "f@x.org")
         ("From: F <f@x.org>\n" t nil "me@x.org" "f@x.org")
         ("From: F <f@x.org>\n" t "<>" "me@x.org" "")
         ("From: F <f@x.org>\n" t "" "me@x.org" "")
         ("From: a@x.org, b@x.org\n" nil nil "me@x.org" "a@x.org")
         ("From: \"a b\"@x.org\n" nil nil "me@x.org" "\"a b\"@x.org")
         ("" nil nil "me@x.org" "me@x.org")
         ("" t header "me@x.org" "me@x.org")
         ("" nil nil "me@localhost" nil)
         ("" nil nil "me@a@x.org" nil)
         ("" nil nil nil nil)))
    (smtpmail-message-tests--with
        ((smtpmail-message-tests--mail (concat from "To: a@x.org\n"))
         mail-specify-envelope-from specify
         mail-envelope-from value
         user-mail-address address)
      (should (equal (list from value (smtpmail-message-sender msg))
                     (list from value sender)))
      (should (eq (not (string-match-p "^From: " bytes))
                  (not sender))))))

(ert-deftest smtpmail-message-tests-sender-buffer-local ()
  "The settings of the mail buffer count."
  (smtpmail-message-tests--with
      ((progn (setq-local mail-envelope-from "local@x.org")
              (smtpmail-message-tests--mail "To: a@x.org\n"))
       mail-specify-envelope-from t)
    (should (equal (smtpmail-message-sender msg) "local@x.org"))
    (should (string-match-p "^From: Me Myself <local@x.org>$" bytes))))

;;; Header

(ert-deftest smtpmail-message-tests-literal ()
  "The usual mail, to the letter."
  (smtpmail-message-tests--with
      ((smtpmail-message-tests--mail "To: a@x.org\nSubject: \n" ".\nx"))
    (should (equal (smtpmail-message-tests--normal bytes)
                   (concat "Date: D\nMessage-Id: M\n"
                           "From: Me Myself <me@example.org>\n"
                           "To: a@x.org\n\n.\nx\n")))
    (should (string-match-p "\\`<.+@.+>\\'" (smtpmail-message-message-id msg)))
    (should (string-match-p (regexp-quote (smtpmail-message-message-id msg))
                            bytes))))

(ert-deftest smtpmail-message-tests-present-fields ()
  "Date, Message-ID and From are not added twice, however spelt."
  (smtpmail-message-tests--with
      ((smtpmail-message-tests--mail
        "DATE: x\nmessage-ID: <m@x>\nfrom: f@x.org\nTo: a@x.org\nSubject: S\n t\n"))
    (should (equal bytes "DATE: x\nmessage-ID: <m@x>\nfrom: f@x.org\nTo: a@x.org\nSubject: S\n t\n\nHello\n"))
    (should (equal (smtpmail-message-subject msg) "S t"))
    (should (equal (smtpmail-message-message-id msg) "<m@x>"))))

(ert-deftest smtpmail-message-tests-from-style ()
  "Each style, with its quoting."
  (pcase-dolist
      (`(,style ,name ,from)
       '((angles "A B" "A B <me@example.org>")
         (angles "A. \"B\" \\" "\"A. \\\"B\\\" \\\\\" <me@example.org>")
         (parens "A (b) )c( \\" "me@example.org (A (b) \\)c\\( \\\\)")
         (nil "A B" "me@example.org")
         (default "A. B" "me@example.org (A. B)")
         (default "A. (" "\"A. (\" <me@example.org>")
         (system-default "A B" nil)
         (angles "A\nBcc: z@x.org" "\"A Bcc: z@x.org\" <me@example.org>")))
    (smtpmail-message-tests--with
        ((smtpmail-message-tests--mail "To: a@x.org\n")
         mail-from-style style user-full-name name)
      (should (equal (list style name
                           (and (string-match "^From: \\(.*\\)$" bytes)
                                (match-string 1 bytes)))
                     (list style name from))))))

(ert-deftest smtpmail-message-tests-blank-lines ()
  "Blank lines in the header do not make text of the rest of it."
  (smtpmail-message-tests--with
      ((smtpmail-message-tests--mail "\nTo: a@x.org\n\n\nBcc: b@x.org\n\n"
                                     "\n\nHello\n"))
    (should (equal (smtpmail-message-recipients msg) '("a@x.org" "b@x.org")))
    (should (string-match-p "\nTo: a@x.org\n\n\n\nHello\n\\'" bytes))
    (should-not (string-match-p "b@x" bytes))))

(ert-deftest smtpmail-message-tests-separator ()
  "All forms of a header's end."
  (let ((mail-header-separator ""))
    (smtpmail-message-tests--with
        ("To: a@x.org\n\nHi\n--text follows this line--\n"
         mail-header-separator "")
      (should (string-suffix-p
               "To: a@x.org\n\nHi\n--text follows this line--\n" bytes))))
  ;; A quoted separator in the text of a mail without one of its own.
  (smtpmail-message-tests--with
      ("To: a@x.org\n\nHi\n--text follows this line--\nx: y\n")
    (should (string-suffix-p
             "To: a@x.org\n\nHi\n--text follows this line--\nx: y\n" bytes)))
  (smtpmail-message-tests--with ("To: a@x.org\n\n  indented\n\nx: y\n")
    (should (string-suffix-p "To: a@x.org\n\n  indented\n\nx: y\n" bytes)))
  (smtpmail-message-tests--with ("To: a@x.org")
    (should (string-suffix-p ">\nTo: a@x.org\n" bytes)))
  (smtpmail-message-tests--with ("To: a@x.org\n--text follows this line--")
    (should (string-suffix-p ">\nTo: a@x.org\n\n" bytes)))
  (smtpmail-message-tests--with ("To: a@x.org\nstray\nBcc: b@x.org\n--text follows this line--\nHi\n")
    (should (equal (smtpmail-message-recipients msg) '("a@x.org" "b@x.org")))
    (should-not (string-match-p "b@x" bytes)))
  (smtpmail-message-tests--with ("To: a@x.org\nHello you\n")
    (should (string-suffix-p "To: a@x.org\n\nHello you\n" bytes))))

(ert-deftest smtpmail-message-tests-separator-that-looks-folded ()
  "A header ends at its separator even if that begins with a blank."
  (let ((mail-header-separator " --"))
    (with-temp-buffer
      (insert "To: a@x.org,\n b@x.org\n --\nHi\n")
      (should (equal (smtpmail-header-split) '(23 . 27))))))

(ert-deftest smtpmail-message-tests-fields ()
  "Fields are found by name, folded or not, and anew when the header changes."
  (with-temp-buffer
    (insert "to : a@x.org,\n b@x.org\nNot-To: c@x.org\nTo:\n d@x.org \n\t\n"
            "To\n e@x.org\n: f\nCc:  g@x.org")
    (let ((found '(("to" . "a@x.org,\n b@x.org") ("To" . "\n d@x.org"))))
      (should (equal (smtpmail-header-fields "To") found))
      (should (equal (smtpmail-header-fields "B?Cc\\|X") '(("Cc" . "g@x.org"))))
      (should (equal (smtpmail-header-fields "To" 'delete) found))
      (should-not (smtpmail-header-fields "To"))
      (should (equal (buffer-string)
                     "Not-To: c@x.org\nTo\n e@x.org\n: f\nCc:  g@x.org")))
    (goto-char (point-min))
    (insert "To: h@x.org\n")
    (should (equal (smtpmail-header-field "to") "h@x.org"))
    (narrow-to-region (point) (point-max))
    (should-not (smtpmail-header-field "to"))))

(ert-deftest smtpmail-message-tests-encoded-words ()
  "A header is encoded where RFC 2047 wants it, and left alone elsewhere."
  (pcase-dolist (`(,subject . ,sent)
                 '(("a =!? b" . "a =!? b")
                   ("(\"a\\ b\") =? b" . "(\"a\\ b\") =? b")
                   ("Grüße" . "=?utf-8?B?R3LDvMOfZQ==?=")
                   ("=?utf-8?Q?a?=" . "=?utf-8?Q?a?=")))
    (ert-info (subject)
      (smtpmail-message-tests--with
          ((smtpmail-message-tests--mail (concat "To: a@x.org\nSubject: " subject "\n")))
        (with-current-buffer (smtpmail-message-buffer msg)
          (should (equal sent (smtpmail-header-field "Subject"))))))))

(ert-deftest smtpmail-message-tests-coding-of-ascii-text ()
  "Only the header has a say if all is ASCII; all has one if anything is not."
  (pcase-dolist (`(,text . ,end) '(("plain\n" . header) ("Grüße\n" . all)))
    (ert-info (text)
      (smtpmail-message-tests--with
          ((smtpmail-message-tests--mail "To: a@x.org\n" text))
        (let* ((ends nil)
               (all (point-max))
               (header (car (smtpmail-header-split)))
               (spy (lambda (_from to &rest _) (push to ends))))
          (advice-add 'select-safe-coding-system :before spy)
          (unwind-protect
              (smtpmail-message-discard (smtpmail-message-prepare))
            (advice-remove 'select-safe-coding-system spy))
          (should (equal (list (if (eq end 'all) all header)) ends)))))))

(ert-deftest smtpmail-message-tests-options ()
  "X-Smtpmail fields are for us alone."
  (smtpmail-message-tests--with
      ((smtpmail-message-tests--mail
        "To: a@x.org\nX-Smtpmail-Hold: 1\n 2\nx-smtpmail-b: c\n" "X-Smtpmail-No: x\n"))
    (should (equal (smtpmail-message-options msg)
                   '(("X-Smtpmail-Hold" . "1\n 2") ("x-smtpmail-b" . "c"))))
    (should (string-suffix-p "To: a@x.org\n\nX-Smtpmail-No: x\n" bytes))))

(ert-deftest smtpmail-message-tests-aliases ()
  "Aliases in all states of their variables."
  (smtpmail-message-tests--with
      ((smtpmail-message-tests--mail "To: pals\n")
       mail-aliases '(("pals" . "a@x.org, b@x.org")))
    (should (equal (smtpmail-message-recipients msg) '("a@x.org" "b@x.org"))))
  (smtpmail-message-tests--with ((smtpmail-message-tests--mail "To: pals\n")
                                 mail-aliases t)
    (should (equal (smtpmail-message-recipients msg) '("pals"))))
  (let ((file (make-temp-file "smtpmail-aliases" nil nil
                              "alias pals c@x.org\n"))
        (mail-alias-modtime nil))
    (unwind-protect
        (progn
          (smtpmail-message-tests--with
              ((smtpmail-message-tests--mail "To: pals\n")
               mail-aliases t mail-personal-alias-file file)
            (should (equal (smtpmail-message-recipients msg) '("c@x.org"))))
          (smtpmail-message-tests--with
              ((smtpmail-message-tests--mail "To: pals\n")
               mail-aliases nil mail-personal-alias-file file)
            (should (equal (smtpmail-message-recipients msg) '("pals")))))
      (delete-file file)))
  ;; A file that cannot be read: an error, and the next mail tries again.
  (let ((directory (make-temp-file "smtpmail-aliases" t))
        (mail-alias-modtime nil))
    (unwind-protect
        (with-temp-buffer
          (insert (smtpmail-message-tests--mail "To: pals\n"))
          (let* ((mail-personal-alias-file directory)
                 (mail-aliases t)
                 (failure (should-error (smtpmail-message-prepare))))
            (should (string-match-p "\\`Cannot expand mail aliases: "
                                    (error-message-string failure)))
            (should (eq mail-aliases t))))
      (delete-directory directory))))

;;; The mail buffer

(ert-deftest smtpmail-message-tests-untouched ()
  "Nothing about the mail buffer changes, and nothing stays behind."
  (let ((before (buffer-list))
        (mail-aliases nil))
    (with-temp-buffer
      (insert "junk\n" (propertize "To: a@x.org\n" 'read-only t
                                  'rear-nonsticky t)
              "Bcc: b@x.org\nFcc: /nowhere\n"
              smtpmail-message-tests--separator "Héllo\nmore junk")
      (narrow-to-region 6 (- (point-max) 9))
      (goto-char 12)
      (push-mark 9 t t)
      (set-buffer-modified-p nil)
      (string-match "b+" "aabbcc")
      (let ((state (lambda ()
                     (list (buffer-string) (point) (point-min) (point-max)
                           (mark t) mark-active (buffer-modified-p)
                           (buffer-chars-modified-tick) (match-data)
                           (current-buffer) deactivate-mark
                           buffer-file-coding-system))))
        (let ((expected (funcall state))
              (msg (smtpmail-message-prepare)))
          (should (equal (funcall state) expected))
          (should (string-suffix-p
                   (encode-coding-string "\n\nHéllo\n" 'utf-8)
                   (smtpmail-message-encode (smtpmail-message-buffer msg)
                                            (smtpmail-message-coding msg))))
          (smtpmail-message-discard msg))))
    (should-not (cl-set-difference
                 (cl-remove-if (lambda (buffer)
                                 (string-match-p "\\` \\*code-conv" (buffer-name buffer)))
                               (buffer-list))
                 before))))

(ert-deftest smtpmail-message-tests-printable ()
  "No variable of smtpmail holds what cannot be read back."
  (smtpmail-message-tests--with ((smtpmail-message-tests--mail "To: a@x.org\n"))
    (mapatoms
     (lambda (symbol)
       (when (and (boundp symbol)
                  (string-match-p "\\`\\(smtpmail\\|mail\\|user-mail\\)-"
                                  (symbol-name symbol))
                  (not (string-match-p "-\\(map\\|table\\)\\'"
                                       (symbol-name symbol))))
         (should-not (bufferp (symbol-value symbol))))))))

;;; Text

(ert-deftest smtpmail-message-tests-encode ()
  "A text becomes its bytes, as a string and as a file alike."
  (pcase-dolist
      (`(,text ,unibyte ,coding ,bytes)
       `(("abc\n" nil utf-8 "abc\n")
         ("abc\r\n" nil utf-8-dos "abc\r\n")
         ("h\u00e9\n" nil utf-8-dos "h\303\251\n")
         ("h\u00e9\n" nil latin-1 "h\351\n")
         ("h\u00e9\n" nil undecided "h\303\251\n")
         ("\u3042" nil iso-2022-jp "\e$B$\"\e(B")
         ("h\351\n" t nil "h\351\n")
         (,(string-to-multibyte "h\351\n") nil nil "h\351\n")
         (,(string-to-multibyte "h\351\n") nil utf-8 "h\351\n")
         (,(string-to-multibyte "h\351\n") nil raw-text-dos "h\351\n")
         ("" nil nil "")))
    (with-temp-buffer
      (when unibyte (set-buffer-multibyte nil))
      (insert text)
      (let ((string (smtpmail-message-encode (current-buffer) coding))
            (file (make-temp-file "smtpmail-text"))
            (buffer-file-format '(text/enriched))
            (write-region-annotate-functions
             (list (lambda (&rest _) (error "Annotated")))))
        (unwind-protect
            (progn
              (should (string= string bytes))
              (should (or (not (multibyte-string-p string))
                          (string-match-p "\\`[[:ascii:]]*\\'" string)))
              (smtpmail-message-write (current-buffer) coding file)
              (should (equal (with-temp-buffer
                               (set-buffer-multibyte nil)
                               (insert-file-contents-literally file)
                               (buffer-string))
                             (string-to-unibyte string))))
          (delete-file file))))))

(ert-deftest smtpmail-message-tests-raw-text ()
  "`message-resend' has its bytes pass as they are."
  (smtpmail-message-tests--with
      ((string-to-multibyte
        (smtpmail-message-tests--mail "Resent-To: a@x.org\n" "h\351\n"))
       sendmail-coding-system 'raw-text)
    (should (eq (smtpmail-message-coding msg) 'raw-text))
    (should (string-suffix-p "\n\nh\351\n" bytes))
    (should-not (string-match-p "MIME" bytes))))

(ert-deftest smtpmail-message-tests-raw-unasked ()
  "Raw bytes go as they are, unasked, whatever coding system is set."
  (dolist (coding '(nil utf-8))
    (smtpmail-message-tests--with
        ((string-to-multibyte
          (smtpmail-message-tests--mail "Resent-To: a@x.org\n" "h\303\251 \377\n"))
         smtpmail-code-conv-from coding)
      (should (eq (smtpmail-message-coding msg) 'raw-text))
      (should (string-suffix-p "\n\nh\303\251 \377\n" bytes)))))

(ert-deftest smtpmail-message-tests-raw-header ()
  "Raw bytes in the header of a unibyte mail go out as they are."
  (smtpmail-message-tests--with
      ((progn (set-buffer-multibyte nil)
              (encode-coding-string
               (smtpmail-message-tests--mail
                "To: Jörg <a@x.org>, ö@x.org\nSubject: ü\n" "ü\n")
               'utf-8))
       user-full-name "Jörg")
    (should (equal (smtpmail-message-recipients msg) '("a@x.org" "ö@x.org")))
    (should-not (smtpmail-message-coding msg))
    (should (equal (smtpmail-message-tests--normal bytes)
                   (encode-coding-string
                    (concat "Date: D\nMessage-Id: M\n"
                            "From: =?utf-8?Q?J=C3=B6rg?= <me@example.org>\n"
                            "To: Jörg <a@x.org>, ö@x.org\nSubject: ü\n\nü\n")
                    'utf-8)))))

(ert-deftest smtpmail-message-tests-large ()
  "The header work on a large mail does not depend on its size."
  (let* ((line (concat (make-string 70 ?x) "\n"))
         (text (with-temp-buffer
                 (dotimes (_ 100000) (insert line))
                 (buffer-string))))
    (smtpmail-message-tests--with
        ((concat (smtpmail-message-tests--mail "To: a@x.org\n" text) "To: b@x.org"))
      (should (equal (smtpmail-message-recipients msg) '("a@x.org")))
      (should (string-suffix-p "x\nTo: b@x.org\n" bytes)))
    ;; As many matches as for a small one.
    (let ((match (symbol-function 'looking-at)))
      (cl-flet ((matches (text)
                  (with-temp-buffer
                    (insert "To: a@x.org\n\n" text)
                    (let ((count 0))
                      (cl-letf (((symbol-function 'looking-at)
                                 (lambda (&rest arguments)
                                   (cl-incf count)
                                   (apply match arguments))))
                        (smtpmail-header-split))
                      count))))
        (should (> (matches text) 0))
        (should (= (matches text) (matches (concat line line line))))))))

;;; File copies

(ert-deftest smtpmail-message-tests-fcc-later ()
  "A copy is taken with the message, and only written when it is told."
  (let ((file (make-temp-name (expand-file-name "smtpmail-fcc"
                                                temporary-file-directory))))
    (unwind-protect
        (with-temp-buffer
          (insert "To: a@x.org\nFcc: " file "\nBcc: b@x.org\nSubject: ü\n"
                  smtpmail-message-tests--separator "one\n")
          (let* ((mail-aliases nil)
                 (user-mail-address "me@example.org")
                 (msg (smtpmail-message-prepare)))
            (should (equal (mapcar #'car (smtpmail-message-fcc msg))
                           (list file)))
            (should-not (file-exists-p file))
            (erase-buffer)
            (with-current-buffer (smtpmail-message-buffer msg) (erase-buffer))
            (should-not (smtpmail-message-write-fcc msg))
            (smtpmail-message-discard msg)
            (with-temp-buffer
              (insert-file-contents file)
              (should (looking-at "From "))
              (should (search-forward "\nBcc: b@x.org\nSubject: ü\n" nil t))
              (should (search-forward "\n\none\n" nil t))
              (goto-char (point-min))
              (should-not (search-forward "Fcc" nil t)))))
      (when (file-exists-p file) (delete-file file)))))

(ert-deftest smtpmail-message-tests-fcc-failure ()
  "A copy that cannot be written is reported and kept; the others go."
  (let ((file (make-temp-name (expand-file-name "smtpmail-fcc"
                                                temporary-file-directory)))
        (kept nil))
    (unwind-protect
        (smtpmail-message-tests--with
            ((smtpmail-message-tests--mail
              (concat "To: a@x.org\nSubject: S\nFcc: /nonexistent/b/c\nFcc: "
                      file "\n")))
          (let ((failures (smtpmail-message-write-fcc msg)))
            (should (= (length failures) 1))
            (pcase-let ((`(,name ,text ,buffer) (car failures)))
              (should (equal name "/nonexistent/b/c"))
              (should (string-match-p "No such file" text))
              (setq kept (get-buffer buffer)))
            (should (file-exists-p file))
            (smtpmail-message-discard msg)
            (should (buffer-live-p kept))
            (should-not (string-prefix-p " " (buffer-name kept)))
            (with-current-buffer kept
              (should (equal (smtpmail-message-tests--normal (buffer-string))
                             (concat "Date: D\nMessage-Id: M\n"
                                     "From: Me Myself <me@example.org>\n"
                                     "To: a@x.org\nSubject: S\n\nHello\n"))))))
      (when (buffer-live-p kept) (kill-buffer kept))
      (when (file-exists-p file) (delete-file file)))))

;;; Functions that init files call

(ert-deftest smtpmail-message-tests-stock-functions ()
  "The stock functions, called as their copies in init files do."
  (with-temp-buffer
    (insert "To: \"a b\"@x.org, c@x.org\nBcc: d@x.org,\n e@x.org\n\n"
            "Bcc: body\n")
    (let* ((header-end (copy-marker (progn (goto-char (point-min))
                                           (search-forward "\n\n")
                                           (1- (point)))))
           (smtpmail-recipient-address-list nil)
           (smtpmail-address-buffer (generate-new-buffer "*smtp-mail*")))
      (unwind-protect
          (progn
            (should (equal (smtpmail-deduce-address-list
                            (current-buffer) (point-min) header-end)
                           '("\"a b\"@x.org" "c@x.org" "d@x.org" "e@x.org")))
            (should (equal (length smtpmail-recipient-address-list) 4))
            (should (buffer-live-p smtpmail-address-buffer)))
        (kill-buffer smtpmail-address-buffer))
      (smtpmail-do-bcc header-end)
      (should (equal (buffer-string)
                     "To: \"a b\"@x.org, c@x.org\n\nBcc: body\n"))))
  (let ((smtpmail-sendto-domain "d.org") (smtpmail-local-domain "l.org"))
    (should (equal (smtpmail-maybe-append-domain "bob") "bob@d.org"))
    (should (equal (smtpmail-maybe-append-domain "bob@x") "bob@x"))
    (should (equal (smtpmail-fqdn) (concat (system-name) ".l.org"))))
  (should (equal (smtpmail-fqdn) (system-name)))
  (should (equal (smtpmail-maybe-append-domain "bob") "bob"))
  (dolist (case '(("a@x.org" . "a@x.org") ("a@x") ("a") ("a@b@x.org") (nil)))
    (let ((user-mail-address (car case)))
      (should (equal (smtpmail-user-mail-address) (cdr case))))))

(provide 'smtpmail-message-tests)

;;; smtpmail-message-tests.el ends here
