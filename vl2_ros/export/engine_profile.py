"""Read a YAML file of `engines/`: the engines that are built for one kind of machine.

Knows no inference library: it names the backend that runs each graph, at which precision, for
which range of shapes, and what the build may take.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vl2_ros.documents import MAX_SIZE, check_document, is_file, read_text, shorten
from vl2_ros.errors import ConfigError
from vl2_ros.load_options import MAX_TILES
from vl2_ros.model.graphs import DYNAMIC_AXES, GRAPHS
from vl2_ros.model.parts import PERCEPTION_PARTS

#: Sizes of an axis that changes from call to call: least, best and most.
AxisRange = tuple[int, int, int]
#: Name of a changing axis -> its sizes.
Shapes = Mapping[str, AxisRange]

BACKENDS = ("onnxruntime", "tensorrt", "tensorrt-rtx")
#: Folders of the profiles that come with the package: pip, a source tree, colcon.
_SHIPPED = (
    Path(__file__).parents[1] / "engines",
    Path(__file__).parents[2] / "engines",
    *(prefix / "share" / "vl2_ros" / "engines" for prefix in Path(__file__).parents[5:6]),
)
#: Most bytes of a profile.
_MAX_BYTES = 64 << 10
#: Letters of a library's own words.
_SHOWN = 300
_KEYS_SHOWN = 8
_COMPUTE_CAPABILITY = re.compile(r"[1-9]\d?\.\d")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def changing_axes(graph: str) -> tuple[str, ...]:
    """Return the axes of a graph's inputs that change from call to call, in order of first use."""
    axes = (axis for tensor in GRAPHS[graph].inputs for axis in tensor.axes)
    return tuple(dict.fromkeys(axis for axis in axes if axis in DYNAMIC_AXES))  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class GraphProfile:
    """How one graph is built.

    Attributes:
        graph: name in the graph table.
        precision: one that the graph table has a tolerance for.
        shapes: one entry per range that the engine is tuned for, each with every changing axis of
            the table, and those of images and maps that the exported file leaves open.
    """

    graph: str
    precision: str
    shapes: tuple[Shapes, ...]

    def __post_init__(self) -> None:
        """Check names and ranges.

        Raises:
            ConfigError: naming the graph, what was expected and what came.
        """
        if self.graph not in GRAPHS:
            raise ConfigError(f"graphs: expected {', '.join(GRAPHS)}, got {shorten(self.graph)}")
        known = tuple(GRAPHS[self.graph].tolerance)
        if self.precision not in known:
            raise ConfigError(
                f"{self.graph}: precision must be {' or '.join(known)}, got "
                f"{shorten(self.precision)}"
            )
        if not self.shapes:
            raise ConfigError(f"{self.graph}: shapes must have at least one entry")
        for shapes in self.shapes:
            self._check_shapes(shapes)

    def _check_shapes(self, shapes: Shapes) -> None:
        expected = changing_axes(self.graph)
        # Others, such as the sides of images, change where the exported file leaves them open.
        allowed = {axis for tensor in GRAPHS[self.graph].inputs for axis in tensor.axes}
        named = {axis.split(".")[0] for axis in shapes}  # maps have sizes of their own: `map_h.0`
        if not set(expected) <= named <= allowed:
            raise ConfigError(
                f"{self.graph}: shapes must give sizes of {', '.join(expected) or 'no axis'}, got "
                f"{', '.join(map(_show_key, shapes)) or 'none'}"
            )
        for axis, (least, best, most) in shapes.items():
            if not (0 if axis == "past" else 1) <= least <= best <= most <= MAX_SIZE:
                raise ConfigError(
                    f"{self.graph}: {axis} must be [least, best, most] in rising order, got "
                    f"{[least, best, most]}"
                )

    @property
    def axes(self) -> dict[str, AxisRange]:
        """Return the range of each changing axis over all `shapes`; best of the first."""
        names = self.shapes[0]
        spans = {axis: zip(*(one[axis] for one in self.shapes), strict=True) for axis in names}
        return {axis: (min(low), best[0], max(high)) for axis, (low, best, high) in spans.items()}


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """The engines that `vl2 engines build` makes for one kind of machine.

    Attributes:
        name: stem of the file.
        backend: onnxruntime, tensorrt or tensorrt-rtx.
        graphs: name -> how it is built; a graph that the checkpoint lacks is skipped.
        device: cpu, cuda or cuda:1.
        decoder_hw: height and width of the images of the perception decoders in pixels, padded;
            None leaves them open where the network can (see `export_engines`).
        generated_hw: height and width of generated and edited images, in pixels; None: those that
            the denoiser was trained on.
        max_tiles: most tiles that an image is cut into, see `LoadOptions`; the ranges must hold
            prompts of as many. None: the checkpoint's own.
        workspace_mb: scratch memory that a TensorRT build may take.
        memory_budget_mb: of all engines together; also bounds the scratch memory. None: no bound.
        optimization_level: of TensorRT's builder, 0 (fast build) to 5 (fast engine).
        version_compatible: the plan also runs with later versions of TensorRT of the same major.
        compute_capabilities: of the GPUs that plans of tensorrt-rtx are for, such as 8.6; none: all
            from 8.0.
        trusted: sha256 of plans built elsewhere that may be loaded.
    """

    name: str
    backend: str
    graphs: Mapping[str, GraphProfile]
    device: str = "cpu"
    decoder_hw: tuple[int, int] | None = None
    generated_hw: tuple[int, int] | None = None
    max_tiles: int | None = None
    workspace_mb: int = 1024
    memory_budget_mb: int | None = None
    optimization_level: int = 3
    version_compatible: bool = False
    compute_capabilities: tuple[str, ...] = ()
    trusted: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigError: naming the value, what was expected and what came.
        """
        if self.backend not in BACKENDS:
            raise ConfigError(
                f"backend must be {' or '.join(BACKENDS)}, got {shorten(self.backend)}"
            )
        if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", self.device):
            raise ConfigError(f"device must be cpu, cuda or cuda:1, got {shorten(self.device)}")
        if self.backend != "onnxruntime" and self.device == "cpu":
            raise ConfigError(f"backend {self.backend} needs device cuda, got cpu")
        self._check_target()
        if not self.graphs:
            raise ConfigError("graphs must name at least one graph")
        self._check_decoders()
        for name in ("workspace_mb", "memory_budget_mb"):
            value = getattr(self, name)
            if value is not None and value < 16:
                raise ConfigError(f"{name} must be at least 16, got {shorten(value)}")
            if value is not None and value > MAX_SIZE:
                raise ConfigError(f"{name} must be at most {MAX_SIZE}, got {shorten(value)}")
        if not 0 <= self.optimization_level <= 5:
            raise ConfigError(
                f"optimization_level must be 0 to 5, got {shorten(self.optimization_level)}"
            )
        if self.max_tiles is not None and not 1 <= self.max_tiles <= MAX_TILES:
            raise ConfigError(f"max_tiles must be 1 to {MAX_TILES}, got {shorten(self.max_tiles)}")
        for name, multiple in (("decoder_hw", 1), ("generated_hw", 8)):
            _check_sides(name, getattr(self, name), multiple)
        for sha256 in self.trusted:
            if not _SHA256.fullmatch(sha256):
                raise ConfigError(
                    f"trusted must contain sha256 of 64 lower-case hex digits: {shorten(sha256)}"
                )

    def _check_decoders(self) -> None:
        for part in PERCEPTION_PARTS.values():
            named = [graph for graph in part.graphs if graph in self.graphs]
            if named and len(named) < len(part.graphs):
                raise ConfigError(
                    f"graphs must name {' and '.join(part.graphs)}, which only work together, or "
                    f"none of them; got {named[0]} alone"
                )
            axes = {axis for graph in named for one in self.graphs[graph].shapes for axis in one}
            if others := axes - {axis for graph in named for axis in changing_axes(graph)}:
                raise ConfigError(
                    f"{' and '.join(named)}: images have the sizes of decoder_hw, and maps follow "
                    f"them; expected shapes without {', '.join(sorted(others))}"
                )
            precisions = [self.graphs[graph].precision for graph in named]
            if len(set(precisions)) > 1:
                raise ConfigError(
                    f"{' and '.join(named)} must have one precision, as maps go from one to the "
                    f"other, got {' and '.join(precisions)}"
                )

    def _check_target(self) -> None:
        is_rtx = self.backend == "tensorrt-rtx"
        if self.compute_capabilities and not is_rtx:
            raise ConfigError(
                f"compute_capabilities need the backend tensorrt-rtx, got {self.backend}, whose "
                "engines are for the machine that builds them"
            )
        if self.version_compatible and is_rtx:
            raise ConfigError(
                "version_compatible needs the backend tensorrt: plans of tensorrt-rtx are for one "
                "version of it"
            )
        for one in self.compute_capabilities:
            if not _COMPUTE_CAPABILITY.fullmatch(one):
                raise ConfigError(
                    "compute_capabilities must be a list such as [8.6, 8.9, 12.0], got "
                    f"{shorten(one)} in it"
                )

    @property
    def workspace_bytes(self) -> int:
        """Return the scratch memory of a build: half of the budget at most."""
        budget = self.memory_budget_mb or 2 * self.workspace_mb
        return min(self.workspace_mb, budget // 2) << 20


def _check_sides(name: str, sides: tuple[int, int] | None, multiple: int) -> None:
    if sides is not None and any(side < 32 or side > 4096 or side % multiple for side in sides):
        raise ConfigError(
            f"{name} must be [height, width] of 32 to 4096 pixels"
            + (f", multiples of {multiple}" if multiple > 1 else "")
            + f", got {shorten(list(sides))}"
        )


def list_shipped_profiles() -> dict[str, Path]:
    """Return the profiles that come with the package: name -> file."""
    for folder in _SHIPPED:
        found = {path.stem: path for path in folder.glob("*.yaml")}
        if found:
            return dict(sorted(found.items()))
    return {}


def find_profile(name: str) -> Path:
    """Return the file of a profile.

    Args:
        name: a path, or the name of a shipped profile such as `cpu`.

    Raises:
        ConfigError: if it is neither.
    """
    path = Path(name)
    if is_file(path):
        return path
    shipped = list_shipped_profiles()
    if name in shipped:
        return shipped[name]
    raise ConfigError(
        f"no profile {shorten(name)}: expected a YAML file or one of {', '.join(shipped) or 'none'}"
    )


def load_profile(path: Path) -> EngineProfile:
    """Read and check one profile.

    Raises:
        ConfigError: naming the file and what is wrong in it.
    """
    import yaml

    advice = "expected an engine profile"
    text = read_text(path, ConfigError, max_bytes=_MAX_BYTES, advice=advice)
    try:
        document = yaml.safe_load(text)
    # Beside its own errors the library lets through those of dates, numbers and deep nesting.
    except Exception as error:
        raise ConfigError(f"cannot read the profile {path}: {str(error)[:_SHOWN]}") from error
    check_document(document, str(path), ConfigError, advice=advice)
    try:
        return read_profile(path.stem, document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_profile(name: str, document: Any) -> EngineProfile:
    """Make a profile from the contents of the YAML file.

    Raises:
        ConfigError: if a key is unknown or missing, or a value has another type or range.
    """
    known = {one.name: one for one in dataclasses.fields(EngineProfile) if one.name != "name"}
    if not isinstance(document, dict):
        raise ConfigError(f"expected keys such as backend and graphs, got {shorten(document)}")
    _check_keys(document, {*known, "precision"}, {"backend", "graphs"})
    values = dict(document)
    precision = values.pop("precision", "float32")
    values["graphs"] = _read_graphs(values["graphs"], precision)
    for key in ("decoder_hw", "generated_hw"):
        if values.get(key) is not None:
            values[key] = _read_numbers(key, values[key], 2)
    for key in ("trusted", "compute_capabilities"):
        if key in values:
            values[key] = _read_texts(key, values[key])
    _check_types(values)
    return EngineProfile(name=name, **values)


def _read_texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list, got {shorten(value)}")
    # YAML reads 8.6 as a number.
    return tuple(one if isinstance(one, str) else shorten(one) for one in value)


def _check_keys(document: Mapping[Any, Any], known: set[str], needed: set[str]) -> None:
    unknown = sorted(_show_key(key) for key in set(document) - known)
    missing = sorted(needed - set(document))
    if unknown or missing:
        raise ConfigError(
            f"expected the keys {', '.join(sorted(known))}"
            + (f"; unknown: {', '.join(unknown[:_KEYS_SHOWN])}" if unknown else "")
            + (f"; missing: {', '.join(missing)}" if missing else "")
        )


def _check_types(values: Mapping[str, Any]) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "backend": (str,),
        "device": (str,),
        "workspace_mb": (int,),
        "max_tiles": (int, type(None)),
        "memory_budget_mb": (int, type(None)),
        "optimization_level": (int,),
        "version_compatible": (bool,),
    }
    for key, expected in kinds.items():
        value = values.get(key, ...)
        # To Python a bool is an int.
        wrong_bool = isinstance(value, bool) and bool not in expected
        if value is not ... and (wrong_bool or not isinstance(value, expected)):
            raise ConfigError(f"{key} must be {expected[0].__name__}, got {shorten(value)}")


def _read_graphs(document: Any, precision: Any) -> dict[str, GraphProfile]:
    if not isinstance(document, dict):
        raise ConfigError(f"graphs must have a key for each graph, got {shorten(document)}")
    graphs = {}
    for name, entry in document.items():
        entry = {} if entry is None else entry
        if not isinstance(name, str) or len(name) > _SHOWN:
            raise ConfigError(f"graphs must have names, got {shorten(name)}")
        if not isinstance(entry, dict):
            raise ConfigError(
                f"{name}: expected the keys precision and shapes, got {shorten(entry)}"
            )
        try:
            _check_keys(entry, {"precision", "shapes"}, set())
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error
        # A key without a value is null in YAML, and means the same as none.
        entry = {key: value for key, value in entry.items() if value is not None}
        shapes = entry.get("shapes", [{}])
        if not isinstance(shapes, list) or not all(isinstance(one, dict) for one in shapes):
            raise ConfigError(
                f"{name}: shapes must be a list of axes with sizes, got {shorten(shapes)}"
            )
        ranges = tuple(
            {axis: _read_range(f"{name}: {_show_key(axis)}", size) for axis, size in one.items()}
            for one in shapes
        )
        graphs[name] = GraphProfile(name, _show_key(entry.get("precision", precision)), ranges)
    return graphs


def _show_key(key: Any) -> str:
    return key[:_SHOWN] if isinstance(key, str) else shorten(key)


def _read_range(what: str, value: Any) -> AxisRange:
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value, value
    least, best, most = _read_numbers(what, value, 3)
    return least, best, most


def _read_numbers(what: str, value: Any, count: int) -> tuple[int, ...]:
    if (
        not isinstance(value, list)
        or len(value) != count
        or not all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    ):
        expected = "a number or [least, best, most]" if count == 3 else "[height, width]"
        raise ConfigError(f"{what} must be {expected}, got {shorten(value)}")
    return tuple(value)
