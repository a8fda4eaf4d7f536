"""The `vl2` command: wires the layers for a person at a desk.

Everything heavy is imported inside the commands, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import (
    ask_command,
    display,
    engine_commands,
    info_command,
    node_commands,
    send_command,
    serve_command,
    view_command,
)
from vl2_ros.console.data.data_commands import data_app
from vl2_ros.console.evaluation.eval_commands import HELD_OUT, eval_app
from vl2_ros.console.groups import group_options
from vl2_ros.console.options import (
    Force,
    Model,
    find_version,
    load_model,
)
from vl2_ros.console.speech import hear_command, listen_command, microphone_command
from vl2_ros.console.training.train_command import train
from vl2_ros.errors import VL2Error

if TYPE_CHECKING:
    from vl2_ros.recordings.bag import PinholeCamera
    from vl2_ros.structures import Frame

#: Package that a command misses -> the extra that brings it.
EXTRAS = {
    "torch": "torch",
    "transformers": "torch",
    "accelerate": "train",
    "diffusers": "diffusion",
    "sentencepiece": "release",
    "mujoco": "sim",
    "pycocotools": "eval",
    "faster_coco_eval": "eval",
    "filelock": "export",
    "av": "video",
    "faster_whisper": "speech",
    "soundfile": "speech",
    "soxr": "speech",
    "sounddevice": "microphone",
    "foxglove": "foxglove",
    "rerun": "rerun",
    "starlette": "view",
    "uvicorn": "view",
    "websockets": "view",
    "yaml": "export",
    "torchdata": "train",
    "peft": "train",
    "tensorboard": "train",
    "matplotlib": "train",
}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Ask what a camera sees, in words, and get typed results.",
)


def _show_version(value: bool) -> None:
    if value:
        display.print_text(f"vl2_ros {find_version()}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    """Ask what a camera sees, in words, and get typed results."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an expected error is one red line and exit code 2.

    With `--json` it is a document on standard output as well.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(args=words)
    except VL2Error as error:
        if "--json" in words:
            from vl2_ros.views.answer_document import describe_error

            display.print_json(describe_error(error))
        display.show_error(str(error))
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        display.show_error(
            f"this command needs the package {error.name}: pip install 'vl2_ros[{extra}]'"
        )
    except OSError as error:
        if sys.stdout is not None:
            _drop_output()
        display.show_error(f"cannot read or write: {error}; check the disk and the permissions")
    raise SystemExit(2)


def _drop_output() -> None:
    """Send what is left for standard output nowhere if it cannot be written, as on a full disk."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


for _panel, _command in (
    ("Ask", ask_command.ask),
    ("Ask", node_commands.bag),
    ("Ask", node_commands.demo),
    ("Ask", listen_command.listen),
    ("Node", serve_command.serve),
    ("Node", send_command.send),
    ("Node", node_commands.echo),
    ("Node", hear_command.hear),
    ("Node", microphone_command.microphone),
    ("Node", node_commands.camera),
    ("Node", view_command.view),
    ("Model", info_command.info),
    ("Model", train),
):
    app.command(rich_help_panel=_panel)(_command)


@app.command(rich_help_panel="Model")
@group_options
def calibrate(
    model: Model,
    unlike: Annotated[
        list[Path],
        typer.Option(help="Folder of images unlike the training, such as photos; repeatable."),
    ],
    frames: Annotated[
        int, typer.Option(min=1, help="Scenes to fit on; two thirds as many to choose limits on.")
    ] = 1500,
) -> None:
    """Measure where a model trained on the simulator is at home, beside its weights."""
    from vl2_ros.loading import find_weights
    from vl2_ros.training.calibration import calibrate as find_limits

    pipeline = load_model(model)
    with display.show_progress("calibrating") as show:
        calibration = find_limits(
            pipeline,
            unlike,
            fit_frames=frames,
            tune_frames=-(-2 * frames // 3),
            progress=show,
        )
    display.print_text(f"calibration: {calibration.save(find_weights(model)).resolve()}")


@app.command(rich_help_panel="Model")
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


@app.command(rich_help_panel="Model")
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT.mcap", help="Recording to write.")],
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Scene; may be repeated; held out from 1000000 on."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Frames of each scene.")] = 16,
    width: Annotated[int, typer.Option(help="Width of an image in pixels.")] = 640,
    height: Annotated[int, typer.Option(help="Height of an image in pixels.")] = 480,
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality.")] = 92,
    force: Force = False,
) -> None:
    """Record a simulated camera that moves once around each tabletop scene."""
    from vl2_ros.recordings.bag import write_camera_bag

    with display.show_progress("rendering") as show:
        shots = _simulate_shots(seed or [HELD_OUT], count, (height, width), show)
        written = write_camera_bag(out, shots, quality=quality, overwrite=force)
    display.print_text(f"{written} frames: {out.resolve()}")


def _simulate_shots(
    seeds: Sequence[int], count: int, frame_hw: tuple[int, int], show: Callable[[int, int], None]
) -> Iterator[tuple[Frame, PinholeCamera]]:
    """Render `count` frames of each seed, ten a second, with stamps from zero on."""
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


app.add_typer(data_app, name="data", rich_help_panel="Model")
app.add_typer(eval_app, name="eval", rich_help_panel="Model")
app.add_typer(engine_commands.engines_app, name="engines", rich_help_panel="Model")


if __name__ == "__main__":
    main()
