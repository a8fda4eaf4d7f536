"""Sizes of the parts that a finished embedded model gets, and the network with them."""

from __future__ import annotations

from dataclasses import replace

from vl2_ros.model.config import ModelConfig
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.pose.config import PoseConfig
from vl2_ros.model.pose.extension import derive_pose_config, extend_with_poses

#: Stages of the detection decoder's backbone that poses use: small parts need fine tokens.
_STAGES, _BLOCKS = 3, 1


def embedded_pose_config(detection: DetectionConfig) -> PoseConfig:
    """Return the pose decoder's sizes: about 1.5 million parameters.

    Args:
        detection: of the same model; the backbone is the first part of its own.
    """
    backbone = dict(detection.backbone_config)
    depths, widths = list(backbone["depths"])[:_STAGES], list(backbone["hidden_sizes"])[:_STAGES]
    backbone |= {"depths": [*depths[:-1], _BLOCKS], "hidden_sizes": widths}
    return derive_pose_config(
        detection,
        backbone_config=backbone,
        feature_stages=("stage2", "stage3"),
        num_feature_levels=2,
        d_model=96,
        encoder_layers=1,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_ffn_dim=192,
        decoder_ffn_dim=160,
        num_groups=10,
        dn_number=10,
        label_noise_ratio=0.5,
    )


def add_parts(network: VisionLLM, *, poses: bool, regions: bool) -> VisionLLM:
    """Return the network with a pose decoder and a region encoder, where it lacks what is wanted.

    Args:
        network: with a detection decoder; its weights are taken over.
        poses: whether a pose decoder is wanted.
        regions: whether a region encoder is wanted.

    Raises:
        ConfigError: if it has no detection decoder, or its vision encoder is too small for regions.
    """
    if poses and network.config.pose is None:
        detection = network.config.detection
        pose = None if detection is None else embedded_pose_config(detection)
        network = extend_with_poses(network, pose)
    if regions and not network.config.use_region_encoder:
        network = _rebuild(network, replace(network.config, use_region_encoder=True))
    return network


def _rebuild(network: VisionLLM, config: ModelConfig) -> VisionLLM:
    """Return a network of another configuration with all weights that there are."""
    extended = VisionLLM(config, network.tokens)
    extended.load_state_dict(extended.state_dict() | network.state_dict())
    return extended
