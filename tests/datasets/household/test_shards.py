from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vl2_ros.datasets.household.shards import (
    INSTANCES,
    OBJECTS,
    RGB,
    SHARD_SETTINGS,
    decode_scene,
    encode_scene,
    render_shards,
)
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.reading.tar_shards import write_shard
from vl2_ros.datasets.samples import Group
from vl2_ros.datasets.sources.source_table import guess_kind, open_source
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.sim.household.household import HouseholdFrame
from vl2_ros.sim.household.labels import HouseholdObject
from vl2_ros.sim.household.skeletons import KEYPOINTS
from vl2_ros.sim.tabletop import CameraIntrinsics


def make_frame(*, with_person: bool) -> HouseholdFrame:
    """A grey image with a chair, and a person whose left ankle lies outside."""
    instances = np.zeros((48, 64), np.uint8)
    instances[10:30, 5:15] = 1
    objects = [HouseholdObject("chair", "red", (5.0, 10.0, 15.0, 30.0), 200, 0.91234, {})]
    if with_person:
        instances[4:44, 30:50] = 2
        points = {name: (31.0 + i, 5.25, i % 2 == 0) for i, name in enumerate(KEYPOINTS)}
        points["left_ankle"] = (40.0, 60.0, False)
        objects.append(HouseholdObject("person", "", (30.0, 4.0, 50.0, 44.0), 800, 0.8, points))
    rgb = np.full((48, 64, 3), 128, np.uint8)
    depth = np.ones((48, 64), np.float32)
    camera = CameraIntrinsics(50.0, 50.0, 32.0, 24.0)
    return HouseholdFrame(rgb, depth, instances, tuple(objects), camera, np.eye(4))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three scenes, of which the second shows a person."""
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / SHARD_SETTINGS).write_text("{}")
    scenes = [make_frame(with_person=index == 1) for index in range(3)]
    records = [
        (f"{index:08d}", encode_scene(scene, np.random.default_rng(index)))
        for index, scene in enumerate(scenes)
    ]
    write_shard(folder / "seeds-00000000-00000003.tar", records)
    return folder


def test_labels_come_back_and_the_image_as_a_camera_saw_it() -> None:
    frame = make_frame(with_person=True)
    scene = decode_scene(*encode_scene(frame, np.random.default_rng(0)).values())
    assert scene.rgb.shape == frame.rgb.shape and 40 < scene.rgb.mean() < 230
    np.testing.assert_array_equal(scene.instance_map, frame.instance_map)
    assert [one.kind for one in scene.objects] == ["chair", "person"]
    assert scene.objects[0].visible_share == 0.912
    assert scene.objects[1] == frame.objects[1]


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (RGB, b"none"),
        (INSTANCES, b"none"),
        (OBJECTS, b"[]"),
        (OBJECTS, b'[{"kind": "cup"}]'),
        (OBJECTS, b"[3, 4]"),
    ],
)
def test_a_damaged_scene_is_refused(part: str, content: bytes) -> None:
    parts = encode_scene(make_frame(with_person=True), np.random.default_rng(0)) | {part: content}
    with pytest.raises(BadRecordError) as caught:
        decode_scene(*parts.values())
    assert caught.value.reason == "scene damaged"


@pytest.mark.parametrize(
    ("task", "group"), [("class_lists", Group.DETECTION), ("text", Group.TEXT)]
)
def test_shards_are_a_source(shards: Path, task: str, group: Group) -> None:
    assert guess_kind(shards) == "household"
    source = open_source({"kind": "household", "path": str(shards), "task": task}, Path())
    assert len(source) == 3 and source.key(2) == "00000002"
    sample = source.sample(1, np.random.default_rng(0))
    assert sample.group is group
    if group is Group.DETECTION:
        for mask, (x1, y1, x2, y2) in zip(
            sample.targets.masks, sample.targets.boxes_xyxy.astype(int), strict=True
        ):
            assert mask[y1:y2, x1:x2].all() and mask.sum() == (y2 - y1) * (x2 - x1)
        assert len(sample.targets.class_index) == 2


def test_poses_are_of_the_scenes_with_people(shards: Path) -> None:
    settings = {"kind": "household", "path": str(shards), "task": "poses", "evaluation": True}
    source = open_source(settings, Path())
    assert len(source) == 1 and source.key(0) == "00000001"
    sample = source.sample(0, np.random.default_rng(0))
    poses = sample.targets
    assert sample.group is Group.POSE and "left ankle" in sample.rounds[0][0]
    assert poses.keypoints_xy.shape == (1, 17, 2) and poses.areas.tolist() == [800.0]
    ankle = KEYPOINTS.index("left_ankle")
    assert poses.is_visible[0].sum() == 16 and not poses.is_visible[0, ankle]
    np.testing.assert_allclose(poses.keypoints_xy[0, 3], (34.0, 5.25))


def test_unknown_task_is_refused(shards: Path) -> None:
    with pytest.raises(ConfigError, match="task must be one of"):
        open_source({"kind": "household", "path": str(shards), "task": "dance"}, Path())


@pytest.mark.parametrize("seeds", [range(3, 10), range(0), range(0, 10, 2)])
def test_seeds_that_do_not_begin_a_shard_are_refused(seeds: range, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiple of 500"):
        render_shards(tmp_path, seeds)


def test_a_folder_keeps_its_size(tmp_path: Path) -> None:
    (tmp_path / SHARD_SETTINGS).write_text(json.dumps({"format": 1, "width": 64, "height": 48}))
    with pytest.raises(ConfigError, match="choose another one"):
        render_shards(tmp_path, range(500))
