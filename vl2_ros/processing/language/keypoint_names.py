"""Names of keypoints: those of each kind of thing, and their synonyms.

The lists are those of the data that the pose decoder was trained on (COCO, CrowdPose, AP-10K,
COCO-WholeBody hands), in their order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from vl2_ros.errors import InputError
from vl2_ros.processing.language.words import singular
from vl2_ros.processing.skeletons import normalise_name

PERSON = (
    "nose",
    "left eye",
    "right eye",
    "left ear",
    "right ear",
    "left shoulder",
    "right shoulder",
    "left elbow",
    "right elbow",
    "left wrist",
    "right wrist",
    "left hip",
    "right hip",
    "left knee",
    "right knee",
    "left ankle",
    "right ankle",
)
QUADRUPED = (
    "left eye",
    "right eye",
    "nose",
    "neck",
    "root of tail",
    "left shoulder",
    "left elbow",
    "left front paw",
    "right shoulder",
    "right elbow",
    "right front paw",
    "left hip",
    "left knee",
    "left back paw",
    "right hip",
    "right knee",
    "right back paw",
)
HAND = (
    "wrist",
    *(
        f"{finger}{joint}"
        for finger in ("thumb", "forefinger", "middle finger", "ring finger", "pinky finger")
        for joint in range(1, 5)
    ),
)

_PEOPLE = "person man woman boy girl child human player rider pedestrian worker figure skier"
_ANIMALS = (
    "animal dog cat horse cow sheep pig goat deer fox wolf lion tiger leopard cheetah jaguar "
    "panther bear panda elephant hippo hippopotamus rhino rhinoceros zebra giraffe antelope "
    "buffalo bison moose elk donkey mule camel rabbit hamster mouse rat squirrel raccoon "
    "skunk otter weasel beaver bobcat monkey gorilla chimpanzee alouatta marmot puppy kitten "
    "bull calf lamb quadruped"
)
#: What a word for a thing has.
_CATEGORIES = {
    **dict.fromkeys(_PEOPLE.split(), PERSON),
    **dict.fromkeys(_ANIMALS.split(), QUADRUPED),
    "hand": HAND,
}
#: Known, but not in the list that "all keypoints" means.
_FURTHER = {PERSON: ("head", "neck"), QUADRUPED: (), HAND: ()}
#: Synonyms.
_SYNONYMS = {"tail": "root of tail", "tail root": "root of tail", "foreleg": "front paw"}


def keypoints_of(category: str) -> tuple[str, ...]:
    """Return the keypoints of a kind of thing, () when none are known.

    Args:
        category: words that end in the kind, such as "brown dog" or "people".
    """
    kind = singular(normalise_name(category)).rpartition(" ")[2]
    return _CATEGORIES.get(kind, ())


def match_keypoints(words: str, category: str) -> tuple[str, ...]:
    """Return the keypoints that words for one mean, () when that kind of thing has none such.

    A word without a side means both sides.

    Example:
        >>> match_keypoints("wrists", "person")
        ('left wrist', 'right wrist')
        >>> match_keypoints("front paws", "dog")
        ('left front paw', 'right front paw')
    """
    known = keypoints_of(category)
    said = singular(normalise_name(words))
    said = _SYNONYMS.get(said, said)
    known = (*known, *_FURTHER.get(known, ()))
    if said in known:
        return (said,)
    side, _, part = said.partition(" ")
    if side in ("left", "right") and part:
        return tuple(
            name for name in known if name.startswith(f"{side} ") and name.endswith(f" {part}")
        )
    # The joints of a finger are numbered.
    whole = re.compile(rf"(?:.* )?{re.escape(said)}\d?")
    return tuple(name for name in known if said and whole.fullmatch(name))


def expand_keypoints(names: Sequence[str], category: str) -> tuple[str, ...]:
    """Map synonyms of keypoints to the names of training; none twice.

    Args:
        names: such as "wrists" or "left elbow"; any for a kind of thing whose keypoints are not
            known.
        category: the kind of thing.

    Raises:
        InputError: if a name is blank, or unknown for a kind of thing whose keypoints are known.
    """
    found: list[str] = []
    for name in names:
        cleaned = normalise_name(name)
        if not cleaned:
            raise InputError(
                f'a keypoint of {category} has no name, got {name!r}; expected words such as "nose"'
            )
        found += match_keypoints(cleaned, category) or _take_unknown(cleaned, category)
    return tuple(dict.fromkeys(found))


def _take_unknown(name: str, category: str) -> tuple[str, ...]:
    known = keypoints_of(category)
    if not known:
        return (name,)
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(
        f"{category} has no keypoint {name!r}; {hint}expected some of {', '.join(known)}"
    )
