"""A frame as input of a perception decoder: the maps of its image branch, once for all commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.geometry import CanvasRange, Letterbox
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.runtime.engine import Array, PerceptionDecoder, count_bytes
from vl2_ros.structures import Frame


class _Fit(Protocol):
    def __call__(
        self, frame_hw: tuple[int, int], config: ProcessingConfig, canvases: Sequence[CanvasRange]
    ) -> Letterbox: ...


class _Prepare(Protocol):
    def __call__(
        self, frame: Frame, config: ProcessingConfig, canvases: Sequence[CanvasRange]
    ) -> tuple[np.ndarray, np.ndarray, Letterbox]: ...


@dataclass(frozen=True, slots=True)
class ImageForm:
    """How the image of a decoder is made.

    Attributes:
        fit: size and canvas, such as `fit_letterbox`.
        prepare: pixels, pixel mask and the same letterbox, such as `preprocess_decoder`.
    """

    fit: _Fit
    prepare: _Prepare


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage:
    """A frame behind the image branch of a decoder.

    Attributes:
        inputs: of the decoder, but for the words: the maps, on the engine's device, and
            `pixel_mask`, each about one image.
        letterbox: leads back to camera pixels.
    """

    inputs: Mapping[str, Array]
    letterbox: Letterbox


def encode_image(
    decoder: PerceptionDecoder,
    form: ImageForm,
    config: ProcessingConfig,
    frame: Frame,
    memory: FrameMemory,
) -> EncodedImage:
    """Run the image branch of a decoder, or take what is kept of it.

    Args:
        decoder: of a route.
        form: of its image.
        config: the size of the image.
        frame: the image.
        memory: what was computed about it. Routes and commands that use it at one size share it.
    """
    canvases = decoder.decoder.info.canvases

    def encode() -> EncodedImage:
        pixels, pixel_mask, letterbox = form.prepare(frame, config, canvases)
        maps = decoder.backbone.run({"pixels": pixels[None]})
        return EncodedImage({**maps, "pixel_mask": pixel_mask[None]}, letterbox)

    # The letterbox is all that the pixels depend on beside the frame.
    key = (decoder.backbone, form.fit(frame.frame_hw, config, canvases))
    return memory.get(frame, key, encode, lambda made: count_bytes(made.inputs))
