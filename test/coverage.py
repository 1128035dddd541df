#!/usr/bin/env python3
"""Say how many lines of src/smtp the engine's tests run.

usage: test/coverage.py [REPORT]

Needs cargo-llvm-cov and the component llvm-tools.  REPORT is its JSON; without
one the tests of the engine are run for it, but not those of the test server.
Leaves with 1 below the floor.
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPORT = ROOT / "build" / "coverage.json"
# Of the lines of all files together, in percent.
FLOOR = 95.0


def main():
    """Print a line a file, and all of them together."""
    report = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPORT
    if len(sys.argv) == 1:
        REPORT.parent.mkdir(exist_ok=True)
        command = ["cargo", "llvm-cov", "--locked", "--json", "--output-path", str(REPORT)]
        subprocess.run(command, cwd=ROOT, check=True)
    total = covered = 0
    for file in json.loads(report.read_text())["data"][0]["files"]:
        path = pathlib.Path(file["filename"])
        lines = file["summary"]["lines"]
        if "src/smtp" not in path.as_posix() or "tests" in path.stem:
            continue
        total += lines["count"]
        covered += lines["covered"]
        name = path.as_posix().split("/src/", 1)[1]
        print(f"{lines['percent']:6.1f} % of {lines['count']:5} lines  {name}")
    percent = 100 * covered / total
    print(f"{percent:6.1f} % of {total:5} lines  together")
    sys.exit(percent < FLOOR)


if __name__ == "__main__":
    main()
