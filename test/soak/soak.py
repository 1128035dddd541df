#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""usage: soak.py [--messages N] [--seed TEXT] [--keep]

Send N (10,000) messages of mixed kinds in the background, from an Emacs in a terminal
to real Postfix, while connections break and stall, the server says 4yz, ends and comes
back, and Emacs is stopped for a while or killed.  Then account for each message and
each recipient: once in Postfix's hands, or in the outbox in the state that its fate
calls for.  Memory and descriptors of the Emacs that lived longest must stay.

EMACS is the Emacs.  Exit codes: 0 all accounted for; 1 not; 77 cannot run here.
"""

import argparse
import asyncio
import collections
import fcntl
import json
import os
import pty
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "test" / "servers"))

import accounts  # noqa: E402
import faults  # noqa: E402
from realservers import driver, process  # noqa: E402
from realservers.places import CannotRun  # noqa: E402
from realservers.postfix import Postfix  # noqa: E402

EMACS = os.environ.get("EMACS", "emacs")
# The lives of Emacs: the first half of all messages is sent by one of them.
LONG_LIFE = 0.5
MESSAGES_OF_A_SHORT_LIFE = 500
# Seconds between two events of a kind, on the average.
PAUSES = {"server": 120, "outage": 60, "stop": 90}
SERVER_AWAY_SECONDS = 4
OUTAGE_SECONDS = 5
# Longer than the client's time limit.
STOPPED_SECONDS = 8
SAMPLE_SECONDS = 2
# No journal line for so long: something hangs.
PATIENCE_SECONDS = 300
# What of a life is left out: what an Emacs loads and caches at first.
WARM_UP = 0.2
# A shorter life shows nothing but its caches.
LEAST_MESSAGES = 2000
# A leak of 1 KiB a message would be 4 MiB and more in the long life.
MEMORY_SLACK_KIB = 4096
DESCRIPTORS_SLACK = 3


class Emacs:
    """An Emacs in a pseudo terminal, which does what the job says."""

    def __init__(self, soak, first):
        job = soak.directory / "job.el"
        job.write_text(soak.job(first))
        command = [EMACS, "-nw", "-Q",
                   "--eval", "(setq load-prefer-newer t native-comp-deferred-compilation nil)",
                   "-L", soak.lisp, "-l", ROOT / "test/soak/soak.el", "-l", job]  # fmt: skip
        environment = {**os.environ, "HOME": str(soak.directory / "home"), "TERM": "screen",
                       "LC_ALL": "C.UTF-8"}  # fmt: skip
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(EMACS, [str(word) for word in command], environment)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.screen = b""
        asyncio.get_running_loop().add_reader(self.terminal, self._read)
        self.samples = []
        self.notes = soak.directory / "samples"

    def _read(self):
        try:
            self.screen = (self.screen + os.read(self.terminal, 65536))[-4000:]
        except OSError:
            asyncio.get_running_loop().remove_reader(self.terminal)

    def signal(self, number):
        os.kill(self.pid, number)

    def sample(self, messages):
        """Note memory (KiB), descriptors and threads, after MESSAGES of all."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        numbers = dict(re.findall(r"^(VmRSS|Threads):\s*(\d+)", status, re.M))
        descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        self.samples.append((messages, int(numbers["VmRSS"]), descriptors,
                             int(numbers["Threads"])))  # fmt: skip
        with open(self.notes, "a") as notes:
            print(self.pid, *self.samples[-1], file=notes)

    async def end(self):
        """Kill it, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, self.pid, 0)
        asyncio.get_running_loop().remove_reader(self.terminal)
        os.close(self.terminal)


class Soak:
    def __init__(self, directory, messages, seed):
        self.directory, self.messages = directory, messages
        self.chance = random.Random(seed)
        self.seed = seed
        self.counts = collections.Counter()
        self.lives = []
        self.emacs = None
        self.started = None
        self.journal = accounts.Journal(directory / "journal")
        (directory / "home").mkdir()
        # Who works on the Lisp meanwhile changes nothing here.
        self.lisp = directory / "lisp"
        shutil.copytree(ROOT / "lisp", self.lisp)
        (directory / "octets").write_bytes(self.chance.randbytes(20_000))

    # The server, and what is between.

    async def start_server(self):
        postfix = Postfix()
        postfix.require()
        self.policy = faults.Policy(self.counts, self.seed)
        await self.policy.open()
        asked = f"check_policy_service inet:{faults.HOST}:{self.policy.port}"
        self.settings = {
            # A queue id for ever, by which a second acceptance shows.
            "enable_long_queue_ids": "yes",
            "smtpd_recipient_restrictions": f"{asked}, reject_unauth_destination",
            "submission_recipient_restrictions":
                f"{asked}, permit_sasl_authenticated, reject",
            "smtpd_end_of_data_restrictions": asked,
            "smtpd_policy_service_default_action": "550 5.9.9 The soak's own policy failed",
        }
        self.run = await asyncio.to_thread(driver.Run, self.directory / "postfix")
        self.postfix = await self.start_postfix(None)
        self.lines = {}
        for kind, port in self.postfix.ports.items():
            line = faults.Line(port, self.counts, f"{self.seed} {kind}")
            await line.open()
            self.lines[kind] = line

    async def start_postfix(self, ports):
        started = await asyncio.to_thread(Postfix().start, self.run, ports, self.settings)
        await asyncio.to_thread(process.await_greetings, started.process, started.ports,
                                self.run.certificates.ca, self.run.log)  # fmt: skip
        return started

    def job(self, first):
        ports = {kind: line.port for kind, line in self.lines.items()}
        authinfo = self.directory / "authinfo"
        authinfo.write_text("".join(
            f"machine localhost port {ports[kind]} login alice password {self.run.password}\n"
            for kind in ("starttls", "ssl")))  # fmt: skip
        table = " ".join(
            f'("{address}" :name "{kind}" :server "localhost" :service {ports[kind]}'
            f" :security {kind})"
            for address, kind in (("alice@example.org", "plain"), ("alice@tls.example", "ssl"),
                                  ("alice@starttls.example", "starttls")))  # fmt: skip
        return (
            f'(soak-start \'(:directory "{self.directory}/" :next {first} :last {self.messages}\n'
            f'  :octets "{self.directory}/octets" :ca "{self.run.certificates.ca}"\n'
            f'  :authinfo "{authinfo}" :accounts ({table})))\n'
        )

    # What happens to all of them.

    async def every(self, kind, event):
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / PAUSES[kind]))
            await event()
            self.counts[kind] += 1

    async def restart_server(self):
        # Killed as by a crash: the kernel ends all in its namespace.
        await asyncio.to_thread(self.postfix.stop)
        await asyncio.sleep(SERVER_AWAY_SECONDS * self.chance.random())
        self.postfix = await self.start_postfix(self.postfix.ports)

    async def outage(self):
        for line in self.lines.values():
            line.down = True
        await asyncio.sleep(OUTAGE_SECONDS)
        for line in self.lines.values():
            line.down = False

    async def stop_emacs(self):
        emacs = self.emacs
        emacs.signal(signal.SIGSTOP)
        await asyncio.sleep(STOPPED_SECONDS)
        emacs.signal(signal.SIGCONT)

    async def sampling(self):
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.journal.read()
            self.emacs.sample(self.journal.handed_over)

    # The lives of Emacs.

    async def live(self, last):
        """Let an Emacs send until message LAST; the journal says when."""
        self.journal.read()
        first = self.journal.last_begun + 1
        self.emacs = Emacs(self, first)
        self.lives.append(self.emacs)
        await self.until(lambda: self.journal.last_begun >= last)

    async def until(self, condition):
        seen, since = None, time.monotonic()
        while True:
            self.journal.read()
            if condition():
                return
            if seen != self.journal.lines:
                seen, since = self.journal.lines, time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                sys.exit(f"soak: nothing happens any more; the screen: {self.emacs.screen!r}")
            await asyncio.sleep(0.1)

    async def soak(self):
        await self.start_server()
        self.started = time.monotonic()
        last = int(self.messages * LONG_LIFE)
        events = {"server": self.restart_server, "outage": self.outage, "stop": self.stop_emacs}
        first_life = True
        while True:
            happening = [asyncio.ensure_future(self.sampling())]
            living = asyncio.ensure_future(self.live(min(last, self.messages)))
            await asyncio.sleep(0)
            happening += [asyncio.ensure_future(self.every(*event)) for event in events.items()]
            # One that fails ends the soak.
            await asyncio.wait([living, *happening], return_when=asyncio.FIRST_COMPLETED)
            for task in happening:
                if task.done():
                    task.result()
            await living
            # An event under way comes to its end, so that nothing stays down.
            await self.settle(happening)
            print(f"soak: {self.journal.handed_over} messages, "
                  f"{time.monotonic() - self.started:.0f} s", file=sys.stderr)  # fmt: skip
            if last >= self.messages:
                break
            if not first_life:
                await asyncio.sleep(self.chance.random())
            first_life = False
            await self.emacs.end()
            self.counts["kill"] += 1
            last += self.chance.randrange(2 * MESSAGES_OF_A_SHORT_LIFE)
        await self.calm_down()

    async def settle(self, tasks):
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.emacs.signal(signal.SIGCONT)
        for line in self.lines.values():
            line.down = False
        if self.postfix.process.poll() is not None:
            self.postfix = await self.start_postfix(self.postfix.ports)

    async def calm_down(self):
        """Let what still waits go, without faults."""
        self.policy.calm = True
        for line in self.lines.values():
            line.calm = True
        await self.until(lambda: self.journal.idle)
        self.seconds = time.monotonic() - self.started
        # Connections kept for the next message end, too.
        await asyncio.sleep(20)
        self.emacs.sample(self.journal.handed_over)
        await self.emacs.end()
        # Postfix has taken all of it; it delivers the last ones.
        end = time.monotonic() + 300
        while self.undelivered():
            if time.monotonic() > end:
                sys.exit("soak: Postfix does not deliver what it took")
            await asyncio.sleep(0.5)
        await asyncio.to_thread(self.postfix.stop)

    def undelivered(self):
        """Return the files of messages that Postfix has taken and not delivered.

        One that is not whole, of a Postfix that was killed, is not executable."""
        queue = self.directory / "postfix" / "queue"
        return [file for name in ("incoming", "active", "deferred")
                for file in (queue / name).rglob("*")
                if file.is_file() and file.stat().st_mode & 0o100]  # fmt: skip


def memory(life):
    """Return how memory and descriptors of LIFE, an Emacs, went, and what is wrong."""
    first, last = life.samples[0][0], life.samples[-1][0]
    warm = [s for s in life.samples if s[0] >= first + WARM_UP * (last - first)]
    quarter = max(1, len(warm) // 4)
    # The least of some samples: what is under way just now does not count.
    begin = [min(s[i] for s in warm[:quarter]) for i in (1, 2, 3)]
    end = [min(s[i] for s in warm[-quarter:]) for i in (1, 2, 3)]
    wrong = []
    if last - first < LEAST_MESSAGES:
        return begin, end, wrong
    if end[0] > begin[0] + MEMORY_SLACK_KIB:
        wrong.append(f"memory grew from {begin[0]} to {end[0]} KiB")
    if end[1] > begin[1] + DESCRIPTORS_SLACK:
        wrong.append(f"descriptors grew from {begin[1]} to {end[1]}")
    if end[2] > begin[2] + DESCRIPTORS_SLACK:
        wrong.append(f"threads grew from {begin[2]} to {end[2]}")
    return begin, end, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seed", default=str(time.time_ns()))
    parser.add_argument("--keep", action="store_true", help="keep the directory")
    options = parser.parse_args()
    print(f"soak: --seed {options.seed}", file=sys.stderr)
    parent = ROOT / "build" / "test"
    parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="soak-", dir=parent))
    directory.chmod(0o755)
    soak = Soak(directory, options.messages, options.seed)
    wrong = ["it came to no end"]
    try:
        asyncio.run(soak.soak())
        outbox = subprocess.run(
            [EMACS, "-Q", "--batch", "-L", soak.lisp, "-l", ROOT / "test/soak/soak.el",
             "--eval", f'(soak-print-outbox "{directory}/queue/")'],
            stdout=subprocess.PIPE, check=True, text=True).stdout  # fmt: skip
        tally, wrong = accounts.settle(soak.journal, json.loads(outbox), directory / "postfix")
        lives = [life for life in soak.lives if life.samples]
        long_life = max(lives, key=lambda life: life.samples[-1][0] - life.samples[0][0])
        begin, end, grown = memory(long_life)
        wrong += grown
        print(report(soak, tally, long_life, begin, end))
        for line in wrong[:50]:
            print(f"WRONG: {line}")
    except CannotRun as reason:
        print(f"skip: soak: {reason}", file=sys.stderr)
        wrong = []
        return 77
    finally:
        if options.keep or wrong:
            print(f"soak: kept {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory)
    return 1 if wrong else 0


def report(soak, tally, life, begin, end):
    """Return the figures, a table of Org."""
    rows = [
        ("messages handed over", soak.journal.handed_over),
        ("recipients", tally["recipients"]),
        ("minutes", f"{soak.seconds / 60:.1f}"),
        ("Emacs killed", soak.counts.pop("kill", 0)),
        ("Emacs stopped for some seconds", soak.counts.pop("stop", 0)),
        ("Postfix killed and started again", soak.counts.pop("server", 0)),
        ("nobody reachable for some seconds", soak.counts.pop("outage", 0)),
        ("connections", sum(line.connections for line in soak.lines.values())),
        *((f"fault: {name}", count) for name, count in sorted(soak.counts.items())),
        *((f"outcome: {name}", count) for name, count in tally.items() if name != "recipients"),
        ("messages of the longest life", life.samples[-1][0] - life.samples[0][0]),
        ("its memory, begin and end", f"{begin[0] / 1024:.1f}, {end[0] / 1024:.1f} MiB"),
        ("its descriptors", f"{begin[1]}, {end[1]}"),
        ("its threads", f"{begin[2]}, {end[2]}"),
    ]
    return "\n".join(f"| {name} | {value} |" for name, value in rows)


if __name__ == "__main__":
    sys.exit(main())
