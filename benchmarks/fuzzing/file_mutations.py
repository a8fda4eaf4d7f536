"""Damage files: their bytes, as disks and copies do, and their contents, as people do.

Nothing here aims at a library: values are of another kind, too large, too long or too deep.
"""

from __future__ import annotations

import copy
import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

_BYTES = (0x00, 0x01, 0x0A, 0x20, 0x22, 0x2C, 0x7B, 0x7F, 0x80, 0xFF)
_LENGTHS = (0, 1, 8, 255, 65_536, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**64 - 1)
_LONG_NAME = 3_000
#: What stands in place of a value; called, so that none is shared.
_VALUES: tuple[Callable[[], Any], ...] = (
    *(lambda: None, lambda: True, lambda: False, lambda: 0, lambda: -1, lambda: 1, lambda: 3),
    *(lambda: 2**31, lambda: 2**63, lambda: -(2**70), lambda: 10**400, lambda: 1_000_000),
    *(lambda: 0.5, lambda: -0.0, lambda: 1e308, lambda: 1e-320, lambda: 7.0),
    *(lambda: float("nan"), lambda: float("inf"), lambda: float("-inf")),
    *(lambda: "", lambda: "12", lambda: "a" * _LONG_NAME, lambda: "ü" * 300, lambda: "\ud800"),
    *(lambda: "\x00", lambda: "../../x", lambda: "/", lambda: "\x1b[31m\nERROR", lambda: "nan"),
    *(lambda: [], lambda: {}, lambda: [None], lambda: [[]], lambda: {"": {}}, lambda: [1, 2, 3]),
    *(
        lambda: [-1, 0, 2**40],
        lambda: {"a" * _LONG_NAME: 1},
        lambda: ["x"] * 70,
        lambda: [1.5, "a"],
    ),
)
_DEPTHS = (5, 70, 300, 2_000)
#: What becomes many brackets once it is text: writers of JSON and YAML have depths of their own.
_MARK = "deep-{depth}-here"
_MARKED = re.compile(r'"?deep-(\d+)-here"?')


def damage_bytes(chance: random.Random, data: bytes) -> bytes:
    """Change a few bytes or lengths, cut, double or remove a piece."""
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        kind, offset = chance.randrange(8), chance.randrange(len(damaged)) if damaged else 0
        if kind == 0 and damaged:
            damaged[offset] ^= 1 << chance.randrange(8)
        elif kind == 1 and damaged:
            damaged[offset] = chance.choice(_BYTES)
        elif kind == 2 and len(damaged) >= 8:
            # The first words of binary files are lengths.
            start = chance.choice((0, offset % (len(damaged) - 7)))
            struct.pack_into("<Q", damaged, start, chance.choice(_LENGTHS))
        elif kind == 3:
            del damaged[offset:]
        elif kind == 4:
            damaged[offset:offset] = bytes(chance.choices(_BYTES, k=chance.randint(1, 16)))
        elif kind == 5:
            damaged[offset:offset] = damaged[offset : offset + chance.randint(1, 64)]
        elif kind == 6:
            # Near the front, where headers are.
            front = offset % min(len(damaged), 200) if damaged else 0
            del damaged[front : front + chance.randint(1, 16)]
        else:
            del damaged[offset : offset + chance.randint(1, 64)]
    return bytes(damaged)


def damage_text(chance: random.Random, data: bytes) -> bytes:
    """Write a text in another encoding, or damage its bytes or its lines."""
    kind, text = chance.randrange(7), data.decode("utf-8", errors="replace")
    if kind == 0:
        return text.encode(chance.choice(("utf-16", "utf-32", "utf-8-sig")))
    if kind == 1:
        return (text + "ä").encode("latin-1", errors="replace")
    if kind == 2:
        return chance.choice((b"", b"null", b"3", b'"text"', b"[]", b"{}", b"\x00" * 40, b"- ["))
    if kind == 3:
        return data + chance.choice((b"}", b",", b"\x00", b"[" * 5_000, b"{" * 300, b"\xff" * 20))
    if kind == 4:
        lines = text.splitlines(keepends=True)
        chance.shuffle(lines)
        return "".join(lines).encode()
    return damage_bytes(chance, data)


def damage_json(chance: random.Random, document: Any) -> Any:
    """Return a document with one to three values or names changed."""
    damaged = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        damaged = _damage_one(chance, damaged)
    return damaged


def dump_json(chance: random.Random, document: Any) -> bytes:
    """Write a document as JSON, now and then with a name that stands twice."""
    text = json.dumps(document)
    if isinstance(document, dict) and document and chance.random() < 0.1:
        name = chance.choice(list(document))
        text = f"{text[:-1]}, {json.dumps(name)}: {json.dumps(chance.choice(_VALUES)())}}}"
    return nest_marked(text).encode()


def nest_marked(text: str) -> str:
    """Put brackets where a document was marked to be deep."""

    def nest(found: re.Match[str]) -> str:
        half = int(found[1]) // 2
        return "[" * half + '{"a":' * half + "1" + "}" * half + "]" * half

    return _MARKED.sub(nest, text)


def _damage_one(chance: random.Random, value: Any) -> Any:
    # Half of the way down is as likely as the leaves.
    if not isinstance(value, dict | list) or not value or chance.random() < 0.12:
        return _replace(chance, value)
    if isinstance(value, list):
        index = chance.randrange(len(value))
        kind = chance.random()
        if kind < 0.1:
            del value[index]
        elif kind < 0.2:
            value.insert(index, copy.deepcopy(value[index]))
        else:
            value[index] = _damage_one(chance, value[index])
        return value
    name = chance.choice(list(value))
    kind = chance.random()
    if kind < 0.1:
        del value[name]
    elif kind < 0.2:
        value[chance.choice(("x", "a" * _LONG_NAME, "", "\x00", name.upper()))] = value.pop(name)
    else:
        value[name] = _damage_one(chance, value[name])
    return value


def _replace(chance: random.Random, value: Any) -> Any:
    if chance.random() < 0.05:
        return _MARK.format(depth=chance.choice(_DEPTHS))
    if isinstance(value, int | float) and not isinstance(value, bool) and chance.random() < 0.4:
        factor = chance.choice((-1, 2, 1000, 10**6, 10**12, 0.5))
        return value * factor if abs(value) < 1e100 else 0
    if isinstance(value, int | float) and chance.random() < 0.2:
        return str(value)
    return chance.choice(_VALUES)()
