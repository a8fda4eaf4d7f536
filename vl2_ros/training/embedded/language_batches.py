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
from vl2_ros.training.embedded.settings import LanguageSettings
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
    """Packs from a frame cache, batch by number.

    Args:
        cache: rendered frames with instance maps.
        tokenizer: tokenizer of the model in training.
        config: processing of the model in training.
        settings: of the run; the blind packs of a batch are at least one.
        images: per batch.
        seed: of every batch, before its number.
    """

    def __init__(
        self,
        cache: TabletopCache,
        tokenizer: Tokenizer,
        config: ProcessingConfig,
        settings: LanguageSettings,
        images: int,
        seed: tuple[int, ...],
    ) -> None:
        """Keep the sources."""
        self._cache, self._tokenizer, self._config = cache, tokenizer, config
        self._settings, self._images, self._seed = settings, images, seed

    def __getitem__(self, number: int) -> LanguageBatch:
        """Draw one batch."""
        rng = np.random.default_rng((*self._seed, number))
        settings = self._settings
        views = []
        for index in rng.integers(len(self._cache), size=self._images):
            record = self._cache[int(index)]
            views.append(augment(record.rgb, record.instance_map, record.objects, rng))
        side = math.isqrt(self._config.vision_tokens)
        talks = [_talk(rng, view.objects, settings.conversations) for view in views]
        chats = [
            _chat(rng, views[index % len(views)].objects, BLIND_CONVERSATIONS)
            for index in range(settings.blind_packs)
        ]
        return LanguageBatch(
            vision_pixels=torch.from_numpy(
                np.concatenate([preprocess_vision(view.frame, self._config) for view in views])
            ),
            packs=self._pack(talks),
            blind_packs=self._pack(chats, image_count=0),
            image_token_labels=label_tokens(views, (side, side)),
        )

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


def _talk(
    rng: np.random.Generator, objects: Sequence[PlacedThing], count: int
) -> list[CommandExample]:
    if not chance(rng, CLASS_LIST_SHARE):
        return _chat(rng, objects, count)
    first = sample_class_list(rng, objects)
    return [first, *_chat(rng, objects, count - 1)]


def _chat(
    rng: np.random.Generator, objects: Sequence[PlacedThing], count: int
) -> list[CommandExample]:
    return [
        (sample_words if chance(rng, TEXT_SHARE) else sample_perception)(rng, objects)
        for _ in range(count)
    ]
