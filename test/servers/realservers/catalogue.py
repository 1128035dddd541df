# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers there are.

Each has `name`, `mechanisms` (of SASL, announced once TLS is up), `log_name` (the
server's own log in the run's directory), `require()` for what the machine must allow, `fetch()`, which downloads what it needs unless it is
there, and `start(run)`, which returns a `driver.Started`.  The first two raise
`CannotRun` with the reason.
"""

from .aiosmtpd_pypi import Aiosmtpd
from .exim import Exim
from .postfix import Postfix
from .sendmail import Sendmail
from .smtp_server_npm import SmtpServer

SERVERS = {
    server.name: server for server in (Postfix(), Aiosmtpd(), SmtpServer(), Exim(), Sendmail())
}
