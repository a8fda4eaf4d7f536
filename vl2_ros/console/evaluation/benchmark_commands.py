"""A command of `vl2 eval` for each evaluation of the table.

Everything heavy is imported inside the commands, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display
from vl2_ros.console.groups import Panel, group_options
from vl2_ros.console.options import AsJson, Model, load_model
from vl2_ros.evaluation.benchmarks.table import BENCHMARKS, Benchmark
from vl2_ros.load_options import LoadOptions

if TYPE_CHECKING:
    from vl2_ros.evaluation.benchmarks.run import Outcome

PANEL = "Evaluations of the field"


@dataclass(frozen=True, slots=True)
class Records:
    """Which records are evaluated, and where their answers go."""

    data: Annotated[
        tuple[Path, ...],
        typer.Option(
            metavar="PATH", help="Data of the evaluation; repeat it where it has two files."
        ),
    ] = ()
    images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the images; default: beside the data."),
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most records, the first of the data.")
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl", help="Keep answers here; a second run resumes with what is left."
        ),
    ] = None
    scorer: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Weights that a score needs, such as CLIP's."),
    ] = None


def add_benchmarks(app: typer.Typer) -> None:
    """Add a command for each evaluation of the table."""
    for benchmark in BENCHMARKS.values():
        command = app.command(benchmark.name, help=benchmark.title, rich_help_panel=PANEL)
        command(group_options(_make_command(benchmark)))


def _make_command(benchmark: Benchmark) -> Callable[..., None]:
    def run(
        model: Model, records: Annotated[Records, Panel("Records")], as_json: AsJson = False
    ) -> None:
        _evaluate(benchmark, model, records, as_json=as_json)

    run.__doc__ = benchmark.title
    return run


def _evaluate(
    benchmark: Benchmark, options: LoadOptions, records: Records, *, as_json: bool
) -> None:
    from vl2_ros.evaluation.benchmarks.processes import open_processes
    from vl2_ros.evaluation.benchmarks.report import describe_outcome
    from vl2_ros.evaluation.benchmarks.run import RunOptions, run_benchmark
    from vl2_ros.evaluation.benchmarks.task import BenchmarkData

    data = BenchmarkData(records.data, records.images, records.scorer)
    processes = open_processes(options)
    pipeline = load_model(processes.place(options))
    running = RunOptions(records.limit, records.out, processes)
    with display.show_progress("evaluating") if processes.is_first else nullcontext() as show:
        outcome = run_benchmark(benchmark, pipeline, data, running, show)
    processes.close()
    if outcome is None:
        return
    if as_json:
        display.print_json(describe_outcome(benchmark, outcome, pipeline.info))
    else:
        _show(benchmark, outcome)


def _show(benchmark: Benchmark, outcome: Outcome) -> None:
    from vl2_ros.evaluation.benchmarks.report import list_bad, list_numbers

    display.print_rows(list_numbers(benchmark, outcome), digits=".1f")
    words = f"{outcome.records} records"
    if outcome.resumed:
        words += f", {outcome.resumed} of them answered by an earlier run"
    display.print_text(f"{words}, {outcome.seconds:.1f} s")
    for line in list_bad(outcome):
        display.show_note(line)
