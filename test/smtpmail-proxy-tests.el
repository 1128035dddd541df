;;; smtpmail-proxy-tests.el --- Mail by proxies and commands  -*- lexical-binding: t -*-

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

;; What Lisp does about them: settings, logins, words, the environment of a
;; command.  The proxies of test/real/ are real ones; what proxies get wrong is
;; in test/rust/delivery_proxy.rs.

;;; Code:

(require 'smtpmail-background-test)
(require 'smtpmail-doctor)

;; Most of these have no server, which would bind it.
(setq user-mail-address "me@example.org")

(defconst smtpmail-proxy-tests--relay
  '(command "python3" "-c" "
import os, socket, sys, threading
server = socket.create_connection(('localhost', int(sys.argv[2])))
def there():
    while octets := os.read(0, 4096): server.sendall(octets)
    server.shutdown(socket.SHUT_WR)
threading.Thread(target=there, daemon=True).start()
while octets := server.recv(4096): os.write(1, octets)
" "%h" "%p")
  "A command that connects to this machine, whatever the name of the host.")

(defun smtpmail-proxy-tests--proxy (replies)
  "Return a process that says each of REPLIES, unibyte strings, to octets.
It is no more than a proxy that refuses needs to be."
  (make-network-process
   :name "proxy" :server t :host "127.0.0.1" :service t :family 'ipv4
   :noquery t :coding 'binary
   :filter (lambda (process _octets)
             (let ((rest (or (process-get process 'replies) replies)))
               (process-send-string process (car rest))
               (process-put process 'replies (or (cdr rest) '("")))))))

(defun smtpmail-proxy-tests--port (process)
  "Return the port of PROCESS."
  (process-contact process :service))

(ert-deftest smtpmail-proxy-a-command-is-the-connection ()
  "Also for a host that no resolver knows, and with TLS of the right name only."
  (smtpmail-test-with-server (server)
    (let ((smtpmail-proxy smtpmail-proxy-tests--relay)
          (smtpmail-stream-type 'starttls)
          (smtpmail-debug-info t))
      (should-not (smtpmail-test-send))
      (should (string-match-p
               "connected to localhost by the command python3"
               (with-current-buffer (smtpmail-session-trace-name "localhost")
                 (buffer-string))))
      (let ((smtpmail-smtp-server "mx.invalid"))
        (should (string-match-p "certificate of mx\\.invalid not accepted"
                                (smtpmail-test-send)))
        (setq smtpmail-stream-type 'plain)
        (should-not (smtpmail-test-send))))
    (should (= 2 (length (smtpmail-test-messages server))))))

(ert-deftest smtpmail-proxy-a-command-gets-the-environment-of-emacs ()
  "What was set in Emacs, as the SSH agent often is; and no shell comes between."
  (smtpmail-test-with-directory directory
    (let* ((file (expand-file-name "said" directory))
           (smtpmail-proxy (list 'command "sh" "-c"
                                 "echo \"$SMTPMAIL_TEST_AGENT|$1\" >\"$2\"; exit 4"
                                 "x" "$(id); %h:%p" file))
           (smtpmail-smtp-server "mx.invalid")
           (smtpmail-smtp-service 587)
           (process-environment (cons "SMTPMAIL_TEST_AGENT=here"
                                      process-environment))
           (inhibit-message t))
      (should (equal "Sending failed: Cannot connect to mx.invalid:587: the command \
sh ended with status 4"
                     (smtpmail-test-send)))
      (should (equal "here|$(id); mx.invalid:587\n" (smtpmail-test-text file))))
    (let ((smtpmail-proxy '(command "no-such-program-here"))
          (smtpmail-smtp-server "mx.invalid"))
      (should (string-match-p "no-such-program-here, which .smtpmail-proxy. names"
                              (smtpmail-test-send))))))

(ert-deftest smtpmail-proxy-what-a-command-complains-of-is-told ()
  "Made visible, in the error."
  (let ((smtpmail-proxy '(command "sh" "-c" "printf 'no\\033[2J way\\n' >&2; exit 255"))
        (smtpmail-smtp-server "mx.invalid")
        (inhibit-message t))
    (should (string-match-p "sh ended with status 255: no^\\[\\[2J way"
                            (smtpmail-test-send)))))

(ert-deftest smtpmail-proxy-this-machine-is-another-one-behind-it ()
  "No password in clear, which a server on this very machine would get."
  (smtpmail-test-with-server (server "--user" "alice" "--password" smtpmail-test-canary
                                     "--caps" "AUTH PLAIN")
    (smtpmail-test-with-directory directory
      (let* ((netrc (expand-file-name "netrc" directory))
             (auth-sources (list netrc))
             (port (smtpmail-test-server-port server)))
        (with-temp-file netrc
          (insert (format "machine localhost port %d login alice password %s\n"
                          port smtpmail-test-canary)))
        (auth-source-forget-all-cached)
        (should-not (smtpmail-test-send))
        (should (equal "alice" (alist-get 'auth_user (smtpmail-test-message server))))
        (let ((smtpmail-proxy smtpmail-proxy-tests--relay))
          (should (smtpmail-test-send)))
        (should (= 1 (length (smtpmail-test-messages server))))))))

(ert-deftest smtpmail-proxy-refusals-name-the-proxy ()
  "And the doctor cures the setting for it."
  (let* ((proxy (smtpmail-proxy-tests--proxy
                 '("\5\0" "\5\2\0\1\0\0\0\0\0\0")))
         (port (smtpmail-proxy-tests--port proxy))
         (smtpmail-proxy `(socks5 "127.0.0.1" ,port))
         (smtpmail-smtp-server "mx.invalid")
         (smtpmail-smtp-service 587)
         (smtpmail-trust-file nil)
         (auth-sources nil)
         (inhibit-message t))
    (unwind-protect
        (let ((said (format "the SOCKS5 proxy 127.0.0.1:%d did not connect to the \
server: its rules do not allow it" port)))
          (should (equal (format "Sending failed: Cannot connect to mx.invalid:587: %s"
                                 said)
                         (smtpmail-test-send)))
          (let ((finding (assoc "Proxy"
                                (mapcar #'cdr
                                        (smtpmail-doctor-findings
                                         (smtpmail-doctor-probe
                                          (smtpmail-proxy-tests--probe)))))))
            (should (equal said (nth 1 finding)))
            (should (string-match-p
                     (format "SOCKS5 proxy 127.0.0.1:%d: correct .smtpmail-proxy." port)
                     (nth 2 finding)))))
      (delete-process proxy))))

(defun smtpmail-proxy-tests--probe ()
  "Return the request of a probe."
  (append '(:probe t) (smtpmail--account-request (smtpmail--host))))

(ert-deftest smtpmail-proxy-a-login-is-auth-source-s-and-is-never-shown ()
  "By host and port of the proxy; without one, the send fails in batch."
  (smtpmail-test-with-directory directory
    (let* ((netrc (expand-file-name "netrc" directory))
           (heard "")
           (proxy (make-network-process
                   :name "proxy" :server t :host "127.0.0.1" :service t
                   :family 'ipv4 :noquery t :coding 'binary
                   :filter
                   (lambda (process octets)
                     (setq heard (concat heard octets))
                     (process-send-string
                      process
                      (cond ((equal octets "\5\1\0") "\5\377")
                            ((equal octets "\5\2\0\2") "\5\2")
                            ((string-prefix-p "\1" octets) "\1\0")
                            (t "\5\5\0\1\0\0\0\0\0\0"))))))
           (port (smtpmail-proxy-tests--port proxy))
           (smtpmail-proxy `(socks5 "127.0.0.1" ,port))
           (smtpmail-smtp-server "mx.invalid")
           (smtpmail-trust-file nil)
           (auth-source-do-cache nil)
           (auth-sources (list netrc))
           (inhibit-message t))
      (with-temp-file netrc
        (insert (format "machine 127.0.0.1 port 1 login no password no\n\
machine 127.0.0.1 port %d login alice password %s\n" port smtpmail-test-canary)))
      (unwind-protect
          (let ((why (smtpmail-test-send)))
            (should (string-match-p "connection refused\\'" why))
            (should (string-search (format "\1\5alice%c%s" (length smtpmail-test-canary)
                                           smtpmail-test-canary)
                                   heard))
            (smtpmail-test-should-hide-canary
             why (with-current-buffer (smtpmail-session-trace-name "mx.invalid")
                   (buffer-string)))
            ;; Another user has none.
            (setq smtpmail-proxy `(socks5 "127.0.0.1" ,port "bob"))
            (should (string-match-p "wants a login" (smtpmail-test-send))))
        (delete-process proxy)
        (smtpmail-test-kill-traces)))))

(ert-deftest smtpmail-proxy-bad-settings-are-named ()
  "Before anything is done."
  (let ((smtpmail-smtp-server "mx.invalid"))
    (dolist (smtpmail-proxy '((socks4 "h" 1) (socks5 "h") (socks5 "" 1) (http "h" 0)
                              (http "h" 1 2) (command) (command 1) (command "x" . y)
                              "socks5://h:1"))
      (should (string-match-p "smtpmail-proxy.*is not" (smtpmail-test-send))))))

(ert-deftest smtpmail-proxy-no-server-is-looked-for-behind-it ()
  "What would look a name up, and connect, does not."
  (let ((smtpmail-smtp-server nil)
        (smtpmail-proxy '(socks5 "127.0.0.1" 9050)))
    (cl-letf (((symbol-function 'smtpmail-auth-can-prompt-p) #'always)
              ((symbol-function 'read-string) (lambda (&rest _) (error "Asked"))))
      (should (string-match-p "no server is looked for" (smtpmail-test-send))))))

(ert-deftest smtpmail-proxy-advice-that-has-no-effect-is-told-once ()
  "With what does have one; not where that is set."
  (smtpmail-test-with-server (server)
    (let ((smtpmail-proxy--advice-told nil)
          (warnings nil))
      (advice-add 'open-network-stream :around #'apply '((name . tests)))
      (unwind-protect
          (cl-letf (((symbol-function 'display-warning)
                     (lambda (_type text &rest _) (push text warnings))))
            (let ((smtpmail-proxy smtpmail-proxy-tests--relay))
              (should-not (smtpmail-test-send)))
            (should-not warnings)
            (should-not (smtpmail-test-send))
            (should-not (smtpmail-test-send)))
        (advice-remove 'open-network-stream 'tests))
      (should (= 1 (length warnings)))
      (should (string-match-p "no effect on sending mail, for which .smtpmail-proxy. is"
                              (car warnings))))))

(ert-deftest smtpmail-proxy-of-an-account-for-queue-and-background ()
  "Each account by its own way, now and later."
  (smtpmail-background-tests--with (server)
    (let* ((port smtpmail-smtp-service)
           (account (cons "x" (list :server "mx.invalid" :service port
                                    :security 'plain
                                    :proxy smtpmail-proxy-tests--relay))))
      (let ((smtpmail-accounts (list (cons t (append '(:name "x") (cdr account))))))
        (smtpmail-accounts-with (smtpmail-accounts-bindings account)
          (smtpmail-background-tests--send "In the background"))
        (smtpmail-background-tests--wait 'sent)
        (let ((smtpmail-send-in-background nil)
              (smtpmail-queue-mail t))
          (smtpmail-accounts-with (smtpmail-accounts-bindings account)
            (smtpmail-background-tests--send "Queued")))
        (smtpmail-send-queued-mail)
        (should (= 2 (length (smtpmail-test-messages server))))
        (should-not smtpmail-proxy)))))

(ert-deftest smtpmail-proxy-what-was-to-go-by-one-never-goes-directly ()
  "Its account may be gone when it is sent; the message waits."
  (smtpmail-test-with-server (server)
    (smtpmail-test-with-directory queue
      (let ((smtpmail-queue-dir queue)
            (smtpmail-queue-mail t)
            (smtpmail-proxy smtpmail-proxy-tests--relay))
        (should-not (smtpmail-test-send))
        (let ((smtpmail-proxy nil)
              (why "was to go by a proxy"))
          (should (string-match-p why (cadr (should-error (smtpmail-send-queued-mail)))))
          (advice-add 'smtpmail-via-smtp :before #'ignore)
          (unwind-protect
              (should (string-match-p
                       why (cadr (should-error (smtpmail-send-queued-mail)))))
            (advice-remove 'smtpmail-via-smtp #'ignore))
          (should (string-match-p
                   why (cadr (should-error
                              (smtpmail-background-from-entry
                               (car (plist-get (smtpmail-outbox-entries) :entries))
                               (smtpmail-outbox--place))))))
          (should-not (smtpmail-test-messages server)))
        (smtpmail-send-queued-mail)
        (should (smtpmail-test-message server))))))

(ert-deftest smtpmail-proxy-a-login-in-the-background-asks-nobody ()
  "If auth-source has it; and a proxy that is away is the network's fault."
  (smtpmail-background-tests--with (server)
    (smtpmail-test-with-directory directory
      (let* ((netrc (expand-file-name "netrc" directory))
             (heard "")
             (proxy (make-network-process
                     :name "proxy" :server t :host "127.0.0.1" :service t
                     :family 'ipv4 :noquery t :coding 'binary
                     :filter
                     (lambda (process octets)
                       (setq heard (concat heard octets))
                       (process-send-string
                        process (if (equal octets "\5\1\0") "\5\377" "\5\5")))))
             (port (smtpmail-proxy-tests--port proxy))
             (smtpmail-background--network-pause 600)
             (smtpmail-proxy `(socks5 "127.0.0.1" ,port))
             (auth-source-do-cache nil)
             (auth-sources (list netrc)))
        (with-temp-file netrc
          (insert (format "machine 127.0.0.1 port %d login alice password %s\n"
                          port smtpmail-test-canary)))
        (unwind-protect
            (cl-letf* ((asked nil)
                       ((symbol-function 'smtpmail-ask-later)
                        (lambda (_) (setq asked t))))
              (smtpmail-background-tests--send)
              (smtpmail-test-wait "the delay"
                                  (lambda () (smtpmail-background-mails 'delayed)))
              ;; Not before it was asked for.
              (should (string-prefix-p "\5\1\0\5\2\0\2" heard))
              (let ((mail (car (smtpmail-background-mails 'delayed))))
                (should (eq 'network (smtpmail-background-mail-reason mail)))
                (should (string-match-p "kind of login that is not known here (5)"
                                        (smtpmail-background-mail-why mail)))
                (smtpmail-test-should-hide-canary (format "%S" mail)))
              (should-not asked))
          (delete-process proxy))))))

(provide 'smtpmail-proxy-tests)

;;; smtpmail-proxy-tests.el ends here
