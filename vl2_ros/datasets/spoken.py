"""Commands put together from the tables of spoken frames: one sentence for a route and its things.

Knows words, not images. What comes out still gets the noise of speech from `wording`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vl2_ros.datasets.phrasings import (
    LABELS,
    NEGATIONS,
    OWNED,
    PARTICIPLES,
    PASSIVES,
    REMARKS_ON_ONE,
    REQUESTS,
    SPOKEN_SENTENCES,
    SPOKEN_VERBS,
    VERBS,
    WANTED,
)
from vl2_ros.datasets.questions import POINTERS, SPOKEN_NOTHING_NAMED
from vl2_ros.datasets.wording import (
    Thing,
    chance,
    insert_things,
    open_sentence,
    pick,
    say_things,
    spoken_words,
)
from vl2_ros.structures import Route

_JOINTS = (". ", ". ", ". ", ", ", ", ", ": ", "; ", ", so ", ", please ", ", could you ", " - ")
_DOUBLED = frozenset(
    (
        *("put", "set", "get", "cut", "run", "dig", "clip", "snip", "trim"),
        *("crop", "split", "strip", "drop", "slap", "spot", "scan", "hit", "stop"),
        *("wrap", "nod", "spin", "pin", "tag", "map", "let", "sit", "begin"),
    )
)


def to_gerund(base: str) -> str:
    """Put the verb that begins a phrase into its -ing form.

    Example:
        >>> to_gerund("put a mask on {x}"), to_gerund("trace"), to_gerund("see if")
        ('putting a mask on {x}', 'tracing', 'seeing if')
    """
    verb, _, rest = base.partition(" ")
    if verb in _DOUBLED:
        verb += verb[-1]
    elif verb.endswith("ie"):
        verb = verb[:-2] + "y"
    elif verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")) and verb != "be":
        verb = verb[:-1]
    return f"{verb}ing {rest}".strip()


def spoken_verb(rng: np.random.Generator, route: Route) -> tuple[str, str]:
    """Draw a verb phrase of the route, base and -ing form, from the larger tables."""
    if chance(rng, 0.3):
        return pick(rng, VERBS[route])
    base = pick(rng, SPOKEN_VERBS[route])
    return base, to_gerund(base)


def say_spoken(rng: np.random.Generator, route: Route, things: Sequence[Thing]) -> str:
    """Say a command for things that are shown to one route.

    Args:
        rng: source of randomness.
        route: DETECT, SEGMENT or GROUND.
        things: at least one; exactly one for GROUND.
    """
    draw = rng.random()
    for share, say in _WAYS:
        if draw < share:
            return say(rng, route, things)
        draw -= share
    return _say_verb(rng, route, things)


def negate(rng: np.random.Generator, command: str, other: Thing) -> str:
    """Add a thing that is not meant to a command without final mark."""
    words = f"the {spoken_words(rng, other, plural=chance(rng, 0.3))}"
    return pick(rng, NEGATIONS).replace("{y}", words).replace("{c}", command)


def say_nothing_named(rng: np.random.Generator) -> str:
    """Say a command that names nothing to look for."""
    if chance(rng, 0.5):
        return pick(rng, SPOKEN_NOTHING_NAMED)
    route = pick(rng, (Route.DETECT, Route.SEGMENT, Route.GROUND))
    pointer = pick(rng, POINTERS)
    if chance(rng, 0.25):
        return pick(rng, REQUESTS).replace("{n}", pick(rng, WANTED[route]).replace("{x}", pointer))
    base, gerund = spoken_verb(rng, route)
    return open_sentence(rng, insert_things(base, pointer), insert_things(gerund, pointer))


def _words(rng: np.random.Generator, route: Route, things: Sequence[Thing]) -> str:
    return say_things(rng, things, "one" if route is Route.GROUND else "any")


def _say_verb(rng: np.random.Generator, route: Route, things: Sequence[Thing]) -> str:
    base, gerund = spoken_verb(rng, route)
    words = _words(rng, route, things)
    return open_sentence(rng, insert_things(base, words), insert_things(gerund, words))


def _say_wanted(rng: np.random.Generator, route: Route, things: Sequence[Thing]) -> str:
    if len(things) == 1 and chance(rng, 0.25):
        wanted = f"{say_things(rng, things, 'one')}'s {pick(rng, OWNED[route])}"
    else:
        wanted = pick(rng, WANTED[route]).replace("{x}", _words(rng, route, things))
    return pick(rng, REQUESTS).replace("{n}", wanted)


def _say_passive(rng: np.random.Generator, route: Route, things: Sequence[Thing]) -> str:
    sentence = pick(rng, PASSIVES).replace("{p}", pick(rng, PARTICIPLES[route]))
    return sentence.replace("{x}", _words(rng, route, things))


def _say_label(rng: np.random.Generator, route: Route, things: Sequence[Thing]) -> str:
    words, label = say_things(rng, things, "bare"), pick(rng, LABELS[route])
    draw = rng.random()
    if draw < 0.4:
        return f"{label}{pick(rng, (': ', ': ', ' ', ' - '))}{words}"
    if draw < 0.7:
        return f"{words}{pick(rng, (': ', ', ', ' - '))}{label}"
    return f"{words} {label}"


def _say_remark(rng: np.random.Generator, route: Route, things: Sequence[Thing]) -> str:
    if len(things) > 1:
        lead, pointer = say_things(rng, things, pick(rng, ("the", "a", "plural"))), "them"
    else:
        remark, form = pick(rng, REMARKS_ON_ONE)
        lead = remark.replace("{x}", say_things(rng, things, form))
        pointer = pick(rng, ("it", "it", "it", "that", "this one", "that thing"))
    base, gerund = spoken_verb(rng, route)
    if chance(rng, 0.6):
        command = insert_things(base, pointer)
    else:
        command = open_sentence(rng, insert_things(base, pointer), insert_things(gerund, pointer))
    joint = "" if lead.endswith("?") else pick(rng, _JOINTS)
    return f"{lead}{joint or ' '}{command}"


def _say_sentence(rng: np.random.Generator, route: Route, things: Sequence[Thing]) -> str:
    sentence, form = pick(rng, SPOKEN_SENTENCES[route])
    return sentence.replace("{x}", say_things(rng, things, form))


_Say = Callable[[np.random.Generator, Route, Sequence[Thing]], str]
#: Shares of the ways to say something; what is left says a verb.
_WAYS: tuple[tuple[float, _Say], ...] = (
    (0.18, _say_wanted),
    (0.1, _say_passive),
    (0.05, _say_label),
    (0.1, _say_remark),
    (0.22, _say_sentence),
)
