from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from vl2_ros.cli import app
from vl2_ros.node.cameras.camera_input import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from vl2_ros.node.cameras.depth_input import CAMERA_INFO_TYPE, DEPTH_TYPE
from vl2_ros.node.messages.result_messages import RESULT_TOPICS
from vl2_ros.node.parameters import NodeParameters, ProcessParameters
from vl2_ros.node.request import Status
from vl2_ros.node.result_output import ANNOTATED, ANNOTATED_COMPRESSED
from vl2_ros.node.server import (
    COMMAND_TOPIC,
    COMMAND_TYPE,
    DIAGNOSTICS_TOPIC,
    DIAGNOSTICS_TYPE,
    VISION_COMMAND_TOPIC,
    VISION_COMMAND_TYPE,
)
from vl2_ros.node.service_calls import ACTION_NAME, ACTION_TYPE, SERVICES
from vl2_ros.parameter_table import note_of

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
ARCHITECTURE = (REPOSITORY / "ARCHITECTURE.md").read_text()


def find_commands(text: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.S)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def find_trees() -> list[str]:
    """Read the trees of the section "Folders": what is at the root, and the package."""
    (section,) = re.findall(r"## Folders\n(.*)", ARCHITECTURE, flags=re.S)
    return re.findall(r"```\n(.*?)```", section, flags=re.S)


def draw_package_tree() -> str:
    """Draw the folders of the package with the first line of each `__init__.py`."""
    package, lines = REPOSITORY / "vl2_ros", []
    for path in sorted(package.rglob("__init__.py"), key=lambda path: path.parent.parts):
        folder = path.parent.relative_to(package)
        text = ast.get_docstring(ast.parse(path.read_text()))
        name = "  " * len(folder.parts) + (folder.name or "vl2_ros") + "/"
        lines.append(f"{name:28}  {text.splitlines()[0]}\n")
    return "".join(lines)


def list_rows(heading: str) -> list[list[str]]:
    """Read the cells of the README's table that begins with `heading`, without its first rows."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, flags=re.M)
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in table.splitlines()]


def write_default(item: dataclasses.Field) -> str:
    return ", ".join(item.default) if isinstance(item.default, tuple) else str(item.default)


def test_parameter_table_is_true():
    expected = []
    for item in dataclasses.fields(NodeParameters):
        note = note_of(item.name, NodeParameters)
        bounds = "" if note.least is None else f"{note.least:g} to {note.most:g}"
        values = ", ".join(note.choices) or bounds
        live = "yes" if note.live else "no"
        expected.append([f"`{item.name}`", write_default(item), values, live, note.text])
    assert list_rows("parameter") == expected


def test_process_parameter_table_is_true():
    expected = [
        [f"`{item.name}`", write_default(item), note_of(item.name, ProcessParameters).text]
        for item in dataclasses.fields(ProcessParameters)
    ]
    assert list_rows("process parameter") == expected


def test_interface_table_is_true():
    told = {
        tuple(re.fullmatch("`(.+)` (action|service)", name).groups()): kind
        for name, kind, _ in list_rows("interface")
    }
    there = {(name, "service"): kind for name, kind in SERVICES.items()}
    there[ACTION_NAME, "action"] = ACTION_TYPE
    assert told == {
        key: kind.replace("/srv/", "/").replace("/action/", "/") for key, kind in there.items()
    }


def test_topic_table_is_true():
    told = {}
    for topics, types, _ in list_rows("topic"):
        for topic, kind in zip(re.findall("`(.+?)`", topics), types.split(", "), strict=True):
            told[topic] = kind
    there = {
        topic.name: topic.type_name for topic in (*RESULT_TOPICS, ANNOTATED, ANNOTATED_COMPRESSED)
    }
    there[COMMAND_TOPIC] = COMMAND_TYPE
    there[VISION_COMMAND_TOPIC] = VISION_COMMAND_TYPE
    there[DIAGNOSTICS_TOPIC] = DIAGNOSTICS_TYPE
    there["image"], there["image/compressed"] = IMAGE_TYPE, COMPRESSED_IMAGE_TYPE
    there["camera_info"], there["depth"] = CAMERA_INFO_TYPE, DEPTH_TYPE
    assert told == {topic: kind.replace("/msg/", "/") for topic, kind in there.items()}


def test_readme_names_every_status_of_a_refusal():
    for status in set(Status) - {Status.OK, Status.ENDED}:
        assert f"`{status.name}`" in README


def test_readme_names_the_two_commands():
    commands = find_commands(README)
    assert "make demo" in commands and "make test" in commands


@pytest.mark.parametrize("line", [c for c in find_commands(README) if c.startswith("make ")])
def test_make_targets_exist(line):
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in line.split()[1:]:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


@pytest.mark.parametrize("line", [c for c in find_commands(README) if c.startswith("vl2 ")])
def test_vl2_commands_take_these_arguments(line):
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words)


def test_readme_commands_are_of_a_known_kind():
    for line in find_commands(README):
        assert line.split()[0] in ("make", "vl2", "source", "colcon", "ros2"), line


def test_extras_named_in_the_readme_exist():
    setup = (REPOSITORY / "setup.py").read_text()
    for extras in re.findall(r"pip install '\.\[([^\]]+)\]'", README):
        for extra in extras.split(","):
            assert f'"{extra}": ' in setup


def test_python_of_the_readme_names_what_exists():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vl2_ros"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("text", [README, ARCHITECTURE], ids=["README", "ARCHITECTURE"])
def test_links_lead_to_files(text):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (REPOSITORY / target).exists(), target


def test_package_tree_is_true():
    assert find_trees()[1] == draw_package_tree()


def test_other_folders_exist():
    folders: dict[int, str] = {}
    for line in find_trees()[0].splitlines():
        indent, names = re.match(r"( *)((?:\S+ )*\S+)  ", line).groups()
        for name in re.split(r"[, ]+", names):
            level = len(indent) // 2
            path = folders.get(level - 1, "") + name
            assert (REPOSITORY / path).exists(), path
            if name.endswith("/"):
                folders[level] = path


def test_versions_agree():
    (version,) = re.findall(r'version="([^"]+)"', (REPOSITORY / "setup.py").read_text())
    assert f"<version>{version}</version>" in (REPOSITORY / "package.xml").read_text()
    assert f"\n{version} " in (REPOSITORY / "CHANGELOG.rst").read_text()


def test_torch_is_pinned_everywhere_the_same():
    pin = "torch==2.13.0"
    for name in ("setup.py", "constraints.txt", "Makefile"):
        assert pin in (REPOSITORY / name).read_text(), name
