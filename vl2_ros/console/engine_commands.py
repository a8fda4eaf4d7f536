"""`vl2 engines`: build and manage the engines of a checkpoint for this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vl2_ros.console import display
from vl2_ros.console.groups import complete, group_options
from vl2_ros.console.options import AsJson, Checkpoint
from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.load_options import LoadOptions

if TYPE_CHECKING:
    from vl2_ros.export.build_engines import BuildReport
    from vl2_ros.export.engine_builders import Builder
    from vl2_ros.export.engine_profile import EngineProfile
    from vl2_ros.export.engine_store import EngineStore
    from vl2_ros.export.stored_engine import StoredEngine
    from vl2_ros.runtime.files.engine_files import EngineFile
    from vl2_ros.runtime.tensorrt_backend.build_progress import BuildProgress

#: Folder of exported ONNX files in a folder of engines.
EXPORTED = "onnx"

engines_app = typer.Typer(no_args_is_help=True, help="Build and manage engines for this machine.")

EnginesFolder = Annotated[
    Path | None,
    typer.Option(
        "--engines",
        metavar="FOLDER",
        help="Folder of engines; default: engines in the checkpoint folder where that is writable, "
        "else in ~/.cache/vl2_ros.",
        rich_help_panel="Model",
    ),
]


@engines_app.command()
@group_options
def build(
    model: Checkpoint,
    engines: EnginesFolder = None,
    profile: Annotated[
        str,
        typer.Option(
            help="YAML file, or name of a shipped one: cpu, cpu-int8, discrete, orin, rtx.",
            autocompletion=complete("cpu", "cpu-int8", "discrete", "orin", "rtx"),
        ),
    ] = "cpu",
    compute_capability: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="GPUs that plans of TensorRT for RTX are for, such as 8.6,8.9,12.0, in place of "
            "the profile's.",
        ),
    ] = "",
    build_only: Annotated[
        bool,
        typer.Option(
            "--build-only",
            help="Build from ONNX files that are there; needs neither torch nor weights.",
        ),
    ] = False,
    export_only: Annotated[
        bool,
        typer.Option(
            "--export-only", help="Only export ONNX files, to build elsewhere with --build-only."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Export the graphs of a checkpoint and build the engines that are missing."""
    from vl2_ros.export.build_engines import build_engines
    from vl2_ros.export.engine_builders import make_builder
    from vl2_ros.export.engine_profile import find_profile, load_profile
    from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

    if build_only and export_only:
        raise ConfigError("--build-only and --export-only leave nothing to do; name one of them")
    chosen = load_profile(find_profile(profile))
    if compute_capability:
        named = tuple(one.strip() for one in compute_capability.split(","))
        chosen = replace(chosen, compute_capabilities=named)
    if export_only:
        folder = _open_store(model, engines).folder / EXPORTED
        with display.show_stages("exporting") as show:
            _export(chosen, model, folder, show)
        display.print_text(f"exported: {folder.resolve()}")
        return
    # Checked before the export, which takes long: can the engines be built at all?
    builder = make_builder(chosen, TrustedPlans(further=chosen.trusted))
    store = _open_store(model, engines)
    with display.show_stages("exporting") as show:

        def report_progress(graph: str, progress: BuildProgress) -> None:
            show(_describe_progress(graph, progress), progress.share)

        source = _find_exported(store, model) if build_only else None
        if source is None:
            source = _export(chosen, model, store.folder / EXPORTED, show)
        report = build_engines(chosen, source, store, builder, report_progress)
    _print_report(report, store, builder.machine, as_json=as_json)


@engines_app.command(name="list")
@group_options
def list_command(model: Checkpoint, engines: EnginesFolder = None, as_json: AsJson = False) -> None:
    """List engines: graph, precision, shapes, time of the build, library, device and state."""
    store = _open_store(model, engines)
    published = {one.path.name for one in store.published().values()}
    rows = [
        _describe_engine(
            one, "old" if one.file.path.name not in published else _find_state(one.file)
        )
        for one in store.list_engines()
    ]
    if as_json:
        display.print_json({"folder": str(store.folder), "engines": rows})
        return
    display.print_text(f"{store.folder}: {len(rows) or 'no'} engines built here")
    if not rows and (came := _find_shipped(model)) is not None:
        display.print_text(f"{came}: engines that came with the checkpoint are in use")
    # The hash has a line of its own: a table would cut it.
    display.print_rows([{n: v for n, v in row.items() if n != "sha256"} for row in rows])
    for row in rows:
        display.print_text(f"{row['sha256']}  {row['graph']} {row['built']}")


@engines_app.command()
@group_options
def verify(model: Checkpoint, engines: EnginesFolder = None, as_json: AsJson = False) -> None:
    """Check the hashes of the engines in use, and compare their outputs with torch again."""
    from vl2_ros.export.build_engines import verify_engine

    store = _open_store(model, engines)
    published = store.published()
    if not published:
        raise EngineError(f"no engines in {store.folder}; build them with `vl2 engines build`")
    has_own = all(one.samples for one in published.values())
    source = None if has_own else _find_exported(store, model)
    verdicts = [verify_engine(one, _make_builder_of(one), source) for one in published.values()]
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
    if any(one.problem and not one.is_pending for one in verdicts):
        raise EngineError("not every engine is fit for use; `vl2 engines build` makes new ones")
    if any(one.is_pending for one in verdicts):
        raise EngineError(
            "these engines cannot be verified on a machine without a GPU; run `vl2 engines verify` "
            "on the machine that has it, or load them there, which verifies them"
        )


@engines_app.command()
@group_options
def clean(
    model: Checkpoint,
    engines: EnginesFolder = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also delete engines in use and exported files.")
    ] = False,
) -> None:
    """Delete engines that are not in use any more, and remains of failed builds."""
    from vl2_ros.export.engine_store import clean_exported

    store = _open_store(model, engines)
    gone = store.clean(everything=everything)
    if everything:
        gone += clean_exported(store.folder / EXPORTED)
    for path in gone:
        display.print_text(str(path))
    display.print_text(f"{len(gone)} files deleted")


@engines_app.command()
def trust(
    sha256: Annotated[
        list[str],
        typer.Argument(metavar="SHA256...", help="Hash of each plan, as `vl2 engines list` shows."),
    ],
    note: Annotated[
        str, typer.Option(help="Where the plan comes from, kept in the list of trusted plans.")
    ] = "",
) -> None:
    """Allow TensorRT plans that were built elsewhere to be loaded. A plan can run any code."""
    from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

    trusted = TrustedPlans()
    for one in sha256:
        added = trusted.add(one, note)
        display.print_text(f"{'added to' if added else 'already in'} {trusted.path}: {one}")


def _open_store(model: LoadOptions, engines: Path | None) -> EngineStore:
    from vl2_ros.export.engine_store import EngineStore
    from vl2_ros.loading import find_weights
    from vl2_ros.runtime.files.engine_folders import choose_folder
    from vl2_ros.runtime.files.weights_identity import identify_weights

    if engines is None:
        folder = find_weights(model)
        identity = identify_weights(folder)
        engines = choose_folder(folder, identity, is_packaged=not model.weights)
    return EngineStore(engines, on_wait=display.show_note)


def _find_shipped(model: LoadOptions) -> Path | None:
    """Return the folder of the engines that came with a checkpoint, if any did."""
    from vl2_ros.loading import find_weights
    from vl2_ros.runtime.files.engine_files import FILE_NAME
    from vl2_ros.runtime.files.engine_folders import FOLDER

    folder = find_weights(model)
    places = (folder / FOLDER, folder)
    return next((place for place in places if (place / FILE_NAME).is_file()), None)


def _find_exported(store: EngineStore, model: LoadOptions) -> Path:
    """Return the folder of exported files: in the store, or as it came with the checkpoint."""
    from vl2_ros.loading import find_weights
    from vl2_ros.runtime.files.engine_files import FILE_NAME
    from vl2_ros.runtime.files.engine_folders import FOLDER

    folder = find_weights(model)
    places = (store.folder / EXPORTED, folder / FOLDER, folder)
    for place in places:
        if (place / FILE_NAME).is_file():
            return place
    raise EngineError(
        f"no exported ONNX files in {' or '.join(map(str, places))}; build once without "
        "--build-only, or copy them there"
    )


def _export(
    profile: EngineProfile, model: LoadOptions, folder: Path, show: Callable[[str, float], None]
) -> Path:
    from vl2_ros.export.profile_export import export_for_profile
    from vl2_ros.loading import find_weights

    return export_for_profile(
        profile,
        find_weights(model),
        folder,
        on_wait=display.show_note,
        progress=show,
    )


def _make_builder_of(file: EngineFile) -> Builder:
    """Return a builder that loads an engine, with the library and for the GPUs it was built for."""
    from vl2_ros.export.engine_builders import make_builder
    from vl2_ros.export.engine_profile import EngineProfile, GraphProfile
    from vl2_ros.runtime.tensorrt_backend.library import read_target

    backend = file.built_with.partition(" ")[0] or "onnxruntime"
    any_graph = {"vae_decoder": GraphProfile("vae_decoder", "float32", ({},))}
    device = "cpu" if backend == "onnxruntime" else "cuda"
    targets = read_target(file.built_for)
    return make_builder(
        EngineProfile("any", backend, any_graph, device, compute_capabilities=targets)
    )


def _find_state(file: EngineFile) -> str:
    try:
        file.check()
        file.check_samples()
        builder = _make_builder_of(file)
        builder.check_built(file)
    except EngineError as error:
        return str(error)
    return "in use" if not file.samples else _describe_verified(file, builder.machine)


def _is_verified(file: EngineFile, machine: str) -> bool:
    from vl2_ros.runtime.files.first_load import find_verified

    return not file.samples or machine in find_verified(file)


def _describe_verified(file: EngineFile, machine: str) -> str:
    """Return whether an engine that is for several machines was verified on this one."""
    from vl2_ros.runtime.files.first_load import UNVERIFIED, find_verified

    verified = find_verified(file)
    if machine:
        return "in use" if machine in verified else f"{UNVERIFIED} (at its first load)"
    return f"verified on {', '.join(verified)}" if verified else f"{UNVERIFIED} (no GPU here)"


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


def _print_report(report: BuildReport, store: EngineStore, machine: str, *, as_json: bool) -> None:
    rows: list[Mapping[str, Any]] = [
        {
            "graph": one.recipe.graph,
            "state": "built" if one.recipe.graph in report.built else "was there",
            "verified": _is_verified(one.file, machine),
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
    if report.skipped:
        display.print_text(f"the checkpoint has no {', '.join(report.skipped)}")
    from vl2_ros.runtime.files.first_load import UNVERIFIED

    if not all(row["verified"] for row in rows):
        display.print_text(
            f"{UNVERIFIED} (no GPU for them here): they are verified where they are loaded first"
        )
    display.print_text(f"engines: {store.folder.resolve()}")
