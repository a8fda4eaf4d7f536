"""Build the engines of a profile from a folder of exported ONNX files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vl2_ros.errors import EngineError
from vl2_ros.export.engine_builders import Builder
from vl2_ros.export.engine_profile import EngineProfile, GraphProfile
from vl2_ros.export.engine_store import EngineStore
from vl2_ros.export.stored_engine import StoredEngine
from vl2_ros.model.graphs import QUANTISED
from vl2_ros.model.parts import PERCEPTION_PARTS, graph_of
from vl2_ros.runtime.engine import Engine, PerceptionDecoder
from vl2_ros.runtime.files.engine_files import EngineFile, read_engine_files
from vl2_ros.runtime.files.first_load import UNVERIFIED, FirstLoad
from vl2_ros.runtime.files.parity_gate import (
    OutputMiss,
    compare_calls,
    describe_misses,
    find_samples,
    measure_answers,
)
from vl2_ros.runtime.tensorrt_backend.build_progress import BuildProgress

#: Called with the name of the engine and the progress of its build.
GraphListener = Callable[[str, BuildProgress], None]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The result of a build.

    Attributes:
        engines: all that the profile names and the checkpoint has.
        built: names of those that were not there before.
        skipped: graphs of the profile that the checkpoint lacks.
    """

    engines: tuple[StoredEngine, ...]
    built: tuple[str, ...]
    skipped: tuple[str, ...]


def build_engines(
    profile: EngineProfile,
    source: Path,
    store: EngineStore,
    builder: Builder,
    progress: GraphListener = lambda _graph, _progress: None,
) -> BuildReport:
    """Build what a profile names, and let the runtime load it.

    A graph that fails does not keep the others from being built. They are published beside the
    old engine of the failed one, unless that is of another checkpoint: then all old engines stay.

    Args:
        profile: of the machine.
        source: folder of exported ONNX files with stored inputs.
        store: where the engines go.
        builder: of the profile's backend.
        progress: called with the progress of each graph.

    Raises:
        EngineError: if the folder cannot be used, or naming every graph that failed.
    """
    exported = read_engine_files(source)
    wanted = [
        name for graph in profile.graphs for name in exported.graphs if graph_of(name) == graph
    ]
    there = {graph_of(name) for name in wanted}
    before = {one.recipe.identity for one in store.list_engines()}
    engines: list[StoredEngine] = []
    failed: dict[str, EngineError] = {}
    for name in wanted:
        try:
            engines.append(_build_one(profile, exported.graphs[name], store, builder, progress))
        except EngineError as error:
            failed[name] = error
    if engines and (not failed or store.checkpoint in ("", exported.checkpoint)):
        store.publish(
            exported.checkpoint,
            engines,
            exported.embeddings if exported.embeddings.is_file() else None,
        )
    if failed:
        raise EngineError(
            f"{len(failed)} of {len(wanted)} engines could not be built: "
            + "; ".join(f"{name}: {error}" for name, error in failed.items())
        ) from next(iter(failed.values()))
    return BuildReport(
        tuple(engines),
        tuple(one.recipe.graph for one in engines if one.recipe.identity not in before),
        tuple(graph for graph in profile.graphs if graph not in there),
    )


def _build_one(
    profile: EngineProfile,
    source: EngineFile,
    store: EngineStore,
    builder: Builder,
    progress: GraphListener,
) -> StoredEngine:
    graph = profile.graphs[source.graph]
    if source.precision != graph.precision:
        raise EngineError(
            f"{source.path} was exported in {source.precision}, the profile {profile.name} wants "
            f"{graph.precision}; export it again without --build-only"
        )
    report = functools.partial(progress, source.name)

    def report_answers(done: int, total: int) -> None:
        report(BuildProgress(f"comparing answers to {total} commands", done / total, None))

    return store.build(
        source,
        open_shapes(graph, source),
        builder,
        functools.partial(compare_with_torch, source=source, progress=report_answers),
        report,
    )


def open_shapes(graph: GraphProfile, source: EngineFile) -> GraphProfile:
    """Add the axes that an exported file leaves open and the profile does not name."""
    open_axes = {axis: sizes for axis, sizes in source.axes.items() if isinstance(sizes, tuple)}
    return replace(graph, shapes=tuple({**open_axes, **one} for one in graph.shapes))


def compare_with_torch(
    engine: Engine,
    *,
    source: EngineFile,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[OutputMiss]:
    """Run an engine on the inputs, and the commands, that were stored beside an exported file.

    Args:
        engine: just built, or in use.
        source: the exported file that it was built from.
        progress: called with the number of commands that are answered, and of all.

    Returns:
        The largest miss of each output; for a quantised language model also those of its answers.

    Raises:
        EngineError: if there are none, or the engine fails.
    """
    misses = compare_calls(engine, find_samples(source.path), source.precision)
    if source.precision not in QUANTISED:
        return misses
    return [*misses, *_compare_answers(engine, source, progress)]


def _compare_answers(
    engine: Engine, source: EngineFile, progress: Callable[[int, int], None]
) -> list[OutputMiss]:
    """Compare answers; the exported decoder runs on the CPU, so that only the engine differs."""
    from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

    files = read_engine_files(source.path.parent).graphs
    graphs = PERCEPTION_PARTS["detection_decoder"].graphs
    decoder = None
    if all(graph in files for graph in graphs):
        decoder = PerceptionDecoder(*(OnnxEngine(files[graph]) for graph in graphs))
    return measure_answers(engine, source, decoder, progress)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a check of one engine.

    Attributes:
        graph: name of the engine.
        problem: empty if it is fit for use.
        misses: how far each output is from torch's; empty where that could not be measured.
        is_pending: it cannot run on this machine, so it stays unverified.
    """

    graph: str
    problem: str
    misses: tuple[OutputMiss, ...] = ()
    is_pending: bool = False


def verify_engine(file: EngineFile, builder: Builder, source: Path | None) -> Verdict:
    """Check hash, origin and numbers of a published engine again.

    Args:
        file: the engine.
        builder: of its backend.
        source: folder of exported ONNX files with stored inputs; None where every engine has them
            beside it.
    """
    try:
        file.check()
        file.check_samples()
        builder.check_built(file)
        if file.samples and not builder.machine:
            return Verdict(file.name, f"{UNVERIFIED} (no GPU here)", is_pending=True)
        return _judge(file, _measure(file, builder, source))
    except EngineError as error:
        return Verdict(file.name, str(error))


def _measure(file: EngineFile, builder: Builder, source: Path | None) -> tuple[OutputMiss, ...]:
    if file.samples:
        return FirstLoad(builder.load, builder.machine).verify(file)[1]
    if source is None:
        raise EngineError(f"no stored inputs of {file.name}; build it with `vl2 engines build`")
    exported = read_engine_files(source).require(file.name)
    return tuple(compare_with_torch(builder.load(file), source=exported))


def _judge(file: EngineFile, misses: tuple[OutputMiss, ...]) -> Verdict:
    over = [one for one in misses if one.is_over]
    problem = f"too far from torch: {describe_misses(over)}" if over else ""
    return Verdict(file.name, problem, misses)
