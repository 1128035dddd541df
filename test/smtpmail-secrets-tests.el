;;; smtpmail-secrets-tests.el --- No way to fail tells a secret  -*- lexical-binding: t -*-

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

;; A password that is easy to find is sent into every way to fail, and then
;; looked for in all buffers, in errors, in the files of the outbox, in the
;; directory for temporary files, and on the command lines of this Emacs and
;; of what it started.

;;; Code:

(require 'smtpmail-test)

(defun smtpmail-secrets-tests--buffers (start)
  "Return the texts of all buffers; that of *Messages* from START on.
Before that are the reports of other tests, with the password if they failed."
  (mapcar (lambda (buffer)
            (with-current-buffer buffer
              (save-restriction
                (widen)
                (buffer-substring-no-properties
                 (if (eq buffer (messages-buffer)) start (point-min))
                 (point-max)))))
          (buffer-list)))

(defun smtpmail-secrets-tests--files (directory)
  "Return the octets of all files below DIRECTORY.
It stays unnoticed that they were read: whoever reads an entry of the
outbox is taken for one who sends it, if another Emacs runs."
  (mapcar (lambda (file)
            (prog1 (smtpmail-test-text file)
              (set-file-times file)))
          (seq-filter #'file-regular-p
                      (directory-files-recursively directory ""))))

(defun smtpmail-secrets-tests--command-lines (server)
  "Return the command lines of this Emacs and its children, SERVER excepted.
A test tells its server the password in that way."
  (let ((but (process-id (smtpmail-test-server-process server))))
    (delq nil
          (mapcar (lambda (pid)
                    (let ((facts (process-attributes pid)))
                      (and (or (eql pid (emacs-pid))
                               (eql (alist-get 'ppid facts) (emacs-pid)))
                           (not (eql pid but))
                           (smtpmail-test-text (format "/proc/%d/cmdline" pid)))))
                  (list-system-processes)))))

(defmacro smtpmail-secrets-tests--looking (server &rest body)
  "Evaluate BODY with SERVER, then look for the password everywhere.
BODY gives texts that are searched too, or nil.  The outbox and the
temporary files have directories of their own meanwhile."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-directory directory
     (let* ((smtpmail-queue-dir (file-name-as-directory
                                 (expand-file-name "queue" directory)))
            (temporary-file-directory (file-name-as-directory
                                       (expand-file-name "tmp" directory)))
            (process-environment (cons (concat "TMPDIR=" temporary-file-directory)
                                       process-environment))
            (smtpmail-debug-info t)
            (smtpmail-debug-verb t)
            (inhibit-message nil)
            (start (with-current-buffer (messages-buffer) (point-max)))
            (looks 0)
            (look (lambda ()
                    (setq looks (1+ looks))
                    (let ((lines (smtpmail-secrets-tests--command-lines ,server)))
                      (should lines)
                      (apply #'smtpmail-test-should-hide-canary lines)))))
       (make-directory temporary-file-directory)
       (apply #'smtpmail-test-should-hide-canary
              (delq nil (flatten-tree
                         (cl-letf* ((wait (symbol-function 'accept-process-output))
                                    ((symbol-function 'accept-process-output)
                                     (lambda (&rest arguments)
                                       (when (zerop looks) (funcall look))
                                       (apply wait arguments))))
                           (progn ,@body)))))
       (funcall look)
       (apply #'smtpmail-test-should-hide-canary
              (append (smtpmail-secrets-tests--buffers start)
                      (smtpmail-secrets-tests--files directory))))))

(defun smtpmail-secrets-tests--credentials ()
  "Return the credentials of alice at the server of the moment."
  `(("localhost" ,smtpmail-smtp-service "alice" ,smtpmail-test-canary)))

(defconst smtpmail-secrets-tests--mechanisms
  '("CRAM-MD5" "LOGIN" "OAUTHBEARER" "PLAIN" "SCRAM-SHA-1" "SCRAM-SHA-256" "XOAUTH2")
  "The mechanisms that know a secret.")

(defun smtpmail-secrets-tests--send (server)
  "Send to SERVER, which takes no mail; return the error.
Check that a login was tried."
  (let ((why (smtpmail-test-send)))
    (should (stringp why))
    (ert-info (why)
      (should (string-match-p "^C: AUTH " (smtpmail-test-log server))))
    why))

;;;; The login

(ert-deftest smtpmail-secrets-tests-the-search-finds-what-is-there ()
  "A look that could not find anything would prove nothing."
  (smtpmail-test-with-server (server)
    (should-error (smtpmail-secrets-tests--looking server
                    (list "x" (list smtpmail-test-canary)))
                  :type 'ert-test-failed)
    (with-temp-buffer
      (insert (base64-encode-string smtpmail-test-canary t))
      (should-error (smtpmail-secrets-tests--looking server)
                    :type 'ert-test-failed))
    (dolist (in '(smtpmail-queue-dir temporary-file-directory))
      (should-error (smtpmail-secrets-tests--looking server
                      (make-directory smtpmail-queue-dir t)
                      (with-temp-file (expand-file-name "f" (symbol-value in))
                        (insert smtpmail-test-canary))
                      nil)
                    :type 'ert-test-failed))
    (let ((process (start-process "child" nil "sh" "-c"
                                  (concat "read x; : " smtpmail-test-canary))))
      (set-process-query-on-exit-flag process nil)
      (unwind-protect
          (should-error (smtpmail-secrets-tests--looking server)
                        :type 'ert-test-failed)
        (delete-process process)))))

(ert-deftest smtpmail-secrets-tests-a-refused-password ()
  "With each mechanism, where it is not the server's."
  (dolist (mechanism smtpmail-secrets-tests--mechanisms)
    (ert-info (mechanism)
      (smtpmail-test-with-server (server "--user" "alice" "--password" "another"
                                         "--caps" (concat "STARTTLS,AUTH " mechanism)
                                         "--require-auth")
        (let ((smtpmail-auth-supported (list (intern (downcase mechanism))))
              (smtpmail-auth-credentials (smtpmail-secrets-tests--credentials)))
          (smtpmail-secrets-tests--looking server
            (smtpmail-secrets-tests--send server)))))))

(ert-deftest smtpmail-secrets-tests-a-login-that-breaks ()
  "The connection ends at each step of AUTH, or what comes is no reply."
  (dolist (mechanism smtpmail-secrets-tests--mechanisms)
    (dolist (rule '("auth=close" "auth=cut" "auth=reset" "auth=reply no code"
                    "auth=reply 334 !!!" "auth=reply 334" "auth=flood-line"
                    "auth-response=close" "auth-response=reset"))
      (unless (or
               ;; These have no second step.
               (and (string-prefix-p "auth-response" rule)
                    (member mechanism '("OAUTHBEARER" "PLAIN" "XOAUTH2")))
               ;; Whatever the server asks, this one sends the user name.
               (and (string-prefix-p "auth=reply" rule) (equal mechanism "LOGIN")))
        (ert-info ((concat mechanism " " rule))
          (smtpmail-test-with-server (server
                                      "--user" "alice"
                                      "--password" smtpmail-test-canary
                                      "--caps" (concat "STARTTLS,AUTH " mechanism)
                                      "--require-auth" "--on" rule)
            (let ((smtpmail-auth-supported (list (intern (downcase mechanism))))
                  (smtpmail-auth-credentials (smtpmail-secrets-tests--credentials)))
              (smtpmail-secrets-tests--looking server
                (smtpmail-secrets-tests--send server)))))))))

(ert-deftest smtpmail-secrets-tests-a-server-that-quotes-the-password ()
  "Each of its replies from then on: the password, and what it was told."
  (let* ((plain (base64-encode-string (concat "\0alice\0" smtpmail-test-canary) t))
         (coded (base64-encode-string smtpmail-test-canary t)))
    (dolist (mechanism '("LOGIN" "PLAIN" "XOAUTH2"))
      (dolist (where '("auth" "auth-response#2" "mail" "rcpt" "dot"))
        ;; LOGIN tells it in its second answer, and only then a server can quote
        ;; it; the others tell it at AUTH itself.
        (unless (equal where (if (equal mechanism "LOGIN") "auth" "auth-response#2"))
          (dolist (text (let ((told (pcase mechanism
                                      ("LOGIN" coded)
                                      ("PLAIN" plain)
                                      (_ smtpmail-test-canary))))
                          (list (concat "554 no: " smtpmail-test-canary)
                                (concat "554 no: " told)
                                (format "554-%s\\r\\n554 %s" told
                                        smtpmail-test-canary)
                                (concat "954 " told)
                                (concat "334 " told))))
            (ert-info ((format "%s %s %s" mechanism where text))
              (smtpmail-test-with-server
                  (server "--user" "alice" "--password" smtpmail-test-canary
                          "--caps" (concat "STARTTLS,AUTH " mechanism)
                          "--require-auth"
                          "--on" (format "%s=reply %s" where text))
                (let ((smtpmail-auth-supported (list (intern (downcase mechanism))))
                      (smtpmail-auth-credentials (smtpmail-secrets-tests--credentials)))
                  (smtpmail-secrets-tests--looking server
                    (smtpmail-secrets-tests--send server)))))))))))

;;;; The proxy

(ert-deftest smtpmail-secrets-tests-a-proxy-that-quotes-the-login ()
  "At the beginning of what is shown of its answer, and where that is cut off."
  (smtpmail-test-with-server (server)
    (smtpmail-test-with-directory directory
      (let ((auth-source-do-cache nil)
            (auth-sources (list (expand-file-name "netrc" directory))))
        (dolist (told (list smtpmail-test-canary
                            (base64-encode-string
                             (concat "alice:" smtpmail-test-canary) t)))
          (dolist (before '(0 170 190))
            (let* ((logins 0)
                   (proxy
                    (make-network-process
                     :name "proxy" :server t :host "127.0.0.1" :service t
                     :family 'ipv4 :noquery t :coding 'binary
                     :filter
                     (lambda (process octets)
                       (process-send-string
                        process
                        (if (not (string-search "Proxy-Authorization: Basic" octets))
                            "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n"
                          (setq logins (1+ logins))
                          (format "HTTP/1.1 403 %s%s\r\nX: %s\r\n\r\n"
                                  (make-string before ?x) told told))))))
                   (port (process-contact proxy :service))
                   (smtpmail-proxy `(http "127.0.0.1" ,port)))
              (with-temp-file (car auth-sources)
                (insert (format "machine 127.0.0.1 port %d login alice password %s\n"
                                port smtpmail-test-canary)))
              (unwind-protect
                  (smtpmail-secrets-tests--looking server
                    (let ((why (smtpmail-test-send)))
                      (should (string-match-p "quote the login" why))
                      (should (> logins 0))
                      ;; Nor a part of it.
                      (should-not (string-search (substring told 0 6) why))
                      why))
                (delete-process proxy)))))))))

;;;; The outbox

(ert-deftest smtpmail-secrets-tests-the-outbox ()
  "What is queued, then flushed in vain, has no password on the disk."
  (dolist (rule '("auth=close" "auth=reply 535 no" "mail=reply 451 later"
                  "dot=close"))
    (ert-info (rule)
      (smtpmail-test-with-server (server "--user" "alice"
                                         "--password" smtpmail-test-canary
                                         "--require-auth" "--on" rule)
        (let ((smtpmail-auth-credentials (smtpmail-secrets-tests--credentials)))
          (smtpmail-secrets-tests--looking server
            (let ((smtpmail-queue-mail t)
                  (smtpmail-store-queue-variables t)
                  (smtpmail-smtp-user "alice"))
              (should-not (smtpmail-test-send)))
            (should (smtpmail-secrets-tests--files smtpmail-queue-dir))
            (prog1 (condition-case failure
                       (progn (smtpmail-send-queued-mail) nil)
                     (error (error-message-string failure)))
              (should (string-match-p "^C: AUTH " (smtpmail-test-log server)))
              (should (smtpmail-secrets-tests--files smtpmail-queue-dir)))))))))

;;;; The passphrase of a key

(ert-deftest smtpmail-secrets-tests-the-passphrase-of-a-key ()
  "Right or wrong, it stays where it was typed."
  (unless (executable-find "openssl") (ert-skip "No openssl"))
  (dolist (right '(t nil))
    (smtpmail-test-with-server (server "--client-ca" "--on" "mail=reply 554 no")
      (smtpmail-test-with-directory keys
        (let ((key (expand-file-name "locked.key" keys))
              (certs (file-name-directory (smtpmail-test-server-ca server)))
              (asked 0))
          (should (eql 0 (call-process
                          "openssl" nil nil nil "pkcs8" "-topk8" "-out" key
                          "-in" (expand-file-name "client.key" certs)
                          "-passout" (concat "pass:" (if right smtpmail-test-canary
                                                       "another")))))
          (let ((smtpmail-starttls-credentials
                 `(("localhost" ,smtpmail-smtp-service ,key
                    ,(expand-file-name "client.pem" certs)))))
            (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p) #'always)
                      ((symbol-function 'read-passwd)
                       (lambda (&rest _)
                         (setq asked (1+ asked))
                         ;; The third time nobody knows what else to type.
                         (if (> asked 2) ""
                           (copy-sequence smtpmail-test-canary)))))
              (smtpmail-secrets-tests--looking server
                (let ((why (smtpmail-test-send)))
                  (should (stringp why))
                  (should (eq right (and (string-search "554" why) t)))
                  why)))
            (should (if right (eql asked 1) (> asked 1)))))))))

(provide 'smtpmail-secrets-tests)

;;; smtpmail-secrets-tests.el ends here
