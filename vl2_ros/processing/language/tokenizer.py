"""Encode and decode text as token ids, with the special tokens of VisionLLM v2.

Two kinds of folder are read: `tokenizer.json` (embedded model) through the `tokenizers` library,
`tokenizer.model` (released Llama checkpoints) through `sentencepiece` with the added-token rules of
the slow Llama tokenizer. Both libraries are imported in the function that loads the file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vl2_ros.documents import is_file, take_bool
from vl2_ros.errors import CheckpointError
from vl2_ros.model.language.token_files import (
    AddedToken,
    read_added_tokens,
    read_end_ids,
    read_object,
)
from vl2_ros.model.language.tokens import ADDED_TOKENS, TokenIds

BASE_SPECIAL_TOKENS = ("<s>", "</s>", "<unk>", "<pad>")
_SPECIAL = re.compile("|".join(re.escape(t) for t in (*BASE_SPECIAL_TOKENS, *ADDED_TOKENS)))
_SPACE_MARK = "\u2581"
#: Of a library's own words.
_SHOWN_LETTERS = 300


def neutralise(text: str) -> str:
    """Break up special tokens in a user's text, so that they stay words: "[DET]" -> "[ DET ]"."""
    return _SPECIAL.sub(lambda found: f"{found[0][0]} {found[0][1:-1]} {found[0][-1]}", text)


class Tokenizer(Protocol):
    """The interface of tokenizers."""

    @property
    def tokens(self) -> TokenIds:
        """Return the ids of the special tokens."""

    @property
    def bos(self) -> int:
        """Return the id that begins a sequence."""

    @property
    def vocab_size(self) -> int:
        """Return the number of ids, special tokens included."""

    def encode_parts(self, parts: Sequence[str]) -> list[list[int]]:
        """Encode consecutive parts of one trusted text; special tokens become their ids.

        Returns:
            One list per part; together they are the ids of the joined text. Parts must be cut
            where no token crosses, such as before a space.
        """

    def encode(self, text: str, *, trusted: bool = True) -> list[int]:
        """Encode text, without begin or end token.

        Args:
            text: any text.
            trusted: False breaks up special tokens in the text, see `neutralise`.
        """

    def decode(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
        """Decode ids into text; special tokens are skipped unless `keep_special`."""


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """Load the tokenizer of a checkpoint folder.

    Raises:
        CheckpointError: if the folder has no readable tokenizer of VisionLLM v2.
    """
    folder = Path(folder)
    if is_file(folder / "tokenizer.json"):
        return _load_json(folder)
    if is_file(folder / "tokenizer.model"):
        return _load_sentencepiece(folder)
    raise CheckpointError(
        f"expected tokenizer.json or tokenizer.model in {folder}; found neither, copy the "
        "tokenizer files of the checkpoint there"
    )


class JsonTokenizer:
    """A tokenizer stored as one `tokenizer.json`, added tokens included.

    Args:
        backend: `tokenizers.Tokenizer`.
        more_ends: ids besides that of `</s>` that end an answer.
    """

    def __init__(self, backend: Any, *, more_ends: Sequence[int] = ()) -> None:
        """Read the special ids."""
        lookup: Callable[[str], int | None] = backend.token_to_id
        eos, bos, pad = (lookup(token) for token in ("</s>", "<s>", "<pad>"))
        if pad is None:
            pad = lookup("<unk>")
        if eos is None or bos is None or pad is None:
            raise CheckpointError(
                "the tokenizer must have <s>, </s> and <pad> or <unk>; use the tokenizer saved "
                "with the checkpoint"
            )
        self.tokens = TokenIds.from_lookup(lookup, eos=eos, pad=pad, more_ends=more_ends)
        self.bos = bos
        self.vocab_size = int(backend.get_vocab_size(with_added_tokens=True))
        self._backend = backend
        known = ((token, lookup(token)) for token in (*BASE_SPECIAL_TOKENS, *ADDED_TOKENS))
        self._special = {index: token for token, index in known if index is not None}

    def encode_parts(self, parts: Sequence[str]) -> list[list[int]]:
        """Encode consecutive parts of one trusted text; special tokens become their ids."""
        encoded = self._backend.encode("".join(parts), add_special_tokens=False)
        ends = list(itertools.accumulate(len(part) for part in parts))
        grouped: list[list[int]] = [[] for _ in parts]
        index = 0
        for token_id, (start, _) in zip(encoded.ids, encoded.offsets, strict=True):
            while index + 1 < len(parts) and start >= ends[index]:
                index += 1
            grouped[index].append(token_id)
        return grouped

    def encode(self, text: str, *, trusted: bool = True) -> list[int]:
        """Encode text; untrusted text has its special tokens broken up."""
        return self.encode_parts([text if trusted else neutralise(text)])[0]

    def decode(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
        """Decode ids into text; special tokens are skipped unless `keep_special`."""
        return _join_runs(
            ids, self._special, lambda run: str(self._backend.decode(run)), keep_special
        )


class SentencePieceTokenizer:
    """The slow Llama tokenizer's behaviour on a SentencePiece model plus added tokens.

    Args:
        processor: a `SentencePieceProcessor` that marks the first word as a word start.
        bare_processor: one of the same model that does not (add_dummy_prefix off).
        added: special tokens, those of the base vocabulary included.
        legacy: True marks a word start after each added token too, as the oldest checkpoints do.
        more_ends: ids besides that of `</s>` that end an answer.
    """

    def __init__(
        self,
        processor: Any,
        bare_processor: Any,
        added: Mapping[str, AddedToken],
        *,
        legacy: bool,
        more_ends: Sequence[int] = (),
    ) -> None:
        """Read the special ids."""
        ids = {token: item.index for token, item in added.items()}
        self.tokens = TokenIds.from_lookup(
            ids.get, eos=processor.eos_id(), pad=processor.unk_id(), more_ends=more_ends
        )
        self.bos = int(processor.bos_id())
        self.vocab_size = max(processor.get_piece_size(), *(index + 1 for index in ids.values()))
        self._processor = processor
        self._bare_processor = bare_processor
        self._added = dict(added)
        self._special = {index: token for token, index in ids.items()}
        self._legacy = legacy
        ordered = sorted(added, key=len, reverse=True)
        self._pattern = re.compile("(" + "|".join(re.escape(token) for token in ordered) + ")")

    def encode_parts(self, parts: Sequence[str]) -> list[list[int]]:
        """Encode consecutive parts of one trusted text; special tokens become their ids."""
        word_start, strip = True, False
        grouped = []
        for part in parts:
            ids: list[int] = []
            # The pattern has one group, so that words and added tokens alternate.
            pieces = self._pattern.split(part)
            for words, token in itertools.zip_longest(pieces[::2], pieces[1::2]):
                added = self._added.get(token)
                words = words.lstrip() if strip else words
                words = words.rstrip() if added and added.strip_left else words
                if words:
                    ids += self._encode_words(words, word_start)
                    word_start, strip = False, False
                if added:
                    ids.append(added.index)
                    word_start, strip = self._legacy, added.strip_right
            grouped.append(ids)
        return grouped

    def _encode_words(self, words: str, word_start: bool) -> list[int]:
        processor = self._processor if word_start else self._bare_processor
        return [int(index) for index in processor.encode(words.replace(_SPACE_MARK, " "))]

    def encode(self, text: str, *, trusted: bool = True) -> list[int]:
        """Encode text; untrusted text has its special tokens broken up."""
        return self.encode_parts([text if trusted else neutralise(text)])[0]

    def decode(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
        """Decode ids into text; special tokens are skipped unless `keep_special`."""
        return _join_runs(ids, self._special, self._decode_run, keep_special)

    def _decode_run(self, ids: list[int]) -> str:
        text = str(self._processor.decode(ids))
        # SentencePiece drops the first word-start mark, which between special tokens is a space.
        marked = self._processor.id_to_piece(ids[0]).startswith(_SPACE_MARK)
        return f" {text}" if marked else text


def _join_runs(
    ids: Sequence[int],
    special: Mapping[int, str],
    decode_run: Callable[[list[int]], str],
    keep_special: bool,
) -> str:
    parts: list[str] = []
    run: list[int] = []
    for index in (int(value) for value in ids):
        if index not in special:
            run.append(index)
            continue
        if run:
            parts.append(decode_run(run))
            run = []
        if keep_special:
            parts.append(special[index])
    if run:
        parts.append(decode_run(run))
    return "".join(parts)


def _load_json(folder: Path) -> Tokenizer:
    import tokenizers

    path = folder / "tokenizer.json"
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    # The library raises plain Exception for a file that it cannot parse.
    except Exception as error:
        raise CheckpointError(f"cannot read {path}: {str(error)[:_SHOWN_LETTERS]}") from error
    return JsonTokenizer(backend, more_ends=read_end_ids(folder))


def _load_sentencepiece(folder: Path) -> Tokenizer:
    import sentencepiece

    path = folder / "tokenizer.model"
    try:
        model = path.read_bytes()
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        # Protobuf merges appended fields: normalizer_spec { add_dummy_prefix: false }.
        bare = sentencepiece.SentencePieceProcessor(model_proto=model + b"\x1a\x02\x18\x00")
    # The library names no errors of its own.
    except Exception as error:
        raise CheckpointError(f"cannot read {path}: {str(error)[:_SHOWN_LETTERS]}") from error
    settings = read_object(folder / "tokenizer_config.json")
    added = {token: AddedToken(processor.piece_to_id(token)) for token in ("<unk>", "<s>", "</s>")}
    added |= read_added_tokens(folder)
    # Null is the default of the library that wrote it, as a missing one is.
    legacy = take_bool(settings, "legacy", True, error=CheckpointError)
    ends = read_end_ids(folder)
    return SentencePieceTokenizer(processor, bare, added, legacy=legacy, more_ends=ends)
