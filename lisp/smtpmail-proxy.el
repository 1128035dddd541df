;;; smtpmail-proxy.el --- Ways to the server that are not direct  -*- lexical-binding: t -*-

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

;; `smtpmail-proxy' as the engine wants it, the login at a proxy that asks for
;; one, and a word to those who have advised `open-network-stream', which does
;; nothing here.  The engine makes the connection.
;;
;; No password is kept: the engine asks for it when the proxy does.

;;; Code:

(require 'auth-source)
(require 'seq)
(require 'subr-x)
(require 'smtpmail-options)
(require 'smtpmail-auth)
(require 'smtpmail-services)

(declare-function smtpmail-module--login "ext:exports.rs" (delivery id login))

;;;; The setting

(defun smtpmail-proxy--bad (value)
  "Signal that VALUE is no good one of `smtpmail-proxy'."
  (error "`smtpmail-proxy' is not (socks5 HOST PORT), (http HOST PORT) or \
(command FILE ARGUMENT...): %S" value))

(defun smtpmail-proxy-request ()
  "Return the part of a request that says how the server is reached.
It prints, and has no password; `smtpmail-proxy-complete' adds what
changes with time."
  (pcase smtpmail-proxy
    ('nil nil)
    (`(,(and kind (or 'socks5 'http)) ,host ,service . ,rest)
     (let ((port (smtpmail-services-port service)))
       (unless (and (smtpmail-services-given host)
                    (integerp port) (< 0 port 65536)
                    (or (null rest)
                        (and (null (cdr rest)) (stringp (car rest)))))
         (smtpmail-proxy--bad smtpmail-proxy))
       `(:proxy ( :kind ,kind :host ,host :port ,port
                  :user ,(smtpmail-services-given (car rest))))))
    (`(command . ,(and arguments (pred consp)))
     (unless (and (proper-list-p arguments)
                  (seq-every-p #'stringp arguments)
                  (smtpmail-services-given (car arguments))
                  (not (string-search "\0" (string-join arguments))))
       (smtpmail-proxy--bad smtpmail-proxy))
     `(:proxy (:kind command :arguments ,arguments)))
    (other (smtpmail-proxy--bad other))))

(defun smtpmail-proxy-complete (request)
  "Return REQUEST, a plist, with what its proxy needs at this moment.
A command is looked for as Emacs does, and gets the environment that
Emacs gives to programs, which has for instance the SSH agent."
  (smtpmail-proxy-tell-of-advice)
  (pcase (plist-get request :proxy)
    ((and (pred consp) proxy (guard (eq (plist-get proxy :kind) 'command)))
     (let* ((arguments (plist-get proxy :arguments))
            (file (car arguments)))
       `(:proxy ( :kind command
                  :arguments ,(cons (or (executable-find file)
                                        (error "The command %s, which \
`smtpmail-proxy' names, was not found" file))
                                    (cdr arguments))
                  :environment ,(smtpmail-proxy--environment))
         ,@request)))
    (_ request)))

(defun smtpmail-proxy--environment ()
  "Return `process-environment' without what is no variable with a value.
The first one of a name holds."
  (let ((seen (make-hash-table :test #'equal))
        (environment nil))
    (dolist (line process-environment)
      (let ((name (car (split-string line "="))))
        (unless (gethash name seen)
          (puthash name t seen)
          ;; What is no text cannot be handed over.
          (when (and (string-search "=" line)
                     (not (string-match-p "[\0\x3fff80-\x3fffff]" line)))
            (push line environment)))))
    (nreverse environment)))

(defun smtpmail-proxy-used-p ()
  "Return non-nil if the server is not reached directly.
Then it is not this machine, whatever its name, and nothing may be asked
of it behind the proxy's back."
  (and smtpmail-proxy t))

(defun smtpmail-proxy-facts ()
  "Return what the outbox keeps of the way that a message is to go."
  (and (smtpmail-proxy-used-p) '((proxied . t))))

(defun smtpmail-proxy-check (entry)
  "Signal an error if ENTRY of the outbox would go directly, and must not.
Its account may be gone.  What the way was is not kept, since a file must
not say what is started."
  (when (and (alist-get 'proxied (plist-get entry :facts))
             (not (smtpmail-proxy-used-p)))
    (error "It was to go by a proxy, and there is none now: see \
`smtpmail-proxy' and `smtpmail-accounts'")))

;;;; Its login

(defun smtpmail-proxy-answer (delivery question)
  "Answer QUESTION, a plist, of DELIVERY about the login at a proxy.
The login is auth-source's, by host and port of the proxy.  If there is
none, the user is asked, unless nobody can be."
  (smtpmail-proxy--log-in delivery question
                          (or (smtpmail-proxy--find question)
                              (smtpmail-proxy--ask question))))

(defun smtpmail-proxy-answer-quietly (delivery question)
  "Answer QUESTION of DELIVERY if nobody need be asked; return non-nil then."
  (when-let ((login (smtpmail-proxy--find question)))
    (smtpmail-proxy--log-in delivery question login)
    t))

(defun smtpmail-proxy--log-in (delivery question login)
  "Answer QUESTION of DELIVERY with LOGIN, (USER . SECRET), or with none."
  (let ((secret (cdr login)))
    (unwind-protect
        (smtpmail-module--login
         delivery (plist-get question :id)
         (and login
              (list :user (car login) :secret secret
                    :mechanisms nil :required nil)))
      (when secret (clear-string secret)))))

(defun smtpmail-proxy--find (question)
  "Return the login, (USER . SECRET), that auth-source has for QUESTION.
One that was refused is none."
  (let* ((port (plist-get question :port))
         (user (plist-get question :user))
         (found (and (not (plist-get question :again))
                     (car (apply
                      #'auth-source-search
                      :host (plist-get question :host)
                      :port (cons (number-to-string port)
                                  (if (plist-get question :socks)
                                      '("socks" "socks5")
                                    '("http" "https" "proxy")))
                      :require '(:user :secret) :max 1
                      (and user (list :user user))))))
         (secret (plist-get found :secret)))
    (when (functionp secret)
      (setq secret (funcall secret)))
    (and found
         (cons (plist-get found :user)
               ;; A copy of our own, to be wiped.
               (encode-coding-string (copy-sequence secret) 'utf-8)))))

(defun smtpmail-proxy--ask (question)
  "Ask the user for the login that QUESTION wants; (USER . SECRET), or nil."
  (when (smtpmail-auth-can-prompt-p)
    (let* ((where (format "%s:%s" (plist-get question :host)
                          (plist-get question :port)))
           (user (or (plist-get question :user)
                     (read-string (format "User name at the proxy %s: " where))))
           (typed (read-passwd (format "Password of %s at the proxy %s: "
                                       user where))))
      (unwind-protect
          (cons user (encode-coding-string typed 'utf-8 t))
        (clear-string typed)))))

;;;; What has no effect

(defvar smtpmail-proxy--advice-told nil
  "Non-nil if the user was told that advice has no effect here.")

(defun smtpmail-proxy-tell-of-advice ()
  "Say once, if it is so, that advice on `open-network-stream' has no effect.
That is how proxies were put under the built-in smtpmail."
  (unless (or smtpmail-proxy--advice-told smtpmail-proxy)
    (let ((advised nil))
      (advice-mapc (lambda (&rest _) (setq advised t)) 'open-network-stream)
      (when advised
        (setq smtpmail-proxy--advice-told t)
        (display-warning
         'smtpmail
         "`open-network-stream' is advised, perhaps for a proxy: that has no \
effect on sending mail, for which `smtpmail-proxy' is (told once)")))))

(provide 'smtpmail-proxy)

;;; smtpmail-proxy.el ends here
