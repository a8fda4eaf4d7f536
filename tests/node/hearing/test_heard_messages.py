from __future__ import annotations

import pytest

from vl2_ros.errors import InputError
from vl2_ros.node.hearing.heard_messages import (
    HEARD_TYPE,
    ActionKind,
    make_heard,
    read_action,
    read_time_ns,
)
from vl2_ros.speech.dialogue import Ask, Repeat, SayAgain, StartWatch, StopAll, StopWatch
from vl2_ros.speech.listener import Utterance
from vl2_ros.transports.message_types import StoreMessageTypes, load_typestore

TYPES = StoreMessageTypes()
ACTIONS = (
    Ask("find the mug"),
    StartWatch("find the mugs"),
    StartWatch(""),
    StopAll(),
    StopWatch("mugs"),
    StopWatch(""),
    Repeat(),
    SayAgain(),
)


def make_utterance(action=None, *, accepted=True, reason="") -> Utterance:
    return Utterance("the words", 0.75, 1000.25, 1001.5, accepted, reason, action)


@pytest.mark.parametrize("action", ACTIONS, ids=repr)
def test_action_reaches_the_other_node(action):
    message = make_heard(TYPES, make_utterance(action), "heard-1")
    read = TYPES.deserialize(bytes(TYPES.serialize(message)), HEARD_TYPE)
    assert read_action(read) == action
    assert (read.text, read.score, read.accepted, read.command_id) == (
        "the words",
        0.75,
        True,
        "heard-1",
    )
    assert read_time_ns(read.start) == 1_000_250_000_000
    assert read_time_ns(read.end) == 1_001_500_000_000


def test_what_is_not_accepted_names_no_command_and_says_why():
    refused = make_utterance(Ask("find it"), accepted=False, reason="too uncertain")
    message = make_heard(TYPES, refused, "heard-1")
    assert (message.accepted, message.reason, message.command_id) == (False, "too uncertain", "")
    assert read_action(message) == Ask("find it")
    nothing = make_heard(TYPES, make_utterance(accepted=False, reason="no command"), "heard-1")
    assert nothing.action == ActionKind.NONE
    with pytest.raises(InputError, match="got 0"):
        read_action(nothing)


def test_kinds_are_the_constants_of_the_message():
    constants = {name: value for name, _, value in load_typestore().fielddefs[HEARD_TYPE][0]}
    assert {kind.name: kind.value for kind in ActionKind} == constants
