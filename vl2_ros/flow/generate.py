"""Greedy generation with routing: token ids and super-link states out of a language session.

Knows no text, no tensor library and no decoder (docs/spec/core.md, section 5.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import EngineError
from vl2_ros.model.language.slots import GENERATION_TABLES
from vl2_ros.model.language.tokens import ROUTING_TABLES, TokenIds
from vl2_ros.runtime.engine import Array, LanguageSession


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedToken:
    """One token of the answer.

    Attributes:
        token_id: its id; slot ids are never generated.
        slot_states: (K, C) super-link states when it is a routing token, else None.
        logits: (V,) float32 that it was chosen by.
    """

    token_id: int
    slot_states: Array | None
    logits: np.ndarray


def count_slots(routing_token: str, num_embs: int, num_embs_gen: int) -> int:
    """Return how many slots a routing token opens."""
    return num_embs_gen if ROUTING_TABLES[routing_token] in GENERATION_TABLES else num_embs


def generate(
    session: LanguageSession,
    prompt_ids: np.ndarray,
    *,
    tokens: TokenIds,
    num_embs: int,
    num_embs_gen: int,
    max_new_tokens: int,
    most_past: int = 1 << 31,
    image_tokens: Array | None = None,
    region_features: Array | None = None,
) -> Iterator[GeneratedToken]:
    """Decode greedily until an end token or `max_new_tokens`.

    A routing token and its slots go through the model in one call: the states at the slots are
    the decoder's condition, and the next token comes from the logits at the last slot.

    Args:
        session: an empty language session.
        prompt_ids: (T,) int64, `<im_patch>` runs expanded.
        tokens: ids of the special tokens.
        num_embs: slots of a perception route.
        num_embs_gen: slots of a generation or editing route.
        max_new_tokens: upper bound of yielded tokens.
        most_past: positions that the cache may have before a call; the answer is cut there.
        image_tokens: (M, C) features for the M `<im_patch>` ids of the prompt.
        region_features: (R, C) features for the R `<region>` ids of the prompt.

    Yields:
        Tokens as they are decoded; the end token is not yielded.

    Raises:
        EngineError: if the logits are not finite.
    """
    step = session.feed(prompt_ids, image_tokens, region_features)
    past = len(prompt_ids)
    for index in range(max_new_tokens):
        logits = step.last_logits
        token_id = int(np.argmax(logits))
        if not np.isfinite(logits[token_id]):
            raise EngineError(
                f"the language model gave a logit of {logits[token_id]} for token "
                f"{index}; expected finite numbers, check the weights and the precision"
            )
        if token_id in tokens.ends:
            return
        routing_token = tokens.routing.get(token_id)
        if routing_token is None:
            yield GeneratedToken(token_id, None, logits)
            # The last token is never fed: nothing would read the result.
            if index + 1 == max_new_tokens or past > most_past:
                return
            step = session.feed(np.array([token_id], dtype=np.int64))
            past += 1
            continue
        # Without its slots a routing token opens nothing.
        if past > most_past:
            return
        slots = tokens.slot_ids(count_slots(routing_token, num_embs, num_embs_gen))
        step = session.feed(np.array([token_id, *slots], dtype=np.int64))
        past += 1 + len(slots)
        yield GeneratedToken(token_id, step.hidden[1:], logits)
