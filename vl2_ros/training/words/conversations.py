"""Packs of questions about label scenes, with weights of their words and attention targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vl2_ros.datasets.scene_questions.balanced import QUESTIONS, AskedQuestion
from vl2_ros.datasets.wording import Thing
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.prompt import encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.training.embedded.packs import Packs, pack_rows
from vl2_ros.training.words.answer_weights import weigh_answer
from vl2_ros.training.words.attention import LookupTargets, NounTarget, make_target, stack_targets
from vl2_ros.training.words.label_scenes import LabelScene

_ROLE = " ASSISTANT:"
_NAMES = tuple(QUESTIONS)


@dataclass(frozen=True, slots=True, eq=False)
class AskedPacks:
    """Conversations of a batch.

    Attributes:
        packs: one per scene.
        weights: (B, T) float32 of the labels; those of a conversation add up to 1.
        keys: (B, T) int64, number of the conversation whose answer a label decides, else -1.
        names: (N,) int64 for each conversation, which of `QUESTIONS` it is.
        lookups: targets at the nouns.
    """

    packs: Packs
    weights: Tensor
    keys: Tensor
    names: Tensor
    lookups: LookupTargets


def pack_questions(
    scenes: Sequence[LabelScene],
    questions: Sequence[Sequence[AskedQuestion]],
    tokenizer: Tokenizer,
    config: ProcessingConfig,
    *,
    listing_weight: float,
) -> AskedPacks:
    """Encode several questions about each scene.

    Args:
        scenes: of the batch.
        questions: about each of them, at least one.
        tokenizer: of the model.
        config: processing of the model; an image is one tile.
        listing_weight: sum of the weights of a listing.
    """
    image_patch = tokenizer.tokens.image_patch
    rows = [
        [encode_conversation([(one.question, one.answer)], tokenizer, config) for one in asked]
        for asked in questions
    ]
    packs = pack_rows(rows, image_patch=image_patch, pad=tokenizer.tokens.pad)
    patches = np.flatnonzero(rows[0][0][0] == image_patch)
    start = 1 + int(patches[-1])
    weights = np.zeros(packs.labels.shape, np.float32)
    keys = np.full(packs.labels.shape, -1, np.int64)
    names: list[int] = []
    entries: list[tuple[int, int, NounTarget, np.ndarray]] = []
    for index, (scene, asked) in enumerate(zip(scenes, questions, strict=True)):
        offset = start
        for one, (ids, labels) in zip(asked, rows[index], strict=True):
            own = weigh_answer(one, labels, tokenizer, listing_weight)
            place = slice(offset, offset + len(labels) - start)
            weights[index, place] = own.weights[start:]
            keys[index, place][own.keys[start:]] = len(names)
            names.append(_NAMES.index(one.name))
            before = np.full(2, np.nan, np.float32)
            for thing, position in find_nouns(one, ids, tokenizer, config):
                target = make_target(scene, thing)
                apart = target.place - before
                entries.append((index, offset + position - start, target, apart))
                before = target.place
            offset = place.stop
    return AskedPacks(
        packs,
        torch.from_numpy(weights),
        torch.from_numpy(keys),
        torch.tensor(names),
        stack_targets(entries, int(patches[0]), len(patches)),
    )


def find_nouns(
    asked: AskedQuestion, ids: np.ndarray, tokenizer: Tokenizer, config: ProcessingConfig
) -> list[tuple[Thing, int]]:
    """Return the position of the last token of each noun in an encoded conversation, in order.

    Without those that tokens cross the end of.
    """
    role = len(tokenizer.encode(f"x{_ROLE}")) - len(tokenizer.encode("x"))
    found, place = [], len(asked.question)
    for thing, noun in zip(reversed(asked.things), reversed(asked.nouns), strict=True):
        place = asked.question.rindex(noun, 0, place)
        begin = asked.question[: place + len(noun)]
        begun, _ = encode_conversation([(begin, None)], tokenizer, config)
        end = len(begun) - role
        if np.array_equal(begun[:end], ids[:end]):
            found.append((thing, end - 1))
    return found[::-1]
