from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("mujoco")

from vl2_ros.errors import InputError, SimulationError
from vl2_ros.sim.tabletop import (
    MIN_VISIBLE_PIXELS,
    TabletopFrame,
    TabletopSimulator,
)

SEEDS = range(12)
SIZE = {"width": 160, "height": 120}


@pytest.fixture(scope="module")
def simulator() -> Iterator[TabletopSimulator]:
    with TabletopSimulator(**SIZE) as opened:
        yield opened


@pytest.fixture(scope="module")
def frames(simulator: TabletopSimulator) -> list[TabletopFrame]:
    return [simulator.render(seed) for seed in SEEDS]


def assert_same_frame(first: TabletopFrame, second: TabletopFrame) -> None:
    np.testing.assert_array_equal(first.rgb, second.rgb)
    np.testing.assert_array_equal(first.depth_m, second.depth_m)
    np.testing.assert_array_equal(first.instance_map, second.instance_map)
    assert first.objects == second.objects


def test_arrays_have_the_promised_shape_and_dtype(frames: list[TabletopFrame]) -> None:
    for frame in frames:
        assert frame.rgb.shape == (120, 160, 3) and frame.rgb.dtype == np.uint8
        assert frame.depth_m.shape == (120, 160) and frame.depth_m.dtype == np.float32
        assert frame.instance_map.shape == (120, 160) and frame.instance_map.dtype == np.uint8


def test_same_seed_gives_same_frame_in_another_order_and_another_simulator(
    frames: list[TabletopFrame], simulator: TabletopSimulator
) -> None:
    for seed in (7, 2, 9):
        assert_same_frame(simulator.render(seed), frames[seed])
    with TabletopSimulator(**SIZE) as other:
        assert_same_frame(other.render(5), frames[5])
        assert_same_frame(simulator.render(3), frames[3])


def test_different_seeds_give_different_frames(frames: list[TabletopFrame]) -> None:
    assert not np.array_equal(frames[0].rgb, frames[1].rgb)


def test_box_and_count_are_those_of_the_visible_pixels(frames: list[TabletopFrame]) -> None:
    for frame in frames:
        for index, item in enumerate(frame.objects):
            rows, columns = np.nonzero(frame.instance_map == index + 1)
            extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert item.box_xyxy == extent
            assert item.visible_pixels == len(rows)


def test_instance_map_holds_labelled_objects_only(frames: list[TabletopFrame]) -> None:
    for frame in frames:
        assert set(np.unique(frame.instance_map)) - {0} == set(range(1, len(frame.objects) + 1))
        for item in frame.objects:
            assert item.visible_pixels >= MIN_VISIBLE_PIXELS / 4


def test_depth_is_metric(frames: list[TabletopFrame]) -> None:
    # A pixel moved back to the world must lie on or above the table, or on the floor below it.
    for frame in frames:
        assert frame.depth_m.min() > 0.1
        camera, pose = frame.intrinsics, frame.world_from_camera
        rows, columns = np.nonzero(frame.instance_map)
        z = frame.depth_m[rows, columns]
        x = (columns + 0.5 - camera.cx) / camera.fx * z
        y = (rows + 0.5 - camera.cy) / camera.fy * z
        world = np.stack([x, y, z], axis=1) @ pose[:3, :3].T + pose[:3, 3]
        assert world[:, 2].min() > -0.003
        assert world[:, 2].max() < 0.25
        assert np.abs(world[:, :2]).max() < 0.45


def test_camera_pose_is_a_rotation_and_looks_down(frames: list[TabletopFrame]) -> None:
    for frame in frames:
        turn = frame.world_from_camera[:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1.0)
        assert turn[2, 2] < 0 and frame.world_from_camera[2, 3] > 0


def test_orbit_starts_at_the_frame_of_the_seed_and_moves(simulator: TabletopSimulator) -> None:
    first = simulator.render(4)
    orbit = list(simulator.render_orbit(4, 6))
    assert len(orbit) == 6
    assert_same_frame(orbit[0], first)
    steps = [
        np.linalg.norm(a.world_from_camera[:3, 3] - b.world_from_camera[:3, 3])
        for a, b in zip(orbit[:-1], orbit[1:], strict=True)
    ]
    assert min(steps) > 0.1 and max(steps) < 1.0


def test_resolution_scales_the_same_scene(frames: list[TabletopFrame]) -> None:
    with TabletopSimulator(width=320, height=240) as large:
        frame = large.render(0)
    small = {(item.kind, item.color): item.box_xyxy for item in frames[0].objects}
    big = {(item.kind, item.color): item.box_xyxy for item in frame.objects}
    shared = set(small) & set(big)
    assert shared
    for key in shared:
        np.testing.assert_allclose(np.array(big[key]) / 2, small[key], atol=2.0)


def test_closed_simulator_says_so() -> None:
    simulator = TabletopSimulator(**SIZE)
    simulator.close()
    simulator.close()
    with pytest.raises(SimulationError, match="closed"):
        simulator.render(0)


@pytest.mark.parametrize("size", [(0, 240), (320, 5000)])
def test_impossible_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="16..4096"):
        TabletopSimulator(width=size[0], height=size[1])


def test_window_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(SimulationError, match="expected osmesa or egl"):
        TabletopSimulator(**SIZE)


def test_missing_opengl_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setitem(sys.modules, "mujoco.osmesa", None)
    with pytest.raises(SimulationError, match="libosmesa6"):
        TabletopSimulator(**SIZE)


def test_missing_mujoco_names_what_to_install() -> None:
    code = (
        "import sys; sys.modules['mujoco'] = None\n"
        "from vl2_ros.sim.tabletop import TabletopSimulator\n"
        "TabletopSimulator()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode != 0
    assert "SimulationError" in done.stderr and "libosmesa6" in done.stderr
