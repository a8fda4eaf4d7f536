"""Count the items in the lists of a message from its bytes, before any of them is created.

A point, a prompt or an image without data takes a few bytes of a message and up to thirty times as
much as an object; numbers stay what they are, views of the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

from vl2_ros.errors import TransportError

#: Strings and messages in all lists of one message.
MAX_LISTED = 65_536
#: No listed item takes less than a string: a shorter message cannot contain too many.
_LEAST_BYTES = 4
_ENCAPSULATION_BYTES = 4
_SIZES = {"bool": 1, "byte": 1, "char": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2}
_SIZES |= {"int32": 4, "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8}


class LongList(Sequence[Any]):
    """Stands for a list with too many items to be created: it has a length but no items."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        """Return the number of items in the list, including those in nested lists."""
        return self._count

    def __iter__(self) -> Iterator[Any]:
        """Raise, as there are no items.

        Raises:
            TransportError: always.
        """
        raise TransportError(
            f"a list of the message has {self._count} items, at most {MAX_LISTED} are read; "
            "send less at once"
        )

    def __getitem__(self, index: Any) -> Any:
        """Raise as `__iter__` does."""
        return iter(self)


@dataclass(frozen=True, slots=True)
class Excess:
    """The first list of a message with which the message exceeds the limit.

    Attributes:
        field: its name in the message.
        start: where it begins behind the encapsulation, in bytes.
        count: number of its items.
    """

    field: str
    start: int
    count: int


def find_excess(
    store: Typestore, data: memoryview, type_name: str, most: int = MAX_LISTED
) -> Excess | None:
    """Find the list with which a message exceeds `most`; None if none does or it is damaged.

    Args:
        store: knows the type.
        data: CDR with its encapsulation.
        type_name: of the message.
        most: strings and messages allowed in all lists together.
    """
    if len(data) < most * _LEAST_BYTES + _ENCAPSULATION_BYTES:
        return None
    walk = _Walk(store, data[_ENCAPSULATION_BYTES:], bool(data[1]), most)
    for name, desc in store.fielddefs[type_name][1]:
        start, before = walk.offset, walk.listed
        try:
            walk.skip(desc)
        except struct.error:
            return None
        if walk.listed > most:
            return Excess(name, start, walk.listed - before)
    return None


def cut_off(store: Typestore, data: memoryview, type_name: str, excess: Excess) -> bytearray:
    """Return the message with zero and empty values instead of a list and all that follows."""
    cut = bytearray(data[: _ENCAPSULATION_BYTES + excess.start])
    fields = store.fielddefs[type_name][1]
    names = [name for name, _ in fields]
    for _, desc in fields[names.index(excess.field) :]:
        _append_empty(store, cut, desc, "<" if data[1] else ">")
    return cut


class _Walk:
    """Skips the fields of CDR without creating them."""

    def __init__(self, store: Typestore, data: memoryview, is_little: bool, most: int) -> None:
        self._store, self._data, self._most = store, data, most
        self._length = struct.Struct("<I" if is_little else ">I")
        self.offset, self.listed = 0, 0

    def skip(self, desc: Any) -> None:
        """Skip one field; stop early when too much was listed.

        Raises:
            struct.error: if the bytes end before it.
        """
        kind, detail = desc
        if kind == Nodetype.BASE:
            self._skip_values(detail[0], 1)
        elif kind == Nodetype.NAME:
            for _, inner in self._store.fielddefs[detail][1]:
                self.skip(inner)
        elif kind == Nodetype.ARRAY:
            self._skip_all(detail[0], detail[1])
        else:
            count = self._read_length()
            self.listed += 0 if _is_number(detail[0]) else count
            self._skip_all(detail[0], count)

    def _skip_all(self, desc: Any, count: int) -> None:
        if _is_number(desc):
            self._skip_values(desc[1][0], count)
            return
        for _ in range(count):
            if self.listed > self._most:
                return
            self.skip(desc)

    def _skip_values(self, name: str, count: int) -> None:
        if name == "string":
            length = self._read_length()
            self.offset += length
        elif count:
            size = _SIZES[name]
            self.offset = -(-self.offset // size) * size + count * size

    def _read_length(self) -> int:
        offset = -(-self.offset // 4) * 4
        (length,) = self._length.unpack_from(self._data, offset)
        self.offset = offset + 4
        return int(length)


def _is_number(desc: Any) -> bool:
    return bool(desc[0] == Nodetype.BASE and desc[1][0] != "string")


def _append_empty(store: Typestore, cut: bytearray, desc: Any, order: str) -> None:
    kind, detail = desc
    if kind == Nodetype.NAME:
        for _, inner in store.fielddefs[detail][1]:
            _append_empty(store, cut, inner, order)
    elif kind == Nodetype.ARRAY:
        for _ in range(detail[1]):
            _append_empty(store, cut, detail[0], order)
    elif kind == Nodetype.SEQUENCE:
        _append(cut, bytes(4), 4)
    elif detail[0] == "string":
        # A string counts the zero at its end.
        _append(cut, struct.pack(f"{order}I", 1) + b"\0", 4)
    else:
        _append(cut, bytes(_SIZES[detail[0]]), _SIZES[detail[0]])


def _append(cut: bytearray, value: bytes, alignment: int) -> None:
    cut += bytes(-(len(cut) - _ENCAPSULATION_BYTES) % alignment) + value
