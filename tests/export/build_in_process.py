"""Build the mapper of a folder in a process of its own, slowly; tell whether it was built here."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.export.engine_folders import PROFILE, CountingBuilder
from vl2_ros.export.build_engines import build_engines
from vl2_ros.export.engine_store import EngineStore


class SlowBuilder(CountingBuilder):
    def build(self, *arguments) -> None:
        sys.stdout.write("building\n")
        sys.stdout.flush()
        time.sleep(float(sys.argv[3]))
        super().build(*arguments)


def main() -> None:
    waits: list[str] = []
    builder = SlowBuilder()
    store = EngineStore(Path(sys.argv[2]), on_wait=waits.append)
    report = build_engines(PROFILE, Path(sys.argv[1]), store, builder)
    sys.stdout.write(f"builds={builder.builds} waits={len(waits)} {report.engines[0].file.sha256}")


if __name__ == "__main__":
    main()
