from __future__ import annotations

import json

import numpy as np
import pytest

from vl2_ros.datasets.nouns import pluralize
from vl2_ros.datasets.scene_text import (
    color_answer,
    count_answer,
    existence_answer,
    listing_answer,
)
from vl2_ros.datasets.wording import Thing
from vl2_ros.errors import InputError
from vl2_ros.evaluation.embedded import evaluate_embedded, evaluate_views
from vl2_ros.evaluation.phrasings import load_phrasings
from vl2_ros.evaluation.scene_answers import parse_listing
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.sim.tabletop import CameraIntrinsics, TabletopFrame, TabletopObject
from vl2_ros.structures import Branch, Detections, Result, ResultEvent, Route

HEIGHT, WIDTH = 96, 128
KEYS = {"box_ap", "box_ap50", "mask_ap", "mask_ap50", "phrase_box_ap50", "route_accuracy"}
KEYS |= {"phrase_accuracy", "seconds_per_answer", "any_kind_box_ap50", "listing_f1", "frames"}
KEYS |= {"count_accuracy", "existence_accuracy", "color_accuracy"}


def make_view(number):
    """Rectangles on a grid; the first pixel holds the number of the view."""
    rng = np.random.default_rng(number)
    rgb = rng.integers(0, 255, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgb[0, 0] = number
    instance_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    objects = []
    for index in range(4):
        width, height = int(rng.integers(14, 28)), int(rng.integers(14, 40))
        x, y = 2 + 32 * index, int(rng.integers(2, 50))
        instance_map[y : y + height, x : x + width] = index + 1
        kind, color = KINDS[int(rng.integers(12))], COLORS[int(rng.integers(8))]
        box = (float(x), float(y), float(x + width), float(y + height))
        objects.append(TabletopObject(kind, color, box, width * height, {}))
    return TabletopFrame(
        rgb=rgb,
        depth_m=np.ones((HEIGHT, WIDTH), np.float32),
        instance_map=instance_map,
        objects=tuple(objects),
        intrinsics=CameraIntrinsics(100.0, 100.0, WIDTH / 2, HEIGHT / 2),
        world_from_camera=np.eye(4),
    )


class Oracle:
    """Knows the labels of every view; `shift_px` moves its boxes, `wrong` spoils its words."""

    def __init__(self, views, *, shift_px=0.0, wrong=False):
        self._views = {int(view.rgb[0, 0, 0]): view for view in views}
        self._phrasings = {phrasing.sentence: phrasing for phrasing in load_phrasings()}
        self._shift_px, self._wrong = shift_px, wrong
        self.lists = []

    def detect(
        self,
        frame,
        names,
        *,
        route=Route.DETECT,
        score_threshold=0.35,
        max_instances=100,
        with_masks=True,
    ):
        view = self._views[int(frame.rgb[0, 0, 0])]
        self.lists.append(tuple(names))
        assert score_threshold == 0.0 and max_instances == 100
        rows = [
            (index, names.index(name))
            for index, item in enumerate(view.objects)
            for name in (item.kind, f"{item.color} {item.kind}")
            if name in names
        ]
        boxes = [view.objects[index].box_xyxy for index, _ in rows]
        masks = [np.roll(view.instance_map == i + 1, int(self._shift_px), 1) for i, _ in rows]
        detections = Detections(
            boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4) + np.float32(self._shift_px),
            scores=np.full(len(rows), 0.9, np.float32),
            class_ids=np.array([name for _, name in rows], np.int64),
            labels=tuple(names[name] for _, name in rows),
            masks=np.array(masks, bool).reshape(-1, HEIGHT, WIDTH) if with_masks else None,
        )
        return Branch(route, tuple(names), detections)

    def answer(self, frame, command):
        view = self._views[int(frame.rgb[0, 0, 0])]
        phrasing = self._phrasings.get(command.text)
        if phrasing is None:
            text = "I do not know." if self._wrong else self._say(command.text, view.objects)
            return Result("", 0, "", text)
        if phrasing.routes == (Route.ANSWER,) or self._wrong:
            return Result("", 0, "", "words")
        first, rest = phrasing.phrases[:1], phrasing.phrases[1:]
        parts = [first, rest] if len(phrasing.routes) > 1 else [phrasing.phrases]
        return Result(
            "",
            0,
            "",
            "words",
            tuple(
                Branch(route, phrases, Detections.empty())
                for route, phrases in zip(phrasing.routes, parts, strict=True)
            ),
        )

    def run(self, frame, command):
        assert command.text.startswith("find the ")
        yield ResultEvent(Result("", 0, "", ""))

    def _say(self, question, objects):
        words = question.rstrip("?").split()
        kinds = {pluralize(kind): kind for kind in KINDS}
        if question.startswith("How many"):
            return count_answer(Thing(None, kinds[words[2]]), objects)
        if question.startswith("Is there"):
            return existence_answer(Thing(None, words[-1]), objects)
        if question.startswith("What colour"):
            return color_answer(words[-1], objects)
        return listing_answer(objects)


def evaluate(count=6, **spoil):
    views = [make_view(number) for number in range(count)]
    oracle = Oracle(views, **spoil)
    return oracle, evaluate_views(oracle, iter(views), total=count)


def test_an_oracle_scores_one_everywhere():
    _, scores = evaluate()
    assert set(scores) == KEYS
    assert scores.pop("frames") == 6
    assert 0 <= scores.pop("seconds_per_answer") < 1
    assert scores == pytest.approx(dict.fromkeys(scores, 1.0))


def test_every_kind_and_every_phrase_is_asked_once_a_frame():
    oracle, _ = evaluate(count=2)
    assert len(oracle.lists) == 2 * 7
    assert oracle.lists[0] == KINDS
    lists = oracle.lists[1:7]
    assert {len(names) for names in lists} == {16}
    assert len({name for names in lists for name in names}) == 96


def test_moved_boxes_and_masks_lose_ap():
    _, scores = evaluate(shift_px=1.0)
    assert scores["box_ap50"] == pytest.approx(1.0)
    assert scores["box_ap"] < 0.95 and scores["mask_ap"] < 0.97
    assert scores["route_accuracy"] == 1.0


def test_wrong_words_lose_words_alone():
    _, scores = evaluate(wrong=True)
    assert scores["box_ap"] == pytest.approx(1.0)
    assert scores["route_accuracy"] < 0.3
    assert scores["listing_f1"] == scores["count_accuracy"] == scores["color_accuracy"] == 0.0


def test_scores_are_plain_json():
    _, scores = evaluate(count=1)
    assert json.loads(json.dumps(scores)) == scores


def test_more_frames_than_seeds_are_refused():
    with pytest.raises(InputError, match="frames must lie in 1..3"):
        evaluate_embedded(Oracle([]), seeds=range(1_000_000, 1_000_003), frames=4)


def test_listings_are_read_back_from_their_sentences():
    for number in range(50):
        objects = make_view(number).objects
        counted = parse_listing(listing_answer(objects))
        assert counted.total() == len(objects)
        assert set(counted) == {(item.color, item.kind) for item in objects}
