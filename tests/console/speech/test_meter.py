from __future__ import annotations

import io

import pytest

from vl2_ros.console.speech.meter import LevelMeter, draw_level


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("level_db", "full"), [(-100.0, 0), (-60.0, 0), (-45.0, 6), (-30.0, 12), (0.0, 24)]
)
def test_the_bar_is_as_long_as_the_sound_is_loud(level_db, full):
    line = draw_level(level_db, is_speech=False)
    assert line.count("#") == full and line.endswith(f"{level_db:.0f} dB")
    assert draw_level(level_db, is_speech=True) == f"{line} speech"


def test_the_words_so_far_stand_behind_the_level_of_speech():
    line = draw_level(-30.0, is_speech=True, words="Find the")
    assert line == f"{draw_level(-30.0, is_speech=True)} Find the"
    assert draw_level(-30.0, is_speech=False, words="Find the").endswith("dB")


def test_the_line_never_wraps_and_shows_no_control_characters(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    LevelMeter(terminal).show(-30.0, is_speech=True, words="find\x1b[2J the\n" + "mug " * 40)
    assert len(terminal.getvalue()) == 60
    assert "\x1b" not in terminal.getvalue() and "\n" not in terminal.getvalue()


def test_one_line_is_drawn_over_and_removed(monkeypatch):
    monkeypatch.setattr("vl2_ros.console.speech.meter.PERIOD_S", 0.0)
    terminal = Terminal()
    meter = LevelMeter(terminal)
    meter.show(-30.0, is_speech=True)
    meter.show(-50.0, is_speech=False)
    meter.clear()
    meter.clear()
    drawn = terminal.getvalue().split("\r")
    assert "\n" not in terminal.getvalue() and len(drawn) == 5
    assert drawn[1].endswith("speech") and len(drawn[2]) == len(drawn[1])
    assert not drawn[3].strip() and len(drawn[3]) >= len(drawn[2].rstrip()) and drawn[4] == ""


def test_it_is_drawn_at_most_so_often():
    terminal = Terminal()
    meter = LevelMeter(terminal)
    for _ in range(100):
        meter.show(-30.0, is_speech=False)
    assert terminal.getvalue().count("\r") < 100


def test_nothing_is_drawn_into_a_file():
    file = io.StringIO()
    meter = LevelMeter(file)
    meter.show(-30.0, is_speech=False)
    meter.clear()
    assert file.getvalue() == ""
