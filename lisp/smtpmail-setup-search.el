;;; smtpmail-setup-search.el --- Find the server of a mail address  -*- lexical-binding: t -*-

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

;; Candidates for the server of an address: what is known of large providers,
;; what the DNS says, and at last the names that most people choose, tried.
;;
;; A candidate is a plist: :server, :service and :security as in
;; `smtpmail-accounts', :source says where it comes from, :note what has to be
;; known, and :doubt, if not nil, what speaks against it.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'smtpmail)
(require 'smtpmail-doctor-probe)
(require 'smtpmail-setup-dns)
(require 'smtpmail-setup-providers)

(declare-function smtpmail-module--cancel "ext:exports.rs" (delivery))
(declare-function smtpmail-module--events "ext:exports.rs" (delivery))
(declare-function smtpmail-module--open "ext:exports.rs" (request pipe))

(defconst smtpmail-setup-search--seconds 6
  "Seconds that a guessed server has to answer.")

(defvar smtpmail-setup-search-ports '((465 . ssl) (587 . starttls))
  "Ports where a guessed server is looked for, and how they begin.")

(defconst smtpmail-setup-search--names '("smtp" "mail")
  "First labels of guessed servers.")

(defun smtpmail-setup-search (domain)
  "Return what may be the server of addresses in DOMAIN.
The value is (CANDIDATES . REMARKS), the best candidate first; REMARKS are
sentences."
  (let ((known (smtpmail-setup-providers-of-domain domain)))
    (if known
        (smtpmail-setup-search--known known domain)
      (smtpmail-setup-search--unknown domain))))

(defun smtpmail-setup-search--known (provider domain)
  "Return the result for PROVIDER, whose addresses are in DOMAIN."
  ;; Without the DNS, which nothing protects.
  (if (plist-get provider :server)
      (list (list (smtpmail-setup-search--of-provider
             provider (format "what is known of %s (%s)"
                              (plist-get provider :name) domain))))
    (list nil (plist-get provider :note))))

(defun smtpmail-setup-search--of-provider (provider source)
  "Return the candidate that PROVIDER is, by SOURCE."
  (list :server (plist-get provider :server)
        :service (plist-get provider :service)
        :security (plist-get provider :security)
        :note (plist-get provider :note)
        :source source))

(defun smtpmail-setup-search--unknown (domain)
  "Return the result for DOMAIN, of no provider that is known."
  (let ((name (smtpmail-setup-dns-ascii domain)))
    (if (null name)
        (list nil (format "%s is no domain that the DNS can know" domain))
      (message "Looking for the mail server of %s (C-g stops)..." domain)
      ;; Behind a proxy, nothing is asked that would tell who is looked for.
      (let* ((said (and (not (smtpmail-proxy-used-p))
                        (smtpmail-setup-dns-look-up name)))
             (candidates (append (smtpmail-setup-search--announced said name)
                                 (smtpmail-setup-search--by-exchanger said name)))
             (none (and (plist-get said :none)
                        (format "%s says that it has no server for programs (SRV \
record)" domain))))
        (cond (candidates (cons candidates (and none (list none))))
              (none (list nil none))
              (t (smtpmail-setup-search--guesses name)))))))

(defun smtpmail-setup-search--announced (said domain)
  "Return the candidates of SAID, by the DNS, of DOMAIN."
  (mapcar (pcase-lambda (`(,host ,port ,security))
            (let ((provider (smtpmail-setup-providers-of-server host)))
              (list :server host :service port :security security
                    :note (plist-get provider :note)
                    :source (format "the SRV record of %s" domain)
                    :doubt (unless (or provider
                                       (smtpmail-setup-dns-within-p host domain))
                             (smtpmail-setup-search--outside host domain)))))
          (plist-get said :servers)))

(defun smtpmail-setup-search--outside (host domain)
  "Return what is doubtful about HOST as server of DOMAIN (RFC 6186 §6)."
  (format "The DNS says that mail of %s goes over %s, which is outside of that \
domain, and whoever controls the network can make the DNS say so" domain host))

(defun smtpmail-setup-search--by-exchanger (said domain)
  "Return the candidate that MX records in SAID, of DOMAIN, point to, in a list."
  (when-let ((provider (and (null (plist-get said :servers))
                            (seq-some #'smtpmail-setup-providers-of-exchanger
                                      (plist-get said :exchangers)))))
    (and (plist-get provider :server)
         (list (smtpmail-setup-search--of-provider
                provider (format "the MX record of %s, which is that of %s"
                                 domain (plist-get provider :name)))))))

;;;; Guesses

(defun smtpmail-setup-search--guesses (domain)
  "Return the result of looking for servers by their usual names in DOMAIN."
  (let* ((guesses
          (mapcan (lambda (name)
                    (mapcar (pcase-lambda (`(,port . ,security))
                              (list :server (concat name "." domain) :service port
                                    :security security))
                            smtpmail-setup-search-ports))
                  smtpmail-setup-search--names))
         (seen (smtpmail-setup-search--probe guesses))
         (found (delq nil (cl-mapcar #'smtpmail-setup-search--judge guesses seen))))
    (cons (seq-sort-by (lambda (candidate) (if (plist-get candidate :doubt) 1 0))
                       #'< found)
          (unless found
            (list (format "Nobody answers as a mail server at %s"
                          (string-join
                           (seq-uniq (mapcar (lambda (guess)
                                               (plist-get guess :server))
                                             guesses))
                           " or ")))))))

(defun smtpmail-setup-search--judge (guess facts)
  "Return the candidate that GUESS is by FACTS, what was seen there, or nil.
It is nil unless there is TLS: no password goes without."
  (let ((refused (smtpmail-doctor-facts-certificate facts)))
    (when (or refused (smtpmail-doctor-facts-secured facts))
      (append guess
              (list :source "a usual name, where a mail server answers"
                    :doubt (and refused
                                (plist-get (plist-get refused :failure) :text)))))))

(defun smtpmail-setup-search--request (guess)
  "Return the request to look at GUESS."
  (smtpmail-accounts-with (cons '(smtpmail-trust-file . nil)
                                (smtpmail-accounts-bindings (cons "guess" guess)))
    (append (list :probe t :sender nil :recipients nil
                  :connect-timeout smtpmail-setup-search--seconds
                  :timeout smtpmail-setup-search--seconds
                  :login-required nil)
            (smtpmail--account-request (plist-get guess :server)))))

(defun smtpmail-setup-search--probe (guesses)
  "Look at all GUESSES at once; return `smtpmail-doctor-facts' of each.
No login is tried.  Quitting ends all of them."
  (smtpmail-module-ensure)
  (let ((looks nil)
        (end (+ (float-time) (* 2 smtpmail-setup-search--seconds))))
    (unwind-protect
        (progn
          (dolist (guess guesses)
            (let ((request (smtpmail-setup-search--request guess))
                  ;; A quit must find every process among them.
                  (inhibit-quit t))
              (push (smtpmail-setup-search--open request) looks)))
          (while (and (seq-some (pcase-lambda (`(,_ ,delivery . ,_)) delivery) looks)
                      (< (float-time) end))
            (mapc #'smtpmail-setup-search--serve looks)
            (accept-process-output nil 0.05))
          (mapcar #'car (reverse looks)))
      (pcase-dolist (`(,_ ,delivery ,process) looks)
        (when delivery (smtpmail-module--cancel delivery))
        (delete-process process)))))

(defun smtpmail-setup-search--open (request)
  "Begin what REQUEST says; return a list (FACTS DELIVERY PROCESS)."
  (let ((process (make-pipe-process :name "smtpmail setup" :noquery t
                                    :coding 'no-conversion
                                    :filter #'ignore :sentinel #'ignore)))
    (list (smtpmail-doctor-probe--make :request request)
          (smtpmail-module--open (smtpmail-proxy-complete request) process)
          process)))

(defun smtpmail-setup-search--serve (look)
  "Take what there is about LOOK, (FACTS DELIVERY PROCESS); its end empties it."
  (pcase-let ((`(,facts ,delivery . ,_) look))
    (when delivery
      (dolist (event (smtpmail-module--events delivery))
        (unless (smtpmail-doctor-probe--note facts delivery event nil)
          (when (memq (car event) '(probed done))
            (setf (nth 1 look) nil)))))))

(provide 'smtpmail-setup-search)

;;; smtpmail-setup-search.el ends here
