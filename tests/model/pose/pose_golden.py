"""Readers of the `unipose_*` reference vectors, shared by the pose tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.model.detection.detection_golden import Group
from tests.model.renamed_release import rename_release_keys
from vl2_ros.model.pose.config import PoseConfig
from vl2_ros.model.pose.decoder import PoseDecoder

TOLERANCE = 1e-4


def read_weights(folder: Path) -> tuple[PoseConfig, dict[str, Tensor]]:
    """The tiny decoder's configuration and its weights under our names."""
    info = json.loads((folder / "unipose_tiny_weights.json").read_text())
    config = PoseConfig.from_release(info["config"], info["config"]["l_hidden_size"])
    weights = load_file(folder / "unipose_tiny_weights.safetensors")
    renamed = rename_release_keys({f"unipose.{name}": value for name, value in weights.items()})
    return config, {name.removeprefix("pose_decoder."): value for name, value in renamed.items()}


def make_decoder(folder: Path, **changes: Any) -> PoseDecoder:
    config, weights = read_weights(folder)
    decoder = PoseDecoder(replace(config, **changes)).eval()
    decoder.load_state_dict(weights)
    return decoder


def inputs_of(group: Group) -> dict[str, Tensor]:
    return {
        "pixels": group["in.pixels"],
        "super_link": group["in.obj_querys"],
        "class_mask": group["in.obj_query_masks"].bool(),
        "keypoint_link": group["in.kpt_querys"],
        "keypoint_mask": group["in.kpt_query_masks"].bool(),
        "pixel_mask": ~group["in.pad_mask"].bool(),
    }


def assert_close(ours: Tensor, golden: Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(ours.float(), golden.float(), atol=tolerance, rtol=0.0)


def lay_out(points: Tensor) -> Tensor:
    """(B, G, M, 2) as the reference has it: x0, y0, x1, y1, .. and a constant per keypoint."""
    constant = torch.ones(*points.shape[:3]).sigmoid()
    return torch.cat([points.flatten(2), constant], dim=-1)


def read_runs(runs: Tensor, size: int) -> Tensor:
    """(R, 3) runs of (row, start, end) to the (size, size) bool mask that they list."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    for row, start, end in runs.tolist():
        mask[row, start:end] = True
    return mask
