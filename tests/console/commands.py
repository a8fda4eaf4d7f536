"""The commands of `vl2` as its parser knows them."""

from __future__ import annotations

import typer.main

from vl2_ros.cli import app

ROOT = typer.main.get_command(app)


def _find_commands() -> dict:
    """Return each command by its words, such as "eval coco"."""
    found = {}
    for name, command in ROOT.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            found[name] = command
        else:
            found |= {f"{name} {one}": it for one, it in inner.items()}
    return found


COMMANDS = _find_commands()


def list_options(name: str) -> list[tuple[str, str | None]]:
    """List the shown options of a command, each with the panel of its help."""
    return [
        (max(one.opts, key=len), one.rich_help_panel)
        for one in COMMANDS[name].params
        if one.param_type_name == "option" and not one.hidden and one.name != "help"
    ]
