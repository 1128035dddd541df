#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Everything that is Lisp once more with a second Emacs, that of Debian's backports:
# byte-compilation without a warning, checkdoc, check-declare, and all ERT suites (parity
# and clients among them).
# usage: SERVER=PROGRAM EMACS=PROGRAM matrix.sh [FILE...]
set -eu
cd "$(dirname "$0")/.."
root=$PWD
tree=$root/build/matrix
# What the second Emacs is there for.
wanted_version=30

skip() {
    echo "skip: test-matrix: $1"
    [ -z "${SMTPMAIL_NO_SKIP:-}" ] || exit 1
    exit 0
}

version() { "$1" -Q --batch --eval '(princ emacs-version)'; }

first=$(version "${EMACS:-emacs}")
if [ "${first%%.*}" -ge $wanted_version ]; then
    echo "test-matrix: ${EMACS:-emacs} is Emacs $first itself; nothing is left to run"
    exit 0
fi
complaint=$(mktemp)
trap 'rm -f "$complaint"' EXIT
second=$(sh test/emacs-backport.sh 2>"$complaint") || skip "$(sed 's/^skip: //' "$complaint")"
echo "Emacs $(version "$second")"

# A tree of its own: its compiled files are for that Emacs.
rm -rf "$tree"
mkdir -p "$tree/target/release"
git ls-files -z --cached --others --exclude-standard -- \
    lisp test doc src Makefile Cargo.toml Cargo.lock README.org NEWS.org |
    xargs -0 cp --parents -t "$tree"
cp lisp/smtpmail-core.so "$tree/lisp/"
cp "$SERVER" "$tree/target/release/smtpmail-test-server"
cd "$tree"
mkdir -p build
# The clients and servers that are unpacked already, and the linter.
for part in package-lint servers; do
    [ ! -d "$root/build/$part" ] || ln -s "$root/build/$part" "build/$part"
done
# Without the module's own rule: the one that is here is good for any Emacs.
make -s lisp lint-lisp doc/smtpmail.info EMACS="$second"
if [ $# -eq 0 ]; then
    set -- test/*-tests.el test/checklist/*-tests.el test/clients/*-tests.el \
        test/package/smtpmail-checkout-tests.el
    # Queues written by that Emacs's own smtpmail, and flushed by it.
    (cd "$root" && EMACS=$second cargo test --locked -q --test outbox_builtin)
fi
SERVER=target/release/smtpmail-test-server EMACS=$second sh test/run-ert.sh "$@"
