"""Skeletons: the lines between named keypoints, for the known categories.

Any list of names is allowed; names that no skeleton knows are joined to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_ARMS_AND_LEGS = tuple(
    (f"{side} {one}", f"{side} {other}")
    for side in ("left", "right")
    for one, other in (
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        ("shoulder", "hip"),
        ("hip", "knee"),
        ("knee", "ankle"),
    )
)
_FINGERS = ("thumb", "forefinger", "middle finger", "ring finger", "pinky finger")

#: Category -> pairs of keypoint names. An edge whose ends are not both requested is skipped.
SKELETONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    # COCO's 17 names.
    "person": (
        *(("nose", "left eye"), ("nose", "right eye"), ("left eye", "right eye")),
        *(("left eye", "left ear"), ("right eye", "right ear")),
        *(("left ear", "left shoulder"), ("right ear", "right shoulder")),
        *(("left shoulder", "right shoulder"), ("left hip", "right hip")),
        *_ARMS_AND_LEGS,
    ),
    # CrowdPose's 14 names.
    "person with head and neck": (
        *(("head", "neck"), ("neck", "left shoulder"), ("neck", "right shoulder")),
        ("left hip", "right hip"),
        *_ARMS_AND_LEGS,
    ),
    # AP-10K's 17 names, for four-legged animals.
    "quadruped": (
        *(("left eye", "right eye"), ("left eye", "nose"), ("right eye", "nose")),
        *(("nose", "neck"), ("neck", "root of tail")),
        *(
            (start, f"{side} {first}")
            for side in ("left", "right")
            for start, first in (("neck", "shoulder"), ("root of tail", "hip"))
        ),
        *(
            (f"{side} {one}", f"{side} {other}")
            for side in ("left", "right")
            for one, other in (
                ("shoulder", "elbow"),
                ("elbow", "front paw"),
                ("hip", "knee"),
                ("knee", "back paw"),
            )
        ),
    ),
    # The 21 names of a hand: a wrist and four joints per finger, counted from the palm.
    "hand": tuple(
        (f"{finger} {joint - 1}" if joint > 1 else "wrist", f"{finger} {joint}")
        for finger in _FINGERS
        for joint in range(1, 5)
    ),
}


def normalise_name(name: str) -> str:
    """Return a keypoint's name as it stands in prompts: lower case, no punctuation.

    Example:
        >>> normalise_name("Left_Eye.")
        'left eye'
    """
    bare = re.sub(r"""[.,'!?"()*#:;]""", "", name.lower())
    return " ".join(re.sub(r"[-/_]", " ", bare).split())


def find_edges(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return the edges among keypoints, as pairs of indices into the names.

    The skeleton that joins most of the names is used; () when none joins any.
    """
    # "thumb1" and "thumb 1" are one name.
    indices = {_without_spaces(normalise_name(name)): index for index, name in enumerate(names)}

    def join(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[int, int], ...]:
        ends = [(_without_spaces(one), _without_spaces(other)) for one, other in pairs]
        return tuple((indices[a], indices[b]) for a, b in ends if a in indices and b in indices)

    # The longest list wins, the first among equals.
    return max((join(pairs) for pairs in SKELETONS.values()), key=len)


def _without_spaces(name: str) -> str:
    return name.replace(" ", "")
