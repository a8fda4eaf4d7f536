"""Read damaged messages and files; nothing but errors of this package may come out.

    python benchmarks/fuzz.py [--cases 1000000] [--seed 1] [--kind messages] [--json]

Messages of every type that the node and its clients read, damaged in their bytes and fields, go
through deserialising, reading and what the worker does with them; files of every kind that is read
likewise. A find is an exception that a reader does not promise, a traceback in the node's log, or
memory that grows. Ends with 1 when there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

# So that the package of the fuzzers is found when this file is run.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fuzzing.report import FuzzReport  # noqa: E402

KINDS = ("messages", "files")
#: Finds that are printed; all are counted.
SHOWN = 20


def choose_fuzzer(kind: str) -> Callable[[int, int], FuzzReport]:
    """Return the fuzzer of one kind of input."""
    # Late, as each brings the libraries that it fuzzes.
    if kind == "files":
        from benchmarks.fuzzing.files import fuzz_files

        return fuzz_files
    from benchmarks.fuzzing.messages import fuzz_messages

    return fuzz_messages


def main() -> int:
    """Fuzz, print the counts, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the damage")
    parser.add_argument("--kind", choices=(*KINDS, "all"), default="messages")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    options = parser.parse_args()
    details = {}
    for kind in KINDS if options.kind == "all" else (options.kind,):
        began_s = time.perf_counter()
        report = choose_fuzzer(kind)(options.cases, options.seed)
        details[kind] = {
            "cases": report.cases,
            "finds": len(report.finds),
            "seconds": round(time.perf_counter() - began_s, 1),
            "shown": report.finds[:SHOWN],
        }
    cases, finds = (sum(one[key] for one in details.values()) for key in ("cases", "finds"))
    if options.json:
        print(json.dumps({"cases": cases, "finds": finds, "seed": options.seed, "kinds": details}))
        return int(finds > 0)
    for kind, one in details.items():
        print(f"{kind}: {one['cases']} cases, {one['finds']} finds, {one['seconds']} s")
        print(*one["shown"], sep="\n")
    return int(finds > 0)


if __name__ == "__main__":
    sys.exit(main())
