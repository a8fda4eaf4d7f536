"""Evaluate the embedded model on held-out simulator frames, as one table of numbers.

Frames are rendered at 640x480, twice the training width. What is asked:

    box_ap, mask_ap ...   all 12 kinds in one class list, given directly (no generation), best 100
                          instances by score, no threshold
    phrase_box_ap50       all 96 colour-kind phrases, 6 fixed lists of 16 per frame, best 100 each;
                          every sixth phrase of the table, so that each list has the same kinds
                          in other colours and the same colours on other kinds
    route_accuracy ...    hand-written commands of `phrasings.tsv`, freely generated answers
    listing_f1 ...        questions answered in words, freely generated: what is there; whether
                          there is "a red mug", as often yes as no, where a no shares its colour or
                          its kind with something that is there; colours, each about as often;
                          whether a thing is left or right of another, as often yes as no, and
                          what is nearest to it
    calibration_error     expected calibration error of the probability of yes, in ten bins
    yes_no_given          share of the answers "yes" and "no" that are given, not "I am not sure.",
                          and the share of those that is right; 0 where none is given
    count_accuracy        how many there are of a kind, 0 to 4 equally often, in scenes of their own
    (words are scored as the LLM says them, before any sentence is made from results)
    pck_figure ...        named keypoints, see `scene_poses`; of a model with a pose decoder
    region_accuracy ...   names and masks of things that are pointed at, see `scene_regions`; of a
                          model with a region encoder
    household_box_ap50    all kinds of household scenes, and people alone; see `household`
    ..._chance            what the best answer that is always the same scores on these questions
    seconds_per_answer    mean wall time of a "find the red mug" command on a fresh frame
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np

from vl2_ros.datasets.nouns import COLOR_KIND_PHRASES, phrase_of
from vl2_ros.datasets.scene_questions.relations import place_objects
from vl2_ros.errors import InputError
from vl2_ros.evaluation.coco.scorer import CocoScorer, GroundTruth
from vl2_ros.evaluation.counting import NUMBERS, draw_counting_views
from vl2_ros.evaluation.phrasings import load_phrasings, score_phrasings
from vl2_ros.evaluation.scene_answers import Said, SceneAnswerScores
from vl2_ros.evaluation.scene_poses import PosePipeline, ScenePoseScores
from vl2_ros.evaluation.scene_regions import SceneRegionScores
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.flow.sentence import NOT_SURE
from vl2_ros.processing.language.pose_prompt import KEYPOINT_ROUTE
from vl2_ros.sim.kinds import KINDS
from vl2_ros.sim.tabletop import TabletopFrame, TabletopSimulator
from vl2_ros.structures import Branch, Command, Detections, Event, Frame, Result, Route

FRAME_WIDTH, FRAME_HEIGHT = 640, 480
MAX_INSTANCES = 100
PHRASE_LISTS = 6
#: Frames that the questions in words are asked about; generation takes most of the time.
TEXT_FRAMES = 100

#: Called with (stage, done, total).
Progress = Callable[[str, int, int], None]


class PerceptionPipeline(PosePipeline, Protocol):
    """The evaluated model."""

    def run(self, frame: Frame, command: Command) -> Iterator[Event]:
        """Yield the events of one command."""

    def answer(self, frame: Frame, command: Command) -> Result:
        """Return the complete answer to one command."""

    def detect(
        self,
        frame: Frame,
        names: Sequence[str],
        *,
        route: Route = ...,
        score_threshold: float = ...,
        max_instances: int = ...,
        with_masks: bool = ...,
    ) -> Branch:
        """Find the names without generating an answer."""


class PartScores(Protocol):
    """Scores of a part that not every model has."""

    def add(self, pipeline: PerceptionPipeline, frame: Frame, view: TabletopFrame) -> None:
        """Ask about one view."""

    def to_dict(self) -> dict[str, float]:
        """Return the scores."""


def evaluate_embedded(
    pipeline: PerceptionPipeline,
    *,
    seeds: range,
    frames: int,
    parts: Sequence[PartScores] = (),
    progress: Progress | None = None,
) -> dict[str, float]:
    """Render held-out frames and score everything that the module's table lists.

    Args:
        pipeline: the model under test.
        seeds: scenes to render; held-out ones start at 1,000,000. Scenes for counting are looked
            for from the first of them on, past the last.
        frames: number of seeds to use.
        parts: scores of further parts that the model has, see `list_part_scores`.
        progress: called after every frame and command.

    Raises:
        InputError: if there are fewer seeds than frames, or no frame is asked for.
    """
    if not 1 <= frames <= len(seeds):
        raise InputError(f"frames must lie in 1..{len(seeds)} (number of seeds), got {frames}")
    with TabletopSimulator(width=FRAME_WIDTH, height=FRAME_HEIGHT) as simulator:
        views = (simulator.render(seed) for seed in seeds[:frames])
        each = -(-min(frames, TEXT_FRAMES) // len(NUMBERS))
        counting = draw_counting_views(simulator.render, seeds.start, each)
        return evaluate_views(
            pipeline, views, counting, parts=parts, total=frames, progress=progress
        )


def list_part_scores(pipeline: Pipeline) -> list[PartScores]:
    """Return scores of poses and regions, as far as the model has the parts."""
    scores: list[PartScores] = []
    if KEYPOINT_ROUTE in pipeline.info.routes:
        scores.append(ScenePoseScores())
    if pipeline.engines.region_encoder is not None:
        scores.append(SceneRegionScores())
    return scores


def evaluate_views(
    pipeline: PerceptionPipeline,
    views: Iterator[TabletopFrame],
    counting: Iterable[tuple[TabletopFrame, str]] = (),
    *,
    parts: Sequence[PartScores] = (),
    total: int,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Score the pipeline on labelled frames; each is used for every number, then dropped.

    Args:
        pipeline: the model under test.
        views: labelled frames.
        counting: more of them, each with the kind that is to be counted in it.
        parts: scores of further parts.
        total: how many there are, for the progress.
        progress: called after every frame and command.
    """
    report = progress or (lambda stage, done, total: None)
    kind_scorer, phrase_scorer = CocoScorer(KINDS), CocoScorer(COLOR_KIND_PHRASES)
    texts = SceneAnswerScores()
    seconds: list[float] = []
    kept: list[Frame] = []
    # Relations have chance of their own, so that they leave the other questions as they were.
    rng, relation_rng = np.random.default_rng(0), np.random.default_rng(1)
    phrasings = load_phrasings()
    for index, view in enumerate(views):
        frame = Frame(view.rgb)
        _add_kinds(pipeline, frame, view, kind_scorer)
        _add_phrases(pipeline, frame, view, phrase_scorer)
        if index < TEXT_FRAMES:
            say = partial(_say, pipeline, frame)
            texts.ask(say, view.objects, rng)
            texts.ask_relations(say, place_objects(view.objects, view.rgb.shape[:2]), relation_rng)
        for part in parts:
            part.add(pipeline, frame, view)
        # As another object: nothing that was kept with the frame serves it.
        seconds.append(_time_answer(pipeline, replace(frame), view))
        if len(kept) < len(phrasings):
            kept.append(frame)
        report("frames", index + 1, total)
    for view, kind in counting:
        texts.ask_count(partial(_say, pipeline, Frame(view.rgb)), view.objects, kind)
    words = score_phrasings(
        pipeline, kept, phrasings, progress=lambda done, of: report("phrasings", done, of)
    )
    boxes, masks = kind_scorer.boxes(), kind_scorer.masks()
    return {
        "box_ap": boxes.ap,
        "box_ap50": boxes.ap50,
        "mask_ap": masks.ap,
        "mask_ap50": masks.ap50,
        "any_kind_box_ap50": kind_scorer.boxes_of_any_class().ap50,
        "phrase_box_ap50": phrase_scorer.boxes().ap50,
        "route_accuracy": words.route_accuracy,
        "route_chance": words.route_chance,
        "phrase_accuracy": words.phrase_accuracy,
        "phrase_chance": words.phrase_chance,
        **texts.to_dict(),
        **{name: value for part in parts for name, value in part.to_dict().items()},
        # The first answer pays for what is built on first use.
        "seconds_per_answer": float(np.mean(seconds[1:] or seconds)),
        "frames": float(len(seconds)),
    }


def list_rows(scores: Mapping[str, float]) -> list[dict[str, str | float | None]]:
    """Return the rows of a table: what was measured, and its chance where there is one."""
    chances = {
        name.removesuffix("_chance"): value
        for name, value in scores.items()
        if name.endswith("_chance")
    }
    return [
        {
            "what": name,
            "measured": value,
            "chance": chances.get(name, chances.get(name.rpartition("_")[0])),
        }
        for name, value in scores.items()
        if not name.endswith("_chance")
    ]


def make_truth(view: TabletopFrame, names: Sequence[str], *, with_masks: bool) -> GroundTruth:
    """Turn the labels of a frame into ground truth for kinds or colour-kind phrases.

    Objects that match no name are skipped.
    """
    ids = {name: index for index, name in enumerate(names)}
    rows = [
        (index, ids[name])
        for index, item in enumerate(view.objects)
        for name in (item.kind, phrase_of(item.color, item.kind))
        if name in ids
    ]
    boxes = [view.objects[index].box_xyxy for index, _ in rows]
    numbers = np.array([index + 1 for index, _ in rows], dtype=np.int64)
    return GroundTruth(
        boxes_xyxy=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        class_ids=np.array([class_id for _, class_id in rows], dtype=np.int64),
        masks=view.instance_map[None] == numbers[:, None, None] if with_masks else None,
    )


def _say(pipeline: PerceptionPipeline, frame: Frame, question: str) -> Said:
    result = pipeline.answer(frame, Command(question))
    return Said(result.raw_text, result.text != NOT_SURE, result.answer_score)


def _add_kinds(
    pipeline: PerceptionPipeline, frame: Frame, view: TabletopFrame, scorer: CocoScorer
) -> None:
    branch = pipeline.detect(
        frame, KINDS, score_threshold=0.0, max_instances=MAX_INSTANCES, with_masks=True
    )
    scorer.add(make_truth(view, KINDS, with_masks=True), branch.detections)


def _add_phrases(
    pipeline: PerceptionPipeline, frame: Frame, view: TabletopFrame, scorer: CocoScorer
) -> None:
    parts = []
    for start in range(PHRASE_LISTS):
        ids = np.arange(start, len(COLOR_KIND_PHRASES), PHRASE_LISTS)
        names = [COLOR_KIND_PHRASES[index] for index in ids]
        found = pipeline.detect(
            frame, names, score_threshold=0.0, max_instances=MAX_INSTANCES, with_masks=False
        ).detections
        parts.append((found, ids[found.class_ids]))
    merged = Detections(
        boxes_xyxy=np.concatenate([found.boxes_xyxy for found, _ in parts]),
        scores=np.concatenate([found.scores for found, _ in parts]),
        class_ids=np.concatenate([ids for _, ids in parts]),
        labels=tuple(label for found, _ in parts for label in found.labels),
    )
    scorer.add(make_truth(view, COLOR_KIND_PHRASES, with_masks=False), merged)


def _time_answer(pipeline: PerceptionPipeline, frame: Frame, view: TabletopFrame) -> float:
    wanted = view.objects[0] if view.objects else None
    phrase = phrase_of(wanted.color, wanted.kind) if wanted else "red mug"
    began = time.perf_counter()
    for _ in pipeline.run(frame, Command(f"find the {phrase}")):
        pass
    return time.perf_counter() - began
