"""The pose decoder: poses from pixels and super-link groups of classes and keypoint names.

UniPose of VisionLLM v2: ED-Pose and X-Pose (arXiv 2302.01593, 2310.08530) with states of the LLM in
place of a text encoder. The detection decoder's parts up to the box queries; then the best boxes
become groups of one box and one query per keypoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.model.decoders.denoising import (
    DenoisingNoise,
    DenoisingQueries,
    prepare_denoising,
    prepend,
)
from vl2_ros.model.decoders.prediction_heads import CastingMLP, ClassLogits
from vl2_ros.model.decoders.query_groups import QueryGroups
from vl2_ros.model.decoders.query_selection import QuerySelection, SelectedQueries
from vl2_ros.model.decoders.scene_encoder import (
    SceneEncoder,
    attended_classes,
    complete_mask,
)
from vl2_ros.model.decoders.set_losses import PredictionSets
from vl2_ros.model.decoders.transformer import build_decoder, run_decoder_layer
from vl2_ros.model.pose.config import PoseConfig
from vl2_ros.model.pose.heads import POSE_LOGIT_EPS, PoseHeads
from vl2_ros.model.pose.losses import PosePredictions, compute_pose_losses
from vl2_ros.model.pose.scene import LayerStates, PoseOutput, PoseScene, PoseStates
from vl2_ros.model.pose.targets import PoseTargetBatch, PoseTargets


class PoseDecoder(SceneEncoder):
    """Finds objects of named classes and named keypoints on each of them."""

    config: PoseConfig

    def __init__(self, config: PoseConfig) -> None:
        """Make the decoder with fresh weights."""
        super().__init__(config)
        width = config.d_model
        self.keypoint_projection = CastingMLP(config.l_hidden_size, width, width, 3)
        self.query_selection = QuerySelection(width, scaled=False)
        self.query_embeddings = nn.Embedding(config.num_queries, width)
        self.heads = PoseHeads(width, config.num_keypoints)
        self.class_logits = ClassLogits(width, scaled=False)
        self.decoder = build_decoder(config, self.heads.box, grouped_from=config.box_layers)
        nn.init.zeros_(self.query_selection.box_head.layers[-1].weight)
        nn.init.zeros_(self.query_selection.box_head.layers[-1].bias)

    def forward(
        self,
        pixels: Tensor,
        super_link: Tensor,
        class_mask: Tensor,
        keypoint_link: Tensor,
        keypoint_mask: Tensor,
        pixel_mask: Tensor | None = None,
    ) -> PoseOutput:
        """Find poses.

        Args:
            pixels: (B, 3, H, W) normalised images, padded on the right and the bottom with 0.
            super_link: (B, N, K, C) states at the slots of each class, in answer order.
            class_mask: (B, N) bool, true = real class; real ones come first.
            keypoint_link: (B, M, K, C) states at the slots of each keypoint name.
            keypoint_mask: (B, M) bool, true = real; real ones come first.
            pixel_mask: (B, H, W) bool, true = valid pixel; None when nothing is padded.

        Raises:
            InputError: if there are too many classes or keypoints, or no keypoint.
            ShapeError: if the tensors do not fit together.
        """
        mask = complete_mask(pixels, pixel_mask)
        words = (super_link, class_mask, keypoint_link, keypoint_mask)
        return self.decode_maps(self.encode_image(pixels), *words, mask)

    def decode_maps(
        self,
        maps: Sequence[Tensor],
        super_link: Tensor,
        class_mask: Tensor,
        keypoint_link: Tensor,
        keypoint_mask: Tensor,
        pixel_mask: Tensor,
    ) -> PoseOutput:
        """Find poses in the maps of `encode_image`; the other arguments as in `forward`."""
        words = (super_link, class_mask, keypoint_link, keypoint_mask)
        scene = self.encode_maps(maps, *words, pixel_mask)
        states = self.decode(scene, self.select(scene))
        _, entering, entering_points = states.split(states.groups.entering[-1])
        _, boxes, points = states.split(states.groups.states[-1])
        logits = self.class_logits(boxes, scene.classes)
        logits = logits.masked_fill(~scene.class_mask[:, None], float("-inf"))
        found = self.heads.locate_keypoints(points, entering_points)
        return PoseOutput(
            pred_logits=logits[..., : class_mask.shape[1]],
            pred_boxes=self.heads.locate_boxes(boxes, entering),
            pred_keypoints=found[:, :, : keypoint_mask.shape[1]],
        )

    def encode(
        self,
        pixels: Tensor,
        super_link: Tensor,
        class_mask: Tensor,
        keypoint_link: Tensor,
        keypoint_mask: Tensor,
        pixel_mask: Tensor | None = None,
    ) -> PoseScene:
        """Encode image, classes and keypoint names; arguments as in `forward`."""
        mask = complete_mask(pixels, pixel_mask)
        words = (super_link, class_mask, keypoint_link, keypoint_mask)
        return self.encode_maps(self.encode_image(pixels), *words, mask)

    def encode_maps(
        self,
        maps: Sequence[Tensor],
        super_link: Tensor,
        class_mask: Tensor,
        keypoint_link: Tensor,
        keypoint_mask: Tensor,
        pixel_mask: Tensor,
    ) -> PoseScene:
        """Do as `encode` behind the image branch; maps as from `encode_image`."""
        self._check_keypoints(keypoint_link, keypoint_mask, maps[0].shape[0])
        most = self.config.num_keypoints
        keypoint_link, keypoint_mask = keypoint_link[:, :most], keypoint_mask[:, :most].bool()
        keypoints = self.keypoint_projection(keypoint_link).mean(2)
        keypoints = keypoints * keypoint_mask[..., None]
        if self.config.group_mask == "released":
            # There the number of slots is part of what sees what.
            missing = most - keypoint_mask.shape[1]
            keypoints = nn.functional.pad(keypoints, (0, 0, 0, missing))
            keypoint_mask = nn.functional.pad(keypoint_mask, (0, missing))
        scene = self.encode_scene(maps, super_link, class_mask, pixel_mask)
        return PoseScene.extend(scene, keypoints, keypoint_mask)

    def select(self, scene: PoseScene) -> SelectedQueries:
        """Choose the tokens whose boxes become queries."""
        return self.query_selection(
            scene.image, scene.tokens, scene.classes, scene.class_mask, self.config.num_queries
        )

    def decode(
        self,
        scene: PoseScene,
        selected: SelectedQueries,
        denoising: DenoisingQueries | None = None,
    ) -> PoseStates:
        """Run the decoder layers.

        Args:
            scene: from `encode`.
            selected: from `select`.
            denoising: P queries to put in front, or None.
        """
        entering = selected.boxes_cxcywh_norm.detach()
        batch, queries = entering.shape[:2]
        content = self.query_embeddings.weight[:queries].expand(batch, -1, -1)
        content, entering, blocked = prepend(denoising, content, entering)
        front = 0 if denoising is None else denoising.count
        layers, first = range(self.config.decoder_layers), self.config.box_layers
        boxes = self._run_layers(scene, layers[:first], content, entering, blocked)
        chosen = self._choose_groups(scene, boxes.last[:, front:])
        content, entering = self._form_groups(scene, boxes, chosen, front)
        sees = self._group_queries(scene, chosen.shape[1], denoising)
        groups = self._run_layers(scene, layers[first:], content, entering, sees)
        return PoseStates(boxes, chosen, groups, chosen.shape[1], front)

    def _run_layers(
        self,
        scene: PoseScene,
        layers: range,
        states: Tensor,
        boxes: Tensor,
        self_attention: Tensor | QueryGroups | None,
    ) -> LayerStates:
        """Run some layers; every one refines the boxes that the next one starts from."""
        normed, entering = [], [boxes]
        attended = attended_classes(scene.class_mask)
        for layer in layers:
            # The gradient of a layer ends at its references; the heads' reaches one layer further.
            reference = entering[-1].detach()
            states = run_decoder_layer(
                self.decoder,
                layer,
                states,
                reference,
                image=scene.image,
                tokens=scene.tokens,
                classes=scene.classes,
                class_mask=attended,
                self_attention=self_attention,
            )
            normed.append(self.decoder.layer_norm(states))
            groups = self_attention if isinstance(self_attention, QueryGroups) else None
            entering.append(self.heads.refine(reference, states, groups))
        return LayerStates(normed, entering[:-1], entering[-1], states)

    def _choose_groups(self, scene: PoseScene, states: Tensor) -> Tensor:
        """Return (B, G) the box queries (B, Q, D) that look most like any of the classes."""
        logits = self.class_logits(states, scene.classes)
        scores = logits.masked_fill(~scene.class_mask[:, None], float("-inf")).amax(-1)
        count = min(self.config.num_groups, scores.shape[1])
        return scores.topk(count, dim=1).indices

    def _form_groups(
        self, scene: PoseScene, boxes: LayerStates, chosen: Tensor, front: int
    ) -> tuple[Tensor, Tensor]:
        """Return content (B, P + G * (1 + M), D) and boxes of the same queries."""
        index = chosen[..., None] + front
        content = boxes.last.gather(1, index.expand(-1, -1, boxes.last.shape[-1]))
        box = boxes.leaving.gather(1, index.expand(-1, -1, 4))
        around = self.heads.surround(box, scene.keypoints)
        keypoints = scene.keypoints[:, None].expand(-1, chosen.shape[1], -1, -1)
        joined = torch.cat([content[:, :, None], keypoints.to(content.dtype)], dim=2)
        return (
            torch.cat([boxes.last[:, :front], joined.flatten(1, 2)], dim=1),
            torch.cat([boxes.leaving[:, :front], around.flatten(1, 2)], dim=1),
        )

    def _group_queries(
        self, scene: PoseScene, count: int, denoising: DenoisingQueries | None
    ) -> QueryGroups:
        # Not pad(): TensorRT pads numbers only.
        is_box = torch.ones_like(scene.keypoint_mask[:, :1])
        slot_mask = torch.cat([is_box, scene.keypoint_mask], dim=1)
        front = None
        if denoising is not None:
            queries = count * slot_mask.shape[1]
            front = ~denoising.blocked(queries)[: denoising.count]
        is_released = self.config.group_mask == "released" and denoising is None
        return QueryGroups(count, slot_mask, front, is_released)

    def compute_losses(
        self,
        pixels: Tensor,
        super_link: Tensor,
        class_mask: Tensor,
        keypoint_link: Tensor,
        keypoint_mask: Tensor,
        targets: Sequence[PoseTargets],
        pixel_mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        noise: DenoisingNoise | None = None,
    ) -> dict[str, Tensor]:
        """Return the unweighted losses of a batch; `total_loss` adds them up.

        Args:
            pixels: see `forward`.
            super_link: see `forward`; the gradient flows into it.
            class_mask: see `forward`.
            keypoint_link: see `forward`; the gradient flows into it.
            keypoint_mask: see `forward`.
            targets: one per image.
            pixel_mask: see `forward`.
            generator: source of denoising noise; None: torch's.
            noise: denoising draws in place of the generator's.

        Returns:
            `loss_ce`, `loss_bbox`, `loss_giou`, `loss_keypoints`, `loss_oks` of the last layer,
            with suffix `_0`.. of earlier layers (keypoints only where there are any), `_enc` of
            the query selection, `_dn`, `_dn_0`.. of the denoising queries.
        """
        predictions, batch = self.predict_for_training(
            pixels,
            super_link,
            class_mask,
            keypoint_link,
            keypoint_mask,
            targets,
            pixel_mask,
            generator,
            noise,
        )
        return compute_pose_losses(predictions, batch, self.config)

    def predict_for_training(
        self,
        pixels: Tensor,
        super_link: Tensor,
        class_mask: Tensor,
        keypoint_link: Tensor,
        keypoint_mask: Tensor,
        targets: Sequence[PoseTargets],
        pixel_mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        noise: DenoisingNoise | None = None,
    ) -> tuple[PosePredictions, PoseTargetBatch]:
        """Return the predictions of all layers and the padded targets; see `compute_losses`."""
        # Label noise also samples padded classes, so they are part of the network.
        missing = max(0, self.config.max_text_len - class_mask.shape[1])
        super_link = nn.functional.pad(super_link, (0, 0, 0, 0, 0, missing))
        class_mask = nn.functional.pad(class_mask, (0, missing))
        scene = self.encode(
            pixels, super_link, class_mask, keypoint_link, keypoint_mask, pixel_mask
        )
        batch = PoseTargetBatch.stack(targets, scene.class_mask, scene.keypoint_mask)
        denoising = prepare_denoising(
            batch.objects, scene.raw_classes, self.config, generator, noise, POSE_LOGIT_EPS
        )
        selected = self.select(scene)
        states = self.decode(scene, selected, denoising)
        return self._gather_predictions(scene, selected, states, denoising), batch

    def _gather_predictions(
        self,
        scene: PoseScene,
        selected: SelectedQueries,
        states: PoseStates,
        denoising: DenoisingQueries | None,
    ) -> PosePredictions:
        front, first = states.front, self.config.box_layers
        names = [*(f"_{index}" for index in range(self.config.decoder_layers - 1)), ""]
        logits, boxes = self._read(scene, states.boxes.states, states.boxes.entering)
        parts = zip(*map(states.split, states.groups.states), strict=True)
        noisy, objects, points = (list(part) for part in parts)
        parts = zip(*map(states.split, states.groups.entering), strict=True)
        noisy_from, objects_from, points_from = (list(part) for part in parts)
        denoised = None
        if denoising is not None:
            more_logits, more_boxes = self._read(scene, noisy, noisy_from)
            denoised = PredictionSets(
                suffixes=tuple(f"_dn{name}" for name in names),
                logits=torch.cat([logits[:, :, :front], more_logits]),
                boxes_cxcywh_norm=torch.cat([boxes[:, :, :front], more_boxes]),
            )
        chosen = selected.boxes_cxcywh_norm[None]
        return PosePredictions(
            boxes=PredictionSets(
                suffixes=(*names[:first], "_enc"),
                logits=torch.cat([logits[:, :, front:], selected.class_logits[None]]),
                boxes_cxcywh_norm=torch.cat([boxes[:, :, front:], chosen]),
            ),
            groups=PredictionSets(tuple(names[first:]), *self._read(scene, objects, objects_from)),
            keypoints_xy_norm=self.heads.locate_keypoints(
                torch.stack(points), torch.stack(points_from)
            ),
            denoised=denoised,
            denoising_groups=0 if denoising is None else denoising.groups,
            class_mask=scene.class_mask,
        )

    def _read(
        self, scene: PoseScene, states: Sequence[Tensor], entering: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return logits (L, B, Q, N) and boxes (L, B, Q, 4) of L layers."""
        stacked = torch.stack(list(states))
        boxes = self.heads.locate_boxes(stacked, torch.stack(list(entering)))
        return self.class_logits(stacked, scene.classes), boxes

    def _check_keypoints(self, link: Tensor, mask: Tensor, batch: int) -> None:
        most, channels = self.config.num_keypoints, self.config.l_hidden_size
        if link.ndim != 4 or (link.shape[0], link.shape[3]) != (batch, channels):
            raise ShapeError(
                f"expected keypoint_link (B, M, K, {channels}) for {batch} images, got "
                f"{tuple(link.shape)}"
            )
        if tuple(mask.shape) != tuple(link.shape[:2]):
            raise ShapeError(
                f"expected keypoint_mask {tuple(link.shape[:2])}, got {tuple(mask.shape)}"
            )
        if mask.shape[1] > most and bool(mask[:, most:].any()):
            raise InputError(
                f"at most {most} keypoints fit in one call, got {int(mask.sum(1).max())}; split "
                "the list into several calls"
            )
        if not mask.shape[1]:
            raise InputError("no keypoint is named; name at least one, such as 'nose'")
