"""The services by messages of the type library; over ROS 2 they are tested in tests/ros."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.service_calls import SERVICES, ServiceCalls
from vl2_ros.structures import Route
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


def call(calls: ServiceCalls, name: str, **fields):
    type_name = SERVICES[f"~/{name}"]
    return calls.call(type_name, TYPES.make(f"{type_name}_Request", **fields))


def make_command(**fields):
    return TYPES.make("vl2_ros/msg/VisionCommand", **({"text": "find it"} | fields))


def test_watch_is_started_listed_and_stopped(rig):
    rig.start(max_watches=1)
    calls = ServiceCalls(TYPES, lambda: rig.server, "9.9")
    started = call(
        calls, "watch", command=make_command(id="w", rate_hz=5.0, duration_s=60.0, watch_mode=3)
    )
    assert (started.accepted, started.id, started.message) == (True, "w", "")
    (state,) = call(calls, "list_watches").watches
    assert (state.id, state.text, state.rate_hz, state.result_count) == ("w", "find it", 5.0, 0)
    assert state.watch_mode == 3
    assert 50.0 < state.remaining_s <= 60.0
    camera = rig.open_camera()
    rig.show(camera, 1)
    assert rig.results.wait_for("w")[0].status == Status.OK
    assert call(calls, "stop", id="w").stopped == 1
    assert rig.results.wait_for("w", 2)[1].status == Status.ENDED
    nothing = call(calls, "stop", id="w")
    assert (nothing.stopped, "nothing to stop" in nothing.message) == (0, True)


def test_stopping_everything_can_be_switched_off(rig):
    rig.start(allow_stop_all=False)
    calls = ServiceCalls(TYPES, lambda: rig.server, "9.9")
    call(calls, "watch", command=make_command(id="w"))
    refused = call(calls, "stop")
    assert (refused.stopped, "allow_stop_all" in refused.message) == (0, True)
    assert call(calls, "stop", id="w").stopped == 1
    rig.server.node.change_parameters(NodeParameters(allow_stop_all=True))
    assert "no command is there" in call(calls, "stop").message


def test_refused_watch_says_why_and_publishes_its_result(rig):
    rig.start(max_watches=0)
    calls = ServiceCalls(TYPES, lambda: rig.server, "9.9")
    full = call(calls, "watch", command=make_command(id="w"))
    assert (full.accepted, full.id) == (False, "w")
    assert "at most 0" in full.message
    bad = call(calls, "watch", command=make_command(id="v", text="", mode=int(Mode.ASK)))
    assert not bad.accepted and "is empty" in bad.message
    odd = call(calls, "watch", command=make_command(id="u", watch_mode=9))
    assert not odd.accepted and "watch_mode must be one of" in odd.message
    assert rig.results.wait_for("w")[0].status == Status.BUSY
    assert rig.results.wait_for("v")[0].status == Status.INVALID


def test_info_reports_the_model(rig):
    rig.start(cameras=("left", "right"))
    info = call(ServiceCalls(TYPES, lambda: rig.server, "9.9"), "get_info")
    assert (info.version, info.model, info.model_identity) == ("9.9", "scripted", "0123abcd")
    assert (info.backend, info.device, info.cameras) == ("numpy", "cpu", ["left", "right"])
    assert info.routes == [route.name.lower() for route in Route]


def test_node_that_is_not_there_or_not_active_says_so(rig):
    rig.start()
    missing = ServiceCalls(TYPES, lambda: None, "9.9")
    assert call(missing, "get_info").version == "9.9"
    rig.server.stop()
    for calls in (missing, ServiceCalls(TYPES, lambda: rig.server, "9.9")):
        refused = call(calls, "watch", command=make_command())
        assert not refused.accepted and "not active" in refused.message
        assert "not active" in call(calls, "stop").message
        assert call(calls, "list_watches").watches == []
