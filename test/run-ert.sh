#!/bin/sh
# Run ERT files, each in an Emacs and a home directory of its own.
# usage: SERVER=PROGRAM EMACS=PROGRAM run-ert.sh [FILE...]; default: test/ and test/checklist/
# EMACSFLAGS are options for Emacs, which its suites hand on to other Emacsen.
set -u
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- test/*-tests.el test/checklist/*-tests.el
mkdir -p build/test
case $SERVER in /*) ;; *) SERVER=$PWD/$SERVER ;; esac
failed=0
for file; do
    home=$(mktemp -d build/test/home-XXXXXX) || exit 1
    mkdir -p "$home/.emacs.d"
    log="build/test/$(basename "$file" .el).log"
    HOME=$PWD/$home XDG_CONFIG_HOME=$PWD/$home/.config LC_ALL=C.UTF-8 \
    SMTPMAIL_TEST_SERVER=$SERVER \
        timeout 600 "$EMACS" ${EMACSFLAGS:-} -Q --batch -L lisp -L test -L test/checklist --eval '(setq load-prefer-newer t)' \
        -l "$file" -f ert-run-tests-batch-and-exit >"$log" 2>&1
    status=$?
    rm -rf "$home"
    summary=$(grep -E '^Ran [0-9]+ tests' "$log" | tail -1)
    # A skip is a failure where nothing may be skipped.
    if [ $status -eq 0 ] && [ -n "${SMTPMAIL_NO_SKIP:-}" ] && grep -q '^ *[0-9]* *skipped' "$log"; then
        status=1
    fi
    if [ $status -ne 0 ] || [ -z "$summary" ]; then
        failed=$((failed + 1))
        cat "$log"
        echo "FAILED: $file (status $status)"
    else
        echo "$file: $summary"
        # The reason if the file tells it, else each test.
        grep -E '^skip: ' "$log" || grep -E '^ +skipped +' "$log" || :
    fi
done
echo "$(($# - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
