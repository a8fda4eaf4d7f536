from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco")

from vl2_ros.sim.keypoints import CameraIntrinsics, project_keypoints
from vl2_ros.sim.kinds import build_piece
from vl2_ros.sim.pieces import Landmark, Piece, rotation_about
from vl2_ros.sim.scene import PlacedPiece, Scene, Viewpoint, sample_scene
from vl2_ros.sim.tabletop import TabletopFrame, TabletopSimulator

CAMERA = CameraIntrinsics(100.0, 100.0, 80.0, 60.0)


@pytest.fixture(scope="module")
def simulator() -> Iterator[TabletopSimulator]:
    with TabletopSimulator(width=320, height=240) as opened:
        yield opened


def place(*pieces: tuple[str, Piece], azimuth_deg: float = 0.0, elevation_deg: float = 40) -> Scene:
    """Put pieces on a table that is seen from a side."""
    view = Viewpoint(
        (0.0, 0.0, 0.03), 0.6, np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg), np.deg2rad(38)
    )
    placed = tuple(PlacedPiece(piece, kind, "red") for kind, piece in pieces)
    return replace(sample_scene(0), pieces=placed, viewpoint=view)


def build(kind: str, x: float = 0.0, *, turn_deg: float = 0.0, seed: int = 0) -> Piece:
    piece = build_piece(kind, "red", np.random.default_rng(seed))
    piece.settle()
    piece.transform(rotation_about(2, np.deg2rad(turn_deg)), np.array([x, 0.0, 0.0]))
    return piece


def extent(frame: TabletopFrame, index: int = 0) -> tuple[float, float, float, float]:
    return frame.objects[index].box_xyxy


def test_a_point_is_where_a_pinhole_shows_it_and_hidden_by_what_is_in_front() -> None:
    surface = np.full((120, 160), np.nan)
    surface[40:80, 60:120] = 0.5
    points = {
        "on": Landmark(np.array([[0.1, 0.05, 0.5]])),
        "deep": Landmark(np.array([[0.0, 0.0, 0.56]])),
        "marked deep": Landmark(np.array([[0.0, 0.0, 0.56]]), depth_m=0.05),
        "beside": Landmark(np.array([[-0.2, 0.0, 0.5]])),
        "behind": Landmark(np.array([[0.0, 0.0, -0.5]])),
        "outside": Landmark(np.array([[0.6, 0.0, 0.5]])),
    }
    found = project_keypoints(points, surface, CAMERA, np.eye(4))
    assert found["on"] == pytest.approx((100.0, 70.0, True))
    assert found["beside"][:2] == pytest.approx((40.0, 60.0))
    seen = {name for name, point in found.items() if point[2]}
    assert seen == {"on", "marked deep"}


def test_visible_keypoints_lie_on_their_objects(simulator: TabletopSimulator) -> None:
    seen = hidden = 0
    for seed in range(12):
        frame = simulator.render(seed)
        for index, item in enumerate(frame.objects):
            assert item.keypoints
            for x, y, visible in item.keypoints.values():
                hidden += not visible
                if visible:
                    seen += 1
                    rows, columns = np.nonzero(frame.instance_map == index + 1)
                    near = np.hypot(columns + 0.5 - x, rows + 0.5 - y).min()
                    assert near < 2.2
    assert seen > 100 and hidden > 10


def test_sides_of_a_rim_are_those_of_the_image(simulator: TabletopSimulator) -> None:
    for turn in (0.0, 100.0):
        frame = simulator.render_scene(place(("plate", build("plate", turn_deg=turn))))
        points = frame.objects[0].keypoints
        x1, y1, x2, y2 = extent(frame)
        assert points["left rim"][0] == pytest.approx(x1, abs=2)
        assert points["right rim"][0] == pytest.approx(x2, abs=2)
        assert points["far rim"][1] == pytest.approx(y1, abs=2)
        # The foot of the plate is nearer to the camera's lower edge than its rim.
        assert y1 < points["middle"][1] < points["near rim"][1] <= y2


def test_corners_of_a_box_are_of_its_upper_face_however_it_lies(
    simulator: TabletopSimulator,
) -> None:
    for seed in range(6):
        piece = build("box", turn_deg=30.0, seed=seed)
        height = piece.reach(np.eye(3)[2])
        corners = piece.keypoints["left corner"].points
        assert corners[:, 2] == pytest.approx(np.full(4, height), abs=0.002)
        points = simulator.render_scene(place(("box", piece))).objects[0].keypoints
        assert points["left corner"][0] < points["top"][0] < points["right corner"][0]
        assert points["top"][2]


def test_the_handle_is_seen_from_its_side_alone(simulator: TabletopSimulator) -> None:
    seen = {}
    for azimuth in (0.0, 180.0):
        scene = place(("mug", build("mug")), azimuth_deg=azimuth, elevation_deg=30)
        seen[azimuth] = simulator.render_scene(scene).objects[0].keypoints["handle"][2]
    # The handle of a fresh mug points along x.
    assert seen == {0.0: True, 180.0: False}


def test_what_another_object_covers_is_not_visible(simulator: TabletopSimulator) -> None:
    alone = simulator.render_scene(place(("plate", build("plate")), elevation_deg=28))
    assert alone.objects[0].keypoints["middle"][2]
    pieces = (("plate", build("plate")), ("mug", build("mug", x=0.13)))
    covered = simulator.render_scene(place(*pieces, elevation_deg=28))
    assert [item.kind for item in covered.objects] == ["plate", "mug"]
    assert not covered.objects[0].keypoints["middle"][2]
    assert covered.objects[0].keypoints["middle"][:2] == alone.objects[0].keypoints["middle"][:2]


def test_a_figure_from_behind_shows_no_eyes(simulator: TabletopSimulator) -> None:
    # With this seed it stands.
    seeds = range(10)
    standing = next(seed for seed in seeds if build("figure", seed=seed).reach(np.eye(3)[2]) > 0.12)
    faces = {}
    for azimuth in (0.0, 180.0):
        scene = place(("figure", build("figure", seed=standing)), azimuth_deg=azimuth)
        points = simulator.render_scene(scene).objects[0].keypoints
        faces[azimuth] = [points[name][2] for name in ("nose", "left eye", "right eye")]
        # Who faces the camera has the left hand on the right of the image.
        is_right = points["left shoulder"][0] > points["right shoulder"][0]
        assert is_right == (azimuth == 0.0)
    assert all(faces[0.0]) and not any(faces[180.0])
