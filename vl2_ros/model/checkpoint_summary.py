"""A checkpoint folder to a short account of it, without loading the weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from vl2_ros.model.checkpoint_config import read_checkpoint_config
from vl2_ros.model.checkpoint_shards import find_weight_files, iterate_tensors


def summarise_checkpoint(folder: Path) -> dict[str, Any]:
    """Count what a released checkpoint or one of ours holds.

    Returns:
        `layout` (release or vl2_ros), number of `files`, `megabytes`, `parameters` (all, and by the
        first part of their name), stored `dtypes` with their number of values, and
        `has_detection_decoder`.

    Raises:
        CheckpointError: if the folder is no checkpoint or a file of it is missing or damaged.
        ConfigError: if the model is a variant that is not supported.
    """
    checkpoint = read_checkpoint_config(folder)
    files = find_weight_files(folder)
    parameters: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    for name, tensor in iterate_tensors(files):
        parameters[name.partition(".")[0]] += tensor.numel()
        dtypes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return {
        "layout": "release" if checkpoint.is_release else "vl2_ros",
        "files": len(files.paths),
        "megabytes": round(files.total_bytes / 1e6, 2),
        "parameters": {"all": sum(parameters.values()), **parameters},
        "dtypes": dict(dtypes),
        "has_detection_decoder": checkpoint.model.detection is not None,
    }
