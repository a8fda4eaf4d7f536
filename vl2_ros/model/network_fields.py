"""Kinds and ranges of the fields that transformers' encoder and language model are made from.

The library accepts any value of a file; senseless ones are refused before it uses them.
Knows no tensor library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from vl2_ros.documents import (
    check_bool,
    check_int,
    check_kind,
    check_list,
    check_number,
    check_object,
    check_text,
)
from vl2_ros.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Most layers; the largest published models have a quarter.
_MAX_LAYERS = 512
_MAX_WIDTH = 1 << 16
#: Most patches along one side of a tile: one position is computed for each patch of a tile.
_MAX_GRID = 256


@dataclass(frozen=True, slots=True)
class _Size:
    """The range of a whole number."""

    least: int
    most: int


_SIZES: Mapping[str, _Size] = {
    "hidden_size": _Size(1, _MAX_WIDTH),
    "intermediate_size": _Size(1, 1 << 20),
    "num_hidden_layers": _Size(1, _MAX_LAYERS),
    "num_attention_heads": _Size(1, _MAX_WIDTH),
    "num_key_value_heads": _Size(1, _MAX_WIDTH),
    "head_dim": _Size(2, _MAX_WIDTH),
    "num_channels": _Size(1, 64),
    "image_size": _Size(1, 1 << 14),
    "patch_size": _Size(1, 1 << 14),
    "vocab_size": _Size(1, 1 << 24),
    "max_position_embeddings": _Size(1, 1 << 28),
    # Older configurations write -1 for "none".
    "pad_token_id": _Size(-1, 1 << 24),
    "bos_token_id": _Size(-1, 1 << 24),
    "eos_token_id": _Size(0, 1 << 24),
    "projection_dim": _Size(1, _MAX_WIDTH),
}
_NUMBERS = (
    *("attention_dropout", "initializer_range", "initializer_factor", "layer_norm_eps"),
    *("rms_norm_eps", "rope_theta"),
)
_SWITCHES = ("tie_word_embeddings", "attention_bias", "mlp_bias")
_OBJECTS = ("rope_scaling", "rope_parameters")
#: Most of each whole number of the network's own.
_SLOTS = 4096


def check_network_fields(part: str, values: Mapping[str, Any]) -> None:
    """Check the fields of one part.

    Args:
        part: `vision` or `llm`, for the message.
        values: name -> value; null is left to the library.

    Raises:
        ConfigError: naming the field, what was expected and what came.
    """
    for name, value in values.items():
        what = f"{part} {name}"
        if value is None and name not in ("hidden_size", "num_hidden_layers"):
            continue
        if name == "eos_token_id" and isinstance(value, list | tuple):
            # Generation ends at any of them.
            for one in check_list(what, value):
                check_int(what, one, least=0, most=_SIZES[name].most)
        elif name in _SIZES:
            check_int(what, value, least=_SIZES[name].least, most=_SIZES[name].most)
        elif name in _NUMBERS:
            check_number(what, value)
        elif name in _SWITCHES:
            check_bool(what, value)
        elif name in _OBJECTS:
            check_object(what, value)
        else:
            check_text(what, value)
    width, heads = values["hidden_size"], values["num_attention_heads"]
    if heads is None or (values.get("head_dim") is None and width % heads):
        raise ConfigError(
            f"{part} hidden_size must be a multiple of num_attention_heads, got {width} and {heads}"
        )
    if part == "vision" and None not in (values.get("image_size"), values.get("patch_size")):
        grid = values["image_size"] // values["patch_size"]
        if not 1 <= grid <= _MAX_GRID:
            raise ConfigError(
                f"vision image_size must be 1..{_MAX_GRID} times patch_size, got "
                f"{values['image_size']} and {values['patch_size']}"
            )


def check_switches(config: DataclassInstance) -> None:
    """Check the plain fields of a configuration by their annotations.

    Raises:
        ConfigError: naming the field, what was expected and what came.
    """
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name == "vision_output_layer":
            check_int(item.name, value, least=-_MAX_LAYERS, most=_MAX_LAYERS)
        else:
            check_kind(item.name, value, str(item.type), most=_SLOTS)
