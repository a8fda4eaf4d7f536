"""Requests to the node and its answers, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from vl2_ros.errors import InputError
from vl2_ros.processing.results.spatial import SpatialView
from vl2_ros.structures import Frame, ImageOptions, Result, VisualPrompt, WatchMode


class Mode(IntEnum):
    """VisionCommand.mode."""

    ASK = 0
    WATCH = 1
    STOP = 2


class Status(IntEnum):
    """VisionResult.status."""

    OK = 0
    BUSY = 1
    CANCELED = 2
    EXPIRED = 3
    INVALID = 4
    FAILED = 5
    ENDED = 6


def _find_no_space(frame_hw: tuple[int, int]) -> SpatialView | None:
    return None


@dataclass(frozen=True, slots=True, eq=False)
class StoredImage:
    """An image as received; decoded only when a command uses it.

    Attributes:
        stamp_ns: of its header, nanoseconds since the epoch.
        frame_id: of its header, the optical frame.
        decode: returns the frame; raises InputError or TransportError for a malformed message.
        read_space: returns calibration and depth for an image of this height and width, None
            when no depth is to be expected; raises InputError when one of them is missing or
            cannot be used.
        size_bytes: memory of the image as received, with what belongs to it.
    """

    stamp_ns: int
    frame_id: str
    decode: Callable[[], Frame]
    read_space: Callable[[tuple[int, int]], SpatialView | None] = _find_no_space
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One command, checked as far as possible without its image.

    Attributes:
        text: the sentence.
        id: the sender's name for it, never empty.
        mode: ASK or WATCH; STOP never becomes a request.
        camera: name of the camera; empty: the first.
        rate_hz: WATCH: most results a second; 0: one for every image.
        duration_s: WATCH: ends by itself after it; 0: never.
        watch_mode: WATCH: how images after the first are answered; None: the node's default.
        deadline_s: ASK: seconds from arrival until the answer is worthless; 0: the node's default.
        image_age_s: ASK: it is about the newest image that had come so many seconds before now, if
            the node still has that; 0: about the newest when it runs.
        score_threshold: in 0..1; None: the node's default.
        visual_prompts: where the sentence points.
        images: further images.
        image_options: how an image is generated or edited; None or empty: the node's default.
        size_bytes: memory of its images and visual prompts while it waits.
    """

    text: str
    id: str
    mode: Mode = Mode.ASK
    camera: str = ""
    rate_hz: float = 0.0
    duration_s: float = 0.0
    watch_mode: WatchMode | None = None
    deadline_s: float = 0.0
    image_age_s: float = 0.0
    score_threshold: float | None = None
    visual_prompts: tuple[VisualPrompt, ...] = ()
    images: tuple[StoredImage, ...] = ()
    image_options: ImageOptions = field(default_factory=ImageOptions)
    size_bytes: int = 0

    def __post_init__(self) -> None:
        """Check the ranges; NaN fits none."""
        for name in ("rate_hz", "duration_s", "deadline_s", "image_age_s"):
            value = getattr(self, name)
            if not 0.0 <= value < float("inf"):
                raise InputError(f"{name} must be zero or a positive number, got {value}")


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The node's answer to a request, about one image or about none.

    Attributes:
        request_id: of the request; the sender's text even when it was invalid.
        text: the sentence of the request.
        camera: the requested camera.
        status: the outcome.
        message: what was expected, what came, what to do; when OK why something could not be
            placed in space or in the target frame, else empty.
        image: the one that it is about, as it came; None when it is about none.
        frame: the same, decoded; None when it could not be, or was not yet.
        space: calibration and depth of the image; None when there is no depth for it.
        result: the pipeline's; None unless OK.
        is_final: False while a watch continues.
        sequence: 0, 1, 2, ... counts the results of a watch.
        stage_ms: wall time of each stage in milliseconds, decode included; the time in the queue is
            that of the node's clock.
    """

    request_id: str
    text: str
    camera: str
    status: Status
    message: str = ""
    image: StoredImage | None = None
    frame: Frame | None = None
    space: SpatialView | None = None
    result: Result | None = None
    is_final: bool = True
    sequence: int = 0
    stage_ms: Mapping[str, float] = field(default_factory=dict)
