"""The command that shows versions, the device, and what is in a checkpoint."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vl2_ros.console import display
from vl2_ros.console.groups import group_options
from vl2_ros.console.options import AsJson, Checkpoint, find_package_version, find_version

#: Bytes of a value, by how the weights are computed with.
_WIDTHS = {"float32": 4, "float16 or bfloat16": 2}


@group_options
def info(model: Checkpoint, as_json: AsJson = False) -> None:
    """Show versions, the device, and a checkpoint: its parts, memory, and what it knows."""
    from vl2_ros.loading import find_weights
    from vl2_ros.processing.card import read_card

    folder = find_weights(model)
    document: dict[str, Any] = {
        "vl2_ros": find_version(),
        "python": platform.python_version(),
        "onnxruntime": find_package_version("onnxruntime", "onnxruntime-gpu"),
        "torch": None,
        "cuda": None,
        "weights": str(folder),
    }
    if find_spec("torch") is not None:
        document |= _describe_with_torch(folder)
    elif not model.weights:
        document |= _describe_stored(folder)
    else:
        display.show_note("what is in a checkpoint is shown where torch is installed")
    if "parts" in document:
        values = sum(document["parts"].values())
        document["parameters"] = values
        document["weights_mb"] = {
            name: round(values * width / 1e6, 1) for name, width in _WIDTHS.items()
        }
    document |= describe_engines(folder) | read_card(folder)
    if as_json:
        display.print_json(document)
    else:
        display.print_facts(document)


def _describe_with_torch(folder: Path) -> dict[str, Any]:
    """Return torch, its device, and the contents of a checkpoint."""
    from dataclasses import asdict

    import torch

    from vl2_ros.model.checkpoint.folder import describe_checkpoint

    with display.show_progress("reading"):
        checkpoint = asdict(describe_checkpoint(folder))
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"torch": torch.__version__, "cuda": cuda, **checkpoint}


def _describe_stored(folder: Path) -> dict[str, Any]:
    """Return the parts of a checkpoint in our layout, by the header of its file."""
    from math import prod

    from safetensors import safe_open

    parts: dict[str, int] = {}
    with safe_open(folder / "model.safetensors", "np") as file:
        for name in file.keys():  # noqa: SIM118 - a function of the file, which is no mapping
            part = name.partition(".")[0]
            parts[part] = parts.get(part, 0) + prod(file.get_slice(name).get_shape())
    return {"name": folder.name, "parts": parts}


def describe_engines(folder: Path) -> dict[str, Any]:
    """Return the precisions of the engines in a checkpoint folder, and which this CPU answers in.

    Engines that were built elsewhere for the checkpoint come first; `vl2 engines list` shows them.
    """
    from vl2_ros.documents import is_file
    from vl2_ros.runtime.backend_choice import choose_form
    from vl2_ros.runtime.files.engine_files import FILE_NAME, read_engine_files

    if not is_file(folder / FILE_NAME):
        return {}
    files = read_engine_files(folder)
    return {
        "engine_precisions": list(files.precisions),
        "auto_precision_on_cpu": choose_form(files) or files.precision,
    }
