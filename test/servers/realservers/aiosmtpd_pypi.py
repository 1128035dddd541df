# SPDX-License-Identifier: GPL-3.0-or-later
"""aiosmtpd, of PyPI, in a virtual environment below build/."""

import os
import platform
import shutil
import sys

from . import archive, program
from .places import SOURCES

_REQUIREMENTS = SOURCES / "requirements.txt"


class Aiosmtpd:
    """aiosmtpd_server.py, run by a Python that has aiosmtpd."""

    name = "aiosmtpd"
    mechanisms = ["LOGIN", "PLAIN"]
    log_name = "server.log"

    def require(self):
        """Nothing but a Python, and this is one."""

    def fetch(self):
        """Fill the virtual environment once; return the directory that holds it."""
        # A virtual environment works with the interpreter that made it, only.
        recipe = f"{sys.executable} {platform.python_version()}\n{_REQUIREMENTS.read_text()}"
        return archive.provide("aiosmtpd", recipe, _fill)

    def start(self, run):
        """Start the program for RUN; return the started server."""
        libraries = self.fetch() / "site-packages"
        environment = {**os.environ, "PYTHONPATH": str(libraries)}
        command = [sys.executable, "-B", SOURCES / "aiosmtpd_server.py"]
        return program.start(run, command, environment)


def _fill(directory):
    # The environment is for its pip alone: what pip puts into a plain directory
    # keeps working when the directory is renamed.
    tools = directory / "tools"
    archive.run_tool([sys.executable, "-m", "venv", tools], "making a virtual environment")
    archive.run_tool(
        [
            tools / "bin" / "python", "-m", "pip", "install", "--quiet",
            "--target", directory / "site-packages", "--requirement", _REQUIREMENTS,
        ],
        "pip install aiosmtpd",
    )  # fmt: skip
    shutil.rmtree(tools)
