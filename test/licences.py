#!/usr/bin/env python3
"""Check where the crates of Cargo.lock come from, and that their licences fit.

usage: test/licences.py

Offline, with cargo alone.  Where cargo-deny is installed, deny.toml is checked
too: bans, licences, sources, and the advisories against the crates if cargo-deny
has a copy of their database, which `cargo deny fetch' makes and renews.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def fits(licence, allowed):
    """Whether one of the choices in the SPDX expression LICENCE is all ALLOWED."""
    # Old manifests write a slash for OR.
    # An exception only permits more.
    licence = re.sub(r"\s+WITH\s+[^\s()]+", "", licence.replace("/", " OR "))
    words = re.findall(r"[()]|[^\s()]+", licence)
    python = []
    for word in words:
        if word in ("(", ")"):
            python.append(word)
        elif word in ("AND", "OR"):
            python.append(word.lower())
        else:
            python.append(str(word in allowed))
    # Only parentheses, operators, True and False are left.
    return eval(" ".join(python), {"__builtins__": {}})  # pylint: disable=eval-used


def listed(key, toml):
    """The strings in the list KEY of TOML; `tomllib' is newer than some systems."""
    found = re.search(rf"^{key} = \[(.*?)\]", toml, re.M | re.S)
    return set(re.findall(r'"([^"]+)"', found.group(1)))


def has_advisories():
    """Whether cargo-deny has a copy of the database of advisories."""
    home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")
    return any(home.glob("advisory-dbs/advisory-db-*/crates"))


def main():
    """Print what is wrong; leave with 1 if anything is."""
    deny = (ROOT / "deny.toml").read_text()
    allowed, registries = listed("allow", deny), listed("allow-registry", deny)
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(run.stderr)
    wrong = []
    for package in json.loads(run.stdout)["packages"]:
        name = f"{package['name']} {package['version']}"
        source = package["source"]
        if source and source.removeprefix("registry+") not in registries:
            wrong.append(f"{name}: from {source}")
        if not package["license"] or not fits(package["license"], allowed):
            wrong.append(f"{name}: licence {package['license']!r}")
    if wrong:
        sys.exit("\n".join(wrong))
    if not shutil.which("cargo-deny"):
        print("licences: all fit; cargo-deny is not installed, advisories are not checked")
        return
    checks = ["bans", "licenses", "sources"]
    if has_advisories():
        checks.append("advisories")
    else:
        print("licences: cargo-deny has no advisories; cargo deny fetch gets them")
    sys.exit(subprocess.run(["cargo", "deny", "--offline", "check", *checks], cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
