"""An image branch for scripted decoders: its only map is the image itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.runtime.engine import Array, EngineInfo, PerceptionDecoder


class SeeThrough:
    """Returns the pixels, which scripted decoders read, and as the map that graphs take."""

    def __init__(self, part: str) -> None:
        graph = PERCEPTION_PARTS[part].backbone
        self.info = EngineInfo(graph, "scripted", "cpu", ("pixels",), ("pixels", "maps.0"))
        self.runs = 0

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        self.runs += 1
        return {"pixels": inputs["pixels"], "maps.0": inputs["pixels"]}


def put_behind_image(*decoders: Any) -> dict[str, PerceptionDecoder]:
    """Return the `decoders` of engines: each of these behind an image branch of its own."""
    names = [one.info.graph for one in decoders]
    return {
        name: PerceptionDecoder(SeeThrough(name), one)
        for name, one in zip(names, decoders, strict=True)
    }
