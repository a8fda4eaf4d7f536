"""Save overlays of one image, of several, or of a video."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vl2_ros.errors import InputError
from vl2_ros.views.answer_files import AnswerFiles, name_answer, save_answer
from vl2_ros.views.overlay import draw_overlay

if TYPE_CHECKING:
    from vl2_ros.structures import Frame, Result

#: Endings that an overlay does not carry twice.
_IMAGE = re.compile(r"\.(jpe?g|png|bmp|gif|tiff?|webp|ppm|pgm|npy)$", re.IGNORECASE)


class OverlaySaver(Protocol):
    """Writes overlays and generated images one after the other."""

    def save(
        self, name: str | None, frame: Frame | None, sentence: str, result: Result
    ) -> AnswerFiles:
        """Write the files of an answer.

        Args:
            name: of the image; None without one.
            frame: the image; None without one.
            sentence: the command.
            result: the answer.

        Raises:
            InputError: if a file cannot be written.
        """


class FileSaver:
    """Writes to one name, numbered where there are several images.

    Args:
        path: the name.
        is_one: whether there is one image.
        force: replace files that are there.
    """

    def __init__(self, path: Path, *, is_one: bool, force: bool) -> None:
        self._path, self._is_one, self._force, self._count = path, is_one, force, 0

    def save(
        self, name: str | None, frame: Frame | None, sentence: str, result: Result
    ) -> AnswerFiles:
        """Write the files of an answer, see `OverlaySaver`."""
        path = self._path
        if not self._is_one:
            path = path.with_stem(f"{path.stem}_{self._count}")
        self._count += 1
        named = name_answer(result, path)
        overlays = () if frame is None or named.overlay is None else (named.overlay,)
        for file in (*named.images, *overlays):
            # Further images and the overlay beside them are known with the answer only.
            if not self._force and file.exists():
                raise InputError(
                    f"{file} is there already; name another file, or add --force to replace it"
                )
        return save_answer(frame, sentence, result, path)


class FolderSaver:
    """Writes a PNG file for each image, with its name.

    Args:
        folder: made when the first answer comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[str] = set()

    def save(
        self, name: str | None, frame: Frame | None, sentence: str, result: Result
    ) -> AnswerFiles:
        """Write the files of an answer, see `OverlaySaver`."""
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make {self._folder}: {error}; name another one") from error
        base = _IMAGE.sub("", Path(name or "generated").name)
        base = re.sub(r"[^\w.@-]+", "_", base)
        free, number = base, 2
        # Files of one name may come from several folders.
        while free in self._names:
            free, number = f"{base}_{number}", number + 1
        self._names.add(free)
        return save_answer(frame, sentence, result, self._folder / f"{free}.png")


class VideoSaver:
    """Writes overlays as a video.

    Args:
        path: of the video.

    Raises:
        InputError: if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        from vl2_ros.sources.video import VideoWriter

        self._path, self._writer = path, VideoWriter(path)

    def save(
        self, name: str | None, frame: Frame | None, sentence: str, result: Result
    ) -> AnswerFiles:
        """Write a frame of the video, see `OverlaySaver`."""
        if frame is not None:
            self._writer.add(draw_overlay(frame, result, question=sentence), frame.stamp_ns)
        return AnswerFiles(overlay=self._path)

    def close(self) -> None:
        """Complete the video."""
        self._writer.close()
