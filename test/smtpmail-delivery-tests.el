;;; smtpmail-delivery-tests.el --- What a message asks of the server  -*- lexical-binding: t -*-

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

;; Variables, accounts and fields, seen in what the server was told; now, from
;; the queue and from the background.

;;; Code:

(require 'message)
(require 'smtpmail-background-test)

(defconst smtpmail-delivery-tests--caps
  "PIPELINING,8BITMIME,STARTTLS,DSN,MT-PRIORITY,REQUIRETLS"
  "Extensions of a server that knows all that can be asked for.")

(defun smtpmail-delivery-tests--said (server)
  "Return what SERVER was told about each message, (MAIL RCPT), strings.
Without SIZE, BODY and ORCPT."
  (mapcar (lambda (message)
            (cons (string-join
                   (seq-remove (lambda (word)
                                 (string-match-p "\\`\\(?:SIZE\\|BODY\\)=" word))
                               (alist-get 'mail_params message))
                   " ")
                  (mapcar (lambda (words)
                            (string-join
                             (seq-remove (lambda (word)
                                           (string-prefix-p "ORCPT=" word))
                                         words)
                             " "))
                          (alist-get 'rcpt_params message))))
          (smtpmail-test-messages server)))

(defmacro smtpmail-delivery-tests--with (options &rest body)
  "Run BODY with `server', a server with OPTIONS, and nothing told before."
  (declare (indent 1) (debug t))
  `(smtpmail-test-with-server (server ,@options)
     (let ((smtpmail-delivery--told nil)
           (warnings nil))
       (ignore warnings)
       (cl-letf (((symbol-function 'display-warning)
                  (lambda (_type text &rest _) (push text warnings))))
         ,@body))))

(ert-deftest smtpmail-delivery-a-field-goes-before-account-and-variable ()
  "Each says it for those that do not."
  (smtpmail-delivery-tests--with ("--caps" smtpmail-delivery-tests--caps)
    (let ((smtpmail-dsn '(failure))
          (smtpmail-priority 1)
          (header "From: me@example.org\nTo: you@example.net\nMessage-ID: <m+1@x>\n"))
      (should-not (smtpmail-test-send header))
      ;; In force, as the author's account would be.
      (smtpmail-accounts-with (smtpmail-accounts-bindings
                               '("x" :dsn (success headers) :require-tls t))
        (should-not (smtpmail-test-send header))
        (should-not (smtpmail-test-send
                     (concat header "X-Smtpmail-DSN: delay,\n success\n"
                             "x-smtpmail-priority: -9\n"
                             "X-Smtpmail-Envelope-Id: my name\n"
                             "X-Smtpmail-Require-TLS: no\n")))
        (should-not (smtpmail-test-send (concat header "X-Smtpmail-DSN: never\n")))
        (should-not (smtpmail-test-send (concat header "X-Smtpmail-DSN:\n")))))
    (should (equal '(("ENVID=m+2B1@x MT-PRIORITY=1" "NOTIFY=FAILURE")
                     ("RET=HDRS ENVID=m+2B1@x REQUIRETLS MT-PRIORITY=1"
                      "NOTIFY=SUCCESS")
                     ("ENVID=my+20name MT-PRIORITY=-9" "NOTIFY=SUCCESS,DELAY")
                     ("REQUIRETLS MT-PRIORITY=1" "NOTIFY=NEVER")
                     ("REQUIRETLS MT-PRIORITY=1" ""))
                   (smtpmail-delivery-tests--said server)))
    (should-not warnings)
    (dolist (message (smtpmail-test-messages server))
      (should-not (string-match-p "X-Smtpmail" (alist-get 'bytes message))))))

(ert-deftest smtpmail-delivery-nothing-is-said-unasked ()
  "Also to a server that would understand."
  (smtpmail-delivery-tests--with ("--caps" smtpmail-delivery-tests--caps)
    (should-not (smtpmail-test-send))
    (should (equal '(("" "")) (smtpmail-delivery-tests--said server)))))

(ert-deftest smtpmail-delivery-what-is-left-out-is-told-once ()
  "The messages go; the trace tells of each."
  (smtpmail-delivery-tests--with ("--caps" "PIPELINING,STARTTLS")
    (let ((smtpmail-dsn '(success))
          (smtpmail-priority 3)
          (smtpmail-debug-info t))
      (should-not (smtpmail-test-send))
      (should-not (smtpmail-test-send))
      (should (equal '(("" "") ("" "")) (smtpmail-delivery-tests--said server)))
      (should (= 2 (length warnings)))
      (should (seq-find (lambda (text)
                          (string-match-p
                           "localhost: .*delivery reports (no DSN): sent without"
                           text))
                        warnings))
      (with-current-buffer (smtpmail-session-trace-name "localhost")
        (should (= 2 (how-many "\\*: .*(no DSN)" (point-min) (point-max))))))))

(ert-deftest smtpmail-delivery-what-is-demanded-keeps-the-message-here ()
  "Before MAIL, with words that tell what to do."
  (smtpmail-delivery-tests--with ("--caps" "PIPELINING,STARTTLS")
    (pcase-dolist (`(,field ,why)
                   '(("X-Smtpmail-DSN: success, required" "demands delivery reports.*no DSN")
                     ("X-Smtpmail-Require-TLS: yes" "demands TLS all the way.*no REQUIRETLS")))
      (should (string-match-p why (smtpmail-test-send
                                   (format "To: you@example.net\n%s\n" field)))))
    (should-not (string-search "C: MAIL" (smtpmail-test-log server)))))

(ert-deftest smtpmail-delivery-bad-values-are-named-before-anything-goes ()
  "Of fields, and of variables."
  (smtpmail-delivery-tests--with ("--caps" smtpmail-delivery-tests--caps)
    (pcase-dolist (`(,field ,why)
                   '(("X-Smtpmail-DSN: sucess" "X-Smtpmail-DSN: Not a word.*: sucess")
                     ("X-Smtpmail-DSN: never, delay" "never and delay")
                     ("X-Smtpmail-DSN: full, headers" "either the full")
                     ("X-Smtpmail-Priority: 10" "X-Smtpmail-Priority: Not a priority.*: 10")
                     ("X-Smtpmail-Priority: high" "Not a priority")
                     ("X-Smtpmail-Envelope-Id: é" "Not a name")
                     ("X-Smtpmail-Require-TLS: maybe" "Neither yes nor no: maybe")))
      (should (string-match-p why (smtpmail-test-send
                                   (format "To: you@example.net\n%s\n" field)))))
    (let ((smtpmail-dsn '(sometimes)))
      (should (string-match-p "smtpmail-dsn.*sometimes" (smtpmail-test-send))))
    (let ((smtpmail-priority "high"))
      (should (string-match-p "Not a priority" (smtpmail-test-send))))
    (should-not (smtpmail-test-messages server))))

(ert-deftest smtpmail-delivery-the-queue-keeps-it ()
  "A flush says what was asked for then, whatever the variables say now."
  (smtpmail-delivery-tests--with ("--caps" smtpmail-delivery-tests--caps)
    (smtpmail-test-with-directory queue
      (let ((smtpmail-queue-dir queue)
            (smtpmail-queue-mail t)
            (smtpmail-priority 2)
            (header "To: you@example.net\nMessage-ID: <m@x>\n"))
        (should-not (smtpmail-test-send
                     (concat header "X-Smtpmail-DSN: success, full\n"
                             "X-Smtpmail-Require-TLS: yes\n")))
        (setq smtpmail-priority nil)
        (should-not (smtpmail-test-send header))
        (let ((smtpmail-dsn '(never))
              (said '(("RET=FULL ENVID=m@x REQUIRETLS MT-PRIORITY=2"
                       "NOTIFY=SUCCESS")
                      ("" ""))))
          (should (equal "X-Smtpmail-DSN: success, full
X-Smtpmail-Priority: 2
X-Smtpmail-Require-TLS: yes
"
                         (smtpmail-delivery-fields
                          (car (plist-get (smtpmail-outbox-entries) :entries)))))
          (smtpmail-send-queued-mail)
          (should (equal said (smtpmail-delivery-tests--said server)))
          ;; One by one, as it goes where users advise the function.
          (let ((smtpmail-dsn nil)
                (smtpmail-priority 2))
            (should-not (smtpmail-test-send
                         (concat header "X-Smtpmail-DSN: success, full\n"
                                 "X-Smtpmail-Require-TLS: yes\n")))
            (setq smtpmail-priority nil)
            (should-not (smtpmail-test-send header)))
          (advice-add 'smtpmail-via-smtp :before #'ignore)
          (unwind-protect (smtpmail-send-queued-mail)
            (advice-remove 'smtpmail-via-smtp #'ignore))
          (should (equal (append said said)
                         (smtpmail-delivery-tests--said server))))))))

(ert-deftest smtpmail-delivery-what-the-disk-says-is-checked ()
  "A message with facts that are none stays in the queue."
  (smtpmail-delivery-tests--with ("--caps" smtpmail-delivery-tests--caps)
    (smtpmail-test-with-directory queue
      (let ((smtpmail-queue-dir queue)
            (smtpmail-queue-mail t))
        (should-not (smtpmail-test-send
                     "To: you@example.net\nX-Smtpmail-Priority: 2\n"))
        (let ((file (car (directory-files queue t "\\.el\\'"))))
          (with-temp-file file
            (insert-file-contents-literally file)
            (re-search-forward "priority \"2\"")
            (replace-match "priority \"2 RSET\"")))
        (let ((why (cadr (should-error (smtpmail-send-queued-mail)))))
          (should (string-match-p "outbox says of its delivery.*2 RSET" why)))
        (should-not (smtpmail-test-messages server))))))

(ert-deftest smtpmail-delivery-the-background-keeps-it ()
  "Each of several messages of one courier says its own; another Emacs, too."
  (smtpmail-background-tests--with (server "--caps" smtpmail-delivery-tests--caps)
    (let ((smtpmail-undo-seconds 1))
      (smtpmail-background-tests--send
       "One" "Message-ID: <m@x>\nX-Smtpmail-DSN: success\nX-Smtpmail-Priority: 4\n")
      (smtpmail-background-tests--send "Two")
      (let ((smtpmail-dsn '(delay headers)))
        (smtpmail-background-tests--send "Three" "Message-ID: <n@x>\n"))
      ;; Read back as another Emacs would.
      (should (equal
               '((smtpmail-dsn success) (smtpmail-delivery--envelope-id . "m@x")
                 (smtpmail-priority . 4) (smtpmail-require-tls))
               (smtpmail-background-mail-options
                (smtpmail-background-from-entry
                 (car (plist-get (smtpmail-outbox-entries) :entries))
                 (smtpmail-outbox--place))))))
    (smtpmail-background-tests--wait 'sent 'sent 'sent)
    (should (equal '(("ENVID=m@x MT-PRIORITY=4" "NOTIFY=SUCCESS")
                     ("" "")
                     ("RET=HDRS ENVID=n@x" "NOTIFY=DELAY"))
                   (smtpmail-delivery-tests--said server)))))

(ert-deftest smtpmail-delivery-message-mode-copies-lack-the-fields ()
  "Neither the wire nor the copy of Message mode has them."
  (smtpmail-delivery-tests--with ("--caps" smtpmail-delivery-tests--caps)
    (smtpmail-test-with-directory directory
      (let ((copy (expand-file-name "copy" directory))
            (message-send-mail-function 'smtpmail-send-it)
            (message-confirm-send nil)
            (message-interactive t)
            (message-fcc-handler-function
             (lambda (file)
               (write-region (point-min) (point-max) file nil 'quiet))))
        (with-temp-buffer
          (message-mode)
          (insert "From: me@example.org\nTo: you@example.net\nSubject: Hi\nFcc: "
                  copy "\nX-Smtpmail-DSN: success\n" mail-header-separator
                  "\nHello\n")
          (message-send))
        (should (equal "NOTIFY=SUCCESS"
                       (nth 1 (car (smtpmail-delivery-tests--said server)))))
        (should (string-search "Subject: Hi" (smtpmail-test-text copy)))
        (should-not (string-search "X-Smtpmail" (smtpmail-test-text copy)))))))

(provide 'smtpmail-delivery-tests)

;;; smtpmail-delivery-tests.el ends here
