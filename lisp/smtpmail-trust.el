;;; smtpmail-trust.el --- whom smtpmail trusts  -*- lexical-binding: t -*-

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

;; The questions about certificates, missing TLS and locked keys that the
;; engine asks; and the list of what is known of servers.
;;
;; The file of known servers is read and written by the engine only.  What
;; `nsm-settings-file' says is read here, as data: it may say anything.

;;; Code:

(require 'seq)
(require 'subr-x)
(require 'tabulated-list)
(require 'smtpmail-options)
(require 'smtpmail-services)
(require 'smtpmail-methods)
(require 'smtpmail-auth)
(require 'smtpmail-auth-login)

(defvar nsm-settings-file)

(declare-function smtpmail-module--answer "ext:exports.rs" (delivery id yes))
(declare-function smtpmail-module--passphrase "ext:exports.rs"
                  (delivery id passphrase))
(declare-function smtpmail-module--trust "ext:exports.rs" (delivery id choice))
(declare-function smtpmail-session-ask-outbox "smtpmail-session" (request))

(defconst smtpmail-trust--nsm-limit 1000000
  "Size in bytes beyond which a file is none of the Network Security Manager.")

;;;; Questions

(defun smtpmail-trust-answer (delivery question host port service)
  "Answer QUESTION, a plist, of DELIVERY to HOST at PORT.
SERVICE is the port as the user named it.  Return nil, and do nothing, if
the question is not about trust."
  (let ((id (plist-get question :id)))
    (pcase (plist-get question :kind)
      ('certificate
       (smtpmail-module--trust
        delivery id (smtpmail-trust--certificate question host port service))
       t)
      ('without-tls
       (smtpmail-module--answer delivery id (smtpmail-trust--without-tls-p host))
       t)
      ('passphrase
       (let ((passphrase (smtpmail-trust--passphrase question)))
         (unwind-protect
             (smtpmail-module--passphrase delivery id passphrase)
           (when passphrase (clear-string passphrase))))
       t))))

(defun smtpmail-trust--certificate (question host port service)
  "Return `always', `once' or `no' for the certificate in QUESTION.
HOST, PORT and SERVICE are those of the server."
  (cond ((smtpmail-trust-known question host port service))
        ((smtpmail-auth-can-prompt-p)
         (smtpmail-trust--choose question host port))
        (t 'no)))

(defun smtpmail-trust-known (question host port service)
  "Return `once' if nobody need be asked about the certificate in QUESTION.
HOST, PORT and SERVICE are those of the server."
  (and (smtpmail-trust--nsm-trusts-p
        host (delete-dups (list port service
                                (smtpmail-services-port-key port)))
        (plist-get question :public-key))
       'once))

(defun smtpmail-trust--filled (text)
  "Return TEXT in lines."
  (with-temp-buffer
    (insert text)
    (let ((fill-column 76))
      (fill-region (point-min) (point-max)))
    (buffer-string)))

(defun smtpmail-trust--details (question host port)
  "Return what to show of the certificate in QUESTION of HOST at PORT."
  (let ((fact (lambda (key) (plist-get question key))))
    (concat
     (format "The server %s, port %s, shows a certificate that is not accepted.\n\n"
             (smtpmail-visible-text host) port)
     ;; The rest of it is below, in lines.
     (smtpmail-trust--filled
      (car (split-string (plist-get (funcall fact :failure) :text)
                         "\\.  It is the ")))
     ".\n\n"
     (format "Of:         %s\n" (funcall fact :subject))
     (format "For:        %s\n" (if (funcall fact :names)
                                    (string-join (funcall fact :names) ", ")
                                  "no host"))
     (format "Signed by:  %s\n" (funcall fact :issuer))
     (format "Valid:      %s to %s\n" (funcall fact :not-before)
             (funcall fact :not-after))
     (format "SHA-256:    %s\n\n" (funcall fact :fingerprint))
     "Trust it only if it is your own server, or if who runs it has told\n"
     "you this SHA-256.  Nothing was sent.\n")))

(defun smtpmail-trust--choose (question host port)
  "Ask whether the certificate in QUESTION of HOST at PORT is trusted."
  (let ((buffer (get-buffer-create "*SMTP certificate*")))
    (unwind-protect
        (save-window-excursion
          (with-current-buffer buffer
            (let ((inhibit-read-only t))
              (erase-buffer)
              (insert (smtpmail-trust--details question host port))
              (goto-char (point-min)))
            (setq buffer-read-only t))
          (pop-to-buffer buffer)
          (pcase (read-char-choice
                  (format "Trust this certificate of %s?  \
n: no, o: this once, a: always "
                          (smtpmail-visible-text host))
                  '(?n ?o ?a))
            (?a 'always)
            (?o 'once)
            (_ 'no)))
      (kill-buffer buffer))))

(defun smtpmail-trust--without-tls-p (host)
  "Ask whether a message may go to HOST without TLS, which it spoke before."
  (and (smtpmail-auth-can-prompt-p)
       (yes-or-no-p
        (format "%s spoke TLS before and does not offer it now; somebody may \
be hiding it.  Send without encryption? "
                (smtpmail-visible-text host)))))

(defun smtpmail-trust--passphrase (question)
  "Return the passphrase of the key in QUESTION, a unibyte string, or nil."
  (when (smtpmail-auth-can-prompt-p)
    (let* ((typed (read-passwd
                   (format "%sPassphrase of the key %s: "
                           (if (plist-get question :again)
                               "That does not fit.  "
                             "")
                           (abbreviate-file-name (plist-get question :file)))))
           (bytes (smtpmail-auth-unibyte typed)))
      (clear-string typed)
      (if (string-empty-p bytes) nil bytes))))

;;;; The Network Security Manager

(defun smtpmail-trust--nsm-trusts-p (host ports public-key)
  "Return non-nil if `nsm-settings-file' has PUBLIC-KEY for HOST at one of PORTS."
  (require 'nsm nil t)
  (let ((ids (mapcar (lambda (port)
                       (concat "sha1:" (sha1 (format "%s:%s" host port))))
                     ports)))
    (seq-some
     (lambda (entry)
       (and (member (plist-get entry :id) ids)
            (member public-key (plist-get entry :fingerprints))))
     (smtpmail-trust--nsm-entries))))

(defun smtpmail-trust--nsm-entries ()
  "Return the well-formed entries in `nsm-settings-file', a list of plists."
  (let* ((file (bound-and-true-p nsm-settings-file))
         (attributes (and (stringp file)
                          (file-attributes (file-truename file)))))
    (when (and attributes
               ;; A plain file, a FIFO would hold Emacs up, that neither the
               ;; group nor others can write to.
               (string-match-p "\\`-....-..-" (file-attribute-modes attributes))
               (< (file-attribute-size attributes) smtpmail-trust--nsm-limit)
               (eql (file-attribute-user-id attributes) (user-uid)))
      (let ((entries (ignore-errors
                       (with-temp-buffer
                         (insert-file-contents file)
                         (read (current-buffer))))))
        (and (proper-list-p entries)
             (seq-filter (lambda (entry)
                           (and (proper-list-p entry)
                                (stringp (plist-get entry :id))
                                (proper-list-p (plist-get entry :fingerprints))))
                         entries))))))

;;;; What is known of servers

(defun smtpmail-trust--ask (job &rest keys)
  "Let the engine do JOB, with KEYS, on the file of known servers."
  (require 'smtpmail-session)
  (smtpmail-session-ask-outbox
   (append (list :job job
                 :known-servers
                 (or (smtpmail-auth-known-servers-file)
                     (user-error "`smtpmail-trust-file' is nil: \
nothing is remembered")))
           keys)))

(defun smtpmail-trust--servers ()
  "Return what is known of servers, a list of plists."
  (plist-get (smtpmail-trust--ask 'servers) :entries))

(defun smtpmail-trust--forget (host port)
  "Forget what is known of HOST at PORT; return non-nil if anything was."
  (plist-get (smtpmail-trust--ask 'forget-server :host host :port port) :done))

(defun smtpmail-trust--read-server ()
  "Ask for a known server; return (HOST PORT)."
  (let* ((names (mapcar (lambda (entry)
                          (cons (format "%s:%d" (plist-get entry :host)
                                        (plist-get entry :port))
                                (list (plist-get entry :host)
                                      (plist-get entry :port))))
                        (smtpmail-trust--servers)))
         (name (if names
                   (completing-read "Forget server: " names nil t)
                 (user-error "No server is known"))))
    (or (cdr (assoc name names))
        (user-error "No such server"))))

;;;###autoload
(defun smtpmail-forget-server (host port)
  "Forget what is known of the server HOST at PORT.
That is: the certificate that you trusted, that it speaks TLS, and how you
logged in.  The next mail meets it as if for the first time."
  (interactive (smtpmail-trust--read-server))
  (message (if (smtpmail-trust--forget host port)
               "%s:%s is forgotten"
             "Nothing was known of %s:%s")
           host port))

(defvar smtpmail-known-servers-mode-map
  (let ((map (make-sparse-keymap)))
    (set-keymap-parent map tabulated-list-mode-map)
    (define-key map "k" #'smtpmail-known-servers-forget)
    map)
  "Keys of the list of known servers.")

(easy-menu-define nil smtpmail-known-servers-mode-map
  "Menu of the list of known servers."
  '("Servers"
    ["Forget" smtpmail-known-servers-forget]
    ["Refresh" revert-buffer]
    "---"
    ["Help" describe-mode]
    ["Quit" quit-window]))

(define-derived-mode smtpmail-known-servers-mode tabulated-list-mode
  "Known servers"
  "Mode for the list of what is known of servers.
\\{smtpmail-known-servers-mode-map}"
  ;; Packages copy all variables of smtpmail: tables do not always read back.
  :abbrev-table nil
  :syntax-table nil
  (setq tabulated-list-format [("Server" 30 t) ("Since" 11 t)
                               ("What" 30 t) ("User" 0 t)]
        tabulated-list-sort-key '("Server"))
  (add-hook 'tabulated-list-revert-hook #'smtpmail-trust--refresh nil t)
  (tabulated-list-init-header))

(defun smtpmail-trust--refresh ()
  "Read the list of the current buffer anew."
  (setq tabulated-list-entries
        (mapcar
         (lambda (entry)
           (let ((server (list (plist-get entry :host) (plist-get entry :port))))
             (list server
                   (vector
                    (format "%s:%d" (car server) (cadr server))
                    (smtpmail-visible-text (plist-get entry :since))
                    (smtpmail-visible-text
                     (pcase (plist-get entry :kind)
                       ('tls "speaks TLS")
                       ('pin (concat "trusted: " (plist-get entry :value)))
                       ('login (concat "login by " (plist-get entry :value)))))
                    (smtpmail-visible-text
                     (or (plist-get entry :user) ""))))))
         (smtpmail-trust--servers))))

(defun smtpmail-known-servers-forget ()
  "Forget the server on this line."
  (interactive nil smtpmail-known-servers-mode)
  (let ((server (or (tabulated-list-get-id)
                    (user-error "No server on this line"))))
    (when (y-or-n-p (format "Forget %s:%d? " (car server) (cadr server)))
      (smtpmail-forget-server (car server) (cadr server))
      (revert-buffer))))

;;;###autoload
(defun smtpmail-known-servers ()
  "Show what is known of servers, from `smtpmail-trust-file'.
\\<smtpmail-known-servers-mode-map>\\[smtpmail-known-servers-forget] forgets one."
  (interactive)
  (let ((buffer (get-buffer-create "*SMTP servers*")))
    (with-current-buffer buffer
      (smtpmail-known-servers-mode)
      (smtpmail-trust--refresh)
      (tabulated-list-print))
    (pop-to-buffer buffer)))

(provide 'smtpmail-trust)

;;; smtpmail-trust.el ends here
