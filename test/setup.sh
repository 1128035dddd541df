#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs the plain Debian packages that the build and the tests need.
#
# Called by `make setup`, again and again: with nothing missing it is silent
# and takes a few milliseconds, so what is there is told by looking at files
# and PATH and never by starting an interpreter.
#
# A person at a terminal is asked first; CI (CI set, or standard input is not a
# terminal) is not.  Without root or apt it names what is missing and the
# command that installs it, and exits with 1.
#
# No mail server may ever be installed from here: test/servers/fetch unpacks
# those under build/.
set -eu

# Another apt may be at work (unattended upgrades): how long to wait for it.
apt_lock_timeout_seconds=300

missing=

need() { missing="$missing $*"; }

has() { command -v "$1" >/dev/null 2>&1; }

# need_command COMMAND PACKAGE...: PACKAGE... bring COMMAND.
need_command() {
    command=$1
    shift
    has "$command" || need "$@"
}

need_command emacs emacs-nox
need_command cc gcc libc6-dev
need_command gpg gnupg
need_command make make
need_command git git
need_command openssl openssl
need_command tmux tmux
need_command dbus-daemon dbus-daemon
need_command makeinfo texinfo
need_command unshare util-linux
need_command ip iproute2
need_command node nodejs
need_command npm npm
# Some tests run functions of the built-in smtpmail from its source, which
# Debian has in a package of its own.
built_in_found=no
for file in /usr/share/emacs/*/lisp/mail/smtpmail.el*; do
    case $file in
    *.el | *.el.gz) [ -e "$file" ] && built_in_found=yes ;;
    esac
done
[ $built_in_found = yes ] || ! [ -x /usr/bin/emacs ] || need emacs-el
# Debian's pip and node trust the system's certificates only.
[ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates

if has pkg-config; then
    pkg-config --exists openssl || need libssl-dev
else
    need pkg-config
    [ -e /usr/include/openssl/ssl.h ] || need libssl-dev
fi

# Debian cuts `ensurepip` out of its Python; without it `python3 -m venv` fails.
# Other Pythons (found first in PATH) are whole.
case $(command -v python3 || true) in
'') need python3 python3-venv ;;
/usr/bin/python3)
    ensurepip_found=no
    for file in /usr/lib/python3*/ensurepip/__main__.py; do
        [ -e "$file" ] && ensurepip_found=yes
    done
    [ $ensurepip_found = yes ] || need python3-venv
    ;;
esac

missing=${missing# }
[ -n "$missing" ] || exit 0

if ! has apt-get; then
    echo "setup: missing: $missing (Debian's names); install them with this system's package manager" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "setup: missing: $missing; run: sudo apt-get install --no-install-recommends $missing" >&2
    exit 1
fi

if [ -t 0 ] && [ -z "${CI:-}" ]; then
    printf 'These Debian packages are needed: %s\nInstall them now? [y/N] ' "$missing"
    answer=
    read -r answer || true
    case $answer in
    [yY] | [yY][eE][sS]) ;;
    *)
        echo "setup: not installed: $missing; run: apt-get install --no-install-recommends $missing" >&2
        exit 1
        ;;
    esac
fi

echo "setup: installing $missing" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# dpkg tells much even when quiet: shown only when it failed.
apt_get() {
    apt-get --quiet=2 -o DPkg::Lock::Timeout="$apt_lock_timeout_seconds" "$@" </dev/null >>"$log" 2>&1
}
# A list that cannot be refreshed (one broken third-party source) need not stop
# an installation from the others.
apt_get update || echo "setup: apt-get update failed; trying with the lists that are here" >&2
# shellcheck disable=SC2086 # a list of words
apt_get install --yes --no-install-recommends $missing || {
    tail -n 20 "$log" >&2
    echo "setup: failed: apt-get install --no-install-recommends $missing" >&2
    exit 1
}
