"""The configuration of a detection decoder; also reads the released `gdino_config`.

Knows no tensor library. Every default is the behaviour of the released 7B model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vl2_ros.documents import check_object, shorten
from vl2_ros.errors import ConfigError
from vl2_ros.model.decoders.backbone_config import declared_values

#: Switches of a released config that have one supported value.
_FIXED_RELEASE_VALUES: Mapping[str, object] = {
    "two_stage": True,
    "embedding_init_target": True,
    "query_dim": 4,
    "decoder_bbox_embed_share": True,
    "two_stage_bbox_embed_share": False,
    "position_embedding_type": "sine",
    "norm": "GN",
}
_CLASS_LOGITS = ("dot", "scaled_dot")
_MASK_LOSS_LAYERS = ("all", "last")


@dataclass(frozen=True, slots=True)
class DetectionConfig:
    """Sizes, switches and loss weights of one detection decoder.

    Attributes:
        backbone_config: fields of transformers' `SwinConfig` or `ResNetConfig` with `model_type`;
            the stages that come out follow from the two stage lists below.
        l_hidden_size: channels C of the super-link states.
        num_embs: super-link states K per class.
        d_model: width D.
        num_queries: object queries Q.
        num_feature_levels: token levels; more levels than `feature_stages` add strided ones.
        feature_stages: backbone stages that become tokens, fine to coarse.
        lateral_stages: backbone stages that refine the mask features, coarse to fine; the last one
            sets the stride of the masks.
        max_text_len: most classes in one call.
        mask_dim: channels M of a mask query and of the mask features.
        mask_branch_width: channels inside the mask branch; None is `d_model`.
        norm_groups: groups of every group norm; divides `d_model` and the mask branch's width.
        class_logits: `dot` is the plain product of query and class; `scaled_dot` divides it by
            sqrt(D), multiplies a learned scale and adds a learned bias.
        fusion_init_scale: initial layer scale of the image-text fusion.
        focal_alpha: of the class loss; the matching always uses 0.25.
        dn_number: denoising queries per image and sign; 0 trains without.
        label_noise_ratio: twice the share of denoising queries that get another class.
        box_noise_scale: jitter of denoising boxes in half box sides.
        dn_labelbook_size: classes that label noise may draw from.
        mask_loss_points: points per mask in the loss; 0: every pixel of the mask features.
        mask_loss_oversample: candidate points per kept point.
        mask_loss_importance: share of points kept for being uncertain.
        mask_loss_layers: `all` trains masks of every prediction set, `last` of the last layer only.
    """

    backbone_config: Mapping[str, Any]
    l_hidden_size: int = 4096
    num_embs: int = 4
    d_model: int = 256
    num_queries: int = 900
    encoder_layers: int = 6
    decoder_layers: int = 6
    encoder_attention_heads: int = 8
    decoder_attention_heads: int = 8
    encoder_ffn_dim: int = 2048
    decoder_ffn_dim: int = 2048
    encoder_n_points: int = 4
    decoder_n_points: int = 4
    num_feature_levels: int = 4
    feature_stages: tuple[str, ...] = ("stage2", "stage3", "stage4")
    lateral_stages: tuple[str, ...] = ("stage1",)
    activation_function: str = "relu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    text_enhancer_dropout: float = 0.0
    fusion_dropout: float = 0.0
    fusion_droppath: float = 0.1
    max_text_len: int = 256
    positional_embedding_temperature: int = 20
    layer_norm_eps: float = 1e-5
    mask_dim: int = 256
    mask_branch_width: int | None = None
    norm_groups: int = 32
    class_logits: str = "dot"
    fusion_init_scale: float = 1e-4
    class_cost: float = 2.0
    bbox_cost: float = 5.0
    giou_cost: float = 2.0
    class_weight: float = 2.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    focal_alpha: float = 0.25
    dn_number: int = 100
    label_noise_ratio: float = 0.5
    box_noise_scale: float = 1.0
    dn_labelbook_size: int = 256
    mask_loss_points: int = 12544
    mask_loss_oversample: int = 3
    mask_loss_importance: float = 0.75
    mask_loss_layers: str = "all"

    def __post_init__(self) -> None:
        """Bring JSON values to their types and check the combination."""
        for name, value in declared_values(self).items():
            object.__setattr__(self, name, value)
        self._check_stages()
        self._check_widths()
        for name, allowed in (
            ("class_logits", _CLASS_LOGITS),
            ("mask_loss_layers", _MASK_LOSS_LAYERS),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name} must be one of {allowed}, got {shorten(getattr(self, name))}"
                )

    def _check_stages(self) -> None:
        known = tuple(f"stage{i + 1}" for i in range(len(self.backbone_config.get("depths", ()))))
        used = self.feature_stages + self.lateral_stages
        unknown = sorted(set(used) - set(known)) if known else []
        if not self.feature_stages or not self.lateral_stages or unknown:
            raise ConfigError(
                f"feature_stages and lateral_stages must name backbone stages of {known}, got "
                f"{self.feature_stages} and {self.lateral_stages}"
            )
        if self.num_feature_levels < len(self.feature_stages):
            raise ConfigError(
                f"num_feature_levels must be at least {len(self.feature_stages)}, the number of "
                f"feature_stages, got {self.num_feature_levels}"
            )

    def _check_widths(self) -> None:
        for name in (
            *("num_queries", "encoder_layers", "decoder_layers", "max_text_len", "num_embs"),
            *("d_model", "mask_width", "norm_groups", "mask_dim", "encoder_attention_heads"),
            *("decoder_attention_heads", "encoder_n_points", "decoder_n_points", "l_hidden_size"),
            *("encoder_ffn_dim", "decoder_ffn_dim"),
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        heads = (self.encoder_attention_heads, self.decoder_attention_heads)
        if any(self.d_model % count for count in heads) or self.encoder_attention_heads % 2:
            raise ConfigError(
                f"d_model {self.d_model} must be a multiple of the heads {heads}, and the encoder "
                "needs an even number of them"
            )
        if any(width % self.norm_groups for width in (self.d_model, self.mask_width)):
            raise ConfigError(
                f"norm_groups {self.norm_groups} must divide d_model {self.d_model} and the mask "
                f"branch's width {self.mask_width}"
            )

    @property
    def mask_width(self) -> int:
        """Channels inside the mask branch."""
        return self.d_model if self.mask_branch_width is None else self.mask_branch_width

    @property
    def map_count(self) -> int:
        """Maps of the image branch: token levels, then lateral stages."""
        return self.num_feature_levels + len(self.lateral_stages)

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each kind of loss."""
        return {
            "ce": self.class_weight,
            "bbox": self.box_weight,
            "giou": self.giou_weight,
            "mask": self.mask_weight,
            "dice": self.dice_weight,
        }

    @property
    def out_stages(self) -> tuple[str, ...]:
        """Backbone stages that are used, fine to coarse."""
        return tuple(sorted(set(self.feature_stages) | set(self.lateral_stages)))

    @classmethod
    def from_release(
        cls, release: Mapping[str, Any], llm_width: int, num_embs: int = 4
    ) -> DetectionConfig:
        """Read the `gdino_config` of a released config.json.

        Args:
            release: the object as parsed.
            llm_width: channels of the LLM, used where `l_hidden_size` is absent.
            num_embs: super-link states per class, used where the object does not have it.

        Raises:
            ConfigError: if it needs a part that is not built here.
        """
        release = check_object("gdino_config", release)
        for name, expected in _FIXED_RELEASE_VALUES.items():
            if release.get(name) not in (None, expected):
                raise ConfigError(
                    f"gdino_config {name} must be {expected!r}, got {shorten(release[name])}; "
                    "other forms are not supported"
                )
        if not isinstance(release.get("backbone_config"), Mapping):
            raise ConfigError("gdino_config lacks an object backbone_config")
        known = {item.name for item in fields(cls)}
        values = {name: release[name] for name in known & set(release) if release[name] is not None}
        values = {"l_hidden_size": llm_width, "num_embs": num_embs} | values
        if values["l_hidden_size"] != llm_width:
            raise ConfigError(
                f"gdino_config l_hidden_size must be the LLM's width {llm_width}, "
                f"got {shorten(values['l_hidden_size'])}"
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        values["backbone_config"] = dict(self.backbone_config)
        values["feature_stages"] = list(self.feature_stages)
        values["lateral_stages"] = list(self.lateral_stages)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectionConfig:
        """Read the output of `to_dict`.

        Raises:
            ConfigError: if a field is unknown or missing.
        """
        values = check_object("detection", values)
        unknown = sorted(set(values) - {item.name for item in fields(cls)})
        if unknown or "backbone_config" not in values:
            raise ConfigError(
                f"detection config has unknown fields {shorten(unknown)} or lacks backbone_config"
            )
        return cls(**values)

    @classmethod
    def full_size(cls) -> DetectionConfig:
        """Make the released size: Swin-T, 6 + 6 layers, 900 queries, 65.4 M parameters."""
        return cls(
            backbone_config={
                "model_type": "swin",
                "image_size": 224,
                "patch_size": 4,
                "embed_dim": 96,
                "depths": [2, 2, 6, 2],
                "num_heads": [3, 6, 12, 24],
                "window_size": 7,
                "mlp_ratio": 4.0,
                "qkv_bias": True,
                "drop_path_rate": 0.1,
            }
        )

    @classmethod
    def tiny(cls) -> DetectionConfig:
        """Make the smallest decoder of the released form, for tests; C is 64."""
        return cls(
            backbone_config={
                "model_type": "swin",
                "image_size": 64,
                "embed_dim": 8,
                "depths": [1, 1, 1, 1],
                "num_heads": [1, 2, 2, 4],
                "window_size": 4,
                "mlp_ratio": 2.0,
                "drop_path_rate": 0.0,
            },
            l_hidden_size=64,
            d_model=32,
            num_queries=20,
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            dropout=0.0,
            fusion_droppath=0.0,
            max_text_len=16,
            mask_dim=16,
            norm_groups=8,
            dn_number=6,
            mask_loss_points=256,
        )
