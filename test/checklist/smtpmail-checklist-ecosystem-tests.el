;;; smtpmail-checklist-ecosystem-tests.el --- Items 31 to 36  -*- lexical-binding: t -*-

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

;; Packages and init files that lean on smtpmail, done as they do it; what
;; happens without the engine; certificates; versions.  The packages
;; themselves are driven where they are installed, in other suites.

;;; Code:

(require 'nsm)
(require 'smtpmail-checklist)
(require 'smtpmail-terminal)

(declare-function feedmail-buffer-to-smtpmail "feedmail" (prepped errors addr-listoid))
(declare-function rmail-resend "rmail" (address &optional from comment mail-alias-file))
(defvar feedmail-queue-directory)
(defvar gnus-agent-queue-mail)
(defvar gnus-plugged)
(defvar message-send-mail-real-function)

;;;; 31: callers

(ert-deftest smtpmail-checklist-31-mu4e ()
  "The count of queued mails, the toggle and the flush, as mu4e does them."
  (smtpmail-test-with-server (server)
    (smtpmail-test-with-directory directory
      ;; A maildir, as its manual has it.
      (let* ((smtpmail-queue-dir (expand-file-name "queue/cur" directory))
             (count (lambda ()
                      (let ((index (concat smtpmail-queue-dir "/"
                                           smtpmail-queue-index-file)))
                        (if (file-exists-p index)
                            (with-temp-buffer
                              (insert-file-contents index)
                              (count-lines (point-min) (point-max)))
                          0))))
             (smtpmail-queue-mail nil))
        (should (= 0 (funcall count)))
        (setq smtpmail-queue-mail (not smtpmail-queue-mail))
        (dotimes (_ 2) (should-not (smtpmail-test-send)))
        (should (= 2 (funcall count)))
        (setq smtpmail-queue-mail (not smtpmail-queue-mail))
        (call-interactively #'smtpmail-send-queued-mail)
        (should (= 0 (funcall count)))))
    (should (= 2 (length (smtpmail-test-messages server))))))

(ert-deftest smtpmail-checklist-31-notmuch ()
  "`message-smtpmail-send-it', a port in a string, a plain server without AUTH."
  (smtpmail-test-with-server (server "--caps" "")
    (let* ((message-send-mail-function #'message-smtpmail-send-it)
           (hooked 0)
           (message-send-mail-hook (list (lambda () (cl-incf hooked))))
           (smtpmail-smtp-service (number-to-string smtpmail-smtp-service))
           (message-confirm-send nil)
           (message-auto-save-directory nil))
      (with-temp-buffer
        (insert "From: me@example.org\nTo: a@x.example\nSubject: S\n"
                mail-header-separator "\nText\n")
        (message-mode)
        (message-send)
        (set-buffer-modified-p nil))
      (should (= hooked 1)))
    (should (equal (alist-get 'to (smtpmail-test-message server)) '("a@x.example")))))

(defmacro smtpmail-checklist-ecosystem--composed (header body &rest forms)
  "Evaluate FORMS in a Message buffer with HEADER and BODY, to a@x.example."
  (declare (indent 2))
  `(let ((message-confirm-send nil)
         (message-auto-save-directory nil))
     (with-temp-buffer
       (insert "From: me@example.org\nTo: a@x.example\nSubject: S\n" ,header
               mail-header-separator "\n" ,body)
       (message-mode)
       ,@forms
       (set-buffer-modified-p nil))))

(ert-deftest smtpmail-checklist-31-gnus-agent ()
  "Plugged, Gnus's agent passes mail on; it chooses no server of its own.
Its queue is driven with Gnus itself, among the clients."
  (require 'gnus-agent)
  (smtpmail-test-with-server (server)
    (let ((message-send-mail-real-function #'gnus-agent-send-mail)
          (message-send-mail-function #'smtpmail-send-it)
          (gnus-agent-queue-mail t)
          (gnus-plugged t))
      (smtpmail-checklist-ecosystem--composed "" "Text\n"
        (message-send)))
    (should (equal (alist-get 'to (smtpmail-test-message server)) '("a@x.example")))))

(ert-deftest smtpmail-checklist-31-org-msg ()
  "Text and HTML with an image in it, put into MML as org-msg does it.
It sends from Message mode then, like everybody."
  (smtpmail-test-with-server (server)
    (smtpmail-test-with-directory directory
      (let ((image (expand-file-name "dot.png" directory))
            (coding-system-for-write 'no-conversion)
            (message-send-mail-function #'smtpmail-send-it))
        (write-region "\211PNG\r\n\32\n" nil image nil 'quiet)
        (smtpmail-checklist-ecosystem--composed
            ""
            (concat "<#multipart type=alternative>\n<#part type=text/plain>\nText\n"
                    "<#multipart type=related>\n"
                    "<#part type=text/html><b>T\u00e9xt</b><img src=\"cid:dot\">\n"
                    "<#part type=\"image/png\" filename=\"" image
                    "\" disposition=inline id=\"<dot>\"><#/part>\n"
                    "<#/multipart>\n<#/multipart>\n")
          (message-send))))
    (let ((octets (alist-get 'bytes (smtpmail-test-message server))))
      (should (string-match-p "^Content-Type: multipart/alternative;" octets))
      (should (string-match-p "^Content-Type: multipart/related;" octets))
      (should (string-match-p "^Content-Type: text/html" octets))
      (should (string-match-p "^Content-ID: <dot>\r$" octets))
      (should (string-search (base64-encode-string "\211PNG\r\n\32\n" t) octets)))))

(ert-deftest smtpmail-checklist-31-feedmail ()
  "Feedmail gets nil or a text, and finds the trace of what failed."
  (require 'feedmail)
  (smtpmail-test-with-server (server "--on" "rcpt#2=reply 550 5.1.1 No")
    (with-temp-buffer
      (insert "From: f@example.org\nTo: a@x.example\n\nHi\n")
      (let ((prepared (current-buffer)))
        (with-temp-buffer
          (feedmail-buffer-to-smtpmail prepared (current-buffer) '("a@x.example"))
          (should (= (buffer-size) 0))
          (feedmail-buffer-to-smtpmail prepared (current-buffer) '("b@x.example"))
          (should (search-backward "S: 550 5.1.1 No" nil t))
          (should (re-search-backward "failed: 550 5\\.1\\.1 No" nil t)))))
    (should (equal (alist-get 'to (smtpmail-test-message server)) '("a@x.example")))))

(ert-deftest smtpmail-checklist-31-rmail-resend ()
  "`rmail-resend' sends to all Resent-To, without aliases, the text as it is."
  (require 'rmail)
  (smtpmail-test-with-server (server)
    (smtpmail-test-with-directory directory
      (let ((file (expand-file-name "mbox" directory))
            (send-mail-function #'smtpmail-send-it)
            (mail-self-blind nil)
            (rmail-enable-mime nil))
        (write-region "From x@example.org Mon Jan  1 00:00:00 2024\nFrom: old@example.org\nTo: a@x.example\nSubject: S\n\nText\n.\n\n" nil file nil 'quiet)
        (rmail file)
        (unwind-protect
            (rmail-resend '("r@x.example" "s@x.example"))
          (with-current-buffer (get-file-buffer file)
            (set-buffer-modified-p nil)
            (kill-buffer)))))
    (let ((message (smtpmail-test-message server)))
      (should (equal (sort (copy-sequence (alist-get 'to message)) #'string<)
                     '("r@x.example" "s@x.example")))
      (should (equal (smtpmail-checklist-field message "from") "old@example.org")))))

(ert-deftest smtpmail-checklist-31-message-resend-raw ()
  "`message-resend' passes raw octets unchanged."
  (smtpmail-test-with-server (server)
    (let ((message-send-mail-function #'smtpmail-send-it))
      (with-temp-buffer
        (set-buffer-multibyte nil)
        (insert "From: old@example.org\nTo: a@x.example\nSubject: S\n\n\344\366\374 \303\251\n")
        ;; Message asks about such octets, the user says yes.
        (cl-letf (((symbol-function 'y-or-n-p) #'always))
          (message-resend "r@x.example"))))
    (should (equal (smtpmail-test-body (smtpmail-test-message server))
                   "\344\366\374 \303\251\r\n"))))

(ert-deftest smtpmail-checklist-31-report-emacs-bug ()
  "`report-emacs-bug' sends by what `send-mail-function' says."
  (smtpmail-test-with-server (server)
    (smtpmail-checklist-child
     `((require 'smtpmail)
       ,@(smtpmail-test-settings server)
       (require 'emacsbug)
       (setq send-mail-function 'smtpmail-send-it
             message-send-mail-function 'message-send-mail-with-mailclient
             report-emacs-bug-no-confirmation t
             report-emacs-bug-no-explanations t
             message-confirm-send nil)
       (let ((report-emacs-bug-address "bugs@x.example"))
         (report-emacs-bug "It does")
         (goto-char (point-max))
         (insert "Indeed.\n")
         (setq message-send-mail-function 'message-use-send-mail-function)
         (message-send)
         nil)))
    (let ((message (smtpmail-test-message server)))
      (should (equal (alist-get 'to message) '("bugs@x.example")))
      (should (string-match-p "It does" (smtpmail-checklist-field message "subject"))))))

(ert-deftest smtpmail-checklist-31-several-accounts ()
  "What recipes for several accounts do: set, call, catch, try the next one."
  (smtpmail-test-with-server (server)
    (let ((port smtpmail-smtp-service)
          (tried nil))
      (with-temp-buffer
        (insert (smtpmail-test-mail "To: a@x.example\n"))
        (catch 'sent
          (dolist (account (list (list "localhost" (smtpmail-test-quiet-port))
                                 (list "localhost" port)))
            (push account tried)
            (condition-case nil
                (pcase-let* ((`(,smtpmail-smtp-server ,smtpmail-smtp-service) account)
                             ;; As smtpmail-multi has it.
                             (smtpmail-starttls-credentials
                              (append account (list nil nil))))
                  (throw 'sent (funcall 'smtpmail-send-it)))
              (error nil)))))
      (should (= 2 (length tried))))
    (should (smtpmail-test-message server))))

;;;; 32: variables

(ert-deftest smtpmail-checklist-32-variables-print ()
  "Each variable that packages copy prints and reads back, during a send, too."
  (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
    (let* ((smtpmail-auth-credentials
            `(("localhost" ,smtpmail-smtp-service "alice" ,smtpmail-test-canary)))
           (unreadable nil)
           (check
            (lambda (&rest _)
              (mapatoms
               (lambda (symbol)
                 ;; The regexp of the package async.
                 (when (and (boundp symbol)
                            ;; Emacs's own, an obarray since Emacs 30.
                            (not (eq symbol 'mail-extr-all-top-level-domains))
                            (string-match-p
                             "\\`\\(smtpmail\\|async-smtpmail\\|\\(user-\\)?mail\\)-"
                             (symbol-name symbol))
                            (not (string-match-p "-syntax-table\\'\\|-abbrev-table\\'\\|-map\\'\\|-hook\\'"
                                                 (symbol-name symbol))))
                   (let ((print-length nil) (print-level nil))
                     (condition-case nil
                         (read (prin1-to-string (symbol-value symbol)))
                       (error (cl-pushnew symbol unreadable))))))))))
      (advice-add 'smtpmail-session-run :before check)
      (advice-add 'smtpmail-process-filter :before check)
      (unwind-protect (should-not (smtpmail-test-send))
        (advice-remove 'smtpmail-session-run check)
        (advice-remove 'smtpmail-process-filter check))
      (funcall check)
      (should-not unreadable))))

;;;; 33: init files of long ago; the names are in smtpmail-checklist-names-tests.el

(ert-deftest smtpmail-checklist-33-starttls-variables ()
  "An init file that sets the variables of starttls.el and of 2007 works.
Byte-compiled or not; the login and the demand for TLS in it hold."
  (dolist (compile '(nil t))
    (smtpmail-test-with-server (server smtpmail-checklist-login "--require-auth")
      (smtpmail-test-with-directory directory
        (let ((init (expand-file-name "old-init.el" directory)))
          (with-temp-file init
            (dolist (form
                     `((setq starttls-use-gnutls t
                             starttls-gnutls-program "gnutls-cli"
                             starttls-program "starttls"
                             starttls-extra-arguments '("--insecure")
                             starttls-extra-args nil
                             starttls-process-connection-type nil
                             starttls-connect "- Simple Client Mode:\\n\\n"
                             starttls-failure "\\*\\*\\* Handshake has failed"
                             starttls-success "- Compression: ")
                       (custom-set-variables
                        '(starttls-use-gnutls t) '(starttls-extra-arguments nil))
                       (setq smtpmail-default-smtp-server "localhost"
                             smtpmail-smtp-server "localhost"
                             smtpmail-smtp-service ,smtpmail-smtp-service
                             smtpmail-local-domain nil
                             smtpmail-auth-credentials
                             '(("localhost" ,smtpmail-smtp-service "alice"
                                ,smtpmail-test-canary))
                             smtpmail-starttls-credentials
                             '(("localhost" ,smtpmail-smtp-service nil nil))
                             smtpmail-auth-supported '(cram-md5 login)
                             smtpmail-warn-about-unknown-extensions t
                             smtpmail-debug-info t
                             smtpmail-debug-verb t)
                       (setq send-mail-function 'smtpmail-send-it
                             message-send-mail-function 'smtpmail-send-it)
                       (require 'smtpmail)))
              (prin1 form (current-buffer))
              (insert "\n")))
          (should-not
           (smtpmail-checklist-child
            `(,(if compile
                   `(progn (setq byte-compile-warnings nil)
                           (byte-compile-file ,init)
                           (load ,(concat init "c") nil t))
                 `(load ,init nil t))
              (setq gnutls-trustfiles '(,(smtpmail-test-server-ca server))
                    user-mail-address "me@example.org"
                    inhibit-message t)
              ,(smtpmail-checklist-send-form)))))
        (let ((message (smtpmail-test-message server)))
          (should (alist-get 'tls message))
          (should (equal (alist-get 'auth_user message) "alice")))))))

;;;; 34: without the engine

(ert-deftest smtpmail-checklist-34-engine-missing ()
  "Without the engine the error names file, reason and command; the mail stays."
  (smtpmail-test-with-server (server)
    (smtpmail-test-with-directory parent
      (let ((lisp (file-name-as-directory (expand-file-name "lisp" parent))))
        (copy-directory smtpmail-test-lisp (directory-file-name lisp))
        (dolist (how '(missing broken))
          (let ((engine (expand-file-name "smtpmail-core.so" lisp)))
            (pcase how
              ('missing (delete-file engine))
              ('broken (write-region "smtpmail-core version 0.1.0;" nil engine
                                     nil 'quiet)))
            (pcase-let ((`(,why ,text ,function)
                         (smtpmail-checklist-child
                          `((require 'smtpmail)
                            ,@(smtpmail-test-settings server)
                            (with-temp-buffer
                              (insert ,(smtpmail-test-mail "To: a@x.example\n"))
                              (list (condition-case why (smtpmail-send-it)
                                      (error (error-message-string why)))
                                    (buffer-string)
                                    (symbol-file 'smtpmail-send-it 'defun))))
                          :lisp lisp)))
              (should (string-match-p (regexp-quote engine) why))
              (should (string-match-p "M-x smtpmail-use-builtin" why))
              (should (string-match-p "To: a@x.example" text))
              (should (string-prefix-p lisp function)))))))
    ;; Nothing else has sent it.
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-checklist-34-use-builtin ()
  "`smtpmail-use-builtin' puts the built-in in force, which then sends."
  (smtpmail-test-with-server (server)
    (should (string-match-p
             "/mail/smtpmail\\.elc?"
             (smtpmail-checklist-child
              `((require 'smtpmail)
                ,@(smtpmail-test-settings server)
                (setq smtpmail-stream-type 'plain inhibit-message t)
                (call-interactively 'smtpmail-use-builtin)
                (with-temp-buffer
                  (insert ,(smtpmail-test-mail "To: a@x.example\n"))
                  (smtpmail-send-it))
                (symbol-file 'smtpmail-send-it 'defun)))))
    (should (smtpmail-test-message server))))

;;;; 35: certificates

(ert-deftest smtpmail-checklist-35-asked-once-and-remembered ()
  "Who is there is asked about an unknown certificate, once for always."
  (smtpmail-test-with-server (server "--cert" "selfsigned")
    (smtpmail-terminal-with (terminal server)
      (smtpmail-terminal-keys terminal "F5")
      (smtpmail-terminal-shows terminal "n: no, o: this once, a: always")
      (smtpmail-terminal-keys terminal "a")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (smtpmail-terminal-keys terminal "F5")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (should (= 2 (length (smtpmail-test-messages server)))))))

(ert-deftest smtpmail-checklist-35-exceptions-of-nsm-settings-file ()
  "What the user once told the Network Security Manager of a server counts."
  (smtpmail-test-with-server (server "--cert" "selfsigned" "--ssl")
    (smtpmail-test-with-directory directory
      (let ((smtpmail-stream-type 'ssl)
            (smtpmail-trust-file (expand-file-name "trust" directory))
            (nsm-settings-file (expand-file-name "nsm" directory)))
        (should (smtpmail-test-send))
        (with-temp-file nsm-settings-file
          (prin1 `((:id ,(nsm-id "localhost" smtpmail-smtp-service)
                        :fingerprints (,(smtpmail-test-public-key
                                         smtpmail-smtp-service))
                        :conditions (:self-signed)))
                 (current-buffer)))
        (set-file-modes nsm-settings-file #o600)
        (should-not (smtpmail-test-send))
        (should (smtpmail-test-message server))))))

(ert-deftest smtpmail-checklist-35-refused-in-batch ()
  "Where nobody can be asked, a certificate that is not trusted is refused.
No setting of `network-security-level' makes that weaker."
  (dolist (kind '("selfsigned" "untrusted" "expired" "wronghost"))
    (dolist (level '(low medium high))
      (ert-info ((format "%s %s" kind level))
        (smtpmail-test-with-server (server "--cert" kind)
          (cl-progv '(network-security-level) (list level)
            (should (string-match-p "certificate" (smtpmail-test-send))))
          (should-not (smtpmail-test-messages server))
          (should-not (smtpmail-checklist-commands server "MAIL")))))))

(ert-deftest smtpmail-checklist-35-trustfiles ()
  "`gnutls-trustfiles' decides who is trusted."
  (smtpmail-test-with-server (server)
    (let ((gnutls-trustfiles nil))
      (should (string-match-p "certificate" (smtpmail-test-send))))
    (should-not (smtpmail-test-messages server))
    (should-not (smtpmail-test-send))
    (should (smtpmail-test-message server))))

;;;; 36: versions

(ert-deftest smtpmail-checklist-36-this-emacs ()
  "The package names the oldest Emacs it takes, and this one is not older."
  (let ((text (smtpmail-test-text (expand-file-name "smtpmail.el" smtpmail-test-lisp))))
    (should (string-match "^;; Package-Requires: ((emacs \"\\([0-9.]+\\)\"))" text))
    (should (version<= (match-string 1 text) emacs-version))))

(ert-deftest smtpmail-checklist-36-no-modules ()
  "In an Emacs without modules, one clear error."
  (smtpmail-test-with-server (server)
    (should (string-match-p
             "needs an Emacs with support for dynamic modules"
             (smtpmail-checklist-child
              `((require 'smtpmail)
                ,@(smtpmail-test-settings server)
                (setq module-file-suffix nil)
                ,(smtpmail-checklist-send-form)))))))

(provide 'smtpmail-checklist-ecosystem-tests)

;;; smtpmail-checklist-ecosystem-tests.el ends here
