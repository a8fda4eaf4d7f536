"""What the flow keeps from one frame of a watch for the next, and what of it may be used again.

The one place where a kept answer is judged: whether it serves another frame, and whether the scene
is still the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.flow.generated_images import IMAGE_BRANCHES
from vl2_ros.flow.spoken import SpokenAnswer
from vl2_ros.runtime.engine import to_numpy
from vl2_ros.structures import Branch, Command, Frame, WatchMode
from vl2_ros.tracking.tracks import Tracks, track_branches

#: Width and height of a sketch, and samples of an image along each side of one of its cells.
_SKETCH_SIZE, _SAMPLES = (16, 12), 8
#: Mean difference in grey levels from which on two sketches show different scenes. On simulated
#: frames noise of 8 levels makes 0.9, an object of 80 x 80 pixels that appears 1 to 4, a camera
#: that went 12 degrees around the table 11, and another table 23 or more.
_SCENE_CHANGE = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class KeptAnswer:
    """An answer of the language model and the frame that it was given for.

    Attributes:
        spoken: the answer; its states are numpy arrays of their own.
        asked: what of the command it depends on beside the frame.
        sketch: (12, 16, 3) float32 of the frame; None without one.
    """

    spoken: SpokenAnswer
    asked: tuple[object, ...]
    sketch: np.ndarray | None


@dataclass(frozen=True, slots=True)
class WatchMemory:
    """What the flow keeps from one frame of a watch for the next.

    Attributes:
        tracks: of the objects; None where they are not tracked.
        answer: the last one of the language model; None where none is used again.
    """

    tracks: Tracks | None = None
    answer: KeptAnswer | None = None


def read_memory(memory: object) -> WatchMemory:
    """Return the memory of the frame before; an empty one where there was none.

    Raises:
        InputError: if it is not what the flow returned.
    """
    if memory is None:
        return WatchMemory()
    if not isinstance(memory, WatchMemory):
        raise InputError(
            "memory must be None or that of the watch's last ResultEvent, got "
            f"{type(memory).__name__}"
        )
    return memory


def remember_tracks(
    frame: Frame | None, command: Command, branches: Sequence[Branch], memory: WatchMemory
) -> tuple[tuple[Branch, ...], Tracks | None]:
    """Give the instances of a watched frame the ids of their tracks.

    Returns:
        The branches, with `track_ids` where the command tracks, and the tracks for the next frame.
    """
    if frame is None or command.tracking is None:
        return tuple(branches), None
    return track_branches(branches, memory.tracks, frame.stamp_ns, command.tracking)


def remember_answer(
    frame: Frame | None, command: Command, mode: WatchMode, spoken: SpokenAnswer, was: WatchMemory
) -> KeptAnswer | None:
    """Return what is kept of an answer; nothing in the mode PLAIN.

    Args:
        frame: that it is about.
        command: that it answers.
        mode: of the watch.
        spoken: the answer, of this frame or, where it has an age, the one in `was`.
        was: the memory of the frame before.
    """
    if mode is WatchMode.PLAIN:
        return None
    if spoken.age and was.answer is not None:
        return replace(was.answer, spoken=spoken)
    # Copies: the states are a view of those of the whole prompt, maybe on an accelerator.
    conditions = tuple(
        replace(one, states=np.array(to_numpy(one.states))) for one in spoken.conditions
    )
    sketch = draw_sketch(frame) if frame is not None and mode is WatchMode.AUTO else None
    return KeptAnswer(replace(spoken, conditions=conditions), _list_asked(command), sketch)


def find_draft(command: Command, mode: WatchMode, memory: WatchMemory) -> tuple[int, ...] | None:
    """Return the last answer to the same words as token ids; None where there is none."""
    kept = memory.answer
    if mode is WatchMode.PLAIN or kept is None or kept.asked != _list_asked(command):
        return None
    return kept.spoken.token_ids


def find_answer(
    frame: Frame | None, command: Command, mode: WatchMode, memory: WatchMemory
) -> SpokenAnswer | None:
    """Return the kept answer if it serves this frame as well; None if one must be generated.

    An answer that says more than what it looks for ("yes", a number, a caption) depends on the
    frame, as visual prompts and the states of an edit do: it is generated for each.
    """
    kept = memory.answer
    if kept is None or mode not in (WatchMode.CACHED, WatchMode.AUTO) or frame is None:
        return None
    spoken = kept.spoken
    is_used = spoken.parsed.only_names and not any(one in IMAGE_BRANCHES for one in spoken.routes)
    if not is_used or command.visual_prompts or command.images:
        return None
    if kept.asked != _list_asked(command):
        return None
    if mode is WatchMode.AUTO and (
        spoken.age + 1 >= command.watching.refresh_frames
        or kept.sketch is None
        or _differ(kept.sketch, draw_sketch(frame))
    ):
        return None
    return spoken


def draw_sketch(frame: Frame) -> np.ndarray:
    """Return colours of a frame at a few places, (12, 16, 3) float32, without its brightness."""
    height, width = frame.frame_hw
    step_x, step_y = (
        max(1, side // (cells * _SAMPLES))
        for side, cells in zip((width, height), _SKETCH_SIZE, strict=True)
    )
    # Reading every pixel would take longer than all the rest.
    sampled = np.ascontiguousarray(frame.rgb[::step_y, ::step_x])
    small = cv2.resize(sampled, _SKETCH_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    # Exposure changes with the light and says nothing of what is seen.
    return np.asarray(small - small.mean(axis=(0, 1)))


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.abs(one - other).mean()) > _SCENE_CHANGE


def _list_asked(command: Command) -> tuple[object, ...]:
    return (command.text, command.direct, command.max_new_tokens)
