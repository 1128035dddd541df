;;; smtpmail-real-tests.el --- The same mail to five real servers  -*- lexical-binding: t; -*-

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

(defconst smtpmail-real-tests--header
  "From: Alice Adams <alice@example.org>\nTo: bob@example.org\nSubject: Hello\n"
  "The header of most mails here.")

(defun smtpmail-real-tests--to (recipient)
  "Send a small mail to RECIPIENT."
  (smtpmail-real-mail
   (format "From: alice@example.org\nTo: %s\nSubject: Hello\n" recipient)
   "Hello\n"))

(defun smtpmail-real-tests--check-body (server body octets)
  "Send a mail with BODY to SERVER; what arrives has to be OCTETS."
  (smtpmail-real-with (server 'plain)
    (smtpmail-real-mail smtpmail-real-tests--header body)
    (should (equal (smtpmail-real-body (nth 2 (smtpmail-real-arrived server)))
                   octets))))

;;;; What the text may be

(smtpmail-real-deftest ascii t
  "ASCII arrives as it was written, with the fields that Emacs adds."
  (smtpmail-real-with (server 'plain)
    (smtpmail-real-mail smtpmail-real-tests--header "Hello\n\n  Bob \t\n\n\n")
    (pcase-let ((`(,_ ,_ ,text) (smtpmail-real-arrived server)))
      (should (equal (smtpmail-real-body text) "Hello\n\n  Bob \t\n\n\n"))
      (dolist (field '("From: Alice Adams <alice@example.org>"
                       "To: bob@example.org" "Subject: Hello"
                       "Date: [A-Z][a-z][a-z], .*" "Message-ID: <.*>"))
        (let ((case-fold-search t))
          (should (= 1 (smtpmail-real-count (concat "\\`" field "\\'") text))))))))

(smtpmail-real-deftest utf-8 t
  "Text in UTF-8 arrives in UTF-8, and says that it is."
  (smtpmail-real-with (server 'plain
                       smtpmail-code-conv-from 'utf-8)
    (smtpmail-real-mail smtpmail-real-tests--header "Grüße, 世界 🎉\n")
    (let ((text (nth 2 (smtpmail-real-arrived server)))
          (case-fold-search t))
      (should (equal (smtpmail-real-body text)
                     (encode-coding-string "Grüße, 世界 🎉\n" 'utf-8)))
      (should (string-match-p "^Content-Type: text/plain; charset=utf-8$" text)))))

(smtpmail-real-deftest latin-1 t
  "Text in Latin-1 arrives in Latin-1, and says that it is."
  (smtpmail-real-with (server 'plain
                       smtpmail-code-conv-from 'iso-8859-1)
    (smtpmail-real-mail smtpmail-real-tests--header "Größe: ½ ÿ\n")
    (let ((text (nth 2 (smtpmail-real-arrived server)))
          (case-fold-search t))
      (should (equal (smtpmail-real-body text) "Gr\366\337e: \275 \377\n"))
      (should (string-match-p "^Content-Type: text/plain; charset=iso-8859-1$"
                              text)))))

(smtpmail-real-deftest dots t
  "Lines of dots end nothing, and keep each dot."
  (let ((body ".\n..\n...\n.dot\n\n.\n.\n.."))
    (smtpmail-real-tests--check-body server body (concat body "\n"))))

(smtpmail-real-deftest long-lines t
  "Lines of up to 998 octets stay whole; a first dot does not count."
  (let ((body (concat (make-string 998 ?x) "\n." (make-string 997 ?y) "\n"
                      (make-string 512 ?z) "\n")))
    (smtpmail-real-tests--check-body server body body)))

(smtpmail-real-deftest line-of-8000 (postfix smtp-server exim sendmail)
  "A line that is longer than it may be arrives whole, where the server takes it."
  (let ((body (concat (make-string 8000 ?x) "\n")))
    (smtpmail-real-tests--check-body server body body)))

(smtpmail-real-deftest line-of-8000-refused (aiosmtpd)
  "A line that the server finds too long at the end of the text is an error."
  (smtpmail-real-with (server 'plain)
    (should (string-match-p
             "\\`Sending failed: 500 .*[Ll]ine too long"
             (smtpmail-real-refusal
              server
              (lambda ()
                (smtpmail-real-mail smtpmail-real-tests--header
                                    (make-string 8000 ?x))))))))

(smtpmail-real-deftest no-final-newline t
  "A last line without newline gets one."
  (smtpmail-real-tests--check-body server "no newline" "no newline\n"))

(smtpmail-real-deftest empty-body t
  "A message may have no text."
  (smtpmail-real-tests--check-body server "" ""))

(smtpmail-real-deftest many-short-lines t
  "100,000 lines arrive as they were written."
  (let ((body (mapconcat (lambda (n) (format ".%d" n))
                         (number-sequence 1 100000) "\n")))
    (smtpmail-real-tests--check-body server body (concat body "\n"))))

(smtpmail-real-deftest chunking (postfix exim)
  "By BDAT, plain and under TLS, the same arrives as by DATA.
The port with TLS from the start does not offer CHUNKING."
  (let* ((lines (mapconcat (lambda (n) (format ".%d.\n." n))
                           (number-sequence 1 3000) "\n"))
         (body (concat ".\n..\n\n.dot\nFrom here\nBDAT 3 LAST\nRSET\n"
                       (make-string 998 ?x) "\n" lines "\n..\n."))
         (bodies
          (mapcar (lambda (case)
                    (pcase-let ((`(,kind ,command) case))
                      (smtpmail-real-with (server kind)
                        (smtpmail-real-mail smtpmail-real-tests--header body)
                        (let ((text (nth 2 (smtpmail-real-arrived server)))
                              (trace (smtpmail-real-trace server)))
                          (should (equal (smtpmail-real-count
                                          " C: \\(BDAT [0-9]\\{4,\\} LAST\\|DATA\\)$" trace)
                                         1))
                          (should (string-match-p (concat " C: " command) trace))
                          (smtpmail-real-body text)))))
                  '((plain "BDAT") (starttls "BDAT") (ssl "DATA")))))
    (should (equal (nth 0 bodies) (concat body "\n")))
    (should (equal (nth 0 bodies) (nth 1 bodies)))
    (should (equal (nth 0 bodies) (nth 2 bodies)))))

;;;; Protected, and logged in

(defun smtpmail-real-tests--check-login (server kind mechanism)
  "Send to the port KIND of SERVER, logged in by MECHANISM."
  (smtpmail-real-with (server kind
                       auth-sources
                       (list (smtpmail-real--authinfo
                              server kind (and (eq mechanism 'xoauth2)
                                               (plist-get server :access_token))))
                       smtpmail-auth-supported (list mechanism))
    (smtpmail-real-tests--to "bob@elsewhere.example")
    (should (equal (seq-take (smtpmail-real-arrived server) 2)
                   '("alice@example.org" ("bob@elsewhere.example"))))
    (let ((trace (smtpmail-real-trace server))
          (case-fold-search nil))
      (should (= 1 (smtpmail-real-count " C: AUTH " trace)))
      (should (= 1 (smtpmail-real-count
                    (format " C: AUTH %s\\b" (upcase (symbol-name mechanism)))
                    trace)))
      (should (= (smtpmail-real-count " C: STARTTLS" trace)
                 (if (eq kind 'starttls) 1 0))))))

(smtpmail-real-deftest starttls-plain t
  "STARTTLS, then AUTH PLAIN."
  (smtpmail-real-tests--check-login server 'starttls 'plain))

(smtpmail-real-deftest starttls-login t
  "STARTTLS, then AUTH LOGIN."
  (smtpmail-real-tests--check-login server 'starttls 'login))

(smtpmail-real-deftest starttls-cram-md5 (postfix smtp-server exim sendmail)
  "STARTTLS, then AUTH CRAM-MD5."
  (smtpmail-real-tests--check-login server 'starttls 'cram-md5))

(smtpmail-real-deftest starttls-scram-sha-1 (postfix)
  "STARTTLS, then AUTH SCRAM-SHA-1."
  (smtpmail-real-tests--check-login server 'starttls 'scram-sha-1))

(smtpmail-real-deftest starttls-scram-sha-256 (postfix)
  "STARTTLS, then AUTH SCRAM-SHA-256."
  (smtpmail-real-tests--check-login server 'starttls 'scram-sha-256))

(smtpmail-real-deftest starttls-xoauth2 (smtp-server)
  "STARTTLS, then AUTH XOAUTH2 with a token in the password's place."
  (smtpmail-real-tests--check-login server 'starttls 'xoauth2))

(smtpmail-real-deftest every-mechanism-has-a-test t
  "No mechanism that the server offers goes untested."
  (dolist (mechanism (plist-get server :mechanisms))
    (should (ert-test-boundp
             (intern (format "smtpmail-real/%s/starttls-%s"
                             (plist-get server :server) (downcase mechanism)))))))

(smtpmail-real-deftest implicit-tls t
  "TLS from the beginning, then the mechanism that the user prefers."
  (smtpmail-real-tests--check-login server 'ssl 'plain))

(smtpmail-real-deftest default-mechanisms t
  "Without any setting, one of the mechanisms of old logs in at once."
  (smtpmail-real-with (server 'starttls)
    (smtpmail-real-tests--to "bob@example.org")
    (should (smtpmail-real-arrived server))
    (should (= 1 (smtpmail-real-count " C: AUTH \\(CRAM-MD5\\|PLAIN\\)\\b"
                                      (smtpmail-real-trace server))))))

(smtpmail-real-deftest opportunistic t
  "A stream type of nil uses the STARTTLS that is offered."
  (smtpmail-real-with (server 'starttls
                       smtpmail-stream-type nil)
    (smtpmail-real-tests--to "bob@example.org")
    (should (smtpmail-real-arrived server))
    (should (= 1 (smtpmail-real-count " C: STARTTLS"
                                      (smtpmail-real-trace server))))))

(smtpmail-real-deftest starttls-not-offered t
  "Who insists on STARTTLS sends nothing where there is none."
  (smtpmail-real-with (server 'plain
                       smtpmail-stream-type 'starttls)
    (let ((text (smtpmail-real-refusal
                 server (lambda () (smtpmail-real-tests--to "bob@example.org")))))
      (should (string-match-p "STARTTLS" text))
      (should (= 0 (smtpmail-real-count " C: MAIL" (smtpmail-real-trace server)))))))

(smtpmail-real-deftest wrong-password t
  "A wrong password is refused in the server's words, and tried but once."
  (smtpmail-real-with (server 'starttls
                       smtpmail-auth-supported '(plain login)
                       auth-sources (list (smtpmail-real--authinfo
                                           server 'starttls "wrong-password")))
    (let ((text (smtpmail-real-refusal
                 server (lambda () (smtpmail-real-tests--to "bob@example.org")))))
      (should (string-match-p "\\`Sending failed: 535 .*in response to AUTH" text))
      (should-not (string-search "wrong-password" text))
      (let ((trace (smtpmail-real-trace server)))
        (should (= 1 (smtpmail-real-count " C: AUTH " trace)))
        ;; Its envelope may ride behind AUTH; its text must not.
        (should (= 0 (smtpmail-real-count " C: <.*octets of message>" trace)))
        (should-not (string-search
                     (base64-encode-string "\0alice\0wrong-password" t) trace))))))

(smtpmail-real-deftest no-credentials t
  "Without credentials the server's demand is the error, in batch."
  (smtpmail-real-with (server 'starttls
                       auth-sources nil)
    (should (string-match-p
             "\\`Sending failed: 5[35][0-9] "
             (smtpmail-real-refusal
              server (lambda ()
                       (smtpmail-real-tests--to "bob@elsewhere.example")))))))

(defun smtpmail-real-tests--check-untrusted (server kind)
  "Check that nothing goes to the port KIND of SERVER without trust."
  (smtpmail-real-with (server kind
                       gnutls-trustfiles nil)
    (let ((text (smtpmail-real-refusal
                 server (lambda () (smtpmail-real-tests--to "bob@example.org")))))
      (should (string-match-p "certificate" text))
      (should (= 0 (smtpmail-real-count " C: \\(AUTH\\|MAIL\\)"
                                        (smtpmail-real-trace server)))))))

(smtpmail-real-deftest untrusted-starttls t
  "A certificate of an unknown CA ends STARTTLS, and nothing goes in clear."
  (smtpmail-real-tests--check-untrusted server 'starttls))

(smtpmail-real-deftest untrusted-implicit-tls t
  "A certificate of an unknown CA ends implicit TLS."
  (smtpmail-real-tests--check-untrusted server 'ssl))

(smtpmail-real-deftest untrusted-opportunistic t
  "A failed handshake is no reason to go on in clear."
  (smtpmail-real-with (server 'starttls
                       smtpmail-stream-type nil
                       gnutls-trustfiles nil)
    (should (string-match-p
             "certificate"
             (smtpmail-real-refusal
              server (lambda () (smtpmail-real-tests--to "bob@example.org")))))))

;;;; Envelopes

(smtpmail-real-deftest envelope t
  "Everybody in To, Cc and Bcc gets it once; Bcc does not show."
  (smtpmail-real-with (server 'plain)
    (smtpmail-real-mail
     (concat "From: alice@example.org\n"
             "To: Bob <bob@example.org>\n"
             "Cc: carol@example.org,\n\tBOB@example.org (again), dave@example.org\n"
             "Bcc: eve@example.org\nSubject: Hello\n")
     "Hello\n")
    (pcase-let ((`(,sender ,recipients ,text) (smtpmail-real-arrived server)))
      (should (equal sender "alice@example.org"))
      (should (equal (delete-dups (mapcar #'downcase recipients))
                     '("bob@example.org" "carol@example.org" "dave@example.org"
                       "eve@example.org")))
      (should-not (let ((case-fold-search t))
                    (string-match-p "bcc\\|eve@" text))))))

;; smtp-server takes no quoted local part: 501.
(smtpmail-real-deftest quoted-recipient (postfix aiosmtpd exim sendmail)
  "A local part that needs quotes has them in RCPT."
  (smtpmail-real-with (server 'plain)
    (smtpmail-real-tests--to "\"quoted local\"@example.org, bob@example.org")
    (let ((recipients (nth 1 (smtpmail-real-arrived server))))
      ;; What is stored has the quotes or not, as the server likes.
      (should (equal (length recipients) 2))
      (should (seq-find (lambda (r) (string-match-p "quoted local" r)) recipients)))
    (should (= 1 (smtpmail-real-count
                  " C: RCPT TO:<\"quoted local\"@example\\.org>"
                  (smtpmail-real-trace server))))))

(smtpmail-real-deftest envelope-sender t
  "The envelope sender is the one that the user specified."
  (smtpmail-real-with (server 'plain
                       mail-specify-envelope-from t
                       mail-envelope-from "bounces@lists.example.org")
    (smtpmail-real-tests--to "bob@example.org")
    (should (equal (car (smtpmail-real-arrived server))
                   "bounces@lists.example.org"))))

(smtpmail-real-deftest hundred-recipients t
  "A hundred recipients get one message."
  (smtpmail-real-with (server 'plain)
    (let ((recipients (mapcar (lambda (n) (format "user%03d@example.org" n))
                              (number-sequence 1 100))))
      (smtpmail-real-tests--to (string-join recipients ",\n "))
      (should (equal (nth 1 (smtpmail-real-arrived server)) recipients)))))

(smtpmail-real-deftest refused-recipient t
  "A refused recipient: the server's words, and the address."
  (smtpmail-real-with (server 'plain)
    (should (string-match-p
             "\\`Sending failed: 550 5\\.1\\.1 .*<refused@example\\.org>"
             (smtpmail-real-refusal
              server (lambda () (smtpmail-real-tests--to "refused@example.org")))))))

(smtpmail-real-deftest refused-among-others t
  "One of several is refused: in batch nobody gets it, and the error says so."
  (smtpmail-real-with (server 'plain)
    (let ((text (smtpmail-real-refusal
                 server
                 (lambda ()
                   (smtpmail-real-tests--to
                    "bob@example.org, refused@example.org, eve@example.org")))))
      (should (string-match-p "550 5\\.1\\.1 .*<refused@example\\.org>" text))
      (should (string-match-p "none of the 2 other recipients got" text)))))

(smtpmail-real-deftest refused-rest-sent t
  "With `send-rest' the others get it, and the user hears who did not."
  (smtpmail-real-with (server 'plain
                       smtpmail-on-refused-recipients 'send-rest)
    (let ((said nil))
      (cl-letf* ((message (symbol-function 'message))
                 ((symbol-function 'message)
                  (lambda (&rest args)
                    (push (apply #'format-message args) said)
                    (apply message args))))
        (smtpmail-real-tests--to
         "bob@example.org, refused@example.org, eve@example.org"))
      (should (equal (nth 1 (smtpmail-real-arrived server))
                     '("bob@example.org" "eve@example.org")))
      (should (seq-find (lambda (text)
                          (string-match-p "\\`Sent: 2.*not refused@example\\.org"
                                          text))
                        said)))))

(smtpmail-real-deftest greylisted t
  "With one attempt allowed, \"try again\" is the error."
  (smtpmail-real-with (server 'plain
                       smtpmail-retries 1)
    (should (string-match-p
             "\\`Sending failed: 450 4\\.2\\.0 .*<greylisted@example\\.org>"
             (smtpmail-real-refusal
              server
              (lambda () (smtpmail-real-tests--to "greylisted@example.org")))))
    (should (= 1 (smtpmail-real-count " C: RCPT" (smtpmail-real-trace server))))))

(smtpmail-real-deftest greylisted-twice t
  "With two attempts allowed, there is a second one after a pause."
  (smtpmail-real-with (server 'plain
                       smtpmail-retries 2)
    (should (string-match-p
             "450 4\\.2\\.0 .*<greylisted@example\\.org>"
             (smtpmail-real-refusal
              server
              (lambda () (smtpmail-real-tests--to "greylisted@example.org")))))
    (should (= 2 (smtpmail-real-count " C: RCPT" (smtpmail-real-trace server))))))

(smtpmail-real-deftest relaying t
  "Somebody else's mail is refused without login, in the server's words."
  (smtpmail-real-with (server 'plain)
    (should (string-match-p
             "\\`Sending failed: 55[0-9] .*<bob@elsewhere\\.example>"
             (smtpmail-real-refusal
              server
              (lambda () (smtpmail-real-tests--to "bob@elsewhere.example")))))))

(smtpmail-real-deftest smtputf8 (postfix aiosmtpd smtp-server exim)
  "An address beyond ASCII goes where SMTPUTF8 is offered."
  (smtpmail-real-with (server 'starttls
                       smtpmail-code-conv-from 'utf-8)
    (smtpmail-real-tests--to "jörg@example.org")
    (should (equal (nth 1 (smtpmail-real-arrived server)) '("jörg@example.org")))
    (should (= 1 (smtpmail-real-count " C: MAIL .* SMTPUTF8"
                                      (smtpmail-real-trace server))))))

(smtpmail-real-deftest no-smtputf8 (smtp-server sendmail)
  "An address beyond ASCII does not go where SMTPUTF8 is not offered.
The port in clear of smtp-server does not; sendmail knows it not at all."
  (smtpmail-real-with (server 'plain
                       smtpmail-code-conv-from 'utf-8)
    (let ((text (smtpmail-real-refusal
                 server (lambda () (smtpmail-real-tests--to "jörg@example.org")))))
      (should (string-match-p "SMTPUTF8" text)))))

;;;; What one server only does

(defun smtpmail-real-tests--say (server &rest lines)
  "Say LINES, of a session up to QUIT, to SERVER; return what it says."
  (with-temp-buffer
    (let ((process (make-network-process
                    :name "raw" :buffer (current-buffer) :noquery t
                    :host "127.0.0.1" :coding 'binary :sentinel #'ignore
                    :service (smtpmail-real-port server 'plain))))
      (unwind-protect
          (progn
            (dolist (line lines)
              (let ((start (point-max)))
                (should (smtpmail-real--await
                         smtpmail-real--delivery-limit
                         (progn (goto-char start)
                                (re-search-forward "^[0-9]+ .*\r\n" nil t))
                         process)))
              (process-send-string process (concat line "\r\n")))
            (should (smtpmail-real--await smtpmail-real--delivery-limit
                                          (not (process-live-p process)) process))
            (buffer-string))
        (delete-process process)))))

(smtpmail-real-deftest verbose (sendmail)
  "The 050 lines that come before the reply to a message are no reply."
  (smtpmail-real-with (server 'plain)
    ;; The trace does not show them, so this does: they come.
    (should (string-match-p
             "^050 .*\r\n\\(?:050 .*\r\n\\)*250 "
             (smtpmail-real-tests--say
              server "EHLO x" "VERB" "MAIL FROM:<alice@example.org>"
              "RCPT TO:<bob@example.org>" "DATA" "Subject: S\r\n\r\nHello\r\n."
              "QUIT")))
    (push (car (smtpmail-real--await smtpmail-real--delivery-limit
                                     (smtpmail-real--unseen server)))
          smtpmail-real--seen))
  (smtpmail-real-with (server 'plain
                       smtpmail-debug-verb t)
    (smtpmail-real-tests--to "bob@example.org")
    (should (smtpmail-real-arrived server))
    (let ((trace (smtpmail-real-trace server)))
      (should (= 1 (smtpmail-real-count " C: VERB" trace)))
      (should (= 1 (smtpmail-real-count " S: 250 .*Message accepted" trace)))
      (should (= 1 (smtpmail-real-count " C: QUIT" trace))))))

(smtpmail-real-deftest announced-before-tls (sendmail)
  "AUTH that is announced before TLS is not used before it."
  (smtpmail-real-with (server 'starttls)
    (smtpmail-real-tests--to "bob@example.org")
    (should (smtpmail-real-arrived server))
    (should (string-match-p "S: 250[ -]AUTH \\(?:.*\n\\)+.*C: STARTTLS\\(?:.*\n\\)+.*C: AUTH "
                            (smtpmail-real-trace server)))
    (should (= 1 (smtpmail-real-count " C: AUTH " (smtpmail-real-trace server))))))

(smtpmail-real-deftest greeting-of-several-lines (exim)
  "Nothing is said before the last line of a greeting is there."
  (smtpmail-real-with (server 'plain)
    (smtpmail-real-tests--to "bob@example.org")
    (should (smtpmail-real-arrived server))
    (should (string-match-p "S: 220-.*\n.*S: 220 .*\n.*C: EHLO "
                            (smtpmail-real-trace server)))))

;;;; Attachments

(defun smtpmail-real-tests--check-attachment (server kind size)
  "Send SIZE octets as an attachment to the port KIND of SERVER."
  (let* ((file (smtpmail-real-octets-file size))
         (octets (smtpmail-real-file-octets file)))
    (smtpmail-real-with (server kind)
      (smtpmail-real-message "Bob <bob@example.org>" file)
      (pcase-let ((`(,sender ,recipients ,text) (smtpmail-real-arrived server)))
        (should (equal sender "alice@example.org"))
        (should (equal recipients '("bob@example.org")))
        (should (string-match-p "^Content-Type: multipart/mixed;" text))
        (should (eq t (compare-strings (smtpmail-real-attachment text) nil nil
                                       octets nil nil)))))))

(smtpmail-real-deftest attachment t
  "`message-send-and-exit' with a binary attachment, as people send."
  (smtpmail-real-tests--check-attachment server 'starttls 100000))

(smtpmail-real-deftest attachment-25-mib (postfix)
  "25 MiB arrive octet by octet through STARTTLS."
  (smtpmail-real-tests--check-attachment server 'starttls (* 25 1024 1024)))

(smtpmail-real-deftest too-large t
  "What is larger than the server's SIZE is refused; nothing of it is sent."
  (smtpmail-real-with (server 'plain)
    (let* ((line (concat (make-string 998 ?x) "\n"))
           (lines (1+ (/ (plist-get server :size_limit) (length line))))
           (text (smtpmail-real-refusal
                  server
                  (lambda ()
                    (smtpmail-real-mail smtpmail-real-tests--header
                                        (apply #'concat (make-list lines line)))))))
      (should (string-match-p (format "\\`Sending failed: .*%d"
                                      (plist-get server :size_limit))
                              text))
      (should (= 0 (smtpmail-real-count " C: \\(MAIL\\|DATA\\|BDAT\\)"
                                        (smtpmail-real-trace server)))))))

(provide 'smtpmail-real-tests)

;;; smtpmail-real-tests.el ends here
