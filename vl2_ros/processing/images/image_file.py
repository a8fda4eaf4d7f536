"""Read an image file, or its bytes, into a `Frame`, in little more memory than the frame needs."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from vl2_ros.errors import InputError
from vl2_ros.processing.images.jpeg import decode_jpeg
from vl2_ros.structures import MAX_FRAME_PIXELS, Frame

#: Pillow names of the formats that are read; the list keeps interpreters such as EPS out.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_EXPECTED = "expected a JPEG, PNG, WebP, TIFF, BMP, GIF or PPM image"
#: EXIF orientation -> how the stored rows and columns become upright; 1 is as stored.
_ORIENTATION_TAG = 0x0112
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda rgb: rgb[:, ::-1],
    3: lambda rgb: rgb[::-1, ::-1],
    4: lambda rgb: rgb[::-1],
    5: lambda rgb: rgb.transpose(1, 0, 2),
    6: lambda rgb: rgb[::-1].transpose(1, 0, 2),
    7: lambda rgb: rgb[::-1, ::-1].transpose(1, 0, 2),
    8: lambda rgb: rgb[:, ::-1].transpose(1, 0, 2),
}
#: Pillow's modes that have no colour, beside those of more than 8 bit.
_GREY_MODES = ("1", "L", "LA", "La")
#: Pixels that are converted together.
_STRIP_PIXELS = 1 << 16
#: What Pillow's readers raise on damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def read_image(
    source: Path | str | bytes | memoryview, *, max_pixels: int = MAX_FRAME_PIXELS
) -> Frame:
    """Read one image.

    The EXIF orientation is applied, transparency is laid over white, 16-bit grey is scaled from
    its full range to 8 bit, and of an animation the first image is read. Beside its result it
    needs at most 6 bytes a pixel, 7 for a progressive JPEG whose colours are as fine as its grey.

    Args:
        source: path of a file, or the bytes of one.
        max_pixels: an image whose header declares more is refused before it is decoded.

    Returns:
        The frame, with stamp 0.

    Raises:
        InputError: if it is missing, empty, no image, damaged, or over the pixel limit.
    """
    if isinstance(source, bytes | memoryview):
        return Frame(_read_upright(_open_bytes(source), "the image", max_pixels))
    try:
        with Path(source).open("rb") as file:
            return Frame(_read_upright(file, str(source), max_pixels))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {source}: {reason}; expected an image file") from error


def read_pillow_image(image: Image.Image, *, max_pixels: int = MAX_FRAME_PIXELS) -> Frame:
    """Convert an image that is open in Pillow, by the rules of `read_image`.

    Raises:
        InputError: if it has no pixel, floating point pixels, is damaged, or over the pixel limit.
    """
    name = "the image"
    _check_size(image, name, max_pixels)
    try:
        image.load()
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        return Frame(_make_upright(_to_array(image, name, _lay_on_white), orientation))
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"{name} cannot be read ({error}); expected a complete image") from error


def read_stored_pixels(
    source: bytes | memoryview, *, max_pixels: int = MAX_FRAME_PIXELS
) -> np.ndarray:
    """Read the pixels of an image file as they are stored.

    As `read_image`, but the EXIF orientation is left alone and alpha is dropped, which is what
    OpenCV's `imdecode` and cv_bridge make of an image.

    Args:
        source: the bytes of a file.
        max_pixels: an image whose header declares more is refused before it is decoded.

    Returns:
        (H, W, 3) uint8 RGB; (H, W, 1) where the file has grey alone.

    Raises:
        InputError: as `read_image`.
    """
    return _read_file(_open_bytes(source), "the image", max_pixels, _drop_alpha)[0]


def read_grey16(source: bytes | memoryview, *, max_pixels: int = MAX_FRAME_PIXELS) -> np.ndarray:
    """Read the values of a file of 16-bit grey, such as depth, as they are stored.

    Args:
        source: the bytes of a file.
        max_pixels: an image whose header declares more is refused before it is decoded.

    Returns:
        (H, W) uint16.

    Raises:
        InputError: as `read_image`, and if the file has not one channel of 16 bit.
    """
    name = "the image"
    image = _open_image(_open_bytes(source), name, max_pixels)
    if not image.mode.startswith("I"):
        raise InputError(f"{name} has pixels of kind {image.mode}; expected one channel of 16 bit")
    try:
        image.load()
        _check_range(image, name)
        return np.asarray(image).astype(np.uint16)
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(
            f"{name} is truncated or damaged ({error}); expected a complete file"
        ) from error


def read_label_image(path: Path, *, max_pixels: int = MAX_FRAME_PIXELS) -> np.ndarray:
    """Read the values of an image of labels, grey or of a palette, as they are stored.

    Returns:
        (H, W) uint16.

    Raises:
        InputError: as `read_image`, and if the file has several channels.
    """
    try:
        image = _open_image(_open_bytes(path.read_bytes()), str(path), max_pixels)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        raise InputError(f"{path} has pixels of kind {image.mode}; expected one channel of labels")
    try:
        image.load()
        if image.mode.startswith("I"):
            _check_range(image, str(path))
        return np.asarray(image).astype(np.uint16)
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"{path} is truncated or damaged ({error})") from error


class _View(io.RawIOBase):
    """Bytes as a file, without a copy of them."""

    def __init__(self, data: memoryview) -> None:
        self._data = data.cast("B")
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._data)}[whence]
        if origin + offset < 0:
            raise ValueError(f"cannot seek to {origin + offset}")
        self._place = origin + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._place : self._place + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)


def _open_bytes(source: bytes | memoryview) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return io.BufferedReader(_View(source))


def _read_upright(file: BinaryIO, name: str, max_pixels: int) -> np.ndarray:
    """Read an open file; returns (H, W, 3) uint8, turned as EXIF says, on white."""
    return _make_upright(*_read_file(file, name, max_pixels, _lay_on_white))


def _make_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if pixels.shape[2] == 1:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB))
    turn = _TURNS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _read_file(
    file: BinaryIO, name: str, max_pixels: int, without_alpha: Callable[[Image.Image], Image.Image]
) -> tuple[np.ndarray, int]:
    """Read an open file; returns (H, W, 3 or 1) uint8 as stored, and the EXIF orientation."""
    image = _open_image(file, name, max_pixels)
    try:
        pixels = _decode_jpeg(image, file)
        if pixels is None:
            pixels = _to_array(_load_pixels(image, file), name, without_alpha)
        return pixels, image.getexif().get(_ORIENTATION_TAG, 1)
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(
            f"{name} is truncated or damaged ({error}); expected a complete file"
        ) from error


def _open_image(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(8)
    file.seek(0)
    if not size:
        raise InputError(f"{name} is empty (0 bytes); {_EXPECTED}")
    try:
        with warnings.catch_warnings():
            # The size is checked below, against the limit of this package.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} is not an image that can be read; {_EXPECTED}, got {size} bytes "
            f"that begin with {head!r}"
        ) from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise InputError(f"{name} is over the limit of {max_pixels} pixels") from error
    except _DAMAGED as error:
        raise InputError(f"{name} is damaged ({error}); {_EXPECTED}") from error
    _check_size(image, name, max_pixels)
    return image


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise InputError(
            f"{name} has {width}x{height} pixels, the limit is {max_pixels}; resize it first"
        )


def _decode_jpeg(image: Image.Image, file: BinaryIO) -> np.ndarray | None:
    """Decode to (H, W, 3 or 1) uint8 by OpenCV; None where Pillow has to."""
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    place = file.tell()
    file.seek(0)
    data = memoryview(file.read())
    file.seek(place)
    return decode_jpeg(data, (image.height, image.width), is_grey=image.mode == "L")


def _load_pixels(image: Image.Image, file: BinaryIO) -> Image.Image | np.ndarray:
    """Decode; WebP by OpenCV to (H, W, 3 or 4) BGR, as Pillow keeps three copies for animations."""
    if image.format == "WEBP":
        file.seek(0)
        opaque = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        flags = opaque if image.mode == "RGB" else cv2.IMREAD_UNCHANGED
        bgr = cv2.imdecode(np.frombuffer(file.read(), np.uint8), flags)
        if bgr is not None and bgr.shape[:2] == (image.height, image.width):
            return np.asarray(bgr)
    image.load()
    return image


def _to_array(
    pixels: Image.Image | np.ndarray,
    name: str,
    without_alpha: Callable[[Image.Image], Image.Image],
) -> np.ndarray:
    """Convert strip by strip to (H, W, 3 or 1); the libraries' own copies are of the whole."""
    mode = pixels.mode if isinstance(pixels, Image.Image) else ""
    if mode == "F":
        raise InputError(
            f"{name} has floating point pixels; expected 8 or 16 bit per channel, convert it"
        )
    if isinstance(pixels, Image.Image) and mode.startswith("I"):
        _check_range(pixels, name)
    is_grey = mode in _GREY_MODES or mode.startswith("I")
    array = np.empty((*_find_size(pixels), 1 if is_grey else 3), np.uint8)
    for top, strip in _cut_strips(pixels):
        array[top : top + strip.height] = _strip_to_array(strip, is_grey, without_alpha)
    return array


def _find_size(pixels: Image.Image | np.ndarray) -> tuple[int, int]:
    if isinstance(pixels, Image.Image):
        return pixels.height, pixels.width
    return pixels.shape[0], pixels.shape[1]


def _cut_strips(pixels: Image.Image | np.ndarray) -> Iterator[tuple[int, Image.Image]]:
    height, width = _find_size(pixels)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        if isinstance(pixels, Image.Image):
            yield top, pixels.crop((0, top, width, bottom))
        else:
            code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
            yield top, Image.fromarray(cv2.cvtColor(pixels[top:bottom], code))


def _strip_to_array(
    strip: Image.Image, is_grey: bool, without_alpha: Callable[[Image.Image], Image.Image]
) -> np.ndarray:
    """Return (h, W, 1) uint8 of grey, else (h, W, 3)."""
    if strip.mode.startswith("I"):
        return ((np.asarray(strip).astype(np.int64) + 128) // 257).astype(np.uint8)[:, :, None]
    if strip.has_transparency_data:
        strip = without_alpha(strip.convert("RGBA"))
    if is_grey:
        return np.asarray(strip.convert("L"))[:, :, None]
    return np.asarray(strip.convert("RGB"))


def _lay_on_white(rgba: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)


def _drop_alpha(rgba: Image.Image) -> Image.Image:
    return rgba.convert("RGB")


def _check_range(image: Image.Image, name: str) -> None:
    least, most = 0, 0
    for _, strip in _cut_strips(image):
        values = np.asarray(strip)
        least, most = min(least, int(values.min())), max(most, int(values.max()))
    if least < 0 or most > 65535:
        raise InputError(
            f"{name} has values from {least} to {most}; expected 8 or 16 bit "
            "per channel, convert it"
        )
