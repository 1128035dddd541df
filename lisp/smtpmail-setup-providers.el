;;; smtpmail-setup-providers.el --- Servers of large mail providers  -*- lexical-binding: t -*-

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

;; Server, port, user name, and what one has to know, of providers that many
;; people use.  What a provider has published about itself, and no more: for
;; all others the DNS is asked.

;;; Code:

(require 'seq)
(require 'subr-x)

(defconst smtpmail-setup-providers--app-password
  "%s takes a password made for this program (\"app password\"), not the one \
of the account"
  "What most large providers want.")

(defconst smtpmail-setup-providers--enable
  "Programs have to be allowed in the settings of %s first (\"POP3 and IMAP\")"
  "What some providers want.")

(defconst smtpmail-setup-providers
  (let ((app smtpmail-setup-providers--app-password)
        (enable smtpmail-setup-providers--enable))
    `(("Gmail" "smtp.gmail.com" 465 ssl
       ("gmail.com" "googlemail.com") ("google.com" "googlemail.com")
       ,(concat app ", with 2-Step Verification on; or a token \
(`smtpmail-token-command')"))
      ("Outlook.com" "smtp-mail.outlook.com" 587 starttls
       ("outlook.com" "hotmail.com" "live.com" "msn.com" "outlook.de"
        "hotmail.de" "live.de" "outlook.fr" "hotmail.fr" "hotmail.co.uk")
       ("olc.protection.outlook.com")
       "Outlook.com takes no password of programs, only a token \
(`smtpmail-token-command')")
      ("Microsoft 365" "smtp.office365.com" 587 starttls
       () ("mail.protection.outlook.com")
       "Microsoft 365 takes a token (`smtpmail-token-command'); a password only \
where the administrator allows SMTP AUTH with it")
      ("iCloud" "smtp.mail.me.com" 587 starttls
       ("icloud.com" "me.com" "mac.com") ("icloud.com") ,app)
      ("Yahoo" "smtp.mail.yahoo.com" 465 ssl
       ("yahoo.com" "ymail.com" "rocketmail.com" "yahoo.co.uk" "yahoo.de"
        "yahoo.fr" "yahoo.it" "yahoo.es")
       ("yahoodns.net") ,app)
      ("AOL" "smtp.aol.com" 465 ssl ("aol.com") () ,app)
      ("Fastmail" "smtp.fastmail.com" 465 ssl
       ("fastmail.com" "fastmail.fm") ("messagingengine.com") ,app)
      ("GMX" "mail.gmx.net" 465 ssl
       ("gmx.de" "gmx.net" "gmx.at" "gmx.ch") ("gmx.net") ,enable)
      ("GMX" "mail.gmx.com" 465 ssl ("gmx.com" "gmx.us") () ,enable)
      ("WEB.DE" "smtp.web.de" 465 ssl ("web.de") ("web.de") ,enable)
      ("Telekom" "securesmtp.t-online.de" 465 ssl
       ("t-online.de" "magenta.de") ("t-online.de")
       "Telekom has a password of its own for programs")
      ("mailbox.org" "smtp.mailbox.org" 465 ssl ("mailbox.org") ("mailbox.org") nil)
      ("Posteo" "posteo.de" 465 ssl
       ("posteo.de" "posteo.net" "posteo.org" "posteo.at" "posteo.ch")
       ("posteo.de") nil)
      ("Migadu" "smtp.migadu.com" 465 ssl () ("migadu.com") nil)
      ("Zoho" "smtp.zoho.com" 465 ssl ("zoho.com" "zohomail.com") ("zoho.com") ,app)
      ("Zoho" "smtp.zoho.eu" 465 ssl ("zohomail.eu") ("zoho.eu") ,app)
      ("Gandi" "mail.gandi.net" 465 ssl () ("gandi.net") nil)
      ("Infomaniak" "mail.infomaniak.com" 465 ssl
       ("ik.me") ("infomaniak.ch" "infomaniak.com") nil)
      ("OVH" "ssl0.ovh.net" 465 ssl () ("mail.ovh.net") nil)
      ("IONOS" "smtp.ionos.de" 465 ssl () ("kundenserver.de") nil)
      ("Strato" "smtp.strato.de" 465 ssl () ("rzone.de") nil)
      ("Orange" "smtp.orange.fr" 465 ssl ("orange.fr" "wanadoo.fr") () nil)
      ("Yandex" "smtp.yandex.com" 465 ssl
       ("yandex.com" "yandex.ru" "ya.ru") ("yandex.net" "yandex.ru") ,app)
      ("Mail.ru" "smtp.mail.ru" 465 ssl
       ("mail.ru" "bk.ru" "inbox.ru" "list.ru") ("mail.ru") ,app)
      ("Proton Bridge" "127.0.0.1" 1025 starttls
       ("proton.me" "protonmail.com" "protonmail.ch" "pm.me") ("protonmail.ch")
       "Proton's mail goes over its Bridge, a program that runs on this machine; \
the Bridge shows password and port, and signs its certificate itself: compare and \
trust it when you are asked")
      ("Tuta" nil nil nil
       ("tuta.com" "tutanota.com" "tutanota.de" "tutamail.com" "tuta.io" "keemail.me")
       ("tutanota.de")
       "Tuta has no server for other programs")))
  "Providers: (NAME SERVER PORT SECURITY DOMAINS EXCHANGERS NOTE) ...
DOMAINS are those of its addresses.  EXCHANGERS are domains of the hosts
that take mail for it and for domains of its customers.  NOTE, in which %s
is NAME, says what has to be known, or is nil.  The user name is the whole
address everywhere.")

(defun smtpmail-setup-providers--note (provider)
  "Return what has to be known about PROVIDER, or nil."
  (and (nth 6 provider)
       (string-replace "%s" (nth 0 provider) (nth 6 provider))))

(defun smtpmail-setup-providers--plist (provider)
  "Return PROVIDER as a plist."
  (list :name (nth 0 provider) :server (nth 1 provider) :service (nth 2 provider)
        :security (nth 3 provider) :note (smtpmail-setup-providers--note provider)))

(defun smtpmail-setup-providers-of-domain (domain)
  "Return the provider of addresses in DOMAIN, a plist, or nil.
Its keys are :name, :server, :service, :security and :note; :server is nil
if there is none for programs."
  (when-let ((provider (seq-find (lambda (provider)
                                   (member (downcase domain) (nth 4 provider)))
                                 smtpmail-setup-providers)))
    (smtpmail-setup-providers--plist provider)))

(defun smtpmail-setup-providers-of-exchanger (host)
  "Return the provider whose HOST takes mail, a plist, or nil."
  (when-let ((provider (seq-find
                        (lambda (provider)
                          (seq-some (lambda (domain)
                                      (or (equal host domain)
                                          (string-suffix-p (concat "." domain) host)))
                                    (nth 5 provider)))
                        smtpmail-setup-providers)))
    (smtpmail-setup-providers--plist provider)))

(defun smtpmail-setup-providers-of-server (server)
  "Return the provider that SERVER belongs to, a plist, or nil."
  (when-let ((provider (seq-find (lambda (provider)
                                   (equal (downcase server) (nth 1 provider)))
                                 smtpmail-setup-providers)))
    (smtpmail-setup-providers--plist provider)))

(provide 'smtpmail-setup-providers)

;;; smtpmail-setup-providers.el ends here
