"""Weights of the words of an answer: those that carry it count, the rest hardly does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, eq=False)
class AnswerWeights:
    """Weights of the T tokens of a conversation.

    Attributes:
        weights: (T,) float32. They add up to 1, so that every conversation counts alike, however
            long its answer is; those of a listing, in which every word carries, to another weight.
        keys: (T,) bool, the tokens that must be right for the answer to be right: of a yes or no
            that word alone, else all that carry it; of a listing none.
    """

    weights: np.ndarray
    keys: np.ndarray


def weigh_answer(
    asked: AskedQuestion, labels: np.ndarray, tokenizer: Tokenizer, listing_weight: float
) -> AnswerWeights:
    """Weigh the tokens of a conversation.

    Args:
        asked: the question.
        labels: (T,) int64 of the encoded conversation, -100 where no loss applies.
        tokenizer: of the model.
        listing_weight: sum of the weights of a listing.
    """
    answered = labels != IGNORED_LABEL
    keys = np.zeros(len(labels), dtype=bool)
    if asked.name == "listing":
        even = answered * (listing_weight / max(answered.sum(), 1))
        return AnswerWeights(even.astype(np.float32), keys)
    # What is nearest is named by colour and kind.
    carrying = {*CARRYING, *KINDS} if asked.name == "relation" else set(CARRYING)
    words = asked.answer.split(" ")
    # Of what follows the words, the end token, loss is as small as of an empty word.
    pieces = tokenizer.encode_parts([*(f" {word}" for word in words), "</s>"])
    carries = [word.strip(".,") in carrying for word in [*words, ""]]
    shares = _spread([1.0 if one else OTHER for one in carries], pieces)
    weights = np.zeros(len(labels), np.float32)
    weights[answered] = shares / shares.sum()
    if words[0].strip(",") in ("Yes", "No"):
        carries = [index == 0 for index in range(len(pieces))]
    keys[answered] = _spread(carries, pieces)
    return AnswerWeights(weights, keys)


def _spread(values: Sequence[float], pieces: Sequence[Sequence[int]]) -> np.ndarray:
    """Give the tokens of each piece its value."""
    return np.repeat(np.array(values), [len(piece) for piece in pieces])
