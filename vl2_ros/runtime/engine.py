"""The interface between the flow and inference backends.

Arrays are numpy on the CPU. An engine on an accelerator may return its own DLPack-able arrays;
the flow passes those on to the next engine unread.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vl2_ros.errors import EngineError, RouteError
from vl2_ros.geometry import CanvasRange
from vl2_ros.model.parts import ROUTE_PARTS
from vl2_ros.structures import Frame, GeneratedImage, ImageOptions, ProgressEvent, Route

#: numpy on the CPU, any DLPack-able array on an accelerator.
Array = Any
#: Shapes that an engine accepts: for each range the least and the most of axes by name. An axis
#: that is not there may have any size, and so may all where there is no range.
Ranges = Sequence[Mapping[str, tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Properties of a loaded engine.

    Attributes:
        graph: name of the graph, such as `detection_decoder`.
        backend: `torch`, `onnxruntime`, `tensorrt` or `tensorrt-rtx`.
        device: where it runs, such as `cpu` or `cuda:0`.
        inputs: tensor names that `run` needs.
        outputs: tensor names that `run` returns.
        identity: hash of its file; empty where a checkpoint runs on PyTorch.
        canvases: sizes of `pixels` that a perception decoder accepts; empty where it accepts any.
        ranges: shapes that it accepts.
    """

    graph: str
    backend: str
    device: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    identity: str = ""
    canvases: tuple[CanvasRange, ...] = ()
    ranges: Ranges = ()

    def pick_outputs(self, wanted: Collection[str] | None) -> tuple[str, ...]:
        """Return the names that a run returns, in the order of `outputs`.

        Raises:
            EngineError: if the graph has no output of a name that is wanted.
        """
        if wanted is None:
            return self.outputs
        if unknown := set(wanted) - set(self.outputs):
            raise EngineError(
                f"{self.graph} has no output {', '.join(sorted(unknown))}; expected of "
                f"{', '.join(self.outputs)}"
            )
        return tuple(name for name in self.outputs if name in wanted)


class Engine(Protocol):
    """One executable graph: arrays in by name, arrays out by name."""

    @property
    def info(self) -> EngineInfo:
        """Return the info of the engine."""

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Execute the graph once.

        Args:
            inputs: by name.
            outputs: names of those that are wanted; None for all. A backend that can skips the
                work for the others.

        Raises:
            EngineError: if an input is missing or of another shape than the graph accepts, or there
                is no such output.
        """


@dataclass(frozen=True, slots=True, eq=False)
class PerceptionDecoder:
    """The two engines of a perception decoder.

    Attributes:
        backbone: the image branch, pixels to maps: whatever the words, so its maps serve every
            command about the image.
        decoder: the rest, maps and words to what was found.
    """

    backbone: Engine
    decoder: Engine

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Execute both once.

        Args:
            inputs: pixels, and those of the decoder but the maps, by name.
            outputs: those of the decoder that are wanted; None for all.

        Raises:
            EngineError: as `Engine.run` does.
        """
        return self.decoder.run({**inputs, **self.backbone.run(inputs)}, outputs)


@dataclass(frozen=True, slots=True, eq=False)
class LanguageStep:
    """The result of one call of the language model.

    Attributes:
        logits: (L, V) float32 numpy, logits of the token after each of the last L positions fed.
        hidden: (T, C) states of the T positions fed, after the final norm.
    """

    logits: np.ndarray
    hidden: Array

    @property
    def last_logits(self) -> np.ndarray:
        """Return the logits (V,) of the token after the last one fed."""
        return np.asarray(self.logits[-1])


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """First positions of a sequence; sessions that begin with it do not change it.

    Attributes:
        count: P, how many.
        cache: their keys and values, in the form of the model that they are of.
        nbytes: memory that the cache keeps.
    """

    count: int
    cache: Any
    nbytes: int = 0


class LanguageSession(Protocol):
    """One answer in the making; owns a key-value cache that grows with each call."""

    def feed(
        self,
        input_ids: np.ndarray,
        image_tokens: Array | None = None,
        region_features: Array | None = None,
        *,
        logit_count: int = 1,
    ) -> LanguageStep:
        """Append T positions to the sequence.

        Args:
            input_ids: (T,) int64; slots after a routing token must be in the same call.
            image_tokens: (M, C) features for the M `<im_patch>` ids in `input_ids`.
            region_features: (R, C) features for the R `<region>` ids in `input_ids`.
            logit_count: L, 1 to T: how many of the last positions logits are returned for.

        Raises:
            InputError: if the number of features and of ids for them differ.
        """

    def take_back(self, count: int) -> None:
        """Remove the last `count` positions; those fed later see nothing of them."""

    def keep(self, count: int) -> Prefix:
        """Return the first `count` positions, which are there, for other sessions of the model."""

    def accepts(self, count: int) -> bool:
        """Return whether the engine accepts `count` positions in the next call."""


class LanguageModel(Protocol):
    """The LLM with its super-link tables."""

    @property
    def info(self) -> EngineInfo:
        """Return the info of the engine."""

    def open_session(self, prefix: Prefix | None = None) -> LanguageSession:
        """Start with an empty cache, or behind positions that a session of this model kept."""


class ImageGenerator(Protocol):
    """Generates or edits images: a mapper, a denoiser in a loop, and an autoencoder."""

    @property
    def info(self) -> EngineInfo:
        """Return the info of the denoiser."""

    def generate(
        self, states: Array, options: ImageOptions, source: Frame | None = None
    ) -> Generator[ProgressEvent, None, GeneratedImage]:
        """Generate one image, yielding after every denoising step; closing it stops there.

        Args:
            states: (K, C) super-link states of one routing token.
            options: None means the model's default.
            source: the image to edit; read by editors only.

        Raises:
            InputError: if an editor gets no source, or an option cannot be used.
            EngineError: if an engine failed.
        """


@dataclass(frozen=True, slots=True)
class Engines:
    """All engines of the flow; parts that the checkpoint lacks are None or not in a mapping.

    Attributes:
        vision_encoder: serves every command with an image.
        language_model: serves every command.
        decoders: perception part of `model.parts.PERCEPTION_PARTS` -> its engines.
        region_encoder: serves visual prompts.
        image_generators: one for GENERATE and one for EDIT.
        absent: part of the network -> why it is not loaded, where the reason is another than that
            the checkpoint lacks it.
    """

    vision_encoder: Engine
    language_model: LanguageModel
    decoders: Mapping[str, PerceptionDecoder] = field(default_factory=dict)
    region_encoder: Engine | None = field(default=None, kw_only=True)
    image_generators: Mapping[Route, ImageGenerator] = field(default_factory=dict, kw_only=True)
    absent: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    @property
    def graphs(self) -> tuple[Engine | LanguageModel, ...]:
        """Return the engines that perceive and answer, without those that make images."""
        decoders = self.decoders.values()
        engines = (
            *(self.vision_encoder, self.language_model, self.region_encoder),
            *(engine for one in decoders for engine in (one.backbone, one.decoder)),
        )
        return tuple(engine for engine in engines if engine is not None)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return the routes that answers can open."""
        return tuple(
            route
            for route, part in ROUTE_PARTS.items()
            if part.name in self.decoders or route in self.image_generators
        )

    @property
    def identity(self) -> str:
        """Hash of the files of the engines, 16 digits; empty where a checkpoint runs on PyTorch."""
        parts = (*self.graphs, *self.image_generators.values())
        identities = "".join(part.info.identity for part in parts)
        return hashlib.sha256(identities.encode()).hexdigest()[:16] if identities else ""

    def find_decoder(self, route: Route) -> PerceptionDecoder:
        """Return the engines of a perception route.

        Raises:
            RouteError: if there is none.
        """
        decoder = self.decoders.get(ROUTE_PARTS[route].name)
        if decoder is None:
            raise self.refuse(route)
        return decoder

    def check_routes(self, routes: Collection[Route]) -> None:
        """Check that there is a decoder for everything that an answer opened.

        Raises:
            RouteError: if there is none for one of them.
        """
        for route in routes:
            if route not in self.routes:
                raise self.refuse(route)

    def refuse(self, route: Route) -> RouteError:
        """Make the error that says why a route is not served."""
        opened = f"the answer opened {route.value}"
        part = ROUTE_PARTS[route].name
        if part in self.absent:
            return RouteError(f"{opened}, but {part} is not loaded: {self.absent[part]}")
        served = ", ".join(one.value for one in self.routes) or "nothing"
        return RouteError(
            f"{opened}, but the checkpoint has no {part.replace('_', ' ')}; its decoders serve "
            f"{served} only. Ask for that, or load a checkpoint that has it"
        )


def explain_switched_off(part: str) -> str:
    """Return why a part was excluded by option, and how to load it."""
    return (
        "it was switched off when the model was loaded; load it again without naming "
        f"{part} in `without`"
    )


def count_bytes(arrays: Mapping[str, Array]) -> int:
    """Return the bytes of arrays, wherever they are."""
    return sum(math.prod(one.shape) * int(one.dtype.itemsize) for one in arrays.values())


def to_numpy(array: Array) -> np.ndarray:
    """Bring an engine's array to numpy; free of copies when it is numpy already.

    numpy knows no bfloat16, so that becomes float32.
    """
    if isinstance(array, np.ndarray):
        return array
    if not hasattr(array, "cpu"):
        return np.asarray(np.from_dlpack(array))
    on_cpu = array.cpu()
    return np.asarray((on_cpu.float() if "bfloat16" in str(on_cpu.dtype) else on_cpu).numpy())
