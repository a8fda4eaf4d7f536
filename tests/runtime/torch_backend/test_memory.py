"""What a checkpoint takes is known and compared before it is loaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vl2_ros.errors import EngineError
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.checkpoint.folder import describe_checkpoint, save_model
from vl2_ros.model.checkpoint.sizes import StoredSizes, count_stored
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.runtime.free_memory import FreeMemory
from vl2_ros.runtime.lazy import LazyEngine
from vl2_ros.runtime.torch_backend import loading, memory
from vl2_ros.runtime.torch_backend.loading import load_torch_engines
from vl2_ros.runtime.torch_backend.memory import (
    Demand,
    LargestInput,
    MemoryNeed,
    check_need,
    estimate_need,
    explain_shortage,
    suggest_options,
)
from vl2_ros.runtime.torch_backend.precision import Precision

CPU = torch.device("cpu")
EXACT = Precision(torch.float32, is_mapped=False, is_large=True)
HALF = Precision(torch.bfloat16, is_mapped=True, is_large=True)
SMALL_INPUT = LargestInput(100, 40, 64 * 64)


def save_network(folder):
    torch.manual_seed(0)
    network = VisionLLM(ModelConfig.tiny(with_pose=True), TokenIds.from_base(64))
    save_model(network, folder, dtype=torch.bfloat16)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def demand(weights):
    config = read_checkpoint_config(weights)
    parts = frozenset(config.model.parts)
    return Demand(config.model, count_stored(weights, config), parts)


def leave(monkeypatch, resident, addresses=None):
    monkeypatch.setattr(memory, "find_free", lambda device: FreeMemory(resident, addresses))


def test_counts_are_those_of_the_description(weights, demand):
    described = describe_checkpoint(weights).parts
    assert demand.sizes.count(["pose_decoder"]) == described["pose_decoder"]
    own = {name: count for name, count in described.items() if name not in demand.parts}
    assert sum(demand.sizes.language.values()) == sum(own.values())
    assert set(demand.sizes.language) == {"bfloat16"}


def test_mapped_weights_take_no_memory_of_their_own(demand):
    exact = estimate_need(demand, EXACT, SMALL_INPUT)
    half = estimate_need(demand, HALF, SMALL_INPUT)
    language = sum(demand.sizes.language.values()) + demand.sizes.count(["region_encoder"])
    assert exact.mapped == 0 and half.mapped == 2 * language
    assert exact.resident - half.resident > 4 * language


def test_cache_grows_with_the_prompt(demand):
    long = replace(SMALL_INPUT, prompt_tokens=1_000_000)
    grown = estimate_need(demand, EXACT, long).resident
    llm = demand.model.llm
    heads = llm["num_key_value_heads"] * llm["hidden_size"] // llm["num_attention_heads"]
    cache = 2 * llm["num_hidden_layers"] * heads * 1_000_000 * 4
    assert grown > 3 * cache


def test_a_budget_bounds_the_decoders(demand):
    tight = replace(demand, budget_bytes=1000)
    saved = sum(demand.decoders.values()) - 1000
    whole = estimate_need(demand, EXACT, SMALL_INPUT).resident
    assert whole - estimate_need(tight, EXACT, SMALL_INPUT).resident == saved


def test_the_refusal_says_both_numbers_and_only_what_fits(demand, monkeypatch):
    need = estimate_need(demand, EXACT, SMALL_INPUT)
    others = suggest_options(demand, EXACT, SMALL_INPUT, CPU)
    without_pose = others["without pose_decoder"].resident
    assert without_pose < need.resident
    leave(monkeypatch, without_pose)
    with pytest.raises(EngineError) as refusal:
        check_need("the model", need, CPU, others)
    text = str(refusal.value)
    assert f"needs {need.describe()}" in text and "are free on cpu" in text
    assert "without pose_decoder" in text
    assert all(
        (f"{words} (" in text) == (other.resident <= without_pose)
        for words, other in others.items()
    )
    assert "\n" not in text


def test_where_nothing_fits_it_says_so(monkeypatch):
    leave(monkeypatch, 10**6)
    with pytest.raises(EngineError, match=r"needs 2\.0 GB, and 1 MB are free on cpu; free some"):
        check_need("the model", MemoryNeed(2 * 10**9), CPU, {"max_tiles 1": MemoryNeed(10**9)})


def test_mapped_files_count_against_addresses_alone(monkeypatch, caplog):
    leave(monkeypatch, 10**6, 10**12)
    check_need("the model", MemoryNeed(10**5, 10**9), CPU)
    assert "read from the disk again and again" in caplog.text
    leave(monkeypatch, 10**12, 10**6)
    with pytest.raises(EngineError, match="and 1.0 GB of mapped files, and 1 MB of the limit"):
        check_need("the model", MemoryNeed(10**5, 10**9), CPU)


def test_what_is_free_is_not_known_everywhere(monkeypatch):
    leave(monkeypatch, None)
    check_need("the model", MemoryNeed(10**15), CPU)


def test_int8_is_suggested_where_it_fits(demand):
    large = replace(demand, sizes=StoredSizes({"bfloat16": 7 * 10**9}))
    others = suggest_options(large, EXACT, SMALL_INPUT, CPU)
    words, short = [one for one in others if "int8" in one]
    assert "vl2 engines build --profile cpu-int8" in words and short == f"{words}, max_tiles 1"
    assert 7 * 10**9 < others[short].resident <= others[words].resident < 9 * 10**9


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no more"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried\nsecond line"),
    ],
)
def test_running_out_of_memory_is_one_clear_error(error):
    with (
        pytest.raises(EngineError, match="^the model ran out of memory on cpu: [^\n]*free memory$"),
        explain_shortage("the model", CPU),
    ):
        raise error


def test_other_errors_are_passed_on():
    with pytest.raises(RuntimeError, match="shapes"), explain_shortage("the model", CPU):
        raise RuntimeError("shapes differ")


def test_it_is_refused_before_a_weight_is_read(weights, monkeypatch):
    monkeypatch.setattr(loading, "load_model", lambda *given, **options: pytest.fail("loaded"))
    leave(monkeypatch, 10_000)
    with pytest.raises(EngineError, match=r"needs .* MB, and 0 MB are free on cpu"):
        load_torch_engines(weights)


def test_a_decoder_is_refused_at_its_first_use(weights, monkeypatch):
    engines = load_torch_engines(weights, precision="bfloat16")
    leave(monkeypatch, 10_000)
    with pytest.raises(EngineError, match="^detection_decoder needs .*free on cpu"):
        engines.decoders["detection_decoder"].run({})


def test_in_half_decoders_wait_and_are_exact_and_answers_are_near(weights):
    exact, half = (load_torch_engines(weights, precision=one) for one in ("float32", "bfloat16"))
    assert all(isinstance(half.decoders[one].decoder, LazyEngine) for one in PERCEPTION_PARTS)
    rng = np.random.default_rng(0)
    scene = {
        "pixels": rng.normal(size=(1, 3, 64, 64)).astype(np.float32),
        "pixel_mask": np.ones((1, 64, 64), np.bool_),
        "super_link": rng.normal(size=(1, 2, 4, 64)).astype(np.float32),
        "class_mask": np.ones((1, 2), np.bool_),
    }
    expected = exact.decoders["detection_decoder"].run(scene)
    for name, array in half.decoders["detection_decoder"].run(scene).items():
        np.testing.assert_array_equal(array, expected[name])
    pixels = {"pixels": rng.normal(size=(1, 3, 56, 56)).astype(np.float32)}
    near, far = (one.vision_encoder.run(pixels)["image_tokens"] for one in (half, exact))
    assert near.dtype == np.float32
    np.testing.assert_allclose(near, far, atol=0.03 * np.abs(far).max())
    ids = np.arange(8)
    steps = [one.language_model.open_session().feed(ids) for one in (half, exact)]
    assert steps[0].hidden.dtype == np.float32
    spread = np.abs(steps[1].hidden).max()
    np.testing.assert_allclose(steps[0].hidden, steps[1].hidden, atol=0.05 * spread)


def test_bytes_are_reported_while_it_loads(weights):
    seen = []
    load_torch_engines(weights, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] > 0
