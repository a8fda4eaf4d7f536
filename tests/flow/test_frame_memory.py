"""What is kept about a frame goes with it."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.structures import Frame


class _Value:
    """Something that was computed."""


def _make_frame() -> Frame:
    return Frame(np.zeros((4, 6, 3), np.uint8))


def test_a_value_is_made_once_for_each_frame_and_key() -> None:
    memory, frames = FrameMemory(), (_make_frame(), _make_frame())
    first = memory.get(frames[0], "vision", _Value)
    assert memory.get(frames[0], "vision", _Value) is first
    assert memory.get(frames[0], "decoder", _Value) is not first
    assert memory.get(frames[1], "vision", _Value) is not first


def test_equal_pixels_of_another_frame_find_nothing() -> None:
    memory, frame = FrameMemory(), _make_frame()
    memory.put(frame, "vision", 1)
    assert memory.find(frame, "vision") == 1
    assert memory.find(Frame(frame.rgb), "vision") is None


def test_without_a_frame_nothing_is_kept() -> None:
    memory = FrameMemory()
    first = memory.get(None, "vision", _Value)
    assert memory.get(None, "vision", _Value) is not first
    assert memory.find(None, "vision") is None
    assert len(memory) == 0


def test_nothing_outlives_its_frame() -> None:
    memory, frame, value = FrameMemory(), _make_frame(), _Value()
    memory.put(frame, "vision", value)
    kept = weakref.ref(value)
    del value
    gc.collect()
    assert kept() is not None
    del frame
    gc.collect()
    assert kept() is None
    assert len(memory) == 0


def test_of_many_frames_that_are_held_the_newest_are_kept() -> None:
    memory, frames = FrameMemory(most_frames=2), [_make_frame() for _ in range(5)]
    for index, frame in enumerate(frames):
        memory.put(frame, "vision", index)
        memory.put(frame, "decoder", index)
    assert [memory.find(frame, "decoder") for frame in frames] == [None, None, None, 3, 4]
    assert len(memory) == 2
