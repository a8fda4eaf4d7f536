"""Read and check `engines.json`, the index of a folder of engine files.

    {"format": 1, "checkpoint": "<identity>", "graphs": {
        "language_model": {"file": "language_model.onnx", "sha256": "...", "precision": "float32",
                           "axes": {"layers": 4, "past": [0, 128, 1024]}}},
     "embeddings": {"file": "embeddings.safetensors", "sha256": "..."}}

Image generation and editing have graphs of the same names, so theirs have the part in front:
`image_editing.denoiser`. A graph that does not contain its weights names their file under
`weights`, an engine that is to be verified where it is loaded the files of stored calls under
`samples`. Embeddings that are tensors of that file have their names under `tables`.

Graphs of other precisions, which may answer in place of those, are listed by precision:

     "forms": {"int8": {"language_model": {"file": "language_model.int8.onnx", ...}}}

Axes are those of the graph table: a number where the file fixes one, else least, best and most.
Knows no inference library and does not open the engines.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vl2_ros.documents import (
    MAX_SIZE,
    check_int,
    check_list,
    check_object,
    check_text,
    read_json_object,
    shorten,
)
from vl2_ros.errors import EngineError
from vl2_ros.model.graphs import GRAPHS, QUANTISED
from vl2_ros.model.parts import IMAGE_PARTS, graph_of
from vl2_ros.runtime.files.file_hashes import check_bytes, check_shared, read_checked

FILE_NAME = "engines.json"
FORMAT = 1
#: Beside the engines: word embeddings and query tables, which are looked up without a graph.
EMBEDDINGS = "embeddings.safetensors"
#: Added to the name of a graph: a file with the weights that the graph does not hold.
WEIGHTS_SUFFIX = ".data"

#: Most stored calls of one engine.
MAX_SAMPLES = 64

AxisRange = int | tuple[int, int, int]

_AGAIN = "export the engines again"
_MAX_NAME_LETTERS = 250


@dataclass(frozen=True, slots=True)
class EngineFile:
    """One engine of the folder.

    Attributes:
        name: of its graph, with the part in front where two parts have one of that name.
        path: its file.
        sha256: hash of the file, 64 hexadecimal digits.
        precision: such as `float32`.
        axes: name of an axis -> its size; least, best and most where it changes.
        built_with: library and version that built it, such as `tensorrt 10.3.0`; empty: any.
        built_for: device that it was built for, such as `NVIDIA Orin sm_87`; empty: any.
        portable: later versions of the same major version may also load it.
        weights: file beside it that holds its weights, and the hash of that; None: it holds them.
        samples: stored calls beside it, each with its hash, that it must pass on every new device
            before it answers there; empty: it passed when it was built.
    """

    name: str
    path: Path
    sha256: str
    precision: str
    axes: Mapping[str, AxisRange]
    built_with: str = ""
    built_for: str = ""
    portable: bool = False
    weights: tuple[Path, str] | None = None
    samples: tuple[tuple[Path, str], ...] = ()

    @property
    def graph(self) -> str:
        """Return the name in the graph table."""
        return graph_of(self.name)

    def list_paths(self) -> tuple[Path, ...]:
        """Return the file, and that of its weights where it does not hold them."""
        return (self.path,) if self.weights is None else (self.path, self.weights[0])

    @property
    def content_sha256(self) -> str:
        """Return a hash of the file and the weights beside it; without any, that of the file."""
        if self.weights is None:
            return self.sha256
        return hashlib.sha256(f"{self.sha256} {self.weights[1]}".encode()).hexdigest()

    def check(self) -> None:
        """Compare the bytes of the file, and of its weights, with their hashes.

        Raises:
            EngineError: if one is missing or not what was exported.
        """
        check_bytes(self.path, self.sha256, f"the engine of {self.name}")
        if self.weights is not None:
            check_shared(*self.weights, f"the weights of {self.name}")

    def check_samples(self) -> None:
        """Compare the bytes of the stored calls with their hashes.

        Raises:
            EngineError: if one is missing or not what was exported.
        """
        for path, sha256 in self.samples:
            check_bytes(path, sha256, f"a stored call of {self.name}")

    def read(self) -> bytes:
        """Return the bytes of the file, which are those of its hash.

        Raises:
            EngineError: if it is missing or not what was exported.
        """
        return read_checked(self.path, self.sha256, f"the engine of {self.name}")

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

    def fixed_size(self, axis: str) -> int:
        """Return the size of an axis that the file fixes.

        Raises:
            EngineError: if `engines.json` does not have it.
        """
        size = self.axes.get(axis)
        if not isinstance(size, int):
            raise EngineError(
                f"{FILE_NAME} must give {self.name} a number for the axis {axis!r}, got "
                f"{size!r}; {_AGAIN}"
            )
        return size


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """The contents of a folder of engines.

    Attributes:
        folder: where it is.
        checkpoint: identity of the checkpoint that they were made from.
        graphs: name of an engine -> its file.
        embeddings: where word embeddings and query tables of the language model are.
        embeddings_sha256: hash of that file; empty: not recorded.
        embeddings_tables: table -> its name in that file, where that is another one.
        forms: precision -> name of an engine -> a file of that precision that may take its place.
    """

    folder: Path
    checkpoint: str
    graphs: Mapping[str, EngineFile] = field(default_factory=dict)
    embeddings: Path = Path(EMBEDDINGS)
    embeddings_sha256: str = ""
    embeddings_tables: Mapping[str, str] = field(default_factory=dict)
    forms: Mapping[str, Mapping[str, EngineFile]] = field(default_factory=dict)

    @property
    def precision(self) -> str:
        """Return the narrowest precision of the engines, which is what answers are like."""
        used = {one.precision for one in self.graphs.values()}
        return next((one for one in (*reversed(QUANTISED), "float16") if one in used), "float32")

    @property
    def precisions(self) -> tuple[str, ...]:
        """Return the precisions that `in_precision` has engines for."""
        return tuple(dict.fromkeys((self.precision, *self.forms)))

    def in_precision(self, precision: str) -> EngineFiles:
        """Return the engines that answer in a precision; a graph without a form in it stays.

        Raises:
            EngineError: if there are none.
        """
        if precision == self.precision:
            return self
        if precision not in self.forms:
            raise EngineError(
                f"the engines in {self.folder} are of precision {', '.join(self.precisions)}, not "
                f"{precision}; choose one of these, or build others with `vl2 engines build`"
            )
        return replace(self, graphs={**self.graphs, **self.forms[precision]})

    def check_embeddings(self) -> None:
        """Compare the bytes of the embeddings with their hash.

        Raises:
            EngineError: if they are missing, not what was exported, or have no hash.
        """
        if not self.embeddings_sha256:
            raise EngineError(
                f"{self.folder / FILE_NAME} has no sha256 of {EMBEDDINGS}, so it is unknown "
                f"whether it belongs to these engines; {_AGAIN}"
            )
        check_shared(self.embeddings, self.embeddings_sha256, "the embeddings")

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
    if not os.path.lexists(path):
        raise EngineError(
            f"no {FILE_NAME} in {folder}; expected a folder that the export of engines has written"
        )
    document = read_json_object(path, EngineError, advice=_AGAIN)
    written = document.get("format")
    if type(written) is not int or not 1 <= written <= FORMAT:
        raise EngineError(
            f"{path} has format {shorten(written)}, this version reads 1 to {FORMAT}; update "
            f"vl2_ros or {_AGAIN} with this version"
        )
    checkpoint, graphs = document.get("checkpoint"), document.get("graphs")
    if not isinstance(checkpoint, str) or not isinstance(graphs, dict) or not graphs:
        raise EngineError(
            f"{path} must have the texts and tables checkpoint and graphs, got "
            f"{shorten(document)}; {_AGAIN}"
        )
    files = {name: _read_graph(path, name, entry) for name, entry in graphs.items()}
    listed = check_object("forms", document.get("forms", {}), error=EngineError)
    forms = {precision: _read_forms(path, precision, one) for precision, one in listed.items()}
    return EngineFiles(folder, checkpoint, files, *_read_embeddings(path, document), forms=forms)


def _read_forms(path: Path, precision: str, listed: Any) -> dict[str, EngineFile]:
    """Read the engines of one precision that may take the place of others."""
    entries = check_object(f"forms of {precision}", listed, error=EngineError)
    forms = {name: _read_graph(path, name, entry) for name, entry in entries.items()}
    if not forms or any(one.precision != precision for one in forms.values()):
        found = ", ".join(sorted({one.precision for one in forms.values()})) or "none"
        raise EngineError(
            f"{path} must list engines of {precision} under forms.{precision}, got {found}; "
            f"{_AGAIN}"
        )
    return forms


def _read_embeddings(path: Path, document: Mapping[str, Any]) -> tuple[Path, str, dict[str, str]]:
    """Return the file of the embeddings, its hash (empty where there is none) and its tables."""
    if "embeddings" not in document:
        return path.parent / EMBEDDINGS, "", {}
    entry = document["embeddings"]
    file, sha256 = _read_file(path, entry)
    tables = check_object("tables", entry.get("tables", {}), error=EngineError)
    if not tables and file.name != EMBEDDINGS:
        raise EngineError(
            f"{path} must name {EMBEDDINGS}, or the tables in another file, got "
            f"{shorten(file.name)}; {_AGAIN}"
        )
    names = {name: check_text(name, one, error=EngineError) for name, one in tables.items()}
    return file, sha256, names


def _read_graph(path: Path, name: str, entry: Any) -> EngineFile:
    if name not in GRAPHS and not any(part.owns(name) for part in IMAGE_PARTS.values()):
        raise EngineError(
            f"{path} lists an engine of {shorten(name)}; this version knows {', '.join(GRAPHS)}"
        )
    try:
        check_object("an engine", entry, error=EngineError)
        file, sha256 = _read_file(path, entry)
        axes = check_object("axes", entry.get("axes", {}), error=EngineError)
        return EngineFile(
            name,
            file,
            sha256,
            check_text("precision", entry.get("precision"), error=EngineError),
            {axis: read_axis(axis, size) for axis, size in axes.items()},
            built_with=check_text("built_with", entry.get("built_with", ""), error=EngineError),
            built_for=check_text("built_for", entry.get("built_for", ""), error=EngineError),
            portable=entry.get("portable") is True,
            weights=read_weights(path, entry),
            samples=read_samples(path, entry),
        )
    except EngineError as error:
        raise EngineError(
            f"{path} describes the engine of {name} wrongly: expected file, sha256, precision and "
            f"axes as numbers or [least, best, most], got {shorten(entry)}: {error}; {_AGAIN}"
        ) from error


def read_weights(path: Path, entry: Mapping[str, Any]) -> tuple[Path, str] | None:
    """Return the file of weights that an entry names, with its hash; None: the graph holds them.

    Args:
        path: of the JSON file, in whose folder it lies.
        entry: of one engine.

    Raises:
        EngineError: if it is named in another way.
    """
    return _read_file(path, entry["weights"]) if "weights" in entry else None


def read_samples(path: Path, entry: Mapping[str, Any]) -> tuple[tuple[Path, str], ...]:
    """Return the stored calls that an entry names, each with its hash.

    Args:
        path: of the JSON file, in whose folder they lie.
        entry: of one engine.

    Raises:
        EngineError: if they are named in another way.
    """
    listed = check_list("samples", entry.get("samples", []), most=MAX_SAMPLES, error=EngineError)
    return tuple(_read_file(path, one) for one in listed)


def _read_file(path: Path, entry: Any) -> tuple[Path, str]:
    """Return a file that lies in the folder of `engines.json`, and its hash."""
    check_object("a file", entry, error=EngineError)
    file = check_text("file", entry.get("file"), most=_MAX_NAME_LETTERS, error=EngineError)
    sha256 = check_text("sha256", entry.get("sha256"), most=64, error=EngineError).lower()
    if Path(file).is_absolute() or ".." in Path(file).parts or "\0" in file:
        raise EngineError(f"{path} names {file!r}, which lies outside of its folder")
    return path.parent / file, sha256


def read_axis(name: str, size: Any) -> AxisRange:
    """Read the size of an axis, or its least, best and most.

    Raises:
        EngineError: if it is anything else.
    """
    if not isinstance(size, list):
        return check_int(name, size, most=MAX_SIZE, error=EngineError)
    sizes = check_list(name, size, most=3, error=EngineError)
    if len(sizes) != 3:
        raise EngineError(f"{name} must be a number or [least, best, most], got {sizes}")
    least, best, most = (check_int(name, one, most=MAX_SIZE, error=EngineError) for one in sizes)
    return least, best, most
