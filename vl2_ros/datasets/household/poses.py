"""Questions about the poses of people in household scenes, with the positions of their joints."""

from __future__ import annotations

import numpy as np

from vl2_ros.datasets.household.shards import HouseholdScene
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.samples import LabelledPoses
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.datasets.wording import chance
from vl2_ros.processing.language.pose_prompt import fill_keypoint_answer
from vl2_ros.processing.language.prompt import fill_answer
from vl2_ros.processing.sigmas import find_sigmas
from vl2_ros.sim.household.skeletons import KEYPOINTS
from vl2_ros.structures import Route

PERSON = "person"
#: Share of the questions that ask for all joints.
_ALL_SHARE = 0.5


def ask_poses(
    scene: HouseholdScene, rng: np.random.Generator, words: np.random.Generator | None
) -> tuple[tuple[str, str], LabelledPoses]:
    """Ask for joints of the people of a scene, in the trained format.

    Args:
        scene: what is seen.
        rng: draws the joints.
        words: draws the wording; None takes that of evaluation.

    Returns:
        Question and answer, and the joints; one outside of the image is not labelled.

    Raises:
        BadRecordError: if the scene shows nobody.
    """
    people = np.array([i for i, one in enumerate(scene.objects) if one.kind == PERSON], np.int64)
    if not len(people):
        raise BadRecordError("records", "scene without people")
    points = rng.permutation(len(KEYPOINTS))
    if words is None:
        points = np.arange(len(KEYPOINTS))
    elif not chance(rng, _ALL_SHARE):
        points = points[: int(rng.integers(1, len(KEYPOINTS) + 1))]
    names = [KEYPOINTS[one].replace("_", " ") for one in points]
    question = fill(draw_sentence("detect questions", words), names=PERSON)
    second = fill(draw_sentence("keypoint questions", words), names=", ".join(names))
    answer = fill_answer(draw_sentence("detect answers", words), [PERSON], Route.DETECT)
    placed = fill_keypoint_answer(draw_sentence("keypoint answers", words), names)
    joints = np.array(
        [[scene.objects[one].keypoints[KEYPOINTS[p]] for p in points] for one in people]
    )
    places = joints[:, :, :2].astype(np.float32)
    height, width = scene.instance_map.shape
    inside = np.all((places >= 0) & (places < (width, height)), axis=2)
    areas = np.array([scene.objects[one].visible_pixels for one in people], np.float32)
    sigmas = np.array(find_sigmas([KEYPOINTS[one] for one in range(len(KEYPOINTS))]), np.float32)
    poses = LabelledPoses(
        scene.label(people, np.zeros(len(people), np.int64)),
        places,
        inside,
        areas,
        sigmas[points],
    )
    return (f"{question} {second}", f"{answer} {placed}"), poses
