"""Whole runs of a toy objective: resuming, freezing, adapters, checkpoints, logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.toy import ToyObjective, change, open_toy
from vl2_ros.errors import CheckpointError, ConfigError, TrainingError
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.training.loop.log import PLOT_FILE, read_log
from vl2_ros.training.loop.state import STATE_FILE
from vl2_ros.training.run import train

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(folder: Path, changes: dict, opened=open_toy, **more):
    lines: list[str] = []
    end = train(
        change(changes), folder, device="cpu", open_objective=opened, show=lines.append, **more
    )
    return end, lines


def losses(folder: Path) -> dict[int, dict[str, float]]:
    """Numbers of the log that do not depend on the clock, by step."""
    rows = [row for row in read_log(folder) if "loss" in row]
    return {
        row["step"]: {k: v for k, v in row.items() if k not in ("seconds", "waited_s")}
        for row in rows
    }


def interrupted_at(number: int):
    """An opener of a toy that is asked to end in its batch of that number."""

    def opened(recipe, opening) -> ToyObjective:
        toy = open_toy(recipe, opening)
        forward = toy.forward

        def interrupt(batch):
            if toy._count == number:
                os.kill(os.getpid(), signal.SIGTERM)
            return forward(batch)

        toy.forward = interrupt
        return toy

    return opened


def test_interrupted_run_writes_its_state_and_resumes_exactly(tmp_path):
    whole, lines = run(tmp_path / "whole", {})
    assert whole.is_complete and lines[0].startswith("nothing to resume")
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    end, lines = run(tmp_path / "parts", {}, interrupted_at(4))
    assert end.step == 5 and not end.is_complete
    assert lines[-1] == "interrupted at step 5 of 12; the same command resumes it"
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    end, lines = run(tmp_path / "parts", {})
    assert lines[0] == "resumed at step 5 of 12" and end.is_complete
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for folder in ("last", "best"):
        first, second = (
            load_model(tmp_path / one / folder).state_dict() for one in ("whole", "parts")
        )
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_complete_run_is_not_run_again(tmp_path):
    run(tmp_path, {"steps": 2})
    end, lines = run(tmp_path, {"steps": 2})
    assert end.is_complete and lines == ["resumed at step 2 of 2"]


def test_another_recipe_does_not_resume(tmp_path):
    run(tmp_path, {"steps": 2})
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, {"steps": 3, "rates": {"learning_rate": 0.5}})
    text = str(caught.value)
    assert "steps: 2 before, 3 now" in text
    assert "rates.learning_rate: 0.001 before, 0.5 now" in text
    assert "batch:" not in text


def test_damaged_state_says_what_to_do(tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b"no state")
    with pytest.raises(CheckpointError, match="delete it to begin again"):
        run(tmp_path, {})


def test_frozen_parts_stay_bit_for_bit_and_the_trained_ones_move(tmp_path):
    kept = {}

    def opened(recipe, opening):
        toy = open_toy(recipe, opening)
        kept.update({k: v.clone() for k, v in toy.network.state_dict().items()})
        return toy

    run(tmp_path, {"trained": ("llm",), "frozen": ("llm.model.layers.0", "*.embed_tokens")}, opened)
    moved = set()
    for name, value in load_model(tmp_path / "last").state_dict().items():
        if not torch.equal(value, kept[name]):
            moved.add(name)
    trained = {name for name in kept if name.startswith("llm.")}
    trained -= {name for name in trained if "layers.0." in name or "embed_tokens" in name}
    assert moved == trained


def test_pattern_that_fits_nothing_lists_the_parts(tmp_path):
    with pytest.raises(ConfigError, match="frozen names 'lm'.*llm"):
        run(tmp_path, {"frozen": ("lm",)})


def test_adapters_alone_move_and_their_checkpoint_loads(tmp_path):
    kept = {}

    def opened(recipe, opening):
        toy = open_toy(recipe, opening)
        kept.update({k: v.clone() for k, v in toy.network.state_dict().items()})
        return toy

    lora = {"rank": 2, "alpha": 8.0, "modules": ("llm.model.layers.*.q_proj",)}
    run(tmp_path, {"trained": ("llm",), "frozen": ("llm",), "lora": lora}, opened)
    state = torch.load(tmp_path / STATE_FILE, weights_only=True)["tensors"]
    assert all(".lora_" in name for name in state if name.startswith("network.llm"))
    after = load_model(tmp_path / "last").state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, kept[name])}
    assert moved == {f"llm.model.layers.{i}.self_attn.q_proj.weight" for i in range(2)}
    for name in moved:
        change_of = after[name] - kept[name]
        assert torch.linalg.matrix_rank(change_of.double(), rtol=1e-3) <= 2


def test_merged_adapters_compute_what_the_adapted_network_does(tmp_path):
    seen = []

    def score(network, step):
        ids = torch.arange(5, 15)[None]
        seen.append(network(ids).hidden.detach().clone())
        return {"half": 0.5}

    run(tmp_path, {"lora": {"rank": 4}, "frozen": ("llm",), "trained": ("*",)}, score=score)
    with torch.no_grad():
        again = load_model(tmp_path / "last")(torch.arange(5, 15)[None]).hidden
    torch.testing.assert_close(again, seen[-1], atol=1e-5, rtol=1e-5)


def test_best_checkpoint_is_by_the_score_that_the_recipe_names(tmp_path):
    given = iter([0.1, 0.9, 0.5])
    steps = []

    def score(network, step):
        assert not network.training
        steps.append(step)
        return {"ap": next(given)}

    changes = {"steps": 6, "evaluation": {"every": 2, "batches": 0, "best_by": "ap"}}
    end, _ = run(tmp_path, changes, score=score)
    assert steps == [2, 4, 6] and end.best == 0.9
    best, last = (load_model(tmp_path / one).state_dict() for one in ("best", "last"))
    assert any(not torch.equal(best[name], last[name]) for name in best)
    assert [row["ap"] for row in read_log(tmp_path) if "ap" in row] == [0.1, 0.9, 0.5]


def test_best_by_a_score_without_scores_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(ConfigError, match="best_by is 'ap'.*nothing is scored"):
        run(tmp_path, {"steps": 1, "evaluation": {"best_by": "ap"}})
    assert not read_log(tmp_path)


def test_a_score_that_is_missing_does_not_count_as_better(tmp_path, caplog):
    given = iter([{"ap": 0.5}, {"other": 0.9}, {}])
    changes = {"steps": 3, "evaluation": {"every": 1, "best_by": "ap"}}
    end, _ = run(tmp_path, changes, score=lambda network, step: next(given))
    assert end.is_complete and end.best == 0.5
    assert [line.message[:14] for line in caplog.records] == ["step 2: ap, wh", "step 3: ap, wh"]
    assert (tmp_path / STATE_FILE).is_file()


def test_weights_are_written_before_they_are_scored(tmp_path):
    def score(network, step):
        raise OSError("no images any more")

    with pytest.raises(OSError, match="no images"):
        run(tmp_path, {"steps": 1, "evaluation": {"best_by": "ap"}}, score=score)
    load_model(tmp_path / "last")


def test_gradients_that_are_not_finite_are_skipped_and_counted(tmp_path):
    def opened(recipe, opening):
        toy = open_toy(recipe, opening)
        toy.bad_numbers = {3}
        return toy

    run(tmp_path, {"steps": 6}, opened)
    assert [row["skipped"] for row in losses(tmp_path).values()] == [0, 0, 0, 1, 1, 1]
    assert all(
        value.isfinite().all() for value in load_model(tmp_path / "last").state_dict().values()
    )


def test_many_such_gradients_in_a_row_end_the_run(tmp_path):
    def opened(recipe, opening):
        toy = open_toy(recipe, opening)
        toy.bad_numbers = set(range(100))
        return toy

    with pytest.raises(TrainingError, match="20 steps in a row"):
        run(tmp_path, {"steps": 40}, opened)


def test_epochs_count_the_batches(tmp_path):
    end, _ = run(tmp_path, {"steps": 0, "epochs": 0.5})
    assert end.steps == 5


def test_files_of_a_run(tmp_path):
    run(tmp_path, {"steps": 3, "evaluation": {"every": 1, "batches": 1}})
    rows = read_log(tmp_path)
    assert [row["step"] for row in rows] == [1, 1, 2, 2, 3, 3]
    assert {"loss", "lm", "head", "norm", "learning_rate"} <= rows[0].keys()
    assert {"held_out/loss", "held_out/lm"} <= rows[1].keys()
    assert (tmp_path / PLOT_FILE).read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "tensorboard").glob("events.*"))
    assert "objective: toy" in (tmp_path / "recipe.yaml").read_text()


def test_gradient_checkpointing_changes_no_loss(tmp_path):
    for name, switch in (("plain", False), ("twice", True)):
        run(tmp_path / name, {"steps": 3, "gradient_checkpointing": switch})
    first, second = losses(tmp_path / "plain"), losses(tmp_path / "twice")
    for step, row in first.items():
        assert row["loss"] == pytest.approx(second[step]["loss"], abs=1e-5)


def start(
    folder: Path, changes: dict, pace: str, processes: int = 1, new_group: bool = False, **env
) -> subprocess.Popen:
    words = [sys.executable]
    if processes > 1:
        words += ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    words += ["-m", "tests.training.toy", str(folder), json.dumps(changes), pace]
    return subprocess.Popen(
        words,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        start_new_session=new_group,
    )


def wait_for_rows(process: subprocess.Popen, folder: Path, count: int) -> None:
    """Wait until a run has written its state once and so many rows."""
    deadline = time.monotonic() + 300
    while not (folder / STATE_FILE).exists() or len(read_log(folder)) < count:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_run_loses_nothing_that_is_not_repeated_bit_for_bit(tmp_path):
    changes = {"steps": 100, "workers": 1}
    process = start(tmp_path / "killed", changes, "slow")
    wait_for_rows(process, tmp_path / "killed", 15)
    process.kill()
    process.wait()
    assert len(read_log(tmp_path / "killed")) < 50
    _, lines = run(tmp_path / "killed", changes)
    assert lines[0].startswith("resumed at step ")
    run(tmp_path / "whole", {**changes, "workers": 0})
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_a_signal_to_the_whole_group_writes_the_state(tmp_path):
    changes = {"steps": 100_000, "workers": 1}
    process = start(tmp_path, changes, "slow", new_group=True)
    wait_for_rows(process, tmp_path, 3)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(120) == 0
    step = torch.load(tmp_path / STATE_FILE, weights_only=True)["step"]
    assert step == max(losses(tmp_path))


@pytest.mark.slow
def test_two_processes_train_as_one_that_accumulates(tmp_path):
    assert start(tmp_path / "two", {}, "fast", processes=2).wait() == 0
    run(tmp_path / "one", {"accumulation": 2})
    for step, row in losses(tmp_path / "one").items():
        assert losses(tmp_path / "two")[step] == pytest.approx(row, abs=1e-5)
    first, second = (load_model(tmp_path / one / "last").state_dict() for one in ("one", "two"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_sharded_weights_train_resume_and_load_elsewhere(tmp_path):
    env = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    folder, changes = tmp_path / "sharded", {"steps": 60, "lora": {"rank": 2}}
    process = start(folder, changes, "slow", processes=2, **env)
    wait_for_rows(process, folder, 3)
    process.terminate()
    process.wait()
    done = torch.load(folder / STATE_FILE, weights_only=True)["step"]
    assert max(losses(folder)) == done < 60, "the state is that of the interrupt"
    assert start(folder, changes, "fast", processes=2, **env).wait() == 0
    run(tmp_path / "one", {**changes, "accumulation": 2})
    for step, row in losses(tmp_path / "one").items():
        assert losses(folder)[step]["loss"] == pytest.approx(row["loss"], abs=1e-3)
    first, second = (load_model(one / "last").state_dict() for one in (tmp_path / "one", folder))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-3, rtol=0)
