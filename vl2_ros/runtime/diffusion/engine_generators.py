"""Image generation and editing on the engines of a folder, with any inference library.

A part is loaded with its first image, as with PyTorch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from vl2_ros.errors import EngineError
from vl2_ros.model.checkpoint.config import CheckpointConfig
from vl2_ros.model.graphs import GRAPHS
from vl2_ros.model.parts import IMAGE_PARTS, SAFETY_CHECKER, Part
from vl2_ros.runtime.diffusion.generator import (
    DiffusionEngines,
    DiffusionGenerator,
    DiffusionSettings,
)
from vl2_ros.runtime.diffusion.safety import SafetyCheck, read_checked_images
from vl2_ros.runtime.engine import Engine, EngineInfo, ImageGenerator
from vl2_ros.runtime.files.engine_files import EngineFile, EngineFiles
from vl2_ros.runtime.lazy import LazyImageGenerator, LazyPart, PartMemory
from vl2_ros.structures import Route


@dataclass(frozen=True, slots=True)
class EngineGenerators:
    """What a folder of engines can draw.

    Attributes:
        generators: route -> its generator.
        missing: part of the checkpoint that lacks engines -> the names of those.
    """

    generators: Mapping[Route, ImageGenerator]
    missing: Mapping[str, tuple[str, ...]]


def find_generators(
    files: EngineFiles,
    config: CheckpointConfig,
    load: Callable[[EngineFile], Engine],
    *,
    backend: str,
    device: str,
    without: Collection[str] = (),
) -> EngineGenerators:
    """Make generators of the parts that a folder has every engine of; nothing is loaded yet.

    Args:
        files: of the folder.
        config: of the checkpoint; its parts need no package.
        load: loads one engine.
        backend: what `load` loads with.
        device: where it does.
        without: parts that are skipped.

    Raises:
        CheckpointError: if a safety checker is missing though named.
    """
    generators: dict[Route, ImageGenerator] = {}
    missing: dict[str, tuple[str, ...]] = {}
    memory = PartMemory()
    for name, part in IMAGE_PARTS.items():
        if name not in config.model.parts or name in without:
            continue
        graphs = _list_graphs(part, config, files)
        own = {
            graph: files.graphs[engine]
            for graph in graphs
            if (engine := part.name_engine(graph)) in files.graphs
        }
        if len(own) < len(graphs):
            missing[name] = tuple(part.name_engine(one) for one in graphs if one not in own)
            continue
        info = _describe(own, backend, device)
        for route in part.routes:
            made = LazyPart(name, _Loader(part, route, own, config, load), memory, _weigh(own))
            generators[route] = LazyImageGenerator(info, made)
    return EngineGenerators(generators, missing)


def _list_graphs(part: Part, config: CheckpointConfig, files: EngineFiles) -> tuple[str, ...]:
    """Return the graphs of a part; a safety checker is among them wherever there is one."""
    folder = config.folders.get(part.name)
    is_checked = part.name_engine(SAFETY_CHECKER) in files.graphs or (
        folder is not None and folder.find_safety() is not None
    )
    return (*part.graphs, *((SAFETY_CHECKER,) if is_checked else ()))


@dataclass(frozen=True, slots=True)
class _Loader:
    """Loads the engines of one part; called by its `LazyPart`."""

    part: Part
    route: Route
    files: Mapping[str, EngineFile]
    config: CheckpointConfig
    load: Callable[[EngineFile], Engine]

    def __call__(self) -> tuple[ImageGenerator, int]:
        """Return the generator and the bytes of its files."""
        own = getattr(self.config.model, self.part.config_field)
        settings = DiffusionSettings.from_config(own, self._find_size(own.pixels_per_latent))
        engines = {graph: self.load(file) for graph, file in self.files.items()}
        checker = engines.pop(SAFETY_CHECKER, None)
        if "no_words" not in engines["prompt_mapper"].info.outputs:
            raise EngineError(
                f"{self.files['prompt_mapper'].path} does not give no_words, which guidance "
                "compares with; build the engines of this checkpoint again"
            )
        generator = DiffusionGenerator(
            self.route, DiffusionEngines(**engines), settings, self._make_check(checker)
        )
        return generator, _weigh(self.files)

    def _find_size(self, block: int) -> tuple[int, int]:
        """Return the height and width of the images that all engines were built for."""
        sizes: dict[str, tuple[int, int]] = {}
        for graph, file in self.files.items():
            axes = {axis for tensor in GRAPHS[graph].inputs for axis in tensor.axes}
            for sides, scale in ((("latent_h", "latent_w"), block), (("height", "width"), 1)):
                if axes >= {*sides}:
                    height, width = (file.fixed_size(side) * scale for side in sides)
                    sizes[graph] = height, width
        if len({*sizes.values()}) != 1:
            raise EngineError(
                f"the engines of {self.part.name} are for images of several sizes: {sizes}; build "
                "them with one profile"
            )
        return sizes["denoiser"]

    def _make_check(self, engine: Engine | None) -> SafetyCheck | None:
        folder = self.config.folders.get(self.part.name)
        images = None if folder is None else read_checked_images(folder)
        if images is None and engine is None:
            return None
        if images is None or engine is None:
            raise EngineError(
                f"{self.part.name} has a safety checker in only one of the checkpoint and its "
                "engines, and no image may be shown unchecked; copy the checkpoint again, or build "
                "its engines again"
            )
        return SafetyCheck(engine, images)


def _describe(files: Mapping[str, EngineFile], backend: str, device: str) -> EngineInfo:
    """Return the info of the denoiser, with an identity of all files."""
    spec = GRAPHS["denoiser"]
    hashes = "".join(file.sha256 for _, file in sorted(files.items()))
    identity = hashlib.sha256(hashes.encode()).hexdigest()[:16]
    return EngineInfo(
        spec.name, backend, device, spec.input_names, spec.output_names, identity=identity
    )


def _weigh(files: Mapping[str, EngineFile]) -> int:
    """Return the bytes of the files, and of the weights beside them."""
    paths = {path for file in files.values() for path in file.list_paths()}
    return sum(path.stat().st_size for path in paths if path.is_file())
