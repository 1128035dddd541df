;;; smtpmail-options.el --- the variables of smtpmail  -*- lexical-binding: t -*-

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

;; Every option that users set, with the names, defaults, types and group
;; that they have had since 2007, and the few that are new.  No function of
;; smtpmail lives here.
;;
;; No variable may hold a value that does not print and read back: packages
;; copy all variables of smtpmail to another Emacs.

;;; Code:

(defgroup smtpmail nil
  "SMTP protocol for sending mail."
  :group 'mail)

;;;; Server

(defcustom smtpmail-default-smtp-server nil
  "Server to send mail through, for a whole site.
Has an effect only if set before smtpmail is loaded and if neither
`smtpmail-smtp-server' nor the environment variable SMTPSERVER is."
  :type '(choice (const :tag "None" nil) (string :tag "Host")))

(defcustom smtpmail-smtp-server
  (let ((server (getenv "SMTPSERVER")))
    ;; An empty SMTPSERVER counts as none.
    (if (member server '(nil "")) smtpmail-default-smtp-server server))
  "Name or address of the server to send mail through.
If nil, the first mail asks for it."
  :type '(choice (const :tag "Ask" nil) (string :tag "Host")))

(defcustom smtpmail-smtp-service 25
  "Port of the server: a number, or the name of a service.
587 (\"submission\") is usual with STARTTLS, 465 (\"submissions\") with
`smtpmail-stream-type' `ssl', and 25 (\"smtp\") within a site."
  :type '(choice (integer :tag "Port") (string :tag "Service")))

(defcustom smtpmail-stream-type nil
  "How the connection to the server is protected.
nil uses STARTTLS if the server offers it, `starttls' insists on it,
`ssl' or `tls' begins with TLS, and `plain' never uses TLS."
  :version "24.1"
  :type '(choice (const :tag "STARTTLS if offered" nil)
                 (const :tag "Always STARTTLS" starttls)
                 (const :tag "TLS from the beginning" ssl)
                 (const :tag "Never TLS" plain)))

;;;; The way to the server

(defcustom smtpmail-proxy nil
  "How the server is reached, if not directly.
One of

  (socks5 HOST PORT)   a SOCKS5 proxy, such as Tor's at port 9050
  (http HOST PORT)     an HTTP proxy that knows CONNECT
  (command FILE ARGUMENT...)
                       a program whose standard input and output are the
                       connection, started without a shell; in the
                       arguments, %h and %p stand for the server's name and
                       port, as in
                       (command \"ssh\" \"-W\" \"%h:%p\" \"gate.example.org\")

A proxy looks the server's name up itself.  It may have a fourth element,
the name of a user; the login at a proxy that wants one is auth-source's,
by host and port of the proxy.  See also the setting :proxy of
`smtpmail-accounts'."
  ;; A file that is visited has no say in what is started.
  :risky t
  :type '(choice (const :tag "Directly" nil)
                 (list :tag "SOCKS5 proxy" (const :format "" socks5)
                       (string :tag "Host") (integer :tag "Port" :value 1080)
                       (set :inline t :format "%v" (string :tag "User")))
                 (list :tag "HTTP proxy" (const :format "" http)
                       (string :tag "Host") (integer :tag "Port" :value 3128)
                       (set :inline t :format "%v" (string :tag "User")))
                 (cons :tag "Command" (const :format "" command)
                       (repeat :tag "File and arguments" string)))
  :package-version '(smtpmail . "0.1.0"))

;;;; Trust

(defcustom smtpmail-trust-file (locate-user-emacs-file "smtpmail-trust")
  "File of what is known of servers, or nil to remember nothing.
It has the certificates that you trusted by hand, which servers speak TLS,
and how you logged in.  If others can write to it, no mail is sent.
See `smtpmail-known-servers' and `smtpmail-forget-server'."
  ;; A file that is visited has no say in who is trusted.
  :risky t
  :type '(choice file (const :tag "Remember nothing" nil)))

(defcustom smtpmail-tls-min-version nil
  "The oldest version of TLS that is spoken: nil and \"1.2\" are TLS 1.2."
  ;; A file that is visited has no say in who is trusted.
  :risky t
  :type '(choice (const :tag "TLS 1.2" nil) (const "1.2") (const "1.3")))

;;;; Names

(defcustom smtpmail-local-domain nil
  "Domain to append to the machine's name in EHLO.
Not needed if the function `system-name' returns one with a domain."
  :type '(choice (const :tag "None" nil) (string :tag "Domain")))

(defcustom smtpmail-ehlo-name nil
  "Name that we give of ourselves in EHLO: a domain, or an address literal.
nil says the name of this machine, with `smtpmail-local-domain' if set.
Whoever does not want to tell that to every server and recipient can say
\"[127.0.0.1]\" here, or \"localhost\"; some servers insist on a name that
exists."
  :type '(choice (const :tag "Name of this machine" nil)
                 (string :tag "Domain or [address]"))
  :package-version '(smtpmail . "0.1.0"))

(defcustom smtpmail-sendto-domain nil
  "Domain to append, after an @-sign, to recipients that have none.
Not needed unless the server refuses them as in
\"501 <someone>: recipient address must contain a domain\"."
  :type '(choice (const :tag "None" nil) (string :tag "Domain")))

;;;; Login

(defcustom smtpmail-smtp-user nil
  "User name whose credentials are used; nil uses any."
  :version "24.1"
  :type '(choice (const :tag "Any" nil) (string :tag "User")))

(defvar smtpmail-auth-supported '(cram-md5 plain login)
  "SASL mechanisms to use, symbols in order of preference.
Apart from these, the engine knows scram-sha-256, scram-sha-1, xoauth2,
oauthbearer and external.")

(defcustom smtpmail-auth-credentials nil
  "Logins for servers, before those of auth-source.
Either a list of (HOST PORT USER PASSWORD), of which a nil USER or
PASSWORD is asked for once, or the name of a netrc file.  A server with
an entry gets no mail without a login."
  :risky t
  :type '(choice (file :tag "Netrc file")
                 (repeat (list (string :tag "Host")
                               (choice (integer :tag "Port")
                                       (string :tag "Service"))
                               (choice (const :tag "Ask" nil)
                                       (string :tag "User"))
                               (choice (const :tag "Ask" nil)
                                       (string :tag "Password"))))))

(defcustom smtpmail-starttls-credentials nil
  "Servers that have to be used with STARTTLS, and our keys for them.
A list of (HOST PORT KEYFILE CERTFILE); KEYFILE and CERTFILE may be nil
for a server that wants no certificate of ours."
  :risky t
  :type '(repeat (list (string :tag "Host")
                       (choice (integer :tag "Port") (string :tag "Service"))
                       (choice (const :tag "None" nil) (file :tag "Key"))
                       (choice (const :tag "None" nil)
                               (file :tag "Certificate")))))

(defcustom smtpmail-servers-requiring-authorization nil
  "Regexp of server names to which no mail goes without a login.
The user is asked for the credentials of such a server at once, and not
only when the server refuses mail without them."
  :type '(choice regexp (const :tag "None" nil))
  :version "27.1")

;;;; Sending

(defcustom smtpmail-code-conv-from nil
  "Coding system for encoding outgoing mail, or nil.
Takes the place of `sendmail-coding-system' while
`select-message-coding-system' decides."
  :type 'coding-system)

(defcustom smtpmail-strict-content nil
  "Non-nil means send only what the server has said it can take.
A message is then refused before anything of it goes out, if it has 8-bit
text and the server does not announce 8BITMIME, if its header has
characters that are not ASCII and the server does not announce SMTPUTF8,
or if a line is longer than 998 octets.  Text for which smtpmail itself
writes the MIME fields, such as that of Mail mode, is made
quoted-printable, which any server takes.
nil sends all that as it is, with a note in the trace."
  :type 'boolean
  :package-version '(smtpmail . "0.1.0"))

(defcustom smtpmail-retries 10
  "How many times a message is tried while the server says \"try again\".
Those are replies with a code of 4yz."
  :type 'integer
  :version "27.1")

(defcustom smtpmail-on-refused-recipients 'ask
  "What to do if the server refuses some recipients and accepts others.
`abort' sends to nobody, `send-rest' sends to the accepted ones, and
`ask' asks, or is `abort' where nobody can be asked."
  :type '(choice (const :tag "Ask" ask)
                 (const :tag "Send to nobody" abort)
                 (const :tag "Send to the others" send-rest)))

(defcustom smtpmail-connect-timeout 30
  "Seconds after which a connection that does not come about is given up.
The TLS handshake has as long again."
  :type 'natnum)

(defcustom smtpmail-timeout 300
  "Seconds after which a server that does not answer is given up.
Counted from the last complete reply, or from the last part of the
message that went out.  Where RFC 5321 names less, that holds.  After the
end of a message the server gets 600 seconds, unless this is set below
its default."
  :type 'natnum)

(defvar smtpmail-mail-address nil
  "Envelope sender for `smtpmail-via-smtp', or nil.
`smtpmail-send-it' finds and binds its own.")

;;;; What a message asks of the server

(defcustom smtpmail-dsn nil
  "Delivery reports that messages ask for, a list of symbols, or nil.
`success', `failure' and `delay' ask for a report when the message was
delivered, when it cannot be, and when that takes long; `never' asks for
none at all.  `full' and `headers' say what of the message comes back
with it.  A server that does not offer DSN gets the message without all
that, and you are told, unless `required' is in the list: then the message
is not sent.

The field X-Smtpmail-DSN asks for one message, as in \"success, failure\";
X-Smtpmail-Envelope-Id gives it the name that its reports use, in the
place of its Message-ID.  See also the setting :dsn of `smtpmail-accounts'."
  :type '(choice (const :tag "As the server likes" nil)
                 (const :tag "Never" (never))
                 (set :tag "Ask for reports"
                      (const :tag "When it was delivered" success)
                      (const :tag "When it cannot be delivered" failure)
                      (const :tag "When delivery takes long" delay)
                      (const :tag "With the full message" full)
                      (const :tag "With its headers only" headers)
                      (const :tag "Not sent where that is not offered"
                             required)))
  :package-version '(smtpmail . "0.1.0"))

(defcustom smtpmail-priority nil
  "Priority that messages ask for, an integer from -9 to 9, or nil for none.
9 is the most urgent.  Few servers know it; the others get the message
without, and you are told once.  The field X-Smtpmail-Priority says it of
one message.  (The field \"Priority\", for readers, is another thing.)"
  :type '(choice (const :tag "None" nil) (integer :tag "-9 to 9"))
  :package-version '(smtpmail . "0.1.0"))

(defcustom smtpmail-require-tls nil
  "Non-nil means messages go under TLS all the way to their recipients.
A server that does not promise that (REQUIRETLS), as most do not, does not
get the message.  The field X-Smtpmail-Require-TLS, \"yes\" or \"no\",
says it of one message."
  :type 'boolean
  :package-version '(smtpmail . "0.1.0"))

;;;; Queue

(defcustom smtpmail-queue-mail nil
  "Non-nil means mail is queued, not sent.
It is kept in `smtpmail-queue-dir' until `smtpmail-send-queued-mail'.
See also `smtpmail-store-queue-variables'."
  :type 'boolean)

(defcustom smtpmail-queue-dir "~/Mail/queued-mail/"
  "Directory of queued mail; other users should not be able to write to it."
  :type 'directory)

(defcustom smtpmail-queue-index-file "index"
  "Name, within `smtpmail-queue-dir', of the list of queued mail."
  :type 'string)

(defcustom smtpmail-store-queue-variables nil
  "Non-nil means queued mail keeps the server it was written for."
  :type 'boolean
  :version "28.1")

(defvar smtpmail--stored-queue-variables
  '(smtpmail-smtp-server
    smtpmail-stream-type
    smtpmail-smtp-service
    smtpmail-smtp-user)
  "Variables that `smtpmail-store-queue-variables' stores.")

;;;; Sending in the background

(defcustom smtpmail-keep-connection-seconds nil
  "For how many seconds a connection is kept for the next message.
The next message of the same account then goes over it without a new
login.  Nil means 0 for messages for which Emacs waits, and 15 for those
that go in the background.  240 is the most."
  :type '(choice (const :tag "In the background only" nil)
                 (natnum :tag "Seconds")))

(defcustom smtpmail-send-in-background nil
  "Non-nil means that Emacs does not wait while mail is sent.
The message goes into the outbox, `smtpmail-queue-dir', and from there to
the server; you are told when the server has accepted it, and if not, why.
A function is called with the facts of the message, a plist of
:recipients, :sender, :subject, :message-id and :octets, in a buffer with
the message, and says whether that one goes in the background.
In batch mode this counts as nil."
  :type '(choice (const :tag "Wait" nil)
                 (const :tag "In the background" t)
                 (function :tag "Decide for each message")))

(defcustom smtpmail-undo-seconds 0
  "For how many seconds a message sent in the background can be taken back.
For that long it stays in the outbox, and `smtpmail-undo' makes a draft
of it."
  :type 'natnum)

(defcustom smtpmail-wait-for-acceptance nil
  "Non-nil means that what says \"sent\" waits until the server has accepted.
That holds for messages sent in the background: copies (Fcc, Gcc), and
what Message mode does after sending, `message-sent-hook' and actions
such as the mark \"replied\"."
  :type 'boolean)

(defcustom smtpmail-sent-functions nil
  "Functions to call when a message sent in the background was accepted.
Each gets a plist: :message-id, :subject, :sender, :server, :entry (the
name in the outbox), :reply (the server's words) and :recipients, plists
of :address, :accepted and :failure (a plist with :text, the server's
words, and :code)."
  :type '(repeat function))

(defcustom smtpmail-failed-functions nil
  "Functions to call when a message sent in the background was not sent.
Each gets a plist as for `smtpmail-sent-functions', and :reason, a
sentence, and :state: `refused' for good, `unknown' if it may have been
sent, `stuck' until you do something, or `delayed' for a long time."
  :type '(repeat function))

;;;; Looking at what happens

(defcustom smtpmail-debug-info nil
  "Non-nil means show the server's replies and keep the trace.
The trace is in the buffer *trace of SMTP session to SERVER*; without
this it stays only after a failure."
  :type 'boolean)

(defcustom smtpmail-debug-verb nil
  "Non-nil means say VERB to a server that offers it."
  :type 'boolean)

(defcustom smtpmail-warn-about-unknown-extensions nil
  "Non-nil means tell of extensions of the server that are not known."
  :type 'boolean
  :version "21.1")

(provide 'smtpmail-options)

;;; smtpmail-options.el ends here
