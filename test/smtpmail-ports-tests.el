;;; smtpmail-ports-tests.el --- Ports by name, addresses, and the first mail  -*- lexical-binding: t -*-

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

;; Ports as they are called, both families of addresses, and the questions
;; of the first mail.  All in a network of its own, where the real ports are
;; free, without /etc/services.  Needs unshare and the right to use it.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-network))

;;;; Ports

(ert-deftest smtpmail-ports-tests-services ()
  "Every name of a port is that port, in any case, without /etc/services."
  (smtpmail-network-in-own
    (pcase-dolist (`(,port ,type . ,services)
                   '((25 nil 25 "25" "smtp" "SMTP" nil)
                     (465 ssl 465 "465" "submissions" "smtps" "SMTPS")
                     (587 starttls 587 "587" "submission" "Submission")))
      (smtpmail-test-with-server (server "--port" (number-to-string port)
                                         (and (eq type 'ssl) "--ssl"))
        ;; The system knows no name here.
        (should-error (make-network-process :name "system" :host "127.0.0.1"
                                            :service (nth 2 services)))
        (let ((smtpmail-stream-type type))
          (dolist (smtpmail-smtp-service services)
            (ert-info ((format "%S" smtpmail-smtp-service))
              (should-not (smtpmail-test-send)))))
        (should (= (length services) (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-ports-tests-credentials ()
  "An entry for a port by its name is for the number, and the other way."
  (smtpmail-network-in-own
    (smtpmail-test-with-server (server "--port" "587" "--user" "alice"
                                       "--password" "right" "--require-auth")
      (pcase-dolist (`(,smtpmail-smtp-service ,port)
                     '(("submission" 587) (587 "submission") ("587" "submission")))
        (let ((smtpmail-auth-credentials `(("localhost" ,port "alice" "right"))))
          (ert-info ((format "%S %S" smtpmail-smtp-service port))
            (should-not (smtpmail-test-send)))))
      (smtpmail-test-with-directory home
        (let ((file (expand-file-name "authinfo" home)))
          (write-region "machine localhost port submission login alice password right\n"
                        nil file nil 'quiet)
          (let ((auth-sources (list file)) (smtpmail-smtp-service 587)
                (smtpmail-servers-requiring-authorization "local"))
            (should-not (smtpmail-test-send)))))
      (should (equal (mapcar (lambda (message) (alist-get 'auth_user message))
                             (smtpmail-test-messages server))
                     '("alice" "alice" "alice" "alice"))))))

;;;; Addresses

(ert-deftest smtpmail-ports-tests-families ()
  "Both addresses of a name are tried, and an address may be the name."
  (smtpmail-network-in-own
    (pcase-dolist (`(,bind . ,hosts)
                   '(("::1" "localhost" "::1")
                     ("127.0.0.1" "localhost" "127.0.0.1")
                     ("localhost-both" "localhost" "::1" "127.0.0.1")))
      (smtpmail-test-with-server (server "--bind" bind)
        (dolist (smtpmail-smtp-server hosts)
          (ert-info ((concat smtpmail-smtp-server " at " bind))
            (let ((start (float-time)))
              (should-not (smtpmail-test-send))
              ;; The refusal of one is not waited for by a clock.
              (should (< (- (float-time) start) 5)))))
        (should (= (length hosts) (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-ports-tests-hanging-resolver ()
  "A resolver that never answers holds nobody longer than the limit."
  (skip-unless (file-exists-p "/etc/resolv.conf"))
  (smtpmail-network-in-own
    (let* ((resolver (make-network-process
                      :name "silent resolver" :type 'datagram :server t
                      :family 'ipv4 :local [127 0 0 1 53] :noquery t
                      :filter #'ignore))
           (smtpmail-smtp-server "mail.example.org")
           (smtpmail-connect-timeout 1)
           (auth-sources nil)
           (user-mail-address "me@example.org")
           (inhibit-message t)
           (start (float-time)))
      (should (string-match-p "the look-up of its address got no answer"
                              (smtpmail-test-send)))
      (should (< (- (float-time) start) 10))
      (delete-process resolver))))

(ert-deftest smtpmail-ports-tests-silent-network ()
  "An address where nothing answers is given up in time."
  (smtpmail-network-in-own
    ;; A wire at whose other end nobody has that address.
    (should (eql 0 (call-process "sh" nil nil nil "-c" "\
ip link add near type veth peer name far && ip link set near up &&
ip link set far up && ip addr add 192.0.2.1/24 dev near &&
ip neigh add 192.0.2.99 lladdr 02:00:00:00:00:01 dev near")))
    (let* ((smtpmail-smtp-server "192.0.2.99")
           (smtpmail-connect-timeout 1)
           (auth-sources nil)
           (user-mail-address "me@example.org")
           (inhibit-message t)
           (start (float-time)))
      (should (string-match-p "no answer from 192.0.2.99:25" (smtpmail-test-send)))
      (should (< (- (float-time) start) 10)))))

(ert-deftest smtpmail-ports-tests-all-addresses-refuse ()
  "The error names every address that refused."
  (smtpmail-network-in-own
    (smtpmail-test-with-server (server)
      (let* ((smtpmail-smtp-service (smtpmail-test-quiet-port))
             (why (smtpmail-test-send)))
        (should (string-prefix-p "Sending failed: Cannot connect to localhost:" why))
        (should (string-search (format "127.0.0.1:%d: connection refused"
                                       smtpmail-smtp-service)
                               why))
        (should (string-search (format "[::1]:%d: connection refused"
                                       smtpmail-smtp-service)
                               why))))))

;;;; The first mail

(defconst smtpmail-ports-tests--wizard
  '((defun smtpmail-ports-tests--fresh (server directory function)
      "Call FUNCTION with an Emacs without a server and with nothing saved.
Its settings are saved in DIRECTORY; it trusts the certificate of SERVER."
      (smtpmail-terminal--call
       server
       `((custom-set-variables
          '(gnutls-trustfiles '(,(smtpmail-test-server-ca server))))
         (setq smtpmail-smtp-server nil
               smtpmail-smtp-service 25
               user-init-file ,(expand-file-name "init.el" directory)
               custom-file ,(expand-file-name "custom.el" directory)))
       function))
    (defun smtpmail-ports-tests--saved (directory)
      "Return (SERVER SERVICE STREAM-TYPE) as saved in DIRECTORY."
      (let ((text (smtpmail-test-text (expand-file-name "custom.el" directory))))
        (mapcar (lambda (name)
                  (and text
                       (string-match (format "'(%s \\([^)]+\\))" name) text)
                       (read (match-string 1 text))))
                '("smtpmail-smtp-server" "smtpmail-smtp-service"
                  "smtpmail-stream-type")))))
  "Functions of the tests below.")

(ert-deftest smtpmail-ports-tests-first-mail ()
  "The first mail asks for the server, finds the port, goes, and saves both.
465 goes before 587, and 587 before 25."
  (smtpmail-network-run
   `(,@smtpmail-ports-tests--wizard
     (pcase-dolist (`(,port ,other ,type ,tls) '((465 587 ssl t) (587 25 nil t)
                                                 (25 nil nil t)))
       (smtpmail-test-with-directory directory
         (smtpmail-test-with-server (server "--port" (number-to-string port)
                                            (and (eq type 'ssl) "--ssl"))
           (let ((next (and other
                            (smtpmail-test-start (concat directory "other")
                                                 (list "--port" (number-to-string
                                                                 other))))))
             (unwind-protect
                 (smtpmail-ports-tests--fresh
                  server directory
                  (lambda (terminal)
                    (smtpmail-terminal-keys terminal "F5")
                    (smtpmail-terminal-shows terminal "^Outgoing SMTP mail server: ")
                    (smtpmail-terminal-type terminal "localhost")
                    (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
                    (should (equal (smtpmail-ports-tests--saved directory)
                                   (list "localhost" port (and type ''ssl))))
                    ;; Nothing is asked again.
                    (smtpmail-terminal-keys terminal "F5")
                    (should (equal (smtpmail-terminal-note terminal "end") '(sent)))))
               (when next (smtpmail-test-stop next)))
             (should (equal (mapcar (lambda (message)
                                      (and (alist-get 'tls message) t))
                                    (smtpmail-test-messages server))
                            (list tls tls))))
           ;; And another Emacs, with what was saved, does not ask.
           (let ((result (smtpmail-test-run
                          `((setq custom-file ,(expand-file-name "custom.el" directory))
                            (load custom-file nil t)
                            (require 'smtpmail)
                            (setq gnutls-trustfiles '(,(smtpmail-test-server-ca server))
                                  auth-sources nil
                                  user-mail-address "me@example.org")
                            (with-temp-buffer
                              (insert ,(smtpmail-test-mail "To: you@example.net"))
                              (smtpmail-send-it))))))
             (should (equal (list 0 "Sent: 250 2.0.0 Message stored\n")
                            (list (plist-get result :exit)
                                  (plist-get result :stderr)))))))))))

(ert-deftest smtpmail-ports-tests-first-mail-elsewhere ()
  "Where none of the ports answers, a port is asked for; a wrong one is an error."
  (smtpmail-network-run
   `(,@smtpmail-ports-tests--wizard
     (smtpmail-test-with-directory directory
       (smtpmail-test-with-server (server "--port" "2525")
         (smtpmail-ports-tests--fresh
          server directory
          (lambda (terminal)
            (smtpmail-terminal-keys terminal "F5")
            (smtpmail-terminal-shows
             terminal "^Outgoing SMTP mail server: +\\[C-g, then M-x smtpmail-setup finds it\\]")
            (smtpmail-terminal-type terminal "localhost")
            (smtpmail-terminal-shows
             terminal "^Port number to use when contacting localhost\\? ")
            (smtpmail-terminal-type terminal "2526")
            (should (equal (smtpmail-terminal-note terminal "end")
                           '(error "Couldn’t contact an SMTP server")))
            (should (equal (smtpmail-ports-tests--saved directory) '(nil nil nil)))
            (smtpmail-terminal-keys terminal "F5")
            (smtpmail-terminal-shows terminal "^Outgoing SMTP mail server: ")
            (smtpmail-terminal-type terminal "localhost")
            (smtpmail-terminal-shows
             terminal "^Port number to use when contacting localhost\\? ")
            (smtpmail-terminal-type terminal "2525")
            (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
            (should (equal (smtpmail-ports-tests--saved directory)
                           '("localhost" 2525 nil)))))
         (should (smtpmail-test-message server)))))))

(provide 'smtpmail-ports-tests)

;;; smtpmail-ports-tests.el ends here
