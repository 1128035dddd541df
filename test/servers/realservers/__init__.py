# SPDX-License-Identifier: GPL-3.0-or-later
"""Real mail servers for the tests: fetched into build/servers/, run on loopback.

    places.py        where things are; what every server is told (users, limits)
    archive.py       download once: a lock, a stamp, a rename
    debian.py        Debian packages with what they need, unpacked, never installed
    certificates.py  the private CA of one run
    process.py       start, wait for the greeting, stop by process id
    namespace.py     a private mount and process namespace for servers with own users
    program.py       servers that are a library and a program of ours
    driver.py        one run: start, describe, wait, stop
    postfix.py exim.py sendmail.py aiosmtpd_pypi.py smtp_server_npm.py   one server each

A server module has one class with `name`, `fetch()` and `start(run)`; see
`catalogue.py`.  Nothing here may install into the system or listen on anything
but 127.0.0.1.
"""
