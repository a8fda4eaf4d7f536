"""Readers of the `gdino_*` reference vectors, shared by the detection tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.model.renamed_release import rename_release_keys
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.detection.decoder import DetectionDecoder

TOLERANCE = 2e-5


class Group:
    """Tensors and description of one golden group."""

    def __init__(self, folder: Path, name: str) -> None:
        # First the file whose absence is reported by name.
        self.info: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        self.tensors = load_file(folder / f"{name}.safetensors")

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]


def make_decoder(folder: Path, info: dict[str, Any], **changes: Any) -> DetectionDecoder:
    config = DetectionConfig.from_release(info["config"], info["config"]["l_hidden_size"])
    decoder = DetectionDecoder(replace(config, **changes)).eval()
    weights = load_file(folder / "gdino_weights.safetensors")
    renamed = rename_release_keys({f"gdino.{name}": value for name, value in weights.items()})
    decoder.load_state_dict(
        {name.removeprefix("detection_decoder."): value for name, value in renamed.items()}
    )
    return decoder


def assert_close(ours: Tensor, golden: Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(ours.float(), golden.float(), atol=tolerance, rtol=0.0)


def inputs_of(group: Group, pixels: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    pixels = group["in.pixel_values"] if pixels is None else pixels
    mask = pixels[:, 0] != 0
    return pixels, group["in.text_query"], group["in.text_query_masks"].bool(), mask
