"""The typed values that travel between layers: Frame, Command, Route, Detections, Result, events.

numpy only; knows no tensor, no ROS message and no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from vl2_ros.errors import InputError, ShapeError

MAX_FRAME_PIXELS = 100_000_000
MAX_COMMAND_CHARACTERS = 4_000
#: Class of a pixel that no class was found for; the number is vision_msgs' own for 16 bit.
UNLABELLED = 65_535


class Route(Enum):
    """Where an answer goes; the value is the routing token that the LLM emits."""

    ANSWER = ""
    DETECT = "[DET]"
    GROUND = "[GRD]"
    SEGMENT = "[SEG]"
    POSE = "[POSE]"
    GENERATE = "[GEN]"
    EDIT = "[EDIT]"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One camera picture.

    Attributes:
        rgb: (H, W, 3) uint8, row 0 at the top.
        stamp_ns: capture time in nanoseconds since the epoch; 0 when unknown.
        frame_id: name of the optical frame (REP-103: x right, y down, z forward).
    """

    rgb: np.ndarray
    stamp_ns: int = 0
    frame_id: str = ""

    def __post_init__(self) -> None:
        """Check shape, dtype and size."""
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ShapeError(
                f"frame rgb must be (H, W, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}"
            )
        height, width = self.rgb.shape[:2]
        if height == 0 or width == 0:
            raise ShapeError(f"frame must have at least one pixel, got {width}x{height}")
        if height * width > MAX_FRAME_PIXELS:
            raise InputError(
                f"frame of {width}x{height} pixels is over the limit of {MAX_FRAME_PIXELS}; "
                "resize it first"
            )

    @property
    def frame_hw(self) -> tuple[int, int]:
        """Height and width in camera pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]


class PromptKind(Enum):
    """How somebody points in a picture."""

    POINT = 0
    BOX = 1
    SCRIBBLE = 2
    POLYGON = 3
    MASK = 4


#: How many points each kind of prompt takes, at least and at most.
PROMPT_POINTS = {
    PromptKind.POINT: (1, 1),
    PromptKind.BOX: (2, 2),
    PromptKind.SCRIBBLE: (2, 10_000),
    PromptKind.POLYGON: (3, 10_000),
    PromptKind.MASK: (0, 0),
}


@dataclass(frozen=True, slots=True, eq=False)
class VisualPrompt:
    """Where a command points in one of its pictures.

    Attributes:
        kind: what the points mean; a box has its upper left and its lower right corner.
        points_xy: (P, 2) float64 pixels of the picture; (0, 2) for a mask.
        mask: (H, W) bool on the picture, for MASK only.
        image: 0 the frame, i the i-th of the command's images.
    """

    kind: PromptKind
    points_xy: np.ndarray
    mask: np.ndarray | None = None
    image: int = 0

    def __post_init__(self) -> None:
        """Check number and shape of the points."""
        if self.points_xy.ndim != 2 or self.points_xy.shape[1] != 2:
            raise ShapeError(f"points_xy must be (P, 2), got {self.points_xy.shape}")
        least, most = PROMPT_POINTS[self.kind]
        if not least <= len(self.points_xy) <= most:
            raise InputError(
                f"a visual prompt of kind {self.kind.name} needs {least} to {most} points, "
                f"got {len(self.points_xy)}"
            )
        if (self.mask is None) is (self.kind is PromptKind.MASK):
            raise InputError("a visual prompt has a mask when its kind is MASK, and only then")

    def check_inside(self, frame_hw: tuple[int, int]) -> None:
        """Check the prompt against the size of its picture.

        Raises:
            InputError: if a point is outside or not finite, a box is turned inside out, or the
                mask is empty or of another size.
        """
        height, width = frame_hw
        if self.mask is not None and self.mask.shape != frame_hw:
            raise InputError(
                f"the visual prompt's mask is {self.mask.shape[1]}x{self.mask.shape[0]}, "
                f"expected the picture's {width}x{height}"
            )
        if self.mask is not None and not self.mask.any():
            raise InputError("the visual prompt's mask is empty; expected at least one pixel")
        inside = (self.points_xy >= 0) & (self.points_xy <= (width, height))
        if not inside.all():
            x, y = self.points_xy[~inside.all(axis=1)][0]
            raise InputError(
                f"the visual prompt's point ({x:g}, {y:g}) is outside the picture of "
                f"{width}x{height} pixels"
            )
        if self.kind is PromptKind.BOX and not (self.points_xy[0] < self.points_xy[1]).all():
            raise InputError(
                "the visual prompt's box needs its upper left, then its lower right corner, got "
                f"{self.points_xy.tolist()}"
            )


@dataclass(frozen=True, slots=True)
class Command:
    """A sentence about a frame.

    Attributes:
        text: what was said, 1 to 4000 characters; special tokens in it are neutralised.
        id: caller's name for the command, copied into the result.
        score_threshold: instances scored below it are left out, in 0..1.
        max_instances: at most so many instances per route are kept.
        max_new_tokens: the answer is cut after so many generated tokens.
        visual_prompts: where the sentence points.
        images: further pictures; pointing into one makes it an example of what is looked for.
        direct: the answer is written, not generated; only for sentences of a known form.
    """

    text: str
    id: str = ""
    score_threshold: float = 0.35
    max_instances: int = 100
    max_new_tokens: int = 192
    visual_prompts: tuple[VisualPrompt, ...] = ()
    images: tuple[Frame, ...] = ()
    direct: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.text.strip():
            raise InputError('the command is empty; say something like "find the red mug"')
        if len(self.text) > MAX_COMMAND_CHARACTERS:
            raise InputError(
                f"the command has {len(self.text)} characters, at most "
                f"{MAX_COMMAND_CHARACTERS} are taken; shorten it"
            )
        if not 0.0 <= self.score_threshold <= 1.0:
            raise InputError(f"score_threshold must lie in 0..1, got {self.score_threshold}")
        if self.max_instances < 1 or self.max_new_tokens < 1:
            raise InputError(
                "max_instances and max_new_tokens must be at least 1, got "
                f"{self.max_instances} and {self.max_new_tokens}"
            )

    def check_prompts(self, frame: Frame) -> None:
        """Check the visual prompts against the frame and the further images.

        Raises:
            InputError: if a prompt points into a picture that is not there, or outside of it.
        """
        pictures = (frame, *self.images)
        for prompt in self.visual_prompts:
            if not 0 <= prompt.image < len(pictures):
                raise InputError(
                    f"a visual prompt points into image {prompt.image}; the command has the camera "
                    f"picture (0) and {len(self.images)} further ones"
                )
            prompt.check_inside(pictures[prompt.image].frame_hw)


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """K named points of N instances, in camera pixels.

    Attributes:
        names: K names, in the order in which they were asked for.
        points_xy: (N, K, 2) float32 camera pixels.
        scores: (N, K) float32 in 0..1. The network learns no score of a keypoint by itself, so it
            is the instance's.
        edges: pairs of indices into the names, to be joined by lines; () where none are known.
    """

    names: tuple[str, ...]
    points_xy: np.ndarray
    scores: np.ndarray
    edges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Check that the arrays are parallel and the edges inside."""
        shape = (len(self.scores), len(self.names))
        if self.scores.shape != shape or self.points_xy.shape != (*shape, 2):
            raise ShapeError(
                f"expected scores (N, {shape[1]}) and points_xy (N, {shape[1]}, 2), got "
                f"{self.scores.shape} and {self.points_xy.shape}"
            )
        if any(not 0 <= index < shape[1] for edge in self.edges for index in edge):
            raise ShapeError(f"edges must join two of {shape[1]} keypoints, got {self.edges}")


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """N instances as parallel arrays, best score first, in camera pixels.

    Attributes:
        boxes_xyxy: (N, 4) float32 corners in camera pixels.
        scores: (N,) float32 in 0..1.
        class_ids: (N,) int64 index into the phrases of the branch.
        labels: N phrases, `labels[i]` is the phrase of `class_ids[i]`.
        masks: (N, H, W) bool on the camera frame, or None when none were asked for.
        keypoints: of a POSE branch, or None.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    labels: tuple[str, ...]
    masks: np.ndarray | None = None
    keypoints: Keypoints | None = None

    def __post_init__(self) -> None:
        """Check that the arrays are parallel."""
        count = len(self.scores)
        if self.boxes_xyxy.shape != (count, 4):
            raise ShapeError(f"boxes_xyxy must be ({count}, 4), got {self.boxes_xyxy.shape}")
        if self.class_ids.shape != (count,) or len(self.labels) != count:
            raise ShapeError(
                f"class_ids and labels must hold {count} entries, got "
                f"{self.class_ids.shape} and {len(self.labels)}"
            )
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != count):
            raise ShapeError(f"masks must be ({count}, H, W), got {self.masks.shape}")
        if self.keypoints is not None and len(self.keypoints.scores) != count:
            raise ShapeError(
                f"keypoints must be of {count} instances, got {len(self.keypoints.scores)}"
            )

    def __len__(self) -> int:
        """Return N."""
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[np.ndarray, float, str]]:
        """Yield (box_xyxy, score, label) of each instance."""
        for box, score, label in zip(self.boxes_xyxy, self.scores, self.labels, strict=True):
            yield box, float(score), label

    @classmethod
    def empty(cls) -> Detections:
        """Make a result with no instance."""
        return cls(
            boxes_xyxy=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            class_ids=np.zeros(0, np.int64),
            labels=(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Which class each pixel of the frame belongs to.

    Attributes:
        class_ids: (H, W) uint16 index into the phrases of the branch; `UNLABELLED` elsewhere.
        threshold: a pixel whose best class scores no higher is unlabelled; 0 labels every pixel.
    """

    class_ids: np.ndarray
    threshold: float

    def __post_init__(self) -> None:
        """Check shape and dtype."""
        ids = self.class_ids
        if ids.ndim != 2 or ids.dtype != np.uint16:
            raise ShapeError(f"class_ids must be (H, W) uint16, got {ids.shape} {ids.dtype}")


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

    @property
    def counts(self) -> tuple[int, ...]:
        """Return how many instances there are of each phrase, in the order of the phrases."""
        return tuple(np.bincount(self.detections.class_ids, minlength=len(self.phrases)).tolist())


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
    """

    command_id: str
    stamp_ns: int
    frame_id: str
    text: str
    branches: tuple[Branch, ...] = ()
    stage_ms: dict[str, float] = field(default_factory=dict)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the answer; (Route.ANSWER,) when it is text only."""
        return tuple(branch.route for branch in self.branches) or (Route.ANSWER,)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a loaded model says of itself.

    Attributes:
        name: of the checkpoint.
        identity: hash that changes with the weights.
        backend: torch, onnxruntime or tensorrt.
        device: where it runs, such as `cpu` or `cuda:0`.
        routes: what its decoders can answer.
    """

    name: str
    identity: str
    backend: str
    device: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class StageEvent:
    """A stage of the flow has begun: preprocess, vision, language, detection, postprocess."""

    stage: str


@dataclass(frozen=True, slots=True)
class TextEvent:
    """The answer has grown to `text` and has opened `routes` so far."""

    text: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ResultEvent:
    """The last event of a run."""

    result: Result


Event = StageEvent | TextEvent | ResultEvent
