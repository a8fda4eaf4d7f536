"""Ways to say a command: the tables of `sentences/`, verbs, frames and whole sentences by route.

The wording decides the route:

    DETECT   find, locate, detect, look for, search, spot, boxes; "where are the mugs" (several);
             "show me all the mugs" (several)
    SEGMENT  segment, mask, outline, contour, silhouette, pixels, highlight, cut out, colour in
    GROUND   one thing: "where is the mug", point at, show me, which one is, indicate, position of
    ANSWER   what is there, how many, is there, what colour, small talk, no object named

What each table is and what its placeholders stand for is said in its file.
"""

from __future__ import annotations

from collections.abc import Mapping

from vl2_ros.datasets.sentence_files import SENTENCES_FOLDER, Column, Section, read_sentences
from vl2_ros.structures import Route

#: Surface forms of the things that a sentence can ask for; see `wording.say_things`.
FORMS = frozenset(("a one", "all", "any", "bare", "one", "several"))

_ROUTES = {"detect": Route.DETECT, "segment": Route.SEGMENT, "ground": Route.GROUND}


def _for_each_route(prefix: str, *columns: Column) -> dict[str, tuple[Column, ...]]:
    return {f"{prefix}{name}": columns for name in _ROUTES}


def _read_by_route(name: str, *columns: Column) -> dict[Route, Section]:
    return _by_route(read_sentences(SENTENCES_FOLDER / name, _for_each_route("", *columns)))


def _by_route(sections: Mapping[str, Section], prefix: str = "") -> dict[Route, Section]:
    return {route: sections[f"{prefix}{name}"] for name, route in _ROUTES.items()}


def _lines(sections: Mapping[Route, Section]) -> dict[Route, tuple[str, ...]]:
    return {route: section.lines for route, section in sections.items()}


def _pairs(sections: Mapping[Route, Section]) -> dict[Route, tuple[tuple[str, str], ...]]:
    return {route: section.pairs for route, section in sections.items()}


#: (base form, -ing form)
VERBS = _pairs(_read_by_route("verbs.txt", "{x}", "{x}"))
#: Base forms.
SPOKEN_VERBS = _lines(_read_by_route("spoken_verbs.txt", "{x}"))
#: (sentence, form of the things)
SENTENCES = _pairs(_read_by_route("sentences.txt", "{x}", FORMS))
#: (sentence, form of the things)
SPOKEN_SENTENCES = _pairs(_read_by_route("spoken_sentences.txt", "{x}", FORMS))

_requests = read_sentences(
    SENTENCES_FOLDER / "requests.txt",
    {
        "requests": ("{n}",),
        **_for_each_route("wanted ", "{x}"),
        **_for_each_route("owned ", ""),
    },
)
REQUESTS = _requests["requests"].lines
WANTED = _lines(_by_route(_requests, "wanted "))
OWNED = _lines(_by_route(_requests, "owned "))

_frames = read_sentences(
    SENTENCES_FOLDER / "frames.txt",
    {
        "passives": ("{x} {p}",),
        **_for_each_route("participles ", ""),
        **_for_each_route("labels ", ""),
        "remarks on one": ("{x}", FORMS),
        "negations": ("{c} {y}",),
    },
)
PASSIVES = _frames["passives"].lines
PARTICIPLES = _lines(_by_route(_frames, "participles "))
LABELS = _lines(_by_route(_frames, "labels "))
#: (remark, form of the thing)
REMARKS_ON_ONE = _frames["remarks on one"].pairs
NEGATIONS = _frames["negations"].lines

_speech = read_sentences(
    SENTENCES_FOLDER / "speech.txt",
    {
        "openers": ("{v} {g}",),
        **dict.fromkeys(("adverbs", "fillers", "addresses", "remarks", "places"), ("",)),
        **dict.fromkeys(("closers", "links"), ("",)),
    },
)
OPENERS = _speech["openers"].lines
ADVERBS = _speech["adverbs"].lines
FILLERS = _speech["fillers"].lines
ADDRESSES = _speech["addresses"].lines
REMARKS = _speech["remarks"].lines
PLACES = _speech["places"].lines
CLOSERS = _speech["closers"].lines
LINKS = _speech["links"].lines

_class_lists = read_sentences(
    SENTENCES_FOLDER / "class_lists.txt", {"detect": ("{x}",), "segment": ("{x}",)}
)
CLASS_LIST_SENTENCES = _class_lists["detect"].lines
CLASS_LIST_MASK_SENTENCES = _class_lists["segment"].lines
