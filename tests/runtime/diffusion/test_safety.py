"""Which images a safety checker refuses: as diffusers decides, on any engine."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.model.diffusion.safety_folders import PROCESSOR, SIDE, write_safety_checker
from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.diffusion.safety_checker import load_safety_checker
from vl2_ros.processing.images.generator_images import CheckedImages, preprocess_checked
from vl2_ros.runtime.diffusion.safety import SafetyCheck, read_checked_images
from vl2_ros.runtime.torch_backend.diffusion import make_torch_check

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    return write_safety_checker(tmp_path)


def make_pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.2, 1.2, (3, 48, 64)).astype(np.float32)


def ask_diffusers(folder, pixels) -> bool:
    """The answer of the libraries that the checker was made with."""
    shares = np.clip(pixels / 2 + 0.5, 0, 1).transpose(1, 2, 0)
    image = Image.fromarray((shares * 255).round().astype(np.uint8))
    processor = CLIPImageProcessorPil.from_pretrained(folder.feature_extractor)
    given = processor([image], return_tensors="pt").pixel_values
    return load_safety_checker(folder).classifier(given, [np.zeros(1)])[1][0]


def test_images_are_refused_as_by_diffusers(folder):
    checker = load_safety_checker(folder)
    check = make_torch_check(checker, folder, CPU)
    white = np.full((3, 48, 64), 1.5, np.float32)
    for pixels, expected in ((white, True), *((make_pixels(seed), False) for seed in range(3))):
        before = pixels.copy()
        assert check(pixels) is expected and ask_diffusers(folder, pixels) is expected
        assert np.array_equal(pixels, before)


@pytest.mark.parametrize(
    ("concept", "special", "expected"),
    [
        (0.0004, -1, False),  # counts as nothing
        (0.0006, -1, True),
        (-0.0096, -1, False),
        (-0.0094, 0.0004, False),
        (-0.0094, 0.0006, True),  # a special concept makes the limits lower
        (-0.0106, 0.5, False),
    ],
)
def test_margins_count_in_thousandths(concept, special, expected):
    class Engine:
        def run(self, inputs):
            assert inputs["pixels"].shape == (1, 3, SIDE, SIDE)
            return {
                "concept_margins": np.array([[-1, concept]], np.float32),
                "special_margins": np.array([[-1, special]], np.float32),
            }

    check = SafetyCheck(Engine(), CheckedImages.read(PROCESSOR))
    assert check(make_pixels(0)) is expected


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}},
        {"size": {"height": 40, "width": 36}, "crop_size": {"height": SIDE, "width": SIDE}},
        {"size": 40},
    ],
)
def test_images_are_prepared_as_by_transformers(changes):
    pixels = make_pixels(1)
    image = Image.fromarray(
        (np.clip(pixels / 2 + 0.5, 0, 1).transpose(1, 2, 0) * 255).round().astype(np.uint8)
    )
    processor = CLIPImageProcessorPil(**(PROCESSOR | changes))
    known = processor([image], return_tensors="np").pixel_values[0]
    ours = preprocess_checked(pixels, CheckedImages.read(PROCESSOR | changes))
    assert ours.dtype == np.float32 and ours.flags.c_contiguous
    assert np.abs(ours - known).max() < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": None}, "crop_size must be an int"),
        ({"size": "large"}, "size must be an int"),
        ({"image_mean": [1, 2]}, "image_mean must be three numbers"),
        ({"image_std": [0, 1, 1]}, "image_std must be three numbers"),
        ({"resample": 2}, "resample 2; supported: 3"),
        ({"do_normalize": False}, "do_normalize False; supported: True"),
    ],
)
def test_settings_that_cannot_be_used_are_named(folder, changes, message):
    path = folder.feature_extractor / "preprocessor_config.json"
    path.write_text(json.dumps(PROCESSOR | changes))
    with pytest.raises(CheckpointError, match=f"cannot read the feature extractor in .*{message}"):
        read_checked_images(folder)


def test_a_folder_without_a_checker_has_no_settings(tmp_path):
    assert read_checked_images(DiffusionFolder(tmp_path)) is None
