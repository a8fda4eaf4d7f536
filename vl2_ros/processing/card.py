"""The card of a checkpoint: what it says of itself, and the things that it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vl2_ros.documents import is_file, read_json_object
from vl2_ros.errors import CheckpointError

FILE_NAME = "card.json"


def read_card(folder: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself; nothing where it has no card.

    Raises:
        CheckpointError: if the card cannot be read.
    """
    path = folder / FILE_NAME
    return dict(read_json_object(path, CheckpointError)) if is_file(path) else {}


def find_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the things that a checkpoint was trained on; none where it has no card.

    Raises:
        CheckpointError: if the card cannot be read.
    """
    knows = read_card(folder).get("knows")
    kinds = knows.get("kinds") if isinstance(knows, dict) else None
    return tuple(map(str, kinds)) if isinstance(kinds, list) else ()
