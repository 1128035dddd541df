;;; smtpmail-import-tests.el --- Accounts of msmtp as accounts of ours  -*- lexical-binding: t -*-

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

;; A configuration of msmtp as people write it, and what becomes of it.

;;; Code:

(require 'smtpmail-test)
(require 'cus-edit)
(require 'smtpmail-import)

(defconst smtpmail-import-tests--rc "\
# Set default values for all following accounts.
defaults
auth on
tls on
tls_trust_file /etc/ssl/certs/ca-certificates.crt
logfile ~/.msmtp.log

account work
host mail.work.example
port 587
from jdoe@work.example
user \"jdoe\"
password c4nary-Passw0rd
domain work.example

account lists : work
from *@lists.work.example
auth scram-sha-256
tls_key_file ~/key.pem
tls_cert_file ~/cert.pem

account home
   host   smtp.home.example
\ttls_starttls off
from me@home.example
passwordeval touch /tmp/smtpmail-import-ran
user me@home.example

account relay
host localhost
tls off
auth off

account default : home
"
  "A configuration of msmtp.")

(defmacro smtpmail-import-tests--with (text &rest body)
  "Run BODY with FILE bound to the name of a file with TEXT."
  (declare (indent 1))
  `(let* ((file (make-temp-file "msmtprc" nil nil ,text))
          (smtpmail-accounts nil)
          (custom-file (make-temp-file "custom" nil ".el"))
          ;; Else nothing is saved.
          (init-file-user "")
          (user-init-file custom-file)
          (inhibit-message t))
     (unwind-protect (progn ,@body)
       (delete-file file)
       (delete-file custom-file)
       (when (get-buffer "*smtpmail import*")
         (kill-buffer "*smtpmail import*")))))

(ert-deftest smtpmail-import-msmtprc-carries-accounts-over ()
  "Defaults, accounts modelled on others, wildcards, and the default one."
  (smtpmail-import-tests--with smtpmail-import-tests--rc
			       (cl-letf (((symbol-function 'y-or-n-p) (lambda (_) t)))
				 (should
				  (equal
				   (smtpmail-import-msmtprc file)
				   '(("jdoe@work.example"
				      :name "work" :server "mail.work.example" :service 587
				      :security starttls :user "jdoe" :ehlo-name "work.example")
				     ("@lists.work.example"
				      :name "lists" :server "mail.work.example" :service 587
				      :security starttls :user "jdoe" :mechanisms (scram-sha-256)
				      :client-key "~/key.pem" :client-certificate "~/cert.pem"
				      :ehlo-name "work.example")
				     ("me@home.example"
				      :name "home" :server "smtp.home.example" :service 465 :security ssl
				      :user "me@home.example")
				     (t
				      :name "default" :server "smtp.home.example" :service 465
				      :security ssl :user "me@home.example")))))
			       (should (= 4 (length smtpmail-accounts)))
			       ;; Saved, and read back as it is.
			       (with-temp-buffer
				 (insert-file-contents custom-file)
				 (should (equal (read (current-buffer))
						`(custom-set-variables
						  '(smtpmail-accounts ',smtpmail-accounts)))))))

(ert-deftest smtpmail-import-msmtprc-carries-proxy-reports-and-fingerprint-over ()
  "Only a SHA-256 is a pin; an empty argument takes back."
  (let ((pin (string-join (make-list 32 "aB") ":")))
    (smtpmail-import-tests--with
        (concat "defaults\nproxy_host 127.0.0.1\nproxy_port 9050\n"
                "account a\nhost a.example\nfrom a@example.org\ntls on\n"
                "dsn_notify failure,success\ndsn_return headers\n"
                "tls_fingerprint " pin "\n"
                "account b\nhost b.example\nfrom b@example.org\nproxy_port\n"
                "dsn_notify never\ntls_fingerprint aa:bb:cc\n"
                "account c\nhost c.example\nfrom c@example.org\nproxy_host\n"
                "dsn_notify off\ndsn_return off\ntls_fingerprint\n")
      (cl-letf (((symbol-function 'y-or-n-p) #'ignore))
        (should (equal
                 `(("a@example.org"
                    :name "a" :server "a.example" :service 25 :security starttls
                    :pin ,pin :proxy (socks5 "127.0.0.1" 9050)
                    :dsn (success failure headers))
                   ("b@example.org"
                    :name "b" :server "b.example" :service 25 :security plain
                    :proxy (socks5 "127.0.0.1" 1080) :dsn (never))
                   ("c@example.org"
                    :name "c" :server "c.example" :service 25 :security plain))
                 (smtpmail-import-msmtprc file))))
      (with-current-buffer "*smtpmail import*"
        (should (equal 1 (how-many "^- line" (point-min) (point-max))))
        (should (string-match-p "^- line 16, tls_fingerprint: no SHA-256"
                                (buffer-string)))))))

(ert-deftest smtpmail-import-msmtprc-lists-what-is-left ()
  "With line and advice; no password is shown, and no program runs."
  (smtpmail-import-tests--with smtpmail-import-tests--rc
			       (let ((asked nil))
				 (cl-letf (((symbol-function 'y-or-n-p)
					    (lambda (_) (ignore (setq asked t)))))
				   (smtpmail-import-msmtprc file))
				 (should asked))
			       (should-not smtpmail-accounts)
			       (with-current-buffer "*smtpmail import*"
				 (let ((text (buffer-string)))
				   (dolist (line '("^- line 5, tls_trust_file: "
						   "^- line 6, logfile: "
						   "^- line 13, password: not copied"
						   "^- line 26, passwordeval: not run"
						   "^- account relay: it names no address"))
				     (should (= 2 (length (split-string text line)))))
				   (smtpmail-test-should-hide-canary text)))
			       (should-not (file-exists-p "/tmp/smtpmail-import-ran"))))

(ert-deftest smtpmail-import-msmtprc-adds-nothing-twice ()
  "Accounts that are there stay in front."
  (smtpmail-import-tests--with smtpmail-import-tests--rc
			       (cl-letf (((symbol-function 'y-or-n-p) (lambda (_) t)))
				 (setq smtpmail-accounts '(("x@y.example" :server "other")))
				 (smtpmail-import-msmtprc file)
				 (should (= 5 (length smtpmail-accounts)))
				 (should (equal "x@y.example" (caar smtpmail-accounts))))
			       (cl-letf (((symbol-function 'y-or-n-p)
					  (lambda (_) (ert-fail "Nothing to ask about"))))
				 (smtpmail-import-msmtprc file)
				 (should (= 5 (length smtpmail-accounts))))))

(ert-deftest smtpmail-import-msmtprc-names-mistakes ()
  "An account like one that is not there, and a file without any."
  (pcase-dolist (`(,text ,why)
                 '(("account a : b\nhost x\n" "Line 1: there is no account b")
                   ("# nothing\nhost x\n" "No account in ")
                   ("" "No account in ")))
    (smtpmail-import-tests--with text
				 (should (string-match-p
					  why (cadr (should-error (smtpmail-import-msmtprc file)
								  :type 'user-error)))))))

(provide 'smtpmail-import-tests)

;;; smtpmail-import-tests.el ends here
