"""Replay gives what the function gives, on the GPU from memory of its own."""

from __future__ import annotations

import logging
import threading

import pytest
import torch

from vl2_ros.errors import ConfigError
from vl2_ros.runtime.cuda_graphs import GraphReplay


class Doubler:
    """Two outputs of one input; counts how often Python ran it."""

    def __init__(self, device: str = "cpu") -> None:
        self.calls = 0
        self.weight = torch.full((4,), 2.0, device=device)

    def __call__(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.calls += 1
        return values * self.weight, values.sum(-1)


def reads_values(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Ask the GPU for a value in the middle, which no recording can hold."""
    return (values * float(values.max().item()),)


def test_elsewhere_than_on_cuda_the_function_is_called():
    double = Doubler()
    replay = GraphReplay(double)
    for step in range(3):
        doubled, summed = replay(torch.full((3, 4), float(step)))
        torch.testing.assert_close(doubled, torch.full((3, 4), 2.0 * step))
        torch.testing.assert_close(summed, torch.full((3,), 4.0 * step))
    assert (double.calls, replay.recorded) == (3, 0)


def test_a_negative_bound_is_refused():
    with pytest.raises(ConfigError, match="most_shapes must be 0 or more, got -1"):
        GraphReplay(Doubler(), most_shapes=-1)


@pytest.mark.slow
def test_a_compiled_function_gives_the_same():
    values = torch.randn(3, 4)
    compiled = GraphReplay(Doubler(), compiled=True)
    torch.testing.assert_close(compiled(values), Doubler()(values))


@pytest.mark.gpu
def test_a_shape_is_recorded_when_it_comes_again_and_then_python_rests():
    double = Doubler("cuda")
    replay = GraphReplay(double)
    replay(torch.ones(3, 4, device="cuda"))
    assert (double.calls, replay.recorded) == (1, 0)
    replay(torch.ones(3, 4, device="cuda"))
    calls = double.calls
    assert replay.recorded == 1
    for step in range(5):
        doubled, summed = replay(torch.full((3, 4), float(step), device="cuda"))
        torch.testing.assert_close(doubled.cpu(), torch.full((3, 4), 2.0 * step))
        torch.testing.assert_close(summed.cpu(), torch.full((3,), 4.0 * step))
    assert double.calls == calls


@pytest.mark.gpu
def test_outputs_outlive_later_calls_and_inputs_are_left_alone():
    replay = GraphReplay(Doubler("cuda"))
    inputs = [torch.full((2, 4), float(step), device="cuda") for step in range(6)]
    outputs = [replay(one)[0] for one in inputs]
    for step in range(6):
        torch.testing.assert_close(outputs[step].cpu(), torch.full((2, 4), 2.0 * step))
        torch.testing.assert_close(inputs[step].cpu(), torch.full((2, 4), float(step)))


@pytest.mark.gpu
def test_shapes_beyond_the_bound_run_eagerly_and_right():
    replay = GraphReplay(Doubler("cuda"), most_shapes=2)
    for _ in range(3):
        for rows in (1, 2, 3, 4):
            values = torch.randn(rows, 4, device="cuda")
            torch.testing.assert_close(replay(values)[0], values * 2)
    assert replay.recorded == 2


@pytest.mark.gpu
def test_inputs_that_are_not_contiguous_give_the_same():
    replay = GraphReplay(Doubler("cuda"))
    for _ in range(4):
        values = torch.randn(4, 3, device="cuda").T
        torch.testing.assert_close(replay(values)[0], values * 2)
    assert replay.recorded == 1


@pytest.mark.gpu
def test_what_cannot_be_recorded_runs_eagerly_from_then_on(caplog):
    replay = GraphReplay(reads_values)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            values = torch.rand(5, device="cuda")
            torch.testing.assert_close(replay(values)[0], values * values.max())
    assert replay.recorded == 0
    assert caplog.text.count("no CUDA graph for inputs of [(5,)]") == 1
    # The failed recording has left nothing behind that would spoil another.
    other = GraphReplay(Doubler("cuda"))
    for _ in range(3):
        torch.testing.assert_close(
            other(torch.ones(1, 4, device="cuda"))[0].cpu(), torch.full((1, 4), 2.0)
        )
    assert other.recorded == 1


@pytest.mark.gpu
def test_threads_take_turns():
    replay = GraphReplay(Doubler("cuda"))
    wrong: list[float] = []

    def work(value: float) -> None:
        for _ in range(50):
            doubled = replay(torch.full((8, 4), value, device="cuda"))[0].cpu()
            if not torch.equal(doubled, torch.full((8, 4), 2 * value)):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(one),)) for one in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []
