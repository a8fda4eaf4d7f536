"""The dependencies of an engine, and their hash: another hash, another engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vl2_ros.documents import check_int, check_object, check_text, shorten
from vl2_ros.errors import EngineError
from vl2_ros.model.graphs import GRAPHS
from vl2_ros.model.parts import graph_of

#: Of the recipe's form: raised when a build comes out differently from the same recipe.
RECIPE_VERSION = 1


@dataclass(frozen=True, slots=True)
class EngineRecipe:
    """Everything that an engine depends on.

    Attributes:
        graph: name of the engine, see `EngineFile`.
        onnx_sha256: of the file that it is built from, and of the weights beside it.
        runtime: library and version that builds it, such as `tensorrt 10.3.0`.
        device: name and architecture, such as `NVIDIA Orin sm_87`.
        precision: such as `float32`.
        shapes: for each range that it is tuned for: axis -> least, best, most.
        options: of the builder.
    """

    graph: str
    onnx_sha256: str
    runtime: str
    device: str
    precision: str
    shapes: tuple[Mapping[str, tuple[int, int, int]], ...]
    options: Mapping[str, int | bool | str]

    @property
    def identity(self) -> str:
        """Return the hash of all of it, 64 hexadecimal digits."""
        document = {"recipe_version": RECIPE_VERSION, **self.to_json()}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def stem(self) -> str:
        """Return the name of the engine's files without their ends."""
        return f"{self.graph}.{self.identity[:16]}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        document = asdict(self)
        document["shapes"] = [
            {axis: list(sizes) for axis, sizes in sorted(one.items())} for one in self.shapes
        ]
        document["options"] = dict(self.options)
        return document

    @classmethod
    def from_json(cls, document: Any) -> EngineRecipe:
        """Read the output of `to_json`.

        Raises:
            EngineError: if it is anything else.
        """
        try:
            shapes = tuple(
                {axis: _read_range(axis, sizes) for axis, sizes in one.items()}
                for one in document["shapes"]
            )
            recipe = cls(**{**document, "shapes": shapes})
            for name in ("graph", "onnx_sha256", "runtime", "device", "precision"):
                check_text(name, getattr(recipe, name), error=EngineError)
            options = check_object("options", recipe.options, error=EngineError)
            if graph_of(recipe.graph) not in GRAPHS or not all(
                isinstance(one, int | bool | str) for one in options.values()
            ):
                raise EngineError("expected a known graph and plain options")
            return recipe
        except (AttributeError, EngineError, KeyError, TypeError, ValueError) as error:
            raise EngineError(
                f"expected the recipe of an engine, got {shorten(document)}; build it again"
            ) from error


def _read_range(axis: str, sizes: Any) -> tuple[int, int, int]:
    least, best, most = (check_int(axis, size, error=EngineError) for size in sizes)
    return least, best, most
