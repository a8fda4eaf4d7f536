"""The commands that measure a model.

Everything heavy is imported inside the commands, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display
from vl2_ros.console.evaluation.benchmark_commands import add_benchmarks
from vl2_ros.console.evaluation.measured_model import show_measured
from vl2_ros.console.groups import Panel, complete, group_options
from vl2_ros.console.options import (
    AsJson,
    Checkpoint,
    Model,
    Threshold,
    load_model,
    read_seeds,
)
from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.evaluation.watches.modes import WatchedScene
    from vl2_ros.sources.source import Source
    from vl2_ros.structures import Frame

#: Seeds from here on are never trained on.
HELD_OUT = 1_000_000
#: Seeds from here on nothing is chosen by either.
REPORTED = 9_500_000

Furniture = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Models of household scenes; default: those of Debian's sweethome3d-furniture.",
    ),
]

eval_app = typer.Typer(no_args_is_help=True, help="Measure a model.")
add_benchmarks(eval_app)


@eval_app.command("embedded")
@group_options
def eval_embedded(
    model: Model,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Scenes from A to B - 1; held out from 1000000 on."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Most scenes; default: all of --seeds, else 300.")
    ] = None,
    furniture: Furniture = None,
    as_json: AsJson = False,
) -> None:
    """Measure boxes, masks, routes and time on simulated scenes that training never saw."""
    from vl2_ros.evaluation.embedded import evaluate_embedded, list_part_scores, list_rows
    from vl2_ros.evaluation.household import score_scenes

    chosen = _choose_seeds(seeds, frames)
    pipeline = load_model(model)
    show_measured(pipeline, model)
    with display.show_progress("evaluating") as show:
        document = evaluate_embedded(
            pipeline,
            seeds=chosen,
            frames=len(chosen) if frames is None else frames,
            parts=list_part_scores(pipeline),
            progress=lambda stage, done, total: show(done, total),
        )
        if _has_furniture(furniture):
            scenes = chosen if frames is None else chosen[:frames]
            scores = score_scenes(pipeline, scenes, catalogues=furniture, progress=show)
            document |= scores.summarize("household")
    if as_json:
        display.print_json(document)
    else:
        display.print_rows(list_rows(document), digits=".3f")


@eval_app.command("household")
@group_options
def eval_household(
    model: Model,
    seeds: Annotated[
        str, typer.Option(metavar="A:B", help="Scenes from A to B - 1; held out from 1000000 on.")
    ] = f"{HELD_OUT}:{HELD_OUT + 300}",
    furniture: Furniture = None,
    photos: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="COCO file of photos to measure instead of scenes."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Its images; default: images beside it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the boxes of household kinds, one by one: in simulated scenes, or in photos.

    vl2 eval household --photos annotations.json
    """
    from vl2_ros.evaluation.embedded import list_rows
    from vl2_ros.evaluation.household import score_photos, score_scenes

    chosen = _choose_seeds(seeds, None)
    if images is not None and photos is None:
        raise InputError("--images goes with --photos; name the COCO file")
    pipeline = load_model(model)
    with display.show_progress("evaluating") as show:
        if photos is None:
            scores = score_scenes(pipeline, chosen, catalogues=furniture, progress=show)
        else:
            folder = images or photos.parent / "images"
            scores = score_photos(pipeline, photos, folder, progress=show)
    numbers = scores.summarize("household" if photos is None else "photo")
    if as_json:
        display.print_json(numbers | {"kinds": scores.list_kinds()})
    else:
        display.print_rows(list_rows(numbers), digits=".3f")
        display.print_rows(scores.list_kinds(), digits=".3f")


def _has_furniture(folder: Path | None) -> bool:
    """Return whether household models are there; a folder that is named must have them."""
    from vl2_ros.sim.household.catalogue import PACKAGE_FOLDER

    return folder is not None or PACKAGE_FOLDER.is_dir()


@eval_app.command("probe")
@group_options
def eval_probe(
    model: Checkpoint,
    seeds: Annotated[
        str, typer.Option(metavar="A:B", help="Scenes from A to B - 1; held out from 1000000 on.")
    ] = f"{REPORTED}:{REPORTED + 300}",
    fit_frames: Annotated[
        int, typer.Option(min=1, help="Scenes that the probe is fitted on, from 2000000 on.")
    ] = 800,
    as_json: AsJson = False,
) -> None:
    """Measure what a linear layer reads from image tokens: kind and colour of things.

    vl2 eval probe --weights training_runs/embedded_eyes/best
    """
    from vl2_ros.evaluation.embedded import list_rows
    from vl2_ros.evaluation.probe import probe_tower
    from vl2_ros.loading import find_weights, load_processing
    from vl2_ros.model.checkpoint.folder import load_model as load_network

    chosen, weights = _choose_seeds(seeds, None), find_weights(model)
    network = load_network(weights).float()
    with display.show_progress("evaluating") as show:
        document = probe_tower(
            network,
            load_processing(weights),
            seeds=chosen,
            fit_frames=fit_frames,
            progress=show,
        )
    if as_json:
        display.print_json(document)
    else:
        display.print_rows(list_rows(document), digits=".3f")


@eval_app.command("tracks")
@group_options
def eval_tracks(
    model: Model,
    seeds: Annotated[
        str, typer.Option(metavar="A:B", help="Scenes from A to B - 1; held out from 1000000 on.")
    ] = f"{HELD_OUT}:{HELD_OUT + 8}",
    frames: Annotated[int, typer.Option(min=1, help="Frames of the orbit around a scene.")] = 120,
    as_json: AsJson = False,
) -> None:
    """Measure the ids of a watch on simulated orbits with crossings and hidden objects."""
    from vl2_ros.evaluation.embedded import list_rows
    from vl2_ros.evaluation.orbits import evaluate_tracks

    chosen = _choose_seeds(seeds, None)
    pipeline = load_model(model)
    show_measured(pipeline, model)
    with display.show_progress("evaluating") as show:
        document = evaluate_tracks(pipeline, seeds=chosen, frames=frames, progress=show)
    if as_json:
        display.print_json(document)
    else:
        display.print_rows(list_rows(document), digits=".3f")


@dataclass(frozen=True, slots=True)
class Watching:
    """What is watched, and for how long."""

    sentence: Annotated[
        str,
        typer.Option(
            metavar="SENTENCE", help="What to ask; default: to find what the simulated scene has."
        ),
    ] = ""
    seeds: Annotated[
        str, typer.Option(metavar="A:B", help="Simulated scenes, where no SOURCE is given.")
    ] = f"{HELD_OUT}:{HELD_OUT + 8}"
    frames: Annotated[int, typer.Option(min=1, help="Most frames of a source or a scene.")] = 60
    turn: Annotated[
        float,
        typer.Option(metavar="DEGREES", help="How far the simulated camera goes between frames."),
    ] = 1.0
    topic: Annotated[
        str, typer.Option(help="Image topic of a recording; default: the only one there is.")
    ] = ""
    refresh_frames: Annotated[
        int, typer.Option(min=1, help="Frames that an answer serves at most in the mode auto.")
    ] = 30
    threshold: Threshold = 0.35


@eval_app.command("watch")
@group_options
def eval_watch(
    model: Model,
    watching: Annotated[Watching, Panel("Watch")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="[SOURCE]",
            help="Recording (.mcap, .db3 or rosbag2 folder), video or folder of images; default: "
            "the simulator.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compare the modes of a watch: the same words, counts and boxes as plain decoding, and time.

    vl2 eval watch drive.mcap --sentence "find the red mug"
    """
    from vl2_ros.evaluation.watches.modes import compare_modes, list_modes
    from vl2_ros.structures import Command, WatchOptions

    scenes = _read_scenes(source, watching) if source else _simulate_scenes(watching)
    # It checks the limits before a model is loaded.
    command = Command(
        watching.sentence or "find it",
        score_threshold=watching.threshold,
        watching=WatchOptions(refresh_frames=watching.refresh_frames),
    )
    pipeline = load_model(model)
    show_measured(pipeline, model)
    with display.show_progress("evaluating") as show:
        document = compare_modes(pipeline, scenes, command, progress=show)
    if as_json:
        display.print_json(document)
    else:
        display.print_rows(list_modes(document), digits=".3f")


def _simulate_scenes(watching: Watching) -> list[WatchedScene]:
    from vl2_ros.evaluation.watches.scenes import simulate_scenes

    seeds = _choose_seeds(watching.seeds, None)
    return simulate_scenes(seeds, watching.frames, watching.turn, watching.sentence)


def _read_scenes(source: str, watching: Watching) -> list[WatchedScene]:
    from vl2_ros.evaluation.watches.scenes import read_scene

    if not watching.sentence:
        raise InputError(
            'expected --sentence with a source, such as --sentence "find the red mug"; only of '
            "simulated scenes is known what is there"
        )
    frames = _read_frames(source, watching.topic)
    return [read_scene(frames, watching.frames, watching.sentence)]


def _read_frames(source: str, topic: str) -> Iterator[Frame]:
    """Return the frames of a recording, a video or images."""
    from vl2_ros.recordings.bag import read_frames
    from vl2_ros.sources.source import find_source, is_recording

    if is_recording(source):
        return read_frames(source, topic=topic or None)
    return _read_images(find_source(source))


def _read_images(source: Source) -> Iterator[Frame]:
    """Yield the images of a source; those that cannot be read are skipped."""
    from vl2_ros.sources.source import read_sources

    for image in read_sources([source]):
        if image.frame is None:
            display.show_note(f"{image.name} is skipped: {image.error}")
        else:
            yield image.frame


@eval_app.command("coco")
def eval_coco(
    truth: Annotated[Path, typer.Argument(metavar="TRUTH.json", help="COCO annotations.")],
    found: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS.json", help="COCO results, or output of `vl2 ask --json --masks`."
        ),
    ],
    kind: Annotated[
        str,
        typer.Option(
            help="bbox, segm, keypoints, or keypoints_crowd as CrowdPose counts.",
            autocompletion=complete("bbox", "segm", "keypoints", "keypoints_crowd"),
        ),
    ] = "bbox",
    as_json: AsJson = False,
) -> None:
    """Score results of any model against annotations, both in COCO's format."""
    from vl2_ros.evaluation.coco.tool import CocoKind, score_coco

    kinds = [one.value for one in CocoKind]
    if kind not in kinds:
        raise InputError(f"--kind must be one of {', '.join(kinds)}, got {kind!r}")
    numbers = score_coco(truth, found, CocoKind(kind)).by_name
    if as_json:
        display.print_json(dict(numbers))
    else:
        display.print_facts(dict(numbers))


def _choose_seeds(text: str | None, frames: int | None) -> range:
    if text is None:
        return range(HELD_OUT, HELD_OUT + (frames or 300))
    return read_seeds(text)
