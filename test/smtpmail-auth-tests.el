;;; smtpmail-auth-tests.el --- Tests of smtpmail-auth  -*- lexical-binding: t -*-

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

;; emacs -Q --batch -L lisp -l test/smtpmail-auth-tests.el \
;;   -f ert-run-tests-batch-and-exit
;;
;; Questions are answered by a person's hands in smtpmail-auth-tests-typed
;; (a real terminal, by tmux); elsewhere `read-passwd' and `read-string'
;; are the only things replaced.

;;; Code:

(require 'ert)
(require 'cl-lib)
(require 'smtpmail-auth)

;; The face of the package defines these.
(defvar smtpmail-auth-credentials nil)
(defvar smtpmail-starttls-credentials nil)
(defvar smtpmail-smtp-user nil)
(defvar smtpmail-auth-supported '(cram-md5 plain login))
(defvar smtpmail-servers-requiring-authorization nil)
(defvar smtpmail-token-command nil)

(defconst smtpmail-auth-tests--lisp
  (file-name-directory (locate-library "smtpmail-auth"))
  "Where the library under test is.")

(defconst smtpmail-auth-tests--canary "Kanarie-4711"
  "A password that may show up nowhere.")

(defvar smtpmail-auth-tests--prompts nil
  "The questions asked, the last one first.")

(defvar smtpmail-auth-tests--messages 1
  "Where in *Messages* the running test began.")

(defmacro smtpmail-auth-tests--with (authinfo answers &rest body)
  "Run BODY with the text AUTHINFO as auth-source and ANSWERS to questions.
If ANSWERS is `nobody', there is nobody to ask.  In BODY, `file' is the
name of the file with AUTHINFO."
  (declare (indent 2))
  `(let* ((directory (make-temp-file "smtpmail-auth" t))
          (file (expand-file-name "authinfo" directory))
          (auth-sources (list file))
          (auth-source-do-cache t)
          (auth-source-save-behavior 'ask)
          (answers ,answers)
          (smtpmail-auth-tests--prompts nil)
          (smtpmail-auth-tests--messages
           (with-current-buffer (messages-buffer) (point-max)))
          (smtpmail-auth-credentials nil)
          (smtpmail-starttls-credentials nil)
          (smtpmail-smtp-user nil)
          (smtpmail-auth-supported '(cram-md5 plain login))
          (smtpmail-servers-requiring-authorization nil))
     (ignore file)
     (with-temp-file file (insert (or ,authinfo "")))
     (auth-source-forget-all-cached)
     (smtpmail-auth-forget)
     (unwind-protect
         (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p)
                    (lambda () (not (eq answers 'nobody))))
                   ((symbol-function 'read-passwd)
                    (lambda (prompt &rest _)
                      (push prompt smtpmail-auth-tests--prompts)
                      (copy-sequence (or (pop answers) (error "Asked: %s" prompt)))))
                   ((symbol-function 'read-string)
                    (lambda (prompt &rest _)
                      (push prompt smtpmail-auth-tests--prompts)
                      (or (pop answers) (error "Asked: %s" prompt)))))
           ,@body)
       (smtpmail-auth-forget)
       (auth-source-forget-all-cached)
       (delete-directory directory t))))

(defun smtpmail-auth-tests--pair (login)
  "Return (USER PASSWORD) of LOGIN, or nil for no login."
  (and login
       (list (smtpmail-auth-login-user login)
             (smtpmail-auth-secret-bytes login))))

(defun smtpmail-auth-tests--no-canary (&rest places)
  "Check that the canary, plain or in base64, is in none of PLACES.
It must not be in *Messages* or in a variable that mailers print, either."
  (let ((case-fold-search nil)
        (print-level nil) (print-length nil) (print-circle t)
        (forms (list smtpmail-auth-tests--canary
                     (base64-encode-string smtpmail-auth-tests--canary t))))
    (with-current-buffer (messages-buffer)
      (push (buffer-substring (min smtpmail-auth-tests--messages (point-max))
                              (point-max))
            places))
    (mapatoms
     (lambda (symbol)
       (when (and (boundp symbol)
                  (string-match-p
                   "\\`\\(smtpmail\\|async-smtpmail\\|\\(user-\\)?mail\\)-"
                   (symbol-name symbol))
                  (not (string-prefix-p "smtpmail-auth-tests--"
                                        (symbol-name symbol)))
                  ;; What the user wrote there is the user's.
                  (not (eq symbol 'smtpmail-auth-credentials)))
         (push (cons symbol (symbol-value symbol)) places))))
    (dolist (place places)
      (let ((text (if (stringp place) place (prin1-to-string place))))
        (dolist (form forms)
          (should-not (string-search form text)))))))

;;;; `smtpmail-auth-credentials'

(ert-deftest smtpmail-auth-tests-credentials-forms ()
  "Every way to write a port is the same port, in the entry and in the option."
  (pcase-dolist
      (`(,host ,port ,entry ,expected)
       '(("mx.example" 587 ("mx.example" 587 "u" "p") t)
         ("mx.example" 587 ("mx.example" "587" "u" "p") t)
         ("mx.example" "587" ("mx.example" 587 "u" "p") t)
         ("mx.example" "submission" ("mx.example" 587 "u" "p") t)
         ("mx.example" 25 ("mx.example" "smtp" "u" "p") t)
         ("mx.example" nil ("mx.example" 25 "u" "p") t)
         ("mx.example" 465 ("mx.example" "smtps" "u" "p") t)
         ("mx.example" "SUBMISSIONS" ("mx.example" "465" "u" "p") t)
         ("MX.example" 25 ("mx.EXAMPLE" 25 "u" "p") t)
         ("mx.example" 25 ("mx.example" 587 "u" "p") nil)
         ("mx.example" 25 ("other.example" 25 "u" "p") nil)
         ("mx.example" 25 ("" 25 "" nil) nil)
         ("" 25 ("" 25 "u" "p") nil)
         ("mx.example" 25 "nonsense" nil)))
    (smtpmail-auth-tests--with nil 'nobody
      (setq smtpmail-auth-credentials (list entry))
      (ert-info ((format "%S" (list host port entry)))
        (let ((login (smtpmail-auth-lookup host port nil)))
          (should (equal (smtpmail-auth-tests--pair login)
                         (and expected '("u" "p"))))
          (when login
            (should (smtpmail-auth-login-final login))
            (should-not (smtpmail-auth-login-asked login))
            (should (string-match-p
                     "\\`entry for .* in smtpmail-auth-credentials\\'"
                     (smtpmail-auth-login-source login)))))))))

(ert-deftest smtpmail-auth-tests-credentials-before-auth-source ()
  "A matching entry goes before auth-source; another one is no obstacle."
  (smtpmail-auth-tests--with
      "machine mx.example port 25 login stored password from-file\n" 'nobody
    (setq smtpmail-auth-credentials '(("mx.example" 25 "u" "p")))
    (should (equal (smtpmail-auth-tests--pair
                    (smtpmail-auth-lookup "mx.example" 25 nil))
                   '("u" "p")))
    (setq smtpmail-auth-credentials '(("other.example" 25 "u" "p")))
    (should (equal (smtpmail-auth-tests--pair
                    (smtpmail-auth-lookup "mx.example" 25 nil))
                   '("stored" "from-file")))))

(ert-deftest smtpmail-auth-tests-credentials-asked-once ()
  "What an entry leaves out is asked once, as in 2007, and not stored in it."
  (smtpmail-auth-tests--with nil (list "alice" smtpmail-auth-tests--canary)
    (setq smtpmail-auth-credentials '(("mx.example" 587 nil nil)))
    (let ((login (smtpmail-auth-lookup "mx.example" 587 nil)))
      (should (equal (smtpmail-auth-tests--pair login)
                     (list "alice" smtpmail-auth-tests--canary)))
      (should (smtpmail-auth-login-asked login))
      (should (equal (reverse smtpmail-auth-tests--prompts)
                     '("SMTP user name for mx.example: "
                       "SMTP password for mx.example:587: ")))
      (should (equal smtpmail-auth-credentials '(("mx.example" 587 nil nil))))
      ;; Another way to write the port is no reason to ask again.
      (let ((again (smtpmail-auth-lookup "mx.example" "submission" nil)))
        (should (equal (smtpmail-auth-tests--pair again)
                       (smtpmail-auth-tests--pair login)))
        (should-not (smtpmail-auth-login-asked again)))
      (smtpmail-auth-tests--no-canary
       login (symbol-plist 'smtpmail-auth-forget) smtpmail-auth-credentials)
      ;; After a refusal, it is asked again.
      (smtpmail-auth-refused login "mx.example" 587)
      (setq answers (list "bob" "other"))
      (should (equal (smtpmail-auth-tests--pair
                      (smtpmail-auth-lookup "mx.example" 587 nil))
                     '("bob" "other"))))))

(ert-deftest smtpmail-auth-tests-credentials-nobody-to-ask ()
  "An incomplete entry is an error if nobody is there, not unauthenticated mail."
  (smtpmail-auth-tests--with nil 'nobody
    (setq smtpmail-auth-credentials '(("mx.example" 587 "alice" nil)))
    (should (string-match-p
             "mx.example port 587 .* has no password"
             (cadr (should-error (smtpmail-auth-lookup "mx.example" 587 t)))))))

(ert-deftest smtpmail-auth-tests-credentials-user ()
  "`smtpmail-smtp-user' chooses among the entries of a server."
  (smtpmail-auth-tests--with nil 'nobody
    (setq smtpmail-auth-credentials '(("mx.example" 25 "alice" "a")
                                      ("mx.example" 25 "bob" "b")))
    (should (equal (smtpmail-auth-tests--pair
                    (smtpmail-auth-lookup "mx.example" 25 nil)) '("alice" "a")))
    (setq smtpmail-smtp-user "bob")
    (should (equal (smtpmail-auth-tests--pair
                    (smtpmail-auth-lookup "mx.example" 25 nil)) '("bob" "b")))
    (setq smtpmail-smtp-user "carol")
    (should-not (smtpmail-auth-lookup "mx.example" 25 nil))))

(ert-deftest smtpmail-auth-tests-credentials-netrc-file ()
  "The variable may name a netrc file, searched with any spelling of the port."
  (smtpmail-auth-tests--with nil 'nobody
    (let ((netrc (expand-file-name "netrc" directory)))
      (with-temp-file netrc
        (insert "machine other.example login x password y\n"
                "machine mx.example port smtp login relay password r\n"
                "machine mx.example port 587 login alice password \"s p\"\n"))
      (setq smtpmail-auth-credentials netrc)
      (dolist (port '(587 "587" "submission"))
        (should (equal (smtpmail-auth-tests--pair
                        (smtpmail-auth-lookup "mx.example" port nil))
                       '("alice" "s p"))))
      (let ((login (smtpmail-auth-lookup "mx.example" 25 nil)))
        (should (equal (smtpmail-auth-tests--pair login) '("relay" "r")))
        (should (smtpmail-auth-login-final login))
        (should (string-search netrc (smtpmail-auth-login-source login))))
      (should-not (smtpmail-auth-lookup "mx.example" 465 nil))
      (setq smtpmail-auth-credentials (concat netrc "-missing"))
      (should-not (smtpmail-auth-lookup "mx.example" 587 nil)))))

;;;; auth-source

(ert-deftest smtpmail-auth-tests-auth-source ()
  "A line of the file, its mechanism, and where it was found."
  (smtpmail-auth-tests--with
      (concat "machine mx.example port 587 login alice password päss"
              " smtp-auth LOGIN\n"
              "machine mx.example port smtp login old password o\n")
      'nobody
    (let ((login (smtpmail-auth-lookup "mx.example" 587 nil)))
      (should (equal (smtpmail-auth-tests--pair login)
                     (list "alice" (encode-coding-string "päss" 'utf-8))))
      (should-not (multibyte-string-p (smtpmail-auth-secret-bytes login)))
      (should (equal (smtpmail-auth-login-mechanisms login) '(login)))
      (should-not (smtpmail-auth-login-final login))
      (should-not (smtpmail-auth-login-save-function login))
      (should (equal (smtpmail-auth-login-source login)
                     (format "auth-source (%s line for alice@mx.example)"
                             (abbreviate-file-name file)))))
    (dolist (port '(nil 25 "25" "smtp"))
      (should (equal (smtpmail-auth-tests--pair
                      (smtpmail-auth-lookup "mx.example" port nil))
                     '("old" "o"))))
    (setq smtpmail-smtp-user "bob")
    (should-not (smtpmail-auth-lookup "mx.example" 587 nil))))

(ert-deftest smtpmail-auth-tests-auth-source-keys ()
  "auth-source gets the keys that it got from the stock library."
  (smtpmail-auth-tests--with nil (list "alice" "pw")
    (let (specs)
      (cl-letf* ((search (symbol-function 'auth-source-search))
                 ((symbol-function 'auth-source-search)
                  (lambda (&rest spec)
                    (push (copy-sequence spec) specs)
                    (apply search spec))))
        (setq smtpmail-smtp-user "alice")
        (smtpmail-auth-lookup "mx.example" 2525 nil)
        ;; What follows are other names.
        (should (equal (car (last specs))
                       '(:host "mx.example" :port "2525" :user "alice" :max 1
                         :require nil :create nil)))
        (setq specs nil)
        (setq answers (list "pw"))
        (smtpmail-auth-lookup "mx.example" 2525 t)
        (should (member '(:host "mx.example" :port "2525" :user "alice" :max 1
                          :require (:user :secret) :create t)
                        specs))))))

(ert-deftest smtpmail-auth-tests-auth-source-late-line ()
  "That nothing was found is not remembered."
  (smtpmail-auth-tests--with nil 'nobody
    (should-not (smtpmail-auth-lookup "mx.example" 587 nil))
    (with-temp-file file
      (insert "machine mx.example port 587 login alice password pw\n"))
    (should (smtpmail-auth-lookup "mx.example" 587 nil))))

(ert-deftest smtpmail-auth-tests-auth-source-secret-function ()
  "A secret may be a function; the line end after a token is not part of it."
  (smtpmail-auth-tests--with nil 'nobody
    (let ((calls 0))
      (cl-letf (((symbol-function 'auth-source-search)
                 (lambda (&rest _)
                   (list (list :user "alice" :smtp-auth '("xoauth2" plain)
                               :secret (lambda () (cl-incf calls) "token\n"))))))
        (let ((login (smtpmail-auth-lookup "mx.example" 587 nil)))
          (should (equal (smtpmail-auth-secret-bytes login) "token"))
          (should (equal (smtpmail-auth-secret-bytes login) "token"))
          (should (= calls 1))
          (should (equal (smtpmail-auth-login-mechanisms login)
                         '(xoauth2 plain))))))))

(ert-deftest smtpmail-auth-tests-secret-bytes-are-a-copy ()
  "Overwriting the bytes leaves the login usable."
  (dolist (secret (list (copy-sequence "ascii") (string-to-multibyte "ascii")
                        (copy-sequence "pä") (unibyte-string ?p #xc3 #xa4)))
    (let ((login (smtpmail-auth--make-login
                  :user "u" :secret (smtpmail-auth--veil secret))))
      (let ((first (smtpmail-auth-secret-bytes login)))
        (should-not (multibyte-string-p first))
        (clear-string first))
      (should (member (smtpmail-auth-secret-bytes login)
                      (list "ascii" (unibyte-string ?p #xc3 #xa4)))))))

(ert-deftest smtpmail-auth-tests-auth-source-ask ()
  "Asked only with ASK or for matching servers; stored only after acceptance."
  (smtpmail-auth-tests--with nil (list "alice" smtpmail-auth-tests--canary)
    (setq auth-source-save-behavior t)
    (should-not (smtpmail-auth-lookup "mx.example" 587 nil))
    (should-not smtpmail-auth-tests--prompts)
    (let ((login (smtpmail-auth-lookup "mx.example" 587 t)))
      (should (equal (smtpmail-auth-tests--pair login)
                     (list "alice" smtpmail-auth-tests--canary)))
      (should (smtpmail-auth-login-asked login))
      (should (equal (smtpmail-auth-login-source login) "typed"))
      (should (string-match-p "\\`SMTP password for alice@mx.example"
                              (car smtpmail-auth-tests--prompts)))
      (should (string-match-p "\\`SMTP user name for mx.example"
                              (cadr smtpmail-auth-tests--prompts)))
      (smtpmail-auth-tests--no-canary login)
      ;; The answer is kept if the connection must be made again.
      (should (eq login (smtpmail-auth-lookup "mx.example" "587" t login)))
      (should (equal (with-temp-buffer (insert-file-contents file)
                                       (buffer-string))
                     ""))
      (smtpmail-auth-accepted login)
      (smtpmail-auth-accepted login)
      (should (equal (with-temp-buffer (insert-file-contents file)
                                       (buffer-string))
                     (format "machine mx.example login alice port 587 password %s\n"
                             smtpmail-auth-tests--canary)))
      (smtpmail-auth-tests--no-canary login))
    (setq answers (list "bob" "pw")
          smtpmail-servers-requiring-authorization "\\.internal\\'")
    (should (equal (smtpmail-auth-tests--pair
                    (smtpmail-auth-lookup "mx.internal" 587 nil))
                   '("bob" "pw")))))

(ert-deftest smtpmail-auth-tests-auth-source-user-only ()
  "A stored user name without password is completed, if somebody is there."
  (let ((line "machine mx.example port 587 login alice\n"))
    (smtpmail-auth-tests--with line (list "pw")
      (let ((login (smtpmail-auth-lookup "mx.example" 587 nil)))
        (should (equal (smtpmail-auth-tests--pair login) '("alice" "pw")))
        (should (smtpmail-auth-login-asked login))
        (should (= 1 (length smtpmail-auth-tests--prompts)))))
    (smtpmail-auth-tests--with line 'nobody
      (should-not (smtpmail-auth-lookup "mx.example" 587 t)))))

(ert-deftest smtpmail-auth-tests-refused ()
  "A refused password is forgotten by auth-source, too."
  (smtpmail-auth-tests--with nil (list "alice" smtpmail-auth-tests--canary)
    (let ((login (smtpmail-auth-lookup "mx.example" 587 t)))
      ;; In the cache, though not stored:
      (should (equal (smtpmail-auth-tests--pair
                      (smtpmail-auth-lookup "mx.example" 587 t))
                     (smtpmail-auth-tests--pair login)))
      (smtpmail-auth-refused login "mx.example" 587)
      (setq answers (list "alice" "right"))
      (should (equal (smtpmail-auth-tests--pair
                      (smtpmail-auth-lookup "mx.example" 587 t))
                     '("alice" "right")))
      (smtpmail-auth-tests--no-canary login password-data))))

(ert-deftest smtpmail-auth-tests-ask-again ()
  "The second question shows the refusal, and its answer goes before the file."
  (smtpmail-auth-tests--with
      "machine mx.example port 587 login alice password stale\n"
      (list smtpmail-auth-tests--canary)
    (let* ((login (smtpmail-auth-lookup "mx.example" 587 nil))
           (_ (smtpmail-auth-refused login "mx.example" 587))
           (again (smtpmail-auth-ask-again
                   login "mx.example" 587
                   (concat "535 5.7.8 no\r\n\e[2J\u202e"
                           (make-string 1000 ?x)))))
      (let ((prompt (car smtpmail-auth-tests--prompts)))
        (should (string-prefix-p
                 "alice@mx.example: 535 5.7.8 no \\x1b[2J\\x202exx" prompt))
        (should (string-suffix-p "x...; password again: " prompt))
        (should (< (length prompt) 400)))
      (should (equal (smtpmail-auth-tests--pair again)
                     (list "alice" smtpmail-auth-tests--canary)))
      (should (equal (smtpmail-auth-tests--pair login) '("alice" "stale")))
      (should (equal (smtpmail-auth-tests--pair
                      (smtpmail-auth-lookup "mx.example" 587 nil))
                     (smtpmail-auth-tests--pair again)))
      (smtpmail-auth-refused again "mx.example" 587)
      (should (equal (smtpmail-auth-tests--pair
                      (smtpmail-auth-lookup "mx.example" 587 nil))
                     '("alice" "stale")))
      (smtpmail-auth-tests--no-canary
       again (symbol-plist 'smtpmail-auth-forget))
      (setq answers (list ""))
      (should-not (smtpmail-auth-ask-again login "mx.example" 587 "535 no"))
      (setq answers 'nobody)
      (should-not (smtpmail-auth-ask-again login "mx.example" 587 "535 no")))))

;;;; Mechanisms

(ert-deftest smtpmail-auth-tests-mechanisms ()
  "The order is the user's, the case nobody's, also in Turkish."
  (smtpmail-auth-tests--with nil 'nobody
    (should (equal (smtpmail-auth-mechanisms nil '("LOGIN" "PLAIN" "GSSAPI"))
                   '(plain login)))
    (should (equal (smtpmail-auth-mechanisms nil '(login cram-md5))
                   '(cram-md5 login)))
    (setq smtpmail-auth-supported '(xoauth2 LOGIN login))
    (should (equal (smtpmail-auth-mechanisms nil '(login)) '(login)))
    (let ((login (smtpmail-auth--make-login
                  :user "u" :mechanisms '(plain login))))
      (should (equal (smtpmail-auth-mechanisms login '("LOGIN" "PLAIN"))
                     '(plain login)))
      (should-not (smtpmail-auth-mechanisms login '("XOAUTH2"))))
    (let ((turkish (copy-case-table (standard-case-table))))
      (set-case-syntax-pair ?I ?ı turkish)
      (set-case-syntax-pair ?İ ?i turkish)
      (with-case-table turkish
        ;; The table does what it is there for.
        (should (eql (downcase ?I) ?ı))
        (should (equal (smtpmail-auth-mechanisms nil '("LOGIN")) '(login)))))
    (let ((name "SMTPMAIL-AUTH-TESTS-NEVER-INTERNED"))
      (smtpmail-auth-mechanisms nil (list name))
      (should-not (intern-soft (downcase name))))))

(defvar smtpmail-auth-tests--sent nil "Lines sent to the server, the last first.")

(defmacro smtpmail-auth-tests--with-server (replies &rest body)
  "Run BODY with a server that answers with REPLIES, lists (CODE LINE...)."
  (declare (indent 1))
  `(let ((replies ,replies)
         (smtpmail-auth-tests--sent nil)
         (smtpmail-auth-tests--messages
          (with-current-buffer (messages-buffer) (point-max)))
         (smtpmail-methods--exchange nil))
     (cl-letf (((symbol-function 'smtpmail-send-command)
                (lambda (_process command)
                  (push command smtpmail-auth-tests--sent)))
               ((symbol-function 'smtpmail-read-response)
                (lambda (_process)
                  (or (pop replies) (error "No reply is left")))))
       ,@body)))

(ert-deftest smtpmail-auth-tests-methods-on-the-wire ()
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
      (smtpmail-auth-tests--with-server (copy-sequence replies)
        (should (eql 235 (car (smtpmail-try-auth-method
                               nil mechanism user password))))
        (should (equal (reverse smtpmail-auth-tests--sent) lines))))))

(ert-deftest smtpmail-auth-tests-methods-unknown ()
  "An unknown mechanism is the error that it was."
  (should (equal (cdr (should-error
                       (smtpmail-try-auth-method nil 'gssapi "u" "p")))
                 '("Mechanism gssapi not implemented"))))

(ert-deftest smtpmail-auth-tests-methods-refused ()
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
      (smtpmail-auth-tests--with-server (copy-sequence replies)
        (let ((text (catch 'done
                      (smtpmail-try-auth-method nil mechanism "u" canary))))
          (should (equal text expected))
          (smtpmail-auth-tests--no-canary text))))))

(ert-deftest smtpmail-auth-tests-command-or-throw ()
  "Lines of a user's method are named if they are commands, else hidden."
  (pcase-dolist (`(,line . ,name)
                 '(("NOOP" . "NOOP") ("MAIL FROM:<a@b>" . "MAIL FROM:<a@b>")
                   ("auth login c2VjcmV0" . "auth login")
                   ("c2VjcmV0" . "AUTH") ("" . "AUTH")))
    (smtpmail-auth-tests--with-server (list '(500 "500 what?"))
      (should (equal (catch 'done (smtpmail-command-or-throw nil line))
                     (concat "500 what? in response to " name)))))
  (smtpmail-auth-tests--with-server (list '(250 "250 a" "250 b"))
    (should (equal (smtpmail-command-or-throw nil "NOOP") '(250 "250 a" "250 b"))))
  ;; Base64 may look like a command.
  (smtpmail-auth-tests--with-server (list '(334 "334 ") '(535 "535 no"))
    (should (equal (catch 'done
                     (smtpmail-command-or-throw nil "AUTH LOGIN")
                     (smtpmail-command-or-throw nil "NOOP"))
                   "535 no in response to AUTH LOGIN"))))

(ert-deftest smtpmail-auth-tests-try-auth-methods ()
  "One password is tried once, unless the mechanism was to blame."
  (let ((entry (list (list "mx.example" 25 "u" smtpmail-auth-tests--canary)))
        (offered '((auth login plain cram-md5))))
    (smtpmail-auth-tests--with nil 'nobody
      (setq smtpmail-auth-credentials entry)
      (smtpmail-auth-tests--with-server (list '(535 "535 no"))
        (let ((text (catch 'done (smtpmail-try-auth-methods
                                  nil offered "mx.example" 25))))
          (should (equal text "535 no in response to AUTH CRAM-MD5"))
          (should (= 1 (length smtpmail-auth-tests--sent)))
          (smtpmail-auth-tests--no-canary text)))
      (smtpmail-auth-tests--with-server (list '(504 "504 no") '(235 "235 ok"))
        (should (eq 'plain (smtpmail-try-auth-methods
                            nil offered "mx.example" 25))))
      (smtpmail-auth-tests--with-server nil
        (should (string-match-p
                 "offers no way to authenticate for the entry"
                 (catch 'done (smtpmail-try-auth-methods
                               nil nil "mx.example" 25)))))
      (setq smtpmail-auth-credentials nil)
      (smtpmail-auth-tests--with-server nil
        (should (eq 'cram-md5 (smtpmail-try-auth-methods
                               nil offered "mx.example" 25)))))))

(ert-deftest smtpmail-auth-tests-stock-functions ()
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

;;;; Client certificates

(ert-deftest smtpmail-auth-tests-client-certificate ()
  "Entries in each form, and the keys of auth-source."
  (smtpmail-auth-tests--with nil 'nobody
    (let* ((key (expand-file-name "key.pem" directory))
           (cert (expand-file-name "cert.pem" directory))
           (pair (cons key cert))
           (warning-minimum-log-level :emergency)
           (warning-minimum-level :emergency))
      (with-temp-file key) (with-temp-file cert)
      (pcase-dolist
          (`(,credentials ,required ,expected)
           `((nil nil nil)
             ((("" 25 "" "")) nil nil)
             ((("mx.example" 587 nil nil)) t nil)
             ((("mx.example" "587" ,key ,cert)) t ,pair)
             ((("mx.example" "submission" ,(file-relative-name key) ,(file-relative-name cert))) t ,pair)
             (("mx.example" 587 ,key ,cert) t ,pair)
             ((("other.example" 587 ,key ,cert)) nil nil)
             ((("mx.example" 25 ,key ,cert)) nil nil)
             ((("mx.example" 587 ,(concat key "-missing") ,cert)) t nil)))
        (setq smtpmail-starttls-credentials credentials)
        (ert-info ((format "%S" credentials))
          (should (eq required
                      (smtpmail-auth-starttls-required-p "mx.example" 587)))
          (should (equal expected
                         (smtpmail-auth-client-certificate "mx.example" 587)))))
      (setq smtpmail-starttls-credentials nil)
      (with-temp-file file
        (insert (format "machine mx.example port 587 key %s cert %s\n" key cert)))
      (should (equal pair (smtpmail-auth-client-certificate "mx.example" 587)))
      (should-not (smtpmail-auth-starttls-required-p "mx.example" 587)))))

(provide 'smtpmail-auth-tests)

;;; smtpmail-auth-tests.el ends here
