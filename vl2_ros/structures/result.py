"""The complete answer to one command, and the model that gave it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.structures.detections import Detections, Keypoints, LabelMap
from vl2_ros.structures.masks import MaskCrop, Masks
from vl2_ros.structures.route import Route

#: Message of a result whose frame is unlike those of training.
OUT_OF_DOMAIN = (
    "the image is unlike those that the model was trained on; the answer may be wrong whatever its "
    "scores"
)
#: Characters of a text that a repr shows.
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """What one decoder found for the slot groups that one route opened.

    Attributes:
        route: the routing token that opened the slots.
        phrases: the words that each slot group stands for, in answer order; for POSE the objects,
            whose keypoints are named in `detections.keypoints`.
        detections: instances of all phrases, `class_ids` index `phrases`.
        label_map: the class of every pixel, for SEGMENT.
    """

    route: Route
    phrases: tuple[str, ...]
    detections: Detections
    label_map: LabelMap | None = None

    def __repr__(self) -> str:
        """Show route and detections, no arrays."""
        mapped = f", {self.label_map}" if self.label_map else ""
        return f"Branch({self.route.name}, {self.detections}{mapped})"

    @property
    def counts(self) -> tuple[int, ...]:
        """Return how many instances there are of each phrase, in the order of the phrases."""
        return tuple(np.bincount(self.detections.class_ids, minlength=len(self.phrases)).tolist())


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedImage:
    """An image that the model generated or edited.

    Attributes:
        route: GENERATE, or EDIT of the frame.
        rgb: (H, W, 3) uint8; of an edit at the frame's size, so that pixels are the frame's.
        seed: of its noise; the same seed and options give the same image.
        steps: denoising steps.
        scheduler: name of the scheduler that took them.
    """

    route: Route
    rgb: np.ndarray
    seed: int
    steps: int
    scheduler: str

    def __post_init__(self) -> None:
        """Check shape and dtype."""
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ShapeError(f"rgb must be (H, W, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}")

    def __repr__(self) -> str:
        """Show route, size and how it was made, no pixels."""
        height, width = self.rgb.shape[:2]
        return (
            f"GeneratedImage({self.route.name}, {width}x{height}, seed={self.seed}, "
            f"steps={self.steps}, scheduler={self.scheduler!r})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The complete answer to one command about one frame.

    Attributes:
        command_id: `Command.id` of the command that it answers.
        stamp_ns: `Frame.stamp_ns` of the frame that was used.
        frame_id: `Frame.frame_id` of the frame that was used.
        text: the answer in words; where something was looked for, about what was found.
        branches: one per route that the answer opened, in the order of first use.
        stage_ms: wall time of each stage in milliseconds.
        images: generated and edited images, in the order of the answer.
        raw_text: the answer as generated, with its routing tokens; "" when it is not known.
        in_domain: whether the frame is like those that the model was trained on; None when that was
            not estimated.
        answer_score: of an answer "yes" or "no", its probability against the other, above 0, up to
            1; None when it was not estimated or the answer is another.
        answer_age: frames of the watch since the one that `raw_text` was generated for; 0: this
            one. What the decoders found is always of this frame.
    """

    command_id: str
    stamp_ns: int
    frame_id: str
    text: str
    branches: tuple[Branch, ...] = ()
    stage_ms: dict[str, float] = field(default_factory=dict)
    images: tuple[GeneratedImage, ...] = ()
    raw_text: str = ""
    in_domain: bool | None = None
    answer_score: float | None = None
    answer_age: int = 0

    def __post_init__(self) -> None:
        """Check the range of the score; NaN fits none."""
        if self.answer_score is not None and not 0.0 < self.answer_score <= 1.0:
            raise InputError(
                f"answer_score must be above 0 and at most 1, or None, got {self.answer_score}"
            )

    def __repr__(self) -> str:
        """Show the text, what was found and the images, no arrays."""
        text = (
            self.text
            if len(self.text) <= _SHOWN_CHARACTERS
            else f"{self.text[: _SHOWN_CHARACTERS - 3]}..."
        )
        parts = [repr(text), *map(repr, self.branches), *map(repr, self.images)]
        return f"Result({', '.join(parts)})"

    @property
    def message(self) -> str:
        """Return what a person should know beside the answer; empty when there is nothing."""
        return OUT_OF_DOMAIN if self.in_domain is False else ""

    @property
    def detections(self) -> Detections:
        """Join the instances of all branches, in the order of the answer, each with its route."""
        return join_branches(self.branches)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the answer; (Route.ANSWER,) when it is text only."""
        opened = (*(branch.route for branch in self.branches), *(one.route for one in self.images))
        return tuple(dict.fromkeys(opened)) or (Route.ANSWER,)


def join_branches(branches: Sequence[Branch]) -> Detections:
    """Join the instances of several branches, branch after branch.

    Returns:
        Detections whose class_ids index the phrases of all branches, one after the other; the mask
        of an instance is empty where its branch has none, its keypoints are NaN with score 0.
    """
    if not branches:
        return replace(Detections.empty(), routes=())
    found = [branch.detections for branch in branches]
    before = np.cumsum([0, *(len(branch.phrases) for branch in branches)])
    return Detections(
        boxes_xyxy=np.concatenate([one.boxes_xyxy for one in found]),
        scores=np.concatenate([one.scores for one in found]),
        class_ids=np.concatenate(
            [one.class_ids + first for one, first in zip(found, before[:-1], strict=True)]
        ),
        labels=tuple(label for one in found for label in one.labels),
        masks=_join_masks(found),
        keypoints=_join_keypoints(found),
        track_ids=_join_tracks(found),
        routes=tuple(branch.route for branch in branches for _ in branch.detections.labels),
    )


def _join_masks(found: Sequence[Detections]) -> Masks | None:
    shapes = {one.masks.frame_hw for one in found if one.masks is not None}
    if not shapes:
        return None
    if len(shapes) > 1:
        raise ShapeError(f"masks of one answer must be of one size, got {sorted(shapes)}")
    (shape,) = shapes
    crops = [
        (MaskCrop.empty(),) * len(one) if one.masks is None else one.masks.crops for one in found
    ]
    return Masks(shape, tuple(itertools.chain.from_iterable(crops)))


def _join_keypoints(found: Sequence[Detections]) -> Keypoints | None:
    posed = [one.keypoints for one in found if one.keypoints is not None]
    if not posed:
        return None
    # One decoder finds them, so that one branch has them.
    (first,) = posed
    count = len(first.names)
    parts = [
        one.keypoints
        or Keypoints(
            first.names,
            np.full((len(one), count, 2), np.nan, np.float32),
            np.zeros((len(one), count), np.float32),
            first.edges,
        )
        for one in found
    ]
    return Keypoints(
        first.names,
        np.concatenate([part.points_xy for part in parts]),
        np.concatenate([part.scores for part in parts]),
        first.edges,
    )


def _join_tracks(found: Sequence[Detections]) -> np.ndarray | None:
    if all(one.track_ids is None for one in found):
        return None
    return np.concatenate(
        [np.zeros(len(one), np.int64) if one.track_ids is None else one.track_ids for one in found]
    )


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Properties of a loaded model.

    Attributes:
        name: of the checkpoint.
        identity: hash that changes with the weights; `pending` until all of them are hashed.
        backend: torch, onnxruntime, tensorrt or tensorrt-rtx.
        device: where it runs, such as `cpu` or `cuda:0`.
        routes: those that its decoders serve.
        engine_identity: hash of the engine files; empty where the checkpoint itself is run.
        names: of the things that it was trained on; empty where they are not known.
    """

    name: str
    identity: str
    backend: str
    device: str
    routes: tuple[Route, ...]
    engine_identity: str = ""
    names: tuple[str, ...] = ()

    @property
    def engine(self) -> str:
        """Return backend, device and engine identity, as results and diagnostics report them."""
        return f"{self.backend} {self.device} {self.engine_identity}".rstrip()
