"""Convert ROS image messages to RGB: Image by its encoding, CompressedImage by its content.

Messages are read by attribute, so that the classes of every transport work. `store_image` and
`store_compressed_image` only keep the message; its pixels are read when it is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from vl2_ros.errors import InputError, TransportError
from vl2_ros.node.cameras.encodings import (
    Encoding,
    find_encoding,
    is_depth,
    planes_to_rgb,
    split_format,
)
from vl2_ros.node.request import StoredImage
from vl2_ros.processing.images.preprocess import read_stored_pixels
from vl2_ros.structures import MAX_FRAME_PIXELS, Frame


def store_image(message: Any, *, max_pixels: int = MAX_FRAME_PIXELS) -> StoredImage:
    """Keep a sensor_msgs/Image as it is; the message must not change afterwards.

    Args:
        message: the Image.
        max_pixels: a larger one raises TransportError when it is decoded.
    """

    def decode() -> np.ndarray:
        return decode_image(
            height=int(message.height),
            width=int(message.width),
            encoding=message.encoding,
            step=int(message.step),
            is_bigendian=bool(message.is_bigendian),
            data=np.asarray(message.data),
            max_pixels=max_pixels,
        )

    return _store(message, decode)


def store_compressed_image(message: Any, *, max_pixels: int = MAX_FRAME_PIXELS) -> StoredImage:
    """Keep a sensor_msgs/CompressedImage as it is; the message must not change afterwards.

    Args:
        message: the CompressedImage.
        max_pixels: a larger one raises TransportError when it is decoded.
    """

    def decode() -> np.ndarray:
        data = np.asarray(message.data)
        return decode_compressed_image(
            image_format=message.format, data=data, max_pixels=max_pixels
        )

    return _store(message, decode)


def _store(message: Any, decode: Callable[[], np.ndarray]) -> StoredImage:
    stamp = message.header.stamp
    stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    frame_id = str(message.header.frame_id)

    def make_frame() -> Frame:
        return Frame(decode(), stamp_ns, frame_id)

    return StoredImage(stamp_ns, frame_id, make_frame, size_bytes=len(message.data))


def decode_image(
    *,
    height: int,
    width: int,
    encoding: str,
    step: int,
    is_bigendian: bool,
    data: np.ndarray,
    max_pixels: int = MAX_FRAME_PIXELS,
) -> np.ndarray:
    """Turn the fields of a sensor_msgs/Image into RGB.

    16-bit values keep their upper eight bits: the full range of the encoding maps to 0..255. Alpha
    is dropped, as cv_bridge does. Needs at most 4 bytes a pixel beside its result.

    Args:
        height: rows.
        width: columns.
        encoding: a key of `ENCODINGS`.
        step: bytes of one row, padding included; of the luma plane where chroma follows it.
        is_bigendian: byte order of 16-bit values.
        data: (height * step,) uint8, and the chroma plane where there is one.
        max_pixels: an image of more is refused.

    Returns:
        (height, width, 3) uint8: a copy, or a view of `data` where that is read-only, as bytes are,
        and RGB in rows without padding.

    Raises:
        TransportError: if the encoding is not known or means depth, the sizes contradict each
            other or are over the limit.
    """
    form = find_encoding(encoding)
    _check_sides(height, width, encoding, form, max_pixels)
    row_bytes = width * form.channels * form.value_bytes
    if form.chroma_halves and data.size == form.count_bytes(height, row_bytes):
        # Planes without padding; many a driver gives them the step of all planes together.
        step = row_bytes
    if step < row_bytes:
        raise TransportError(
            f"image step is {step}, expected at least {row_bytes} bytes for {width} pixels "
            f"of {encoding}"
        )
    if data.size != form.count_bytes(height, step):
        chroma = " and their chroma" if form.chroma_halves else ""
        raise TransportError(
            f"image has {data.size} bytes, expected {form.count_bytes(height, step)} for "
            f"{height} rows of step {step}{chroma}"
        )
    try:
        if form.chroma_halves:
            return planes_to_rgb(*_cut_planes(height, width, step, data, form), form)
        # Views only, of the upper byte of each value: the conversion below makes the one copy,
        # also of rows with padding.
        rows = data.reshape(height, step)[:, :row_bytes]
        values = rows.reshape(height, width, form.channels, form.value_bytes)
        pixels = values[..., 0 if is_bigendian else form.value_bytes - 1]
        if form.to_rgb is None:
            is_final = pixels.flags.c_contiguous and not data.flags.writeable
            return pixels if is_final else np.array(pixels)
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), form.to_rgb))
    except cv2.error as error:
        raise TransportError(
            f"image of {width}x{height} pixels does not fit encoding {encoding!r}: {error}"
        ) from error


def _check_sides(height: int, width: int, encoding: str, form: Encoding, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise TransportError(f"image of {width}x{height} pixels has no pixel")
    if height * width > max_pixels:
        raise TransportError(
            f"image of {width}x{height} pixels is over the limit of {max_pixels}; resize it first"
        )
    rows, columns = form.multiple_hw
    if height % rows or width % columns:
        raise TransportError(
            f"image of {width}x{height} pixels cannot be {encoding}: expected an even width"
            + (" and height" if rows > 1 else "")
            + ", as pixels share their colour; crop it first"
        )
    if min(height, width) < form.least_side:
        raise TransportError(
            f"image of {width}x{height} pixels is too small for the mosaic {encoding}; expected "
            f"at least {form.least_side}x{form.least_side}"
        )


def _cut_planes(
    height: int, width: int, step: int, data: np.ndarray, form: Encoding
) -> tuple[np.ndarray, np.ndarray]:
    """Return views of luma (H, W) and chroma (h, w, 2), without padding."""
    luma, chroma = data[: height * step], data[height * step :]
    rows = height // form.multiple_hw[0]
    columns = width // form.multiple_hw[1]
    return (
        luma.reshape(height, step)[:, :width],
        chroma.reshape(rows, -1)[:, : 2 * columns].reshape(rows, columns, 2),
    )


def decode_compressed_image(
    *, image_format: str, data: np.ndarray, max_pixels: int = MAX_FRAME_PIXELS
) -> np.ndarray:
    """Turn the fields of a sensor_msgs/CompressedImage into RGB.

    Returns the same pixels as ROS 2's own decoder: not turned by EXIF, since calibration and depth
    belong to the rows and columns as stored, and without alpha, as on the raw topic. A mosaic
    becomes colours. One that the sender has made grey, as compressed_image_transport does for JPEG
    by default (`bayer_rggb8; jpeg compressed mono8`), stays grey.

    Args:
        image_format: the message's `format`, such as `jpeg` or `bgr8; jpeg compressed bgr8`.
        data: the bytes of an image file, (N,) uint8.
        max_pixels: an image whose header declares more is refused.

    Returns:
        (H, W, 3) uint8.

    Raises:
        TransportError: if the bytes are no image, one of depth, or over the limit, or contain a
            mosaic of an unknown pattern.
    """
    if is_depth(image_format):
        raise TransportError(
            f"compressed image of format {image_format!r} contains depth; expected a colour or "
            "grey image, name the camera's colour topic"
        )
    try:
        pixels = read_stored_pixels(np.ascontiguousarray(data).data, max_pixels=max_pixels)
    except InputError as error:
        raise TransportError(f"compressed image of format {image_format!r}: {error}") from error
    if pixels.shape[2] == 1:
        return _colour_grey(pixels, image_format)
    source, target = split_format(image_format)
    if "tiff" in image_format and source.startswith("rgb") and not target:
        # compressed_image_transport passes them to OpenCV's TIFF writer as if they were BGR.
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return pixels


def _colour_grey(pixels: np.ndarray, image_format: str) -> np.ndarray:
    """Return RGB of one channel (H, W, 1): of a mosaic, or grey."""
    source, target = split_format(image_format)
    # A sender that made the mosaic grey names that as what it compressed.
    pattern = target or source
    if not pattern.startswith("bayer"):
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB))
    try:
        form = find_encoding(pattern)
        height, width = pixels.shape[:2]
        _check_sides(height, width, pattern, form, max_pixels=pixels.size)
    except TransportError as error:
        raise TransportError(f"compressed image of format {image_format!r}: {error}") from error
    return np.asarray(cv2.cvtColor(pixels, form.to_rgb or cv2.COLOR_GRAY2RGB))
