"""Compare the modes of a watch, first asks and further commands with plain decoding, in turns.

    python benchmarks/watch.py [--frames 100] [--weights FOLDER] [--engines FOLDER]
        [--plain-engines FOLDER] [--against CHECKOUT] [--json]

Held-out simulator frames, one thread, processor time; each ratio is the median over the frames.
Plain is decoding every frame token by token; on the engines of --plain-engines, if they are given.

* `ask_ratio`: a first ask, plain over drafted from the words of its command.
* `watch_exact_ratio`, `watch_cached_ratio`: a watched frame of one name, plain over each mode.
* `watch12_exact_ratio`, `watch12_cached_ratio`: the same of twelve names.
* `second_command_share`: a second command about a frame, as a share of the first.
* `three_watches_over_one`: three watches of one camera over one of them, in the mode exact.
* `calls`: engine calls, GFLOP and MB of weights that an answer takes, counted on PyTorch.
* `same_ids`: frames whose raw answer is that of plain decoding, of all.

With --against, the same answers by another checkout, such as one of an earlier commit, are timed
between ours, in a process of its own: `against` has its plain answers over ours in each mode.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from answers.turns import Spent, ratio, render_frames, take_turns

from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.sim.kinds import KINDS
from vl2_ros.structures import Command, Frame, Result, ResultEvent, WatchMode, WatchOptions

ONE = "find the red mug"
TWELVE = f"find the {', the '.join(KINDS[:-1])} and the {KINDS[-1]}"
FURTHER = ("segment the bowl", "find the bottle and the can")


@dataclass(slots=True)
class Watch:
    """One command about frame after frame."""

    pipeline: Any
    command: Command
    memory: object = None
    raw_texts: list[str] | None = None

    def see(self, frame: Frame) -> Result:
        """Answer about the next frame."""
        for event in self.pipeline.run(frame, self.command, self.memory):
            if isinstance(event, ResultEvent):
                self.memory = event.memory
                if self.raw_texts is not None:
                    self.raw_texts.append(event.result.raw_text)
                return event.result
        raise AssertionError("the run ended without a result")


def make_command(text: str, mode: WatchMode) -> Command:
    """Return a command that is watched in a mode."""
    return Command(text, watching=WatchOptions(mode))


def copy_frame(frame: Frame) -> Frame:
    """Return the frame as another object: nothing that is kept with a frame serves it."""
    return Frame(frame.rgb, frame.stamp_ns, frame.frame_id)


def compare_watches(plain: Any, fast: Any, frames: list[Frame]) -> dict[str, Any]:
    """Race plain, exact and cached watches of one and of twelve names, and first asks."""
    watches = {
        (text, mode): Watch(
            plain if mode is WatchMode.PLAIN else fast, make_command(text, mode), raw_texts=[]
        )
        for text in (ONE, TWELVE)
        for mode in (WatchMode.PLAIN, WatchMode.EXACT, WatchMode.CACHED)
    }
    actions: dict[str, Callable[[Frame], object]] = {
        f"{text}|{mode.name}": lambda frame, one=one: one.see(copy_frame(frame))
        for (text, mode), one in watches.items()
    }
    first = make_command(ONE, WatchMode.EXACT)
    actions["first"] = lambda frame: fast.answer(copy_frame(frame), first)
    spent = take_turns(actions, frames)

    def over(text: str, mode: str) -> float:
        return round(ratio(spent[f"{text}|PLAIN"], spent[f"{text}|{mode}"]), 2)

    said = {key: watch.raw_texts or [] for key, watch in watches.items()}
    same = {
        mode.name.lower(): sum(
            a == b
            for text in (ONE, TWELVE)
            for a, b in zip(said[text, WatchMode.PLAIN], said[text, mode], strict=True)
        )
        / (2 * len(said[ONE, mode]))
        for mode in (WatchMode.EXACT, WatchMode.CACHED)
    }
    return {
        "ask_ratio": round(ratio(spent[f"{ONE}|PLAIN"], spent["first"]), 2),
        "watch_exact_ratio": over(ONE, "EXACT"),
        "watch_cached_ratio": over(ONE, "CACHED"),
        "watch12_exact_ratio": over(TWELVE, "EXACT"),
        "watch12_cached_ratio": over(TWELVE, "CACHED"),
        "same_ids": same,
        "median_ms": {name: round(one.median_ms, 2) for name, one in spent.items()},
    }


def compare_commands(fast: Any, frames: list[Frame]) -> dict[str, float]:
    """Compare a first and a second command about a frame, and three watches with one."""
    first, second = (make_command(text, WatchMode.EXACT) for text in (ONE, FURTHER[0]))
    shares = []
    for frame in (frames[0], *frames):
        seen = copy_frame(frame)
        spent = []
        for command in (first, second):
            began = time.process_time()
            fast.answer(seen, command)
            spent.append(time.process_time() - began)
        shares.append(spent[1] / spent[0])

    def watch(texts: tuple[str, ...]) -> Callable[[Frame], object]:
        watches = [Watch(fast, make_command(text, WatchMode.EXACT)) for text in texts]

        def see(frame: Frame) -> None:
            seen = copy_frame(frame)
            for one in watches:
                one.see(seen)

        return see

    spent = take_turns({"one": watch((ONE,)), "three": watch((ONE, *FURTHER))}, frames)
    return {
        "second_command_share": round(statistics.median(shares[1:]), 3),
        "three_watches_over_one": round(ratio(spent["three"], spent["one"]), 2),
    }


def count_calls(frame: Frame, weights: str) -> dict[str, Any]:
    """Count what an answer about a watched frame takes in each mode."""
    from answers.counting import CountedModel, find_weights_mb

    counted = CountedModel(weights)
    weights_mb = find_weights_mb(Path(weights) if weights else EMBEDDED_WEIGHTS)
    found = {}
    for mode in (WatchMode.PLAIN, WatchMode.EXACT, WatchMode.CACHED):
        watch = Watch(counted.pipeline, make_command(ONE, mode))
        watch.see(copy_frame(frame))
        counted.reset()
        watch.see(copy_frame(frame))
        found[mode.name.lower()] = counted.report(weights_mb)
    return found


#: Answers one sentence about each frame that it reads, and writes what it took. Earlier commits
#: have no options of loading, and leave the number of threads to ONNX Runtime.
_OTHER = """
import inspect, sys, time, numpy as np, onnxruntime
Options = onnxruntime.SessionOptions
class OneThread(Options):
    intra_op_num_threads = 1
    def __init__(self):
        super().__init__()
        Options.intra_op_num_threads.__set__(self, 1)
onnxruntime.SessionOptions = OneThread
from vl2_ros.loading import load_pipeline
from vl2_ros.structures import Command, Frame
if "options" in inspect.signature(load_pipeline).parameters:
    from vl2_ros.load_options import LoadOptions
    pipeline = load_pipeline(LoadOptions(sys.argv[1], "cpu", threads=1))
else:
    pipeline = load_pipeline(sys.argv[1] or None, device="cpu")
frames, texts = np.load(sys.argv[2]), sys.argv[3:]
for line in sys.stdin:
    text, index = map(int, line.split())
    frame, command = Frame(frames[index]), Command(texts[text])
    began = time.process_time()
    pipeline.answer(frame, command)
    print(time.process_time() - began, flush=True)
"""


class OtherCheckout:
    """Plain answers of another checkout, in a process of its own."""

    def __init__(self, checkout: Path, weights: str, frames: Path) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _OTHER, weights, str(frames), ONE, TWELVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
        )

    def answer_ms(self, text: int, frame: int) -> float:
        """Answer one of the two sentences about a frame; return the processor time."""
        cast(IO[str], self._process.stdin).write(f"{text} {frame}\n")
        cast(IO[str], self._process.stdin).flush()
        return float(cast(IO[str], self._process.stdout).readline()) * 1e3

    def close(self) -> None:
        """End it."""
        cast(IO[str], self._process.stdin).close()
        self._process.wait()


def compare_checkouts(fast: Any, frames: list[Frame], checkout: Path, weights: str) -> Any:
    """Race the answers of another checkout with ours."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npy"
        np.save(path, np.stack([one.rgb for one in frames]))
        other = OtherCheckout(checkout, weights, path)
        found = {}
        for index, text in enumerate((ONE, TWELVE)):
            theirs = Spent([], [])
            watches = {
                mode.name.lower(): Watch(fast, make_command(text, mode))
                for mode in (WatchMode.EXACT, WatchMode.CACHED)
            }
            first = make_command(text, WatchMode.EXACT)
            ours: dict[str, Callable[[Frame], object]] = {
                "ask": lambda frame, first=first: fast.answer(copy_frame(frame), first),
                **{
                    name: lambda frame, one=one: one.see(copy_frame(frame))
                    for name, one in watches.items()
                },
            }
            other.answer_ms(index, 0)
            turns = {name: Spent([], []) for name in ours}
            for action in ours.values():
                action(frames[0])
            for number, frame in enumerate(frames):
                theirs.cpu_ms.append(other.answer_ms(index, number))
                for name, action in ours.items():
                    began = time.process_time()
                    action(frame)
                    turns[name].cpu_ms.append((time.process_time() - began) * 1e3)
            found[text] = {name: round(ratio(theirs, one), 2) for name, one in turns.items()}
        other.close()
    return found


def main() -> None:
    """Run everything and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--weights", default="")
    parser.add_argument("--engines", default="")
    parser.add_argument("--plain-engines", default="")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--json", action="store_true", help="One JSON document.")
    options = parser.parse_args()
    frames = render_frames(options.frames)
    fast, plain = (
        load_pipeline(
            LoadOptions(options.weights, "cpu", engines=engines, threads=1, precision=precision)
        )
        for engines, precision in (
            (options.engines, "auto"),
            (options.plain_engines or options.engines, "float32"),
        )
    )
    document = {
        "backend": fast.info.backend,
        "load_average": round(os.getloadavg()[0], 1),
        **compare_watches(plain, fast, frames),
        **compare_commands(fast, frames),
        "calls": count_calls(frames[0], options.weights),
    }
    if options.against:
        document["against"] = compare_checkouts(fast, frames, options.against, options.weights)
    if options.json:
        print(json.dumps(document, indent=1))
        return
    for name, value in document.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
