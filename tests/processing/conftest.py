from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from vl2_ros.model.language.tokens import ADDED_TOKENS
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer


def load_golden(folder: Path, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return load_file(folder / f"{name}.safetensors"), content


@pytest.fixture(scope="session")
def golden(golden_dir: Path) -> Any:
    return lambda name: load_golden(golden_dir, name)


def write_llama_folder(folder: Path, model: bytes, base: int, *, legacy: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model)
    (folder / "tokenizer_config.json").write_text(json.dumps({"legacy": legacy}))
    ids = {token: base + index for index, token in enumerate(ADDED_TOKENS)}
    (folder / "added_tokens.json").write_text(json.dumps(ids))
    return folder


@pytest.fixture(scope="session")
def llama_tokenizers(
    golden_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Tokenizer]:
    """The tokenizer of the prompt reference, by the name of its legacy setting."""
    tensors, content = load_golden(golden_dir, "core_prompt")
    return {
        name: load_tokenizer(
            write_llama_folder(
                tmp_path_factory.mktemp(name),
                tensors["spm_model"].tobytes(),
                content["vocab_base"],
                legacy=name == "legacy",
            )
        )
        for name in ("legacy", "new")
    }
