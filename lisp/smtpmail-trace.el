;;; smtpmail-trace.el --- Reading the trace of a session  -*- lexical-binding: t -*-

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

;; A major mode for the buffers *trace of SMTP session to SERVER*: colours,
;; ways to walk, and folds.  It changes no character: the trace stays the
;; plain text that other programs read.  What is in it, others write
;; (smtpmail-session.el, and the engine).

;;; Code:

(require 'seq)

(defface smtpmail-trace-session '((t :inherit bold :extend t))
  "The heading of a session."
  :group 'smtpmail-trace)

(defface smtpmail-trace-time '((t :inherit shadow))
  "Seconds since the session began."
  :group 'smtpmail-trace)

(defface smtpmail-trace-command '((t :inherit font-lock-keyword-face))
  "What we said."
  :group 'smtpmail-trace)

(defface smtpmail-trace-text '((t :inherit shadow))
  "The text of a message."
  :group 'smtpmail-trace)

(defface smtpmail-trace-reply '((t :inherit success))
  "A reply that says yes, or go on."
  :group 'smtpmail-trace)

(defface smtpmail-trace-refusal '((t :inherit error))
  "A reply that says no, or not now."
  :group 'smtpmail-trace)

(defface smtpmail-trace-note '((t :inherit font-lock-comment-face))
  "A fact about the connection."
  :group 'smtpmail-trace)

(defconst smtpmail-trace--time "^ *[0-9]+\\.[0-9]+ "
  "Regexp of the beginning of a line that was said.")

(defconst smtpmail-trace--session "^Session to .*"
  "Regexp of the heading of a session.")

(defconst smtpmail-trace--refusal
  (concat smtpmail-trace--time "S: [45][0-9][0-9][- ]")
  "Regexp of a line of a reply that says no.")

(defconst smtpmail-trace--outcome
  (concat smtpmail-trace--time "\\*: outcome: ")
  "Regexp of the line with which a session ends that failed.")

(defvar smtpmail-trace-font-lock-keywords
  `((,smtpmail-trace--session . 'smtpmail-trace-session)
    (smtpmail-trace--match-text . 'smtpmail-trace-text)
    (,smtpmail-trace--time . 'smtpmail-trace-time)
    (,(concat smtpmail-trace--time "\\(C: .*\\)") 1 'smtpmail-trace-command)
    (,(concat smtpmail-trace--time "\\(S: [45][0-9][0-9].*\\)")
     1 'smtpmail-trace-refusal)
    (,(concat smtpmail-trace--time "\\(S: .*\\)") 1 'smtpmail-trace-reply)
    (,(concat smtpmail-trace--time "\\(\\*: outcome: .*\\)")
     1 'smtpmail-trace-refusal)
    (,(concat smtpmail-trace--time "\\(\\*: .*\\)") 1 'smtpmail-trace-note))
  "Rules by which a trace is coloured.")

;;;; The text of messages

;; It stands, if at all, between the reply or command that lets it go and the
;; line that tells its size.
(defconst smtpmail-trace--size "^ *[0-9]+\\.[0-9]+ C: <[^>\n]*octets of message>$"
  "Regexp of the line that ends the text of a message.")

(defconst smtpmail-trace--before-text
  "^ *[0-9]+\\.[0-9]+ \\(?:S: 354[ -].*\\|C: BDAT .*\\|S: .*\\|\\*: .*\\)$"
  "Regexp of a line that cannot be of the text of a message.")

(defun smtpmail-trace--text-at-size ()
  "Return (BEG . END) of the text above point, the line with its size.
It is nil if only the size is there."
  (let ((end (line-beginning-position)))
    (save-excursion
      (goto-char end)
      (forward-line -1)
      (while (and (not (bobp))
                  (looking-at-p (concat smtpmail-trace--time "C: "))
                  (not (looking-at-p smtpmail-trace--before-text)))
        (forward-line -1))
      (forward-line 1)
      (and (< (point) end) (cons (point) end)))))

(defun smtpmail-trace--match-text (limit)
  "Find the next text of a message before LIMIT, for font-lock."
  (let ((found nil))
    (while (and (not found)
                (re-search-forward smtpmail-trace--size limit t))
      (when-let ((text (save-excursion (smtpmail-trace--text-at-size))))
        (set-match-data (list (car text) (cdr text)))
        (setq found t)))
    found))

(defun smtpmail-trace-toggle-text ()
  "Hide the text of the message at point, or show it again."
  (interactive)
  (let ((text (save-excursion
                (beginning-of-line)
                (and (or (looking-at-p smtpmail-trace--size)
                         (re-search-forward smtpmail-trace--size nil t))
                     (progn (beginning-of-line) t)
                     (smtpmail-trace--text-at-size)))))
    (if (null text)
        (user-error "No text of a message here; see `smtpmail-debug-info'")
      (let ((fold (seq-find (lambda (overlay)
                              (overlay-get overlay 'smtpmail-trace))
                            (overlays-in (car text) (cdr text)))))
        (if fold
            (delete-overlay fold)
          (goto-char (cdr text))
          ;; Its last line end stays, for the ellipsis to have a line.
          (setq fold (make-overlay (car text) (1- (cdr text))))
          (overlay-put fold 'smtpmail-trace t)
          (overlay-put fold 'evaporate t)
          (overlay-put fold 'isearch-open-invisible #'delete-overlay)
          (overlay-put fold 'invisible 'smtpmail-trace))))))

(defun smtpmail-trace-remove-texts ()
  "Delete the texts of messages from the current buffer, a copy of a trace."
  (goto-char (point-min))
  (while (re-search-forward smtpmail-trace--size nil t)
    (save-excursion
      (when-let ((text (smtpmail-trace--text-at-size)))
        (delete-region (car text) (cdr text))))))

;;;; Ways to walk

(defun smtpmail-trace--walk (regexp count what)
  "Go to the COUNTth next line that matches REGEXP; WHAT is its name."
  (let ((start (point)))
    (if (> count 0) (end-of-line) (beginning-of-line))
    (if (re-search-forward regexp nil t count)
        (progn (beginning-of-line)
               (when (looking-at smtpmail-trace--time)
                 (goto-char (match-end 0))))
      (goto-char start)
      (user-error "No %s %s" (if (> count 0) "next" "previous") what))))

(defconst smtpmail-trace--last-line (concat smtpmail-trace--time "S: [0-9]\\{3\\} ")
  "Regexp of the line that completes a reply.")

(defun smtpmail-trace-next-reply (count)
  "Go to the end of the COUNTth next reply."
  (interactive "p")
  (smtpmail-trace--walk smtpmail-trace--last-line count "reply"))

(defun smtpmail-trace-previous-reply (count)
  "Go to the end of the COUNTth previous reply."
  (interactive "p")
  (smtpmail-trace-next-reply (- count)))

(defun smtpmail-trace-next-session (count)
  "Go to the COUNTth next session."
  (interactive "p")
  (smtpmail-trace--walk smtpmail-trace--session count "session"))

(defun smtpmail-trace-previous-session (count)
  "Go to the COUNTth previous session."
  (interactive "p")
  (smtpmail-trace-next-session (- count)))

(defun smtpmail-trace-next-refusal (count)
  "Go to the COUNTth next reply that says no."
  (interactive "p")
  (smtpmail-trace--walk smtpmail-trace--refusal count "refusal"))

(defun smtpmail-trace-cause ()
  "Go to the line that says why the message of the last session was not sent.
That is the reply of the server if there was one."
  (interactive)
  (let ((cause (smtpmail-trace--cause)))
    (if cause (goto-char cause) (goto-char (point-max)))))

(defun smtpmail-trace--cause ()
  "Return where the last session says why nothing was sent, or nil."
  (save-excursion
    (goto-char (point-max))
    (let* ((session (save-excursion
                      (if (re-search-backward smtpmail-trace--session nil t)
                          (point)
                        (point-min))))
           (outcome (and (re-search-backward smtpmail-trace--outcome session t)
                         (point))))
      (and outcome (smtpmail-trace--cause-of outcome session)))))

(defun smtpmail-trace--cause-of (outcome session)
  "Return the place that the line at OUTCOME is about, not before SESSION."
  (save-excursion
    (goto-char outcome)
    (let ((why (and (looking-at (concat smtpmail-trace--outcome "\\(.*\\)"))
                    (match-string 1))))
      (or (catch 'found
            ;; The first refusal that it cites, else the last line before.
            (while (re-search-backward
                    (concat smtpmail-trace--time "S: \\([45][0-9][0-9][ -].*\\)")
                    session t)
              (when (string-search (match-string 1) why)
                (throw 'found (match-beginning 0)))))
          (progn
            (goto-char outcome)
            (forward-line -1)
            (point))))))

(defun smtpmail-trace-push (&optional event)
  "Go from an outcome, at point or clicked at by EVENT, to its cause."
  (interactive (list last-nonmenu-event))
  (when (mouse-event-p event) (mouse-set-point event))
  (beginning-of-line)
  (if (looking-at-p smtpmail-trace--outcome)
      (goto-char
       (smtpmail-trace--cause-of
        (point)
        (save-excursion
          (if (re-search-backward smtpmail-trace--session nil t)
              (point)
            (point-min)))))
    (user-error "This line has no cause to go to")))

;;;; The mode

(defvar smtpmail-trace-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map "n" #'smtpmail-trace-next-reply)
    (define-key map "p" #'smtpmail-trace-previous-reply)
    (define-key map "N" #'smtpmail-trace-next-session)
    (define-key map "P" #'smtpmail-trace-previous-session)
    (define-key map "e" #'smtpmail-trace-next-refusal)
    (define-key map "c" #'smtpmail-trace-cause)
    (define-key map "\t" #'smtpmail-trace-toggle-text)
    (define-key map "\r" #'smtpmail-trace-push)
    map)
  "Keymap of `smtpmail-trace-mode'.")

(easy-menu-define nil smtpmail-trace-mode-map
  "Menu of a trace."
  '("Trace"
    ["Why It Was Not Sent" smtpmail-trace-cause]
    ["Next Refusal" smtpmail-trace-next-refusal]
    "---"
    ["Next Reply" smtpmail-trace-next-reply]
    ["Previous Reply" smtpmail-trace-previous-reply]
    ["Next Session" smtpmail-trace-next-session]
    ["Previous Session" smtpmail-trace-previous-session]
    "---"
    ["Hide or Show the Text" smtpmail-trace-toggle-text]
    "---"
    ["Help" describe-mode]
    ["Quit" quit-window]))

(defvar smtpmail-trace--button-map
  (let ((map (make-sparse-keymap)))
    (define-key map [mouse-1] #'smtpmail-trace-push)
    (define-key map [mouse-2] #'smtpmail-trace-push)
    map)
  "Keymap of an outcome.")

(define-derived-mode smtpmail-trace-mode special-mode "SMTP trace"
  "Major mode for the trace of SMTP sessions.
Each line has the seconds since its session began, who spoke, and what
was said: C is this side, S the server, and * a note.
\\<smtpmail-trace-mode-map>\
\\[smtpmail-trace-next-reply] and \\[smtpmail-trace-previous-reply] walk from \
reply to reply, \\[smtpmail-trace-next-refusal] goes to the next one
that says no, and \\[smtpmail-trace-cause] to the one for which nothing was sent.

\\{smtpmail-trace-mode-map}"
  ;; Packages copy all variables of smtpmail: tables do not always read back.
  :abbrev-table nil
  :syntax-table nil
  ;; Sessions and methods of users go on writing here.
  (setq buffer-read-only nil)
  (setq-local font-lock-defaults '(smtpmail-trace-font-lock-keywords t))
  (setq-local imenu-generic-expression '((nil "^Session to \\(.*\\)" 1)))
  (setq-local revert-buffer-function #'ignore)
  (add-to-invisibility-spec '(smtpmail-trace . t)))

(defvar smtpmail-trace-last nil
  "Name of the buffer of the trace that was kept last, or nil.")

(defun smtpmail-trace--conclude (why)
  "Note in this buffer, a trace, WHY its message was not accepted."
  (save-excursion
    (goto-char (point-max))
    (let ((seconds (save-excursion
                     (if (re-search-backward "^ *\\([0-9]+\\.[0-9]+\\) " nil t)
                         (match-string 1)
                       "0.000"))))
      (insert (propertize (format "%8s *: outcome: %s\n" seconds
                                  (replace-regexp-in-string "[\r\n]+" " " why))
                          'keymap smtpmail-trace--button-map
                          'mouse-face 'highlight
                          'help-echo "RET, mouse-1: go to the cause"
                          'rear-nonsticky t)))))

(defun smtpmail-trace-keep (buffer &optional why)
  "Keep BUFFER, a trace, for users; WHY its message was not accepted, or nil."
  (setq smtpmail-trace-last (buffer-name buffer))
  (with-current-buffer buffer
    (when why (smtpmail-trace--conclude why))
    (unless (derived-mode-p 'smtpmail-trace-mode)
      (smtpmail-trace-mode))))

(defun smtpmail-trace-last-buffer ()
  "Return the buffer of the trace that was kept last, or nil."
  (or (and smtpmail-trace-last (get-buffer smtpmail-trace-last))
      (seq-find (lambda (buffer)
                  (string-prefix-p "*trace of SMTP session to "
                                   (buffer-name buffer)))
                (buffer-list))))

;;;###autoload
(defun smtpmail-show-trace ()
  "Show the trace of the last SMTP session that was kept.
If its message was not sent, go to the line that says why."
  (interactive)
  (let ((buffer (smtpmail-trace-last-buffer)))
    (if (not buffer)
        (message "No trace is kept; set `smtpmail-debug-info' to keep each")
      (pop-to-buffer buffer)
      (unless (derived-mode-p 'smtpmail-trace-mode)
        (smtpmail-trace-mode))
      (smtpmail-trace-cause))))

(provide 'smtpmail-trace)

;;; smtpmail-trace.el ends here
