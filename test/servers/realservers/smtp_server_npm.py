# SPDX-License-Identifier: GPL-3.0-or-later
"""smtp-server (of nodemailer), of npm, below build/."""

import os
import shutil

from . import archive, program
from .places import SOURCES, CannotRun

_SOURCES = SOURCES / "smtp_server"


class SmtpServer:
    """smtp_server/server.js, run by node."""

    name = "smtp-server"
    mechanisms = ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"]
    log_name = "server.log"

    def require(self):
        """Raise `CannotRun` without node and npm."""
        for tool in ("node", "npm"):
            if not shutil.which(tool):
                raise CannotRun(f"needs {tool}")

    def fetch(self):
        """Install what package-lock.json names, once; return the directory."""
        self.require()
        return archive.provide("smtp-server", (_SOURCES / "package-lock.json").read_text(), _fill)

    def start(self, run):
        """Start the program for RUN; return the started server."""
        environment = {**os.environ, "NODE_PATH": str(self.fetch() / "node_modules")}
        return program.start(run, ["node", _SOURCES / "server.js"], environment)


def _fill(directory):
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_SOURCES / name, directory / name)
    archive.run_tool(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev"],
        "npm ci",
        cwd=directory,
    )
