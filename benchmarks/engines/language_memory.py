"""Print what the language model of 7B takes at each precision, from plans of its layers.

    python benchmarks/engines/language_memory.py [--precision float16 int8 int4] [--json FILE]

Networks of one and of two layers of the released width, random weights and a small vocabulary, are
exported and compiled by TensorRT for RTX with the ranges of `engines/discrete.yaml`; the difference
is a layer. The release has 32 of them, a head and a table of embeddings, which stay float16, and a
cache of float16. Needs no GPU; up to 4 GB of memory, and some minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from vl2_ros.export.engine_profile import list_shipped_profiles, load_profile

LAYERS, WIDTH, VOCABULARY = 32, 4096, 32026
#: Positions of the cache: a prompt of one tile, one of five, and the longest of the profile.
POSITIONS = (768, 3072, 4096)
_HALF = 2
_MB = 1e6
_SMALL_VOCABULARY = 128


def export(layers: int, precision: str, folder: Path) -> None:
    """Write the graph of so many layers; runs in a process of its own, with torch."""
    import torch
    from released_graphs import make_network, write_graph

    from vl2_ros.export.quantized.graph import quantise_graph

    profile = load_profile(list_shipped_profiles()["discrete"])
    model = make_network(
        "language_model", dtype=torch.float16, layers=layers, vocabulary=_SMALL_VOCABULARY
    )
    onnx = write_graph(model, "language_model", "float16", profile, folder)
    if precision == "float16":
        return
    wide = onnx.rename(folder / "wide.onnx")
    quantise_graph(wide, onnx, precision, form="widened", most_inline_bytes=1_800_000_000)


def compile_plan(folder: Path) -> None:
    """Build the plan; runs in a process of its own, without torch."""
    from vl2_ros.runtime.tensorrt_backend.build import PlanOrder, build_plan
    from vl2_ros.runtime.tensorrt_backend.library import TENSORRT_RTX

    profile = load_profile(list_shipped_profiles()["discrete"])
    shapes = profile.graphs["language_model"].shapes
    order = PlanOrder("language_model", shapes, profile.workspace_bytes)
    build_plan(folder / "language_model.onnx", folder / "plan", order, TENSORRT_RTX)


def measure_layer(precision: str) -> float:
    """Return the bytes that one layer adds to a plan."""
    sizes = []
    for layers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            for step in ("export", "compile"):
                words = [sys.executable, __file__, "--precision", precision, "--step", step]
                subprocess.run([*words, "--layers", str(layers), "--in", folder], check=True)
            sizes.append((Path(folder) / "plan").stat().st_size)
    return float(sizes[1] - sizes[0])


def describe(precision: str, layer: float) -> dict[str, float | str]:
    """Return a row of the table, in MB."""
    table = VOCABULARY * WIDTH * _HALF
    weights = LAYERS * layer + table
    row: dict[str, float | str] = {
        "precision": precision,
        "one layer": layer / _MB,
        "32 layers": LAYERS * layer / _MB,
        "head": table / _MB,
        "embeddings": table / _MB,
    }
    for count in POSITIONS:
        cache = LAYERS * 2 * WIDTH * _HALF * count
        row[f"cache of {count}"] = cache / _MB
        row[f"all with {count}"] = (weights + table + cache) / _MB
    return row


def main() -> None:
    """Print a row for every precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", nargs="+", default=["float16", "int8", "int4"])
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--step", choices=("export", "compile"), help=argparse.SUPPRESS)
    parser.add_argument("--layers", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step == "export":
        export(options.layers, options.precision[0], options.folder)
        return
    if options.step == "compile":
        compile_plan(options.folder)
        return
    rows = []
    for precision in options.precision:
        rows.append(row := describe(precision, measure_layer(precision)))
        if len(rows) == 1:
            print("| " + " | ".join(row) + " |\n" + "|---" * len(row) + "|")
        shown = [one if isinstance(one, str) else f"{one:,.0f}" for one in row.values()]
        print("| " + " | ".join(shown) + " |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
