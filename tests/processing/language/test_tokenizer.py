from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vl2_ros.errors import CheckpointError
from vl2_ros.model.language.tokens import ADDED_TOKENS
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer, neutralise


@pytest.mark.golden
@pytest.mark.parametrize("folder", ["bin", "safetensors"])
def test_special_ids_are_read_from_the_folder(golden_dir: Path, folder: str) -> None:
    root = golden_dir / "release_tiny"
    wanted = json.loads((root / "release.json").read_text(encoding="utf-8"))["token_ids"]
    tokenizer = load_tokenizer(root / folder)
    tokens = tokenizer.tokens
    assert tokens.image_patch == wanted["<im_patch>"]
    assert tokens.region == wanted["<region>"]
    assert {token: index for index, token in tokens.routing.items()} == {
        token: wanted[token] for token in tokens.routing.values()
    }
    assert tokens.slots[:2] == (wanted["[EMB]"], wanted["[EMB2]"])
    assert (tokens.eos, tokens.pad, tokenizer.bos) == tuple(
        wanted[token] for token in ("</s>", "<unk>", "<s>")
    )
    assert tokenizer.vocab_size == max(wanted.values()) + 1


@pytest.mark.golden
def test_pieces_of_the_reference_come_back(golden: Any, golden_dir: Path) -> None:
    tensors, content = golden("release_tiny/chat")
    tokenizer = load_tokenizer(golden_dir / "release_tiny" / "bin")
    ids = tensors["generated_ids"][0]
    assert tokenizer.decode(ids) == content["decoded_skip_special"]
    kept = tokenizer.decode(ids, keep_special=True)
    assert kept.replace("[DET]", "") == content["decoded_skip_special"]
    assert kept.count("[DET]") == content["decoded"].count("[DET]")


def test_added_tokens_swallow_spaces_on_both_sides(llama_tokenizers: dict[str, Tokenizer]) -> None:
    for tokenizer in llama_tokenizers.values():
        tight = tokenizer.encode("cat[DET]here</reg>in")
        assert tokenizer.encode("cat \n [DET]  here </reg>\tin") == tight


def test_only_legacy_marks_a_word_start_after_added_tokens(
    llama_tokenizers: dict[str, Tokenizer],
) -> None:
    comma = llama_tokenizers["new"].encode("x,")[-1]
    assert llama_tokenizers["new"].encode("[EMB4],")[1:] == [comma]
    assert len(llama_tokenizers["legacy"].encode("[EMB4],")[1:]) == 2


@settings(deadline=None, max_examples=50)
@given(text=st.text(max_size=40))
def test_any_text_comes_back_from_the_embedded_kind(json_tokenizer: Tokenizer, text: str) -> None:
    clean = neutralise(text)
    assert json_tokenizer.decode(json_tokenizer.encode(clean)) == clean


def test_parts_join_to_the_ids_of_the_whole(
    json_tokenizer: Tokenizer, llama_tokenizers: dict[str, Tokenizer]
) -> None:
    parts = [
        "\nWhere is the café? ASSISTANT:",
        " I found: mug[DET].</s>",
        "USER: 猫 ",
        "",
        " x",
    ]
    for tokenizer in (json_tokenizer, *llama_tokenizers.values()):
        encoded = tokenizer.encode_parts(parts)
        assert [len(ids) > 0 for ids in encoded] == [True, True, True, False, True]
        assert tokenizer.decode(encoded[1]).replace(" .", ".") == " I found: mug."
    whole = json_tokenizer.encode("".join(parts))
    assert sum(json_tokenizer.encode_parts(parts), []) == whole


@pytest.mark.parametrize("token", ["[DET]", "<image>", "</s>", "[EMB8]", "<unk>"])
def test_neutralised_text_has_no_special_token(token: str) -> None:
    text = neutralise(f"a{token}b [D{token}ET] {token}{token}")
    assert not any(special in text for special in (*ADDED_TOKENS, "<s>", "</s>", "<unk>"))
    assert "".join(text.split()) == f"a{token}b[D{token}ET]{token}{token}"
    assert neutralise("a [box] <b>") == "a [box] <b>"


def test_untrusted_text_is_neutralised(json_tokenizer: Tokenizer) -> None:
    assert json_tokenizer.encode("mug[DET]") != json_tokenizer.encode("mug[DET]", trusted=False)
    plain = json_tokenizer.encode("mug[ DET ]")
    assert json_tokenizer.encode("mug[DET]", trusted=False) == plain


def test_folder_without_tokenizer_raises(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer.json or tokenizer.model in .*neither"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00garbage"])
def test_damaged_tokenizer_raises(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"cannot read .*{name}"):
        load_tokenizer(tmp_path)


@pytest.mark.golden
def test_tokenizer_of_another_model_raises(golden: Any, tmp_path: Path) -> None:
    tensors, _ = golden("core_prompt")
    (tmp_path / "tokenizer.model").write_bytes(tensors["spm_model"].tobytes())
    with pytest.raises(CheckpointError, match="has no '<im_patch>'.*added tokens"):
        load_tokenizer(tmp_path)


def test_processing_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, vl2_ros.processing.images.preprocess, vl2_ros.processing.images.regions, "
        "vl2_ros.processing.language.prompt, vl2_ros.processing.language.answer, "
        "vl2_ros.processing.results.detection\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'sentencepiece'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
