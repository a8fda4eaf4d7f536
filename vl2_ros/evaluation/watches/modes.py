"""Compare the modes of a watch: each answers the same frames, with a memory of its own.

What is asked of each mode, PLAIN being what the others are compared with:

    words_equal    share of frames with PLAIN's answer, routing tokens included
    counts_equal   share of frames with PLAIN's number of instances of every phrase
    box_ap         average precision of its boxes against the labels; None without labels
    plain_box_ap   the same against PLAIN's boxes
    drift_px ...   mean and most pixels by which an edge of a box lies elsewhere than PLAIN's, over
                   instances of one phrase that overlap by half
    new_answers    share of frames that the language model answered, not the memory
    ms             median wall time of an answer
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from vl2_ros.errors import EngineError, InputError
from vl2_ros.evaluation.coco.scorer import CocoScorer, GroundTruth
from vl2_ros.evaluation.watches.scenes import LabelledBox, WatchedFrame, WatchedScene
from vl2_ros.geometry import box_iou
from vl2_ros.structures import Command, Event, Frame, Result, ResultEvent, WatchMode

#: Boxes of one phrase that overlap at least so much are of one object.
MATCH_IOU = 0.5

Scores = dict[str, float | None]


class WatchedPipeline(Protocol):
    """The evaluated model."""

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        """Yield the events of one command; the last one has the memory for the next frame."""


@dataclass(slots=True, eq=False)
class _Watch:
    """One mode: its memory and what it answered so far."""

    mode: WatchMode
    memory: object = None
    results: list[Result] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def answer(self, pipeline: WatchedPipeline, frame: Frame, command: Command) -> None:
        watching = replace(command.watching, mode=self.mode)
        began_s = time.perf_counter()
        for event in pipeline.run(frame, replace(command, watching=watching), self.memory):
            if isinstance(event, ResultEvent):
                self.seconds.append(time.perf_counter() - began_s)
                self.results.append(event.result)
                self.memory = event.memory
                return
        raise EngineError("the run ended without a result")


def compare_modes(
    pipeline: WatchedPipeline,
    scenes: Sequence[WatchedScene],
    command: Command,
    *,
    modes: Sequence[WatchMode] = tuple(WatchMode),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Scores]:
    """Watch every scene in all modes, frame by frame in turns, and score the answers.

    Args:
        pipeline: the model under test.
        scenes: each begins a new watch.
        command: limits and options; the sentence is that of the scene.
        modes: which are compared, PLAIN among them.
        progress: called with the frames that are done, and all of them.

    Returns:
        name of a mode -> what the module's table lists.

    Raises:
        InputError: if there is no frame, or PLAIN is not among the modes.
    """
    if WatchMode.PLAIN not in modes:
        raise InputError("expected PLAIN among the modes, which the others are compared with")
    watches = [_Watch(mode) for mode in modes]
    labels: list[tuple[LabelledBox, ...] | None] = []
    total = sum(scene.count for scene in scenes)
    for scene in scenes:
        for watch in watches:
            watch.memory = None
        for one in scene.frames:
            _answer_in_turn(pipeline, watches, one, replace(command, text=scene.sentence))
            labels.append(one.objects)
            progress(len(labels), total)
    if not labels:
        raise InputError("expected at least one frame to watch, got none")
    (plain,) = (watch for watch in watches if watch.mode is WatchMode.PLAIN)
    return {watch.mode.name.lower(): _score(watch, plain.results, labels) for watch in watches}


def list_modes(document: Mapping[str, Scores]) -> list[dict[str, str | float | None]]:
    """Return the rows of a table: what was measured, a column for each mode."""
    names = next(iter(document.values()))
    return [
        {"what": name, **{mode: scores[name] for mode, scores in document.items()}}
        for name in names
    ]


def _answer_in_turn(
    pipeline: WatchedPipeline, watches: Sequence[_Watch], one: WatchedFrame, command: Command
) -> None:
    # Another one begins each time, so that none always finds the caches warm.
    first = len(watches[0].results) % len(watches)
    for watch in (*watches[first:], *watches[:first]):
        # As another object: what one mode keeps with a frame serves no other.
        watch.answer(pipeline, replace(one.frame), command)


def _score(
    watch: _Watch, plain: Sequence[Result], labels: Sequence[tuple[LabelledBox, ...] | None]
) -> Scores:
    pairs = list(zip(watch.results, plain, strict=True))
    drifts = np.concatenate([_measure_drift(mine, theirs) for mine, theirs in pairs])
    is_labelled = all(one is not None for one in labels)
    truths = [_label(one or (), theirs) for one, theirs in zip(labels, plain, strict=True)]
    return {
        "words_equal": float(np.mean([a.raw_text == b.raw_text for a, b in pairs])),
        "counts_equal": float(np.mean([_count(a) == _count(b) for a, b in pairs])),
        "box_ap": _find_ap(truths, watch.results) if is_labelled else None,
        "plain_box_ap": _find_ap([_list_boxes(one) for one in plain], watch.results),
        "drift_px": float(drifts.mean()) if len(drifts) else None,
        "most_drift_px": float(drifts.max()) if len(drifts) else None,
        "new_answers": float(np.mean([one.answer_age == 0 for one in watch.results])),
        "ms": float(np.median(watch.seconds)) * 1e3,
        "frames": float(len(pairs)),
    }


_Boxes = tuple[np.ndarray, tuple[str, ...]]


def _list_boxes(result: Result) -> _Boxes:
    found = result.detections
    return found.boxes_xyxy, found.labels


def _label(objects: Sequence[LabelledBox], plain: Result) -> _Boxes:
    """Return the true boxes of what PLAIN looked for, under each name that was asked for."""
    asked = {phrase for branch in plain.branches for phrase in branch.phrases}
    rows = [(one.box_xyxy, name) for one in objects for name in one.names if name in asked]
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    return boxes, tuple(name for _, name in rows)


def _count(result: Result) -> dict[tuple[str, str], int]:
    return {
        (branch.route.value, phrase): count
        for branch in result.branches
        for phrase, count in zip(branch.phrases, branch.counts, strict=True)
    }


def _measure_drift(mine: Result, theirs: Result) -> np.ndarray:
    """Return for each box of both results the most pixels by which one of its edges differs."""
    (boxes, labels), (others, other_labels) = _list_boxes(mine), _list_boxes(theirs)
    if not (len(boxes) and len(others)):
        return np.zeros(0)
    overlap = box_iou(boxes, others)
    overlap[np.array(labels)[:, None] != np.array(other_labels)[None]] = 0.0
    rows, columns = linear_sum_assignment(-overlap)
    is_same = overlap[rows, columns] >= MATCH_IOU
    return np.abs(boxes[rows[is_same]] - others[columns[is_same]]).max(axis=1)


def _find_ap(truths: Sequence[_Boxes], results: Sequence[Result]) -> float:
    names = list(
        dict.fromkeys(
            label
            for labels in (*(one[1] for one in truths), *(r.detections.labels for r in results))
            for label in labels
        )
    )
    scorer = CocoScorer(names)
    for (boxes, labels), result in zip(truths, results, strict=True):
        found = replace(result.detections, masks=None)
        ids = np.array([names.index(label) for label in found.labels], np.int64)
        true_ids = np.array([names.index(label) for label in labels], np.int64)
        scorer.add(GroundTruth(boxes, true_ids), replace(found, class_ids=ids))
    return scorer.boxes().ap
