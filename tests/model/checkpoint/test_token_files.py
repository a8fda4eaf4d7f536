"""Every reader of a checkpoint folder finds the same special tokens, and every end of an answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vl2_ros.errors import CheckpointError
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.checkpoint.folder import convert_checkpoint
from vl2_ros.model.language.token_files import read_added_tokens, read_end_ids
from vl2_ros.model.language.tokens import ADDED_TOKENS
from vl2_ros.processing.language.tokenizer import load_tokenizer

pytestmark = pytest.mark.golden


@pytest.fixture
def release(golden_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden_dir / "release_tiny" / "safetensors", tmp_path / "release"))


def edit(folder: Path, file: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / file
    values = json.loads(path.read_text()) if path.exists() else {}
    change(values)
    path.write_text(json.dumps(values))


def drop_decoder(folder: Path) -> None:
    edit(folder, "tokenizer_config.json", lambda values: values.pop("added_tokens_decoder"))


def null_decoder(folder: Path) -> None:
    edit(folder, "tokenizer_config.json", lambda values: values.update(added_tokens_decoder=None))


def keep_decoder_alone(folder: Path) -> None:
    (folder / "added_tokens.json").unlink()


def split_in_halves(folder: Path) -> None:
    def keep_half(values: dict[str, Any]) -> None:
        for token in ADDED_TOKENS[::2]:
            del values[token]

    edit(folder, "added_tokens.json", keep_half)


def drop_both(folder: Path) -> None:
    drop_decoder(folder)
    keep_decoder_alone(folder)


@pytest.mark.parametrize(
    "change", [drop_decoder, null_decoder, keep_decoder_alone, split_in_halves]
)
def test_ids_are_found_in_either_file(release: Path, change: Callable[[Path], None]) -> None:
    right = read_checkpoint_config(release).tokens
    text = "a mug[DET], </reg> and<im_patch> more"
    ids = load_tokenizer(release).encode(text)
    change(release)
    assert read_checkpoint_config(release).tokens == right
    assert load_tokenizer(release).tokens == right
    assert load_tokenizer(release).encode(text) == ids


def test_a_folder_without_ids_is_refused_by_both_readers(release: Path) -> None:
    drop_both(release)
    with pytest.raises(CheckpointError, match="lists no added tokens in added_tokens.json, "):
        read_checkpoint_config(release)
    with pytest.raises(CheckpointError, match="has no '<im_patch>'"):
        load_tokenizer(release)


@pytest.mark.parametrize(
    ("setting", "same_as"), [({"legacy": None}, {}), ({"legacy": None}, {"legacy": True})]
)
def test_null_is_the_default_of_legacy(
    release: Path, setting: dict[str, Any], same_as: dict[str, Any]
) -> None:
    def encode(settings: dict[str, Any]) -> list[int]:
        edit(release, "tokenizer_config.json", lambda values: values.pop("legacy", None))
        edit(release, "tokenizer_config.json", lambda values: values.update(settings))
        return load_tokenizer(release).encode("[EMB4], in short</s>in short")

    assert encode(setting) == encode(same_as) != encode({"legacy": False})


def test_null_strips_are_the_default(release: Path) -> None:
    right = read_added_tokens(release)

    def say_nothing(values: dict[str, Any]) -> None:
        for entry in values["added_tokens_decoder"].values():
            entry |= {"lstrip": None, "rstrip": None}

    edit(release, "tokenizer_config.json", say_nothing)
    assert read_added_tokens(release) == right
    edit(release, "tokenizer_config.json", lambda v: v.update(legacy="no"))
    with pytest.raises(CheckpointError, match="legacy must be true or false"):
        load_tokenizer(release)


def write_llm(folder: Path, value: Any) -> None:
    edit(folder, "config.json", lambda values: values["llm_config"].update(eos_token_id=value))


def write_generation(folder: Path, value: Any) -> None:
    edit(folder, "generation_config.json", lambda values: values.update(eos_token_id=value))


@pytest.mark.parametrize("write", [write_llm, write_generation])
@pytest.mark.parametrize(
    ("value", "ends"),
    [(2, (2,)), (None, (2,)), ([2], (2,)), ([2, 9], (2, 9)), ([9, 2, 5], (2, 5, 9)), (7, (2, 7))],
)
def test_an_answer_ends_at_every_id_that_is_named(
    release: Path, write: Callable[[Path, Any], None], value: Any, ends: tuple[int, ...]
) -> None:
    write(release, value)
    tokens = load_tokenizer(release).tokens
    assert tokens.ends == ends
    assert read_checkpoint_config(release).tokens == tokens


@pytest.mark.parametrize("write", [write_llm, write_generation])
def test_a_converted_checkpoint_keeps_its_ends(
    release: Path, tmp_path: Path, write: Callable[[Path, Any], None]
) -> None:
    write(release, [2, 5])
    convert_checkpoint(release, tmp_path / "converted")
    tokens = load_tokenizer(tmp_path / "converted").tokens
    assert tokens.ends == (2, 5)
    assert read_checkpoint_config(tmp_path / "converted").tokens == tokens


@pytest.mark.parametrize("value", ["</s>", [True], -1, [2, None], [3] * 65, {"id": 2}, 2.0])
def test_what_is_no_id_is_refused(release: Path, value: Any) -> None:
    write_generation(release, value)
    with pytest.raises(CheckpointError, match="eos_token_id must be"):
        read_end_ids(release)
    with pytest.raises(CheckpointError, match="eos_token_id must be"):
        load_tokenizer(release)
