"""The complete answer to one command, and what gave it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vl2_ros.errors import ShapeError
from vl2_ros.structures.detections import Detections, LabelMap
from vl2_ros.structures.route import Route

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
    """An image that the model drew or edited.

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
        text: the answer in words, without routing and slot tokens.
        branches: one per route that the answer opened, in the order of first use.
        stage_ms: wall time of each stage in milliseconds.
        images: drawn and edited images, in the order of the answer.
    """

    command_id: str
    stamp_ns: int
    frame_id: str
    text: str
    branches: tuple[Branch, ...] = ()
    stage_ms: dict[str, float] = field(default_factory=dict)
    images: tuple[GeneratedImage, ...] = ()

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
    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the answer; (Route.ANSWER,) when it is text only."""
        opened = (*(branch.route for branch in self.branches), *(one.route for one in self.images))
        return tuple(dict.fromkeys(opened)) or (Route.ANSWER,)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a loaded model says of itself.

    Attributes:
        name: of the checkpoint.
        identity: hash that changes with the weights; `pending` until all of them are hashed.
        backend: torch, onnxruntime or tensorrt.
        device: where it runs, such as `cpu` or `cuda:0`.
        routes: what its decoders can answer.
        engine_identity: hash of the engine files; empty where the checkpoint itself is run.
    """

    name: str
    identity: str
    backend: str
    device: str
    routes: tuple[Route, ...]
    engine_identity: str = ""

    @property
    def engine(self) -> str:
        """Return backend, device and engine identity, as results and diagnostics tell them."""
        return f"{self.backend} {self.device} {self.engine_identity}".rstrip()
