;;; smtpmail-doctor-tests.el --- The doctor finds the cure  -*- lexical-binding: t -*-

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

;; A stranger with a mistake in the settings gets the one sentence that cures
;; it: each test makes one mistake.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-doctor)

(defvar smtpmail-doctor-findings--ports)

(defun smtpmail-doctor-tests--findings (&optional recipient account)
  "Return the findings about ACCOUNT, nil for the variables; try RECIPIENT."
  (let ((smtpmail-doctor-findings--ports nil))
    (nth 1 (smtpmail-doctor--examine account recipient))))

(defun smtpmail-doctor-tests--cured (findings what text &optional cure)
  "Check that WHAT is the first failure of FINDINGS; TEXT and CURE are regexps."
  (let ((failure (assq 'failure findings)))
    (ert-info ((format "%S" findings))
      (should (equal (nth 1 failure) what))
      (should (string-match-p text (nth 2 failure)))
      (should (string-match-p (or cure "") (or (nth 3 failure) ""))))))

(defun smtpmail-doctor-tests--sound (findings)
  "Check that FINDINGS have no failure."
  (ert-info ((format "%S" findings))
    (should-not (assq 'failure findings))))

(defmacro smtpmail-doctor-tests--with-lines (lines &rest body)
  "Run BODY while auth-source has LINES, a string."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-directory netrc-directory
     (let* ((netrc (expand-file-name "authinfo" netrc-directory))
            (auth-sources (list netrc))
            (auth-source-do-cache nil))
       (with-temp-file netrc (insert ,lines "\n"))
       ,@body)))

(defconst smtpmail-doctor-tests--alice
  (list "--user" "alice" "--password" smtpmail-test-canary "--require-auth")
  "Options of a server that wants a login.")

(defun smtpmail-doctor-tests--line (&optional host port user password)
  "Return a line for HOST, PORT, USER and PASSWORD, or the right ones."
  (format "machine %s port %s login %s password %s"
          (or host "localhost") (or port smtpmail-smtp-service)
          (or user "alice") (or password smtpmail-test-canary)))

;;;; All is well

(ert-deftest smtpmail-doctor-tests-all-is-well ()
  (smtpmail-test-with-server (server smtpmail-doctor-tests--alice "--max-size" "3000000")
    (smtpmail-doctor-tests--with-lines (smtpmail-doctor-tests--line)
      (let* ((findings (smtpmail-doctor-tests--findings "you@example.net"))
             (log (smtpmail-test-log server)))
        (smtpmail-doctor-tests--sound findings)
        (pcase-dolist (`(,what ,regexp)
                       '(("Address" "127\\.0\\.0\\.1:[0-9]+ answers")
                         ("Greeting" "220 ")
                         ("TLS" "TLS 1\\.3")
                         ("Certificate" "for localhost.*signed by.*until")
                         ("Password" "user alice.*authinfo")
                         ("Login" "accepted, by CRAM-MD5")
                         ("Size" "3\\.0 MB")
                         ("Sender" "MAIL FROM:<me@example.org>: 250")
                         ("Recipient" "RCPT TO:<you@example.net>: 250")
                         ("Clock" "here it is")))
          (let ((finding (seq-find (lambda (f) (equal (nth 1 f) what)) findings)))
            (ert-info (what)
              (should (eq 'ok (car finding)))
              (should (string-match-p regexp (nth 2 finding))))))
        (should (string-match-p "^C: RCPT" log))
        (should (string-match-p "^C: QUIT" log))
        (should-not (string-match-p "^C: \\(?:DATA\\|BDAT\\)" log))
        (should-not (smtpmail-test-messages server))))))

(ert-deftest smtpmail-doctor-tests-every-address-is-tried ()
  (smtpmail-test-with-server (server "--bind" "localhost-both")
    (let ((findings (smtpmail-doctor-tests--findings)))
      (should (= (length (seq-filter (lambda (f) (equal (nth 1 f) "Address")) findings))
                 (length (delete-dups
                          (mapcar (lambda (address) (substring address 0 -1))
                                  (network-lookup-address-info "localhost"))))))
      (smtpmail-doctor-tests--sound findings))))

;;;; Names and ports

(ert-deftest smtpmail-doctor-tests-nobody-listens ()
  (smtpmail-test-with-server (server)
    (let ((smtpmail-smtp-service (smtpmail-test-quiet-port)))
      (smtpmail-doctor-tests--cured
       (smtpmail-doctor-tests--findings) "Address" "connection refused"
       (format "Nothing listens at port %d of localhost.*`smtpmail-smtp-service'"
               smtpmail-smtp-service))
      (let ((smtpmail-doctor-findings--ports
             `((,(smtpmail-test-server-port server) . opportunistic))))
        (smtpmail-doctor-tests--cured
         (nth 1 (smtpmail-doctor--examine nil nil)) "Address" "refused"
         (format "answers at port %d: set `smtpmail-smtp-service' to %d, and .*`starttls'"
                 (smtpmail-test-server-port server)
                 (smtpmail-test-server-port server)))))))

(ert-deftest smtpmail-doctor-tests-tls-port-in-clear ()
  (smtpmail-test-with-server (server "--ssl")
    (let ((smtpmail-doctor-timeout 2))
      (smtpmail-doctor-tests--cured
       (smtpmail-doctor-tests--findings) "Greeting" ""
       (format "Port %d begins with TLS: set `smtpmail-stream-type' to `ssl'"
               smtpmail-smtp-service)))))

(ert-deftest smtpmail-doctor-tests-starttls-at-tls-port ()
  (smtpmail-test-with-server (server "--ssl")
    (let ((smtpmail-doctor-timeout 2)
          (smtpmail-stream-type 'starttls))
      (smtpmail-doctor-tests--cured
       (smtpmail-doctor-tests--findings) "Greeting" ""
       "begins with TLS: set `smtpmail-stream-type' to `ssl'"))))

(ert-deftest smtpmail-doctor-tests-tls-at-clear-port ()
  (smtpmail-test-with-server (server)
    (let ((smtpmail-stream-type 'ssl))
      (smtpmail-doctor-tests--cured
       (smtpmail-doctor-tests--findings) "TLS" ""
       "does not begin with TLS: set `smtpmail-stream-type' to `starttls'"))))

(ert-deftest smtpmail-doctor-tests-no-starttls-there ()
  (smtpmail-test-with-server (server "--caps" "SIZE" "--also-ssl")
    (let ((smtpmail-stream-type 'starttls)
          (smtpmail-doctor-findings--ports
           `((,(smtpmail-test-server-tls-port server) . implicit))))
      (smtpmail-doctor-tests--cured
       (nth 1 (smtpmail-doctor--examine nil nil)) "TLS" "does not offer STARTTLS"
       (format "answers at port %d:.* to `ssl'"
               (smtpmail-test-server-tls-port server))))))

(ert-deftest smtpmail-doctor-tests-unknown-host ()
  (smtpmail-test-with-server (server)
    (let ((smtpmail-smtp-server "mial.example.invalid")
          (smtpmail-doctor-timeout 5))
      (smtpmail-doctor-tests--cured
       (smtpmail-doctor-tests--findings) "Address" "mial\\.example\\.invalid"
       "name mial\\.example\\.invalid: correct `smtpmail-smtp-server'"))))

(ert-deftest smtpmail-doctor-tests-impossible-host ()
  (smtpmail-test-with-server (server)
    (let ((smtpmail-smtp-server "two words"))
      (should (assq 'failure (smtpmail-doctor-tests--findings))))))

;;;; Logins

(ert-deftest smtpmail-doctor-tests-wrong-password ()
  (smtpmail-test-with-server (server smtpmail-doctor-tests--alice)
    (smtpmail-doctor-tests--with-lines
        (smtpmail-doctor-tests--line nil nil nil "wr0ng-Secret")
      (let ((findings (smtpmail-doctor-tests--findings)))
        (smtpmail-doctor-tests--cured
         findings "Login" "535" "Correct user name or password in .*authinfo line for alice@localhost")
        (should-not (string-search "wr0ng-Secret" (format "%S" findings)))))))

(ert-deftest smtpmail-doctor-tests-wrong-user ()
  (smtpmail-test-with-server (server smtpmail-doctor-tests--alice)
    (smtpmail-doctor-tests--with-lines (smtpmail-doctor-tests--line nil nil "alcie")
      (smtpmail-doctor-tests--cured
       (smtpmail-doctor-tests--findings) "Login" "535"
       "alcie@localhost.*full address in the place of \"alcie\""))))

(ert-deftest smtpmail-doctor-tests-line-for-another-port ()
  (smtpmail-test-with-server (server smtpmail-doctor-tests--alice)
    (smtpmail-doctor-tests--with-lines (smtpmail-doctor-tests--line nil "smtp")
      (let ((findings (smtpmail-doctor-tests--findings)))
        (smtpmail-doctor-tests--cured
         findings "Password" "machine localhost port smtp login alice.*not for"
         (format "write \"port %d\"" smtpmail-smtp-service))
        (smtpmail-test-should-hide-canary (format "%S" findings))))))

(ert-deftest smtpmail-doctor-tests-line-for-another-host ()
  (smtpmail-test-with-server (server smtpmail-doctor-tests--alice)
    (smtpmail-doctor-tests--with-lines
        (concat (smtpmail-doctor-tests--line "irc.elsewhere.example" 6667) "\n"
                (smtpmail-doctor-tests--line "imap.localhost" "imap"))
      (let ((findings (smtpmail-doctor-tests--findings)))
        (smtpmail-doctor-tests--cured
         findings "Password" "is for imap\\.localhost, not for localhost"
         (format "add the line \"machine localhost port %d login alice password"
                 smtpmail-smtp-service))
        (should-not (string-search "elsewhere" (format "%S" findings)))
        (smtpmail-test-should-hide-canary (format "%S" findings))))))

(ert-deftest smtpmail-doctor-tests-line-of-another-user ()
  (smtpmail-test-with-server (server smtpmail-doctor-tests--alice)
    (smtpmail-doctor-tests--with-lines (smtpmail-doctor-tests--line)
      (let ((smtpmail-smtp-user "bob"))
        (smtpmail-doctor-tests--cured
         (smtpmail-doctor-tests--findings) "Password" "not for the user bob"
         "Correct `smtpmail-smtp-user'")))))

(ert-deftest smtpmail-doctor-tests-no-line ()
  (smtpmail-test-with-server (server smtpmail-doctor-tests--alice)
    (smtpmail-doctor-tests--with-lines ""
      (let ((smtpmail-servers-requiring-authorization "localhost"))
        (smtpmail-doctor-tests--cured
         (smtpmail-doctor-tests--findings) "Password" "none for localhost port"
         (format "authinfo: \"machine localhost port %d login" smtpmail-smtp-service))))))

(ert-deftest smtpmail-doctor-tests-login-only-after-tls ()
  (smtpmail-test-with-server (server "--user" "alice" "--password" smtpmail-test-canary
                                     "--caps" "STARTTLS,SIZE" "--caps-tls" "AUTH PLAIN")
    (let ((smtpmail-stream-type 'plain))
      (smtpmail-doctor-tests--with-lines (smtpmail-doctor-tests--line)
        (smtpmail-doctor-tests--cured
         (smtpmail-doctor-tests--findings) "Login" "no login without TLS"
         "Set `smtpmail-stream-type' to `starttls'")))))

(ert-deftest smtpmail-doctor-tests-no-mechanism-in-common ()
  (smtpmail-test-with-server (server "--user" "alice" "--password" smtpmail-test-canary
                                     "--caps-tls" "AUTH GSSAPI NTLM")
    (smtpmail-doctor-tests--with-lines (smtpmail-doctor-tests--line)
      (smtpmail-doctor-tests--cured
       (smtpmail-doctor-tests--findings) "Login" "among ours"
       "`smtpmail-auth-supported'"))))

(ert-deftest smtpmail-doctor-tests-no-password-in-clear ()
  (smtpmail-test-with-server (server "--user" "alice" "--password" smtpmail-test-canary
                                     "--caps" "AUTH PLAIN")
    (let ((smtpmail-smtp-server "0.0.0.0"))
      (smtpmail-doctor-tests--with-lines (smtpmail-doctor-tests--line "0.0.0.0")
        (smtpmail-doctor-tests--cured
         (smtpmail-doctor-tests--findings) "Login" "travel in clear"
         "`smtpmail-stream-type' to `ssl'")
        (should-not (string-match-p "^C: AUTH" (smtpmail-test-log server)))))))

(ert-deftest smtpmail-doctor-tests-other-lines-beside-a-refused-one ()
  "Beside the line that was refused stands why the others did not serve."
  (smtpmail-test-with-server (server smtpmail-doctor-tests--alice)
    (smtpmail-doctor-tests--with-lines
        (concat (smtpmail-doctor-tests--line nil nil nil "wr0ng-Secret") "\n"
                (smtpmail-doctor-tests--line nil nil "bob" "wr0ng-Secret") "\n"
                (smtpmail-doctor-tests--line nil "imap"))
      (let* ((findings (smtpmail-doctor-tests--findings))
             (others (seq-filter (lambda (f) (equal (list (nth 0 f) (nth 1 f))
                                                    '(warning "Password")))
                                 findings)))
        (smtpmail-doctor-tests--cured findings "Login" "535" "line for alice@localhost")
        (should (string-match-p "login bob\" stands behind" (nth 2 (nth 0 others))))
        (should (string-match-p "`smtpmail-smtp-user' to \"bob\"" (nth 3 (nth 0 others))))
        (should (string-match-p "is for port imap" (nth 2 (nth 1 others))))
        (should (= 2 (length others)))
        (smtpmail-test-should-hide-canary (format "%S" findings))
        (should-not (string-search "wr0ng-Secret" (format "%S" findings)))))))

(ert-deftest smtpmail-doctor-tests-line-for-another-name-without-port ()
  "A line for another name of the server that has no port gets one."
  (smtpmail-doctor-tests--with-lines
      (format "machine example.org login alice password %s" smtpmail-test-canary)
    (pcase-let ((`((,text ,remedy))
                 (smtpmail-doctor-lines-near "smtp.example.org" 587 nil)))
      (should (string-match-p "is for example\\.org and has no port" text))
      (should (string-match-p "add \"port 587\" to it: then it serves smtp\\.example\\.org"
                              remedy)))))

;;;; Certificates and clocks

(ert-deftest smtpmail-doctor-tests-certificates ()
  (pcase-dolist (`(,kind ,text ,cure)
                 '(("untrusted" "smtpmail unknown CA" "a file of `gnutls-trustfiles'")
                   ("selfsigned" "self-signed" "a file of `gnutls-trustfiles'")
                   ("expired" "has expired" "has to renew the certificate")
                   ("wronghost" "for wrong\\.example, not for localhost"
                    "Set `smtpmail-smtp-server' to .*: wrong\\.example")
                   ("future" "not yet valid"
                    "This machine's clock says [0-9]+-.*: set it right")))
    (ert-info (kind)
      (smtpmail-test-with-server (server "--cert" kind smtpmail-doctor-tests--alice)
        (smtpmail-doctor-tests--with-lines (smtpmail-doctor-tests--line)
          (smtpmail-doctor-tests--cured
           (smtpmail-doctor-tests--findings) "Certificate" text cure)
          (should-not (string-match-p "^C: AUTH" (smtpmail-test-log server))))))))

(ert-deftest smtpmail-doctor-tests-certificate-in-full ()
  "The report has the SHA-256 of a certificate that is not accepted, in full."
  (smtpmail-test-with-server (server "--cert" "selfsigned")
    (let ((text (smtpmail-doctor--text (smtpmail-doctor--reports nil nil)))
          (facts (with-current-buffer (process-buffer
                                       (smtpmail-test-server-process server))
                   (goto-char (point-min))
                   (json-parse-buffer :object-type 'alist))))
      (should (string-search (alist-get 'cert_sha256 facts)
                             (replace-regexp-in-string "[: \n]" "" text)))
      (should (= 2 (length (split-string text " answers\n")))))))

(defun smtpmail-doctor-tests--dated (seconds)
  "Return a rule for a greeting with the time SECONDS from now."
  (let ((system-time-locale "C"))
    (concat "greeting=reply 220 mail.example.org ESMTP Exim 4.96 "
            (format-time-string "%a, %d %b %Y %T +0000"
                                (time-add nil seconds) t))))

(ert-deftest smtpmail-doctor-tests-clock ()
  (pcase-dolist (`(,seconds ,level ,text)
                 '((0 ok "agrees with the server's")
                   (7205 warning "1[12][0-9] minutes behind the server")
                   (-7205 warning "1[12][0-9] minutes ahead of the server")))
    (smtpmail-test-with-server (server "--on" (smtpmail-doctor-tests--dated seconds))
      (let ((clock (seq-find (lambda (f) (equal (nth 1 f) "Clock"))
                             (smtpmail-doctor-tests--findings))))
        (should (eq level (car clock)))
        (should (string-match-p text (nth 2 clock)))
        (when (eq level 'warning)
          (should (string-match-p "clock says .*: set it right" (nth 3 clock))))))))

;;;; What mail meets

(ert-deftest smtpmail-doctor-tests-ehlo-name-refused ()
  (smtpmail-test-with-server (server "--on" "ehlo=reply 550 5.7.1 Bad name"
                                     "--on" "helo=reply 550 5.7.1 Bad name")
    (let ((smtpmail-ehlo-name "laptop"))
      (smtpmail-doctor-tests--cured
       (smtpmail-doctor-tests--findings) "Our name" "laptop is refused: 550 5.7.1 Bad name"
       "Set `smtpmail-ehlo-name'"))))

(ert-deftest smtpmail-doctor-tests-size-limit ()
  (smtpmail-test-with-server (server "--caps-tls" "SIZE 1000000")
    (let ((account `("work" :server "localhost" :service ,smtpmail-smtp-service
                     :size-limit 25000000)))
      (smtpmail-doctor-tests--cured
       (smtpmail-doctor-tests--findings nil account) "Size" "1\\.0 MB at most, the account says 25\\.0 MB"
       "Set :size-limit .*`smtpmail-accounts' to 1000000")
      (smtpmail-doctor-tests--sound
       (smtpmail-doctor-tests--findings
        nil (cons "work" (plist-put (cdr account) :size-limit 900000)))))
    (smtpmail-doctor-tests--sound (smtpmail-doctor-tests--findings))))

(ert-deftest smtpmail-doctor-tests-sender-refused ()
  (smtpmail-test-with-server (server "--on" "mail=reply 550 5.7.1 Not your address")
    (smtpmail-doctor-tests--cured
     (smtpmail-doctor-tests--findings "you@example.net") "Sender"
     "MAIL FROM:<me@example.org>: 550 5.7.1 Not your address"
     "correct `user-mail-address'")
    (should-not (string-match-p "^C: RCPT" (smtpmail-test-log server)))))

(ert-deftest smtpmail-doctor-tests-relay-refused ()
  (smtpmail-test-with-server (server "--caps-tls" "SIZE"
                                     "--on" "rcpt=reply 554 5.7.1 Relay access denied")
    (smtpmail-doctor-tests--cured
     (smtpmail-doctor-tests--findings "you@example.net") "Recipient"
     "RCPT TO:<you@example.net>: 554 5.7.1 Relay access denied"
     "does not relay for who has not logged in.*`smtpmail-smtp-service'")))

(ert-deftest smtpmail-doctor-tests-advice-has-no-effect ()
  (smtpmail-test-with-server (server)
    (let ((seen (lambda () (assoc "Advice" (mapcar #'cdr (smtpmail-doctor-tests--findings))))))
      (should-not (funcall seen))
      (advice-add 'open-network-stream :around #'apply '((name . tests)))
      (unwind-protect
          (should (string-search "has no effect" (nth 2 (funcall seen))))
        (advice-remove 'open-network-stream 'tests)))))

;;;; The report

(ert-deftest smtpmail-doctor-tests-a-wrong-account-is-told ()
  (smtpmail-test-with-server (server)
    (smtpmail-doctor-tests--cured
     (smtpmail-doctor-tests--findings nil '("bad" :server "localhost" :security ssh))
     "Settings" "ssh")))

(ert-deftest smtpmail-doctor-tests-what-the-server-says-of-the-password ()
  "A server that says the password back does not get it into the report."
  (smtpmail-test-with-server
      (server "--on" (format "auth=reply 535 wrong: %s" smtpmail-test-canary)
              "--caps-tls" "AUTH PLAIN")
    (smtpmail-doctor-tests--with-lines (smtpmail-doctor-tests--line)
      (let ((text (smtpmail-doctor--text (smtpmail-doctor--reports nil nil))))
        (should (string-search "535 wrong: <omitted>" text))
        (smtpmail-test-should-hide-canary text)))))

(ert-deftest smtpmail-doctor-tests-buffer ()
  "The buffer has faces and buttons, and g looks again."
  (smtpmail-test-with-server (server)
    (save-window-excursion
      (let ((smtpmail-ehlo-name "two words")
            (smtpmail-doctor-findings--ports nil))
        (smtpmail-doctor nil nil)
        (should (derived-mode-p 'smtpmail-doctor-mode))
        (should (string-search "FAILURE" (buffer-string)))
        (setq smtpmail-ehlo-name nil
              smtpmail-stream-type 'ssl)
        (unwind-protect
            (progn
              (revert-buffer)
              (goto-char (point-min))
              (search-forward "FAILURE")
              (should (eq 'smtpmail-doctor-failure
                          (get-text-property (match-beginning 0) 'face)))
              (forward-button 1)
              (should (equal (button-label (button-at (point)))
                             "smtpmail-stream-type"))
              (setq smtpmail-stream-type nil)
              (revert-buffer)
              (should-not (string-search "FAILURE" (buffer-string))))
          (setq smtpmail-stream-type nil))
        (kill-buffer)))))

(ert-deftest smtpmail-doctor-tests-batch ()
  "In batch the same text is printed; a failure is exit status 1."
  (smtpmail-test-with-server (server)
    (let ((settings (append (smtpmail-test-settings server)
                            '((require 'smtpmail)))))
      (pcase-dolist (`(,forms ,exit ,text)
                     `((nil 0 "Nothing stops mail here: 0 failures")
                       (((setq smtpmail-stream-type 'ssl)) 1
                        "Mail does not go like this: 1 failure")
                       (((setq smtpmail-accounts
                               '(("@a.example" :name "a" :server "localhost"
                                  :service ,smtpmail-smtp-service)
                                 ("@b.example" :name "b" :server "localhost"
                                  :service ,smtpmail-smtp-service :security ssl))))
                        1 "Account a: localhost\\(?:.\\|\n\\)*Account b: localhost")))
        (let ((result (smtpmail-test-run
                       (append settings forms '((smtpmail-doctor-batch))))))
          (ert-info ((format "%S" result))
            (should (eql exit (plist-get result :exit)))
            (should (string-match-p text (plist-get result :stdout)))))))))

(provide 'smtpmail-doctor-tests)

;;; smtpmail-doctor-tests.el ends here
