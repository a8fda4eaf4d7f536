"""What the command line shows: progress, tables, answers, a red line.

What others wrote, in messages and files, is printed with its control characters made visible.

Progress and errors go to standard error, so that standard output stays clean for programs.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vl2_ros.processing.printable import make_printable

#: Seconds between the lines of a command whose standard error is no terminal.
STATUS_PERIOD_S = 10.0

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vl2_ros.clients.received_result import ReceivedResult
    from vl2_ros.structures import Branch, Result
    from vl2_ros.views.answer_files import AnswerFiles


@contextmanager
def show_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error while the body runs; without a terminal a line now and then."""
    with _open_progress(what) as update:
        yield lambda done, total: update(what, done, total)


@contextmanager
def show_stages(what: str) -> Iterator[Callable[[str, float], None]]:
    """Show a bar whose words change while the body runs, as `show_progress` does."""
    with _open_progress(what) as update:
        yield lambda stage, share: update(stage, share, 1.0)


@contextmanager
def _open_progress(
    what: str,
) -> Iterator[Callable[[str, float, float | None], None]]:
    """Open a bar in a terminal, status lines elsewhere; yield what is called with new numbers."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        status = _StatusLines(what)
        try:
            yield status.update
        finally:
            status.close()
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)

        def update(words: str, done: float, of: float | None) -> None:
            progress.update(task, description=words, completed=done, total=of)

        yield update


class _StatusLines:
    """Prints a line on standard error every `STATUS_PERIOD_S`; nothing for what ends before."""

    def __init__(self, what: str) -> None:
        self._words, self._numbers = what, ""
        self._began = time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._follow, name="vl2-status", daemon=True).start()

    def update(self, words: str, done: float, total: float | None) -> None:
        """Keep the numbers of the next line."""
        self._words = words
        if total == 1.0:
            self._numbers = f" {done:.0%}"
        elif total:
            self._numbers = f" {done:g} of {total:g}"

    def close(self) -> None:
        """Print nothing more."""
        self._ended.set()

    def _follow(self) -> None:
        while not self._ended.wait(STATUS_PERIOD_S):
            seconds = time.monotonic() - self._began
            line = make_printable(f"{self._words}{self._numbers}, {seconds:.0f} s")
            # One write, so that lines of several threads do not mix.
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def print_text(content: RenderableType) -> None:
    """Print a sentence or a table as it is; no part of it is taken for markup or obeyed."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    if isinstance(content, str):
        content = make_printable(content, keep_lines=True)
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
        table.add_row(make_printable(name), make_printable(_format(value), keep_lines=True))
    print_text(table)


def print_rows(rows: Sequence[Mapping[str, object]], *, digits: str = ".3g") -> None:
    """Print a table; the names of the first row head its columns, `digits` formats its numbers."""
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None)
    for name in rows[0]:
        table.add_column(name, overflow="fold", min_width=len(name))
    for row in rows:
        cells = ("-" if one is None else _format_cell(one, digits) for one in row.values())
        table.add_row(*(make_printable(cell, keep_lines=True) for cell in cells))
    print_text(table)


def _format_cell(value: object, digits: str) -> str:
    return f"{value:{digits}}" if isinstance(value, float) else str(value)


def _format(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_format(part) for part in value)
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def list_found(result: Result) -> str:
    """List one instance a line: label, track, score, box, mask size; then the images made."""
    lines = []
    for branch in result.branches:
        found = branch.detections
        if not len(found):
            lines.append(f"{branch.route.value} nothing above the threshold")
        for index, (box, score, _) in enumerate(found):
            corners = " ".join(f"{value:.0f}" for value in box)
            mask = "" if found.masks is None else f", {found.masks.crops[index].area} px"
            name = make_printable(found.get_title(index))
            lines.append(f"{branch.route.value} {name} ({score:.2f}, {corners}{mask})")
        lines += _list_labels(branch)
    for image in result.images:
        height, width = image.rgb.shape[:2]
        lines.append(
            f"{image.route.value} {width}x{height}, seed {image.seed}, {image.steps} steps of "
            f"{make_printable(image.scheduler)}"
        )
    return "\n".join(lines)


def _list_labels(branch: Branch) -> list[str]:
    if branch.label_map is None:
        return []
    class_ids = branch.label_map.class_ids
    return [
        f"class {index}: {make_printable(phrase)}, {int((class_ids == index).sum())} px"
        for index, phrase in enumerate(branch.phrases)
    ]


def print_answer(title: str | None, result: Result, seconds: float) -> None:
    """Print the text of an answer, what was found and made, and the time."""
    if title is not None:
        print_text(f"{title}:")
    print_text(result.text or "(no text)")
    if result.branches or result.images:
        print_text(list_found(result))
    print_text(f"{seconds:.2f} s")
    show_message(result)


def format_answer(name: str, result: Result, seconds: float) -> str:
    """Put an answer about one image of a video on one line."""
    parts = [name, result.text or "(no text)", *list_found(result).splitlines()]
    line = " | ".join([*parts, f"{seconds * 1e3:.0f} ms"])
    return make_printable(" ".join(line.splitlines()))


def show_message(result: Result) -> None:
    """Print what a person should know beside an answer, one line on standard error."""
    if result.message:
        show_note(f"note: {result.message}")


def describe_received(
    received: ReceivedResult,
    files: AnswerFiles | None = None,
    *,
    image: str | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Make the JSON of a result that came from a node, masks as run lengths.

    Args:
        received: the result.
        files: its images and its overlay, where they were written.
        image: recording of the image; None where that is not known.
        seconds: that the answer took; None takes the sum of its stages.
    """
    from vl2_ros.views.answer_document import AnswerSource, describe_answer

    source = AnswerSource(
        received.text,
        image,
        camera=received.camera,
        status=received.status.name,
        message=received.message,
        is_final=received.is_final,
        sequence=received.sequence,
        model=received.model,
        model_identity=received.model_identity,
        engine=received.engine,
        seconds=seconds,
        overlay=files.overlay if files else None,
        files=files.images if files else (),
    )
    return describe_answer(received.result, source, with_masks=True)


def format_received(received: ReceivedResult) -> str:
    """Put a result that came from a node on one line: image, command, answer, instances, time."""
    result = received.result
    seconds, nanoseconds = divmod(result.stamp_ns, 1_000_000_000)
    # Without an image the stamp is zero, which would look like one.
    stamp = f"{seconds}.{nanoseconds // 1_000_000:03d}" if result.stamp_ns or result.text else "-"
    parts = [
        f"{stamp} {received.camera}",
        f"{received.command_id}#{received.sequence}",
        *_list_words(received),
        *list_found(result).splitlines(),
        f"{sum(result.stage_ms.values()):.0f} ms",
    ]
    line = f"{received.status.name:8} " + " | ".join(parts)
    return make_printable(" ".join(line.splitlines()))


def _list_words(received: ReceivedResult) -> list[str]:
    """Return the text of an answer and its message; of none the message alone."""
    words = [received.message] if received.message else []
    return words if received.status.name != "OK" else [received.result.text or "(no text)", *words]


def print_received(
    received: ReceivedResult, *, as_json: bool, files: AnswerFiles | None = None
) -> None:
    """Print a result that came from a node, on one line."""
    if as_json:
        print_json(describe_received(received, files))
    else:
        print_text(format_received(received))


def show_error(message: str) -> None:
    """Print one red line on standard error."""
    _show(f"error: {message}", "bold red")


def show_note(message: str) -> None:
    """Print one line on standard error that a person should see and no program reads."""
    _show(message, "yellow")


def _show(message: str, style: str) -> None:
    from rich.console import Console
    from rich.text import Text

    text = Text(make_printable(message, keep_lines=True), style=style)
    Console(stderr=True).print(text, soft_wrap=True)
