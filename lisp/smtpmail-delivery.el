;;; smtpmail-delivery.el --- What a message asks of the server  -*- lexical-binding: t -*-

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

;; Delivery reports, priority, and TLS all the way to the recipients.  Each is
;; a variable.  An account and a field of the message do no more than bind it;
;; a message that waits in the outbox has its value as a text beside it.  What
;; the server is told of it, the engine knows.
;;
;; To add another one: a line in the table, a variable, and a key of :options
;; in the engine.

;;; Code:

(require 'seq)
(require 'subr-x)
(require 'smtpmail-options)

(defvar smtpmail-delivery--envelope-id nil
  "Name by which reports call the message, or nil for its Message-ID.
Bound by the field of one message.")

(defconst smtpmail-delivery--table
  '((smtpmail-dsn "X-Smtpmail-DSN" dsn smtpmail-delivery--read-dsn)
    (smtpmail-delivery--envelope-id "X-Smtpmail-Envelope-Id" envelope-id
                                    smtpmail-delivery--read-envelope-id)
    (smtpmail-priority "X-Smtpmail-Priority" priority
                       smtpmail-delivery--read-priority)
    (smtpmail-require-tls "X-Smtpmail-Require-TLS" require-tls
                          smtpmail-delivery--read-yes))
  "What can be asked for: (VARIABLE FIELD FACT READ).
FIELD is the one of a message, FACT the name of what the outbox keeps, and
READ is called with the text of either.")

(defconst smtpmail-delivery--dsn-words
  '(never success failure delay full headers required)
  "The members of `smtpmail-dsn'.")

;;;; Texts and values

(defun smtpmail-delivery--read-dsn (text)
  "Return the value for `smtpmail-dsn' that TEXT is, or signal an error."
  (let* ((words (split-string (downcase text) "[ \t\n,]+" t))
         (known (mapcar #'symbol-name smtpmail-delivery--dsn-words))
         (unknown (seq-difference words known)))
    (when unknown
      (error "Not a word about delivery reports: %s" (car unknown)))
    (smtpmail-delivery--check-dsn (mapcar #'intern words))))

(defun smtpmail-delivery--check-dsn (value)
  "Return VALUE, for `smtpmail-dsn', or signal an error."
  (cond ((not (and (proper-list-p value)
                   (seq-every-p (lambda (word)
                                  (memq word smtpmail-delivery--dsn-words))
                                value)))
         (error "`smtpmail-dsn' is not a list of %s: %S"
                (mapconcat #'symbol-name smtpmail-delivery--dsn-words ", ")
                value))
        ((and (memq 'never value)
              (seq-intersection value '(success failure delay)))
         (error "Delivery reports cannot be wanted never and %s"
                (car (seq-intersection value '(success failure delay)))))
        ((and (memq 'full value) (memq 'headers value))
         (error "A delivery report returns either the full message or its \
headers"))
        (t value)))

(defun smtpmail-delivery--read-envelope-id (text)
  "Return TEXT, or signal an error if it cannot name a message in reports."
  (let ((text (string-trim text)))
    ;; RFC 3461 section 4.4.
    (unless (string-match-p "\\`[ -~]\\{1,100\\}\\'" text)
      (error "Not a name of a message for delivery reports \
(1 to 100 ASCII characters): %s" text))
    text))

(defun smtpmail-delivery--read-priority (text)
  "Return the priority that TEXT tells, or signal an error."
  (let ((text (string-trim text)))
    (smtpmail-delivery--check-priority
     (if (string-match-p "\\`[-+]?[0-9]\\'" text)
         (string-to-number text)
       text))))

(defun smtpmail-delivery--check-priority (value)
  "Return VALUE, for `smtpmail-priority', or signal an error."
  (unless (or (null value)
              (and (integerp value) (<= -9 value 9)))
    (error "Not a priority from -9 to 9: %s" value))
  value)

(defun smtpmail-delivery--read-yes (text)
  "Return t if TEXT is yes, nil if it is no; or signal an error."
  (pcase (downcase (string-trim text))
    ((or "yes" "t") t)
    ((or "no" "nil") nil)
    (other (error "Neither yes nor no: %s" other))))

(defun smtpmail-delivery--text (value)
  "Return VALUE, of a variable of the table, as a text that its reader reads."
  (pcase value
    ('t "yes")
    ((pred consp) (mapconcat #'symbol-name value ", "))
    (_ (format "%s" value))))

;;;; Where values come from

(defun smtpmail-delivery-bindings (fields)
  "Return the bindings that FIELDS, an alist, of a message ask for.
Signal an error if one has no good value."
  (delq nil
        (mapcar
         (pcase-lambda (`(,variable ,name ,_ ,read))
           (when-let ((field (assoc-string name fields t)))
             (cons variable
                   (condition-case problem
                       (funcall read (cdr field))
                     (error (error "%s: %s" name
                                   (error-message-string problem)))))))
         smtpmail-delivery--table)))

(defun smtpmail-delivery-entry-bindings (entry)
  "Return the bindings with which ENTRY of the outbox goes.
They are those with which it was queued, whatever holds now.  Signal an
error if what the disk says is no good value."
  (let ((facts (plist-get entry :facts)))
    (mapcar
     (pcase-lambda (`(,variable ,_ ,fact ,read))
       (let ((text (alist-get fact facts)))
         (cons variable
               (and text
                    (condition-case problem
                        (funcall read (format "%s" text))
                      (error (error "What the outbox says of its delivery: %s"
                                    (error-message-string problem))))))))
     smtpmail-delivery--table)))

(defun smtpmail-delivery-values (buffer)
  "Return what the message in BUFFER asks for, as the variables say.
An alist of variables and values, without those that ask for nothing."
  (smtpmail-delivery--check-dsn smtpmail-dsn)
  (smtpmail-delivery--check-priority smtpmail-priority)
  (let ((smtpmail-delivery--envelope-id
         (and smtpmail-dsn
              (or smtpmail-delivery--envelope-id
                  (smtpmail-delivery--message-id buffer)))))
    (delq nil
          (mapcar (lambda (row)
                    (when-let ((value (symbol-value (car row))))
                      (cons (car row) value)))
                  smtpmail-delivery--table))))

(defun smtpmail-delivery--message-id (buffer)
  "Return the Message-ID in BUFFER, without angles, if it can be in a report."
  (with-current-buffer buffer
    (save-excursion
      (save-restriction
        (widen)
        (goto-char (point-min))
        (let ((case-fold-search t)
              (end (save-excursion (re-search-forward "^$" nil 'move) (point))))
          (and (re-search-forward
                "^Message-ID:[ \t\n]*<\\([!-~]\\{1,100\\}\\)>" end t)
               (match-string-no-properties 1)))))))

;;;; Where they go

(defun smtpmail-delivery-request (values)
  "Return the part of a message's request that says VALUES, an alist."
  (when values
    (let ((value (lambda (variable) (alist-get variable values))))
      `(:options
        ( :dsn ,(mapcar #'symbol-name (funcall value 'smtpmail-dsn))
          :envelope-id ,(funcall value 'smtpmail-delivery--envelope-id)
          :priority ,(funcall value 'smtpmail-priority)
          :require-tls ,(and (funcall value 'smtpmail-require-tls) t))))))

(defun smtpmail-delivery-facts (values)
  "Return VALUES, an alist, as facts that the outbox keeps with a message."
  (mapcar (pcase-lambda (`(,variable . ,value))
            (cons (nth 2 (assq variable smtpmail-delivery--table))
                  (smtpmail-delivery--text value)))
          values))

(defun smtpmail-delivery-fields (entry)
  "Return the lines of a header that ask for what ENTRY of the outbox does."
  (mapconcat
   (pcase-lambda (`(,variable . ,value))
     (if (or (null value)
             ;; A draft gets a new one.
             (and (eq variable 'smtpmail-delivery--envelope-id)
                  (equal (format "<%s>" value) (plist-get entry :message-id))))
         ""
       (format "%s: %s\n" (nth 1 (assq variable smtpmail-delivery--table))
               (smtpmail-delivery--text value))))
   (smtpmail-delivery-entry-bindings entry) ""))

;;;; What was left out

(defvar smtpmail-delivery--told nil
  "What the user was told that servers do not know, lists (HOST PORT TEXT).")

(defun smtpmail-delivery-tell (host port text)
  "Tell the user, once, that the server HOST at PORT does not know of TEXT."
  (let ((told (list host port text)))
    (unless (member told smtpmail-delivery--told)
      (push told smtpmail-delivery--told)
      (display-warning 'smtpmail (format "%s: %s (told once)" host text)))))

(provide 'smtpmail-delivery)

;;; smtpmail-delivery.el ends here
