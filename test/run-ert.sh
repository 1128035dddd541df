#!/bin/sh
# Run ERT files, each in an Emacs and a home directory of its own, some at a time.
# usage: SERVER=PROGRAM EMACS=PROGRAM run-ert.sh [FILE...]; default: test/ and test/checklist/
# SMTPMAIL_TEST_LIMIT are the seconds that a file may take (600).
# SMTPMAIL_TEST_JOBS says how many run at a time (one for each processor).
# EMACSFLAGS are options for Emacs, which its suites hand on to other Emacsen.
set -u
cd "$(dirname "$0")/.." || exit 1

# Run FILE, say how it went; leave a mark in the directory FAILED if it failed.
run() {
    file=$1
    home=$(mktemp -d build/test/home-XXXXXX) || return 1
    mkdir -p "$home/.emacs.d"
    log="build/test/$(basename "$file" .el).log"
    HOME=$PWD/$home XDG_CONFIG_HOME=$PWD/$home/.config LC_ALL=C.UTF-8 \
    SMTPMAIL_TEST_SERVER=$SERVER \
        timeout "${SMTPMAIL_TEST_LIMIT:-600}" "$EMACS" ${EMACSFLAGS:-} -Q --batch -L lisp -L test -L test/checklist --eval '(setq load-prefer-newer t)' \
        -l "$file" -f ert-run-tests-batch-and-exit >"$log" 2>&1
    status=$?
    rm -rf "$home"
    summary=$(grep -E '^Ran [0-9]+ tests' "$log" | tail -1)
    # A skip is a failure where nothing may be skipped.
    if [ $status -eq 0 ] && [ -n "${SMTPMAIL_NO_SKIP:-}" ] && grep -q '^ *[0-9]* *skipped' "$log"; then
        status=1
    fi
    if [ $status -ne 0 ] || [ -z "$summary" ]; then
        mktemp "$FAILED/XXXXXX" >/dev/null
        cat "$log"
        echo "FAILED: $file (status $status)"
    else
        echo "$file: $summary"
        # The reason if the file tells it, else each test.
        grep -E '^skip: ' "$log" || grep -E '^ +skipped +' "$log" || :
    fi
}

if [ -n "${SMTPMAIL_TEST_ONE:-}" ]; then
    # What one file says stays together.
    said=$(run "$1")
    echo "$said"
    exit 0
fi

[ $# -gt 0 ] || set -- test/*-tests.el test/checklist/*-tests.el
mkdir -p build/test
case $SERVER in /*) ;; *) SERVER=$PWD/$SERVER ;; esac
FAILED=$(mktemp -d build/test/failed-XXXXXX) || exit 1
trap 'rm -rf "$FAILED"' EXIT
export SERVER EMACS FAILED
printf '%s\0' "$@" | SMTPMAIL_TEST_ONE=1 \
    xargs -0 -n 1 -P "${SMTPMAIL_TEST_JOBS:-$(nproc 2>/dev/null || echo 1)}" sh test/run-ert.sh
# Also one that could not even be run.
[ $? -eq 0 ] || mktemp "$FAILED/XXXXXX" >/dev/null
failed=$(find "$FAILED" -type f | wc -l)
echo "$(($# - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
