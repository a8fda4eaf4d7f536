"""docs/cli.md lists the commands and options that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.console.commands import COMMANDS, ROOT, list_options
from vl2_ros.node.parameters import HearingParameters, NodeParameters

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.S)
EXAMPLES = [line for block in BLOCKS for line in block.splitlines()]
#: Options of the node's parameters have their own page.
OF_NODE = {
    "--" + name.replace("_", "-")
    for table in (NodeParameters, HearingParameters)
    for field in table.__dataclass_fields__
    for name in (field, field.removesuffix("s"))
}


def list_all_options() -> set[str]:
    return {option for name in COMMANDS for option, _ in list_options(name)}


def test_every_command_has_its_line():
    rows = re.findall(r"^\| `vl2 ([a-z0-9 -]+)` \| (.+) \|$", PAGE, flags=re.M)
    expected = [(name, one.help.partition("\n")[0]) for name, one in COMMANDS.items()]
    assert sorted(rows) == sorted(expected)


def test_every_option_is_in_an_example_or_explained():
    named = set(re.findall(r"--[a-z][a-z-]*", PAGE))
    negated = {one.replace("--no-", "--", 1) for one in named}
    assert list_all_options() - OF_NODE <= named | negated


def test_every_named_option_exists():
    there = list_all_options() | {"--help", *(one for two in ROOT.params for one in two.opts)}
    there |= {one.replace("--", "--no-", 1) for one in there}
    assert set(re.findall(r"--[a-z][a-z-]*", PAGE)) <= there


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_are_understood(line):
    program, *words = shlex.split(line)
    name = words.pop(0)
    name = name if name in COMMANDS else f"{name} {words.pop(0)}"
    assert program == "vl2"
    COMMANDS[name].make_context(name, words)


def test_every_group_of_ask_but_output_has_its_section():
    sections = set(re.findall(r"^## (\w+)", PAGE, flags=re.M))
    assert {panel for _, panel in list_options("ask")} - {"Output"} <= sections
