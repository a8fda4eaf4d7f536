from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vl2_ros.errors import InputError
from vl2_ros.processing.images.preprocess import read_image
from vl2_ros.processing.images.training_images import (
    crop_shortest_edge,
    preprocess_drawn,
    preprocess_edited,
)
from vl2_ros.structures import Frame

PHOTOS = (
    Path(__file__).resolve().parents[4] / "shared" / "data" / "photos",
    Path(__file__).resolve().parents[2] / "data" / "photos",
)


def make_frame(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return Frame(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def find_photo(info):
    for folder in PHOTOS:
        path = folder / info["file"]
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == info["sha256"]:
            return path
    pytest.skip(f"no photo folder has {info['file']}")


@pytest.mark.golden
def test_a_photo_is_cropped_as_the_reference_was(golden_dir):
    root = golden_dir / "release_tiny"
    info = json.loads((root / "edit.json").read_text())
    expected = load_file(root / "edit.safetensors")["source_uint8"]
    frame = read_image(find_photo(info["photo"]))
    cropped = crop_shortest_edge(frame.rgb, expected.shape[0])
    assert np.abs(cropped.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("frame_hw", [(40, 60), (60, 40), (33, 33), (20, 101)])
def test_an_edit_is_the_middle_of_both_images(frame_hw):
    source, target = make_frame(*frame_hw), make_frame(*frame_hw, seed=1)
    first, second = preprocess_edited(source, target, side=16)
    for frame, pixels in ((source, first), (target, second)):
        assert pixels.shape == (3, 16, 16) and pixels.dtype == np.float32
        cropped = crop_shortest_edge(frame.rgb, 16)
        assert np.allclose((pixels.transpose(1, 2, 0) + 1) * 127.5, cropped, atol=1e-3)
    assert not np.array_equal(first, second)


def test_a_crop_at_scale_one_takes_the_middle_columns():
    rgb = make_frame(16, 21).rgb
    # (21 - 16) / 2 = 2.5, which rounds to the even 2.
    assert np.array_equal(crop_shortest_edge(rgb, 16), rgb[:, 2:18])
    assert np.array_equal(crop_shortest_edge(rgb[:, :16], 16), rgb[:, :16])


def test_the_released_sizes_are_the_defaults():
    frame = make_frame(30, 40)
    assert preprocess_drawn(frame).shape == (3, 512, 512)
    assert preprocess_edited(frame, frame)[0].shape == (3, 256, 256)


@pytest.mark.parametrize("is_tall", [True, False])
def test_a_generation_target_keeps_the_whole_image_on_white(is_tall):
    frame = Frame(np.zeros((40, 20, 3) if is_tall else (20, 40, 3), dtype=np.uint8))
    pixels = preprocess_drawn(frame, side=40)
    assert pixels.shape == (3, 40, 40)
    image = pixels if is_tall else pixels.swapaxes(1, 2)
    assert (image[:, :, 10:30] == -1).all()
    assert (image[:, :, :10] == 1).all() and (image[:, :, 30:] == 1).all()


def test_values_lie_between_minus_one_and_one():
    rgb = np.zeros((8, 8, 3), dtype=np.uint8)
    rgb[:4] = 255
    pixels = preprocess_drawn(Frame(rgb), side=8)
    assert pixels.min() == -1 and pixels.max() == 1


def test_images_of_two_sizes_are_no_edit():
    with pytest.raises(InputError, match=r"source of \(8, 9\) and a target of \(9, 8\)"):
        preprocess_edited(make_frame(8, 9), make_frame(9, 8))


def test_a_square_over_the_limit_is_refused():
    with pytest.raises(InputError, match="over the limit"):
        preprocess_drawn(Frame(np.zeros((1, 10_001, 3), dtype=np.uint8)))
