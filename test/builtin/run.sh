#!/bin/sh
# Run the tests of the built-in's defects with the built-in and with ours.
# usage: SERVER=PROGRAM EMACS=PROGRAM [UPDATE=1] [VERBOSE=1] run.sh
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/test
home=$(mktemp -d build/test/home-XXXXXX)
trap 'rm -rf "$home"' EXIT
mkdir "$home/.emacs.d"
[ -n "${UPDATE:-}" ] || unset UPDATE
HOME=$PWD/$home XDG_CONFIG_HOME=$PWD/$home/.config LC_ALL=C.UTF-8 \
SMTPMAIL_TEST_SERVER=$PWD/$SERVER \
    timeout 600 "$EMACS" -Q --batch -L lisp -L test -L test/checklist -L test/builtin \
    --eval '(setq load-prefer-newer t)' -l smtpmail-builtin -f smtpmail-builtin-batch
