"""A frame as input of a perception decoder: the maps of its image branch, once for all commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.geometry import CanvasRange, Letterbox
from vl2_ros.model.parts import ROUTE_PARTS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import (
    fit_letterbox,
    fit_pose_letterbox,
    preprocess_decoder,
    preprocess_pose,
)
from vl2_ros.runtime.engine import Array, PerceptionDecoder
from vl2_ros.structures import Frame, Route

_Fit = Callable[[tuple[int, int], ProcessingConfig, Sequence[CanvasRange]], Letterbox]
_Prepare = Callable[
    [Frame, ProcessingConfig, Sequence[CanvasRange]], tuple[np.ndarray, np.ndarray, Letterbox]
]

#: Part -> how its image is sized, and how it is made.
_IMAGES: Mapping[str, tuple[_Fit, _Prepare]] = {
    ROUTE_PARTS[Route.DETECT].name: (fit_letterbox, preprocess_decoder),
    ROUTE_PARTS[Route.POSE].name: (fit_pose_letterbox, preprocess_pose),
}


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
    route: Route,
    config: ProcessingConfig,
    frame: Frame,
    memory: FrameMemory,
) -> EncodedImage:
    """Run the image branch of a decoder, or take what is kept of it.

    Args:
        decoder: of the route.
        route: that it serves.
        config: the size of the image.
        frame: the image.
        memory: what was computed about it. Routes and commands that use it at one size share it.
    """
    fit, prepare = _IMAGES[ROUTE_PARTS[route].name]
    canvases = decoder.decoder.info.canvases

    def encode() -> EncodedImage:
        pixels, pixel_mask, letterbox = prepare(frame, config, canvases)
        maps = decoder.backbone.run({"pixels": pixels[None]})
        return EncodedImage({**maps, "pixel_mask": pixel_mask[None]}, letterbox)

    # The letterbox is all that the pixels depend on beside the frame.
    key = (decoder.backbone, fit(frame.frame_hw, config, canvases))
    return memory.get(frame, key, encode)
