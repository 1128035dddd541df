#!/usr/bin/env python3
"""Fuzz each target, and keep the inputs that reach new code.

usage: fuzz/run.py [--seconds N] [TARGET...]

Needs cargo-fuzz and a nightly Rust.  The inputs of a target are kept in
fuzz/corpus/TARGET.b64, one a line, in base64; they are unpacked below
build/fuzz, and packed again, reduced to those that matter, after the run.
An input that breaks a target stays in fuzz/artifacts/TARGET.
"""

import argparse
import base64
import hashlib
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
WORK = ROOT / "build" / "fuzz"
# Longer inputs are slower and reach nothing new: no limit under test is so far away.
MAX_LEN = {"content": 4096, "reply": 4096}
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


def cargo_fuzz(target, directories, *options):
    """Run the fuzzer of TARGET; return what it printed, or leave."""
    command = ["cargo", "+nightly", "fuzz", "run", "--sanitizer", "none", target]
    command += [*map(str, directories), "--", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{run.stdout}{run.stderr}\n{target}: failed")
    return run.stderr


def fuzz(target, seconds):
    """Fuzz TARGET for SECONDS, and say what came of it."""
    directory = unpack(target)
    length = f"-max_len={MAX_LEN.get(target, DEFAULT_MAX_LEN)}"
    output = cargo_fuzz(
        target, [directory], length, f"-max_total_time={seconds}", "-print_final_stats=1"
    )
    runs = re.search(r"number_of_executed_units: (\d+)", output)
    events = re.findall(r"^#(\d+)\s+(?:NEW|REDUCE|INITED|DONE|pulse).*?cov: (\d+)", output, re.M)
    edges = events[-1][1] if events else "?"
    new = re.findall(r"^#(\d+)\s+NEW ", output, re.M)
    reduced = WORK / f"{target}.reduced"
    reduced.mkdir(exist_ok=True)
    for file in reduced.iterdir():
        file.unlink()
    # By edges alone: with how often each was run, the corpora are ten times as large.
    cargo_fuzz(target, [reduced, directory], length, "-merge=1", "-use_counters=0")
    kept = pack(target, reduced)
    print(
        f"{target}: {runs.group(1) if runs else '?'} runs in {seconds} s, {edges} edges, "
        f"the last new one at run {new[-1] if new else 'none'}, {kept} inputs kept",
        flush=True,
    )


def main():
    """What `make fuzz` calls."""
    targets = sorted(file.stem for file in (ROOT / "fuzz" / "fuzz_targets").glob("*.rs"))
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", default=targets)
    arguments = parser.parse_args()
    for target in arguments.targets:
        fuzz(target, arguments.seconds)


if __name__ == "__main__":
    main()
