"""What is asked for, to the question and answer that the released model was trained on.

Spec core, section 7.5: only the placement of names and tokens is the format, the wording around
them is this project's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vl2_ros.errors import InputError
from vl2_ros.processing.answer import NAMELESS, extract_expression
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.keypoint_names import clean_keypoint
from vl2_ros.processing.prompt import (
    clean_names,
    detection_answer,
    direct_conversation,
    list_regions,
    referring_answer,
)
from vl2_ros.processing.sentence import Asked, Task
from vl2_ros.processing.tokenizer import neutralise
from vl2_ros.structures import Route

#: Most object classes of one pose call.
MAX_POSE_CLASSES = 100

#: Classes of the sets of one class, as they are spelt in training.
_TRAINED_NAMES = {
    "salient object": "forground object",
    "camouflaged object": "camouflage object",
}


@dataclass(frozen=True, slots=True)
class TaskFormat:
    """A question, and the answer where it is known before anything is generated.

    Attributes:
        question: trusted text; words of people in it are neutralised.
        answer: trusted text with routing tokens; None when only the model knows it.
        phrases: what each routing token of `answer` stands for, in the person's words.
        labels: names that the answer may use -> the person's words for them.
        single: phrases that stand for one thing, so that only the best instance counts.
        is_count: the numbers of instances are what was asked for.
    """

    question: str
    answer: str | None = None
    phrases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    single: frozenset[str] = frozenset()
    is_count: bool = False


def write_format(asked: Asked, sentence: str, config: ProcessingConfig) -> TaskFormat:
    """Write the question and, where it is known, the answer for what a sentence asks for.

    Args:
        asked: what `understand` says of the sentence.
        sentence: what somebody said; untrusted.
        config: processing of the model.

    Raises:
        InputError: if there are too many names or keypoints, or one of them is blank.
    """
    if asked.task is Task.TALK:
        return TaskFormat(neutralise(sentence.strip()))
    if asked.task is Task.REASON:
        answer = referring_answer(NAMELESS, config)
        phrase = extract_expression(sentence) or NAMELESS
        return TaskFormat(neutralise(sentence.strip()), answer, (phrase,), {NAMELESS: phrase})
    if asked.task is Task.POSE:
        question, answer = pose_conversation(asked.names, asked.keypoints, config)
        return TaskFormat(question, answer, (*asked.names, *asked.keypoints))
    return _name_things(asked, config)


def _name_things(asked: Asked, config: ProcessingConfig) -> TaskFormat:
    route = Route.DETECT
    # Masks of instances come with [DET] in the release; a model of spoken commands has [SEG].
    if asked.task is Task.LABEL or (asked.task is Task.OUTLINE and config.wording == "spoken"):
        route = Route.SEGMENT
    elif asked.task is Task.GROUND:
        route = Route.GROUND
    trained = [_TRAINED_NAMES.get(name.lower(), name) for name in asked.names]
    question, answer = direct_conversation(route, trained, config)
    labels = {t: n for t, n in zip(trained, asked.names, strict=True) if t != n}
    is_count = asked.task is Task.COUNT
    return TaskFormat(question, answer, asked.names, labels, is_count=is_count)


def pose_conversation(
    objects: Sequence[str], keypoints: Sequence[str], config: ProcessingConfig
) -> tuple[str, str]:
    """Write question and answer for poses: object classes first, then keypoint names, one round.

    Args:
        objects: classes of things, at least one.
        keypoints: names of keypoints that all of them have, at least one.
        config: gives the limits.

    Returns:
        (question, answer) for `encode_conversation`; a [DET] for each class, then a [POSE] for
        each keypoint.

    Raises:
        InputError: if either list is empty or too long, or a name is blank.
    """
    classes = clean_names(objects, replace(config, max_classes=MAX_POSE_CLASSES))
    names = [neutralise(clean_keypoint(name)) for name in keypoints]
    if not names or not all(names):
        raise InputError(
            f"no keypoint is named for {', '.join(classes)}, got {list(keypoints)}; name at least "
            'one, such as "nose" or "left elbow"'
        )
    if len(names) > config.max_keypoints:
        raise InputError(
            f"{len(names)} keypoints were given, the model takes {config.max_keypoints} at once; "
            "ask for them in several commands"
        )
    question = f"Please find every {', '.join(classes)} in this picture."
    answer = detection_answer(classes, config)
    listed = ", ".join(f"{name}{Route.POSE.value}" for name in names)
    return (
        f"{question} Where are its {', '.join(names)}?",
        f"{answer} The keypoints are here: {listed}.",
    )


def interactive_format(count: int, config: ProcessingConfig) -> TaskFormat:
    """Write question and answer for the masks of what somebody points at, region1 to `count`."""
    names = tuple(f"region{number}" for number in range(1, count + 1))
    question = f"Please segment {list_regions(count)} in this picture."
    return TaskFormat(question, detection_answer(names, config), names, single=frozenset(names))
