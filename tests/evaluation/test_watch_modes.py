"""The comparison of the modes of a watch, with an oracle that errs where it shall."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from vl2_ros.errors import EngineError, InputError
from vl2_ros.evaluation.watches.modes import compare_modes, list_modes
from vl2_ros.evaluation.watches.scenes import (
    LabelledBox,
    WatchedFrame,
    WatchedScene,
    read_scene,
    simulate_scenes,
)
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    Result,
    ResultEvent,
    Route,
    StageEvent,
    WatchMode,
    WatchOptions,
)

RGB = np.zeros((60, 80, 3), np.uint8)
MUG = (10.0, 10.0, 30.0, 40.0)
BOWL = (40.0, 10.0, 70.0, 40.0)


class Oracle:
    """Finds a mug and a bowl; CACHED shifts boxes by 2 px, and loses the bowl in frame 3."""

    def __init__(self) -> None:
        self.seen: list[tuple[WatchMode, str, int, object]] = []

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        mode = command.watching.mode
        self.seen.append((mode, command.text, frame.stamp_ns, memory))
        yield StageEvent("detection")
        is_cached = mode is WatchMode.CACHED
        boxes = np.array([MUG, BOWL], np.float32) + (2.0 if is_cached else 0.0)
        found = Detections(boxes, np.ones(2, np.float32), np.arange(2), ("mug", "bowl"))
        if is_cached and frame.stamp_ns == 3:
            found = found[[0]]
        age = 0 if memory is None or not is_cached else memory[1] + 1
        result = Result(
            "",
            frame.stamp_ns,
            "",
            "",
            (Branch(Route.DETECT, ("mug", "bowl"), found),),
            raw_text="other" if mode is WatchMode.AUTO else "mug[DET], bowl[DET]",
            answer_age=age,
        )
        yield ResultEvent(result, (mode, age))


def make_scene(first: int, count: int, *, labelled: bool = True) -> WatchedScene:
    objects = (LabelledBox(MUG, ("mug", "red mug")), LabelledBox(BOWL, ("bowl",)))
    frames = [
        WatchedFrame(Frame(RGB, stamp), objects if labelled else None)
        for stamp in range(first, first + count)
    ]
    return WatchedScene("find them", count, frames)


def test_each_mode_is_compared_with_plain_decoding():
    scores = compare_modes(Oracle(), [make_scene(1, 2), make_scene(3, 2)], Command("x"))
    assert list(scores) == ["plain", "exact", "cached", "auto"]
    cached = scores["cached"]
    assert (cached["words_equal"], scores["auto"]["words_equal"]) == (1.0, 0.0)
    assert (cached["counts_equal"], scores["exact"]["counts_equal"]) == (0.75, 1.0)
    # Two of four frames begin a watch and are answered anew.
    assert (cached["new_answers"], scores["exact"]["new_answers"]) == (0.5, 1.0)
    assert (cached["drift_px"], cached["most_drift_px"]) == (2.0, 2.0)
    assert scores["exact"]["drift_px"] == 0.0
    for name in ("plain", "exact"):
        assert (scores[name]["box_ap"], scores[name]["plain_box_ap"]) == (1.0, 1.0)
    assert 0.3 < cached["box_ap"] == cached["plain_box_ap"] < 1.0
    assert all(one["frames"] == 4.0 and one["ms"] > 0 for one in scores.values())


def test_without_labels_plain_is_the_only_truth():
    scores = compare_modes(Oracle(), [make_scene(1, 2, labelled=False)], Command("x"))
    assert scores["exact"]["box_ap"] is None and scores["exact"]["plain_box_ap"] == 1.0


def test_each_mode_has_its_own_memory_which_ends_with_the_scene():
    oracle = Oracle()
    command = Command("x", watching=WatchOptions(refresh_frames=7))
    compare_modes(oracle, [make_scene(1, 3), make_scene(4, 1)], command)
    for mode in WatchMode:
        own = [(text, stamp, memory) for m, text, stamp, memory in oracle.seen if m is mode]
        assert [stamp for _, stamp, _ in own] == [1, 2, 3, 4]
        assert {text for text, _, _ in own} == {"find them"}
        assert [memory and memory[0] for _, _, memory in own] == [None, mode, mode, None]
    # Not always the same one first.
    assert len({oracle.seen[index][0] for index in range(0, 16, 4)}) == 4


def test_rows_have_a_column_for_each_mode():
    scores = compare_modes(
        Oracle(), [make_scene(1, 1)], Command("x"), modes=(WatchMode.PLAIN, WatchMode.CACHED)
    )
    rows = {row["what"]: row for row in list_modes(scores)}
    assert set(rows["drift_px"]) == {"what", "plain", "cached"}
    assert (rows["drift_px"]["plain"], rows["drift_px"]["cached"]) == (0.0, 2.0)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="PLAIN among the modes"):
        compare_modes(Oracle(), [make_scene(1, 1)], Command("x"), modes=(WatchMode.AUTO,))
    with pytest.raises(InputError, match="at least one frame"):
        compare_modes(Oracle(), [replace(make_scene(1, 1), frames=[])], Command("x"))

    class Silent:
        def run(self, frame, command, memory=None):
            yield StageEvent("detection")

    with pytest.raises(EngineError, match="without a result"):
        compare_modes(Silent(), [make_scene(1, 1)], Command("x"))


def test_a_recording_gives_its_first_frames():
    scene = read_scene((Frame(RGB, stamp) for stamp in range(1, 100)), 3, "find it")
    frames = list(scene.frames)
    assert (scene.sentence, scene.count) == ("find it", 3)
    assert [one.frame.stamp_ns for one in frames] == [1, 2, 3]
    assert all(one.objects is None for one in frames)


def test_simulated_scenes_ask_for_what_they_have():
    pytest.importorskip("mujoco")
    scenes = simulate_scenes(range(1_000_000, 1_000_002), 2, 90.0)
    assert [scene.count for scene in scenes] == [2, 2]
    assert scenes[0].sentence != scenes[1].sentence
    frames = list(scenes[0].frames)
    assert len(frames) == 2 and frames[0].objects
    names = {name for one in frames[0].objects for name in one.names}
    assert any(f"the {name}" in scenes[0].sentence for name in names)
    (own,) = simulate_scenes(range(1_000_000, 1_000_001), 9, 90.0, "find the mug")
    assert (own.sentence, own.count) == ("find the mug", 4)
    for turn in (0.0, -1.0, 400.0, float("nan")):
        with pytest.raises(InputError, match="above 0 and at most 360"):
            simulate_scenes(range(1), 1, turn)
