from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.processing.results.rigid_transform import RigidTransform, find_quaternion

HALF = np.sqrt(0.5)
#: Points forward in an optical frame (z) are forward in a body frame (x), down (y) is -z.
BODY_FROM_OPTICAL = RigidTransform.from_quaternion([-0.5, 0.5, -0.5, 0.5], [1.0, 2.0, 3.0])


def make_random(seed: int) -> RigidTransform:
    random = np.random.default_rng(seed)
    return RigidTransform.from_quaternion(random.normal(size=4), random.normal(size=3))


def test_an_optical_frame_becomes_a_body_frame():
    points = np.array([[0.0, 0.0, 2.0], [0.5, 0.0, 0.0], [0.0, 0.25, 0.0]])
    np.testing.assert_allclose(
        BODY_FROM_OPTICAL.apply(points), [[3, 2, 3], [1, 1.5, 3], [1, 2, 2.75]], atol=1e-15
    )


@pytest.mark.parametrize(
    ("quaternion", "turned"),
    [
        ([0, 0, HALF, HALF], [0, 1, 0]),
        ([0, 0, 1, 0], [-1, 0, 0]),
        ([0, HALF, 0, HALF], [0, 0, -1]),
        ([1, 0, 0, 0], [1, 0, 0]),
        ([0, 0, 0, 2], [1, 0, 0]),
    ],
)
def test_quaternions_turn_the_x_axis(quaternion, turned):
    transform = RigidTransform.from_quaternion(quaternion, [0, 0, 0])
    np.testing.assert_allclose(transform.apply(np.array([1.0, 0, 0])), turned, atol=1e-15)
    found = transform.quaternion_xyzw
    unit = np.array(quaternion) / np.linalg.norm(quaternion)
    np.testing.assert_allclose(abs(found @ unit), 1.0, atol=1e-15)
    assert found[3] >= 0


def test_every_rotation_comes_back_from_its_quaternion():
    for seed in range(200):
        rotation = make_random(seed).rotation
        quaternion = find_quaternion(rotation)
        np.testing.assert_allclose(np.linalg.norm(quaternion), 1.0, atol=1e-15)
        again = RigidTransform.from_quaternion(quaternion, np.zeros(3))
        np.testing.assert_allclose(again.rotation, rotation, atol=1e-14)


def test_one_after_the_other_and_back():
    first, second = make_random(1), make_random(2)
    points = np.random.default_rng(3).normal(size=(5, 3))
    both = second.after(first)
    np.testing.assert_allclose(both.apply(points), second.apply(first.apply(points)), atol=1e-14)
    np.testing.assert_allclose(both.invert().apply(both.apply(points)), points, atol=1e-14)
