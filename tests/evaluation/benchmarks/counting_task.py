"""A task whose answers need no model, and a process that runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vl2_ros.errors import EngineError, InputError
from vl2_ros.evaluation.benchmarks.processes import open_processes
from vl2_ros.evaluation.benchmarks.run import RunOptions, run_task
from vl2_ros.load_options import LoadOptions

#: The task asks nothing of it.
PIPELINE: Any = None


class CountingTask:
    """Answers each record by a number that no float of another order of summing would equal."""

    def __init__(self, count: int, stop_at: int | None = None) -> None:
        self.keys = [f"record {number}" for number in range(count)]
        self.bad = {"row 99": "broken"}
        self.asked: list[int] = []
        self._stop_at = stop_at

    def answer(self, pipeline: Any, index: int) -> dict[str, float]:
        if index == self._stop_at:
            raise EngineError("killed")
        self.asked.append(index)
        if index == 2:
            raise InputError("it cannot be answered")
        return {"value": 0.1 * 3**index}

    def score(self, answers: Mapping[int, dict[str, float]]) -> dict[str, float]:
        total = 0.0
        for index, answer in answers.items():
            total = (total + answer["value"]) / (1.0 + index)
        return {"total": total}


def run_process(out: Path) -> dict[str, Any]:
    task = CountingTask(9)
    processes = open_processes(LoadOptions(device="cpu"))
    header = {"evaluation": "counting", "model": "0123"}
    outcome = run_task(task, PIPELINE, header, RunOptions(out=out, processes=processes))
    processes.close()
    found = outcome and {
        "scores": dict(outcome.scores),
        "bad": dict(outcome.bad),
        "records": outcome.records,
        "resumed": outcome.resumed,
    }
    return {"asked": task.asked, "outcome": found}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run_process(Path(sys.argv[1]))))
