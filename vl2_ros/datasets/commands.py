"""Random commands about simulated scenes with the answers a model must learn to give.

Turns the objects of a scene into question, answer with routing tokens (no slots), and which
objects each phrase stands for. The wording alone decides the route; `phrasings` lists the rule.
Answers copy each thing in the singular and lower case, in the order asked, present or not, with
synonyms replaced by the kind's own name:

    DETECT   I found: red mug[DET], bowl[DET].
    SEGMENT  Segmented: cube[SEG].
    GROUND   It is here: red mug[GRD].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets import phrasings
from vl2_ros.datasets.scene_questions.balanced import SHARES, draw_question
from vl2_ros.datasets.scene_questions.relations import PlacedThing
from vl2_ros.datasets.scene_text import SceneObject, matches, sample_question
from vl2_ros.datasets.spoken import negate, say_spoken, spoken_verb
from vl2_ros.datasets.wording import (
    Thing,
    chance,
    insert_things,
    open_sentence,
    pick,
    roughen,
    say_things,
)
from vl2_ros.datasets.worlds import TABLE, World
from vl2_ros.sim.colors import COLORS
from vl2_ros.structures import Route

ANSWER_OPENINGS: dict[Route, str] = {
    Route.DETECT: "I found: ",
    Route.SEGMENT: "Segmented: ",
    Route.GROUND: "It is here: ",
}


@dataclass(frozen=True, slots=True)
class CommandExample:
    """One command about one scene.

    Attributes:
        question: what is said, with the noise of speech and typing.
        answer: with routing tokens and without slots, e.g. "I found: red mug[DET], bowl[DET].".
        route: the first route of the answer; ANSWER for plain text.
        phrases: what each routing token stands for, in answer order.
        targets: for each phrase the indices of its objects, ascending; empty when there is none.
        routes: the route of each phrase.
    """

    question: str
    answer: str
    route: Route
    phrases: tuple[str, ...] = ()
    targets: tuple[tuple[int, ...], ...] = ()
    routes: tuple[Route, ...] = ()


def answer_sentence(route: Route, phrases: Sequence[str]) -> str:
    """Write the answer of one route, e.g. "I found: red mug[DET], bowl[DET]."."""
    return ANSWER_OPENINGS[route] + ", ".join(p + route.value for p in phrases) + "."


def sample_perception(
    rng: np.random.Generator, objects: Sequence[SceneObject], world: World = TABLE
) -> CommandExample:
    """Draw a command for the decoders: detect, segment, ground, or two of them in one sentence.

    Args:
        rng: source of randomness; equal states give equal examples.
        objects: labelled objects of the scene; may be empty.
        world: what the scene is one of.
    """
    draw = rng.random()
    if draw < 0.2:
        return _sample_combined(rng, objects, world)
    if draw < 0.54:
        return _sample_single_route(rng, objects, Route.DETECT, world)
    if draw < 0.78:
        return _sample_single_route(rng, objects, Route.SEGMENT, world)
    return _sample_single_route(rng, objects, Route.GROUND, world)


def sample_text(rng: np.random.Generator, objects: Sequence[SceneObject]) -> CommandExample:
    """Draw a question that is answered in words alone.

    Args:
        rng: source of randomness; equal states give equal examples.
        objects: labelled objects of the scene; may be empty.
    """
    question, answer = sample_question(rng, objects)
    return CommandExample(question=question, answer=answer, route=Route.ANSWER)


def sample_words(rng: np.random.Generator, objects: Sequence[PlacedThing]) -> CommandExample:
    """Draw a question that is answered in words, about places as well.

    Half of them have no answer that is a good guess; the others are those of `sample_text`.

    Args:
        rng: source of randomness; equal states give equal examples.
        objects: labelled objects of the scene; may be empty.
    """
    if chance(rng, 0.5):
        return sample_text(rng, objects)
    asked = draw_question(rng, objects, SHARES)
    question = roughen(rng, asked.question, place=False) if chance(rng, 0.5) else asked.question
    return CommandExample(question=question, answer=asked.answer, route=Route.ANSWER)


def sample_class_list(
    rng: np.random.Generator,
    objects: Sequence[SceneObject],
    *,
    max_names: int = 16,
    world: World = TABLE,
) -> CommandExample:
    """Draw a long list of names to look for: of the table 35 % all kinds, else colour-kind phrases.

    No object belongs to two names of one list. Colour-kind lists contain up to `max_names` of: the
    present phrases, hard negatives (same kind in another colour, same colour on another kind) and
    plain names of kinds that no phrase of the list has.

    Args:
        rng: source of randomness; equal states give equal examples.
        objects: labelled objects of the scene; may be empty.
        max_names: longest list of phrases, at least 8.
        world: what the scene is one of.
    """
    things = world.list_classes(rng, objects, max_names)
    masks = chance(rng, 0.2)
    sentences = phrasings.CLASS_LIST_MASK_SENTENCES if masks else phrasings.CLASS_LIST_SENTENCES
    question = pick(rng, sentences).replace("{x}", ", ".join(thing.phrase for thing in things))
    if chance(rng, 0.6):
        question = question[0].upper() + question[1:]
    return _example(question, [(Route.SEGMENT if masks else Route.DETECT, things)], objects)


def _sample_single_route(
    rng: np.random.Generator, objects: Sequence[SceneObject], route: Route, world: World
) -> CommandExample:
    if route is Route.GROUND:
        things = [world.refer(rng, objects)]
    elif world.has_colors and chance(rng, 0.04):
        things = [Thing(pick(rng, COLORS) if chance(rng, 0.6) else None, "object")]
    else:
        count = pick(rng, (1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4))
        things = _distinct_things(rng, objects, count, world)
    spoken = chance(rng, 0.65)
    sentence = (say_spoken if spoken else _say_command)(rng, route, things)
    if sentence[-1] not in "?." and chance(rng, 0.02):
        sentence = negate(rng, sentence, world.draw(rng, objects))
    known = all(thing.is_known for thing in things)
    question = roughen(rng, sentence, place=":" not in sentence, upper=known)
    return _example(question, [(route, things)], objects)


def _say_command(rng: np.random.Generator, route: Route, things: list[Thing]) -> str:
    if chance(rng, 0.5 if route is Route.GROUND else 0.3):
        sentence, form = pick(rng, phrasings.SENTENCES[route])
        if form != "one" or len(things) == 1:
            return sentence.replace("{x}", say_things(rng, things, form))
    base, gerund = pick(rng, phrasings.VERBS[route])
    words = say_things(rng, things, "one" if route is Route.GROUND else "any")
    return open_sentence(rng, insert_things(base, words), insert_things(gerund, words))


def _sample_combined(
    rng: np.random.Generator, objects: Sequence[SceneObject], world: World
) -> CommandExample:
    routes = [Route.DETECT, Route.SEGMENT, Route.GROUND]
    first, second = (routes[index] for index in rng.permutation(3)[:2])
    parts: list[tuple[Route, list[Thing]]] = []
    clauses = []
    for route in (first, second):
        count = 1 if route is Route.GROUND else pick(rng, (1, 1, 2))
        things = _distinct_things(rng, objects, count, world)
        verb = (
            spoken_verb(rng, route)[0] if chance(rng, 0.5) else pick(rng, phrasings.VERBS[route])[0]
        )
        if route is Route.GROUND and chance(rng, 0.25):
            verb = pick(rng, ("where is", "where is", "where's", "which one is"))
        form = "one" if route is Route.GROUND else "any"
        clauses.append(insert_things(verb, say_things(rng, things, form)))
        parts.append((route, things))
    link = pick(rng, phrasings.LINKS)
    sentence = open_sentence(rng, clauses[0], clauses[0]) if "." not in link else clauses[0]
    end = "?" if sentence.endswith("?") else ""
    sentence = sentence.rstrip("?") + link + clauses[1] + end
    known = all(thing.is_known for _, things in parts for thing in things)
    return _example(roughen(rng, sentence, place=True, upper=known), parts, objects)


def _distinct_things(
    rng: np.random.Generator, objects: Sequence[SceneObject], count: int, world: World
) -> list[Thing]:
    # Two names of one list never take the same object: a kind is either plain or coloured.
    chosen: list[Thing] = []
    while len(chosen) < count:
        thing = world.draw(rng, objects)
        same_noun = [other for other in chosen if other.noun == thing.noun]
        if not any(None in (o.color, thing.color) or o.color == thing.color for o in same_noun):
            chosen.append(thing)
    return chosen


def _example(
    question: str,
    parts: Sequence[tuple[Route, Sequence[Thing]]],
    objects: Sequence[SceneObject],
) -> CommandExample:
    flat = [(route, thing) for route, things in parts for thing in things]
    return CommandExample(
        question=question,
        answer=" ".join(answer_sentence(r, [thing.phrase for thing in ts]) for r, ts in parts),
        route=parts[0][0],
        phrases=tuple(thing.phrase for _, thing in flat),
        targets=tuple(
            tuple(index for index, item in enumerate(objects) if matches(thing, item))
            for _, thing in flat
        ),
        routes=tuple(route for route, _ in flat),
    )
