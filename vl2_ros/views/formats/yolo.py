"""YOLO label files, as ultralytics reads them: a text file an image, and data.yaml.

A line is the class and, divided by the image's width and height, the box's centre and size, or
with masks the outline of the largest part; see https://docs.ultralytics.com/datasets/.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePath

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.structures import Detections
from vl2_ros.views.formats.outlines import trace_outline
from vl2_ros.views.formats.writer import Entry


def name_label(image: str) -> str:
    """Return the name of an image's label file without its ending.

    The time of a video's frame and the index of an array, as in `clip.mp4@1.200s` and
    `stack.npy[0]`, are no endings.
    """
    return re.sub(r"(?<=.)\.[A-Za-z][A-Za-z0-9]*$", "", PurePath(image).name)


def _quote(label: str) -> str:
    """Quote a label for YAML, which takes JSON's escapes, but not its pairs for one character."""
    quoted = json.dumps(label, ensure_ascii=False)
    return "".join(one if " " <= one <= "~" else f"\\U{ord(one):08x}" for one in quoted)


class YoloWriter:
    """Writes labels/NAME.txt for each image, and data.yaml when it is closed.

    Several answers about one image share its file.

    Args:
        folder: made when it is not there.
        with_masks: write outlines; an instance without a mask then has its box as one.

    Raises:
        InputError: if the folder cannot be made, or holds labels already.
    """

    def __init__(self, folder: Path, *, with_masks: bool) -> None:
        self._folder, self._with_masks = folder, with_masks
        self._labels = folder / "labels"
        try:
            self._labels.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make {self._labels}: {error}; name another folder") from error
        if any(self._labels.iterdir()):
            raise InputError(f"{self._labels} holds labels already; name another folder")
        self._classes: dict[str, int] = {}
        self._images: dict[str, str] = {}

    def add(self, entry: Entry) -> None:
        """Write the lines of an answer.

        Raises:
            InputError: if two images would share a file, or it cannot be written.
        """
        if entry.image_hw is None:
            return
        name = name_label(entry.image)
        if self._images.setdefault(name, entry.image) != entry.image:
            raise InputError(
                f"{entry.image} and {self._images[name]} would share labels/{name}.txt; ask about "
                "them in calls of their own"
            )
        lines = [
            self._write_line(branch.detections, index, entry.image_hw)
            for branch in entry.result.branches
            for index in range(len(branch.detections))
        ]
        path = self._labels / f"{name}.txt"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error}") from error

    def close(self) -> None:
        """Write data.yaml: classes by number, and where images are expected."""
        names = "".join(f"  {number}: {_quote(name)}\n" for name, number in self._by_number())
        text = f"path: .\ntrain: images\nval: images\nnames:\n{names}"
        path = self._folder / "data.yaml"
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {path}: {error}") from error

    def _by_number(self) -> list[tuple[str, int]]:
        return sorted(self._classes.items(), key=lambda item: item[1])

    def _write_line(self, found: Detections, index: int, image_hw: tuple[int, int]) -> str:
        number = self._classes.setdefault(found.labels[index], len(self._classes))
        size_wh = np.array(image_hw[::-1], np.float64)
        corners = found.boxes_xyxy[index].astype(np.float64).reshape(2, 2)
        low, high = np.clip(corners / size_wh, 0.0, 1.0)
        if not self._with_masks:
            values = np.concatenate([(low + high) / 2, high - low])
        else:
            outline = (
                np.zeros((0, 2)) if found.masks is None else trace_outline(found.masks.crops[index])
            )
            if len(outline) < 3:
                values = np.array([low[0], low[1], high[0], low[1], *high, low[0], high[1]])
            else:
                values = np.clip(outline / size_wh, 0.0, 1.0).ravel()
        return " ".join([str(number), *(f"{value:.6f}" for value in values)]) + "\n"
