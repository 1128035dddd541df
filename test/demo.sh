#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Send one real message from a real Emacs and show what arrived.
# usage: SERVER=smtpmail-test-server EMACS=emacs demo.sh
#
# Everything happens on this machine, in build/demo, which stays to look at.
# Exits with 1 if anything is not as it should be.  test/demo.el sends and shows;
# here is what it needs: a server, a password, and somebody's init.el.
set -eu
cd "$(dirname "$0")/.."
: "${SERVER:=target/release/smtpmail-test-server}" "${EMACS:=emacs}"
root=$(pwd)
demo=$root/build/demo

say() { printf '\n%s\n' "$*"; }
fail() {
    echo "demo: $*" >&2
    exit 1
}

rm -rf "$demo"
mkdir -p "$demo/home/.emacs.d"

# The server runs until its standard input ends: with this script, however that ends.
mkfifo "$demo/stdin" "$demo/stdout"
password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
"$SERVER" --spool "$demo/spool" --user alice --password "$password" \
    --require-tls --require-auth <"$demo/stdin" >"$demo/stdout" 2>"$demo/server.err" &
server=$!
exec 3>"$demo/stdin"
read -r listening <"$demo/stdout" || fail "the server did not start: $(cat "$demo/server.err")"
port=$(expr "$listening" : '.*"port":\([0-9]*\)') || fail "no port in: $listening"
rm "$demo/stdin" "$demo/stdout"

say "smtpmail: a real message, sent by a real Emacs to a real SMTP server"
say "1. A server waits on localhost, port $port.  It takes mail only by STARTTLS and
   with a login; its certificate and the password were made a moment ago."

(
    umask 077
    echo "machine localhost port $port login alice password $password" >"$demo/authinfo"
)
cat >"$demo/init.el" <<END
(setq send-mail-function 'smtpmail-send-it)
(setq smtpmail-smtp-server "localhost"
      smtpmail-smtp-service $port
      smtpmail-stream-type 'starttls)
(setq user-full-name "Alice" user-mail-address "alice@example.org")
;; Only here: files of the demo, and a trace though nothing failed.
(setq auth-sources '("$demo/authinfo")
      gnutls-trustfiles '("$demo/spool/certs/ca.pem")
      smtpmail-debug-info t)
END
say "2. Emacs is told where it is, in build/demo/init.el:"
sed 's/^/     /' "$demo/init.el"
echo "   and the password is in build/demo/authinfo, as in anybody's ~/.authinfo."

status=0
HOME=$demo/home XDG_CONFIG_HOME=$demo/home/.config LC_ALL=C.UTF-8 \
    "$EMACS" -Q --batch -L "$root/lisp" --eval '(setq load-prefer-newer t)' \
    -l "$demo/init.el" -l "$root/test/demo.el" -f smtpmail-demo "$demo/spool" \
    3>&- || status=$?

exec 3>&-
wait "$server" || fail "the server failed: $(cat "$demo/server.err")"

if [ $status -ne 0 ]; then
    say "Not everything is as it should be (see above)."
    exit 1
fi
say "Everything is as it should be.  The server has ended; build/demo has all files.
To send your own mail like this, put the first lines of step 2 into your init
file, with your own server, behind the line that \`make install' prints."
