"""Write the fixed question and answer of one-pass poses for names of objects and keypoints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from vl2_ros.errors import InputError
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.prompt import clean_names, detection_answer, fill_answer
from vl2_ros.processing.language.tokenizer import neutralise
from vl2_ros.processing.skeletons import normalise_name
from vl2_ros.structures import Route

#: A name between punctuation and its routing token.
_ANSWERED = re.compile(r"([^\],.:;\[]*?)" + re.escape(Route.POSE.value))
#: The route of a keypoint in an answer.
KEYPOINT_ROUTE = Route.POSE
#: Objects that fit in one pose call.
MAX_OBJECTS = 100


def clean_keypoint_names(names: Sequence[str], config: ProcessingConfig) -> tuple[str, ...]:
    """Make keypoint names ready for a prompt: lower case, no punctuation, no special tokens.

    Any words are allowed; those of COCO, CrowdPose, AP-10K and hands also have skeleton edges.

    Raises:
        InputError: if no keypoint is named, a name is blank, two are equal, or there are too many.
    """
    cleaned = tuple(normalise_name(neutralise(name)) for name in names)
    if not cleaned or not all(cleaned):
        raise InputError(
            'no keypoint is named; name at least one keypoint, such as "nose" or "left wrist"'
        )
    if len(cleaned) > config.max_keypoints:
        raise InputError(
            f"{len(cleaned)} keypoints were named, the model accepts {config.max_keypoints} "
            "at once; split the list into several calls"
        )
    twice = sorted(name for name, count in Counter(cleaned).items() if count > 1)
    if twice:
        raise InputError(f"the keypoint {twice[0]!r} is named twice; name each one once")
    return cleaned


def pose_conversation(
    objects: Sequence[str], keypoints: Sequence[str], config: ProcessingConfig
) -> tuple[str, str]:
    """Write the fixed question and answer of one-pass poses; nothing has to be generated.

    Args:
        objects: what to look for, in the order of the class indices.
        keypoints: what to find on each, from `clean_keypoint_names`.
        config: gives the limit of names.

    Returns:
        (question, answer) for `encode_conversation`; each object with [DET], then each keypoint
        with [POSE].

    Raises:
        InputError: if no object is named or too many are.
    """
    if len(objects) > MAX_OBJECTS:
        raise InputError(
            f"{len(objects)} objects were named, the pose decoder accepts {MAX_OBJECTS} at once; "
            "split the list into several calls"
        )
    cleaned = clean_names(objects, config)
    asked = ", ".join(keypoints)
    question = f"Please find every {', '.join(cleaned)} in this picture. Where are its {asked}?"
    listed = fill_keypoint_answer("The keypoints are here: {names}.", keypoints)
    return question, f"{detection_answer(cleaned, config)} {listed}"


def fill_keypoint_answer(template: str, keypoints: Sequence[str]) -> str:
    """Write keypoints with their routing tokens into the second sentence of an answer.

    Args:
        template: {names} is the list of names, each with its token.
        keypoints: names without special tokens.
    """
    return fill_answer(template, keypoints, Route.POSE)


def list_answered_keypoints(answer: str) -> list[str]:
    """Return the names of the keypoints in an answer, in lower case, in its order.

    Example:
        >>> list_answered_keypoints("Here: left wrist[POSE], nose[POSE].")
        ['left wrist', 'nose']
    """
    return [found[1].strip().lower() for found in _ANSWERED.finditer(answer)]
