;;; smtpmail-network.el --- Another Emacs in a network of its own  -*- lexical-binding: t -*-

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

;; An Emacs in a network of its own, where all ports are free, the system's
;; server of names is 127.0.0.1, and hosts have the addresses that a test
;; gives them.  Needs unshare and the right to use it.  No test lives here.

;;; Code:

(require 'smtpmail-test)

(defconst smtpmail-network--directory
  (file-name-directory (locate-library "smtpmail-test"))
  "Where the suites are.")

(defun smtpmail-network--unshare ()
  "Return the command that makes a network of its own, or skip the test."
  (let ((command (append '("unshare" "-n" "-m")
                         (and (/= 0 (user-uid)) '("-r")))))
    (unless (and (executable-find "unshare")
                 (executable-find "ip")
                 (eql 0 (apply #'call-process (car command) nil nil nil
                               (append (cdr command) '("true")))))
      (ert-skip "No network of its own"))
    command))

(defun smtpmail-network-run (forms &optional names)
  "Evaluate FORMS, with what the suites share, in a network of its own.
There localhost has both addresses, NAMES, a list, have 127.0.0.1, and no
service but the DNS has a name.  A test that fails in FORMS fails here."
  (let ((unshare (smtpmail-network--unshare)))
    (smtpmail-test-with-directory directory
      (let ((program (expand-file-name "emacs" directory))
            (hosts (expand-file-name "hosts" directory))
            (services (expand-file-name "services" directory))
            (resolver (expand-file-name "resolv.conf" directory)))
        (write-region (format "127.0.0.1 localhost %s\n::1 localhost\n"
                              (string-join names " "))
                      nil hosts nil 'quiet)
        ;; Emacs asks the DNS at the port of that name.
        (write-region "domain 53/udp\ndomain 53/tcp\n" nil services nil 'quiet)
        ;; Nobody is there, but for a test that puts somebody there.
        (write-region "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n"
                      nil resolver nil 'quiet)
        (write-region
         (format "#!/bin/sh
exec %s sh -c 'mount --bind %s /etc/hosts &&
{ [ ! -e /etc/services ] || mount --bind %s /etc/services; } &&
{ [ ! -e /etc/resolv.conf ] || mount --bind %s /etc/resolv.conf; } &&
ip link set lo up && exec \"$@\"' sh %s \"$@\"\n"
                 (string-join unshare " ") hosts services resolver
                 smtpmail-test-emacs)
         nil program nil 'quiet)
        (set-file-modes program #o755)
        (let ((result
               (smtpmail-test-run
                `((require 'smtpmail-test)
                  (require 'smtpmail-terminal)
                  (prin1 (condition-case why
                             (progn ,@forms 'passed)
                           ((error ert-test-failed) why))))
                :program program
                :arguments (list "-L" smtpmail-network--directory))))
          (unless (eql 0 (plist-get result :exit))
            (ert-fail (plist-get result :stderr)))
          (unless (equal (read (plist-get result :stdout)) 'passed)
            (ert-fail (plist-get result :stdout))))))))

(defmacro smtpmail-network-in-own (&rest body)
  "Evaluate BODY in another Emacs, in a network of its own."
  (declare (indent 0) (debug t))
  `(smtpmail-network-run ',body))

(defconst smtpmail-network-dns
  `((require 'json)
    (defun tests-with-zone (zone function)
      "Call FUNCTION while the DNS is ZONE, an alist; return what was asked."
      (smtpmail-test-with-directory directory
        (let* ((file (expand-file-name "zone.json" directory))
               (buffer (generate-new-buffer " *dns server*"))
               process)
          (with-temp-file file
            (insert (json-encode-alist
                     (mapcar (pcase-lambda (`(,question . ,answer))
                               (cons question (if (stringp answer) answer
                                                (vconcat (mapcar #'vconcat answer)))))
                             zone))))
          (unwind-protect
              (progn
                (setq process
                      (make-process
                       :name "the server of names" :buffer buffer :noquery t
                       :connection-type 'pipe :sentinel #'ignore
                       :command (list "python3" "-B"
                                      ,(expand-file-name
                                        "dns_server.py"
                                        (file-name-directory
                                         (or load-file-name buffer-file-name)))
                                      file)))
                (smtpmail-test-wait
                 "the DNS server"
                 (lambda () (with-current-buffer buffer
                              (string-prefix-p "ready" (buffer-string)))))
                (funcall function)
                (accept-process-output process 0.1)
                (with-current-buffer buffer
                  ;; Without those of the engine, for addresses.
                  (sort (seq-filter (lambda (line)
                                      (string-match-p " \\(?:SRV\\|MX\\)\\'" line))
                                    (split-string (buffer-string) "\n" t))
                        #'string<)))
            (when process (delete-process process))
            (kill-buffer buffer))))))
  "Forms that define `tests-with-zone', for the other Emacs.")

(provide 'smtpmail-network)

;;; smtpmail-network.el ends here
