;;; smtpmail-copies-terminal-tests.el --- What is seen after a copy  -*- lexical-binding: t -*-

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

;; Batch Emacs has no echo area, so what stands in it last is seen at a
;; terminal only.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-terminal))

(ert-deftest smtpmail-copies-terminal-tests-outcome-is-seen ()
  "The server's words stay in the echo area when a copy was written.
\"Added to FILE\" used to take their place."
  (smtpmail-test-with-server (server)
    (smtpmail-terminal-with
        (terminal server
                  '(setq tests-mail
                         (replace-regexp-in-string
                          "^Subject:" (format "Fcc: %scopy\nSubject:" tests-directory)
                          tests-mail t)))
      (smtpmail-terminal-keys terminal "F5")
      (should (equal (smtpmail-terminal-note terminal "end") '(sent)))
      (should (file-exists-p (expand-file-name
                              "copy" (smtpmail-terminal-directory terminal))))
      (let ((screen (smtpmail-terminal-shows terminal "^Sent: ")))
        (should-not (string-match-p "Added to\\|Wrote " screen))))))

(provide 'smtpmail-copies-terminal-tests)

;;; smtpmail-copies-terminal-tests.el ends here
