"""The checkpoint that a run starts from, and the files that go beside the weights of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from vl2_ros.loading import EMBEDDED_WEIGHTS, load_processing
from vl2_ros.model.checkpoint.folder import COMPANION_FILES

#: Stands for the checkpoint of the package as `init` of a recipe.
EMBEDDED = "embedded"


def find_init(init: str) -> Path:
    """Return the folder that the `init` of a recipe names."""
    return EMBEDDED_WEIGHTS if init == EMBEDDED else Path(init)


def copy_companions(init: Path, folder: Path) -> None:
    """Copy tokenizer and processing settings of a checkpoint into the folder of a run.

    Args:
        init: a released checkpoint, or one in our layout.
        folder: of the run.

    Raises:
        ConfigError: if the processing settings cannot be read.
    """
    for name in COMPANION_FILES:
        if (init / name).is_file():
            shutil.copyfile(init / name, folder / name)
    # A release says in config.json how its images are prepared; our layout in a file of its own.
    load_processing(init).save(folder)
