#!/bin/sh
# Run the ERT suites with a second Emacs: Debian's backport, unpacked below
# build/ and laid over /usr in a mount namespace of its own.
# usage: SERVER=PROGRAM matrix.sh [FILE...]
set -eu
cd "$(dirname "$0")/.."
root=$PWD
cache=$root/build/emacs-backport
tree=$root/build/matrix

skip() {
    echo "skip: test-matrix: $1"
    [ -z "${SMTPMAIL_NO_SKIP:-}" ] || exit 1
    exit 0
}

[ "$(id -u)" = 0 ] || skip "needs root for a mount namespace"
command -v apt-get >/dev/null || skip "needs apt-get"
unshare -m true 2>/dev/null || skip "no mount namespaces here"

if [ ! -e "$cache/ready" ]; then
    rm -rf "$cache"
    mkdir -p "$cache/lists/partial" "$cache/deb" "$cache/root"
    # The mirror that this machine uses for its own release.
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk -v name="$codename" '$1 == name {print $2; exit}')
    [ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' | head -1)
    [ -n "$mirror" ] || skip "no Debian mirror is configured"
    echo "deb $mirror $codename-backports main" >"$cache/sources.list"
    echo "deb $mirror $codename main" >>"$cache/sources.list"
    options="-o Dir::Etc::sourcelist=$cache/sources.list -o Dir::Etc::sourceparts=/dev/null
             -o Dir::State::lists=$cache/lists -o APT::Sandbox::User=root"
    apt-get $options update -qq || skip "the package lists cannot be had"
    # Its libraries that this machine may lack come along.
    packages=$(apt-cache $options -t "$codename-backports" depends --recurse --no-recommends \
        --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances emacs-nox 2>/dev/null |
        grep -E '^(emacs-|libtree-sitter|libjansson|libgccjit)' | sort -u | grep -v -e -gtk -e -lucid -e -pgtk)
    (cd "$cache/deb" && apt-get $options -t "$codename-backports" download -qq $packages) ||
        skip "the backport of Emacs cannot be had"
    for package in "$cache"/deb/*.deb; do
        dpkg-deb -x "$package" "$cache/root"
    done
    cat >"$cache/emacs" <<EOF
#!/bin/sh
exec unshare -m sh -c 'mount -t overlay overlay -o lowerdir=$cache/root/usr:/usr /usr &&
    exec /usr/bin/emacs-nox "\$@"' sh "\$@"
EOF
    chmod +x "$cache/emacs"
    touch "$cache/ready"
fi

"$cache/emacs" --version | head -1
# A tree of its own: its compiled files are for that Emacs.
rm -rf "$tree"
mkdir -p "$tree/target/release"
git ls-files -z -- lisp test doc Makefile Cargo.toml Cargo.lock src README.org NEWS.org |
    xargs -0 cp --parents -t "$tree"
cp lisp/smtpmail-core.so "$tree/lisp/"
cp "$SERVER" "$tree/target/release/smtpmail-test-server"
cd "$tree"
make -s lisp EMACS="$cache/emacs"
if [ -d "$root/build/package-lint" ]; then
    mkdir -p build
    cp -r "$root/build/package-lint" build/
fi
make -s lint-lisp EMACS="$cache/emacs"
SERVER=target/release/smtpmail-test-server EMACS=$cache/emacs sh test/run-ert.sh "$@"
# Queues written by that Emacs's own smtpmail, and flushed by it.
[ $# -gt 0 ] || (cd "$root" && EMACS=$cache/emacs cargo test --locked --test outbox_builtin)
