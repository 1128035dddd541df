;;; smtpmail-first-server.el --- ask for a server if there is none  -*- lexical-binding: t -*-

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

;; Stock: a send without `smtpmail-smtp-server' asks for one, and tries ports.
;; `smtpmail-setup' does more.

;;; Code:

(require 'smtpmail)

(defun smtpmail-first-server-ask ()
  "Ask for a server, find a port where it answers, and save both.
Signal an error if there is nobody to ask, or if no port answers."
  (unless (smtpmail-auth-can-prompt-p)
    (error "`smtpmail-smtp-server' not defined"))
  (when (smtpmail-proxy-used-p)
    (error "`smtpmail-smtp-server' not defined, and no server is looked for \
behind `smtpmail-proxy'"))
  (let ((server (smtpmail-first-server--read))
        (ports (delete-dups
                (append (and (not (equal (smtpmail-services-port
                                          smtpmail-smtp-service)
                                         25))
                             (list (smtpmail--port)))
                        (list 465 587 25))))
        (found nil))
    (setq found (seq-find (lambda (port) (smtpmail-first-server--answers-p server port)) ports))
    (unless found
      (let ((port (read-number (format "Port number to use when contacting %s? "
                                       server))))
        (setq found (and (smtpmail-first-server--answers-p server port) port))))
    (unless found
      (error "Couldn't contact an SMTP server"))
    (when (eql found 465)
      (customize-save-variable 'smtpmail-stream-type 'ssl))
    (customize-save-variable 'smtpmail-smtp-server server)
    (customize-save-variable 'smtpmail-smtp-service found)))

(defun smtpmail-first-server--read ()
  "Ask for a server; say that there is `smtpmail-setup', too."
  (minibuffer-with-setup-hook
      (lambda ()
        (let ((hint (make-overlay (point-max) (point-max) nil t t)))
          (overlay-put hint 'after-string
                       (propertize "  [C-g, then M-x smtpmail-setup finds it]"
                                   'face 'shadow 'cursor t))))
    (read-string "Outgoing SMTP mail server: ")))

(defun smtpmail-first-server--answers-p (server port)
  "Return non-nil if a connection to SERVER at PORT comes about."
  (let ((process (ignore-errors
                   (make-network-process :name "smtpmail probe" :host server
                                         :service port :nowait t)))
        (end (+ (float-time) smtpmail-connect-timeout)))
    (when process
      (unwind-protect
          (progn
            (while (and (eq (process-status process) 'connect)
                        (< (float-time) end))
              (message "Trying %s port %d..." server port)
              (accept-process-output process 0.1))
            (eq (process-status process) 'open))
        (delete-process process)))))

(provide 'smtpmail-first-server)

;;; smtpmail-first-server.el ends here
