"""What an answer has in space, in the messages: keypoints, and points of its masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.node.messages.test_markers import SPACE
from tests.node.messages.test_result_messages import FRAME, make_answer, make_messages
from tests.node.scripted_perceiver import make_detections
from vl2_ros.node.messages import point_messages
from vl2_ros.processing.results.rigid_transform import RigidTransform
from vl2_ros.structures import Branch, Detections, Frame, Keypoints, Route

TURNED = RigidTransform.from_quaternion([-0.5, 0.5, -0.5, 0.5], [1.0, 2.0, 3.0])
RGB = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
PLAIN = Frame(RGB, FRAME.stamp_ns, "camera_link")


def find_posed() -> Detections:
    keypoints = Keypoints(
        ("nose", "left eye"),
        np.array([[(1.5, 1.5), (3, 4.5)], [(5, 6), (-7, 8)]], np.float32),
        np.full((2, 2), 0.9, np.float32),
    )
    return replace(make_detections(FRAME), masks=None, keypoints=keypoints)


@pytest.mark.parametrize(("transform", "frame_id"), [(None, "camera_link"), (TURNED, "base_link")])
def test_keypoints_have_their_place_in_the_frame_that_is_named(transform, frame_id):
    space = SPACE if transform is None else SPACE.move("base_link", transform)
    messages = make_messages(make_answer(Route.POSE, found=find_posed(), space=space))
    (result,), (poses,) = messages["~/result"], messages["~/poses"]
    for message in (result, poses):
        assert (message.header.frame_id, message.space_frame_id) == ("camera_link", frame_id)
        nose = message.instances[0].keypoints[0].position
        # 1.5 - 6 and 1.5 - 5 pixels of the axis, focal length 10, two metres away.
        expected = np.array([-0.9, -0.7, 2.0])
        if transform is not None:
            expected = transform.apply(expected)
        np.testing.assert_allclose((nose.x, nose.y, nose.z), expected, atol=1e-6)
        outside = message.instances[1].keypoints[1]
        assert (outside.x, outside.position.x, outside.position.z) == (-7, 0, 0)


def test_without_depth_nothing_has_a_place():
    (result,) = make_messages(make_answer(Route.POSE, found=find_posed()))["~/result"]
    assert result.space_frame_id == ""
    assert result.instances[0].keypoints[0].position.z == 0


def read_points(cloud) -> dict[str, np.ndarray]:
    """Read a cloud by its own fields, as viewers do."""
    assert cloud.point_step * cloud.width == cloud.row_step == len(cloud.data)
    kinds = {6: "<u4", 7: "<f4"}
    dtype = np.dtype(
        {
            "names": [one.name for one in cloud.fields],
            "formats": [kinds[one.datatype] for one in cloud.fields],
            "offsets": [one.offset for one in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    table = np.frombuffer(np.asarray(cloud.data).tobytes(), dtype)
    return {name: table[name] for name in dtype.names}


def test_points_of_masks_carry_colour_class_and_instance():
    answer = make_answer(Route.DETECT, Route.SEGMENT, frame=PLAIN, space=SPACE)
    boxes = replace(make_detections(PLAIN), masks=None)
    segmented = answer.result.branches[1].detections
    branches = (Branch(Route.DETECT, ("mug", "bowl"), boxes), answer.result.branches[1])
    answer = replace(answer, result=replace(answer.result, branches=branches))
    messages = make_messages(answer)
    (cloud,), (result,) = messages["~/points"], messages["~/result"]
    assert (cloud.header.frame_id, cloud.height, cloud.is_dense) == ("camera_link", 1, True)
    points = read_points(cloud)
    assert cloud.width == np.asarray(segmented.masks).sum() > 0
    # The masks are those of the second branch: instances 2 and 3 of the result.
    counts = [int(segmented.masks[index].sum()) for index in range(2)]
    assert points["instance"].tolist() == [2] * counts[0] + [3] * counts[1]
    for number in (2, 3):
        labels = set(points["label"][points["instance"] == number].tolist())
        assert labels == {result.instances[number].class_id}
    rows, columns = np.nonzero(segmented.masks[0])
    np.testing.assert_allclose(points["x"][: counts[0]], (columns + 0.5 - 6) / 10 * 2, atol=1e-6)
    np.testing.assert_allclose(points["z"], 2.0)
    packed = points["rgb"][: counts[0]].copy().view("<u4")
    red, green, blue = RGB[rows, columns].astype(np.uint32).T
    np.testing.assert_array_equal(packed, red * 65536 + green * 256 + blue)


def test_points_are_in_the_target_frame():
    plain, moved = (
        make_messages(make_answer(Route.SEGMENT, frame=PLAIN, space=space))["~/points"][0]
        for space in (SPACE, SPACE.move("base_link", TURNED))
    )
    assert moved.header.frame_id == "base_link"
    before, after = (
        np.stack([points[axis] for axis in "xyz"], axis=1)
        for points in map(read_points, (plain, moved))
    )
    np.testing.assert_allclose(after, TURNED.apply(before), atol=1e-6)


def test_nothing_found_is_an_empty_cloud_and_no_depth_is_none():
    cloud = make_messages(make_answer(Route.SEGMENT, found=Detections.empty(), space=SPACE))[
        "~/points"
    ][0]
    assert (cloud.width, len(cloud.data)) == (0, 0)
    assert not make_messages(make_answer(Route.SEGMENT)).get("~/points")


def test_a_cloud_is_bounded(monkeypatch):
    monkeypatch.setattr(point_messages, "MOST_POINTS", 10)
    cloud = make_messages(make_answer(Route.SEGMENT, space=SPACE))["~/points"][0]
    assert 0 < cloud.width <= 10
