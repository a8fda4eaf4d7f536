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


class CheckpointWriter:
    """Writes the weights of a network with the files that belong to it.

    Args:
        network: in training, with adapters or divided among processes; only its sizes are read.
        folder: of the run, where the tokenizer and the processing settings are.
        dtype: of the weights in the files.
    """

    def __init__(self, network: VisionLLM, folder: Path, dtype: torch.dtype) -> None:
        """Make an empty network of the same sizes, whose weights take no memory."""
        self._folder, self._dtype = folder, dtype
        self._empty = build_empty_model(network.config, network.tokens)
        for name in set(IMAGE_PARTS) & set(network.config.parts):
            self._empty.get_submodule(name).folder = network.get_submodule(name).folder
        self._places = find_places(self._empty)

    def write(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Write one checkpoint into a folder of the run.

        Args:
            name: of the folder.
            state: whole tensors under the network's own names.

        Raises:
            CheckpointError: if a weight is not finite, or too large for the dtype.
        """
        out = self._folder / name
        out.mkdir(parents=True, exist_ok=True)
        for place in self._places.values():
            fill_place(self._empty, place, state[place.names[0]])
        save_model(self._empty, out, dtype=self._dtype)
        for companion in COMPANION_FILES:
            if (self._folder / companion).is_file():
                shutil.copyfile(self._folder / companion, out / companion)
