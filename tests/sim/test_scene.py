from __future__ import annotations

import itertools

import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.sim.scene import MAX_OBJECTS, Scene, Viewpoint, sample_scene
from vl2_ros.sim.stage import MAX_GEOMS


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [sample_scene(seed) for seed in range(50)]


def test_all_kinds_and_colors_occur(scenes: list[Scene]) -> None:
    labelled = [placed for scene in scenes for placed in scene.pieces if placed.is_labelled]
    assert {placed.kind for placed in labelled} == set(KINDS)
    assert {placed.color for placed in labelled} == set(COLORS)


def test_object_count_is_in_range_and_labelled_come_first(scenes: list[Scene]) -> None:
    for scene in scenes:
        flags = [placed.is_labelled for placed in scene.pieces]
        assert 1 <= sum(flags) <= MAX_OBJECTS
        assert flags == sorted(flags, reverse=True)


def test_parts_fit_the_stage(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert sum(len(placed.piece.parts) for placed in scene.pieces) <= MAX_GEOMS - 2


def test_pieces_rest_on_the_table_and_stay_on_it(scenes: list[Scene]) -> None:
    for scene, axis in itertools.product(scenes[:20], (0, 1)):
        along = np.eye(3)[axis]
        for placed in scene.pieces:
            assert -placed.piece.reach(-np.eye(3)[2]) == pytest.approx(0.0, abs=1e-9)
            reach = max(placed.piece.reach(along), placed.piece.reach(-along))
            assert reach < scene.table_half[axis] + 0.01


def test_pieces_do_not_overlap(scenes: list[Scene]) -> None:
    # Two convex shapes are apart when some direction separates them; hulls are enough here.
    angles = np.linspace(0.0, np.pi, 36, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles), np.zeros(36)], axis=1)
    for scene in scenes[:6]:
        for first, second in itertools.combinations(scene.pieces, 2):
            gaps = [
                max(
                    -first.piece.reach(-way) - second.piece.reach(way),
                    -second.piece.reach(-way) - first.piece.reach(way),
                )
                for way in directions
            ]
            assert max(gaps) > -0.004


def test_scene_depends_on_its_seed_alone() -> None:
    first, again = sample_scene(11), sample_scene(11)
    assert first.viewpoint == again.viewpoint
    np.testing.assert_array_equal(first.table_texture, again.table_texture)
    assert [p.kind for p in first.pieces] == [p.kind for p in again.pieces]


def test_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="seed"):
        sample_scene(-1)


def test_viewpoint_looks_at_its_target() -> None:
    view = Viewpoint((0.1, 0.0, 0.0), 0.6, 0.7, 0.9, 0.6)
    pose = view.world_from_camera()
    np.testing.assert_allclose(pose[:3, 3] + 0.6 * pose[:3, 2], view.target, atol=1e-12)
    assert pose[2, 1] < 0  # image down is world down
