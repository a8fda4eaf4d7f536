"""Record answers to a disk that becomes full meanwhile, then again when there is room.

The disk is full by a limit on the size of this process's files, after the third answer. Prints
`{"began": t}` then, `{"failed": t, "message": m, "left": [names]}` for the error, and
`{"first": t, "answers": n, "bytes": b}` for a complete recording whose first answer came at t;
times are monotonic.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time
from collections.abc import Callable
from pathlib import Path

from soaking.camera import RECORDING
from soaking.lines import emit, wait_for_end
from vl2_ros.errors import VL2Error
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.recordings.bag_results import BagQuestion, answer_bag
from vl2_ros.structures import Command

_LIMIT_BYTES = 4096


def record(out: Path, pipeline: Pipeline, on_answer: Callable[[int], None]) -> None:
    """Record answers about the demo's images; `on_answer` is called with their number."""
    count = itertools.count(1)
    question = BagQuestion([Command("find the mug", id="0")])
    answer_bag(pipeline, RECORDING, out, question, on_answer=lambda _: on_answer(next(count)))


def fill_disk(count: int) -> None:
    """Let nothing more be written from the third answer on."""
    if count == 3:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT_BYTES, hard))
        emit(began=time.monotonic())


def main() -> None:
    """Fail, then succeed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    out = parser.parse_args().folder / "results.mcap"
    pipeline = load_pipeline(LoadOptions(device="cpu"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        record(out, pipeline, fill_disk)
    except VL2Error as error:
        left = [path.name for path in out.parent.iterdir()]
        emit(failed=time.monotonic(), message=str(error), left=left)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    answered_s: list[float] = []
    record(out, pipeline, lambda _: answered_s.append(time.monotonic()))
    emit(first=answered_s[0], answers=len(answered_s), bytes=out.stat().st_size)
    wait_for_end()


if __name__ == "__main__":
    main()
