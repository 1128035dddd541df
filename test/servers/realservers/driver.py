# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one server in a directory until told to stop."""

import json
import os
import secrets
import select
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from . import certificates, namespace, process
from .places import (
    GREYLISTED_RECIPIENT,
    HOST,
    MAILBOX_DIRECTORIES,
    MESSAGE_SIZE_LIMIT_OCTETS,
    REFUSED_RECIPIENT,
    SOURCES,
    USER,
)

# Between our choosing a free port and the server's binding it, another process
# may take it: start again with others.
START_ATTEMPTS = 3


@dataclass
class Started:
    """A server's process, the ports it listens on (kind -> number), how to stop it."""

    process: object
    ports: dict
    version: str
    stop: object


class Run:
    """One run: its directory, certificates and secrets, made anew."""

    def __init__(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise process.StartFailed(f"{directory} is not empty")
        self.directory = directory.resolve()
        # The servers' own users go through it; it holds nothing else.
        self.directory.chmod(0o755)
        self.log = self.directory / "server.log"
        self.password = secrets.token_hex(12)
        self.access_token = secrets.token_hex(24)
        self.certificates = certificates.make(self.directory)
        for name in MAILBOX_DIRECTORIES:
            path = self.directory / name
            path.mkdir()
            if os.geteuid() == 0:
                os.chown(path, namespace.USER_ID_OF_MAILSTORE, 0)
        programs = self.directory / "bin"
        programs.mkdir()
        shutil.copy(SOURCES / "store_message", programs / "store_message")

    def started(self, running, ports, version, stop):
        """Return what a server's `start` returns."""
        return Started(running, ports, version, stop)


def start(server, directory):
    """Start SERVER in DIRECTORY; return (started, description) once it greets."""
    server.require()
    server.fetch()
    run = Run(Path(directory))
    for attempt in range(START_ATTEMPTS):
        started = server.start(run)
        try:
            process.await_greetings(started.process, started.ports, run.certificates.ca, run.log)
            break
        except BaseException as error:
            started.stop()
            if not isinstance(error, process.StartFailed) or attempt == START_ATTEMPTS - 1:
                raise
    return started, _describe(server, run, started)


def run_until_told(server, directory, input_descriptor, announce):
    """Start SERVER, ANNOUNCE its description, stop it at end of input or a signal.

    Return whether it ran until it was told to stop.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        started, description = start(server, directory)
    except _Interrupted:
        return True
    try:
        announce(json.dumps(description))
        return _wait(started.process, input_descriptor)
    except _Interrupted:
        return True
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        started.stop()


class _Interrupted(BaseException):
    """SIGTERM or SIGINT came; not an `Exception`, so that nothing swallows it."""


def _interrupt(_number, _frame):
    raise _Interrupted


def _wait(running, input_descriptor):
    ended = os.pidfd_open(running.pid)
    while True:
        ready, _, _ = select.select([input_descriptor, ended], [], [])
        if ended in ready:
            return False
        if not os.read(input_descriptor, 4096):
            return True


def _describe(server, run, started):
    return {
        "server": server.name,
        "version": started.version,
        "host": HOST,
        "ports": started.ports,
        "ca": str(run.certificates.ca),
        "user": USER,
        "password": run.password,
        "mechanisms": server.mechanisms,
        "access_token": run.access_token if "XOAUTH2" in server.mechanisms else None,
        "size_limit": MESSAGE_SIZE_LIMIT_OCTETS,
        "refused": REFUSED_RECIPIENT,
        "greylisted": GREYLISTED_RECIPIENT,
        "mailbox": str(run.directory / "mail"),
        "envelopes": str(run.directory / "envelopes"),
        "log": str(run.directory / server.log_name),
    }
