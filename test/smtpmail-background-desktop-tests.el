;;; smtpmail-background-desktop-tests.el --- What the desktop is told  -*- lexical-binding: t -*-

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

;; A private D-Bus with a service of notifications on it, both real programs of
;; their own, and an Emacs whose message is refused.

;;; Code:

(require 'smtpmail-test)

(defun smtpmail-background-desktop-tests--start (name &rest command)
  "Start COMMAND as a process called NAME, and return it."
  (make-process :name name :buffer (generate-new-buffer (format " *%s*" name))
                :noquery t :connection-type 'pipe :command command))

(defun smtpmail-background-desktop-tests--output (process regexp)
  "Return what group 1 of REGEXP matches in the output of PROCESS, once it does."
  (smtpmail-test-wait
   regexp
   (lambda ()
     (with-current-buffer (process-buffer process)
       (unless (process-live-p process)
         (error "%s ended: %s" (process-name process) (buffer-string)))
       (goto-char (point-min))
       (and (re-search-forward regexp nil t) (match-string 1))))))

(defun smtpmail-background-desktop-tests--end (process)
  "End PROCESS."
  (delete-process process)
  (kill-buffer (process-buffer process)))

(defconst smtpmail-background-desktop-tests--service
  '((require 'dbus)
    (defun show (&rest arguments)
      (message "%S" arguments)
      '(:uint32 1))
    (dbus-register-method
     :session "org.freedesktop.Notifications" "/org/freedesktop/Notifications"
     "org.freedesktop.Notifications" "Notify" #'show)
    (message "ready")
    (while t (read-event nil nil 1)))
  "What the Emacs evaluates that is the desktop's service of notifications.")

(defun smtpmail-background-desktop-tests--forms (server subject &rest forms)
  "Return what an Emacs evaluates that sends SUBJECT to SERVER, which refuses it.
FORMS come last; they see the facts of the failure in `told'."
  `(,@(smtpmail-test-settings server)
    (require 'smtpmail)
    (setq smtpmail-queue-dir (expand-file-name "~/queue/")
          smtpmail-send-in-background t
          smtpmail-failed-functions (list (lambda (facts) (setq told facts))))
    (defvar told nil)
    (let ((noninteractive nil)
          (end (+ (float-time) ,smtpmail-test-patience)))
      (with-temp-buffer
        (insert "To: you@example.net\nSubject: " ,subject "\n"
                mail-header-separator "\nHello\n")
        (smtpmail-send-it))
      (while (not told)
        (when (> (float-time) end) (error "Nothing was told"))
        (accept-process-output nil 0.05)))
    ,@forms))

(defmacro smtpmail-background-desktop-tests--with-bus (environment &rest body)
  "Run BODY with ENVIRONMENT bound to the strings that lead to a private D-Bus."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-directory directory
     (let ((bus (smtpmail-background-desktop-tests--start
                 "dbus-daemon" "dbus-daemon" "--session" "--nofork"
                 "--print-address"
                 (format "--address=unix:path=%sbus" directory))))
       (unwind-protect
           (let ((,environment
                  (list (concat "DBUS_SESSION_BUS_ADDRESS="
                                (smtpmail-background-desktop-tests--output
                                 bus "^\\(unix:.*\\)\n")))))
             ,@body)
         (smtpmail-background-desktop-tests--end bus)))))

(ert-deftest smtpmail-background-desktop-notification ()
  "A refusal gives one notification: visible, bounded, without markup."
  (smtpmail-background-desktop-tests--with-bus environment
    (smtpmail-test-with-directory home
      (let* ((file (expand-file-name "service.el" home))
             (service
              (progn
                (with-temp-file file
                  (dolist (form smtpmail-background-desktop-tests--service)
                    (prin1 form (current-buffer))))
                (let ((process-environment (append environment process-environment)))
                  (smtpmail-background-desktop-tests--start
                   "service" smtpmail-test-emacs "-Q" "--batch" "-l" file)))))
        (unwind-protect
            (smtpmail-test-with-server
                (server "--on" (concat "rcpt=reply 550 5.1.1 <b>No & such\\x1b[31m user</b> "
                                       (make-string 400 ?x)))
              (smtpmail-background-desktop-tests--output service "\\(ready\\)\n")
              (let ((run (smtpmail-test-run
                          (smtpmail-background-desktop-tests--forms
                           server "<i>Fish & chips</i>"
                           '(message "Desktop: %S" (featurep 'dbus)))
                          :home home :environment environment)))
                (should (equal 0 (plist-get run :exit)))
                (should (string-match-p "^Desktop: t$" (plist-get run :stderr))))
              (let ((call (car (read-from-string
                                (smtpmail-background-desktop-tests--output
                                 service "^\\((.*)\\)\n")))))
                (pcase-let ((`(,program ,replaces ,_icon ,summary ,body . ,_) call))
                  (should (equal program "Emacs"))
                  (should (equal replaces 0))
                  (should (equal summary "Not sent: \"<i>Fish & chips</i>\""))
                  (should (string-match-p
                           "\\`550 5\\.1\\.1 &lt;b&gt;No &amp; such^\\[\\[31m user&lt;/b&gt; x"
                           body))
                  (should-not (string-match-p "[<>[:cntrl:]]" body))
                  (should (< (length body) 1100))))
              ;; One, and no more.
              (with-current-buffer (process-buffer service)
                (should (= 1 (how-many "^(" (point-min) (point-max))))))
          (smtpmail-background-desktop-tests--end service))))))

(ert-deftest smtpmail-background-desktop-without ()
  "Where there is no desktop, none is looked for; the notice is there."
  (smtpmail-test-with-server (server "--on" "rcpt=reply 550 5.1.1 Nobody")
    (let ((run (smtpmail-test-run
                (smtpmail-background-desktop-tests--forms
                 server "Hi"
                 '(message "Desktop: %S" (featurep 'dbus))
                 '(message "%s" (with-current-buffer "*smtpmail notice*"
                                  (buffer-string))))
                :environment '("DBUS_SESSION_BUS_ADDRESS"))))
      (should (equal 0 (plist-get run :exit)))
      (should (string-match-p "^Desktop: nil$" (plist-get run :stderr)))
      (should (string-match-p "^Not sent: \"Hi\"\n  550 5\\.1\\.1 Nobody"
                              (plist-get run :stderr))))))

(ert-deftest smtpmail-background-desktop-nobody-there ()
  "A bus without a service of notifications, or a dead one, disturbs nothing."
  (smtpmail-background-desktop-tests--with-bus environment
    (dolist (environment (list environment
                               '("DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent")))
      (smtpmail-test-with-server (server "--on" "rcpt=reply 550 5.1.1 Nobody")
        (let ((run (smtpmail-test-run
                    (smtpmail-background-desktop-tests--forms
                     server "Hi"
                     '(accept-process-output nil 0.3)
                     '(message "%s" (with-current-buffer "*smtpmail notice*"
                                      (buffer-string))))
                    :environment environment)))
          (should (equal 0 (plist-get run :exit)))
          (should (string-match-p "^Not sent: \"Hi\"\n  550 5\\.1\\.1 Nobody"
                                  (plist-get run :stderr)))
          (should-not (string-match-p "[Dd]-?[Bb]us" (plist-get run :stderr))))))))

(provide 'smtpmail-background-desktop-tests)

;;; smtpmail-background-desktop-tests.el ends here
