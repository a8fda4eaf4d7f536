"""`vl2 engines`: build the engines of a checkpoint for this machine, and look after them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vl2_ros.console import display
from vl2_ros.console.options import AsJson, Weights
from vl2_ros.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from vl2_ros.export.build_engines import BuildReport
    from vl2_ros.export.engine_builders import Builder
    from vl2_ros.export.engine_profile import EngineProfile
    from vl2_ros.export.engine_store import EngineStore, StoredEngine
    from vl2_ros.runtime.tensorrt_backend.build_progress import BuildProgress

#: Folder of exported ONNX files in a folder of engines.
EXPORTED = "onnx"

engines_app = typer.Typer(
    no_args_is_help=True, help="Build engines for this machine, and look after them."
)

EnginesFolder = Annotated[
    Path | None,
    typer.Option(
        "--engines",
        help="Folder of the engines; left out: engines in the checkpoint folder where that is "
        "writable, else in ~/.cache/vl2_ros.",
    ),
]


@engines_app.command()
def build(
    profile: Annotated[
        str, typer.Option(help="YAML file, or name of a shipped one: cpu, discrete, orin.")
    ] = "cpu",
    weights: Weights = None,
    engines: EnginesFolder = None,
    build_only: Annotated[
        bool,
        typer.Option(help="Build from ONNX files that are there; needs neither torch nor weights."),
    ] = False,
    export_only: Annotated[
        bool,
        typer.Option(help="Export the ONNX files alone, to build elsewhere with --build-only."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Export the graphs of a checkpoint and build engines, those that are not there yet."""
    from vl2_ros.export.build_engines import build_engines
    from vl2_ros.export.engine_builders import make_builder
    from vl2_ros.export.engine_profile import find_profile, load_profile
    from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

    if build_only and export_only:
        raise ConfigError("--build-only and --export-only leave nothing to do; name one of them")
    chosen = load_profile(find_profile(profile))
    if export_only:
        folder = _open_store(weights, engines).folder / EXPORTED
        with display.show_stages("exporting") as show:
            _export(chosen, weights, folder, show)
        display.print_text(f"exported: {folder.resolve()}")
        return
    # Before the export, which takes long, it shall be clear that the engines can be built.
    builder = make_builder(chosen, TrustedPlans(further=chosen.trusted))
    store = _open_store(weights, engines)
    with display.show_stages("exporting") as show:

        def tell(graph: str, progress: BuildProgress) -> None:
            show(_describe_progress(graph, progress), progress.share)

        source = _find_exported(store, weights) if build_only else None
        if source is None:
            source = _export(chosen, weights, store.folder / EXPORTED, show)
        report = build_engines(chosen, source, store, builder, tell)
    _print_report(report, store, as_json=as_json)


@engines_app.command(name="list")
def list_command(
    weights: Weights = None, engines: EnginesFolder = None, as_json: AsJson = False
) -> None:
    """List engines: graph, precision, shapes, when they were built with what for what, state."""
    store = _open_store(weights, engines)
    published = {one.sha256 for one in store.published().values()}
    rows = [
        _describe_engine(one, "old" if one.file.sha256 not in published else _find_state(one))
        for one in store.list_engines()
    ]
    if as_json:
        display.print_json({"folder": str(store.folder), "engines": rows})
        return
    display.print_text(f"{store.folder}: {len(rows) or 'no'} engines built here")
    if not rows and (came := _find_shipped(weights)) is not None:
        display.print_text(f"{came}: engines that came with the checkpoint are in use")
    # The hash has a line of its own: a table would cut it.
    display.print_rows([{n: v for n, v in row.items() if n != "sha256"} for row in rows])
    for row in rows:
        display.print_text(f"{row['sha256']}  {row['graph']} {row['built']}")


@engines_app.command()
def verify(weights: Weights = None, engines: EnginesFolder = None, as_json: AsJson = False) -> None:
    """Compare the engines in use with their hashes, and what they compute with torch, again."""
    from vl2_ros.export.build_engines import verify_engine

    store = _open_store(weights, engines)
    published = store.published()
    if not published:
        raise EngineError(f"no engines in {store.folder}; build them with `vl2 engines build`")
    source = _find_exported(store, weights)
    verdicts = [
        verify_engine(one, _make_builder_of(one.built_with), source) for one in published.values()
    ]
    rows = [
        {
            "graph": one.graph,
            "state": one.problem or "good",
            "far from torch": max((miss.difference for miss in one.misses), default=None),
        }
        for one in verdicts
    ]
    if as_json:
        display.print_json({"folder": str(store.folder), "engines": rows})
    else:
        display.print_rows(rows)
    if any(one.problem for one in verdicts):
        raise EngineError("not every engine is fit for use; `vl2 engines build` makes new ones")


@engines_app.command()
def clean(
    weights: Weights = None,
    engines: EnginesFolder = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those in use, and the exported files.")
    ] = False,
) -> None:
    """Delete engines that are not in use any more, and what broken builds left."""
    from vl2_ros.export.engine_store import clean_exported

    store = _open_store(weights, engines)
    gone = store.clean(everything=everything)
    if everything:
        gone += clean_exported(store.folder / EXPORTED)
    for path in gone:
        display.print_text(str(path))
    display.print_text(f"{len(gone)} files deleted")


@engines_app.command()
def trust(
    sha256: Annotated[str, typer.Argument(metavar="SHA256", help="Of the plan, as `list` shows.")],
    note: Annotated[
        str, typer.Option(help="Where it comes from, for whoever reads the list.")
    ] = "",
) -> None:
    """Allow a TensorRT plan that was built elsewhere to be loaded. A plan can run any code."""
    from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

    trusted = TrustedPlans()
    added = trusted.add(sha256, note)
    display.print_text(f"{'added to' if added else 'already in'} {trusted.path}")


def _open_store(weights: Path | None, engines: Path | None) -> EngineStore:
    from vl2_ros.export.engine_store import EngineStore
    from vl2_ros.loading import EMBEDDED_WEIGHTS
    from vl2_ros.runtime.files.engine_folders import choose_folder
    from vl2_ros.runtime.files.weights_identity import identify_weights

    if engines is None:
        folder = weights or EMBEDDED_WEIGHTS
        identity = identify_weights(folder)
        engines = choose_folder(folder, identity, is_packaged=weights is None)
    return EngineStore(engines, on_wait=display.show_note)


def _find_shipped(weights: Path | None) -> Path | None:
    """Return the folder of the engines that came with a checkpoint, if any did."""
    from vl2_ros.loading import EMBEDDED_WEIGHTS
    from vl2_ros.runtime.files.engine_files import FILE_NAME
    from vl2_ros.runtime.files.engine_folders import FOLDER

    folder = (weights or EMBEDDED_WEIGHTS) / FOLDER
    return folder if (folder / FILE_NAME).is_file() else None


def _find_exported(store: EngineStore, weights: Path | None) -> Path:
    """Return the folder of exported files: in the store, or as it came with the checkpoint."""
    from vl2_ros.loading import EMBEDDED_WEIGHTS
    from vl2_ros.runtime.files.engine_files import FILE_NAME
    from vl2_ros.runtime.files.engine_folders import FOLDER

    places = (store.folder / EXPORTED, (weights or EMBEDDED_WEIGHTS) / FOLDER)
    for place in places:
        if (place / FILE_NAME).is_file():
            return place
    raise EngineError(
        f"no exported ONNX files in {' or '.join(map(str, places))}; build once without "
        "--build-only, or copy them there"
    )


def _export(
    profile: EngineProfile, weights: Path | None, folder: Path, show: Callable[[str, float], None]
) -> Path:
    from vl2_ros.export.profile_export import export_for_profile
    from vl2_ros.loading import EMBEDDED_WEIGHTS

    return export_for_profile(
        profile,
        weights or EMBEDDED_WEIGHTS,
        folder,
        on_wait=display.show_note,
        progress=lambda graph: show(f"exporting: {graph}", 0.0),
    )


def _make_builder_of(built_with: str) -> Builder:
    """Return a builder that loads engines of a library."""
    from vl2_ros.export.engine_builders import make_builder
    from vl2_ros.export.engine_profile import EngineProfile, GraphProfile

    backend = built_with.partition(" ")[0] or "onnxruntime"
    any_graph = {"vae_decoder": GraphProfile("vae_decoder", "float32", ({},))}
    device = "cuda" if backend == "tensorrt" else "cpu"
    return make_builder(EngineProfile("any", backend, any_graph, device))


def _find_state(stored: StoredEngine) -> str:
    try:
        stored.file.check()
        builder = _make_builder_of(stored.file.built_with)
        stored.file.check_built(builder.runtime, builder.device_name)
    except EngineError as error:
        return str(error)
    return "in use"


def _describe_engine(stored: StoredEngine, state: str) -> dict[str, Any]:
    recipe = stored.recipe
    shapes = "; ".join(
        " ".join(f"{axis} {_format_range(sizes)}" for axis, sizes in one.items())
        for one in recipe.shapes
    )
    return {
        "graph": recipe.graph,
        "precision": recipe.precision,
        "shapes": shapes or "fixed",
        "built": time.strftime("%Y-%m-%d %H:%M", time.localtime(stored.built_at)),
        "with": recipe.runtime,
        "for": recipe.device,
        "MB": round(stored.size / 1e6, 1),
        "state": state,
        "sha256": stored.file.sha256,
    }


def _format_range(sizes: tuple[int, int, int]) -> str:
    return str(sizes[0]) if sizes[0] == sizes[2] else f"{sizes[0]}..{sizes[1]}..{sizes[2]}"


def _describe_progress(graph: str, progress: BuildProgress) -> str:
    left = "" if progress.eta_s is None else f", about {progress.eta_s:.0f} s left"
    return f"{graph}: {progress.stage}{left}"


def _print_report(report: BuildReport, store: EngineStore, *, as_json: bool) -> None:
    rows: list[Mapping[str, Any]] = [
        {
            "graph": one.recipe.graph,
            "state": "built" if one.recipe.graph in report.built else "was there",
            "seconds": round(one.seconds, 1),
            "far from torch": max((miss.difference for miss in one.misses), default=None),
            "MB": round(one.size / 1e6, 1),
        }
        for one in report.engines
    ]
    if as_json:
        misses = {one.recipe.graph: [asdict(m) for m in one.misses] for one in report.engines}
        display.print_json({"folder": str(store.folder), "engines": rows, "misses": misses})
        return
    display.print_rows(rows)
    if report.left_out:
        display.print_text(f"the checkpoint has no {', '.join(report.left_out)}")
    display.print_text(f"engines: {store.folder.resolve()}")
