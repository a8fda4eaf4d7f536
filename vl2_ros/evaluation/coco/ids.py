"""Map the ids of COCO documents, numbers or texts, to the library's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vl2_ros.documents import shorten
from vl2_ros.errors import InputError

_SHOWN = 5


class IdNumbers:
    """Numbers from 1 on for the ids of a list of rows, in the order in which the COCO API sorts.

    So ties between equal scores are broken as the COCO API breaks them.

    Args:
        what: one of the rows, for messages.
        rows: each with an id, a number or a text; their names, if they have some, are known too.

    Raises:
        InputError: if a row has no id.
    """

    def __init__(self, what: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Sort the ids, texts behind numbers."""
        ids = {require(row, "id", f"{what} {index}") for index, row in enumerate(rows)}
        ordered = sorted(ids, key=lambda one: (isinstance(one, str), one))
        self._numbers = {one: number for number, one in enumerate(ordered, 1)}
        self._names = {
            row["name"]: self._numbers[row["id"]]
            for row in rows
            if isinstance(row.get("name"), str)
        }

    def __len__(self) -> int:
        """Return how many different ids there are."""
        return len(self._numbers)

    def __str__(self) -> str:
        """Return some of the ids, for a message."""
        shown = ", ".join(shorten(one) for one in list(self._numbers)[:_SHOWN])
        return f"{shown}, ..." if len(self) > _SHOWN else shown or "none"

    def find(self, value: Any) -> int | None:
        """Return the number of an id or a name, None if it is neither.

        Spreadsheets make numbers of texts and texts of numbers: 7, 7.0 and "7" are one id unless
        the rows have several of them.
        """
        if value in self._numbers:
            return self._numbers[value]
        if isinstance(value, str):
            return self._names.get(value) or self._numbers.get(_read_number(value))
        if isinstance(value, int | float) and value == int(value):
            return self._numbers.get(str(int(value)))
        return None


def require(row: Mapping[str, Any], name: str, what: str) -> Any:
    """Return a field of a row.

    Raises:
        InputError: if the row lacks it.
    """
    if name not in row:
        raise InputError(f"{what} has no {name}, got {shorten(dict(row))}; expected one in each")
    return row[name]


def _read_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
