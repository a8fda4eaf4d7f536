"""The checkpoint that a run starts from, and the files that go beside the weights of its own."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vl2_ros.documents import is_file, write_whole
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_processing
from vl2_ros.model.checkpoint.folder import COMPANION_FILES
from vl2_ros.processing.config import FILE_NAME, ProcessingConfig

#: Stands for the checkpoint of the package as `init` of a recipe.
EMBEDDED = "embedded"


def find_init(init: str) -> Path:
    """Return the folder that the `init` of a recipe names."""
    return EMBEDDED_WEIGHTS if init == EMBEDDED else Path(init)


def copy_companions(
    init: Path,
    folder: Path,
    change: Callable[[ProcessingConfig], ProcessingConfig] = lambda processing: processing,
) -> None:
    """Copy tokenizer and processing settings of a checkpoint into the folder of a run.

    Of several processes the first one does it before the others, which find the files there and
    leave them alone: one that was just written anew could not be read.

    Args:
        init: a released checkpoint, or one in our layout.
        folder: of the run.
        change: makes the processing settings of the run from those of the checkpoint.

    Raises:
        ConfigError: if the processing settings cannot be read.
    """
    for name in set(COMPANION_FILES) - {FILE_NAME}:
        if (init / name).is_file() and not _is_same(init / name, folder / name):
            write_whole(folder / name, partial(shutil.copyfile, init / name))
    # A release says in config.json how its images are prepared; our layout in a file of its own.
    processing = change(load_processing(init))
    if not is_file(folder / FILE_NAME) or load_processing(folder) != processing:
        processing.save(folder)


def _is_same(source: Path, copy: Path) -> bool:
    return copy.is_file() and filecmp.cmp(source, copy, shallow=False)
