"""Groups of options: a command takes frozen dataclasses and has an option for each of their fields.

A field with a note of `parameter_table` becomes an option by it; other fields are annotated with
typer's own options.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo

from vl2_ros.parameter_table import ParameterNote, read_list, write_list


@dataclass(frozen=True, slots=True)
class Panel:
    """Where the help of a command lists a group of options.

    Attributes:
        name: heading; a note may name another one for its field.
        only: the fields that are options of the command, others keep their defaults; empty: all.
    """

    name: str
    only: tuple[str, ...] = ()


def group_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of its groups.

    A group is a parameter that is annotated as `Annotated[<frozen dataclass>, Panel(...)]`; the
    command is called with its values.
    """
    groups: dict[str, tuple[type, list[str]]] = {}
    plain: list[str] = []
    expanded: list[inspect.Parameter] = []
    # Evaluated here, as typer reads a signature that was set by hand as it is, strings and all.
    for one in inspect.signature(command, eval_str=True).parameters.values():
        table, *notes = get_args(one.annotation) or (None,)
        panels = [note for note in notes if isinstance(note, Panel)]
        if panels:
            options = _list_options(table, panels[0])
            groups[one.name] = table, [option.name for option in options]
            expanded += options
        else:
            plain.append(one.name)
            # typer calls by name, and an option may then come before one without a default.
            expanded.append(one.replace(kind=one.KEYWORD_ONLY))

    def run(**values: Any) -> None:
        made = {name: _make_group(*group, values) for name, group in groups.items()}
        command(**made, **{name: values[name] for name in plain})

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(expanded)  # type: ignore[attr-defined]
    return run


def write_options(group: Any) -> list[str]:
    """Write a group by notes as words of a command line; values that are defaults are skipped."""
    words = []
    for item in dataclasses.fields(group):
        value, option = getattr(group, item.name), name_option(item)
        if value == item.default:
            continue
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        else:
            for one in write_list(value) if isinstance(value, tuple) else (value,):
                words += [option, str(one)]
    return words


def name_option(item: dataclasses.Field) -> str:
    """Return the option of a field; one of several values is in the singular and repeated."""
    name = item.name.removesuffix("s") if isinstance(item.default, tuple) else item.name
    return f"--{name.replace('_', '-')}"


def complete(*choices: str) -> Callable[[str], list[str]]:
    """Make what a shell is offered for an option that has few values."""
    # typer finds the parameter by its name.
    return lambda incomplete: [one for one in choices if one.startswith(incomplete)]


def make_option(item: dataclasses.Field, panel: str = "") -> Any:
    """Make the annotation of an option from the note of a field."""
    note: ParameterNote = item.metadata["note"]
    kind: Any = list[str] if isinstance(item.default, tuple) else type(item.default)
    text = f"{note.text}."
    if note.choices:
        text = f"{text} One of {', '.join(note.choices)}."
    option = typer.Option(
        *([name_option(item)] if kind is not bool else []),
        help=text,
        metavar=note.metavar or None,
        rich_help_panel=note.panel or panel or None,
        autocompletion=complete(*note.choices) if note.choices else None,
        show_default=item.default not in ("", ()),
    )
    return Annotated[kind, option]


def _list_options(table: type, panel: Panel) -> list[inspect.Parameter]:
    hints = get_type_hints(table, include_extras=True)
    listed = []
    for item in dataclasses.fields(table):
        if panel.only and item.name not in panel.only:
            continue
        if "note" in item.metadata:
            annotation = make_option(item, panel.name)
        else:
            kind, own = get_args(hints[item.name])
            option: OptionInfo = copy(own)
            option.rich_help_panel = panel.name
            # typer knows only lists as options that may be repeated.
            kind = GenericAlias(list, get_args(kind)[0]) if get_origin(kind) is tuple else kind
            annotation = Annotated[kind, option]
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        listed.append(
            inspect.Parameter(
                item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        )
    return listed


def _make_group(table: type, names: Sequence[str], values: Mapping[str, Any]) -> Any:
    """Make a group from its own among the values of a command.

    Raises:
        ConfigError: if the table refuses a value.
    """
    # An empty text is an empty list where the table says so; elsewhere it is what was typed.
    noted = {item.name for item in dataclasses.fields(table) if "note" in item.metadata}
    own = {}
    for name in names:
        value = values[name]
        if isinstance(value, list):
            value = read_list(value) if name in noted else tuple(value)
        own[name] = value
    return table(**own)
