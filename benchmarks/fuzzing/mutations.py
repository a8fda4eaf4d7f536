"""Damage messages: their bytes as broken senders do, their fields as hostile ones do."""

from __future__ import annotations

import random
import struct
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

_LENGTHS = (0, 1, 2, 255, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
_FLOATS = (0.0, -0.0, -1.0, 1e-320, 1e30, -1e30, 1e308, float("inf"), float("-inf"), float("nan"))
_INTEGERS = (0, 1, 2, 4, 7, 255, 256, 65_535, 10_000, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1, -1)
_TEXTS = (
    "",
    " ",
    "a" * 5_000,
    "\x00",
    "\x1b[31m\n",
    "\ufffd",
    "<s>[DET]",
    "detect",
    "pose",
    "ß" * 300,
)
_TEXTS += (
    "16UC1",
    "32FC1",
    "bgr8",
    "bayer_rggb16",
    "yuyv",
    "equidistant",
    "16UC1; compressedDepth",
)
_LONGEST_LIST = 80
#: A mask that declares this many pixels and whose one run fills them.
_SIDES = (1, 7, 1_000, 10_000, 65_535, 2**32 - 1)


def damage_bytes(chance: random.Random, data: bytes) -> bytearray:
    """Change a few bytes or lengths, cut the end off, or put bytes in."""
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        kind, offset = chance.randrange(8), chance.randrange(len(damaged)) if damaged else 0
        if kind == 0 and damaged:
            damaged[offset] ^= 1 << chance.randrange(8)
        elif kind == 1 and damaged:
            damaged[offset] = chance.choice(_BYTES)
        elif kind in (2, 3) and len(damaged) >= 8:
            # Lengths and whole numbers lie on fours behind the encapsulation.
            offset = offset // 4 * 4 % (len(damaged) - 7)
            struct.pack_into("<I", damaged, offset // 4 * 4, chance.choice(_LENGTHS))
        elif kind == 4 and len(damaged) >= 12:
            offset = offset // 8 * 8 % (len(damaged) - 11) // 4 * 4
            struct.pack_into("<d", damaged, offset, chance.choice(_FLOATS))
        elif kind == 5:
            del damaged[offset:]
        elif kind == 6:
            damaged[offset:offset] = bytes(chance.choices(_BYTES, k=chance.randint(1, 16)))
        elif damaged:
            del damaged[offset : offset + chance.randint(1, 16)]
    return damaged


def damage_fields(chance: random.Random, message: Any) -> None:
    """Set a few fields to extreme values of their own kind, in place."""
    for _ in range(chance.randint(1, 3)):
        _damage_one(chance, message)


def _damage_one(chance: random.Random, message: Any) -> None:
    if hasattr(message, "counts") and chance.random() < 0.5:
        message.height, message.width = chance.choice(_SIDES), chance.choice(_SIDES)
        runs = np.array([0, message.height * message.width % 2**32], np.uint32)
        message.counts = runs
        return
    names = [one.name for one in fields(message) if not (one.name.isupper() or "__" in one.name)]
    if not names:
        return
    # Half of the damage goes deep: most of what is read lies in messages within messages.
    deep = [name for name in names if _holds_messages(getattr(message, name))]
    name = chance.choice(deep if deep and chance.random() < 0.5 else names)
    value = getattr(message, name)
    if is_dataclass(value):
        _damage_one(chance, value)
    elif isinstance(value, list):
        setattr(message, name, _damage_list(chance, value))
    else:
        setattr(message, name, _damage_value(chance, value))


def _holds_messages(value: Any) -> bool:
    return is_dataclass(value) or (isinstance(value, list) and is_dataclass(next(iter(value), 0)))


def _damage_list(chance: random.Random, values: list) -> list:
    kind = chance.randrange(10)
    if not values or kind == 0:
        return []
    if kind == 1:
        return (values * chance.choice((2, 3, 40)))[:_LONGEST_LIST]
    index = chance.randrange(len(values))
    if is_dataclass(values[index]):
        _damage_one(chance, values[index])
    else:
        values[index] = _damage_value(chance, values[index])
    return values


def _damage_value(chance: random.Random, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return chance.choice(_TEXTS)
    if isinstance(value, int):
        return chance.choice(_INTEGERS)
    if isinstance(value, float):
        return chance.choice(_FLOATS)
    return _damage_array(chance, value)


def _damage_array(chance: random.Random, value: np.ndarray) -> np.ndarray:
    kind = chance.randrange(5)
    if kind == 0 or not len(value):
        return np.zeros(chance.choice((0, 1, 6, 300)), value.dtype)
    if kind == 1:
        return value[: chance.randrange(len(value))]
    if kind == 2:
        return np.concatenate([value] * chance.choice((2, 5)))
    changed = value.copy()
    extremes = _FLOATS if value.dtype.kind == "f" else (0, 1, np.iinfo(value.dtype).max)
    changed[chance.randrange(len(changed))] = chance.choice(extremes)
    return changed
