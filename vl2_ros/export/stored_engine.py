"""One accepted engine of a store, and its JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2_ros.documents import check_int, check_number, check_text, read_json_object
from vl2_ros.errors import EngineError
from vl2_ros.export.engine_identity import EngineRecipe
from vl2_ros.runtime.files.engine_files import (
    FORMAT,
    EngineFile,
    read_axis,
    read_samples,
    read_weights,
)
from vl2_ros.runtime.files.parity_gate import OutputMiss


@dataclass(frozen=True, slots=True)
class StoredEngine:
    """One accepted engine.

    Attributes:
        file: the engine, as the runtime loads it.
        recipe: what it was built from.
        built_at: seconds since 1970.
        seconds: that the build took.
        size: of the file, with the weights beside it, in bytes.
        misses: how far each output was from torch's when it was accepted.
    """

    file: EngineFile
    recipe: EngineRecipe
    built_at: float
    seconds: float
    size: int
    misses: tuple[OutputMiss, ...]


def to_entry(stored: StoredEngine) -> dict[str, Any]:
    """Make the row of `engines.json`."""
    file = stored.file
    samples = [_to_row(*one) for one in file.samples]
    return {
        "file": file.path.name,
        "sha256": file.sha256,
        "precision": file.precision,
        "axes": {axis: list(s) if isinstance(s, tuple) else s for axis, s in file.axes.items()},
        "built_with": file.built_with,
        "built_for": file.built_for,
        "portable": file.portable,
        "identity": stored.recipe.identity,
        **({} if file.weights is None else {"weights": _to_row(*file.weights)}),
        **({"samples": samples} if samples else {}),
    }


def _to_row(path: Path, sha256: str) -> dict[str, str]:
    return {"file": path.name, "sha256": sha256}


def to_json(stored: StoredEngine) -> dict[str, Any]:
    """Make the JSON file of an engine."""
    return {
        "format": FORMAT,
        "engine": to_entry(stored),
        "recipe": stored.recipe.to_json(),
        "built_at": stored.built_at,
        "seconds": stored.seconds,
        "size": stored.size,
        "misses": [one.to_json() for one in stored.misses],
    }


def read_sidecar(path: Path) -> StoredEngine | None:
    """Read the JSON file of one engine; None for any other or damaged file."""
    try:
        document = read_json_object(path, EngineError)
        recipe, entry = EngineRecipe.from_json(document["recipe"]), document["engine"]
        file = EngineFile(
            recipe.graph,
            path.parent / Path(check_text("file", entry["file"], error=EngineError)).name,
            check_text("sha256", entry["sha256"], error=EngineError),
            recipe.precision,
            {axis: read_axis(axis, size) for axis, size in entry["axes"].items()},
            built_with=recipe.runtime,
            built_for=recipe.device,
            portable=entry["portable"] is True,
            weights=read_weights(path, entry),
            samples=read_samples(path, entry),
        )
        misses = tuple(OutputMiss(**one) for one in document["misses"])
        built_at, seconds = (
            check_number(name, document[name], least=0, error=EngineError)
            for name in ("built_at", "seconds")
        )
        size = check_int("size", document["size"], most=1 << 50, error=EngineError)
        return StoredEngine(file, recipe, built_at, seconds, size, misses)
    except (AttributeError, EngineError, KeyError, OSError, TypeError, ValueError):
        return None
