"""Which inference backend answers: the one that is asked for, what it lacks, what takes its place.

Loads no library.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from vl2_ros.errors import EngineError
from vl2_ros.load_options import LoadOptions
from vl2_ros.runtime.engine import Engines
from vl2_ros.runtime.files.engine_folders import find_folder, may_have_engines
from vl2_ros.runtime.files.weights_identity import WeightsIdentity
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


def list_backends(
    options: LoadOptions, folder: Path, identity: WeightsIdentity
) -> Iterator[tuple[str, Path | None]]:
    """Yield the backend to try first, and those that may take its place.

    Args:
        options: their device is decided.
        folder: of the checkpoint.
        identity: of its weights; waited for where engines are looked for.

    Yields:
        A backend, and its folder of engines, None where none was found.
    """
    backend, chosen = _choose_backend(options, folder, identity)
    yield backend, chosen
    if not options.allow_fallback or backend == "torch":
        return
    if backend in LIBRARIES:
        exported = find_folder(folder, identity.wait(), "onnxruntime")
        if exported is not None:
            yield "onnxruntime", exported
    yield "torch", None


def _choose_backend(
    options: LoadOptions, folder: Path, identity: WeightsIdentity
) -> tuple[str, Path | None]:
    """Return the backend to try first, and the folder of engines, None where none was found."""
    backend = options.backend
    given = Path(options.engines) if options.engines else None
    if backend == "auto":
        is_plain = not options.memory_budget_mb and options.precision == "auto"
        fits = options.device == "cpu" and is_plain
        has_engines = given is not None or may_have_engines(folder)
        backend = "onnxruntime" if fits and has_engines else "torch"
    if backend == "torch" or given is not None:
        return backend, given
    # Which engines belong to these weights is known only when every byte is hashed.
    found = find_folder(folder, identity.wait(), backend)
    return ("torch" if found is None and options.backend == "auto" else backend), found


def load_first(
    backends: Iterator[tuple[str, Path | None]], load: Callable[[str, Path | None], Engines]
) -> Engines:
    """Load with the first backend that can, and say why those before it could not.

    Args:
        backends: from `list_backends`.
        load: loads with a backend, from its folder of engines.

    Raises:
        EngineError: with the reasons of all, if none can.
        ModuleNotFoundError: if torch is asked for first and is not installed.
    """
    failed: dict[str, EngineError] = {}
    for backend, chosen in backends:
        try:
            loaded = load(backend, chosen)
        except EngineError as error:
            failed[backend] = error
            continue
        except ModuleNotFoundError as missing:
            if not failed:
                raise
            raise EngineError(
                f"{_join(failed)}; torch could take its place: pip install 'vl2_ros[torch]'"
            ) from missing
        if failed:
            replaced = "the engines" if backend == "torch" else " and ".join(failed)
            _log.warning("%s answers in place of %s: %s", backend, replaced, _join(failed))
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
