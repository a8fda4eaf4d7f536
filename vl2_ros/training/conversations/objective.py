"""The loss of the whole network on a batch of conversations: language, and one decoder behind it.

images -> rows -> LLM -> super link -> detection, pose or diffusion losses. What is trained follows
from the parameters that require a gradient: autograd records nothing in front of the first of
them, and a frozen part stays in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vl2_ros.datasets.samples import Group
from vl2_ros.errors import ConfigError
from vl2_ros.model.decoders.set_losses import total_loss
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.model.detection.decoder import DetectionDecoder
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
from vl2_ros.model.diffusion.losses import DiffusionDraws, diffusion_losses
from vl2_ros.model.language.slots import SlotGroup
from vl2_ros.model.language.super_link import pack_pose
from vl2_ros.model.language.tokens import ROUTING_TABLES
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import PARTS
from vl2_ros.model.pose.decoder import PoseDecoder
from vl2_ros.model.pose.targets import PoseTargets
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.structures import Route
from vl2_ros.training.conversations.augmentation import Augmentation
from vl2_ros.training.conversations.batch import ConversationBatch
from vl2_ros.training.conversations.mixture import MixtureBatches, WeightedSource
from vl2_ros.training.conversations.rows import ImageForm, RowEncoder
from vl2_ros.training.objective import Losses, Objective

#: Parts whose gradient the language loss reaches.
LANGUAGE_PARTS = ("projector", "llm", "region_encoder", "super_link")
#: Group -> the part of the network that it trains behind the super link.
DECODER_PARTS: Mapping[Group, str] = {
    Group.DETECTION: "detection_decoder",
    Group.POSE: "pose_decoder",
    Group.GENERATION: "image_generation",
    Group.EDITING: "image_editing",
}


@dataclass(frozen=True, slots=True)
class ConversationSettings:
    """Settings of the objective `conversations`.

    Attributes:
        batch_size: conversations per batch.
        batches_per_step: batches of one group in a row: processes times accumulation.
        language_weight: of the language loss; 0 leaves it out.
        decoder_weight: of the decoder's total loss, whose own weights are the network's.
        augmentation: of images for the perception decoders; None leaves them as they are.
        gradient_checkpointing: compute the LLM's inner states twice to keep fewer of them.
    """

    batch_size: int = 4
    batches_per_step: int = 1
    language_weight: float = 1.0
    decoder_weight: float = 1.0
    augmentation: Augmentation | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("batch_size", "batches_per_step"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("language_weight", "decoder_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")


class ConversationObjective(Objective):
    """Trains what requires a gradient on any mixture of samples.

    Args:
        network: what is trained, its frozen parameters marked as such.
        tokenizer: of the network.
        processing: how its images and prompts are prepared.
        sources: what is trained on.
        held_out: what is measured on; never trained on.
        settings: sizes and weights.

    Raises:
        ConfigError: if there is no source, or the network lacks the decoder of one.
    """

    def __init__(
        self,
        network: VisionLLM,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
        sources: Sequence[WeightedSource],
        held_out: Sequence[WeightedSource] = (),
        settings: ConversationSettings | None = None,
    ) -> None:
        """Check that sources and network fit."""
        super().__init__(network)
        self.settings = ConversationSettings() if settings is None else settings
        self._sources, self._held_out = tuple(sources), tuple(held_out)
        if not self._sources:
            raise ConfigError("the mixture is empty; expected at least one source")
        for one in (*self._sources, *self._held_out):
            part = DECODER_PARTS.get(one.group)
            if part is not None and getattr(network, part, None) is None:
                raise ConfigError(
                    f"{one.source.name} trains {part}, which the network lacks; start from a "
                    "checkpoint that has it, or remove the source"
                )
        self._encoder = RowEncoder(tokenizer, processing, find_image_forms(network))
        if self.settings.gradient_checkpointing:
            network.llm.gradient_checkpointing_enable({"use_reentrant": False})

    def train(self, mode: bool = True) -> ConversationObjective:
        """Switch to training mode, except for parts of the network that are frozen."""
        super().train(mode)
        for part in self.network.children():
            if not any(one.requires_grad for one in part.parameters()):
                part.eval()
        return self

    def open_batches(self, seed: int, *, held_out: bool = False) -> MixtureBatches:
        """Return the batches of a run.

        Args:
            seed: of the run.
            held_out: those for measuring, which are never trained on.

        Raises:
            ConfigError: if held-out batches are wanted and there is no such source.
        """
        sources = self._held_out if held_out else self._sources
        if not sources:
            raise ConfigError("there is no held-out source; add one to the recipe")
        return MixtureBatches(
            sources,
            self._encoder,
            seed,
            self.settings.batch_size,
            self.settings.batches_per_step,
            None if held_out else self.settings.augmentation,
            held_out,
        )

    def forward(self, batch: ConversationBatch) -> Losses:
        """Compute the losses of a batch that lies on the network's device."""
        network, settings = self.network, self.settings
        features = encode_features(network, batch)
        output = network(
            batch.input_ids,
            batch.attention_mask,
            *features,
            labels=batch.labels if self._trains_language() else None,
            with_logits=False,
        )
        parts: dict[str, Tensor] = {}
        total = output.hidden.new_zeros((), dtype=torch.float32)
        if output.loss is not None:
            parts["language"] = output.loss
            total = total + settings.language_weight * output.loss
        if batch.group in DECODER_PARTS and settings.decoder_weight > 0:
            decoder_loss, more = _DECODER_LOSSES[batch.group](network, batch, output.hidden.float())
            parts |= {batch.group.value: decoder_loss} | more
            total = total + settings.decoder_weight * decoder_loss
        return Losses(total, parts)

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


def _make_generator(batch: ConversationBatch, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(batch.noise_seed)


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
        generator=_make_generator(batch, batch.pixels.device),
    )
    return total_loss(losses, decoder.config), losses


def _pose_loss(
    network: VisionLLM, batch: ConversationBatch, hidden: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    decoder = network.pose_decoder
    assert isinstance(decoder, PoseDecoder) and batch.pixels is not None
    groups = network.super_link.gather(hidden, batch.input_ids)
    condition = pack_pose(
        groups,
        [_count_objects(row) for row in groups],
        like=hidden.new_zeros(network.super_link.table(Route.POSE.value).shape),
    )
    losses = decoder.compute_losses(
        batch.pixels,
        *_trim(condition.objects, condition.object_mask),
        *_trim(condition.keypoints, condition.keypoint_mask),
        [one for one in batch.targets if isinstance(one, PoseTargets)],
        pixel_mask=batch.pixel_mask,
        generator=_make_generator(batch, batch.pixels.device),
    )
    return total_loss(losses, decoder.config), losses


def _count_objects(groups: Sequence[SlotGroup]) -> int:
    """Return how many leading groups are object classes: those before the first keypoint."""
    routes = [group.route for group in groups]
    return routes.index(Route.POSE.value) if Route.POSE.value in routes else len(routes)


def _trim(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cut conditions (B, 100, K, C) to the longest row, so that padding costs nothing."""
    longest = max(1, int(mask.sum(1).max()))
    return states[:, :longest], mask[:, :longest]


def _image_loss(
    network: VisionLLM, batch: ConversationBatch, hidden: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    part = DECODER_PARTS[batch.group]
    generator = getattr(network, part)
    assert isinstance(generator, ImageGeneratorNetwork) and batch.images is not None
    table = PARTS[part].query_table
    states = [
        group.states
        for row in network.super_link.gather(hidden, batch.input_ids)
        for group in row
        if ROUTING_TABLES[group.route] == table
    ]
    draws = DiffusionDraws.sample(
        generator.config,
        batch.images.target_pixels,
        _make_generator(batch, torch.device("cpu")),
    )
    losses = diffusion_losses(generator, torch.stack(states), batch.images, draws)
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


def freeze_except(network: nn.Module, trained: Sequence[str]) -> None:
    """Freeze every parameter whose name does not begin with one of the given names.

    Image generation's own frozen networks stay frozen, and so does the vision encoder.

    Args:
        network: to change.
        trained: names of parts, or of modules or parameters in them, such as `llm` or
            `llm.model.embed_tokens`; whole steps of the dotted name are compared.

    Raises:
        ConfigError: if a name fits no parameter.
    """
    found = set()
    for name, parameter in network.named_parameters():
        fits = [one for one in trained if f"{name}.".startswith(f"{one}.")]
        found |= set(fits)
        if not fits:
            parameter.requires_grad_(False)
    missing = sorted(set(trained) - found)
    if missing:
        raise ConfigError(f"no parameter of the network begins with {missing}")
