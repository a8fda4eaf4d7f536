"""Samples about labelled frames: keypoints by name, and things that are pointed at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.simulated.poses import (
    PART_SIGMA,
    SYNONYMS,
    make_pose_commands,
    make_poses,
)
from vl2_ros.datasets.simulated.regions import make_interactive, make_region_names, name_object
from vl2_ros.datasets.simulated.scene import Scene
from vl2_ros.processing.language.keypoint_names import PERSON
from vl2_ros.processing.language.pose_prompt import list_answered_keypoints
from vl2_ros.processing.sigmas import COCO_SIGMAS
from vl2_ros.sim.kinds import KINDS, list_keypoints
from vl2_ros.sim.tabletop import TabletopObject

HEIGHT, WIDTH = 60, 80
MEANT = {other: name for name, others in SYNONYMS.items() for other in others}


def make_scene(*things: tuple[str, str]) -> Scene:
    """Squares in a row; keypoint k of thing i is at (20 i + k, 5 + i)."""
    instance_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    objects = []
    for index, (color, kind) in enumerate(things):
        left = 20 * index
        instance_map[10:25, left : left + 18] = index + 1
        points = {
            name: (20.0 * index + number, 5.0 + index, number % 2 == 0)
            for number, name in enumerate(list_keypoints(kind))
        }
        box = (float(left), 10.0, left + 18.0, 25.0)
        objects.append(TabletopObject(kind, color, box, 270, points))
    return Scene(np.zeros((HEIGHT, WIDTH, 3), np.uint8), instance_map, tuple(objects))


SCENE = make_scene(("red", "figure"), ("blue", "figure"), ("red", "mug"), ("green", "ball"))


def read_classes(answer: str) -> list[str]:
    found = answer.partition(". ")[0].removeprefix("I found: ")
    return [one.removesuffix("[DET]") for one in found.split(", ")]


@pytest.mark.parametrize("make", [make_poses, make_pose_commands])
def test_targets_are_the_named_points_of_the_named_things(make):
    seen = set()
    for seed in range(120):
        rng = np.random.default_rng(seed)
        task = make(SCENE, rng, rng)
        ((question, answer),) = task.rounds
        classes, names = read_classes(answer), list_answered_keypoints(answer)
        assert all(name in question for name in names) or make is make_pose_commands
        points = [MEANT.get(name, name) for name in names]
        poses = task.targets
        assert poses.keypoints_xy.shape == (len(poses.areas), len(names), 2)
        for row, index in enumerate(poses.objects.class_index):
            kind = classes[index].split()[-1]
            number = int(poses.objects.boxes_xyxy[row, 0]) // 20
            item = SCENE.objects[number]
            assert item.kind == kind
            assert classes[index] in (kind, f"{item.color} {kind}")
            for column, name in enumerate(points):
                known = item.keypoints.get(name)
                assert poses.is_visible[row, column] == (known is not None)
                if known:
                    assert tuple(poses.keypoints_xy[row, column]) == known[:2]
        expected = [item for item in SCENE.objects if item.kind in classes]
        assert len(poses.areas) >= len(expected)
        seen.update(classes)
    assert {"figure", "red figure", "mug", "ball"} <= seen


def test_points_outside_the_image_are_not_labelled():
    (item, *others) = SCENE.objects
    moved = dict(item.keypoints) | {"nose": (-3.0, 4.0, False)}
    scene = replace(SCENE, objects=(replace(item, keypoints=moved), *others))
    found = set()
    for seed in range(60):
        task = make_poses(scene, np.random.default_rng(seed), None)
        names = list_answered_keypoints(task.rounds[0][1])
        for row, box in enumerate(task.targets.objects.boxes_xyxy):
            if box[0] == 0 and "nose" in names:
                found.add(bool(task.targets.is_visible[row, names.index("nose")]))
    assert found == {False}


def test_joints_have_the_falloffs_of_people_and_other_points_one_of_their_own():
    scene = make_scene(("red", "figure"))
    for seed in range(30):
        task = make_poses(scene, np.random.default_rng(seed), None)
        names = list_answered_keypoints(task.rounds[0][1])
        for name, sigma in zip(names, task.targets.sigmas, strict=True):
            if name in PERSON:
                assert sigma == pytest.approx(COCO_SIGMAS[PERSON.index(name)])
            elif name not in list_keypoints("figure"):
                assert sigma == pytest.approx(PART_SIGMA)


def test_frames_of_a_simulator_with_other_keypoints_are_bad_records():
    old = replace(SCENE.objects[0], keypoints={"left_hand": (1.0, 2.0, True)})
    scene = replace(SCENE, objects=(old,))
    with pytest.raises(BadRecordError, match="render the frames again"):
        make_poses(scene, np.random.default_rng(0), None)


def test_things_that_are_pointed_at_are_named_with_colour_and_kind():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        task = make_region_names(SCENE, rng, rng)
        assert task.targets is None and 1 <= len(task.rounds) == len(task.regions) <= 4
        for number, ((question, answer), region) in enumerate(
            zip(task.rounds, task.regions, strict=True), 1
        ):
            assert f"<reg>region{number}<region></reg>" in question
            rows, columns = np.nonzero(region)
            owner = SCENE.objects[int(SCENE.instance_map[rows, columns].max()) - 1]
            assert answer == name_object(owner.color, owner.kind)


def test_masks_of_what_is_pointed_at_are_in_the_order_of_the_marks():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        task = make_interactive(SCENE, rng, rng)
        ((question, answer),) = task.rounds
        count = len(task.regions)
        assert question.count("<region>") == answer.count("[DET]") == count
        assert task.targets.class_index.tolist() == list(range(count))
        for region, mask in zip(task.regions, task.targets.masks, strict=True):
            assert (region & mask).any()


def test_an_empty_scene_has_nothing_to_point_at_and_still_can_be_asked_for_poses():
    empty = make_scene()
    for make in (make_region_names, make_interactive):
        with pytest.raises(BadRecordError, match="without objects"):
            make(empty, np.random.default_rng(0), None)
    task = make_poses(empty, np.random.default_rng(0), None)
    assert not len(task.targets.areas)
    assert set(read_classes(task.rounds[0][1])) <= set(KINDS)
