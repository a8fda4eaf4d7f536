"""Ask a safety checker's engine whether a generated image may be shown."""

from __future__ import annotations

import numpy as np

from vl2_ros.documents import read_json_object
from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.processing.images.generator_images import CheckedImages, preprocess_checked
from vl2_ros.runtime.engine import Engine, to_numpy

#: How much lower all limits are where a special concept is seen.
_ADJUSTMENT = 0.01
#: Margins count in whole thousandths.
_DIGITS = 3


class SafetyCheck:
    """Finds images that should not be shown; it does not change them.

    Args:
        engine: the `safety_checker` graph.
        images: how its images are made.
    """

    def __init__(self, engine: Engine, images: CheckedImages) -> None:
        self._engine = engine
        self._images = images

    def __call__(self, pixels: np.ndarray) -> bool:
        """Return whether an image is unsafe.

        Args:
            pixels: (3, H, W) float32, about -1..1; what lies outside is clipped.
        """
        outputs = self._engine.run({"pixels": preprocess_checked(pixels, self._images)[None]})
        special, margins = (
            to_numpy(outputs[name]).astype(np.float64)
            for name in ("special_margins", "concept_margins")
        )
        adjustment = _ADJUSTMENT if _is_over(special) else 0.0
        return _is_over(margins + adjustment)


def _is_over(margins: np.ndarray) -> bool:
    return bool((margins.round(_DIGITS) > 0).any())


def read_checked_images(folder: DiffusionFolder) -> CheckedImages | None:
    """Read how a folder's safety checker gets its images; None where there is no checker.

    Raises:
        CheckpointError: if the checker or the settings are missing or damaged.
    """
    found = folder.find_safety()
    if found is None:
        return None
    path = found[1] / "preprocessor_config.json"
    try:
        return CheckedImages.read(read_json_object(path, CheckpointError))
    except CheckpointError as error:
        raise CheckpointError(f"cannot read the feature extractor in {path}: {error}") from error
