"""A training sample: a conversation about images, with what its answer is measured against.

numpy only. Sources make samples, `training` turns them into batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from vl2_ros.errors import ShapeError
from vl2_ros.structures import Frame


class Group(Enum):
    """What of the network a sample trains beside the language side; see docs/spec/core.md, 10.

    All samples of one optimisation step are of one group.
    """

    TEXT = "text"
    DETECTION = "detection"
    POSE = "pose"
    GENERATION = "generation"
    EDITING = "editing"


@dataclass(frozen=True, slots=True, eq=False)
class LabelledObjects:
    """The n labelled objects of the last image of a sample.

    Attributes:
        boxes_xyxy: (n, 4) float32, pixels of the image.
        class_index: (n,) int64, position of the object's phrase among the routing tokens of the
            answer; of a pose, among those that stand for objects.
        masks: (n, H, W) bool, or None where the source has no masks.
    """

    boxes_xyxy: np.ndarray
    class_index: np.ndarray
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the arrays are parallel."""
        count = len(self.class_index)
        if self.boxes_xyxy.shape != (count, 4):
            raise ShapeError(f"boxes_xyxy must be ({count}, 4), got {self.boxes_xyxy.shape}")
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != count):
            raise ShapeError(f"masks must be ({count}, H, W), got {self.masks.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPoses:
    """Objects with their M keypoints, in the order in which the answer names them.

    Attributes:
        objects: boxes and classes.
        keypoints_xy: (n, M, 2) float32, pixels of the image.
        is_visible: (n, M) bool, false where a keypoint is not labelled.
        areas: (n,) float32, square pixels.
        sigmas: (M,) float32, how far each keypoint may be off, as a share of the object's size.
    """

    objects: LabelledObjects
    keypoints_xy: np.ndarray
    is_visible: np.ndarray
    areas: np.ndarray
    sigmas: np.ndarray

    def __post_init__(self) -> None:
        """Check that the arrays are parallel."""
        count, points = len(self.objects.class_index), len(self.sigmas)
        shapes = (self.keypoints_xy.shape, self.is_visible.shape, self.areas.shape)
        if shapes != ((count, points, 2), (count, points), (count,)):
            raise ShapeError(
                f"expected keypoints_xy ({count}, {points}, 2), is_visible ({count}, {points}) and "
                f"areas ({count},), got {', '.join(map(str, shapes))}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class TargetImage:
    """The image to generate, or the result of an edit of the sample's only image.

    Attributes:
        rgb: (H, W, 3) uint8.
        caption: text that describes it, or the instruction of an edit.
    """

    rgb: np.ndarray
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """One conversation about images.

    Attributes:
        group: what it trains.
        rounds: (question, answer) each, in the trained formats of docs/spec/core.md, section 7.5:
            trusted text with region placeholders and routing tokens, without slots. The prompt adds
            `<image>` for each image; a first question with text between images has all of them.
        images: the last one is the image of the decoders; none for generation and for plain text.
        regions: (H, W) bool masks, one for each `<region>`, in the order of the text.
        region_images: index into `images` for each region.
        targets: of DETECTION objects, of POSE poses, of GENERATION and EDITING an image, of TEXT
            None.
        key: names the record in its source, for reports.
        names: what the routing tokens of the answer stand for, in their order, where they are of
            the source's `label_names`; else ().
    """

    group: Group
    rounds: tuple[tuple[str, str], ...]
    images: tuple[Frame, ...] = ()
    regions: tuple[np.ndarray, ...] = ()
    region_images: tuple[int, ...] = ()
    targets: LabelledObjects | LabelledPoses | TargetImage | None = None
    key: str = ""
    names: tuple[str, ...] = ()


class SampleSource(Protocol):
    """Labelled data that samples are drawn from.

    A sample depends on the index and the generator alone, so that a run can be repeated and
    resumed exactly.
    """

    @property
    def name(self) -> str:
        """Return the name in reports and logs."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return all names that the `names` of samples are of."""

    def __len__(self) -> int:
        """Return the number of usable records."""

    def sample(self, index: int, rng: np.random.Generator) -> TrainingSample:
        """Make the sample of a record; wording, order and choice of classes are drawn.

        Args:
            index: 0 to `len` - 1.
            rng: the only source of chance.
        """

    def image_keys(self, index: int) -> tuple[str, ...]:
        """Return the names of the images of a record, one at least, without their folders.

        Records of the same image have the same name, those of other sources as well. A record
        without an image has a name of its own.
        """

    def select(self, records: np.ndarray, *, shows_others: bool = False) -> SampleSource:
        """Return a source of some records alone.

        Args:
            records: (N,) numbers of records.
            shows_others: whether the examples of a sample may be other records.
        """
