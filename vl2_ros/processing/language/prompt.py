"""Encode questions and answers as token ids: conversation, patch tokens, slots, labels.

See docs/spec/core.md, section 7. Decodes nothing and knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.model.language.slots import GENERATION_TABLES
from vl2_ros.model.language.tokens import ROUTING_TABLES, SLOT_TOKENS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer, neutralise
from vl2_ros.structures import Route

IMAGE = "<image>"
IGNORED_LABEL = -100

_ROUTING = re.compile(
    "(" + "|".join(re.escape(token) for token in ROUTING_TABLES) + r")(?!\[EMB\])"
)

#: Fixed first question and answer of one-pass perception, as evaluation uses them.
_DIRECT_QUESTIONS = {
    Route.DETECT: "Please find every {names} in this picture.",
    Route.SEGMENT: "Please segment every {names} in this picture.",
    Route.GROUND: "Where is {names} in this picture?",
}


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the conversation: text, or an image when `text` is None."""

    text: str | None
    supervised: bool


def expand_routing(text: str, config: ProcessingConfig) -> str:
    """Write the slot tokens after each routing token that has none yet.

    Example:
        >>> expand_routing("cat[DET]", ProcessingConfig(num_embs=2))
        'cat[DET][EMB][EMB2]'
    """

    def write(found: re.Match[str]) -> str:
        if ROUTING_TABLES[found[1]] in GENERATION_TABLES:
            return found[1] + SLOT_TOKENS[0] * config.num_embs_gen
        count = config.num_embs
        slots = SLOT_TOKENS[:count] if count <= len(SLOT_TOKENS) else SLOT_TOKENS[:1] * count
        return found[1] + "".join(slots)

    return _ROUTING.sub(write, text)


def region_placeholder(number: int | None = None) -> str:
    """Return the placeholder text of one region feature; numbers count from 1."""
    return f"<reg>region{'' if number is None else number}<region></reg>"


def list_regions(count: int) -> str:
    """Return the placeholders of regions 1 to `count`, joined by ", "."""
    return ", ".join(region_placeholder(number) for number in range(1, count + 1))


def encode_conversation(
    rounds: Sequence[tuple[str, str | None]],
    tokenizer: Tokenizer,
    config: ProcessingConfig,
    *,
    image_count: int = 1,
    tile_counts: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Encode trusted rounds of question and answer (vicuna v1).

    Images stand where the first question has `<image>`, or before it when it has none; in later
    rounds `<image>` is dropped. Routing tokens without slots get them.

    Args:
        rounds: (question, answer); the answer None ends the text in `ASSISTANT:`.
        tokenizer: tokenizer of the model.
        config: processing of the model.
        image_count: number of images of one tile; read only when `tile_counts` is None.
        tile_counts: tiles of each image, see `count_tiles`.

    Returns:
        ids (T,) int64 and labels (T,) int64, -100 where no loss applies; slots are labelled and
        masked inside the model.

    Raises:
        InputError: if there is no round, the images and `<image>` marks differ in number, or the
            sequence is longer than the model accepts.
    """
    tiles = [1] * image_count if tile_counts is None else list(tile_counts)
    if not rounds:
        raise InputError("the conversation is empty; expected at least one question")
    return _encode_parts(_conversation_parts(rounds, config, len(tiles)), tokenizer, config, tiles)


def encode_plain(
    question: str,
    answer: str,
    tokenizer: Tokenizer,
    config: ProcessingConfig,
    *,
    tile_counts: Sequence[int] = (1,),
) -> tuple[np.ndarray, np.ndarray]:
    """Encode an image and its caption without roles, as the first training stage does.

    Returns:
        ids (T,) int64 and labels (T,) int64; everything but images and begin token is labelled.

    Raises:
        InputError: as for `encode_conversation`.
    """
    if IMAGE not in question:
        question = IMAGE * len(tile_counts) + question
    _check_marks(question, len(tile_counts))
    # Here `<image>` is encoded as a token of the whole text, so it swallows the newline after it.
    image_id = tokenizer.encode(IMAGE)[0]
    remaining = iter(tile_counts)
    ids, labels = [tokenizer.bos], [IGNORED_LABEL]
    for token_id in tokenizer.encode(f"{question}{answer}\n"):
        if token_id == image_id:
            run = _image_run(next(remaining), tokenizer, config)
            ids.extend(run)
            labels.extend([IGNORED_LABEL] * len(run))
        else:
            ids.append(token_id)
            labels.append(token_id)
    return _check_length(ids, labels, config)


def _check_marks(question: str, image_count: int) -> None:
    marks = question.count(IMAGE)
    if marks != image_count:
        raise InputError(
            f"the question has {marks} {IMAGE} marks for {image_count} images; expected one "
            "mark per image, or none"
        )


def _conversation_parts(
    rounds: Sequence[tuple[str, str | None]], config: ProcessingConfig, image_count: int
) -> list[_Part]:
    first = rounds[0][0]
    if IMAGE not in first:
        first = f"{IMAGE}\n" * image_count + first
    _check_marks(first, image_count)
    questions = [first, *(question.replace(IMAGE, "").strip() for question, _ in rounds[1:])]
    lead = f"{config.system} " if config.system else ""
    parts: list[_Part] = []
    for question, (_, answer) in zip(questions, rounds, strict=True):
        text = f"{lead}USER: {expand_routing(question, config)} ASSISTANT:"
        for index, words in enumerate(text.split(IMAGE)):
            if index:
                parts.append(_Part(None, False))
            parts.append(_Part(words, False))
        if answer is not None:
            parts.append(_Part(f" {expand_routing(answer, config)}</s>", True))
        lead = ""
    return parts


def _encode_parts(
    parts: Sequence[_Part], tokenizer: Tokenizer, config: ProcessingConfig, tiles: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    ids = [tokenizer.bos]
    labels = [IGNORED_LABEL]
    remaining = iter(tiles)
    stretch: list[_Part] = []

    def flush() -> None:
        texts = [part.text or "" for part in stretch]
        for part, encoded in zip(stretch, tokenizer.encode_parts(texts), strict=True):
            ids.extend(encoded)
            labels.extend(encoded if part.supervised else [IGNORED_LABEL] * len(encoded))
        stretch.clear()

    for part in parts:
        if part.text is not None:
            stretch.append(part)
            continue
        # An image cuts the text: what follows is encoded as a text of its own.
        flush()
        run = _image_run(next(remaining), tokenizer, config)
        ids.extend(run)
        labels.extend([IGNORED_LABEL] * len(run))
    flush()
    return _check_length(ids, labels, config)


def _image_run(tile_count: int, tokenizer: Tokenizer, config: ProcessingConfig) -> list[int]:
    run = [tokenizer.tokens.image_patch] * (tile_count * config.vision_tokens)
    if config.use_im_start_end:
        return [*tokenizer.encode("<img>"), *run, *tokenizer.encode("</img>")]
    return run


def _check_length(
    ids: Sequence[int], labels: Sequence[int], config: ProcessingConfig
) -> tuple[np.ndarray, np.ndarray]:
    if len(ids) > config.max_length:
        raise InputError(
            f"the prompt has {len(ids)} tokens, the model accepts {config.max_length}; shorten the "
            "text or give fewer or smaller images"
        )
    return np.array(ids, dtype=np.int64), np.array(labels, dtype=np.int64)


def detection_answer(names: Sequence[str], config: ProcessingConfig) -> str:
    """Return the answer that asks the decoder for boxes: "I found: cat[DET], dog[DET]."."""
    return fill_answer(config.detect_answer, names, Route.DETECT)


def segmentation_answer(names: Sequence[str], config: ProcessingConfig) -> str:
    """Return the answer that asks the decoder for masks: "I found: cat[SEG], dog[SEG]."."""
    return fill_answer(config.segment_answer, names, Route.SEGMENT)


def referring_answer(expression: str, config: ProcessingConfig) -> str:
    """Return the answer that asks the decoder for one thing: "Sure, it is here[GRD]."."""
    return fill_answer(config.ground_answer, [expression], Route.GROUND)


def fill_answer(template: str, names: Sequence[str], route: Route) -> str:
    """Write names with their routing tokens into the words of an answer.

    Args:
        template: {names} is the list of names, each with its routing token; {token} the token
            alone.
        names: without special tokens.
        route: whose token it is.

    Example:
        >>> fill_answer("I found: {names}.", ["cat", "dog"], Route.DETECT)
        'I found: cat[DET], dog[DET].'
    """
    # No str.format: names may contain braces.
    listed = ", ".join(f"{name}{route.value}" for name in names)
    return template.replace("{token}", route.value).replace("{names}", listed)


def clean_names(names: Sequence[str], config: ProcessingConfig) -> tuple[str, ...]:
    """Make class names ready for a prompt: no special tokens, single spaces.

    Raises:
        InputError: if no object is named, a name is blank, or there are too many.
    """
    cleaned = tuple(" ".join(neutralise(name).split()) for name in names)
    if not cleaned or not all(cleaned):
        raise InputError(
            'no object is named; name at least one object, such as "red mug" or "bowl"'
        )
    if len(cleaned) > config.max_classes:
        raise InputError(
            f"{len(cleaned)} names were given, the model accepts {config.max_classes} at once; "
            "split the list into several calls"
        )
    return cleaned


def direct_conversation(
    route: Route, names: Sequence[str], config: ProcessingConfig
) -> tuple[str, str]:
    """Write the fixed question and answer of one-pass perception; nothing has to be generated.

    Args:
        route: DETECT or SEGMENT for class names, GROUND for one expression.
        names: what to look for, in the order of the class indices.
        config: gives the limit of names.

    Returns:
        (question, answer) for `encode_conversation`.

    Raises:
        InputError: if no object is named, too many are, or the route has no names.
    """
    question = _DIRECT_QUESTIONS.get(route)
    if question is None:
        raise InputError(f"expected the route DETECT, SEGMENT or GROUND, got {route.name}")
    cleaned = clean_names(names, config)
    listed = ", ".join(cleaned)
    if route is Route.SEGMENT and config.wording == "formats":
        # Only the answer keeps the case of class names.
        listed = listed.lower()
    question = question.replace("{names}", listed)
    if route is Route.DETECT:
        return question, detection_answer(cleaned, config)
    if route is Route.SEGMENT:
        return question, segmentation_answer(cleaned, config)
    if len(cleaned) != 1:
        raise InputError(f"expected one expression to look for, got {len(cleaned)}")
    return question, referring_answer(cleaned[0], config)
