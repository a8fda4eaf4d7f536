"""Check a set of labelled data: make every sample once, count classes, keep some examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.datasets.samples import LabelledObjects, LabelledPoses, TrainingSample
from vl2_ros.datasets.sources.labelled_source import LabelledSource
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.answer import parse_answer_text
from vl2_ros.processing.language.prompt import IMAGE, expand_routing


@dataclass(frozen=True, slots=True)
class CheckedSet:
    """What was found in a set.

    Attributes:
        classes: objects of each class; of a set without a list of classes, by the phrases of the
            samples that were made.
        examples: some samples, over the whole set.
        checked: records that were read in full.
    """

    classes: dict[str, int]
    examples: tuple[TrainingSample, ...]
    checked: int


def check_source(
    source: LabelledSource,
    *,
    examples: int,
    everything: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckedSet:
    """Make the samples of a set; what is bad is in the source's report afterwards.

    Args:
        source: of the set.
        examples: most samples to keep.
        everything: read every record; else only the examples.
        progress: called as (read records, all records).

    Raises:
        InputError: of a bad record, if the source is strict.
    """
    count = len(source)
    chosen = np.unique(np.linspace(0, count - 1, min(examples, count)).astype(int)).tolist()
    shown: list[TrainingSample] = []
    wanted = 0
    phrases: Counter[str] = Counter()
    numbers = range(count) if everything else chosen
    for done, number in enumerate(numbers):
        progress(done, len(numbers))
        sample = source.try_record(number, np.random.default_rng(number))
        wanted += number in chosen
        if sample is None:
            continue
        phrases.update(list_labels(sample))
        # A bad record is replaced by the next one.
        if len(shown) < wanted:
            shown.append(sample)
    classes = source.count_classes() or dict(sorted(phrases.items(), key=lambda one: -one[1]))
    return CheckedSet(classes, tuple(shown), len(numbers))


def list_phrases(sample: TrainingSample) -> tuple[list[str], list[str]]:
    """Return what the routing tokens of a sample stand for: objects, and keypoints of a pose."""
    groups = [one for _, answer in sample.rounds for one in parse_answer_text(answer).groups]
    if not isinstance(sample.targets, LabelledPoses):
        return [one.phrase for one in groups], []
    # The objects come first and have a route of their own.
    objects = [one.phrase for one in groups if one.route is groups[0].route]
    return objects, [one.phrase for one in groups][len(objects) :]


def list_labels(sample: TrainingSample) -> list[str]:
    """Return the phrase of each labelled object of a sample."""
    targets = sample.targets
    objects = targets.objects if isinstance(targets, LabelledPoses) else targets
    if not isinstance(objects, LabelledObjects):
        return []
    phrases, _ = list_phrases(sample)
    return [phrases[one] for one in objects.class_index.tolist()]


def describe_sample(sample: TrainingSample, config: ProcessingConfig) -> dict[str, Any]:
    """Return a sample's text as the network sees it, and what it is measured against.

    Args:
        sample: of a source.
        config: gives the number of slots behind a routing token.
    """
    rounds = []
    for number, (question, answer) in enumerate(sample.rounds):
        if number == 0 and IMAGE not in question:
            question = f"{IMAGE}\n" * len(sample.images) + question
        rounds.append(
            {"question": expand_routing(question, config), "answer": expand_routing(answer, config)}
        )
    return {
        "record": sample.key,
        "trains": sample.group.value,
        "images": [f"{frame.frame_hw[1]}x{frame.frame_hw[0]}" for frame in sample.images],
        "regions": len(sample.regions),
        "labels": dict(Counter(list_labels(sample))),
        "rounds": rounds,
    }
