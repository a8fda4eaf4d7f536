from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from tests.console.commands import COMMANDS, ROOT, list_options
from vl2_ros.console.ask_command import ask
from vl2_ros.console.groups import Panel, group_options, write_options
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.load_options import LoadOptions
from vl2_ros.parameter_table import parameter


@dataclass(frozen=True)
class Noted:
    cups: tuple[str, ...] = parameter(("mug",), "Kinds of cups")
    is_full: bool = parameter(False, "Whether they are full")
    litres: float = parameter(0.5, "Litres of one cup", panel="Sizes")


@dataclass(frozen=True)
class Annotations:
    lids: Annotated[tuple[Path, ...], typer.Option("--lid", help="File of a lid.")] = ()
    colour: Annotated[str | None, typer.Option(help="Colour of all.")] = None


def make_app(seen: list):
    app = typer.Typer(add_completion=False)

    @app.command()
    @group_options
    def pour(
        what: Annotated[str, typer.Argument()],
        cups: Annotated[Noted, Panel("Cups", only=("cups", "litres"))],
        rest: Annotated[Annotations, Panel("Rest")],
        is_full: int = 1,
    ) -> None:
        """Pour something."""
        seen.append((what, cups, rest, is_full))

    return typer.main.get_command(app)


def call(*words: str) -> tuple:
    seen: list = []
    make_app(seen).main(list(words), standalone_mode=False)
    (one,) = seen
    return one


def test_a_command_gets_its_groups():
    assert call("tea") == ("tea", Noted(), Annotations(), 1)
    words = ("--cup", "bowl", "--cup", "glass", "--litres", "2", "--lid", "a", "--lid", "b")
    assert call("tea", *words, "--colour", "red", "--is-full", "3") == (
        "tea",
        Noted(cups=("bowl", "glass"), litres=2.0),
        Annotations(lids=(Path("a"), Path("b")), colour="red"),
        3,
    )


@pytest.mark.parametrize("cups", [(), ("", "bowl"), ("bowl", ""), ("", "")])
def test_lists_keep_their_places_and_may_be_empty(cups):
    noted = Noted(cups=cups)
    words = write_options(noted)
    assert len(words) == 2 * max(1, len(cups))
    assert call("tea", *words)[1] == noted


def test_options_stand_in_the_panel_of_their_group_or_note():
    command = make_app([])
    panels = {one.name: one.rich_help_panel for one in command.params if one.opts[0][0] == "-"}
    panels.pop("help", None)
    assert panels == {
        "cups": "Cups",
        "litres": "Sizes",
        "lids": "Rest",
        "colour": "Rest",
        "is_full": None,
    }


def test_a_field_that_is_no_option_keeps_its_default():
    _, cups, _, own = call("tea", "--is-full", "5")
    assert (cups.is_full, own) == (False, 5)


@pytest.mark.parametrize(
    "options",
    [
        LoadOptions(),
        LoadOptions("a folder", "cuda:1", "tensorrt", "engines", allow_fallback=False),
        LoadOptions(without=("pose_decoder", "image_editing"), memory_budget_mb=12.5),
        LoadOptions(cuda_graphs=False),
    ],
)
def test_options_that_are_written_are_read_back(options, monkeypatch):
    loaded = []

    def load(options):
        loaded.append(options)
        raise InputError("loaded")

    monkeypatch.setattr("vl2_ros.console.ask_command.load_model", load)
    with pytest.raises(InputError, match="loaded"):
        COMMANDS["ask"].main(["draw a mug", *write_options(options)], standalone_mode=False)
    assert loaded == [options]


def test_a_value_out_of_range_is_the_tables_error():
    with pytest.raises(ConfigError, match="backend must be one of auto, torch"):
        COMMANDS["ask"].main(["draw a mug", "--backend", "tvm"], standalone_mode=False)


def test_ask_has_six_panels_and_takes_few_parameters():
    panels = [panel for _, panel in list_options("ask")]
    assert list(dict.fromkeys(panels)) == ["Model", "Point", "Draw", "Output", "Ask", "Speech"]
    taken = inspect.signature(inspect.getclosurevars(ask).nonlocals["command"]).parameters
    assert len(taken) <= 7


@pytest.mark.parametrize("name", ["ask", "bag", "demo", "serve", "send", "echo", "camera"])
def test_every_option_of_asking_and_of_the_node_is_in_a_panel(name):
    assert all(panel for _, panel in list_options(name))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ask", "--backend", "t"], {"torch", "tensorrt", "tensorrt-rtx"}),
        (["serve", "--image-transport", ""], {"auto", "raw", "compressed"}),
        (["send", "--transport", ""], {"dds", "ros"}),
        (["bag", "--scheduler", "euler"], {"euler", "euler_ancestral"}),
        (["engines", "build", "--profile", "o"], {"orin"}),
        (["eva"], {"eval"}),
    ],
)
def test_a_shell_completes_commands_and_choices(words, expected, monkeypatch, capsys):
    monkeypatch.setenv("_VL2_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["vl2", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    with pytest.raises(SystemExit):
        ROOT.main([], prog_name="vl2")
    assert set(capsys.readouterr().out.split()) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_complete_choices(shell, monkeypatch, capsys):
    monkeypatch.setenv("_VL2_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "vl2 ask --format ")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    with pytest.raises(SystemExit):
        ROOT.main([], prog_name="vl2")
    assert {"json", "coco", "yolo", "labelstudio", "csv"} <= set(
        re.findall(r"\w+", capsys.readouterr().out)
    )
