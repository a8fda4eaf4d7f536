from __future__ import annotations

from pathlib import Path

from vl2_ros.sim.household.kinds import (
    DISTRACTOR,
    HOUSEHOLD_KINDS,
    HUNG,
    KINDS,
    ROOM_LETTERS,
    list_models,
    models_of,
    split_models,
    write_credits,
)
from vl2_ros.sim.household.pool import MODELS_PER_POOL, draw_rows
from vl2_ros.sim.household.skeletons import KEYPOINTS, skeleton_of

LICENCES = {"CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-US"}


def test_every_kind_has_models_and_every_model_credits() -> None:
    rows = list_models()
    assert {row.kind for row in rows} == set(KINDS)
    assert len({row.identifier for row in rows}) == len(rows)
    assert {row.licence for row in rows} == LICENCES
    assert all(row.creator.strip() for row in rows)
    assert set(HUNG) <= {row.identifier for row in rows}
    for kind in KINDS.values():
        assert kind.rooms and set(kind.rooms) <= set(ROOM_LETTERS)


def test_credits_name_every_model_once() -> None:
    text = write_credits()
    for row in list_models():
        named = [line for line in text.splitlines() if row.identifier in line.split(": ", 1)[1]]
        assert any(line.startswith(f"{row.licence}, {row.creator}: ") for line in named)


def test_the_notice_has_all_credits() -> None:
    notice = (Path(__file__).resolve().parents[3] / "NOTICE").read_text(encoding="utf-8")
    assert notice.endswith(f"\n\n{write_credits()}\n")


def test_every_person_has_a_skeleton() -> None:
    for row in models_of("person"):
        skeleton = skeleton_of(row.identifier)
        assert skeleton is not None and skeleton.shape == (len(KEYPOINTS), 3)
        # Eyes lie within a hand's width, hips and shoulders within an arm's length.
        assert 0.02 < abs(skeleton[1] - skeleton[2]).max() < 0.15, row.identifier
        assert abs(skeleton[5] - skeleton[6]).max() < 0.6, row.identifier
        assert abs(skeleton[11] - skeleton[12]).max() < 0.5, row.identifier


def test_a_pool_depends_on_its_block_and_fits_its_room() -> None:
    rooms = set()
    for block in range(40):
        room, rows = draw_rows(block)
        rooms.add(room)
        assert (room, rows) == draw_rows(block)
        assert len({row.identifier for row in rows}) == len(rows) <= MODELS_PER_POOL
        letter = next(key for key, value in ROOM_LETTERS.items() if value is room)
        assert all(letter in KINDS[row.kind].rooms for row in rows)
        assert sum(row.kind == DISTRACTOR for row in rows) < len(rows) / 2
    assert rooms == set(ROOM_LETTERS.values())


def test_held_out_models_are_a_fifth_of_the_kinds_that_have_enough() -> None:
    for kind in KINDS:
        every = models_of(kind)
        trained, held_out = (split_models(kind, held_out=part) for part in (False, True))
        if len(every) < 3:
            assert trained == held_out == every
        else:
            assert set(trained) | set(held_out) == set(every) and not set(trained) & set(held_out)
            assert 0.1 < len(held_out) / len(every) < 0.35


def test_pools_of_held_out_blocks_have_no_model_of_training() -> None:
    trained = {row for kind in KINDS for row in split_models(kind, held_out=False)} - {
        row for kind in KINDS for row in split_models(kind, held_out=True)
    }
    for block in range(20):
        assert not trained & set(draw_rows(block, held_out=True)[1])
        assert trained & set(draw_rows(block)[1])


def test_named_kinds_are_those_of_models() -> None:
    assert set(HOUSEHOLD_KINDS) < set(KINDS) and len(set(HOUSEHOLD_KINDS)) == len(HOUSEHOLD_KINDS)
    assert DISTRACTOR not in HOUSEHOLD_KINDS and "person" in HOUSEHOLD_KINDS
