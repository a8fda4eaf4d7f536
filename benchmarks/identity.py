"""Time loading a checkpoint of torch with and without hashing it beside.

    python benchmarks/identity.py [--gigabytes 1] [--repeat 3]

Prints the seconds of both, their ratio (1.1 is the most that is wanted) and how long the identity
was `pending` after loading. The files are in memory after the first load, which is not counted:
hashing beside costs most then, because no time is spent on the disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from vl2_ros.model.checkpoint.folder import save_model
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.runtime.files.weights_identity import HashCache, WeightsIdentity
from vl2_ros.runtime.torch_backend.loading import load_torch_engines

WIDTH, EXPANDED = 1024, 4096
#: Values of a layer of that width, and bytes of a stored value.
LAYER_VALUES, STORED_BYTES = 4 * WIDTH**2 + 3 * WIDTH * EXPANDED, 2


def make_checkpoint(folder: Path, gigabytes: float) -> int:
    """Write a checkpoint that is nearly all language model; return its bytes."""
    layers = max(1, round(gigabytes * 1e9 / STORED_BYTES / LAYER_VALUES))
    tiny = ModelConfig.tiny(with_detection=False)
    sizes = {"hidden_size": WIDTH, "intermediate_size": EXPANDED, "num_hidden_layers": layers}
    config = replace(tiny, llm={**tiny.llm, **sizes}, use_region_encoder=False)
    torch.set_default_dtype(torch.float16)
    save_model(VisionLLM(config, TokenIds.from_base(64)), folder)
    torch.set_default_dtype(torch.float32)
    return (folder / "model.safetensors").stat().st_size


def time_load(folder: Path, *, with_hash: bool) -> tuple[float, float]:
    """Return the seconds of loading, and those until the identity was known after it."""
    with tempfile.TemporaryDirectory() as empty:
        cache = HashCache(Path(empty) / "hashes.json")
        began = time.perf_counter()
        identity = WeightsIdentity(folder, cache, max_waited_bytes=0)
        if with_hash:
            identity.start()
        load_torch_engines(folder)
        loaded = time.perf_counter()
        if with_hash:
            identity.wait()
        return loaded - began, time.perf_counter() - loaded


def main() -> None:
    """Measure, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        size = make_checkpoint(folder, options.gigabytes)
        time_load(folder, with_hash=False)
        # In turns, so that both meet the same machine.
        pairs = [
            (time_load(folder, with_hash=False)[0], time_load(folder, with_hash=True))
            for _ in range(options.repeat)
        ]
    plain = statistics.median(one for one, _ in pairs)
    hashed = statistics.median(one for _, (one, _) in pairs)
    document = {
        "bytes": size,
        "load_s": round(plain, 2),
        "load_while_hashing_s": round(hashed, 2),
        "ratio": round(hashed / plain, 3),
        "pending_after_load_s": round(statistics.median(one for _, (_, one) in pairs), 2),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
