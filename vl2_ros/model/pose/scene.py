"""Values that the pose decoder passes on: encoded scene, states of its layers, output."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from vl2_ros.model.decoders.scene_encoder import EncodedScene


@dataclass(frozen=True, slots=True, eq=False)
class PoseOutput:
    """The output of the last decoder layer for the G best objects, best first.

    There is no score per keypoint: the network learns none.

    Attributes:
        pred_logits: (B, G, N) float32, -inf for padded classes.
        pred_boxes: (B, G, 4) float32 cxcywh, relative to the valid image without padding.
        pred_keypoints: (B, G, M, 2) float32 x and y, relative like the boxes; padded ones mean
            nothing.
    """

    pred_logits: Tensor
    pred_boxes: Tensor
    pred_keypoints: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PoseScene(EncodedScene):
    """An encoded scene with the requested keypoints.

    Attributes:
        keypoints: (B, M, D) keypoint features, 0 in padding.
        keypoint_mask: (B, M) bool, the real ones.
    """

    keypoints: Tensor
    keypoint_mask: Tensor

    @classmethod
    def extend(cls, scene: EncodedScene, keypoints: Tensor, keypoint_mask: Tensor) -> PoseScene:
        """Add keypoints to an encoded scene."""
        known = {item.name: getattr(scene, item.name) for item in fields(EncodedScene)}
        return cls(**known, keypoints=keypoints, keypoint_mask=keypoint_mask)


@dataclass(frozen=True, slots=True, eq=False)
class LayerStates:
    """The states of one stage of the decoder, L layers.

    Attributes:
        states: L times (B, Q, D), normed, after each layer.
        entering: L times (B, Q, 4) cxcywh, float32, before each layer; with gradient.
        leaving: (B, Q, 4) after the last one.
        last: (B, Q, D) states after the last layer, not normed.
    """

    states: list[Tensor]
    entering: list[Tensor]
    leaving: Tensor
    last: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PoseStates:
    """The two stages of the decoder, each with P denoising queries in front.

    Attributes:
        boxes: the stage of the box queries, P + Q of them.
        chosen: (B, G) queries that became groups, best first, counted from the first box query.
        groups: the stage of the groups, P + G * (1 + M) queries: a box, then its keypoints.
        count: G.
        front: P.
    """

    boxes: LayerStates
    chosen: Tensor
    groups: LayerStates
    count: int
    front: int

    def split(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split the values of the stage of the groups, (B, P + G * (1 + M), C).

        Returns:
            Denoising queries (B, P, C), boxes (B, G, C) and keypoints (B, G, M, C).
        """
        grouped = values[:, self.front :].unflatten(1, (self.count, -1))
        return values[:, : self.front], grouped[:, :, 0], grouped[:, :, 1:]
