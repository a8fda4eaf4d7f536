"""ROS 2's own tools and the node: parameters dumped and loaded, events, interfaces as shown."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from tests.node.wire import PATIENCE_S, wait_until
from tests.ros.workspace import HERE, REPOSITORY, ros_environment, run_in_ros

pytestmark = pytest.mark.ros

INTERFACES = sorted(
    path.relative_to(REPOSITORY).with_suffix("").as_posix()
    for kind in ("msg", "srv", "action")
    for path in REPOSITORY.glob(f"{kind}/*.{kind}")
)


def run_param(domain_id: int, *words: str) -> str:
    done = subprocess.run(
        ["ros2", "param", *words, "--no-daemon", "--spin-time", "5"],
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_S,
        env=ros_environment(domain_id),
        cwd=HERE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_parameters_are_dumped_and_loaded_again(running, client, dds_domain, tmp_path):
    """While the node is active, too: what a load does not change is refused by nothing."""
    running.start(cameras=["left", "right"], depth_topics=["left_depth", "right_depth"])
    client.activate()
    assert client.set_parameter("score_threshold", 0.75).successful
    dumped = run_param(dds_domain, "dump", "/vl2")
    values = yaml.safe_load(dumped)["/vl2"]["ros__parameters"]
    assert (values["score_threshold"], values["cameras"]) == (0.75, ["left", "right"])
    assert client.set_parameter("score_threshold", 0.25).successful
    file = tmp_path / "dumped.yaml"
    file.write_text(dumped)
    said = run_param(dds_domain, "load", "/vl2", str(file))
    assert client.get_parameter("score_threshold") == 0.75
    ours = [line for line in said.splitlines() if "qos_overrides" not in line]
    refused = [line for line in ours if "failed" in line.lower()]
    # rclpy's own, which no node can change.
    assert all("start_type_description_service" in line for line in refused), said
    assert run_param(dds_domain, "dump", "/vl2") == dumped


def test_a_change_is_an_event_and_a_refusal_is_none(running, client):
    from rcl_interfaces.msg import ParameterEvent

    changed: list[str] = []

    def take(event: ParameterEvent) -> None:
        if event.node == "/vl2":
            changed.extend(one.name for one in event.changed_parameters)

    client.node.create_subscription(ParameterEvent, "/parameter_events", take, 100)
    running.start()
    client.activate()
    count = client.node.count_publishers
    wait_until(lambda: count("/parameter_events") >= 2, "the node's events are there")
    assert not client.set_parameter("queue_size", 3).successful
    assert not client.set_parameter("score_threshold", 7.0).successful

    def change() -> bool:
        # The first may be lost: discovery of an event's reader is no answer.
        assert client.set_parameter("max_watches", 7).successful
        return bool(changed)

    wait_until(change, "the change is an event")
    assert set(changed) == {"max_watches"}


@pytest.mark.slow
@pytest.mark.parametrize("name", INTERFACES)
def test_every_field_is_explained_where_ros2_shows_it(dds_domain, name):
    shown = run_in_ros(["ros2", "interface", "show", f"vl2_ros/{name}"], domain_id=dds_domain)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert re.match(r"# [A-Z].*\.$", lines[0]), "the first line says what it is"
    fields = [line for line in lines if line and line[0] not in "\t #-"]
    assert fields and all(re.search(r"\S\s+# \S", line) for line in fields), fields
