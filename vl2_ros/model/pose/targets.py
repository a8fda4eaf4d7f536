"""Training targets of poses, per image and padded to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vl2_ros.errors import ShapeError
from vl2_ros.model.decoders.targets import ObjectTargets, TargetBatch
from vl2_ros.model.pose.config import OKS_SIGMAS


@dataclass(frozen=True, slots=True, eq=False)
class PoseTargets:
    """The n objects of one image and their M keypoints, in the requested order.

    Attributes:
        objects: boxes and classes.
        keypoints_xy_norm: (n, M, 2) relative to the valid image, without padding.
        is_visible: (n, M) bool, false where a keypoint is not labelled.
        areas_norm: (n,) area of each object, as a share of the image's.
        sigmas: (M,) how far each keypoint may be off, see `OKS_SIGMAS`; None uses the first M of
            these, which fits keypoints requested in the order of the data set.
    """

    objects: ObjectTargets
    keypoints_xy_norm: Tensor
    is_visible: Tensor
    areas_norm: Tensor
    sigmas: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that the tensors are parallel."""
        count, slots = len(self.objects.class_index), self.is_visible.shape[-1]
        shapes = (self.is_visible.shape, self.keypoints_xy_norm.shape, self.areas_norm.shape)
        if tuple(map(tuple, shapes)) != ((count, slots), (count, slots, 2), (count,)):
            raise ShapeError(
                f"expected is_visible ({count}, M), keypoints_xy_norm ({count}, M, 2) and "
                f"areas_norm ({count},), got {', '.join(str(tuple(shape)) for shape in shapes)}"
            )
        if self.sigmas is not None and self.sigmas.shape != (slots,):
            raise ShapeError(f"sigmas must be ({slots},), got {tuple(self.sigmas.shape)}")


@dataclass(frozen=True, slots=True, eq=False)
class PoseTargetBatch:
    """Targets of B images, padded to m objects and M keypoints each.

    Attributes:
        objects: boxes and classes.
        keypoints_xy_norm: (B, m, M, 2) float32.
        is_visible: (B, m, M) float32, 0 or 1.
        areas_norm: (B, m) float32, 1 in padding.
        sigmas: (B, M) float32.
    """

    objects: TargetBatch
    keypoints_xy_norm: Tensor
    is_visible: Tensor
    areas_norm: Tensor
    sigmas: Tensor

    @classmethod
    def stack(
        cls, targets: Sequence[PoseTargets], class_mask: Tensor, keypoint_mask: Tensor
    ) -> PoseTargetBatch:
        """Pad the targets of a batch.

        Args:
            targets: one per image.
            class_mask: (B, N) bool, the real classes.
            keypoint_mask: (B, M) bool, the real keypoints.

        Raises:
            ShapeError: if there are not B of them, a class index names no real class, or the
                keypoints are not as many as requested.
        """
        objects = TargetBatch.stack([target.objects for target in targets], class_mask)
        batch, slots = keypoint_mask.shape
        size = objects.class_index.shape[1]
        device = class_mask.device
        points = torch.zeros(batch, size, slots, 2, device=device)
        visible = torch.zeros(batch, size, slots, device=device)
        areas = torch.ones(batch, size, device=device)
        sigmas = torch.tensor(OKS_SIGMAS[:slots], device=device).repeat(batch, 1)
        asked = keypoint_mask.sum(1).tolist()
        for row, target in enumerate(targets):
            count, given = target.is_visible.shape
            if given != asked[row]:
                raise ShapeError(
                    f"image {row} asks for {asked[row]} keypoints, its targets have {given}"
                )
            points[row, :count, :given] = target.keypoints_xy_norm.to(device, torch.float32)
            visible[row, :count, :given] = target.is_visible.to(device, torch.float32)
            areas[row, :count] = target.areas_norm.to(device, torch.float32)
            if target.sigmas is not None:
                sigmas[row, :given] = target.sigmas.to(device, torch.float32)
        return cls(objects, points, visible, areas, sigmas)


def split_triplets(values: Tensor) -> tuple[Tensor, Tensor]:
    """Part keypoints as COCO stores them, (..., 3 M): x, y, visibility, x, y, ..

    Returns:
        x and y (..., M, 2) and visibility (..., M): 0 not labelled, 1 covered, 2 seen.
    """
    triplets = values.unflatten(-1, (-1, 3))
    return triplets[..., :2], triplets[..., 2]
