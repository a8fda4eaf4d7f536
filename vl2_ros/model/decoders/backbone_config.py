"""The configuration of a perception decoder's backbone, read from JSON with declared types.

Knows no tensor library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from vl2_ros.documents import (
    check_bool,
    check_int,
    check_kind,
    check_list,
    check_number,
    check_object,
    check_text,
    shorten,
)
from vl2_ros.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_INT_BACKBONE_FIELDS = ("image_size", "patch_size", "num_channels", "embed_dim", "window_size")
_FLOAT_BACKBONE_FIELDS = (
    "mlp_ratio",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "drop_path_rate",
    "layer_norm_eps",
    "initializer_range",
)
_LIST_BACKBONE_FIELDS = ("depths", "num_heads", "hidden_sizes")
_TEXT_BACKBONE_FIELDS = ("hidden_act", "layer_type")
#: Most stages and blocks of a stage, most channels; the largest published ones have a tenth.
_MAX_STAGES, _MAX_BLOCKS, _MAX_WIDTH = 8, 256, 1 << 14
#: Most values of all tables of window places, which a Swin computes when it is made.
_MAX_PLACES = 1 << 22
#: Most of a decoder's counts and widths, and of its layers and token levels.
_MAX_FIELD, _MAX_LAYERS = 1 << 20, 256
#: Fields of a backbone config that shape the network; a released JSON has many more.
_BACKBONE_FIELDS: Mapping[str, frozenset[str]] = {
    "swin": frozenset(
        (*_INT_BACKBONE_FIELDS, *_FLOAT_BACKBONE_FIELDS)
        + ("depths", "num_heads", "qkv_bias", "hidden_act", "use_absolute_embeddings")
    ),
    "resnet": frozenset(
        ("num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act")
        + ("downsample_in_first_stage", "downsample_in_bottleneck")
    ),
}
#: Sizes of the Swin transformers that a released pose decoder names.
_SWIN_SIZES: Mapping[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "swin_T": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_B": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "swin_L": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}


def name_swin(name: str) -> dict[str, Any]:
    """Return the backbone config that a name such as `swin_T_224_1k` stands for.

    Raises:
        ConfigError: if it is another backbone.
    """
    size, side = check_text("backbone", name)[:6], name[7:10]
    if size not in _SWIN_SIZES or side not in ("224", "384"):
        raise ConfigError(
            f"backbone must be one of {sorted(_SWIN_SIZES)} with _224 or _384 behind it, got "
            f"{shorten(name)}; other backbones are not supported"
        )
    width, depths, heads = _SWIN_SIZES[size]
    return {
        "model_type": "swin",
        "image_size": int(side),
        "patch_size": 4,
        "embed_dim": width,
        "depths": list(depths),
        "num_heads": list(heads),
        "window_size": 7 if side == "224" else 12,
        "mlp_ratio": 4.0,
        "qkv_bias": True,
        "drop_path_rate": 0.2,
    }


def find_stride(backbone: Mapping[str, Any], stage: str) -> int:
    """Return how many pixels of the image one pixel of a stage such as `stage2` stands for.

    Args:
        backbone: fields of the backbone's config with `model_type`, as from `clean_backbone`.
        stage: name of the stage.
    """
    doublings = int(stage.removeprefix("stage")) - 1
    if backbone["model_type"] == "swin":
        return int(backbone.get("patch_size", 4)) << doublings
    # A convolution and a pooling of stride 2 come first.
    return 4 << doublings + bool(backbone.get("downsample_in_first_stage", False))


def declared_values(config: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a decoder's config with JSON values brought to the declared types.

    Raises:
        ConfigError: if `backbone_config` is of a kind that is not built here.
    """
    values: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if item.type == "float" and type(value) is int:
            value = float(value)
        elif item.type == "int" and type(value) is float and value.is_integer():
            value = int(value)
        elif item.type == "tuple[str, ...]":
            value = tuple(check_list(item.name, value))
        elif item.name == "backbone_config":
            value = clean_backbone(value)
        most = _MAX_LAYERS if item.name.endswith(("layers", "levels")) else _MAX_FIELD
        check_kind(item.name, value, str(item.type), most=most)
        values[item.name] = value
    return values


def clean_backbone(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the fields that shape the backbone, with the types that transformers requires."""
    values = check_object("backbone_config", values)
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in _BACKBONE_FIELDS:
        raise ConfigError(
            f"backbone model_type must be one of {sorted(_BACKBONE_FIELDS)}, got {shorten(kind)}"
        )
    known = _BACKBONE_FIELDS[kind]
    kept = {name: values[name] for name in sorted(known & set(values)) if values[name] is not None}
    for name in kept:
        kept[name] = _check_backbone_field(name, kept[name])
    # Missing fields are those of the smallest Swin.
    window, blocks = kept.get("window_size", 7), sum(kept.get("depths", (2, 2, 6, 2)))
    if kind == "swin" and window**4 * blocks > _MAX_PLACES:
        raise ConfigError(
            f"window_size {window} is too large for {blocks} blocks; expected at most "
            f"{_MAX_PLACES} window places in all, window_size ** 4 for each block"
        )
    return {"model_type": kind, **kept}


def _check_backbone_field(name: str, value: Any) -> Any:
    what = f"backbone {name}"
    if name in _FLOAT_BACKBONE_FIELDS:
        return check_number(what, value)
    if name in _LIST_BACKBONE_FIELDS:
        most = _MAX_BLOCKS if name == "depths" else _MAX_WIDTH
        stages = check_list(what, value, most=_MAX_STAGES)
        return [check_int(what, one, least=1, most=most) for one in stages]
    if name in _TEXT_BACKBONE_FIELDS:
        return check_text(what, value)
    if name in (*_INT_BACKBONE_FIELDS, "embedding_size"):
        return check_int(what, value, least=1, most=_MAX_WIDTH)
    return check_bool(what, value)
