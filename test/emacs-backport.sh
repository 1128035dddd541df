#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Unpack the Emacs of Debian's backports below build/, never installed, and print
# the program that runs it.  No privileges and no namespaces: Emacs is told by its
# environment where its files are.
#
# Exits with 77 and "skip: REASON" on standard error where it cannot be had.
set -eu
cd "$(dirname "$0")/.."
cache=$PWD/build/emacs-backport
# Changes with what this file writes, so that an older one is made anew.
stamp=$cache/ready-2
program=$cache/root/usr/bin/emacs-backport

skip() {
    echo "skip: $1" >&2
    exit 77
}

if [ -e "$stamp" ]; then
    echo "$program"
    exit 0
fi

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "needs apt-get and dpkg-deb"
rm -rf "$cache"
mkdir -p "$cache/lists/partial" "$cache/archives/partial" "$cache/deb" "$cache/root"

# The mirror that this machine uses for its own release.
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v name="$codename" '$1 == name {print $2; exit}')
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' | head -1)
[ -n "$mirror" ] || skip "no Debian mirror is configured"
printf 'deb %s %s main\n' "$mirror" "$codename-backports" "$mirror" "$codename" >"$cache/sources.list"

# Lists and caches of its own: the machine's stay as they are, and nobody needs root.
apt() {
    tool=$1
    shift
    "$tool" -qq -o Dir::Etc::sourcelist="$cache/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$cache/lists" -o Dir::Cache="$cache/archives" \
        -o Dir::Cache::archives="$cache/archives" -o APT::Sandbox::User= -o Debug::NoLocking=true "$@"
}
log=$cache/log
apt apt-get update >"$log" 2>&1 || skip "the package lists cannot be had: $(tail -1 "$log")"

# emacs-el: some tests read the sources.  Of what these depend on, only what this machine lacks
# (apt's own resolver tells); emacs-common's other needs are scripts of its installation.
packages="emacs-nox emacs-common emacs-bin-common emacs-el"
missing=$(apt apt-get --simulate --no-install-recommends -t "$codename-backports" install $packages 2>"$log" |
    awk '$1 == "Inst" && $2 ~ /^lib/ {print $2}') || skip "no such packages: $(tail -1 "$log")"
(cd "$cache/deb" && apt apt-get -t "$codename-backports" download $packages $missing) >"$log" 2>&1 ||
    skip "the packages cannot be had: $(tail -1 "$log")"
for package in "$cache"/deb/*.deb; do
    dpkg-deb -x "$package" "$cache/root"
done
rm -rf "$cache/deb" "$cache/archives"

share=$(echo "$cache"/root/usr/share/emacs/[0-9]*)
version=${share##*/}
libraries=$(echo "$cache"/root/usr/lib/*-linux-*)
private=$(echo "$cache/root/usr/libexec/emacs/$version"/*)
dump=$(echo "$private"/*.pdmp)
[ -e "$dump" ] || skip "the packages are not laid out as expected"
load_path=$(find "$share/lisp" -type d ! -name obsolete | sort | paste -sd :)
# Under this program's name, so that an Emacs which starts another one starts it by
# this program too.  ("exec -a" is Bash's.)
cat >"$program" <<END
#!/bin/bash
own='$load_path'
# Behind the directories that whoever starts it wants first, which may name it already.
case ":\${EMACSLOADPATH-}:" in
    *":\$own:"*) ;;
    *) EMACSLOADPATH=\${EMACSLOADPATH:+\${EMACSLOADPATH%:}:}\$own ;;
esac
export EMACSLOADPATH
export EMACSDATA='$share/etc' EMACSDOC='$share/etc' EMACSPATH='$private'
export LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
exec -a "\$0" '$cache/root/usr/bin/emacs-nox' --dump-file='$dump' "\$@"
END
chmod +x "$program"
"$program" -Q --batch --eval '(require (quote message))' >"$log" 2>&1 ||
    skip "it does not run: $(tail -1 "$log")"
touch "$stamp"
echo "$program"
