;;; smtpmail-options-tests.el --- The variables of smtpmail, as variables  -*- lexical-binding: t -*-

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

;; The variables as such: each with the default, the type and the group that
;; the built-in gives it, kept if set before loading, and the server from the
;; environment.  What they do is tested elsewhere.

;;; Code:

(require 'smtpmail-test)
(require 'wid-edit)

(defun smtpmail-options-tests--value (result)
  "Return the value that RESULT, of `smtpmail-test-run', printed."
  (unless (eql 0 (plist-get result :exit))
    (ert-fail (plist-get result :stderr)))
  (read (plist-get result :stdout)))

(defconst smtpmail-options-tests--describe
  '(let (facts)
     ;; Not the values of whoever runs the suite.
     (setenv "SMTPSERVER")
     (mapatoms
      (lambda (symbol)
        (when (and (string-prefix-p "smtpmail-" (symbol-name symbol))
                   (boundp symbol)
                   (not (string-match-p "\\`smtpmail-[a-z]+--" (symbol-name symbol))))
          (push (list symbol
                      :value (default-value symbol)
                      :option (and (custom-variable-p symbol) t)
                      :standard (and (get symbol 'standard-value)
                                     (eval (car (get symbol 'standard-value)) t))
                      :type (get symbol 'custom-type)
                      :version (get symbol 'custom-version)
                      :group (and (assq symbol (get 'smtpmail 'custom-group)) t)
                      :documented (and (get symbol 'variable-documentation) t)
                      :special (special-variable-p symbol))
                facts))))
     (prin1 (cons (and (assq 'smtpmail (get 'mail 'custom-group)) t) facts)))
  "Prints (IN-GROUP-MAIL (VARIABLE PLIST...)...).")

(defvar smtpmail-options-tests--facts nil
  "What `smtpmail-options-tests--facts' has found, as (BUILTIN . OURS).")

(defun smtpmail-options-tests--facts ()
  "Return what the two smtpmails say of their variables, as (BUILTIN . OURS)."
  (or smtpmail-options-tests--facts
      (setq smtpmail-options-tests--facts
            (cons (smtpmail-options-tests--value
                   (smtpmail-test-run
                    `((load "mail/smtpmail" nil t)
                      (when (featurep 'smtpmail-options) (error "Not the built-in"))
                      ,smtpmail-options-tests--describe)
                    :lisp nil :environment '("SMTPSERVER")))
                  (smtpmail-options-tests--value
                   (smtpmail-test-run
                    `((require 'smtpmail) ,smtpmail-options-tests--describe)
                    :environment '("SMTPSERVER")))))))

(defun smtpmail-options-tests--shape (type)
  "Return the custom TYPE without tags, its choices sorted.
A constant nil first or last is the same choice."
  (cond
   ((not (consp type)) type)
   (t (let ((arguments (cdr type)) shape)
        (while (keywordp (car arguments))
          (setq arguments (cddr arguments)))
        (setq shape (mapcar #'smtpmail-options-tests--shape arguments))
        (cond ((null shape) (car type))
              ((eq (car type) 'choice)
               (cons 'choice
                     (sort shape (lambda (a b)
                                   (string< (format "%S" a) (format "%S" b))))))
              (t (cons (car type) shape)))))))

;;;; The same as ever

(ert-deftest smtpmail-options-tests-like-the-built-in ()
  "Every variable of the built-in is there, and is what it was.
The default, whether it is an option, the shape of its type, since when
there is such an option, and its group."
  (pcase-let ((`((,builtin-mail . ,builtin) . (,ours-mail . ,ours))
               (smtpmail-options-tests--facts)))
    (should builtin-mail)
    (should ours-mail)
    ;; More than the options of Emacs 27, so there is something to compare.
    (should (> (length builtin) 17))
    (pcase-dolist (`(,symbol . ,theirs) builtin)
      (ert-info ((symbol-name symbol))
        (let ((mine (alist-get symbol ours)))
          (should mine)
          (dolist (key '(:value :option :standard :group :special))
            (should (equal (list key (plist-get mine key))
                           (list key (plist-get theirs key)))))
          ;; Later Emacsen give `natnum' to what was an `integer'.
          (unless (eq (plist-get theirs :type) 'natnum)
            (should (equal (smtpmail-options-tests--shape (plist-get mine :type))
                           (smtpmail-options-tests--shape
                            (plist-get theirs :type)))))
          (should (equal (plist-get mine :version)
                         (plist-get theirs :version))))))))

(defconst smtpmail-options-tests--more
  '((smtpmail-auth-credentials . nil)
    (smtpmail-starttls-credentials . nil)
    (smtpmail-on-refused-recipients . ask)
    (smtpmail-connect-timeout . 30)
    (smtpmail-timeout . 300))
  "Options that the built-in has not, and their defaults.
The two of 2007 went with Emacs 24, and their defaults then were an entry
for no host, and the user's ~/.authinfo: nil is neither.")

(ert-deftest smtpmail-options-tests-more-than-the-built-in ()
  "The options that the built-in has not are the documented ones."
  (pcase-let* ((`((,_ . ,builtin) . (,_ . ,ours)) (smtpmail-options-tests--facts))
               (more (seq-filter (lambda (facts)
                                   (and (plist-get (cdr facts) :option)
                                        (not (assq (car facts) builtin))))
                                 ours)))
    (pcase-dolist (`(,symbol . ,default) smtpmail-options-tests--more)
      (ert-info ((symbol-name symbol))
        (let ((mine (alist-get symbol more)))
          (should mine)
          (should (equal (plist-get mine :value) default))
          (should (equal (plist-get mine :standard) default))
          (should (plist-get mine :group)))))
    (dolist (facts more)
      (ert-info ((symbol-name (car facts)))
        (should (plist-get (cdr facts) :documented))))))

(ert-deftest smtpmail-options-tests-types-take-the-values ()
  "The type of an option takes its default and what manuals say to set."
  (cl-flet ((takes (symbol value)
              (let ((widget (widget-convert (get symbol 'custom-type))))
                (and (widget-apply widget :match value) t))))
    (mapatoms
     (lambda (symbol)
       (when (and (string-prefix-p "smtpmail-" (symbol-name symbol))
                  (custom-variable-p symbol))
         (ert-info ((symbol-name symbol))
           (should (takes symbol (eval (car (get symbol 'standard-value)) t)))))))
    (pcase-dolist
        (`(,symbol ,value ,taken)
         '((smtpmail-smtp-server "mx.example" t)
           (smtpmail-smtp-server 25 nil)
           (smtpmail-smtp-service 587 t)
           (smtpmail-smtp-service "submission" t)
           (smtpmail-smtp-service submission nil)
           (smtpmail-stream-type starttls t)
           (smtpmail-stream-type ssl t)
           (smtpmail-stream-type plain t)
           (smtpmail-stream-type "ssl" nil)
           (smtpmail-smtp-user "alice" t)
           (smtpmail-auth-credentials (("mx" 25 "u" "p") ("mx" "25" nil nil)) t)
           (smtpmail-auth-credentials "~/.authinfo" t)
           (smtpmail-auth-credentials (("mx" 25 u "p")) nil)
           (smtpmail-starttls-credentials (("mx" 25 nil nil)
                                           ("mx" "25" "key" "cert")) t)
           (smtpmail-starttls-credentials "mx" nil)
           (smtpmail-on-refused-recipients send-rest t)
           (smtpmail-on-refused-recipients never nil)
           (smtpmail-servers-requiring-authorization "\\.internal\\'" t)
           (smtpmail-servers-requiring-authorization "\\(" nil)
           (smtpmail-code-conv-from utf-8 t)
           (smtpmail-timeout -1 nil)
           (smtpmail-connect-timeout "30" nil)))
      (ert-info ((format "%s %S" symbol value))
        (should (eq taken (takes symbol value)))))))

;;;; Before loading

(ert-deftest smtpmail-options-tests-values-before-loading ()
  "Whatever was set before loading is kept, for each option."
  (let* ((options (mapcar #'car (seq-filter (lambda (facts)
                                              (plist-get (cdr facts) :option))
                                            (cddr (smtpmail-options-tests--facts)))))
         ;; No option has such a default.
         (value (lambda (symbol) (format "set before: %s" symbol))))
    (should (memq 'smtpmail-timeout options))
    (dolist (setter '(set-default customize-set-variable))
      (ert-info ((symbol-name setter))
        (should
         (equal (smtpmail-options-tests--value
                 (smtpmail-test-run
                  `((setq tests-options ',options)
                    (dolist (symbol tests-options)
                      (,setter symbol (format "set before: %s" symbol)))
                    (require 'smtpmail)
                    (prin1 (mapcar #'symbol-value tests-options)))
                  :environment '("SMTPSERVER=from.environment")))
                (mapcar value options)))))))

(ert-deftest smtpmail-options-tests-default-server ()
  "The server is that of SMTPSERVER, or else the site's, if set before loading.
An empty SMTPSERVER is none, and what the user set goes before both."
  (pcase-dolist
      (`(,environment ,before ,after ,expected)
       '(("SMTPSERVER" nil nil nil)
         ("SMTPSERVER=" nil nil nil)
         ("SMTPSERVER=env.example" nil nil "env.example")
         ("SMTPSERVER" (setq smtpmail-default-smtp-server "site") nil "site")
         ("SMTPSERVER=" (setq smtpmail-default-smtp-server "site") nil "site")
         ("SMTPSERVER=env.example" (setq smtpmail-default-smtp-server "site") nil
          "env.example")
         ("SMTPSERVER=env.example" (setq smtpmail-smtp-server "user") nil "user")
         ("SMTPSERVER" (setq smtpmail-smtp-server "user"
                             smtpmail-default-smtp-server "site")
          nil "user")
         ;; Too late.
         ("SMTPSERVER" nil (setq smtpmail-default-smtp-server "site") nil)
         ("SMTPSERVER=env.example" nil (setenv "SMTPSERVER" "late") "env.example")))
    (ert-info ((format "%S" (list environment before after)))
      (should (equal (smtpmail-options-tests--value
                      (smtpmail-test-run
                       (list before '(require 'smtpmail) after
                             '(prin1 (list smtpmail-smtp-server)))
                       :environment (list environment)))
                     (list expected))))))

(ert-deftest smtpmail-options-tests-server-of-the-environment ()
  "A mail goes to the server that SMTPSERVER names."
  (smtpmail-test-with-server (server)
    (let ((result
           (smtpmail-test-run
            `((require 'smtpmail)
              (setq smtpmail-smtp-service ,smtpmail-smtp-service
                    gnutls-trustfiles '(,(smtpmail-test-server-ca server))
                    auth-sources nil
                    user-mail-address "me@example.org")
              (with-temp-buffer
                (insert ,(smtpmail-test-mail "To: you@example.net"))
                (smtpmail-send-it)))
            :environment '("SMTPSERVER=localhost"))))
      (should (equal (plist-get result :exit) 0))
      (should (smtpmail-test-message server)))))

(ert-deftest smtpmail-options-tests-risky ()
  "No file that is visited sets whom to trust, or a login, without a warning."
  (dolist (option '(smtpmail-accounts smtpmail-auth-credentials
                    smtpmail-auth-supported smtpmail-default-smtp-server
                    smtpmail-failed-functions smtpmail-mail-address
                    smtpmail-queue-dir smtpmail-queue-index-file
                    smtpmail-require-tls
                    smtpmail-send-in-background smtpmail-sendto-domain
                    smtpmail-sent-functions
                    smtpmail-servers-requiring-authorization
                    smtpmail-smtp-server smtpmail-smtp-service
                    smtpmail-smtp-user smtpmail-starttls-credentials
                    smtpmail-stream-type smtpmail-tls-min-version
                    smtpmail-trust-file))
    (ert-info ((symbol-name option))
      (should (risky-local-variable-p option))
      (should-not (safe-local-variable-p option (default-value option)))))
  ;; What harms nobody is set unasked, if it is of the right kind.
  (pcase-dolist (`(,option ,value) '((smtpmail-code-conv-from utf-8)
                                     (smtpmail-debug-info t)
                                     (smtpmail-debug-verb t)
                                     (smtpmail-store-queue-variables t)
                                     (smtpmail-strict-content t)
                                     (smtpmail-wait-for-acceptance t)))
    (ert-info ((symbol-name option))
      (should (safe-local-variable-p option value))
      (should-not (safe-local-variable-p option '(lambda ())))
      (should-not (risky-local-variable-p option))))
  ;; Nothing else may be set unasked, either.
  (dolist (option '(smtpmail-queue-mail smtpmail-ehlo-name smtpmail-timeout))
    (ert-info ((symbol-name option))
      (should-not (safe-local-variable-p option (default-value option))))))

;;;; Customize

(defun smtpmail-options-tests--groups ()
  "Return the groups below smtpmail."
  (delq nil (mapcar (lambda (member)
                      (and (eq (cadr member) 'custom-group) (car member)))
                    (get 'smtpmail 'custom-group))))

(ert-deftest smtpmail-options-tests-groups ()
  "Each option is in one group below smtpmail, which says what it is about."
  (dolist (file '(smtpmail-doctor smtpmail-mode-line smtpmail-outbox-rows
                  smtpmail-trace))
    (require file))
  (let ((groups (smtpmail-options-tests--groups)) (options 0))
    (should (memq 'smtpmail-server groups))
    (dolist (group groups)
      (ert-info ((symbol-name group))
        (should (get group 'group-documentation))
        (should (get group 'custom-links))))
    (mapatoms
     (lambda (symbol)
       (when (and (string-prefix-p "smtpmail-" (symbol-name symbol))
                  (or (custom-variable-p symbol) (custom-facep symbol)))
         (setq options (1+ options))
         (ert-info ((format "Give %s a :group" symbol))
           (should (= 1 (seq-count (lambda (group)
                                     (assq symbol (get group 'custom-group)))
                                   groups)))))))
    (should (> options 40))))

(ert-deftest smtpmail-options-tests-customize-shows-them ()
  "Customize shows the groups, and in them what other files define."
  (should
   (equal (smtpmail-options-tests--value
           (smtpmail-test-run
            '((require 'smtpmail)
              (defvar tool-bar-map (make-sparse-keymap))
              (defun tests-shown (group text)
                (let ((inhibit-message t))
                  (customize-group group)
                  (goto-char (point-min))
                  (prog1 (and (search-forward text nil t) t)
                    (kill-buffer))))
              (prin1 (list (tests-shown 'smtpmail "Smtpmail Doctor")
                           (tests-shown 'smtpmail-doctor "Smtpmail Doctor Timeout")
                           (tests-shown 'smtpmail-outbox "Smtpmail Outbox Held")
                           (tests-shown 'smtpmail-trace "Smtpmail Trace Note")
                           (tests-shown 'smtpmail-background "Mode Line Attention")
                           (tests-shown 'smtpmail-server "Smtpmail Accounts"))))))
          '(t t t t t t))))

(ert-deftest smtpmail-options-tests-links ()
  "The manual has the places to which the groups lead."
  (let ((manual (with-temp-buffer
                  (insert-file-contents
                   (expand-file-name "../doc/smtpmail.texi" smtpmail-test-lisp))
                  (buffer-string))))
    (dolist (group (cons 'smtpmail (smtpmail-options-tests--groups)))
      (pcase-dolist (`(,_ ,place) (get group 'custom-links))
        (ert-info (place)
          (should (string-match "\\`(smtpmail)\\(.*\\)\\'" place))
          (should (string-match-p (concat "^@node "
                                          (regexp-quote (match-string 1 place))
                                          "$")
                                  manual)))))))

;;;; Values that cannot be right

(defmacro smtpmail-options-tests--with-values (&rest body)
  "Evaluate BODY, then give all options the values that they had."
  (declare (indent 0))
  `(let ((values nil))
     (mapatoms (lambda (symbol)
                 (when (eq (get symbol 'custom-set) #'smtpmail-check-set)
                   (push (cons symbol (default-value symbol)) values))))
     (unwind-protect (progn ,@body)
       (pcase-dolist (`(,symbol . ,value) values)
         (set-default symbol value)))))

(ert-deftest smtpmail-options-tests-refused ()
  "Customize refuses what cannot be right, says why, and keeps the value."
  (smtpmail-options-tests--with-values
    (pcase-dolist
        (`(,option ,value ,why)
         '((smtpmail-smtp-service "submision" "a port from 1 to 65535")
           (smtpmail-smtp-service 0 "a port from 1 to 65535")
           (smtpmail-smtp-service 70000 "a port from 1 to 65535")
           (smtpmail-smtp-service submission "a port from 1 to 65535")
           (smtpmail-smtp-server "mx.example:587" "smtpmail-smtp-service")
           (smtpmail-smtp-server "smtps://mx.example" "no URL")
           (smtpmail-smtp-server "mx.example " "white space")
           (smtpmail-smtp-server mx "a string")
           (smtpmail-ehlo-name "my machine" "a domain")
           (smtpmail-retries -1 "number of tries")
           (smtpmail-priority 10 "-9 to 9")
           (smtpmail-timeout "60" "number of seconds")
           (smtpmail-timeout 0 "1 or more")
           (smtpmail-undo-seconds nil "number of seconds")
           (smtpmail-keep-connection-seconds -1 "0 or more")
           (smtpmail-on-refused-recipients never "ask, abort or send-rest")
           (smtpmail-auth-credentials ("mx" 25 "u" "hidden") "a list of entries\\|entry 1")
           (smtpmail-auth-credentials (("mx" 25 nil nil) ("mx" 25 u "hidden"))
                                      "entry 2")))
      (ert-info ((format "%S" (list option value)))
        (let* ((before (default-value option))
               (text (cadr (should-error (customize-set-variable option value)
                                         :type 'user-error))))
          (should (string-match-p why text))
          (should (string-match-p (symbol-name option) text))
          (should-not (string-match-p "hidden" text))
          (should (eq before (default-value option))))))))

(ert-deftest smtpmail-options-tests-warned ()
  "What protects is set even if wrong, so that no mail goes, and a warning says so."
  (smtpmail-options-tests--with-values
    (pcase-dolist
        (`(,option ,value ,why)
         '((smtpmail-stream-type "starttls" "the symbol starttls, not a string")
           (smtpmail-stream-type tsl "starttls, ssl or plain")
           (smtpmail-tls-min-version "1.4" "\"1.2\" or \"1.3\"")
           (smtpmail-servers-requiring-authorization "\\(" "Unmatched")
           (smtpmail-starttls-credentials (("mx" "25" key nil)) "entry 1")))
      (ert-info ((format "%S" (list option value)))
        (let ((said nil))
          (cl-letf (((symbol-function 'display-warning)
                     (lambda (_ text &rest _) (push text said))))
            (customize-set-variable option value))
          (should (= 1 (length said)))
          (should (string-match-p why (car said)))
          (should (equal value (default-value option))))))))

(ert-deftest smtpmail-options-tests-taken ()
  "What is right is set without a word, and so is what is set by `setq'."
  (smtpmail-options-tests--with-values
    (cl-letf (((symbol-function 'display-warning)
               (lambda (&rest words) (ert-fail words))))
      (pcase-dolist
          (`(,option . ,choices)
           '((smtpmail-smtp-service 25 "587" "submission" "SMTPS")
             (smtpmail-smtp-server nil "mx.example" "::1" "[::1]" "192.0.2.1" "büro.example")
             (smtpmail-stream-type nil starttls ssl tls plain network)
             (smtpmail-ehlo-name nil "[127.0.0.1]" "a.example")
             (smtpmail-tls-min-version nil "1.2" "1.3")
             (smtpmail-servers-requiring-authorization nil "\\.internal\\'")
             (smtpmail-auth-credentials nil "~/.authinfo"
                                        (("mx" 25 "u" "p") ("mx" "25" nil nil)))
             (smtpmail-starttls-credentials nil (("mx" 25 "" "")) ("mx" 25 nil nil))
             (smtpmail-keep-connection-seconds nil 0 240)))
        (dolist (value choices)
          (ert-info ((format "%S" (list option value)))
            (customize-set-variable option value)
            (should (equal value (default-value option))))))
      (set-default 'smtpmail-smtp-service "nonsense")
      (should (equal smtpmail-smtp-service "nonsense")))))

(ert-deftest smtpmail-options-tests-wrong-in-the-init-file ()
  "A wrong value in an init file neither stops it nor what is behind it."
  (dolist (load '((nil (require 'smtpmail)) ((require 'smtpmail) nil)))
    (ert-info ((format "%S" load))
      (should (equal (smtpmail-options-tests--value
                      (smtpmail-test-run
                       `(,(car load)
                         (custom-set-variables
                          '(smtpmail-smtp-service "submision")
                          '(smtpmail-smtp-server "mx.example"))
                         ,(cadr load)
                         (prin1 (list smtpmail-smtp-server)))
                       :environment '("SMTPSERVER")))
                     '("mx.example"))))))

(provide 'smtpmail-options-tests)

;;; smtpmail-options-tests.el ends here
