"""The commands about labelled data.

Everything heavy is imported inside the commands, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vl2_ros.console import display
from vl2_ros.console.groups import Panel, group_options
from vl2_ros.console.options import AsJson, Force, read_seeds
from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.datasets.checking import CheckedSet
    from vl2_ros.datasets.sources.labelled_source import LabelledSource

#: Classes of the printed table; the JSON has all.
_SHOWN_CLASSES = 40
#: Samples of a contact sheet.
_SHEET_SAMPLES = 12
#: They follow every routing token; the JSON has them.
_SLOTS = re.compile(r"(?:\[EMB\d*\])+")

data_app = typer.Typer(no_args_is_help=True, help="Look at labelled data, and render it.")


@dataclass(frozen=True, slots=True)
class LabelledData:
    """Which set, and how it is read."""

    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images; default: images beside PATH, else its folder."),
    ] = None
    kind: Annotated[
        str, typer.Option(help="Kind of source, as in a recipe; default: by what PATH contains.")
    ] = ""
    options: Annotated[
        tuple[str, ...],
        typer.Option("--option", metavar="NAME=VALUE", help="Option of the source; repeatable."),
    ] = ()
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail at the first bad record instead of skipping it.")
    ] = False


@data_app.command("check")
@group_options
def check(
    data: Annotated[LabelledData, Panel("Data")],
    path: Annotated[Path, typer.Argument(help="Index file, tar file or folder of a set.")],
    samples: Annotated[int, typer.Option(min=0, help="Samples whose text is printed.")] = 3,
    sheet: Annotated[
        Path | None, typer.Option(help="Contact sheet of samples to write, a PNG.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Read the index and a few images, not every image.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Read a set of labelled data and report counts, bad records by name, and samples."""
    from vl2_ros.datasets.checking import check_source

    if sheet is not None:
        _check_sheet(sheet, force)
    source, kind = _open_source(path, data)
    wanted = max(samples, _SHEET_SAMPLES if sheet is not None else 0)
    with display.show_progress("checking") as show:
        checked = check_source(source, examples=wanted, everything=not quick, progress=show)
    if sheet is not None:
        from vl2_ros.console.data.contact_sheet import write_sheet

        write_sheet(checked.examples[:_SHEET_SAMPLES], sheet)
    document = _describe(path, kind, source, checked, samples, sheet)
    if as_json:
        display.print_json(document)
    else:
        _print(document)
    for line in source.report.list_warnings():
        display.show_note(line)


@data_app.command("render")
@group_options
def render(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the shards.")],
    seeds: Annotated[
        str,
        typer.Option(metavar="A:B", help="Scenes from A to B - 1; train on those below 1000000."),
    ] = "0:10000",
    furniture: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Models; default: those of Debian's sweethome3d-furniture."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep models that were read here; default: FOLDER."),
    ] = None,
    width: Annotated[int, typer.Option(help="Width of the images in pixels.")] = 320,
    height: Annotated[int, typer.Option(help="Height of the images in pixels.")] = 240,
) -> None:
    """Render household scenes into tar shards to train on; shards that are there are kept.

    Several processes may fill one folder, each with seeds of its own.
    """
    from vl2_ros.datasets.household.shards import render_shards

    with display.show_progress("rendering") as show:
        render_shards(
            folder,
            read_seeds(seeds),
            catalogues=furniture,
            cache=cache or folder / "models",
            width=width,
            height=height,
            progress=show,
        )


def _check_sheet(sheet: Path, force: bool) -> None:
    if sheet.suffix.lower() != ".png":
        raise InputError(f"a contact sheet must be a PNG, got {sheet}; name it *.png")
    if sheet.exists() and not force:
        raise InputError(f"{sheet} exists; choose another name or add --force")


def _open_source(path: Path, data: LabelledData) -> tuple[LabelledSource, str]:
    from vl2_ros.datasets.sources.source_table import guess_kind, name_path, read_source

    kind = data.kind or guess_kind(path)
    settings: dict[str, Any] = {"kind": kind, name_path(kind): path, "strict": data.strict}
    if data.images is not None:
        settings["images"] = data.images
    for one in data.options:
        name, sign, value = one.partition("=")
        if not sign:
            raise InputError(f"an option must be written name=value, got {one!r}")
        settings[name] = _read_value(value)
    return read_source(settings, Path()), kind


def _read_value(text: str) -> Any:
    """Return a value of JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _describe(
    path: Path,
    kind: str,
    source: LabelledSource,
    checked: CheckedSet,
    samples: int,
    sheet: Path | None,
) -> dict[str, Any]:
    from vl2_ros.datasets.checking import describe_sample
    from vl2_ros.processing.config import ProcessingConfig

    report = source.report.describe()
    return {
        "path": str(path),
        "kind": kind,
        "samples": len(source),
        "read_in_full": checked.checked,
        "lossy": source.report.is_lossy,
        **report,
        "classes": checked.classes,
        "sheet": None if sheet is None else str(sheet.resolve()),
        "examples": [
            describe_sample(one, ProcessingConfig()) for one in checked.examples[:samples]
        ],
    }


def _print(document: dict[str, Any]) -> None:
    shown = ("path", "kind", "samples", "read_in_full", "records", "notes", "sheet")
    facts = {name: document[name] for name in shown if document[name] not in (None, {})}
    display.print_facts(facts)
    rows = [{"class": name, "objects": count} for name, count in document["classes"].items()]
    display.print_rows(rows[:_SHOWN_CLASSES])
    if len(rows) > _SHOWN_CLASSES:
        display.print_text(f"and {len(rows) - _SHOWN_CLASSES} more classes; --json has all")
    for one in document["examples"]:
        labels = ", ".join(f"{count} {name}" for name, count in one["labels"].items())
        display.print_text(f"\n{one['record']} ({one['trains']}): {labels or 'no objects'}")
        for turn in one["rounds"]:
            text = f"USER: {turn['question']}\nASSISTANT: {turn['answer']}"
            display.print_text(_SLOTS.sub("", text))
    rows = [
        {"skipped": bad["count"], "of": bad["unit"], "reason": bad["reason"], "names": name}
        for bad in document["bad"]
        for name in bad["names"]
    ]
    display.print_rows(rows)
