"""Make packs from cached tabletop frames: an image with several short conversations about it.

A pack is one token row that begins with the image; the conversations follow, and each sees the
image and itself. So an image costs its tokens once, however much is said about it. Blind packs
have no image: cheap practice in choosing routes and copying names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vl2_ros.datasets.commands import (
    CommandExample,
    sample_class_list,
    sample_perception,
    sample_text,
)
from vl2_ros.datasets.tabletop import TabletopCache
from vl2_ros.datasets.wording import chance
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import preprocess_vision
from vl2_ros.processing.language.prompt import IGNORED_LABEL, encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.structures import Route
from vl2_ros.training.embedded.tabletop_batches import (
    TokenLabels,
    VisibleObject,
    augment,
    label_tokens,
)

#: Share of the packs that begin with a long class list, whose states the decoder must still read.
CLASS_LIST_SHARE = 0.5
#: Share of the other conversations that are answered in words.
TEXT_SHARE = 0.45
#: Conversations of a blind pack; attention costs the square of what they add up to.
BLIND_CONVERSATIONS = 4
#: Tokens of an answer in words that a blind conversation teaches: how it begins, which is the
#: route; the rest would be guesses about an image that is not there.
BLIND_WORDS = 2
#: Segment of padding, and of the begin token and the image that all conversations see.
PADDING, IMAGE = -1, 0


@dataclass(frozen=True, slots=True, eq=False)
class Packs:
    """Token rows of several conversations each, padded on the right.

    Attributes:
        input_ids: (B, T) int64.
        labels: (B, T) int64, -100 where no loss applies.
        position_ids: (B, T) int64; each conversation counts on from the end of the image.
        segments: (B, T) int64: `IMAGE`, then 1, 2, ... for the conversations, `PADDING`.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    position_ids: torch.Tensor
    segments: torch.Tensor

    def visibility(self) -> torch.Tensor:
        """Return (B, 1, T, T) float32 to add to attention scores: 0 where a position is seen."""
        queries, keys = self.segments[:, :, None], self.segments[:, None, :]
        seen = ((keys == queries) | (keys == IMAGE)).tril()
        nothing = torch.zeros(seen.shape, device=seen.device)
        return nothing.masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class LanguageBatch:
    """Everything of one step that trains the language side alone.

    Attributes:
        vision_pixels: (B, 3, S, S) float32.
        packs: one per image.
        blind_packs: conversations without an image.
        image_token_labels: what the centre of each image token shows.
    """

    vision_pixels: torch.Tensor
    packs: Packs
    blind_packs: Packs
    image_token_labels: TokenLabels


def pack_rows(
    packs: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]], *, image_patch: int, pad: int
) -> Packs:
    """Join encoded conversations, those about one image in one pack.

    Args:
        packs: per pack the (ids, labels) rows, all with the same tokens up to the last
            `image_patch`, or with the same first token where there is no image.
        image_patch: id of the image tokens.
        pad: id that fills a row.
    """
    joined = [_join([*rows], image_patch) for rows in packs]
    shape = len(joined), max(row.shape[1] for row in joined)
    fields = [torch.full(shape, fill) for fill in (pad, IGNORED_LABEL, 0, PADDING)]
    for index, row in enumerate(joined):
        for field, values in zip(fields, row, strict=True):
            field[index, : row.shape[1]] = torch.from_numpy(values)
    return Packs(*fields)


def _join(rows: list[tuple[np.ndarray, np.ndarray]], image_patch: int) -> np.ndarray:
    """Return (4, T): ids, labels, positions, segments."""
    start = 1 + max(np.flatnonzero(rows[0][0] == image_patch), default=0)
    pieces = [(rows[0][0][:start], rows[0][1][:start], np.arange(start), np.full(start, IMAGE))]
    for segment, (ids, labels) in enumerate(rows, start=1):
        count = len(ids) - start
        positions = start + np.arange(count)
        pieces.append((ids[start:], labels[start:], positions, np.full(count, segment)))
    return np.concatenate([np.stack(piece) for piece in pieces], axis=1)


class LanguageBatches:
    """Draws packs from a frame cache.

    Args:
        cache: rendered frames with instance maps.
        tokenizer: tokenizer of the model in training.
        config: processing of the model in training.
        images: per batch.
        conversations: per image.
        blind_packs: per batch, at least one.
        seed: seed of every random choice.
    """

    def __init__(
        self,
        cache: TabletopCache,
        tokenizer: Tokenizer,
        config: ProcessingConfig,
        *,
        images: int,
        conversations: int,
        blind_packs: int,
        seed: int | Sequence[int] = 0,
    ) -> None:
        """Keep the sources."""
        self._cache = cache
        self._tokenizer = tokenizer
        self._config = config
        self._images = images
        self._conversations = conversations
        self._blind_packs = blind_packs
        self._rng = np.random.default_rng(seed)

    def next(self) -> LanguageBatch:
        """Draw one batch."""
        rng = self._rng
        views = []
        for index in rng.integers(len(self._cache), size=self._images):
            record = self._cache[int(index)]
            views.append(augment(record.rgb, record.instance_map, record.objects, rng))
        side = math.isqrt(self._config.vision_tokens)
        return LanguageBatch(
            vision_pixels=torch.from_numpy(
                np.concatenate([preprocess_vision(view.frame, self._config) for view in views])
            ),
            packs=self._pack([self._talk(view.objects) for view in views]),
            blind_packs=self._pack(
                [
                    self._chat(views[index % len(views)].objects, BLIND_CONVERSATIONS)
                    for index in range(self._blind_packs)
                ],
                image_count=0,
            ),
            image_token_labels=label_tokens(views, (side, side)),
        )

    def _talk(self, objects: Sequence[VisibleObject]) -> list[CommandExample]:
        if not chance(self._rng, CLASS_LIST_SHARE):
            return self._chat(objects, self._conversations)
        first = sample_class_list(self._rng, objects)
        return [first, *self._chat(objects, self._conversations - 1)]

    def _chat(self, objects: Sequence[VisibleObject], count: int) -> list[CommandExample]:
        rng = self._rng
        return [
            (sample_text if chance(rng, TEXT_SHARE) else sample_perception)(rng, objects)
            for _ in range(count)
        ]

    def _pack(self, talks: Sequence[Sequence[CommandExample]], image_count: int = 1) -> Packs:
        return pack_rows(
            [[self._encode(example, image_count) for example in talk] for talk in talks],
            image_patch=self._tokenizer.tokens.image_patch,
            pad=self._tokenizer.tokens.pad,
        )

    def _encode(self, example: CommandExample, image_count: int) -> tuple[np.ndarray, np.ndarray]:
        ids, labels = encode_conversation(
            [(example.question, example.answer)],
            self._tokenizer,
            self._config,
            image_count=image_count,
        )
        if not image_count and example.route is Route.ANSWER:
            labels[np.flatnonzero(labels != IGNORED_LABEL)[BLIND_WORDS:]] = IGNORED_LABEL
        return ids, labels
