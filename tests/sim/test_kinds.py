from __future__ import annotations

import colorsys

import numpy as np
import pytest

from vl2_ros.processing.language.keypoint_names import PERSON
from vl2_ros.processing.skeletons import find_edges
from vl2_ros.sim.colors import COLOR_RANGES, COLORS
from vl2_ros.sim.kinds import KINDS, build_clutter, build_piece, list_keypoints
from vl2_ros.sim.meshes import lathe_bank
from vl2_ros.sim.pieces import Piece, Primitive, rotation_about, rotation_to


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_parts_keypoints_and_a_table_size(kind: str) -> None:
    for seed in range(10):
        piece = build_piece(kind, "green", np.random.default_rng(seed))
        radius = piece.settle()
        assert piece.parts and piece.keypoints
        assert 0.01 < radius < 0.13
        assert 0.005 < piece.reach(np.eye(3)[2]) < 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_keypoints_lie_within_the_piece(kind: str) -> None:
    directions = np.concatenate([np.eye(3), -np.eye(3)])
    for seed in range(6):
        piece = build_piece(kind, "red", np.random.default_rng(seed))
        for landmark in piece.keypoints.values():
            for way in directions:
                assert (landmark.points @ way <= piece.reach(way) + 0.002).all()


def test_clutter_carries_no_keypoint() -> None:
    pieces = [build_clutter(np.random.default_rng(seed)) for seed in range(20)]
    assert all(piece.parts and not piece.keypoints for piece in pieces)
    assert len({piece.parts[0].primitive for piece in pieces}) == 3


def test_figure_has_the_joints_of_people_and_a_skeleton_of_all_of_them() -> None:
    names = list_keypoints("figure")
    assert names[:17] == PERSON
    assert {*names[17:]} == {"head", "neck"}
    joined = {index for edge in find_edges(names[:17]) for index in edge}
    assert joined == set(range(17))


def test_left_of_a_figure_is_left_where_it_looks_along_x() -> None:
    for seed in range(20):
        piece = build_piece("figure", "blue", np.random.default_rng(seed))
        points = {name: landmark.points[0] for name, landmark in piece.keypoints.items()}
        up = points["head"] - points["neck"]
        ahead = points["nose"] - points["head"]
        left = points["left shoulder"] - points["right shoulder"]
        assert np.linalg.det([ahead, left, up]) > 0


def test_keypoints_of_a_kind_have_the_same_names_every_time() -> None:
    for kind in KINDS:
        for seed in range(5):
            piece = build_piece(kind, "blue", np.random.default_rng(seed))
            assert tuple(piece.keypoints) == list_keypoints(kind)


def test_color_words_stay_apart() -> None:
    rng = np.random.default_rng(0)
    hues: dict[str, list[float]] = {}
    for color in COLORS:
        samples = [COLOR_RANGES[color].sample(rng) for _ in range(50)]
        assert all(np.all((rgb >= 0) & (rgb <= 1)) for rgb in samples)
        if color not in ("white", "black"):
            degrees = [colorsys.rgb_to_hsv(*rgb)[0] * 360.0 for rgb in samples]
            hues[color] = [d - 360.0 if d > 340.0 else d for d in degrees]
    ordered = sorted(hues.values(), key=min)
    for lower, upper in zip(ordered[:-1], ordered[1:], strict=True):
        assert min(upper) - max(lower) > 15.0


def test_lathe_meshes_are_closed_in_winding_and_distinct() -> None:
    bank = lathe_bank()
    assert len({lathe.name for lathe in bank}) == len(bank)
    for lathe in bank:
        assert lathe.faces.max() == len(lathe.vertices) - 1
        assert lathe.vertices[:, 2].min() >= 0.0
    cone = next(lathe for lathe in bank if lathe.name == "cone_wall_0")
    corners = cone.vertices[cone.faces]
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    radius, height = np.abs(cone.vertices[:, 0]).max(), cone.vertices[:, 2].max()
    assert volume == pytest.approx(np.pi * radius**2 * height / 3, rel=0.03)


def test_settle_puts_a_turned_piece_on_the_table() -> None:
    piece = Piece()
    piece.add(Primitive.CYLINDER, (0.02, 0.05), (0.3, 0.0, 0.7), np.ones(3))
    piece.transform(rotation_about(0, np.pi / 2), np.zeros(3))
    assert piece.settle() == pytest.approx(0.05, abs=0.003)
    np.testing.assert_allclose(piece.parts[0].position, [0.0, 0.0, 0.02], atol=1e-12)


@pytest.mark.parametrize(
    ("primitive", "size"),
    [
        (Primitive.SPHERE, (0.03,)),
        (Primitive.BOX, (0.01, 0.02, 0.03)),
        (Primitive.CYLINDER, (0.02, 0.03)),
        (Primitive.CAPSULE, (0.02, 0.01)),
        (Primitive.ELLIPSOID, (0.01, 0.02, 0.03)),
    ],
)
def test_reach_upwards_is_the_half_height(primitive: Primitive, size: tuple[float, ...]) -> None:
    piece = Piece()
    piece.add(primitive, size, (0.0, 0.0, 0.0), np.ones(3))
    assert piece.reach(np.eye(3)[2]) == pytest.approx(0.03)


def test_rotation_to_takes_z_to_the_axis() -> None:
    for axis in (np.eye(3)[0], -np.eye(3)[2], np.array([0.6, 0.0, 0.8])):
        turn = rotation_to(axis)
        np.testing.assert_allclose(turn[:, 2], axis)
        assert np.linalg.det(turn) == pytest.approx(1.0)
