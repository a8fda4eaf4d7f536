"""The language model on one graph: embeddings are looked up here, the cache is passed through.

Serves every backend whose engine runs `language_model`; needs numpy only. Does for ids what
`VisionLLM.embed` does with tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vl2_ros.errors import EngineError, InputError, ShapeError
from vl2_ros.model.graphs import layer_names
from vl2_ros.model.language.slots import find_slots, slot_counts
from vl2_ros.model.language.tokens import ROUTING_TABLES, TokenIds
from vl2_ros.runtime.engine import Array, Engine, EngineInfo, LanguageStep, Prefix, to_numpy

#: Name in the file of embeddings; each query table of `ROUTING_TABLES` has its own name there.
TOKEN_EMBEDDINGS = "embed_tokens"
#: An output of the cache has the name of its input without it.
_PAST = "past_"
_STORED_DTYPES = {"F16": np.float16, "F32": np.float32}


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingTables:
    """Input embeddings of the language model.

    Attributes:
        tokens: ids of the special tokens.
        words: (V, C) embeddings, float16 or float32.
        queries: name of a query table -> (K, C), what stands in the slots of its routes.
    """

    tokens: TokenIds
    words: np.ndarray
    queries: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        """Check that the tables belong together.

        Raises:
            EngineError: if a table is missing or of another width, or a special id has no row.
        """
        missing = sorted(set(ROUTING_TABLES.values()) - set(self.queries))
        if missing:
            raise EngineError(
                f"the embeddings lack the query tables {', '.join(missing)}; export again"
            )
        shapes = {name: table.shape for name, table in self.queries.items()}
        width = self.words.shape[-1] if self.words.ndim else 0
        floats = all(table.dtype.kind == "f" for table in (self.words, *self.queries.values()))
        if (
            not floats
            or self.words.ndim != 2
            or any(len(s) != 2 or s[1] != width for s in shapes.values())
        ):
            raise EngineError(
                f"word embeddings {self.words.shape} and query tables {shapes} must be (rows, "
                "width) of floats, of one width; export again"
            )
        tokens = self.tokens
        highest = max(tokens.image_patch, tokens.region, *tokens.routing, *tokens.slots)
        if highest >= len(self.words):
            raise EngineError(
                f"token id {highest} of the tokenizer lies outside of the {len(self.words)} "
                "embeddings; use the tokenizer of the checkpoint that was exported"
            )

    def embed(
        self,
        input_ids: np.ndarray,
        image_tokens: Array | None = None,
        region_features: Array | None = None,
    ) -> np.ndarray:
        """Make the language model's input; see `LanguageSession.feed`.

        Returns:
            (T, C) float32, new memory.

        Raises:
            InputError: if an id has no embedding, the slots of a routing token are not in the same
                call, or the number of features and of ids for them differ.
        """
        if input_ids.ndim != 1 or not len(input_ids):
            raise ShapeError(f"input_ids must be (T,) with T at least 1, got {input_ids.shape}")
        if input_ids.min() < 0 or input_ids.max() >= len(self.words):
            raise InputError(
                f"ids must lie in 0 to {len(self.words) - 1}, got {input_ids.min()} to "
                f"{input_ids.max()}"
            )
        embeds: np.ndarray = self.words[input_ids].astype(np.float32)
        counts = slot_counts(
            self.tokens, num_embs=len(self.queries["det"]), num_embs_gen=len(self.queries["gen"])
        )
        for span in find_slots(input_ids.tolist(), self.tokens, counts):
            table = self.queries[ROUTING_TABLES[span.route]]
            embeds[span.start : span.start + span.count] = table
        for name, token_id, features in (
            ("<im_patch>", self.tokens.image_patch, image_tokens),
            ("<region>", self.tokens.region, region_features),
        ):
            _substitute(embeds, input_ids == token_id, features, name)
        return embeds


def load_embedding_tables(
    path: Path, tokens: TokenIds, names: Mapping[str, str] | None = None
) -> EmbeddingTables:
    """Read the tables beside the engines; words stay in the file, which is mapped.

    Args:
        path: a safetensors file; it may be replaced by renaming, but not written into.
        tokens: ids of the special tokens.
        names: table -> its name in the file, which then also has other tensors; by default all of
            the file are tables under their own names.

    Raises:
        EngineError: if the file is missing, damaged or incomplete.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            stored = names or {name: name for name in file.keys()}  # noqa: SIM118 (no mapping)
            words = stored.get(TOKEN_EMBEDDINGS)
            arrays = {
                table: file.get_tensor(name) for table, name in stored.items() if name != words
            }
        if words is not None:
            arrays[TOKEN_EMBEDDINGS] = _map_tensor(path, words)
    # The library does not document what it may raise.
    except Exception as error:
        raise EngineError(
            f"cannot read the embeddings {path}: {error}; export the engines again"
        ) from error
    table = arrays.pop(TOKEN_EMBEDDINGS, None)
    if table is None:
        raise EngineError(f"{path} has no {TOKEN_EMBEDDINGS!r}, got {sorted(arrays)}")
    return EmbeddingTables(tokens, table, arrays)


def _map_tensor(path: Path, name: str) -> np.ndarray:
    """Return a tensor of a safetensors file that was opened before, so that its header is right."""
    content = np.memmap(path, np.uint8, mode="r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    entry = json.loads(content[8:start].tobytes())[name]
    begin, end = entry["data_offsets"]
    if entry["dtype"] not in _STORED_DTYPES:
        raise ValueError(f"{name} must be of {' or '.join(_STORED_DTYPES)}, got {entry['dtype']}")
    values = np.asarray(content[start + begin : start + end])
    return values.view(_STORED_DTYPES[entry["dtype"]]).reshape(entry["shape"])


@dataclass(frozen=True, slots=True, eq=False)
class GraphCache:
    """Keys and values of a sequence, as the graph returned them.

    Attributes:
        mask: (P,) bool, false at positions that are not of the sequence any more.
        arrays: input of the next call -> (1, heads, P, d).
    """

    mask: np.ndarray
    arrays: Mapping[str, Array]

    @property
    def nbytes(self) -> int:
        """Return the bytes of keys and values."""
        return sum(int(np.prod(one.shape)) * one.dtype.itemsize for one in self.arrays.values())

    def first(self, count: int) -> GraphCache:
        """Return the first `count` positions of the sequence, in the same memory.

        They are cut where arrays can be: they then lie in the ranges of the engine as if nothing
        had been behind them. What an accelerator keeps as a whole is masked.
        """
        stop = int(np.flatnonzero(self.mask)[count - 1]) + 1 if count else 0
        if all(hasattr(array, "__getitem__") for array in self.arrays.values()):
            arrays = {name: array[:, :, :stop] for name, array in self.arrays.items()}
            return GraphCache(self.mask[:stop], arrays)
        return GraphCache(self.mask & (np.arange(len(self.mask)) < stop), self.arrays)


class GraphLanguageSession:
    """One answer: the cache is an output of each call and an input of the next.

    Args:
        engine: runs `language_model`.
        tables: embeddings and query tables.
        cache: of the positions that it begins behind.
    """

    def __init__(self, engine: Engine, tables: EmbeddingTables, cache: GraphCache) -> None:
        """Start behind a cache."""
        self._engine = engine
        self._tables = tables
        self._cache = cache

    def feed(
        self,
        input_ids: np.ndarray,
        image_tokens: Array | None = None,
        region_features: Array | None = None,
        *,
        logit_count: int = 1,
    ) -> LanguageStep:
        """Append T positions; see `LanguageSession.feed`. A call that raises appends nothing."""
        embeds = self._tables.embed(input_ids, image_tokens, region_features)
        fed = np.ones(len(embeds), np.bool_)
        output = self._engine.run(
            {
                "input_embeds": embeds[None],
                "token_mask": fed[None],
                "past_mask": self._cache.mask[None],
                **self._cache.arrays,
            }
        )
        # The engine's own arrays: on an accelerator the cache never leaves it.
        arrays = {name: output[name.removeprefix(_PAST)] for name in self._cache.arrays}
        self._cache = GraphCache(np.concatenate([self._cache.mask, fed]), arrays)
        # Cut first: on an accelerator those of a whole prompt are large.
        logits = to_numpy(output["logits"][0, -logit_count:]).astype(np.float32, copy=False)
        return LanguageStep(logits, to_numpy(output["hidden"])[0])

    def take_back(self, count: int) -> None:
        """Remove the last `count` positions; see `LanguageSession.take_back`."""
        self._cache = self._cache.first(int(self._cache.mask.sum()) - count)

    def keep(self, count: int) -> Prefix:
        """Return the first `count` positions; see `LanguageSession.keep`."""
        # What is cut off stays with the memory that it is cut from.
        return Prefix(count, self._cache.first(count), self._cache.nbytes)

    def accepts(self, count: int) -> bool:
        """Return whether the engine accepts so many positions; see `LanguageSession.accepts`."""
        call = {"tokens": count, "past": len(self._cache.mask)}
        ranges = self._engine.info.ranges
        return not ranges or any(_contains(one, call) for one in ranges)


class GraphLanguageModel:
    """The LLM with its super-link tables, on any engine of `language_model`.

    Args:
        engine: runs the graph.
        tables: embeddings and query tables.
        cache_shape: layers, heads and width of a head of the cache.
    """

    def __init__(
        self, engine: Engine, tables: EmbeddingTables, cache_shape: tuple[int, int, int]
    ) -> None:
        """Store the parts."""
        self._engine = engine
        self._tables = tables
        layers, heads, head_width = cache_shape
        empty = np.zeros((1, heads, 0, head_width), np.float32)
        names = [*layer_names("keys", layers), *layer_names("values", layers)]
        self._empty = GraphCache(np.ones(0, np.bool_), {f"{_PAST}{name}": empty for name in names})
        self.info = EngineInfo(
            "language_model",
            engine.info.backend,
            engine.info.device,
            ("input_ids", "image_tokens", "region_features"),
            ("last_logits", "hidden"),
            engine.info.identity,
            ranges=engine.info.ranges,
        )

    def open_session(self, prefix: Prefix | None = None) -> GraphLanguageSession:
        """Start an answer; see `LanguageModel.open_session`."""
        cache = prefix.cache if prefix else self._empty
        return GraphLanguageSession(self._engine, self._tables, cache)


def _contains(sizes: Mapping[str, tuple[int, int]], call: Mapping[str, int]) -> bool:
    """Return whether a call lies in a range; an axis that the range lacks may have any size."""
    return all(
        sizes[axis][0] <= size <= sizes[axis][1] for axis, size in call.items() if axis in sizes
    )


def _substitute(embeds: np.ndarray, where: np.ndarray, features: Array | None, name: str) -> None:
    """Replace the rows of `embeds` (T, C) at `where` (T,) by those of `features`, in order."""
    rows = None if features is None else to_numpy(features)
    wanted, given = int(where.sum()), 0 if rows is None else int(np.prod(rows.shape[:-1]))
    if wanted != given:
        raise InputError(
            f"the row has {wanted} {name} ids, got {given} features for them; they must be equal"
        )
    if rows is None or not given:
        return
    if rows.shape[-1] != embeds.shape[-1]:
        raise ShapeError(
            f"features of {name} must be {embeds.shape[-1]} wide, got {rows.shape[-1]}"
        )
    embeds[where] = rows.reshape(given, -1)
