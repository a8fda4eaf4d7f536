"""Count the tokens of prompts and answers: the calls that a language model must accept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.prompt import encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer

#: For the words of a command, and of its answer where that is read in the same call: the seventeen
#: keypoints of a person, each with its slots, need some 200.
QUESTION_TOKENS = 256
#: Words of an answer, the node's default, and the routing tokens in it.
_ANSWER_TOKENS, _ANSWER_ROUTES = 192, 16
#: Far more than any model accepts.
_ANY_LENGTH = 1 << 20


@dataclass(frozen=True, slots=True)
class PromptLength:
    """The calls of the language model that a command about one image makes.

    Attributes:
        shortest: tokens of a prompt without an image and without words.
        longest: tokens of a prompt with an image of the most tiles.
        answer: positions that the answer takes, slots counted.
        steps: tokens of the calls that follow the prompt: one word, or a routing token with its
            slots.
    """

    shortest: int
    longest: int
    answer: int
    steps: tuple[int, ...]


def most_image_tiles(config: ProcessingConfig) -> int:
    """Return the tiles of an image that is cut most, thumbnail counted."""
    return config.max_tiles + 1 if config.aspect == "anyres" and config.max_tiles > 1 else 1


def measure_prompts(tokenizer: Tokenizer, config: ProcessingConfig) -> PromptLength:
    """Count the tokens of a model's prompts; none is longer than the model accepts."""
    wide = replace(config, max_length=_ANY_LENGTH)

    def count(tiles: list[int]) -> int:
        return len(encode_conversation([("", None)], tokenizer, wide, tile_counts=tiles)[0])

    slots = {config.num_embs, config.num_embs_gen}
    return PromptLength(
        shortest=count([]),
        longest=min(config.max_length, count([most_image_tiles(config)]) + QUESTION_TOKENS),
        answer=_ANSWER_TOKENS + max(_ANSWER_ROUTES * config.num_embs, config.num_embs_gen),
        steps=(1, *sorted(1 + one for one in slots)),
    )
