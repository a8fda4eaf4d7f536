"""A checkpoint folder to a ready pipeline: the one place where a backend is chosen.

Heavy libraries are imported in the call, not with the module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from vl2_ros.errors import CheckpointError
from vl2_ros.pipeline import Pipeline
from vl2_ros.processing.config import FILE_NAME, ProcessingConfig
from vl2_ros.processing.tokenizer import load_tokenizer

#: The checkpoint that ships with the package.
EMBEDDED_WEIGHTS = Path(__file__).parent / "embedded"
#: Bytes read from each end of a weight file to tell checkpoints apart.
_HASHED_BYTES = 4 << 20


def load_pipeline(
    weights: Path | str | None = None,
    *,
    device: str = "cpu",
    without: Collection[str] = (),
    memory_budget_mb: float | None = None,
) -> Pipeline:
    """Load a checkpoint and everything around it.

    Args:
        weights: a checkpoint folder, released or saved by vl2_ros; None takes the embedded model.
        device: torch device, such as `cpu` or `cuda`.
        without: parts of the network that are left out, names of `model.config.PARTS`.
        memory_budget_mb: most that the weights of decoders may take together, in millions of
            bytes: they are loaded when they are wanted, and freed for each other. None keeps all
            but what makes pictures, which is loaded with the first one.

    Raises:
        CheckpointError: if the folder is missing, incomplete, damaged or of another model.
        ConfigError: if `without` names no part, or the budget is not positive.
        EngineError: if the device is not there.
    """
    folder = EMBEDDED_WEIGHTS if weights is None else Path(weights)
    if not folder.is_dir():
        raise CheckpointError(
            f"no weights folder at {folder}; expected a folder with config.json, weights and "
            "tokenizer files"
        )
    processing = load_processing(folder)
    tokenizer = load_tokenizer(folder)
    from vl2_ros.runtime.torch_loading import load_torch_engines

    return Pipeline(
        load_torch_engines(
            folder, device=device, without=without, memory_budget_mb=memory_budget_mb
        ),
        tokenizer,
        processing,
        name="embedded" if weights is None else folder.resolve().name,
        identity=identify_weights(folder),
    )


def identify_weights(folder: Path) -> str:
    """Hash what tells one checkpoint from another, fast enough for 17 GB.

    Names, sizes, beginnings (shard headers) and ends of the weight files, and the whole config.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_HASHED_BYTES))
            file.seek(max(0, size - _HASHED_BYTES))
            digest.update(file.read())
    return digest.hexdigest()[:16]


def load_processing(folder: Path) -> ProcessingConfig:
    """Read how the model's pictures and prompts are prepared; a release gets its known settings."""
    if (folder / FILE_NAME).is_file():
        return ProcessingConfig.load(folder)
    try:
        release = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"expected a readable config.json in {folder}: {error}") from error
    return ProcessingConfig.from_model_config(release)
