"""Supervise what the LLM looks up at the nouns of a question.

The first head puts its weight on the image tokens of matching things, on the begin token where
there are none. The second one spreads evenly over the begin token and one token for each matching
thing, so that the share of the begin token is a count. In the later layer the third head looks at
what is nearest to the thing. Linear layers read from the states where the thing is, and how far
from the noun before; no checkpoint keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vl2_ros.datasets.scene_questions.relations import find_nearest
from vl2_ros.datasets.scene_text import matches
from vl2_ros.datasets.wording import Thing
from vl2_ros.errors import ConfigError
from vl2_ros.model.network import VisionLLM
from vl2_ros.training.embedded.packs import Packs
from vl2_ros.training.words.label_scenes import LabelScene

#: LLM layers that are supervised, and the heads that find, count, and find what is nearest.
LAYERS = (1, 2)
FINDING, COUNTING, NEARING = 0, 1, 2
_TINY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class NounTarget:
    """What is looked up at one noun; M are the image tokens.

    Attributes:
        matching: (1 + M,) float32, 1 for the begin token where nothing matches, else for the image
            tokens of matching things.
        counted: (1 + M,) float32 shares that add up to 1.
        near: (1 + M,) float32, 1 for the tokens of what is nearest to the one thing that matches;
            all 0 where nothing clearly is.
        place: (2,) float32 x and y of that one thing, each from -1 to 1; NaN without one.
    """

    matching: np.ndarray
    counted: np.ndarray
    near: np.ndarray
    place: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class LookupTargets:
    """What is looked up at K nouns of a batch of packs.

    Attributes:
        rows: (K,) int64 pack of each noun.
        positions: (K,) int64 token of each noun in its pack.
        image_start: first image token of every pack.
        matching: (K, 1 + M) float32, see `NounTarget`.
        counted: (K, 1 + M) float32.
        near: (K, 1 + M) float32.
        places: (K, 2) float32.
        apart: (K, 2) float32 from the place of the noun before; NaN where there is none.
    """

    rows: Tensor
    positions: Tensor
    image_start: int
    matching: Tensor
    counted: Tensor
    near: Tensor
    places: Tensor
    apart: Tensor


class PlaceReaders(nn.Module):
    """Linear layers that read places from the states behind the supervised layers.

    Args:
        width: of the states.
    """

    def __init__(self, width: int) -> None:
        """Make fresh layers."""
        super().__init__()
        self.places = nn.ModuleList(nn.Linear(width, 2) for _ in LAYERS)
        self.apart = nn.Linear(width, 2)

    def compute_loss(self, states: Sequence[Tensor], targets: LookupTargets) -> dict[str, Tensor]:
        """Return the mean square of how far places, and the way between two, are missed.

        Args:
            states: (B, T, C) behind each of `LAYERS`.
            targets: of the nouns.

        Returns:
            `place` and `apart`; what no noun has is not there.
        """
        at_nouns = [one[targets.rows, targets.positions].float() for one in states]
        read = torch.stack([layer(one) for layer, one in zip(self.places, at_nouns, strict=True)])
        found = {
            "place": _mean_square(read, targets.places.expand(len(LAYERS), -1, -1)),
            "apart": _mean_square(self.apart(at_nouns[-1]), targets.apart),
        }
        return {name: value for name, value in found.items() if value is not None}


def _mean_square(read: Tensor, expected: Tensor) -> Tensor | None:
    known = ~expected.isnan()
    return (read - expected)[known].square().mean() if known.any() else None


def find_tokens(scene: LabelScene) -> tuple[np.ndarray, np.ndarray]:
    """Return which merged image tokens show each object.

    Returns:
        (n, M) bool, true where one of the four cells is of the object; (n,) int64 token of its
        centre, -1 without one.
    """
    side = len(scene.instances)
    blocks = scene.instances.reshape(side // 2, 2, side // 2, 2).transpose(0, 2, 1, 3)
    numbers = np.arange(1, len(scene.objects) + 1)
    shown = (blocks.reshape(-1, 4)[None] == numbers[:, None, None]).any(axis=2)
    rows, columns = np.divmod(scene.centre_cells, side)
    centres = rows // 2 * (side // 2) + columns // 2
    return shown, np.where(scene.centre_cells >= 0, centres, -1)


def make_target(scene: LabelScene, thing: Thing) -> NounTarget:
    """Return what is looked up for a thing."""
    shown, centres = find_tokens(scene)
    found = np.array([matches(thing, item) for item in scene.objects], dtype=bool)
    tokens = scene.instances.size // 4
    matching, counted, near = np.zeros((3, 1 + tokens), np.float32)
    if found.any():
        matching[1:] = shown[found].any(axis=0)
    if not matching.any():
        matching[0] = 1.0
    counted[0] = 1.0
    for centre in centres[found]:
        if centre >= 0:
            counted[1 + centre] += 1.0
    place = np.full(2, np.nan, np.float32)
    if found.sum() == 1:
        item = scene.objects[int(found.argmax())]
        place[:] = 2.0 * item.x - 1.0, 2.0 * item.y - 1.0
        nearest = find_nearest(item, scene.objects)
        if nearest is not None:
            near[1:] = shown[[one is nearest for one in scene.objects]].any(axis=0)
    return NounTarget(matching, counted / counted.sum(), near, place)


def stack_targets(
    entries: Sequence[tuple[int, int, NounTarget, np.ndarray]], image_start: int, tokens: int
) -> LookupTargets:
    """Put targets into one batch; there may be none.

    Args:
        entries: of each noun its pack, its position, its target, and the way from the noun before.
        image_start: first image token of every pack.
        tokens: of an image.
    """

    def stack(rows: Sequence[np.ndarray], width: int) -> Tensor:
        return torch.from_numpy(np.array(rows, np.float32).reshape(len(entries), width))

    return LookupTargets(
        torch.tensor([one[0] for one in entries], dtype=torch.int64),
        torch.tensor([one[1] for one in entries], dtype=torch.int64),
        image_start,
        stack([one[2].matching for one in entries], 1 + tokens),
        stack([one[2].counted for one in entries], 1 + tokens),
        stack([one[2].near for one in entries], 1 + tokens),
        stack([one[2].place for one in entries], 2),
        stack([one[3] for one in entries], 2),
    )


@dataclass(frozen=True, slots=True, eq=False)
class AttendedStates:
    """What the LLM makes of packs.

    Attributes:
        hidden: (B, T, C) its last states.
        weights: (B, heads, T, T) attention of each of `LAYERS`.
        states: (B, T, C) behind each of them.
    """

    hidden: Tensor
    weights: list[Tensor]
    states: list[Tensor]


def read_attended(network: VisionLLM, packs: Packs, tokens: Tensor) -> AttendedStates:
    """Read packs, and note what the supervised layers do.

    Args:
        network: whose LLM computes attention with weights.
        packs: of conversations about images.
        tokens: (B, M, C) of the images.

    Raises:
        ConfigError: if the LLM is too small, or computes attention without weights.
    """
    config = network.llm.config
    if config.num_hidden_layers <= max(LAYERS) or config.num_attention_heads <= NEARING:
        raise ConfigError(
            f"attention is supervised in LLM layers {LAYERS} with three heads; got "
            f"{config.num_hidden_layers} layers with {config.num_attention_heads} heads"
        )
    if network.config.attention != "eager":
        raise ConfigError(
            f"attention can be supervised where it is 'eager', got {network.config.attention!r}; "
            "change it in the config of the checkpoint"
        )
    weights: list[Tensor] = []
    states: list[Tensor] = []

    def note_weights(module: Any, given: Any, result: tuple[Tensor, Tensor]) -> None:
        weights.append(result[1])

    def note_states(module: Any, given: Any, result: Tensor) -> None:
        states.append(result)

    layers = [network.llm.model.layers[layer] for layer in LAYERS]
    hooks = [one.self_attn.register_forward_hook(note_weights) for one in layers]
    hooks += [one.register_forward_hook(note_states) for one in layers]
    try:
        hidden: Tensor = network.llm.model(
            inputs_embeds=network.embed(packs.input_ids, tokens),
            attention_mask=packs.visibility(),
            position_ids=packs.position_ids,
            use_cache=False,
        ).last_hidden_state
    finally:
        for hook in hooks:
            hook.remove()
    return AttendedStates(hidden, weights, states)


def compute_attention_loss(
    weights: Sequence[Tensor], targets: LookupTargets
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compare attention weights with where heads should look.

    Args:
        weights: (B, heads, T, T) of each supervised layer.
        targets: at least one.

    Returns:
        The loss: minus the logarithm of the weight on matching tokens, plus the divergence of the
        counting head from its shares, plus minus the logarithm of the weight on what is nearest.
        For the log `found` and `near`, the mean weights on matching tokens and on what is nearest.
    """
    images = torch.arange(targets.matching.shape[1] - 1, device=targets.rows.device)
    columns = torch.cat([images[:1] * 0, images + targets.image_start])
    losses, found = [], []
    for one in weights:
        at_noun = one[targets.rows, :, targets.positions][..., columns].float()
        mass = (at_noun[:, FINDING] * targets.matching).sum(1)
        counted = targets.counted
        apart = (counted * ((counted + _TINY).log() - (at_noun[:, COUNTING] + _TINY).log())).sum(1)
        losses.append((apart - (mass + _TINY).log()).mean())
        found.append(mass.detach().mean())
    loss, parts = torch.stack(losses).mean(), {"found": torch.stack(found).mean()}
    has_near = targets.near.any(1)
    if has_near.any():
        mass = (at_noun[has_near, NEARING] * targets.near[has_near]).sum(1)
        loss = loss - (mass + _TINY).log().mean()
        parts["near"] = mass.detach().mean()
    return loss, parts
