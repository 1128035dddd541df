# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each message: Emacs's journal against Postfix's mailbox."""

import collections
import hashlib
import json
import re
from pathlib import Path

import read_mail

_QUEUE_ID = re.compile(rb"\sid ([A-Za-z0-9]+)")
_QUEUED_AS = re.compile(r"queued as ([A-Za-z0-9]+)")
_SUBJECT = re.compile(rb"^Subject: (\d+)$", re.M)


class Journal:
    """What the Emacsen wrote down; a line is a list that begins with a word."""

    def __init__(self, file):
        self.file, self.offset, self.lines = file, 0, 0
        self.recipients, self.kinds, self.digests = {}, {}, {}
        self.handed = set()
        self.sent = collections.defaultdict(list)
        self.failed = collections.defaultdict(list)
        self.retried = collections.Counter()
        self.errors = []
        self.last_begun = 0
        self.idle = False

    @property
    def handed_over(self):
        return len(self.handed)

    def read(self):
        """Read what is new."""
        if not self.file.exists():
            return
        with open(self.file, "rb") as handle:
            handle.seek(self.offset)
            text = handle.read()
        # A line may be half there, for ever if its Emacs was killed meanwhile.
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            self.lines += 1
            try:
                word, number, *rest = json.loads(line)
            except ValueError:
                continue
            self._take(word, number, rest)

    def _take(self, word, number, rest):
        if word == "begun":
            self.kinds[number], self.recipients[number] = rest
            self.last_begun = max(self.last_begun, number)
        elif word == "prepared":
            self.digests[number] = rest[0]
        elif word == "handed-over":
            self.handed.add(number)
        elif word == "sent":
            self.sent[number].append(rest)
        elif word == "failed":
            self.failed[number].append(rest)
        elif word == "retried":
            self.retried[rest[0]] += 1
        elif word == "error":
            self.errors.append(f"{number}: {rest[0]}")
        self.idle = word == "idle"


def _mailbox(directory):
    """Return {number: {queue id: recipients}} of what Postfix took, and what is wrong.

    A queue id twice is Postfix's own second delivery, after it was killed in one."""
    taken, digests = collections.defaultdict(dict), {}
    for file in (directory / "mail").iterdir():
        stored = file.read_bytes()
        number = int(_SUBJECT.search(stored).group(1))
        queue_id = _QUEUE_ID.search(stored).group(1).decode()
        envelope = (directory / "envelopes" / file.name).read_text("utf-8").splitlines()
        taken[number].setdefault(queue_id, set()).update(envelope[1:])
        digests[number, queue_id] = hashlib.sha256(read_mail.as_sent(stored)).hexdigest()
    return taken, digests


def settle(journal, outbox, directory):
    """Return what became of the recipients, counted, and a list of what is wrong.

    OUTBOX is the list of entries left, DIRECTORY that of Postfix's run."""
    taken, digests = _mailbox(Path(directory))
    left = {int(entry["subject"]): entry for entry in outbox if entry["subject"]}
    tally, wrong = collections.Counter(), list(journal.errors)
    for number in sorted(journal.recipients):
        known = number in journal.handed
        entry = left.get(number)
        state = entry["state"] if entry else None
        for address in journal.recipients[number]:
            fate, problem = _fate(address, known, taken[number], entry, state)
            tally["recipients"] += known
            tally[fate] += known or fate.startswith("not handed")
            if problem:
                wrong.append(f"message {number} ({journal.kinds[number]}), {address}: {problem}")
        for queue_id in taken[number]:
            if digests[number, queue_id] != journal.digests.get(number):
                wrong.append(f"message {number}: the text {queue_id} is not the one sent")
        for reply, accepted in journal.sent[number]:
            said = _QUEUED_AS.search(reply)
            if not said or not set(accepted) <= taken[number].get(said.group(1), set()):
                wrong.append(f"message {number}: called sent ({reply}), Postfix has no such")
        if state == "unknown":
            tally["messages unknown"] += 1
    for why, count in journal.retried.items():
        tally[f"waited for the user: {why[:60]}"] = count
    return tally, wrong


def _fate(address, known, taken, entry, state):
    """Return what became of a recipient, and what is wrong with that, or None."""
    ids = [queue_id for queue_id, recipients in taken.items() if address in recipients]
    waits = entry is not None and address in entry["recipients"]
    refused = address.startswith("refused")
    if len(ids) > 1:
        return "twice", f"accepted as {ids}"
    if ids and refused:
        return "refused, yet there", "a refused recipient got it"
    if not known:
        return "not handed over before a kill", None
    if state == "unknown" and waits:
        return "unknown: " + ("was accepted" if ids else "was not accepted"), None
    if ids:
        return "accepted once", f"and in the outbox, {state}" if waits else None
    if refused:
        return "refused", None if not waits or state == "refused" else f"in the outbox, {state}"
    return "still waits" if waits else "lost", f"not accepted; in the outbox: {state}, waits: {waits}"
