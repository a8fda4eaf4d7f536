from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.geometry import CanvasRange
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import (
    CLIP_MEAN,
    CLIP_STD,
    choose_grid,
    count_tiles,
    cut_tiles,
    fit_letterbox,
    fit_pose_letterbox,
    pad_to_square,
    preprocess_decoder,
    preprocess_vision,
    read_image,
)
from vl2_ros.structures import MAX_FRAME_PIXELS, Frame

SMALL = ProcessingConfig(
    vision_side=28, vision_tokens=4, decoder_short=96, decoder_long=160, decoder_multiple=32
)
#: One uint8 step of the resize libraries, twice, after normalisation.
PIXEL_TOLERANCE = 2 / 255 / float(CLIP_STD.min())


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def image(height: int = 40, width: int = 60) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 % 256, columns * 4 % 256, (rows + columns) % 256], 2).astype(np.uint8)


def flat_png(width: int, height: int, *, rows: int) -> bytes:
    """A grey PNG of one colour with the data of its first rows, built without holding pixels."""
    packer = zlib.compressobj(9)
    row = b"\0" + b"\x80" * width
    data = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()

    def chunk(name: bytes, body: bytes) -> bytes:
        checked = name + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.golden
def test_grids_equal_the_reference(golden: Any) -> None:
    _, content = golden("core_preprocess")
    assert content["grid_table"]
    for row in content["grid_table"]:
        grid = choose_grid((row["height"], row["width"]), row["image_size"], row["max_tile"])
        assert list(grid) == row["grid_cols_rows"], row


@pytest.mark.golden
def test_pixels_equal_the_reference(golden: Any) -> None:
    tensors, content = golden("core_preprocess")
    frame = Frame(tensors["image_u8"])
    side = tensors["anyres_u8"].shape[1]
    max_tiles = len(tensors["anyres_u8"]) - 1
    tiles = cut_tiles(frame.rgb, side, max_tiles)
    assert np.abs(tiles.astype(int) - tensors["anyres_u8"]).max() <= 2
    np.testing.assert_array_equal(pad_to_square(frame.rgb), tensors["pad_square_u8"])
    assert tuple(content["pad_background"]) == tuple(tensors["pad_square_u8"][0, 0])
    for aspect in ("anyres", "pad", "resize"):
        config = ProcessingConfig(
            vision_side=side, vision_tokens=4, aspect=aspect, max_tiles=max_tiles
        )
        pixels = preprocess_vision(frame, config)
        wanted = tensors[f"{aspect}_pixels"].reshape(pixels.shape)
        np.testing.assert_allclose(pixels, wanted, atol=PIXEL_TOLERANCE, err_msg=aspect)


@pytest.mark.golden
@pytest.mark.parametrize("case", ["chat", "det", "region"])
def test_release_images_equal_the_reference(golden_dir: Path, golden: Any, case: str) -> None:
    tensors, content = golden(f"release_tiny/{case}")
    photo = golden_dir.parent / "data" / "photos" / content["photo"]["file"]
    if not photo.is_file():
        pytest.skip(f"needs the photo {photo.name}")
    frame = read_image(photo)
    assert hashlib.sha256(frame.rgb.tobytes()).hexdigest() == content["photo"]["rgb_sha256"]
    assert frame.frame_hw == (content["photo"]["height"], content["photo"]["width"])
    rule = content["clip_preprocess"]
    decoder_rule = content.get("decoder_preprocess", {}).get("scale_rule", "")
    limits = {side: int(pixels) for pixels, side in re.findall(r"(\d+)/(long|short)", decoder_rule)}
    config = ProcessingConfig(
        vision_side=rule["image_size"],
        max_tiles=rule["max_tile"],
        decoder_short=limits.get("short", 1),
        decoder_long=limits.get("long", 1),
    )
    assert count_tiles(frame.frame_hw, config) == rule["splits"]
    pixels = preprocess_vision(frame, config)
    np.testing.assert_allclose(pixels, tensors["clip_pixels"], atol=PIXEL_TOLERANCE)
    if "decoder_image" in tensors:
        decoder, mask, letterbox = preprocess_decoder(frame, config)
        height, width = content["decoder_preprocess"]["size_hw"]
        assert letterbox.model_hw == (height, width)
        assert letterbox.padded_hw == tensors["pixel_mask"].shape[1:]
        np.testing.assert_array_equal(mask, tensors["pixel_mask"][0].astype(bool))
        np.testing.assert_allclose(
            decoder[:, :height, :width], tensors["decoder_image"], atol=2 / 57
        )
        assert not decoder[:, ~mask].any()


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_lossless_formats_come_back_unchanged(kind: str, options: dict) -> None:
    rgb = image()
    np.testing.assert_array_equal(
        read_image(encode(Image.fromarray(rgb), kind, **options)).rgb, rgb
    )


def test_jpeg_is_read_as_opencv_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(encode(Image.fromarray(image()), "JPEG", quality=95))
    np.testing.assert_array_equal(read_image(path).rgb, cv2.imread(str(path))[:, :, ::-1])


def test_grey_image_becomes_rgb() -> None:
    grey = image()[:, :, 0]
    rgb = read_image(encode(Image.fromarray(grey), "PNG")).rgb
    np.testing.assert_array_equal(rgb, np.repeat(grey[:, :, None], 3, axis=2))


def test_one_bit_image_becomes_black_and_white() -> None:
    bits = image()[:, :, 0] > 100
    rgb = read_image(encode(Image.fromarray(bits), "PNG")).rgb
    np.testing.assert_array_equal(rgb[:, :, 1], bits * 255)


def test_sixteen_bit_grey_is_scaled_from_its_full_range() -> None:
    wide = np.linspace(0, 65535, 2400).astype(np.uint16).reshape(40, 60)
    for kind in ("PNG", "TIFF"):
        rgb = read_image(encode(Image.fromarray(wide), kind)).rgb
        np.testing.assert_allclose(rgb[:, :, 0], wide / 257, atol=0.51)
        assert rgb[0, 0, 0] == 0 and rgb[-1, -1, 2] == 255


def test_sixteen_bit_colour_is_narrowed() -> None:
    wide = image().astype(np.uint16) * 257
    ok, content = cv2.imencode(".png", wide[:, :, ::-1])
    assert ok
    np.testing.assert_allclose(read_image(content.tobytes()).rgb, image(), atol=1)


def test_transparency_is_laid_over_white() -> None:
    rgba = np.dstack([image(), np.zeros((40, 60), np.uint8)])
    rgba[:20, :, 3] = 255
    rgb = read_image(encode(Image.fromarray(rgba), "PNG")).rgb
    np.testing.assert_array_equal(rgb[:20], rgba[:20, :, :3])
    assert (rgb[20:] == 255).all()


def test_palette_and_its_transparency() -> None:
    indexed = Image.fromarray(image()).quantize(16)
    wanted = np.array(indexed.convert("RGB"))
    np.testing.assert_array_equal(read_image(encode(indexed, "PNG")).rgb, wanted)
    first = np.array(indexed) == 0
    clear = read_image(encode(indexed, "PNG", transparency=0)).rgb
    assert (clear[first] == 255).all()
    np.testing.assert_array_equal(clear[~first], wanted[~first])


def test_cmyk_jpeg_becomes_rgb() -> None:
    colour = Image.new("RGB", (32, 32), (200, 30, 60)).convert("CMYK")
    rgb = read_image(encode(colour, "JPEG", quality=100)).rgb
    np.testing.assert_allclose(rgb[16, 16], (200, 30, 60), atol=6)


def test_floating_point_image_raises() -> None:
    content = encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(InputError, match="floating point.*expected 8 or 16 bit"):
        read_image(content)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.fromarray(image(40, 60)), "PNG", exif=exif)
    np.testing.assert_array_equal(read_image(content).rgb, np.rot90(image(40, 60), -1))


def test_animation_gives_its_first_image() -> None:
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    content = encode(pages[0], "GIF", save_all=True, append_images=pages[1:])
    assert read_image(content).rgb[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"this is no image at all", "not an image.*expected a JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged"),
    ],
)
def test_what_is_no_image_raises(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_image(content)
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"image.png.*({message})"):
        read_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_image_raises(kind: str, share: float) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), kind)
    with pytest.raises(InputError, match="truncated|damaged|not an image"):
        read_image(content[: int(len(content) * share)])


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF"]), st.data())
def test_damaged_bytes_raise_nothing_but_input_errors(kind: str, data: st.DataObject) -> None:
    content = bytearray(encode(Image.fromarray(image(16, 16)), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        frame = read_image(bytes(content))
    except InputError:
        return
    assert frame.rgb.ndim == 3


def test_missing_file_and_folder_raise(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read .*nowhere.png.*expected an image file"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="expected an image file"):
        read_image(tmp_path)


@pytest.mark.parametrize(("width", "height"), [(12000, 9000), (20000, 20000)])
@pytest.mark.filterwarnings("error")
def test_image_over_the_limit_raises_before_it_is_decoded(width: int, height: int) -> None:
    with pytest.raises(InputError, match=f"limit of {MAX_FRAME_PIXELS}|limit is"):
        read_image(flat_png(width, height, rows=1))


def test_one_pixel_goes_through_every_step() -> None:
    frame = read_image(encode(Image.new("RGB", (1, 1), (10, 20, 30)), "PNG"))
    for aspect in ("anyres", "pad", "resize"):
        config = ProcessingConfig(vision_side=28, vision_tokens=4, aspect=aspect)
        pixels = preprocess_vision(frame, config)
        expected = (np.array([10, 20, 30]) / 255 - CLIP_MEAN) / CLIP_STD
        np.testing.assert_allclose(pixels[0, :, 14, 14], expected, rtol=1e-5)
    pixels, mask, letterbox = preprocess_decoder(frame, SMALL)
    assert pixels.shape == (3, 96, 96) and mask.all()
    assert letterbox.model_hw == (96, 96)


def test_a_large_image_goes_through_every_step() -> None:
    frame = read_image(flat_png(6000, 4500, rows=4500))
    assert preprocess_vision(frame, SMALL).shape[1:] == (3, 28, 28)
    pixels, mask, letterbox = preprocess_decoder(frame, SMALL)
    assert letterbox.model_hw == (96, 128) and pixels.shape == (3, 96, 128)
    assert mask.all()


@pytest.mark.parametrize("frame_hw", [(1, 5000), (5000, 1), (3, 40000)])
def test_thin_images_keep_at_least_one_row(frame_hw: tuple[int, int]) -> None:
    frame = Frame(np.full((*frame_hw, 3), 90, np.uint8))
    pixels, mask, letterbox = preprocess_decoder(frame, SMALL)
    assert min(letterbox.model_hw) >= 1 and max(letterbox.model_hw) <= 160
    assert mask.any() and np.isfinite(pixels).all()
    assert preprocess_vision(frame, SMALL).shape[1:] == (3, 28, 28)


@pytest.mark.parametrize("aspect", ["pad", "resize"])
def test_images_too_thin_for_the_aspect_rule_raise(aspect: str) -> None:
    config = ProcessingConfig(vision_side=336, aspect=aspect)
    frame = Frame(np.zeros((1, 2_000_000, 3), np.uint8))
    with pytest.raises(InputError, match="less long and thin"):
        preprocess_vision(frame, config)


@settings(deadline=None)
@given(st.integers(1, 2500), st.integers(1, 2500))
def test_decoder_canvas_follows_the_rule(height: int, width: int) -> None:
    letterbox = fit_letterbox((height, width), ProcessingConfig())
    short, long = sorted(letterbox.model_hw)
    assert 1 <= short <= 800 and long <= 1333
    assert short == 800 or long == 1333
    for padded, side in zip(letterbox.padded_hw, letterbox.model_hw, strict=True):
        assert padded % 32 == 0 and 0 <= padded - side < 32


SIDE = st.integers(32, 1600)


@settings(deadline=None)
@given(
    st.integers(1, 2500),
    st.integers(1, 2500),
    st.lists(st.tuples(SIDE, SIDE, SIDE, SIDE), min_size=1, max_size=3),
    st.sampled_from([fit_letterbox, fit_pose_letterbox]),
)
def test_every_image_fits_a_canvas_that_an_engine_takes(height, width, sides, fit) -> None:
    canvases = [CanvasRange((min(a, b), min(c, d)), (max(a, b), max(c, d))) for a, b, c, d in sides]
    own = fit((height, width), ProcessingConfig())
    letterbox = fit((height, width), ProcessingConfig(), canvases)
    padded = np.array(letterbox.padded_hw)
    assert any(np.all((padded >= one.least_hw) & (padded <= one.most_hw)) for one in canvases)
    if any(np.all(np.array(own.model_hw) <= one.most_hw) for one in canvases):
        assert letterbox.model_hw == own.model_hw
    # Made smaller, it keeps its aspect to the pixel and touches a side of its canvas.
    factor = min(letterbox.model_hw[0] / height, letterbox.model_hw[1] / width)
    for side, model in zip((height, width), letterbox.model_hw, strict=True):
        assert abs(model - side * factor) <= 1 + side / min(height, width)


@pytest.mark.parametrize(
    ("frame_hw", "model_hw"),
    [
        ((480, 640), (800, 1067)),
        ((720, 1280), (750, 1333)),
        ((1080, 1920), (750, 1333)),
        ((600, 600), (800, 800)),
        # Upright images are made smaller.
        ((640, 480), (800, 600)),
        ((1280, 720), (800, 450)),
    ],
)
def test_camera_images_keep_their_size_on_the_canvas_of_swin(frame_hw, model_hw) -> None:
    canvas = CanvasRange((800, 1344), (800, 1344))
    letterbox = fit_letterbox(frame_hw, ProcessingConfig(), [canvas])
    assert (letterbox.model_hw, letterbox.padded_hw) == (model_hw, (800, 1344))


def test_of_several_canvases_the_one_with_the_largest_image_and_least_padding_is_taken() -> None:
    canvases = [CanvasRange(hw, hw) for hw in ((1344, 1344), (800, 1344), (1344, 800))]
    for frame_hw, padded_hw in (((480, 640), (800, 1344)), ((640, 480), (1344, 800))):
        letterbox = fit_letterbox(frame_hw, ProcessingConfig(), canvases)
        assert letterbox.padded_hw == padded_hw
        assert max(letterbox.model_hw) == 1067


def test_a_canvas_without_a_size_is_refused() -> None:
    for least, most in (((0, 32), (32, 32)), ((64, 32), (32, 64))):
        with pytest.raises(ShapeError, match="at least 1 and least_hw within most_hw"):
            CanvasRange(least, most)


def test_tiles_are_cut_row_by_row_with_the_thumbnail_last() -> None:
    rgb = np.zeros((56, 84, 3), np.uint8)
    for index in range(6):
        rgb[index // 3 * 28 :, index % 3 * 28 :][:28, :28] = index * 10
    tiles = cut_tiles(rgb, 28, 6)
    assert tiles.shape == (7, 28, 28, 3)
    assert [tile[14, 14, 0] for tile in tiles[:6]] == [0, 10, 20, 30, 40, 50]


def test_the_callers_image_is_not_changed() -> None:
    frame = Frame(image(28, 28))
    before = frame.rgb.copy()
    preprocess_vision(frame, SMALL)
    preprocess_decoder(frame, SMALL)
    np.testing.assert_array_equal(frame.rgb, before)
