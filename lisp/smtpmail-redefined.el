;;; smtpmail-redefined.el --- tell whether users changed a function  -*- lexical-binding: t -*-

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

;; Init files redefine and advise some of our functions to choose servers or
;; to log in.  Where such a function has a faster or safer way beside it, that
;; may be gone only if the function is still ours: this file tells.

;;; Code:

(defun smtpmail-redefined--advised-p (symbol)
  "Return non-nil if the function of SYMBOL has advice."
  (let ((advised nil))
    (advice-mapc (lambda (&rest _) (setq advised t)) symbol)
    advised))

(defun smtpmail-redefined-note (symbol neighbour)
  "Note that the present function of SYMBOL is ours.
NEIGHBOUR is a function of the same file that nobody redefines."
  ;; Not in a variable: those named smtpmail-* get printed.
  (put symbol 'smtpmail-redefined--own
       (cons (unless (smtpmail-redefined--advised-p symbol)
               (symbol-function symbol))
             neighbour)))

(defun smtpmail-redefined-p (symbol)
  "Return non-nil if the function of SYMBOL is not ours, or has advice."
  (pcase-let ((`(,own . ,neighbour) (get symbol 'smtpmail-redefined--own))
              (definition (symbol-function symbol)))
    (or (smtpmail-redefined--advised-p symbol)
        (not (or (eq definition own)
                 ;; Compiled to native code meanwhile.
                 (and (fboundp 'subr-native-elisp-p)
                      (subr-native-elisp-p definition)
                      (equal (symbol-file symbol 'defun)
                             (symbol-file neighbour 'defun))))))))

(provide 'smtpmail-redefined)

;;; smtpmail-redefined.el ends here
