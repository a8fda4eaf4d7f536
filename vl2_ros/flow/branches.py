"""Run the perception decoders for the routes that an answer opened: one branch per route.

`BRANCHES` names what runs for each route. The routes that generate images are in
`generated_images`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.flow.encoded_image import ImageForm, encode_image
from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import (
    fit_letterbox,
    fit_pose_letterbox,
    preprocess_decoder,
    preprocess_pose,
)
from vl2_ros.processing.results.detection_branch import InstanceLimits, make_branch
from vl2_ros.processing.results.pose import find_pose_request, make_poses
from vl2_ros.runtime.engine import Array, Engines, to_numpy
from vl2_ros.structures import Branch, Frame, Route


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """Super-link states (K, C) and the words that they stand for."""

    route: Route
    phrase: str
    states: Array


_DETECTION_IMAGE = ImageForm(fit_letterbox, preprocess_decoder)
_POSE_IMAGE = ImageForm(fit_pose_letterbox, preprocess_pose)
#: What the detection decoder is asked for where no mask is wanted.
_WITHOUT_MASKS = ("pred_logits", "pred_boxes")


class _HostArrays(Mapping[str, np.ndarray]):
    """The outputs of a call about one image, each brought to the host when it is read.

    Mask features are far larger than all the others, and not read where nothing was found.
    """

    def __init__(self, outputs: Mapping[str, Array]) -> None:
        self._outputs = outputs
        self._read: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._read:
            self._read[name] = to_numpy(self._outputs[name])[0]
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """One frame and all that its branches share."""

    engines: Engines
    config: ProcessingConfig
    frame: Frame
    limits: InstanceLimits
    memory: FrameMemory


#: Makes the branch of a route from its conditions, in the order of the answer.
_MakeBranch = Callable[[_Look, Route, Sequence[Condition]], Branch]


def decode_branches(
    engines: Engines,
    config: ProcessingConfig,
    frame: Frame | None,
    conditions: Sequence[Condition],
    limits: InstanceLimits,
    memory: FrameMemory | None = None,
) -> list[Branch]:
    """Find what an answer names; routes that generate images are not handled here.

    Args:
        engines: the decoders.
        config: how the image is prepared.
        frame: the image.
        conditions: in the order of the answer.
        limits: which instances are kept.
        memory: what was computed about the frame; None: nothing, and nothing is kept.

    Returns:
        one branch per route, in the order of first use; objects whose pose is requested are found
        by the pose decoder and open no branch of their own.

    Raises:
        InputError: if there is no image to look at.
        RouteError: if a decoder that is needed is not there.
    """
    asked = _group(conditions)
    engines.check_routes(asked)
    if frame is None:
        raise InputError(
            f"the answer looks for {conditions[0].phrase!r} and there is no image; give one"
        )
    look = _Look(engines, config, frame, limits, FrameMemory() if memory is None else memory)
    return [BRANCHES[route](look, route, group) for route, group in asked.items()]


def _group(conditions: Sequence[Condition]) -> dict[Route, list[Condition]]:
    """Sort conditions by the route that serves them."""
    request = find_pose_request([condition.route for condition in conditions])
    # Objects whose pose is requested are found with it, by the pose decoder.
    taken = set() if request is None else {*request.objects, *request.keypoints}
    groups: dict[Route, list[Condition]] = {}
    for index, condition in enumerate(conditions):
        route = Route.POSE if index in taken else condition.route
        groups.setdefault(route, []).append(condition)
    return groups


def _find_objects(look: _Look, route: Route, asked: Sequence[Condition]) -> Branch:
    return _detect(look, look.config, route, asked)


def _find_segments(look: _Look, route: Route, asked: Sequence[Condition]) -> Branch:
    return _detect(look, look.config.for_segments(), route, asked)


def _detect(
    look: _Look, sized: ProcessingConfig, route: Route, asked: Sequence[Condition]
) -> Branch:
    decoder = look.engines.find_decoder(route)
    image = encode_image(decoder, _DETECTION_IMAGE, sized, look.frame, look.memory)
    output = decoder.decoder.run(
        {
            **image.inputs,
            "super_link": _stack(asked),
            "class_mask": np.ones((1, len(asked)), dtype=np.bool_),
        },
        None if look.limits.with_masks else _WITHOUT_MASKS,
    )
    raw = _HostArrays(output)
    phrases = tuple(condition.phrase for condition in asked)
    joined = sized.joined_masks
    return make_branch(raw, image.letterbox, route, phrases, look.limits, joined_masks=joined)


def _find_poses(look: _Look, route: Route, asked: Sequence[Condition]) -> Branch:
    decoder = look.engines.find_decoder(route)
    objects = [condition for condition in asked if condition.route is not route]
    keypoints = [condition for condition in asked if condition.route is route]
    image = encode_image(decoder, _POSE_IMAGE, look.config, look.frame, look.memory)
    output = decoder.decoder.run(
        {
            **image.inputs,
            "super_link": _stack(objects),
            "class_mask": np.ones((1, len(objects)), dtype=np.bool_),
            "keypoint_link": _stack(keypoints),
            "keypoint_mask": np.ones((1, len(keypoints)), dtype=np.bool_),
        }
    )
    raw = {name: to_numpy(array)[0] for name, array in output.items()}
    phrases = tuple(condition.phrase for condition in objects)
    poses = make_poses(
        raw["pred_logits"],
        raw["pred_boxes"],
        raw["pred_keypoints"],
        objects=phrases,
        keypoints=[condition.phrase for condition in keypoints],
        frame_hw=image.letterbox.frame_hw,
        top_k=look.limits.max_instances,
        score_threshold=look.limits.score_threshold,
        nms_oks=look.limits.nms_oks,
    )
    return Branch(route, phrases, poses)


def _stack(conditions: Sequence[Condition]) -> np.ndarray:
    """Return (1, N, K, C)."""
    return np.stack([to_numpy(condition.states) for condition in conditions])[None]


#: Route -> what runs for it.
BRANCHES: Mapping[Route, _MakeBranch] = {
    Route.DETECT: _find_objects,
    Route.GROUND: _find_objects,
    Route.SEGMENT: _find_segments,
    Route.POSE: _find_poses,
}
