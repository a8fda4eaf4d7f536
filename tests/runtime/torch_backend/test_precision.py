"""Which precision a checkpoint is computed in, and that one row is multiplied alike."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from vl2_ros.model.checkpoint.sizes import StoredSizes
from vl2_ros.runtime.torch_backend import precision as module
from vl2_ros.runtime.torch_backend.one_row import OneRowLinear, speed_up_single_rows
from vl2_ros.runtime.torch_backend.precision import EXACT_BYTES, choose_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LARGE = EXACT_BYTES // 4 + 1


@pytest.fixture
def half_units(monkeypatch):
    monkeypatch.setattr(module, "computes_in_bfloat16", lambda: True)


@pytest.mark.parametrize(
    ("stored", "values", "expected"),
    [
        ("bfloat16", LARGE, torch.bfloat16),
        ("bfloat16", LARGE - 1, torch.float32),
        ("float16", LARGE, torch.float32),
        ("float32", LARGE, torch.float32),
    ],
)
def test_auto_is_exact_but_for_what_is_large_and_stored_in_half(
    half_units, stored, values, expected
):
    chosen = choose_precision(StoredSizes({stored: values}), CPU)
    assert chosen.dtype == expected
    assert chosen.is_mapped == (expected == torch.bfloat16)
    assert chosen.is_large == (values == LARGE)


def test_what_is_chosen_is_said_in_one_line(half_units, caplog):
    choose_precision(StoredSizes({"bfloat16": LARGE}), CPU)
    (record,) = caplog.records
    assert "computes in bfloat16, as it is stored" in record.getMessage()
    assert "float32 is exact and takes 4.0 GB" in record.getMessage()


def test_a_cpu_without_units_for_it_stays_exact(monkeypatch, caplog):
    monkeypatch.setattr(module, "computes_in_bfloat16", lambda: False)
    sizes = StoredSizes({"bfloat16": LARGE})
    assert choose_precision(sizes, CPU).dtype == torch.float32
    assert choose_precision(sizes, CPU, "bfloat16").dtype == torch.bfloat16
    assert "emulates bfloat16" in caplog.text


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_the_choice_of_the_user_counts(half_units, wanted, device, caplog):
    chosen = choose_precision(StoredSizes({"bfloat16": LARGE}), device, wanted)
    assert chosen.dtype == getattr(torch, wanted)
    assert caplog.record_tuples == []


def test_a_gpu_computes_in_half_and_copies():
    chosen = choose_precision(StoredSizes({"float32": 10}), CUDA)
    assert (chosen.dtype, chosen.is_mapped, chosen.is_large) == (torch.bfloat16, False, False)


@pytest.mark.parametrize("answer", [{"avx512_bf16": True}, {"bf16": True}, {"avx512_bf16": False}])
def test_units_are_those_that_torch_finds(monkeypatch, answer):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: answer, raising=False)
    assert module.computes_in_bfloat16() == any(answer.values())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 3])
def test_one_row_is_multiplied_as_the_layer_does(bias, rows):
    torch.manual_seed(0)
    layer = nn.Linear(96, 40, bias=bias).bfloat16()
    given = torch.randn(1, rows, 96).bfloat16()
    expected = layer(given)
    found = OneRowLinear(layer)(given)
    assert found.shape == expected.shape and found.dtype == torch.bfloat16
    # One rounding of bfloat16.
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=2**-9)


def test_layers_are_exchanged_with_their_weights():
    network = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)))
    before = dict(network.named_parameters())
    speed_up_single_rows(network)
    assert isinstance(network[0], OneRowLinear) and isinstance(network[1][0], OneRowLinear)
    after = dict(network.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is weight for name, weight in before.items())


def test_nothing_is_said_of_small_checkpoints(half_units, caplog):
    with caplog.at_level(logging.INFO):
        choose_precision(StoredSizes({"bfloat16": 10}), CPU)
    assert caplog.text == ""
