#!/bin/sh
# Run the Rust tests under AddressSanitizer, which also tells what leaks.
# usage: test/sanitize.sh [ARGUMENT OF CARGO TEST...]
#
# Rust has it in nightly compilers only; a stable one is made to take it here, for
# these tests and into a directory of its own.  The standard library is not built
# anew: it is not what is tested.
set -eu
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target, what runs while building is left alone.
[ $# -gt 0 ] || set -- -p smtpmail-core -p smtpmail-test-server
RUSTC_BOOTSTRAP=1 RUSTFLAGS="${RUSTFLAGS-} -Zsanitizer=address" ASAN_OPTIONS=detect_leaks=1 \
  exec ${CARGO:-cargo} test --locked --target "$host" --target-dir build/sanitize \
  --lib --bins --tests "$@"
