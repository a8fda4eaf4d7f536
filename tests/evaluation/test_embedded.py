from __future__ import annotations

import itertools
import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from vl2_ros.datasets.nouns import pluralize
from vl2_ros.datasets.scene_questions.relations import place_objects
from vl2_ros.datasets.scene_text import (
    color_answer,
    count_answer,
    existence_answer,
    listing_answer,
)
from vl2_ros.datasets.wording import Thing
from vl2_ros.errors import InputError
from vl2_ros.evaluation.counting import draw_counting_views
from vl2_ros.evaluation.embedded import (
    evaluate_embedded,
    evaluate_views,
    list_rows,
)
from vl2_ros.evaluation.phrasings import load_phrasings
from vl2_ros.evaluation.scene_answers import (
    Said,
    SceneAnswerScores,
    calibration_error,
    parse_listing,
    score_best_listing,
)
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.sim.scene import sample_scene
from vl2_ros.sim.tabletop import CameraIntrinsics, TabletopFrame, TabletopObject
from vl2_ros.structures import Branch, Detections, Masks, Result, ResultEvent, Route

HEIGHT, WIDTH = 96, 128
KEYS = {"box_ap", "box_ap50", "mask_ap", "mask_ap50", "phrase_box_ap50", "route_accuracy"}
KEYS |= {"phrase_accuracy", "seconds_per_answer", "any_kind_box_ap50", "listing_f1", "frames"}
KEYS |= {"count_accuracy", "existence_accuracy", "color_accuracy"}
KEYS |= {"yes_no_given", "yes_no_given_right", "relation_accuracy", "calibration_error"}
CHANCES = {"route_chance", "phrase_chance", "listing_chance", "count_chance", "existence_chance"}
CHANCES |= {"color_chance", "relation_chance"}


def make_view(number, kinds=None):
    """Rectangles on a grid; the first pixel is the number of the view."""
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
        kind = kinds[index] if kinds else kind
        box = (float(x), float(y), float(x + width), float(y + height))
        objects.append(TabletopObject(kind, color, box, width * height, {}))
    return TabletopFrame(
        rgb=rgb,
        depth_m=np.ones((HEIGHT, WIDTH), np.float32),
        instance_map=instance_map,
        objects=tuple(objects),
        pieces=tuple(range(len(objects))),
        intrinsics=CameraIntrinsics(100.0, 100.0, WIDTH / 2, HEIGHT / 2),
        world_from_camera=np.eye(4),
    )


class Oracle:
    """Knows the labels of every view; `shift_px` moves its boxes, `wrong` spoils its words."""

    def __init__(self, views, *, shift_px=0.0, wrong=False):
        self._views = {int(view.rgb[0, 0, 0]): view for view in views}
        self._phrasings = {phrasing.sentence: phrasing for phrasing in load_phrasings()}
        self._shift_px, self._wrong = shift_px, wrong
        self.lists, self.asked = [], []

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
            masks=Masks.cut(np.array(masks, bool).reshape(-1, HEIGHT, WIDTH))
            if with_masks
            else None,
        )
        return Branch(route, tuple(names), detections)

    def answer(self, frame, command):
        view = self._views[int(frame.rgb[0, 0, 0])]
        phrasing = self._phrasings.get(command.text)
        if phrasing is None:
            self.asked.append((command.text, view))
            text = "I do not know." if self._wrong else self._say(command.text, view)
            # What is made of the words afterwards is not scored.
            score = 1.0 if text.startswith(("Yes", "No")) else None
            return Result("", 0, "", "something else", raw_text=text, answer_score=score)
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

    def run(self, frame, command, memory=None):
        assert command.text.startswith("find the ")
        yield ResultEvent(Result("", 0, "", ""))

    def _say(self, question, view):
        objects = view.objects
        words = question.rstrip("?").split()
        if question.startswith("Is the "):
            return self._say_side(tuple(words[2:4]), words[4], tuple(words[-2:]), objects)
        if question.startswith("What is nearest"):
            return self._say_nearest(tuple(words[-2:]), objects)
        kinds = {pluralize(kind): kind for kind in KINDS}
        if question.startswith("How many"):
            return count_answer(Thing(None, kinds[words[2]]), objects)
        if question.startswith("Is there"):
            return existence_answer(Thing(*words[-2:]), objects)
        if question.startswith("What colour"):
            return color_answer(words[-1], objects)
        return listing_answer(objects)

    def _say_side(self, first, side, second, objects):
        x = {(item.color, item.kind): item.box_xyxy[0] + item.box_xyxy[2] for item in objects}
        true = "left" if x[first] < x[second] else "right"
        said = "Yes" if side == true else "No"
        return f"{said}, the {' '.join(first)} is {true} of the {' '.join(second)}."

    def _say_nearest(self, asked, objects):
        middles = {
            (item.color, item.kind): np.array(item.box_xyxy).reshape(2, 2).mean(axis=0)
            for item in objects
        }
        middle = middles.pop(asked)
        near = min(middles, key=lambda one: np.linalg.norm(middles[one] - middle))
        return f"The {' '.join(near)} is nearest to the {' '.join(asked)}."


def evaluate(count=6, **spoil):
    views = [make_view(number) for number in range(count)]
    # One of the first kind in the first of them, two in the second, ...
    more = [
        make_view(100 + number, [KINDS[0]] * number + [KINDS[1]] * (4 - number))
        for number in range(5)
    ]
    oracle = Oracle(views + more, **spoil)
    counting = [(view, KINDS[0]) for view in more]
    return oracle, evaluate_views(oracle, iter(views), counting, total=count)


def test_an_oracle_scores_one_everywhere():
    _, scores = evaluate()
    assert set(scores) == KEYS | CHANCES
    assert scores.pop("frames") == 6
    assert 0 <= scores.pop("seconds_per_answer") < 1
    assert scores.pop("calibration_error") == 0.0
    chances = [scores.pop(name) for name in sorted(CHANCES)]
    assert all(0 < chance < 0.7 for chance in chances)
    assert scores == pytest.approx(dict.fromkeys(scores, 1.0))


class Talker:
    """Says the same to every question of a kind, and remembers what was asked."""

    def __init__(self, answer):
        self._answer, self.asked = answer, []

    def __call__(self, question):
        self.asked.append(question)
        return Said(self._answer)


def score_words(views, say, *, counting=()):
    scores, rng = SceneAnswerScores(), np.random.default_rng(3)
    for view in views:
        scores.ask(say, view.objects, rng)
    for view, kind in counting:
        scores.ask_count(say, view.objects, kind)
    return scores.to_dict()


def test_always_saying_one_scores_the_chance_of_counting():
    views = [
        (make_view(number, [KINDS[0]] * number + [KINDS[1]] * (4 - number)), KINDS[0])
        for number in range(5)
    ]
    for number in range(5):
        said = count_answer(Thing(None, KINDS[0]), views[number][0].objects)
        scores = score_words([], Talker(said), counting=views * 3)
        assert scores["count_accuracy"] == scores["count_chance"] == pytest.approx(0.2)


@pytest.mark.parametrize("said", ["Yes, there is a red mug.", "No, there is no red mug."])
def test_always_saying_yes_or_no_scores_a_half(said):
    scores = score_words([make_view(number) for number in range(12)], Talker(said))
    assert scores["existence_accuracy"] == scores["existence_chance"] == 0.5


def test_calibration_error_compares_probabilities_with_what_is_true():
    # Two bins: 0.9 is said of what is true half of the time, 0.2 of what is true once in five.
    answers = [(0.9, True), (0.9, False)] + [(0.2, True)] + [(0.2, False)] * 4
    assert calibration_error(answers) == pytest.approx(2 * 0.4 / 7)
    assert calibration_error([(1.0, True), (0.0, False)]) == calibration_error([]) == 0.0
    assert Said("No, there is none.", score=0.8).yes_probability() == pytest.approx(0.2)
    assert Said("Yes.", score=0.8).yes_probability() == 0.8
    assert Said("Maybe.").yes_probability() is None


def test_sides_are_asked_as_often_with_yes_as_with_no():
    views, scores = [make_view(number) for number in range(12)], SceneAnswerScores()
    talker, rng = Talker("Yes, it is."), np.random.default_rng(0)
    for view in views:
        scores.ask_relations(talker, place_objects(view.objects, view.rgb.shape[:2]), rng)
    sides = [line for line in talker.asked if line.startswith("Is the ")]
    near = [line for line in talker.asked if line.startswith("What is nearest")]
    assert len(sides) == 24 and 0 < len(near) <= 12
    assert scores.to_dict()["relation_accuracy"] == pytest.approx(12 / (24 + len(near)))


def test_what_is_still_said_is_scored_beside_all_words():
    views = [make_view(number) for number in range(12)]

    def say(question):
        if not question.startswith("Is there"):
            return Said("")
        color, kind = question.rstrip("?").split()[-2:]
        view = views[len(asked) // 2]
        asked.append(question)
        is_there = (color, kind) in {(one.color, one.kind) for one in view.objects}
        # Right where it is sure, and wrong where it is not.
        return Said("Yes, there is one.", is_given=is_there)

    asked = []
    scores = score_words(views, say)
    assert scores["existence_accuracy"] == scores["yes_no_given"] == 0.5
    assert scores["yes_no_given_right"] == 1.0
    silent = score_words(views, lambda question: Said("Yes.", is_given=False))
    assert silent["yes_no_given"] == silent["yes_no_given_right"] == 0.0


def test_what_is_asked_for_in_vain_shares_colour_or_kind_with_what_is_there():
    shared = Counter()
    for number in range(40):
        view, talker = make_view(number), Talker("")
        score_words([view], talker)
        pairs = {(item.color, item.kind) for item in view.objects}
        questions = [line for line in talker.asked if line.startswith("Is there")]
        asked = [tuple(line.rstrip("?").split()[-2:]) for line in questions]
        assert [pair in pairs for pair in asked] == [True, False]
        color, kind = asked[1]
        shared["color"] += color in {item.color for item in view.objects}
        shared["kind"] += kind in {item.kind for item in view.objects}
        assert asked[1][0] == asked[0][0] or asked[1][1] == asked[0][1]
    assert min(shared.values()) > 10


def test_one_colour_for_everything_scores_the_stated_chance():
    views = [make_view(number) for number in range(60)]
    talker = Talker("")
    chance = score_words(views, talker)["color_chance"]
    assert chance < 0.16
    best = max(
        score_words(
            views, lambda question, c=color: Said(f"The {question.split()[-1][:-1]} is {c}.")
        )["color_accuracy"]
        for color in COLORS
    )
    assert best == pytest.approx(chance)


def test_the_best_fixed_listing_is_the_chance_of_listings():
    mug, cube, bowl = ("red", "mug"), ("blue", "cube"), ("white", "bowl")
    scenes = [Counter({mug: 2}), Counter({mug: 1, cube: 1}), Counter({mug: 2, bowl: 1})]
    # Two red mugs each time: 2 + 1 + 2 right of 6 said and 7 there.
    assert score_best_listing(scenes) == pytest.approx(2 * 5 / (6 + 7))
    listings = [
        Counter(dict(zip((mug, cube, bowl), counts, strict=True)))
        for counts in itertools.product(range(3), repeat=3)
    ]
    scored = [
        2 * sum((said & truth).total() for truth in scenes) / (3 * said.total() + 7)
        for said in listings
    ]
    assert max(scored) == pytest.approx(score_best_listing(scenes))
    assert score_best_listing([]) == score_best_listing([Counter()]) == 0.0


def test_counting_scenes_hold_each_number_equally_often():
    def render(seed):
        placed = [piece for piece in sample_scene(seed).pieces if piece.is_labelled]
        # Every fifth scene hides one of its objects.
        seen = placed[1:] if seed % 5 == 0 else placed
        return SimpleNamespace(objects=seen)

    chosen = list(draw_counting_views(render, 1_000_000, 2))
    numbers = Counter(sum(item.kind == kind for item in view.objects) for view, kind in chosen)
    assert numbers == dict.fromkeys(range(5), 2)
    again = [kind for _, kind in draw_counting_views(render, 1_000_000, 2)]
    assert again == [kind for _, kind in chosen]


def test_table_has_the_chance_beside_its_number():
    scores = {"box_ap": 0.5, "count_accuracy": 0.3, "count_chance": 0.2, "listing_f1": 0.2}
    rows = list_rows(scores | {"listing_chance": 0.1})
    assert [(row["what"], row["measured"], row["chance"]) for row in rows] == [
        ("box_ap", 0.5, None),
        ("count_accuracy", 0.3, 0.2),
        ("listing_f1", 0.2, 0.1),
    ]


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
