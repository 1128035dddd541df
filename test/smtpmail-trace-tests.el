;;; smtpmail-trace-tests.el --- Reading the trace of a session  -*- lexical-binding: t -*-

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

;; Traces of real sessions, in the mode that shows them.

;;; Code:

(require 'smtpmail-test)
(require 'smtpmail-trace)

(defmacro smtpmail-trace-tests--with (options &rest body)
  "Run BODY in the trace of a message that a server with OPTIONS refused.
Before it, the trace has one of a message that the server took."
  (declare (indent 1))
  `(smtpmail-test-with-server (server ,options)
     (let ((smtpmail-debug-info t))
       (should-not (smtpmail-test-send))
       (should (smtpmail-test-send
                "To: good@example.net, bad@example.net\nSubject: Hi\n"))
       (save-window-excursion
         (smtpmail-show-trace)
         (should (eq major-mode 'smtpmail-trace-mode))
         ,@body))))

(defconst smtpmail-trace-tests--refusing
  '("--no-chunking" "--on" "rcpt:bad@example.net=reply 550 5.1.1 no such user")
  "Options of a server that knows one recipient less.")

(defun smtpmail-trace-tests--line ()
  "Return the line at point."
  (buffer-substring-no-properties (line-beginning-position) (line-end-position)))

(ert-deftest smtpmail-trace-shows-the-cause ()
  "`smtpmail-show-trace' goes to the reply for which nothing was sent."
  (smtpmail-trace-tests--with smtpmail-trace-tests--refusing
    (should (string-suffix-p "S: 550 5.1.1 no such user"
                             (smtpmail-trace-tests--line)))
    (goto-char (point-max))
    (forward-line -1)
    (should (string-match-p
             "\\` +[0-9.]+ \\*: outcome: 550 5\\.1\\.1 no such user in response"
             (smtpmail-trace-tests--line)))
    ;; The outcome leads there, too; nothing else does.
    (smtpmail-trace-push)
    (should (string-suffix-p "S: 550 5.1.1 no such user"
                             (smtpmail-trace-tests--line)))
    (should-error (smtpmail-trace-push) :type 'user-error)))

(ert-deftest smtpmail-trace-without-a-reply-shows-the-last-line ()
  "A connection that breaks has no reply; the line before is shown."
  (smtpmail-trace-tests--with '("--on" "rcpt:bad@example.net=reset")
    (should-not (string-match-p "outcome" (smtpmail-trace-tests--line)))
    (forward-line 1)
    (should (string-match-p "outcome: .*localhost" (smtpmail-trace-tests--line)))))

(ert-deftest smtpmail-trace-walks ()
  "From reply to reply, refusal to refusal, session to session."
  (smtpmail-trace-tests--with smtpmail-trace-tests--refusing
    (goto-char (point-min))
    (smtpmail-trace-next-reply 1)
    (should (looking-at-p "S: 220 "))
    (smtpmail-trace-next-reply 1)
    ;; Not at the first line of a reply with many.
    (should (looking-at-p "S: 250 [A-Z]"))
    (smtpmail-trace-previous-reply 1)
    (should (looking-at-p "S: 220 "))
    (should-error (smtpmail-trace-previous-reply 1) :type 'user-error)
    (smtpmail-trace-next-session 1)
    (should (looking-at-p "Session to localhost port "))
    (should (save-excursion (re-search-backward "^\f$" nil t)))
    (smtpmail-trace-next-refusal 1)
    (should (looking-at-p "S: 550 "))
    (smtpmail-trace-previous-session 2)
    (should (bobp))))

(ert-deftest smtpmail-trace-folds-the-text ()
  "The text of a message is hidden and shown again; nothing else is."
  (smtpmail-trace-tests--with (cons "--no-chunking" smtpmail-trace-tests--refusing)
    (goto-char (point-min))
    (let ((text (buffer-string)))
      (search-forward "C: Subject: Hi")
      (smtpmail-trace-toggle-text)
      (cl-flet ((hidden-p (string)
                  (save-excursion
                    (goto-char (point-min))
                    (search-forward string)
                    (invisible-p (match-beginning 0)))))
        (dolist (line '("C: Date: " "C: Hello"))
          (should (hidden-p line)))
        (dolist (line '("C: DATA" "S: 354 " "octets of message>" "S: 250 2.0.0"))
          (should-not (hidden-p line)))
        (smtpmail-trace-toggle-text)
        (should-not (hidden-p "C: Date: ")))
      (should (equal-including-properties text (buffer-string))))
    ;; The message that was refused has none.
    (goto-char (point-max))
    (should-error (smtpmail-trace-toggle-text) :type 'user-error)))

(ert-deftest smtpmail-trace-has-colours ()
  "Who spoke, and whether it was a refusal; the text of a message is apart."
  (smtpmail-trace-tests--with smtpmail-trace-tests--refusing
    (font-lock-ensure)
    (pcase-dolist (`(,regexp ,face)
                   '(("Session to" smtpmail-trace-session)
                     ("C: EHLO" smtpmail-trace-command)
                     ("S: 250-" smtpmail-trace-reply)
                     ("\\*: TLS" smtpmail-trace-note)
                     ("C: Subject: Hi" smtpmail-trace-text)
                     ("C: <[0-9]+ octets" smtpmail-trace-command)
                     ("S: 550" smtpmail-trace-refusal)
                     ("\\*: outcome" smtpmail-trace-refusal)))
      (goto-char (point-min))
      (re-search-forward regexp)
      (ert-info (regexp)
        (should (eq face (get-text-property (match-beginning 0) 'face)))))
    (goto-char (point-min))
    (forward-line 1)
    (should (eq 'smtpmail-trace-time
                (get-text-property (+ 3 (point)) 'face)))))

(ert-deftest smtpmail-trace-of-the-last-session-is-shown ()
  "With several servers, the trace that was kept last."
  (smtpmail-test-with-server (server)
    (let ((smtpmail-debug-info t))
      (dolist (host '("localhost" "127.0.0.1" "localhost"))
        (let ((smtpmail-smtp-server host))
          (should-not (smtpmail-test-send))
          (save-window-excursion
            (smtpmail-show-trace)
            (should (equal (format "*trace of SMTP session to %s*" host)
                           (buffer-name)))))))))

(provide 'smtpmail-trace-tests)

;;; smtpmail-trace-tests.el ends here
