# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong between Emacs and Postfix, at random: the line, and the answers.

`Line` is a relay of TCP in front of one port: it cuts, resets, delays and stalls
connections, loses replies, and lets nobody in for a while.  `Policy` speaks Postfix's
policy delegation (SMTPD_POLICY_README): it says 4yz now and then and to recipients
called grey* when it first sees them, and 550 to those called refused*.
"""

import asyncio
import random
import socket
import struct

HOST = "127.0.0.1"

# Octets from the client, on the average, until a connection meets its fault: that is
# once in some messages, but of so many of a hundred connections at their beginning.
MEAN_OCTETS_TO_FAULT = 150_000
EARLY_PERCENT = 25
MEAN_OCTETS_TO_EARLY_FAULT = 800
# Longer than the client's time limit.
STALL_SECONDS = 60
LONGEST_DELAY_SECONDS = 2
BLOCK_OCTETS = 4096
# Linux: SO_LINGER with zero seconds makes close() send RST.
_RESET = struct.pack("ii", 1, 0)


class Line:
    """A relay to the port TARGET; COUNTS gets how often each fault was met."""

    # A reply is lost when the connection ends after what it answers went through.
    KINDS = ["cut", "cut", "reset", "reply lost", "delay", "delay", "stall"]

    def __init__(self, target, counts, seed):
        self.target, self.counts, self.chance = target, counts, random.Random(seed)
        self.calm = self.down = False
        self.port = None
        self.connections = 0

    async def open(self):
        """Listen; the port is in `port` from then on."""
        listener = await asyncio.start_server(self._serve, HOST, 0)
        self.port = listener.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            if self.down:
                raise ConnectionError
            up_reader, up_writer = await asyncio.open_connection(HOST, self.target)
        except OSError:
            _reset(writer)
            return
        connection = _Connection(self, writer, up_writer)
        both = [
            asyncio.ensure_future(connection.upwards(reader)),
            asyncio.ensure_future(connection.downwards(up_reader)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not connection.broken:
                # What is still on its way arrives.
                await asyncio.wait(both, timeout=0.5)
        except asyncio.CancelledError:
            # The soak is over.
            pass
        for one in both:
            one.cancel()
        writer.close()
        up_writer.close()


class _Connection:
    """One connection over a line, with the fault it may meet."""

    def __init__(self, line, client, server):
        self.line, self.client, self.server = line, client, server
        self.chance = line.chance
        self.fault = self.chance.choice(line.KINDS)
        early = self.chance.randrange(100) < EARLY_PERCENT
        mean = MEAN_OCTETS_TO_EARLY_FAULT if early else MEAN_OCTETS_TO_FAULT
        self.left = self.chance.expovariate(1 / mean)
        self.broken = self.mute = False

    async def upwards(self, reader):
        """Copy from the client until one of them ends or the fault ends it all."""
        try:
            while octets := await reader.read(BLOCK_OCTETS):
                self.left -= len(octets)
                if self.fault and self.left < 0 and not self.line.calm:
                    octets = await self._meet(octets)
                if octets is None or self.line.down:
                    self.broken = True
                    return
                self.server.write(octets)
                await self.server.drain()
        except OSError:
            pass

    async def _meet(self, octets):
        """Do what the fault is; return what goes on of OCTETS, or None for the end."""
        fault, self.fault = self.fault, None
        self.line.counts[fault] += 1
        if fault == "delay":
            await asyncio.sleep(LONGEST_DELAY_SECONDS * self.chance.random())
            return octets
        if fault == "stall":
            await asyncio.sleep(STALL_SECONDS)
            return None
        self.mute = fault == "reply lost"
        part = octets if self.mute else octets[: self.chance.randrange(len(octets))]
        self.server.write(part)
        await self.server.drain()
        if self.mute:
            # Time for the server to do it.
            await asyncio.sleep(0.3)
        if fault == "reset":
            _reset(self.client)
        return None

    async def downwards(self, reader):
        """Copy from the server."""
        try:
            while octets := await reader.read(BLOCK_OCTETS):
                if not self.mute:
                    self.client.write(octets)
                    await self.client.drain()
        except OSError:
            pass


def _reset(writer):
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


class Policy:
    """The answers for which Postfix asks; COUNTS gets how often each was not yes."""

    # Of a thousand recipients, and of a thousand texts.
    ANSWERS = [(8, "451 4.3.0 Not now"), (2, "421 4.3.2 Going down")]
    ANSWERS_AT_THE_END = [(10, "451 4.3.0 Not now, after all")]

    def __init__(self, counts, seed):
        self.counts, self.chance = counts, random.Random(seed)
        self.calm = False
        self.seen = set()
        self.port = None

    async def open(self):
        """Listen; the port is in `port` from then on."""
        listener = await asyncio.start_server(self._serve, HOST, 0)
        self.port = listener.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        try:
            while question := await _read_question(reader):
                writer.write(f"action={self._answer(question)}\n\n".encode())
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def _answer(self, question):
        if question["protocol_state"] == "END-OF-MESSAGE":
            return self._draw(self.ANSWERS_AT_THE_END, " at the end of a text")
        recipient = question["recipient"]
        if recipient.startswith("refused"):
            self.counts["550"] += 1
            return "550 5.1.1 No such mailbox here"
        if recipient.startswith("grey") and recipient not in self.seen:
            self.seen.add(recipient)
            self.counts["450"] += 1
            return "450 4.2.0 Greylisted, come back later"
        return self._draw(self.ANSWERS, "")

    def _draw(self, answers, where):
        draw = self.chance.randrange(1000)
        for share, answer in answers:
            if draw < share and not self.calm:
                self.counts[answer[:3] + where] += 1
                return answer
            draw -= share
        return "DUNNO"


async def _read_question(reader):
    """Return the next question, a dictionary; empty at the end."""
    question = {}
    while line := (await reader.readline()).decode("utf-8", "replace").rstrip("\n"):
        name, _, value = line.partition("=")
        question[name] = value
    return question
