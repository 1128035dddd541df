;;; smtpmail-exchange-tests.el --- Logins spoken by Lisp  -*- lexical-binding: t -*-

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

;; What the functions of Lisp say to log in, and what they make of the replies.

;;; Code:

(require 'ert)
(require 'cl-lib)
(load (expand-file-name "smtpmail-auth-fixtures"
                        (file-name-directory
                         (or load-file-name buffer-file-name)))
      nil t)

(defvar smtpmail-exchange-tests--sent nil "Lines sent to the server, the last first.")

(defmacro smtpmail-exchange-tests--with-server (replies &rest body)
  "Run BODY with a server that answers with REPLIES, lists (CODE LINE...)."
  (declare (indent 1))
  `(let ((replies ,replies)
         (smtpmail-exchange-tests--sent nil)
         (smtpmail-auth-tests--messages
          (with-current-buffer (messages-buffer) (point-max)))
         (smtpmail-methods--exchange nil))
     (cl-letf (((symbol-function 'smtpmail-send-command)
                (lambda (_process command)
                  (push command smtpmail-exchange-tests--sent)))
               ((symbol-function 'smtpmail-read-response)
                (lambda (_process)
                  (or (pop replies) (error "No reply is left")))))
       ,@body)))

(ert-deftest smtpmail-exchange-tests-methods-on-the-wire ()
  "What each mechanism sends, after the examples of the RFCs."
  (pcase-dolist
      (`(,mechanism ,user ,password ,replies ,lines)
       `((plain "tim" "tanstaaftanstaaf" ((235 "235 ok")) ; RFC 4616 §4
                ("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"))
         (plain "ü" "é" ((235 "235 ok")) ("AUTH PLAIN AMO8AMOp"))
         (cram-md5 "tim" "tanstaaftanstaaf" ; RFC 2195 §2
                   ((334 "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+")
                    (235 "235 ok"))
                   ("AUTH CRAM-MD5"
                    "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"))
         (login "tim" "pw" ((334 "334 VXNlcm5hbWU6") (334 "334 UGFzc3dvcmQ6")
                            (235 "235 ok"))
                ("AUTH LOGIN" "dGlt" "cHc="))
         (xoauth2 "u@x.org" "tok" ((235 "235 ok"))
                  ("AUTH XOAUTH2 dXNlcj11QHgub3JnAWF1dGg9QmVhcmVyIHRvawEB"))))
    (ert-info ((symbol-name mechanism))
      (smtpmail-exchange-tests--with-server (copy-sequence replies)
        (should (eql 235 (car (smtpmail-try-auth-method
                               nil mechanism user password))))
        (should (equal (reverse smtpmail-exchange-tests--sent) lines))))))

(ert-deftest smtpmail-exchange-tests-methods-unknown ()
  "An unknown mechanism is the error that it was."
  (should (equal (cdr (should-error
                       (smtpmail-try-auth-method nil 'gssapi "u" "p")))
                 '("Mechanism gssapi not implemented"))))

(ert-deftest smtpmail-exchange-tests-methods-refused ()
  "Errors name command and reply, and no secret, even if the server repeats it."
  (let* ((canary smtpmail-auth-tests--canary)
         (encoded (base64-encode-string canary t)))
    (pcase-dolist
        (`(,mechanism ,replies ,expected)
         `((plain ((535 ,(format "535 no %s for %s" canary encoded)))
                  "535 no ... for ... in response to AUTH PLAIN")
           (login ((334 "334 VXNlcm5hbWU6") (334 "334 UGFzc3dvcmQ6")
                   (535 ,(concat "535 no " encoded)))
                  "535 no ... in response to AUTH LOGIN")
           ;; 250 is no 235 (RFC 4954 §6).
           (plain ((250 "250 ok")) "250 ok in response to AUTH PLAIN")
           (cram-md5 ((334 "334 !")) "The server sent a challenge that is not base64")
           (cram-md5 ((334)) "The server sent a challenge that is not base64")
           (cram-md5 ((334 "334 PDE+") (535 "535-5.7.8 no" "535 no"))
                     "535-5.7.8 no 535 no in response to AUTH CRAM-MD5")
           (xoauth2 ((334 "334 eyJzdGF0dXMiOiI0MDAifQ==") (535 "535 expired"))
                    "535 expired in response to AUTH XOAUTH2")
           (plain ((nil)) "No reply in response to AUTH PLAIN")
           (plain ((535 "535 \e[2Jno")) "535 \\x1b[2Jno in response to AUTH PLAIN")))
      (smtpmail-exchange-tests--with-server (copy-sequence replies)
        (let ((text (catch 'done
                      (smtpmail-try-auth-method nil mechanism "u" canary))))
          (should (equal text expected))
          (smtpmail-auth-tests--no-canary text))))))

(ert-deftest smtpmail-exchange-tests-command-or-throw ()
  "Lines of a user's method are named if they are commands, else hidden."
  (pcase-dolist (`(,line . ,name)
                 '(("NOOP" . "NOOP") ("MAIL FROM:<a@b>" . "MAIL FROM:<a@b>")
                   ("auth login c2VjcmV0" . "auth login")
                   ("c2VjcmV0" . "AUTH") ("" . "AUTH")))
    (smtpmail-exchange-tests--with-server (list '(500 "500 what?"))
      (should (equal (catch 'done (smtpmail-command-or-throw nil line))
                     (concat "500 what? in response to " name)))))
  (smtpmail-exchange-tests--with-server (list '(250 "250 a" "250 b"))
    (should (equal (smtpmail-command-or-throw nil "NOOP") '(250 "250 a" "250 b"))))
  ;; Base64 may look like a command.
  (smtpmail-exchange-tests--with-server (list '(334 "334 ") '(535 "535 no"))
    (should (equal (catch 'done
                     (smtpmail-command-or-throw nil "AUTH LOGIN")
                     (smtpmail-command-or-throw nil "NOOP"))
                   "535 no in response to AUTH LOGIN"))))

(ert-deftest smtpmail-exchange-tests-try-auth-methods ()
  "One password is tried once, unless the mechanism was to blame."
  (let ((entry (list (list "mx.example" 25 "u" smtpmail-auth-tests--canary)))
        (offered '((auth login plain cram-md5))))
    (smtpmail-auth-tests--with nil 'nobody
      (setq smtpmail-auth-credentials entry)
      (smtpmail-exchange-tests--with-server (list '(535 "535 no"))
        (let ((text (catch 'done (smtpmail-try-auth-methods
                                  nil offered "mx.example" 25))))
          (should (equal text "535 no in response to AUTH CRAM-MD5"))
          (should (= 1 (length smtpmail-exchange-tests--sent)))
          (smtpmail-auth-tests--no-canary text)))
      (smtpmail-exchange-tests--with-server (list '(504 "504 no") '(235 "235 ok"))
        (should (eq 'plain (smtpmail-try-auth-methods
                            nil offered "mx.example" 25))))
      (smtpmail-exchange-tests--with-server nil
        (should (string-match-p
                 "offers no way to authenticate for the entry"
                 (catch 'done (smtpmail-try-auth-methods
                               nil nil "mx.example" 25)))))
      (setq smtpmail-auth-credentials nil)
      (smtpmail-exchange-tests--with-server nil
        (should (eq 'cram-md5 (smtpmail-try-auth-methods
                               nil offered "mx.example" 25)))))))

(ert-deftest smtpmail-exchange-tests-stock-functions ()
  "The small functions of the stock library."
  (should (equal (with-no-warnings (smtpmail-intersection '(a b c) '(c a)))
                 '(c a)))
  (should (smtpmail-ok-p '(250 "250 ok")))
  (should-not (smtpmail-ok-p '(250 "250 ok") 235))
  (should-not (smtpmail-ok-p '(nil "x")))
  (should-not (smtpmail-ok-p '(400 "400 x")))
  (should (equal (smtpmail-response-text '(250 "250-a" "250 b")) "250-a\n250 b"))
  (should (equal (smtpmail-response-code "250-a\n251 b") 251))
  (should-not (smtpmail-response-code nil))
  (let ((entry '("mx.example" "587" "u" "p")))
    (should (eq entry (smtpmail-find-credentials (list entry) "mx.example" 587)))
    (should (equal (list (smtpmail-cred-server entry) (smtpmail-cred-port entry)
                         (smtpmail-cred-user entry) (smtpmail-cred-passwd entry)
                         (smtpmail-cred-key entry) (smtpmail-cred-cert entry))
                   '("mx.example" "587" "u" "p" "u" "p")))))

(provide 'smtpmail-exchange-tests)

;;; smtpmail-exchange-tests.el ends here
