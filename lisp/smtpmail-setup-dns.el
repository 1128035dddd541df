;;; smtpmail-setup-dns.el --- What the DNS says of a mail domain  -*- lexical-binding: t -*-

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

;; SRV records of submission (RFC 6186, RFC 8314 §5.1) and MX records, asked by
;; Emacs's own resolver of the system's servers, all at once and for a limited
;; time.
;;
;; An answer may come from anybody: it is bounded, a name in it is a host name
;; or nothing, and whoever uses it has to see whether it lies in the domain.

;;; Code:

(require 'cl-lib)
(require 'dns)
(require 'seq)
(require 'subr-x)

(defconst smtpmail-setup-dns--seconds 3
  "Seconds for each of the system's servers.")

(defconst smtpmail-setup-dns--servers 2
  "How many of the system's servers are asked, one after the other.")

(defconst smtpmail-setup-dns--records 8
  "How many records of an answer are looked at.")

;;;; Names

(defun smtpmail-setup-dns-ascii (domain)
  "Return DOMAIN as it stands in the DNS (RFC 5891), or nil if it cannot."
  (let ((name (ignore-errors
                (puny-encode-domain
                 (downcase (ucs-normalize-NFC-string
                            (string-remove-suffix "." domain)))))))
    (and name (smtpmail-setup-dns-host-p name) name)))

(autoload 'puny-encode-domain "puny")
(autoload 'ucs-normalize-NFC-string "ucs-normalize")

(defun smtpmail-setup-dns-host-p (name)
  "Return non-nil if NAME is a host name with a dot (RFC 1123 §2.1)."
  (let ((case-fold-search t))
    (and (stringp name)
         (<= (length name) 253)
         (string-search "." name)
         (seq-every-p (lambda (label)
                        (and (<= (length label) 63)
                             (string-match-p
                              "\\`[a-z0-9]\\(?:[a-z0-9-]*[a-z0-9]\\)?\\'" label)))
                      (split-string name "\\."))
         ;; Nor an address.
         (not (string-match-p "\\(?:\\`\\|\\.\\)[0-9]+\\'" name)))))

(defun smtpmail-setup-dns-within-p (host domain)
  "Return non-nil if HOST is DOMAIN or lies in it."
  (let ((host (downcase host))
        (domain (downcase domain)))
    (or (equal host domain)
        (string-suffix-p (concat "." domain) host))))

;;;; Questions

(defun smtpmail-setup-dns--ask (name type)
  "Begin to ask for records of NAME and TYPE; return a cell.
Its car is the process until there is an answer; then it becomes t, and the
cdr the answer, or `failed'."
  (let* ((cell (list nil))
         (before (process-list))
         (note (lambda (response)
                 (unless (memq (car cell) '(t failed))
                   (setcar cell (if response t 'failed))
                   (setcdr cell (ignore-errors
                                  (smtpmail-setup-dns--data response name type)))))))
    (let ((inhibit-message t))
      (dns-query-asynchronous name note type t))
    (if-let ((process (seq-find (lambda (process)
                                  (and (not (memq process before))
                                       (string-prefix-p "dns" (process-name process))))
                                (process-list))))
        (let ((filter (process-filter process)))
          (unless (car cell) (setcar cell process))
          ;; An error in a filter ends a batch Emacs.
          (set-process-filter
           process
           (lambda (process octets)
             (condition-case nil
                 (funcall filter process octets)
               (error (funcall note nil))))))
      (unless (car cell) (setcar cell 'failed)))
    cell))

(defun smtpmail-setup-dns--data (response name type)
  "Return the data of TYPE in RESPONSE to a question for NAME."
  (when (and (car (alist-get 'response-p response))
             (eq 'no-error (car (alist-get 'response-code response)))
             (equal name (downcase (or (car-safe (car (car (alist-get 'queries response))))
                                       ""))))
    (mapcar (lambda (record) (car (alist-get 'data (cdr record))))
            (seq-take (seq-filter
                       (lambda (record)
                         (eq type (car (alist-get 'type (cdr record)))))
                       (car (alist-get 'answers response)))
                      smtpmail-setup-dns--records))))

(defun smtpmail-setup-dns--waiting-p (cell)
  "Return non-nil if CELL may still get its answer."
  (and (processp (car cell)) (process-live-p (car cell))))

(defun smtpmail-setup-dns--end (cell)
  "Let nothing come into CELL any more."
  (when (processp (car cell))
    (let ((buffer (process-buffer (car cell))))
      (delete-process (car cell))
      (when (buffer-live-p buffer) (kill-buffer buffer)))))

(defun smtpmail-setup-dns--ask-all (questions)
  "Return answers to QUESTIONS, ((NAME TYPE) ...), in their order.
The server is the first of `dns-servers'."
  (let ((cells nil)
        (dns-timeout smtpmail-setup-dns--seconds)
        (end (+ (float-time) smtpmail-setup-dns--seconds)))
    (unwind-protect
        (progn
          ;; A quit must find every process in its cell.
          (let ((inhibit-quit t))
            (pcase-dolist (`(,name ,type) questions)
              (push (smtpmail-setup-dns--ask name type) cells)))
          (while (and (seq-some #'smtpmail-setup-dns--waiting-p cells)
                      (< (float-time) end))
            (accept-process-output nil 0.05))
          (mapcar (lambda (cell) (if (eq t (car cell)) (cons t (cdr cell))))
                  (reverse cells)))
      (mapc #'smtpmail-setup-dns--end cells))))

(defun smtpmail-setup-dns-records (questions)
  "Return the data for QUESTIONS, ((NAME TYPE) ...), a list for each of them.
The second server of the system is asked if the first one does not answer.
Quitting works, and leaves nothing behind."
  (unless (dns-servers-up-to-date-p)
    (dns-set-servers))
  (let ((answers (make-list (length questions) nil)))
    (cl-loop
     for server in (seq-take dns-servers smtpmail-setup-dns--servers)
     until (seq-every-p #'identity answers)
     do (let ((dns-servers (list server)))
          (setq answers (smtpmail-setup-dns--ask-all questions))))
    (mapcar #'cdr answers)))

;;;; A mail domain

(defun smtpmail-setup-dns--targets (data security)
  "Return what DATA, of SRV records, says: ((HOST PORT SECURITY) ...), best first.
A record without a good host name or port is left out; one whose target is
the root means that there is no such service."
  (let ((records (sort (copy-sequence data)
                       (lambda (a b)
                         ;; RFC 2782: the heaviest, not one at random, since
                         ;; it is kept.
                         (let ((pa (cadr (assq 'priority a)))
                               (pb (cadr (assq 'priority b))))
                           (or (< pa pb)
                               (and (= pa pb)
                                    (> (cadr (assq 'weight a))
                                       (cadr (assq 'weight b))))))))))
    (delq nil
          (mapcar (lambda (record)
                    (let ((host (cadr (assq 'target record)))
                          (port (cadr (assq 'port record))))
                      (and (smtpmail-setup-dns-host-p host)
                           (< 0 port 65536)
                           (list (downcase host) port security))))
                  records))))

(defun smtpmail-setup-dns-look-up (domain)
  "Return what the DNS says of mail of DOMAIN, a name in ASCII.
The value is a plist: :servers is a list of (HOST PORT SECURITY), the best
first, TLS from the beginning (RFC 8314) before STARTTLS; :none is non-nil
if DOMAIN says that it has no such service; :exchangers are the hosts that
take mail for it, the best first."
  (pcase-let* ((`(,submissions ,submission ,exchangers)
                (smtpmail-setup-dns-records
                 `((,(concat "_submissions._tcp." domain) SRV)
                   (,(concat "_submission._tcp." domain) SRV)
                   (,domain MX))))
               (both (append submissions submission)))
    (list :servers (append (smtpmail-setup-dns--targets submissions 'ssl)
                           (smtpmail-setup-dns--targets submission 'starttls))
          :none (and both
                     (seq-every-p (lambda (record)
                                    (equal "" (cadr (assq 'target record))))
                                  both))
          :exchangers (mapcar (lambda (record) (downcase (cdr record)))
                              (sort (seq-filter
                                     (lambda (record)
                                       (smtpmail-setup-dns-host-p (cdr-safe record)))
                                     exchangers)
                                    (lambda (a b) (< (car a) (car b))))))))

(provide 'smtpmail-setup-dns)

;;; smtpmail-setup-dns.el ends here
