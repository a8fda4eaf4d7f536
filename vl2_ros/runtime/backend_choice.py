"""Which inference backend answers: the one that is asked for, what it lacks, what takes its place.

Loads no library.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vl2_ros.errors import EngineError
from vl2_ros.load_options import LoadOptions
from vl2_ros.runtime.engine import Engines
from vl2_ros.runtime.files.engine_files import EngineFiles, read_engine_files
from vl2_ros.runtime.files.engine_folders import find_folder, may_have_engines
from vl2_ros.runtime.files.weights_identity import WeightsIdentity
from vl2_ros.runtime.processor import multiplies_bytes
from vl2_ros.runtime.tensorrt_backend.library import LIBRARIES, Library

#: Backend of TensorRT -> profile that builds its engines.
_PROFILES = {"tensorrt": "discrete", "tensorrt-rtx": "rtx"}

_log = logging.getLogger(__name__)


def has_cuda_driver() -> bool:
    """Return whether the driver of an NVIDIA GPU is installed."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may answer.

    Attributes:
        backend: name of the inference backend.
        folder: of its engines; None where none was found, and for torch.
        precision: of the engines that are taken from the folder; empty: of those that it uses.
    """

    backend: str
    folder: Path | None = None
    precision: str = ""

    def __str__(self) -> str:
        """Name it."""
        return f"{self.precision} on {self.backend}" if self.precision else self.backend


def list_backends(
    options: LoadOptions, folder: Path, identity: WeightsIdentity
) -> Iterator[Candidate]:
    """Yield what is tried first, and what may take its place.

    Args:
        options: their device is decided.
        folder: of the checkpoint.
        identity: of its weights; waited for where engines are looked for.
    """
    first, *others = _choose_first(options, folder, identity)
    yield first
    if not options.allow_fallback or first.backend == "torch":
        return
    yield from others
    if first.backend in LIBRARIES:
        exported = find_folder(folder, identity.wait(), "onnxruntime")
        if exported is not None:
            yield Candidate("onnxruntime", exported)
    yield Candidate("torch")


def _choose_first(
    options: LoadOptions, folder: Path, identity: WeightsIdentity
) -> tuple[Candidate, ...]:
    """Return what is tried first, and other precisions of the same engines."""
    backend = options.backend
    given = Path(options.engines) if options.engines else None
    if backend == "auto":
        fits = options.device == "cpu" and not options.memory_budget_mb
        has_engines = given is not None or may_have_engines(folder)
        is_served = fits and has_engines and options.precision != "bfloat16"
        backend = "onnxruntime" if is_served or options.precision == "int8" else "torch"
    if backend == "torch":
        return (Candidate(backend),)
    # Which engines belong to these weights is known only when every byte is hashed.
    found = given or find_folder(folder, identity.wait(), backend, options.precision)
    if found is None:
        if options.backend == "auto" and options.precision != "int8":
            return (Candidate("torch"),)
        # Loading those of another precision reports which there are.
        named = "" if options.precision == "auto" else options.precision
        return (Candidate(backend, find_folder(folder, identity.wait(), backend), named),)
    precisions = _choose_precisions(options, found)
    return tuple(Candidate(backend, found, one) for one in precisions)


def _choose_precisions(options: LoadOptions, folder: Path) -> tuple[str, ...]:
    """Return the precision of the engines in a folder that is tried first, and the others."""
    try:
        files = read_engine_files(folder)
    except EngineError:
        # Loading them reports what is wrong.
        return ("",)
    if options.precision == "float32":
        return ("float32",)
    if options.precision == "int8":
        if not multiplies_bytes():
            _log.warning("this CPU has no units for int8, which then is slower and less exact")
        return ("int8", "") if "int8" in files.forms else ("int8",)
    form = choose_form(files) if options.device == "cpu" else ""
    return (form, "") if form else ("",)


def choose_form(files: EngineFiles) -> str:
    """Return the precision of the engines that this CPU answers with, empty for those in use.

    Args:
        files: of a folder with engines of several precisions, maybe.
    """
    return "int8" if "int8" in files.forms and multiplies_bytes() else ""


def load_first(candidates: Iterator[Candidate], load: Callable[[Candidate], Engines]) -> Engines:
    """Load with the first candidate that can, and say why those before it could not.

    Args:
        candidates: from `list_backends`.
        load: loads one of them.

    Raises:
        EngineError: with the reasons of all, if none can.
        ModuleNotFoundError: if torch is asked for first and is not installed.
    """
    failed: dict[str, EngineError] = {}
    for candidate in candidates:
        try:
            loaded = load(candidate)
        except EngineError as error:
            failed[str(candidate)] = error
            continue
        except ModuleNotFoundError as missing:
            if not failed:
                raise
            raise EngineError(
                f"{_join(failed)}; torch could take its place: pip install 'vl2_ros[torch]'"
            ) from missing
        if failed:
            replaced = "the engines" if candidate.backend == "torch" else " and ".join(failed)
            _log.warning("%s answers in place of %s: %s", candidate, replaced, _join(failed))
        return loaded
    first, *others = failed.values()
    if not others:
        raise first
    raise EngineError(_join(failed)) from first


def _join(errors: Mapping[str, EngineError]) -> str:
    return "; ".join(map(str, errors.values()))


def check_tensorrt(library: Library, *, has_engines: bool) -> None:
    """Check what a TensorRT library needs before anything is loaded.

    Args:
        library: row of the table.
        has_engines: engines for it were found, or their folder was named.

    Raises:
        EngineError: naming all that is missing.
    """
    missing = []
    if find_spec(library.module) is None:
        missing.append(f"{library.title} is not installed ({library.install})")
    if not has_cuda_driver():
        missing.append("this machine has no NVIDIA GPU, or no driver of it")
    if not has_engines:
        missing.append(
            f"there are no {library.backend} engines of this checkpoint (`vl2 engines build "
            f"--profile {_PROFILES[library.backend]}`)"
        )
    if missing:
        raise EngineError(f"the backend {library.backend} cannot be used: {'; '.join(missing)}")
