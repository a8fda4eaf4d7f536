"""The package as colcon installs it, used by ROS 2's own commands, with the embedded model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import choose_domain
from tests.ros.installed.robot import PATIENCE_S, Robot
from tests.ros.workspace import REPOSITORY, build_workspace, run_colcon_test, run_in_ros

pytestmark = [pytest.mark.ros, pytest.mark.slow]

IMAGE = "/camera/image_raw"
BAG = REPOSITORY / "vl2_ros" / "embedded" / "demo" / "tabletop.mcap"
#: Asks about the first image of a recording, without the torch fallback.
FRONT_DOOR = """
import sys, vl2
from vl2_ros.recordings.bag import read_frames
model = vl2.load(backend="onnxruntime", allow_fallback=False)
answer = model(next(read_frames(sys.argv[1])), "find every cube")
print(vl2.__file__, model.info.backend, *[route.name for route in answer.routes], sep="\\n")
"""


@pytest.fixture(scope="module")
def robot() -> Iterator[Robot]:
    robot = Robot(choose_domain())
    robot.start("ros2", "launch", "vl2_ros", "perception.launch.py", f"image:={IMAGE}")
    robot.start(
        *("ros2", "run", "vl2_ros", "vl2", "camera", str(BAG), "--transport", "ros"),
        *("--onto", IMAGE, "--loop"),
    )
    robot.wait_for_state("active")
    yield robot
    said = robot.close()
    assert "Traceback" not in said, said
    assert "configured: model embedded" in said


def test_graph_shows_node_topics_types_and_parameters(robot):
    assert "/vl2" in robot.ros2("node", "list").split()
    topics = robot.ros2("topic", "list", "-t")
    assert "/vl2/result [vl2_ros/msg/VisionResult]" in topics
    assert f"{IMAGE}/compressed [sensor_msgs/msg/CompressedImage]" in topics
    assert "score_threshold" in robot.ros2("param", "list", "/vl2")
    assert "/vl2/perceive [vl2_ros/action/Perceive]" in robot.ros2("action", "list", "-t")


def test_topic_echo_shows_a_result(robot):
    listener = robot.start("ros2", "topic", "echo", "--once", "--full-length", "/vl2/result")
    robot.ros2(
        *("topic", "pub", "--once", "--wait-matching-subscriptions", "1", "/vl2/vision_command"),
        *("vl2_ros/msg/VisionCommand", "{id: mine, text: find every cube, deadline_s: 60.0}"),
    )
    said, _ = listener.communicate(timeout=PATIENCE_S)
    assert "command_id: mine" in said
    assert "- detect" in said
    assert re.search(r"^raw_text: .*\[DET\]", said, flags=re.M)


def test_action_sends_feedback_and_result(robot):
    goal = "{command: {text: segment every cube, deadline_s: 60.0}}"
    said = robot.ros2(
        "action", "send_goal", "--feedback", "/vl2/perceive", "vl2_ros/action/Perceive", goal
    )
    assert "Feedback:" in said and "stage: language" in said
    assert "Goal finished with status: SUCCEEDED" in said
    assert "- segment" in said


def test_action_is_canceled_on_request(robot):
    # A camera that never comes keeps the goal waiting until its deadline.
    for transition in ("deactivate", "cleanup"):
        robot.ros2("lifecycle", "set", "/vl2", transition)
    robot.ros2("param", "set", "/vl2", "cameras", "['image', 'absent']")
    for transition in ("configure", "activate"):
        robot.ros2("lifecycle", "set", "/vl2", transition)
    goal = "{command: {text: find it, camera: absent, deadline_s: 100.0}}"
    sender = robot.start(
        "ros2", "action", "send_goal", "/vl2/perceive", "vl2_ros/action/Perceive", goal
    )
    for line in sender.stdout:
        if line.startswith("Goal accepted"):
            break
    robot.ros2("service", "call", "/vl2/perceive/_action/cancel_goal", "action_msgs/srv/CancelGoal")
    said, _ = sender.communicate(timeout=PATIENCE_S)
    assert "Goal finished with status: CANCELED" in said, said
    assert "message: stopped on request" in said


def test_parameters_are_set_live_or_refused_with_the_reason(robot):
    assert "successful" in robot.ros2("param", "set", "/vl2", "score_threshold", "0.5")
    assert "0.5" in robot.ros2("param", "get", "/vl2", "score_threshold")
    refused = robot.ros2("param", "set", "/vl2", "queue_size", "3")
    assert "queue_size does not change while the node is configured" in refused
    assert "0..1" in robot.ros2("param", "describe", "/vl2", "score_threshold")


def test_states_change_by_command(robot):
    for transition, state in (
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
        ("configure", "inactive"),
        ("activate", "active"),
    ):
        assert "successful" in robot.ros2("lifecycle", "set", "/vl2", transition)
        robot.wait_for_state(state)


def test_services_by_command(robot):
    said = robot.ros2("service", "call", "/vl2/get_info", "vl2_ros/srv/GetInfo")
    assert "model='embedded'" in said and "version='0.1.0'" in said


@pytest.mark.parametrize("transport", ["dds", "ros"])
def test_vl2_send_asks_from_either_transport(robot, transport):
    said = robot.ros2(
        *("run", "vl2_ros", "vl2", "send", "find every cube", "--json"),
        *("--transport", transport, "--timeout", "60", "--deadline", "60"),
    )
    answer = json.loads(said)
    assert (answer["status"], answer["routes"]) == ("OK", ["[DET]"])
    assert answer["model"] == "embedded"


def test_node_that_is_killed_comes_back_and_answers(robot):
    """As one that crashes: launch starts it again, and it configures itself."""
    killed = robot.find_node()
    os.kill(killed, signal.SIGKILL)
    robot.wait_for_node(other_than=killed)
    said = robot.ros2(
        *("run", "vl2_ros", "vl2", "send", "find every cube", "--json"),
        *("--transport", "ros", "--timeout", "60", "--deadline", "60"),
    )
    assert json.loads(said)["status"] == "OK"


def test_launch_test_of_the_demo_passes(dds_domain):
    launch_test = shutil.which("launch_test")
    assert launch_test, "launch_testing is missing: install ros-jazzy-launch-testing-ros"
    file = Path(__file__).with_name("launch_perception.py")
    done = run_in_ros([launch_test, str(file)], timeout_s=300, domain_id=dds_domain)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Ran 3 tests.*?OK", done.stdout + done.stderr, flags=re.S)


def test_colcon_test_runs_a_quick_set():
    results = run_colcon_test()
    suites = [ElementTree.parse(path).getroot() for path in results.rglob("*.xunit.xml")]
    counts = [
        {name: int(one.get(name)) for name in ("tests", "failures", "errors")}
        for suite in suites
        for one in suite.iter("testsuite")
    ]
    assert len(counts) == 5 and all(one["tests"] > 0 for one in counts), counts
    assert not any(one["failures"] or one["errors"] for one in counts), counts


def test_symlink_install_works_and_builds_again():
    prefix = build_workspace(symlink=True)
    (package,) = prefix.glob("lib/python3*/site-packages/vl2_ros")
    stale = package / "stale.py"
    stale.symlink_to("removed.py")
    build_workspace.cache_clear()
    assert build_workspace(symlink=True) == prefix
    assert not stale.is_symlink()
    assert (package / "errors.py").is_symlink()
    assert (package / "msg" / "__init__.py").is_file()
    assert (package / "wire" / "msg" / "VisionResult.msg").is_file()
    check = "import vl2_ros.msg, vl2_ros.cli; print(vl2_ros.msg.VisionResult().status)"
    done = run_in_ros(["python3", "-c", check], domain_id=1, symlink=True)
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


@pytest.mark.parametrize("symlink", [False, True])
def test_front_door_is_installed_and_runs_the_shipped_engines(symlink):
    """Of a symlink install too, whose graphs and weights are links into the sources."""
    prefix = build_workspace(symlink=symlink)
    done = run_in_ros(["python3", "-c", FRONT_DOOR, str(BAG)], domain_id=1, symlink=symlink)
    assert done.returncode == 0, done.stderr
    file, *printed = done.stdout.splitlines()
    assert prefix in Path(file).parents
    assert printed == ["onnxruntime", "DETECT"]
