"""Write the image files of an answer: generated or edited images, and the overlay.

One name is enough: it goes to the generated image, else to the overlay. A second image gets
`_2` behind it, the overlay of an answer that has both `_overlay`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vl2_ros.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from vl2_ros.structures import Frame, Result


@dataclass(frozen=True, slots=True)
class AnswerFiles:
    """The written files.

    Attributes:
        overlay: the image with the detections drawn in; None when there is none.
        images: one for each of the result's.
        document: the JSON; None when there is none.
    """

    overlay: Path | None = None
    images: tuple[Path, ...] = ()
    document: Path | None = None

    def name_them(self) -> str:
        """Return the paths on one line; empty without any."""
        named = [f"image: {path.resolve()}" for path in self.images]
        if self.overlay is not None:
            named.append(f"overlay: {self.overlay.resolve()}")
        return ", ".join(named)


def save_answer(frame: Frame | None, sentence: str, result: Result, path: Path) -> AnswerFiles:
    """Write the images and the overlay of an answer.

    Args:
        frame: the image that the command is about; None without one.
        sentence: the command.
        result: the answer.
        path: name of the first file.

    Raises:
        InputError: if a file cannot be written.
    """
    from vl2_ros.views.overlay import draw_overlay

    def draw() -> np.ndarray | None:
        return None if frame is None else draw_overlay(frame, result, question=sentence)

    return save_drawn(result, path, draw)


def save_drawn(result: Result, path: Path, draw: Callable[[], np.ndarray | None]) -> AnswerFiles:
    """Write the images of an answer, and its overlay where it has one.

    Args:
        result: the answer.
        path: name of the first file.
        draw: called for an answer with an overlay; returns it, (H, W, 3) uint8 RGB, or None.

    Raises:
        InputError: if a file cannot be written.
    """
    images, overlay = save_images(result, path), name_answer(result, path).overlay
    rgb = None if overlay is None else draw()
    if overlay is None or rgb is None:
        return AnswerFiles(None, images)
    _write(rgb, overlay, "overlay")
    return AnswerFiles(overlay, images)


def name_answer(result: Result, path: Path) -> AnswerFiles:
    """Return the files that `save_answer` writes of an answer about an image."""
    images = _name_images(result, path)
    if images and not result.branches:
        return AnswerFiles(None, images)
    return AnswerFiles(path.with_stem(f"{path.stem}_overlay") if images else path, images)


def save_images(result: Result, path: Path) -> tuple[Path, ...]:
    """Write the generated and edited images of an answer; none when it has none.

    Raises:
        InputError: if a file cannot be written.
    """
    names = _name_images(result, path)
    for image, name in zip(result.images, names, strict=True):
        _write(image.rgb, name, "image")
    return names


def _name_images(result: Result, path: Path) -> tuple[Path, ...]:
    numbered = (path.with_stem(f"{path.stem}_{index + 1}") for index in range(len(result.images)))
    return tuple(path if index == 0 else name for index, name in enumerate(numbered))


def save_overlay(frame: Frame, sentence: str, result: Result, path: Path) -> None:
    """Write the image with the answer drawn in.

    Raises:
        InputError: if the file cannot be written.
    """
    from vl2_ros.views.overlay import draw_overlay

    _write(draw_overlay(frame, result, question=sentence), path, "overlay")


def save_json(document: Mapping[str, Any], path: Path) -> Path:
    """Write an answer as JSON; returns the path.

    Raises:
        InputError: if the file cannot be written.
    """
    try:
        path.write_text(json.dumps(document) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error}; expected a name such as answer.json in a folder that "
            "is there"
        ) from error
    return path


def save_labels(result: Result, path: Path) -> None:
    """Write the class of every pixel as a 16-bit image; list_found names the classes.

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


def _write(rgb: np.ndarray, path: Path, what: str) -> None:
    from PIL import Image

    try:
        Image.fromarray(rgb).save(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot write the {what} {path}: {error}; expected a name such as {what}.png in a "
            "folder that is there"
        ) from error
