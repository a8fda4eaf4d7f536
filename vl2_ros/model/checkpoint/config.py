"""Read the `config.json` of a checkpoint into a model configuration and token ids; write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vl2_ros.documents import (
    check_int,
    check_list,
    is_file,
    is_folder,
    read_json_object,
    shorten,
    shorten_path,
    take_int,
)
from vl2_ros.errors import CheckpointError, ConfigError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.diffusion.config import NUM_CONDITIONS, DiffusionConfig
from vl2_ros.model.diffusion.folder import COMPANIONS, DiffusionFolder, find_diffusion_folder
from vl2_ros.model.language.token_files import (
    check_end_ids,
    read_added_tokens,
    read_end_ids,
    read_object,
)
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.parts import IMAGE_PARTS, PARTS, Part

CONFIG_FILE = "config.json"
#: Most states that stand in for an encoded text.
_MAX_CONDITIONS = 4096
RELEASE_TYPE = "visionllmv2"
OWN_TYPE = "vl2_ros"
#: Id of </s> in Llama's vocabulary.
_LLAMA_END = 2


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """The contents of `config.json`.

    Attributes:
        is_release: whether tensors bear the names of the released model, else ours.
        model: sizes and switches of the network.
        tokens: ids of the special tokens in the checkpoint's vocabulary.
        folders: image generation or editing -> its tokenizer, scheduler and safety checker.
        unavailable: part that the checkpoint has but that cannot be built -> why, and what to do.
    """

    is_release: bool
    model: ModelConfig
    tokens: TokenIds
    folders: Mapping[str, DiffusionFolder] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint_config(folder: Path) -> CheckpointConfig:
    """Read the configuration of a released checkpoint or of one of ours.

    Raises:
        CheckpointError: if the folder is none, or has another model or a broken `config.json`.
        ConfigError: if the model is a variant that is not supported.
    """
    if is_file(folder):
        raise CheckpointError(f"{folder} is a file; expected the folder with {CONFIG_FILE} in it")
    if not is_folder(folder):
        raise CheckpointError(
            f"{shorten_path(folder)} does not exist; expected a checkpoint folder"
        )
    path = folder / CONFIG_FILE
    if not is_file(path):
        raise CheckpointError(
            f"{folder} has no {CONFIG_FILE}; expected a released VisionLLM v2 folder or one "
            "saved by vl2_ros"
        )
    values = read_json_object(path, CheckpointError)
    model_type = values.get("model_type")
    if model_type == RELEASE_TYPE:
        model = ModelConfig.from_release(values)
        bare = CheckpointConfig(True, model, _find_token_ids(folder, model))
        return _without_missing_library(_add_image_parts(bare, folder, values))
    if model_type == OWN_TYPE:
        for name in ("model", "tokens"):
            if not isinstance(values.get(name), Mapping):
                raise CheckpointError(
                    f"{path} is incomplete ({name} is {shorten(values.get(name))}); expected what "
                    "save_model writes"
                )
        model = ModelConfig.from_dict(values["model"])
        tokens = _tokens_from_dict(values["tokens"])
        folders = {
            name: DiffusionFolder(folder / COMPANIONS / name)
            for name in IMAGE_PARTS
            if getattr(model, name) is not None
        }
        return _without_missing_library(CheckpointConfig(False, model, tokens, folders))
    raise CheckpointError(
        f"{path} has model_type {shorten(model_type)}; expected {RELEASE_TYPE!r} or {OWN_TYPE!r}"
    )


def _add_image_parts(
    config: CheckpointConfig, checkpoint: Path, values: Mapping[str, Any]
) -> CheckpointConfig:
    """Add image generation and editing, where their folders are on this machine.

    One that is missing or broken affects no other part: it is noted with the reason, for the error
    when the part is requested.
    """
    model = config.model
    folders: dict[str, DiffusionFolder] = {}
    unavailable: dict[str, str] = {}
    for name, part in IMAGE_PARTS.items():
        if not values.get(part.release_switch):
            continue
        try:
            found, sizes = _read_image_part(checkpoint, values.get(part.release_config), part)
            added: dict[str, Any] = {part.config_field: sizes}
            model = replace(model, **added)
            folders[name] = found
        except (CheckpointError, ConfigError) as error:
            unavailable[name] = str(error)
    return replace(config, model=model, folders=folders, unavailable=unavailable)


def _without_missing_library(config: CheckpointConfig) -> CheckpointConfig:
    """Note parts as unavailable on a machine without the library that they need."""
    missing = {
        name: f"{PARTS[name].library} is not installed; install vl2_ros[{PARTS[name].extra}]"
        for name in config.model.parts
        if PARTS[name].library and find_spec(PARTS[name].library) is None
    }
    if not missing:
        return config
    return replace(
        config,
        model=config.model.keep_parts(set(config.model.parts) - set(missing)),
        folders={name: one for name, one in config.folders.items() if name not in missing},
        unavailable={**config.unavailable, **missing},
    )


def _read_image_part(
    checkpoint: Path, release: Any, part: Part
) -> tuple[DiffusionFolder, DiffusionConfig]:
    if not isinstance(release, Mapping) or not isinstance(release.get("sd_model_id"), str):
        raise CheckpointError(
            f"config.json switches {part.name} on, but has no {part.release_config} with "
            "sd_model_id; expected the config.json of a complete release"
        )
    folder = find_diffusion_folder(checkpoint, release["sd_model_id"])
    length = take_int(release, "num_queries", NUM_CONDITIONS, least=2, most=_MAX_CONDITIONS)
    config = DiffusionConfig.from_release(
        release,
        folder.read_components(),
        folder.read_unconditional_ids(length),
        kind=part.image_kind,
    )
    return folder, config


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
    } | ({"more_ends": list(tokens.more_ends)} if tokens.more_ends else {})


def _tokens_from_dict(values: Mapping[str, Any]) -> TokenIds:
    routing, slots = values.get("routing"), check_list("tokens slots", values.get("slots"))
    if not isinstance(routing, Mapping):
        raise ConfigError(f"tokens routing must be an object, got {shorten(routing)}")
    return TokenIds(
        image_patch=take_int(values, "image_patch"),
        region=take_int(values, "region"),
        routing={check_int(f"token {name}", one): name for name, one in routing.items()},
        slots=tuple(check_int("a slot's id", one) for one in slots),
        eos=take_int(values, "eos"),
        pad=take_int(values, "pad", least=-1),
        more_ends=check_end_ids("tokens more_ends", values.get("more_ends")),
    )


def _find_token_ids(folder: Path, model: ModelConfig) -> TokenIds:
    """Read the ids that the tokenizer files of a released folder give to the added tokens."""
    table: dict[str, Any] = {token: item.index for token, item in read_added_tokens(folder).items()}
    if not table and is_file(folder / "tokenizer.json"):
        table = _read_json_tokens(folder / "tokenizer.json")
    if not table:
        raise CheckpointError(
            f"{folder} lists no added tokens in added_tokens.json, tokenizer_config.json or "
            "tokenizer.json; expected the tokenizer files saved with the checkpoint"
        )
    ends = check_end_ids("eos_token_id", model.llm.get("eos_token_id")) or (_LLAMA_END,)
    end = _LLAMA_END if _LLAMA_END in ends else ends[0]
    # The pad is <unk>, id 0, whatever [PAD] is (docs/spec/core.md, section 2).
    return TokenIds.from_lookup(
        table.get,
        eos=table.get("</s>", end),
        pad=model.llm.get("pad_token_id", 0),
        more_ends=read_end_ids(folder),
    )


def _read_json_tokens(path: Path) -> dict[str, Any]:
    added = read_object(path).get("added_tokens") or []
    try:
        return {str(entry["content"]): entry["id"] for entry in added}
    except (LookupError, TypeError) as error:
        raise CheckpointError(
            f"{path} lists its added tokens wrongly; expected content and id of each, got "
            f"{shorten(added)}"
        ) from error
