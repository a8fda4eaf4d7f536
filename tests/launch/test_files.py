"""What lies in launch/ and in the ROS package's files agrees with the node; no ROS is needed."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml

from vl2_ros.node.annotated_output import ANNOTATED, ANNOTATED_COMPRESSED
from vl2_ros.node.messages.diagnostic_messages import Level
from vl2_ros.node.messages.result_messages import RESULT_TOPICS
from vl2_ros.node.parameters import NodeParameters, ProcessParameters
from vl2_ros.parameter_table import note_of

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCH = REPOSITORY / "launch"
#: Absolute topics of a node with its default name.
TOPICS = {
    topic.name.replace("~", "/vl2"): topic.type_name
    for topic in (*RESULT_TOPICS, ANNOTATED, ANNOTATED_COMPRESSED)
}


def test_parameter_file_has_every_parameter_with_its_default_unit_and_range():
    text = (LAUNCH / "perception.yaml").read_text()
    written = yaml.safe_load(text)["/**"]["ros__parameters"]
    there = {}
    comments = " ".join(re.findall(r"# (.*)", text))
    for table in (ProcessParameters, NodeParameters):
        for item in dataclasses.fields(table):
            default = item.default
            # The parser of ROS 2 takes no empty list.
            there[item.name] = (list(default) or [""]) if isinstance(default, tuple) else default
            note = note_of(item.name, table)
            assert note.text in comments, item.name
            if note.least is not None:
                assert f"{note.text} [{note.least:g} to {note.most:g}]" in comments
    assert written == there
    assert {name: type(value) for name, value in written.items()} == {
        name: type(value) for name, value in there.items()
    }


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.launch.py")), ids=lambda path: path.name)
def test_launch_files_are_short_and_say_what_their_arguments_are(path):
    text = path.read_text()
    assert len(text.splitlines()) < 80
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert not re.search(r"\b(eval|exec|subprocess|pip)\b", text)
    assert "generate_launch_description" in {getattr(one, "name", "") for one in tree.body}


def test_rviz_shows_topics_of_the_node():
    shown = yaml.safe_load((LAUNCH / "perception.rviz").read_text())
    displays = shown["Visualization Manager"]["Displays"]
    kinds = {
        one["Topic"]["Value"]: one["Class"].rpartition("/")[2] for one in displays if "Topic" in one
    }
    assert kinds == {
        "/vl2/annotated": "Image",
        "/vl2/label_image": "Image",
        "/vl2/markers": "MarkerArray",
        "/vl2/points": "PointCloud2",
    }
    # Points cost time and bandwidth, and are made for subscribers only.
    (points,) = (one for one in displays if one["Class"].endswith("PointCloud2"))
    assert points["Enabled"] is False
    assert kinds.keys() <= TOPICS.keys()


def test_foxglove_shows_topics_of_the_node():
    layout = json.loads((LAUNCH / "foxglove_layout.json").read_text())
    named = set(re.findall(r'"(/[a-z0-9_/]+)"', json.dumps(layout)))
    assert named - {"/diagnostics", "/vl2/command"} <= TOPICS.keys()
    panels = set(re.findall(r'"([A-Za-z0-9]+![a-z]+)"', json.dumps(layout["layout"])))
    assert panels == layout["configById"].keys()


def test_every_definition_is_generated_and_every_executable_installed():
    text = (REPOSITORY / "CMakeLists.txt").read_text()
    for kind in ("msg", "srv", "action"):
        there = {path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob(f"{kind}/*")}
        assert set(re.findall(rf"^  ({kind}/\S+)$", text, flags=re.M)) == there
    for path in (REPOSITORY / "scripts").iterdir():
        assert f"scripts/{path.name}" in text
        assert path.stat().st_mode & 0o111, f"{path} is not executable"
        assert len(path.read_text().splitlines()) < 12


def test_manifest_names_the_packages_of_every_message():
    manifest = (REPOSITORY / "package.xml").read_text()
    needed = {kind.partition("/")[0] for kind in TOPICS.values()} - {"vl2_ros"}
    for path in REPOSITORY.glob("msg/*.msg"):
        needed |= set(re.findall(r"^([a-z_]+)/\w+", path.read_text(), flags=re.M))
    for name in needed | {"diagnostic_msgs"}:
        assert f">{name}</" in manifest, name


def test_levels_are_those_of_the_message():
    from vl2_ros.transports.message_types import load_typestore

    status = load_typestore().types["diagnostic_msgs/msg/DiagnosticStatus"]
    assert {level.name: level.value for level in Level} == {
        name: getattr(status, name) for name in ("OK", "WARN", "ERROR", "STALE")
    }


#: What setup.py requires -> the key of rosdep for Ubuntu 22.04 and 24.04; None: it has none.
ROSDEP_KEYS = {
    "lz4": None,
    "mcap": None,
    "numpy": "python3-numpy",
    "onnxruntime": "python3-onnxruntime-pip",
    "opencv-python-headless": "python3-opencv",
    "pillow": "python3-pil",
    "rich": "python3-rich",
    "rosbags": "python3-rosbags-pip",
    "ruamel.yaml": "python3-ruamel.yaml",
    "safetensors": None,
    "scipy": "python3-scipy",
    "tokenizers": None,
    "typer": "python3-typer",
    "zstandard": None,
}


def test_manifest_names_every_key_of_rosdep_and_the_manual_the_rest():
    setup = (REPOSITORY / "setup.py").read_text()
    (block,) = re.findall(r"install_requires=\[(.*?)\]", setup, flags=re.S)
    assert set(re.findall(r'"([a-z.0-9-]+)[>=<]', block)) == ROSDEP_KEYS.keys()
    manifest = (REPOSITORY / "package.xml").read_text()
    keys = {key for key in ROSDEP_KEYS.values() if key}
    assert {*re.findall(r">(python3-[^<]+)</exec_depend>", manifest)} == keys
    manual = (REPOSITORY / "docs" / "node.md").read_text()
    (command,) = re.findall(r"^~/vl2_venv/bin/pip install .*$", manual, flags=re.M)
    for name in {name for name, key in ROSDEP_KEYS.items() if key is None}:
        assert f" {name}" in command, name
