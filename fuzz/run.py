#!/usr/bin/env python3
"""Fuzz each target, and keep the inputs that reach new code.

usage: fuzz/run.py [--seconds N] [--quiet N] [--least N] [--most N] [--fast] [TARGET...]

A target runs in rounds, until for --quiet seconds no round has brought a new
edge and --least inputs have been run, or until --most seconds are over.  With
none of these it runs one round.

With --fast the fuzzer is not shown what is compared with what, and runs three times
as many inputs: for targets whose kept inputs hold the words that count.

Needs cargo-fuzz, and a nightly Rust or another that is told to take what a
nightly takes: FUZZ_TOOLCHAIN names it to cargo (+nightly), and may be empty.

The inputs of a target are kept in fuzz/corpus/TARGET.b64, one a line, in
base64; they are unpacked below build/fuzz, and packed again, reduced to those
that matter, after the run.  An input that breaks a target stays in
fuzz/artifacts/TARGET.
"""

import argparse
import base64
import functools
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
WORK = ROOT / "build" / "fuzz"
# Longer inputs are slower and reach nothing new: no limit under test is so far away
# (MAILBOX_LIMIT, LINE_LIMIT, MAX_SHOWN; the longer ones have tests of their own).
MAX_LEN = {"address": 1100, "content": 2100, "reply": 2560}
DEFAULT_MAX_LEN = 2048


def unpack(target):
    """The directory with the kept inputs of TARGET."""
    directory = WORK / target
    directory.mkdir(parents=True, exist_ok=True)
    file = CORPUS / f"{target}.b64"
    lines = file.read_text().split("\n") if file.exists() else []
    for line in lines[:-1]:
        data = base64.b64decode(line)
        (directory / hashlib.sha1(data).hexdigest()).write_bytes(data)
    return directory


def pack(target, directory):
    """Keep the inputs in DIRECTORY for TARGET; return how many."""
    inputs = sorted(file.read_bytes() for file in directory.iterdir())
    lines = [base64.b64encode(data).decode() for data in inputs]
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.b64").write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


@functools.cache
def built(fast):
    """Build the fuzzers; return the directory in which they are."""
    toolchain = os.environ.get("FUZZ_TOOLCHAIN", "+nightly")
    cargo = ["cargo", toolchain] if toolchain else ["cargo"]
    directory = ROOT / "build" / ("fuzzers-fast" if fast else "fuzzers")
    # The engine is Rust without `unsafe`: a sanitizer would only be slow.
    command = [*cargo, "fuzz", "build", "--sanitizer", "none", "--target-dir", directory]
    subprocess.run(command + ["--no-trace-compares"] * fast, cwd=ROOT, check=True)
    return max(directory.glob("*/release"), key=lambda place: place.stat().st_mtime)


def run_fuzzer(target, fast, directories, *options):
    """Run the fuzzer of TARGET; return what it printed, or leave."""
    artifacts = ROOT / "fuzz" / "artifacts" / target
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [built(fast) / target, f"-artifact_prefix={artifacts}/", *directories]
    command += [f"-max_len={MAX_LEN.get(target, DEFAULT_MAX_LEN)}", *options]
    command = list(map(str, command))
    run = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    output = (run.stdout + run.stderr).decode(errors="replace")
    if run.returncode != 0:
        sys.exit(f"{output}\n{target}: failed")
    return output


def one_round(target, directory, options):
    """Fuzz TARGET once, as OPTIONS say; the number of runs, and of the edges reached."""
    seconds = f"-max_total_time={options.seconds}"
    output = run_fuzzer(target, options.fast, [directory], seconds, "-print_final_stats=1")
    runs = re.search(r"^stat::number_of_executed_units: +(\d+)", output, re.M)
    edges = re.findall(r"^#\d+\s+\w+\s+cov: (\d+)", output, re.M)
    if not (runs and edges):
        sys.exit(f"{output}\n{target}: no figures")
    return int(runs.group(1)), max(map(int, edges))


def fuzz(target, options):
    """Fuzz TARGET as OPTIONS say, and say what came of it."""
    directory = unpack(target)
    start = last_new = time.monotonic()
    runs = edges = runs_then = 0
    while True:
        some, reached = one_round(target, directory, options)
        now = time.monotonic()
        runs += some
        # Whatever came new in a round counts as its last.  What the first
        # reaches was reached before, but for what it found itself.
        if reached > edges:
            edges, last_new, runs_then = reached, now, runs
        quiet = now - last_new
        print(
            f"{target}: {runs} runs in {now - start:.0f} s, {edges} edges, {quiet:.0f} s quiet",
            file=sys.stderr,
            flush=True,
        )
        if quiet >= options.quiet and runs >= options.least:
            break
        if now - start >= options.most:
            break
    reduced = WORK / f"{target}.reduced"
    reduced.mkdir(exist_ok=True)
    for file in reduced.iterdir():
        file.unlink()
    # By edges alone: with how often each was run, the corpora are ten times as large.
    run_fuzzer(target, options.fast, [reduced, directory], "-merge=1", "-use_counters=0")
    kept = pack(target, reduced)
    print(
        f"{target}: {runs} runs in {(now - start) / 60:.1f} minutes, {edges} edges, "
        f"the last new one {quiet / 60:.1f} minutes and {runs - runs_then} runs before the end, "
        f"{kept} inputs kept",
        flush=True,
    )


def main():
    """What `make fuzz` calls."""
    targets = sorted(file.stem for file in (ROOT / "fuzz" / "fuzz_targets").glob("*.rs"))
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each round (60)")
    parser.add_argument("--quiet", type=int, default=0, help="seconds without a new edge")
    parser.add_argument("--least", type=int, default=0, help="inputs run")
    parser.add_argument("--most", type=int, default=86400, help="seconds for each target")
    parser.add_argument("--fast", action="store_true", help="more runs, less guided")
    parser.add_argument("targets", nargs="*", metavar="TARGET", default=targets)
    options = parser.parse_args()
    # Not within the time of the first.
    built(options.fast)
    for target in options.targets:
        fuzz(target, options)


if __name__ == "__main__":
    main()
