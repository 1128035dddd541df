;;; smtpmail-doctor.el --- say why mail does not go  -*- lexical-binding: t -*-

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

;; The report of \`M-x smtpmail-doctor', and the same for batch.  What is
;; seen and what it means, others say (smtpmail-doctor-probe.el and
;; smtpmail-doctor-findings.el).  No mail is sent, and nothing is changed.

;;; Code:

(require 'cl-lib)
(require 'cus-edit)
(require 'seq)
(require 'subr-x)
(require 'smtpmail)
(require 'smtpmail-auth-login)
(require 'smtpmail-doctor-findings)

(defcustom smtpmail-doctor-timeout 20
  "Seconds after which `smtpmail-doctor' gives a silent server up.
`smtpmail-timeout' and `smtpmail-connect-timeout' count if they are shorter."
  :type 'natnum
  :package-version '(smtpmail . "0.1.0")
  :group 'smtpmail-doctor)

(defface smtpmail-doctor-ok '((t :inherit success))
  "What is as it should be."
  :group 'smtpmail-doctor)

(defface smtpmail-doctor-warning '((t :inherit warning))
  "What does not stop mail."
  :group 'smtpmail-doctor)

(defface smtpmail-doctor-failure '((t :inherit error))
  "What stops mail."
  :group 'smtpmail-doctor)

(defconst smtpmail-doctor--width 78
  "Columns of the report: it is pasted into mails.")

(defconst smtpmail-doctor--text-limit 2000
  "Characters of a finding that are shown; a server may say more.")

(defconst smtpmail-doctor--indentation 23
  "Columns before what was found.")

(defvar-local smtpmail-doctor--arguments nil
  "What the report in this buffer is about: (ACCOUNTS RECIPIENT).")

;;;; What is looked at

(defun smtpmail-doctor--sender (account)
  "Return the envelope sender of mail over ACCOUNT, of `smtpmail-accounts', or nil."
  (let ((match (car (seq-find (lambda (entry)
                                (equal (cdr entry) (cdr account)))
                              smtpmail-accounts))))
    (or (smtpmail-accounts-setting :envelope-sender)
        (and account (stringp match) (not (string-prefix-p "@" match)) match)
        (and mail-specify-envelope-from (mail-envelope-from))
        (smtpmail-user-mail-address))))

(defun smtpmail-doctor--request (account recipient)
  "Return the request to look at the server in force, over ACCOUNT.
RECIPIENT is tried if it is not nil."
  (let* ((host (smtpmail--host))
         (sender (and recipient
                      (or (smtpmail-doctor--sender account)
                          (user-error "No sender: set `user-mail-address'")))))
    (append (list :probe t :sender sender
                  :recipients (and recipient (list recipient))
                  :timeout (min smtpmail-timeout smtpmail-doctor-timeout)
                  :connect-timeout (min smtpmail-connect-timeout
                                        smtpmail-doctor-timeout))
            (smtpmail--account-request host))))

(defun smtpmail-doctor--examine (account recipient)
  "Return the report on ACCOUNT, (NAME . SETTINGS), or on the variables if nil.
RECIPIENT is tried if it is not nil.  The report is (TITLE FINDINGS)."
  (let ((bindings (smtpmail-accounts-bindings account)))
    (smtpmail-accounts-with bindings
      (let ((name (if account
                      (format "Account %s" (car account))
                    "The variables")))
        (condition-case why
            (let* ((request (smtpmail-doctor--request account recipient))
                   (facts (smtpmail-doctor-probe request t))
                   (findings (smtpmail-doctor-findings facts)))
              (list (smtpmail-doctor--title name request)
                    (smtpmail-doctor--without-secret
                     findings (smtpmail-doctor-facts-login facts))))
          ;; A wrong setting: all else is about the same account.
          (error (list (concat name ":")
                       `((failure "Settings" ,(error-message-string why)
                                  "Correct that setting")))))))))

(defun smtpmail-doctor--title (name request)
  "Return the heading for what is called NAME, looked at by REQUEST."
  (format "%s: %s port %s, %s" name
          (plist-get request :host) (plist-get request :port)
          (pcase (plist-get request :security)
            ('implicit "TLS from the beginning")
            ('required "always STARTTLS")
            ('never "never TLS")
            (_ "STARTTLS if offered"))))

(defun smtpmail-doctor--without-secret (findings login)
  "Return FINDINGS without the password of LOGIN, which a server may have said."
  (let ((secret (if login (funcall (smtpmail-auth-login-secret login)) "")))
    (if (string-empty-p secret)
        findings
      (mapcar (lambda (finding)
                (mapcar (lambda (part)
                          (if (stringp part)
                              (string-replace secret "<password>" part)
                            part))
                        finding))
              findings))))

;;;; The report

(defun smtpmail-doctor--fill (text)
  "Return TEXT in lines that begin behind the headings, but for the first."
  (with-temp-buffer
    (insert text)
    (let ((fill-column (- smtpmail-doctor--width smtpmail-doctor--indentation))
          (sentence-end-double-space t)
          (adaptive-fill-mode nil))
      (fill-region (point-min) (point-max)))
    (string-join (split-string (buffer-string) "\n" t)
                 (concat "\n" (make-string smtpmail-doctor--indentation ?\s)))))

(defun smtpmail-doctor--line (finding)
  "Return FINDING, (LEVEL WHAT TEXT REMEDY), as text."
  (pcase-let ((`(,level ,what ,text ,remedy) finding)
              ;; The SHA-256 of a certificate stands at its end.
              (smtpmail-visible-text-limit smtpmail-doctor--text-limit))
    (let ((face (pcase level
                  ('ok 'smtpmail-doctor-ok)
                  ('warning 'smtpmail-doctor-warning)
                  (_ 'smtpmail-doctor-failure)))
          (word (if (eq level 'failure) "FAILURE" (symbol-name level))))
      (concat "  " (propertize (format "%-8s" word) 'face face)
              (format " %-11s " what)
              (smtpmail-doctor--fill (smtpmail-visible-text text))
              (and remedy
                   (concat "\n" (format "  %-8s %-11s " "" "do this:")
                           (propertize
                            (smtpmail-doctor--fill (smtpmail-visible-text remedy))
                            'face 'bold)))
              "\n"))))

(defun smtpmail-doctor--text (reports)
  "Return REPORTS, ((TITLE FINDINGS) ...), as text."
  (concat
   (format "smtpmail %s, Emacs %s, %s\n" smtpmail-module-version emacs-version
           (format-time-string "%F %T %z"))
   "This can be shown to others: it has no password.  It names server, user\n"
   "and addresses.  No mail was sent.\n"
   (mapconcat
    (pcase-lambda (`(,title ,findings))
      (concat "\n" (propertize title 'face 'bold) "\n"
              (mapconcat #'smtpmail-doctor--line findings "")
              (smtpmail-doctor--verdict findings) "\n"))
    reports "")))

(defun smtpmail-doctor--verdict (findings)
  "Return the last line of a report with FINDINGS."
  (let ((failures (seq-count (lambda (f) (eq (car f) 'failure)) findings))
        (warnings (seq-count (lambda (f) (eq (car f) 'warning)) findings)))
    (concat (if (= failures 0) "Nothing stops mail here" "Mail does not go like this")
            (format ": %d failure%s, %d warning%s."
                    failures (if (= failures 1) "" "s")
                    warnings (if (= warnings 1) "" "s")))))

(defun smtpmail-doctor--failed-p (reports)
  "Return non-nil if REPORTS have a failure."
  (seq-some (lambda (report) (assq 'failure (nth 1 report))) reports))

(defun smtpmail-doctor--reports (accounts recipient)
  "Return the reports on ACCOUNTS, a list of names, or nil for the variables.
RECIPIENT is tried if it is not nil."
  (smtpmail-module-ensure)
  (mapcar (lambda (name)
            (smtpmail-doctor--examine
             (and name
                  (or (smtpmail-accounts-named name)
                      (user-error "No account is called %s" name)))
             recipient))
          (or accounts '(nil))))

(defun smtpmail-doctor--all ()
  "Return the names of all accounts."
  (mapcar #'smtpmail-accounts--name smtpmail-accounts))

;;;; In a buffer

(defvar smtpmail-doctor-mode-map
  (let ((map (make-sparse-keymap)))
    (set-keymap-parent map special-mode-map)
    (define-key map "t" #'smtpmail-show-trace)
    (define-key map "\t" #'forward-button)
    (define-key map [backtab] #'backward-button)
    map)
  "Keys of a report of `smtpmail-doctor'.")

(easy-menu-define nil smtpmail-doctor-mode-map
  "Menu of a report."
  '("Doctor"
    ["Look Again" revert-buffer]
    ["Show the Trace" smtpmail-show-trace]
    "---"
    ["Next Variable" forward-button]
    ["Previous Variable" backward-button]
    "---"
    ["Help" describe-mode]
    ["Quit" quit-window]))

(define-derived-mode smtpmail-doctor-mode special-mode "SMTP doctor"
  "Mode for the report of `smtpmail-doctor'.
\\{smtpmail-doctor-mode-map}"
  ;; Packages copy all variables of smtpmail: tables do not always read back.
  :abbrev-table nil
  :syntax-table nil
  (setq-local revert-buffer-function #'smtpmail-doctor--again))

(defun smtpmail-doctor--again (&rest _)
  "Look once more at what the report in this buffer is about."
  (apply #'smtpmail-doctor--fill-buffer smtpmail-doctor--arguments))

(defun smtpmail-doctor--fill-buffer (accounts recipient)
  "Put the report on ACCOUNTS, with RECIPIENT, into this buffer."
  (let* ((text (smtpmail-doctor--text
                (smtpmail-doctor--reports accounts recipient)))
         (inhibit-read-only t))
    (erase-buffer)
    (insert text)
    (setq smtpmail-doctor--arguments (list accounts recipient))
    (goto-char (point-min))
    (while (re-search-forward "`\\([a-z-]+\\)'" nil t)
      (let ((variable (intern-soft (match-string 1))))
        (when (custom-variable-p variable)
          (make-text-button (match-beginning 1) (match-end 1)
                            'action (lambda (_) (customize-variable variable))
                            'follow-link t
                            'help-echo "Customize this variable"))))
    (goto-char (point-min))))

(defun smtpmail-doctor--read-accounts ()
  "Ask for an account; return a list of names, nil for the variables."
  (when smtpmail-accounts
    (smtpmail-accounts-check smtpmail-accounts)
    (let* ((names (smtpmail-doctor--all))
           (answer (completing-read "Look at account (default all): "
                                    (append names '("the variables")) nil t)))
      (cond ((member answer '("" nil)) names)
            ((equal answer "the variables") nil)
            (t (list answer))))))

;;;###autoload
(defun smtpmail-doctor (&optional accounts recipient)
  "Find out why mail does not go, and show the cure.
ACCOUNTS are names of accounts of `smtpmail-accounts'; nil looks at what the
variables like `smtpmail-smtp-server' say.  No mail is sent.

With RECIPIENT, an address, see whether the server takes mail to it, too:
with a prefix argument you are asked for one.

\\<smtpmail-doctor-mode-map>In the report, \\[revert-buffer] looks again, \
and \\[smtpmail-show-trace] shows what was said."
  (interactive
   (list (smtpmail-doctor--read-accounts)
         (and current-prefix-arg
              (smtpmail-services-given
               (read-string "Try this recipient (no mail is sent): "
                            user-mail-address)))))
  (let ((buffer (get-buffer-create "*SMTP doctor*")))
    (with-current-buffer buffer
      (smtpmail-doctor-mode)
      (smtpmail-doctor--fill-buffer accounts recipient))
    (pop-to-buffer buffer)))

;;;; In batch

;;;###autoload
(defun smtpmail-doctor-batch ()
  "Print the report of `smtpmail-doctor', and exit: 1 if there is a failure.
Arguments on the command line are names of accounts, and \"to=ADDRESS\" for
a recipient to try; without a name, all accounts are looked at, or the
variables if there are none.

  emacs --batch -l INIT-FILE -f smtpmail-doctor-batch to=me@example.org"
  (unless noninteractive
    (error "`smtpmail-doctor-batch' is for batch Emacs"))
  (let* ((arguments (prog1 command-line-args-left
                      (setq command-line-args-left nil)))
         (recipient (seq-some (lambda (argument)
                                (and (string-prefix-p "to=" argument)
                                     (substring argument 3)))
                              arguments))
         (names (seq-remove (lambda (argument) (string-prefix-p "to=" argument))
                            arguments))
         (reports (smtpmail-doctor--reports (or names (smtpmail-doctor--all))
                                            recipient)))
    (princ (smtpmail-doctor--text reports))
    (kill-emacs (if (smtpmail-doctor--failed-p reports) 1 0))))

(provide 'smtpmail-doctor)

;;; smtpmail-doctor.el ends here
