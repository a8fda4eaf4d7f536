"""Insert super-link slots into a row of ids, find them, and read the states at them.

Ids and slicing only: serves numpy arrays and tensors alike and imports neither library
(docs/spec/core.md, section 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vl2_ros.errors import InputError
from vl2_ros.model.language.tokens import ROUTING_TABLES, TokenIds
from vl2_ros.model.parts import IMAGE_PARTS

#: Query tables whose routes open `num_embs_gen` slots; the others open `num_embs`.
GENERATION_TABLES = frozenset(part.query_table for part in IMAGE_PARTS.values())


@dataclass(frozen=True, slots=True)
class SlotSpan:
    """The slots that one routing token opened.

    Attributes:
        route: the routing token, such as `[DET]`.
        start: index of the first slot in the row; the routing token is at `start - 1`.
        count: number of slots.
    """

    route: str
    start: int
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class SlotGroup:
    """Super-link states of one routing token.

    Attributes:
        route: the routing token, such as `[DET]`.
        start: index of the first slot in the row.
        states: (K, C) LLM states at the slots, after the final norm.
    """

    route: str
    start: int
    states: Any


def slot_counts(tokens: TokenIds, *, num_embs: int, num_embs_gen: int) -> dict[int, int]:
    """Map the id of each routing token to the number of slots that it opens."""
    return {
        token_id: num_embs_gen if ROUTING_TABLES[token] in GENERATION_TABLES else num_embs
        for token_id, token in tokens.routing.items()
    }


def insert_slots(ids: Iterable[int], tokens: TokenIds, counts: Mapping[int, int]) -> list[int]:
    """Write slot ids after every routing token that has none yet, left to right.

    Args:
        ids: one row; may have routing tokens with and without slots.
        tokens: ids of the special tokens.
        counts: slots per routing id, from `slot_counts`.

    Raises:
        InputError: if a routing token is followed by some of its slots but not by all.
    """
    row = [int(value) for value in ids]
    known_slots = set(tokens.slots)
    result: list[int] = []
    index = 0
    while index < len(row):
        token_id = row[index]
        result.append(token_id)
        index += 1
        count = counts.get(token_id, 0)
        present = _count_leading(row[index : index + count], known_slots)
        if present not in (0, count):
            raise InputError(
                f"{tokens.routing[token_id]} at position {index - 1} is followed by {present} "
                f"slots; expected none or {count}"
            )
        if present:
            result.extend(row[index : index + present])
        elif count:
            result.extend(_new_slot_ids(tokens.routing[token_id], tokens, count))
        index += present
    return result


def _new_slot_ids(route: str, tokens: TokenIds, count: int) -> list[int]:
    # Training text has [EMB] [EMB2].. after a perception route, and [EMB] alone after the others.
    if ROUTING_TABLES[route] in GENERATION_TABLES:
        return [tokens.slots[0]] * count
    return tokens.slot_ids(count)


def _count_leading(ids: Sequence[int], known: set[int]) -> int:
    return next((index for index, value in enumerate(ids) if value not in known), len(ids))


def find_slots(ids: Iterable[int], tokens: TokenIds, counts: Mapping[int, int]) -> list[SlotSpan]:
    """Find the slots of every routing token in a row that has them, whatever ids they bear.

    Raises:
        InputError: if the row ends before the slots of a routing token do.
    """
    row = [int(value) for value in ids]
    spans: list[SlotSpan] = []
    index = 0
    while index < len(row):
        count = counts.get(row[index], 0)
        index += 1
        if not count:
            continue
        route = tokens.routing[row[index - 1]]
        if index + count > len(row):
            raise InputError(
                f"{route} at position {index - 1} needs {count} slots after it, the row has "
                f"{len(row) - index} positions left; insert the slots or cut the row earlier"
            )
        spans.append(SlotSpan(route, index, count))
        index += count
    return spans


def gather_slots(
    hidden: Any, ids: Sequence[int], tokens: TokenIds, counts: Mapping[int, int]
) -> list[SlotGroup]:
    """Read the states of each routing token of one row, in sequence order.

    Args:
        hidden: (T, C) numpy array or tensor, LLM states after the final norm.
        ids: (T,) the ids that were fed, slots included.
        tokens: ids of the special tokens.
        counts: slots per routing id, from `slot_counts`.
    """
    return [
        SlotGroup(span.route, span.start, hidden[span.start : span.start + span.count])
        for span in find_slots(ids, tokens, counts)
    ]
