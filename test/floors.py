#!/usr/bin/env python3
"""Check the floors of the engine: a file imports from lower floors only.

Reads every `crate::` and `super::` path in src/ and the crates that only one
floor may use.  Prints each breach as FILE:LINE and exits with 1 if there is one.
"""
import re
import sys
from pathlib import Path

# Modules by floor; a module may use itself and all floors below its own.
FLOOR = {"calendar": 1, "smtp": 1, "net": 2, "outbox": 2, "delivery": 3, "exports": 4}
# What floor 1 must not touch: it is usable in any program.
PURE = re.compile(r"\bstd::(fs|io|net|os|process|thread|time|env)\b")
# A crate and the only module that may name it.
OWNERS = {"emacs": "exports", "native_tls": "net", "openssl": "net", "socket2": "net", "x509_parser": "net"}


def strip_tests(text):
    """TEXT with its unit tests blanked: they may use what they like."""
    cut = text.find("#[cfg(test)]\nmod tests {")
    return text if cut < 0 else text[:cut]


def breaches(root):
    for path in sorted(root.rglob("*.rs")):
        module = path.relative_to(root).parts[0].removesuffix(".rs")
        floor = FLOOR.get(module)
        if floor is None or path.stem == "tests" or "tests" in path.parts:
            continue
        for number, line in enumerate(strip_tests(path.read_text()).splitlines(), 1):
            code = line.split("//", 1)[0]
            for used in re.findall(r"\bcrate::(\w+)", code):
                if used != module and FLOOR.get(used, 9) >= floor:
                    yield path, number, f"{module} (floor {floor}) uses {used}"
            if floor == 1 and PURE.search(code):
                yield path, number, f"floor 1 uses {PURE.search(code)[0]}"
            for crate, owner in OWNERS.items():
                if module != owner and re.search(rf"\b(use {crate}\b|{crate}::)", code):
                    yield path, number, f"{module} uses the crate {crate}, which belongs to {owner}"


def main():
    found = list(breaches(Path(__file__).resolve().parent.parent / "src"))
    for path, number, what in found:
        print(f"{path}:{number}: {what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
