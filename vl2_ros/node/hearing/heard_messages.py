"""Make and read vl2_ros/Utterance: what was heard, and what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

from vl2_ros.errors import InputError
from vl2_ros.node.transport import MessageTypes, Qos
from vl2_ros.speech.dialogue import (
    Action,
    Ask,
    Repeat,
    SayAgain,
    StartWatch,
    StopAll,
    StopWatch,
)
from vl2_ros.speech.listener import Utterance

HEARD_TOPIC, HEARD_TYPE = "~/heard", "vl2_ros/msg/Utterance"
#: Sentences come slowly, and none of them may be lost.
HEARD_QOS = Qos(depth=100, keep_all=True)
_TIME = "builtin_interfaces/msg/Time"

Value = TypeVar("Value")


class ActionKind(IntEnum):
    """Utterance.action."""

    NONE = 0
    ASK = 1
    WATCH = 2
    STOP_ALL = 3
    STOP_WATCH = 4
    REPEAT = 5
    SAY_AGAIN = 6


#: How each kind with words is made of them, and each without.
_WITH_WORDS: dict[ActionKind, Callable[[str], Action]] = {
    ActionKind.ASK: Ask,
    ActionKind.WATCH: StartWatch,
    ActionKind.STOP_WATCH: StopWatch,
}
_WITHOUT: dict[ActionKind, Callable[[], Action]] = {
    ActionKind.STOP_ALL: StopAll,
    ActionKind.REPEAT: Repeat,
    ActionKind.SAY_AGAIN: SayAgain,
}
_KINDS: dict[Any, ActionKind] = {made: kind for kind, made in (_WITH_WORDS | _WITHOUT).items()}


def make_heard(types: MessageTypes, utterance: Utterance, command_id: str) -> Any:
    """Make the Utterance message of what was heard.

    Args:
        types: makes the transport's message classes.
        utterance: with its times in seconds since the epoch.
        command_id: of what is done; used where the utterance is accepted.
    """
    action = utterance.action
    return types.make(
        HEARD_TYPE,
        start=_make_time(types, utterance.start_s),
        end=_make_time(types, utterance.end_s),
        text=utterance.text,
        score=float(utterance.score),
        accepted=utterance.accepted,
        reason=utterance.reason,
        action=int(ActionKind.NONE if action is None else _KINDS[type(action)]),
        command=getattr(action, "text", ""),
        command_id=command_id if utterance.accepted else "",
    )


def read_action(message: Any) -> Action:
    """Read what an Utterance message asks for.

    Raises:
        InputError: if it asks for nothing, or for what is not known.
    """
    try:
        kind = ActionKind(message.action)
        made = _WITH_WORDS.get(kind)
        return _WITHOUT[kind]() if made is None else made(str(message.command))
    except (KeyError, ValueError):
        kinds = ", ".join(f"{one.value} ({one.name})" for one in ActionKind if one.value)
        raise InputError(
            f"an accepted utterance must have one of the actions {kinds}, got {message.action}"
        ) from None


def read_time_ns(message: Any) -> int:
    """Read a builtin_interfaces/Time, in nanoseconds since the epoch."""
    return int(message.sec) * 1_000_000_000 + int(message.nanosec)


def _make_time(types: MessageTypes, seconds: float) -> Any:
    whole, nanoseconds = divmod(max(0, round(seconds * 1e9)), 1_000_000_000)
    return types.make(_TIME, sec=whole, nanosec=nanoseconds)
