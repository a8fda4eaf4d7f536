"""Supervise where two heads of the LLM look at the noun that a question names.

The first head puts its weight on the image tokens of matching things, on the begin token where
there are none. The second one spreads evenly over the begin token and one token for each matching
thing, so that the share of the begin token is a count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vl2_ros.datasets.scene_text import matches
from vl2_ros.datasets.wording import Thing
from vl2_ros.errors import ConfigError
from vl2_ros.model.network import VisionLLM
from vl2_ros.training.embedded.packs import Packs
from vl2_ros.training.words.label_scenes import LabelScene

#: LLM layers that are supervised, and the heads that find and count.
LAYERS = (1, 2)
FINDING, COUNTING = 0, 1
_TINY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class AttentionTargets:
    """Where heads should look, for K nouns of a batch of packs.

    Attributes:
        rows: (K,) int64 pack of each noun.
        positions: (K,) int64 token of each noun in its pack.
        image_start: first image token of every pack.
        matching: (K, 1 + M) float32, 1 for the begin token where nothing matches, else for the
            image tokens of matching things.
        counted: (K, 1 + M) float32 shares that add up to 1.
    """

    rows: Tensor
    positions: Tensor
    image_start: int
    matching: Tensor
    counted: Tensor


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


def make_targets(scene: LabelScene, thing: Thing) -> tuple[np.ndarray, np.ndarray]:
    """Return where the heads look for a thing: rows of `matching` and `counted`."""
    shown, centres = find_tokens(scene)
    found = np.array([matches(thing, item) for item in scene.objects], dtype=bool)
    tokens = scene.instances.size // 4
    matching, counted = np.zeros(1 + tokens, np.float32), np.zeros(1 + tokens, np.float32)
    if found.any():
        matching[1:] = shown[found].any(axis=0)
    if not matching.any():
        matching[0] = 1.0
    counted[0] = 1.0
    for centre in centres[found]:
        if centre >= 0:
            counted[1 + centre] += 1.0
    return matching, counted / counted.sum()


def stack_targets(
    entries: Sequence[tuple[int, int, np.ndarray, np.ndarray]], image_start: int, tokens: int
) -> AttentionTargets:
    """Put targets, each with its pack and its position, into one batch; there may be none."""
    shape = (len(entries), 1 + tokens)
    matching = np.array([one[2] for one in entries], np.float32).reshape(shape)
    counted = np.array([one[3] for one in entries], np.float32).reshape(shape)
    return AttentionTargets(
        torch.tensor([one[0] for one in entries], dtype=torch.int64),
        torch.tensor([one[1] for one in entries], dtype=torch.int64),
        image_start,
        torch.from_numpy(matching),
        torch.from_numpy(counted),
    )


def read_attended(network: VisionLLM, packs: Packs, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Read packs, and return where the supervised layers look.

    Args:
        network: whose LLM computes attention with weights.
        packs: of conversations about images.
        tokens: (B, M, C) of the images.

    Returns:
        The states (B, T, C), and the attention weights (B, heads, T, T) of each of `LAYERS`.

    Raises:
        ConfigError: if the LLM is too small, or computes attention without weights.
    """
    config = network.llm.config
    if config.num_hidden_layers <= max(LAYERS) or config.num_attention_heads <= COUNTING:
        raise ConfigError(
            f"attention is supervised in LLM layers {LAYERS} with two heads; got "
            f"{config.num_hidden_layers} layers with {config.num_attention_heads} heads"
        )
    if network.config.attention != "eager":
        raise ConfigError(
            f"attention can be supervised where it is 'eager', got {network.config.attention!r}; "
            "change it in the config of the checkpoint"
        )
    weights: list[Tensor] = []

    def note(module: Any, given: Any, result: tuple[Tensor, Tensor]) -> None:
        weights.append(result[1])

    hooks = [
        network.llm.model.layers[layer].self_attn.register_forward_hook(note) for layer in LAYERS
    ]
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
    return hidden, weights


def compute_attention_loss(
    weights: Sequence[Tensor], targets: AttentionTargets
) -> tuple[Tensor, Tensor]:
    """Compare attention weights with where heads should look.

    Args:
        weights: (B, heads, T, T) of each supervised layer.
        targets: at least one.

    Returns:
        The loss: minus the logarithm of the weight on matching tokens, plus the divergence of the
        counting head from its shares; and the mean weight on matching tokens, for the log.
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
    return torch.stack(losses).mean(), torch.stack(found).mean()
