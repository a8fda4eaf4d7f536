"""Fit the projector so that label tokens become words that the LLM knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vl2_ros.datasets.token_labels.label_table import COLOR_WORDS, KIND_WORDS
from vl2_ros.model.language.projector import shuffle_tokens
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.training.eyes.directions import (
    CENTRE_COLORS,
    CENTRE_KINDS,
    COLORS,
    COUNT,
    KINDS,
    PLACES,
    CellLabels,
    LabelDirections,
    label_coefficients,
)
from vl2_ros.training.words.label_scenes import make_label_tokens

#: Share of a word in a token for a cell that is not the centre of its thing.
_CELL = 0.25
#: Length of what marks a centre or a place, in mean lengths of the words of kinds.
_MARK = 1.0
#: Weight of tokens that show something, over those that show nothing.
_SHOWN = 9.0
_RATE = 3e-3


def word_table(network: VisionLLM, tokenizer: Tokenizer) -> Tensor:
    """Return (COUNT, C): what each label adds to an image token, in the LLM's own words."""
    words = network.llm.model.embed_tokens.weight.detach().float()
    kinds = embed_words(words, KIND_WORDS, tokenizer)
    colors = embed_words(words, COLOR_WORDS, tokenizer)
    marks = torch.randn(4, words.shape[1], generator=torch.Generator().manual_seed(3))
    marks = _MARK * marks / marks.norm(dim=1, keepdim=True) * kinds.norm(dim=1).mean().cpu()
    table = torch.zeros(COUNT, words.shape[1])
    # Row 0 of kinds and colours is "none of them".
    for part, first, found, share in (
        (KINDS, 1, kinds, _CELL),
        (COLORS, 1, colors, _CELL),
        (CENTRE_KINDS, 0, kinds, 1.0),
        (CENTRE_COLORS, 0, colors, 1.0),
    ):
        begin = part.start + first
        table[begin : begin + len(found)] = share * found.cpu()
    table[CENTRE_KINDS] += marks[0]
    table[PLACES] = _CELL * marks[1:]
    return table


def embed_words(words: Tensor, names: Sequence[str], tokenizer: Tokenizer) -> Tensor:
    """Return (n, C): the mean embedding of the tokens of each name inside a sentence."""
    begin = len(tokenizer.encode("x"))
    return torch.stack([words[tokenizer.encode(f"x {name}")[begin:]].mean(0) for name in names])


def fit_projector(
    network: VisionLLM,
    directions: LabelDirections,
    tokenizer: Tokenizer,
    draw_labels: Callable[[int], CellLabels],
    steps: int,
) -> float:
    """Change the projector, and nothing else.

    Args:
        network: whose projector is fitted to the words of its LLM.
        directions: of the labels.
        tokenizer: of the network.
        draw_labels: called with the number of a step.
        steps: 0 or more.

    Returns:
        The loss of the last step: squared distance over that of a word, weighted.
    """
    table = word_table(network, tokenizer)
    length = table[CENTRE_KINDS].square().sum(1).mean()
    projector: nn.Module = network.projector
    parameters = list(projector.parameters())
    needed = [one.requires_grad for one in parameters]
    projector.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=_RATE)
    last = 0.0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = _RATE * (1.0 - step / steps)
        labels = draw_labels(step)
        # The four cells of a token add up.
        target = shuffle_tokens(label_coefficients(labels)).unflatten(-1, (4, COUNT)).sum(2) @ table
        tokens = make_label_tokens(directions, labels, noisy=True)
        distance = (projector(shuffle_tokens(tokens)) - target).square().sum(-1) / length
        weights = torch.where(target.square().sum(-1) > 0, _SHOWN, 1.0)
        loss = (distance * weights).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = loss.item()
    for one, value in zip(parameters, needed, strict=True):
        one.requires_grad_(value)
        one.grad = None
    return last
