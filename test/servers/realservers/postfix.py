# SPDX-License-Identifier: GPL-3.0-or-later
"""Postfix: the reference.  CHUNKING, SMTPUTF8, DSN, SASL by Cyrus (SCRAM too)."""

import os
import re
import shutil

from . import debian, namespace, process
from .namespace import ROOT, STATE
from .places import (
    GREYLISTED_RECIPIENT,
    MESSAGE_SIZE_LIMIT_OCTETS,
    REFUSED_RECIPIENT,
    REFUSED_TEXT_SENDER,
    SERVER_HOSTNAME,
    SOURCES,
    USER,
)

_PACKAGES = [
    "postfix", "sasl2-bin", "libsasl2-2", "libsasl2-modules", "libsasl2-modules-db",
]  # fmt: skip

# postfix(1) would make these at its first start; master(8) wants them there.
_QUEUES = [
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
    "private", "saved", "trace",
]  # fmt: skip


class Postfix:
    """One instance of Postfix in its own namespace."""

    name = "postfix"
    mechanisms = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"]
    log_name = "server.log"

    def fetch(self):
        """Unpack the packages once; return where."""
        return debian.unpack("root-postfix", _PACKAGES)

    def require(self):
        """Raise `CannotRun` where the machine forbids what it needs."""
        namespace.require()

    def start(self, run, ports=None, settings=None):
        """Start Postfix for RUN; return the started server.

        PORTS (kind -> number) are those of an earlier start, which it goes on from;
        SETTINGS (name -> value) are more of main.cf, or instead.
        """
        root = self.fetch()
        inside = namespace.Namespace(root, run.directory, run.log)
        ports = ports or dict(zip(("plain", "starttls", "ssl"), process.free_ports(3)))
        plugins = [ROOT / path.relative_to(root) for path in root.glob("usr/lib/*/sasl2")]
        environment = {**namespace.ENVIRONMENT, "SASL_PATH": ":".join(map(str, plugins))}
        _write_configuration(run, ports, settings or {})
        _make_directories(run.directory)
        database = namespace.make_sasl_user(inside, environment, run, SERVER_HOSTNAME, USER)
        # smtpd reads it after it has given up root.
        os.chown(database, namespace.USER_ID_OF_POSTFIX, 0)
        version = inside.run(
            [ROOT / "usr/sbin/postconf", "-c", STATE / "etc", "-h", "mail_version"], environment
        ).strip()
        master = ROOT / "usr/lib/postfix/sbin/master"
        # -d: stay in the foreground.
        running = inside.start([master, "-d", "-c", STATE / "etc"], environment)
        return run.started(running, ports, version, inside.stop)


def _write_configuration(run, ports, settings):
    etc = run.directory / "etc"
    etc.mkdir(exist_ok=True)
    sources = SOURCES / "postfix"
    text = (sources / "main.cf").read_text()
    for name in settings:
        # A name twice is a warning, of every process; postlogd, which writes them
        # down, then waits for itself.
        text = re.sub(rf"^{name} *=.*\n([ \t].*\n)*", "", text, flags=re.M)
    (etc / "main.cf").write_text(
        text
        + f"\nmyhostname = {SERVER_HOSTNAME}\n"
        + f"message_size_limit = {MESSAGE_SIZE_LIMIT_OCTETS}\n"
        + f"smtpd_sasl_local_domain = {SERVER_HOSTNAME}\n"
        + "".join(f"{name} = {value}\n" for name, value in settings.items())
    )
    services = (sources / "master.cf").read_text()
    for kind, port in ports.items():
        services = services.replace(f"@{kind}@", str(port))
    (etc / "master.cf").write_text(services)
    (etc / "recipient_access").write_text(
        f"{REFUSED_RECIPIENT} 550 5.1.1 No such mailbox here\n"
        f"{GREYLISTED_RECIPIENT} 450 4.2.0 Greylisted, come back later\n"
    )
    (etc / "sender_access").write_text(
        f"{REFUSED_TEXT_SENDER} 451 4.3.0 Not now, after all\n"
    )
    # Debian's patch: the library looks in `sasl` beside main.cf.
    (etc / "sasl").mkdir(exist_ok=True)
    shutil.copy(sources / "smtpd.conf", etc / "sasl" / "smtpd.conf")


def _make_directories(directory):
    queue = directory / "queue"
    for name in _QUEUES:
        path = queue / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
        os.chown(path, namespace.USER_ID_OF_POSTFIX, 0)
    (queue / "pid").mkdir(exist_ok=True)
    # Group postdrop: local submission and wake-up, which need not be closed to it.
    for name, mode in (("public", 0o710), ("maildrop", 0o730)):
        path = queue / name
        path.mkdir(exist_ok=True)
        os.chown(path, namespace.USER_ID_OF_POSTFIX, namespace.GROUP_ID_OF_POSTDROP)
        path.chmod(mode)
    data = directory / "data"
    data.mkdir(exist_ok=True)
    data.chmod(0o700)
    os.chown(data, namespace.USER_ID_OF_POSTFIX, 0)
