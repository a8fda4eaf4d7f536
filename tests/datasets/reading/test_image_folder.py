from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.reading.image_folder import ImageFolder, find_images


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_labels_may_be_for_stored_or_upright_pixels(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(256, size=(6, 9, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    stored = np.asarray(image.convert("RGB"))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    folder = ImageFolder(tmp_path)
    assert (folder.read("turned.png", (6, 9)).rgb == stored).all()
    upright = np.rot90(stored, -1)
    assert (folder.read("turned.png", (9, 6)).rgb == upright).all()
    assert (folder.read("turned.png").rgb == upright).all()
    for size in ((9, 9), (6, 6), (7, 9)):
        with pytest.raises(BadRecordError, match="labels for"):
            folder.read("turned.png", size)
    image.save(tmp_path / "plain.png")
    with pytest.raises(BadRecordError, match="labels for"):
        folder.read("plain.png", (9, 6))


def test_images_lie_beside_their_index(tmp_path):
    index = tmp_path / "index.json"
    assert find_images(index, None) == tmp_path
    (tmp_path / "images").mkdir()
    assert find_images(index, None) == tmp_path / "images"
    assert find_images(index, tmp_path / "photos") == tmp_path / "photos"
