# SPDX-License-Identifier: GPL-3.0-or-later
"""The private CA of one run and the server certificate it signs (EC P-256)."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .places import SERVER_HOSTNAME

# A run lasts minutes; nobody should be able to use these later.
VALIDITY_DAYS = 2

_SUBJECT_NAMES = f"DNS:localhost,DNS:{SERVER_HOSTNAME},IP:127.0.0.1,IP:::1"


@dataclass(frozen=True)
class Certificates:
    """PEM files: the CA to trust, the server's chain and its private key."""

    ca: Path
    chain: Path
    key: Path


def make(directory):
    """Make a CA and a certificate signed by it in DIRECTORY, and return the files."""
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    chain, key = directory / "server.pem", directory / "server.key"
    request = directory / "server.csr"
    extensions = directory / "server.extensions"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl(
        "req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", VALIDITY_DAYS,
        "-subj", "/CN=Private CA of one test run",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    _openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    extensions.write_text(
        "basicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth\n"
        f"subjectAltName={_SUBJECT_NAMES}\n"
    )
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial",
        "-out", chain, "-days", VALIDITY_DAYS, "-extfile", extensions,
    )  # fmt: skip
    for finished_with in (ca_key, request, extensions):
        finished_with.unlink()
    return Certificates(ca, chain, key)


def _openssl(*arguments):
    subprocess.run(
        ["openssl", *(str(argument) for argument in arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )
