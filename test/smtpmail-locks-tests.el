;;; smtpmail-locks-tests.el --- a queue where nothing can be locked  -*- lexical-binding: t -*-

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

;; Some network file systems have no locks.  There, Emacs puts mail into the
;; queue, and sends none of it: another Emacs may be sending it at that moment.
;; The Emacs of these tests is a real one whose calls of flock fail, for files
;; of the queue, with what such systems say.

;;; Code:

(eval-and-compile
  (push (file-name-directory (or load-file-name
                                 (bound-and-true-p byte-compile-current-file)
                                 buffer-file-name))
        load-path)
  (require 'smtpmail-queue-fixtures))

(defconst smtpmail-locks-tests--shim
  "#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int flock(int descriptor, int operation)
{
  char link[64], path[4096];
  const char *directory = getenv(\"TEST_NO_LOCKS\");
  const char *number = getenv(\"TEST_NO_LOCKS_ERRNO\");
  snprintf(link, sizeof link, \"/proc/self/fd/%d\", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  if (directory && number && !strncmp(path, directory, strlen(directory)))
    {
      errno = atoi(number);
      return -1;
    }
  int (*real)(int, int) = (int (*)(int, int)) dlsym(RTLD_NEXT, \"flock\");
  return real(descriptor, operation);
}
"
  "A library whose flock fails in a directory.")

(defun smtpmail-locks-tests--build ()
  "Compile the library; return its name, or skip the test."
  (unless (and (eq system-type 'gnu/linux) (executable-find "cc"))
    (ert-skip "No C compiler, or no way to put a library before others"))
  (let ((source (expand-file-name "shim.c" smtpmail-queue-tests--directory))
        (library (expand-file-name "shim.so" smtpmail-queue-tests--directory)))
    (write-region smtpmail-locks-tests--shim nil source nil 'silent)
    (with-temp-buffer
      (unless (eql 0 (call-process "cc" nil t nil "-shared" "-fPIC" "-o" library
                                   source "-ldl"))
        (error "The library cannot be compiled: %s" (buffer-string))))
    library))

(defun smtpmail-locks-tests--emacs (library errno server &rest forms)
  "Return what an Emacs says that evaluates FORMS, set up for SERVER.
Its flock is that of LIBRARY and fails with ERRNO."
  (with-temp-buffer
    (let ((process-environment
           (append (list (concat "LD_PRELOAD=" library)
                         (concat "TEST_NO_LOCKS="
                                 (directory-file-name
                                  (file-truename smtpmail-queue-dir)))
                         (format "TEST_NO_LOCKS_ERRNO=%d" errno))
                   process-environment)))
      (call-process (expand-file-name invocation-name invocation-directory)
                    nil t nil "-Q" "--batch"
                    "-L" (file-name-directory (locate-library "smtpmail"))
                    "-l" "smtpmail" "--eval"
                    (prin1-to-string
                     `(progn (setq smtpmail-queue-dir ,smtpmail-queue-dir
                                   user-mail-address "me@example.org"
                                   smtpmail-smtp-server "127.0.0.1"
                                   smtpmail-stream-type 'plain
                                   auth-sources nil
                                   smtpmail-smtp-service ,(nth 1 server))
                             ,@forms))))
    (buffer-string)))

(defconst smtpmail-locks-tests--queue
  '(let ((smtpmail-queue-mail t))
     (with-temp-buffer
       (insert "From: me@example.org\nTo: you@example.net\nSubject: hi\n"
               mail-header-separator "\ntext\n")
       (smtpmail-send-it)))
  "What queues a message.")

(defconst smtpmail-locks-tests--flush
  '(condition-case problem
       (progn (smtpmail-send-queued-mail) (message "ALL SENT"))
     (error (message "ERROR %s" (error-message-string problem))))
  "What flushes the queue.")

(ert-deftest smtpmail-locks-tests-queueing-works-and-flushing-refuses ()
  "ENOLCK, EOPNOTSUPP and ENOSYS, which NFS, FUSE and old systems give."
  (smtpmail-queue-tests--with ((server))
    (let ((library (smtpmail-locks-tests--build)))
      (make-directory smtpmail-queue-dir)
      (dolist (errno '(37 95 38))
        (ert-info ((format "errno %d" errno))
          (let ((said (smtpmail-locks-tests--emacs
                       library errno server smtpmail-locks-tests--queue)))
            (should (string-match-p "^Queued (1 in " said))
            (should-not (string-match-p "Warning" said)))
          (should (= 1 (smtpmail-queue-tests--index)))
          (dolist (before (list nil
                                ;; One by one, through what users put there.
                                '(advice-add 'smtpmail-via-smtp :around #'funcall)))
            (let ((said (smtpmail-locks-tests--emacs
                         library errno server before
                         smtpmail-locks-tests--flush)))
              (should (string-match-p
                       "^ERROR Sending failed: 1 of 1 .*the file system has no locks: "
                       said))))
          ;; Nothing was sent, and nothing changed.
          (should-not (smtpmail-queue-tests--arrived server))
          (should (= 1 (smtpmail-queue-tests--index)))
          ;; Where there are locks, it goes.
          (should (equal (smtpmail-queue-tests--telling (smtpmail-send-queued-mail))
                         "Sent 1 queued message"))
          (should (= 1 (length (smtpmail-queue-tests--arrived server))))
          (mapc #'delete-file (directory-files (nth 2 server) t "\\`[0-9]")))))))

(provide 'smtpmail-locks-tests)

;;; smtpmail-locks-tests.el ends here
