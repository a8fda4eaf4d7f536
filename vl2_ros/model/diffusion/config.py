"""The configuration of image generation or editing, as one frozen value.

Knows no tensor library. A release has little of it in `sd_config` and `ip2p_config`; the networks'
own sizes stand in the local Stable Diffusion folder that those name (docs/spec/core.md, section 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from vl2_ros.documents import (
    check_int,
    check_kind,
    check_list,
    check_number,
    check_object,
    check_text,
    shorten,
)
from vl2_ros.errors import ConfigError

#: Heads of the mapper's attention, and its feed-forward width in widths; no release has them.
MAPPER_HEADS = 8
MAPPER_EXPANSION = 4
#: States that stand in for an encoded text, as many as Stable Diffusion's text encoder gives.
NUM_CONDITIONS = 77
#: What the autoencoder of Stable Diffusion 1 divides its latents' spread out by.
DEFAULT_SCALING = 0.18215
#: Generation starts from latents alone; editing reads the source image's latents beside them.
KINDS: Mapping[str, int] = {"generation": 1, "editing": 2}

#: Parts of a Stable Diffusion folder -> fields of the configuration.
COMPONENTS: Mapping[str, str] = {
    "unet": "denoiser",
    "vae": "vae",
    "text_encoder": "text_encoder",
    "scheduler": "scheduler",
}
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "denoiser": ("in_channels", "out_channels", "cross_attention_dim", "block_out_channels"),
    "vae": ("latent_channels", "block_out_channels"),
    "text_encoder": ("vocab_size", "hidden_size", "max_position_embeddings"),
    "scheduler": ("_class_name", "num_train_timesteps"),
}
_MAX_WIDTH, _MAX_LAYERS, _MAX_STAGES = 1 << 16, 256, 8
#: Sizes of the networks' layers -> most of each.
_COUNTS: Mapping[str, int] = {
    "in_channels": _MAX_WIDTH,
    "out_channels": _MAX_WIDTH,
    "latent_channels": _MAX_WIDTH,
    "cross_attention_dim": _MAX_WIDTH,
    "layers_per_block": _MAX_LAYERS,
    "transformer_layers_per_block": _MAX_LAYERS,
    "attention_head_dim": _MAX_WIDTH,
    "norm_num_groups": _MAX_WIDTH,
    "sample_size": 1 << 14,
    "vocab_size": 1 << 24,
    "hidden_size": _MAX_WIDTH,
    "intermediate_size": 1 << 20,
    "num_hidden_layers": _MAX_LAYERS,
    "num_attention_heads": _MAX_WIDTH,
    "max_position_embeddings": 1 << 20,
    "projection_dim": _MAX_WIDTH,
}
#: Those that some networks have one of for each block.
_LISTED = ("attention_head_dim", "layers_per_block", "transformer_layers_per_block")
#: What shapes a text encoder; its file has all defaults of its library beside them.
_TEXT_KEYS = frozenset(
    {
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
        *("num_attention_heads", "max_position_embeddings", "hidden_act", "layer_norm_eps"),
        *("attention_dropout", "projection_dim", "bos_token_id", "eos_token_id", "pad_token_id"),
    }
)
_RENAMED: Mapping[str, str] = {
    "llm_hidden_size": "llm_width",
    "num_embed_tokens": "num_slots",
    "sd_hidden_size": "text_width",
    "num_queries": "num_conditions",
    "num_encoder_layers": "encoder_layers",
    "num_decoder_layers": "decoder_layers",
    "cfg_drop_rate": "drop_rate",
}


@dataclass(frozen=True, slots=True)
class DiffusionConfig:
    """Sizes and settings of one mapper and the diffusion networks behind it.

    Attributes:
        kind: `generation` or `editing`.
        denoiser: fields of diffusers' `UNet2DConditionModel`.
        vae: fields of diffusers' `AutoencoderKL`.
        text_encoder: fields of transformers' `CLIPTextConfig`.
        scheduler: fields of the folder's scheduler, its `_class_name` among them.
        unconditional_ids: ids of the empty text, as many as there are conditions.
        llm_width: channels C of the super-link states.
        num_slots: super-link states Kg of one image.
        text_width: channels D of the conditions.
        num_conditions: states that stand in for an encoded text.
        encoder_layers: of the mapper.
        decoder_layers: of the mapper.
        drop_rate: rate r of the guidance dropout in training.
    """

    kind: str
    denoiser: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    unconditional_ids: tuple[int, ...]
    llm_width: int = 4096
    num_slots: int = 64
    text_width: int = 768
    num_conditions: int = NUM_CONDITIONS
    encoder_layers: int = 1
    decoder_layers: int = 1
    drop_rate: float = 0.1

    def __post_init__(self) -> None:
        """Bring JSON values to their types and check the combination."""
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise ConfigError(f"kind must be one of {', '.join(KINDS)}, got {shorten(self.kind)}")
        ids = check_list("unconditional_ids", self.unconditional_ids)
        object.__setattr__(self, "unconditional_ids", tuple(ids))
        for item in fields(self):
            value = getattr(self, item.name)
            check_kind(item.name, value, str(item.type))
            if item.type == "int":
                most = _MAX_LAYERS if item.name.endswith("layers") else _MAX_WIDTH
                check_int(item.name, value, least=1, most=most)
        for name in COMPONENTS.values():
            _check_component(name, getattr(self, name))
        if not 0 <= self.drop_rate <= 1 / 3:
            raise ConfigError(f"drop_rate must lie in 0..1/3, got {self.drop_rate}")
        self._check_widths()

    def _check_widths(self) -> None:
        channels = self.vae["latent_channels"] * KINDS[self.kind]
        for name, found, wanted in (
            ("denoiser in_channels", self.denoiser["in_channels"], channels),
            ("denoiser out_channels", self.denoiser["out_channels"], self.vae["latent_channels"]),
            ("denoiser cross_attention_dim", self.denoiser["cross_attention_dim"], self.text_width),
            ("text_encoder hidden_size", self.text_encoder["hidden_size"], self.text_width),
            ("number of unconditional_ids", len(self.unconditional_ids), self.num_conditions),
        ):
            if found != wanted:
                raise ConfigError(f"{name} must be {wanted} for {self.kind}, got {found}")
        if self.text_width % MAPPER_HEADS:
            raise ConfigError(
                f"text_width must be a multiple of {MAPPER_HEADS}, got {self.text_width}"
            )
        positions = self.text_encoder["max_position_embeddings"]
        if positions < self.num_conditions:
            raise ConfigError(
                f"text_encoder max_position_embeddings must be at least {self.num_conditions}, "
                f"got {positions}"
            )
        highest = self.text_encoder["vocab_size"] - 1
        if not all(0 <= token_id <= highest for token_id in self.unconditional_ids):
            raise ConfigError(
                f"unconditional_ids must lie in 0..{highest}; the tokenizer is of another model"
            )

    @property
    def scaling_factor(self) -> float:
        """Factor of latents before noise is added."""
        return float(self.vae.get("scaling_factor") or DEFAULT_SCALING)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.vae["latent_channels"])

    @property
    def pixels_per_latent(self) -> int:
        """Side of the square of pixels that one latent stands for; 8 in a release."""
        return int(2 ** (len(self.vae["block_out_channels"]) - 1))

    @property
    def default_side(self) -> int:
        """Side of the images that the denoiser was trained on, in pixels; 512 in a release."""
        return int(self.denoiser.get("sample_size") or 64) * self.pixels_per_latent

    @classmethod
    def from_release(
        cls,
        release: Mapping[str, Any],
        components: Mapping[str, Mapping[str, Any]],
        unconditional_ids: tuple[int, ...],
        *,
        kind: str,
    ) -> DiffusionConfig:
        """Read `sd_config` or `ip2p_config` of a released config.json.

        Args:
            release: the object as parsed.
            components: configs of `unet`, `vae`, `text_encoder` and `scheduler` as parsed.
            unconditional_ids: what the folder's tokenizer makes of the empty text.
            kind: one of `KINDS`.

        Raises:
            ConfigError: if the parts do not fit each other.
        """
        values: dict[str, Any] = {
            ours: release[name] for name, ours in _RENAMED.items() if name in release
        }
        values = {name: value for name, value in values.items() if value is not None}
        components = {name: check_object(name, components[name]) for name in COMPONENTS}
        if "drop_rate" not in values and kind == "editing":
            values["drop_rate"] = 0.05
        values |= {field: _clean(components[name], field) for name, field in COMPONENTS.items()}
        return cls(kind=kind, unconditional_ids=unconditional_ids, **values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values |= {name: dict(values[name]) for name in COMPONENTS.values()}
        values["unconditional_ids"] = list(self.unconditional_ids)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DiffusionConfig:
        """Read the output of `to_dict`.

        Raises:
            ConfigError: if a field is unknown or missing.
        """
        values = check_object("the configuration of image generation", values)
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        missing = sorted({"kind", "unconditional_ids", *COMPONENTS.values()} - set(values))
        if unknown or missing:
            raise ConfigError(
                f"diffusion config lacks {missing} and has unknown fields {shorten(unknown)}"
            )
        return cls(**values)

    @classmethod
    def tiny(cls, kind: str = "generation") -> DiffusionConfig:
        """Make the smallest decoder of the released form, for tests; C is 64, Kg 6."""
        has_source = kind == "editing"
        return cls(
            kind=kind,
            denoiser=_tiny_denoiser(8 if has_source else 4),
            vae=_tiny_vae(),
            text_encoder={
                "vocab_size": 40,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "max_position_embeddings": 77,
                "hidden_act": "quick_gelu",
                "bos_token_id": 38,
                "eos_token_id": 39,
            },
            scheduler={
                "_class_name": "EulerAncestralDiscreteScheduler" if has_source else "PNDMScheduler",
                "num_train_timesteps": 1000,
                "beta_start": 0.00085,
                "beta_end": 0.012,
                "beta_schedule": "scaled_linear",
                "steps_offset": 1,
                **({} if has_source else {"skip_prk_steps": True, "set_alpha_to_one": False}),
            },
            unconditional_ids=(38, *[39] * 76),
            llm_width=64,
            num_slots=6,
            text_width=32,
            drop_rate=0.05 if has_source else 0.1,
        )


def _check_component(name: str, values: Mapping[str, Any]) -> None:
    """Check the fields of a component that this file or the size of its network depends on."""
    missing = [key for key in _REQUIRED[name] if values.get(key) is None]
    if missing:
        raise ConfigError(f"{name} config lacks {missing}, has {shorten(sorted(values))}")
    for key, value in values.items():
        what = f"{name} {key}"
        if value is None or name == "scheduler":
            continue
        if key == "block_out_channels":
            channels = check_list(what, value, most=_MAX_STAGES)
            for one in channels or (None,):
                check_int(what, one, least=1, most=_MAX_WIDTH)
        elif key in _COUNTS:
            for one in value if isinstance(value, list) and key in _LISTED else (value,):
                check_int(what, one, least=1, most=_COUNTS[key])
        elif key == "scaling_factor":
            check_number(what, value)
    if name == "scheduler":
        check_text("scheduler _class_name", values["_class_name"])
        check_int("scheduler num_train_timesteps", values["num_train_timesteps"], most=1_000_000)


def _clean(values: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Remove the origin of a config, and a dtype that it was once loaded with."""
    if field == "text_encoder":
        return {name: values[name] for name in sorted(_TEXT_KEYS & set(values))}
    kept = {name: value for name, value in values.items() if not name.startswith("_")}
    if field == "scheduler" and "_class_name" in values:
        kept["_class_name"] = values["_class_name"]
    return kept


def _tiny_denoiser(in_channels: int) -> dict[str, Any]:
    return {
        "sample_size": 8,
        "in_channels": in_channels,
        "out_channels": 4,
        "block_out_channels": [8, 8, 16, 16],
        "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
        "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }


def _tiny_vae() -> dict[str, Any]:
    return {
        "sample_size": 64,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": [4, 4, 8, 8],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "scaling_factor": DEFAULT_SCALING,
    }
