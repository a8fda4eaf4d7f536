from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vl2_ros.sim.household.furniture import Support
from vl2_ros.sim.household.kinds import Room
from vl2_ros.sim.household.layout import FLOOR, MAX_SPOTS, overlap, rectangle
from vl2_ros.sim.household.pool import Pool, color_choice
from vl2_ros.sim.household.scene import (
    SCENE_VIEWS,
    footprint,
    look_at,
    sample_household,
    sample_room,
)
from vl2_ros.sim.household.stage import find_near

SEEDS = range(25)


def put_support(pool: Pool, index: int) -> Pool:
    """Let things stand on one of the models."""
    model = pool.models[index]
    size = model.size
    furniture = replace(model.furniture, support=Support(size[2], np.zeros(2), 0.42 * size[:2]))
    models = list(pool.models)
    models[index] = replace(model, furniture=furniture)
    return Pool(pool.room, tuple(models))


def test_a_scene_depends_on_its_seed_alone(pool: Pool) -> None:
    first, again, other = (sample_household(seed, pool) for seed in (4, 4, 6))
    np.testing.assert_array_equal(first.world_from_camera, again.world_from_camera)
    assert len(first.placed) == len(again.placed)
    for item, same in zip(first.placed, again.placed, strict=True):
        np.testing.assert_array_equal(item.spot.position, same.spot.position)
        np.testing.assert_array_equal(item.rgbs, same.rgbs)
    for surface, same_surface in zip(first.surfaces, again.surfaces, strict=True):
        np.testing.assert_array_equal(surface.texture, same_surface.texture)
    assert not np.array_equal(first.world_from_camera, other.world_from_camera)


def test_furniture_stands_in_the_room_without_overlap(pool: Pool) -> None:
    kinds = set()
    for seed in SEEDS:
        scene = sample_household(seed, pool)
        half = scene.surfaces[0].half
        ground = [item for item in scene.placed if item.spot.base == FLOOR]
        kinds |= {item.model.kind for item in ground}
        for index, item in enumerate(ground):
            assert item.spot.position[2] == 0.0
            assert (np.abs(footprint(item)) <= half + 1e-9).all()
            for before in ground[:index]:
                # A chair may be pushed under its table.
                if {item.model.kind, before.model.kind} != {"chair", "dining table"}:
                    assert not overlap(footprint(item), footprint(before))
    assert {"couch", "dining table", "chair", "person"} <= kinds


def test_couches_stand_with_their_back_to_a_wall(pool: Pool) -> None:
    found = 0
    for seed in SEEDS:
        scene = sample_household(seed, pool)
        for item in scene.placed:
            if item.model.kind == "couch":
                back = item.spot.position[:2] + item.rotation()[:2, 1] * 0.5 * item.model.size[1]
                assert (scene.surfaces[0].half - np.abs(back)).min() < 0.09
                found += 1
    assert found > 5


def test_small_things_stand_on_tables(pool: Pool) -> None:
    table = next(i for i, model in enumerate(pool.models) if model.kind == "dining table")
    pool, found = put_support(pool, table), 0
    for seed in SEEDS:
        scene = sample_household(seed, pool)
        for item in scene.placed:
            if item.spot.base >= 0:
                below = scene.placed[item.spot.base]
                assert item.model.kind in ("cup", "distractor")
                assert item.spot.position[2] == pytest.approx(0.75)
                local = below.rotation().T @ (item.spot.position - below.spot.position)
                assert (np.abs(local[:2]) < 0.5 * below.model.size[:2]).all()
                found += 1
    assert found > 20


def test_a_full_scene_stays_within_what_the_stage_holds(pool: Pool) -> None:
    cups = tuple(model for model in pool.models if model.kind == "cup") * 5
    tables = tuple(model for model in pool.models if model.kind == "dining table") * 12
    crowded = Pool(Room.YARD, tables + cups)
    for index in range(len(tables)):
        crowded = put_support(crowded, index)
    counts = [len(sample_household(seed, crowded).placed) for seed in SEEDS]
    assert 20 < max(counts) <= MAX_SPOTS


def test_cameras_are_in_the_room_at_the_height_of_robots_tables_and_people(pool: Pool) -> None:
    heights = []
    for seed in range(60):
        scene = sample_household(seed, pool)
        eye = scene.world_from_camera[:3, 3]
        heights.append(eye[2])
        assert (np.abs(eye[:2]) < scene.surfaces[0].half).all()
        turn = scene.world_from_camera[:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(turn) == pytest.approx(1.0)
    assert min(heights) < 0.6 and max(heights) > 1.3


def test_a_new_colour_is_named_only_where_the_part_covers_most(pool: Pool) -> None:
    names = set()
    for seed in SEEDS:
        for item in sample_household(seed, pool).placed:
            if item.model.kind == "person":
                assert color_choice(item.model) is None and item.color == ""
            elif item.color:
                names.add(item.color)
                assert not np.array_equal(item.rgbs[0], [0.6, 0.6, 0.6])
    assert len(names) > 4


def test_look_at_puts_the_target_in_the_middle() -> None:
    pose = look_at(np.array([1.0, 2.0, 1.5]), np.array([3.0, -1.0, 0.2]), 0.1)
    local = pose[:3, :3].T @ (np.array([3.0, -1.0, 0.2]) - pose[:3, 3])
    np.testing.assert_allclose(local[:2], 0.0, atol=1e-12)
    assert local[2] > 0


def test_rectangles_that_touch_do_not_overlap() -> None:
    half = np.array([0.5, 0.5])
    square = rectangle(np.zeros(2), half, 0.0)
    assert not overlap(square, rectangle(np.array([1.0, 0.0]), half, 0.0))
    assert overlap(square, rectangle(np.array([0.9, 0.0]), half, 0.0))
    assert not overlap(square, rectangle(np.array([0.9, 0.9]), half, 0.25 * np.pi))


def test_views_of_a_room_differ_in_light_and_camera_alone(pool: Pool) -> None:
    first, second = (sample_household(3 * SCENE_VIEWS + view, pool) for view in (0, 1))
    assert len(first.placed) == len(sample_room(3, pool).placed) > 0
    for item, same in zip(first.placed, second.placed, strict=True):
        np.testing.assert_array_equal(item.spot.position, same.spot.position)
    assert not np.array_equal(first.world_from_camera, second.world_from_camera)
    assert not np.array_equal(first.lamp, second.lamp)


def test_what_may_be_seen_is_near(pool: Pool) -> None:
    """No corner of a box that lies in the image belongs to a model that is not drawn."""
    drawn = hidden = 0
    for seed in SEEDS:
        scene = sample_household(seed, pool)
        near = find_near(scene, 4.0 / 3.0, 0.0)
        assert set(near) <= set(find_near(scene, 4.0 / 3.0, 0.8))
        slope = np.tan(0.5 * scene.fovy_rad)
        for index, item in enumerate(scene.placed):
            corners = np.concatenate([footprint(item)] * 2)
            heights = np.repeat([0.0, item.model.size[2]], 4) + item.spot.position[2]
            points = np.column_stack([corners, heights]) - scene.world_from_camera[:3, 3]
            x, y, z = (points @ scene.world_from_camera[:3, :3]).T
            seen = (z > 0.05) & (np.abs(x) < slope * 4.0 / 3.0 * z) & (np.abs(y) < slope * z)
            assert index in near or not seen.any()
            drawn += index in near
            hidden += index not in near
    assert drawn > 50 and hidden > 3
