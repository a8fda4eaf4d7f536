"""Heads of the pose decoder: queries from boxes, boxes and keypoints from states.

Geometry is float32 and relative to the valid image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vl2_ros.model.decoders.prediction_heads import FloatMLP, inverse_sigmoid
from vl2_ros.model.decoders.query_groups import QueryGroups
from vl2_ros.model.pose.config import BODY_SLOTS

#: Coordinates nearer to 0 or 1 are refined from here; released weights depend on it.
POSE_LOGIT_EPS = 1e-3


class PoseHeads(nn.Module):
    """The heads that all decoder layers share.

    Args:
        width: D.
        num_keypoints: most keypoints per object.
    """

    def __init__(self, width: int, num_keypoints: int) -> None:
        """Make fresh weights: boxes and keypoints start as their references."""
        super().__init__()
        self.box = FloatMLP(width, width, 4, 3)
        self.keypoint = FloatMLP(width, width, 2, 3)
        self.keypoint_size = FloatMLP(width, width, 2, 3)
        # Logits of a keypoint's size in sizes of the box: by slot, whatever keypoint that is.
        self.slot_sizes = nn.Embedding(BODY_SLOTS, 2)
        self.further_slot_sizes = nn.Embedding(num_keypoints - BODY_SLOTS, 2)
        for head in (self.box, self.keypoint, self.keypoint_size):
            nn.init.zeros_(head.layers[-1].weight)
            nn.init.zeros_(head.layers[-1].bias)

    def refine(self, reference: Tensor, states: Tensor, groups: QueryGroups | None) -> Tensor:
        """Refine boxes (B, Q, 4) by states (B, Q, D), which are not normed.

        Args:
            reference: cxcywh of boxes and keypoints.
            states: of the same queries.
            groups: which queries are keypoints; None when none are.
        """
        return (inverse_sigmoid(reference, POSE_LOGIT_EPS) + self._move(states, groups)).sigmoid()

    def _move(self, states: Tensor, groups: QueryGroups | None) -> Tensor:
        if groups is None:
            return self.box(states)
        grouped = states[:, groups.front :].unflatten(1, (groups.count, -1))
        points = grouped[:, :, 1:]
        moved = torch.cat([self.keypoint(points), self.keypoint_size(points)], dim=-1)
        moved = torch.cat([self.box(grouped[:, :, :1]), moved], dim=2).flatten(1, 2)
        if not groups.front:
            return moved
        return torch.cat([self.box(states[:, : groups.front]), moved], dim=1)

    def surround(self, boxes: Tensor, keypoints: Tensor) -> Tensor:
        """Place the keypoint queries of each object.

        Args:
            boxes: (B, G, 4) cxcywh.
            keypoints: (B, M, D) keypoint features.

        Returns:
            (B, G, 1 + M, 4) cxcywh: the box itself, then its keypoints.
        """
        slots = keypoints.shape[1]
        sizes = torch.cat([self.slot_sizes.weight, self.further_slot_sizes.weight])[:slots]
        centres = inverse_sigmoid(boxes[:, :, None, :2], POSE_LOGIT_EPS)
        centres = (centres + self.keypoint(keypoints)[:, None]).sigmoid()
        spread = sizes.float().sigmoid() * boxes[:, :, None, 2:]
        return torch.cat([boxes[:, :, None], torch.cat([centres, spread], dim=-1)], dim=2)

    def locate_boxes(self, states: Tensor, entering: Tensor) -> Tensor:
        """Return boxes (..., 4) of normed states (..., D) and the boxes before their layer."""
        return (self.box(states) + inverse_sigmoid(entering, POSE_LOGIT_EPS)).sigmoid()

    def locate_keypoints(self, states: Tensor, entering: Tensor) -> Tensor:
        """Return x and y (..., 2) of normed states (..., D) and the (..., 4) before their layer."""
        centres = inverse_sigmoid(entering[..., :2], POSE_LOGIT_EPS)
        return (self.keypoint(states) + centres).sigmoid()
