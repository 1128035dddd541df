#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""usage: dns_server.py ZONE

An authoritative DNS server (RFC 1035, RFC 2782) on port 53 of 127.0.0.1, for tests.
ZONE is a file of JSON: {"NAME TYPE": ANSWER}, where TYPE is SRV or MX and ANSWER is

  a list of records, [PRIORITY, WEIGHT, PORT, TARGET] or [PREFERENCE, EXCHANGER];
  "silence": no answer at all;
  "loop": a target whose name points to itself;
  "cut": an answer that ends in the middle;
  "noise": octets that are no answer;
  "other": an answer to another question;
  "many": 1000 records.

Any other name does not exist.  Prints "ready" when it listens, and each question that
it got; ends with its standard input.
"""

import json
import os
import socket
import struct
import sys
import threading

TYPES = {15: "MX", 33: "SRV"}
NUMBERS = {name: number for number, name in TYPES.items()}


def encode_name(name):
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def read_question(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack("!H", query[at + 1 : at + 3])[0], at + 5


def encode_record(kind, record):
    *numbers, target = record
    data = struct.pack(f"!{len(numbers)}H", *numbers) + encode_name(target)
    # The owner is the name in the question, by a pointer.
    return b"\xc0\x0c" + struct.pack("!HHIH", NUMBERS[kind], 1, 60, len(data)) + data


def reply(query, zone):
    """Return the answer to QUERY, or None."""
    name, number, end = read_question(query)
    kind = TYPES.get(number, str(number))
    print(f"{name} {kind}", flush=True)
    answer = zone.get(f"{name.lower()} {kind}")
    identity, question = query[:2], query[12:end]
    if answer == "silence":
        return None
    if answer == "noise":
        return os.urandom(90)
    if answer == "other":
        question = encode_name("other.example") + question[-4:]
        answer = [[0, 1, 465, "smtp.example.org"]]
    if answer == "many":
        answer = [[n, 1, 465, f"s{n}.example.org"] for n in range(1000)]
    if answer in ("loop", "cut"):
        start = 12 + len(question)
        # The target, behind owner, type, class, TTL, length and three numbers.
        target = start + 12 + 6
        data = struct.pack("!HHHH", 0, 1, 465, 0xC000 | target)
        record = b"\xc0\x0c" + struct.pack("!HHIH", number, 1, 60, 8) + data
        header = struct.pack("!HHHHH", 0x8500, 1, 1, 0, 0)
        whole = identity + header + question + record
        return whole if answer == "loop" else whole[: len(whole) - 5]
    records = [encode_record(kind, record) for record in answer or []]
    flags = 0x8500 if answer is not None else 0x8503
    header = struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
    return identity + header + question + b"".join(records)


def main(path):
    with open(path, encoding="utf-8") as file:
        zone = json.load(file)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print("ready", flush=True)
    while True:
        query, peer = server.recvfrom(4096)
        answer = reply(query, zone)
        if answer is not None:
            server.sendto(answer, peer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
