"""Augment the decoder's image of a sample together with everything that is labelled on it.

An augmented sample is a sample: the last image, its regions and the targets change together, and
words that the change would make wrong prevent it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vl2_ros.datasets.samples import Group, LabelledObjects, LabelledPoses, TrainingSample
from vl2_ros.parameter_table import parameter
from vl2_ros.processing.language.pose_prompt import list_answered_keypoints
from vl2_ros.processing.skeletons import SKELETONS
from vl2_ros.structures import Frame, Route
from vl2_ros.training.recipes.sections import check_section

#: Groups whose images are changed; the answers of the others may say anything about them.
_AUGMENTED = frozenset({Group.DETECTION, Group.POSE})
#: The word for a side in the name of a keypoint: "left eye", "l eye".
_SIDE = re.compile(r"(?<![a-z])(left|right|l|r)(?![a-z])")
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
#: Words of known keypoints, which sets join with the letter of a side: "leye".
_PARTS = frozenset(
    word
    for edges in SKELETONS.values()
    for edge in edges
    for name in edge
    for word in _SIDE.sub("", name).split()
)
#: What a mirror image would make wrong, "leftmost" as well.
_SAID_SIDE = re.compile(r"\b(left|right)", re.IGNORECASE)
#: A position among others, which a crop may change.
_POSITION = re.compile(
    _SAID_SIDE.pattern + r"|\b(middle|centre|center|corner|edge|top|bottom|first|last)\b",
    re.IGNORECASE,
)
#: An object cut by a crop stays a target while this share of its box is left,
_LEAST_SHARE = 0.35
#: or while it covers this share of the crop: nobody would say that it is not there.
_LARGE_SHARE = 0.2
_CROP_TRIALS = 8


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much the images of the perception decoders are changed."""

    flip: float = parameter(
        0.5, "Share of mirrored images, where no word says left or right", least=0.0, most=1.0
    )
    crop: float = parameter(0.5, "Share of cropped images", least=0.0, most=1.0)
    least_crop: float = parameter(
        0.6, "Shortest side of a crop as a share of the image's", least=0.1, most=1.0
    )
    stretch: float = parameter(
        1.15, "Most change of the aspect of a crop, as a factor", least=1.0, most=2.0
    )
    least_scale: float = parameter(
        0.8, "Smallest factor on the size of the decoder's image", least=0.1, most=1.0
    )
    light: float = parameter(
        0.15,
        "Most relative change of brightness and contrast; tints change half as much",
        least=0.0,
        most=0.9,
    )
    blur: float = parameter(
        0.2, "Share of images with a soft focus or sensor noise", least=0.0, most=1.0
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)

    def draw_scale(self, sample: TrainingSample, rng: np.random.Generator) -> float:
        """Draw the factor on the decoder's image size; 1 where images are not changed."""
        return float(rng.uniform(self.least_scale, 1.0)) if sample.group in _AUGMENTED else 1.0


def augment(
    sample: TrainingSample, settings: Augmentation, rng: np.random.Generator
) -> TrainingSample:
    """Crop, mirror and relight the last image of a detection or pose sample.

    Args:
        sample: samples of other groups are returned as they are.
        settings: how much.
        rng: the only source of chance.
    """
    if sample.group not in _AUGMENTED or not sample.images:
        return sample
    if rng.random() < settings.crop and not _names_position(sample):
        sample = _crop(sample, settings, rng)
    if rng.random() < settings.flip:
        sample = mirror(sample)
    rgb = relight(sample.images[-1].rgb, settings, rng)
    return _with_image(sample, rgb)


def mirror(sample: TrainingSample) -> TrainingSample:
    """Mirror the last image, left and right keypoints exchanged.

    A sample whose words say left or right, other than in names of keypoints that both are asked
    for, is returned as it is.
    """
    partners = _find_partners(sample)
    if partners is None or _SAID_SIDE.search(_words_without_keypoints(sample)):
        return sample
    width = sample.images[-1].frame_hw[1]
    last = len(sample.images) - 1
    flipped = replace(
        sample,
        regions=tuple(
            np.ascontiguousarray(mask[:, ::-1]) if image == last else mask
            for mask, image in zip(sample.regions, sample.region_images, strict=True)
        ),
        targets=_mirror_targets(sample.targets, width, partners),
    )
    return _with_image(flipped, np.ascontiguousarray(sample.images[-1].rgb[:, ::-1]))


def relight(rgb: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast and tint a little; sometimes add noise or a soft focus.

    Args:
        rgb: (H, W, 3) uint8; not changed.
        settings: how much.
        rng: the only source of chance.
    """
    amount = settings.light
    gain, offset = rng.uniform(1 - amount, 1 + amount), 128 * rng.uniform(-amount, amount)
    tints = rng.uniform(1 - amount / 2, 1 + amount / 2, size=3)
    curves = np.clip(np.arange(256)[:, None] * gain * tints + offset, 0, 255).astype(np.uint8)
    rgb = cv2.LUT(np.ascontiguousarray(rgb), curves.reshape(256, 1, 3))
    draw = rng.random()
    if draw < settings.blur / 2:
        rgb = cv2.GaussianBlur(rgb, (3, 3), 0)
    elif draw < settings.blur:
        grain = rng.integers(-6, 7, size=rgb.shape, dtype=np.int8)
        rgb = cv2.add(rgb, grain, dtype=cv2.CV_8U)
    return np.asarray(rgb)


def _with_image(sample: TrainingSample, rgb: np.ndarray) -> TrainingSample:
    last = sample.images[-1]
    return replace(sample, images=(*sample.images[:-1], Frame(rgb, last.stamp_ns, last.frame_id)))


def _words(sample: TrainingSample) -> str:
    return " ".join(text for one in sample.rounds for text in one)


def _name_keypoints(sample: TrainingSample) -> list[str]:
    """Return the names of the keypoints of a pose sample, in the order of its targets."""
    return list_answered_keypoints(" ".join(answer for _, answer in sample.rounds))


def _words_without_keypoints(sample: TrainingSample) -> str:
    words = _words(sample).lower()
    for name in sorted(_name_keypoints(sample), key=len, reverse=True) if _is_pose(sample) else ():
        words = words.replace(name, "")
    return words


def _is_pose(sample: TrainingSample) -> bool:
    return isinstance(sample.targets, LabelledPoses)


def _names_position(sample: TrainingSample) -> bool:
    return bool(_POSITION.search(_words_without_keypoints(sample)))


def _find_partners(sample: TrainingSample) -> np.ndarray | None:
    """Return (M,) the keypoint that each becomes in a mirror; None where one of a pair is missing.

    Of samples without keypoints an empty array.
    """
    if not isinstance(sample.targets, LabelledPoses):
        return np.zeros(0, np.int64)
    names = _name_keypoints(sample)
    if any(_hides_side(name, names) for name in names):
        return None
    swapped = [_SIDE.sub(lambda found: _OTHER[found[1]], name) for name in names]
    if len(names) != len(sample.targets.sigmas) or not set(swapped) <= set(names):
        return None
    return np.array([names.index(name) for name in swapped], np.int64)


def _hides_side(name: str, names: Sequence[str]) -> bool:
    """Return whether a name has a side that is no word of its own: "leye", "lefteye"."""
    if _SIDE.search(name):
        return False
    exchanged = {
        f"{name[:index]}{_OTHER[letter]}{name[index + 1 :]}"
        for index, letter in enumerate(name)
        if letter in _OTHER
    }
    return (
        "left" in name
        or "right" in name
        or not exchanged.isdisjoint(names)
        or any(
            (word[0] in _OTHER and word[1:] in _PARTS)
            or (word[-1] in _OTHER and word[:-1] in _PARTS)
            for word in name.split()
        )
    )


def _mirror_targets(
    targets: object, width: int, partners: np.ndarray
) -> LabelledObjects | LabelledPoses | None:
    if isinstance(targets, LabelledPoses):
        points = targets.keypoints_xy[:, partners].copy()
        points[..., 0] = width - points[..., 0]
        return replace(
            targets,
            objects=_mirror_objects(targets.objects, width),
            keypoints_xy=points,
            is_visible=targets.is_visible[:, partners],
        )
    return _mirror_objects(targets, width) if isinstance(targets, LabelledObjects) else None


def _mirror_objects(objects: LabelledObjects, width: int) -> LabelledObjects:
    x1, y1, x2, y2 = objects.boxes_xyxy.T
    masks = None if objects.masks is None else np.ascontiguousarray(objects.masks[:, :, ::-1])
    boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
    return replace(objects, boxes_xyxy=boxes, masks=masks)


def _crop(
    sample: TrainingSample, settings: Augmentation, rng: np.random.Generator
) -> TrainingSample:
    """Cut out a part that keeps what the words need; the sample itself where none is found."""
    for _ in range(_CROP_TRIALS):
        window = _draw_window(sample.images[-1].frame_hw, settings, rng)
        cropped = crop_to(sample, window)
        if cropped is not None:
            return cropped
    return sample


def _draw_window(
    frame_hw: tuple[int, int], settings: Augmentation, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw x1, y1, x2, y2 in whole pixels."""
    height, width = frame_hw
    share = rng.uniform(settings.least_crop, 1.0)
    aspect = np.sqrt(settings.stretch ** rng.uniform(-1.0, 1.0))
    h = min(height, max(1, round(height * share / aspect)))
    w = min(width, max(1, round(width * share * aspect)))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    return left, top, left + w, top + h


def crop_to(sample: TrainingSample, window: tuple[int, int, int, int]) -> TrainingSample | None:
    """Cut the last image to a window.

    Args:
        sample: of detection or pose.
        window: x1, y1, x2, y2, whole pixels of the image.

    Returns:
        None where the window would lose what the words are about: every object, a region, or one
        object of an expression or a caption.
    """
    x1, y1, x2, y2 = window
    objects = sample.targets.objects if _is_pose(sample) else sample.targets  # type: ignore[union-attr]
    if not isinstance(objects, LabelledObjects):
        return None
    words = _words(sample)
    masks = None if objects.masks is None else objects.masks[:, y1:y2, x1:x2]
    kept, boxes = _cut_boxes(objects.boxes_xyxy, masks, window)
    if Route.SEGMENT.value in words and masks is not None:
        # Every pixel of the image is said to be of a class or not.
        kept = np.asarray(masks.any(axis=(1, 2)))
    needs_all = "<det>" in words or Route.GROUND.value in words
    if (needs_all and not kept.all()) or (len(kept) and not kept.any()):
        return None
    last = len(sample.images) - 1
    regions = tuple(
        mask[y1:y2, x1:x2] if image == last else mask
        for mask, image in zip(sample.regions, sample.region_images, strict=True)
    )
    if not all(mask.any() for mask in regions):
        return None
    cut = LabelledObjects(
        boxes[kept], objects.class_index[kept], None if masks is None else masks[kept]
    )
    targets = _cut_poses(sample.targets, cut, kept, window)
    rgb = np.ascontiguousarray(sample.images[-1].rgb[y1:y2, x1:x2])
    return _with_image(replace(sample, regions=regions, targets=targets), rgb)


def _cut_boxes(
    boxes_xyxy: np.ndarray, masks: np.ndarray | None, window: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) which objects stay, and (n, 4) what is left of all boxes, in the window.

    Args:
        boxes_xyxy: (n, 4) in the whole image.
        masks: (n, h, w) bool in the window, or None. What is left of an object that the window
            cuts lies where its mask is left.
        window: x1, y1, x2, y2.
    """
    x1, y1, x2, y2 = window
    size = np.array([x2 - x1, y2 - y1] * 2, np.float32)
    moved = boxes_xyxy - np.array([x1, y1, x1, y1], np.float32)
    cut = np.clip(moved, 0, size).astype(np.float32)
    if masks is not None:
        for index in np.flatnonzero((cut != moved).any(axis=1) | ~masks.any(axis=(1, 2))):
            cut[index] = _box_of(masks[index])
    before = np.prod(moved[:, 2:] - moved[:, :2], axis=1)
    after = np.prod(cut[:, 2:] - cut[:, :2], axis=1)
    is_large = after >= _LARGE_SHARE * size[0] * size[1]
    return (after >= np.maximum(_LEAST_SHARE * before, 1.0)) | is_large, cut


def _box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the corners of the box around the pixels of a mask; all 0 without a pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _cut_poses(
    targets: object, objects: LabelledObjects, kept: np.ndarray, window: Sequence[int]
) -> LabelledObjects | LabelledPoses:
    """Return the targets of the kept objects; keypoints outside of the window are unlabelled."""
    if not isinstance(targets, LabelledPoses):
        return objects
    x1, y1, x2, y2 = window
    points = (targets.keypoints_xy[kept] - np.array([x1, y1], np.float32)).astype(np.float32)
    inside = ((points >= 0) & (points <= np.array([x2 - x1, y2 - y1]))).all(-1)
    return replace(
        targets,
        objects=objects,
        keypoints_xy=points,
        is_visible=targets.is_visible[kept] & inside,
        areas=targets.areas[kept],
    )
