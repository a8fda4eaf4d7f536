"""Labels beside the decoders' losses: which name a slot stands for, and which object a token shows.

Thrown away after training. A decoder compares objects with the states of names. As long as the
LLM's states of new names are alike, objects get no reason to differ, and the other way round; a
label for each side by itself ends the waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vl2_ros.model.decoders.attention.feature_levels import ImageTokens
from vl2_ros.model.decoders.scene_encoder import SceneEncoder
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.model.language.slots import SlotGroup
from vl2_ros.model.pose.targets import PoseTargets
from vl2_ros.training.conversations.batch import LabelledImages

_IGNORED = -100
#: Of tokens beside all objects, which are most of an image.
_BACKGROUND_WEIGHT = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class SeenImages:
    """Images whose tokens are labelled.

    Attributes:
        tokens: in front of the encoder.
        targets: of each image.
        names: of each image the (N,) int64 numbers of the names of its classes, then of its
            keypoints; (0,) where they are of no list.
    """

    tokens: ImageTokens
    targets: Sequence[ObjectTargets | PoseTargets]
    names: Sequence[Tensor]


class NameLabels(nn.Module):
    """Two linear layers: slots and image tokens to one of some names.

    Args:
        names: number of names.
        llm_width: channels of the states at slots.
        token_widths: channels of the image tokens of each decoder, by its name.
    """

    def __init__(self, names: int, llm_width: int, token_widths: Mapping[str, int]) -> None:
        """Make fresh layers."""
        super().__init__()
        self.slots = nn.Linear(llm_width, names)
        # The last one is the background.
        self.tokens = nn.ModuleDict(
            {name: nn.Linear(width, names + 1) for name, width in token_widths.items()}
        )

    def label_slots(
        self, groups: Sequence[Sequence[SlotGroup]], names: Sequence[Tensor]
    ) -> Tensor | None:
        """Return the mean cross entropy of the names of slots; None where none is known.

        Args:
            groups: of each row.
            names: of each row the (N,) int64 numbers of the names; (0,) where it has none.
        """
        states, wanted = [], []
        for row, numbers in zip(groups, names, strict=True):
            if len(numbers) == len(row):
                states += [one.states.float().mean(0) for one in row]
                wanted.append(numbers)
        if not states:
            return None
        logits = self.slots(torch.stack(states)).float()
        return nn.functional.cross_entropy(logits, torch.cat(wanted))

    def label_tokens(self, decoder: str, images: Sequence[SeenImages]) -> Tensor | None:
        """Return the mean cross entropy of what tokens show; None where no name is known.

        Args:
            decoder: name of the decoder that they are of.
            images: of one batch or of several.
        """
        tokens, labels = [], []
        background = self.slots.out_features
        for one in images:
            for row, numbers in enumerate(one.names):
                if len(numbers):
                    tokens.append(one.tokens.tokens[row])
                    labels.append(_label_tokens(one, row, background))
        if not tokens:
            return None
        logits = self.tokens[decoder](torch.cat(tokens)).float()
        weight = logits.new_ones(background + 1)
        weight[background] = _BACKGROUND_WEIGHT
        return nn.functional.cross_entropy(logits, torch.cat(labels), weight, ignore_index=_IGNORED)


def _label_tokens(images: SeenImages, row: int, background: int) -> Tensor:
    """Return (S,) of each token the number of what it shows, or of the background.

    That is the smallest box around its centre. On the finest level of an image with poses, what
    lies at keypoints is labelled in place of boxes.
    """
    image, targets, names = images.tokens, images.targets[row], images.names[row]
    objects = targets.objects if isinstance(targets, PoseTargets) else targets
    labels = _label_boxes(image.centres[row], objects, names, background)
    if isinstance(targets, PoseTargets):
        height, width = image.level_sizes[0]
        fine, centres = labels[: height * width], image.centres[row, : height * width]
        # Which keypoints lie there is not known: only some were asked for.
        fine[fine != background] = _IGNORED
        classes = len(names) - targets.is_visible.shape[1]
        _, point = targets.is_visible.nonzero(as_tuple=True)
        nearest = torch.cdist(targets.keypoints_xy_norm[targets.is_visible], centres).argmin(1)
        fine[nearest] = names[classes + point]
    return labels.masked_fill(image.is_padding[row], _IGNORED)


def _label_boxes(centres: Tensor, objects: ObjectTargets, names: Tensor, other: int) -> Tensor:
    """Return (S,) of each centre the name of the smallest box around it, or another number."""
    if not len(objects.class_index):
        return torch.full((len(centres),), other, device=centres.device)
    boxes = objects.boxes_cxcywh_norm
    is_inside = ((centres[:, None] - boxes[:, :2]).abs() * 2 <= boxes[:, 2:]).all(-1)
    areas = boxes[:, 2:].prod(-1).expand_as(is_inside)
    smallest, index = areas.masked_fill(~is_inside, float("inf")).min(1)
    return names[objects.class_index][index].masked_fill(smallest.isinf(), other)


@contextmanager
def heard_tokens(decoder: SceneEncoder) -> Iterator[list[ImageTokens]]:
    """Collect the image tokens in front of the encoder whenever they are made."""
    seen: list[ImageTokens] = []

    def listen(_module: nn.Module, _given: object, result: ImageTokens) -> None:
        seen.append(result)

    listener = decoder.levels.register_forward_hook(listen)
    try:
        yield seen
    finally:
        listener.remove()


def read_tokens(decoder: SceneEncoder, images: LabelledImages) -> SeenImages:
    """Run a decoder's image branch up to the tokens in front of its encoder."""
    maps = decoder.encode_image(images.pixels)
    tokens = decoder.levels(maps[: decoder.config.num_feature_levels], images.pixel_mask)
    return SeenImages(tokens, images.targets, images.names)
