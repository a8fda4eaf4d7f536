from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.model.language.slots import find_slots, gather_slots, insert_slots, slot_counts
from vl2_ros.model.language.tokens import ROUTING_TABLES, TokenIds

TOKENS = TokenIds.from_base(64)
COUNTS = slot_counts(TOKENS, num_embs=4, num_embs_gen=6)
ID = {token: token_id for token_id, token in TOKENS.routing.items()}
EMB = list(TOKENS.slots[:4])


def test_counts_follow_the_query_tables():
    assert set(COUNTS) == set(ID.values())
    for token, table in ROUTING_TABLES.items():
        assert COUNTS[ID[token]] == (6 if table in ("gen", "edit") else 4)


def test_two_routing_tokens_without_slots_shift_each_other():
    row = [1, 10, ID["[DET]"], 11, ID["[POSE]"]]
    assert insert_slots(row, TOKENS, COUNTS) == [
        *(1, 10, ID["[DET]"]),
        *EMB,
        *(11, ID["[POSE]"]),
        *EMB,
    ]


def test_neighbouring_routing_tokens_each_get_slots():
    row = [ID["[DET]"], ID["[SEG]"]]
    assert insert_slots(row, TOKENS, COUNTS) == [ID["[DET]"], *EMB, ID["[SEG]"], *EMB]


def test_present_slots_are_kept_and_missing_ones_added():
    first = TOKENS.slots[0]
    row = [ID["[DET]"], first, first, first, first, 9, ID["[GRD]"], 8]
    expected = [ID["[DET]"], first, first, first, first, 9, ID["[GRD]"], *EMB, 8]
    assert insert_slots(row, TOKENS, COUNTS) == expected
    assert insert_slots(expected, TOKENS, COUNTS) == expected


def test_generation_slots_repeat_the_first_id():
    assert insert_slots([ID["[EDIT]"]], TOKENS, COUNTS) == [ID["[EDIT]"], *[TOKENS.slots[0]] * 6]


def test_row_without_routing_token_is_unchanged():
    assert insert_slots(np.array([1, 2, 3]), TOKENS, COUNTS) == [1, 2, 3]
    assert insert_slots([], TOKENS, COUNTS) == []
    assert find_slots([1, 2, 3], TOKENS, COUNTS) == []


@pytest.mark.parametrize("present", [1, 3])
def test_half_a_group_is_refused(present: int):
    with pytest.raises(InputError, match=rf"\[DET\] at position 1 is followed by {present}"):
        insert_slots([1, ID["[DET]"], *EMB[:present], 5], TOKENS, COUNTS)


def test_slots_are_found_whatever_ids_they_bear():
    row = [1, ID["[SEG]"], 5, 6, 7, ID["[POSE]"], 8, ID["[GEN]"], *range(6)]
    spans = find_slots(row, TOKENS, COUNTS)
    assert [(span.route, span.start, span.count) for span in spans] == [
        ("[SEG]", 2, 4),
        ("[GEN]", 8, 6),
    ]


def test_cut_group_is_refused():
    with pytest.raises(InputError, match="needs 4 slots after it, the row has 2"):
        find_slots([1, ID["[DET]"], *EMB[:2]], TOKENS, COUNTS)


def test_states_are_read_at_the_slots():
    row = insert_slots([1, ID["[DET]"], 7, ID["[SEG]"]], TOKENS, COUNTS)
    hidden = np.arange(len(row) * 3).reshape(len(row), 3)
    groups = gather_slots(hidden, row, TOKENS, COUNTS)
    assert [(group.route, group.start) for group in groups] == [("[DET]", 2), ("[SEG]", 8)]
    assert np.array_equal(groups[1].states, hidden[8:12])
