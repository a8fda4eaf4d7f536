"""The safety checker of a Stable Diffusion folder."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig

from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.diffusion.safety_checker import load_safety_checker

PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "feature_extractor_type": "CLIPFeatureExtractor",
    "do_resize": True,
    "size": 32,
    "resample": 3,
    "do_center_crop": True,
    "crop_size": 32,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


@pytest.fixture
def folder(tmp_path):
    """A folder whose tiny checker looks for one concept: what it embeds a white image to."""
    torch.manual_seed(0)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    for weight in checker.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    checker.eval()
    mean, std = (
        torch.tensor(PROCESSOR[name]).view(1, 3, 1, 1) for name in ("image_mean", "image_std")
    )
    white = (torch.ones(1, 3, 32, 32) - mean) / std
    with torch.no_grad():
        embedded = checker.visual_projection(checker.vision_model(white)[1])
        checker.concept_embeds.copy_(-embedded.expand(17, -1))
        checker.concept_embeds[4] = embedded[0]
        checker.special_care_embeds.copy_(-embedded.expand(3, -1))
        checker.concept_embeds_weights.fill_(0.999)
        checker.special_care_embeds_weights.fill_(0.999)
    checker.save_pretrained(tmp_path / "safety_checker")
    (tmp_path / "feature_extractor").mkdir()
    file = tmp_path / "feature_extractor" / "preprocessor_config.json"
    file.write_text(json.dumps(PROCESSOR))
    return DiffusionFolder(tmp_path)


def test_unsafe_images_are_distinguished(folder):
    checker = load_safety_checker(folder)
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    pixels[1] = 1
    before = pixels.clone()
    assert checker(pixels) == [False, True, False]
    assert torch.equal(pixels, before)
    # Beyond white is white.
    assert checker(pixels * 1.5)[1] is True


def test_names_of_older_libraries_are_read(folder):
    expected = load_safety_checker(folder).classifier.state_dict()
    path = folder.safety_checker / "model.safetensors"
    older = {
        ("vision_model." + name if name.startswith("vision_model.") else name): tensor
        for name, tensor in load_file(path).items()
    }
    older["vision_model.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(older, path, metadata={"format": "pt"})
    state = load_safety_checker(folder).classifier.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_a_folder_without_one_has_none(tmp_path):
    assert load_safety_checker(DiffusionFolder(tmp_path)) is None
    (tmp_path / "model_index.json").write_text('{"safety_checker": [null, null]}')
    assert load_safety_checker(DiffusionFolder(tmp_path)) is None


def test_one_that_is_named_but_missing_is_not_passed_over(tmp_path):
    names = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    (tmp_path / "model_index.json").write_text(json.dumps(names))
    with pytest.raises(CheckpointError, match=r"names a safety checker in model_index\.json, but"):
        load_safety_checker(DiffusionFolder(tmp_path))
    DiffusionFolder(tmp_path).copy_companions(tmp_path / "copy")
    with pytest.raises(CheckpointError, match="is not there; copy that folder as well"):
        load_safety_checker(DiffusionFolder(tmp_path / "copy"))


def test_a_checker_that_lacks_weights_is_refused(folder):
    path = folder.safety_checker / "model.safetensors"
    kept = {n: t for n, t in load_file(path).items() if n != "visual_projection.weight"}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks 1 tensors: visual_projection.weight"):
        load_safety_checker(folder)


def test_a_damaged_checker_is_refused(folder):
    (folder.safety_checker / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="cannot read the safety checker"):
        load_safety_checker(folder)
    (folder.safety_checker / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot read the safety checker"):
        load_safety_checker(folder)


def test_a_checker_without_a_feature_extractor_is_refused(folder):
    (folder.feature_extractor / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="no feature_extractor"):
        load_safety_checker(folder)


def test_dtype_and_device_are_the_callers(folder):
    checker = load_safety_checker(folder, dtype=torch.bfloat16, device="cpu")
    assert {weight.dtype for weight in checker.parameters()} == {torch.bfloat16}
    assert len(checker(torch.zeros(2, 3, 40, 50))) == 2
