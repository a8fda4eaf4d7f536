"""A folder of engine files to what is in it: `engines.json`, read and checked.

    {"format": 1, "checkpoint": "<identity>", "graphs": {
        "language_model": {"file": "language_model.onnx", "sha256": "...", "precision": "float32",
                           "axes": {"layers": 4, "past": [0, 128, 1024]}}}}

Axes are those of the graph table: a number where the file fixes one, else least, best and most.
Knows no inference library, and not what is inside of the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vl2_ros.errors import EngineError
from vl2_ros.model.graphs import GRAPHS

FILE_NAME = "engines.json"
FORMAT = 1
#: Beside the engines: word embeddings and query tables, which are looked up without a graph.
EMBEDDINGS = "embeddings.safetensors"

AxisRange = int | tuple[int, int, int]

_AGAIN = "export the engines again"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineFile:
    """One engine of the folder.

    Attributes:
        graph: name in the graph table.
        path: its file.
        sha256: what the bytes of the file hash to, 64 hexadecimal digits.
        precision: such as `float32`.
        axes: name of an axis -> its size; least, best and most where it changes.
        built_with: library and version that built it, such as `tensorrt 10.3.0`; empty: any.
        built_for: device that it was built for, such as `NVIDIA Orin sm_87`; empty: any.
        portable: later versions of the same major version may load it, too.
        weights: file beside it that holds its weights, and the hash of that; None: it holds them.
    """

    graph: str
    path: Path
    sha256: str
    precision: str
    axes: Mapping[str, AxisRange]
    built_with: str = ""
    built_for: str = ""
    portable: bool = False
    weights: tuple[Path, str] | None = None

    def check(self) -> None:
        """Compare the bytes of the file, and of its weights, with their hashes.

        Raises:
            EngineError: if one is missing or not what was exported.
        """
        for path, sha256 in ((self.path, self.sha256), *filter(None, [self.weights])):
            digest = hashlib.sha256()
            for chunk in self._read_chunks(path):
                digest.update(chunk)
            _compare(path, digest.hexdigest(), sha256)

    def read(self) -> bytes:
        """Return the bytes of the file, which are those of its hash.

        Raises:
            EngineError: if it is missing or not what was exported.
        """
        content = b"".join(self._read_chunks(self.path))
        _compare(self.path, hashlib.sha256(content).hexdigest(), self.sha256)
        return content

    def check_built(self, runtime: str, device: str) -> None:
        """Check that the file was built with this library for this device.

        Args:
            runtime: library and version that would load it.
            device: where it would run.

        Raises:
            EngineError: naming both.
        """
        wanted, there = self.built_with, runtime
        if self.portable:
            wanted, there = (name.partition(".")[0] for name in (wanted, there))
        if (self.built_with and wanted != there) or self.built_for not in ("", device):
            raise EngineError(
                f"{self.path} was built with {self.built_with or 'any library'} for "
                f"{self.built_for or 'any device'}, here is {runtime} on {device}; build it here "
                "with `vl2 engines build`"
            )

    def _read_chunks(self, path: Path) -> Iterator[bytes]:
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise EngineError(
                f"cannot read {path}, the engine of {self.graph}: {error.strerror}; {_AGAIN}"
            ) from error

    def fixed_size(self, axis: str) -> int:
        """Return the size of an axis that the file fixes.

        Raises:
            EngineError: if `engines.json` does not say it.
        """
        size = self.axes.get(axis)
        if not isinstance(size, int):
            raise EngineError(
                f"{FILE_NAME} must give {self.graph} a number for the axis {axis!r}, got "
                f"{size!r}; {_AGAIN}"
            )
        return size


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """What a folder of engines holds.

    Attributes:
        folder: where it is.
        checkpoint: identity of the checkpoint that they were made from.
        graphs: name of a graph -> its file.
    """

    folder: Path
    checkpoint: str
    graphs: Mapping[str, EngineFile] = field(default_factory=dict)

    @property
    def embeddings(self) -> Path:
        """Where embeddings and query tables of the language model are."""
        return self.folder / EMBEDDINGS

    def require(self, graph: str) -> EngineFile:
        """Return the file of a graph.

        Raises:
            EngineError: if there is none.
        """
        if graph not in self.graphs:
            raise EngineError(
                f"{self.folder} has no engine of {graph}; it has {', '.join(self.graphs)}; {_AGAIN}"
            )
        return self.graphs[graph]

    def check_checkpoint(self, identity: str) -> None:
        """Check that the engines were made from a checkpoint.

        Raises:
            EngineError: if they were made from another one.
        """
        if self.checkpoint != identity:
            raise EngineError(
                f"the engines in {self.folder} were made from checkpoint {self.checkpoint}, these "
                f"weights are {identity}; {_AGAIN} or name their own folder"
            )


def read_engine_files(folder: Path) -> EngineFiles:
    """Read `engines.json` of a folder; the engines themselves are not opened.

    Raises:
        EngineError: if it is missing, unreadable or of a newer format, or lists an unknown graph.
    """
    path = folder / FILE_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EngineError(
            f"no {FILE_NAME} in {folder}; expected a folder that the export of engines has written"
        ) from error
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot read {path}: {error}; {_AGAIN}") from error
    written = document.get("format") if isinstance(document, dict) else None
    if not isinstance(written, int) or not 1 <= written <= FORMAT:
        raise EngineError(
            f"{path} has format {written!r}, this version reads 1 to {FORMAT}; update vl2_ros or "
            f"{_AGAIN} with this version"
        )
    checkpoint, graphs = document.get("checkpoint"), document.get("graphs")
    if not isinstance(checkpoint, str) or not isinstance(graphs, dict) or not graphs:
        raise EngineError(
            f"{path} must hold the texts and tables checkpoint and graphs, got {document}; {_AGAIN}"
        )
    files = {name: _read_graph(path, name, entry) for name, entry in graphs.items()}
    return EngineFiles(folder, checkpoint, files)


def _compare(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise EngineError(
            f"{path} is damaged or was replaced: expected sha256 {expected[:12]}..., got "
            f"{found[:12]}... of {path.stat().st_size} bytes; {_AGAIN}"
        )


def _read_graph(path: Path, name: str, entry: Any) -> EngineFile:
    if name not in GRAPHS:
        raise EngineError(
            f"{path} lists an engine of {name!r}; this version knows {', '.join(GRAPHS)}"
        )
    try:
        file, sha256 = _read_file(path, entry)
        axes = {axis: _read_axis(size) for axis, size in entry.get("axes", {}).items()}
        return EngineFile(
            name,
            file,
            sha256,
            str(entry["precision"]),
            axes,
            built_with=str(entry.get("built_with", "")),
            built_for=str(entry.get("built_for", "")),
            portable=entry.get("portable") is True,
            weights=_read_file(path, entry["weights"]) if "weights" in entry else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"{path} describes the engine of {name} wrongly: expected file, sha256, precision and "
            f"axes as numbers or [least, best, most], got {entry!r}; {_AGAIN}"
        ) from error


def _read_file(path: Path, entry: Any) -> tuple[Path, str]:
    """Return a file that lies in the folder of `engines.json`, and its hash."""
    file, sha256 = str(entry["file"]), str(entry["sha256"]).lower()
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise EngineError(f"{path} names {file!r}, which lies outside of its folder")
    return path.parent / file, sha256


def _read_axis(size: Any) -> AxisRange:
    if isinstance(size, int):
        return size
    least, best, most = (int(one) for one in size)
    return least, best, most
