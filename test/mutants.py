#!/usr/bin/env python3
"""Change src/smtp in each small way that a mistake could, and say what no test notices.

usage: test/mutants.py [OPTION...]

Needs cargo-mutants, which gets each OPTION (`--file', `--shard', `--list').  So that
a change costs seconds, src/smtp is compiled alone, below build/mutants, with its own
tests and those of test/rust that need nothing else.  test/mutants.toml names the
changes that change nothing, each with the reason.

Leaves with 2 if a change went unnoticed, with 3 if one made the tests run for ever.
"""

import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATE = ROOT / "build" / "mutants"
TESTS = ["dialogue_properties", "transcripts", "waits"]
COPIED = ["src/smtp", "test/rust", "test/transcripts", "Cargo.lock"]
# A crate that is imported by another name than its own.
IMPORTED = {"md-5": "md5"}
# Of one change, in seconds: the tests need a few.
LIMIT = 60

MANIFEST = """[package]
name = "smtpmail-core"
version = "0.1.0"
edition = "2024"

[lib]
name = "smtpmail_core"

[dependencies]
{dependencies}
[dev-dependencies]
proptest = {{ version = "1", default-features = false, features = ["std"] }}

[workspace]

[lints.rust]
unexpected_cfgs = {{ level = "warn", check-cfg = ["cfg(fuzzing)"] }}

[profile.dev]
debug = false
# A single key derivation takes seconds otherwise.
[profile.dev.package."*"]
opt-level = 3
"""

# One binary, so that one is compiled and linked.
LIBRARY = """//! The protocol alone, and its tests.

extern crate self as smtpmail_core;

pub mod smtp;

"""
TEST = """#[cfg(test)]
#[path = "../test/rust/{0}.rs"]
mod {0};
"""


def dependencies():
    """The lines of Cargo.toml for the crates that src/smtp imports."""
    manifest = (ROOT / "Cargo.toml").read_text()
    section = re.search(r"^\[dependencies\]\n(.*?)^\[", manifest, re.M | re.S).group(1)
    source = "".join(file.read_text() for file in (ROOT / "src/smtp").rglob("*.rs"))
    for line in section.split("\n"):
        name = line.split(" ", 1)[0]
        crate = IMPORTED.get(name, name.replace("-", "_"))
        if line and name != "#" and re.search(rf"\b{crate}::", source):
            yield f"{line}\n"


def lay_out():
    """Write the crate anew; what was compiled for it stays."""
    CRATE.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        target = CRATE / name
        if (ROOT / name).is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / name, target)
        else:
            shutil.copy(ROOT / name, target)
    (CRATE / "src/lib.rs").write_text(LIBRARY + "".join(map(TEST.format, TESTS)))
    manifest = MANIFEST.format(dependencies="".join(dependencies()))
    (CRATE / "Cargo.toml").write_text(manifest)


def main():
    """What `make mutants` calls."""
    if not shutil.which("cargo-mutants"):
        sys.exit("test/mutants.py: cargo-mutants is not installed")
    lay_out()
    command = ["cargo", "mutants", "--in-place", "--dir", str(CRATE), "--output", str(CRATE)]
    command += ["--config", str(ROOT / "test/mutants.toml"), "--timeout", str(LIMIT), *sys.argv[1:]]
    sys.exit(subprocess.run([*command, "--", "--lib"], cwd=CRATE).returncode)


if __name__ == "__main__":
    main()
