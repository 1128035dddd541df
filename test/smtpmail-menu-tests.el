;;; smtpmail-menu-tests.el --- Menus and keymaps  -*- lexical-binding: t -*-

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
;;; Commentary:

;; What is in menus and keymaps is a command with a name, and is where users
;; look for it.

;;; Code:

(require 'smtpmail-test)

(defun smtpmail-menu-tests--run (&rest forms)
  "Evaluate FORMS after the autoloads file alone; return what the last one is."
  (let ((result (smtpmail-test-run
                 `((load ,(expand-file-name "smtpmail-autoloads" smtpmail-test-lisp)
                         nil t)
                   ,@(butlast forms)
                   (prin1 ,(car (last forms))))
                 :lisp nil)))
    (unless (eql 0 (plist-get result :exit))
      (ert-fail (plist-get result :stderr)))
    (read (plist-get result :stdout))))

(defconst smtpmail-menu-tests--bindings
  '(defun tests-bindings (map)
     ;; (EVENT . COMMAND) of MAP, of its submenus, but not of its parents.
     (let ((found nil))
       (map-keymap-internal
        (lambda (event binding)
          (when (eq (car-safe binding) 'menu-item)
            (setq binding (nth 2 binding)))
          (cond ((keymapp binding)
                 (setq found (append (tests-bindings (indirect-function binding))
                                     found)))
                ((not (memq event '(follow-link nil)))
                 ;; A separator, as Emacs 28 and 30 write it.
                 (unless (member binding '("--" ("--") "---" nil))
                   (push (cons event binding) found)))))
        map)
       found))
  "Defines a function that lists what a keymap has.")

(ert-deftest smtpmail-menu-tests-tools ()
  "The menu is in Tools behind the command that composes, and has its commands.
So has the keymap for a key of the user's choice."
  (pcase-let ((`(,place ,loaded ,menu ,keys ,no-commands)
               (smtpmail-menu-tests--run
                smtpmail-menu-tests--bindings
                '(list
                  (car (cadr (memq (assq 'compose-mail menu-bar-tools-menu)
                                   menu-bar-tools-menu)))
                  (featurep 'smtpmail-menu)
                  (progn
                    (autoload-do-load (symbol-function 'smtpmail-menu-map)
                                      'smtpmail-menu-map)
                    (tests-bindings (indirect-function 'smtpmail-menu-map)))
                  (tests-bindings (indirect-function 'smtpmail-command-map))
                  (seq-remove #'commandp
                              (mapcar #'cdr
                                      (append
                                       (tests-bindings
                                        (indirect-function 'smtpmail-menu-map))
                                       (tests-bindings
                                        (indirect-function
                                         'smtpmail-command-map)))))))))
    (should (eq place 'smtpmail))
    ;; An Emacs without mail does not load it.
    (should-not loaded)
    (dolist (command '(smtpmail-outbox smtpmail-send-queued-mail smtpmail-undo
                       smtpmail-send-later smtpmail-stop-sending smtpmail-doctor
                       smtpmail-show-trace smtpmail-setup smtpmail-customize
                       smtpmail-manual))
      (should (rassq command menu))
      (should (rassq command keys)))
    ;; All of them can be called.
    (should-not no-commands)))

(ert-deftest smtpmail-menu-tests-named-commands ()
  "Every key and menu item of every mode is a command that has a name.
Only those are told by `describe-bindings', which-key and the like."
  (pcase-let ((`(,maps ,menus ,unnamed)
               (smtpmail-menu-tests--run
                smtpmail-menu-tests--bindings
                '(dolist (file '(smtpmail smtpmail-doctor smtpmail-menu
                                 smtpmail-mode-line smtpmail-notice
                                 smtpmail-outbox-list smtpmail-outbox-view
                                 smtpmail-trace smtpmail-trust))
                   (require file))
                '(let (maps menus unnamed)
                   (mapatoms
                    (lambda (symbol)
                      (when (and (string-prefix-p "smtpmail" (symbol-name symbol))
                                 (boundp symbol)
                                 (keymapp (symbol-value symbol)))
                        (push symbol maps)
                        (when (lookup-key (symbol-value symbol) [menu-bar])
                          (push symbol menus))
                        (dolist (binding (tests-bindings (symbol-value symbol)))
                          (unless (and (symbolp (cdr binding))
                                       (commandp (cdr binding)))
                            (push (list symbol binding) unnamed))))))
                   (list maps menus unnamed)))))
    (should (memq 'smtpmail-mode-line-map maps))
    (dolist (map '(smtpmail-outbox-list-mode-map smtpmail-trace-mode-map
                   smtpmail-doctor-mode-map smtpmail-notice-mode-map
                   smtpmail-known-servers-mode-map))
      (ert-info ((symbol-name map))
        (should (memq map menus))))
    (should-not unnamed)))

(ert-deftest smtpmail-menu-tests-unloaded ()
  "Unloading takes the menu out of Tools."
  (should (equal (smtpmail-menu-tests--run
                  '(require 'smtpmail)
                  '(require 'smtpmail-menu)
                  '(let ((inhibit-message t)) (unload-feature 'smtpmail t))
                  '(list (assq 'smtpmail menu-bar-tools-menu)
                         (and (assq 'compose-mail menu-bar-tools-menu) t)
                         (fboundp 'smtpmail-menu-map)
                         (fboundp 'smtpmail-command-map)
                         (featurep 'smtpmail-menu)))
                 '(nil t nil nil nil))))

(ert-deftest smtpmail-menu-tests-manual ()
  "The manual that is read is ours, also from a checkout."
  (should (equal (smtpmail-menu-tests--run
                  '(smtpmail-manual)
                  '(with-current-buffer "*info*"
                     (goto-char (point-min))
                     (list Info-current-node
                           (and (search-forward "Background" nil t) t))))
                 '("Top" t))))

(provide 'smtpmail-menu-tests)

;;; smtpmail-menu-tests.el ends here
