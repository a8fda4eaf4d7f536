"""What is rendered: boxes through the whole chain, and the real models where they are installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")

from vl2_ros.errors import InputError
from vl2_ros.sim.household.household import (
    BLOCK_FRAMES,
    HouseholdFrame,
    HouseholdSimulator,
)
from vl2_ros.sim.household.kinds import KINDS
from vl2_ros.sim.household.labels import MIN_VISIBLE_SHARE, label_scene, project
from vl2_ros.sim.household.photograph import photograph
from vl2_ros.sim.household.pool import Pool
from vl2_ros.sim.household.scene import HouseholdScene, sample_household
from vl2_ros.sim.household.stage import HouseholdStage
from vl2_ros.sim.tabletop import CameraIntrinsics

WIDTH, HEIGHT = 160, 120


def intrinsics_of(scene: HouseholdScene) -> CameraIntrinsics:
    focal = 0.5 * HEIGHT / np.tan(0.5 * scene.fovy_rad)
    return CameraIntrinsics(focal, focal, 0.5 * WIDTH, 0.5 * HEIGHT)


def test_labels_of_boxes_agree_with_the_scene(pool: Pool) -> None:
    stage = HouseholdStage(pool, WIDTH, HEIGHT)
    labelled = 0
    for seed in range(8):
        scene = sample_household(seed, pool)
        rgb, depth_m, identity = stage.draw(scene)
        intrinsics = intrinsics_of(scene)
        objects, instance_map = label_scene(scene, identity, depth_m, intrinsics)
        assert rgb.shape == (HEIGHT, WIDTH, 3) and rgb.std() > 1.0
        assert instance_map.max(initial=0) == len(objects)
        assert not any(item.kind == "distractor" for item in objects)
        for number, item in enumerate(objects, start=1):
            rows, columns = np.nonzero(instance_map == number)
            assert len(rows) == item.visible_pixels
            assert item.box_xyxy == (
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1,
            )
            assert MIN_VISIBLE_SHARE <= item.visible_share <= 1.0
            # Its pixels lie inside of one of the boxes of its kind, seen through the depth image.
            z = depth_m[rows, columns].astype(np.float64)
            x = (columns + 0.5 - intrinsics.cx) / intrinsics.fx * z
            y = (rows + 0.5 - intrinsics.cy) / intrinsics.fy * z
            pose = scene.world_from_camera
            world = np.stack([x, y, z], axis=1) @ pose[:3, :3].T + pose[:3, 3]
            shares = []
            for placed in scene.placed:
                local = (world - placed.spot.position) @ placed.rotation()
                local[:, 2] -= 0.5 * placed.model.size[2]
                inside = np.abs(local) < 0.5 * placed.model.size + 0.02
                shares.append(inside.all(axis=1).mean() if placed.model.kind == item.kind else 0.0)
            assert max(shares) > 0.95
            labelled += 1
    stage.close()
    assert labelled > 8


def test_what_is_hidden_or_too_small_has_no_label(pool: Pool) -> None:
    stage = HouseholdStage(pool, WIDTH, HEIGHT)
    scene = next(
        scene
        for scene in (sample_household(seed, pool) for seed in range(50))
        if label_scene(scene, *stage.draw(scene)[:0:-1], intrinsics_of(scene))[0]
    )
    _, depth_m, identity = stage.draw(scene)
    stage.close()
    intrinsics = intrinsics_of(scene)
    objects, _ = label_scene(scene, identity, depth_m, intrinsics)
    near = np.full_like(depth_m, 0.1)
    hidden, instance_map = label_scene(scene, identity, near, intrinsics)
    assert objects and not hidden and not instance_map.any()
    few = identity.copy()
    few[1:] = 0
    few[0, 10:] = 0
    assert not label_scene(scene, few, depth_m, intrinsics)[0]


def test_projection_puts_the_optical_axis_in_the_middle() -> None:
    camera = CameraIntrinsics(100.0, 100.0, 80.0, 60.0)
    points = np.array([[0.0, 0.0, 2.0], [0.2, -0.1, 2.0]])
    np.testing.assert_allclose(project(points, camera, np.eye(4)), [[80, 60, 2], [90, 55, 2]])


def test_a_photograph_is_another_image_of_the_same_size() -> None:
    rgb = np.tile(np.arange(WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, 1, 3))
    images = [photograph(rgb, np.random.default_rng(seed)) for seed in range(12)]
    again = photograph(rgb, np.random.default_rng(0))
    np.testing.assert_array_equal(images[0], again)
    for image in images:
        assert image.shape == rgb.shape and image.dtype == np.uint8
        # Light grows to the right in all of them.
        assert np.corrcoef(image.mean(axis=(0, 2)), rgb.mean(axis=(0, 2)))[0, 1] > 0.9
    assert np.std([image.mean() for image in images]) > 5.0


@pytest.mark.parametrize("size", [(0, 240), (320, 5000)])
def test_impossible_size_is_refused(size: tuple[int, int], catalogues: Path) -> None:
    with pytest.raises(InputError, match="16..4096"):
        HouseholdSimulator(catalogues=catalogues, width=size[0], height=size[1])


def test_negative_seed_is_refused(catalogues: Path) -> None:
    with pytest.raises(InputError, match="0 or more"):
        HouseholdSimulator(catalogues=catalogues).render(-1)


@pytest.mark.slow
def test_frames_of_real_models_depend_on_their_seed_alone(
    real_catalogues: Path, tmp_path: Path
) -> None:
    size = {"width": WIDTH, "height": HEIGHT}
    seeds = [7, 2 * BLOCK_FRAMES, 8]
    with HouseholdSimulator(catalogues=real_catalogues, cache=tmp_path, **size) as simulator:
        frames = {seed: simulator.render(seed) for seed in seeds}
    with HouseholdSimulator(catalogues=real_catalogues, cache=tmp_path, **size) as simulator:
        again = {seed: simulator.render(seed) for seed in reversed(seeds)}
    for seed in seeds:
        np.testing.assert_array_equal(frames[seed].rgb, again[seed].rgb)
        np.testing.assert_array_equal(frames[seed].instance_map, again[seed].instance_map)
        assert frames[seed].objects == again[seed].objects
    assert sum(len(frame.objects) for frame in frames.values()) > 2
    for frame in frames.values():
        check_people(frame)


def check_people(frame: HouseholdFrame) -> None:
    """Visible keypoints lie at their person's pixels; only people have them."""
    for number, item in enumerate(frame.objects, start=1):
        assert item.kind in KINDS
        assert bool(item.keypoints) == (item.kind == "person")
        for column, row, visible in item.keypoints.values():
            if visible:
                around = np.s_[
                    max(int(row) - 1, 0) : int(row) + 2, max(int(column) - 1, 0) : int(column) + 2
                ]
                assert (frame.instance_map[around] == number).any()
