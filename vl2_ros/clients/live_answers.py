"""The answers of a live view: as documents for the page, and what is drawn into the stream."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vl2_ros.clients.received_result import ReceivedResult
from vl2_ros.node.request import Status, StoredImage
from vl2_ros.structures import Detections, Result
from vl2_ros.views.live.frames import draw_results, encode_jpeg

#: Age up to which a result is drawn into newer frames, in seconds; then things have moved.
KEPT_S = 2.0
#: Instances that a document names; it counts the others.
_MOST_FOUND = 12
#: Longer side of an image within a document, in pixels.
_IMAGE_SIDE = 512
_REFUSALS = (Status.BUSY, Status.EXPIRED, Status.INVALID, Status.FAILED)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnResult:
    """A result that is drawn until it is too old.

    Attributes:
        result: of one command.
        came_s: when it came, by the monotonic clock.
        is_watch: further ones of its command will follow.
    """

    result: Result
    came_s: float
    is_watch: bool


class DrawnResults:
    """The newest result of each watch and of the last question; not thread-safe."""

    def __init__(self) -> None:
        self._by_command: dict[str, DrawnResult] = {}

    def add(self, received: ReceivedResult, now_s: float) -> None:
        """Take a result in; the end of a watch takes its boxes away."""
        before = self._by_command.pop(received.command_id, None)
        if received.status is not Status.OK or (before and before.is_watch and received.is_final):
            return
        if received.is_final:
            # One question at a time: the last.
            self._by_command = {name: one for name, one in self._by_command.items() if one.is_watch}
        self._by_command[received.command_id] = DrawnResult(
            received.result, now_s, not received.is_final
        )

    def select(
        self, frame_s: float, find_arrival: Callable[[int], float | None]
    ) -> tuple[list[Result], float | None]:
        """Return what is drawn into a frame, and the age of the newest.

        Args:
            frame_s: when the frame came, by the monotonic clock.
            find_arrival: returns when the last image of a stamp came; None: not known.
        """
        kept, ages = {}, []
        for name, one in self._by_command.items():
            image_s = find_arrival(one.result.stamp_ns)
            # A slow model's answer is old when it comes; an image that is sent again is not.
            if frame_s - max(one.came_s, image_s or 0.0) <= KEPT_S:
                kept[name] = one
                ages.append(max(0.0, frame_s - (one.came_s if image_s is None else image_s)))
        self._by_command = kept
        return [one.result for one in kept.values()], min(ages, default=None)


def describe_sent(command_id: str, question: str) -> dict[str, Any]:
    """Make the document of a command that has no answer yet."""
    return _describe(command_id, question, "SENT", "waiting for the answer", is_live=True)


def describe_answer(received: ReceivedResult, image: StoredImage | None = None) -> dict[str, Any]:
    """Make the document of an answer.

    Args:
        received: the answer.
        image: that it is about, to be shown with the answer drawn in; None shows none.

    Returns:
        `type`, `id` of the command, its `question`, `status`, `text`, `found`, `facts`, `images`
        (names and data URLs), `is_bad` for a refusal and `is_live` while it can be stopped.
    """
    result = received.result
    if received.status in _REFUSALS:
        text = received.message
    else:
        text = result.text or received.message or "(no text)"
    images = [(one.route.value, _encode(one.rgb)) for one in result.images]
    if image is not None and result.branches:
        images.insert(
            0, ("the image of this answer", _encode(draw_results(image.decode(), [result])))
        )
    return _describe(
        received.command_id,
        received.text,
        received.status.name,
        text,
        is_live=not received.is_final,
        is_bad=received.status in _REFUSALS,
        found=_list_found(result.detections),
        facts=_list_facts(received),
        images=images,
    )


def _describe(
    command_id: str,
    question: str,
    status: str,
    text: str,
    *,
    is_live: bool,
    is_bad: bool = False,
    found: Sequence[str] = (),
    facts: Sequence[str] = (),
    images: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    return {
        "type": "answer",
        "id": command_id,
        "question": question,
        "status": status,
        "text": text,
        "is_live": is_live,
        "is_bad": is_bad,
        "found": list(found),
        "facts": list(facts),
        "images": [list(one) for one in images],
    }


def _list_found(found: Detections) -> list[str]:
    rows = [f"{label} {score:.2f}" for _, score, label in found]
    if found.track_ids is not None:
        rows = [
            f"{row} #{track}" if track else row
            for row, track in zip(rows, found.track_ids, strict=True)
        ]
    if len(rows) > _MOST_FOUND:
        rows[_MOST_FOUND:] = [f"{len(rows) - _MOST_FOUND} more"]
    return rows


def _list_facts(received: ReceivedResult) -> list[str]:
    result = received.result
    is_answered = received.status is Status.OK
    facts = [] if is_answered else [received.status.name.lower()]
    if is_answered and (message := received.message or result.message):
        facts.append(message)
    if result.answer_score is not None:
        facts.append(f"probability {result.answer_score:.2f}")
    if result.answer_age:
        facts.append(f"words of {result.answer_age} images ago")
    if received.sequence:
        facts.append(f"answer {received.sequence + 1}")
    if result.stage_ms:
        facts.append(f"{sum(result.stage_ms.values()):.0f} ms")
    return facts


def _encode(rgb: np.ndarray) -> str:
    """Return (H, W, 3) uint8 RGB as a data URL, at most `_IMAGE_SIDE` large."""
    height, width = rgb.shape[:2]
    scale = min(1.0, _IMAGE_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(small)).decode()
