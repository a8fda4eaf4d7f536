"""The 17 COCO keypoints of the people among the models, in metres of the model.

`skeletons.json` was made once, by triangulating what a pose network sees in rendered views; the
table also says who sits on a chair.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

KEYPOINTS: tuple[str, ...] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
_TABLE = Path(__file__).with_name("skeletons.json")


@cache
def _read_table() -> dict[str, Any]:
    return dict(json.loads(_TABLE.read_text(encoding="utf-8")))


def skeleton_of(identifier: str) -> np.ndarray | None:
    """Return the (17, 3) keypoints of a model, or None where it has none."""
    entry = _read_table().get(identifier)
    return None if entry is None else np.array(entry["keypoints"], dtype=np.float64)


def seat_of(identifier: str) -> np.ndarray | None:
    """Return the (3,) middle of the hips of a person who sits on a chair, None for all others."""
    entry = _read_table().get(identifier)
    if entry is None or not entry["sits_on_chair"]:
        return None
    points = np.array(entry["keypoints"], dtype=np.float64)
    return 0.5 * (points[KEYPOINTS.index("left_hip")] + points[KEYPOINTS.index("right_hip")])
