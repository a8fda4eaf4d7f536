"""Read messages of depth images, raw and compressed."""

from __future__ import annotations

from typing import Any

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.node.cameras.compressed_depth import decode_compressed_depth
from vl2_ros.processing.results.spatial import DepthImage
from vl2_ros.structures import MAX_FRAME_PIXELS

#: sensor_msgs/Image.encoding of depth -> dtype and metres of the value 1 (REP-118).
DEPTH_UNITS = {"16UC1": ("u2", 1e-3), "32FC1": ("f4", 1.0)}


def read_depth(
    message: Any,
    frame_hw: tuple[int, int] | None = None,
    *,
    max_pixels: int = MAX_FRAME_PIXELS,
) -> DepthImage:
    """Read a depth image of encoding 16UC1 or 32FC1, raw without a copy, or compressed.

    Args:
        message: a sensor_msgs/Image, or a sensor_msgs/CompressedImage of the form compressedDepth.
        frame_hw: height and width of the image that it belongs to; None where they are not known.
        max_pixels: a compressed image that declares more is refused.

    Raises:
        InputError: if the encoding is another one, the sizes contradict each other, compressed
            data are damaged, or the sides are not those of the image, evenly scaled.
    """
    if hasattr(message, "format"):
        data = np.asarray(message.data)
        depth = decode_compressed_depth(message.format, data, max_pixels=max_pixels)
    else:
        depth = _read_raw(message)
    if frame_hw is not None:
        _check_registered(depth.values.shape[0], depth.values.shape[1], frame_hw)
    return depth


def _read_raw(message: Any) -> DepthImage:
    if message.encoding not in DEPTH_UNITS:
        raise InputError(
            f"the depth image has encoding {message.encoding!r}, expected 16UC1 (millimetres) "
            "or 32FC1 (metres)"
        )
    name, unit_m = DEPTH_UNITS[message.encoding]
    dtype = np.dtype(name).newbyteorder(">" if message.is_bigendian else "<")
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.asarray(message.data)
    row_bytes = width * dtype.itemsize
    if not height or not width or step < row_bytes or data.size != height * step:
        raise InputError(
            f"the depth image of {width}x{height} pixels, step {step} and {data.size} bytes "
            f"contradicts itself; expected at least {row_bytes} bytes a row"
        )
    return DepthImage(data.reshape(height, step)[:, :row_bytes].view(dtype), unit_m)


def _check_registered(height: int, width: int, frame_hw: tuple[int, int]) -> None:
    """Check that depth has the sides of its image, evenly scaled up to a rounded pixel."""
    off_width = abs(width - frame_hw[1] * height / frame_hw[0])
    off_height = abs(height - frame_hw[0] * width / frame_hw[1])
    if min(off_width, off_height) > 1.0:
        raise InputError(
            f"the depth image has {width}x{height} pixels, which is no even scale of the image's "
            f"{frame_hw[1]}x{frame_hw[0]}, so it is not registered to it; publish depth that is "
            "aligned to this image, such as by depth_image_proc"
        )
