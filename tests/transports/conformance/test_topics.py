"""Topics of results: by route, to late joiners, as annotated images for their subscribers."""

from __future__ import annotations

import itertools
import time

import cv2
import numpy as np

from tests.node.scripted_perceiver import WORDS
from tests.node.wire import Inbox, stamp_of, wait_until
from tests.transports.harness import Rig
from vl2_ros.node.messages.result_messages import RESULT_TOPICS, SPATIAL_TOPICS
from vl2_ros.node.transport import LATCHED, Qos
from vl2_ros.structures import Route

MS = 1_000_000

#: Where an answer without depth goes beside ~/result.
TOPICS = {
    Route.ANSWER: {"~/answer"},
    Route.DETECT: {"~/answer", "~/detections"},
    Route.GROUND: {"~/answer", "~/detections"},
    Route.SEGMENT: {
        *("~/answer", "~/detections", "~/segmentation"),
        *("~/label_info", "~/label_image"),
    },
    Route.POSE: {"~/answer", "~/detections", "~/poses"},
    Route.GENERATE: {"~/answer", "~/generated_image"},
    Route.EDIT: {"~/answer", "~/generated_image"},
}


def test_route_decides_the_topics(rig):
    rig.start()
    silent = {topic.name for topic in SPATIAL_TOPICS}
    # Not every release of vision_msgs has the types of all of them.
    has = rig.client.types.has
    offered = [topic for topic in RESULT_TOPICS if not topic.is_optional or has(topic.type_name)]
    names = [topic.name for topic in offered if topic.name not in silent]
    inboxes = {name: rig.subscribe(name) for name in names}
    camera = rig.open_camera()
    rig.show(camera, 5 * MS)
    warm_up(rig, inboxes)
    for word, route in [("describe", Route.ANSWER), *WORDS.items()]:
        for inbox in inboxes.values():
            inbox.clear()
        rig.command(word, f"{word} it")
        expected = TOPICS[route] & {*names} | {"~/result"}
        for name in expected:
            (message,) = inboxes[name].wait()
            assert not hasattr(message, "header") or stamp_of(message) == 5 * MS
        # A second answer that goes everywhere: what had been sent too much would have come before.
        rig.command("all", " ".join(WORDS))
        for name, inbox in inboxes.items():
            count = 2 if name in expected else 1
            if name == "~/generated_image":
                count += 1  # that answer has a generated and an edited image
            assert len(inbox.wait(count)) == count, (route, name)


def warm_up(rig: Rig, inboxes: dict[str, Inbox]) -> None:
    """Ask until every topic has come once, as a volatile one may be found late."""

    def try_once() -> bool:
        rig.results.clear()
        rig.command("warm", " ".join(WORDS))
        rig.results.wait_for("warm")
        return all(inbox.list() for inbox in inboxes.values())

    wait_until(try_once, "every topic has come")
    # The topics are not in step with each other: let the last round arrive everywhere.
    rig.command("last", " ".join(WORDS))
    rig.results.wait_for("last")
    inboxes["~/segmentation"].wait(1, lambda message: message.command_id == "last")
    counts: list[int] = []

    def is_quiet() -> bool:
        counts.append(sum(len(inbox.list()) for inbox in inboxes.values()))
        time.sleep(0.1)
        return counts[-3:] == [counts[-1]] * 3

    wait_until(is_quiet, "the topics are quiet")


def test_late_joiner_gets_the_last_result(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    for name in ("a", "b", "c"):
        rig.command(name)
        rig.results.wait_for(name)
    late = rig.open("late")
    inbox = Inbox(late, rig.name_of("~/result"), "vl2_ros/msg/VisionResult", LATCHED)
    inbox.wait_for("c")
    # On a node of its own: beside the other, Cyclone 0.10 also gives it the last one.
    volatile = Inbox(rig.open("later"), rig.name_of("~/result"), "vl2_ros/msg/VisionResult", Qos())
    asked = (f"d{number}" for number in itertools.count())

    def is_received() -> bool:
        # Fast DDS takes seconds until a node that comes late in this process receives all.
        command_id = next(asked)
        rig.command(command_id)
        inbox.wait_for(command_id)
        time.sleep(0.02)
        return bool(volatile.list())

    wait_until(is_received, "the next result has come")
    assert all(one.command_id.startswith("d") for one in volatile.list())


def test_annotated_image_is_drawn_for_its_subscribers(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    raw, compressed = (rig.subscribe(f"~/annotated{end}") for end in ("", "/compressed"))

    def ask() -> bool:
        rig.ask("a")
        return bool(raw.list() and compressed.list())

    wait_until(ask, "both forms have come")
    image, packed = raw.list()[-1], compressed.list()[-1]
    assert (image.encoding, stamp_of(image), stamp_of(packed)) == ("rgb8", 1 * MS, 1 * MS)
    pixels = np.asarray(image.data).reshape(image.height, image.width, 3)
    decoded = cv2.imdecode(np.asarray(packed.data), cv2.IMREAD_COLOR)
    assert decoded.shape == pixels.shape
    assert np.abs(decoded[..., ::-1].astype(int) - pixels).mean() < 8
