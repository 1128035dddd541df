# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a server's process, wait for its greetings, stop it by its process id."""

import json
import os
import select
import signal
import socket
import ssl
import subprocess
import time

from .places import HOST

# Three servers start at once on two busy cores: seconds when idle, so this is
# only where we stop believing in it.
GREETING_TIMEOUT_SECONDS = 60
GREETING_POLL_SECONDS = 0.05
# Between the polite signal and the other one.
STOP_TIMEOUT_SECONDS = 10


class StartFailed(Exception):
    """The process ended or did not greet; the text holds the end of its log."""


def free_ports(count):
    """Return COUNT free loopback ports, held together so that they differ."""
    held = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


def start(command, log, **options):
    """Start COMMAND with its errors (and its output, unless OPTIONS say) in LOG."""
    with open(log, "ab") as sink:
        return subprocess.Popen(
            [str(word) for word in command],
            **{"stdin": subprocess.DEVNULL, "stdout": sink, **options},
            stderr=sink,
            # A terminal's C-c goes to the driver alone, which then stops us.
            start_new_session=True,
        )


def start_announced(command, log, environment):
    """Start COMMAND; return (process, the JSON object it prints as its first line).

    It is to end when its standard input does, which we hold open.
    """
    running = start(
        command, log, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    ready, _, _ = select.select([running.stdout], [], [], GREETING_TIMEOUT_SECONDS)
    line = running.stdout.readline() if ready else b""
    try:
        return running, json.loads(line)
    except ValueError:
        stop(running, signal.SIGTERM)
        raise StartFailed(f"did not say where it listens: {tail(log)}") from None


def await_greetings(process, ports, ca, log):
    """Return when each of PORTS (kind -> number) has greeted with 220."""
    deadline = time.monotonic() + GREETING_TIMEOUT_SECONDS
    for kind, port in ports.items():
        while not _greets(port, ca if kind == "ssl" else None):
            if process.poll() is not None:
                raise StartFailed(f"ended with {process.returncode}: {tail(log)}")
            if time.monotonic() > deadline:
                raise StartFailed(
                    f"no greeting on {kind} in {GREETING_TIMEOUT_SECONDS} s: {tail(log)}"
                )
            time.sleep(GREETING_POLL_SECONDS)


def stop(process, signal_number, target=None):
    """Send SIGNAL_NUMBER to TARGET (a process id; PROCESS itself), wait, else kill."""
    if process.poll() is not None:
        return
    try:
        if target is None:
            process.send_signal(signal_number)
        else:
            _send(target, signal_number)
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(log):
    """Return the last lines of LOG on one line, for an error text."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()[-4:]
    except FileNotFoundError:
        return "no log"
    return " | ".join(lines) or "nothing logged"


def _send(pid, signal_number):
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        pass


def _greets(port, ca):
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            if ca is not None:
                context = ssl.create_default_context(cafile=ca)
                with context.wrap_socket(connection, server_hostname="localhost") as secured:
                    return _reads_220(secured)
            return _reads_220(connection)
    except OSError:
        return False


def _reads_220(connection):
    greeting = connection.makefile("rb").readline(1000)
    if not greeting.startswith(b"220"):
        return False
    connection.sendall(b"QUIT\r\n")
    return True
