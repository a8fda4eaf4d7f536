"""The release of the reference vectors in both of its forms, written from the one that is kept.

Both forms hold the same values, all of which fit into bfloat16. The repository has them once and at
that width, in the shards of the safetensors form. `release.json` lists the dtypes of that form, and
the names that share a tensor, which safetensors drop.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

RELEASE = "release_tiny"
_SHARDS = 3


def has_both_forms(golden: Path) -> bool:
    """Tell whether a folder of reference vectors holds both forms of the release, or none."""
    return (golden / RELEASE / "bin").is_dir() or not (golden / RELEASE / "safetensors").is_dir()


def complete_golden(golden: Path, target: Path) -> None:
    """Fill a folder with links to the reference vectors and with both forms of the release."""
    source, release = golden / RELEASE, target / RELEASE
    _link_all(golden, target, {RELEASE})
    _link_all(source, release, {"safetensors"})
    names = {path.name for path in (source / "safetensors").iterdir()}
    shards = {name for name in names if name.endswith(".safetensors")}
    own = {"config.json", "generation_config.json", "model.safetensors.index.json"}
    _link_all(source / "safetensors", release / "safetensors", shards)
    _link_all(source / "safetensors", release / "bin", shards | own)
    config = json.loads((source / "safetensors" / "config.json").read_text())
    config["torch_dtype"] = "bfloat16"
    del config["_name_or_path"]
    (release / "bin" / "config.json").write_text(json.dumps(config, indent=2))
    # Where torch is missing, nothing reads weights.
    if importlib.util.find_spec("torch") is None:
        return
    info = json.loads((source / "release.json").read_text())
    kept: dict[str, Any] = {}
    for name in sorted(shards):
        tensors = _read(source / "safetensors" / name)
        _write_widened(tensors, release / "safetensors" / name, info["key_groups_safetensors"])
        kept |= tensors
    _write_bins(kept, release / "bin", info["aliases"]["kept_and_dropped_in_safetensors"])


def _link_all(source: Path, target: Path, besides: set[str]) -> None:
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.name not in besides:
            (target / path.name).symlink_to(path.resolve())


def _read(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(path)


def _write_widened(tensors: dict[str, Any], path: Path, groups: dict[str, dict[str, int]]) -> None:
    import torch
    from safetensors.torch import save_file

    def widen(name: str, tensor: Any) -> Any:
        group = max((one for one in groups if f"{name}.".startswith(f"{one}.")), key=len)
        is_wide = tensor.is_floating_point() and "float32" in groups[group]
        return tensor.to(torch.float32) if is_wide else tensor

    wide = {name: widen(name, tensor) for name, tensor in tensors.items()}
    save_file(wide, path, metadata={"format": "pt"})


def _write_bins(kept: dict[str, Any], target: Path, dropped: dict[str, list[str]]) -> None:
    import torch

    tensors: dict[str, Any] = {}
    for name, value in kept.items():
        tensors[name] = value
        for first, others in dropped.items():
            if name.startswith(f"{first}."):
                tensors |= {other + name.removeprefix(first): value for other in others}
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
