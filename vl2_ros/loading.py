"""A checkpoint folder to a ready pipeline: the one place where a backend is chosen.

Heavy libraries are imported in the call, not with the module.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vl2_ros.documents import (
    is_file,
    is_folder,
    read_json_object,
    shorten_path,
    take_object,
)
from vl2_ros.errors import CheckpointError, EngineError
from vl2_ros.flow.engine_ranges import fit_processing
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.parts import CORE_GRAPHS, IMAGE_PARTS, PARTS
from vl2_ros.processing.calibration import FILE_NAME as CALIBRATION
from vl2_ros.processing.calibration import Calibration
from vl2_ros.processing.card import find_names
from vl2_ros.processing.config import FILE_NAME, ProcessingConfig
from vl2_ros.processing.language.prompt_length import measure_prompts
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.runtime.backend_choice import (
    Candidate,
    check_tensorrt,
    has_cuda_driver,
    list_backends,
    load_first,
)
from vl2_ros.runtime.engine import Engines, explain_switched_off
from vl2_ros.runtime.files.engine_files import EngineFiles, read_engine_files
from vl2_ros.runtime.files.engine_folders import FOLDER as ENGINES_FOLDER
from vl2_ros.runtime.files.exported_engines import LoadEngine, load_exported_engines
from vl2_ros.runtime.files.first_load import FirstLoad, LoadListener
from vl2_ros.runtime.files.weights_identity import PENDING, WeightsIdentity
from vl2_ros.runtime.tensorrt_backend.library import LIBRARIES

if TYPE_CHECKING:
    from vl2_ros.runtime.torch_backend.memory import LargestInput

#: The checkpoint that ships with the package.
EMBEDDED_WEIGHTS = Path(__file__).parent / "embedded"
#: Seconds between the lines about a model that is being loaded.
_LOG_PERIOD_S = 10.0

_log = logging.getLogger(__name__)


class _ProgressLog:
    """Logs how far loading is, now and then."""

    def __init__(self) -> None:
        self._due_s = time.monotonic() + _LOG_PERIOD_S

    def __call__(self, what: str, share: float) -> None:
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + _LOG_PERIOD_S
        _log.info("%s %.0f %%", what, 100 * share)


def load_pipeline(
    options: LoadOptions | None = None, progress: LoadListener | None = None
) -> Pipeline:
    """Load a checkpoint and everything around it.

    Args:
        options: which model and how it runs; None takes the defaults, the embedded model.
        progress: called with what is done, such as reading weights on PyTorch or verifying engines
            that were compiled on another machine, and its share, 0 to 1; None logs it now and then.

    Raises:
        CheckpointError: if the folder is missing, incomplete, damaged or of another model.
        ConfigError: if the memory budget cannot be kept.
        EngineError: if the device is not there, its memory is too small, or the engines cannot be
            used and nothing may take their place.
    """
    options = LoadOptions() if options is None else options
    folder = find_weights(options)
    if not is_folder(folder):
        raise CheckpointError(
            f"no weights folder at {shorten_path(folder)}; expected a folder with config.json, "
            "weights and tokenizer files"
        )
    # Engines of int8 are for the CPU.
    wanted = "cpu" if (options.device, options.precision) == ("auto", "int8") else options.device
    options = replace(options, device=choose_device(wanted))
    processing = load_processing(folder)
    if options.max_tiles:
        processing = processing.limit_tiles(options.max_tiles)
    tokenizer = load_tokenizer(folder)
    identity = WeightsIdentity(folder)
    report = progress or _ProgressLog()

    def load(candidate: Candidate) -> Engines:
        backend, chosen = candidate.backend, candidate.folder
        if backend == "torch":
            largest = _find_largest(tokenizer, processing)
            return _load_torch(options, folder, identity, largest, report)
        if backend in LIBRARIES:
            check_tensorrt(LIBRARIES[backend], has_engines=chosen is not None)
        files = read_engine_files(chosen or folder / ENGINES_FOLDER)
        if candidate.precision:
            files = files.in_precision(candidate.precision)
        files = _switch_off(files, options.without)
        files.check_checkpoint(identity.wait())
        _check_completeness(files, folder, options.without)
        library = _choose_library(backend, options, report)
        loaded = load_exported_engines(files, tokenizer.tokens, library)
        fit_processing(loaded, tokenizer, processing)
        off = {name: explain_switched_off(name) for name in options.without}
        loaded = replace(loaded, absent=off)
        if not _makes_images(_read_config(folder)):
            return loaded
        loaded, missing = _add_engine_generators(loaded, files, folder, options, backend, library)
        return _complete_images(loaded, missing, folder, options) if missing else loaded

    engines = load_first(list_backends(options, folder, identity), load)
    fitted = fit_processing(engines, tokenizer, processing)
    if fitted.max_tiles < processing.max_tiles:
        _log.warning(
            "the engines were built for fewer tiles: images are cut into %d at most, where the "
            "checkpoint cuts them into %d",
            *(fitted.max_tiles, processing.max_tiles),
        )
    return Pipeline(
        engines,
        tokenizer,
        fitted,
        name=folder.resolve().name if options.weights else "embedded",
        identity=identity,
        calibration=_load_calibration(folder, identity),
        names=find_names(folder),
    )


def _find_largest(tokenizer: Tokenizer, processing: ProcessingConfig) -> LargestInput:
    from vl2_ros.runtime.torch_backend.memory import LargestInput

    def count_tokens(config: ProcessingConfig) -> int:
        lengths = measure_prompts(tokenizer, config)
        return min(config.max_length, lengths.longest + lengths.answer)

    sizes = (processing, processing.for_segments())
    return LargestInput(
        prompt_tokens=count_tokens(processing),
        one_tile_tokens=count_tokens(processing.limit_tiles(1)),
        pixels=max(one.decoder_short * one.decoder_long for one in sizes),
    )


def find_weights(options: LoadOptions) -> Path:
    """Return the checkpoint folder of the options; it need not be there."""
    return Path(options.weights) if options.weights else EMBEDDED_WEIGHTS


def choose_device(device: str) -> str:
    """Return what `auto` means on this machine; other names as they are.

    Without the driver of a GPU torch is not asked: its import takes longer than an answer.
    """
    if device != "auto":
        return device
    if find_spec("torch") is None or not has_cuda_driver():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _load_torch(
    options: LoadOptions,
    folder: Path,
    identity: WeightsIdentity,
    largest: LargestInput,
    report: LoadListener,
) -> Engines:
    identity.start()
    import torch

    from vl2_ros.runtime.torch_backend.loading import load_torch_engines

    if options.threads:
        # Of the whole process: torch has no threads of one network.
        torch.set_num_threads(options.threads)

    def report_bytes(done: int, total: int) -> None:
        scale, unit = (1e9, "GB") if total >= 1e9 else (1e6, "MB")
        report(f"loading, {done / scale:.1f} of {total / scale:.1f} {unit},", done / total)

    return load_torch_engines(
        folder,
        device=options.device,
        without=options.without,
        memory_budget_mb=options.memory_budget_mb or None,
        cuda_graphs=options.cuda_graphs,
        # What takes the place of int8 is what auto means there.
        precision="auto" if options.precision == "int8" else options.precision,
        largest=largest,
        progress=report_bytes,
    )


def _choose_library(backend: str, options: LoadOptions, progress: LoadListener) -> LoadEngine:
    device = options.device
    try:
        if backend in LIBRARIES:
            from vl2_ros.runtime.tensorrt_backend.engine import TensorRTEngine, open_device

            library = LIBRARIES[backend]
            machine = f"{library.find_runtime()} on {open_device(device).name}"
            load = partial(TensorRTEngine, library=library, device=device)
            return FirstLoad(load, machine, is_required=options.verify, progress=progress)
        from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine, OnnxOptions

        return partial(OnnxEngine, device=device, options=OnnxOptions(options.threads))
    except ImportError as error:
        raise EngineError(
            f"the backend {backend} cannot be loaded ({error}); install its library, or take "
            "another backend"
        ) from error


def _switch_off(files: EngineFiles, without: Collection[str]) -> EngineFiles:
    off = [PARTS[name] for name in without]
    kept = {
        name: file
        for name, file in files.graphs.items()
        if not any(part.owns(name) for part in off)
    }
    return replace(files, graphs=kept)


def _add_engine_generators(
    loaded: Engines,
    files: EngineFiles,
    folder: Path,
    options: LoadOptions,
    backend: str,
    load: LoadEngine,
) -> tuple[Engines, dict[str, str]]:
    """Add what the engines can draw.

    Returns:
        The engines, and parts of the checkpoint that lack some -> what is missing.
    """
    from vl2_ros.model.checkpoint.config import read_checkpoint_config

    config = read_checkpoint_config(folder)
    if not set(IMAGE_PARTS) & set(config.model.parts):
        return replace(loaded, absent={**config.unavailable, **loaded.absent}), {}
    try:
        # Schedulers are those of diffusers, which steps tensors of torch.
        from vl2_ros.runtime.diffusion.engine_generators import find_generators
    except ModuleNotFoundError as error:
        why = f"the package {error.name} is missing; pip install 'vl2_ros[diffusion]'"
        absent = dict.fromkeys(set(IMAGE_PARTS) & set(config.model.parts), why)
        return replace(loaded, absent={**absent, **config.unavailable, **loaded.absent}), {}

    found = find_generators(
        files, config, load, backend=backend, device=options.device, without=options.without
    )
    loaded = replace(
        loaded,
        image_generators=found.generators,
        absent={**config.unavailable, **loaded.absent},
    )
    return loaded, {
        name: f"the engines in {files.folder} lack {', '.join(names)}; build them as well"
        for name, names in found.missing.items()
    }


def _complete_images(
    loaded: Engines, missing: Mapping[str, str], folder: Path, options: LoadOptions
) -> Engines:
    """Let torch make the images that engines are missing for, or note why it does not."""
    if not options.allow_fallback:
        return replace(loaded, absent={**missing, **loaded.absent})
    others = [name for name in IMAGE_PARTS if name not in missing]
    try:
        from vl2_ros.runtime.torch_backend.loading import add_torch_generators

        completed = add_torch_generators(
            loaded, folder, device=options.device, without=(*options.without, *others)
        )
    except ModuleNotFoundError as error:
        why = f"the package {error.name} is missing; pip install 'vl2_ros[diffusion]'"
        completed, problems = loaded, dict.fromkeys(missing, why)
    except EngineError as error:  # a torch without the device that the engines run on
        completed, problems = loaded, dict.fromkeys(missing, str(error))
    else:
        problems = {name: why for name, why in completed.absent.items() if name in missing}
    for name in missing.keys() - problems.keys():
        _log.warning("torch answers in place of the engines: %s", missing[name])
    absent = {
        name: f"{missing[name]}; torch cannot take their place: {why}"
        for name, why in problems.items()
    }
    return replace(completed, absent={**absent, **loaded.absent})


def _makes_images(values: Mapping[str, Any]) -> bool:
    """Return whether a config.json asks for image generation or editing, without loading torch."""
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
    # What draws may be run by torch beside any engines.
    kept = (PARTS[name] for name in config.parts if name not in {*without, *IMAGE_PARTS})
    needed = (*CORE_GRAPHS, *(graph for part in kept for graph in part.graphs))
    missing = [graph for graph in needed if graph not in files.graphs]
    if missing:
        raise EngineError(
            f"the engines in {files.folder} lack {', '.join(missing)}, which the checkpoint has; "
            "build the engines again with `vl2 engines build`"
        )


def load_processing(folder: Path) -> ProcessingConfig:
    """Read how the model's images and prompts are prepared; a release gets its known settings."""
    if is_file(folder / FILE_NAME):
        return ProcessingConfig.load(folder)
    return ProcessingConfig.from_model_config(_read_config(folder))


def _load_calibration(folder: Path, identity: WeightsIdentity) -> Calibration:
    """Read the limits of a checkpoint; those that are known to be of other weights are not taken.

    While the weights are still being hashed the pipeline uses none.
    """
    calibration = Calibration.load(folder)
    if not calibration.identity or identity() in (calibration.identity, PENDING):
        return calibration
    _log.warning(
        "%s belongs to other weights, so no limits of the model are known; make it again with "
        "vl2 calibrate",
        shorten_path(folder / CALIBRATION),
    )
    return Calibration()


def _read_config(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / "config.json", CheckpointError)
