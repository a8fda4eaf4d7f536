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


def test_of_large_values_those_of_one_frame_are_kept() -> None:
    memory, frames = FrameMemory(most_bytes=100), [_make_frame() for _ in range(4)]
    memory.put(frames[0], "prefix", "small", 40)
    memory.put(frames[1], "prefix", "small", 50)
    # The size of a key is that of its last value.
    memory.put(frames[1], "prefix", "smaller", 45)
    memory.put(frames[1], "vision", "tiny", 10)
    assert [memory.find(one, "prefix") for one in frames[:2]] == ["small", "smaller"]
    memory.put(frames[2], "prefix", "large", 500)
    memory.put(frames[2], "vision", "large", 500)
    assert [memory.find(one, "prefix") for one in frames] == [None, None, "large", None]
    assert memory.find(frames[2], "vision") == "large"
    memory.put(frames[3], "vision", "small", 1)
    assert [memory.find(one, "vision") for one in frames] == [None, None, None, "small"]


def test_a_frame_that_is_gone_takes_no_room() -> None:
    memory, held = FrameMemory(most_frames=2), _make_frame()
    memory.put(held, "vision", 1)
    for _ in range(5):
        memory.put(_make_frame(), "vision", 2)
    assert memory.find(held, "vision") == 1


def test_of_many_frames_that_are_held_the_newest_are_kept() -> None:
    memory, frames = FrameMemory(most_frames=2), [_make_frame() for _ in range(5)]
    for index, frame in enumerate(frames):
        memory.put(frame, "vision", index)
        memory.put(frame, "decoder", index)
    assert [memory.find(frame, "decoder") for frame in frames] == [None, None, None, 3, 4]
    assert len(memory) == 2
