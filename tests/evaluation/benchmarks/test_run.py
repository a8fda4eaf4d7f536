"""A run is resumed exactly, and several processes give what one gives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.benchmarks.counting_task import PIPELINE, CountingTask, run_process
from vl2_ros.errors import EngineError, InputError
from vl2_ros.evaluation.benchmarks.run import RunOptions, run_task

REPOSITORY = Path(__file__).resolve().parents[3]
HEADER = {"evaluation": "counting", "model": "0123"}


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_second_run_asks_only_what_is_left(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    whole = run_task(CountingTask(9), PIPELINE, HEADER)
    first = CountingTask(9)
    some = run_task(first, PIPELINE, HEADER, RunOptions(limit=4, out=out))
    assert (some.records, some.resumed, first.asked) == (3, 0, [0, 1, 2, 3])
    second = CountingTask(9)
    rest = run_task(second, PIPELINE, HEADER, RunOptions(out=out))
    # The record that failed is asked again.
    assert second.asked == [2, 4, 5, 6, 7, 8]
    assert (rest.records, rest.resumed) == (8, 3)
    assert (rest.scores, rest.bad) == (whole.scores, whole.bad)
    assert whole.bad == {"row 99": "broken", "record 2": "it cannot be answered"}
    assert [row.get("key") for row in read_rows(out)] == [
        None,
        *(f"record {n}" for n in (0, 1, 3, 4, 5, 6, 7, 8)),
        "record 2",
    ]


def test_a_run_that_was_killed_while_it_wrote_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    task = CountingTask(9, stop_at=5)
    with pytest.raises(EngineError):
        run_task(task, PIPELINE, HEADER, RunOptions(out=out))
    with out.open("a") as file:
        file.write('{"key": "record 5", "ans')
    second = CountingTask(9)
    outcome = run_task(second, PIPELINE, HEADER, RunOptions(out=out))
    assert second.asked == [2, 5, 6, 7, 8]
    assert outcome.scores == run_task(CountingTask(9), PIPELINE, HEADER).scores


def test_a_finished_run_loads_its_answers_alone(tmp_path: Path) -> None:
    options = RunOptions(out=tmp_path / "answers.jsonl")
    outcome = run_task(CountingTask(2), PIPELINE, HEADER, options)
    again = CountingTask(2)
    assert run_task(again, PIPELINE, HEADER, options).scores == outcome.scores
    assert again.asked == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"evaluation": "counting", "model": "9"}\n', "model '9', now '0123'"),
        ("no json\n", "line 1 is not JSON"),
        ("[]\n", "line 1"),
        ('{"evaluation": "counting", "model": "0123"}\n[1]\n', "line 2"),
    ],
)
def test_answers_of_anything_else_are_refused(tmp_path: Path, text: str, message: str) -> None:
    out = tmp_path / "answers.jsonl"
    out.write_text(text)
    with pytest.raises(InputError, match=message):
        run_task(CountingTask(2), PIPELINE, HEADER, RunOptions(out=out))
    assert out.read_text() == text


def test_only_parts_of_the_run_are_read_and_removed(tmp_path: Path) -> None:
    out, part, other = (tmp_path / f"a[1].jsonl{end}" for end in ("", ".1", ".1.kept"))
    other.write_text("mine\n")
    rows = [HEADER, {"key": "record 1", "answer": {"value": 0.1 * 3}}]
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = CountingTask(4)
    outcome = run_task(task, PIPELINE, HEADER, RunOptions(out=out))
    assert task.asked == [0, 2, 3]
    assert outcome.scores == run_task(CountingTask(4), PIPELINE, HEADER).scores
    assert sorted(tmp_path.iterdir()) == sorted([out, other])


def test_progress_counts_every_record() -> None:
    seen: list[tuple[int, int]] = []
    run_task(CountingTask(3), PIPELINE, HEADER, progress=lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    """Also after a run of one process that was stopped, and then as one process."""
    pytest.importorskip("accelerate")
    alone = tmp_path / "alone.jsonl"
    outcome = run_task(CountingTask(9), PIPELINE, HEADER, RunOptions(out=alone))
    out, stopped = tmp_path / "two.jsonl", tmp_path / "stopped.jsonl"
    with pytest.raises(EngineError):
        run_task(CountingTask(9, stop_at=3), PIPELINE, HEADER, RunOptions(out=stopped))
    for path, resumed in ((out, 0), (stopped, 2)):
        found = [json.loads(text) for text in start_processes(tmp_path, path, count=2)]
        assert found[1] == {"asked": found[1]["asked"], "outcome": None}
        assert found[0]["outcome"] == {
            "scores": dict(outcome.scores),
            "bad": dict(outcome.bad),
            "records": 8,
            "resumed": resumed,
        }
        asked = found[0]["asked"] + found[1]["asked"]
        assert len(found[0]["asked"]) - len(found[1]["asked"]) in (0, 1)
        assert sorted(asked) == (list(range(9)) if not resumed else [2, 3, 4, 5, 6, 7, 8])
        assert path.read_bytes() == alone.read_bytes()
    assert {path.name for path in tmp_path.glob("*.jsonl*")} == (
        {"alone.jsonl", "two.jsonl", "stopped.jsonl"}
    )


def start_processes(folder: Path, out: Path, count: int) -> list[str]:
    """Start processes as a launcher does; return what each has written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    started, files = [], []
    for rank in range(count):
        files.append(folder / f"process_{rank}.json")
        place = address | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        paths = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
        words = [sys.executable, "-m", "tests.evaluation.benchmarks.counting_task"]
        started.append(
            subprocess.Popen(
                [*words, str(out), str(files[-1])],
                env={**os.environ, **place, **paths},
                cwd=REPOSITORY,
                stderr=subprocess.PIPE,
            )
        )
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    return [file.read_text() for file in files]


def test_one_process_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    found = run_process(tmp_path / "one.jsonl")
    assert found["asked"] == list(range(9))
    assert found["outcome"]["records"] == 8
