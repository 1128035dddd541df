# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are, and what each server is told to do.

Only names and values; nothing here starts or writes anything.
"""

from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent
BUILD = SOURCES.parent.parent / "build" / "servers"

HOST = "127.0.0.1"
# What the servers call themselves in greetings and in Received fields, by which
# read_mail.py knows the fields that they added.
SERVER_HOSTNAME = "mx.example.org"
# In a run's directory: whole messages, their envelopes, messages being written.
MAILBOX_DIRECTORIES = ("mail", "envelopes", "incoming")
MAIL_DOMAIN = "example.org"
USER = "alice"

# Every recipient in MAIL_DOMAIN is accepted but these.
REFUSED_RECIPIENT = "refused@example.org"  # 550 5.1.1
GREYLISTED_RECIPIENT = "greylisted@example.org"  # 450 4.2.0
# Postfix only: what comes from here is refused when its text is there, with 451.
REFUSED_TEXT_SENDER = "late@example.org"

# Above 25 MiB in base64 (34 MB), below what would make a test of the limit slow.
MESSAGE_SIZE_LIMIT_OCTETS = 60_000_000


class CannotRun(Exception):
    """This server cannot run here; the text says why, in one line."""
