"""Lists of a message that hold too much are refused by name, not made."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from benchmarks.fuzzing.message_seeds import make_seeds
from tests.node.wire import make_image, make_points
from vl2_ros.clients.received_result import read_result
from vl2_ros.errors import InputError, TransportError
from vl2_ros.node.messages.command_messages import read_command, read_sender
from vl2_ros.transports import long_lists
from vl2_ros.transports.long_lists import cut_off, find_excess
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()
COMMAND = "vl2_ros/msg/VisionCommand"
PROMPT = "vl2_ros/msg/VisualPrompt"
MANY = 70_000


def make_command(**fields) -> bytes:
    return bytes(TYPES.serialize(TYPES.make(COMMAND, id="a", text="find it", **fields)))


FLOODS = {
    "prompts": (lambda: {"visual_prompts": [TYPES.make(PROMPT)] * MANY}, "visual prompts"),
    "points": (
        lambda: {
            "visual_prompts": [TYPES.make(PROMPT, points=make_points(TYPES, (1, 2)) * MANY)] * 2
        },
        "visual prompts",
    ),
    "images": (lambda: {"images": [TYPES.make("sensor_msgs/msg/Image")] * MANY}, "images"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_command_with_a_flood_is_refused_and_says_whose_it_is(name):
    make_fields, expected = FLOODS[name]
    data = make_command(**make_fields())
    tracemalloc.start()
    message = TYPES.deserialize(data, COMMAND)
    sender = read_sender(message)
    with pytest.raises(InputError, match=rf"the command has \d+ {expected}, at most"):
        read_command(message, sender)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (sender.id, sender.text) == ("a", "find it")
    assert peak < 1_000_000


def test_a_result_with_a_flood_is_an_error_of_ours():
    instances = [TYPES.make("vl2_ros/msg/Instance", route="detect")] * MANY
    result = TYPES.make("vl2_ros/msg/VisionResult", command_id="c", routes=["detect"])
    result.instances = instances
    message = TYPES.deserialize(bytes(TYPES.serialize(result)), "vl2_ros/msg/VisionResult")
    with pytest.raises(TransportError, match=f"has {MANY} items, at most 65536"):
        read_result(message)


def test_numbers_are_no_things_of_a_list():
    data = make_command(images=[make_image(TYPES, rgb=np.zeros((400, 400, 3), np.uint8))] * 3)
    assert len(TYPES.deserialize(data, COMMAND).images) == 3


@pytest.mark.parametrize("little_endian", [True, False])
def test_every_type_is_walked_through_to_its_last_field(monkeypatch, little_endian):
    """With the limit lowered below each list in turn, what comes before the list is kept."""
    monkeypatch.setattr(long_lists, "_LEAST_BYTES", 0)
    cut_count = 0
    for type_name, data in make_seeds(TYPES):
        message = TYPES.deserialize(data, type_name)
        wire = TYPES.typestore.serialize_cdr(message, type_name, little_endian=little_endian)
        excess = find_excess(TYPES.typestore, memoryview(wire), type_name, most=1)
        lists = [
            name
            for name in vars(message)
            if isinstance(getattr(message, name), list) and len(getattr(message, name)) > 1
        ]
        if excess is None:
            assert lists == [], type_name
            continue
        cut = cut_off(TYPES.typestore, memoryview(wire), type_name, excess)
        kept = TYPES.typestore.deserialize_cdr(cut, type_name)
        for name in vars(message):
            if name == excess.field:
                break
            assert repr(getattr(kept, name)) == repr(getattr(message, name)), (type_name, name)
        cut_count += 1
    assert cut_count >= 8
