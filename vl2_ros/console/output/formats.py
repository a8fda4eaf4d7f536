"""Answers in a format: to standard output, a file or a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console.groups import complete
from vl2_ros.console.output.targets import check_target
from vl2_ros.errors import InputError
from vl2_ros.views.formats.writer import FORMATS, AnswerWriter, Entry, make_writer

if TYPE_CHECKING:
    from vl2_ros.node.request import Answer
    from vl2_ros.structures import ModelInfo

FormatName = Annotated[
    str,
    typer.Option(
        "--format",
        help=f"Format of the answers: {', '.join(FORMATS)}.",
        autocompletion=complete(*FORMATS),
        rich_help_panel="Output",
    ),
]


def check_format(
    name: str, out: Path | None, *, force: bool = False, option: str = "--out"
) -> None:
    """Check a format and its target before a model is loaded.

    Args:
        name: as typed; empty: none.
        out: file or folder; None: standard output.
        force: a file may be there already.
        option: what the target comes from.

    Raises:
        InputError: if there is no such format, it has nowhere to go, or the target is there.
    """
    if not name:
        return
    if name not in FORMATS:
        raise InputError(f"--format must be one of {', '.join(FORMATS)}, got {name!r}")
    if out is None and name == "yolo":
        raise InputError("--format yolo is a folder of files; name it with --out FOLDER")
    if out is not None:
        check_target(option, out, force=force and name != "yolo")


@contextmanager
def open_format(name: str, out: Path | None, *, with_masks: bool) -> Iterator[AnswerWriter]:
    """Open the writer of a format; it is closed in order, so that what was answered can be read.

    Args:
        name: one of `FORMATS`.
        out: file, for yolo a folder; None: standard output.
        with_masks: write masks where the format has them.

    Raises:
        InputError: if the target cannot be written.
    """
    writer: AnswerWriter
    if out is None:
        writer = make_writer(name, sys.stdout, with_masks=with_masks)
    elif name == "yolo":
        writer = make_writer(name, out, with_masks=with_masks)
    else:
        writer = _FileWriter(name, out, with_masks=with_masks)
    with closing(writer):
        yield writer
    if out is None:
        sys.stdout.flush()


class _FileWriter:
    """Writes a format into a file of its own, and names the file where that fails."""

    def __init__(self, name: str, path: Path, *, with_masks: bool) -> None:
        self._path = path
        with self._name_errors():
            # A file name may hold bytes that are no UTF-8.
            self._file = path.open("w", encoding="utf-8", errors="backslashreplace")
        self._writer = make_writer(name, self._file, with_masks=with_masks)

    def add(self, entry: Entry) -> None:
        with self._name_errors():
            self._writer.add(entry)

    def close(self) -> None:
        with self._name_errors(), self._file:
            self._writer.close()

    @contextmanager
    def _name_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error}; name another file") from error


def name_frame(recording: Path, stamp_ns: int) -> str:
    """Name an image of a recording, which is no file of its own."""
    return f"{recording.stem}_{stamp_ns}.jpg"


def make_entry(answer: Answer, recording: Path, info: ModelInfo) -> Entry:
    """Make the entry of an answer about an image of a recording."""
    from vl2_ros.structures import Result
    from vl2_ros.views.answer_document import AnswerSource, describe_answer

    result = answer.result or Result(answer.request_id, 0, "", "")
    source = AnswerSource(
        answer.text,
        str(recording),
        camera=answer.camera,
        status=answer.status.name,
        message=answer.message,
        is_final=answer.is_final,
        sequence=answer.sequence,
        model=info.name,
        model_identity=info.identity,
        engine=info.engine,
    )
    document = describe_answer(result, source, with_masks=True)
    image_hw = None if answer.frame is None else answer.frame.frame_hw
    return Entry(name_frame(recording, result.stamp_ns), image_hw, result, document)
