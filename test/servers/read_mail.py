#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""usage: read_mail.py FILE

Write to standard output the message in FILE as its sender gave it, so that bytes can
be compared:

  * the Received field that our Postfix, Exim or sendmail put on top is taken away.  Only
    leading Received fields with "by mx.example.org" are; the sender's own stay.
    (No server here adds Return-Path, Delivered-To or X-Original-To.)
  * CR LF becomes LF.  Postfix, Exim and sendmail keep LF line ends, the others CR LF.  A CR
    that no LF follows stays.

Nothing else changes; what still differs, the sender or the server changed.
"""

import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from realservers.places import SERVER_HOSTNAME  # noqa: E402

# A field goes on over the lines that begin with white space (RFC 5322 §2.2.3).
_LEADING_RECEIVED = re.compile(rb"Received:[^\n]*\n(?:[ \t][^\n]*\n)*")
_OUR_BY_CLAUSE = re.compile(rb"\sby " + re.escape(SERVER_HOSTNAME.encode()) + rb"\s")


def as_sent(stored):
    """Return STORED (bytes) without our servers' trace fields, with LF line ends."""
    message = stored.replace(b"\r\n", b"\n")
    while True:
        field = _LEADING_RECEIVED.match(message)
        if field is None or not _OUR_BY_CLAUSE.search(field.group()):
            return message
        message = message[field.end() :]


def read_mail(file):
    """Return the message in FILE as its sender gave it."""
    return as_sent(Path(file).read_bytes())


def read_envelope(description, name):
    """Return (reverse-path, recipients) of the message called NAME in the mailbox."""
    lines = (Path(description["envelopes"]) / name).read_text("utf-8").splitlines()
    return lines[0], lines[1:]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: read_mail.py FILE")
    sys.stdout.buffer.write(read_mail(sys.argv[1]))
