"""Tokenize captions for image generation and editing; used in training only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.folder import read_vocabulary


class CaptionTokenizer:
    """The tokenizer of a Stable Diffusion folder."""

    def __init__(self, folder: Path, length: int) -> None:
        """Read the tokenizer's files.

        Args:
            folder: `DiffusionFolder.tokenizer`.
            length: ids of every caption.

        Raises:
            CheckpointError: if the folder has no such tokenizer.
        """
        # Read first: a path that is no folder would be used as a name on a hub.
        read_vocabulary(folder)
        from transformers import CLIPTokenizer

        try:
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        # The library names no errors of its own.
        except Exception as error:
            raise CheckpointError(f"cannot read the tokenizer in {folder}: {error}") from error
        self._length = length

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Return (n, length) int64 ids: start, words, end, padding; long captions are cut."""
        rows = self._tokenizer(
            list(captions), padding="max_length", max_length=self._length, truncation=True
        )
        return torch.tensor(rows["input_ids"])
