# SPDX-License-Identifier: GPL-3.0-or-later
"""sendmail: VERB with its `050` lines, AUTH announced before TLS and after it."""

import os

from . import debian, namespace, process
from .namespace import ROOT, STATE
from .places import (
    GREYLISTED_RECIPIENT,
    MAIL_DOMAIN,
    MESSAGE_SIZE_LIMIT_OCTETS,
    REFUSED_RECIPIENT,
    SERVER_HOSTNAME,
    SOURCES,
    USER,
)

_PACKAGES = [
    "sendmail-bin", "sendmail-cf", "m4", "sasl2-bin", "libsasl2-2", "libsasl2-modules",
    "libsasl2-modules-db",
]  # fmt: skip

_MACROS = ROOT / "usr/share/sendmail/cf"
_PROGRAM = ROOT / "usr/libexec/sendmail/sendmail"

# It waits a minute for this machine's name to get a domain, whatever it is told to
# call itself: inside, the machine has the server's name, and nobody is asked for it.
_NAMED = r"""
set -eu
hostname "$1"
shift
mount --bind /mnt/state/etc/hosts /etc/hosts
mount --bind /mnt/state/etc/nsswitch.conf /etc/nsswitch.conf
exec "$@"
"""


class Sendmail:
    """One sendmail daemon in its own namespace."""

    name = "sendmail"
    mechanisms = ["CRAM-MD5", "LOGIN", "PLAIN"]
    log_name = "server.log"

    def require(self):
        """Raise `CannotRun` where the machine forbids what it needs."""
        namespace.require()

    def fetch(self):
        """Unpack the packages once; return where."""
        return debian.unpack("root-sendmail", _PACKAGES)

    def start(self, run):
        """Start sendmail for RUN; return the started server."""
        root = self.fetch()
        inside = namespace.Namespace(root, run.directory, run.log)
        ports = dict(zip(("plain", "starttls", "ssl"), process.free_ports(3)))
        _write_configuration(run, root, ports, inside)
        _make_directories(run)
        namespace.make_sasl_user(inside, namespace.ENVIRONMENT, run, SERVER_HOSTNAME, USER)
        configuration = STATE / "etc" / "sendmail.cf"
        program = ["unshare", "--uts", "sh", "-c", _NAMED, "sh", SERVER_HOSTNAME]
        program += [_PROGRAM, f"-C{configuration}"]
        # "Version 8.17.1.9", then a prompt for what to test: there is nothing.
        version = inside.run([*program, "-d0.1", "-bt"], namespace.ENVIRONMENT).split()[1]
        # -bD: stay in the foreground.
        command = [*program, "-bD", "-q30m"]
        running = inside.start(command, namespace.ENVIRONMENT)
        return run.started(running, ports, version, inside.stop)


def _write_configuration(run, root, ports, inside):
    plugins = [str(ROOT / path.relative_to(root)) for path in root.glob("usr/lib/*/sasl2")]
    words = {
        **ports,
        "hostname": SERVER_HOSTNAME,
        "domain": MAIL_DOMAIN,
        "size_limit": MESSAGE_SIZE_LIMIT_OCTETS,
        "refused_left": REFUSED_RECIPIENT.split("@")[0],
        "greylisted_left": GREYLISTED_RECIPIENT.split("@")[0],
        "plugins": ":".join(plugins),
    }
    macros = (SOURCES / "sendmail" / "sendmail.mc").read_text()
    for word, value in words.items():
        macros = macros.replace(f"@{word}@", str(value))
    etc = run.directory / "etc"
    (etc / "sendmail.mc").write_text(macros)
    expanded = inside.run(
        [
            ROOT / "usr/bin/m4", f"-D_CF_DIR_={_MACROS}/", _MACROS / "m4" / "cf.m4",
            STATE / "etc" / "sendmail.mc",
        ],
        namespace.ENVIRONMENT,
    )  # fmt: skip
    (etc / "sendmail.cf").write_text(expanded)
    (etc / "hosts").write_text(f"127.0.0.1 {SERVER_HOSTNAME} localhost\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (etc / "service.switch").write_text("hosts files\n")
    sasl = etc / "sasl"
    sasl.mkdir(exist_ok=True)
    (sasl / "Sendmail.conf").write_text(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: /mnt/state/etc/sasldb2\n"
    )


def _make_directories(run):
    queue = run.directory / "queue"
    queue.mkdir(exist_ok=True)
    queue.chmod(0o700)
    # It refuses keys that others could read.
    os.chmod(run.certificates.key, 0o600)
