from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest

from vl2_ros.clients.received_result import ReceivedResult
from vl2_ros.console.display import (
    describe_received,
    format_received,
    list_found,
    print_answer,
    print_facts,
    print_json,
    print_received,
    print_rows,
    print_text,
    show_error,
    show_note,
    show_progress,
    show_stages,
)
from vl2_ros.node.request import Status
from vl2_ros.structures import Branch, Detections, Result, Route

FOUND = Detections(
    np.array([[1, 2, 30, 40]], np.float32),
    np.array([0.875], np.float32),
    np.zeros(1, np.int64),
    ("red [mug]",),
)


@pytest.fixture
def received() -> ReceivedResult:
    branches = (Branch(Route.DETECT, ("red [mug]",), FOUND),)
    stage_ms = {"queue": 1.0, "language": 41.0}
    result = Result("ask-1", 12_345_678_901, "camera_link", "I found it.", branches, stage_ms)
    rest = {"model": "tiny", "model_identity": "0a", "engine": "torch cpu"}
    return ReceivedResult(result, Status.OK, "", "find it", "/image", True, 3, **rest)


def test_result_is_one_line(received):
    assert format_received(received) == (
        "OK       12.345 /image | ask-1#3 | I found it. | [DET] red [mug] (0.88, 1 2 30 40) | 42 ms"
    )


@pytest.mark.parametrize("text", ["two\nlines", "two\r\nlines", "two\x0blines"])
def test_line_breaks_in_answers_make_no_second_line(received, text):
    line = format_received(replace(received, result=replace(received.result, text=text)))
    assert "two lines" in line and len(line.splitlines()) == 1


def test_an_instance_is_listed_with_its_track(received):
    branch = Branch(Route.DETECT, FOUND.labels, replace(FOUND, track_ids=np.array([4])))
    tracked = replace(received.result, branches=(branch,))
    assert list_found(tracked) == "[DET] red [mug] #4 (0.88, 1 2 30 40)"
    assert list_found(received.result) == "[DET] red [mug] (0.88, 1 2 30 40)"


EVIL = "\x1b[2J\x9b31m\u202eevil\x07\u2028"


def test_strangers_text_cannot_steer_the_terminal_or_forge_lines(received, capsys):
    evil = f"one\r\n{EVIL}"
    found = replace(FOUND, labels=(evil,))
    result = replace(
        received.result,
        command_id=evil,
        text=evil,
        frame_id=evil,
        branches=(Branch(Route.DETECT, (evil,), found),),
    )
    all_evil = replace(
        received, result=result, message=evil, text=evil, camera=evil, model=evil, engine=evil
    )
    line = format_received(all_evil)
    assert len(line.splitlines()) == 1 and line.isprintable()
    print_received(all_evil, as_json=False)
    print_answer(evil, result, 0.1)
    print_facts({evil: evil, "more": {evil: evil}})
    print_rows([{"name": evil}])
    show_error(evil)
    show_note(evil)
    shown = "".join(capsys.readouterr())
    assert shown.replace("\n", "").isprintable()
    # Of an instance's name not even a line feed is obeyed.
    assert len(list_found(result).splitlines()) == 1
    assert r"\x1b[2J" in shown


def test_json_is_plain_ascii(received, capsys):
    print_received(replace(received, message=EVIL), as_json=True)
    shown = capsys.readouterr().out
    assert shown.isascii() and shown.strip().isprintable()


def test_refusal_shows_its_message_and_no_stamp(received):
    nothing = Result("ask-1", 0, "", "")
    refused = replace(received, result=nothing, status=Status.EXPIRED, message="too late")
    assert format_received(refused) == "EXPIRED  - /image | ask-1#3 | too late | 0 ms"


def test_an_answer_with_a_message_shows_both(received):
    noted = replace(received, message="it has no place in space")
    assert " | I found it. | it has no place in space | [DET] " in format_received(noted)


def test_what_a_person_should_know_goes_to_standard_error(received, capsys):
    for in_domain, shown in ((None, False), (True, False), (False, True)):
        result = replace(received.result, in_domain=in_domain)
        print_answer(None, result, 0.1)
        printed = capsys.readouterr()
        assert ("unlike those that the model was trained on" in printed.err) == shown
        assert "unlike" not in printed.out and len(printed.err.splitlines()) == shown


def test_json_of_a_result_names_command_image_and_model(received):
    document = json.loads(json.dumps(describe_received(received)))
    assert document["command"] == "find it" and document["command_id"] == "ask-1"
    assert (document["stamp_ns"], document["frame_id"]) == (12_345_678_901, "camera_link")
    assert (document["status"], document["is_final"], document["sequence"]) == ("OK", True, 3)
    assert document["instances"][0]["label"] == "red [mug]"
    assert document["model"] == "tiny" and document["engine"] == "torch cpu"


def test_text_is_printed_as_it_is(capsys):
    print_text("[bold]:bread: 12:30 " + "long " * 50)
    assert capsys.readouterr().out == "[bold]:bread: 12:30 " + "long " * 50 + "\n"


def test_json_is_one_line_and_text_for_people_goes_to_standard_error(capsys):
    print_json({"a": "b\nc"})
    show_note("a note")
    show_error("a [mistake]")
    streams = capsys.readouterr()
    assert streams.out == '{"a": "b\\nc"}\n'
    assert streams.err == "a note\nerror: a [mistake]\n"


def test_without_a_terminal_what_takes_long_prints_status_lines(monkeypatch, capsys):
    monkeypatch.setattr("vl2_ros.console.display.STATUS_PERIOD_S", 0.02)
    with show_progress("asking") as show:
        show(3, 12)
        deadline = time.monotonic() + 10
        lines: list[str] = []
        while not lines and time.monotonic() < deadline:
            time.sleep(0.02)
            lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"asking 3 of 12, \d+ s", lines[0])


def test_stages_are_shown_with_their_share(monkeypatch, capsys):
    monkeypatch.setattr("vl2_ros.console.display.STATUS_PERIOD_S", 0.02)
    with show_stages("loading") as show:
        show("loading, 3.6 of 14.4 GB,", 0.25)
        deadline = time.monotonic() + 10
        lines: list[str] = []
        while not lines and time.monotonic() < deadline:
            time.sleep(0.02)
            lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"loading, 3\.6 of 14\.4 GB, 25%, \d+ s", lines[0])


def test_what_is_short_prints_no_status_line(capsys):
    with show_progress("asking"):
        pass
    assert capsys.readouterr().err == ""
