"""What `vl2 ask` writes: lines for people, formats, overlays, errors at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display
from vl2_ros.console.options import AsJson, Force
from vl2_ros.console.output.formats import FormatName, check_format, open_format
from vl2_ros.console.output.targets import (
    check_label_names,
    check_numbered,
    check_target,
    check_targets,
)
from vl2_ros.errors import InputError, VL2Error
from vl2_ros.views.answer_files import AnswerFiles, save_labels
from vl2_ros.views.formats.writer import AnswerWriter, Entry

if TYPE_CHECKING:
    from vl2_ros.console.output.overlay_saver import OverlaySaver
    from vl2_ros.sources.source import Source
    from vl2_ros.structures import Command, Frame, ModelInfo, Result

#: Endings of images that are written.
_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")


@dataclass(frozen=True, slots=True)
class Output:
    """What is written, and where."""

    as_json: AsJson = False
    format_name: FormatName = ""
    out: Annotated[
        Path | None,
        typer.Option(help="File of --format, for yolo a folder; default: standard output."),
    ] = None
    masks: Annotated[
        bool, typer.Option("--masks", help="Include masks in --json and --format.")
    ] = False
    save: Annotated[
        Path | None,
        typer.Option(
            help="File for the generated or edited image, else for an overlay, numbered when there "
            "are several; of a video a video; a folder for one file an image."
        ),
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(help="File for the class of every pixel, a 16-bit PNG; one image only."),
    ] = None
    force: Force = False

    @property
    def format(self) -> str:
        """Return the name of the format; empty where a person reads."""
        return self.format_name or ("json" if self.as_json else "")

    def check(self, sources: Sequence[Source]) -> None:
        """Check what can be known before a model is loaded.

        Raises:
            InputError: if options do not fit each other or the images, or a file is in the way.
        """
        is_one = len(sources) <= 1 and all(source.is_single for source in sources)
        if self.labels is not None and (not sources or not is_one):
            raise InputError(f"--labels takes one image, got {len(sources)} sources")
        if self.as_json and self.format_name not in ("", "json"):
            raise InputError(f"--json and --format {self.format_name} exclude each other")
        if self.out is not None and not self.format:
            raise InputError(
                "--out is the file of --format; name one, or use --save for an overlay"
            )
        check_format(self.format, self.out, force=self.force)
        if self.labels is not None:
            _check_image_path("--labels", self.labels, force=self.force)
        if self.save is not None:
            _check_saving(self.save, sources, is_one=is_one, force=self.force)
        check_targets({"--out": self.out, "--save": self.save, "--labels": self.labels}, sources)
        if self.format == "yolo":
            check_label_names(sources)


def _check_image_path(option: str, path: Path, *, force: bool) -> None:
    if path.suffix.lower() not in _IMAGE_ENDINGS:
        endings = ", ".join(_IMAGE_ENDINGS)
        raise InputError(f"{option}: {path} is no image; expected a name with {endings}")
    check_target(option, path, force=force)


def _check_saving(path: Path, sources: Sequence[Source], *, is_one: bool, force: bool) -> None:
    """Check the target of overlays: an image, a video, or a folder, which has no ending."""
    from vl2_ros.sources.source import VIDEO_SUFFIXES

    if path.suffix.lower() in VIDEO_SUFFIXES:
        if not sources or not all(source.is_moving for source in sources):
            raise InputError(f"--save: {path} is a video; the sources are images, name an image")
        # What it needs is missing now, not after the model was loaded.
        from vl2_ros.sources import video as video

        check_target("--save", path, force=force)
    elif not _is_folder(path):
        _check_image_path("--save", path, force=force)
        if not is_one and not force:
            check_numbered("--save", path)
    elif not path.is_dir():
        check_target("--save", path, force=False)
    elif any(path.iterdir()) and not force:
        raise InputError(f"--save: the folder {path} is not empty; name another, or add --force")


def _is_folder(path: Path) -> bool:
    return path.is_dir() or path.suffix == ""


class AnswerOutput:
    """Prints answers as they come, and writes what was asked for; `close` it.

    An answer is printed before its files are written, so that it is not lost with them.

    Args:
        output: what is written.
        info: names the model in documents.
        sources: of the images.

    Attributes:
        is_one: whether there is one image at most.
    """

    def __init__(self, output: Output, info: ModelInfo, sources: Sequence[Source]) -> None:
        self._output, self._info = output, info
        self.is_one = len(sources) <= 1 and all(source.is_single for source in sources)
        self._is_moving = any(source.is_moving for source in sources)
        self._stack = ExitStack()
        self._writer: AnswerWriter | None = None
        if output.format:
            opened = open_format(output.format, output.out, with_masks=output.masks)
            self._writer = self._stack.enter_context(opened)
        self._saver = None if output.save is None else self._open_saver(output.save)
        self._count, self._failed = 0, 0
        self._is_noted = False

    def _open_saver(self, path: Path) -> OverlaySaver:
        from vl2_ros.console.output.overlay_saver import FileSaver, FolderSaver, VideoSaver
        from vl2_ros.sources.source import VIDEO_SUFFIXES

        if path.suffix.lower() in VIDEO_SUFFIXES:
            return self._stack.enter_context(closing(VideoSaver(path)))
        if _is_folder(path):
            return FolderSaver(path)
        return FileSaver(path, is_one=self.is_one, force=self._output.force)

    def add(
        self,
        name: str | None,
        frame: Frame | None,
        command: Command,
        result: Result,
        seconds: float,
    ) -> None:
        """Print an answer and write its files.

        Args:
            name: of the image; None without one.
            frame: the image; None without one.
            command: what was asked.
            result: the answer.
            seconds: that it took.

        Raises:
            InputError: if a file cannot be written; the answer was printed before.
        """
        self._count += 1
        if self._writer is None:
            self._print(name, result, seconds)
        files, failure = AnswerFiles(), None
        try:
            if self._saver is not None:
                files = self._saver.save(name, frame, command.text, result)
            if self._output.labels is not None:
                save_labels(result, self._output.labels)
        except InputError as error:
            failure = error
        if self._writer is not None:
            self._write(self._writer, name, frame, command, result, seconds, files)
        elif not self._is_moving and (named := files.name_them()):
            display.print_text(named)
        if self._writer is not None or self._is_moving:
            self._note(result)
        if failure is not None:
            raise failure

    def _note(self, result: Result) -> None:
        """Show the message of a result, once for all images of a video or a format."""
        if result.message and not self._is_noted:
            self._is_noted = True
            display.show_message(result)

    def add_error(self, name: str, command: Command, error: VL2Error) -> None:
        """Print why an image has no answer; `finish` then ends with exit code 1."""
        self._count += 1
        self._failed += 1
        if self._writer is not None and self._output.format == "json":
            from vl2_ros.structures import Result
            from vl2_ros.views.answer_document import describe_error

            document = describe_error(error, image=name, command=command.text)
            self._writer.add(Entry(name, None, Result("", 0, "", ""), document))
        text = str(error)
        display.show_error(text if name in text else f"{name}: {text}")

    def finish(self) -> None:
        """End the process with exit code 1 if an image has no answer.

        Raises:
            SystemExit: if there was one.
        """
        if self._failed:
            display.show_note(f"{self._failed} of {self._count} images have no answer")
            raise SystemExit(1)

    def close(self) -> None:
        """Complete the files."""
        self._stack.close()

    def _print(self, name: str | None, result: Result, seconds: float) -> None:
        if self._is_moving:
            display.print_text(display.format_answer(name or "", result, seconds))
        else:
            display.print_answer(None if self.is_one else name, result, seconds)

    def _write(
        self,
        writer: AnswerWriter,
        name: str | None,
        frame: Frame | None,
        command: Command,
        result: Result,
        seconds: float,
        files: AnswerFiles,
    ) -> None:
        from vl2_ros.views.answer_document import AnswerSource, describe_answer

        source = AnswerSource(
            command.text,
            name,
            model=self._info.name,
            model_identity=self._info.identity,
            engine=self._info.engine,
            seconds=seconds,
            overlay=files.overlay,
            files=files.images,
        )
        document = describe_answer(result, source, with_masks=self._output.masks)
        writer.add(Entry(name or "", None if frame is None else frame.frame_hw, result, document))
