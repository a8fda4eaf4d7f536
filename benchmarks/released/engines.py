"""Build the int8 engines of a large checkpoint on a CPU: seconds, anonymous memory, the gate.

    python -m benchmarks.released.engines /tmp/four_layers /tmp/engines [--without pose_decoder]

Exports and builds as `vl2 engines build --profile cpu-int8` does. The weights of
`released/checkpoint.py` are random, so that the verdict of the gate is one of chance: it is
printed, and the engines are published whatever it is. `released/answer.py --engines` measures them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.released.answer import follow_memory
from vl2_ros.export.build_engines import compare_with_torch, open_shapes
from vl2_ros.export.engine_builders import make_builder
from vl2_ros.export.engine_profile import find_profile, load_profile
from vl2_ros.export.engine_store import EngineStore
from vl2_ros.export.profile_export import export_for_profile
from vl2_ros.model.parts import graph_of
from vl2_ros.runtime.engine import Engine
from vl2_ros.runtime.files.engine_files import read_engine_files
from vl2_ros.runtime.files.parity_gate import OutputMiss


class Stages:
    """Seconds and peaks of named stages, one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}
        self._following = follow_memory(self.peaks, "start")
        self._following.__enter__()
        self._name, self._began = "start", time.perf_counter()

    def begin(self, name: str, _share: float = 0.0) -> None:
        """End the stage before, and start one, unless it is the same."""
        if name == self._name:
            return
        self.end()
        self._following = follow_memory(self.peaks, name)
        self._following.__enter__()
        self._name, self._began = name, time.perf_counter()
        print(name, flush=True)

    def end(self) -> None:
        """End the stage."""
        self._following.__exit__(None, None, None)
        self.seconds[self._name] = time.perf_counter() - self._began


def main() -> None:
    """Build, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("engines", type=Path)
    parser.add_argument("--without", nargs="*", default=[], help="graphs that are skipped")
    options = parser.parse_args()
    shipped = load_profile(find_profile("cpu-int8"))
    graphs = {name: one for name, one in shipped.graphs.items() if name not in options.without}
    profile, stages = replace(shipped, graphs=graphs), Stages()
    source = export_for_profile(
        profile,
        options.weights,
        options.engines / "onnx",
        progress=stages.begin,
    )
    exported, store, builder = (
        read_engine_files(source),
        EngineStore(options.engines),
        make_builder(profile),
    )
    engines, verdicts = [], {}
    for name, file in exported.graphs.items():

        def judge(engine: Engine, file=file, name=name) -> Sequence[OutputMiss]:
            stages.begin(f"gate: {name}")
            verdicts[name] = [one.to_json() for one in compare_with_torch(engine, source=file)]
            return []

        stages.begin(f"build: {name}")
        shapes = open_shapes(profile.graphs[graph_of(name)], file)
        engines.append(store.build(file, shapes, builder, judge))
    stages.begin("publish")
    store.publish(exported.checkpoint, engines, exported.embeddings)
    stages.end()
    found = {
        "seconds": stages.seconds,
        "anonymous_gb": stages.peaks,
        "verdicts": verdicts,
        "engine_gb": {one.recipe.graph: one.size / 1e9 for one in engines},
        "load": os.getloadavg(),
    }
    print(json.dumps(found, indent=2, default=float))


if __name__ == "__main__":
    main()
