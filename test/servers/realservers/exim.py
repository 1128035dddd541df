# SPDX-License-Identifier: GPL-3.0-or-later
"""Exim 4: a greeting of several lines, enforced synchronisation, CHUNKING."""

import os

from . import debian, namespace, process
from .namespace import ROOT, STATE
from .places import (
    GREYLISTED_RECIPIENT,
    MAILBOX_DIRECTORIES,
    MESSAGE_SIZE_LIMIT_OCTETS,
    REFUSED_RECIPIENT,
    SERVER_HOSTNAME,
    SOURCES,
    USER,
)

_PACKAGES = ["exim4-daemon-light", "exim4-base"]


class Exim:
    """One Exim daemon in its own namespace."""

    name = "exim"
    mechanisms = ["PLAIN", "LOGIN", "CRAM-MD5"]
    # Exim wants "%s" in the name (main, reject, panic).
    log_name = "exim-main.log"

    def require(self):
        """Raise `CannotRun` where the machine forbids what it needs."""
        namespace.require()

    def fetch(self):
        """Unpack the packages once; return where."""
        return debian.unpack("root-exim", _PACKAGES)

    def start(self, run):
        """Start Exim for RUN; return the started server."""
        inside = namespace.Namespace(self.fetch(), run.directory, run.log)
        ports = dict(zip(("plain", "starttls", "ssl"), process.free_ports(3)))
        _write_configuration(run, ports)
        _make_directories(run)
        program = [ROOT / "usr/sbin/exim4", "-C", STATE / "etc" / "exim.conf"]
        # "Exim version 4.96 #2 built ..."
        version = inside.run([*program, "-bV"], namespace.ENVIRONMENT).split()[2]
        running = inside.start([*program, "-bdf", "-q30m"], namespace.ENVIRONMENT)
        return run.started(running, ports, version, inside.stop)


def _write_configuration(run, ports):
    words = {
        **ports,
        "hostname": SERVER_HOSTNAME,
        "size_limit": MESSAGE_SIZE_LIMIT_OCTETS,
        "refused": REFUSED_RECIPIENT,
        "greylisted": GREYLISTED_RECIPIENT,
        "user": USER,
        "password": run.password,
    }
    configuration = (SOURCES / "exim" / "exim.conf").read_text()
    for word, value in words.items():
        configuration = configuration.replace(f"@{word}@", str(value))
    (run.directory / "etc" / "exim.conf").write_text(configuration)


def _make_directories(run):
    spool = run.directory / "spool"
    spool.mkdir(exist_ok=True)
    # Exim does all but listen as its own user.
    logs = [run.directory / f"exim-{kind}.log" for kind in ("main", "reject", "panic")]
    for log in logs:
        log.touch()
    mailbox = [run.directory / name for name in MAILBOX_DIRECTORIES]
    for path in (spool, run.certificates.key, *logs, *mailbox):
        os.chown(path, namespace.USER_ID_OF_EXIM, namespace.USER_ID_OF_EXIM)
