"""Decodes one image of each encoding and format and prints what that took; run by its test."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from PIL import Image

from tests.faults.memory.peak import measure_growth
from vl2_ros.node.cameras.camera_image import decode_compressed_image, decode_image
from vl2_ros.node.cameras.encodings import ENCODINGS
from vl2_ros.processing.images.preprocess import read_image
from vl2_ros.structures import RunLengths

HW = (1500, 2000)
PIXELS = HW[0] * HW[1]
PADDING = 8
#: Formats that say more than which file it is.
MESSAGES = {"png mosaic": "bayer_rggb8; png compressed ", "tiff": "rgb8; tiff compressed "}


def list_raw() -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Yield name, bytes of the result and the call, for rows with padding in either byte order."""
    for encoding, form in ENCODINGS.items():
        step = HW[1] * form.channels * np.dtype(form.dtype).itemsize + PADDING
        data = np.full(form.count_bytes(HW[0], step), 77, np.uint8)
        fields = {"width": HW[1], "encoding": encoding, "step": step}
        for is_bigendian in (False, True):

            def decode(
                fields=fields, form=form, data=data, big=is_bigendian, height=HW[0]
            ) -> object:
                size = form.count_bytes(height, fields["step"])
                return decode_image(height=height, is_bigendian=big, data=data[:size], **fields)

            decode(height=4)
            yield f"{encoding} {'big' if is_bigendian else 'little'}", 3 * PIXELS, decode


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def list_files() -> dict[str, bytes]:
    small = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    rgb = cv2.resize(small, HW[::-1])
    colour, grey = Image.fromarray(rgb), rgb[..., 0]
    alpha, indexed = Image.fromarray(np.dstack([rgb, grey])), colour.quantize(16)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "jpeg": encode(colour, "JPEG"),
        "jpeg turned": encode(colour, "JPEG", exif=turned),
        "jpeg progressive": encode(colour, "JPEG", progressive=True),
        "jpeg cmyk": encode(colour.convert("CMYK"), "JPEG"),
        "png": encode(colour, "PNG", compress_level=1),
        "png alpha": encode(alpha, "PNG", compress_level=1),
        "png grey": encode(Image.fromarray(grey), "PNG", compress_level=1),
        "png grey alpha": encode(alpha.convert("LA"), "PNG", compress_level=1),
        "png palette": encode(indexed, "PNG", compress_level=1),
        "png clear palette": encode(indexed, "PNG", compress_level=1, transparency=0),
        "png mosaic": encode(Image.fromarray(grey), "PNG", compress_level=1),
        "png 16 bit grey": encode(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
        "png 16 bit": cv2.imencode(".png", rgb.astype(np.uint16) * 257)[1].tobytes(),
        "bmp": encode(colour, "BMP"),
        "ppm": encode(colour, "PPM"),
        "gif": encode(indexed, "GIF"),
        "webp": encode(colour, "WEBP"),
        "webp alpha": encode(alpha, "WEBP"),
        "jpeg fine progressive": encode(colour, "JPEG", progressive=True, subsampling=0),
        "tiff": encode(colour, "TIFF"),
        "tiff 32 bit grey": encode(Image.fromarray(grey.astype(np.int32)), "TIFF"),
    }


def list_masks() -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Yield the worst of masks, a run for each pixel, and a plain one."""
    rows, columns = np.indices(HW, dtype=np.uint16)
    checkered = (rows + columns) % 2 == 0
    plain = rows < HW[0] // 2
    for name, mask in (("checkered", checkered), ("plain", plain)):
        counts = RunLengths.encode(mask).counts
        RunLengths.encode(mask[:9, :9])
        yield f"encode {name} mask", counts.nbytes, lambda mask=mask: RunLengths.encode(mask).counts
        yield f"decode {name} mask", PIXELS, lambda counts=counts: RunLengths(HW, counts).decode()


def main() -> None:
    taken = {}
    for name, result_bytes, call in (*list_raw(), *list_masks()):
        taken[name] = (measure_growth(call) - result_bytes) / PIXELS
    for name, content in list_files().items():
        data = np.frombuffer(content, np.uint8)

        def read(data: np.ndarray = data, name: str = name) -> object:
            return decode_compressed_image(image_format=MESSAGES.get(name, ""), data=data)

        def read_upright(content: bytes = content) -> object:
            return read_image(content)

        taken[name] = (measure_growth(read) - 3 * PIXELS) / PIXELS
        # What a file's reader does beyond a message's: turn, and lay on white.
        if "turned" in name or "alpha" in name or "clear" in name:
            taken[f"{name} upright"] = (measure_growth(read_upright) - 3 * PIXELS) / PIXELS
    sys.stdout.write(json.dumps(taken))


if __name__ == "__main__":
    main()
