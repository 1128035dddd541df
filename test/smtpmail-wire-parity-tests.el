;;; smtpmail-wire-parity-tests.el --- The same octets on the wire as the built-in's  -*- lexical-binding: t -*-

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

;; A corpus of mails is sent by the smtpmail that comes with this Emacs, in
;; a child without our Lisp, and by ours in another, through a proxy that
;; keeps every octet that the client says.  After Date, Message-ID and the
;; like are made equal, the octets have to be the same: EHLO, MAIL, RCPT,
;; DATA with the text, and QUIT.  Nothing is said of how commands are
;; batched.
;;
;; Where the built-in is wrong, the case names the exceptions; each of them
;; makes, of what the built-in says, what we have to say.  An exception
;; that changes nothing fails the test.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-test)
  (require 'smtpmail-wire-corpus))

;;;; Who listens

(defconst smtpmail-wire-tests--patience 300
  "Seconds for a child to send the corpus: it takes 5 on a quiet machine.")

(defun smtpmail-wire-tests--forward (client octets)
  "Keep OCTETS of CLIENT, a process, and pass them on to the server."
  (process-put client 'said (cons octets (process-get client 'said)))
  (let ((server (process-get client 'peer)))
    (when (process-live-p server)
      (process-send-string server octets))))

(defun smtpmail-wire-tests--accept (port note)
  "Return a function for the log of a proxy to PORT.
It calls NOTE with each connection."
  (lambda (_listener client _message)
    (let ((server (make-network-process
                   :name "server" :host "127.0.0.1" :service port
                   :coding 'binary :noquery t
                   :filter (lambda (_server octets)
                             (when (process-live-p client)
                               (process-send-string client octets)))
                   :sentinel (lambda (_server _event)
                               (when (process-live-p client)
                                 (delete-process client))))))
      (set-process-query-on-exit-flag client nil)
      (process-put client 'peer server)
      (set-process-sentinel client (lambda (client _event)
                                     ;; It also says that it was opened.
                                     (unless (process-live-p client)
                                       (delete-process server))))
      (funcall note client))))

(defun smtpmail-wire-tests--said (client)
  "Return all that CLIENT said."
  (apply #'concat (reverse (process-get client 'said))))

(defun smtpmail-wire-tests--child (corpus server lisp)
  "Send CORPUS to SERVER in an Emacs with our Lisp if LISP, else without.
Return a list of results as of `smtpmail-wire-send-case', each with
:said, the list of what its connections said."
  (let* ((clients nil)
         (proxy (make-network-process
                 :name "proxy" :server t :host "127.0.0.1" :service t
                 :family 'ipv4 :coding 'binary :noquery t
                 :filter #'smtpmail-wire-tests--forward
                 :log (smtpmail-wire-tests--accept
                       (smtpmail-test-server-port server)
                       (lambda (client) (push client clients)))))
         (answer (make-temp-file "smtpmail-wire"))
         (coding-system-for-read 'utf-8-emacs)
         (print-escape-nonascii t))
    (unwind-protect
        (let* ((smtpmail-test-patience smtpmail-wire-tests--patience)
               (run (smtpmail-test-run
                    `((load ,(locate-library "smtpmail-wire-driver.el") nil t)
                      (setq smtpmail-smtp-server "127.0.0.1"
                            smtpmail-smtp-service
                            ,(process-contact proxy :service))
                      ,@smtpmail-wire-corpus-settings
                      (smtpmail-wire-send-corpus
                       ',corpus ,(smtpmail-test-server-spool server) ,answer))
                    :lisp (and lisp smtpmail-test-lisp))))
          (unless (eql (plist-get run :exit) 0)
            (error "The other Emacs failed: %s" (plist-get run :stderr)))
          (setq clients (nreverse clients))
          (pcase-let ((`(,from . ,results)
                       (with-temp-buffer
                         (insert-file-contents answer)
                         (read (current-buffer)))))
            ;; The right library was asked.
            (should (eq (and lisp t)
                        (string-prefix-p (file-truename smtpmail-test-lisp)
                                         (file-truename from))))
            (should (= (length clients)
                       (apply #'+ (mapcar (lambda (result)
                                            (plist-get result :connections))
                                          results))))
            (mapcar (lambda (result)
                      (append
                       (list :said
                             (cl-loop repeat (plist-get result :connections)
                                      collect (smtpmail-wire-tests--said
                                               (pop clients))))
                       result))
                    results)))
      (delete-process proxy)
      (delete-file answer))))

;;;; What they said

;; The octets may be many: only where they part is shown.
(defun smtpmail-wire-tests--check-said (ours expected)
  "Check that what we said, OURS, is EXPECTED."
  (setq ours (smtpmail-wire-normal ours))
  (let ((same (compare-strings ours nil nil expected nil nil)))
    (unless (eq same t)
      (let ((start (max 0 (- (abs same) 60))))
        (ert-fail (cl-loop for (who . said) in `((ours . ,ours) (expected . ,expected))
                           collect (cons who (substring
                                              said (min start (length said))
                                              (min (+ start 120) (length said))))))))))

(defun smtpmail-wire-tests--check (case everywhere stock ours)
  "Check that OURS is what STOCK is, both results of CASE, but for exceptions.
Those are the ones of CASE, which it has to need, and EVERYWHERE."
  (let ((expected (copy-sequence stock)))
    (setq expected (plist-put expected :said
                              (mapcar #'smtpmail-wire-normal
                                      (plist-get stock :said))))
    (dolist (exception (plist-get case :exceptions))
      (let ((next (smtpmail-wire-apply-exception exception expected)))
        (when (equal next expected)
          (ert-fail (list "needless exception" exception expected)))
        (setq expected next)))
    (dolist (exception (cons 'error-names-command everywhere))
      (setq expected (smtpmail-wire-apply-exception exception expected)))
    (dolist (what '(:error :asked :connections :touched))
      (should (equal (list what (plist-get ours what))
                     (list what (plist-get expected what)))))
    (should-not (plist-get ours :touched))
    (should (equal (smtpmail-wire-copy-normal (plist-get ours :copy))
                   (smtpmail-wire-copy-normal (plist-get expected :copy))))
    (cl-mapc #'smtpmail-wire-tests--check-said
             (plist-get ours :said) (plist-get expected :said))))

(defun smtpmail-wire-tests--compare (corpus everywhere &rest options)
  "Send CORPUS both ways to a test server with OPTIONS, and compare.
EVERYWHERE is a list of exceptions that hold for any case, needed or not."
  (let (stock ours failed)
    (smtpmail-test-with-server (server options)
      (setq stock (smtpmail-wire-tests--child corpus server nil)))
    (smtpmail-test-with-server (server options)
      (setq ours (smtpmail-wire-tests--child corpus server t)))
    (should (= (length corpus) (length stock) (length ours)))
    (cl-mapc (lambda (case stock ours)
               (condition-case failure
                   (smtpmail-wire-tests--check case everywhere stock ours)
                 (ert-test-failed
                  (push (list (plist-get case :name) failure) failed))))
             corpus stock ours)
    ;; All of them, not the first only.
    (dolist (one failed)
      (message "%S" one))
    (should-not (mapcar #'car failed))))

(ert-deftest smtpmail-wire-tests-no-extension ()
  "All is alike at a server without extensions."
  (smtpmail-wire-tests--compare (smtpmail-wire-corpus) nil "--caps" "HELP"))

(ert-deftest smtpmail-wire-tests-extensions ()
  "All is alike at a server with SIZE, 8BITMIME and PIPELINING.
But MAIL says the size in octets, and that a text has 8 bits."
  (smtpmail-wire-tests--compare
   (smtpmail-wire-corpus) '(mail-parameters pipelined)
   "--caps" "PIPELINING,SIZE 50000000,8BITMIME,ENHANCEDSTATUSCODES,DSN,HELP"))

(ert-deftest smtpmail-wire-tests-helo ()
  "All is alike at a server that knows no EHLO."
  (smtpmail-wire-tests--compare
   (smtpmail-wire-corpus-few) nil
   "--on" "ehlo=reply 502 Command not implemented"))

(ert-deftest smtpmail-wire-tests-login ()
  "All is alike at a server that wants a login, by PLAIN and by LOGIN."
  (dolist (mechanism '("PLAIN" "LOGIN"))
    (ert-info (mechanism)
      (smtpmail-wire-tests--compare
       (smtpmail-wire-corpus-logins) nil
       "--caps" (concat "AUTH " mechanism) "--require-auth"
       "--user" "alice" "--password" smtpmail-test-canary))))

(ert-deftest smtpmail-wire-tests-refusals ()
  "All is alike where the server refuses MAIL, RCPT, DATA or the text."
  (dolist (place '("mail" "rcpt" "data" "dot"))
    (ert-info (place)
      (smtpmail-wire-tests--compare
       (smtpmail-wire-corpus-few) nil
       "--caps" "HELP" "--on" (concat place "=reply 550 5.7.1 Not from you")))))

(ert-deftest smtpmail-wire-tests-verbose ()
  "VERB is said alike, where it is wanted and offered."
  (dolist (caps '("VERB,HELP" "HELP"))
    (smtpmail-wire-tests--compare
     (smtpmail-wire-corpus-few '((smtpmail-debug-verb . t))) nil "--caps" caps)))

(ert-deftest smtpmail-wire-tests-later ()
  "After 4yz to MAIL, both connect once more, and say the same."
  (smtpmail-wire-tests--compare
   (seq-take (smtpmail-wire-corpus-few '((smtpmail-retries . 2))) 1) nil
   "--caps" "HELP" "--on" "mail#1=reply 451 4.7.1 Later"))

(provide 'smtpmail-wire-parity-tests)

;;; smtpmail-wire-parity-tests.el ends here
