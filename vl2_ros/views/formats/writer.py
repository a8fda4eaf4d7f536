"""The interface of the formats, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.structures import Result

#: Name -> ending of its file; a folder for YOLO. The JSON is a document a line.
FORMATS = {
    "json": ".jsonl",
    "coco": ".coco.json",
    "yolo": "_yolo",
    "labelstudio": ".labelstudio.json",
    "csv": ".csv",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer for a format.

    Attributes:
        image: file name of the image, or a name that is made of its stamp; empty without one.
        image_hw: height and width of the image in pixels; None without one.
        result: the answer; without instances where there is none.
        document: its JSON, as `describe_answer` makes it.
    """

    image: str
    image_hw: tuple[int, int] | None
    result: Result
    document: dict[str, Any]


class AnswerWriter(Protocol):
    """Writes answers in one format; its memory grows with annotations at most, not with images."""

    def add(self, entry: Entry) -> None:
        """Add an answer.

        Raises:
            InputError: if it cannot be written.
        """

    def close(self) -> None:
        """Write what is left; the file is complete afterwards."""


def make_writer(name: str, target: TextIO | Path, *, with_masks: bool = False) -> AnswerWriter:
    """Make the writer of a format.

    Args:
        name: one of `FORMATS`.
        target: the open file, or for `yolo` the folder, which is made.
        with_masks: write masks where the format has them; else boxes alone.

    Raises:
        InputError: if there is no such format, or its folder cannot be made.
    """
    if name == "yolo":
        from vl2_ros.views.formats.yolo import YoloWriter

        if not isinstance(target, Path):
            raise InputError("the format yolo is a folder of files; name one")
        return YoloWriter(target, with_masks=with_masks)
    if isinstance(target, Path):
        raise InputError(f"the format {name} is one file; expected it open, got the path {target}")
    if name == "json":
        from vl2_ros.views.formats.json_lines import JsonLinesWriter

        return JsonLinesWriter(target)
    if name == "csv":
        from vl2_ros.views.formats.csv_rows import CsvWriter

        return CsvWriter(target)
    if name == "coco":
        from vl2_ros.views.formats.coco import CocoWriter

        return CocoWriter(target, with_masks=with_masks)
    if name == "labelstudio":
        from vl2_ros.views.formats.label_studio import LabelStudioWriter

        return LabelStudioWriter(target, with_masks=with_masks)
    raise InputError(f"there is no format {name!r}; expected one of {', '.join(FORMATS)}")
