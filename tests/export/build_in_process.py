"""Build the mapper of a folder in a process of its own, which says where it is and how it went.

It builds once it reads a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.export.engine_folders import PROFILE, CountingBuilder
from vl2_ros.export.build_engines import build_engines
from vl2_ros.export.engine_store import EngineStore


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


class HeldBuilder(CountingBuilder):
    def build(self, *arguments) -> None:
        say("building")
        sys.stdin.readline()
        super().build(*arguments)


def main() -> None:
    builder = HeldBuilder()
    store = EngineStore(Path(sys.argv[2]), on_wait=lambda _: say("waiting"))
    report = build_engines(PROFILE, Path(sys.argv[1]), store, builder)
    say(f"builds={builder.builds} {report.engines[0].file.sha256}")


if __name__ == "__main__":
    main()
