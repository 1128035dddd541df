#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make smtpmail-VERSION.tar, a package that `package-install-file' takes.

usage: build.py OUTPUT-DIRECTORY [ENGINE]

Lisp and manual are at its top, as package.el wants them; `engine/' has all that
cargo needs to build the engine without a network; ENGINE, if given, is the built
engine of this machine.  Nothing is built here but the archive.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The systems for which the engine is written.  Crates that none of them uses are
# in Cargo.lock all the same: cargo wants to see them, their code is left out.
TARGETS = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "x86_64-unknown-freebsd",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
]

# What a build never reads: data of other people's tests, and the system calls of
# processors for which Rust has no compiler of its own.
NEVER_READ = [
    "vcpkg/test-data",
    *(f"linux-raw-sys/src/{processor}" for processor in (
        "csky", "hexagon", "mips", "mips32r6", "mips64", "mips64r6", "sparc",
        "sparc64", "xtensa")),
]

# Only what the library needs: tests, benchmarks and their crates stay behind.
LEFT_OUT = re.compile(r"\[(dev-dependencies|\[test\]|workspace)\b")

CONFIG = """\
# The crates are in vendor/; nothing is fetched.
[source.crates-io]
replace-with = "vendored"

[source.vendored]
directory = "vendor"

[net]
offline = true
"""


def run(*command, cwd=ROOT):
    """Return what COMMAND prints."""
    return subprocess.run(command, cwd=cwd, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def manifest():
    """Return Cargo.toml without what belongs to tests, as a workspace of its own."""
    sections = re.split(r"(?m)^(?=\[)", (ROOT / "Cargo.toml").read_text())
    kept = [section for section in sections if not LEFT_OUT.match(section)]
    return "".join(kept).rstrip() + "\n\n[workspace]\n"


def locked(lock):
    """Return the packages that the text LOCK names, as (name, version)."""
    return set(re.findall(r'(?m)^name = "(.*)"\nversion = "(.*)"$', lock))


def vendor(engine):
    """Put the crates into ENGINE, with the versions of our Cargo.lock."""
    run("cargo", "metadata", "--quiet", "--format-version", "1", cwd=engine)
    ours = locked((ROOT / "Cargo.lock").read_text())
    changed = locked((engine / "Cargo.lock").read_text()) - ours
    if changed:
        sys.exit(f"not the versions of Cargo.lock: {sorted(changed)}")
    run("cargo", "vendor", "--quiet", "--locked", "vendor", cwd=engine)
    used = set()
    for target in TARGETS:
        tree = run("cargo", "tree", "--locked", "--target", target,
                   "--edges", "normal,build", "--prefix", "none",
                   "--format", "{p}", cwd=engine)
        used |= {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    for crate in sorted((engine / "vendor").iterdir()):
        text = (crate / "Cargo.toml").read_text()
        name, version = (re.search(rf'(?m)^{key} = "(.*)"', text).group(1)
                         for key in ("name", "version"))
        if (name, f"v{version}") not in used:
            hollow(crate)
    for path in NEVER_READ:
        shutil.rmtree(engine / "vendor" / path, ignore_errors=True)
    for crate in (engine / "vendor").iterdir():
        forget_sums(crate)


def hollow(crate):
    """Leave of CRATE what cargo reads to know it, and its licence."""
    for path in sorted(crate.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif not re.match(r"Cargo\.toml|\.cargo-checksum|LICEN[CS]E|COPY", path.name):
            # Cargo looks whether the files exist that its manifest names.
            if path.suffix == ".rs":
                path.write_text("")
            else:
                path.unlink()


def forget_sums(crate):
    """Let cargo not ask for files of CRATE that were left out or emptied."""
    sums = crate / ".cargo-checksum.json"
    content = json.loads(sums.read_text())
    content["files"] = {
        name: digest for name, digest in content["files"].items()
        if (crate / name).is_file() and (crate / name).stat().st_size
    }
    sums.write_text(json.dumps(content, sort_keys=True))


def stage(package, built):
    """Lay the files out in PACKAGE; BUILT is the engine's file, or None."""
    package.mkdir(parents=True)
    for path in sorted((ROOT / "lisp").glob("*.el")):
        if not path.name.endswith("-autoloads.el"):
            shutil.copy(path, package)
    for name in ("README.org", "NEWS.org", "LICENSE", "doc/smtpmail.info"):
        shutil.copy(ROOT / name, package)
    run("install-info", "smtpmail.info", "dir", cwd=package)
    describe = ("(with-temp-buffer (insert-file-contents \"smtpmail.el\")"
                " (package-generate-description-file"
                "  (package-buffer-info) \"smtpmail-pkg.el\"))")
    run(os.environ.get("EMACS", "emacs"), "-Q", "--batch", "-l", "package",
        "--eval", describe, cwd=package)
    if built:
        shutil.copy(built, package)
    engine = package / "engine"
    (engine / ".cargo").mkdir(parents=True)
    for folder in ("src", "crates"):
        shutil.copytree(ROOT / folder, engine / folder)
    shutil.copy(ROOT / "Cargo.lock", engine)
    (engine / "Cargo.toml").write_text(manifest())
    vendor(engine)
    (engine / ".cargo/config.toml").write_text(CONFIG)


def pack(package, archive):
    """Write PACKAGE to ARCHIVE, the same octets for the same files."""
    def plain(info):
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = "root"
        return info
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(package, package.name, filter=plain)


def main():
    out = pathlib.Path(sys.argv[1]).resolve()
    built = sys.argv[2] if len(sys.argv) > 2 else None
    version = re.search(r'(?m)^version = "(.*)"', (ROOT / "Cargo.toml").read_text())
    package = out / f"smtpmail-{version.group(1)}"
    shutil.rmtree(package, ignore_errors=True)
    stage(package, built)
    archive = out / f"{package.name}.tar"
    pack(package, archive)
    shutil.rmtree(package)
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")


main()
