"""A checkpoint folder to a ready pipeline: the one place where a backend is chosen.

Heavy libraries are imported in the call, not with the module.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vl2_ros.documents import (
    is_file,
    is_folder,
    read_json_object,
    shorten,
    shorten_path,
    take_object,
)
from vl2_ros.errors import CheckpointError, ConfigError, EngineError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.parts import CORE_GRAPHS, IMAGE_PARTS, PARTS, check_part_names
from vl2_ros.processing.config import FILE_NAME, ProcessingConfig
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.runtime.engine import Engines, tell_switched_off
from vl2_ros.runtime.files.engine_files import EngineFiles, read_engine_files
from vl2_ros.runtime.files.engine_folders import FOLDER as ENGINES_FOLDER
from vl2_ros.runtime.files.engine_folders import find_folder, may_have_engines
from vl2_ros.runtime.files.exported_engines import LoadEngine, load_exported_engines
from vl2_ros.runtime.files.weights_identity import WeightsIdentity

#: The checkpoint that ships with the package.
EMBEDDED_WEIGHTS = Path(__file__).parent / "embedded"
#: What may execute the graphs; auto is onnxruntime on the CPU where there are engines, else torch.
BACKENDS = ("auto", "torch", "onnxruntime", "tensorrt")

_log = logging.getLogger(__name__)


def load_pipeline(
    weights: Path | str | None = None,
    *,
    device: str = "cpu",
    backend: str = "auto",
    engines: Path | None = None,
    allow_fallback: bool = True,
    without: Collection[str] = (),
    memory_budget_mb: float | None = None,
    cuda_graphs: bool = True,
) -> Pipeline:
    """Load a checkpoint and everything around it.

    Args:
        weights: a checkpoint folder, released or saved by vl2_ros; None takes the embedded model.
        device: such as `cpu` or `cuda`.
        backend: one of `BACKENDS`.
        engines: folder of the engine files; None takes those that were built here, in the user's
            cache or in `engines` of the checkpoint folder, or came with it.
        allow_fallback: take torch, with a warning, where the engines cannot be used.
        without: parts of the network that are left out, names of `model.parts.PARTS`.
        memory_budget_mb: most that the weights of decoders may take together, in millions of
            bytes: torch loads them when they are wanted, and frees them for each other. None keeps
            all but what makes images, which is loaded with the first one.
        cuda_graphs: torch on CUDA replays what comes again in the same shapes; False saves memory.

    Raises:
        CheckpointError: if the folder is missing, incomplete, damaged or of another model.
        ConfigError: if there is no such backend or part, or the budget cannot be kept.
        EngineError: if the device is not there, or the engines cannot be used and nothing may take
            their place.
    """
    folder = EMBEDDED_WEIGHTS if weights is None else Path(weights)
    if not is_folder(folder):
        raise CheckpointError(
            f"no weights folder at {shorten_path(folder)}; expected a folder with config.json, "
            "weights and tokenizer files"
        )
    processing = load_processing(folder)
    tokenizer = load_tokenizer(folder)
    identity = WeightsIdentity(folder)
    library = "onnxruntime" if backend == "auto" else backend
    chosen = engines
    has_place = engines is not None or may_have_engines(folder)
    is_auto = backend == "auto"
    backend = _choose_backend(backend, device, memory_budget_mb, has_engines=has_place)
    if backend != "torch" and engines is None:
        # Which engines are for these weights nobody can say before every byte is hashed.
        chosen = find_folder(folder, identity.wait(), library)
        if chosen is None and is_auto:
            backend = "torch"

    def load_torch() -> Engines:
        identity.start()
        from vl2_ros.runtime.torch_backend.loading import load_torch_engines

        return load_torch_engines(
            folder,
            device=device,
            without=without,
            memory_budget_mb=memory_budget_mb,
            cuda_graphs=cuda_graphs,
        )

    def load_exported() -> Engines:
        files = _switch_off(read_engine_files(chosen or folder / ENGINES_FOLDER), without)
        files.check_checkpoint(identity.wait())
        _check_completeness(files, folder, without)
        load = _choose_library(backend, device)
        loaded = load_exported_engines(files, tokenizer.tokens, load)
        return _complete(loaded, folder, device, without)

    return Pipeline(
        load_torch()
        if backend == "torch"
        else _try_exported(load_exported, load_torch if allow_fallback else None),
        tokenizer,
        processing,
        name="embedded" if weights is None else folder.resolve().name,
        identity=identity,
    )


def _choose_backend(
    backend: str, device: str, memory_budget_mb: float | None, *, has_engines: bool
) -> str:
    """Return the backend that is to be tried first; only torch keeps a budget."""
    if backend not in BACKENDS:
        raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, got {shorten(backend)}")
    if backend == "auto":
        is_wanted = device == "cpu" and memory_budget_mb is None
        return "onnxruntime" if is_wanted and has_engines else "torch"
    if backend != "torch" and memory_budget_mb is not None:
        raise ConfigError(
            f"memory_budget_mb is kept by the backend torch only, got {memory_budget_mb} and "
            f"{backend}; choose torch, or leave parts out by `without`"
        )
    return backend


def _try_exported(
    load_exported: Callable[[], Engines], load_torch: Callable[[], Engines] | None
) -> Engines:
    """Load engines, or say why not and take torch where that is allowed."""
    try:
        return load_exported()
    except EngineError as error:
        if load_torch is None:
            raise
        try:
            loaded = load_torch()
        except ModuleNotFoundError as missing:
            raise EngineError(
                f"{error}; torch could take its place: pip install 'vl2_ros[torch]'"
            ) from missing
        _log.warning("torch answers in place of the engines: %s", error)
        return loaded


def _choose_library(backend: str, device: str) -> LoadEngine:
    try:
        if backend == "tensorrt":
            from vl2_ros.runtime.tensorrt_backend.engine import TensorRTEngine

            return partial(TensorRTEngine, device=device)
        from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

        return partial(OnnxEngine, device=device)
    except ImportError as error:
        raise EngineError(
            f"the backend {backend} cannot be loaded ({error}); install its library, or take "
            "another backend"
        ) from error


def _switch_off(files: EngineFiles, without: Collection[str]) -> EngineFiles:
    check_part_names(without, "`without`")
    kept = {graph: file for graph, file in files.graphs.items() if graph not in without}
    return replace(files, graphs=kept)


def _complete(loaded: Engines, folder: Path, device: str, without: Collection[str]) -> Engines:
    """Note what was switched off; add what makes images, which torch runs beside any engines."""
    values = _read_config(folder)
    loaded = replace(loaded, absent={name: tell_switched_off(name) for name in without})
    if not _makes_images(values):
        return loaded
    try:
        from vl2_ros.runtime.torch_backend.loading import add_torch_generators

        return add_torch_generators(loaded, folder, device=device, without=without)
    except ModuleNotFoundError as missing:
        reason = f"it needs the package {missing.name}; pip install 'vl2_ros[diffusion]'"
    except EngineError as error:  # a torch without the device that the engines run on
        reason = str(error)
    return replace(loaded, absent={**dict.fromkeys(IMAGE_PARTS, reason), **loaded.absent})


def _makes_images(values: Mapping[str, Any]) -> bool:
    """Tell from a config.json, ours or a release's, so that torch is not loaded for nothing."""
    own = take_object(values, "model", error=CheckpointError)
    return any(
        own.get(part.config_field) or values.get(part.release_switch)
        for part in IMAGE_PARTS.values()
    )


def _check_completeness(files: EngineFiles, folder: Path, without: Collection[str]) -> None:
    """Check that nothing that the checkpoint can do is lost with these engines.

    Raises:
        EngineError: naming the graphs that there is no engine of.
    """
    values = _read_config(folder)
    own = take_object(values, "model", error=CheckpointError)
    config = ModelConfig.from_dict(own) if own else ModelConfig.from_release(values)
    # What makes images is run by torch beside any engines.
    kept = (PARTS[name] for name in config.parts if name not in {*without, *IMAGE_PARTS})
    needed = (*CORE_GRAPHS, *(graph for part in kept for graph in part.graphs))
    missing = [graph for graph in needed if graph not in files.graphs]
    if missing:
        raise EngineError(
            f"the engines in {files.folder} lack {', '.join(missing)}, which the checkpoint has; "
            "export them, too"
        )


def load_processing(folder: Path) -> ProcessingConfig:
    """Read how the model's images and prompts are prepared; a release gets its known settings."""
    if is_file(folder / FILE_NAME):
        return ProcessingConfig.load(folder)
    return ProcessingConfig.from_model_config(_read_config(folder))


def _read_config(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / "config.json", CheckpointError)
