# SPDX-License-Identifier: GPL-3.0-or-later
"""A private mount and process namespace for servers that need own users and paths.

Inside, and only there:
    /mnt/root           the unpacked packages
    /mnt/state          the directory of this run
    /etc/passwd, group  ours, with the servers' users
    /etc/ld.so.cache    knows the libraries of the packages too (LD_LIBRARY_PATH would
                        not do: servers clean the environment of what they start)
A shell is process 1 of the process namespace: when it ends, the kernel ends all that
it started and drops the mounts.  Not the server itself: one that changes its user id
loses the signal it is to get when its parent dies (prctl(2), PR_SET_PDEATHSIG).
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from . import debian, process
from .places import CannotRun

# The directories are entered by descriptor, opened before /mnt is covered, for
# the checkout itself may lie below /mnt.
_ENTER = r"""
set -eu
exec 3<"$1" 4<"$2"
shift 2
mount -t tmpfs -o mode=0755,size=64k none /mnt
mkdir /mnt/root /mnt/state
mount --no-canonicalize --bind /proc/self/fd/3 /mnt/root
mount --no-canonicalize --bind /proc/self/fd/4 /mnt/state
exec 3<&- 4<&-
mount --bind /mnt/state/etc/passwd /etc/passwd
mount --bind /mnt/state/etc/group /etc/group
cache=/mnt/state/etc/ld.so.cache
[ -e $cache ] || ldconfig -X -f /mnt/state/etc/ld.so.conf -C $cache
mount --bind $cache /etc/ld.so.cache
cd /
trap 'exit 0' TERM
# Of its own accord the shell gives a background command an empty input.
exec 5<&0
"$@" <&5 5<&- &
wait $!
"""

# Nobody else has these ids inside; outside they are numbers only.
_USERS = {
    "postfix": 61001,
    "mailstore": 61002,
    "Debian-exim": 61003,
    # sendmail's and Debian's names for who may not do anything.
    "smmsp": 61005,
    "smmta": 61006,
    "mailnull": 61007,
}
_GROUPS = {**_USERS, "postdrop": 61004, "mail": 8}

USER_ID_OF_MAILSTORE = _USERS["mailstore"]
USER_ID_OF_POSTFIX = _USERS["postfix"]
USER_ID_OF_EXIM = _USERS["Debian-exim"]
GROUP_ID_OF_POSTDROP = _GROUPS["postdrop"]

ROOT = Path("/mnt/root")
STATE = Path("/mnt/state")


def require():
    """Raise `CannotRun` where such a namespace cannot be made."""
    if os.geteuid() != 0:
        raise CannotRun("needs root for a private mount namespace")
    for tool in ("unshare", "setpriv", "mount"):
        if not shutil.which(tool):
            raise CannotRun(f"needs {tool} (util-linux)")
    trial = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if trial.returncode != 0:
        raise CannotRun(f"no private mount namespace here: {trial.stderr.strip()}")


ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}


class Namespace:
    """A server's process inside: started, found and stopped."""

    def __init__(self, root, state, log):
        self.root, self.state, self.log = root, state, log
        self.process = None
        etc = state / "etc"
        etc.mkdir(exist_ok=True)
        (etc / "passwd").write_text(
            "root:x:0:0::/root:/bin/sh\n"
            + "".join(f"{name}:x:{i}:{i}::/nonexistent:/bin/false\n" for name, i in _USERS.items())
            + "nobody:x:65534:65534::/nonexistent:/bin/false\n"
        )
        (etc / "group").write_text(
            "root:x:0:\n"
            + "".join(f"{name}:x:{i}:\n" for name, i in _GROUPS.items())
            + "nogroup:x:65534:\n"
        )
        (etc / "ld.so.conf").write_text(
            "".join(
                f"{ROOT / path.relative_to(root)}\n" for path in debian.library_directories(root)
            )
            + "include /etc/ld.so.conf\n"
        )

    def command(self, words):
        """Return the command that runs WORDS inside."""
        return [
            # Should we die without stopping it, the kernel kills unshare, and it all.
            "setpriv", "--pdeathsig", "KILL",
            "unshare", "--mount", "--pid", "--fork", "--kill-child",
            "sh", "-c", _ENTER, "sh", self.root, self.state, *words,
        ]  # fmt: skip

    def run(self, words, environment, text_in=""):
        """Run WORDS inside to their end and return their output."""
        done = subprocess.run(
            [str(word) for word in self.command(words)],
            input=text_in,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            complaint = " | ".join((done.stdout + done.stderr).strip().splitlines()[-4:])
            raise process.StartFailed(f"{words[0]} ended with {done.returncode}: {complaint}")
        return done.stdout

    def start(self, words, environment):
        """Start WORDS inside."""
        self.process = process.start(self.command(words), self.log, env=environment)
        return self.process

    def stop(self):
        """End process 1 of the namespace, and with it all that it started."""
        process.stop(self.process, signal.SIGTERM, self._first_process())

    def _first_process(self):
        """Return the host's id of the namespace's process 1 (unshare's only child)."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        try:
            return int(children.read_text().split()[0])
        except (OSError, IndexError):
            return pid


def make_sasl_user(inside, environment, run, realm, user):
    """Write RUN's password of USER in REALM into a database of Cyrus SASL; return it."""
    inside.run(
        [
            ROOT / "usr/sbin/saslpasswd2", "-p", "-c", "-f", STATE / "etc" / "sasldb2",
            "-u", realm, user,
        ],
        environment,
        text_in=run.password,
    )  # fmt: skip
    return run.directory / "etc" / "sasldb2"
