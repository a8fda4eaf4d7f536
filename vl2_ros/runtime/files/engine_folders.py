"""Find the engines of a checkpoint: in its folder, or in the user's cache.

They take long to build, so they never go to a folder that is emptied at a restart.
"""

from __future__ import annotations

import os
from pathlib import Path

from vl2_ros.documents import is_file, is_folder
from vl2_ros.errors import EngineError
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.runtime.files.engine_files import FILE_NAME, read_engine_files

#: In the checkpoint folder.
FOLDER = "engines"


def cache_root() -> Path:
    """Return the user's folder for reproducible files: `$XDG_CACHE_HOME` or `~/.cache`."""
    named = os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache") / "vl2_ros"


def may_have_engines(weights: Path) -> bool:
    """Return whether any engines exist, so that the identity of a checkpoint is needed."""
    return (
        is_file(weights / FILE_NAME)
        or is_folder(weights / FOLDER)
        or is_folder(cache_root() / FOLDER)
    )


def cache_folder(identity: str) -> Path:
    """Return the user's folder for the engines of a checkpoint.

    Args:
        identity: of the checkpoint.
    """
    return cache_root() / FOLDER / identity


def choose_folder(weights: Path, identity: str, *, is_packaged: bool = False) -> Path:
    """Return where engines of a checkpoint are built: beside it if that is writable.

    Args:
        weights: checkpoint folder.
        identity: of the checkpoint.
        is_packaged: the folder belongs to an installed package, whose files stay as they are.
    """
    beside = weights / FOLDER
    nearest = beside if is_folder(beside) else weights
    if is_packaged or not os.access(nearest, os.W_OK):
        return cache_folder(identity)
    return beside


def find_folder(weights: Path, identity: str, backend: str, precision: str = "auto") -> Path | None:
    """Return the folder with engines for a backend: those built by this user first, or None.

    Those that refer to the weights of the checkpoint lie beside them.

    Args:
        weights: checkpoint folder.
        identity: of the checkpoint.
        backend: that shall load them.
        precision: that they shall have; auto: any.
    """
    folders = [
        one
        for one in (cache_folder(identity), weights / FOLDER, weights)
        if is_file(one / FILE_NAME) and _serves(one, backend, precision)
    ]
    return next(filter(_is_whole, folders), folders[0] if folders else None)


def _is_whole(folder: Path) -> bool:
    """Return whether every decoder has its backbone; engines of older versions have none."""
    try:
        graphs = read_engine_files(folder).graphs
    except EngineError:
        return True
    parts = PERCEPTION_PARTS.values()
    return all(one.backbone in graphs for one in parts if one.name in graphs)


def _serves(folder: Path, backend: str, precision: str) -> bool:
    """Return whether engines are for a backend; ONNX files as exported are ONNX Runtime's."""
    try:
        files = read_engine_files(folder)
    except EngineError:
        # Loading them reports what is wrong.
        return True
    libraries = {
        (one.built_with or "onnxruntime").partition(" ")[0] for one in files.graphs.values()
    }
    return libraries == {backend} and precision in ("auto", *files.precisions)
