from __future__ import annotations

import json

import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.structures import PromptKind
from vl2_ros.views.live.page_commands import PageMode, read_page_command


def test_sentence_with_a_point_and_a_box():
    prompts = [
        {"kind": "point", "points": [[3, 4.5]]},
        {"kind": "box", "points": [[1, 2], [30, 40]]},
    ]
    text = json.dumps({"type": "ask", "text": "what is this?", "prompts": prompts})
    command = read_page_command(text)
    assert command.mode is PageMode.ASK and command.text == "what is this?"
    point, box = command.visual_prompts
    assert (point.kind, box.kind) == (PromptKind.POINT, PromptKind.BOX)
    np.testing.assert_array_equal(point.points_xy, [[3, 4.5]])
    np.testing.assert_array_equal(box.points_xy, [[1, 2], [30, 40]])


def test_watch_stop_and_shown():
    assert read_page_command('{"type": "watch", "text": "find it"}').mode is PageMode.WATCH
    stop = read_page_command('{"type": "stop", "id": "view-1"}')
    assert (stop.mode, stop.id) == (PageMode.STOP, "view-1")
    assert read_page_command('{"type": "shown"}').mode is PageMode.SHOWN


def point(*numbers: object) -> dict:
    return {"type": "ask", "text": "a", "prompts": [{"kind": "point", "points": [list(numbers)]}]}


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "nested"),
        ("[]", "must be an object"),
        ("{}", "type must be one of"),
        ({"type": "reboot"}, "type must be one of"),
        ({"type": ["ask"]}, "type must be one of"),
        ({"type": "ask"}, "text must be a text"),
        ({"type": "ask", "text": "  "}, "1 to 4000 characters"),
        ({"type": "ask", "text": "x" * 4001}, "1 to 4000 characters"),
        ({"type": "stop", "id": ""}, "1 to 256 characters"),
        ({"type": "stop", "id": 7}, "id must be a text"),
        ({"type": "ask", "text": "a", "prompts": {}}, "prompts must be a list"),
        ({"type": "ask", "text": "a", "prompts": [7]}, "must be an object"),
        ({"type": "ask", "text": "a", "prompts": [{"kind": "mask"}]}, "point, box"),
        ({"type": "ask", "text": "a", "prompts": [{"kind": "box", "points": [[1, 2]]}]}, "2"),
        ({"type": "ask", "text": "a", "prompts": [{"kind": "point", "points": [1, 2]}]}, "pairs"),
        (point(1), "pairs"),
        (point(1, "2"), "coordinate"),
        (point(-1, 2), "coordinate"),
        (point(1e9, 2), "coordinate"),
        ({"type": "ask", "text": "a", "prompts": point(1, 2)["prompts"] * 65}, "64"),
    ],
)
def test_other_messages_are_named(message, named):
    text = message if isinstance(message, str) else json.dumps(message)
    with pytest.raises(InputError, match=named):
        read_page_command(text)
