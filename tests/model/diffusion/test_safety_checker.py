"""The safety checker of a Stable Diffusion folder."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.model.diffusion.safety_folders import SIDE, write_safety_checker
from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.diffusion.safety_checker import load_safety_checker


@pytest.fixture
def folder(tmp_path):
    return write_safety_checker(tmp_path)


@torch.inference_mode()
def test_margins_are_likeness_less_limits(folder):
    checker = load_safety_checker(folder)
    known = checker.classifier
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    seen = known.visual_projection(known.vision_model(pixels)[1])[0]
    margins, special = checker(pixels)
    assert (margins.shape, special.shape) == ((1, 17), (1, 3))
    likeness = torch.cosine_similarity(seen[None], known.concept_embeds)
    torch.testing.assert_close(margins[0], likeness - 0.999)
    torch.testing.assert_close(special[0], -likeness[4].expand(3) - 0.999)


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
    margins = checker(torch.zeros(1, 3, SIDE, SIDE))
    assert [one.dtype for one in margins] == [torch.float32] * 2
