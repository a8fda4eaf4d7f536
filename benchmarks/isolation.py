"""Time what a perceiver process of its own costs a frame, and how soon it is back after its end.

    python benchmarks/isolation.py [--frames 300] [--answers 20] [--kills 5] [--json]

* `added_ms`: what a 1280x720 frame and its result with five masks take longer when the perceiver,
  which answers at once, is in a process of its own. `added_cpu_ms` is processor time of both
  processes, which a busy machine changes least, and `added_copies` the same in copies of the frame.
* `answer_ratio`: an answer of the embedded model in its process to one in this process.
* `report_s`, `again_s`: from SIGKILL while the embedded model answers to the error of that run, and
  to the next answer; the longest of all kills.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from vl2_ros.errors import EngineError
from vl2_ros.isolation.child_perceiver import ChildPerceiver
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.node.perceiver import Perceiver
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    Masks,
    ModelInfo,
    Result,
    ResultEvent,
    Route,
    StageEvent,
)

FRAME_HW = (720, 1280)
COMMAND = Command("find the red mug")


class InstantPerceiver:
    """Finds the same five things in every frame, with masks."""

    def __init__(self) -> None:
        """Make what is found."""
        self.info = ModelInfo("instant", "0", "numpy", "cpu", (Route.DETECT,))
        corners = np.arange(5, dtype=np.float32)[:, None] * 100
        self._found = Detections(
            boxes_xyxy=np.hstack([corners, corners, corners + 90, corners + 90]),
            scores=np.full(5, 0.9, np.float32),
            class_ids=np.zeros(5, np.int64),
            labels=("mug",) * 5,
            masks=Masks.cut(np.ones((5, *FRAME_HW), np.bool_)),
        )

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        """Answer at once."""
        yield StageEvent("vision")
        branch = Branch(Route.DETECT, ("mug",), self._found)
        yield ResultEvent(Result(command.id, frame.stamp_ns, frame.frame_id, "", (branch,)))


def time_calls(call: Callable[[], object], count: int) -> list[float]:
    """Return the milliseconds of each call, without the first three."""
    spent = []
    for _ in range(count + 3):
        began_s = time.perf_counter()
        call()
        spent.append((time.perf_counter() - began_s) * 1e3)
    return spent[3:]


def run_all(perceiver: Perceiver, frame: Frame) -> None:
    """Run a command to its end."""
    for _ in perceiver.run(frame, COMMAND):
        pass


def read_cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_frames(frame: Frame, count: int) -> dict[str, float]:
    """Compare a perceiver that answers at once in its own and in this process."""
    here = time_calls(lambda: run_all(InstantPerceiver(), frame), count)
    # Of this file by its name, as the process has another __main__.
    child = ChildPerceiver(importlib.import_module(Path(__file__).stem).InstantPerceiver)
    before_s = time.process_time() + read_cpu_s(child.pid)
    there = time_calls(lambda: run_all(child, frame), count)
    cpu_ms = (time.process_time() + read_cpu_s(child.pid) - before_s) / len(there) * 1e3
    child.close()
    copy_ms = statistics.median(time_calls(frame.rgb.copy, count))
    added_ms = statistics.median(there) - statistics.median(here)
    return {
        "added_ms": added_ms,
        "added_p99_ms": float(np.percentile(there, 99)) - statistics.median(here),
        "added_cpu_ms": cpu_ms,
        "copy_ms": copy_ms,
        "added_copies": cpu_ms / copy_ms,
    }


def measure_answers(child: ChildPerceiver, frame: Frame, count: int) -> dict[str, float]:
    """Compare the embedded model in its own and in this process, in turns."""
    pipeline = load_pipeline(LoadOptions(device="cpu"))
    here, there = [], []
    for _ in range(count):
        here += time_calls(lambda: run_all(pipeline, frame), 1)
        there += time_calls(lambda: run_all(child, frame), 1)
    return {
        "answer_ms": statistics.median(here),
        "answer_ratio": statistics.median(there) / statistics.median(here),
    }


def measure_kills(child: ChildPerceiver, frame: Frame, count: int) -> dict[str, float]:
    """Kill the process in the middle of an answer."""
    reported, again = [], []
    for _ in range(count):
        events = child.run(frame, COMMAND)
        while next(events) != StageEvent("language"):
            pass
        began_s = time.perf_counter()
        os.kill(child.pid, signal.SIGKILL)
        try:
            for _ in events:
                pass
        except EngineError:
            reported.append(time.perf_counter() - began_s)
        run_all(child, frame)
        again.append(time.perf_counter() - began_s)
    return {"kills": count, "report_s": max(reported), "again_s": max(again)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--answers", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rgb = np.random.default_rng(0).integers(0, 255, (*FRAME_HW, 3), np.uint8)
    frame = Frame(rgb, stamp_ns=1, frame_id="camera")
    found = measure_frames(frame, options.frames)
    child = ChildPerceiver(partial(load_pipeline, LoadOptions(device="cpu")))
    try:
        found |= measure_answers(child, frame, options.answers)
        found |= measure_kills(child, frame, options.kills)
    finally:
        child.close()
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:14} {value:10.3f}")


if __name__ == "__main__":
    main()
