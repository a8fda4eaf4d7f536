"""engines/README.md is right about graphs, profiles and commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from vl2_ros.cli import app
from vl2_ros.export.engine_profile import list_shipped_profiles, load_profile
from vl2_ros.model.graphs import DYNAMIC_AXES, GRAPHS, TensorSpec

README = (Path(__file__).resolve().parents[2] / "engines" / "README.md").read_text()


def list_rows(heading: str) -> list[list[str]]:
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, flags=re.M)
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in table.splitlines()]


def describe(tensors: tuple[TensorSpec, ...]) -> str:
    return "<br>".join(f"`{one.name}` ({', '.join(map(str, one.axes))})" for one in tensors)


def test_the_graph_table_is_that_of_the_code():
    assert list_rows("graph") == [
        [
            f"`{spec.name}`",
            describe(spec.inputs),
            describe(spec.outputs),
            ", ".join(f"{name} {share:g}" for name, share in spec.tolerance.items()),
        ]
        for spec in GRAPHS.values()
    ]


def test_every_axis_that_changes_is_named():
    (documented,) = re.findall(r"all but these: (.*?)\.\n", README, flags=re.S)
    assert re.findall("`(.+?)`", documented) == list(DYNAMIC_AXES)


def test_every_shipped_profile_is_documented_with_its_backend():
    backends = {"ONNX Runtime": "onnxruntime", "TensorRT": "tensorrt"}
    backends["TensorRT for RTX"] = "tensorrt-rtx"
    documented = {name.strip("`"): backends[kind] for name, kind, *_ in list_rows("profile")}
    shipped = list_shipped_profiles()
    assert documented == {name: load_profile(path).backend for name, path in shipped.items()}


@pytest.mark.parametrize("line", re.findall(r"vl2 engines \w+(?: --[^`\n]*)?", README))
def test_commands_take_these_arguments(line):
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    if command.name == "trust":
        words = ["0" * 64]
    command.make_context(command.name, words)
