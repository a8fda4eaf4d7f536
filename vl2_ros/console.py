"""What the command line shows a person: progress, tables of facts, found instances, a red line.

Progress and errors go to standard error, so that standard output stays clean for programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vl2_ros.structures import Result


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


def print_text(content: RenderableType) -> None:
    """Print a sentence or a table as it is; no part of it is taken for markup."""
    from rich.console import Console

    Console(highlight=False).print(content, soft_wrap=isinstance(content, str), markup=False)


def print_facts(document: Mapping[str, object]) -> None:
    """Print names and values in two columns."""
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, value in document.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {_format(part)}" for key, part in value.items())
        table.add_row(name, _format(value))
    print_text(table)


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
    return "\n".join(lines)


def show_error(message: str) -> None:
    """Print one red line on standard error."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(f"error: {message}", style="bold red"), soft_wrap=True)
