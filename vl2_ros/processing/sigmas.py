"""Falloffs of keypoints: how far each may be off, as OKS counts it, for any skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from vl2_ros.processing.skeletons import normalise_name


def _pair(*joints: str) -> tuple[str, ...]:
    return tuple(f"{side} {joint}" for joint in joints for side in ("left", "right"))


_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_COCO_NAMES = ("nose", *_pair("eye", "ear", *_LIMBS))
_CROWDPOSE_NAMES = (*_pair(*_LIMBS), "head", "neck")
_AP10K_NAMES = (
    *("left eye", "right eye", "nose", "neck", "root of tail"),
    *(f"{side} {one}" for side in ("left", "right") for one in ("shoulder", "elbow", "front paw")),
    *(f"{side} {one}" for side in ("left", "right") for one in ("hip", "knee", "back paw")),
)
_LIMB_SIGMAS = (0.079, 0.072, 0.062, 0.107, 0.087, 0.089)
_LIMBS_TWICE = tuple(chain.from_iterable((one, one) for one in _LIMB_SIGMAS))

#: COCO's 17 keypoints, from its own tools.
COCO_SIGMAS = (0.026, 0.025, 0.025, 0.035, 0.035, *_LIMBS_TWICE)
#: CrowdPose's 14, from its own tools.
CROWDPOSE_SIGMAS = (*_LIMBS_TWICE, 0.079, 0.079)
#: AP-10K's 17, as mmpose has them: by position, whatever the joint.
AP10K_SIGMAS = (0.025, 0.025, 0.026, 0.035, 0.035, *_LIMBS_TWICE)
#: Of every further keypoint in the released evaluation, see docs/spec/unipose.md, 11.
_FURTHER = 0.025

_KNOWN = {
    _COCO_NAMES: COCO_SIGMAS,
    _CROWDPOSE_NAMES: CROWDPOSE_SIGMAS,
    _AP10K_NAMES: AP10K_SIGMAS,
}
_BY_NAME = dict(zip(_CROWDPOSE_NAMES, CROWDPOSE_SIGMAS, strict=True)) | dict(
    zip(_COCO_NAMES, COCO_SIGMAS, strict=True)
)
#: Other names of the same keypoints.
_ALSO = {"head top": "head", "top head": "head", "upper neck": "neck"}


def list_keypoint_names(count: int) -> tuple[str, ...]:
    """Return the names of a skeleton of which only the number is known; () for other numbers."""
    return {17: _COCO_NAMES, 14: _CROWDPOSE_NAMES}.get(count, ())


def find_sigmas(names: Sequence[str]) -> tuple[float, ...]:
    """Return the falloff of each keypoint.

    The skeletons of COCO, CrowdPose and AP-10K have their own; other skeletons of people those of
    the same joints; all others, as in the released evaluation, COCO's by position, then 0.025.

    Args:
        names: of the keypoints, in the order of the skeleton, in any spelling.
    """
    plain = tuple(_ALSO.get(one, one) for one in map(normalise_name, names))
    if plain in _KNOWN:
        return _KNOWN[plain]
    if all(name in _BY_NAME for name in plain):
        return tuple(_BY_NAME[name] for name in plain)
    return (COCO_SIGMAS + (_FURTHER,) * len(names))[: len(names)]
