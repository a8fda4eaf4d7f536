"""Text of strangers forges no line of the log and steers no terminal."""

from __future__ import annotations

import logging

import pytest

from tests.node.stepwise_perceiver import StepwisePerceiver, ask, make_image, running_node
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.errors import EngineError
from vl2_ros.node.request import Status

FORGED = "a\n[ERROR] [1700000000.0] [vl2]: battery on fire\x1b[2J\u202e"


@pytest.mark.parametrize(
    "fields",
    [
        {"camera": FORGED},
        {"text": ""},
        {"mode": 9},
        {"rate_hz": -1.0},
        {"image_options": {"scheduler": FORGED}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_refused_command_is_one_line_of_the_log(caplog, fields):
    rig = Rig(MemoryHarness())
    rig.start()
    options = fields.pop("image_options", None)
    if options:
        fields = {"image_options": rig.client.types.make("vl2_ros/msg/ImageOptions", **options)}
    with caplog.at_level(logging.WARNING):
        rig.command(FORGED, **fields)
        rig.results.wait(1, lambda message: message.status == Status.INVALID)
        rig.close()
    (line,) = [one for one in caplog.messages if "INVALID" in one]
    assert line.isprintable()
    assert "battery on fire" in line


def test_what_a_perceiver_says_is_one_line_of_the_log(caplog):
    perceiver = StepwisePerceiver({"break": EngineError(FORGED)})
    with running_node(perceiver) as (node, log), caplog.at_level(logging.WARNING):
        node.put_image("image", make_image(1))
        node.submit(ask(FORGED, "break"))
        log.wait_for(1)
    (line,) = [one for one in caplog.messages if "battery" in one]
    assert line.isprintable()
