"""Hand-written commands, none of them from the training grammar, with the answers they must get.

Asks a perceiver and counts right routes and right phrases; knows no weights.
"""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vl2_ros.documents import read_text
from vl2_ros.errors import InputError
from vl2_ros.structures import Command, Frame, Result, Route

logger = logging.getLogger(__name__)

PHRASINGS_FILE = Path(__file__).with_name("phrasings.tsv")


class Answerer(Protocol):
    """Answers a command about a frame."""

    def answer(self, frame: Frame, command: Command) -> Result:
        """Return the complete answer."""


@dataclass(frozen=True, slots=True)
class Phrasing:
    """One command with its right answer.

    Attributes:
        sentence: what is said.
        routes: distinct routes in order of first use; (ANSWER,) for words alone.
        phrases: the things named, singular and lower case, in order; () for ANSWER.
    """

    sentence: str
    routes: tuple[Route, ...]
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhrasingScores:
    """Shares of commands with right routes and phrases.

    Attributes:
        route_accuracy: share whose routes are exactly right.
        route_chance: what the best routes that are always the same score.
        phrase_accuracy: share whose routes and phrases are exactly right.
        phrase_chance: what the best routes and phrases that are always the same score.
        mistakes: sentence and what came instead, for each that is not fully right.
    """

    route_accuracy: float
    route_chance: float
    phrase_accuracy: float
    phrase_chance: float
    mistakes: tuple[tuple[str, str], ...]


def load_phrasings(path: Path = PHRASINGS_FILE) -> tuple[Phrasing, ...]:
    """Read tab-separated route names (joined by "+"), phrases (joined by ";") and sentence.

    Raises:
        InputError: if the file cannot be read, or a row has no such columns.
    """
    lines = io.StringIO(read_text(path, InputError), newline="")
    try:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
        return tuple(
            Phrasing(
                sentence=row["sentence"] or "",
                routes=tuple(Route[name] for name in (row["route"] or "").split("+")),
                phrases=tuple(row["phrases"].split(";")) if row["phrases"] else (),
            )
            for row in rows
        )
    except (csv.Error, KeyError) as error:
        raise InputError(
            f"{path} must have the columns route, phrases and sentence with routes of "
            f"{', '.join(route.name for route in Route)}; {type(error).__name__}: {error}"
        ) from error


def score_phrasings(
    answerer: Answerer,
    frames: Sequence[Frame],
    phrasings: Sequence[Phrasing],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> PhrasingScores:
    """Ask every command about a frame, cycling through the frames, and compare the answers.

    Args:
        answerer: generates its answers freely.
        frames: at least one.
        phrasings: the commands.
        progress: called with (done, total) after each command.
    """
    right_routes = right_phrases = 0
    mistakes = []
    for index, phrasing in enumerate(phrasings):
        result = answerer.answer(frames[index % len(frames)], Command(phrasing.sentence))
        phrases = tuple(phrase for branch in result.branches for phrase in branch.phrases)
        routes_fit = result.routes == phrasing.routes
        fits = routes_fit and phrases == phrasing.phrases
        right_routes += routes_fit
        right_phrases += fits
        if not fits:
            logger.info("%s -> %s", phrasing.sentence, result.text)
            mistakes.append((phrasing.sentence, result.text))
        if progress is not None:
            progress(index + 1, len(phrasings))
    total = max(1, len(phrasings))
    return PhrasingScores(
        route_accuracy=right_routes / total,
        route_chance=_share_of_most_common([one.routes for one in phrasings]),
        phrase_accuracy=right_phrases / total,
        phrase_chance=_share_of_most_common([(one.routes, one.phrases) for one in phrasings]),
        mistakes=tuple(mistakes),
    )


def _share_of_most_common(answers: Sequence[Hashable]) -> float:
    return max(Counter(answers).values()) / len(answers) if answers else 0.0
