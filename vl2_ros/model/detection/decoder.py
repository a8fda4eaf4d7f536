"""The detection decoder: pixels and one super-link group per class into class logits, boxes, masks.

Grounding DINO (arXiv 2303.05499) with a mask branch, conditioned on states of the LLM in place of a
text encoder; composed of transformers' modules.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vl2_ros.model.decoders.denoising import (
    DenoisingNoise,
    DenoisingQueries,
    prepare_denoising,
    prepend,
)
from vl2_ros.model.decoders.masks.mask_branch import MaskBranch
from vl2_ros.model.decoders.masks.mask_losses import PointSampler
from vl2_ros.model.decoders.prediction_heads import ClassLogits, FloatMLP, inverse_sigmoid
from vl2_ros.model.decoders.query_selection import QuerySelection, SelectedQueries
from vl2_ros.model.decoders.scene_encoder import (
    SceneEncoder,
    attended_classes,
    complete_mask,
)
from vl2_ros.model.decoders.set_losses import PredictionSets
from vl2_ros.model.decoders.targets import ObjectTargets, TargetBatch
from vl2_ros.model.decoders.transformer import build_decoder
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.detection.losses import TrainingPredictions, compute_set_losses
from vl2_ros.model.detection.scene import DetectionOutput, DetectionScene


class DetectionDecoder(SceneEncoder):
    """Open-vocabulary detector and segmenter."""

    config: DetectionConfig

    def __init__(self, config: DetectionConfig) -> None:
        """Make the decoder with fresh weights."""
        super().__init__(config)
        width = config.d_model
        scaled = config.class_logits == "scaled_dot"
        channels = dict(zip(config.out_stages, self.backbone.channels, strict=True))
        self.mask_branch = MaskBranch(
            [channels[stage] for stage in config.lateral_stages],
            token_width=width,
            width=config.mask_width,
            mask_dim=config.mask_dim,
            norm_groups=config.norm_groups,
        )
        self.lateral_width = config.mask_width
        self.query_selection = QuerySelection(width, scaled=scaled)
        self.query_embeddings = nn.Embedding(config.num_queries, width)
        self.box_head = FloatMLP(width, width, 4, 3)
        self.mask_head = FloatMLP(width, width, config.mask_dim, 3)
        self.class_logits = ClassLogits(width, scaled=scaled)
        self.decoder = build_decoder(config, self.box_head)
        trains_all_masks = config.mask_loss_layers == "all"
        self.encoder_mask_head = (
            FloatMLP(width, width, config.mask_dim, 3) if trains_all_masks else None
        )
        for head in (self.box_head, self.query_selection.box_head):
            # Boxes start as their references.
            nn.init.zeros_(head.layers[-1].weight)
            nn.init.zeros_(head.layers[-1].bias)

    def forward(
        self,
        pixels: Tensor,
        super_link: Tensor,
        class_mask: Tensor,
        pixel_mask: Tensor | None = None,
    ) -> DetectionOutput:
        """Detect.

        Args:
            pixels: (B, 3, H, W) normalised images, padded on the right and the bottom with 0.
            super_link: (B, N, K, C) states at the slots of each class, in answer order.
            class_mask: (B, N) bool, true = real class; real ones come first. An image may have
                none, its logits are all -inf then.
            pixel_mask: (B, H, W) bool, true = valid pixel; None when nothing is padded.

        Raises:
            InputError: if there are more classes than `max_text_len`.
            ShapeError: if the tensors do not fit together.
        """
        mask = complete_mask(pixels, pixel_mask)
        return self.decode_maps(self.encode_image(pixels), super_link, class_mask, mask)

    def decode_maps(
        self, maps: Sequence[Tensor], super_link: Tensor, class_mask: Tensor, pixel_mask: Tensor
    ) -> DetectionOutput:
        """Detect in the maps of `encode_image`; the other arguments as in `forward`."""
        scene = self.encode_maps(maps, super_link, class_mask, pixel_mask)
        states, references = self.decode(scene, self.select(scene))
        logits, boxes = self._predict(scene, states[:, -1:], references[:, -1:])
        logits = logits[0].masked_fill(~scene.class_mask[:, None], float("-inf"))
        return DetectionOutput(
            pred_logits=logits[..., : class_mask.shape[1]],
            pred_boxes=boxes[0],
            mask_queries=self.mask_head(states[:, -1]),
            mask_features=scene.mask_features.float(),
        )

    @property
    def image_parts(self) -> dict[str, nn.Module]:
        """Those of every scene encoder, and the projections of lateral maps."""
        return {**super().image_parts, "laterals": self.mask_branch.lateral_convs}

    def _project_laterals(self, laterals: list[Tensor]) -> list[Tensor]:
        return self.mask_branch.project(laterals)

    def encode(
        self,
        pixels: Tensor,
        super_link: Tensor,
        class_mask: Tensor,
        pixel_mask: Tensor | None = None,
    ) -> DetectionScene:
        """Run backbone, class projection, encoder and mask branch; arguments as in `forward`."""
        mask = complete_mask(pixels, pixel_mask)
        return self.encode_maps(self.encode_image(pixels), super_link, class_mask, mask)

    def encode_maps(
        self, maps: Sequence[Tensor], super_link: Tensor, class_mask: Tensor, pixel_mask: Tensor
    ) -> DetectionScene:
        """Do as `encode` behind the image branch; maps as from `encode_image`."""
        scene = self.encode_scene(maps, super_link, class_mask, pixel_mask)
        features = self.mask_branch(scene.image.level_map(scene.tokens, 0), scene.laterals)
        return DetectionScene.extend(scene, features)

    def select(self, scene: DetectionScene) -> SelectedQueries:
        """Choose the tokens whose boxes become queries."""
        return self.query_selection(
            scene.image, scene.tokens, scene.classes, scene.class_mask, self.config.num_queries
        )

    def decode(
        self,
        scene: DetectionScene,
        selected: SelectedQueries,
        denoising: DenoisingQueries | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the decoder layers.

        Args:
            scene: from `encode`.
            selected: from `select`.
            denoising: P queries to put in front, or None.

        Returns:
            Normed states (B, layers, P + Q, D) and the boxes that entered each layer
            (B, layers, P + Q, 4) cxcywh, float32, without gradient.
        """
        references = selected.boxes_cxcywh_norm.detach()
        batch, queries = references.shape[:2]
        content = self.query_embeddings.weight[:queries].expand(batch, -1, -1)
        content, references, blocked = prepend(denoising, content, references)
        normed, entering = self.decoder(
            content,
            references,
            image=scene.image,
            tokens=scene.tokens,
            classes=scene.classes,
            class_mask=attended_classes(scene.class_mask),
            self_attention=blocked,
        )
        return torch.stack(normed, dim=1), torch.stack(entering[:-1], dim=1)

    def compute_losses(
        self,
        pixels: Tensor,
        super_link: Tensor,
        class_mask: Tensor,
        targets: Sequence[ObjectTargets],
        pixel_mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        noise: DenoisingNoise | None = None,
        sample_points: PointSampler | None = None,
    ) -> dict[str, Tensor]:
        """Return the unweighted losses of a batch; `total_loss` adds them up.

        Args:
            pixels: see `forward`.
            super_link: see `forward`; the gradient flows into it.
            class_mask: see `forward`.
            targets: one per image.
            pixel_mask: see `forward`.
            generator: source of denoising noise and mask points; None: torch's.
            noise: denoising draws in place of the generator's.
            sample_points: mask points in place of the generator's.

        Returns:
            `loss_ce`, `loss_bbox`, `loss_giou`, `loss_mask`, `loss_dice` of the last layer, with
            suffix `_0`.. of earlier layers, `_enc` of the query selection, `_dn`, `_dn_0`.. of the
            denoising queries.
        """
        predictions, batch = self.predict_for_training(
            pixels, super_link, class_mask, targets, pixel_mask, generator, noise
        )

        def draw_points(masks: int, points: int) -> Tensor:
            return torch.rand(masks, points, 2, generator=generator, device=pixels.device)

        return compute_set_losses(predictions, batch, self.config, sample_points or draw_points)

    def predict_for_training(
        self,
        pixels: Tensor,
        super_link: Tensor,
        class_mask: Tensor,
        targets: Sequence[ObjectTargets],
        pixel_mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        noise: DenoisingNoise | None = None,
    ) -> tuple[TrainingPredictions, TargetBatch]:
        """Return the predictions of all layers and the padded targets; see `compute_losses`."""
        scene = self.encode(pixels, super_link, class_mask, pixel_mask)
        batch = TargetBatch.stack(targets, scene.class_mask)
        denoising = prepare_denoising(batch, scene.raw_classes, self.config, generator, noise)
        selected = self.select(scene)
        states, references = self.decode(scene, selected, denoising)
        logits, boxes = self._predict(scene, states, references)
        first = 0 if denoising is None else denoising.count
        layers = [*(f"_{index}" for index in range(self.config.decoder_layers - 1)), ""]
        matching = PredictionSets(
            suffixes=(*layers, "_enc"),
            logits=torch.cat([logits[:, :, first:], selected.class_logits[None]]),
            boxes_cxcywh_norm=torch.cat([boxes[:, :, first:], selected.boxes_cxcywh_norm[None]]),
            mask_queries=self._mask_queries(states[:, :, first:], with_selection=True),
        )
        denoised = PredictionSets(
            suffixes=tuple(f"_dn{layer}" for layer in layers),
            logits=logits[:, :, :first],
            boxes_cxcywh_norm=boxes[:, :, :first],
            mask_queries=self._mask_queries(states[:, :, :first], with_selection=False),
        )
        predictions = TrainingPredictions(
            matching=matching,
            denoised=denoised if denoising is not None else None,
            groups=0 if denoising is None else denoising.groups,
            mask_features=scene.mask_features,
            class_mask=scene.class_mask,
            canvas_hw=(pixels.shape[2], pixels.shape[3]),
        )
        return predictions, batch

    def _predict(
        self, scene: DetectionScene, states: Tensor, entering: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return logits (L, B, Q, N) and boxes (L, B, Q, 4) of states (B, L, Q, D), float32."""
        states = states.transpose(0, 1)
        boxes = self.box_head(states) + inverse_sigmoid(entering.transpose(0, 1))
        return self.class_logits(states, scene.classes), boxes.sigmoid()

    def _mask_queries(self, states: Tensor, *, with_selection: bool) -> list[Tensor | None]:
        """Return mask queries (B, Q, M) of each layer, and of the query selection, that train."""
        layers = states.shape[1]
        if self.encoder_mask_head is None:
            last = self.mask_head(states[:, -1]) if with_selection else None
            return [*[None] * (layers - 1), last, *[None] * with_selection]
        queries = list(self.mask_head(states).unbind(1))
        if with_selection:
            # The queries of the selection have no image content; their learned content is trained.
            learned = self.encoder_mask_head(self.query_embeddings.weight[: states.shape[2]])
            queries.append(learned.expand(len(states), -1, -1))
        return queries
