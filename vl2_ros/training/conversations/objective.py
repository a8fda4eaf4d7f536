"""The loss of the whole network on a batch of conversations: language, and one decoder behind it.

images -> rows -> LLM -> super link -> detection, pose or diffusion losses. What is trained follows
from the parameters that require a gradient: autograd records nothing in front of the first of
them, and without one in the language side its loss is not computed. Noise is drawn from torch's
own generator, which the loop seeds for each batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from vl2_ros.datasets.mixture import Mixture
from vl2_ros.datasets.samples import Group
from vl2_ros.errors import ConfigError
from vl2_ros.model.decoders.attention.feature_levels import ImageTokens
from vl2_ros.model.decoders.scene_encoder import SceneEncoder
from vl2_ros.model.decoders.set_losses import total_loss
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.model.detection.decoder import DetectionDecoder
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
from vl2_ros.model.diffusion.losses import diffusion_losses
from vl2_ros.model.language.slots import SlotGroup
from vl2_ros.model.language.super_link import pack_pose
from vl2_ros.model.language.tokens import ROUTING_TABLES
from vl2_ros.model.network import LanguageOutput, VisionLLM
from vl2_ros.model.parts import PARTS, PERCEPTION_PARTS
from vl2_ros.model.pose.decoder import PoseDecoder
from vl2_ros.model.pose.targets import PoseTargets
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.structures import Route
from vl2_ros.training.conversations.batch import ConversationBatch
from vl2_ros.training.conversations.batches import ConversationBatches
from vl2_ros.training.conversations.name_labels import (
    NameLabels,
    SeenImages,
    heard_tokens,
    read_tokens,
)
from vl2_ros.training.conversations.rows import ImageForm, RowEncoder
from vl2_ros.training.conversations.settings import ConversationSettings
from vl2_ros.training.objective import Losses, Objective

#: Parts whose gradient the language loss reaches.
LANGUAGE_PARTS = ("projector", "llm", "region_encoder", "super_link")
#: Group -> the query table of its routing tokens.
_TABLES: Mapping[Group, str] = {
    Group.DETECTION: "det",
    Group.POSE: "pose",
    Group.GENERATION: "gen",
    Group.EDITING: "edit",
}
#: Group -> the part of the network that it trains behind the super link.
DECODER_PARTS: Mapping[Group, str] = {
    group: part.name
    for group, table in _TABLES.items()
    for part in PARTS.values()
    if part.query_table == table
}


class ConversationObjective(Objective):
    """Trains what requires a gradient on any mixture of samples.

    Args:
        network: what is trained.
        tokenizer: of the network.
        processing: how its images and prompts are prepared.
        mixture: what is trained on.
        held_out: what is measured on and never trained on; None where nothing is.
        settings: weights and augmentation.
        batch_size: conversations per batch.
        batches_per_step: on all processes together.

    Raises:
        ConfigError: if the network lacks the decoder of a source.
    """

    def __init__(
        self,
        network: VisionLLM,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
        mixture: Mixture,
        held_out: Mixture | None = None,
        settings: ConversationSettings | None = None,
        *,
        batch_size: int = 4,
        batches_per_step: int = 1,
    ) -> None:
        """Check that sources and network fit."""
        super().__init__(network)
        self.settings = ConversationSettings() if settings is None else settings
        self._mixture, self._held_out = mixture, held_out
        self._batch_size, self._batches_per_step = batch_size, batches_per_step
        for one in (*mixture.parts, *(held_out.parts if held_out else ())):
            part = DECODER_PARTS.get(one.group)
            if part is not None and getattr(network, part, None) is None:
                raise ConfigError(
                    f"{one.source.name} trains {part}, which the network lacks; start from a "
                    "checkpoint that has it, or remove the source"
                )
        names = self._gather_names()
        self._encoder = RowEncoder(tokenizer, processing, find_image_forms(network), names)
        self.name_labels = None
        if names and self.settings.name_weight > 0:
            decoders = {one: getattr(network, one, None) for one in PERCEPTION_PARTS}
            widths = {name: one.config.d_model for name, one in decoders.items() if one is not None}
            self.name_labels = NameLabels(len(names), network.config.llm_width, widths)

    def _gather_names(self) -> dict[str, int]:
        names = [name for one in self._mixture.parts for name in one.source.label_names]
        return {name: number for number, name in enumerate(dict.fromkeys(names))}

    def open_batches(self, seed: int, *, held_out: bool = False) -> ConversationBatches:
        """Return the batches of a run.

        Args:
            seed: of the run.
            held_out: those for measuring, which are never trained on.

        Raises:
            ConfigError: if held-out batches are wanted and there is no such source.
        """
        mixture = self._held_out if held_out else self._mixture
        if mixture is None:
            raise ConfigError(
                "no source is held out; mark one with held_out: true, set options.held_out, or "
                "evaluation.batches to 0"
            )
        return ConversationBatches(
            mixture,
            self._encoder,
            seed,
            self._batch_size,
            self._batches_per_step,
            None if held_out else self.settings.augmentation,
            0 if held_out or self.name_labels is None else self.settings.label_images,
        )

    def forward(self, batch: ConversationBatch) -> Losses:
        """Compute the losses of a batch that lies on the network's device."""
        output = self.network(
            batch.input_ids,
            batch.attention_mask,
            *encode_features(self.network, batch),
            labels=batch.labels if self._trains_language() else None,
            with_logits=False,
        )
        return self.gather_losses(batch, output)

    def gather_losses(self, batch: ConversationBatch, output: LanguageOutput) -> Losses:
        """Compute the losses of a batch from what the LLM made of it."""
        network, settings = self.network, self.settings
        parts: dict[str, Tensor] = {}
        total = output.hidden.new_zeros((), dtype=torch.float32)
        if output.loss is not None:
            parts["language"] = output.loss
            total = total + settings.language_weight * output.loss
        if batch.group in DECODER_PARTS and settings.decoder_weight > 0:
            hidden = output.hidden.float()
            with self._heard(batch.group) as seen:
                decoder_loss, more = _DECODER_LOSSES[batch.group](network, batch, hidden)
            parts |= {batch.group.value: decoder_loss} | more
            total = total + settings.decoder_weight * decoder_loss
            labels = self._label_names(batch, hidden, seen)
            parts |= labels
            total = total + settings.name_weight * sum(labels.values(), start=total.new_zeros(()))
        return Losses(self._keep_graph(total), parts)

    def _heard(self, group: Group) -> AbstractContextManager[list[ImageTokens]]:
        """Collect what `_label_names` needs of the decoder of a group."""
        decoder = getattr(self.network, DECODER_PARTS[group])
        if self.name_labels is None or not isinstance(decoder, SceneEncoder):
            return nullcontext([])
        return heard_tokens(decoder)

    def _label_names(
        self, batch: ConversationBatch, hidden: Tensor, seen: Sequence[ImageTokens]
    ) -> dict[str, Tensor]:
        """Return the losses of labels on slots, and on the image tokens of a decoder."""
        if self.name_labels is None:
            return {}
        name = DECODER_PARTS[batch.group]
        groups = self.network.super_link.gather(hidden, batch.input_ids)
        images = [SeenImages(tokens, batch.targets, batch.names) for tokens in seen]
        if batch.labelled is not None:
            images.append(read_tokens(getattr(self.network, name), batch.labelled))
        found = {
            "slot_names": self.name_labels.label_slots(groups, batch.names),
            "token_names": self.name_labels.label_tokens(name, images),
        }
        return {key: loss for key, loss in found.items() if loss is not None}

    def _keep_graph(self, total: Tensor) -> Tensor:
        """Return a total with a graph even of a batch that trains nothing, such as text alone."""
        if total.requires_grad or not torch.is_grad_enabled():
            return total
        trained = [one for one in self.parameters() if one.requires_grad]
        return total + 0.0 * trained[0].sum() if trained else total

    def _trains_language(self) -> bool:
        """Return whether the language loss has anything to train."""
        parts = (getattr(self.network, name) for name in LANGUAGE_PARTS)
        trained = (one.requires_grad for part in parts if part for one in part.parameters())
        return self.settings.language_weight > 0 and any(trained)


def find_image_forms(network: VisionLLM) -> dict[Group, ImageForm]:
    """Return in which form the network's image generation and editing are trained."""
    from vl2_ros.model.diffusion.caption_tokenizer import CaptionTokenizer

    forms = {}
    for group, name in DECODER_PARTS.items():
        part = getattr(network, name, None)
        if PARTS[name].image_kind and part is not None:
            captions = None
            if part.folder is not None:
                captions = CaptionTokenizer(part.folder.tokenizer, part.config.num_conditions)
            forms[group] = ImageForm(part.config.default_side, captions)
    return forms


def encode_features(
    network: VisionLLM, batch: ConversationBatch
) -> tuple[Tensor | None, Tensor | None]:
    """Return image tokens (n * N, C) and region features (R, C); None where there is nothing."""
    if not len(batch.tiles):
        return None, None
    has_regions = len(batch.region_masks) > 0
    features = network.encode_images(batch.tiles, with_region_maps=has_regions)
    tokens = features.image_tokens.flatten(0, 1)
    if not has_regions:
        return tokens, None
    return tokens, network.encode_regions(
        batch.tiles, batch.region_masks, features.region_maps, batch.region_tiles
    )


def _detection_loss(
    network: VisionLLM, batch: ConversationBatch, hidden: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    decoder = network.detection_decoder
    assert isinstance(decoder, DetectionDecoder) and batch.pixels is not None
    super_link, class_mask = network.super_link.gather_detection(hidden, batch.input_ids)
    losses = decoder.compute_losses(
        batch.pixels,
        super_link,
        class_mask,
        [one for one in batch.targets if isinstance(one, ObjectTargets)],
        pixel_mask=batch.pixel_mask,
    )
    return total_loss(losses, decoder.config), _choose_logged(losses)


def _choose_logged(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the losses of the last layer, whose names have no ending."""
    return {name: value for name, value in losses.items() if name.count("_") == 1}


def _pose_loss(
    network: VisionLLM, batch: ConversationBatch, hidden: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    decoder = getattr(network, DECODER_PARTS[batch.group])
    assert isinstance(decoder, PoseDecoder) and batch.pixels is not None
    groups = network.super_link.gather(hidden, batch.input_ids)
    condition = pack_pose(
        groups,
        [_count_objects(row) for row in groups],
        like=hidden.new_zeros(network.super_link.table(Route.DETECT.value).shape),
    )
    losses = decoder.compute_losses(
        batch.pixels,
        *_trim(condition.objects, condition.object_mask),
        *_trim(condition.keypoints, condition.keypoint_mask),
        [one for one in batch.targets if isinstance(one, PoseTargets)],
        pixel_mask=batch.pixel_mask,
    )
    return total_loss(losses, decoder.config), _choose_logged(losses)


def _count_objects(groups: Sequence[SlotGroup]) -> int:
    """Return how many leading groups are object classes: those before the first keypoint."""
    tables = [ROUTING_TABLES[group.route] for group in groups]
    return tables.index(_TABLES[Group.POSE]) if _TABLES[Group.POSE] in tables else len(tables)


def _trim(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cut conditions (B, 100, K, C) to the longest row, so that padding costs nothing."""
    longest = max(1, int(mask.sum(1).max()))
    return states[:, :longest], mask[:, :longest]


def _image_loss(
    network: VisionLLM, batch: ConversationBatch, hidden: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    generator = getattr(network, DECODER_PARTS[batch.group])
    assert isinstance(generator, ImageGeneratorNetwork) and batch.images is not None
    states = [
        group.states
        for row in network.super_link.gather(hidden, batch.input_ids)
        for group in row
        if ROUTING_TABLES[group.route] == _TABLES[batch.group]
    ]
    losses = diffusion_losses(generator, torch.stack(states), batch.images)
    more = {"loss_noise": losses.image}
    if losses.caption is not None:
        more["loss_caption"] = losses.caption
    return losses.total, more


_DECODER_LOSSES = {
    Group.DETECTION: _detection_loss,
    Group.POSE: _pose_loss,
    Group.GENERATION: _image_loss,
    Group.EDITING: _image_loss,
}
