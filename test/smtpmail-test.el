;;; smtpmail-test.el --- What the suites of smtpmail share  -*- lexical-binding: t -*-

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

;; A test server for a while, what it was told and what it stored, and other
;; Emacsen in batch mode.  No test lives here.
;;
;; Nothing waits by a fixed pause: `smtpmail-test-wait' looks until something
;; is there, or fails.

;;; Code:

(require 'cl-lib)
(require 'ert)
(require 'gnutls)
(require 'json)
(require 'subr-x)
(require 'sendmail)
(require 'smtpmail)

(require 'auth-source)

(defconst smtpmail-test-patience 30
  "Seconds to wait for anything; a busy machine takes several for an Emacs.")

(defconst smtpmail-test-lisp
  (file-name-directory (locate-library "smtpmail-options"))
  "Where the Lisp files under test are.")

(defconst smtpmail-test-emacs
  (expand-file-name invocation-name invocation-directory)
  "The Emacs to start.")

(defconst smtpmail-test-canary "c4nary-Passw0rd"
  "A password that may appear nowhere but at the server.")

(defun smtpmail-test-wait (what function)
  "Return the value of FUNCTION once it is non-nil; signal if WHAT fails to come."
  (let ((end (+ (float-time) smtpmail-test-patience))
        value)
    (while (not (setq value (funcall function)))
      (when (> (float-time) end)
        (error "Waited in vain for %s" what))
      (accept-process-output nil 0.02))
    value))

(defun smtpmail-test-text (file)
  "Return the octets of FILE, or nil if it is not there."
  (when (file-exists-p file)
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (insert-file-contents-literally file)
      (buffer-string))))

(defmacro smtpmail-test-with-directory (directory &rest body)
  "Run BODY with DIRECTORY bound to the name of a new directory, then gone."
  (declare (indent 1) (debug (symbolp body)))
  `(let ((,directory (file-name-as-directory (make-temp-file "smtpmail" t))))
     (unwind-protect (progn ,@body)
       (delete-directory ,directory t))))

;;;; The server

(cl-defstruct (smtpmail-test-server (:constructor smtpmail-test--make-server))
  "A running test server."
  (process nil :documentation "Its process.")
  (spool nil :documentation "The directory of what it stores.")
  (port nil :documentation "Its port.")
  (tls-port nil :documentation "Its second port, which begins with TLS.")
  (sha256 nil :documentation "That of its certificate, without colons.")
  (ca nil :documentation "The file of the authority of its certificate."))

(defvar smtpmail-test--certificates nil
  "Directory of certificates, which the servers of a suite share.")

(defun smtpmail-test--certificates ()
  "Return the directory of certificates; it goes when this Emacs does."
  (or smtpmail-test--certificates
      (let ((directory (make-temp-file "smtpmail-certs" t)))
        (add-hook 'kill-emacs-hook
                  (lambda () (delete-directory directory t)))
        (setq smtpmail-test--certificates directory))))

(defun smtpmail-test-start (spool options)
  "Start a test server with OPTIONS, strings or lists, that stores in SPOOL."
  (let* ((process-connection-type nil)
         (buffer (generate-new-buffer " *smtpmail test server*"))
         (process (make-process
                   :name "smtpmail-test-server" :buffer buffer :noquery t
                   :connection-type 'pipe
                   :command (append
                             (list (or (getenv "SMTPMAIL_TEST_SERVER")
                                       (error "SMTPMAIL_TEST_SERVER is not set"))
                                   "--spool" spool "--control"
                                   "--certs" (smtpmail-test--certificates))
                             (flatten-list options))))
         (line (smtpmail-test-wait
                "the test server"
                (lambda ()
                  (unless (process-live-p process)
                    (error "No test server: %s"
                           (with-current-buffer buffer (buffer-string))))
                  (with-current-buffer buffer
                    (goto-char (point-min))
                    (and (search-forward "\n" nil t)
                         (json-parse-string (buffer-substring (point-min) (point))
                                            :object-type 'alist))))))
         (tls-port (alist-get 'tls_port line)))
    (smtpmail-test--make-server
     :process process :spool spool
     :port (alist-get 'port line)
     :tls-port (and (integerp tls-port) tls-port)
     :sha256 (alist-get 'cert_sha256 line)
     :ca (alist-get 'ca line))))

(defun smtpmail-test-stop (server)
  "End SERVER, and wait until it is gone."
  (let ((process (smtpmail-test-server-process server)))
    (when (process-live-p process)
      (process-send-eof process)
      (condition-case nil
          (smtpmail-test-wait "the end of the server"
                              (lambda () (not (process-live-p process))))
        (error (delete-process process))))
    (kill-buffer (process-buffer process))))

(defmacro smtpmail-test-with-server (spec &rest body)
  "Run BODY while a test server is there, and variables are set for it.
SPEC is (SERVER OPTION...): SERVER is bound to it, the OPTIONs are
arguments of the program, strings or lists of them."
  (declare (indent 1) (debug ((symbolp &rest form) body)))
  (let ((directory (make-symbol "directory")))
    `(smtpmail-test-with-directory ,directory
       (let* ((,(car spec) (smtpmail-test-start ,directory (list ,@(cdr spec))))
              (smtpmail-smtp-server "localhost")
              (smtpmail-smtp-service (smtpmail-test-server-port ,(car spec)))
              (gnutls-trustfiles (list (smtpmail-test-server-ca ,(car spec))))
              (auth-sources nil)
              ;; Ports are used again by other servers.
              (smtpmail-trust-file nil)
              (smtpmail-retries 1)
              (smtpmail-timeout smtpmail-test-patience)
              (smtpmail-connect-timeout smtpmail-test-patience)
              (mail-aliases nil)
              (mail-specify-envelope-from nil)
              (user-mail-address "me@example.org")
              (user-full-name "Me Myself")
              (inhibit-message t))
         (unwind-protect (progn ,@body)
           (smtpmail-test-stop ,(car spec))
           (smtpmail-test-kill-traces))))))

(defun smtpmail-test-kill-traces ()
  "Kill all trace buffers."
  (mapc #'kill-buffer (smtpmail-test-traces)))

(defun smtpmail-test-traces ()
  "Return the trace buffers."
  (seq-filter (lambda (buffer)
                (string-prefix-p "*trace of SMTP session to " (buffer-name buffer)))
              (buffer-list)))

(defun smtpmail-test-messages (server)
  "Return what SERVER has stored: alists, with the octets as `bytes'."
  (mapcar (lambda (file)
            (let ((facts (with-temp-buffer
                           (insert-file-contents file)
                           (json-parse-buffer :object-type 'alist
                                              :array-type 'list
                                              :null-object nil
                                              :false-object nil))))
              (cons (cons 'bytes (smtpmail-test-text
                                  (concat (file-name-sans-extension file) ".eml")))
                    facts)))
          (directory-files (smtpmail-test-server-spool server) t
                           "\\`[0-9]+\\.json\\'")))

(defun smtpmail-test-message (server)
  "Return the only message that SERVER has stored."
  (let ((messages (smtpmail-test-messages server)))
    (unless (= (length messages) 1)
      (error "%d messages arrived, not one" (length messages)))
    (car messages)))

(defconst smtpmail-test--end-of-session
  "^\\*: \\(?:close\\|cut\\|reset\\|closed by the client\\|failed: .*\\|silence\\|deaf\\)\n\\'"
  "How the log of a session ends that is over.")

(defun smtpmail-test-log (server)
  "Return what was said on all connections to SERVER, once they are over."
  (let ((spool (smtpmail-test-server-spool server))
        text)
    (smtpmail-test-wait
     "the end of all sessions"
     (lambda ()
       (let ((logs (mapcar #'smtpmail-test-text
                           (directory-files spool t "\\`session-[0-9]+\\.log\\'"))))
         (setq text (string-join logs "\f\n"))
         (seq-every-p (lambda (log)
                        (string-match-p smtpmail-test--end-of-session log))
                      logs))))
    text))

(defun smtpmail-test-body (message)
  "Return the octets of MESSAGE behind its header."
  (let ((bytes (alist-get 'bytes message)))
    (substring bytes (+ 4 (string-match "\r\n\r\n" bytes)))))

(defun smtpmail-test-public-key (port)
  "Return the public key of the server at PORT in the words of Emacs's GnuTLS."
  (require 'network-stream)
  (let* ((network-security-level 'low)
         (process (open-gnutls-stream "probe" nil "localhost" port))
         (status (gnutls-peer-status process)))
    (delete-process process)
    (plist-get (plist-get status :certificate) :public-key-id)))

;;;; Sending from here

(defun smtpmail-test-mail (header &optional body)
  "Return the text of a mail buffer with HEADER and BODY."
  (concat header (and (not (string-suffix-p "\n" header)) "\n")
          mail-header-separator "\n" (or body "Hello\n")))

(defun smtpmail-test-send (&optional header body)
  "Send a mail with HEADER and BODY; return nil, or the error text."
  (with-temp-buffer
    (insert (smtpmail-test-mail (or header "To: you@example.net\nSubject: Hi\n")
                                body))
    (condition-case failure
        (ignore (funcall 'smtpmail-send-it))
      (error (error-message-string failure)))))

(defmacro smtpmail-test-log-of (&rest body)
  "Return what *Messages* gets while BODY runs."
  (declare (debug t))
  (let ((start (make-symbol "start")))
    `(let ((,start (with-current-buffer (messages-buffer) (point-max))))
       ,@body
       (with-current-buffer (messages-buffer)
         (buffer-substring-no-properties ,start (point-max))))))

(defun smtpmail-test-quiet-port ()
  "Return a port of this machine where nobody listens."
  (let* ((process (make-network-process :name "port" :server t :host "127.0.0.1"
                                        :service t :family 'ipv4))
         (port (process-contact process :service)))
    (delete-process process)
    port))

;;;; Secrets

(defun smtpmail-test-should-hide-canary (&rest texts)
  "Check that the password is in none of TEXTS, plain or in base64."
  (let ((forms (list smtpmail-test-canary
                     (base64-encode-string smtpmail-test-canary t)
                     (base64-encode-string
                      (concat "\0alice\0" smtpmail-test-canary) t)
                     (base64-encode-string
                      (concat "alice:" smtpmail-test-canary) t))))
    (dolist (text texts)
      (dolist (form forms)
        (should-not (string-search form text))))))

;;;; Other Emacsen

(defun smtpmail-test-settings (server)
  "Return forms that set another Emacs up for SERVER."
  `((setq smtpmail-smtp-server "localhost"
          smtpmail-smtp-service ,(smtpmail-test-server-port server)
          gnutls-trustfiles '(,(smtpmail-test-server-ca server))
          auth-sources nil
          smtpmail-retries 1
          user-mail-address "me@example.org")))

(cl-defun smtpmail-test-run (forms &key home arguments environment program
                                   (lisp smtpmail-test-lisp))
  "Evaluate FORMS in another Emacs in batch mode, and return how it went.
The value is a plist: :exit, :stdout, :stderr and :seconds.  LISP is its
directory of smtpmail, or nil; HOME its home; ARGUMENTS go before all
else; ENVIRONMENT has strings for its environment; PROGRAM is not Emacs
but what takes the same arguments."
  (smtpmail-test-with-directory directory
    (let ((file (expand-file-name "forms.el" directory))
          (errors (generate-new-buffer " *smtpmail test stderr*"))
          (output (generate-new-buffer " *smtpmail test stdout*"))
          (process-environment
           (append environment
                   (list (concat "HOME=" (or home directory)) "LC_ALL=C.UTF-8")
                   process-environment))
          (start (float-time)))
      (with-temp-file file
        (let ((coding-system-for-write 'utf-8-emacs-unix))
          (insert ";; -*- lexical-binding: t; coding: utf-8-emacs -*-\n")
          (dolist (form forms) (prin1 form (current-buffer)) (insert "\n"))))
      (unwind-protect
          (let* ((stderr (make-pipe-process :name "stderr" :buffer errors
                                            :noquery t :sentinel #'ignore))
                 (process
                  (make-process
                   :name "emacs" :buffer output :noquery t :stderr stderr
                   :connection-type 'pipe :sentinel #'ignore
                   :command (append (list (or program smtpmail-test-emacs))
                                    (split-string (or (getenv "EMACSFLAGS") ""))
                                    arguments
                                    (list "-Q" "--batch")
                                    (and lisp (list "-L" lisp))
                                    (list "--eval" "(setq load-prefer-newer t)"
                                          "-l" file)))))
            (unwind-protect
                (progn
                  (smtpmail-test-wait "the end of an Emacs"
                                      (lambda () (not (process-live-p process))))
                  ;; What it wrote last may still be in the pipe, which
                  ;; `delete-process' would close.
                  (while (accept-process-output process 0.1)))
              (delete-process process))
            (let ((seconds (- (float-time) start)))
              (smtpmail-test-wait "the end of its stderr"
                                  (lambda () (not (process-live-p stderr))))
              (list :exit (process-exit-status process)
                    :stdout (with-current-buffer output (buffer-string))
                    :stderr (with-current-buffer errors (buffer-string))
                    :seconds seconds)))
        (kill-buffer errors)
        (kill-buffer output)))))

(provide 'smtpmail-test)

;;; smtpmail-test.el ends here
