"""Scores of poses and of what is pointed at, by models that know the truth or part of it."""

from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.datasets.simulated.regions import name_object
from vl2_ros.evaluation.embedded import evaluate_views, list_rows
from vl2_ros.evaluation.scene_poses import ScenePoseScores
from vl2_ros.evaluation.scene_regions import SceneRegionScores
from vl2_ros.sim.kinds import list_keypoints
from vl2_ros.sim.tabletop import CameraIntrinsics, TabletopFrame, TabletopObject
from vl2_ros.structures import Branch, Detections, Frame, Keypoints, Masks, Result, Route

HEIGHT, WIDTH = 96, 128


def make_view(seed, kinds=("figure", "mug", "bowl")):
    rng = np.random.default_rng(seed)
    instance_map, objects = np.zeros((HEIGHT, WIDTH), np.uint8), []
    for index, kind in enumerate(kinds):
        x, y = 4 + 40 * index, int(rng.integers(2, 40))
        instance_map[y : y + 40, x : x + 30] = index + 1
        points = {
            name: (x + float(rng.uniform(0, 30)), y + float(rng.uniform(0, 40)), rng.random() < 0.7)
            for name in list_keypoints(kind)
        }
        color = ("red", "blue", "green")[int(rng.integers(3))]
        box = (float(x), float(y), x + 30.0, y + 40.0)
        objects.append(TabletopObject(kind, color, box, 1200, points))
    return TabletopFrame(
        rgb=rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        depth_m=np.ones((HEIGHT, WIDTH), np.float32),
        instance_map=instance_map,
        objects=tuple(objects),
        pieces=tuple(range(len(objects))),
        intrinsics=CameraIntrinsics(100.0, 100.0, WIDTH / 2, HEIGHT / 2),
        world_from_camera=np.eye(4),
    )


class Oracle:
    """Knows one view; `shift` moves its keypoints or boxes."""

    def __init__(self, view, *, shift=0.0, box_shift=0.0, words=None, without_masks=False):
        self.view, self.shift, self.box_shift = view, shift, box_shift
        self.words, self.without_masks = words, without_masks
        self.kinds = []

    def pose(self, frame, objects, keypoints, *, score_threshold, max_instances):
        (kind,) = objects
        self.kinds.append(kind)
        items = [item for item in self.view.objects if item.kind == kind]
        points = [[item.keypoints[name][:2] for name in keypoints] for item in items]
        # A worse pose of the same thing is not the one that counts.
        points = np.array(points + [np.zeros((len(keypoints), 2))], np.float32) + self.shift
        boxes = np.array([item.box_xyxy for item in [*items, items[0]]], np.float32)
        scores = np.array([0.9] * len(items) + [0.5], np.float32)
        found = Detections(
            boxes + np.float32(self.box_shift),
            scores,
            np.zeros(len(scores), np.int64),
            (kind,) * len(scores),
            keypoints=Keypoints(
                tuple(keypoints), points, np.repeat(scores[:, None], len(keypoints), 1), ()
            ),
        )
        return Branch(Route.POSE, (kind,), found)

    def answer(self, frame, command):
        (mark,) = command.visual_prompts
        x, y = mark.points_xy.mean(axis=0)
        number = int(self.view.instance_map[int(y), int(x)])
        item = self.view.objects[number - 1]
        if command.text == "what is this?":
            return Result("", 0, "", self.words or name_object(item.color, item.kind))
        mask = self.view.instance_map == number
        found = Detections(
            np.array([item.box_xyxy], np.float32),
            np.array([0.9], np.float32),
            np.zeros(1, np.int64),
            ("region1",),
            masks=Masks.cut(mask[None]),
        )
        branches = () if self.without_masks else (Branch(Route.DETECT, ("region1",), found),)
        return Result("", 0, "", "", branches)


def score_poses(count=6, **spoil):
    scores = ScenePoseScores()
    for seed in range(count):
        view = make_view(seed)
        scores.add(Oracle(view, **spoil), Frame(view.rgb), view)
    return scores.to_dict()


def test_true_poses_score_one_and_average_places_less():
    found = score_poses()
    assert found["pck_figure"] == found["pck_objects"] == 1.0
    # Places are drawn evenly over the box here: near the middle are pi / 4 * 0.4^2 / 0.75 of them.
    assert 0.05 < found["pck_figure_chance"] < 0.5
    assert 0.05 < found["pck_objects_chance"] < 0.6


def test_near_ends_at_a_fifth_of_the_longer_side():
    assert score_poses(shift=5.6)["pck_figure"] == 1.0  # 5.6 * sqrt(2) < 8
    assert score_poses(shift=5.8)["pck_figure"] == 0.0


def test_a_pose_elsewhere_is_none():
    found = score_poses(box_shift=25.0)
    assert found["pck_figure"] == found["pck_objects"] == 0.0


def test_each_kind_that_is_there_is_asked_for_once():
    view = make_view(0, kinds=("mug", "figure", "mug"))
    oracle = Oracle(view)
    ScenePoseScores().add(oracle, Frame(view.rgb), view)
    assert oracle.kinds == ["figure", "mug"]


def test_scenes_without_figures_have_no_score_of_figures():
    view = make_view(0, kinds=("mug",))
    scores = ScenePoseScores()
    scores.add(Oracle(view), Frame(view.rgb), view)
    assert set(scores.to_dict()) == {"pck_objects", "pck_objects_chance"}
    assert ScenePoseScores().to_dict() == {}


def score_regions(count=4, **spoil):
    scores = SceneRegionScores()
    for seed in range(count):
        view = make_view(seed)
        scores.add(Oracle(view, **spoil), Frame(view.rgb), view)
    return scores.to_dict()


def test_true_names_and_masks_score_one():
    found = score_regions()
    assert found["region_accuracy"] == found["interactive_miou"] == 1.0
    assert 0 < found["region_chance"] < 0.7
    assert 0.2 < found["interactive_chance"] < 0.7  # a third of the marks are boxes


@pytest.mark.parametrize(
    "words", ["This is a mug.", "This is a red mug or a blue bowl.", "This is a white plate."]
)
def test_wrong_and_vague_names_are_wrong(words):
    assert score_regions(words=words)["region_accuracy"] == 0.0


def test_no_mask_scores_nothing():
    assert score_regions(without_masks=True)["interactive_miou"] == 0.0


def test_parts_come_into_the_table_with_their_chance():
    rows = list_rows({"pck_figure": 0.7, "pck_figure_chance": 0.3, "pck_objects": 0.6})
    assert [(row["what"], row["chance"]) for row in rows] == [
        ("pck_figure", 0.3),
        ("pck_objects", None),
    ]


class Counting:
    """Part scores that count their views."""

    count = 0

    def add(self, pipeline, frame, view):
        self.count += 1

    def to_dict(self):
        return {"counted": float(self.count)}


def test_scores_of_parts_see_every_view():
    from tests.evaluation.test_embedded import Oracle as WholeOracle
    from tests.evaluation.test_embedded import make_view as make_whole_view

    views = [make_whole_view(number) for number in range(3)]
    scores = evaluate_views(WholeOracle(views), iter(views), parts=[Counting()], total=3)
    assert scores["counted"] == 3.0
