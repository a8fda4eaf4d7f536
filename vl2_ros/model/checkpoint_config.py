"""The `config.json` of a checkpoint folder into a model configuration and token ids, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2_ros.errors import CheckpointError
from vl2_ros.model.checkpoint_shards import read_json_object
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.tokens import TokenIds

CONFIG_FILE = "config.json"
RELEASE_TYPE = "visionllmv2"
OWN_TYPE = "vl2_ros"


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """What `config.json` says.

    Attributes:
        is_release: whether tensors bear the names of the released model, else ours.
        model: sizes and switches of the network.
        tokens: ids of the special tokens in the checkpoint's vocabulary.
    """

    is_release: bool
    model: ModelConfig
    tokens: TokenIds


def read_checkpoint_config(folder: Path) -> CheckpointConfig:
    """Read the configuration of a released checkpoint or of one of ours.

    Raises:
        CheckpointError: if the folder is none, or holds another model or a broken `config.json`.
        ConfigError: if the model is a variant that is not supported.
    """
    if not folder.exists():
        raise CheckpointError(f"{folder} does not exist; expected a checkpoint folder")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; expected the folder with {CONFIG_FILE} in it")
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {CONFIG_FILE}; expected a released VisionLLM v2 folder or one "
            "saved by vl2_ros"
        )
    values = read_json_object(path)
    model_type = values.get("model_type")
    if model_type == RELEASE_TYPE:
        model = ModelConfig.from_release(values)
        return CheckpointConfig(True, model, _find_token_ids(folder, model))
    if model_type == OWN_TYPE:
        try:
            model = ModelConfig.from_dict(values["model"])
            return CheckpointConfig(False, model, _tokens_from_dict(values["tokens"]))
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} is incomplete ({type(error).__name__}: {error}); expected what "
                "save_model writes"
            ) from error
    raise CheckpointError(
        f"{path} has model_type {model_type!r}; expected {RELEASE_TYPE!r} or {OWN_TYPE!r}"
    )


def write_checkpoint_config(folder: Path, model: ModelConfig, tokens: TokenIds) -> None:
    """Write `config.json` of our own layout, whole or not at all."""
    values = {"model_type": OWN_TYPE, "model": model.to_dict(), "tokens": _tokens_to_dict(tokens)}
    part = folder / (CONFIG_FILE + ".part")
    part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    part.replace(folder / CONFIG_FILE)


def _tokens_to_dict(tokens: TokenIds) -> dict[str, Any]:
    return {
        "image_patch": tokens.image_patch,
        "region": tokens.region,
        "routing": {token: token_id for token_id, token in tokens.routing.items()},
        "slots": list(tokens.slots),
        "eos": tokens.eos,
        "pad": tokens.pad,
    }


def _tokens_from_dict(values: Mapping[str, Any]) -> TokenIds:
    return TokenIds(
        image_patch=int(values["image_patch"]),
        region=int(values["region"]),
        routing={int(token_id): token for token, token_id in values["routing"].items()},
        slots=tuple(int(token_id) for token_id in values["slots"]),
        eos=int(values["eos"]),
        pad=int(values["pad"]),
    )


def _find_token_ids(folder: Path, model: ModelConfig) -> TokenIds:
    """Read the ids that the tokenizer files of a released folder give to the added tokens."""
    if (folder / "added_tokens.json").is_file():
        table: Mapping[str, Any] = read_json_object(folder / "added_tokens.json")
    elif (folder / "tokenizer.json").is_file():
        added = read_json_object(folder / "tokenizer.json").get("added_tokens") or []
        table = {entry["content"]: entry["id"] for entry in added}
    else:
        raise CheckpointError(
            f"{folder} has neither added_tokens.json nor tokenizer.json; expected the tokenizer "
            "files saved with the checkpoint"
        )
    # The pad is <unk>, id 0, whatever [PAD] says (spec core, section 2).
    return TokenIds.from_lookup(
        table.get, eos=model.llm.get("eos_token_id", 2), pad=model.llm.get("pad_token_id", 0)
    )
