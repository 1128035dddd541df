;;; smtpmail-setup-terminal-tests.el --- M-x smtpmail-setup at a terminal  -*- lexical-binding: t -*-

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

;; The whole way of a user who knows only the mail address, and those of others
;; who name the server, mistype the password, or leave, at a real terminal.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-network)
  (require 'smtpmail-terminal))

(defun smtpmail-setup-terminal-tests--fresh (server function)
  "Call FUNCTION with the terminal of an Emacs that knows nothing of SERVER.
It can save, and it trusts SERVER's certificate."
  (smtpmail-terminal--call
   server
   '((setq smtpmail-smtp-server nil
           smtpmail-smtp-service 25
           smtpmail-trust-file nil
           auth-sources '("~/.authinfo")
           user-mail-address "me@example.org"
           user-init-file (concat tests-directory "none.el")
           custom-file (concat tests-directory "custom.el"))
     (require 'smtpmail-setup)
     ;; What was begun before these forms swallows a C-g, too.
     (setq native-comp-jit-compilation nil
           native-comp-deferred-compilation nil)
     (dolist (process (process-list))
       (when (string-prefix-p "Compiling" (process-name process))
         (delete-process process)))
     (global-set-key
      (kbd "<f8>")
      (lambda () (interactive)
        (tests-note "state"
                    (list smtpmail-smtp-server smtpmail-smtp-service
                          smtpmail-stream-type smtpmail-smtp-user smtpmail-accounts
                          send-mail-function
                          (get 'smtpmail-auth-forget 'smtpmail-auth--typed))))))
   function))

(defun smtpmail-setup-terminal-tests--file (terminal name)
  "Return the text of the file NAME in the home of TERMINAL, or nil."
  (smtpmail-test-text (expand-file-name name (smtpmail-terminal-directory terminal))))

(defun smtpmail-setup-terminal-tests--state (terminal)
  "Return what the Emacs of TERMINAL has set."
  (smtpmail-terminal-keys terminal "F8")
  (smtpmail-terminal-note terminal "state"))

(defun smtpmail-setup-terminal-tests--untouched (terminal)
  "Check that nothing has changed in the Emacs of TERMINAL, or in its files."
  (should (equal (seq-take (smtpmail-setup-terminal-tests--state terminal) 5)
                 '(nil 25 nil nil nil)))
  (should-not (nth 6 (smtpmail-setup-terminal-tests--state terminal)))
  (should-not (smtpmail-setup-terminal-tests--file terminal "custom.el"))
  (should-not (smtpmail-setup-terminal-tests--file terminal ".authinfo")))

(defun smtpmail-setup-terminal-tests--call (terminal address &rest prefix)
  "Call the command at TERMINAL for ADDRESS, after PREFIX, keys."
  (apply #'smtpmail-terminal-keys terminal (append prefix '("M-x")))
  (smtpmail-terminal-type terminal "smtpmail-setup")
  (smtpmail-terminal-shows terminal "^Your mail address (default me@example\\.org): ")
  (smtpmail-terminal-type terminal address))

(defun smtpmail-setup-terminal-tests--begin (terminal server)
  "Begin at TERMINAL to set SERVER up by hand, as far as the password."
  (smtpmail-setup-terminal-tests--call terminal "jane@example.org" "C-u")
  (smtpmail-terminal-shows terminal "^Server that takes your mail")
  (smtpmail-terminal-type terminal "localhost")
  (smtpmail-terminal-shows terminal "^Port (465: TLS")
  (smtpmail-terminal-type terminal
                          (number-to-string (smtpmail-test-server-port server)))
  (smtpmail-terminal-shows terminal "^Protected by (default STARTTLS): ")
  (smtpmail-terminal-keys terminal "Enter")
  (smtpmail-terminal-shows terminal "^Password of jane@example\\.org at localhost"))

(defconst smtpmail-setup-terminal-tests--server
  (list "--user" "jane@example.org" "--password" smtpmail-test-canary "--require-auth")
  "Options of a server that knows jane.")

(ert-deftest smtpmail-setup-terminal-tests-by-hand ()
  "Without any look-up: a wrong password, the right one, saved, and a test mail."
  (smtpmail-test-with-server (server smtpmail-setup-terminal-tests--server)
    (smtpmail-setup-terminal-tests--fresh
     server
     (lambda (terminal)
       (smtpmail-setup-terminal-tests--begin terminal server)
       (smtpmail-terminal-type terminal "wr0ng")
       (smtpmail-terminal-shows terminal "It does not work")
       (smtpmail-terminal-shows terminal "Type user name and password anew")
       (smtpmail-setup-terminal-tests--untouched-files terminal)
       (smtpmail-terminal-keys terminal "w")
       (smtpmail-terminal-shows terminal "^Password of jane@example\\.org")
       (smtpmail-terminal-type terminal smtpmail-test-canary)
       (smtpmail-terminal-shows terminal "Try it (t)\\?")
       (smtpmail-terminal-keys terminal "t")
       (smtpmail-terminal-shows terminal "It works\\.  Save it (v)\\?")
       (smtpmail-setup-terminal-tests--untouched-files terminal)
       (smtpmail-terminal-keys terminal "v")
       (smtpmail-terminal-shows terminal "^Save it as (default the variables, for all other mail): ")
       (smtpmail-terminal-keys terminal "Enter")
       (smtpmail-terminal-shows terminal "in ~/custom\\.el\\? (y or n)")
       (smtpmail-terminal-shows terminal "To be set +.smtpmail-stream-type. to starttls")
       (smtpmail-setup-terminal-tests--untouched-files terminal)
       (smtpmail-terminal-keys terminal "y")
       (smtpmail-terminal-shows
        terminal "^Save the password in (default ~/\\.authinfo (NOT encrypted)): ")
       (should-not (smtpmail-setup-terminal-tests--file terminal ".authinfo"))
       (smtpmail-terminal-keys terminal "Enter")
       (smtpmail-terminal-shows terminal "Saved the password in ~/\\.authinfo")
       (smtpmail-terminal-keys terminal "m")
       (smtpmail-terminal-shows terminal "Sent a test mail to jane@example\\.org")
       (smtpmail-terminal-keys terminal "q")
       (smtpmail-terminal-shows terminal "^Saved .*")
       (let ((message (smtpmail-test-message server))
             (custom (smtpmail-setup-terminal-tests--file terminal "custom.el"))
             (state (smtpmail-setup-terminal-tests--state terminal)))
         (should (equal (alist-get 'from message) "jane@example.org"))
         (should (equal (alist-get 'to message) '("jane@example.org")))
         (should (equal (seq-take state 4)
                        (list "localhost" (smtpmail-test-server-port server)
                              'starttls "jane@example.org")))
         (should (eq (nth 5 state) 'smtpmail-send-it))
         (should-not (nth 6 state))
         (should (string-search "'(smtpmail-stream-type 'starttls)" custom))
         (smtpmail-test-should-hide-canary custom)
         ;; Emacsen differ in the order.
         (should (equal (sort (split-string (smtpmail-setup-terminal-tests--file
                                             terminal ".authinfo"))
                              #'string<)
                        (sort (list "machine" "localhost"
                                    "port" (number-to-string
                                            (smtpmail-test-server-port server))
                                    "login" "jane@example.org"
                                    "password" smtpmail-test-canary)
                              #'string<)))
         (should (= #o600 (file-modes (expand-file-name
                                       ".authinfo"
                                       (smtpmail-terminal-directory terminal))))))
       ;; And mail goes from now on, by what was saved.
       (smtpmail-terminal-keys terminal "F7")
       (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
       (should (= 2 (length (smtpmail-test-messages server))))))))

(defun smtpmail-setup-terminal-tests--untouched-files (terminal)
  "Check that nothing was saved at TERMINAL."
  (should-not (smtpmail-setup-terminal-tests--file terminal "custom.el"))
  (should-not (smtpmail-setup-terminal-tests--file terminal ".authinfo")))

(ert-deftest smtpmail-setup-terminal-tests-quit ()
  "\\`C-g' at each question, and q, leave everything as it was."
  (smtpmail-test-with-server (server smtpmail-setup-terminal-tests--server)
    (smtpmail-setup-terminal-tests--fresh
     server
     (lambda (terminal)
       ;; At the password; and behind it, at each question of saving.
       (dolist (keys '(() ("t") ("v") ("v" "Enter") ("v" "Enter" "y-stop")))
         (smtpmail-setup-terminal-tests--begin terminal server)
         (when keys
           (smtpmail-terminal-type terminal smtpmail-test-canary)
           (smtpmail-terminal-shows terminal "It works")
           (dolist (key keys)
             (pcase key
               ("t" (smtpmail-terminal-keys terminal "u")
                    (smtpmail-terminal-shows terminal "^User name at the server"))
               ("v" (smtpmail-terminal-keys terminal "v")
                    (smtpmail-terminal-shows terminal "^Save it as"))
               ("Enter" (smtpmail-terminal-keys terminal "Enter")
                        (smtpmail-terminal-shows terminal "(y or n)"))
               ("y-stop" (smtpmail-terminal-keys terminal "n")
                         (smtpmail-terminal-shows terminal "^Save the password in")))))
         (smtpmail-terminal-keys terminal "C-g")
         (smtpmail-terminal-shows terminal "Quit\\|Nothing was saved")
         (smtpmail-setup-terminal-tests--untouched terminal))))))

(ert-deftest smtpmail-setup-terminal-tests-silent-server ()
  "\\`C-g' ends the try of a server that says nothing."
  (smtpmail-test-with-server (server "--on" "greeting=silence")
    (smtpmail-setup-terminal-tests--fresh
     server
     (lambda (terminal)
       (smtpmail-setup-terminal-tests--begin terminal server)
       (smtpmail-terminal-type terminal smtpmail-test-canary)
       (smtpmail-terminal-shows terminal "Waiting for localhost: its greeting")
       (smtpmail-terminal-keys terminal "C-g")
       (smtpmail-terminal-shows terminal "Stopped; nothing was sent")
       (smtpmail-setup-terminal-tests--untouched terminal)))))

(ert-deftest smtpmail-setup-terminal-tests-account ()
  "With a server that is set already, the new one is offered as an account.
The password need not be saved: it holds for this Emacs."
  (smtpmail-test-with-server (server smtpmail-setup-terminal-tests--server)
    (smtpmail-terminal-with
        (terminal server
                  '(setq smtpmail-smtp-server "smtp.example.net"
                         user-init-file (concat tests-directory "none.el")
                         custom-file (concat tests-directory "custom.el")))
      (smtpmail-setup-terminal-tests--begin terminal server)
      (smtpmail-terminal-type terminal smtpmail-test-canary)
      (smtpmail-terminal-shows terminal "It works")
      (smtpmail-terminal-keys terminal "v")
      (smtpmail-terminal-shows terminal "^Save it as (default an account, for mail \
from jane@example\\.org): ")
      (smtpmail-terminal-keys terminal "Enter")
      (smtpmail-terminal-shows terminal "To be set +.smtpmail-accounts")
      (smtpmail-terminal-shows terminal "(y or n)")
      (smtpmail-terminal-keys terminal "y")
      (smtpmail-terminal-shows terminal "^Save the password in (default nowhere")
      (smtpmail-terminal-keys terminal "Enter")
      (smtpmail-terminal-shows terminal "kept until this Emacs ends")
      (smtpmail-terminal-keys terminal "q")
      (smtpmail-terminal-shows terminal "^Saved ")
      (smtpmail-terminal-keys terminal "M-:")
      (smtpmail-terminal-type
       terminal "(with-current-buffer \"mail\" (goto-char 1) \
(insert \"From: jane@example.org\\n\"))")
      (smtpmail-terminal-keys terminal "F7")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (should (equal (alist-get 'from (smtpmail-test-message server))
                     "jane@example.org"))
      (let ((custom (smtpmail-setup-terminal-tests--file terminal "custom.el")))
        (should (string-search "\"jane@example.org\" :server \"localhost\"" custom))
        (smtpmail-test-should-hide-canary custom)))))

(ert-deftest smtpmail-setup-terminal-tests-wrong-port ()
  "A wrong port is told and changed; the password need not be typed again.
A test mail saves nothing, and leaves no password behind."
  (smtpmail-test-with-server (server smtpmail-setup-terminal-tests--server)
    (let ((other (copy-sequence server)))
      (setf (smtpmail-test-server-port other) (smtpmail-test-quiet-port))
      (smtpmail-setup-terminal-tests--fresh
       server
       (lambda (terminal)
         (smtpmail-setup-terminal-tests--begin terminal other)
         (smtpmail-terminal-type terminal smtpmail-test-canary)
         (smtpmail-terminal-shows terminal "It does not work")
         (smtpmail-terminal-shows terminal "Nothing listens at port")
         (smtpmail-terminal-keys terminal "p")
         (smtpmail-terminal-shows terminal "^Port (465")
         (smtpmail-terminal-type terminal
                                 (number-to-string (smtpmail-test-server-port server)))
         (smtpmail-terminal-shows terminal "^Protected by (default STARTTLS)")
         (smtpmail-terminal-keys terminal "Enter")
         (smtpmail-terminal-shows terminal "Try it (t)")
         (smtpmail-terminal-keys terminal "t")
         (smtpmail-terminal-shows terminal "It works")
         (smtpmail-terminal-keys terminal "m")
         (smtpmail-terminal-shows terminal "Sent a test mail")
         (smtpmail-terminal-keys terminal "q")
         (smtpmail-terminal-shows terminal "^Sent a test mail")
         (should (smtpmail-test-message server))
         (smtpmail-setup-terminal-tests--untouched terminal))))))

(ert-deftest smtpmail-setup-terminal-tests-own-certificate ()
  "A certificate that nobody signed is asked about, and shown; then it works."
  (smtpmail-test-with-server (server smtpmail-setup-terminal-tests--server
                                     "--cert" "selfsigned")
    (smtpmail-setup-terminal-tests--fresh
     server
     (lambda (terminal)
       (smtpmail-setup-terminal-tests--begin terminal server)
       (smtpmail-terminal-type terminal smtpmail-test-canary)
       (smtpmail-terminal-shows terminal "self-signed")
       (smtpmail-terminal-keys terminal "o")
       (smtpmail-terminal-shows terminal "It works")
       (smtpmail-terminal-shows terminal "warning  Certificate")
       (smtpmail-terminal-keys terminal "q")
       (smtpmail-terminal-shows terminal "^Nothing was saved")
       (smtpmail-setup-terminal-tests--untouched terminal)))))

;;;; With a DNS

(defconst smtpmail-setup-terminal-tests--screen
  (expand-file-name "../doc/setup-screen.txt"
                    (file-name-directory (or load-file-name buffer-file-name)))
  "The screen in the manual.")

(ert-deftest smtpmail-setup-terminal-tests-address-only ()
  "Who knows the mail address only: SRV record, try, save, test mail.
The buffer is the one that the manual shows."
  (smtpmail-setup-terminal-tests--in-own-network
   '((require 'smtpmail-setup-terminal-tests)
     (tests-with-zone
      '(("_submissions._tcp.example.org SRV" . ((0 1 465 "smtp.example.org"))))
      (lambda ()
        (smtpmail-test-with-server
            (server "--port" "465" "--ssl" "--cert" "wildcard"
                    "--hostname" "smtp.example.org"
                    smtpmail-setup-terminal-tests--server)
          (smtpmail-setup-terminal-tests--fresh
           server
           (lambda (terminal)
             (smtpmail-setup-terminal-tests--call terminal "jane@example.org")
             (smtpmail-terminal-shows
              terminal "^Server, or another one (default smtp\\.example\\.org port 465, \
TLS from the beginning): ")
             (smtpmail-terminal-keys terminal "Enter")
             (smtpmail-terminal-shows terminal "^Password of jane@example")
             (smtpmail-terminal-type terminal smtpmail-test-canary)
             (smtpmail-terminal-shows terminal "It works")
             (smtpmail-terminal-keys terminal "v")
             (smtpmail-terminal-shows terminal "^Save it as")
             (smtpmail-terminal-keys terminal "Enter")
             (smtpmail-terminal-shows terminal "(y or n)")
             (smtpmail-terminal-keys terminal "y")
             (smtpmail-terminal-shows terminal "^Save the password in")
             (smtpmail-terminal-keys terminal "Enter")
             (smtpmail-terminal-shows terminal "Next\\?")
             (smtpmail-terminal-keys terminal "m")
             (smtpmail-terminal-shows terminal "Sent a test mail")
             (smtpmail-terminal-keys terminal "q")
             (smtpmail-terminal-shows terminal "^Saved")
             (should (equal (alist-get 'to (smtpmail-test-message server))
                            '("jane@example.org")))
             (smtpmail-terminal-keys terminal "M-:")
             (smtpmail-terminal-type
              terminal "(tests-note \"buffer\" (with-current-buffer \"*SMTP setup*\" \
(buffer-string)))")
             (smtpmail-setup-terminal-tests--compare
              (smtpmail-terminal-note terminal "buffer"))))))))))

(ert-deftest smtpmail-setup-terminal-tests-silent-dns ()
  "\\`C-g' ends the look-up in a DNS that does not answer, and leaves nothing."
  (smtpmail-setup-terminal-tests--in-own-network
   '((require 'smtpmail-setup-terminal-tests)
     (tests-with-zone
      '(("_submissions._tcp.example.org SRV" . "silence")
        ("_submission._tcp.example.org SRV" . "silence")
        ("example.org MX" . "silence"))
      (lambda ()
        (smtpmail-test-with-server (server)
          (smtpmail-setup-terminal-tests--fresh
           server
           (lambda (terminal)
             (smtpmail-setup-terminal-tests--call terminal "jane@example.org")
             (smtpmail-terminal-shows
              terminal "^Looking for the mail server of example\\.org (C-g stops)")
             (smtpmail-terminal-keys terminal "C-g")
             (smtpmail-terminal-shows terminal "^Quit")
             (smtpmail-setup-terminal-tests--untouched terminal)
             (smtpmail-terminal-keys terminal "M-:")
             (smtpmail-terminal-type
              terminal "(tests-note \"left\" (seq-filter (lambda (name) \
(string-match-p \"^dns\\\\|^smtpmail\" name)) (mapcar #'process-name (process-list))))")
             (should-not (smtpmail-terminal-note terminal "left"))))))))))

(ert-deftest smtpmail-setup-terminal-tests-outside-of-the-domain ()
  "A server that the DNS names outside of the domain is confirmed, or not used.
No password is asked for before that."
  (smtpmail-setup-terminal-tests--in-own-network
   '((require 'smtpmail-setup-terminal-tests)
     (tests-with-zone
      '(("_submissions._tcp.example.net SRV" . ((0 1 465 "smtp.example.org"))))
      (lambda ()
        (smtpmail-test-with-server
            (server "--port" "465" "--ssl" "--cert" "wildcard"
                    smtpmail-setup-terminal-tests--server)
          (smtpmail-setup-terminal-tests--fresh
           server
           (lambda (terminal)
             (dolist (answer '("yes" "no"))
               (smtpmail-setup-terminal-tests--call terminal "jane@example.net")
               (smtpmail-terminal-shows terminal "^Server, or another one")
               (smtpmail-terminal-keys terminal "Enter")
               (smtpmail-terminal-shows
                terminal "mail of example\\.net goes over smtp\\.example\\.org, which \
is outside of that")
               (smtpmail-terminal-type terminal answer)
               (smtpmail-terminal-shows terminal
                                        (if (equal answer "yes")
                                            "^Password of jane@example\\.net at smtp"
                                          "^Server that takes your mail"))
               (smtpmail-terminal-keys terminal "C-g")
               (smtpmail-terminal-shows terminal "^Quit"))
             (smtpmail-setup-terminal-tests--untouched terminal)
             (should-not (directory-files (smtpmail-test-server-spool server)
                                          nil "\\`session-"))))))))))

(defun smtpmail-setup-terminal-tests--in-own-network (forms)
  "Evaluate FORMS in another Emacs, in a network with a DNS and smtp.example.org."
  ;; It starts a third one, at a terminal.
  (let ((smtpmail-test-patience (* 4 smtpmail-test-patience)))
    (smtpmail-network-run (append smtpmail-network-dns forms)
                          '("smtp.example.org"))))

(defun smtpmail-setup-terminal-tests--compare (text)
  "Check that TEXT, of the buffer, is what the manual shows; or write that."
  (smtpmail-test-should-hide-canary text)
  (let ((steady (seq-reduce
                 (lambda (text pair)
                   (replace-regexp-in-string (car pair) (cdr pair) text t))
                 '(("valid\\(?:.\\|\n\\)*?SHA-256\\([ \n]+\\)[0-9a-f:]+\n"
                    . "valid\\1from May  1 00:00:00 2026 +00:00 until Jul 30 \
23:59:59\\12026 +00:00, SHA-256\\15e:0c:...:71\n")
                   ("[0-9]+-[0-9]+-[0-9]+ [0-9]+:[0-9]+:[0-9]+ [-+][0-9]+"
                    . "2026-05-04 20:31:07 +0200")
                   ("smtpmail test CA" . "Example CA")
                   ("127\\.0\\.0\\.1:465" . "192.0.2.25:465")
                   ("[^ ]+ is accepted" . "laptop.example.org is accepted")
                   ("~/custom\\.el" . "~/.emacs.el"))
                 (substring-no-properties text))))
    (if (getenv "SMTPMAIL_WRITE_SCREENS")
        (write-region steady nil smtpmail-setup-terminal-tests--screen)
      (should (equal steady (smtpmail-test-text
                             smtpmail-setup-terminal-tests--screen))))))

(provide 'smtpmail-setup-terminal-tests)

;;; smtpmail-setup-terminal-tests.el ends here
