"""Tracks on simulated orbits with crossings and objects that are hidden for ten frames."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import pytest

pytest.importorskip("mujoco")

from vl2_ros.errors import EngineError, InputError
from vl2_ros.evaluation.orbits import (
    HIDDEN_FRAMES,
    OrbitFrame,
    OrbitScores,
    evaluate_tracks,
    render_orbit,
)
from vl2_ros.flow.watch_memory import WatchMemory, read_memory, remember_tracks
from vl2_ros.sim.tabletop import TabletopSimulator
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
)

SEED, FRAMES = 1_000_002, 72


@pytest.fixture(scope="module")
def orbit() -> list[OrbitFrame]:
    with TabletopSimulator(width=160, height=120) as simulator:
        return list(render_orbit(simulator, SEED, FRAMES))


class Oracle:
    """Finds the true boxes of an orbit and tracks them as the flow does; forgets on request."""

    def __init__(self, orbit: list[OrbitFrame], *, forgets: bool = False) -> None:
        self._truths = {one.frame.stamp_ns: one.truth for one in orbit}
        self._forgets = forgets
        self.texts: set[str] = set()

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        self.texts.add(command.text)
        truth = self._truths[frame.stamp_ns]
        phrases = tuple(sorted(set(truth.labels)))
        found = Detections(
            truth.boxes_xyxy,
            np.ones(len(truth.ids), np.float32),
            np.array([phrases.index(label) for label in truth.labels], np.int64),
            tuple(truth.labels),
        )
        kept = read_memory(None if self._forgets else memory)
        yield StageEvent("detection")
        branches, tracks = remember_tracks(
            frame, command, [Branch(Route.DETECT, phrases, found)], kept
        )
        yield ResultEvent(Result("", frame.stamp_ns, "", "", branches), WatchMemory(tracks))


def test_each_object_is_hidden_for_exactly_ten_frames(orbit):
    pieces = {number for one in orbit for number in one.truth.ids}
    for piece in pieces:
        runs = [
            (is_there, len(list(group)))
            for is_there, group in groupby(orbit, key=lambda one: piece in one.truth.ids)
        ]
        gaps = [length for is_there, length in runs[1:-1] if not is_there]
        assert HIDDEN_FRAMES in gaps, (piece, runs)


def test_what_is_covered_is_gone_from_the_image_and_the_truth(orbit):
    before, during = orbit[3], orbit[4]
    (hidden,) = set(before.truth.ids) - set(during.truth.ids)
    left, top, right, bottom = before.truth.boxes_xyxy[before.truth.ids.index(hidden)].astype(int)
    middle = during.frame.rgb[(top + bottom) // 2, (left + right) // 2]
    assert np.ptp(middle) == 0
    assert during.frame.stamp_ns - before.frame.stamp_ns == 100_000_000


def test_exact_boxes_keep_their_ids_through_crossings_and_ten_hidden_frames(orbit):
    scores = OrbitScores()
    scores.add_exact(orbit)
    assert scores.exact.idf1 >= 0.9
    assert scores.exact.truth_count == scores.exact.found_count > FRAMES


def test_a_model_is_watched_with_one_command_and_its_own_memory(orbit):
    phrases = sorted({label for one in orbit for label in one.truth.labels})
    scores = OrbitScores()
    scores.add_model(oracle := Oracle(orbit), orbit, phrases)
    assert oracle.texts == {f"find the {', the '.join(phrases)}"}
    assert scores.to_dict()["model_idf1"] >= 0.9
    forgetful = OrbitScores()
    forgetful.add_model(Oracle(orbit, forgets=True), orbit, phrases)
    assert forgetful.model.idf1 < scores.model.idf1
    assert forgetful.model.box_f1 == scores.model.box_f1


def test_a_run_without_a_result_is_an_error(orbit):
    class Silent:
        def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
            yield StageEvent("vision")

    with pytest.raises(EngineError, match="ended without a result"):
        OrbitScores().add_model(Silent(), orbit[:1], ["mug"])


@pytest.mark.parametrize(("seeds", "frames"), [(range(0), 1), (range(1), 0)])
def test_nothing_to_measure_is_refused(seeds, frames):
    with pytest.raises(InputError, match="at least one seed and one frame"):
        evaluate_tracks(Oracle([]), seeds=seeds, frames=frames)
