from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.node.frames import transform_tree
from vl2_ros.node.frames.frame_lookup import MissingTransformError
from vl2_ros.node.frames.transform_tree import CACHE_S, MOST_FRAMES, TransformTree
from vl2_ros.processing.results.rigid_transform import RigidTransform

S = 1_000_000_000
HALF = float(np.sqrt(0.5))
NO_TURN = (0.0, 0.0, 0.0, 1.0)
#: A quarter turn about z: x becomes y.
QUARTER = (0.0, 0.0, HALF, HALF)


@pytest.fixture
def tree() -> TransformTree:
    return TransformTree()


def add(tree: TransformTree, child: str, parent: str, stamp_s: float, turn=NO_TURN, x=0.0, **more):
    tree.add(child, parent, round(stamp_s * S), turn, (float(x), 0.0, 0.0), **more)


def find(tree: TransformTree, target: str, source: str, stamp_s: float) -> RigidTransform:
    return tree.find(target, source, round(stamp_s * S))


def test_poses_between_two_transforms_lie_on_a_line_and_the_shortest_arc(tree):
    add(tree, "camera", "base", 1.0, x=1.0)
    # The same rotation as QUARTER, written the long way round.
    add(tree, "camera", "base", 2.0, tuple(-one for one in QUARTER), x=3.0)
    third = find(tree, "base", "camera", 1.0 + 1 / 3)
    np.testing.assert_allclose(third.translation_m, [1 + 2 / 3, 0, 0], atol=1e-8)
    angle = np.arctan2(third.rotation[1, 0], third.rotation[0, 0])
    np.testing.assert_allclose(np.rad2deg(angle), 30.0, atol=1e-6)
    np.testing.assert_allclose(find(tree, "base", "camera", 1.0).rotation, np.eye(3))


def test_transforms_may_come_in_any_order_and_the_first_of_a_stamp_counts(tree):
    for stamp_s, x in ((3.0, 3.0), (1.0, 1.0), (2.0, 4.0), (2.0, 9.0)):
        add(tree, "camera", "base", stamp_s, x=x)
    xs = [find(tree, "base", "camera", one).translation_m[0] for one in (1.0, 1.5, 2.0, 2.5, 3.0)]
    np.testing.assert_allclose(xs, [1.0, 2.5, 4.0, 3.5, 3.0])


def test_frames_are_joined_over_their_common_parent(tree):
    add(tree, "base", "odom", 1.0, QUARTER, x=10.0)
    add(tree, "mast", "base", 0.0, x=1.0, is_static=True)
    add(tree, "camera", "mast", 0.0, x=0.5, is_static=True)
    add(tree, "gripper", "base", 1.0, QUARTER, x=2.0)
    up = find(tree, "odom", "camera", 1.0)
    np.testing.assert_allclose(up.apply(np.zeros(3)), [10.0, 1.5, 0.0], atol=1e-15)
    across = find(tree, "gripper", "camera", 1.0)
    # 1.5 - 2 along the base's x, which is the gripper's -y.
    np.testing.assert_allclose(across.apply(np.zeros(3)), [0.0, 0.5, 0.0], atol=1e-15)
    down = find(tree, "camera", "odom", 1.0)
    np.testing.assert_allclose(down.after(up).translation_m, np.zeros(3), atol=1e-14)
    np.testing.assert_array_equal(find(tree, "base", "base", 1.0).rotation, np.eye(3))


def test_static_frames_hold_at_all_times_and_need_nothing_above(tree):
    add(tree, "base", "odom", 5.0)
    add(tree, "camera", "base", 3.0, x=1.0, is_static=True)
    add(tree, "camera", "base", 2.0, x=2.0, is_static=True)
    # No transform of base is known at that time, but none is needed.
    assert find(tree, "base", "camera", 99.0).translation_m[0] == 2.0


def test_a_moved_parent_counts_until_the_next_transform(tree):
    add(tree, "cup", "table", 1.0, x=1.0)
    add(tree, "cup", "gripper", 2.0, x=5.0)
    for parent in ("table", "gripper"):
        add(tree, parent, "base", 0.0, is_static=True)
    xs = [find(tree, "base", "cup", one).translation_m[0] for one in (1.0, 1.9, 2.0)]
    assert xs == [1.0, 1.0, 5.0]


@pytest.mark.parametrize(
    ("stamp_s", "late_s", "reason"),
    [
        (2.25, 0.25, "newest transform of frame 'base' is 0.250 s older than the image"),
        (0.5, 0.0, "0.500 s older than the oldest transform of frame 'base'"),
    ],
)
def test_nothing_is_known_before_the_first_and_after_the_last(tree, stamp_s, late_s, reason):
    add(tree, "base", "odom", 1.0)
    add(tree, "base", "odom", 2.0)
    add(tree, "camera", "base", 0.0, is_static=True)
    with pytest.raises(MissingTransformError, match=reason) as raised:
        find(tree, "odom", "camera", stamp_s)
    assert raised.value.late_s == pytest.approx(late_s)


def test_what_is_missing_is_named(tree):
    add(tree, "camera", "base", 1.0)
    add(tree, "map", "world", 1.0)
    with pytest.raises(
        MissingTransformError, match="no transform of frame 'bse' .* base, camera, "
    ):
        find(tree, "bse", "camera", 1.0)
    with pytest.raises(MissingTransformError, match="'camera' and 'world' are not connected") as at:
        find(tree, "world", "camera", 1.0)
    assert at.value.late_s == 0.0


def test_a_circle_ends(tree):
    for child, parent in (("a", "b"), ("b", "c"), ("c", "a"), ("other", "root")):
        add(tree, child, parent, 1.0)
    with pytest.raises(MissingTransformError, match="in a circle"):
        find(tree, "root", "a", 1.0)


def test_memory_is_bounded(tree, monkeypatch):
    for step in range(3000):
        add(tree, "camera", "base", step / 100)
    # The last ten seconds, and nothing before.
    find(tree, "base", "camera", 29.99 - CACHE_S)
    with pytest.raises(MissingTransformError, match="older than the oldest"):
        find(tree, "base", "camera", 29.98 - CACHE_S)
    monkeypatch.setattr(transform_tree, "MOST_LINKS", 100)
    add(tree, "gripper", "base", 1.0)
    add(tree, "camera", "base", 30.0)
    # Its share of a hundred: half.
    find(tree, "base", "camera", 29.51)
    with pytest.raises(MissingTransformError, match="older than the oldest"):
        find(tree, "base", "camera", 29.50)
    with pytest.raises(InputError, match=f"{MOST_FRAMES} frames already"):
        for index in range(MOST_FRAMES):
            add(tree, f"frame_{index}", "base", 1.0)
    with pytest.raises(InputError, match="frames already"):
        add(tree, "camera", "another parent", 30.0)


def test_a_recording_that_starts_again_is_a_new_time(tree):
    for stamp_s in (100.0, 101.0):
        add(tree, "camera", "base", stamp_s, x=1.0)
    # One straggler, such as a node without a clock, changes nothing.
    add(tree, "camera", "base", 0.0, x=7.0)
    add(tree, "camera", "base", 101.5, x=1.0)
    assert find(tree, "base", "camera", 101.2).translation_m[0] == 1.0
    for stamp_s in (50.0, 50.1, 50.2, 50.3):
        add(tree, "camera", "base", stamp_s, x=2.0)
    assert find(tree, "base", "camera", 50.25).translation_m[0] == 2.0


@pytest.mark.parametrize(
    ("child", "parent", "turn", "x", "expected"),
    [
        ("", "base", NO_TURN, 0.0, "two different frames"),
        ("camera", "", NO_TURN, 0.0, "two different frames"),
        ("base", "/base", NO_TURN, 0.0, "two different frames"),
        ("camera", "base", (0.0, 0.0, 0.0, 0.0), 0.0, "is no pose"),
        ("camera", "base", (0.0, 0.0, 0.0, float("nan")), 0.0, "is no pose"),
        ("camera", "base", NO_TURN, float("inf"), "is no pose"),
    ],
)
def test_what_is_no_pose_is_refused(tree, child, parent, turn, x, expected):
    with pytest.raises(InputError, match=expected):
        add(tree, child, parent, 1.0, turn, x)
    with pytest.raises(MissingTransformError, match="are known: none"):
        find(tree, "base", "camera", 1.0)


def test_names_with_and_without_a_slash_are_one(tree):
    add(tree, "/camera", "/base", 1.0, x=1.0)
    assert find(tree, "base", "camera", 1.0).translation_m[0] == 1.0
