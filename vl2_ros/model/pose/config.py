"""The configuration of a pose decoder; also reads the released `unipose_config`.

Knows no tensor library. Every default is the behaviour of the released 7B model, except for
`group_mask`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vl2_ros.documents import check_object, shorten, take_object
from vl2_ros.errors import ConfigError
from vl2_ros.model.decoders.backbone_config import declared_values, name_swin

#: Rows of the first of the two tables of slot sizes; the second has the rest.
BODY_SLOTS = 17
#: How far a keypoint may be off, for object keypoint similarity: slot by slot of the data set,
#: whatever the species (COCO's person, then a fortieth for all further slots).
OKS_SIGMAS: tuple[float, ...] = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    *(0.025,) * 51,
)
GROUP_MASKS = ("group", "released")

_RENAMED: Mapping[str, str] = {
    "hidden_dim": "d_model",
    "enc_layers": "encoder_layers",
    "dec_layers": "decoder_layers",
    "num_box_decoder_layers": "box_layers",
    "enc_n_points": "encoder_n_points",
    "dec_n_points": "decoder_n_points",
    "num_body_points": "num_keypoints",
    "transformer_activation": "activation_function",
    "text_dropout": "text_enhancer_dropout",
    "pe_temperatureH": "positional_embedding_temperature",
    "set_cost_class": "class_cost",
    "set_cost_bbox": "bbox_cost",
    "set_cost_giou": "giou_cost",
    "set_cost_keypoint": "keypoint_cost",
    "set_cost_oks": "oks_cost",
    "cls_loss_coef": "class_weight",
    "bbox_loss_coef": "box_weight",
    "giou_loss_coef": "giou_weight",
    "keypoint_loss_coef": "keypoint_weight",
    "dn_label_noise_ratio": "label_noise_ratio",
    "dn_box_noise_scale": "box_noise_scale",
}
#: Fields of ours that a release has under the same name; `group_mask` may be added to it by hand.
_SAME_NAME = (
    *("num_queries", "num_groups", "num_feature_levels", "dropout", "fusion_dropout"),
    *("fusion_droppath", "focal_alpha", "dn_number", "dn_labelbook_size"),
    *("l_hidden_size", "num_embs", "group_mask"),
)
#: Switches of a released config that have one supported value.
_FIXED_RELEASE_VALUES: Mapping[str, object] = {
    "two_stage_type": "standard",
    "two_stage_bbox_embed_share": False,
    "two_stage_learn_wh": False,
    "embed_init_tgt": True,
    "query_dim": 4,
    "num_patterns": 0,
    "position_embedding": "sine",
    "return_interm_indices": [1, 2, 3],
    "pre_norm": False,
    "dec_pred_bbox_embed_share": True,
    "use_fusion_layer": True,
    "use_text_enhancer": True,
    "use_text_cross_attention": True,
    "use_detached_boxes_dec_out": False,
    "binary_query_selection": False,
}


@dataclass(frozen=True, slots=True)
class PoseConfig:
    """Sizes, switches and loss weights of one pose decoder.

    Attributes:
        backbone_config: fields of transformers' `SwinConfig` or `ResNetConfig` with `model_type`.
        l_hidden_size: channels C of the super-link states.
        num_embs: super-link states per class and per keypoint.
        d_model: width D.
        num_queries: object queries Q of the box layers.
        num_groups: objects G that get keypoints.
        num_keypoints: most keypoints per object.
        box_layers: decoder layers before the keypoints join.
        feature_stages: backbone stages that become tokens, fine to coarse.
        max_text_len: most classes in one call; training pads the class list to it.
        group_mask: which queries see one another once the keypoints have joined. `group`: those of
            one object, as in training. `released`: what the released code does when it evaluates,
            where a stride of 68 in place of 69 lets neighbouring groups see parts of each other;
            the published scores need it. Slower, because it cannot be computed group by group.
        focal_alpha: of the class loss; the matching always uses 0.25.
        oks_weight: of the similarity loss; the released training took `keypoint_loss_coef`.
        dn_number: denoising queries per image and sign; 0 trains without.
        label_noise_ratio: twice the share of denoising queries that get another class.
        box_noise_scale: jitter of denoising boxes in half box sides.
        dn_labelbook_size: classes that label noise may draw from, padded ones included.
    """

    backbone_config: Mapping[str, Any]
    l_hidden_size: int = 4096
    num_embs: int = 4
    d_model: int = 256
    num_queries: int = 900
    num_groups: int = 50
    num_keypoints: int = 68
    encoder_layers: int = 6
    decoder_layers: int = 6
    box_layers: int = 2
    encoder_attention_heads: int = 8
    decoder_attention_heads: int = 8
    encoder_ffn_dim: int = 2048
    decoder_ffn_dim: int = 2048
    encoder_n_points: int = 4
    decoder_n_points: int = 4
    num_feature_levels: int = 4
    feature_stages: tuple[str, ...] = ("stage2", "stage3", "stage4")
    activation_function: str = "relu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    text_enhancer_dropout: float = 0.0
    fusion_dropout: float = 0.0
    fusion_droppath: float = 0.1
    max_text_len: int = 100
    positional_embedding_temperature: int = 20
    layer_norm_eps: float = 1e-5
    norm_groups: int = 32
    fusion_init_scale: float = 1e-4
    group_mask: str = "group"
    class_cost: float = 2.0
    bbox_cost: float = 5.0
    giou_cost: float = 2.0
    keypoint_cost: float = 10.0
    oks_cost: float = 4.0
    class_weight: float = 2.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    keypoint_weight: float = 10.0
    oks_weight: float = 10.0
    focal_alpha: float = 0.25
    dn_number: int = 100
    label_noise_ratio: float = 0.5
    box_noise_scale: float = 1.0
    dn_labelbook_size: int = 2000

    def __post_init__(self) -> None:
        """Bring JSON values to their types and check the combination."""
        for name, value in declared_values(self).items():
            object.__setattr__(self, name, value)
        for name in (
            *("num_queries", "num_groups", "encoder_layers", "max_text_len", "num_embs", "d_model"),
            *("norm_groups", "encoder_attention_heads", "decoder_attention_heads"),
            *("encoder_n_points", "decoder_n_points", "encoder_ffn_dim", "decoder_ffn_dim"),
            "l_hidden_size",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 1 <= self.box_layers < self.decoder_layers:
            raise ConfigError(
                f"box_layers must lie in 1..{self.decoder_layers - 1} for {self.decoder_layers} "
                f"decoder layers, got {self.box_layers}"
            )
        if not BODY_SLOTS < self.num_keypoints <= len(OKS_SIGMAS):
            raise ConfigError(
                f"num_keypoints must lie in {BODY_SLOTS + 1}..{len(OKS_SIGMAS)}, got "
                f"{self.num_keypoints}"
            )
        if self.group_mask not in GROUP_MASKS:
            raise ConfigError(
                f"group_mask must be one of {GROUP_MASKS}, got {shorten(self.group_mask)}"
            )
        self._check_widths()

    def _check_widths(self) -> None:
        heads = (self.encoder_attention_heads, self.decoder_attention_heads)
        if any(self.d_model % count for count in heads) or self.encoder_attention_heads % 2:
            raise ConfigError(
                f"d_model {self.d_model} must be a multiple of the heads {heads}, and the encoder "
                "needs an even number of them"
            )
        if self.d_model % self.norm_groups:
            raise ConfigError(f"norm_groups {self.norm_groups} must divide d_model {self.d_model}")
        if not len(self.feature_stages) <= self.num_feature_levels:
            raise ConfigError(
                f"num_feature_levels must be at least {len(self.feature_stages)}, the number of "
                f"feature_stages, got {self.num_feature_levels}"
            )

    @property
    def out_stages(self) -> tuple[str, ...]:
        """Backbone stages that are used, fine to coarse."""
        return self.feature_stages

    @property
    def lateral_stages(self) -> tuple[str, ...]:
        """Return none: there are no masks."""
        return ()

    @property
    def map_count(self) -> int:
        """Maps of the image branch: the token levels."""
        return self.num_feature_levels

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each kind of loss."""
        return {
            "ce": self.class_weight,
            "bbox": self.box_weight,
            "giou": self.giou_weight,
            "keypoints": self.keypoint_weight,
            "oks": self.oks_weight,
        }

    @classmethod
    def from_release(
        cls, release: Mapping[str, Any], llm_width: int, num_embs: int = 4
    ) -> PoseConfig:
        """Read the `unipose_config` of a released config.json.

        Args:
            release: the object as parsed; `backbone` names the Swin, sizes in an object `swin`
                take precedence.
            llm_width: channels of the LLM, used where `l_hidden_size` is absent.
            num_embs: super-link states per prompt, used where the object does not have it.

        Raises:
            ConfigError: if it needs a part that is not built here.
        """
        for name, expected in _FIXED_RELEASE_VALUES.items():
            if release.get(name) not in (None, expected):
                raise ConfigError(
                    f"unipose_config {name} must be {expected!r}, got {shorten(release[name])}; "
                    "other forms are not supported"
                )
        values = {ours: release[name] for name, ours in _RENAMED.items() if name in release}
        values |= {name: release[name] for name in _SAME_NAME if name in release}
        for name, sides in (
            ("nheads", ("encoder_attention_heads", "decoder_attention_heads")),
            ("dim_feedforward", ("encoder_ffn_dim", "decoder_ffn_dim")),
        ):
            values |= {side: release[name] for side in sides if name in release}
        if release.get("use_cdn", True) is False or release.get("use_dn", True) is False:
            values["dn_number"] = 0
        if "keypoint_loss_coef" in release:
            values["oks_weight"] = release["keypoint_loss_coef"]
        values = {name: value for name, value in values.items() if value is not None}
        values = {"l_hidden_size": llm_width, "num_embs": num_embs} | values
        if values["l_hidden_size"] != llm_width:
            raise ConfigError(
                f"unipose_config l_hidden_size must be the LLM's width {llm_width}, "
                f"got {shorten(values['l_hidden_size'])}"
            )
        backbone = release.get("backbone")
        swin = name_swin("swin_T_224_1k" if backbone is None else backbone) | dict(
            take_object(release, "swin")
        )
        return cls(backbone_config=swin, **values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        values["backbone_config"] = dict(self.backbone_config)
        values["feature_stages"] = list(self.feature_stages)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PoseConfig:
        """Read the output of `to_dict`.

        Raises:
            ConfigError: if a field is unknown or missing.
        """
        values = check_object("pose", values)
        unknown = sorted(set(values) - {item.name for item in fields(cls)})
        if unknown or "backbone_config" not in values:
            raise ConfigError(
                f"pose config has unknown fields {shorten(unknown)} or lacks backbone_config"
            )
        return cls(**values)

    @classmethod
    def full_size(cls) -> PoseConfig:
        """Make the released size: Swin-T, 6 + 6 layers, 900 queries, 65.8 M parameters."""
        return cls(backbone_config=name_swin("swin_T_224_1k"))

    @classmethod
    def tiny(cls) -> PoseConfig:
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
            num_groups=6,
            encoder_layers=1,
            decoder_layers=4,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            fusion_droppath=0.0,
            max_text_len=16,
            norm_groups=8,
            dn_number=6,
        )
