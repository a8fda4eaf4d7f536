"""What a result declares is bounded before the asking side takes memory for it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tests.clients.test_received_result import make_answer, make_poses, send, send_poses
from vl2_ros.clients.received_result import read_result
from vl2_ros.errors import TransportError


def declare_class(message, class_id: int) -> None:
    message.instances[0].class_id = class_id


@pytest.mark.parametrize("class_id", [65_535, 20_000_000, -1])
def test_class_id_is_no_length_of_a_list(class_id):
    message = send(make_answer("find it"))
    message.instances[0].class_id = class_id
    tracemalloc.start()
    with pytest.raises(TransportError, match=rf"class_id must lie in 0..65534, got {class_id}"):
        read_result(message)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_masks_together_are_bounded_before_they_are_decoded():
    message = send(make_answer("segment it"))
    for instance in message.instances:
        instance.mask.height = instance.mask.width = 2000
        instance.mask.counts = np.array([4_000_000], np.uint32)
    tracemalloc.start()
    with pytest.raises(TransportError, match="its 2 masks have 8000000 pixels together, the limit"):
        read_result(message, max_mask_pixels=5_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_masks_are_decoded_into_their_result():
    message = send(make_answer("segment it"))
    instance = message.instances[0]
    instance.mask.height = instance.mask.width = 1000
    instance.mask.counts = np.array([500_000, 500_000], np.uint32)
    message.instances = [instance] * 8
    tracemalloc.start()
    (branch,) = read_result(message).result.branches
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert branch.detections.masks.shape == (8, 1000, 1000)
    assert branch.detections.masks[7][:, 499:501].sum() == 1000
    assert peak < 8_000_000 + 4_000_000, "expected the masks, and two of one beside them"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_numbers_that_are_none_are_refused(value):
    message = send(make_answer("find it"))
    message.instances[0].box.size_x = value
    with pytest.raises(TransportError, match="boxes must be finite numbers"):
        read_result(message)
    message = send_poses(make_poses())
    message.instances[0].keypoints[0].x = value
    with pytest.raises(TransportError, match="keypoints must be finite numbers"):
        read_result(message)
