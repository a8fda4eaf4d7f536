"""What an answer opened, to what the perception decoders find for it: one branch per route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.flow.pose import decode_poses
from vl2_ros.geometry import Letterbox
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import preprocess_decoder
from vl2_ros.processing.results.detection_branch import InstanceLimits, make_branch
from vl2_ros.processing.results.pose import find_pose_request
from vl2_ros.runtime.engine import Array, Engines, to_numpy
from vl2_ros.structures import Branch, Frame, Route


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """Super-link states (K, C) and the words that they stand for."""

    route: Route
    phrase: str
    states: Array


@dataclass(frozen=True, slots=True, eq=False)
class _DecoderImage:
    """The frame as the detection decoder takes it; made once, used by every route."""

    pixels: np.ndarray
    pixel_mask: np.ndarray
    letterbox: Letterbox


def decode_branches(
    engines: Engines,
    config: ProcessingConfig,
    frame: Frame | None,
    conditions: Sequence[Condition],
    limits: InstanceLimits,
) -> list[Branch]:
    """Find what an answer names; routes that make images are somebody else's.

    Args:
        engines: the decoders.
        config: how the image is prepared.
        frame: the image.
        conditions: in the order of the answer.
        limits: which instances are kept.

    Returns:
        one branch per route, in the order of first use; objects whose pose is asked for are found
        by the pose decoder and open no branch of their own.

    Raises:
        InputError: if there is no image to look at.
        RouteError: if a decoder that is needed is not there.
    """
    request = find_pose_request([condition.route for condition in conditions])
    # Objects that are asked for their pose are found with it, by the pose decoder.
    taken = set() if request is None else {*request.objects, *request.keypoints}
    routes = dict.fromkeys(
        Route.POSE if place in taken else c.route for place, c in enumerate(conditions)
    )
    engines.check_routes(routes)
    if frame is None:
        raise InputError(
            f"the answer looks for {conditions[0].phrase!r} and there is no image; give one"
        )
    images: dict[ProcessingConfig, _DecoderImage] = {}
    branches = []
    for route in routes:
        if route is Route.POSE and request is not None:
            branches.append(
                decode_poses(
                    engines.pose_decoder,
                    frame,
                    config,
                    [conditions[place] for place in request.objects],
                    [conditions[place] for place in request.keypoints],
                    score_threshold=limits.score_threshold,
                    max_instances=limits.max_instances,
                    nms_oks=limits.nms_oks,
                )
            )
            continue
        sized = config.for_segments() if route is Route.SEGMENT else config
        # Routes that take the image at the same size share it.
        if sized not in images:
            decoder = engines.detection_decoder
            canvases = () if decoder is None else decoder.info.canvases
            images[sized] = _DecoderImage(*preprocess_decoder(frame, sized, canvases))
        asked = [c for place, c in enumerate(conditions) if c.route is route and place not in taken]
        branches.append(_detect(engines, images[sized], route, asked, limits))
    return branches


def _detect(
    engines: Engines,
    image: _DecoderImage,
    route: Route,
    conditions: Sequence[Condition],
    limits: InstanceLimits,
) -> Branch:
    if engines.detection_decoder is None:
        raise engines.refuse(route)
    output = engines.detection_decoder.run(
        {
            "pixels": image.pixels[None],
            "pixel_mask": image.pixel_mask[None],
            "super_link": np.stack([to_numpy(c.states) for c in conditions])[None],
            "class_mask": np.ones((1, len(conditions)), dtype=np.bool_),
        }
    )
    raw = {name: to_numpy(array)[0] for name, array in output.items()}
    phrases = tuple(condition.phrase for condition in conditions)
    return make_branch(raw, image.letterbox, route, phrases, limits)
