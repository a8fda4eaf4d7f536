"""Write checkpoints of a run that every command takes by `--weights`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vl2_ros.model.checkpoint.folder import COMPANION_FILES, save_model
from vl2_ros.model.checkpoint.plan import find_places
from vl2_ros.model.checkpoint.weights import build_empty_model, fill_place
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import IMAGE_PARTS


def write_checkpoint(
    network: VisionLLM,
    state: Mapping[str, Tensor],
    folder: Path,
    name: str,
    dtype: torch.dtype,
) -> None:
    """Write the weights of a network, with the files that belong to it.

    Args:
        network: in training, with adapters or divided among processes; only its sizes are read.
        state: whole tensors under the names of a network without adapters.
        folder: of the run, where the tokenizer and the processing settings are.
        name: of the checkpoint, a folder in that of the run.
        dtype: of the weights in the files.

    Raises:
        CheckpointError: if a weight is not finite, or too large for the dtype.
    """
    whole = build_empty_model(network.config, network.tokens)
    for part in set(IMAGE_PARTS) & set(network.config.parts):
        whole.get_submodule(part).folder = network.get_submodule(part).folder
    for place in find_places(whole).values():
        fill_place(whole, place, state[place.names[0]])
    save_model(whole, folder / name, dtype=dtype)
    for companion in COMPANION_FILES:
        if (folder / companion).is_file():
            shutil.copyfile(folder / companion, folder / name / companion)
