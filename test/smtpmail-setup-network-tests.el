;;; smtpmail-setup-network-tests.el --- Finding servers, with a DNS  -*- lexical-binding: t -*-

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

;; SRV and MX records of a real DNS server, on port 53 of a network of its own,
;; honest and hostile; and servers that are guessed, on the real ports.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-network))

(defconst smtpmail-setup-network-tests--forms
  '((require 'smtpmail-setup)
    (defun tests-look-up (zone)
      "Return what is found out about example.org in ZONE."
      (let (found)
        (tests-with-zone zone (lambda ()
                                (setq found (smtpmail-setup-dns-look-up "example.org"))))
        found))
    (defun tests-search (zone domain)
      "Return the servers found for DOMAIN in ZONE, and the remarks."
      (let (found)
        (tests-with-zone zone (lambda () (setq found (smtpmail-setup-search domain))))
        (cons (mapcar (lambda (candidate)
                        (list (plist-get candidate :server)
                              (plist-get candidate :service)
                              (plist-get candidate :security)
                              (and (plist-get candidate :doubt) t)))
                      (car found))
              (cdr found))))
    (defun tests-nothing-left ()
      "Check that no question of the DNS is left behind."
      (should-not (seq-find (lambda (process)
                              (string-prefix-p "dns" (process-name process)))
                            (process-list)))
      (should-not (seq-find (lambda (buffer)
                              (string-prefix-p " *dns*" (buffer-name buffer)))
                            (buffer-list)))))
  "What the other Emacs knows.")

(defmacro smtpmail-setup-network-tests--in (names &rest body)
  "Evaluate BODY in another network, where hosts NAMES are this machine."
  (declare (indent 1) (debug t))
  `(smtpmail-network-run (append smtpmail-network-dns smtpmail-setup-network-tests--forms ',body) ',names))

(ert-deftest smtpmail-setup-network-tests-records ()
  "Records in their order: TLS from the beginning, priority, weight."
  (smtpmail-setup-network-tests--in ()
    (should
     (equal
      (tests-look-up
       '(("_submissions._tcp.example.org SRV"
          . ((20 1 465 "later.example.org") (10 5 4465 "light.example.org")
             (10 50 465 "SMTP.example.org")))
         ("_submission._tcp.example.org SRV" . ((0 1 587 "smtp.example.org")))
         ("example.org MX" . ((20 "b.example.net") (10 "a.example.net")))))
      '(:servers (("smtp.example.org" 465 ssl) ("light.example.org" 4465 ssl)
                  ("later.example.org" 465 ssl) ("smtp.example.org" 587 starttls))
        :none nil
        :exchangers ("a.example.net" "b.example.net"))))
    (tests-nothing-left)))

(ert-deftest smtpmail-setup-network-tests-questions ()
  "Just these questions go out, for the name in ASCII."
  (smtpmail-setup-network-tests--in ()
    (should (equal (tests-with-zone nil (lambda () (smtpmail-setup-search "Grüße.example")))
                   '("_submission._tcp.xn--gre-6ka8l.example SRV"
                     "_submissions._tcp.xn--gre-6ka8l.example SRV"
                     "xn--gre-6ka8l.example MX")))
    ;; What is known is not asked for.
    (should-not (tests-with-zone nil (lambda () (smtpmail-setup-search "GMail.com"))))))

(ert-deftest smtpmail-setup-network-tests-hostile-records ()
  "What is no answer, or too much of one, is nothing, and ends in time."
  (smtpmail-setup-network-tests--in ()
    (let ((none '(:servers nil :none nil :exchangers nil)))
      (dolist (answer '("loop" "cut" "noise" "other" "silence"))
        (ert-info (answer)
          (should (equal none (tests-look-up
                               `(("_submissions._tcp.example.org SRV" . ,answer)))))
          (tests-nothing-left)))
      (should (>= smtpmail-setup-dns--records
                  (length (plist-get (tests-look-up '(("_submissions._tcp.example.org SRV"
                                                       . "many")))
                                     :servers))))
      ;; Names that are none, and ports that are none.
      (should (equal none
                     (tests-look-up
                      '(("_submissions._tcp.example.org SRV"
                         . ((0 1 465 "two words.example.org") (0 1 0 "smtp.example.org")
                            (0 1 465 "-x.example.org") (0 1 465 "10.0.0.1")
                            (0 1 465 "nodots") (0 1 465 "e\\u202e.example.org")))
                        ("example.org MX" . ((10 "a b.example.org"))))))))
    ;; The root as target: there is no such service (RFC 6186 §3.4).
    (should (plist-get (tests-look-up '(("_submissions._tcp.example.org SRV"
                                         . ((0 0 0 ".")))))
                       :none))))

(ert-deftest smtpmail-setup-network-tests-no-server ()
  "Without a server of names, or with a silent one, it ends with nothing."
  (smtpmail-setup-network-tests--in ()
    (should (equal (smtpmail-setup-dns-look-up "example.org")
                   '(:servers nil :none nil :exchangers nil)))
    (let ((dns-servers nil)
          (dns-servers-valid-for-interfaces t))
      (cl-letf (((symbol-function 'dns-set-servers) #'ignore))
        (should (equal (smtpmail-setup-dns-look-up "example.org")
                       '(:servers nil :none nil :exchangers nil)))))
    (tests-nothing-left)))

(ert-deftest smtpmail-setup-network-tests-second-server ()
  "The second server of the system is asked if the first is silent."
  (smtpmail-setup-network-tests--in ()
    (let ((dns-servers '("127.0.0.9" "127.0.0.1"))
          (dns-servers-valid-for-interfaces t))
      (should (equal (plist-get (tests-look-up '(("_submission._tcp.example.org SRV"
                                                  . ((0 1 587 "smtp.example.org")))))
                                :servers)
                     '(("smtp.example.org" 587 starttls)))))))

(ert-deftest smtpmail-setup-network-tests-candidates ()
  "What is announced, known by the MX record, outside of the domain, or denied."
  (smtpmail-setup-network-tests--in ()
    (pcase-dolist
        (`(,zone ,found)
         '(((("_submissions._tcp.example.org SRV" . ((0 1 465 "smtp.example.org"))))
            (("smtp.example.org" 465 ssl nil)))
           ((("_submission._tcp.example.org SRV" . ((0 1 587 "smtp.evil.example"))))
            (("smtp.evil.example" 587 starttls t)))
           ((("_submission._tcp.example.org SRV" . ((0 1 587 "notexample.org"))))
            (("notexample.org" 587 starttls t)))
           ;; Of a provider that is known.
           ((("_submissions._tcp.example.org SRV" . ((0 1 465 "smtp.fastmail.com"))))
            (("smtp.fastmail.com" 465 ssl nil)))
           ((("example.org MX" . ((1 "aspmx.l.google.com"))))
            (("smtp.gmail.com" 465 ssl nil)))
           ((("example.org MX" . ((1 "example-org.mail.protection.outlook.com"))))
            (("smtp.office365.com" 587 starttls nil)))))
      (ert-info ((format "%S" zone))
        (should (equal (car (tests-search zone "example.org")) found))))
    (should (string-match-p
             "has no server for programs"
             (cadr (tests-search '(("_submissions._tcp.example.org SRV" . ((0 0 0 "."))))
                                 "example.org"))))))

(ert-deftest smtpmail-setup-network-tests-guesses ()
  "Without records, the usual names are tried at 465 and 587, all at once."
  (smtpmail-setup-network-tests--in ("smtp.example.org" "mail.example.org")
    (should (equal (tests-search nil "example.org")
                   '(nil "Nobody answers as a mail server at smtp.example.org or \
mail.example.org")))
    (smtpmail-test-with-server (server "--port" "465" "--ssl" "--cert" "wildcard")
      (let ((other (smtpmail-test-start
                    (concat (smtpmail-test-server-spool server) "other")
                    (list "--port" "587" "--cert" "wildcard"))))
        (unwind-protect
            (progn
              (should (equal (tests-search nil "example.org")
                             '((("smtp.example.org" 465 ssl nil)
                                ("smtp.example.org" 587 starttls nil)
                                ("mail.example.org" 465 ssl nil)
                                ("mail.example.org" 587 starttls nil)))))
              ;; Nothing was said that a guess must not say.
              (should-not (string-match-p "^C: \\(?:AUTH\\|MAIL\\)"
                                          (smtpmail-test-log other))))
          (smtpmail-test-stop other))))
    ;; A certificate that is not accepted makes it doubtful, no TLS no candidate.
    (smtpmail-test-with-server (server "--port" "465" "--ssl" "--cert" "good")
      (let ((other (smtpmail-test-start
                    (concat (smtpmail-test-server-spool server) "other")
                    (list "--port" "587" "--caps" "AUTH PLAIN"))))
        (unwind-protect
            (should (equal (tests-search nil "example.org")
                           '((("smtp.example.org" 465 ssl t)
                              ("mail.example.org" 465 ssl t)))))
          (smtpmail-test-stop other))))))

(provide 'smtpmail-setup-network-tests)

;;; smtpmail-setup-network-tests.el ends here
