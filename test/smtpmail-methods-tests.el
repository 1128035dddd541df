;;; smtpmail-methods-tests.el --- Tests of smtpmail-methods  -*- lexical-binding: t -*-

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

;; Whose methods of `smtpmail-try-auth-method' run, whatever was loaded or
;; evaluated in which order.  Each order runs in an Emacs of its own, with
;; the smtpmail that comes with it.  The exchanges themselves are tested in
;; smtpmail-auth-tests.el.

;;; Code:

(require 'ert)
(require 'cl-lib)
(require 'smtpmail-methods)

(defconst smtpmail-methods-tests--lisp
  (file-name-directory (locate-library "smtpmail-methods"))
  "Where the library under test is.")

(defconst smtpmail-methods-tests--prelude
  '((defconst tests-built-in (locate-library "smtpmail"))
    (defun tests-ours () (load "smtpmail-auth" nil t))
    (defun tests-built-in () (load tests-built-in nil t))
    ;; As `emacs -l FILE' would, so the file is in `load-history'.
    (defun tests-file (compile &rest forms)
      (let ((file (make-temp-file (expand-file-name "user" tests-directory)
                                  nil ".el")))
        (with-temp-file file
          (insert ";; -*- lexical-binding: t -*-\n")
          (dolist (form forms) (prin1 form (current-buffer)) (insert "\n")))
        (when compile
          (let ((inhibit-message t)) (byte-compile-file file))
          (setq file (concat file "c")))
        (load file nil t)))
    (defun tests-by-hand (&rest forms)
      (dolist (form forms) (eval form t)))
    ;; Which of these mechanisms are the user's, and what plain and xoauth2
    ;; run: the reply to a user's method is `user'.
    (defun tests-answer ()
      (list
       (cl-remove-if-not #'smtpmail-auth-user-method-p
                         '(cram-md5 login plain xoauth2 gssapi))
       (mapcar (lambda (mechanism)
                 (cl-letf (((symbol-function 'smtpmail-send-command) #'ignore)
                           ((symbol-function 'smtpmail-read-response)
                            (lambda (_) (list 235 "235 ours"))))
                   (condition-case err
                       (smtpmail-try-auth-method nil mechanism "u" "p")
                     (error (error-message-string err)))))
               '(plain xoauth2 gssapi)))))
  "What the Emacsen of the tests define first.")

(defun smtpmail-methods-tests--child (&rest forms)
  "Evaluate FORMS in a file that a new Emacs loads; return the last value."
  (let ((directory (file-name-as-directory (make-temp-file "smtpmail" t))))
    (unwind-protect
        (let ((init (expand-file-name "init.el" directory))
              (result (expand-file-name "result" directory)))
          (with-temp-file init
            (insert ";; -*- lexical-binding: t -*-\n")
            (dolist (form `((require 'cl-lib)
                            (defconst tests-directory ,directory)
                            ,@smtpmail-methods-tests--prelude
                            (push ,smtpmail-methods-tests--lisp load-path)
                            ,@(butlast forms)
                            (let ((value ,(car (last forms))))
                              (with-temp-file ,result
                                (prin1 value (current-buffer))))))
              (prin1 form (current-buffer))
              (insert "\n")))
          (with-temp-buffer
            (unless (eql 0 (call-process
                            (expand-file-name invocation-name
                                              invocation-directory)
                            nil t nil "-Q" "--batch" "-l" init))
              (error "Emacs failed: %s" (buffer-string)))
            (erase-buffer)
            (insert-file-contents result)
            (read (current-buffer))))
      (delete-directory directory t))))

(defconst smtpmail-methods-tests--quoted
  '(cl-defmethod smtpmail-try-auth-method (_process (_mech (eql 'plain)) _user _pw)
     'user)
  "A user's method, as written since Emacs 28.")

(defconst smtpmail-methods-tests--unquoted
  '(cl-defmethod smtpmail-try-auth-method (_process (_mech (eql xoauth2)) _user _pw)
     'user)
  "A user's method, as written before.")

(defconst smtpmail-methods-tests--both
  '((plain xoauth2) (user user "Mechanism gssapi not implemented"))
  "The answer when both methods are the user's.")

(defconst smtpmail-methods-tests--none
  '(nil ((235 "235 ours") (235 "235 ours") "Mechanism gssapi not implemented"))
  "The answer when no method is the user's.")

(ert-deftest smtpmail-methods-tests-built-in-replaced ()
  "The built-in's methods are not taken for the user's, in whatever order."
  (dolist (order '(((tests-built-in) (tests-ours))
                   ((tests-ours))
                   ((tests-ours) (tests-ours))
                   ((tests-built-in) (tests-ours) (tests-ours))
                   ;; From its source.
                   ((load (concat (file-name-sans-extension tests-built-in) ".el")
                          nil t)
                    (tests-ours))))
    (ert-info ((format "%S" order))
      (should (equal (apply #'smtpmail-methods-tests--child
                            `(,@order (tests-answer)))
                     smtpmail-methods-tests--none))
      (should (equal (apply #'smtpmail-methods-tests--child
                            `(,@order
                              (mapcar #'cl--generic-method-specializers
                                      (smtpmail-methods--table))))
                     '((t symbol t t)))))))

(ert-deftest smtpmail-methods-tests-built-in-loaded-later ()
  "Even if the built-in is loaded over ours, its methods are not the user's."
  (should-not (smtpmail-methods-tests--child
               '(tests-ours) '(tests-built-in) '(car (tests-answer)))))

(ert-deftest smtpmail-methods-tests-users-survive ()
  "A user's method is found and run, wherever and however it was written."
  (dolist (way '((tests-file nil) (tests-file t) (tests-by-hand) (init)))
    (dolist (order '((user ours) (built-in user ours) (ours user)
                     (built-in ours user) (built-in user ours ours)
                     (ours user ours)))
      (let ((forms
             (apply
              #'append
              (mapcar
               (pcase-lambda (step)
                 (pcase step
                   ('ours '((tests-ours)))
                   ('built-in '((tests-built-in)))
                   (_ (let ((definitions
                             (list smtpmail-methods-tests--quoted
                                   smtpmail-methods-tests--unquoted)))
                        ;; `init': in the very file that loads ours.
                        (if (eq (car way) 'init)
                            definitions
                          `((,(car way)
                             ,@(cdr way)
                             ,@(mapcar #'macroexp-quote definitions))))))))
               order))))
        (ert-info ((format "%S %S" way order))
          (should (equal (apply #'smtpmail-methods-tests--child
                                `(,@forms (tests-answer)))
                         smtpmail-methods-tests--both)))))))

(ert-deftest smtpmail-methods-tests-spelling-of-eql ()
  "A user's method goes before ours and the built-in's, quoted or not."
  (dolist (definition
           '((cl-defmethod smtpmail-try-auth-method (_p (_m (eql 'xoauth2)) _u _w)
               'user)
             (cl-defmethod smtpmail-try-auth-method (_p (_m (eql xoauth2)) _u _w)
               'user)))
    (dolist (order `((,definition (tests-built-in) (tests-ours))
                     ((tests-built-in) ,definition (tests-ours))
                     ((tests-built-in) (tests-ours) ,definition)))
      ;; Spelt the same way, the built-in's has replaced the user's before
      ;; we get there.  Emacs 28 spells it unquoted, Emacs 30 quoted.
      (unless (and (equal (car order) definition)
                   (smtpmail-methods-tests--child
                    '(tests-built-in)
                    `(let (found)
                       (dolist (method (cl--generic-method-table
                                        (get 'smtpmail-try-auth-method
                                             'cl--generic)))
                         (when (equal ',(cadr (nth 1 (nth 2 definition)))
                                      (nth 1 (cl--generic-method-specializers
                                              method)))
                           (setq found t)))
                       found)))
        (ert-info ((format "%S" order))
          (should (equal (apply #'smtpmail-methods-tests--child
                                `(,@order (tests-answer)))
                         '((xoauth2)
                           ((235 "235 ours") user
                            "Mechanism gssapi not implemented")))))))))

(ert-deftest smtpmail-methods-tests-next-and-default ()
  "`cl-call-next-method' reaches ours; a user's default method is kept."
  (let ((wrapper '(cl-defmethod smtpmail-try-auth-method :around
                    (_p (_m (eql 'plain)) _u _w)
                    (cons 'user (cl-call-next-method))))
        (default '(cl-defmethod smtpmail-try-auth-method (_p _m _u _w) 'user)))
    (dolist (order `(((tests-built-in) ,wrapper (tests-ours))
                     ((tests-ours) ,wrapper)))
      (should (equal (apply #'smtpmail-methods-tests--child
                            `(,@order (tests-answer)))
                     '((plain) ((user 235 "235 ours") (235 "235 ours")
                                "Mechanism gssapi not implemented")))))
    (dolist (order `(((tests-built-in) ,default (tests-ours))
                     (,default (tests-ours))
                     ((tests-ours) ,default)))
      (should (equal (apply #'smtpmail-methods-tests--child
                            `(,@order (tests-answer)))
                     '((gssapi) ((235 "235 ours") (235 "235 ours") user)))))))

(ert-deftest smtpmail-methods-tests-file-is-gone ()
  "If the built-in's file is gone, `load-history' tells whose methods they are."
  (should (equal
           (smtpmail-methods-tests--child
            '(let ((copy (expand-file-name "smtpmail.elc" tests-directory)))
               (copy-file tests-built-in copy)
               (load copy nil t)
               (delete-file copy))
            `(tests-file nil ',smtpmail-methods-tests--quoted)
            '(tests-ours)
            '(car (tests-answer)))
           '(plain))))

(provide 'smtpmail-methods-tests)

;;; smtpmail-methods-tests.el ends here
