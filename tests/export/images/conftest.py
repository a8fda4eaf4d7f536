from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from tests.conftest import make_json_tokenizer, make_once
from tests.model.diffusion.safety_folders import write_safety_checker
from vl2_ros.export.build_engines import build_engines
from vl2_ros.export.engine_builders import OnnxRuntimeBuilder
from vl2_ros.export.engine_profile import read_profile
from vl2_ros.export.engine_store import EngineStore
from vl2_ros.export.profile_export import export_for_profile
from vl2_ros.model.checkpoint.folder import save_model
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.diffusion.folder import COMPANIONS
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import IMAGE_PARTS
from vl2_ros.processing.config import ProcessingConfig

PROFILE = {
    "backend": "onnxruntime",
    "graphs": {
        "vision_encoder": {"shapes": [{"tiles": [1, 1, 5]}]},
        "language_model": {
            "shapes": [{"rows": 1, "tokens": [1, 32, 512], "past": [0, 32, 512]}],
        },
        "prompt_mapper": None,
        "denoiser": {"shapes": [{"images": [1, 2, 3]}]},
        "vae_encoder": None,
        "vae_decoder": None,
        "safety_checker": None,
    },
}


@dataclass(frozen=True)
class Built:
    """A checkpoint that draws and edits, and its engines.

    Attributes:
        weights: its folder; image generation has a safety checker.
        engines: the store.
        exported: the ONNX files that they were built from.
    """

    weights: Path
    engines: Path
    exported: Path


def write_checkpoint(folder: Path) -> None:
    tokenizer = make_json_tokenizer(folder)
    tiny = ModelConfig.tiny(with_detection=False, with_images=True)
    llm = {**tiny.llm, "vocab_size": tokenizer.vocab_size}
    torch.manual_seed(0)
    model = VisionLLM(replace(tiny, llm=llm, use_region_encoder=False), tokenizer.tokens)
    with torch.no_grad():
        for name in IMAGE_PARTS:
            # Fresh weights give grey alone, where no difference would be seen.
            model.get_submodule(name).vae.decoder.conv_out.weight.mul_(8)
    save_model(model, folder, dtype=torch.float32)
    ProcessingConfig(vision_side=56, vision_tokens=16, num_embs=4, num_embs_gen=6).save(folder)
    companion = folder / COMPANIONS / "image_generation"
    companion.mkdir(parents=True)
    write_safety_checker(companion)


def build(folder: Path) -> None:
    weights = folder / "weights"
    weights.mkdir()
    write_checkpoint(weights)
    profile = read_profile("testing", PROFILE)
    exported = export_for_profile(profile, weights, folder / "onnx")
    build_engines(profile, exported, EngineStore(folder / "engines"), OnnxRuntimeBuilder())


@pytest.fixture(scope="session")
def built(run_dir: Path) -> Built:
    """Built once in a run; takes a minute."""
    folder = make_once(run_dir / "exports" / "images", build)
    return Built(folder / "weights", folder / "engines", folder / "onnx")
