"""The release of the reference vectors as `.bin` files, written from its safetensors.

Both forms hold the same values, so that the repository carries one of them: bfloat16 is what was
trained, and safetensors drop the names that share a tensor, which `release.json` lists.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RELEASE = "release_tiny"
_SHARDS = 3


def has_bins(golden: Path) -> bool:
    """Return whether a folder of reference vectors has both forms of the release, or none."""
    return (golden / RELEASE / "bin").is_dir() or not (golden / RELEASE / "safetensors").is_dir()


def complete_golden(golden: Path, target: Path) -> None:
    """Fill a folder with links to the reference vectors and with the release as `.bin` files."""
    _link_all(golden, target, besides=RELEASE)
    _link_all(golden / RELEASE, target / RELEASE)
    _write_bins(golden / RELEASE, target / RELEASE / "bin")


def _link_all(source: Path, target: Path, besides: str = "") -> None:
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.name != besides:
            (target / path.name).symlink_to(path.resolve())


def _write_bins(release: Path, target: Path) -> None:
    source = release / "safetensors"
    target.mkdir()
    own = ("config.json", "generation_config.json")
    for path in source.iterdir():
        if not path.name.startswith("model") and path.name not in own:
            (target / path.name).symlink_to(path.resolve())
    config = json.loads((source / "config.json").read_text())
    config["torch_dtype"] = "bfloat16"
    del config["_name_or_path"]
    (target / "config.json").write_text(json.dumps(config, indent=2))
    # Where torch is missing, nothing reads weights.
    if importlib.util.find_spec("torch") is not None:
        _write_weights(release, target)


def _write_weights(release: Path, target: Path) -> None:
    import torch

    rules = json.loads((release / "release.json").read_text())["aliases"]
    dropped: dict[str, list[str]] = rules["kept_and_dropped_in_safetensors"]
    tensors: dict[str, Any] = {}
    for name, tensor in _read_tensors(release / "safetensors"):
        value = tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
        tensors[name] = value
        for kept, others in dropped.items():
            if name.startswith(f"{kept}."):
                tensors |= {other + name.removeprefix(kept): value for other in others}
    # All names of a tensor in one shard: they follow the first one.
    names, size = list(tensors), -(-len(tensors) // _SHARDS)
    shard_of: dict[int, str] = {}
    weight_map: dict[str, str] = {}
    for index, name in enumerate(names):
        shard = f"pytorch_model-{index // size + 1:05d}-of-{_SHARDS:05d}.bin"
        weight_map[name] = shard_of.setdefault(id(tensors[name]), shard)
    for shard in dict.fromkeys(weight_map.values()):
        torch.save({n: tensors[n] for n in names if weight_map[n] == shard}, target / shard)
    total = sum({id(one): one.nbytes for one in tensors.values()}.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (target / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2))


def _read_tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                yield name, file.get_tensor(name)
