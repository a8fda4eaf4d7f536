"""The encodings of sensor_msgs/Image in one table, and the conversion to RGB.

Names are those of sensor_msgs/image_encodings.hpp up to ROS 2 Rolling. What has no colour of a
camera in it (signed, floating point and two-channel names) is not in the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vl2_ros.errors import TransportError

#: Encodings of depth; not an image, and not an error on a depth topic.
DEPTH_ENCODINGS = frozenset({"16UC1", "32FC1"})
#: YUV of BT.601 in its narrow range to RGB, as OpenCV has it for NV12: rows R, G, B.
_YUV_TO_RGB = np.array([[1.164, 0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0]])
_BLACK, _NO_COLOUR = 16, 128


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the bytes of an image become RGB.

    Attributes:
        dtype: of one value.
        channels: values per pixel as stored; those of the luma plane where chroma follows it.
        to_rgb: OpenCV conversion code, or None where there is none.
        multiple_hw: height and width must be multiples of these.
        least_side: fewer rows or columns cannot be converted.
        chroma_halves: bytes of the chroma plane in halves of the luma plane; 0 where there is none.
        u_first: whether a chroma plane has U before V.
    """

    dtype: str
    channels: int
    to_rgb: int | None
    multiple_hw: tuple[int, int] = (1, 1)
    least_side: int = 1
    chroma_halves: int = 0
    u_first: bool = True

    @property
    def value_bytes(self) -> int:
        """Return the bytes of one value."""
        return np.dtype(self.dtype).itemsize

    def count_bytes(self, height: int, step: int) -> int:
        """Return the bytes of an image of `height` rows of `step` bytes, chroma included."""
        return height * step * (2 + self.chroma_halves) // 2


def _colour(dtype: str, channels: int, to_rgb: int | None) -> Encoding:
    return Encoding(dtype, channels, to_rgb)


def _mosaic(dtype: str, to_rgb: int) -> Encoding:
    # OpenCV makes smaller ones black.
    return Encoding(dtype, 1, to_rgb, least_side=3)


def _packed(to_rgb: int) -> Encoding:
    # Two pixels share their chroma.
    return Encoding("u1", 2, to_rgb, multiple_hw=(1, 2))


_GREY, _BGR, _BGRA = cv2.COLOR_GRAY2RGB, cv2.COLOR_BGR2RGB, cv2.COLOR_BGRA2RGB
_UYVY, _YUYV = cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2RGB_YUYV
# Alpha is dropped, as cv_bridge does. OpenCV names a Bayer pattern by its second row and column,
# ROS by its first. Names without a colour are read as cv_bridge guesses them for displays.
ENCODINGS: dict[str, Encoding] = {
    "rgb8": _colour("u1", 3, None),
    "rgba8": _colour("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgr8": _colour("u1", 3, _BGR),
    "bgra8": _colour("u1", 4, _BGRA),
    "8UC3": _colour("u1", 3, _BGR),
    "8UC4": _colour("u1", 4, _BGRA),
    "8UC1": _colour("u1", 1, _GREY),
    "mono8": _colour("u1", 1, _GREY),
    "mono16": _colour("u2", 1, _GREY),
    "rgb16": _colour("u2", 3, None),
    "bgr16": _colour("u2", 3, _BGR),
    "rgba16": _colour("u2", 4, cv2.COLOR_RGBA2RGB),
    "bgra16": _colour("u2", 4, _BGRA),
    "16UC3": _colour("u2", 3, _BGR),
    "16UC4": _colour("u2", 4, _BGRA),
    "bayer_rggb8": _mosaic("u1", cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _mosaic("u1", cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _mosaic("u1", cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _mosaic("u1", cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": _mosaic("u2", cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": _mosaic("u2", cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": _mosaic("u2", cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": _mosaic("u2", cv2.COLOR_BayerGB2RGB),
    "uyvy": _packed(_UYVY),
    "yuv422": _packed(_UYVY),
    "yuyv": _packed(_YUYV),
    "yuv422_yuy2": _packed(_YUYV),
    "nv12": Encoding("u1", 1, cv2.COLOR_YUV2RGB_NV12, multiple_hw=(2, 2), chroma_halves=1),
    "nv21": Encoding(
        "u1", 1, cv2.COLOR_YUV2RGB_NV21, multiple_hw=(2, 2), chroma_halves=1, u_first=False
    ),
    "nv24": Encoding("u1", 1, None, chroma_halves=4),
}


def find_encoding(name: str) -> Encoding:
    """Return the row of an encoding.

    Raises:
        TransportError: if it means depth or is none that can be converted.
    """
    if is_depth(name):
        raise TransportError(
            f"image of encoding {name!r} contains depth; expected a colour or grey image, "
            "name the camera's colour topic"
        )
    form = ENCODINGS.get(name)
    if form is None:
        raise TransportError(
            f"image encoding {name!r} is not known; expected one of {', '.join(ENCODINGS)}"
        )
    return form


def is_depth(encoding: str) -> bool:
    """Return whether an encoding or a compressed format means depth.

    A format begins with the encoding of the raw image, as in `16UC1; png compressed ` and
    `16UC1; compressedDepth png`.
    """
    return split_format(encoding)[0] in DEPTH_ENCODINGS or "compressedDepth" in encoding


def split_format(image_format: str) -> tuple[str, str]:
    """Return the encodings of the raw image and of the compressed one, out of a format.

    `bayer_rggb8; jpeg compressed mono8` gives `bayer_rggb8` and `mono8`; a missing one is "".
    """
    source, _, compression = image_format.partition(";")
    return source.strip(), compression.partition("compressed")[2].strip()


def planes_to_rgb(luma: np.ndarray, chroma: np.ndarray, form: Encoding) -> np.ndarray:
    """Convert a luma and a chroma plane.

    Args:
        luma: (H, W) uint8, rows may be padded.
        chroma: (H / 2, W / 2, 2) or (H, W, 2) uint8, rows may be padded.
        form: their encoding.

    Returns:
        (H, W, 3) uint8.
    """
    if form.to_rgb is not None:
        return np.asarray(cv2.cvtColorTwoPlane(luma, chroma, form.to_rgb))
    yuv = np.empty((*luma.shape, 3), np.uint8)
    np.maximum(luma, _BLACK, out=yuv[..., 0])
    yuv[..., 1:] = chroma if form.u_first else chroma[..., ::-1]
    zero = -_YUV_TO_RGB @ (_BLACK, _NO_COLOUR, _NO_COLOUR)
    return np.asarray(cv2.transform(yuv, np.hstack([_YUV_TO_RGB, zero[:, None]])))
