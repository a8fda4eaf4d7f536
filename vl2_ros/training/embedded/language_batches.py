"""Make packs from cached tabletop frames: an image with several short conversations about it.

Blind packs have no image: cheap practice in choosing routes and copying names.
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
    sample_words,
)
from vl2_ros.datasets.scene_questions.relations import PlacedThing
from vl2_ros.datasets.tabletop import TabletopCache
from vl2_ros.datasets.wording import chance
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import preprocess_vision
from vl2_ros.processing.language.prompt import IGNORED_LABEL, encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.structures import Route
from vl2_ros.training.embedded.packs import Packs, pack_rows
from vl2_ros.training.embedded.tabletop_batches import (
    TokenLabels,
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

    def _talk(self, objects: Sequence[PlacedThing]) -> list[CommandExample]:
        if not chance(self._rng, CLASS_LIST_SHARE):
            return self._chat(objects, self._conversations)
        first = sample_class_list(self._rng, objects)
        return [first, *self._chat(objects, self._conversations - 1)]

    def _chat(self, objects: Sequence[PlacedThing], count: int) -> list[CommandExample]:
        rng = self._rng
        return [
            (sample_words if chance(rng, TEXT_SHARE) else sample_perception)(rng, objects)
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
