;;; smtpmail-client-message-tests.el --- message-mode over a real server  -*- lexical-binding: t -*-

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

;; Composing, replying, forwarding, resending, bouncing, and choosing a
;; server, by the commands that people use.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-client))

(require 'mml)
(require 'mm-bodies)

(defvar message-server-alist)

(defmacro smtpmail-client-message-tests--compose (fields &rest body)
  "Begin a message with FIELDS, an alist, in `message-mode', and run BODY there.
Its buffer is `draft', and it goes at the end."
  (declare (indent 1) (debug t))
  `(let ((draft nil)
         (fields ,fields))
     (unwind-protect
         (progn
           (message-mail (alist-get 'To fields) (alist-get 'Subject fields "Hello"))
           (setq draft (current-buffer))
           (pcase-dolist (`(,name . ,value) fields)
             (unless (memq name '(To Subject))
               (message-replace-header (symbol-name name) value)))
           (message-goto-body)
           ,@body)
       (smtpmail-client-kill draft))))

(defun smtpmail-client-message-tests--mail (&rest fields)
  "Return a buffer with the mail of FIELDS, strings, and a text; visible."
  (let ((buffer (generate-new-buffer "received")))
    (with-current-buffer buffer
      (set-buffer-multibyte nil)
      (dolist (field fields) (insert field "\n"))
      (insert "Message-ID: <first@example.net>\nDate: Mon, 01 Jun 2026 10:00:00 +0000\n"
              "\nBytes: \344\366\374 \377\n.\nFrom here\n\n"))
    buffer))

;;;; Composing

(ert-deftest smtpmail-client-message-compose-attach ()
  "C-c C-a and C-c C-c send text and every octet of a file; then Fcc, then gone."
  (smtpmail-client-with (server 'ssl)
    (let ((file (expand-file-name "octets.bin" home))
          (copy (expand-file-name "sent" home))
          (octets (apply #'unibyte-string (number-sequence 0 255)))
          (sent 0))
      (let ((coding-system-for-write 'no-conversion))
        (write-region octets nil file nil 'quiet))
      (smtpmail-client-message-tests--compose
          `((To . "Bob <bob@example.org>, carol@elsewhere.example")
            (Cc . "dave@example.org")
            (Bcc . "erin@example.org,\n frank@example.org")
            (Subject . "Grüße an alle")
            (Fcc . ,copy))
        (insert "Ärger, 世界\n.\n")
        (mml-attach-file file "application/octet-stream" "All of them" "attachment")
        (add-hook 'message-sent-hook
                  (lambda ()
                    ;; Not before the server had it.
                    (should (= 1 (length (smtpmail-real--unseen server))))
                    (cl-incf sent))
                  nil t)
        (smtpmail-client-answering '(("does not exist, create it" . t))
          (smtpmail-client-press "C-c C-c"))
        (should-not (buffer-live-p draft)))
      (should (= sent 1))
      (let ((message (smtpmail-client-only server)))
        (should (equal (plist-get message :from) "alice@example.org"))
        (should (equal (plist-get message :to)
                       '("bob@example.org" "carol@elsewhere.example"
                         "dave@example.org" "erin@example.org"
                         "frank@example.org")))
        (should (equal (smtpmail-client-field message "Subject") "Grüße an alle"))
        (should (equal (smtpmail-client-field message "From")
                       "Alice Adams <alice@example.org>"))
        (should-not (smtpmail-client-field message "Bcc"))
        (should-not (smtpmail-client-field message "Fcc"))
        (should-not (string-match-p "erin\\|frank" (plist-get message :text)))
        (should (equal (smtpmail-real-attachment (plist-get message :text)) octets)))
      ;; The copy is complete.
      (should (string-match-p "^Subject: =\\?utf-8.*" (smtpmail-test-text copy))))))

(ert-deftest smtpmail-client-message-refused-stays ()
  "What the server refuses stays, has no copy, and goes once it is put right."
  (smtpmail-client-with (server 'plain)
    (let ((copy (expand-file-name "sent" home))
          (sent 0))
      (smtpmail-client-message-tests--compose
          `((To . ,(plist-get server :refused)) (Fcc . ,copy))
        (insert "Text\n")
        (add-hook 'message-sent-hook (lambda () (cl-incf sent)) nil t)
        (smtpmail-client-refused (smtpmail-client-press "C-c C-c"))
        (should (buffer-live-p draft))
        (with-current-buffer draft
          (should (buffer-modified-p))
          (should-not (file-exists-p copy))
          (should (= sent 0))
          (smtpmail-client-nothing-arrived server)
          (message-replace-header "To" "bob@example.org")
          (smtpmail-client-answering '(("does not exist, create it" . t))
            (smtpmail-client-press "C-c C-c")))
        (should-not (buffer-live-p draft))
        (should (= sent 1))
        (should (file-exists-p copy))
        (let ((message (smtpmail-client-only server)))
          (should (equal (plist-get message :to) '("bob@example.org")))
          (should (equal (smtpmail-client-body message) "Text\n")))))))

(ert-deftest smtpmail-client-message-8bit ()
  "A text that message-mode left in 8 bits arrives in the same octets."
  (smtpmail-client-with (server 'plain
                         mm-body-charset-encoding-alist '((utf-8 . 8bit)
                                                          (iso-8859-1 . 8bit)))
    (dolist (text '("Grüße\n.\n..\n" "世界 🎉\n\n\n"))
      (smtpmail-client-message-tests--compose '((To . "bob@example.org"))
        (insert text)
        (smtpmail-client-press "C-c C-c"))
      (let ((message (smtpmail-client-only server)))
        (should (equal (smtpmail-client-field message "Content-Transfer-Encoding")
                       "8bit"))
        (should (equal (smtpmail-client-decoded-body message) text))))))

(ert-deftest smtpmail-client-message-quoted-printable ()
  "A text that message-mode made quoted-printable decodes to what was written."
  (smtpmail-client-with (server 'plain
                         mm-body-charset-encoding-alist '((utf-8 . quoted-printable)
                                                          (iso-8859-1 . quoted-printable)))
    (let ((text (concat "Grüße = 世界\n.\n" (make-string 1200 ?x) "\nFrom here\n")))
      (smtpmail-client-message-tests--compose '((To . "bob@example.org"))
        (insert text)
        (smtpmail-client-press "C-c C-c"))
      (should (equal (smtpmail-client-decoded-body (smtpmail-client-only server))
                     text)))))

(ert-deftest smtpmail-client-message-aliases ()
  "Aliases of ~/.mailrc that nobody expanded while typing are expanded."
  (smtpmail-client-with (server 'plain mail-aliases t)
    (let ((mail-personal-alias-file
           (smtpmail-client-write
            (expand-file-name "mailrc" home)
            "alias team bob@example.org \"Carol C <carol@example.org>\"\n")))
      (smtpmail-client-message-tests--compose '((To . "team") (Cc . "dave@example.org"))
        (insert "Text\n")
        (smtpmail-client-answering '(("looks invalid" . t))
          (smtpmail-client-press "C-c C-c")))
      (should (equal (plist-get (smtpmail-client-only server) :to)
                     '("bob@example.org" "carol@example.org" "dave@example.org"))))))

(ert-deftest smtpmail-client-message-partial ()
  "A long message goes in parts, each of which arrives."
  (smtpmail-client-with (server 'plain
                         message-send-mail-partially-limit 2000)
    (smtpmail-client-message-tests--compose '((To . "bob@example.org"))
      (dotimes (i 100) (insert (format "Line %d of a long text, longer than one\n" i)))
      (smtpmail-client-answering '(("limit\\|split\\|large" . t))
        (smtpmail-client-press "C-c C-c")))
    (let* ((files (smtpmail-real--unseen server))
           (messages (smtpmail-client-arrived server (length files))))
      (should (> (length messages) 1))
      (dolist (message messages)
        (should (string-match-p "message/partial"
                                (smtpmail-client-field message "Content-Type")))))))

(ert-deftest smtpmail-client-message-alternatives ()
  "Parts as org-mime and others write them arrive as they were composed."
  (smtpmail-client-with (server 'plain)
    (smtpmail-client-message-tests--compose '((To . "bob@example.org"))
      (insert "<#multipart type=alternative>\n"
              "<#part type=\"text/plain\">\n*Plain* text\n"
              "<#part type=\"text/html\">\n<b>Größe</b>\n"
              "<#/multipart>\n")
      (smtpmail-client-press "C-c C-c"))
    (let ((message (smtpmail-client-only server)))
      (should (string-prefix-p "multipart/alternative"
                               (smtpmail-client-field message "Content-Type")))
      (with-temp-buffer
        (set-buffer-multibyte nil)
        (insert (plist-get message :text))
        (let ((parts (mm-dissect-buffer t)))
          (unwind-protect
              (should (equal (mapcar (lambda (part)
                                       (cons (mm-handle-media-type part)
                                             (string-trim (mm-get-part part))))
                                     (cdr parts))
                             `(("text/plain" . "*Plain* text")
                               ("text/html" . ,(encode-coding-string "<b>Größe</b>"
                                                                     'utf-8)))))
            (mm-destroy-parts parts)))))))

;;;; By which function

(ert-deftest smtpmail-client-message-functions ()
  "Each function that ends at smtpmail sends, and its hook runs once."
  (smtpmail-client-with (server 'plain)
    (dolist (function (seq-filter #'fboundp
                                  '(smtpmail-send-it message-smtpmail-send-it
                                    message-send-mail-with-smtpmail
                                    message-use-send-mail-function)))
      (ert-info ((symbol-name function))
        (let* ((ran 0)
               (message-send-mail-hook (list (lambda () (cl-incf ran))))
               (message-send-mail-function function))
          (smtpmail-client-message-tests--compose '((To . "bob@example.org"))
            (insert "By " (symbol-name function) "\n")
            (smtpmail-client-press "C-c C-c")
            (should-not (buffer-live-p draft)))
          (should (= ran (if (eq function 'smtpmail-send-it) 0 1)))
          (should (equal (smtpmail-client-body (smtpmail-client-only server))
                         (format "By %s\n" function))))))))

(ert-deftest smtpmail-client-message-default-function ()
  "Where only `send-mail-function' is set, message-mode follows it."
  (smtpmail-client-with (server 'plain)
    (let ((message-send-mail-function (eval (car (get 'message-send-mail-function
                                                      'standard-value)) t)))
      (smtpmail-client-message-tests--compose '((To . "bob@example.org"))
        (insert "Text\n")
        (smtpmail-client-press "C-c C-c")
        (should-not (buffer-live-p draft))))
    (smtpmail-client-only server)))

;;;; Over which server

(ert-deftest smtpmail-client-message-method-header ()
  "X-Message-SMTP-Method chooses server, port and user, and does not go out."
  (smtpmail-client-with (server 'starttls)
    (let* ((port smtpmail-smtp-service)
           (smtpmail-smtp-service (smtpmail-test-quiet-port))
           (smtpmail-debug-info t)
           (authinfo (expand-file-name "authinfo" home))
           (auth-sources (list authinfo)))
      (smtpmail-client-write
       authinfo
       (format "machine localhost port %d login mallory password wrong\n" port)
       (format "machine localhost port %d login alice password %s\n" port
               (plist-get server :password)))
      (smtpmail-client-message-tests--compose
          `((To . "carol@elsewhere.example")
            (X-Message-SMTP-Method . ,(format "smtp localhost %d alice" port)))
        (insert "Text\n")
        (smtpmail-client-press "C-c C-c")
        (should-not (buffer-live-p draft)))
      (should-not (smtpmail-client-field (smtpmail-client-only server)
                                         "X-Message-SMTP-Method"))
      (should (string-match-p "STARTTLS" (smtpmail-real-trace server))))))

(ert-deftest smtpmail-client-message-method-sendmail ()
  "X-Message-SMTP-Method \"smtp\" of one message does not stick to the next."
  (smtpmail-client-with (server 'plain)
    (let ((quiet (smtpmail-test-quiet-port)))
      (smtpmail-client-message-tests--compose
          `((To . "bob@example.org")
            (X-Message-SMTP-Method . ,(format "smtp localhost %d" quiet)))
        (should-error (smtpmail-client-press "C-c C-c"))
        (should (buffer-live-p draft)))
      (smtpmail-client-message-tests--compose '((To . "bob@example.org"))
        (smtpmail-client-press "C-c C-c")
        (should-not (buffer-live-p draft)))
      (smtpmail-client-only server))))

(when (>= emacs-major-version 29)
  (ert-deftest smtpmail-client-message-server-alist ()
    "`message-server-alist' chooses the server by From."
    (smtpmail-client-with (server 'plain)
      (let* ((method (format "smtp localhost %d" smtpmail-smtp-service))
             (smtpmail-smtp-service (smtpmail-test-quiet-port))
             (message-server-alist `(("alice@example.org" . ,method))))
        (smtpmail-client-message-tests--compose '((To . "bob@example.org"))
          (insert "Text\n")
          (smtpmail-client-press "C-c C-c")
          (should-not (buffer-live-p draft)))
        (should-not (smtpmail-client-field (smtpmail-client-only server)
                                           "X-Message-SMTP-Method"))))))

(ert-deftest smtpmail-client-message-queued-with-server ()
  "A message queued for the server of its method goes there, whatever is set later."
  (smtpmail-client-with (server 'plain
                         smtpmail-queue-mail t)
    (let ((port smtpmail-smtp-service))
      (smtpmail-client-message-tests--compose
          `((To . "bob@example.org")
            (X-Message-SMTP-Method . ,(format "smtp localhost %d" port)))
        (insert "Later\n")
        (smtpmail-client-press "C-c C-c")
        (should-not (buffer-live-p draft)))
      (smtpmail-client-nothing-arrived server)
      (let ((smtpmail-smtp-server "no.such.host.invalid")
            (smtpmail-queue-mail nil))
        (smtpmail-send-queued-mail))
      (should (equal (smtpmail-client-body (smtpmail-client-only server)) "Later\n")))))

(ert-deftest smtpmail-client-message-next-account ()
  "A function that tries account after account stops at the first that sends.
So does smtpmail-multi, which sets the variables for all that follows."
  (smtpmail-client-with (server 'plain)
    (let* ((quiet (smtpmail-test-quiet-port))
           (accounts `(("localhost" ,quiet) ("127.0.0.1" ,quiet)
                       ("localhost" ,smtpmail-smtp-service) ("localhost" ,quiet)))
           (failures nil)
           (smtpmail-smtp-user nil)
           (smtpmail-local-domain nil)
           (message-send-mail-function
            (lambda ()
              (seq-some (pcase-lambda (`(,host ,port))
                          (setq smtpmail-smtp-server host
                                smtpmail-smtp-service port)
                          (condition-case failure
                              (progn (smtpmail-send-it) t)
                            (error (ignore (push failure failures)))))
                        accounts))))
      (smtpmail-client-message-tests--compose '((To . "bob@example.org"))
        (insert "Text\n")
        (smtpmail-client-press "C-c C-c")
        (should-not (buffer-live-p draft)))
      (should (= 2 (length failures))))
    (should (equal (smtpmail-client-body (smtpmail-client-only server)) "Text\n"))))

;;;; Envelope

(ert-deftest smtpmail-client-message-envelope-from ()
  "`mail-specify-envelope-from' and `mail-envelope-from' name the reverse-path."
  (smtpmail-client-with (server 'plain mail-specify-envelope-from t)
    (pcase-dolist (`(,specified ,expected)
                   '((nil "boss@example.org")
                     ("bounces@example.org" "bounces@example.org")
                     (header "boss@example.org")))
      (ert-info ((format "%S" specified))
        (let ((mail-envelope-from specified))
          (smtpmail-client-message-tests--compose
              '((To . "bob@example.org") (From . "The Boss <boss@example.org>"))
            (smtpmail-client-press "C-c C-c"))
          (should (equal (plist-get (smtpmail-client-only server) :from) expected)))))))

;;;; Mail that there is already

(ert-deftest smtpmail-client-message-resend ()
  "`message-resend' sends the same octets, to the new recipient only."
  (smtpmail-client-with (server 'plain)
    (let ((received (smtpmail-client-message-tests--mail
                     "From: Old Author <old@example.net>" "To: alice@example.org"
                     "Cc: list@example.net" "Subject: Old" "MIME-Version: 1.0"
                     "Content-Type: text/plain; charset=iso-8859-1"
                     "Content-Transfer-Encoding: 8bit")))
      (unwind-protect
          (progn
            (with-current-buffer received
              (message-resend "bob@example.org, carol@example.org"))
            (let ((message (smtpmail-client-only server)))
              (should (equal (plist-get message :to)
                             '("bob@example.org" "carol@example.org")))
              (should (equal (smtpmail-client-field message "Resent-To")
                             "bob@example.org, carol@example.org"))
              (should (equal (smtpmail-client-field message "To") "alice@example.org"))
              (should (equal (smtpmail-client-field message "Message-ID")
                             "<first@example.net>"))
              (should (equal (smtpmail-client-body message)
                             "Bytes: \344\366\374 \377\n.\nFrom here\n\n"))))
        (smtpmail-client-kill received)))))

(ert-deftest smtpmail-client-message-resend-refused ()
  "A resend that the server refuses is an error."
  (smtpmail-client-with (server 'plain)
    (let ((received (smtpmail-client-message-tests--mail
                     "From: old@example.net" "To: alice@example.org" "MIME-Version: 1.0")))
      (unwind-protect
          (smtpmail-client-refused
            (with-current-buffer received
              (message-resend (plist-get server :refused))))
        (smtpmail-client-kill received))
      (smtpmail-client-nothing-arrived server))))

(ert-deftest smtpmail-client-message-reply ()
  "A reply goes to whom it is to, with the fields that thread it."
  (smtpmail-client-with (server 'plain)
    (let ((received (smtpmail-client-message-tests--mail
                     "From: Bob <bob@example.org>" "To: alice@example.org"
                     "Cc: carol@example.org" "Subject: Question"))
          draft)
      (unwind-protect
          (with-current-buffer received
            (message-wide-reply)
            (setq draft (current-buffer))
            (message-goto-body)
            (insert "Answer\n")
            (smtpmail-client-press "C-c C-c")
            (should-not (buffer-live-p draft)))
        (mapc #'smtpmail-client-kill (list received draft)))
      (let ((message (smtpmail-client-only server)))
        (should (equal (plist-get message :to) '("bob@example.org" "carol@example.org")))
        (should (equal (smtpmail-client-field message "Subject") "Re: Question"))
        (should (string-prefix-p "<first@example.net>"
                                 (smtpmail-client-field message "In-Reply-To")))))))

(ert-deftest smtpmail-client-message-forward ()
  "A forwarded mail is in a part of its own, with its octets."
  (smtpmail-client-with (server 'plain
                         message-forward-as-mime t
                         message-forward-show-mml nil)
    (let ((received (smtpmail-client-message-tests--mail
                     "From: Bob <bob@example.net>" "To: alice@example.org"
                     "Subject: Look" "MIME-Version: 1.0"
                     "Content-Type: text/plain; charset=iso-8859-1"
                     "Content-Transfer-Encoding: 8bit"))
          draft)
      (unwind-protect
          (with-current-buffer received
            (message-forward)
            (setq draft (current-buffer))
            (message-goto-to)
            (insert "carol@example.org")
            (smtpmail-client-press "C-c C-c")
            (should-not (buffer-live-p draft)))
        (mapc #'smtpmail-client-kill (list received draft)))
      (let ((message (smtpmail-client-only server)))
        (should (equal (plist-get message :to) '("carol@example.org")))
        (should (string-match-p "Content-Type: message/rfc822"
                                (plist-get message :text)))
        (should (string-search "Bytes: \344\366\374 \377\n.\nFrom here\n"
                               (plist-get message :text)))))))

(ert-deftest smtpmail-client-message-bounce ()
  "The mail in a notice of failure goes again, to a better address."
  (smtpmail-client-with (server 'plain)
    (let ((notice (generate-new-buffer "notice"))
          draft)
      (unwind-protect
          (with-current-buffer notice
            (insert "From: MAILER-DAEMON@example.net\nTo: alice@example.org\n"
                    "Subject: Undelivered\nMIME-Version: 1.0\n"
                    "Content-Type: multipart/report; report-type=delivery-status;"
                    " boundary=\"=-=\"\n\n"
                    "--=-=\nContent-Type: text/plain\n\nNo such user.\n\n"
                    "--=-=\nContent-Type: message/rfc822\n\n"
                    "From: Alice Adams <alice@example.org>\nTo: bobb@example.org\n"
                    "Subject: Typo\nMessage-ID: <typo@example.org>\n\nThe text\n\n"
                    "--=-=--\n")
            (message-bounce)
            (setq draft (current-buffer))
            (message-replace-header "To" "bob@example.org")
            (smtpmail-client-press "C-c C-c")
            (should-not (buffer-live-p draft)))
        (mapc #'smtpmail-client-kill (list notice draft)))
      (let ((message (smtpmail-client-only server)))
        (should (equal (plist-get message :to) '("bob@example.org")))
        (should (equal (smtpmail-client-field message "Subject") "Typo"))
        (should (string-prefix-p "The text\n" (smtpmail-client-body message)))))))

(ert-deftest smtpmail-client-message-two-accounts-at-once ()
  "The author that is typed in From makes the account."
  (smtpmail-client-with (_server 'plain)
    (smtpmail-client-with-accounts (home work)
      (dolist (domain '("home.example" "work.example"))
        (message-mail "bob@example.org" "Hello")
        (message-replace-header "From" (format "Me <me@%s>" domain))
        (message-goto-body)
        (insert "Text\n")
        (message-send-and-exit))
      (smtpmail-client-under-way-at-once)
      (smtpmail-client-check-accounts home work))))

(provide 'smtpmail-client-message-tests)

;;; smtpmail-client-message-tests.el ends here
