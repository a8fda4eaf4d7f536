"""Evaluate tracks on simulated orbits: objects cross, and each is hidden for ten frames.

A camera goes once around a tabletop, ten frames a second, so that objects cross in the image and
hide each other. One object after the other is covered by a plain rectangle, in exactly
`HIDDEN_FRAMES` frames. The truth is the segmentation of what remains visible. What is asked:

    exact_idf1 ...  the tracker alone: it gets the true boxes, all under one phrase
    model_idf1 ...  the model's own boxes, one phrase for each kind that the scene has
    ..._switches    how often an object is found under another id than before
    seconds_per_answer
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vl2_ros.datasets.nouns import pluralize
from vl2_ros.errors import EngineError, InputError
from vl2_ros.evaluation.track_scores import TrackedBoxes, TrackScorer
from vl2_ros.geometry import masks_to_boxes
from vl2_ros.sim.tabletop import MIN_VISIBLE_PIXELS, TabletopFrame, TabletopSimulator
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
        truth: visible objects; ids are pieces of the scene, labels their kinds.
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
        labels=[view.objects[number].kind for number in seen],
    )
    # Stamps begin at one period: 0 is an unknown stamp.
    return OrbitFrame(Frame(rgb, (index + 1) * PERIOD_NS, "camera"), truth)


def score_exact(orbit: Iterable[OrbitFrame]) -> TrackScorer:
    """Track the true boxes of an orbit, all of them under one phrase."""
    scorer, options = TrackScorer(), TrackingOptions()
    tracks: Tracks | None = None
    for one in orbit:
        boxes, count = one.truth.boxes_xyxy, len(one.truth.ids)
        found = Detections(
            boxes, np.ones(count, np.float32), np.zeros(count, np.int64), (_OBJECT,) * count
        )
        branch = Branch(Route.DETECT, (_OBJECT,), found)
        (branch,), tracks = track_branches([branch], tracks, one.frame.stamp_ns, options)
        truth = TrackedBoxes(one.truth.ids, boxes, found.labels)
        scorer.add(truth, _list_tracked([branch]))
    return scorer


def score_model(
    pipeline: WatchedPipeline,
    orbit: Iterable[OrbitFrame],
    kinds: Iterable[str],
    on_frame: Callable[[float], None] = lambda seconds: None,
) -> TrackScorer:
    """Watch an orbit with one command that names kinds, and score the ids of the answers.

    Args:
        pipeline: the model under test.
        orbit: the frames.
        kinds: what the command looks for.
        on_frame: called after each answer with its wall time in seconds.
    """
    scorer = TrackScorer()
    names = [pluralize(kind) for kind in kinds]
    labels = {name: kind for name, kind in zip(names, kinds, strict=True)}
    command = Command(f"find the {', the '.join(names)}", tracking=TrackingOptions())
    memory: object = None
    for one in orbit:
        began_s = time.perf_counter()
        last = _run(pipeline, one.frame, command, memory)
        on_frame(time.perf_counter() - began_s)
        memory = last.memory
        scorer.add(one.truth, _list_tracked(last.result.branches, labels))
    return scorer


def _run(
    pipeline: WatchedPipeline, frame: Frame, command: Command, memory: object
) -> ResultEvent:
    for event in pipeline.run(frame, command, memory):
        if isinstance(event, ResultEvent):
            return event
    raise EngineError("the run ended without a result")


def _list_tracked(branches: Iterable[Branch]) -> TrackedBoxes:
    found = [branch.detections for branch in branches]
    return TrackedBoxes(
        ids=[int(number) for one in found for number in one.track_ids],
        boxes_xyxy=np.concatenate([np.zeros((0, 4)), *(one.boxes_xyxy for one in found)]),
        labels=[label for one in found for label in one.labels],
    )
