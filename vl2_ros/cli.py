"""The `vl2` command: wires the layers for a person at a desk.

Everything heavy is imported inside the commands, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vl2_ros.console import ask_command, display, engine_commands, node_commands, serve_command
from vl2_ros.console.options import (
    AsJson,
    Device,
    Overwrite,
    Weights,
    find_package_version,
    find_version,
    load_model,
    make_load_options,
)
from vl2_ros.errors import ConfigError, InputError, VL2Error

if TYPE_CHECKING:
    from vl2_ros.recordings.bag import PinholeCamera
    from vl2_ros.structures import Frame

#: Seeds from here on are never trained on.
HELD_OUT = 1_000_000
#: Package that a command misses -> the extra that brings it.
EXTRAS = {
    "torch": "torch",
    "transformers": "torch",
    "diffusers": "diffusion",
    "sentencepiece": "release",
    "mujoco": "sim",
    "scipy": "train",
    "pycocotools": "eval",
    "faster_coco_eval": "eval",
    "filelock": "export",
    "yaml": "export",
}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Ask what a camera sees, in words, and get typed results.",
)
eval_app = typer.Typer(no_args_is_help=True, help="Measure a model.")
app.add_typer(eval_app, name="eval")
app.add_typer(engine_commands.engines_app, name="engines")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an expected error is one red line and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app(args=None if arguments is None else list(arguments))
    except VL2Error as error:
        display.show_error(str(error))
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        display.show_error(
            f"this command needs the package {error.name}: pip install 'vl2_ros[{extra}]'"
        )
    raise SystemExit(2)


for _command in (
    ask_command.ask,
    node_commands.demo,
    serve_command.serve,
    node_commands.send,
    node_commands.echo,
    node_commands.camera,
    node_commands.bag,
):
    app.command()(_command)


@app.command()
def info(weights: Weights = None, as_json: AsJson = False) -> None:
    """Tell versions, the device and what is in a checkpoint."""
    import platform

    from vl2_ros.loading import EMBEDDED_WEIGHTS

    folder = weights or EMBEDDED_WEIGHTS
    document = {
        "vl2_ros": find_version(),
        "python": platform.python_version(),
        "onnxruntime": find_package_version("onnxruntime", "onnxruntime-gpu"),
        "torch": None,
        "weights": str(folder),
    }
    if find_spec("torch") is None and not weights:
        display.show_note("what is in a checkpoint is told where torch is installed")
    else:
        document |= _describe(folder)
    if as_json:
        display.print_json(document)
    else:
        display.print_facts(document)


def _describe(folder: Path) -> dict[str, Any]:
    """Return torch, its device, and what a checkpoint holds."""
    from dataclasses import asdict

    import torch

    from vl2_ros.model.checkpoint.folder import describe_checkpoint

    with display.show_progress("reading"):
        checkpoint = asdict(describe_checkpoint(folder))
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"torch": torch.__version__, "cuda": cuda, **checkpoint}


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint, log and state.")] = Path(
        "training_runs/embedded"
    ),
    cache: Annotated[Path, typer.Option(help="Folder of rendered frames.")] = Path(
        "training_runs/tabletop"
    ),
    minutes: Annotated[float, typer.Option(help="Optimisation time.")] = 120.0,
    frames: Annotated[int, typer.Option(help="Scenes to render, seeds from 0 on.")] = 20_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes of one thread each.")] = 2,
    init: Annotated[
        Path | None, typer.Option(help="Start a new run from the weights of this checkpoint.")
    ] = None,
    language_only: Annotated[
        bool, typer.Option(help="Leave the detection decoder of --init as it is.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="cpu, or cuda: with --language-only, --workers draw its batches.")
    ] = "cpu",
    images: Annotated[
        int, typer.Option(min=1, help="Of a step and worker with --language-only; 48 on a GPU.")
    ] = 2,
) -> None:
    """Render frames and train the embedded model; goes on where a stopped run was."""
    from vl2_ros.training.embedded import train_embedded
    from vl2_ros.training.language import train_language
    from vl2_ros.training.recipe import EmbeddedRecipe

    if device != "cpu" and not language_only:
        raise ConfigError(
            f"only the language side trains on {device!r} so far; add --language-only, or leave "
            "out --device"
        )
    recipe = EmbeddedRecipe(minutes=minutes, frames=frames, images=images)
    run = partial(train_language, device=device) if language_only else train_embedded
    with display.show_progress("rendering, then training") as show:
        run(
            out,
            cache,
            recipe=recipe,
            init=init,
            workers=workers,
            on_render=show,
            on_step=lambda step, share, row: show(round(share * 1000), 1000),
        )
    display.print_text(f"checkpoint: {out.resolve()}")


@eval_app.command("embedded")
def eval_embedded(
    weights: Weights = None,
    device: Device = "auto",
    as_json: AsJson = False,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Scenes, B not included; held out from 1000000 on."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="So many of the scenes; 300 when no seeds are named.")
    ] = None,
) -> None:
    """Measure boxes, masks, routes and time on simulated scenes that training never saw."""
    from vl2_ros.evaluation.embedded import evaluate_embedded, list_rows

    chosen = _choose_seeds(seeds, frames)
    pipeline = load_model(make_load_options(weights, device))
    with display.show_progress("evaluating") as show:
        document = evaluate_embedded(
            pipeline,
            seeds=chosen,
            frames=len(chosen) if frames is None else frames,
            progress=lambda stage, done, total: show(done, total),
        )
    if as_json:
        display.print_json(document)
    else:
        display.print_rows(list_rows(document), digits=".3f")


@eval_app.command("coco")
def eval_coco(
    truth: Annotated[Path, typer.Argument(metavar="TRUTH.json", help="COCO annotations.")],
    found: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS.json", help="COCO results, or what `vl2 ask --json --masks` printed."
        ),
    ],
    kind: Annotated[
        str, typer.Option(help="bbox, segm, keypoints, or keypoints_crowd as CrowdPose counts.")
    ] = "bbox",
    as_json: AsJson = False,
) -> None:
    """Score results of any model against annotations, both in COCO's format."""
    from vl2_ros.evaluation.coco_tool import CocoKind, score_coco

    kinds = [one.value for one in CocoKind]
    if kind not in kinds:
        raise InputError(f"--kind must be one of {', '.join(kinds)}, got {kind!r}")
    numbers = score_coco(truth, found, CocoKind(kind)).by_name
    if as_json:
        display.print_json(dict(numbers))
    else:
        display.print_facts(dict(numbers))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Released checkpoint folder.")],
    target: Annotated[Path, typer.Argument(help="New folder, written as safetensors.")],
) -> None:
    """Rewrite a released checkpoint as safetensors, once, so that it loads fast."""
    from vl2_ros.loading import load_processing
    from vl2_ros.model.checkpoint.folder import convert_checkpoint

    with display.show_progress("converting") as show:
        convert_checkpoint(source, target, progress=show)
    # A release says in config.json how its images are prepared; our layout in a file of its own.
    load_processing(source).save(target)
    display.print_text(f"checkpoint: {target.resolve()}")


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT.mcap", help="Recording to write.")],
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Scene, may be repeated; held out from 1000000 on."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Frames of each scene.")] = 16,
    width: Annotated[int, typer.Option(help="Pixels.")] = 640,
    height: Annotated[int, typer.Option(help="Pixels.")] = 480,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG.")] = 92,
    overwrite: Overwrite = False,
) -> None:
    """Record a simulated tabletop camera that goes once around each scene."""
    from vl2_ros.recordings.bag import write_camera_bag

    with display.show_progress("rendering") as show:
        shots = _simulate_shots(seed or [HELD_OUT], count, (height, width), show)
        written = write_camera_bag(out, shots, quality=quality, overwrite=overwrite)
    display.print_text(f"{written} frames: {out.resolve()}")


def _simulate_shots(
    seeds: Sequence[int], count: int, frame_hw: tuple[int, int], show: Callable[[int, int], None]
) -> Iterator[tuple[Frame, PinholeCamera]]:
    """Render `count` frames of each seed, ten a second, the clock beginning at zero."""
    from vl2_ros.recordings.bag import PinholeCamera
    from vl2_ros.sim.tabletop import TabletopSimulator
    from vl2_ros.structures import Frame

    with TabletopSimulator(width=frame_hw[1], height=frame_hw[0]) as simulator:
        scenes = (simulator.render_orbit(seed, count) for seed in seeds)
        for index, rendered in enumerate(chain.from_iterable(scenes)):
            show(index, len(seeds) * count)
            lens = rendered.intrinsics
            camera = PinholeCamera(frame_hw, lens.fx, lens.fy, lens.cx, lens.cy)
            yield Frame(rendered.rgb, index * 100_000_000, "camera_optical_frame"), camera


def _choose_seeds(text: str | None, frames: int | None) -> range:
    if text is None:
        return range(HELD_OUT, HELD_OUT + (frames or 300))
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise InputError(f"seeds must be A:B with A below B, such as 1000000:1000300, got {text!r}")
    return range(int(first), int(end))


if __name__ == "__main__":
    main()
