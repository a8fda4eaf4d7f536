"""A table: a row for each instance, one for an answer without any."""

from __future__ import annotations

import csv
from typing import TextIO

from vl2_ros.views.formats.writer import Entry

COLUMNS = (
    "image",
    "stamp_ns",
    "command",
    "status",
    "text",
    "route",
    "label",
    "score",
    "x1",
    "y1",
    "x2",
    "y2",
    "track_id",
)


class CsvWriter:
    """Writes rows as they come, behind a row of names.

    Args:
        file: open for text.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def add(self, entry: Entry) -> None:
        """Write the rows of an answer."""
        document = entry.document
        first = [document[name] for name in ("stamp_ns", "command", "status", "text")]
        for instance in document["instances"] or [{}]:
            self._rows.writerow(
                [
                    entry.image,
                    *first,
                    *(instance.get(name, "") for name in ("route", "label", "score")),
                    *instance.get("box_xyxy", [""] * 4),
                    instance.get("track_id", ""),
                ]
            )
        self._file.flush()

    def close(self) -> None:
        """Nothing is left."""
