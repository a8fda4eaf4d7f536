"""Simulated things pointed at by a point, a box or a scribble: their names and their masks."""

from __future__ import annotations

from collections import Counter

import numpy as np

from vl2_ros.datasets.nouns import phrase_of, with_article
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.simulated.scene import Scene, Task
from vl2_ros.datasets.sources.interactive import mark_object
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.processing.images.regions import draw_prompt
from vl2_ros.processing.language.prompt import fill_answer, list_regions, region_placeholder
from vl2_ros.structures import Route, VisualPrompt

#: How things are pointed at, each as often.
MARKS = ("point", "box", "scribble")
_MOST_REGIONS = 4


def make_region_names(
    scene: Scene, rng: np.random.Generator, words: np.random.Generator | None
) -> Task:
    """Ask what some things are, each in a round of its own: "This is a red mug.".

    Args:
        scene: what is seen.
        rng: draws what is pointed at and how.
        words: draws the wording; None takes that of evaluation.

    Raises:
        BadRecordError: if there is nothing to point at.
    """
    rounds: list[tuple[str, str]] = []
    regions = []
    for number in _draw_objects(scene, rng):
        section = "pointing questions" if words is not None else "region caption questions"
        placeholder = region_placeholder(len(rounds) + 1)
        question = fill(draw_sentence(section, words), region=placeholder)
        item = scene.objects[number]
        rounds.append((question, name_object(item.color, item.kind)))
        regions.append(_draw_region(scene, number, rng))
    return Task(tuple(rounds), regions=tuple(regions))


def make_interactive(
    scene: Scene, rng: np.random.Generator, words: np.random.Generator | None
) -> Task:
    """Ask for the masks of some things that are pointed at.

    Args:
        scene: what is seen.
        rng: draws what is pointed at and how.
        words: draws the wording; None takes that of evaluation.

    Raises:
        BadRecordError: if there is nothing to point at.
    """
    numbers = _draw_objects(scene, rng)
    names = [f"region{index}" for index in range(1, len(numbers) + 1)]
    question = fill(
        draw_sentence("region mask questions", words), regions=list_regions(len(numbers))
    )
    answer = fill_answer(draw_sentence("region mask answers", None), names, Route.DETECT)
    return Task(
        ((question, answer),),
        scene.label(numbers, np.arange(len(numbers))),
        tuple(_draw_region(scene, number, rng) for number in numbers),
    )


def name_object(color: str, kind: str) -> str:
    """Return the answer to "what is this?".

    Example:
        >>> name_object("orange", "mug")
        'This is an orange mug.'
    """
    return f"This is {with_article(phrase_of(color, kind))}."


def point_at(scene: Scene, number: int, kind: str, rng: np.random.Generator) -> VisualPrompt:
    """Mark one object of a scene, by what is seen of it; see `MARKS`."""
    mask = scene.instance_map == number + 1
    return mark_object(kind, mask, np.array(scene.objects[number].box_xyxy), rng)


def _draw_region(scene: Scene, number: int, rng: np.random.Generator) -> np.ndarray:
    kind = MARKS[int(rng.integers(len(MARKS)))]
    return draw_prompt(point_at(scene, number, kind, rng), scene.rgb.shape[:2])


def _draw_objects(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Return the indices of some objects; a figure is as likely as one of three mugs."""
    if not scene.objects:
        raise BadRecordError("records", "scene without objects")
    counts = Counter(item.kind for item in scene.objects)
    shares = np.array([1.0 / counts[item.kind] for item in scene.objects])
    most = min(_MOST_REGIONS, len(scene.objects))
    count = int(rng.integers(1, most + 1))
    return rng.choice(len(shares), size=count, replace=False, p=shares / shares.sum())
