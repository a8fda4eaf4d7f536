"""A Stable Diffusion folder with a tiny safety checker that refuses white images."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig

from vl2_ros.model.diffusion.folder import DiffusionFolder

SIDE = 32
PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "feature_extractor_type": "CLIPFeatureExtractor",
    "do_resize": True,
    "size": SIDE,
    "resample": 3,
    "do_center_crop": True,
    "crop_size": SIDE,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def write_safety_checker(folder: Path) -> DiffusionFolder:
    """Add a checker that looks for one concept: what it embeds a white image to."""
    torch.manual_seed(0)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": 8,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    for weight in checker.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    checker.eval()
    mean, std = (
        torch.tensor(PROCESSOR[name]).view(1, 3, 1, 1) for name in ("image_mean", "image_std")
    )
    white = (torch.ones(1, 3, SIDE, SIDE) - mean) / std
    with torch.no_grad():
        embedded = checker.visual_projection(checker.vision_model(white)[1])
        checker.concept_embeds.copy_(-embedded.expand(17, -1))
        checker.concept_embeds[4] = embedded[0]
        checker.special_care_embeds.copy_(-embedded.expand(3, -1))
        checker.concept_embeds_weights.fill_(0.999)
        checker.special_care_embeds_weights.fill_(0.999)
    checker.save_pretrained(folder / "safety_checker")
    (folder / "feature_extractor").mkdir()
    file = folder / "feature_extractor" / "preprocessor_config.json"
    file.write_text(json.dumps(PROCESSOR))
    return DiffusionFolder(folder)
