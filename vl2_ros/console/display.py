"""What the command line shows: progress, tables, answers, overlays, a red line.

Progress and errors go to standard error, so that standard output stays clean for programs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vl2_ros.structures import Branch, Frame, Result
    from vl2_ros.transports.received_result import ReceivedResult


@contextmanager
def show_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error while the body runs; a terminal only sees it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def show_stages(what: str) -> Iterator[Callable[[str, float], None]]:
    """Show a bar whose words change on standard error while the body runs; for a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda stage, share: progress.update(task, description=stage, completed=share)


def print_text(content: RenderableType) -> None:
    """Print a sentence or a table as it is; no part of it is taken for markup."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    console.print(content, soft_wrap=isinstance(content, str), markup=False)


def print_json(document: Mapping[str, object]) -> None:
    """Print one line of JSON, at once also when a program reads it through a pipe."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def print_facts(document: Mapping[str, object]) -> None:
    """Print names and values in two columns."""
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, value in document.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {_format(part)}" for key, part in value.items())
        table.add_row(name, _format(value))
    print_text(table)


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table; the names of the first row head its columns."""
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None)
    for name in rows[0]:
        table.add_column(name, overflow="fold", min_width=len(name))
    for row in rows:
        table.add_row(*("-" if value is None else _format_cell(value) for value in row.values()))
    print_text(table)


def _format_cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _format(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_format(part) for part in value)
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def list_found(result: Result) -> str:
    """List one instance a line: label, score, box and mask size."""
    lines = []
    for branch in result.branches:
        found = branch.detections
        if not len(found):
            lines.append(f"{branch.route.value} nothing above the threshold")
        for index, (box, score, label) in enumerate(found):
            corners = " ".join(f"{value:.0f}" for value in box)
            mask = "" if found.masks is None else f", {int(found.masks[index].sum())} px"
            lines.append(f"{branch.route.value} {label} ({score:.2f}, {corners}{mask})")
        lines += _list_labels(branch)
    return "\n".join(lines)


def _list_labels(branch: Branch) -> list[str]:
    if branch.label_map is None:
        return []
    class_ids = branch.label_map.class_ids
    return [
        f"class {index}: {phrase}, {int((class_ids == index).sum())} px"
        for index, phrase in enumerate(branch.phrases)
    ]


def describe_answer(
    picture: str,
    sentence: str,
    result: Result,
    seconds: float,
    overlay: Path | None,
    *,
    with_masks: bool,
) -> dict[str, Any]:
    """Make the JSON of one answer; the mask of an instance is run lengths."""
    from vl2_ros.processing.result_json import result_to_json

    return {
        "picture": picture,
        "command": sentence,
        **result_to_json(result, with_masks=with_masks),
        "seconds": round(seconds, 4),
        "overlay": None if overlay is None else str(overlay),
    }


def print_answer(title: str | None, result: Result, seconds: float, saved: Path | None) -> None:
    """Print the text of an answer, one instance a line, the time and where the overlay is."""
    if title is not None:
        print_text(f"{title}:")
    print_text(result.text or "(no text)")
    if result.branches:
        print_text(list_found(result))
    print_text(f"{seconds:.2f} s" + (f", overlay: {saved.resolve()}" if saved else ""))


def describe_received(received: ReceivedResult) -> dict[str, Any]:
    """Make the JSON of a result that came from a node, masks as run lengths."""
    from vl2_ros.processing.result_json import result_to_json

    return {
        "command": received.text,
        "camera": received.camera,
        "status": received.status.name,
        "message": received.message,
        "is_final": received.is_final,
        "sequence": received.sequence,
        **result_to_json(received.result, with_masks=True),
        "model": received.model,
        "model_identity": received.model_identity,
        "engine": received.engine,
    }


def format_received(received: ReceivedResult) -> str:
    """Put a result that came from a node on one line: picture, command, answer, instances, time."""
    result = received.result
    seconds, nanoseconds = divmod(result.stamp_ns, 1_000_000_000)
    # Without a picture the stamp is zero, which would look like one.
    stamp = f"{seconds}.{nanoseconds // 1_000_000:03d}" if result.stamp_ns or result.text else "-"
    parts = [
        f"{stamp} {received.camera}",
        f"{received.command_id}#{received.sequence}",
        received.message if received.message else result.text or "(no text)",
        *list_found(result).splitlines(),
        f"{sum(result.stage_ms.values()):.0f} ms",
    ]
    line = f"{received.status.name:8} " + " | ".join(parts)
    return " ".join(line.splitlines())


def print_received(received: ReceivedResult, *, as_json: bool) -> None:
    """Print a result that came from a node, on one line."""
    if as_json:
        print_json(describe_received(received))
    else:
        print_text(format_received(received))


def write_overlay(frame: Frame, sentence: str, result: Result, path: Path) -> None:
    """Write the picture with the answer drawn in.

    Raises:
        InputError: if the file cannot be written.
    """
    from PIL import Image

    from vl2_ros.processing.overlay import draw_overlay

    try:
        Image.fromarray(draw_overlay(frame, result, question=sentence)).save(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot write the overlay {path}: {error}; expected a name such as overlay.png in a "
            "folder that is there"
        ) from error


def write_labels(result: Result, path: Path) -> None:
    """Write the class of every pixel as a 16-bit picture; list_found tells what the classes mean.

    Raises:
        InputError: if the answer has none, or the file cannot be written.
    """
    from PIL import Image

    maps = [branch.label_map for branch in result.branches if branch.label_map is not None]
    if not maps:
        raise InputError(
            "the answer has no class for every pixel, so --labels has nothing to write; ask for "
            'example "label every pixel as road, sky and car"'
        )
    try:
        Image.fromarray(maps[0].class_ids).save(path, format="PNG")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error}; expected a name such as a.png") from error


def show_error(message: str) -> None:
    """Print one red line on standard error."""
    _show(f"error: {message}", "bold red")


def show_note(message: str) -> None:
    """Print one line on standard error that a person should see and no program reads."""
    _show(message, "yellow")


def _show(message: str, style: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(message, style=style), soft_wrap=True)
