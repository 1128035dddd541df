#!/bin/sh
# Have package-lint in build/package-lint: Debian's package of it, unpacked
# there and not installed.
# usage: package-lint.sh
set -eu
cd "$(dirname "$0")/.."
cache=build/package-lint
# Debian 12 has it; the checksum is that of its package lists.
version=0.16-1
sha256=56625629274596b616669082eb7086678c24dcf0bc61fb9dd215bd397cd10ddf

[ -e "$cache/package-lint.el" ] && exit 0

skip() {
    echo "skip: package-lint: $1"
    [ -z "${SMTPMAIL_NO_SKIP:-}" ] || exit 1
    exit 0
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "needs apt-get and dpkg-deb"
rm -rf "$cache.new"
mkdir -p "$cache.new/deb"
(cd "$cache.new/deb" && apt-get -o APT::Sandbox::User="$(id -un)" download -qq "elpa-package-lint=$version") ||
    skip "the package elpa-package-lint $version cannot be had"
for package in "$cache.new"/deb/*.deb; do
    echo "$sha256  $package" | sha256sum -c --quiet || exit 1
    dpkg-deb -x "$package" "$cache.new/root"
done
rm -rf "$cache"
mkdir "$cache"
find "$cache.new/root" -name package-lint.el -exec cp {} "$cache/" \;
# What it knows of the versions of Emacs.
mkdir "$cache/data"
find "$cache.new/root" -name stdlib-changes -exec cp {} "$cache/data/" \;
rm -rf "$cache.new"
