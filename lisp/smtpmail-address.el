;;; smtpmail-address.el --- Addresses of a mail header field  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This program is free software; you can redistribute it and/or modify
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

;; The value of an address field (To, Cc, From, ...; RFC 5322 §3.4 with
;; the obsolete forms of §4.4) in, the addr-specs of its mailboxes out.
;; No buffers of the user, no settings and no network live here.
;;
;; Why a parser of our own: none that Emacs 28 ships gives an envelope.
;; For 1,000 mailboxes, and wrong where noted:
;;   ietf-drums (mail-parse)   55 ms  unquotes "a b"@y.org, keeps group names
;;                                    and routes
;;   rfc822                    85 ms  keeps routes; a typing slip becomes an
;;                                    "(Unparsable address ...)" text
;;   mail-extr                 22 ms  keeps group names, rewrites routes
;;   mail-strip-quoted-names   1.1 s  keeps group names and routes
;; This one takes about 1 ms: one regexp match for each mailbox of the two
;; usual shapes, token by token for all others.
;;
;; Where the input is not RFC 5322, no recipient is lost silently: each
;; piece that may be an address is returned, and a server may refuse it.

;;; Code:

(require 'seq)

(defconst smtpmail-address--usual-mailbox
  (let* ((atom "[^][()<>@,;:\\\\\" \t\n]+")
         (addr-spec (concat "\\(" atom "@" atom "\\)"))
         (end "[ \t\n]*\\(?:,\\|\\'\\)"))
    (concat addr-spec end
            ;; Two alternatives for the display name, so that no two
            ;; adjacent loops match the same text: that would backtrack.
            "\\|\\(?:\"[^\"\\\\]*\"[ \t\n]*\\|[^][()<>@,;:\\\\\"]*\\)<"
            addr-spec ">" end))
  "Match a whole mailbox of one of the usual shapes, with its comma.
The addr-spec is group 1 (bare) or 2 (after a display name).")

(defconst smtpmail-address--lone-mailbox
  (concat "\\`[ \t\n]*\\(?:" smtpmail-address--usual-mailbox "\\)\\'")
  "Match a text that is one such mailbox and nothing else.")

(defvar smtpmail-address--unclosed nil
  "Characters that open something nothing closes later in the text.
They are then words.  Remembering them keeps the scan linear.")

(defun smtpmail-address--skip-balanced (open)
  "Move over the comment or quoted string at point, which is at OPEN.
Return non-nil if it is closed; otherwise do not move."
  (unless (memq open smtpmail-address--unclosed)
    (let ((start (point))
          (stops (if (eq open ?\") "^\"\\\\" "^()\\\\"))
          (depth 1))
      (forward-char)
      (while (and (> depth 0)
                  (progn (skip-chars-forward stops) (not (eobp))))
        (pcase (char-after)
          (?\\ (forward-char))
          (?\( (setq depth (1+ depth)))
          (_ (setq depth (1- depth))))
        (unless (eobp) (forward-char)))
      (or (= depth 0)
          (progn (push open smtpmail-address--unclosed)
                 (goto-char start)
                 nil)))))

(defun smtpmail-address--skip-cfws ()
  "Move over white space and comments (RFC 5322 §3.2.2)."
  (skip-chars-forward " \t\n")
  (while (and (eq (char-after) ?\()
              (smtpmail-address--skip-balanced ?\())
    (skip-chars-forward " \t\n")))

(defun smtpmail-address--token ()
  "Read one token at point, which is not at white space, and move over it.
Return a delimiter character, or (TEXT . NAME-P) for a word; NAME-P says
that it looks like a part of a display name."
  (let ((start (point))
        (name-p nil))
    (pcase (char-after)
      ((and (or ?< ?> ?, ?\; ?:) delimiter)
       (forward-char)
       delimiter)
      (first
       (pcase first
         (?\" (if (smtpmail-address--skip-balanced ?\")
                  (setq name-p t)
                (forward-char)))
         (?\[ (forward-char)
              (skip-chars-forward "^][ \t\n,<>")
              (when (eq (char-after) ?\]) (forward-char)))
         (?\\ (forward-char)
              (unless (eobp) (forward-char)))
         ((or ?\( ?\) ?\]) (forward-char))
         ;; RFC 2047 §2; people leave a raw comma in there.
         ((and ?= (guard (looking-at
                          "=\\?[^? \t\n]+\\?[bBqQ]\\?[^? \t\n]*\\?=")))
          (goto-char (match-end 0))
          (setq name-p t))
         (_ (skip-chars-forward "^][()<>,;:\\\\\" \t\n")))
       (cons (buffer-substring-no-properties start (point)) name-p)))))

(defun smtpmail-address--add-word (token adjacent words)
  "Return WORDS, a reversed list, with the word TOKEN added.
It is joined to the last one if it is ADJACENT to it or if one of them
has its dot or at sign there (RFC 5322 §4.4 allows space around these).
An element of WORDS is (NAME-P . PIECES), PIECES being reversed."
  (let* ((text (car token))
         (last (cadar words)))
    (if (and last
             (or adjacent
                 (memq (aref last (1- (length last))) '(?. ?@))
                 (memq (aref text 0) '(?. ?@))))
        (progn
          (push text (cdar words))
          (unless (cdr token) (setcar (car words) nil))
          words)
      (cons (list (cdr token) text) words))))

(defun smtpmail-address--word-text (word)
  "Return the text of WORD, an element of a list of words."
  (apply #'concat (reverse (cdr word))))

(defun smtpmail-address--read-angle ()
  "Read what follows a \"<\" at point, up to its \">\".
Return the addr-spec without its route, or nil for \"<>\"."
  (let ((words nil)
        (route-p nil)
        (done nil)
        (before nil))
    (while (not (or done
                    (progn (setq before (point))
                           (smtpmail-address--skip-cfws)
                           (eobp))))
      (let ((adjacent (= before (point)))
            (token (smtpmail-address--token)))
        (pcase token
          (?> (setq done t))
          ;; RFC 5322 §4.4: the route is to be ignored.
          ((or ?: ?<) (setq words nil))
          (?, (unless (or (null words) route-p)
                ;; Nobody closed it: give the comma back.
                (backward-char)
                (setq done t)))
          (?\; nil)
          (_ (unless words
               (setq route-p (eq (aref (car token) 0) ?@)))
             (setq words (smtpmail-address--add-word
                          token adjacent words))))))
    (and words
         (mapconcat #'smtpmail-address--word-text (nreverse words) " "))))

(defun smtpmail-address--of-words (words after-angle)
  "Return the addresses, last first, in WORDS, the last word first.
Without an address in angles each word is one, as local mailers have it,
but a quoted string or an encoded word then is a name.  AFTER-ANGLE says
that the mailbox has its address already: only what has an at sign counts."
  (let ((texts (mapcar #'smtpmail-address--word-text words)))
    (if after-angle
        (seq-filter (lambda (text) (string-search "@" text)) texts)
      (or (mapcar #'smtpmail-address--word-text (seq-remove #'car words))
          texts))))

(defun smtpmail-address--read-mailbox ()
  "Read the mailbox at point, or a group's name, with its delimiter.
Return its addresses, the last one first."
  (let ((words nil)
        (found nil)
        (angle nil)
        (done nil)
        (before nil))
    (while (not (or done
                    (progn (setq before (point))
                           (smtpmail-address--skip-cfws)
                           (eobp))))
      (let ((adjacent (= before (point)))
            (token (smtpmail-address--token)))
        (pcase token
          (?< (let ((address (smtpmail-address--read-angle)))
                (setq found (nconc (and angle
                                        (smtpmail-address--of-words words t))
                                   found)
                      words nil
                      angle t)
                (when address (push address found))))
          ;; The end of a group's name, which is not an address.
          (?: (setq angle t
                    done t))
          ((or ?, ?\;) (setq done t))
          (?> nil)
          (_ (setq words (smtpmail-address--add-word
                          token adjacent words))))))
    (nconc (smtpmail-address--of-words words angle) found)))

(defun smtpmail-message-addresses (string)
  "Return the addr-specs of the address list STRING, a list of strings.
STRING is the value of a field like To, folded or not.  Display names,
comments, routes and group names are left out; of a group, its members
are taken.  Quoted local parts stay quoted, and what has no at sign is
kept.  The order is that of STRING; nothing is removed as a duplicate.
Text that is no address list (RFC 5322 §3.4) signals no error: what it
may name is returned as it stands, control characters included."
  (save-match-data
    (if (and (string-match smtpmail-address--lone-mailbox string)
             (not (string-search "\r" string)))
        ;; Most fields: no buffer is made for it.
        (list (substring-no-properties
               (or (match-string 1 string) (match-string 2 string))))
      (smtpmail-address--read-list string))))

(defun smtpmail-address--read-list (string)
  "Return the addr-specs in STRING, whatever they are like."
  (with-temp-buffer
    (insert string)
    (goto-char (point-min))
    (while (search-forward "\r\n" nil t)
      (replace-match "\n" t t))
    (goto-char (point-min))
    (let ((smtpmail-address--unclosed nil)
          (addresses nil))
      (while (progn (skip-chars-forward " \t\n,")
                    (not (eobp)))
        (if (looking-at smtpmail-address--usual-mailbox)
            (progn
              (push (or (match-string-no-properties 1)
                        (match-string-no-properties 2))
                    addresses)
              (goto-char (match-end 0)))
          (setq addresses (nconc (smtpmail-address--read-mailbox)
                                 addresses))))
      (nreverse addresses))))

(provide 'smtpmail-address)

;;; smtpmail-address.el ends here
