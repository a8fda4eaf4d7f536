"""Read the ids of added tokens, and of those that end an answer, from a tokenizer's files.

Every reader of a checkpoint folder uses these functions, so that all find the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2_ros.documents import (
    MAX_LIST_BYTES,
    check_int,
    check_list,
    check_object,
    is_file,
    read_json_object,
    shorten,
    take_bool,
    take_object,
)
from vl2_ros.errors import CheckpointError

_INDEX = re.compile(r"[0-9]{1,9}")
_MAX_ID = 1 << 24
#: Most ids that end an answer.
_MAX_ENDS = 64


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token outside the SentencePiece vocabulary and the white space that it swallows."""

    index: int
    strip_left: bool = True
    strip_right: bool = True


def read_added_tokens(folder: Path) -> dict[str, AddedToken]:
    """Read the added tokens of `added_tokens.json` and of `tokenizer_config.json`.

    Either file may be missing, or have none of them: transformers 5 writes the second alone.

    Raises:
        CheckpointError: naming what is wrong in them.
    """
    added: dict[str, AddedToken] = {}
    # Older folders list ids only; the tokens were added with both strips.
    for token, index in read_object(folder / "added_tokens.json").items():
        _add_token(added, token, index, {})
    settings = read_object(folder / "tokenizer_config.json")
    decoder = take_object(settings, "added_tokens_decoder", error=CheckpointError)
    for index, item in decoder.items():
        item = check_object("an entry of added_tokens_decoder", item, error=CheckpointError)
        number = int(index) if _INDEX.fullmatch(index) else index
        _add_token(added, item.get("content"), number, item)
    return added


def read_end_ids(folder: Path) -> tuple[int, ...]:
    """Read the ids at which an answer ends besides `</s>`, in ascending order.

    `eos_token_id` may be a number, a list or null; it stands in `generation_config.json`, in the
    configuration of the language model, or where `save_model` writes it.

    Raises:
        CheckpointError: if one is no id.
    """
    config = read_object(folder / "config.json")
    ours, llm = _find_object(config, "model"), _find_object(config, "llm_config")
    values = [
        owner.get("eos_token_id")
        for owner in (
            read_object(folder / "generation_config.json"),
            config,
            llm,
            _find_object(ours, "llm"),
        )
    ]
    values.append(_find_object(config, "tokens").get("more_ends"))
    found = {one for value in values for one in check_end_ids("eos_token_id", value)}
    return tuple(sorted(found))


def check_end_ids(name: str, value: Any) -> tuple[int, ...]:
    """Return `eos_token_id`, one id, a list of some or null, as ids.

    Raises:
        CheckpointError: with its name, what was expected and what came.
    """
    if not isinstance(value, list | tuple):
        value = [] if value is None else [value]
    ids = check_list(name, value, most=_MAX_ENDS, error=CheckpointError)
    return tuple(check_int(name, one, most=_MAX_ID, error=CheckpointError) for one in ids)


def _find_object(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def read_object(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file; a missing file is an empty one.

    Raises:
        CheckpointError: if it cannot be read.
    """
    if not is_file(path):
        return {}
    return read_json_object(path, CheckpointError, max_bytes=MAX_LIST_BYTES)


def _add_token(
    added: dict[str, AddedToken], token: Any, index: Any, strips: Mapping[str, Any]
) -> None:
    """Note one added token; both strips are on by default."""
    check_int(f"id of the token {shorten(token)}", index, most=_MAX_ID, error=CheckpointError)
    if not isinstance(token, str) or not token:
        raise CheckpointError(
            f"the token {index} must be a text of a letter or more, got {shorten(token)}"
        )
    left, right = (
        take_bool(strips, side, True, error=CheckpointError) for side in ("lstrip", "rstrip")
    )
    added[token] = AddedToken(index, left, right)
