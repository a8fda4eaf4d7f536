"""Greedy answers of many prompts on one engine of the language model, several rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from vl2_ros.model.graphs import layer_names
from vl2_ros.model.language.slots import slot_counts
from vl2_ros.runtime.engine import Engine, to_numpy
from vl2_ros.runtime.language.graph_language import EmbeddingTables

#: Names of the cache's tensors for so many layers, without `past_`.
_CACHE = ("keys", "values")
_FLOAT32_BYTES = 4
#: End of a count's name -> the query table that has so many rows.
_SIZES = (("", "det"), ("_gen", "gen"))


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What the language model reads.

    Attributes:
        ids: (T,) int64.
        image_tokens: (M, C) features for the M `<im_patch>` ids.
    """

    ids: np.ndarray
    image_tokens: np.ndarray


@dataclass(slots=True, eq=False)
class Spoken:
    """An answer.

    Attributes:
        ids: generated tokens, without slots and without the one that ends it.
        states: (K, C) float32 of the slots of each routing token.
    """

    ids: list[int] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class BatchSpeaker:
    """Answers prompts with one engine.

    Attributes:
        engine: runs `language_model`.
        tables: embeddings and query tables.
        cache_shape: layers, heads and width of a head of the cache.
        rows: most prompts that go through one call; fewer where their cache would be large.
        most_tokens: longest answer; a longer one is cut.
        most_cache_bytes: largest cache of rows that share calls, where they are more than one;
            it is there twice, before and after a call.
    """

    engine: Engine
    tables: EmbeddingTables
    cache_shape: tuple[int, int, int]
    rows: int
    most_tokens: int
    most_cache_bytes: int = 1_600_000_000

    def speak(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Spoken]]:
        """Yield the index and the answer of each prompt, those of about one length together."""
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index].ids))
        rows = self._choose_rows(max((len(one.ids) for one in prompts), default=0))
        for start in range(0, len(order), rows):
            chosen = order[start : start + rows]
            yield from zip(chosen, self._speak_rows([prompts[i] for i in chosen]), strict=True)

    def _choose_rows(self, longest: int) -> int:
        layers, heads, width = self.cache_shape
        row = 2 * layers * heads * width * _FLOAT32_BYTES * (longest + self.most_tokens)
        return max(1, min(self.rows, self.most_cache_bytes // row))

    def _speak_rows(self, prompts: Sequence[Prompt]) -> list[Spoken]:
        answers = [Spoken() for _ in prompts]
        batch = _Batch(self, len(prompts))
        fed = [self.tables.embed(one.ids, one.image_tokens) for one in prompts]
        is_open = [True] * len(prompts)
        for _ in range(self.most_tokens):
            logits, hidden = batch.feed(fed)
            for row, answer in enumerate(answers):
                # The states of slots are those of the call that had them.
                if is_open[row] and answer.ids and answer.ids[-1] in self.tables.tokens.routing:
                    answer.states.append(hidden[row][1:])
            fed = [
                self._choose(answer, logits[row]) if is_open[row] else _nothing(self.tables)
                for row, answer in enumerate(answers)
            ]
            is_open = [len(one) > 0 for one in fed]
            if not any(is_open):
                return answers
        self._finish(batch, fed, answers, is_open)
        return answers

    def _choose(self, answer: Spoken, logits: np.ndarray) -> np.ndarray:
        """Add the likeliest token to an answer; return what is to be fed next, (n, C)."""
        tokens, token_id = self.tables.tokens, int(np.argmax(logits))
        if token_id in tokens.ends:
            return _nothing(self.tables)
        answer.ids.append(token_id)
        ids = [token_id]
        if token_id in tokens.routing:
            sizes = {f"num_embs{end}": len(self.tables.queries[table]) for end, table in _SIZES}
            ids += tokens.slot_ids(slot_counts(tokens, **sizes)[token_id])
        return self.tables.embed(np.array(ids, np.int64))

    def _finish(
        self,
        batch: _Batch,
        fed: list[np.ndarray],
        answers: Sequence[Spoken],
        is_open: Sequence[bool],
    ) -> None:
        """Compute the states of routing tokens that came last."""
        last = [
            is_open[row] and bool(one.ids) and one.ids[-1] in self.tables.tokens.routing
            for row, one in enumerate(answers)
        ]
        if any(last):
            _, hidden = batch.feed(fed)
            for row, answer in enumerate(answers):
                if last[row]:
                    answer.states.append(hidden[row][1:])


class _Batch:
    """Rows that share calls; what is shorter than the longest is padded behind."""

    def __init__(self, speaker: BatchSpeaker, rows: int) -> None:
        layers, heads, width = speaker.cache_shape
        self._engine, self._rows = speaker.engine, rows
        self._names = [name for one in _CACHE for name in layer_names(one, layers)]
        empty = np.zeros((rows, heads, 0, width), np.float32)
        self._cache = {f"past_{name}": empty for name in self._names}
        self._mask = np.ones((rows, 0), np.bool_)

    def feed(self, fed: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Append (n, C) embeddings to each row, maybe none.

        Returns:
            (rows, V) logits after the last position of each row, and its (n, C) states.
        """
        counts = [len(one) for one in fed]
        embeds = np.zeros((self._rows, max(counts), fed[0].shape[-1]), np.float32)
        mask = np.arange(max(counts)) < np.array(counts)[:, None]
        for row, one in enumerate(fed):
            embeds[row, : len(one)] = one
        outputs = self._engine.run(
            {"input_embeds": embeds, "token_mask": mask, "past_mask": self._mask, **self._cache}
        )
        self._cache = {f"past_{name}": outputs[name] for name in self._names}
        self._mask = np.concatenate([self._mask, mask], axis=1)
        logits, hidden = to_numpy(outputs["logits"]), to_numpy(outputs["hidden"])
        ends = np.maximum(np.array(counts) - 1, 0)
        last = logits[np.arange(self._rows), ends].astype(np.float32)
        return last, [hidden[row, :count].astype(np.float32) for row, count in enumerate(counts)]


def _nothing(tables: EmbeddingTables) -> np.ndarray:
    return np.zeros((0, tables.words.shape[1]), np.float32)
