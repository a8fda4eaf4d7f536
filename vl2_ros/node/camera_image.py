"""ROS picture messages to RGB: sensor_msgs/Image by its encoding, CompressedImage by its content.

Messages are read by attribute, so that the classes of every transport will do. `store_image` and
`store_compressed_image` only keep the message; its pixels are touched when somebody decodes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vl2_ros.errors import InputError, TransportError
from vl2_ros.node.request import StoredImage
from vl2_ros.processing.image import read_image
from vl2_ros.structures import MAX_FRAME_PIXELS, Frame

#: Encodings and formats that hold depth; not a picture, and not an error on a depth topic.
DEPTH_ENCODINGS = frozenset({"16UC1", "32FC1"})


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the bytes of one pixel become RGB.

    Attributes:
        dtype: of one channel.
        channels: values per pixel as stored.
        to_rgb: OpenCV conversion code, or None when the bytes are RGB already.
    """

    dtype: str
    channels: int
    to_rgb: int | None


# OpenCV names a Bayer pattern by its second row and column, ROS by its first.
ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding("u1", 3, None),
    "rgba8": Encoding("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgr8": Encoding("u1", 3, cv2.COLOR_BGR2RGB),
    "bgra8": Encoding("u1", 4, cv2.COLOR_BGRA2RGB),
    "8UC3": Encoding("u1", 3, cv2.COLOR_BGR2RGB),
    "8UC4": Encoding("u1", 4, cv2.COLOR_BGRA2RGB),
    "8UC1": Encoding("u1", 1, cv2.COLOR_GRAY2RGB),
    "mono8": Encoding("u1", 1, cv2.COLOR_GRAY2RGB),
    "mono16": Encoding("u2", 1, cv2.COLOR_GRAY2RGB),
    "rgb16": Encoding("u2", 3, None),
    "bgr16": Encoding("u2", 3, cv2.COLOR_BGR2RGB),
    "rgba16": Encoding("u2", 4, cv2.COLOR_RGBA2RGB),
    "bgra16": Encoding("u2", 4, cv2.COLOR_BGRA2RGB),
    "bayer_rggb8": Encoding("u1", 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": Encoding("u1", 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": Encoding("u1", 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": Encoding("u1", 1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": Encoding("u2", 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": Encoding("u2", 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": Encoding("u2", 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": Encoding("u2", 1, cv2.COLOR_BayerGB2RGB),
    "uyvy": Encoding("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422": Encoding("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": Encoding("u1", 2, cv2.COLOR_YUV2RGB_YUYV),
    "yuv422_yuy2": Encoding("u1", 2, cv2.COLOR_YUV2RGB_YUYV),
}


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

    return StoredImage(stamp_ns, frame_id, make_frame)


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

    16-bit values keep their upper eight bits: the full range of the encoding maps to 0..255. Takes
    at most 4 bytes a pixel beside its result.

    Args:
        height: rows.
        width: columns.
        encoding: a key of `ENCODINGS`.
        step: bytes of one row, padding included.
        is_bigendian: byte order of 16-bit values.
        data: (height * step,) uint8.
        max_pixels: an image of more is refused.

    Returns:
        (height, width, 3) uint8, a copy.

    Raises:
        TransportError: if the encoding is not known or means depth, the sizes contradict each
            other or are over the limit.
    """
    if is_depth(encoding):
        raise TransportError(
            f"image of encoding {encoding!r} holds depth; expected a colour or grey picture, "
            "name the camera's colour topic"
        )
    form = ENCODINGS.get(encoding)
    if form is None:
        raise TransportError(
            f"image encoding {encoding!r} is not known; expected one of {', '.join(ENCODINGS)}"
        )
    value_bytes = np.dtype(form.dtype).itemsize
    row_bytes = width * form.channels * value_bytes
    if height < 1 or width < 1:
        raise TransportError(f"image of {width}x{height} pixels has no pixel")
    if height * width > max_pixels:
        raise TransportError(
            f"image of {width}x{height} pixels is over the limit of {max_pixels}; resize it first"
        )
    if step < row_bytes:
        raise TransportError(
            f"image step is {step}, expected at least {row_bytes} bytes for {width} pixels "
            f"of {encoding}"
        )
    if data.size != height * step:
        raise TransportError(
            f"image holds {data.size} bytes, expected {height * step} for {height} rows "
            f"of step {step}"
        )
    # Views only, of the upper byte of each value: the conversion below makes the one copy, also of
    # rows with padding.
    rows = data.reshape(height, step)[:, :row_bytes]
    values = rows.reshape(height, width, form.channels, value_bytes)
    pixels = values[..., 0 if is_bigendian else value_bytes - 1]
    if form.to_rgb is None:
        return np.array(pixels)
    try:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), form.to_rgb))
    except cv2.error as error:
        raise TransportError(
            f"image of {width}x{height} pixels does not fit encoding {encoding!r}: {error}"
        ) from error


def decode_compressed_image(
    *, image_format: str, data: np.ndarray, max_pixels: int = MAX_FRAME_PIXELS
) -> np.ndarray:
    """Turn the fields of a sensor_msgs/CompressedImage into RGB.

    Args:
        image_format: the message's `format`, such as `jpeg` or `bgr8; jpeg compressed bgr8`.
        data: the bytes of an image file, (N,) uint8.
        max_pixels: an image whose header declares more is refused.

    Returns:
        (H, W, 3) uint8.

    Raises:
        TransportError: if the bytes are no picture, one of depth, or over the limit.
    """
    if is_depth(image_format):
        raise TransportError(
            f"compressed image of format {image_format!r} holds depth; expected a colour or grey "
            "picture, name the camera's colour topic"
        )
    try:
        return read_image(np.ascontiguousarray(data).data, max_pixels=max_pixels).rgb
    except InputError as error:
        raise TransportError(f"compressed image of format {image_format!r}: {error}") from error


def is_depth(encoding: str) -> bool:
    """Tell whether an encoding or a compressed format means depth."""
    return encoding in DEPTH_ENCODINGS or "compressedDepth" in encoding
