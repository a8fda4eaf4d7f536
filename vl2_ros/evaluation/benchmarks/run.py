"""Run an evaluation: share the records among processes, keep their answers, score them once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.answer_log import AnswerLog
from vl2_ros.evaluation.benchmarks.opening import open_task
from vl2_ros.evaluation.benchmarks.processes import Processes
from vl2_ros.evaluation.benchmarks.table import Benchmark
from vl2_ros.evaluation.benchmarks.task import Answer, BenchmarkData, Task
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.runtime.files.weights_identity import PENDING

#: Called with records done and all records of this process.
Progress = Callable[[int, int], None]
_BLOCK_BYTES = 1 << 20
#: Seconds between looks at an identity that is being computed.
_PERIOD_S = 0.2


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How an evaluation runs.

    Attributes:
        limit: most records, the first of the data; None: all.
        out: file of the answers, which a second run continues; None keeps none.
        processes: this process and its number among others.
    """

    limit: int | None = None
    out: Path | None = None
    processes: Processes = Processes()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation found.

    Attributes:
        scores: shares of 1, by name.
        records: answered.
        resumed: how many of them were answered by an earlier run.
        bad: records and rows of the data that could not be used, and why.
        seconds: wall time of this run.
    """

    scores: Mapping[str, float]
    records: int
    resumed: int
    bad: Mapping[str, str]
    seconds: float


def run_benchmark(
    benchmark: Benchmark,
    pipeline: Pipeline,
    data: BenchmarkData,
    options: RunOptions = RunOptions(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> Outcome | None:
    """Run one evaluation of the table.

    Args:
        benchmark: the evaluation.
        pipeline: the model.
        data: of the form that the evaluation reads.
        options: how it runs.
        progress: called after every record of this process.

    Returns:
        the outcome in the first process, None in the others.

    Raises:
        InputError: if the data is of another form, the file of answers is of another evaluation,
            or no record could be answered.
        RouteError: if the model lacks the decoder that is needed.
    """
    task = open_task(benchmark, data)
    header = _describe(benchmark, pipeline, data, task) if options.out is not None else {}
    return run_task(task, pipeline, header, options, progress)


def run_task(
    task: Task,
    pipeline: Pipeline,
    header: Mapping[str, Any],
    options: RunOptions = RunOptions(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> Outcome | None:
    """Answer the records of a task and score them; see `run_benchmark`.

    Args:
        task: records and scores.
        pipeline: the model.
        header: what tells this run from others, for the file of answers.
        options: how it runs.
        progress: called after every record of this process.
    """
    began = time.perf_counter()
    processes = options.processes
    keys = task.keys[: options.limit]
    log = AnswerLog(options.out, header, processes.index)
    resumed = sum(key in log.answers for key in keys)
    left = [index for index, key in enumerate(keys) if key not in log.answers]
    # Every process must have read the files before one of them writes.
    processes.wait()
    own = left[processes.index :: processes.count]
    log.open()
    try:
        answers, failed = _answer(task, pipeline, own, log, progress)
    finally:
        log.close()
    for other_answers, other_failed in processes.gather((answers, failed)):
        log.answers.update(other_answers)
        failed = failed | other_failed
    if not processes.is_first:
        return None
    failed = {key: failed[key] for key in keys if key in failed}
    answered = {index: log.answers[key] for index, key in enumerate(keys) if key in log.answers}
    log.join([keys[index] for index in answered], failed)
    if not answered:
        first = next(iter((failed or task.bad).items()), ("", "there is none"))
        raise InputError(
            f"none of the {len(keys)} records could be answered; the first, {first[0]}: {first[1]}"
        )
    seconds = time.perf_counter() - began
    return Outcome(task.score(answered), len(answered), resumed, {**task.bad, **failed}, seconds)


def _answer(
    task: Task,
    pipeline: Pipeline,
    indices: list[int],
    log: AnswerLog,
    progress: Progress | None,
) -> tuple[dict[str, Answer], dict[str, str]]:
    """Answer some records; return the answers and why others have none."""
    answers: dict[str, Answer] = {}
    failed: dict[str, str] = {}
    for done, index in enumerate(indices, 1):
        key = task.keys[index]
        try:
            answers[key] = task.answer(pipeline, index)
            log.add(key, answers[key])
        except InputError as error:
            failed[key] = str(error)
            log.add_bad(key, failed[key])
        if progress is not None:
            progress(done, len(indices))
    return answers, failed


def _describe(
    benchmark: Benchmark, pipeline: Pipeline, data: BenchmarkData, task: Task
) -> dict[str, Any]:
    """Return what tells a run from others: evaluation, model, data."""
    while pipeline.info.identity == PENDING:
        time.sleep(_PERIOD_S)
    digest = hashlib.sha256("\n".join(task.keys).encode())
    for path in data.paths:
        if path.is_file():
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
    return {
        "evaluation": benchmark.name,
        "model": pipeline.info.identity,
        "data": digest.hexdigest(),
        "max_tiles": pipeline.processing.max_tiles,
    }
