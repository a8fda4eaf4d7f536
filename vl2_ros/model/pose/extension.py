"""Give a network that was trained without poses a pose decoder to train.

Its image branch begins as that of the detection decoder, as far as the two are alike, and its slots
as those of detection: the LLM gathers there what a name means already.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from vl2_ros.errors import ConfigError
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.pose.config import PoseConfig
from vl2_ros.model.pose.decoder import PoseDecoder

#: Names shared by the configurations of both perception decoders, whose sizes carry over.
_SHARED = (
    *("backbone_config", "l_hidden_size", "num_embs", "d_model", "num_queries"),
    *("encoder_layers", "encoder_attention_heads", "decoder_attention_heads"),
    *("encoder_ffn_dim", "decoder_ffn_dim", "encoder_n_points", "decoder_n_points"),
    *("num_feature_levels", "feature_stages", "norm_groups", "max_text_len", "dn_number"),
    *("dropout", "fusion_droppath", "fusion_init_scale"),
)
_BOX_LAYERS, _DECODER_LAYERS, _GROUPS = 1, 3, 20
_DETECTION, _POSE = "detection_decoder.", "pose_decoder."
_BACKBONE = f"{_POSE}backbone."
#: Of fresh norms: spread of query states, mean of the class logits.
_QUERY_SPREAD, _MEAN_LOGIT = 0.2, -4.0
#: Fresh text layers begin close to the identity, so that they do not make all classes alike.
_ENHANCER_SCALE = 0.1


def extend_with_poses(network: VisionLLM, pose: PoseConfig | None = None) -> VisionLLM:
    """Return the network with a new pose decoder.

    Args:
        network: without one; its other weights are taken over.
        pose: sizes of the decoder; None takes those of the detection decoder.

    Raises:
        ConfigError: if it has no detection decoder, which gives sizes and weights.
    """
    config = network.config
    if config.detection is None:
        raise ConfigError(
            "a fresh pose decoder takes its sizes from the detection decoder, which this network "
            "lacks; start from a checkpoint that has one"
        )
    extended = VisionLLM(
        replace(config, pose=pose or derive_pose_config(config.detection)), network.tokens
    )
    state = extended.state_dict()
    known = network.state_dict()
    state.update(known)
    for name, value in state.items():
        twin = known.get(name.replace(_POSE, _DETECTION, 1)) if name.startswith(_POSE) else None
        if name.startswith(_BACKBONE) and twin is not None and twin.shape == value.shape:
            state[name] = twin
    state["super_link.pose.weight"] = known["super_link.det.weight"]
    extended.load_state_dict(state)
    decoder = extended.pose_decoder
    assert isinstance(decoder, PoseDecoder)
    _soften_class_logits(decoder)
    return extended


def derive_pose_config(detection: DetectionConfig, **sizes: Any) -> PoseConfig:
    """Return a pose decoder of a detection decoder's sizes, but for those that are given."""
    known = set(PoseConfig.__dataclass_fields__)
    shared = {name: getattr(detection, name) for name in _SHARED if name in known}
    own = {
        "decoder_layers": _DECODER_LAYERS,
        "box_layers": _BOX_LAYERS,
        "num_groups": min(_GROUPS, detection.num_queries),
    }
    return PoseConfig(**(shared | own | sizes))


@torch.no_grad()
def _soften_class_logits(decoder: PoseDecoder) -> None:
    """Begin with small products of queries and classes that are negative on average.

    The class logits are plain products. Those of fresh norms are so large that the first losses
    are a thousand times the later ones.
    """
    for norm in (decoder.decoder.layer_norm, decoder.query_selection.norm):
        norm.weight.fill_(_QUERY_SPREAD)
        norm.bias.fill_(-_QUERY_SPREAD)
    lift = -_MEAN_LOGIT / (_QUERY_SPREAD * decoder.config.d_model)
    for layer in decoder.encoder.layers:
        enhancer = layer.text_enhancer_layer
        enhancer.self_attn.out_proj.weight.mul_(_ENHANCER_SCALE)
        enhancer.fc2.weight.mul_(_ENHANCER_SCALE)
        enhancer.layer_norm_after.bias.fill_(lift)
