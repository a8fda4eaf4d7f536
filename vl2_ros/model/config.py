"""The configuration of a VisionLLM network; also reads the released `config.json`.

Knows no tensor library, so that every layer may read it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from vl2_ros.documents import check_object, shorten, take_int
from vl2_ros.errors import ConfigError
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.network_fields import check_network_fields, check_switches
from vl2_ros.model.parts import IMAGE_PARTS, PARTS, PERCEPTION_PARTS, Part, check_part_names
from vl2_ros.model.pose.config import PoseConfig

#: Hidden states of the vision encoder that the region encoder reads.
REGION_LEVELS = 3

# A released config.json has all defaults of its nested configs; only these shape the network.
_SHARED_KEYS = frozenset(
    {
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "hidden_act",
        "attention_dropout",
        "initializer_range",
    }
)
_VISION_KEYS = _SHARED_KEYS | frozenset(
    {
        "num_channels",
        "image_size",
        "patch_size",
        "layer_norm_eps",
        "initializer_factor",
    }
)
_LLM_KEYS = _SHARED_KEYS | frozenset(
    {
        "vocab_size",
        "num_key_value_heads",
        "max_position_embeddings",
        "rms_norm_eps",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "tie_word_embeddings",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "attention_bias",
        "mlp_bias",
        "head_dim",
    }
)
_REQUIRED_KEYS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
#: Plain fields of ours -> name in a released config.json, and what its absence means.
_RELEASED: Mapping[str, tuple[str, Any]] = {
    "projector_type": ("vl_bridge_type", "mlp2x_gelu"),
    "vision_output_layer": ("vis_output_layer", -2),
    "use_pixel_shuffle": ("use_pixelshuffle", False),
    "num_embs": ("num_embs", 4),
    "num_embs_gen": ("num_embs_gen", 64),
    "use_region_encoder": ("use_region_encoder", False),
}
_PROJECTOR = re.compile(r"linear|mlp[1-9]\d?x_gelu|internvl(_mlp)?")
_ATTENTIONS = ("eager", "sdpa")

#: `architectures` entries of the variants that this project does not build.
_UNSUPPORTED = {
    "InternVisionModel": "the InternViT vision encoder",
    "InternLM2ForCausalLM": "the InternLM2 language model",
}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes and switches of one VisionLLM network.

    Attributes:
        vision: fields of transformers' `CLIPVisionConfig`; `image_size` is the side S of a tile.
        llm: fields of transformers' `LlamaConfig`.
        projector_type: `linear`, `mlpNx_gelu`, `internvl_mlp` or `internvl`.
        vision_output_layer: index into the L + 1 hidden states whose tokens are projected.
        use_pixel_shuffle: merge 2x2 patch tokens before the projector.
        num_embs: super-link slots of a perception route.
        num_embs_gen: super-link slots of a generation or editing route.
        use_region_encoder: whether visual prompts (masks) can be encoded.
        detection: the detection decoder, or None when there is none.
        pose: the pose decoder, or None when there is none.
        image_generation: of image generation, or None when there is none.
        image_editing: what edits images, or None when there is nothing.
        table_init_std: spread of fresh query tables; the released ones were sampled from N(0, 1).
        attention: transformers' attention kernel, `eager` or `sdpa`.
    """

    vision: Mapping[str, Any]
    llm: Mapping[str, Any]
    projector_type: str = "mlp2x_gelu"
    vision_output_layer: int = -2
    use_pixel_shuffle: bool = False
    num_embs: int = 4
    num_embs_gen: int = 64
    use_region_encoder: bool = True
    detection: DetectionConfig | None = None
    table_init_std: float = 1.0
    attention: str = "sdpa"
    pose: PoseConfig | None = None
    image_generation: DiffusionConfig | None = None
    image_editing: DiffusionConfig | None = None

    def __post_init__(self) -> None:
        """Check values that would otherwise fail late and without a name."""
        for part, values, known in (
            ("vision", self.vision, _VISION_KEYS),
            ("llm", self.llm, _LLM_KEYS),
        ):
            values = check_object(f"{part} config", values)
            missing = [key for key in _REQUIRED_KEYS if key not in values]
            unknown = sorted(set(values) - known)
            if missing or unknown:
                raise ConfigError(
                    f"{part} config lacks {missing} and has unknown {shorten(unknown)}; "
                    f"known fields are {sorted(known)}"
                )
            check_network_fields(part, values)
        check_switches(self)
        self._check_vision()
        if not _PROJECTOR.fullmatch(self.projector_type):
            raise ConfigError(
                "projector_type must be linear, mlpNx_gelu, internvl_mlp or internvl, "
                f"got {shorten(self.projector_type)}"
            )
        if self.num_embs < 1 or self.num_embs_gen < 1:
            raise ConfigError(
                "num_embs and num_embs_gen must be at least 1, got "
                f"{self.num_embs} and {self.num_embs_gen}"
            )
        link = (self.llm_width, self.num_embs)
        for row in PERCEPTION_PARTS.values():
            decoder = getattr(self, row.config_field)
            if decoder and (decoder.l_hidden_size, decoder.num_embs) != link:
                raise ConfigError(
                    f"the {row.name.replace('_', ' ')} takes (width, slots) "
                    f"{(decoder.l_hidden_size, decoder.num_embs)} from the super link, the LLM "
                    f"gives {link}"
                )
        self._check_images()
        if self.attention not in _ATTENTIONS:
            raise ConfigError(
                f"attention must be one of {_ATTENTIONS}, got {shorten(self.attention)}"
            )

    def _check_images(self) -> None:
        link = (self.llm_width, self.num_embs_gen)
        for name, part in IMAGE_PARTS.items():
            found = getattr(self, part.config_field)
            if found is None:
                continue
            if found.kind != part.image_kind:
                raise ConfigError(f"{name} must be of kind {part.image_kind!r}, got {found.kind!r}")
            if (found.llm_width, found.num_slots) != link:
                raise ConfigError(
                    f"{name} takes (width, slots) {(found.llm_width, found.num_slots)} from the "
                    f"super link, the LLM gives {link}"
                )

    def _check_vision(self) -> None:
        """Check the sides of tile, patch and grid, and the depth."""
        for key in ("image_size", "patch_size"):
            if self.vision.get(key) is None:
                raise ConfigError(f"vision {key} must be an int, got None")
        layers = self.vision["num_hidden_layers"]
        if not -(layers + 1) <= self.vision_output_layer <= layers:
            raise ConfigError(
                f"vision_output_layer must lie in {-(layers + 1)}..{layers} for {layers} layers, "
                f"got {self.vision_output_layer}"
            )
        if self.use_pixel_shuffle and self.vision_grid % 2:
            raise ConfigError(f"pixel shuffle needs an even patch grid, got {self.vision_grid}")
        is_odd = self.vision["patch_size"] % 2 == 1
        if self.use_region_encoder and (is_odd or layers + 1 < REGION_LEVELS):
            raise ConfigError(
                "the region encoder needs an even patch_size and at least "
                f"{REGION_LEVELS - 1} vision layers, got {self.vision['patch_size']} and {layers}"
            )

    @property
    def vision_grid(self) -> int:
        """Patches along one side of a tile."""
        return self.vision["image_size"] // self.vision["patch_size"]

    @property
    def tokens_per_tile(self) -> int:
        """Image tokens that one tile gives after the projector."""
        return self.vision_grid**2 // (4 if self.use_pixel_shuffle else 1)

    @property
    def llm_width(self) -> int:
        """Channels C of the LLM and of the super link."""
        return self.llm["hidden_size"]

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of `PARTS` that the network has."""
        return tuple(part.name for part in PARTS.values() if getattr(self, part.config_field))

    def keep_parts(self, parts: Collection[str]) -> ModelConfig:
        """Return the configuration without the parts that are not named.

        Raises:
            ConfigError: if a name is none of `PARTS`.
        """
        check_part_names(parts)
        emptied: dict[str, Any] = {
            part.config_field: False if part.config is None else None
            for part in PARTS.values()
            if part.name not in parts
        }
        return replace(self, **emptied)

    @classmethod
    def from_release(cls, release: Mapping[str, Any]) -> ModelConfig:
        """Read a released config (model_type visionllmv2).

        Image generation and editing are not in it: their sizes are in folders of their own.

        Raises:
            ConfigError: if it is another model, or a variant that is not supported.
        """
        found = release.get("model_type", "visionllmv2")
        if found != "visionllmv2":
            raise ConfigError(f"expected model_type 'visionllmv2', got {shorten(found)}")
        for part in ("vis_encoder_config", "llm_config"):
            if not isinstance(release.get(part), Mapping):
                raise ConfigError(f"expected an object {part!r} in the released config, found none")
            named = release[part].get("architectures")
            for name in named if isinstance(named, list) else ():
                if isinstance(name, str) and name in _UNSUPPORTED:
                    raise ConfigError(
                        f"{_UNSUPPORTED[name]} ({name}) is not supported; "
                        "use a checkpoint with CLIP and Llama"
                    )
        if release.get("use_llm_lora"):
            raise ConfigError(
                "low-rank adapters (use_llm_lora) are not supported; merge them into the weights "
                "and set use_llm_lora to false"
            )
        llm = _select(release["llm_config"], _LLM_KEYS)
        given = {name: value for name, value in release.items() if value is not None}
        return cls(
            vision=_select(release["vis_encoder_config"], _VISION_KEYS),
            llm=llm,
            **{ours: given.get(name, default) for ours, (name, default) in _RELEASED.items()},
            **{
                part.config_field: _read_decoder(part, release, llm)
                for part in PERCEPTION_PARTS.values()
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["vision"] = dict(self.vision)
        values["llm"] = dict(self.llm)
        for part in PARTS.values():
            found = values[part.config_field]
            if part.config is not None:
                values[part.config_field] = None if found is None else found.to_dict()
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Read the output of `to_dict`.

        Raises:
            ConfigError: if a field is unknown or missing.
        """
        values = check_object("model config", values)
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        missing = sorted({"vision", "llm"} - set(values))
        if unknown or missing:
            raise ConfigError(
                f"model config lacks {missing} and has unknown fields {shorten(unknown)}"
            )
        plain = dict(values)
        for part in PARTS.values():
            if part.config is not None and plain.get(part.config_field) is not None:
                plain[part.config_field] = part.config.from_dict(plain[part.config_field])
        return cls(**plain)

    @classmethod
    def tiny(
        cls, *, with_detection: bool = True, with_pose: bool = False, with_images: bool = False
    ) -> ModelConfig:
        """Make the smallest network with every part; its added tokens start at id 64."""
        images: dict[str, Any] = {}
        if with_images:
            images = {
                name: DiffusionConfig.tiny(part.image_kind) for name, part in IMAGE_PARTS.items()
            }
        return cls(
            vision={
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "image_size": 56,
                "patch_size": 14,
            },
            llm={
                "vocab_size": 90,
                "hidden_size": 64,
                "intermediate_size": 96,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "max_position_embeddings": 512,
                "pad_token_id": 0,
            },
            num_embs_gen=6,
            detection=DetectionConfig.tiny() if with_detection else None,
            pose=PoseConfig.tiny() if with_pose else None,
            **images,
        )


def _select(values: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    # A null means "default of the class that reads it", so it is skipped.
    return {key: values[key] for key in sorted(keys & set(values)) if values[key] is not None}


def _read_decoder(part: Part, release: Mapping[str, Any], llm: Mapping[str, Any]) -> Any:
    if not release.get(part.release_switch):
        return None
    sizes = release.get(part.release_config)
    if not isinstance(sizes, Mapping):
        raise ConfigError(
            f"{part.release_switch} is true, but the released config has no {part.release_config}"
        )
    config: Any = part.config
    return config.from_release(sizes, _find_width(llm), take_int(release, "num_embs", 4))


def _find_width(llm: Mapping[str, Any]) -> int:
    return take_int(llm, "hidden_size", least=1)
