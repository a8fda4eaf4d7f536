"""Launch files: arguments and parameter file, DDS settings, rviz, several nodes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.node.wire import wait_until
from tests.ros.installed.robot import PATIENCE_S, Robot
from tests.ros.workspace import REPOSITORY, run_in_ros

pytestmark = pytest.mark.ros

#: A value of each parameter that has an argument, none of them a default.
IN_FILE = {
    "weights": "/robots/weights",
    "device": "cuda:1",
    "backend": "tensorrt",
    "autostart": False,
    "cameras": ["left", "right"],
    "depth_topics": ["left_depth", "right_depth"],
    "image_transport": "compressed",
    "image_reliability": "reliable",
    "use_sim_time": True,
}
#: Arguments as they are written, and what they set.
GIVEN = {
    "weights": ("12", "12"),
    "device": ("cpu", "cpu"),
    "backend": ("onnxruntime", "onnxruntime"),
    "autostart": ("false", False),
    "cameras": ("[/front/image_raw, '/back/image_raw']", ["/front/image_raw", "/back/image_raw"]),
    "depth_topics": (",/back/depth", ["", "/back/depth"]),
    "image_transport": ("raw", "raw"),
    "image_reliability": ("best_effort", "best_effort"),
    "use_sim_time": ("False", False),
}
#: Settings that do nothing special, for either middleware.
OWN_CYCLONE = '<CycloneDDS><Domain Id="any"></Domain></CycloneDDS>'
OWN_FAST = '<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"><profiles/></dds>'
VARIABLES = ("CYCLONEDDS_URI", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

Launch = Callable[..., Robot]


@pytest.fixture
def launch(dds_domain, monkeypatch) -> Iterator[Launch]:
    """Launch a file of the package with arguments, in an environment with further variables."""
    robots: list[Robot] = []
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def launch(file: str, *arguments: str, **variables: str) -> Robot:
        robots.append(Robot(dds_domain, **variables))
        robots[-1].start("ros2", "launch", "vl2_ros", file, *arguments)
        return robots[-1]

    yield launch
    for robot in robots:
        robot.close()


def write_parameters(folder: Path, node: str) -> str:
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump({node: {"ros__parameters": IN_FILE}}))
    return f"params_file:={path}"


@pytest.mark.parametrize("section", ["/**", "/vl2"])
def test_parameter_file_sets_what_no_argument_sets(launch, client, tmp_path, section):
    launch("perception.launch.py", write_parameters(tmp_path, section))
    assert {name: client.get_parameter(name) for name in IN_FILE} == IN_FILE


@pytest.mark.parametrize("section", ["/**", "/vl2"])
def test_argument_goes_before_the_parameter_file(launch, client, tmp_path, section):
    arguments = [f"{name}:={text}" for name, (text, _) in GIVEN.items()]
    launch("perception.launch.py", write_parameters(tmp_path, section), *arguments)
    assert {name: client.get_parameter(name) for name in GIVEN} == {
        name: value for name, (_, value) in GIVEN.items()
    }


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("params_file:=/missing.yaml", "must be an existing file of parameters, got '/missing"),
        ("autostart:=no", "autostart must be true or false, got 'no'"),
        ("dds_settings:=maybe", "dds_settings must be true or false, got 'maybe'"),
    ],
)
def test_wrong_argument_is_an_error(dds_domain, argument, reason):
    """Without its file a node would start with other weights than were asked for."""
    words = ["ros2", "launch", "vl2_ros", "perception.launch.py", argument]
    done = run_in_ros(words, timeout_s=PATIENCE_S, domain_id=dds_domain)
    assert done.returncode != 0 and reason in done.stdout + done.stderr


def test_speech_starts_a_hearing_node_for_the_node_by_its_name(launch):
    arguments = ("speech:=true", "audio:=/mic", "wake_phrase:=hey robot")
    names = ("name:=eyes", "namespace:=/robot", "autostart:=false")
    robot = launch("perception.launch.py", *arguments, *names)
    values = {"node": "eyes", "wake_phrase": "hey robot", "autostart": "False"}

    def has_values() -> bool:
        try:
            read = {
                name: robot.ros2("param", "get", "/robot/eyes_hearing", name) for name in values
            }
        except AssertionError:
            return False
        return all(value in read[name] for name, value in values.items())

    wait_until(has_values, "the hearing node has its parameters")
    assert "unconfigured" in robot.ros2("lifecycle", "get", "/robot/eyes_hearing")


def read_environment(process: int) -> dict[str, str]:
    words = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def list_segments(process: int) -> list[int]:
    """Return the sizes in bytes of the shared memory of Fast DDS in a process."""
    lines = Path(f"/proc/{process}/maps").read_text().splitlines()
    spans = [line.split()[0] for line in lines if re.search(r"/dev/shm/fastrtps_[0-9a-f]+$", line)]
    return [int(end, 16) - int(begin, 16) for begin, end in (one.split("-") for one in spans)]


def test_node_has_the_dds_settings_of_the_package(launch):
    robot = launch("perception.launch.py", "autostart:=false")
    node = robot.wait_for_node()
    environment = read_environment(node)
    files = {environment[name].removeprefix("file://") for name in VARIABLES}
    assert {Path(path).name for path in files} == {"cyclonedds.xml", "fastdds.xml"}
    assert all(Path(path).is_file() for path in files)
    if os.environ.get("RMW_IMPLEMENTATION") == "rmw_fastrtps_cpp":
        wait_until(lambda: max(list_segments(node), default=0) >= 32 << 20, "the segment is there")


@pytest.mark.parametrize("own", [*VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS"])
def test_own_dds_settings_of_the_user_stay(launch, tmp_path, own):
    file = tmp_path / "own.xml"
    file.write_text(OWN_CYCLONE if own == "CYCLONEDDS_URI" else OWN_FAST)
    value = "UDPv4" if own == "FASTDDS_BUILTIN_TRANSPORTS" else str(file)
    value = f"file://{file}" if own == "CYCLONEDDS_URI" else value
    robot = launch("perception.launch.py", "autostart:=false", **{own: value})
    environment = read_environment(robot.wait_for_node())
    others = VARIABLES[1:] if own == "CYCLONEDDS_URI" else VARIABLES[:1]
    assert environment[own] == value
    assert {name for name in VARIABLES if name in environment} == {*others, own} & {*VARIABLES}


def test_dds_settings_are_left_alone_on_request(launch):
    robot = launch("perception.launch.py", "autostart:=false", "dds_settings:=false")
    assert not read_environment(robot.wait_for_node()).keys() & {*VARIABLES}


def make_rviz(folder: Path) -> dict[str, str]:
    """Install a program that takes the place of rviz2 and keeps a copy of its configuration."""
    program = folder / "lib" / "rviz2" / "rviz2"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\ncp "$2" {folder}/part && mv {folder}/part {folder}/shown\n')
    program.chmod(0o755)
    index = folder / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "rviz2").touch()
    return {"AMENT_PREFIX_PATH": f"{os.environ['AMENT_PREFIX_PATH']}:{folder}"}


def list_topics(rviz_file: Path) -> set[str]:
    displays = yaml.safe_load(rviz_file.read_text())["Visualization Manager"]["Displays"]
    return {one["Topic"]["Value"] for one in displays if "Topic" in one}


def test_rviz_shows_the_topics_of_the_node_by_its_name(launch, tmp_path):
    arguments = ("autostart:=false", "namespace:=robot", "name:=eyes")
    launch("demo.launch.py", *arguments, **make_rviz(tmp_path))
    wait_until((tmp_path / "shown").exists, "rviz has its configuration")
    shown = list_topics(tmp_path / "shown")
    installed = list_topics(REPOSITORY / "launch" / "perception.rviz")
    assert installed and shown == {one.replace("/vl2/", "/robot/eyes/") for one in installed}


@pytest.mark.skipif(bool(shutil.which("rviz2")), reason="ros: rviz2 is installed")
def test_demo_runs_without_rviz(launch, client):
    robot = launch("demo.launch.py", "autostart:=false")
    assert client.get_state() == "unconfigured"
    said = robot.close()
    assert said.count("rviz2 is not installed, so nothing is drawn") == 1, said
    assert "Caught exception" not in said and "ending; what runs is brought to its end" in said


@pytest.mark.slow
def test_two_nodes_in_one_launch_answer_apart(dds_domain):
    launch_test = shutil.which("launch_test")
    assert launch_test, "launch_testing is missing: install ros-jazzy-launch-testing-ros"
    file = Path(__file__).with_name("launch_two_nodes.py")
    done = run_in_ros([launch_test, str(file)], timeout_s=300, domain_id=dds_domain)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Ran 2 tests.*?OK", done.stdout + done.stderr, flags=re.S)
