# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are a library and a program of ours: they bind port 0 themselves.

The program gets a JSON file of settings and prints one line of JSON with its
version and ports.
"""

import json
import signal

from . import process
from .places import (
    GREYLISTED_RECIPIENT,
    HOST,
    MAIL_DOMAIN,
    MESSAGE_SIZE_LIMIT_OCTETS,
    REFUSED_RECIPIENT,
    SERVER_HOSTNAME,
    USER,
)


def start(run, command, environment):
    """Start COMMAND with the settings of RUN; return what it started."""
    settings = run.directory / "settings.json"
    settings.touch(mode=0o600)
    settings.write_text(
        json.dumps(
            {
                "host": HOST,
                "hostname": SERVER_HOSTNAME,
                "domain": MAIL_DOMAIN,
                "user": USER,
                "password": run.password,
                "access_token": run.access_token,
                "chain": str(run.certificates.chain),
                "key": str(run.certificates.key),
                "directory": str(run.directory),
                "size_limit": MESSAGE_SIZE_LIMIT_OCTETS,
                "replies": {
                    REFUSED_RECIPIENT: "550 5.1.1 No such mailbox here",
                    GREYLISTED_RECIPIENT: "450 4.2.0 Greylisted, come back later",
                },
            }
        )
    )
    running, announced = process.start_announced([*command, settings], run.log, environment)
    return run.started(
        running,
        announced["ports"],
        announced["version"],
        lambda: process.stop(running, signal.SIGTERM),
    )
