"""JSON documents, one a line."""

from __future__ import annotations

import json
from typing import TextIO

from vl2_ros.views.formats.writer import Entry


class JsonLinesWriter:
    """Writes each document at once, so that a program can follow through a pipe.

    Args:
        file: open for text.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, entry: Entry) -> None:
        """Write a line."""
        self._file.write(json.dumps(entry.document) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing is left."""
