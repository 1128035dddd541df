# SPDX-License-Identifier: GPL-3.0-or-later
"""aiosmtpd as the tests run it: STARTTLS, implicit TLS, AUTH LOGIN PLAIN, SMTPUTF8.

usage: aiosmtpd_server.py SETTINGS

SETTINGS is a JSON file that realservers/ writes.  Prints one line of JSON with the
version and the ports, and runs until standard input ends or SIGTERM comes.
"""

import asyncio
import hmac
import itertools
import json
import os
import signal
import ssl
import sys
import time
from pathlib import Path

import aiosmtpd
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Store:
    """Accepts for one domain, and keeps each message and its envelope as it came."""

    def __init__(self, settings):
        self.domain = settings["domain"].lower()
        self.replies = settings["replies"]
        self.directory = Path(settings["directory"])
        self.arrivals = itertools.count()

    async def handle_RCPT(self, _server, session, envelope, address, options):
        reply = self.replies.get(address.lower())
        if reply is not None:
            return reply
        if not session.authenticated and not address.lower().endswith("@" + self.domain):
            return "554 5.7.1 Relay access denied"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Recipient taken"

    async def handle_DATA(self, _server, _session, envelope):
        name = f"{time.time_ns()}-{next(self.arrivals)}"
        addresses = [envelope.mail_from or "", *envelope.rcpt_tos]
        (self.directory / "envelopes" / name).write_text("\n".join(addresses) + "\n", "utf-8")
        incoming = self.directory / "incoming" / name
        incoming.write_bytes(envelope.content)
        # The name comes last: who sees the message sees all of it.
        incoming.rename(self.directory / "mail" / name)
        return f"250 2.0.0 Kept as {name}"


def authenticator(settings):
    expected = (settings["user"].encode(), settings["password"].encode())

    def authenticate(_server, _session, _envelope, _mechanism, offered):
        right = isinstance(offered, LoginPassword) and all(
            hmac.compare_digest(a, b)
            for a, b in zip(expected, (offered.login, offered.password))
        )
        # Unhandled: aiosmtpd itself gives the 535.
        return AuthResult(success=right, handled=False)

    return authenticate


async def serve(settings):
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["chain"], settings["key"])
    store = Store(settings)
    common = {
        "data_size_limit": settings["size_limit"],
        "enable_SMTPUTF8": True,
        "hostname": settings["hostname"],
        "ident": "ESMTP aiosmtpd",
        "timeout": 120,
    }
    login = {"authenticator": authenticator(settings), "auth_required": True}
    listeners = {
        "plain": (lambda: SMTP(store, **common), None),
        "starttls": (
            lambda: SMTP(store, tls_context=context, require_starttls=True, **login, **common),
            None,
        ),
        # aiosmtpd knows of TLS only when it began it itself.
        "ssl": (lambda: SMTP(store, auth_require_tls=False, **login, **common), context),
    }
    ports = {}
    for kind, (factory, tls) in listeners.items():
        server = await loop.create_server(factory, settings["host"], 0, ssl=tls)
        ports[kind] = server.sockets[0].getsockname()[1]

    told_to_stop = loop.create_future()

    def stop():
        if not told_to_stop.done():
            told_to_stop.set_result(None)

    def read_input():
        if not os.read(sys.stdin.fileno(), 4096):
            stop()

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_reader(sys.stdin.fileno(), read_input)
    print(json.dumps({"version": aiosmtpd.__version__, "ports": ports}), flush=True)
    await told_to_stop


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
