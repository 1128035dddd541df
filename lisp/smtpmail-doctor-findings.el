;;; smtpmail-doctor-findings.el --- what the facts about a server mean  -*- lexical-binding: t -*-

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

;; Facts about a server (smtpmail-doctor-probe.el) become findings: each is
;; right, a warning, or a failure with the sentence that cures it.  Where a
;; cure is a guess, the guess is tried before it is told.

;;; Code:

(require 'cl-lib)
(require 'parse-time)
(require 'seq)
(require 'subr-x)
(require 'smtpmail)
(require 'smtpmail-doctor-probe)
(require 'smtpmail-doctor-lines)

(defconst smtpmail-doctor-findings--clock-tolerance 300
  "Seconds by which two clocks may differ; mail takes longer.")

(defconst smtpmail-doctor-findings--guess-patience 5
  "Seconds for each connection of a guess.")

(defvar smtpmail-doctor-findings--ports
  '((587 . opportunistic) (465 . implicit) (25 . opportunistic))
  "Ports where a server is looked for, and how it begins there.")

(defvar smtpmail-doctor-findings--all nil
  "The findings so far, the last one first.")

(defun smtpmail-doctor-findings--add (level what text &optional remedy)
  "Add a finding: LEVEL is ok, warning or failure; WHAT is it about.
TEXT is what was found, REMEDY the sentence that cures it."
  (push (list level what text remedy) smtpmail-doctor-findings--all))

(defun smtpmail-doctor-findings (facts)
  "Return what FACTS mean, a list of (LEVEL WHAT TEXT REMEDY)."
  (let ((smtpmail-doctor-findings--all nil))
    (smtpmail-doctor-findings--network)
    (if (smtpmail-doctor-probe-get facts :proxy)
        (smtpmail-doctor-findings--proxy facts)
      (smtpmail-doctor-findings--addresses facts))
    (smtpmail-doctor-findings--greeting facts)
    (smtpmail-doctor-findings--ehlo facts)
    (smtpmail-doctor-findings--tls facts)
    (smtpmail-doctor-findings--login facts)
    (smtpmail-doctor-findings--size facts)
    (smtpmail-doctor-findings--envelope facts)
    (smtpmail-doctor-findings--clock facts)
    (smtpmail-doctor-findings--end facts)
    (nreverse smtpmail-doctor-findings--all)))

(defun smtpmail-doctor-findings--failed-p (&rest topics)
  "Return non-nil if a failure about one of TOPICS, or any, was found."
  (seq-some (lambda (finding)
              (and (eq (car finding) 'failure)
                   (or (null topics) (member (nth 1 finding) topics))))
            smtpmail-doctor-findings--all))

(defun smtpmail-doctor-findings--text (reply)
  "Return REPLY, lines with codes, as one line."
  (concat (substring (car reply) 0 (min 3 (length (car reply)))) " "
          (mapconcat (lambda (line) (substring line (min 4 (length line))))
                     reply " / ")))

;;;; Guesses

(defun smtpmail-doctor-findings--guess (facts port security)
  "Return what is seen at PORT of the server of FACTS with SECURITY, or nil.
It is nil unless a server greets there, or shows a certificate."
  (let ((seen (smtpmail-doctor-probe
               (append (list :port port :security security
                             :login-required nil :sender nil
                             :connect-timeout
                             smtpmail-doctor-findings--guess-patience
                             :timeout smtpmail-doctor-findings--guess-patience)
                       (smtpmail-doctor-facts-request facts)))))
    (and (or (smtpmail-doctor-facts-certificate seen)
             (string-prefix-p "220" (or (car (smtpmail-doctor-probe-greeting seen))
                                        "")))
         seen)))

(defun smtpmail-doctor-findings--set (security)
  "Return how to set the variable so that SECURITY, of the engine, is used."
  (format "set `smtpmail-stream-type' to `%s'"
          (pcase security
            ('implicit 'ssl)
            ('never 'plain)
            (_ 'starttls))))

(defun smtpmail-doctor-findings--elsewhere (facts)
  "Return a sentence about ports where the server of FACTS can be met, or nil."
  (when-let ((found (seq-find
                     (pcase-lambda (`(,port . ,security))
                       (and (not (eql port (smtpmail-doctor-probe-get facts :port)))
                            (smtpmail-doctor-findings--guess facts port security)))
                     smtpmail-doctor-findings--ports)))
    (format "A mail server answers at port %d: set `smtpmail-smtp-service' to %d, \
and %s" (car found) (car found)
            (smtpmail-doctor-findings--set (cdr found)))))

;;;; The way there

(defun smtpmail-doctor-findings--network ()
  "Tell of advice to functions that do not connect any more."
  (let ((advised nil))
    (advice-mapc (lambda (&rest _) (setq advised t)) 'open-network-stream)
    (when advised
      (smtpmail-doctor-findings--add
       'warning "Advice" "`open-network-stream' is advised, perhaps for a proxy"
       "That has no effect on mail: the engine connects itself.  Set \
`smtpmail-proxy' instead"))))

(defun smtpmail-doctor-findings--proxy (facts)
  "Tell whether the server of FACTS was reached by the proxy."
  (let* ((proxy (smtpmail-doctor-probe-get facts :proxy))
         (failure (smtpmail-doctor-facts-failure facts))
         (name (if (eq (plist-get proxy :kind) 'command)
                   (format "the command %s"
                           (string-join (plist-get proxy :arguments) " "))
                 (format "%s proxy %s:%s" (upcase (symbol-name (plist-get proxy :kind)))
                         (plist-get proxy :host) (plist-get proxy :port)))))
    (if (eq (plist-get failure :phase) 'proxy)
        (smtpmail-doctor-findings--add
         'failure "Proxy" (plist-get failure :text)
         (format "The server is reached by %s: correct `smtpmail-proxy' (or \
:proxy of the account), or let whoever runs the proxy allow port %s"
                 name (smtpmail-doctor-probe-get facts :port)))
      (smtpmail-doctor-findings--add 'ok "Proxy" name))))

(defun smtpmail-doctor-findings--addresses (facts)
  "Tell of the addresses in FACTS."
  (let* ((addresses (smtpmail-doctor-facts-addresses facts))
         (failure (smtpmail-doctor-facts-failure facts))
         (host (smtpmail-doctor-probe-get facts :host))
         (port (smtpmail-doctor-probe-get facts :port))
         (some (rassq nil addresses)))
    (pcase-dolist (`(,address . ,why) addresses)
      (cond
       ((null why)
        (smtpmail-doctor-findings--add 'ok "Address" (concat address " answers")))
       (some
        (smtpmail-doctor-findings--add
         'warning "Address" (plist-get why :text)
         "Mail takes another address; tell whoever runs the server"))
       (t (smtpmail-doctor-findings--add 'failure "Address" (plist-get why :text)))))
    (cond
     (some)
     (addresses
      (setf (nth 3 (car smtpmail-doctor-findings--all))
            (or (smtpmail-doctor-findings--elsewhere facts)
                (format "Nothing listens at port %s of %s, or something between \
here and there forbids it: correct `smtpmail-smtp-service' or \
`smtpmail-smtp-server'" port host))))
     ((memq (plist-get failure :kind) '(resolve timeout))
      (smtpmail-doctor-findings--add
       'failure "Address" (plist-get failure :text)
       (format "No server is known by the name %s: correct \
`smtpmail-smtp-server', or see whether this machine is online" host))))))

(defun smtpmail-doctor-findings--greeting (facts)
  "Tell of the greeting in FACTS."
  (let* ((greeting (smtpmail-doctor-probe-greeting facts))
         (failure (smtpmail-doctor-facts-failure facts))
         (port (smtpmail-doctor-probe-get facts :port)))
    (cond
     ((and greeting (string-prefix-p "220" (car greeting)))
      (smtpmail-doctor-findings--add
       'ok "Greeting" (smtpmail-doctor-findings--text greeting)))
     (greeting
      (smtpmail-doctor-findings--add
       'failure "Greeting" (smtpmail-doctor-findings--text greeting)
       "The server does not talk to this machine: its words say why"))
     ((and (eq (plist-get failure :phase) 'greeting)
           (rassq nil (smtpmail-doctor-facts-addresses facts)))
      (smtpmail-doctor-findings--add
       'failure "Greeting" (plist-get failure :text)
       (if (and (not (eq (smtpmail-doctor-probe-get facts :security) 'implicit))
                (smtpmail-doctor-findings--guess facts port 'implicit))
           (format "Port %s begins with TLS: %s" port
                   (smtpmail-doctor-findings--set 'implicit))
         (or (smtpmail-doctor-findings--elsewhere facts)
             (format "What listens at port %s does not greet as a mail server: \
correct `smtpmail-smtp-service'" port))))))))

(defconst smtpmail-doctor-findings--extensions
  '(("8BITMIME" . "8-bit text") ("AUTH" . "login")
    ("CHUNKING" . "the text in one piece") ("DSN" . "delivery reports")
    ("ENHANCEDSTATUSCODES" . "precise error codes")
    ("PIPELINING" . "commands in one go") ("REQUIRETLS" . "TLS all the way")
    ("SIZE" . "a size limit told in advance")
    ("SMTPUTF8" . "addresses beyond ASCII") ("STARTTLS" . "TLS on request"))
  "Extensions in words.")

(defun smtpmail-doctor-findings--ehlo (facts)
  "Tell of our name and of the extensions in FACTS."
  (let* ((name (smtpmail-doctor-probe-get facts :ehlo-name))
         (replies (smtpmail-doctor-probe-replies facts "EHLO "))
         (last-reply (car (last replies)))
         (helo (car (last (smtpmail-doctor-probe-replies facts "HELO ")))))
    (cond
     ((null last-reply))
     ((string-prefix-p "250" (car last-reply))
      (smtpmail-doctor-findings--add
       'ok "Our name" (format "%s is accepted in EHLO" name))
      (smtpmail-doctor-findings--add
       'ok "Server does"
       (let ((keywords (smtpmail-doctor-probe-keywords last-reply)))
         (if keywords
             (mapconcat
              (pcase-lambda (`(,keyword . ,_))
                (or (alist-get keyword smtpmail-doctor-findings--extensions
                               nil nil #'equal)
                    keyword))
              keywords ", ")
           "nothing but plain SMTP"))))
     ((and helo (string-prefix-p "250" (car helo)))
      (smtpmail-doctor-findings--add
       'warning "Our name" (smtpmail-doctor-findings--text last-reply)
       "The server knows only HELO, so neither TLS nor login: look for a newer one"))
     (t
      (smtpmail-doctor-findings--add
       'failure "Our name"
       (format "%s is refused: %s" name (smtpmail-doctor-findings--text last-reply))
       "Set `smtpmail-ehlo-name' to a name that the server takes: the full name \
of this machine, or \"[127.0.0.1]\"")))))

;;;; TLS

(defun smtpmail-doctor-findings--tls (facts)
  "Tell of TLS in FACTS."
  (let* ((secured (smtpmail-doctor-facts-secured facts))
         (failure (smtpmail-doctor-facts-failure facts))
         (security (smtpmail-doctor-probe-get facts :security))
         (host (smtpmail-doctor-probe-get facts :host))
         (port (smtpmail-doctor-probe-get facts :port))
         (text (plist-get failure :text)))
    (cond
     ((smtpmail-doctor-facts-certificate facts)
      (smtpmail-doctor-findings--certificate facts))
     (secured
      (smtpmail-doctor-findings--add
       'ok "TLS" (format "%s, %s" (plist-get secured :version)
                         (plist-get secured :cipher)))
      (smtpmail-doctor-findings--add
       'ok "Certificate"
       (smtpmail-doctor-findings--describe (plist-get secured :certificate))))
     ((eq (plist-get failure :kind) 'certificate)
      (smtpmail-doctor-findings--add
       'failure "Certificate" text
       "If the change is right: M-x smtpmail-forget-server, then trust the new one"))
     ((eq (plist-get failure :phase) 'handshake)
      (smtpmail-doctor-findings--add
       'failure "TLS" text
       (if-let ((seen (and (eq security 'implicit)
                           (smtpmail-doctor-findings--guess
                            facts port 'opportunistic))))
           (format "Port %s does not begin with TLS: %s" port
                   (smtpmail-doctor-findings--set
                    (if (smtpmail-doctor-probe-replies seen "STARTTLS")
                        'required
                      'never)))
         "The server and this machine find no common way to encrypt: whoever \
runs the server can say why")))
     ((and (eq (plist-get failure :kind) 'insecure)
           (eq (plist-get failure :phase) 'starttls))
      (smtpmail-doctor-findings--add
       'failure "TLS" (format "%s does not offer STARTTLS at port %s" host port)
       (or (smtpmail-doctor-findings--elsewhere facts)
           "Ask whoever runs the server for a port with TLS, or, if the mail may \
be read on its way, set `smtpmail-stream-type' to `plain'")))
     ((eq (plist-get failure :kind) 'insecure)
      (unless (smtpmail-doctor-facts-in-clear facts)
        (smtpmail-doctor-findings--add
         'failure "TLS" text
         "Find out why TLS is gone before you send anything")))
     ((smtpmail-doctor-findings--failed-p))
     (t
      (smtpmail-doctor-findings--add
       'warning "TLS" "The connection is not encrypted"
       (if (smtpmail-doctor-findings--offers-p facts "STARTTLS")
           "The server offers it: set `smtpmail-stream-type' to `starttls'"
         "Everybody on the way can read the mail: use a port with TLS, or a \
server of this machine"))))))

(defun smtpmail-doctor-findings--offers-p (facts keyword)
  "Return the arguments of KEYWORD, in a list, if the last EHLO in FACTS has it."
  (let ((reply (car (last (smtpmail-doctor-probe-replies facts "EHLO ")))))
    (and reply
         (string-prefix-p "250" (car reply))
         (assoc keyword (smtpmail-doctor-probe-keywords reply)))))

(defun smtpmail-doctor-findings--describe (certificate)
  "Return what CERTIFICATE, a plist, says."
  (format "for %s, signed by %s, valid from %s until %s, SHA-256 %s"
          (if (plist-get certificate :names)
              (string-join (plist-get certificate :names) ", ")
            "no host")
          (plist-get certificate :issuer)
          (plist-get certificate :not-before)
          (plist-get certificate :not-after)
          (plist-get certificate :fingerprint)))

(defun smtpmail-doctor-findings--certificate (facts)
  "Tell of the certificate in FACTS that was not accepted."
  (let* ((certificate (smtpmail-doctor-facts-certificate facts))
         (problems (plist-get certificate :problems))
         (names (plist-get certificate :names))
         (now (format-time-string "%F %T %z")))
    (smtpmail-doctor-findings--add
     (if (smtpmail-doctor-facts-secured facts) 'warning 'failure)
     "Certificate"
     (plist-get (plist-get certificate :failure) :text)
     (cond
      ((memq 'not-yet-valid problems)
       (format "This machine's clock says %s: set it right; if it is right, \
whoever runs the server has to get a certificate that is in force" now))
      ((memq 'expired problems)
       (format "Whoever runs the server has to renew the certificate, unless \
this machine's clock, which says %s, is wrong" now))
      ((memq 'wrong-name problems)
       (format "Set `smtpmail-smtp-server' to the name that the certificate has: %s"
               (string-join names " or ")))
      ((seq-intersection problems '(no-name weak-key weak-signature wrong-usage))
       "Whoever runs the server has to get another certificate")
      (t
       "If this is your own server, have its certificate, or that of the authority \
that signed it, in a file of `gnutls-trustfiles'; or send a mail from an Emacs \
that can ask you, and trust it there")))))

;;;; Login

(defun smtpmail-doctor-findings--login (facts)
  "Tell of the login in FACTS."
  (let ((offered (smtpmail-doctor-facts-offered facts))
        (ended (smtpmail-doctor-facts-failure facts)))
    (cond
     (offered
      (smtpmail-doctor-findings--add
       'ok "Mechanisms"
       (concat (string-join offered " ")
               (when-let ((first (car (smtpmail-doctor-probe-mechanisms facts))))
                 (format "; %s is our first choice"
                         (upcase (symbol-name first))))))
      (smtpmail-doctor-findings--credentials facts))
     ((or (smtpmail-doctor-findings--failed-p)
          (null (smtpmail-doctor-probe-replies facts "EHLO "))))
     (t
      (smtpmail-doctor-probe-look-up facts)
      (let ((login (smtpmail-doctor-facts-login facts)))
        (cond
         ((and (or login ended)
               (not (smtpmail-doctor-facts-secured facts))
               (smtpmail-doctor-findings--offers-p facts "STARTTLS"))
          (smtpmail-doctor-findings--add
           'failure "Login" "The server offers no login without TLS"
           (smtpmail-doctor-findings--sentence
            (smtpmail-doctor-findings--set 'required))))
         (login
          (smtpmail-doctor-findings--add
           (if ended 'failure 'warning) "Login"
           (format "There is a password (%s), and the server offers no login"
                   (smtpmail-auth-login-source login))
           "Use the port for users, 587 or 465: set `smtpmail-smtp-service'"))
         (t
          (smtpmail-doctor-findings--add
           'ok "Login" "none: the server offers none"))))))))

(defun smtpmail-doctor-findings--sentence (text)
  "Return TEXT with a capital letter."
  (concat (upcase (substring text 0 1)) (substring text 1)))

(defun smtpmail-doctor-findings--credentials (facts)
  "Tell of the password in FACTS, and what came of it."
  (let ((login (smtpmail-doctor-facts-login facts))
        (problem (smtpmail-doctor-facts-problem facts))
        (mechanisms (smtpmail-doctor-probe-mechanisms facts)))
    (cond
     (problem
      (smtpmail-doctor-findings--add
       'failure "Password" problem
       "Complete that entry, or have an Emacs that can ask you send the mail"))
     ((null login) (smtpmail-doctor-findings--no-credentials facts))
     (t
      (smtpmail-doctor-findings--add
       'ok "Password" (format "of user %s, from %s"
                              (smtpmail-auth-login-user login)
                              (smtpmail-auth-login-source login)))
      (cond
       ((null mechanisms)
        (smtpmail-doctor-findings--add
         'failure "Login"
         (format "None of the mechanisms is among ours: %s"
                 (mapconcat #'symbol-name
                            (or (smtpmail-auth-login-mechanisms login)
                                smtpmail-auth-supported)
                            " "))
         "Add one that the server offers to `smtpmail-auth-supported'"))
       ((smtpmail-doctor-facts-in-clear facts)
        (smtpmail-doctor-findings--add
         'failure "Login" "The connection is not encrypted, and the password \
would travel in clear"
         (if (smtpmail-doctor-findings--offers-p facts "STARTTLS")
             (smtpmail-doctor-findings--sentence
              (smtpmail-doctor-findings--set 'required))
           "Use a port with TLS: set `smtpmail-smtp-service' to 465, and \
`smtpmail-stream-type' to `ssl'")))
       ((smtpmail-doctor-facts-refused facts)
        (smtpmail-doctor-findings--refused facts login))
       ((smtpmail-doctor-facts-logged-in facts)
        (smtpmail-doctor-findings--add
         'ok "Login" (format "accepted, by %s"
                             (smtpmail-doctor-probe-mechanism facts))))
       (t
        (smtpmail-doctor-findings--add
         'failure "Login"
         (format "%s did not end well: %s" (car mechanisms)
                 (plist-get (smtpmail-doctor-facts-failure facts) :text))
         "Try again later, or with another mechanism first in \
`smtpmail-auth-supported'")))))))

(defun smtpmail-doctor-findings--refused (facts login)
  "Tell that the server of FACTS refused LOGIN."
  (let ((user (smtpmail-auth-login-user login)))
    (smtpmail-doctor-findings--add
     'failure "Login" (plist-get (smtpmail-doctor-facts-refused facts) :text)
     (concat
      (format "Correct user name or password in the %s"
              (smtpmail-auth-login-source login))
      (unless (string-search "@" user)
        (format "; many servers want the full address in the place of \"%s\"" user))
      ".  Large providers want a password made for this program, or a token"))))

(defun smtpmail-doctor-findings--no-credentials (facts)
  "Tell that there is no password for the server of FACTS, and why not."
  (let* ((host (smtpmail-doctor-probe-get facts :host))
         (near (smtpmail-doctor-lines-near host smtpmail-smtp-service
                                           smtpmail-smtp-user))
         (needed (or near
                     (smtpmail-doctor-probe-get facts :login-required)
                     (memql (smtpmail-doctor-probe-get facts :port) '(465 587)))))
    (pcase-dolist (`(,text ,remedy) near)
      (smtpmail-doctor-findings--add 'failure "Password" text remedy))
    (unless near
      (smtpmail-doctor-findings--add
       (if needed 'failure 'warning) "Password"
       (format "There is none for %s port %s" host smtpmail-smtp-service)
       (format "If the server wants one, add a line to %s: \"machine %s port %s \
login USER password SECRET\""
               (or (seq-find #'stringp auth-sources) "a file of `auth-sources'")
               host smtpmail-smtp-service)))))

;;;; What mail meets

;; What Emacs has for that rounds otherwise since Emacs 30.
(defun smtpmail-doctor-findings--megabytes (octets)
  "Return OCTETS in words."
  (format "%.1f MB" (/ octets 1e6)))

(defun smtpmail-doctor-findings--size (facts)
  "Tell of the size limit in FACTS."
  (when-let* ((argument (cadr (smtpmail-doctor-findings--offers-p facts "SIZE")))
              (limit (string-to-number argument))
              (words (smtpmail-doctor-findings--megabytes limit)))
    (when (> limit 0)
      (let ((ours (smtpmail-accounts-setting :size-limit)))
        (if (and ours (> ours limit))
            (smtpmail-doctor-findings--add
             'failure "Size"
             (format "The server takes messages of %s at most, the account says %s"
                     words (smtpmail-doctor-findings--megabytes ours))
             (format "Set :size-limit of the account in `smtpmail-accounts' to %d"
                     limit))
          (smtpmail-doctor-findings--add
           'ok "Size" (format "messages of up to %s" words)))))))

(defun smtpmail-doctor-findings--envelope (facts)
  "Tell of the envelope in FACTS."
  (dolist (tried (smtpmail-doctor-facts-tried facts))
    (let* ((command (plist-get tried :command))
           (lines (plist-get tried :lines))
           (mail (string-prefix-p "MAIL" command))
           (text (smtpmail-doctor-findings--text lines)))
      (if (= 2 (/ (plist-get tried :code) 100))
          (smtpmail-doctor-findings--add
           'ok (if mail "Sender" "Recipient") (format "%s: %s" command text))
        (smtpmail-doctor-findings--add
         'failure (if mail "Sender" "Recipient") (format "%s: %s" command text)
         (cond
          ((= 4 (/ (plist-get tried :code) 100))
           "The server says \"not now\": try again later")
          ((and (not (smtpmail-doctor-facts-logged-in facts))
                (or (smtpmail-doctor-facts-offered facts)
                    (memql (plist-get tried :code) '(530 503))))
           "The server wants a login before it takes mail: give it a password, \
as said above")
          (mail
           "The server does not take mail from this address: correct \
`user-mail-address', or :envelope-sender of the account")
          ((not (smtpmail-doctor-facts-logged-in facts))
           "The server does not relay for who has not logged in: use the port for \
users, 587 or 465, in `smtpmail-smtp-service', with a password")
          (t "The server does not take mail for this recipient: look at the \
address, and at its words")))))))

(defun smtpmail-doctor-findings--clock (facts)
  "Tell how the clock of the server of FACTS differs from ours."
  (when-let ((greeting (smtpmail-doctor-probe-greeting facts)))
    (let* ((text (string-join greeting " "))
           (date (and (string-match
                       "[0-9]\\{1,2\\} [A-Z][a-z][a-z] [0-9]\\{4\\} \
[0-9][0-9]:[0-9][0-9]:[0-9][0-9] [-+][0-9]\\{4\\}" text)
                      (ignore-errors
                        (float-time (encode-time (parse-time-string
                                                  (match-string 0 text)))))))
           (difference (and date (- (float-time) date))))
      (cond
       ((null date)
        (smtpmail-doctor-findings--add
         'ok "Clock" (format "here it is %s; the server does not say its time"
                             (format-time-string "%F %T %z"))))
       ((> (abs difference) smtpmail-doctor-findings--clock-tolerance)
        (smtpmail-doctor-findings--add
         'warning "Clock"
         (format "This machine is %d minutes %s the server" (/ (abs difference) 60)
                 (if (> difference 0) "ahead of" "behind"))
         (format "This machine's clock says %s: set it right, or mail is taken for \
spam and certificates for invalid" (format-time-string "%F %T %z"))))
       (t (smtpmail-doctor-findings--add
           'ok "Clock" "agrees with the server's"))))))

(defun smtpmail-doctor-findings--end (facts)
  "Tell why FACTS have no end, unless that was told."
  (let ((failure (smtpmail-doctor-facts-failure facts)))
    (when (and failure (not (smtpmail-doctor-findings--failed-p)))
      (smtpmail-doctor-findings--add
       'failure "Connection"
       (smtpmail-report-failure failure (smtpmail-doctor-probe-get facts :host)
                                (smtpmail-doctor-probe-get facts :port))
       "Try again; if it stays so, show this to whoever runs the server"))))

(provide 'smtpmail-doctor-findings)

;;; smtpmail-doctor-findings.el ends here
