"""Questions about keypoints of simulated things, by free names, with their positions.

Every kind has named points, see `vl2_ros.sim.kinds`. A question names classes first, then points:
those of a figure, of another kind, or of several kinds, of which one may lack what another has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vl2_ros.datasets.nouns import phrase_of, pluralize
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.samples import LabelledObjects, LabelledPoses
from vl2_ros.datasets.simulated.scene import Scene, Task
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.datasets.wording import chance, pick
from vl2_ros.processing.language.keypoint_names import PERSON
from vl2_ros.processing.language.pose_prompt import fill_keypoint_answer
from vl2_ros.processing.language.prompt import fill_answer
from vl2_ros.processing.sigmas import find_sigmas
from vl2_ros.sim.kinds import KINDS, list_keypoints
from vl2_ros.sim.tabletop import TabletopObject
from vl2_ros.structures import Route

FIGURE = "figure"
#: Other words for keypoints; the point is the same.
SYNONYMS = {
    "handle": ("grip",),
    "base": ("bottom", "foot"),
    "cap": ("lid",),
    "middle": ("center",),
    "top": ("upper face",),
    "spine": ("back",),
    "stem": ("stalk",),
    "left wrist": ("left hand",),
    "right wrist": ("right hand",),
    "left ankle": ("left foot",),
    "right ankle": ("right foot",),
}
#: How far a point of a thing may be off, as a share of its size; joints of people have their own.
PART_SIGMA = 0.05
_FIGURE_SHARE, _SYNONYM_SHARE, _COLOR_SHARE, _ALL_SHARE = 0.5, 0.15, 0.3, 0.5


def make_poses(scene: Scene, rng: np.random.Generator, words: np.random.Generator | None) -> Task:
    """Ask for keypoints of things in a scene, in the trained format.

    Args:
        scene: what is seen.
        rng: draws what is asked for.
        words: draws the wording; None takes that of evaluation.

    Raises:
        BadRecordError: if the scene was rendered by a simulator with other keypoints.
    """
    kinds, color = _draw_classes(scene.objects, rng)
    keypoints = _draw_keypoints(kinds, rng)
    names = [phrase_of(color if not index else None, kind) for index, kind in enumerate(kinds)]
    said = [_say(one, rng) if words is not None else one for one in keypoints]
    question = fill(draw_sentence("detect questions", words), names=", ".join(names))
    second = fill(draw_sentence("keypoint questions", words), names=", ".join(said))
    return Task(
        ((f"{question} {second}", write_answer(names, said)),),
        _label(scene, kinds, color, keypoints),
    )


def make_pose_commands(
    scene: Scene, rng: np.random.Generator, words: np.random.Generator | None
) -> Task:
    """Ask as people do: "where is the handle of the mug?", "show the poses of the figures".

    Args:
        scene: what is seen.
        rng: draws what is asked for.
        words: draws the wording; None takes that of evaluation.

    Raises:
        BadRecordError: as `make_poses` does.
    """
    (kind, *_), color = _draw_classes(scene.objects, rng)
    known = PERSON if kind == FIGURE else list_keypoints(kind)
    phrase = phrase_of(color, kind)
    said = f"the {phrase}" if chance(rng, 0.6) else f"the {pluralize(phrase)}"
    if chance(rng, 0.5):
        asked: Sequence[str] = known
        question = fill(draw_sentence("whole pose questions", words), object=said)
    else:
        count = int(rng.integers(1, min(len(known), 3) + 1))
        asked = [known[one] for one in rng.permutation(len(known))[:count]]
        question = draw_sentence("named pose questions", words)
        question = fill(question, names=_join(asked), object=said)
    return Task(((question, write_answer([phrase], asked)),), _label(scene, [kind], color, asked))


def write_answer(names: Sequence[str], keypoints: Sequence[str]) -> str:
    """Return the trained answer, each name with the token of its route."""
    found = fill_answer(draw_sentence("detect answers", None), names, Route.DETECT)
    return f"{found} {fill_keypoint_answer(draw_sentence('keypoint answers', None), keypoints)}"


def _draw_classes(
    objects: Sequence[TabletopObject], rng: np.random.Generator
) -> tuple[list[str], str | None]:
    """Draw kinds, the first of which may have a colour; most of them are in the scene."""
    present = sorted({item.kind for item in objects})
    first = pick(rng, present) if present and chance(rng, 0.95) else pick(rng, KINDS)
    if FIGURE in present and chance(rng, _FIGURE_SHARE):
        first = FIGURE
    colors = [item.color for item in objects if item.kind == first]
    color = pick(rng, colors) if colors and chance(rng, _COLOR_SHARE) else None
    others = [kind for kind in (present if chance(rng, 0.7) else KINDS) if kind != first]
    count = pick(rng, (0, 0, 0, 1, 2))
    more = [others[one] for one in rng.permutation(len(others))[:count]]
    return [first, *more], color


def _draw_keypoints(kinds: Sequence[str], rng: np.random.Generator) -> list[str]:
    known = list(dict.fromkeys(name for kind in kinds for name in list_keypoints(kind)))
    order = rng.permutation(len(known))
    if not chance(rng, _ALL_SHARE):
        order = order[: int(rng.integers(1, len(known) + 1))]
    return [known[one] for one in order]


def _say(keypoint: str, rng: np.random.Generator) -> str:
    known = SYNONYMS.get(keypoint)
    return pick(rng, known) if known and chance(rng, _SYNONYM_SHARE) else keypoint


def _join(names: Sequence[str]) -> str:
    """Join names as a sentence does: "nose, left eye and left ear"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _label(
    scene: Scene, kinds: Sequence[str], color: str | None, keypoints: Sequence[str]
) -> LabelledPoses:
    chosen = [
        index
        for index, item in enumerate(scene.objects)
        if item.kind in kinds and (item.kind != kinds[0] or color in (None, item.color))
    ]
    items = [scene.objects[one] for one in chosen]
    for item in items:
        if set(item.keypoints) != set(list_keypoints(item.kind)):
            raise BadRecordError(
                "records",
                "keypoints of another simulator",
                f"{item.kind} has {', '.join(item.keypoints)}; render the frames again",
            )
    boxes = np.array([item.box_xyxy for item in items], np.float32).reshape(-1, 4)
    classes = np.array([kinds.index(item.kind) for item in items], np.int64)
    height, width = scene.rgb.shape[:2]
    points = np.zeros((len(items), len(keypoints), 2), np.float32)
    labelled = np.zeros((len(items), len(keypoints)), np.bool_)
    for row, item in enumerate(items):
        for column, name in enumerate(keypoints):
            x, y, _ = item.keypoints.get(name, (-1.0, -1.0, False))
            # What another thing covers is where it is all the same, unlike what is not in view.
            labelled[row, column] = 0 <= x < width and 0 <= y < height
            points[row, column] = x, y
    sides = boxes[:, 2:] - boxes[:, :2]
    return LabelledPoses(
        LabelledObjects(boxes, classes),
        np.where(labelled[..., None], points, np.float32(0.0)),
        labelled,
        sides.prod(axis=1),
        np.array([_find_sigma(name) for name in keypoints], np.float32),
    )


def _find_sigma(keypoint: str) -> float:
    is_joint = keypoint in list_keypoints(FIGURE)
    return find_sigmas([keypoint])[0] if is_joint else PART_SIGMA
