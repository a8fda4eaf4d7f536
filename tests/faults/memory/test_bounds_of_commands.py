"""What a command declares is bounded and refused before memory is taken for it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from tests.node.wire import make_compressed_image, make_image, make_points
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.node.messages.command_messages import read_command, read_sender
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Mode, Request, Status
from vl2_ros.node.scheduling.schedule import Schedule
from vl2_ros.structures import MAX_FURTHER_IMAGES, MAX_POINTS, MAX_VISUAL_PROMPTS
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()
MS = 1_000_000
SMALL = NodeParameters(max_image_pixels=100, max_command_mb=0.001)


def make_mask_prompt(height: int, width: int, image: int = 0):
    """Declare a mask whose one run covers all of it: a few bytes for any size."""
    counts = np.array([0, height * width], np.uint32)
    mask = TYPES.make("vl2_ros/msg/InstanceMask", height=height, width=width, counts=counts)
    return TYPES.make("vl2_ros/msg/VisualPrompt", kind=4, mask=mask, image=image)


def make_point_prompt(count: int = 1, kind: int = 0):
    points = make_points(TYPES, *[(1.0, 1.0)] * count)
    return TYPES.make("vl2_ros/msg/VisualPrompt", kind=kind, points=points)


def read(parameters: NodeParameters = SMALL, **fields) -> Request:
    message = TYPES.make("vl2_ros/msg/VisionCommand", **({"id": "a", "text": "find it"} | fields))
    return read_command(message, read_sender(message), parameters)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


def test_masks_of_a_command_stay_run_lengths():
    prompts = [make_mask_prompt(2000, 2000) for _ in range(8)]
    tracemalloc.start()
    request = read(visual_prompts=prompts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(request.visual_prompts) == 8
    assert peak < 1_000_000, "expected nothing of 8 times 4 MB"


def test_a_mask_of_another_size_is_invalid_before_it_is_decoded(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    tracemalloc.start()
    rig.command("a", visual_prompts=[make_mask_prompt(2000, 2000) for _ in range(8)])
    (result,) = rig.results.wait_for("a")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.status == Status.INVALID
    assert "mask is 2000x2000, expected the image's 24x16" in result.message
    assert peak < 1_000_000, "expected nothing of 8 times 4 MB"


def test_a_mask_with_more_runs_than_pixels_is_refused():
    prompt = make_mask_prompt(2, 2)
    prompt.mask.counts = np.array([0, 0, 0, 4, 0, 0], np.uint32)
    with pytest.raises(InputError, match="6 run lengths, expected at most 5 for 2x2"):
        read(visual_prompts=[prompt])


BIG_IMAGE = {"height": 1000, "width": 1000, "step": 3000}
TOO_MUCH = {
    "prompts": (
        {"visual_prompts": [make_point_prompt()] * (MAX_VISUAL_PROMPTS + 1)},
        f"{MAX_VISUAL_PROMPTS + 1} visual prompts, at most {MAX_VISUAL_PROMPTS}",
    ),
    "points": (
        {"visual_prompts": [make_point_prompt(MAX_POINTS // 2 + 1, kind=2)] * 2},
        f"{MAX_POINTS + 2} points, at most {MAX_POINTS}",
    ),
    "images": (
        {"images": [make_image(TYPES, rgb=np.zeros((2, 2, 3), np.uint8))] * 33},
        f"33 images, at most {MAX_FURTHER_IMAGES}",
    ),
    "bytes": (
        {"images": [make_image(TYPES, rgb=np.zeros((9, 9, 3), np.uint8))] * 5},
        r"have 0.0 MB, at most 0.001 MB are accepted \(max_command_mb\)",
    ),
    "pixels": (
        {"images": [make_image(TYPES, **BIG_IMAGE, data=np.zeros(3, np.uint8))]},
        r"image 1 of the command has 1000x1000 pixels, the limit is 100 \(max_image_pixels\)",
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_of_anything_is_refused(name):
    fields, expected = TOO_MUCH[name]
    with pytest.raises(InputError, match=expected):
        read(**fields)


def test_too_many_points_of_one_prompt_make_no_array():
    prompt = make_point_prompt(15_000)
    tracemalloc.start()
    with pytest.raises(InputError, match="kind POINT needs 1 to 1 points, got 15000"):
        read(NodeParameters(), visual_prompts=[prompt])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_size_of_a_request_counts_images_points_and_runs():
    image = make_image(TYPES, rgb=np.zeros((4, 5, 3), np.uint8))
    request = read(images=[image], visual_prompts=[make_point_prompt(), make_mask_prompt(16, 24)])
    assert request.size_bytes == 60 + 16 + 8


@pytest.mark.parametrize("compressed", [False, True])
def test_a_camera_image_over_the_limit_is_invalid_and_the_node_goes_on(rig, compressed):
    rig.start(max_image_pixels=16 * 24 - 1)
    make = make_compressed_image if compressed else make_image
    camera = rig.open_camera("/image/compressed" if compressed else "/image", compressed=compressed)
    rig.show(camera, 1 * MS, message=make(rig.client.types, 1 * MS))
    rig.command("large")
    (large,) = rig.results.wait_for("large")
    assert large.status == Status.INVALID
    assert "24x16 pixels" in large.message and "limit" in large.message
    small = make_image(rig.client.types, 2 * MS, rgb=np.zeros((8, 8, 3), np.uint8))
    rig.show(rig.open_camera(), 2 * MS, message=small)
    rig.command("small")
    (answered,) = rig.results.wait_for("small")
    assert answered.status == Status.OK


def test_the_limits_of_commands_reach_the_node_and_change_live(rig):
    rig.start(max_command_mb=0.0005)
    rig.show(rig.open_camera(), 1 * MS)
    images = [make_image(TYPES)]  # 1152 bytes
    rig.command("a", images=images)
    (refused,) = rig.results.wait_for("a")
    assert refused.status == Status.INVALID and "max_command_mb" in refused.message
    rig.server.node.change_parameters(NodeParameters(max_command_mb=1.0))
    rig.command("b", images=images)
    (answered,) = rig.results.wait_for("b")
    assert answered.status == Status.OK


def make_request(name: str, mode: Mode = Mode.ASK, size_bytes: int = 400_000) -> Request:
    return Request("find it", name, mode=mode, size_bytes=size_bytes)


def test_waiting_commands_and_watches_are_bounded_in_bytes():
    schedule = Schedule(NodeParameters(max_command_mb=1.0, queue_mb=1.0))
    schedule.is_open = True
    assert schedule.admit(make_request("watch", Mode.WATCH), 0.0)[1] is None
    assert schedule.admit(make_request("first"), 0.0)[1] is None
    for mode in (Mode.ASK, Mode.WATCH):
        _, refusal = schedule.admit(make_request(f"over {mode}", mode), 0.0)
        assert refusal.status is Status.BUSY
        assert "have 0.8 MB" in refusal.message and "queue_mb of 1" in refusal.message
    # What holds nothing has room, and so has the next when one is gone.
    assert schedule.admit(make_request("words", size_bytes=0), 0.0)[1] is None
    schedule.cancel("watch", "stopped", 0.0)
    assert schedule.admit(make_request("second"), 0.0)[1] is None


def test_a_command_of_the_largest_size_must_fit_into_the_queue():
    with pytest.raises(ConfigError, match="queue_mb must be at least max_command_mb.*5 and 10"):
        NodeParameters(queue_mb=5.0, max_command_mb=10.0)
