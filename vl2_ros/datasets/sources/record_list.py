"""Sources whose index is a JSON list of records, or has one a line."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.reading.image_folder import ImageFolder, find_images, strip_folders
from vl2_ros.datasets.reading.json_records import JsonRecords
from vl2_ros.datasets.sources.labelled_source import LabelledSource, SourceOptions
from vl2_ros.documents import shorten
from vl2_ros.errors import InputError
from vl2_ros.processing.language.tokenizer import neutralise

UNIT = "records"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordListOptions(SourceOptions):
    """Options of sources that read a list of records.

    Attributes:
        annotations: the file.
        images: folder of the images; None takes `images` beside the file, else its own folder.
    """

    annotations: Path
    images: Path | None = None


def list_images(row: Mapping[str, Any]) -> list[Any]:
    """Return the file names of a record: of `image` (one or several) or `images`."""
    value = row.get("image", row.get("images"))
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def read_text_field(row: Mapping[str, Any], name: str) -> str:
    """Return a text of a record on one line, without special tokens.

    Raises:
        BadRecordError: if it is no text, or empty.
    """
    value = row.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadRecordError(UNIT, f"{name} empty")
    if not isinstance(value, str):
        raise BadRecordError(UNIT, f"{name} is no text", f"got {shorten(value)}")
    return " ".join(neutralise(value).split())


class RecordList(LabelledSource):
    """A source with one sample for each record of a list.

    Records are checked once and read again when they are needed; each takes 16 bytes.

    Args:
        options: of the source.
    """

    def __init__(self, options: RecordListOptions) -> None:
        """Check every record."""
        super().__init__(options, options.annotations)
        self._folder = ImageFolder(find_images(options.annotations, options.images))
        self._file: JsonRecords | None = None
        self._spans = np.zeros((0, 2), np.int64)
        self.report.totals["files"] += 1
        try:
            self._file = JsonRecords(options.annotations, max_bytes=options.max_bytes)
            self._spans = self._scan(self._file)
        except InputError as error:
            if self.report.strict:
                raise
            bad = BadRecordError("files", "index cannot be read", str(error))
            self.report.skip(bad, options.annotations.name)

    def _scan(self, file: JsonRecords) -> np.ndarray:
        """Return (R, 2) positions of the records that can be used."""
        spans, ids = array("q"), set()
        for record in file.scan():
            if not self._is_row(record.section):
                continue
            self.report.totals[UNIT] += 1
            row = record.value
            try:
                if not isinstance(row, dict):
                    raise BadRecordError(UNIT, "record is no object", f"got {shorten(row)}")
                row = self._complete(row)
                own = row.get("id")
                if isinstance(own, int | str):
                    if own in ids:
                        raise BadRecordError(UNIT, "id repeats")
                    ids.add(own)
                self._check(row)
            except BadRecordError as bad:
                number = self.report.totals[UNIT]
                self.report.skip(
                    BadRecordError(UNIT, bad.reason, bad.detail), name_record(row, number)
                )
                continue
            spans.extend(record.span)
        return np.array(spans, np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        """Return the number of usable records."""
        return len(self._spans)

    def key(self, index: int) -> str:
        """Return the id or the image of a record."""
        return name_record(self.read_row(index), index + 1)

    def image_keys(self, index: int) -> tuple[str, ...]:
        """Return the names of the images of a record; its own where it has none."""
        names = tuple(map(strip_folders, self._list_images(self.read_row(index))))
        return names or super().image_keys(index)

    def read_row(self, index: int) -> dict[str, Any]:
        """Read a record again."""
        assert self._file is not None
        row: dict[str, Any] = self._file.read(
            (int(self._spans[index, 0]), int(self._spans[index, 1]))
        )
        return self._complete(row)

    def _is_row(self, section: str) -> bool:
        """Return whether the entries of a list of the file are records."""
        return True

    def _list_images(self, row: dict[str, Any]) -> list[Any]:
        """Return the file names of a record that was checked."""
        return list_images(row)

    def _complete(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a record with what other lists of the file say of it."""
        return row

    @abstractmethod
    def _check(self, row: dict[str, Any]) -> None:
        """Raise BadRecordError where a record cannot be used; images are looked for, not read."""


def name_record(row: Any, number: int) -> str:
    """Return what names a record in reports: its id, its image or its number."""
    if isinstance(row, Mapping):
        for name in ("id", "image", "source"):
            if isinstance(row.get(name), int | str):
                return str(row[name])
    return f"record {number}"
