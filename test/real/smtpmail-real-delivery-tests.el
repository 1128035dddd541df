;;; smtpmail-real-delivery-tests.el --- Reports and proxies that are real  -*- lexical-binding: t -*-

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

;; A delivery status notification comes back; mail goes by microsocks and
;; tinyproxy to a server.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-real))

;;;; Reports

(defun smtpmail-real-delivery--texts (server count)
  "Return the texts of the next COUNT messages that SERVER stores."
  (let ((files (smtpmail-real--await
                smtpmail-real--delivery-limit
                (let ((files (smtpmail-real--unseen server)))
                  (and (= count (length files)) files)))))
    (should files)
    (setq smtpmail-real--seen (append files smtpmail-real--seen))
    (mapcar #'smtpmail-real-file-octets files)))

(defun smtpmail-real-delivery--report (server)
  "Return the report among the next two messages of SERVER."
  (let ((reports (seq-filter (lambda (text)
                               ;; message/global-delivery-status with SMTPUTF8.
                               (string-match-p "^Content-Type: message/.*delivery-status"
                                               text))
                             (smtpmail-real-delivery--texts server 2))))
    (should (= 1 (length reports)))
    (car reports)))

(smtpmail-real-deftest a-report-of-success-comes-back (postfix)
  "It names the envelope and the recipient as we did, and returns the header."
  (smtpmail-real-with (server 'plain smtpmail-dsn '(success headers))
    (smtpmail-real-mail "From: alice@example.org\nTo: you+x=y@example.org
Message-ID: <1+1@example.org>\nSubject: Report\n" "What was said\n")
    (should (string-match-p "C: MAIL FROM:.* RET=HDRS ENVID=1\\+2B1@example\\.org"
                            (smtpmail-real-trace server)))
    (let ((report (smtpmail-real-delivery--report server)))
      (should (string-match-p "^Original-Envelope-Id: 1\\+1@example\\.org$" report))
      (should (string-match-p "^Original-Recipient: rfc822; ?you\\+x=y@example\\.org$"
                              report))
      (should (string-match-p "^Action: relayed$" report))
      (should (string-match-p "^Subject: Report$" report))
      (should-not (string-search "What was said" report)))))

(smtpmail-real-deftest a-report-names-an-address-beyond-ascii (postfix)
  "By the type that is made for it (RFC 6533)."
  (smtpmail-real-with (server 'plain smtpmail-dsn '(success full))
    (smtpmail-real-mail "From: alice@example.org\nTo: jörg+x@example.org\nSubject: Hi\n"
                        "Text\n")
    (should (string-search "ORCPT=utf-8;jörg\\x{2B}x@example.org"
                           (smtpmail-real-trace server)))
    (should (string-match-p (encode-coding-string
                             "^Original-Recipient: utf-8; ?jörg\\+x@example\\.org$"
                             'utf-8)
                            (smtpmail-real-delivery--report server)))))

(smtpmail-real-deftest no-report-comes-unasked (postfix)
  "Nor where none was wanted."
  (smtpmail-real-with (server 'plain smtpmail-dsn '(never))
    (smtpmail-real-mail "From: alice@example.org\nTo: you@example.org\n" "Text\n")
    (setq smtpmail-dsn nil)
    (smtpmail-real-mail "From: alice@example.org\nTo: you@example.org\n" "Text\n")
    (smtpmail-real-delivery--texts server 2)
    (smtpmail-real-check-nothing-arrived server)))

(smtpmail-real-deftest what-dsn-says-is-understood (exim sendmail)
  "Where the server offers it; else the message goes without."
  (smtpmail-real-with (server 'plain
                       smtpmail-dsn '(failure delay headers)
                       smtpmail-delivery--told '(("localhost" 0 "")))
    (cl-letf (((symbol-function 'display-warning) #'ignore))
      (smtpmail-real-mail "From: alice@example.org\nTo: you@example.org
Message-ID: <m@example.org>\nSubject: Hi\n" "Text\n"))
    (smtpmail-real-arrived server)
    (let ((trace (smtpmail-real-trace server)))
      (should (string-match-p (if (string-match-p "S: 250[- ]DSN" trace)
                                  "C: RCPT TO:.* NOTIFY=FAILURE,DELAY ORCPT=rfc822;you@"
                                "(no DSN): sent without")
                              trace)))))

;;;; Proxies

(defvar smtpmail-real-delivery--proxies nil
  "What test/servers/proxies says of the proxies that run, a plist.")

(defun smtpmail-real-delivery--proxies ()
  "Return the plist of the proxies; start them if need be, or skip."
  (or smtpmail-real-delivery--proxies
      (let* ((errors (generate-new-buffer " *proxies errors*"))
             (process (make-process
                       :name "proxies" :buffer (generate-new-buffer " *proxies*")
                       :stderr errors :connection-type 'pipe :noquery t
                       :sentinel #'ignore
                       :command (list (smtpmail-real--program "proxies")
                                      (expand-file-name
                                       "proxies" smtpmail-real--directory))))
             (line (smtpmail-real--await
                    smtpmail-real--start-limit
                    (with-current-buffer (process-buffer process)
                      (goto-char (point-min))
                      (cond ((search-forward "\n" nil t)
                             (buffer-substring (point-min) (1- (point))))
                            ((not (process-live-p process)) 'ended)))
                    process)))
        (unless (stringp line)
          (let ((why (with-current-buffer errors (string-trim (buffer-string)))))
            (if (string-prefix-p "skip: " why) (ert-skip why) (error "%s" why))))
        (add-hook 'kill-emacs-hook
                  (lambda ()
                    (process-send-eof process)
                    (smtpmail-real--await 20 (not (process-live-p process)) process))
                  ;; Before its directory goes.
                  -50)
        (setq smtpmail-real-delivery--proxies
              (let ((json-object-type 'plist))
                (json-read-from-string line))))))

(defun smtpmail-real-delivery--authinfo (server proxies password)
  "Return a netrc file for SERVER and for PROXIES, with PASSWORD for these."
  (let ((file (smtpmail-real--authinfo server 'starttls)))
    (with-temp-buffer
      (dolist (key '(:socks5_login :http_login))
        (insert (format "machine 127.0.0.1 port %d login %s password %s\n"
                        (plist-get proxies key) (plist-get proxies :user) password)))
      (append-to-file nil nil file))
    file))

(smtpmail-real-deftest goes-by-real-proxies (postfix)
  "SOCKS5 and HTTP, with and without a login; TLS verifies the mail server."
  (let ((proxies (smtpmail-real-delivery--proxies)))
    (pcase-dolist (`(,kind ,key) '((socks5 :socks5) (http :http)
                                   (socks5 :socks5_login) (http :http_login)))
      (smtpmail-real-with (server 'starttls
                           smtpmail-proxy (list kind "127.0.0.1" (plist-get proxies key))
                           auth-sources (list (smtpmail-real-delivery--authinfo
                                               server proxies
                                               (plist-get proxies :password))))
        (smtpmail-real-mail "From: alice@example.org\nTo: you@example.org\nSubject: Hi\n"
                            "Text\n")
        (smtpmail-real-arrived server)
        (let ((trace (smtpmail-real-trace server)))
          (should (string-match-p
                   (format "connected to localhost by the %s proxy 127\\.0\\.0\\.1:%d"
                           (upcase (symbol-name kind)) (plist-get proxies key))
                   trace))
          (should (string-search "TLS 1.3" trace))
          (should-not (string-search (plist-get proxies :password) trace)))))
    ;; The proxy's own log has seen the name, not our address of it.
    (should (string-match-p "CONNECT localhost:"
                            (smtpmail-real-file-octets (plist-get proxies :log))))))

(smtpmail-real-deftest real-proxies-refuse-in-words (postfix)
  "A wrong login, a server that is not there."
  (let ((proxies (smtpmail-real-delivery--proxies)))
    (pcase-dolist (`(,kind ,key ,why) '((socks5 :socks5_login "refused the login\\|did not pass us on")
                                        (http :http_login "refused the login: 40[17]\\|40[17]")))
      (smtpmail-real-with (server 'starttls
                           smtpmail-proxy (list kind "127.0.0.1" (plist-get proxies key))
                           auth-sources (list (smtpmail-real-delivery--authinfo
                                               server proxies "wrong")))
        (should (string-match-p
                 why (smtpmail-real-refusal
                      server
                      (lambda ()
                        (smtpmail-real-mail "From: a@example.org\nTo: b@example.org\n"
                                            "Text\n")))))))
    (pcase-dolist (`(,kind ,key) '((socks5 :socks5) (http :http)))
      (smtpmail-real-with (server 'plain
                           smtpmail-proxy (list kind "127.0.0.1" (plist-get proxies key))
                           smtpmail-smtp-server "mx.invalid")
        (should (string-match-p
                 (format "Cannot connect to mx\\.invalid:.*the %s proxy 127.*did not connect"
                         (upcase (symbol-name kind)))
                 (smtpmail-real-refusal
                  server
                  (lambda ()
                    (smtpmail-real-mail "From: a@example.org\nTo: b@example.org\n"
                                        "Text\n")))))))))

(provide 'smtpmail-real-delivery-tests)

;;; smtpmail-real-delivery-tests.el ends here
