# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages with what they need, unpacked into a directory, never installed.

The named packages are always taken; of what they depend on, only what this
machine lacks (apt's own resolver tells).  No maintainer script runs.
"""

import platform
import shutil

from .archive import provide, run_tool
from .places import BUILD, CannotRun

# Unprivileged downloads could not write into a checkout below /root.
_APT_OPTIONS = ["-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=true"]


def unpack(name, packages):
    """Return the directory that holds PACKAGES of Debian, with their missing needs."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise CannotRun("needs apt-get and dpkg-deb")
    recipe = f"no set-uid; {platform.machine()} {' '.join(packages)}\n"

    def fill(directory):
        try:
            archives = _download(directory, packages, _APT_OPTIONS)
        except CannotRun:
            # The system's package lists are absent or older than the mirror.
            archives = _download(directory, packages, _private_lists())
        for archive in archives:
            run_tool(["dpkg-deb", "-x", archive, directory], f"unpacking {archive.name}")
            archive.unlink()
        # Nothing below build/ may lend root to whom runs it.
        run_tool(["chmod", "-R", "u-s,g-s", directory], "dropping set-uid bits")

    return provide(name, recipe, fill)


def library_directories(root):
    """Return the directories of shared libraries below ROOT."""
    return sorted(
        {
            library.parent
            for pattern in ("lib/*.so*", "lib/*/*.so*", "usr/lib/*/*.so*", "usr/lib/*.so*")
            for library in root.glob(pattern)
        }
    )


def _download(directory, packages, options):
    simulated = run_tool(
        ["apt-get", *options, "install", "--simulate", "--no-install-recommends", *packages],
        "resolving packages",
    )
    wanted = list(packages)
    for line in simulated.splitlines():
        words = line.split()
        if words[:1] == ["Inst"] and words[1] not in wanted:
            wanted.append(words[1])
    run_tool(["apt-get", *options, "download", *wanted], "downloading packages", cwd=directory)
    return sorted(directory.glob("*.deb"))


def _private_lists():
    """Fetch package lists below build/, leaving the system's alone."""
    lists = BUILD / "apt"
    (lists / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (lists / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    options = [
        *_APT_OPTIONS,
        "-o",
        f"Dir::State::Lists={lists / 'lists'}",
        "-o",
        f"Dir::Cache={lists / 'cache'}",
    ]
    run_tool(["apt-get", *options, "update"], "refreshing package lists")
    return options
