;;; smtpmail-methods-owner.el --- whose method of authentication it is  -*- lexical-binding: t -*-

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

;; The built-in library may have been loaded first, and users may have
;; added methods before or after it, in files, in an init file that is
;; still being read, or by hand.  `load-history' does not know the last
;; two.  So a method is told by its code: it is the built-in's if the file
;; that `load-history' names for the built-in holds the same code.
;;
;; smtpmail-methods.el loads this file, and never the other way round.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)

(declare-function smtpmail-methods--own-p "smtpmail-methods" (method))
(declare-function smtpmail-methods--table "smtpmail-methods" ())
(declare-function native-comp-unit-file "ext:data.c" (comp-unit))
(declare-function subr-native-comp-unit "ext:data.c" (subr))

(defvar smtpmail-methods--own-mechanisms)

(defun smtpmail-methods--code (function)
  "Return what FUNCTION does: its arguments and code, for `equal'."
  (pcase (type-of function)
    ((or 'compiled-function 'byte-code-function)
     (list (aref function 0) (aref function 1) (aref function 2)))
    ('interpreted-function (list (aref function 0) (aref function 1)))
    ;; Emacs before 30: (closure ENVIRONMENT ARGUMENTS . BODY).
    ('cons (and (eq (car function) 'closure)
                (list (nth 2 function) (nthcdr 3 function))))))

(defun smtpmail-methods--codes-in (form)
  "Return the code of all functions written in FORM, compiled or source."
  (pcase (type-of form)
    ('cons
     (if (and (eq (car form) 'function) (eq (car-safe (cadr form)) 'lambda))
         (list (smtpmail-methods--code (eval form t)))
       (let (codes)
         (while (consp form)
           (setq codes (nconc (smtpmail-methods--codes-in (pop form)) codes)))
         codes)))
    ('vector (mapcan #'smtpmail-methods--codes-in form))
    ((or 'compiled-function 'byte-code-function)
     (cons (smtpmail-methods--code form)
           (smtpmail-methods--codes-in (aref form 2))))))

(defun smtpmail-methods--codes-in-file (file)
  "Return the code of the functions in FILE, Lisp source or compiled.
The value is t if FILE cannot be read any more."
  (condition-case nil
      (with-temp-buffer
        (let ((compiled (string-suffix-p ".elc" file))
              (load-file-name file)     ; what #$ in compiled code stands for
              codes)
          (if (not compiled)
              (insert-file-contents file)
            (set-buffer-multibyte nil)
            (insert-file-contents-literally file))
          (condition-case nil
              (while t
                (let ((form (read (current-buffer))))
                  (when (or compiled
                            (eq (car-safe (cdr-safe form))
                                'smtpmail-try-auth-method))
                    (setq codes (nconc (smtpmail-methods--codes-in
                                        (if compiled form
                                          (macroexpand-all form)))
                                       codes)))))
            (end-of-file codes))))
    (error t)))

(defun smtpmail-methods--built-in-files ()
  "Return the loaded files named smtpmail that define methods.
Those are the built-in's: the face of this package has the same name, but
defines none."
  (let (files)
    (pcase-dolist (`(,file . ,definitions) load-history)
      (when (and (stringp file)
                 (string-match-p "\\`smtpmail\\.elc?\\(?:\\.gz\\)?\\'"
                                 (file-name-nondirectory file))
                 (seq-some #'smtpmail-methods--definition-p definitions))
        (push file files)))
    files))

(defun smtpmail-methods--definition-p (entry &optional method)
  "Return non-nil if a method of ours is defined by ENTRY of `load-history'.
With METHOD, it must be one with the same specializers."
  (and (eq (car-safe entry) 'cl-defmethod)
       (eq (cadr entry) 'smtpmail-try-auth-method)
       (or (null method)
           (equal (cddr entry)
                  (cons (cl--generic-method-qualifiers method)
                        (cl--generic-method-specializers method))))))

(defun smtpmail-methods--last-definer (method)
  "Return the file that `load-history' knows as the last to define METHOD."
  (car (seq-find (lambda (entry)
                   (seq-some (lambda (definition)
                               (smtpmail-methods--definition-p
                                definition method))
                             (cdr entry)))
                 load-history)))

(defun smtpmail-methods--native-file (function)
  "Return the natively compiled file that FUNCTION comes from, or nil."
  (and (subrp function)
       (fboundp 'subr-native-comp-unit)
       (fboundp 'native-comp-unit-file)
       (ignore-errors
         (native-comp-unit-file (subr-native-comp-unit function)))))

(defun smtpmail-methods--built-in-p (method)
  "Return non-nil if METHOD was defined by the smtpmail of Emacs itself."
  (when-let ((files (smtpmail-methods--built-in-files)))
    (let* ((function (cl--generic-method-function method))
           (native (smtpmail-methods--native-file function))
           (known (get 'smtpmail-try-auth-method 'smtpmail-methods--codes)))
      (if native
          (string-match-p "\\`smtpmail-[0-9a-f]+-[0-9a-f]+\\.eln\\'"
                          (file-name-nondirectory native))
        ;; Kept as a property: variables named smtpmail-* get printed.
        (unless (equal (car known) files)
          (setq known (cons files
                            (mapcar #'smtpmail-methods--codes-in-file files)))
          (put 'smtpmail-try-auth-method 'smtpmail-methods--codes known))
        (or (seq-some (lambda (codes)
                        (and (listp codes)
                             (member (smtpmail-methods--code function) codes)))
                      (cdr known))
            (and (memq t (cdr known))
                 (member (smtpmail-methods--last-definer method) files)
                 t))))))

(defun smtpmail-methods--covers-p (specializer mechanism)
  "Return non-nil if the symbol MECHANISM is covered by SPECIALIZER."
  (pcase specializer
    ('t t)
    (`(eql ,value)
     ;; Written `(eql plain)' before Emacs 28, `(eql \='plain)' since.
     (eq mechanism (if (symbolp value) value
                     (ignore-errors (eval value t)))))
    (`(member . ,values) (memq mechanism values))
    ((pred symbolp) (ignore-errors (cl-typep mechanism specializer)))))

(defun smtpmail-auth-user-method-p (mechanism)
  "Return non-nil if the user gave `smtpmail-try-auth-method' a MECHANISM.
That is, if neither this library nor the one of Emacs defined the method
that would run for the symbol MECHANISM.  It then must run instead of the
native exchange."
  (seq-some
   (lambda (method)
     (let ((specializer (nth 1 (cl--generic-method-specializers method))))
       (and (smtpmail-methods--covers-p specializer mechanism)
            ;; A user's default method is not reached where ours is.
            (not (and (eq specializer t)
                      (null (cl--generic-method-qualifiers method))
                      (assq mechanism smtpmail-methods--own-mechanisms)))
            (not (smtpmail-methods--own-p method))
            (not (smtpmail-methods--built-in-p method)))))
   (smtpmail-methods--table)))

(provide 'smtpmail-methods-owner)

;;; smtpmail-methods-owner.el ends here
