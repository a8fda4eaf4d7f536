"""Weights of the words of an answer: those that carry it count, the rest hardly does."""

from __future__ import annotations

import numpy as np

from vl2_ros.datasets.scene_questions.balanced import AskedQuestion
from vl2_ros.datasets.scene_text import NUMBER_WORDS
from vl2_ros.processing.language.prompt import IGNORED_LABEL
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

#: Words that answer: yes or no, the number with its verb, the colour, the side.
CARRYING = ("Yes", "No", "is", "are", "left", "right", *NUMBER_WORDS, *COLORS)
#: Weight of every other word, beside 1.
OTHER = 0.1


def weigh_answer(
    asked: AskedQuestion, labels: np.ndarray, tokenizer: Tokenizer, listing_weight: float
) -> np.ndarray:
    """Return the weight of each token of a conversation, (T,) float32.

    They add up to 1, so that every conversation counts alike, however long its answer is; those of
    a listing, in which every word carries, to `listing_weight`.

    Args:
        asked: the question.
        labels: (T,) int64 of the encoded conversation, -100 where no loss applies.
        tokenizer: of the model.
        listing_weight: sum of the weights of a listing.
    """
    answered = labels != IGNORED_LABEL
    if asked.name == "listing":
        return (answered * (listing_weight / max(answered.sum(), 1))).astype(np.float32)
    # What is nearest is named by colour and kind.
    carrying = {*CARRYING, *KINDS} if asked.name == "relation" else set(CARRYING)
    words = asked.answer.split(" ")
    # Of what follows the words, the end token, loss is as small as of an empty word.
    pieces = tokenizer.encode_parts([*(f" {word}" for word in words), "</s>"])
    shares = np.concatenate(
        [
            np.full(len(piece), 1.0 if word.strip(".,") in carrying else OTHER)
            for word, piece in zip([*words, ""], pieces, strict=True)
        ]
    )
    weights = np.zeros(len(labels), np.float32)
    weights[answered] = shares / shares.sum()
    return weights
