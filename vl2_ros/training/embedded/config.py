"""Sizes of the embedded model: the released classes with small numbers.

Where a field differs in kind from the release (convolutional trunk, two token levels, scaled class
logits), it is a field of the configuration, so the same code runs both.
"""

from __future__ import annotations

from vl2_ros.model.config import ModelConfig
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.processing.config import ProcessingConfig

VISION_SIDE = 128
VISION_PATCH = 16
LLM_WIDTH = 256
NUM_EMBS = 2
NUM_EMBS_GEN = 4


def embedded_model_config(vocab_size: int) -> ModelConfig:
    """Return the network's sizes: about 9 million parameters."""
    return ModelConfig(
        vision={
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": VISION_SIDE,
            "patch_size": VISION_PATCH,
            "hidden_act": "quick_gelu",
        },
        llm={
            "vocab_size": vocab_size,
            "hidden_size": LLM_WIDTH,
            "intermediate_size": 640,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "tie_word_embeddings": False,
        },
        vision_output_layer=-1,
        num_embs=NUM_EMBS,
        num_embs_gen=NUM_EMBS_GEN,
        use_region_encoder=False,
        table_init_std=0.02,
        attention="eager",
        detection=embedded_detection_config(),
    )


def embedded_detection_config() -> DetectionConfig:
    """Return the detection decoder's sizes: about 3.5 million parameters."""
    return DetectionConfig(
        backbone_config={
            "model_type": "resnet",
            "layer_type": "basic",
            "embedding_size": 32,
            "hidden_sizes": [48, 96, 160, 192],
            "depths": [1, 2, 2, 2],
            "hidden_act": "relu",
            "downsample_in_first_stage": False,
        },
        l_hidden_size=LLM_WIDTH,
        num_embs=NUM_EMBS,
        d_model=128,
        num_queries=50,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=384,
        decoder_ffn_dim=384,
        num_feature_levels=2,
        feature_stages=("stage3", "stage4"),
        lateral_stages=("stage2", "stage1"),
        mask_dim=48,
        max_text_len=64,
        class_logits="scaled_dot",
        fusion_init_scale=0.1,
        dn_number=20,
        label_noise_ratio=0.5,
        dropout=0.0,
        fusion_droppath=0.0,
        mask_branch_width=48,
        norm_groups=16,
        mask_loss_points=0,
        mask_loss_layers="last",
        class_weight=4.0,
    )


def embedded_processing_config() -> ProcessingConfig:
    """Return how images and sentences reach the embedded model."""
    return ProcessingConfig(
        vision_side=VISION_SIDE,
        vision_tokens=(VISION_SIDE // VISION_PATCH) ** 2,
        aspect="anyres",
        max_tiles=1,
        decoder_short=192,
        decoder_long=256,
        decoder_multiple=32,
        segment_short=192,
        segment_long=256,
        system="",
        num_embs=NUM_EMBS,
        num_embs_gen=NUM_EMBS_GEN,
        max_length=1024,
        max_classes=64,
        wording="spoken",
        detect_answer="I found: {names}.",
        segment_answer="Segmented: {names}.",
        ground_answer="It is here: {names}.",
        joined_masks=True,
    )
