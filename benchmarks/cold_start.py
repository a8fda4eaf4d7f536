"""Time a process from its start to its first answer, for each backend, and what it imports.

    python benchmarks/cold_start.py [--backend onnxruntime --backend torch] [--repeat 5] [--cores 2]
        [--against ../another/checkout]

The first run of each backend reads files that are not in memory yet; it is reported separately.
With another checkout the two take turns, and the ratio of their medians is reported: above 1 this
one is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SENTENCE = "find the red mug and the bowl"
FRAME_HW = (480, 640)
MOST_IMPORTS = 8
CHECKOUT = Path(__file__).resolve().parents[1]


def ask(
    image: Path, backend: str, *python_options: str, checkout: Path = CHECKOUT
) -> tuple[float, str]:
    """Answer in a fresh process; return its seconds and what it wrote to standard error."""
    words = ["-m", "vl2_ros.cli", "ask", str(image), SENTENCE, "--json", "--device", "cpu"]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *python_options, *words, "--backend", backend],
        capture_output=True,
        text=True,
        check=True,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
    )
    return time.perf_counter() - began, done.stderr


def find_slow_imports(image: Path, backend: str) -> dict[str, float]:
    """Return the modules that took longest to import, what they import included, in seconds."""
    _, log = ask(image, backend, "-X", "importtime")
    rows = re.findall(r"import time: +\d+ \| +(\d+) \| +(\S+)", log)
    slowest = sorted(((int(spent), name) for spent, name in rows), reverse=True)
    return {name: round(spent / 1e6, 3) for spent, name in slowest[:MOST_IMPORTS]}


def compare(image: Path, backend: str, repeat: int, other: Path) -> dict[str, float]:
    """Return the medians of this checkout and another one, and their ratio."""
    spent: dict[Path, list[float]] = {CHECKOUT: [], other: []}
    for _ in range(1 + repeat):
        for checkout, seconds in spent.items():
            seconds.append(ask(image, backend, checkout=checkout)[0])
    own, theirs = (statistics.median(seconds[1:]) for seconds in spent.values())
    return {
        "median_s": round(own, 2),
        "other_median_s": round(theirs, 2),
        "ratio": round(own / theirs, 3),
    }


def main() -> None:
    """Run everything and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", action="append")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--against", type=Path, help="another checkout to compare with")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    document: dict[str, object] = {"cores": options.cores}
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "table.png"
        pixels = np.random.default_rng(0).integers(0, 256, (*FRAME_HW, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image)
        for backend in options.backend or ["onnxruntime", "torch"]:
            if options.against is not None:
                other = options.against.resolve()
                document[backend] = compare(image, backend, options.repeat, other)
                continue
            first, *later = (ask(image, backend)[0] for _ in range(1 + options.repeat))
            document[backend] = {
                "first_s": round(first, 2),
                "median_s": round(statistics.median(later), 2),
                "slow_imports_s": find_slow_imports(image, backend),
            }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
