from __future__ import annotations

import io
import unicodedata

import pytest

from vl2_ros.processing.printable import make_printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mug\x1b[2J\x1b]0;title\x07", r"mug\x1b[2J\x1b]0;title\x07"),
        ("a\nERROR vl2_ros: forged", r"a\nERROR vl2_ros: forged"),
        ("a\r\tb\x00\x7f\x9b", r"a\r\tb\x00\x7f\x9b"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\u202emug\u2066\u200f", r"\u202emug\u2066\u200f"),
        ("\ufeff\u200b\U000e0041", r"\ufeff\u200b\U000e0041"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_obeys_or_hides_is_shown(text, shown):
    assert make_printable(text) == shown


@pytest.mark.parametrize(
    "text", ["赤いカップ 🍵 – Tasse", "مرحبا", "👩‍🚀", "می‌خواهم", "%s {x} \\n"]
)
def test_every_language_stays_as_it_is(text):
    assert make_printable(text) == text


def test_no_character_at_all_breaks_a_line_or_a_stream():
    text = make_printable("".join(map(chr, range(0x110000))))
    assert len(text.splitlines()) == 1
    assert not {unicodedata.category(one) for one in text} & {"Cc", "Cs", "Zl", "Zp"}
    io.TextIOWrapper(io.BytesIO(), encoding="utf-8").write(text)


def test_lines_are_kept_where_they_are_wanted():
    assert make_printable("a\nb\r", keep_lines=True) == "a\nb\\r"


def test_long_text_is_cut_and_says_so():
    assert make_printable("x" * 10, most=10) == "x" * 10
    assert make_printable("x" * 11, most=10) == "x" * 10 + "... (11 characters)"


def test_what_is_no_text_is_shown_as_one():
    assert make_printable(ValueError("a\nb")) == r"a\nb"
