"""Super-link states of objects and keypoint names to poses in camera pixels, through an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vl2_ros.errors import RouteError
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import preprocess_pose
from vl2_ros.processing.results.pose import make_poses
from vl2_ros.runtime.engine import Array, Engine, to_numpy
from vl2_ros.structures import Branch, Frame, Route


class NamedStates(Protocol):
    """Super-link states and the words that they stand for."""

    @property
    def phrase(self) -> str:
        """The words."""

    @property
    def states(self) -> Array:
        """(K, C)."""


def decode_poses(
    engine: Engine | None,
    frame: Frame,
    config: ProcessingConfig,
    objects: Sequence[NamedStates],
    keypoints: Sequence[NamedStates],
    *,
    score_threshold: float,
    max_instances: int,
    nms_oks: float | None,
) -> Branch:
    """Find named keypoints on every object.

    Args:
        engine: the pose decoder.
        frame: the image.
        config: how it is prepared.
        objects: at least one.
        keypoints: at least one.
        score_threshold: only scores above it are kept.
        max_instances: most poses.
        nms_oks: see `suppress_poses`.

    Raises:
        RouteError: if there is no engine.
        InputError: if the decoder takes fewer objects or keypoints.
    """
    if engine is None:
        raise RouteError("the answer opened [POSE], but the checkpoint has no pose decoder")
    pixels, pixel_mask, letterbox = preprocess_pose(frame, config, engine.info.canvases)
    output = engine.run(
        {
            "pixels": pixels[None],
            "pixel_mask": pixel_mask[None],
            "super_link": np.stack([to_numpy(one.states) for one in objects])[None],
            "class_mask": np.ones((1, len(objects)), dtype=np.bool_),
            "keypoint_link": np.stack([to_numpy(one.states) for one in keypoints])[None],
            "keypoint_mask": np.ones((1, len(keypoints)), dtype=np.bool_),
        }
    )
    raw = {name: to_numpy(array)[0] for name, array in output.items()}
    phrases = tuple(one.phrase for one in objects)
    poses = make_poses(
        raw["pred_logits"],
        raw["pred_boxes"],
        raw["pred_keypoints"],
        objects=phrases,
        keypoints=[one.phrase for one in keypoints],
        frame_hw=letterbox.frame_hw,
        top_k=max_instances,
        score_threshold=score_threshold,
        nms_oks=nms_oks,
    )
    return Branch(Route.POSE, phrases, poses)
