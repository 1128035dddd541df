;;; smtpmail.el --- Send mail by SMTP, in the place of the built-in  -*- lexical-binding: t -*-

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

;; Author: The smtpmail contributors
;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1"))
;; Keywords: mail

;;; Commentary:

;; (setq send-mail-function 'smtpmail-send-it)
;;
;; A message goes from the mail buffer to a prepared message
;; (smtpmail-message.el), through `smtpmail-via-smtp' into a request, and by
;; the engine (smtpmail-module.el, smtpmail-session.el) to the server.  This
;; file is the face that everybody knows.

;;; Code:

(require 'subr-x)
(require 'sendmail)

;; It loads much, all of which stays: to collect garbage four times on the way
;; takes half of the time and finds next to none.
(let ((gc-cons-threshold (max gc-cons-threshold (* 16 1024 1024))))
  (require 'auth-source))

(require 'smtpmail-options)
(require 'smtpmail-accounts)
(require 'smtpmail-services)
(require 'smtpmail-auth)
(require 'smtpmail-delivery)
(require 'smtpmail-message)
(require 'smtpmail-module)
(require 'smtpmail-proxy)
(require 'smtpmail-redefined)
(require 'smtpmail-report)
(require 'smtpmail-session)
(require 'smtpmail-speak)
(require 'smtpmail-stock)

;; For those who load this file and not the autoloads.
(autoload 'smtpmail-doctor "smtpmail-doctor" nil t)
(autoload 'smtpmail-doctor-batch "smtpmail-doctor")
(autoload 'smtpmail-forget-server "smtpmail-trust" nil t)
(autoload 'smtpmail-import-msmtprc "smtpmail-import" nil t)
(autoload 'smtpmail-known-servers "smtpmail-trust" nil t)
(autoload 'smtpmail-outbox "smtpmail-outbox-list" nil t)
(autoload 'smtpmail-outbox-count "smtpmail-outbox-list")
(autoload 'smtpmail-report-bug "smtpmail-bug" nil t)
(autoload 'smtpmail-setup "smtpmail-setup" nil t)
(autoload 'smtpmail-show-trace "smtpmail-trace" nil t)
(autoload 'smtpmail-unload-function "smtpmail-unload")
(autoload 'smtpmail-background-resume "smtpmail-leave" nil t)
(autoload 'smtpmail-stop-sending "smtpmail-background" nil t)
(autoload 'smtpmail-command-map "smtpmail-menu" nil nil 'keymap)
(autoload 'smtpmail-customize "smtpmail-menu" nil t)
(autoload 'smtpmail-manual "smtpmail-menu" nil t)
(autoload 'smtpmail-undo "smtpmail-undo" nil t)
(autoload 'smtpmail-use-builtin "smtpmail-version" nil t)
(autoload 'smtpmail-version "smtpmail-version" nil t)
(autoload 'smtpmail-send-later "smtpmail-undo" nil t)

;; Only who sends in the background needs that file.
(autoload 'smtpmail-background-wanted-p "smtpmail-background")
(autoload 'smtpmail-background-send "smtpmail-background")
(autoload 'smtpmail-background-accept "smtpmail-background")

;; For those who queue, and what the manual names.
(autoload 'smtpmail-outbox-add "smtpmail-outbox")
(autoload 'smtpmail-outbox-change "smtpmail-outbox")
(autoload 'smtpmail-outbox-entries "smtpmail-outbox")
(autoload 'smtpmail-outbox-flush "smtpmail-outbox")
(autoload 'smtpmail-outbox--place "smtpmail-outbox")
(autoload 'smtpmail-outbox--rests "smtpmail-outbox")

(autoload 'smtpmail-first-server-ask "smtpmail-first-server")

(declare-function smtpmail-undo-time "smtpmail-undo" (options))

(defvar smtpmail-background--order)

(defvar gnutls-trustfiles)

(declare-function smtpmail-module--close-connections "ext:exports.rs" ())
(declare-function smtpmail-module--content "ext:exports.rs" ())
(declare-function smtpmail-module--prepare "ext:exports.rs" (request))
(declare-function smtpmail-module--content-path "ext:exports.rs" (content))
(declare-function message-narrow-to-headers "message" ())

;; In the autoloads file: its directory goes to the front of `load-path', even
;; if it was somewhere behind, and if the built-in was loaded before, ours goes
;; over it.
;;;###autoload (when load-file-name (let ((here (directory-file-name (file-name-directory load-file-name)))) (setq load-path (cons here (delete here load-path)))))
;;;###autoload
(when (and (featurep 'smtpmail) (not (featurep 'smtpmail-options)))
  (load "smtpmail" nil t))

;; The manual lies beside this file, or in a checkout in doc/, and has the name
;; of the built-in's.
(defvar Info-directory-list)
(declare-function info-initialize "info" ())

;;;###autoload
(with-eval-after-load 'info
  (info-initialize)
  (when-let ((library (locate-library "smtpmail-options")))
    (dolist (place '("./" "../doc/"))
      (let ((directory (expand-file-name place (file-name-directory library))))
        (when (file-exists-p (expand-file-name "smtpmail.info" directory))
          (add-to-list 'Info-directory-list directory))))))

;;;; Sending

;;;###autoload
(defun smtpmail-send-it ()
  "Send the mail in the current buffer by SMTP.
For `send-mail-function' and `message-send-mail-function'.  Signal an
error if it was not sent; the buffer does not change."
  (let ((message (smtpmail-message-prepare (smtpmail--nobody-looks-p)))
        (match-data (match-data)))
    (unwind-protect
        (progn
          (unless (smtpmail-message-recipients message)
            (error "Sending failed; no recipients"))
          (smtpmail--write-copies
           message (smtpmail-accounts-call
                    (smtpmail-message-buffer message)
                    (lambda ()
                      ;; What the message itself says goes before its account.
                      (smtpmail-accounts-with (smtpmail-delivery-bindings
                                               (smtpmail-message-options message))
                        (smtpmail--dispatch message))))))
      (smtpmail-message-discard message)
      (set-match-data match-data))))

(defun smtpmail--nobody-looks-p ()
  "Return non-nil if no function of the user's sees the text before the engine."
  (and (smtpmail--own-via-smtp-p)
       (null smtpmail-accounts)
       (not (functionp smtpmail-send-in-background))
       ;; Else it is asked for, and the mail may change meanwhile.
       (smtpmail-services-given smtpmail-smtp-server)))

;; Here, and not where its work is: what a user puts in its place must not be
;; overwritten when that is loaded.
;;;###autoload
(defun smtpmail-send-queued-mail ()
  "Send all mail that waits in `smtpmail-queue-dir'.
Try every message, those of one account over one connection, and signal
an error at the end if some were not sent; those stay in the queue.
A quit ends it after what the server has in hand; all else waits."
  (interactive)
  (smtpmail-outbox-flush))

(defun smtpmail--dispatch (message)
  "Send or queue MESSAGE, a `smtpmail-message', over the account in force.
Return a word for what was done."
  (smtpmail-accounts-check-size (smtpmail-message-buffer message))
  (when-let ((sender (smtpmail-accounts-setting :envelope-sender)))
    (setf (smtpmail-message-sender message) sender))
  (let ((time (and (smtpmail-message-options message)
                   ;; Message mode's own copies must not have these fields.
                   (require 'smtpmail-accepted)
                   (require 'smtpmail-undo)
                   (smtpmail-undo-time (smtpmail-message-options message)))))
    (cond (time (smtpmail-background-send message time))
          (smtpmail-queue-mail (smtpmail--queue message))
          ((and smtpmail-send-in-background
                (smtpmail-background-wanted-p message))
           (smtpmail-background-send message))
          (t (smtpmail--send message)))))

(defvar smtpmail-outbox--entry nil
  "While an entry is sent: (NAME TEXT-TICK REPORT), else nil.
`smtpmail-via-smtp' sends the entry itself unless the text buffer has
changed since TEXT-TICK, and leaves its report.")

(defvar smtpmail--report nil
  "The report of the last delivery, a plist.")

(defun smtpmail--send (message)
  "Send MESSAGE, a `smtpmail-message', or signal an error.
If the server said only \"not now\", offer to queue it.  Return a word
for what was done."
  (let* ((smtpmail--report nil)
         (failure
          (let ((smtpmail-code-conv-from (smtpmail-message-coding message))
                (smtpmail-mail-address (smtpmail-message-sender message)))
            ;; By its symbol: users advise it to choose the server.
            (funcall #'smtpmail-via-smtp
                     (smtpmail-message-recipients message)
                     (smtpmail-message-buffer message)))))
    (if (not failure)
        "Sent"
      (let ((why (if (stringp failure)
                     (smtpmail--sanitize-error-message failure)
                   failure)))
        (if (smtpmail--queue-instead-p why)
            (smtpmail--queue message)
          (error "Sending failed: %s" why))))))

(defun smtpmail--queue (message)
  "Queue MESSAGE, a `smtpmail-message'; return a word for what was done."
  (smtpmail-outbox-add message)
  "Queued")

(defun smtpmail--queue-instead-p (why)
  "Ask whether a message that was refused for now is to be queued.
WHY is the server's refusal."
  (and (eq (plist-get smtpmail--report :verdict) 'failed)
       (eq (plist-get (plist-get smtpmail--report :failure) :kind) 'transient)
       (not (seq-some (lambda (recipient) (plist-get recipient :accepted))
                      (plist-get smtpmail--report :recipients)))
       (stringp smtpmail-queue-dir)
       (smtpmail-auth-can-prompt-p)
       (y-or-n-p (format "Not sent: %s.  Queue it for later? " why))))

(defun smtpmail--sanitize-error-message (text)
  "Return TEXT with whatever follows AUTH left out of a command it cites."
  (replace-regexp-in-string "\\bAUTH [A-Z0-9-]+ [^ ]+" "AUTH <omitted>" text t t))

(defun smtpmail--write-copies (message done)
  "Write the Fcc copies of MESSAGE; tell what failed.
DONE is a word for what became of the message itself."
  (pcase-dolist (`(,file ,why ,buffer) (smtpmail--write-fcc message))
    (display-warning
     'smtpmail
     (format "%s, but the copy in %s could not be written: %s; \
it is in the buffer %s" done file why buffer))))

(defun smtpmail--write-fcc (message)
  "Write the Fcc copies of MESSAGE; return what failed.
What was told of the message itself stays in the echo area."
  ;; "Added to FILE" takes its place, and empties the echo area even if
  ;; messages are inhibited.
  (let ((said (current-message)))
    (prog1 (let ((inhibit-message t))
             (and (smtpmail-message-fcc message)
                  (smtpmail-message-write-fcc message)))
      (when said
        (let ((message-log-max nil))
          (message "%s" said))))))

(defun smtpmail-via-smtp (recipient smtpmail-text-buffer
                                    &optional ask-for-password _send-attempts)
  "Send the text in SMTPMAIL-TEXT-BUFFER to RECIPIENT, a list of addresses.
Return nil if the server took the message, else the reason, a string.
ASK-FOR-PASSWORD non-nil asks for credentials at once.  The server and
all else that is not given is what the variables say at the time of the
call, or `smtpmail-accounts'."
  (smtpmail-accounts-call
   smtpmail-text-buffer
   (lambda ()
     (if (bound-and-true-p smtpmail-background--order)
         (smtpmail-background-accept recipient smtpmail-text-buffer)
       (smtpmail--via-smtp recipient smtpmail-text-buffer ask-for-password)))))

(defun smtpmail--via-smtp (recipient smtpmail-text-buffer ask-for-password)
  "Do the work of `smtpmail-via-smtp' over the account in force.
RECIPIENT, SMTPMAIL-TEXT-BUFFER and ASK-FOR-PASSWORD are as there."
  (let* ((host (smtpmail--host))
         (account (smtpmail--account-request host))
         (port (plist-get account :port)))
    (or (and smtpmail-outbox--entry (smtpmail-outbox--rests host port))
        (let* ((request (smtpmail--request account recipient
                                           smtpmail-text-buffer))
               (report (smtpmail-session-run
                        request smtpmail-smtp-service
                        (or ask-for-password (smtpmail--login-demanded-p host)))))
          (setq smtpmail--report report)
          (when (plist-get request :entry)
            (setf (nth 2 smtpmail-outbox--entry) report))
          (or (smtpmail-report-error report host port)
              (ignore (message "%s" (smtpmail-report-success report))))))))

;;;; Requests

(defun smtpmail--request (account recipients buffer)
  "Return the request to send BUFFER to RECIPIENTS over ACCOUNT, a plist."
  (smtpmail-module-ensure)
  ;; While the text is handed over.
  (smtpmail-module--prepare account)
  (append account (smtpmail--message-request recipients buffer)))

(defun smtpmail--own-via-smtp-p ()
  "Return non-nil if `smtpmail-via-smtp' is ours, without advice."
  (not (smtpmail-redefined-p 'smtpmail-via-smtp)))

(smtpmail-redefined-note 'smtpmail-via-smtp 'smtpmail--own-via-smtp-p)

(defun smtpmail--host ()
  "Return the server's name, asked for if it is not known."
  (unless (smtpmail-services-given smtpmail-smtp-server)
    (smtpmail-query-smtp-server))
  (or (smtpmail-services-given smtpmail-smtp-server)
      (error "`smtpmail-smtp-server' not defined")))

(defun smtpmail-query-smtp-server ()
  "Ask for a server, find a port where it answers, and save both.
Signal an error if there is nobody to ask, or if no port answers."
  (smtpmail-first-server-ask))

(defun smtpmail--message-request (recipients buffer)
  "Return the part of a request that says to send BUFFER to RECIPIENTS."
  `( :sender ,(smtpmail--sender buffer)
     :recipients ,(mapcar #'smtpmail-maybe-append-domain recipients)
     ,@(smtpmail-delivery-request (smtpmail-delivery-values buffer))
     ,@(if (smtpmail--queued-text-p buffer)
           (append (list :entry (car smtpmail-outbox--entry))
                   (smtpmail-outbox--place))
         (smtpmail--text buffer smtpmail-code-conv-from))))

(defun smtpmail--account-request (host)
  "Return the part of a request that is the same for all messages to HOST.
Everything else is what the variables say."
  (let* ((security (smtpmail--security host))
         (client (and (not (eq security 'never))
                      (smtpmail-auth-client-certificate
                       host smtpmail-smtp-service))))
    `( :host ,host
       :port ,(smtpmail--port)
       :security ,security
       :ehlo-name ,(or smtpmail-ehlo-name (smtpmail-fqdn))
       :login-required ,(or (smtpmail--login-demanded-p host)
                            (smtpmail-auth-entry-p host smtpmail-smtp-service))
       ,@(smtpmail-proxy-request)
       :clear-login ,(or (eq security 'never)
                         ;; Behind a proxy "localhost" is another machine.
                         (and (not (smtpmail-proxy-used-p))
                              (smtpmail--this-machine-p host)))
       :verb ,smtpmail-debug-verb
       :strict-content ,smtpmail-strict-content
       :refused-recipients ,(if (and (eq smtpmail-on-refused-recipients 'ask)
                                     (not (smtpmail-auth-can-prompt-p)))
                                'abort
                              smtpmail-on-refused-recipients)
       ;; GnuTLS's own library takes as long to load as the rest of a send.
       :trust-files ,(and (not (eq security 'never)) (smtpmail--trust-files))
       ,@(smtpmail-auth-trust-request)
       :client-key ,(car client)
       :client-certificate ,(cdr client)
       ;; A queued message that is refused for now waits in the queue.
       :attempts ,(if smtpmail-outbox--entry 1 (max 1 smtpmail-retries))
       :connect-timeout ,smtpmail-connect-timeout
       :timeout ,smtpmail-timeout
       :traced-octets ,(if smtpmail-debug-info 4096 0)
       ;; Whose login it is that a kept connection has.
       :login-account ,(format "%S" (list smtpmail-smtp-user
                                          (smtpmail-accounts-name)
                                          smtpmail-auth-supported
                                          smtpmail-token-command))
       :keep-connection ,(smtpmail--keep-connection-seconds))))

(defconst smtpmail--background-keep-seconds 15
  "How long a connection is kept in the background, unless the user says.
A burst of replies or of patches comes faster.")

(defun smtpmail--keep-connection-seconds ()
  "Return for how many seconds the connection is kept for the next message."
  (let ((seconds (cond (noninteractive 0)
                       (smtpmail-keep-connection-seconds)
                       ((bound-and-true-p smtpmail-background--order)
                        smtpmail--background-keep-seconds)
                       (t 0))))
    (when (> seconds 0)
      (add-hook 'kill-emacs-hook #'smtpmail--close-connections))
    seconds))

(defun smtpmail--close-connections ()
  "Say goodbye on connections that are kept; wait for nothing."
  (when (featurep 'smtpmail-core)
    (smtpmail-module--close-connections)))

(defun smtpmail--login-demanded-p (host)
  "Return non-nil if `smtpmail-servers-requiring-authorization' matches HOST."
  (and smtpmail-servers-requiring-authorization
       (string-match-p smtpmail-servers-requiring-authorization host)))

(defun smtpmail--port ()
  "Return `smtpmail-smtp-service' as an integer."
  (let ((port (smtpmail-services-port smtpmail-smtp-service)))
    (if (and (integerp port) (< 0 port 65536))
        port
      (error "`smtpmail-smtp-service' is neither a port nor a known service: %S"
             smtpmail-smtp-service))))

(defun smtpmail--security (host)
  "Return how the connection to HOST is protected, for the engine."
  (when (member smtpmail-stream-type '("ssl" "tls" "starttls" "plain" "network"))
    (display-warning
     'smtpmail
     (format-message "`smtpmail-stream-type' should be the symbol %s, not a string"
                     smtpmail-stream-type)))
  (pcase smtpmail-stream-type
    ((or 'ssl 'tls "ssl" "tls") 'implicit)
    ((or 'starttls "starttls") 'required)
    ((or 'plain "plain") 'never)
    ((or 'nil 'network "network")
     (if (smtpmail-auth-starttls-required-p host smtpmail-smtp-service)
         'required
       'opportunistic))
    (other (error "Invalid connection type in `smtpmail-stream-type': %S" other))))

(defun smtpmail--this-machine-p (host)
  "Return non-nil if HOST is a name of this machine."
  (string-match-p
   "\\`\\(?:localhost\\|127\\(?:\\.[0-9]\\{1,3\\}\\)\\{3\\}\\|::1\\|\\[::1]\\)\\'"
   host))

(defun smtpmail--sender (buffer)
  "Return the envelope sender for the message in BUFFER."
  (or smtpmail-mail-address
      (smtpmail-accounts-setting :envelope-sender)
      (with-current-buffer buffer
        (save-excursion
          (save-restriction
            (require 'message)
            (message-narrow-to-headers)
            (or (and mail-specify-envelope-from (mail-envelope-from))
                (car (smtpmail-message-addresses
                      (or (mail-fetch-field "from") "")))))))
      (smtpmail-user-mail-address)
      (error "No envelope sender: the message has no From, \
and `user-mail-address' is not an address")))

(defun smtpmail--queued-text-p (buffer)
  "Return non-nil if BUFFER has the text of the queued message being sent.
An advice may have changed it: then it is sent as it is in BUFFER."
  (and smtpmail-outbox--entry
       (eql (nth 1 smtpmail-outbox--entry)
            (buffer-chars-modified-tick buffer))))

(defun smtpmail--text (buffer coding)
  "Return the text in BUFFER, to be encoded with CODING, for a request."
  (let* ((coding (and (buffer-local-value 'enable-multibyte-characters buffer)
                      coding))
         (content (and (>= (smtpmail-message-size buffer)
                              smtpmail-message-string-limit)
                       (progn (smtpmail-module-ensure)
                              (smtpmail-module--content)))))
    (if content
        (progn
          (smtpmail-message-write buffer coding
                                  (smtpmail-module--content-path content))
          (list :content content))
      (list :text (smtpmail-message-encode buffer coding)))))

(defun smtpmail--trust-files ()
  "Return the files of `gnutls-trustfiles' that are not the system's own.
Those the engine trusts anyway."
  ;; What the user customized takes effect when its library is loaded.
  (when (require 'gnutls nil t)
    (seq-filter #'file-readable-p
                (mapcar #'expand-file-name
                        (seq-difference
                         gnutls-trustfiles
                         (eval (car (get 'gnutls-trustfiles 'standard-value))
                               t))))))

(provide 'smtpmail)

;;; smtpmail.el ends here
