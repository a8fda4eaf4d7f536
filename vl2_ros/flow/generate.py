"""Greedy generation with routing: token ids and super-link states out of a language session.

A draft of the answer goes through the model with the prompt: what the model would have said itself
costs no further call. Knows no text, no tensor library and no decoder (docs/spec/core.md, section
5.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import EngineError
from vl2_ros.model.language.slots import GENERATION_TABLES
from vl2_ros.model.language.tokens import ROUTING_TABLES, TokenIds
from vl2_ros.runtime.engine import Array, LanguageSession, LanguageStep


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedToken:
    """One token of the answer.

    Attributes:
        token_id: its id; slot ids are never generated.
        slot_states: (K, C) super-link states when it is a routing token, else None.
        logits: (V,) float32 that it was chosen by.
        is_drafted: it is of the draft, so that the one after it may come at once.
    """

    token_id: int
    slot_states: Array | None
    logits: np.ndarray
    is_drafted: bool = False


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
    begun: int = 0,
    draft: Sequence[int] = (),
    image_tokens: Array | None = None,
    region_features: Array | None = None,
) -> Iterator[GeneratedToken]:
    """Decode greedily until an end token or `max_new_tokens`.

    A routing token and its slots go through the model in one call: the states at the slots are
    the decoder's condition, and the next token comes from the logits at the last slot.

    Args:
        session: a language session that has the first `begun` positions of the prompt.
        prompt_ids: (T,) int64, `<im_patch>` runs expanded.
        tokens: ids of the special tokens.
        num_embs: slots of a perception route.
        num_embs_gen: slots of a generation or editing route.
        max_new_tokens: upper bound of yielded tokens.
        most_past: positions that the cache may have before a call; the answer is cut there.
        begun: less than T.
        draft: ids that the answer may consist of, without slots and end token. It changes no
            token: from the first one on that the model would not have chosen it is dropped. One
            that is longer than the engine accepts is not used.
        image_tokens: (M, C) features for the M `<im_patch>` ids that are fed.
        region_features: (R, C) features for the R `<region>` ids that are fed.

    Yields:
        Tokens as they are decoded; the end token is not yielded.

    Raises:
        EngineError: if the logits are not finite.
    """
    past = len(prompt_ids)

    def lay_out(token_id: int) -> tuple[int, ...]:
        """Return a token and its slots, which go through the model together."""
        routing_token = tokens.routing.get(token_id)
        if routing_token is None:
            return (token_id,)
        return (token_id, *tokens.slot_ids(count_slots(routing_token, num_embs, num_embs_gen)))

    sequence = _Sequence(session, [lay_out(token_id) for token_id in draft[:max_new_tokens]])
    step = sequence.open(prompt_ids[begun:], image_tokens, region_features)
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
        ids = lay_out(token_id)
        is_drafted = sequence.foresees(ids)
        if len(ids) == 1:
            yield GeneratedToken(token_id, None, logits, is_drafted)
            # The last token is never fed: nothing would read the result.
            if index + 1 == max_new_tokens or past > most_past:
                return
            step = sequence.append(ids)
            past += 1
            continue
        # Without its slots a routing token opens nothing.
        if past > most_past:
            return
        step = sequence.append(ids)
        past += len(ids)
        yield GeneratedToken(token_id, step.hidden[1:], logits, is_drafted)


class _Sequence:
    """A session that was fed a draft in advance.

    Args:
        session: that was fed no draft.
        pieces: the draft; of each token its id and those of its slots.
    """

    def __init__(self, session: LanguageSession, pieces: Sequence[tuple[int, ...]]) -> None:
        self._session = session
        self._pieces = deque(pieces)
        self._ahead = LanguageStep(np.empty((0, 0), np.float32), None)

    def open(
        self, prompt_ids: np.ndarray, image_tokens: Array | None, region_features: Array | None
    ) -> LanguageStep:
        """Feed the prompt, with the draft where the engine accepts both in one call.

        Args:
            prompt_ids: (T,) int64, those that are not in the session.
            image_tokens: as for `LanguageSession.feed`.
            region_features: as for `LanguageSession.feed`.
        """
        count = sum(map(len, self._pieces))
        if count and not self._session.accepts(len(prompt_ids) + count):
            self._pieces.clear()
        if not self._pieces:
            return self._session.feed(prompt_ids, image_tokens, region_features)
        drafted = np.array([one for ids in self._pieces for one in ids], np.int64)
        ids = np.concatenate([prompt_ids, drafted])
        step = self._session.feed(ids, image_tokens, region_features, logit_count=1 + count)
        self._ahead = LanguageStep(step.logits[1:], step.hidden[len(prompt_ids) :])
        return LanguageStep(step.logits[:1], step.hidden[: len(prompt_ids)])

    def foresees(self, ids: tuple[int, ...]) -> bool:
        """Return whether the draft goes on with a token."""
        return bool(self._pieces) and self._pieces[0] == ids

    def append(self, ids: tuple[int, ...]) -> LanguageStep:
        """Append a token with its slots: return what is known of it, or feed it."""
        if not self.foresees(ids):
            if self._pieces:
                self._session.take_back(len(self._ahead.logits))
                self._pieces.clear()
            return self._session.feed(np.array(ids, dtype=np.int64))
        self._pieces.popleft()
        ahead, count = self._ahead, len(ids)
        self._ahead = LanguageStep(ahead.logits[count:], ahead.hidden[count:])
        return LanguageStep(ahead.logits[:count], ahead.hidden[:count])
