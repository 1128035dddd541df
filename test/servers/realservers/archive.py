# SPDX-License-Identifier: GPL-3.0-or-later
"""Download once: many may ask at the same time, and any may be killed half-way."""

import contextlib
import fcntl
import shutil
import subprocess
import sys

from .places import BUILD, CannotRun

# A mirror that drips must not hold up a test run for ever.
DOWNLOAD_TIMEOUT_SECONDS = 600

STAMP = ".fetched"


@contextlib.contextmanager
def _lock(name):
    """Hold the lock of NAME: one downloads, the others wait and find it done."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / f".{name}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def provide(name, recipe, fill):
    """Return the directory build/servers/NAME, filled by FILL(directory) if need be.

    RECIPE is a text of everything that decides the content: when it changes, the
    directory is made anew.  FILL works in a directory that gets its name only when
    it is whole.
    """
    directory = BUILD / name
    with _lock(name):
        stamp = directory / STAMP
        if stamp.is_file() and stamp.read_text() == recipe:
            return directory
        print(f"{name}: fetching into {directory}", file=sys.stderr)
        unfinished = BUILD / f"{name}.unfinished"
        for leftover in (unfinished, directory):
            if leftover.exists():
                shutil.rmtree(leftover)
        unfinished.mkdir()
        fill(unfinished)
        (unfinished / STAMP).write_text(recipe)
        unfinished.rename(directory)
    return directory


def run_tool(command, what, **options):
    """Run COMMAND, return its standard output; `CannotRun` names WHAT failed."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=DOWNLOAD_TIMEOUT_SECONDS,
            **options,
        )
    except FileNotFoundError as error:
        raise CannotRun(f"{what}: {error.filename} is not here") from error
    except subprocess.TimeoutExpired as error:
        raise CannotRun(f"{what}: no end after {DOWNLOAD_TIMEOUT_SECONDS} s") from error
    if done.returncode != 0:
        complaints = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise CannotRun(f"{what}: {' | '.join(complaints[-3:])}")
    return done.stdout
