"""Training targets, per image and padded to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vl2_ros.errors import ShapeError


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTargets:
    """The n objects of one image.

    Attributes:
        boxes_cxcywh_norm: (n, 4) relative to the valid image, without padding.
        class_index: (n,) int64 position of the object's class in the answer.
        masks: (n, h, w) bool in pixels of the unpadded image, or exactly of the size of the mask
            features (the padded canvas at their stride), or None.
    """

    boxes_cxcywh_norm: Tensor
    class_index: Tensor
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that the tensors are parallel."""
        count = len(self.class_index)
        if self.boxes_cxcywh_norm.shape != (count, 4):
            raise ShapeError(
                f"boxes_cxcywh_norm must be ({count}, 4), got {tuple(self.boxes_cxcywh_norm.shape)}"
            )
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != count):
            raise ShapeError(f"masks must be ({count}, h, w), got {tuple(self.masks.shape)}")


@dataclass(frozen=True, slots=True, eq=False)
class TargetBatch:
    """Targets of B images, padded to m objects each.

    Attributes:
        boxes_cxcywh_norm: (B, m, 4) float32.
        class_index: (B, m) int64, 0 in padding.
        is_object: (B, m) bool.
        counts: objects of each image.
        masks: per image (n, h, w) or None.
    """

    boxes_cxcywh_norm: Tensor
    class_index: Tensor
    is_object: Tensor
    counts: tuple[int, ...]
    masks: tuple[Tensor | None, ...]

    @property
    def total(self) -> int:
        """Objects in the batch."""
        return sum(self.counts)

    def tile(self, groups: int) -> TargetBatch:
        """Repeat the objects of every image, (B, groups * m)."""
        return TargetBatch(
            self.boxes_cxcywh_norm.repeat(1, groups, 1),
            self.class_index.repeat(1, groups),
            self.is_object.repeat(1, groups),
            tuple(count * groups for count in self.counts),
            self.masks,
        )

    @classmethod
    def stack(cls, targets: Sequence[ObjectTargets], class_mask: Tensor) -> TargetBatch:
        """Pad the targets of a batch.

        Args:
            targets: one per image.
            class_mask: (B, N) bool, the real classes.

        Raises:
            ShapeError: if there are not B of them, or a class index names no real class.
        """
        batch, classes = class_mask.shape
        if len(targets) != batch:
            raise ShapeError(f"expected targets for {batch} images, got {len(targets)}")
        counts = tuple(len(target.class_index) for target in targets)
        size = max(counts, default=0)
        device = class_mask.device
        boxes = torch.zeros(batch, size, 4, device=device)
        labels = torch.zeros(batch, size, dtype=torch.int64, device=device)
        for row, target in enumerate(targets):
            boxes[row, : counts[row]] = target.boxes_cxcywh_norm.to(device, torch.float32)
            labels[row, : counts[row]] = target.class_index.to(device)
        columns = torch.arange(size, device=device)
        is_object = columns < torch.tensor(counts, device=device).reshape(-1, 1)
        known = class_mask.gather(1, labels.clamp(0, max(classes - 1, 0))) if size else is_object
        if bool((is_object & (~known | (labels < 0) | (labels >= classes))).any()):
            raise ShapeError(
                "class_index must name a real class of its image; expected values below "
                f"{class_mask.sum(1).tolist()}, got {[t.class_index.tolist() for t in targets]}"
            )
        return cls(boxes, labels, is_object, counts, tuple(target.masks for target in targets))
