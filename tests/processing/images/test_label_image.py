from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vl2_ros.errors import InputError
from vl2_ros.processing.images.image_file import read_label_image

VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("kind", ["grey", "palette", "wide"])
def test_values_are_those_that_are_stored(tmp_path: Path, kind: str) -> None:
    path, expected = tmp_path / "labels.png", VALUES.astype(np.uint16)
    if kind == "wide":
        expected = expected * 300
        Image.fromarray(expected).save(path)
    elif kind == "palette":
        image = Image.fromarray(VALUES, "L").convert("P")
        image.putdata(VALUES.reshape(-1).tolist())
        # The colours say nothing about the values.
        image.putpalette([255 - value for value in range(256) for _ in range(3)])
        image.save(path)
    else:
        Image.fromarray(VALUES).save(path)
    values = read_label_image(path)
    assert (values.shape, values.dtype) == ((3, 4), np.uint16)
    np.testing.assert_array_equal(values, expected)


def test_colours_are_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "colours.png"
    Image.new("RGB", (4, 3)).save(path)
    with pytest.raises(InputError, match="pixels of kind RGB"):
        read_label_image(path)


def test_missing_damaged_and_large_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.png"
    with pytest.raises(InputError, match="cannot read"):
        read_label_image(path)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(noise).save(path)
    with pytest.raises(InputError, match="1600|pixels"):
        read_label_image(path, max_pixels=100)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_label_image(path)
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match="labels|image"):
        read_label_image(path)
