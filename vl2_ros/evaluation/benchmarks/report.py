"""The report of an evaluation: measured numbers beside the published ones, as rows and JSON."""

from __future__ import annotations

from typing import Any

from vl2_ros.evaluation.benchmarks.run import Outcome
from vl2_ros.evaluation.benchmarks.table import NOT_PUBLISHED, Benchmark, Metric
from vl2_ros.structures import ModelInfo

#: Bad records that the report names.
SHOWN_BAD = 10


def list_numbers(benchmark: Benchmark, outcome: Outcome) -> list[dict[str, Any]]:
    """Return a row for each number of the evaluation, in percent.

    A number that the data cannot give, such as that of masks where there are none, is None.
    """
    metrics = {metric.name: metric for metric in benchmark.metrics}
    metrics |= {name: Metric(name) for name in outcome.scores if name not in metrics}
    return [
        {
            "evaluation": benchmark.name,
            "what": name,
            "measured": 100 * outcome.scores[name] if name in outcome.scores else None,
            "published": NOT_PUBLISHED if metric.published is None else metric.published,
        }
        for name, metric in metrics.items()
    ]


def describe_outcome(benchmark: Benchmark, outcome: Outcome, model: ModelInfo) -> dict[str, Any]:
    """Return the JSON of an evaluation; numbers are percentages, null where there is none."""
    rows = list_numbers(benchmark, outcome)
    return {
        "evaluation": benchmark.name,
        "model": model.name,
        "identity": model.identity,
        "engine": model.engine,
        "scores": {row["what"]: row["measured"] for row in rows},
        "published": {metric.name: metric.published for metric in benchmark.metrics},
        "records": outcome.records,
        "resumed": outcome.resumed,
        "bad_count": len(outcome.bad),
        "bad": dict(outcome.bad),
        "seconds": outcome.seconds,
    }


def list_bad(outcome: Outcome) -> list[str]:
    """Return a line about bad records: how many, then each with its reason, at most ten."""
    if not outcome.bad:
        return []
    named = list(outcome.bad.items())[:SHOWN_BAD]
    more = len(outcome.bad) - len(named)
    return [
        f"{len(outcome.bad)} bad records or rows:",
        *(f"  {name}: {reason}" for name, reason in named),
        *([f"  and {more} more; --json lists all"] if more else []),
    ]
