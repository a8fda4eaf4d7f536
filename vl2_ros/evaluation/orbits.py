"""Evaluate tracks on simulated orbits: objects cross, and each is hidden for ten frames.

A camera goes once around a tabletop, ten frames a second, so that objects cross in the image and
hide each other. One object after the other is covered by a plain rectangle, in exactly
`HIDDEN_FRAMES` frames. The truth is the segmentation of what remains visible. What is asked:

    exact_idf1          the tracker alone: it gets the true boxes, all under one phrase
    model_idf1          the model's own boxes, found by the colour and kind of each object
    model_box_f1        the same boxes whatever their ids, which bounds model_idf1
    ..._switches        how often an object is found under another id than before
    seconds_per_answer  mean wall time of an answer
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from vl2_ros.datasets.nouns import phrase_of
from vl2_ros.errors import EngineError, InputError
from vl2_ros.evaluation.track_scores import TrackedBoxes, TrackScorer
from vl2_ros.geometry import masks_to_boxes
from vl2_ros.sim.scene import PlacedPiece, sample_scene
from vl2_ros.sim.tabletop import (
    MIN_VISIBLE_PIXELS,
    TabletopFrame,
    TabletopObject,
    TabletopSimulator,
)
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    ResultEvent,
    Route,
    TrackingOptions,
)
from vl2_ros.structures.result import join_branches
from vl2_ros.tracking.tracks import Tracks, track_branches

FRAME_WIDTH, FRAME_HEIGHT = 640, 480
PERIOD_NS = 100_000_000
HIDDEN_FRAMES = 10
#: Frames before the first object is covered, and between the end of one cover and the next.
_PAUSE_FRAMES = 4
#: Pixels by which the rectangle is larger than what it covers.
_MARGIN = 4
_COVER_RGB = (96, 96, 96)
#: Phrase of all objects where the tracker is alone.
_OBJECT = "object"


class WatchedPipeline(Protocol):
    """The evaluated model."""

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        """Yield the events of one command; the last one has the memory for the next frame."""


@dataclass(frozen=True, slots=True, eq=False)
class OrbitFrame:
    """One frame of an orbit and what is visible in it.

    Attributes:
        frame: the image.
        truth: visible objects; ids are pieces of the scene, labels their colours and kinds.
    """

    frame: Frame
    truth: TrackedBoxes


def render_orbit(simulator: TabletopSimulator, seed: int, count: int) -> Iterator[OrbitFrame]:
    """Yield `count` frames of a camera that goes once around a scene, objects covered in turn."""
    cycle = HIDDEN_FRAMES + _PAUSE_FRAMES
    covered = -1
    for index, view in enumerate(simulator.render_orbit(seed, count)):
        phase = index % cycle - _PAUSE_FRAMES
        if phase < 0:
            covered = -1
        elif phase == 0:
            covered = _choose(view, index // cycle)
        yield _cover(view, covered, index)


def _choose(view: TabletopFrame, turn: int) -> int:
    """Return the piece that is covered next, another one each time."""
    return view.pieces[turn % len(view.pieces)] if view.pieces else -1


def _cover(view: TabletopFrame, piece: int, index: int) -> OrbitFrame:
    """Cover a piece, -1 none, and find what remains visible."""
    rgb, instance_map = view.rgb.copy(), view.instance_map.copy()
    if piece in view.pieces:
        box = np.array(view.objects[view.pieces.index(piece)].box_xyxy)
        left, top = np.maximum(box[:2] - _MARGIN, 0).astype(int)
        right, bottom = (box[2:] + _MARGIN).astype(int)
        rgb[top:bottom, left:right] = _COVER_RGB
        instance_map[top:bottom, left:right] = 0
    needed = MIN_VISIBLE_PIXELS * instance_map.size / (320 * 240)
    sizes = np.bincount(instance_map.ravel(), minlength=len(view.pieces) + 1)[1:]
    seen = np.flatnonzero(sizes >= needed)
    truth = TrackedBoxes(
        ids=[view.pieces[number] for number in seen],
        boxes_xyxy=masks_to_boxes(instance_map[None] == (seen + 1)[:, None, None]),
        labels=[_name(view.objects[number]) for number in seen],
    )
    # Stamps begin at one period: 0 is an unknown stamp.
    return OrbitFrame(Frame(rgb, (index + 1) * PERIOD_NS, "camera"), truth)


def _name(item: TabletopObject | PlacedPiece) -> str:
    return phrase_of(item.color, item.kind)


@dataclass(slots=True, eq=False)
class OrbitScores:
    """Running totals over orbits.

    Attributes:
        exact: of the tracker alone, which gets the true boxes, all under one phrase.
        model: of the model's own instances.
        seconds: wall time of each answer.
    """

    exact: TrackScorer = field(default_factory=TrackScorer)
    model: TrackScorer = field(default_factory=TrackScorer)
    seconds: list[float] = field(default_factory=list)

    def add_exact(self, orbit: Iterable[OrbitFrame]) -> None:
        """Track the true boxes of an orbit."""
        tracks: Tracks | None = None
        self.exact.begin()
        for one in orbit:
            branch, truth = _make_exact(one.truth)
            (branch,), tracks = track_branches(
                [branch], tracks, one.frame.stamp_ns, TrackingOptions()
            )
            self.exact.add(truth, list_tracked([branch]))

    def add_model(
        self, pipeline: WatchedPipeline, orbit: Iterable[OrbitFrame], phrases: Iterable[str]
    ) -> None:
        """Watch an orbit with one command that names phrases."""
        command = Command(f"find the {', the '.join(phrases)}", tracking=TrackingOptions())
        memory: object = None
        self.model.begin()
        for one in orbit:
            began_s = time.perf_counter()
            last = _run(pipeline, one.frame, command, memory)
            self.seconds.append(time.perf_counter() - began_s)
            memory = last.memory
            self.model.add(one.truth, list_tracked(last.result.branches))

    def to_dict(self) -> dict[str, float]:
        """Return what the module's table lists."""
        return {
            "exact_idf1": self.exact.idf1,
            "exact_switches": float(self.exact.switches),
            "model_idf1": self.model.idf1,
            "model_box_f1": self.model.box_f1,
            "model_switches": float(self.model.switches),
            # The first answer pays for what is built on first use.
            "seconds_per_answer": float(np.mean(self.seconds[1:] or self.seconds)),
            "frames": float(len(self.seconds)),
        }


def evaluate_tracks(
    pipeline: WatchedPipeline,
    *,
    seeds: range,
    frames: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Render orbits and score everything that the module's table lists.

    Args:
        pipeline: the model under test.
        seeds: scenes; held-out ones start at 1,000,000.
        frames: of each orbit.
        progress: called with the orbits that are done, and all of them.

    Raises:
        InputError: if there is no seed or no frame.
    """
    if not seeds or frames < 1:
        raise InputError(f"expected at least one seed and one frame, got {seeds} and {frames}")
    scores = OrbitScores()
    with TabletopSimulator(width=FRAME_WIDTH, height=FRAME_HEIGHT) as simulator:
        for done, seed in enumerate(seeds, start=1):
            placed = (one for one in sample_scene(seed).pieces if one.is_labelled)
            orbit = list(render_orbit(simulator, seed, frames))
            scores.add_exact(orbit)
            scores.add_model(pipeline, orbit, dict.fromkeys(_name(one) for one in placed))
            progress(done, len(seeds))
    return scores.to_dict()


def list_tracked(branches: Sequence[Branch]) -> TrackedBoxes:
    """Return the instances of a frame that have a track."""
    found = join_branches(branches)
    if found.track_ids is not None:
        found = found[found.track_ids > 0]
    return TrackedBoxes(
        ids=[] if found.track_ids is None else found.track_ids.tolist(),
        boxes_xyxy=found.boxes_xyxy,
        labels=found.labels,
    )


def _make_exact(truth: TrackedBoxes) -> tuple[Branch, TrackedBoxes]:
    """Return the true boxes as instances of one phrase, and that phrase in the truth."""
    count = len(truth.ids)
    labels = (_OBJECT,) * count
    found = Detections(
        boxes_xyxy=truth.boxes_xyxy,
        scores=np.ones(count, np.float32),
        class_ids=np.zeros(count, np.int64),
        labels=labels,
    )
    return Branch(Route.DETECT, (_OBJECT,), found), replace(truth, labels=labels)


def _run(pipeline: WatchedPipeline, frame: Frame, command: Command, memory: object) -> ResultEvent:
    for event in pipeline.run(frame, command, memory):
        if isinstance(event, ResultEvent):
            return event
    raise EngineError("the run ended without a result")
