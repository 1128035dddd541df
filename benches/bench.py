#!/usr/bin/env python3
"""Send the same mail with Emacs's own smtpmail, with ours and with others.

usage: bench.py [-n ROUNDS] [--minutes M] [--only CASE,...] [--write README.org]

Prints a table in Org form, the runs of all programs interleaved, medians of
what was measured, and writes it between the markers of a file on demand. Each
message received is checked: how many, for how many, SHA-256 of the text. All
traffic stays on 127.0.0.1; a round-trip time is a delaying line between.
Called by `make bench', which builds what is needed.
"""
import argparse
import base64
import contextlib
import datetime
import hashlib
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
EMACS = os.environ.get("EMACS", "emacs")
# Nothing takes longer: the built-in sends 1,000 recipients at 50 ms in 51 s.
LIMIT_SECONDS = 180
MARKERS = ("# bench: begin", "# bench: end")
HEADER = (
    "From: Sender <sender@example.org>\nSubject: A measurement\n"
    "Date: Mon, 05 Jan 2026 10:00:00 +0000\nMessage-ID: <1@example.org>\n"
    "MIME-Version: 1.0\nContent-Type: text/plain\n"
)


class Helper:
    """A program that prints where it listens and reports on demand."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            list(map(str, arguments)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hello = self.process.stdout.readline()

    def report(self):
        self.process.stdin.write("report\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(LIMIT_SECONDS)


class Case:
    """A message, and how often it goes to how many."""

    def __init__(self, name, octets, recipients=1, sends=1, queue=False):
        self.name, self.recipients, self.sends, self.queue = name, recipients, sends, queue
        self.octets = octets

    def write(self, folder):
        """The message without To for Emacs; whole, with CRLF, for the others."""
        chance = random.Random(self.octets)
        if self.octets < 1 << 20:
            text = "".join(f"{chance.random():.60f}\n" for _ in range(self.octets // 63))
            text = ".begins with a dot\n" + text
        else:
            raw = base64.b64encode(chance.randbytes(self.octets // 77 * 57)).decode()
            text = "\n".join(raw[i:i + 76] for i in range(0, len(raw), 76)) + "\n"
        to = "To: " + ",\n\t".join(f"r{i}@example.net" for i in range(1, self.recipients + 1)) + "\n"
        self.file = folder / "message"
        self.file.write_text(HEADER + "\n" + text)
        whole = (to + HEADER + "\n" + text).replace("\n", "\r\n").encode()
        self.whole = folder / "whole"
        self.whole.write_bytes(whole)
        self.digest = hashlib.sha256(whole).hexdigest()

    def check(self, report, program):
        got = report["messages"]
        good = len(got) == self.sends and all(
            m["recipients"] == self.recipients and m["sha256"] == self.digest for m in got)
        if not good:
            sys.exit(f"{program} sent something else in {self.name}: {str(report)[:800]}")


CASES = {
    "small": Case("small message", 2048, sends=5),
    "large": Case("25 MiB", 25 << 20),
    "queue": Case("queue of 100", 2048, sends=100, queue=True),
    "recipients": Case("1,000 recipients", 2048, recipients=1000),
}
# What ours alone does is no case.
ALL = [*CASES, "background"]


# Who sends.

def emacs(case, port, tls, folder, ours):
    """Costs of one send in a new Emacs; of several, that of a later one."""
    lisp = ROOT / "lisp"
    job = dict(port=port, tls=tls, authority=str(folder / "certs/ca.pem"), message=str(case.file),
               recipients=case.recipients, sends=case.sends,
               directory=str(lisp) if ours else None, queue=None)
    if case.queue:
        job["queue"] = tempfile.mkdtemp(dir=folder)
    load_path = ["-L", str(lisp)] if ours else []
    done = run([EMACS, "-Q", "--batch", *load_path, "-l", str(ROOT / "benches/send.el"),
                "-f", "bench-send", json.dumps(job)], folder)
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    later = answer["runs"][1:] or answer["runs"]
    costs = {key: statistics.median(one[key] for one in later) for key in later[0]}
    return dict(costs, rss=answer["rss"], load=answer["load"])


def peer(name, case, port, tls, folder):
    """Costs of the program NAME, started anew for each message."""
    ca = folder / "certs/ca.pem"
    to = [f"r{i}@example.net" for i in range(1, case.recipients + 1)]
    if name == "msmtp":
        command = ["msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={port}", "--auth=off",
                   "--from=sender@example.org", "--tls=" + ("on" if tls == "ssl" else "off"),
                   "--tls-starttls=off", f"--tls-trust-file={ca}", "--", *to]
    elif name == "curl":
        settings = folder / "curl.conf"
        settings.write_text("".join(f'mail-rcpt = "{r}"\n' for r in to))
        scheme = "smtps" if tls == "ssl" else "smtp"
        command = ["curl", "--silent", "--show-error", "--config", settings, "--cacert", ca,
                   "--mail-from", "sender@example.org", "--upload-file", case.whole,
                   f"{scheme}://127.0.0.1:{port}/client.example.org"]
    else:
        command = [sys.executable, __file__, "--as-smtplib", port, tls, ca, case.whole, *to]
    before, start = children_cpu(), time.perf_counter()
    for _ in range(case.sends):
        run(list(map(str, command)), folder, case.whole)
    seconds, cpu = time.perf_counter() - start, children_cpu() - before
    # One message of a case that is no queue, as with Emacs.
    share = 1 if case.queue else case.sends
    return dict(seconds=seconds / share, cpu=cpu / share)


def as_smtplib(port, tls, ca, whole, *recipients):
    """The program `python': smtplib of its standard library."""
    import smtplib
    import ssl
    text = Path(whole).read_bytes()
    if tls == "ssl":
        context = ssl.create_default_context(cafile=ca)
        client = smtplib.SMTP_SSL("127.0.0.1", int(port), context=context)
    else:
        client = smtplib.SMTP("127.0.0.1", int(port))
    with client:
        client.sendmail("sender@example.org", list(recipients), text)


def children_cpu():
    spent = os.times()
    return spent.children_user + spent.children_system


def run(command, folder, stdin=None):
    environment = dict(os.environ, HOME=str(folder / "home"), LC_ALL="C.UTF-8")
    with open(stdin or os.devnull, "rb") as given:
        done = subprocess.run(command, stdin=given, capture_output=True, text=True, cwd=folder,
                              env=environment, timeout=LIMIT_SECONDS)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr[-800:]}")
    return done


PROGRAMS = {
    "built-in": lambda *a: emacs(*a, ours=False),
    "ours": lambda *a: emacs(*a, ours=True),
    **{name: (lambda *a, name=name: peer(name, *a)) for name in ("msmtp", "curl", "python")},
}
PEERS = ("msmtp", "curl", "python")


def programs(case, round_trip):
    """Who takes part: others than Emacs only where it takes no minutes."""
    others = [name for name in PEERS if name == "python" or shutil.which(name)]
    if round_trip and (case.queue or case.recipients > 1):
        others = []
    if case.queue or case.recipients > 1:
        # They know no queue, and some no list that long.
        others = [name for name in others if name in ("curl", "python") and not case.queue]
    return ["built-in", "ours", *others]


# What is measured.

@contextlib.contextmanager
def place(tls, round_trip, folder):
    """A sink behind a line: (report of the sink, report of the line, port)."""
    certs = folder / "certs"
    files = ["--tls", certs / "server-good.pem", certs / "server-good.key"] if tls == "ssl" else []
    with Helper(TARGET / "smtpmail-bench", "sink", *files) as sink:
        if round_trip is None:
            yield sink.report, None, int(sink.hello)
        else:
            with Helper(TARGET / "smtpmail-bench", "line", int(sink.hello), round_trip) as line:
                yield sink.report, line.report, int(line.hello)


def measure(case, tls, round_trip, rounds, end, folder):
    """Medians of each program: {name: {cost: number}}.

    There is one round at least, and no further one once the time END has come."""
    names = programs(case, round_trip)
    costs = {name: [] for name in names}
    with place(tls, round_trip or None, folder) as (sink, _, port):
        for number in range(rounds):
            if number and time.monotonic() > end:
                print("  no time for more rounds", file=sys.stderr)
                break
            for name in names if number % 2 == 0 else names[::-1]:
                costs[name].append(PROGRAMS[name](case, port, tls, folder))
                case.check(sink(), name)
    return {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            for name, runs in costs.items()}


def waits(case, name, folder):
    """How often the server waits for the client after the greeting, exactly.

    The server of the tests counts: replies, then nothing more to read."""
    spool = tempfile.mkdtemp(dir=folder)
    capabilities = "PIPELINING,8BITMIME,SIZE,CHUNKING,SMTPUTF8,ENHANCEDSTATUSCODES"
    with Helper(TARGET / "smtpmail-test-server", "--spool", spool, "--control",
                "--caps", capabilities) as server:
        once = Case(case.name, case.octets, case.recipients, 100 if case.queue else 1, case.queue)
        once.file = case.file
        emacs(once, json.loads(server.hello)["port"], "plain", folder, name == "ours")
        return server.report()["turns"]


def octets_over_tls(case, folder):
    """Octets that ours sends for each octet of the text."""
    with place("ssl", 0, folder) as (sink, line, port):
        emacs(case, port, "ssl", folder, True)
        case.check(sink(), "ours")
        return line()["sent"] / case.whole.stat().st_size


# What is printed.

def shown(seconds):
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def table(cases, rounds, end, folder):
    rows = [["what", "", "built-in (its CPU)", "ours", "ratio"], None]
    for case in cases:
        case.write(folder)
        for round_trip in (0, 50):
            for tls in ("plain", "ssl"):
                # Where the built-in takes most of a minute, once is enough.
                slow = round_trip and (case.queue or case.recipients > 1)
                print(f"  {case.name}, {tls}, {round_trip} ms ...", file=sys.stderr)
                costs = measure(case, tls, round_trip, 1 if slow else rounds, end, folder)
                theirs, ours = costs["built-in"], costs["ours"]
                where = ("TLS" if tls == "ssl" else "plain") + f", {round_trip} ms"
                rows.append([case.name, where, f"{shown(theirs['seconds'])} ({shown(theirs['cpu'])})",
                             shown(ours["seconds"]), ratio(theirs["seconds"], ours["seconds"])])
                for name in costs.keys() - {"built-in", "ours"}:
                    rows.append(["", name, "", shown(costs[name]["seconds"]),
                                 ratio(theirs["seconds"], costs[name]["seconds"])])
                if case is CASES["small"] and tls == "plain" and not round_trip:
                    rows.append(["", "(require 'smtpmail)", shown(theirs["load"]),
                                 shown(ours["load"]), f"{theirs['load'] / ours['load']:.2f}"])
                if case is CASES["large"] and not round_trip:
                    for key, words in (("cpu", "CPU"), ("stall", "timers stand still")):
                        rows.append(["", words, shown(theirs[key]), shown(ours[key]),
                                     ratio(theirs[key], ours[key])])
                    rows.append(["", "memory, at most", f"{theirs['rss']:.0f} MiB",
                                 f"{ours['rss']:.0f} MiB", f"{ours['rss'] / theirs['rss']:.2f}"])
        counts = [waits(case, name, folder) for name in ("built-in", "ours")]
        rows.append(["", "waits for the server", *map(str, counts), ratio(*counts)])
        if case is CASES["large"]:
            rows.append(["", "octets over TLS for each of text", "",
                         f"{octets_over_tls(case, folder):.4f}", ""])
    return rows


def background(folder):
    """Rows of what Emacs is busy with when ours sends in the background.

    In a terminal; the first of some rounds, in which Lisp is loaded, does not count."""
    if not shutil.which("tmux"):
        print("  no tmux: nothing of sending in the background", file=sys.stderr)
        return []
    print("  in the background ...", file=sys.stderr)
    os.environ["SMTPMAIL_TEST_SERVER"] = str(TARGET / "smtpmail-test-server")
    done = run([EMACS, "-Q", "--batch", "-L", str(ROOT / "lisp"), "-L", str(ROOT / "test"), "-l",
                str(ROOT / "test/background-figures.el"), "-f", "background-figures-json"], folder)
    words = ["Emacs is busy, then goes on", "and waits for the disk, timers run",
             "a timer is late meanwhile", "a timer is late while it goes"]
    rows = []
    for size, rounds in json.loads(done.stdout.strip().splitlines()[-1]).items():
        medians = [statistics.median(costs) for costs in zip(*rounds[1:])]
        for number, word in enumerate(words):
            name = "" if number else f"{size} MiB in the background"
            rows.append([name, word, "", shown(medians[number]), ""])
    return rows


def ratio(theirs, ours):
    return f"{theirs / ours:.1f}" if ours else "-"


def org(rows):
    widths = [max(len(row[i]) for row in rows if row) for i in range(len(rows[0]))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" if row
        else "|" + "+".join("-" * (width + 2) for width in widths) + "|"
        for row in rows)


def machine():
    """Its class: kind, cores, memory; no names."""
    with open("/proc/cpuinfo") as facts:
        model = re.search(r"^model name\s*: (.*)$", facts.read(), re.M)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    version = run([EMACS, "--version"], Path("/")).stdout.splitlines()[0]
    return (f"{datetime.date.today()}, {version}, {platform.system()} on "
            f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores, "
            f"{memory:.0f} GiB")


def main():
    if sys.argv[1:2] == ["--as-smtplib"]:
        return as_smtplib(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--minutes", type=float, default=4,
                        help="then one round each for what is left (default 4)")
    parser.add_argument("--only", default=",".join(ALL), help="of: " + ", ".join(ALL))
    parser.add_argument("--write", metavar="FILE", help="put the table between the markers there")
    options = parser.parse_args()
    missing = [name for name in PEERS if name != "python" and not shutil.which(name)]
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="smtpmail-bench-") as name:
        folder = Path(name)
        (folder / "home/.emacs.d").mkdir(parents=True)
        with Helper(TARGET / "smtpmail-test-server", "--spool", folder / "none",
                    "--certs", folder / "certs"):
            pass
        chosen = options.only.split(",")
        rows = table([CASES[one] for one in chosen if one in CASES], options.n, end, folder)
        if "background" in chosen:
            rows += background(folder)
    text = "\n".join([f"Measured {machine()}; medians of up to {options.n} interleaved rounds.",
                      *([f"Not installed here: {', '.join(missing)}."] if missing else []),
                      "", org(rows)])
    print(text)
    if options.write:
        file = Path(options.write)
        before, rest = file.read_text().split(MARKERS[0] + "\n")
        after = rest.split(MARKERS[1])[1]
        file.write_text(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}")


if __name__ == "__main__":
    main()
