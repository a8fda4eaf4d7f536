"""Write the question and answer of a task in the format of the released model's training.

Only the placement of names and tokens is the format (docs/spec/core.md, section 7.5), the wording
around them is this project's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.answer import NAMELESS, extract_expression
from vl2_ros.processing.language.parse import Asked, Task
from vl2_ros.processing.language.pose_prompt import clean_keypoint_names, pose_conversation
from vl2_ros.processing.language.prompt import (
    detection_answer,
    direct_conversation,
    list_regions,
    referring_answer,
)
from vl2_ros.processing.language.tokenizer import neutralise
from vl2_ros.structures import Route

#: Classes of the sets of one class, as they are spelt in training.
_TRAINED_NAMES = {
    "salient object": "forground object",
    "camouflaged object": "camouflage object",
}
#: Captions were trained without these.
_CAPTION_MARKS = re.compile(r"[\"“”„()\[\]{}<>*#|~^_\\]+")


@dataclass(frozen=True, slots=True)
class TaskFormat:
    """A question, and the answer where it is known before anything is generated.

    Attributes:
        question: trusted text; the user's words in it are neutralised.
        answer: trusted text with routing tokens; None when only the model knows it.
        phrases: what each routing token of `answer` stands for, in the user's words.
        labels: names that the answer may use -> the user's words for them.
        single: phrases that stand for one thing, so that only the best instance counts.
    """

    question: str
    answer: str | None = None
    phrases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    single: frozenset[str] = frozenset()


def write_format(asked: Asked, sentence: str, config: ProcessingConfig) -> TaskFormat:
    """Write the question and, where it is known, the answer of a parsed task.

    Args:
        asked: what `understand` returns for the sentence.
        sentence: the user's; untrusted.
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
        keypoints = clean_keypoint_names(asked.keypoints, config)
        question, answer = pose_conversation(asked.names, keypoints, config)
        return TaskFormat(question, answer, (*asked.names, *keypoints))
    if asked.task in (Task.GENERATE, Task.EDIT):
        return _format_image_request(asked)
    return _name_things(asked, config)


def _format_image_request(asked: Asked) -> TaskFormat:
    """Write the request for an image; the caption of a new one is in lower case."""
    prompt = " ".join(neutralise(asked.image_prompt).split()).rstrip(" .,;:!?")
    if asked.task is Task.EDIT:
        question, answer = f"Change this picture: {prompt}.", f"Here it is {Route.EDIT.value}."
    else:
        question = f"Draw a picture of {format_caption(prompt)}."
        answer = f"Here it is {Route.GENERATE.value}."
    return TaskFormat(question, answer, (asked.image_prompt,))


def format_caption(caption: str) -> str:
    """Write the caption of an image to generate as in training: lower case, without some marks.

    Args:
        caption: untrusted; special tokens in it become words.
    """
    bare = " ".join(neutralise(caption).split()).rstrip(" .,;:!?")
    return " ".join(_CAPTION_MARKS.sub(" ", bare).lower().split())


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
    return TaskFormat(question, answer, asked.names, labels)


def interactive_format(count: int, config: ProcessingConfig) -> TaskFormat:
    """Write question and answer for the masks of visual prompts, region1 to `count`."""
    names = tuple(f"region{number}" for number in range(1, count + 1))
    question = f"Please segment {list_regions(count)} in this picture."
    return TaskFormat(question, detection_answer(names, config), names, single=frozenset(names))
