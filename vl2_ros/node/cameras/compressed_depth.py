"""Read depth in image_transport's form compressedDepth: PNG or RVL, as it is or inverse.

The data begin with twelve bytes: a number without meaning here, and the two of the inverse depth,
A and B. Depth in metres (32FC1) is stored as A / depth + B, 0 where it is unknown; millimetres
(16UC1) are stored as they are. RVL is the run-length code of A. D. Wilson, "Fast Lossless Depth
Image Compression", 2017: in words of 32 bit, upper nibble first, numbers of three bits a nibble
whose highest bit says that more follow, lower bits first. These are, in turn, how many pixels are
0, how many are not, and the differences of these to the one before, with the sign as lowest bit.
"""

from __future__ import annotations

import struct

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.node.cameras.encodings import split_format
from vl2_ros.processing.images.image_file import read_grey16
from vl2_ros.processing.results.spatial import DepthImage
from vl2_ros.structures import MAX_FRAME_PIXELS

_HEADER = struct.Struct("<iff")
_SIZE = struct.Struct("<II")
#: Nibbles of one number: 30 bits, more than any difference or image needs.
_MOST_NIBBLES = 10


def decode_compressed_depth(
    image_format: str, data: np.ndarray, *, max_pixels: int = MAX_FRAME_PIXELS
) -> DepthImage:
    """Turn the fields of a sensor_msgs/CompressedImage of depth into distances.

    Args:
        image_format: such as `16UC1; compressedDepth png` or `32FC1; compressedDepth rvl`.
        data: (N,) uint8.
        max_pixels: an image that declares more is refused.

    Raises:
        InputError: if the format is another one, or the data are damaged or over the limit.
    """
    encoding, codec = split_format(image_format)[0], _find_codec(image_format)
    if encoding not in ("16UC1", "32FC1") or codec not in _CODECS:
        raise InputError(
            f"the depth image has format {image_format!r}, expected 16UC1 or 32FC1, such as "
            "'16UC1; compressedDepth png', or rvl in place of png"
        )
    data = np.ascontiguousarray(data)
    if data.size <= _HEADER.size:
        raise InputError(
            f"the depth image has {data.size} bytes, expected more than the {_HEADER.size} of its "
            "header"
        )
    _, scale, offset = _HEADER.unpack(data[: _HEADER.size].tobytes())
    try:
        stored = _CODECS[codec](data[_HEADER.size :], max_pixels)
    except InputError as error:
        raise InputError(f"depth image of format {image_format!r}: {error}") from error
    if encoding == "16UC1":
        return DepthImage(stored, 1e-3)
    return DepthImage(_invert(stored, scale, offset), 1.0)


def _find_codec(image_format: str) -> str:
    """Return the name of the codec; senders before RVL named none."""
    _, separator, compression = image_format.partition(";")
    words = compression.split()
    if separator and words[:1] != ["compressedDepth"]:
        return ""
    return " ".join(words[1:]) or "png"


def _read_png(data: np.ndarray, max_pixels: int) -> np.ndarray:
    return read_grey16(data.data, max_pixels=max_pixels)


def _read_rvl(data: np.ndarray, max_pixels: int) -> np.ndarray:
    if data.size < _SIZE.size:
        raise InputError(f"it has {data.size} bytes after its header; expected width and height")
    width, height = _SIZE.unpack(data[: _SIZE.size].tobytes())
    if not 0 < width * height <= max_pixels:
        raise InputError(
            f"it declares {width}x{height} pixels, expected 1 to {max_pixels}; resize it first"
        )
    return decode_rvl(data[_SIZE.size :], width * height).reshape(height, width)


_CODECS = {"png": _read_png, "rvl": _read_rvl}


def decode_rvl(data: np.ndarray, count: int) -> np.ndarray:
    """Decode the run lengths and differences of an image.

    Args:
        data: (N,) uint8; what follows after the last pixel is ignored.
        count: pixels of the image.

    Returns:
        (count,) uint16.

    Raises:
        InputError: if the data end too early or do not fit the image.
    """
    # No pixel takes more than eight nibbles, with both counts of its run.
    numbers = _read_numbers(data[: 4 * count + 8])
    first_number, first_pixel, lengths = [], [], []
    place = pixel = 0
    while pixel < count:
        if place + 2 > len(numbers):
            raise InputError(f"it ends after {pixel} of {count} pixels")
        zeros, others = int(numbers[place]), int(numbers[place + 1])
        place, pixel = place + 2, pixel + zeros
        if pixel + others > count or place + others > len(numbers):
            raise InputError(
                f"its runs do not fit: {others} values at pixel {pixel} of {count}, "
                f"{len(numbers) - place} are left"
            )
        first_number.append(place)
        first_pixel.append(pixel)
        lengths.append(others)
        place, pixel = place + others, pixel + others
    codes = numbers[_join_ranges(first_number, lengths)]
    differences = (codes >> 1) ^ -(codes & 1)
    values = np.zeros(count, np.uint16)
    # 16 bit wrap around, as in the sender.
    values[_join_ranges(first_pixel, lengths)] = np.cumsum(differences).astype(np.uint16)
    return values


def _read_numbers(data: np.ndarray) -> np.ndarray:
    """Return the (M,) int64 numbers of an RVL stream; an incomplete last one is dropped."""
    words = data[: len(data) // 4 * 4].view("<u4").astype(">u4").view(np.uint8)
    nibbles = np.stack([words >> 4, words & 15], axis=1).reshape(-1)
    ends = np.flatnonzero(nibbles < 8) + 1
    starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
    if not len(ends):
        return np.zeros(0, np.int64)
    if (longest := int((ends - starts).max())) > _MOST_NIBBLES:
        raise InputError(f"a number of it has {longest} nibbles, expected at most {_MOST_NIBBLES}")
    digits = (nibbles[: ends[-1]] & 7).astype(np.int64)
    digits <<= 3 * (np.arange(len(digits)) - np.repeat(starts, ends - starts))
    return np.asarray(np.add.reduceat(digits, starts))


def _join_ranges(firsts: list[int], lengths: list[int]) -> np.ndarray:
    """Return the numbers from each first one on, as many as its length says, one after another."""
    counts = np.array(lengths, np.int64)
    before = np.cumsum(counts) - counts
    return np.asarray(np.arange(counts.sum()) + np.repeat(np.array(firsts) - before, counts))


def _invert(stored: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """Return (H, W) float32 metres of inverse depth; 0 where it is unknown."""
    if not (np.isfinite([scale, offset]).all() and scale > 0):
        raise InputError(
            f"the depth image has the parameters {scale:g} and {offset:g} of inverse depth; "
            "expected a positive and a finite number"
        )
    inverse = stored.astype(np.float32) - np.float32(offset)
    is_known = (stored > 0) & (inverse > 0)
    return np.asarray(
        np.divide(np.float32(scale), inverse, out=np.zeros_like(inverse), where=is_known)
    )
