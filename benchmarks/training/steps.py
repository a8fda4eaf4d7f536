"""Compare steps of the training loop with those of the trainer that it replaced, in turns.

    python benchmarks/training/steps.py [--steps 20] [--turns 3] [--frames 64] [--workers 1]
                                        [--precision float32]

The former trainer is that of commit 94436a6, which is unpacked into a temporary folder: the whole
embedded model, the same batches of four images, the same precision, one thread. Both processes live
through the run and take turns. It prints steps per second by the wall clock, and processor seconds
of the training process a step, which are the same on a busy machine; batches are made beside the
new loop by a process of its own, inside the step of the former trainer. Ratios above 1: the loop is
faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FORMER = "94436a6"
WARMUP_STEPS = 3
BATCH = 4


def unpack_former(folder: Path) -> None:
    """Unpack the package as it was at the former commit."""
    archive = subprocess.run(
        ["git", "archive", FORMER, "vl2_ros"], cwd=CHECKOUT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)


def make_former_step(out: Path, frames: int, workers: int, precision: str) -> Callable[[], object]:
    """Return what does one step of the former trainer."""
    from vl2_ros.training.recipe import EmbeddedRecipe
    from vl2_ros.training.tabletop_batches import TabletopBatches

    from vl2_ros.training.embedded import EmbeddedTrainer

    recipe = EmbeddedRecipe(batch_size=BATCH, frames=frames)
    trainer = EmbeddedTrainer(out / "run", out / "frames", recipe)
    trainer._autocast = precision == "bfloat16"
    trainer.model.train()

    def step() -> None:
        # The loop's batch of the same number.
        trainer._batches = TabletopBatches(
            trainer._batches._cache,
            trainer._tokenizer,
            trainer._processing,
            batch_size=BATCH,
            seed=(recipe.seed, 0, trainer._step),
        )
        trainer._optimise()
        trainer._step += 1

    return step


def make_step(out: Path, frames: int, workers: int, precision: str) -> Callable[[], object]:
    """Return what does one step of the loop."""
    from vl2_ros.training.embedded.objective import open_embedded
    from vl2_ros.training.loop.averaging import WeightAverage
    from vl2_ros.training.loop.batches import BatchStream
    from vl2_ros.training.loop.devices import open_accelerator
    from vl2_ros.training.loop.pace import Pace
    from vl2_ros.training.loop.parameters import set_modes
    from vl2_ros.training.loop.steps import Optimisation
    from vl2_ros.training.objectives import Opening
    from vl2_ros.training.recipes.reading import read_recipe
    from vl2_ros.training.run import prepare_training

    changes = [f"batch={BATCH}", f"precision={precision}", f"options.frames={frames}"]
    changes += [f"options.cache={out / 'frames'}", "options.held_out_frames=1"]
    recipe = read_recipe("embedded_all", changes)
    objective = open_embedded(recipe, Opening(out / "run", 1, lambda what, share: None))
    prepare_training(objective, recipe)
    accelerator = open_accelerator(recipe, "cpu")
    optimisation = Optimisation(objective, recipe, accelerator, recipe.steps)
    average = WeightAverage(objective, recipe.average_decay)
    stream = BatchStream(objective.open_batches(0), 0, 1, workers)
    set_modes(objective)
    pace = Pace(0, recipe.steps)
    done = 0

    def step() -> None:
        nonlocal done
        optimisation.run(stream, done, pace)
        done += 1
        average.update(done)

    return step


def serve(make: Callable[..., Callable[[], object]], options: argparse.Namespace) -> None:
    """Do as many steps as each line of standard input says, and write what they took."""
    import torch

    torch.set_num_threads(1)
    step = make(options.out, options.frames, options.workers, options.precision)
    for _ in range(WARMUP_STEPS):
        step()
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            step()
        taken = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - used}
        print(json.dumps(taken), flush=True)


class Contestant:
    """A process that does steps when it is asked to."""

    def __init__(self, name: str, package: Path, arguments: list[str]) -> None:
        """Start it and wait until it is warm."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=package,
            env={**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"},
        )
        self.rows: list[dict[str, float]] = []
        self._read()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a training process ended with code {self._process.wait()}")
        return json.loads(line)

    def run(self, steps: int) -> None:
        """Do some steps and keep what one took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        self.rows.append({name: taken / steps for name, taken in self._read().items()})

    def median(self, name: str) -> float:
        """Return the median over the turns."""
        return statistics.median(row[name] for row in self.rows)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(options: argparse.Namespace) -> dict[str, float]:
    """Let both take turns; return medians a step and their ratios."""
    from vl2_ros.datasets.tabletop import render_cache
    from vl2_ros.training.embedded.tokenizer import train_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        out, former = Path(folder), Path(folder) / "former"
        former.mkdir()
        unpack_former(former)
        render_cache(out / "frames", range(options.frames), processes=1)
        train_tokenizer(out / "run", vocab_size=2048, sentences=4000)
        sizes = [
            "--out",
            folder,
            "--frames",
            str(options.frames),
            "--workers",
            str(options.workers),
            "--precision",
            options.precision,
        ]
        both = [Contestant("former", former, sizes), Contestant("loop", CHECKOUT, sizes)]
        for _ in range(options.turns):
            for one in both:
                one.run(options.steps)
        for one in both:
            one.close()
    old, new = both
    return {
        "former steps/s": 1 / old.median("wall_s"),
        "loop steps/s": 1 / new.median("wall_s"),
        "ratio by the clock": old.median("wall_s") / new.median("wall_s"),
        "former processor s a step": old.median("cpu_s"),
        "loop processor s a step": new.median("cpu_s"),
        "ratio by processor time": old.median("cpu_s") / new.median("cpu_s"),
    }


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="steps of a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--frames", type=int, default=64, help="frames to render")
    parser.add_argument("--workers", type=int, default=1, help="processes that make batches")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--serve", choices=("former", "loop"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        make = make_former_step if options.serve == "former" else make_step
        serve(make, options)
        return
    for name, value in compare(options).items():
        print(f"{name}: {value:.3g}")


if __name__ == "__main__":
    main()
