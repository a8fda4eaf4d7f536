"""Print what the key-value cache costs a step: copies of all positions, and forms without them.

    python benchmarks/engines/cache_copies.py [--positions 96 1000] [--released] [--json]

One thread, processor time, in turns, float32; medians. A step is one token after so many positions.

* `graph`: the embedded language model on ONNX Runtime: ms of a step, and the share of it that joins
  the cache of each layer with the new position.
* `joined_over_shared`: one layer of the same sizes on ONNX Runtime, with the cache joined as in our
  graphs, over the same with buffers that are input and output and that the new position is written
  into.
* `joined_over_growing`: the same layer on PyTorch, with the cache of transformers over ours, which
  has room.

--released adds a layer of the released 7B: 810 MB of weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from transformers import DynamicCache, LlamaConfig, LlamaModel

from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.model.language.growing_cache import make_cache
from vl2_ros.runtime.files.engine_files import read_engine_files

#: Heads, width of a head and of the inner layer.
SIZES = {"embedded": (4, 64, 1024), "released": (32, 128, 11008)}
STEPS = 30

_LAYER = """
<ir_version: 9, opset_import: ["": 17]>
layer (float[1, T, C] x, float[1, 1, T, A] mask, CACHE)
    => (float[1, T, C] out, float[1, H, A, D] keys, float[1, H, A, D] values)
{
    q = MatMul(x, wq)        k = MatMul(x, wk)        v = MatMul(x, wv)
    q1 = Reshape(q, split)   k1 = Reshape(k, split)   v1 = Reshape(v, split)
    q2 = Transpose <perm = [0, 2, 1, 3]> (q1)
    k2 = Transpose <perm = [0, 2, 1, 3]> (k1)
    v2 = Transpose <perm = [0, 2, 1, 3]> (v1)
    JOIN
    turned = Transpose <perm = [0, 1, 3, 2]> (keys)
    scores = MatMul(q2, turned)
    scaled = Mul(scores, scale)
    masked = Add(scaled, mask)
    shares = Softmax <axis = -1> (masked)
    seen = MatMul(shares, values)
    seen1 = Transpose <perm = [0, 2, 1, 3]> (seen)
    seen2 = Reshape(seen1, flat)
    added = MatMul(seen2, wo)
    y = Add(x, added)
    gate = MatMul(y, wg)     up = MatMul(y, wu)
    open = Sigmoid(gate)     gated = Mul(gate, open)  inner = Mul(gated, up)
    down = MatMul(inner, wd)
    out = Add(y, down)
}
"""
_FORMS = {
    "joined": (
        "float[1, H, P, D] past_keys, float[1, H, P, D] past_values",
        "keys = Concat <axis = 2> (past_keys, k2)  values = Concat <axis = 2> (past_values, v2)",
    ),
    "shared": (
        "float[1, H, A, D] past_keys, float[1, H, A, D] past_values, int64[1, H, T, 3] at",
        "keys = ScatterND(past_keys, at, k2)  values = ScatterND(past_values, at, v2)",
    ),
}


def open_options() -> onnxruntime.SessionOptions:
    """Return the options of a session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return options


def open_layer(form: str, sizes: tuple[int, int, int]) -> onnxruntime.InferenceSession:
    """Make one layer with random weights and one form of the cache."""
    heads, width, inner = sizes
    model, rng = heads * width, np.random.default_rng(0)
    cache, join = _FORMS[form]
    proto = onnx.parser.parse_model(_LAYER.replace("CACHE", cache).replace("JOIN", join))
    shapes = {name: (model, model) for name in ("wq", "wk", "wv", "wo")}
    shapes |= {"wg": (model, inner), "wu": (model, inner), "wd": (inner, model)}
    constants = {
        name: (rng.normal(size=shape) * 0.02).astype(np.float32) for name, shape in shapes.items()
    }
    constants["scale"] = np.float32(width**-0.5)
    constants["split"] = np.array([1, -1, heads, width])
    constants["flat"] = np.array([1, -1, model])
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    return onnxruntime.InferenceSession(proto.SerializeToString(), open_options())


def make_joined_step(sizes: tuple[int, int, int], past: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a step whose cache goes in and comes out."""
    session, (heads, width, _) = open_layer("joined", sizes), sizes
    cache = [np.zeros((1, heads, past, width), np.float32) for _ in range(2)]

    def step(x: np.ndarray) -> np.ndarray:
        mask = np.zeros((1, 1, 1, cache[0].shape[2] + 1), np.float32)
        given = {"x": x, "mask": mask, "past_keys": cache[0], "past_values": cache[1]}
        out, *cache[:] = session.run(["out", "keys", "values"], given)
        return np.asarray(out)

    return step


def make_shared_step(sizes: tuple[int, int, int], past: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a step that writes into buffers with room for all of the steps."""
    session, (heads, width, _) = open_layer("shared", sizes), sizes
    room, count = past + STEPS + 1, past
    places = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(
            np.zeros((1, heads, room, width), np.float32)
        )
        for name in ("keys", "values")
    }

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal count
        mask = np.where(np.arange(room) <= count, 0, -1e30).astype(np.float32)
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_cpu_input("mask", mask[None, None, None])
        at = np.array([[[[0, head, count]] for head in range(heads)]])
        binding.bind_cpu_input("at", at)
        binding.bind_output("out")
        for name, place in places.items():
            binding.bind_ortvalue_input(f"past_{name}", place)
            binding.bind_ortvalue_output(name, place)
        session.run_with_iobinding(binding)
        count += 1
        return np.asarray(binding.get_outputs()[0].numpy())

    return step


def make_torch_steps(
    sizes: tuple[int, int, int], past: int
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return steps of one layer of PyTorch with the cache of transformers and with ours."""
    heads, width, inner = sizes
    config = LlamaConfig(
        hidden_size=heads * width,
        intermediate_size=inner,
        num_hidden_layers=1,
        num_attention_heads=heads,
        vocab_size=8,
    )
    network = LlamaModel(config).eval()

    def make(cache: Any) -> Callable[[np.ndarray], np.ndarray]:
        @torch.inference_mode()
        def step(x: np.ndarray) -> np.ndarray:
            out = network(inputs_embeds=torch.from_numpy(x), past_key_values=cache)
            return np.asarray(out.last_hidden_state.numpy())

        step(np.random.default_rng(0).normal(size=(1, past, heads * width)).astype(np.float32))
        return step

    return {"joined": make(DynamicCache(config=config)), "growing": make(make_cache(config))}


def race(steps: Mapping[str, Callable[[np.ndarray], np.ndarray]], width: int) -> dict[str, float]:
    """Return ms of a step of each form, after a check that all say the same."""
    rng, spent = np.random.default_rng(1), {name: [] for name in steps}
    for _ in range(STEPS + 1):
        x = rng.normal(size=(1, 1, width)).astype(np.float32)
        outs = []
        for name, step in steps.items():
            began = time.thread_time()
            outs.append(step(x))
            spent[name].append((time.thread_time() - began) * 1e3)
        np.testing.assert_allclose(outs[1], outs[0], rtol=1e-3, atol=1e-4)
    return {name: statistics.median(taken[1:]) for name, taken in spent.items()}


def profile_graph(past: int) -> dict[str, float]:
    """Return what a step of the embedded language model takes, and the share that joins."""
    with TemporaryDirectory() as folder:
        options = open_options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        file = read_engine_files(EMBEDDED_WEIGHTS).require("language_model")
        session = onnxruntime.InferenceSession(str(file.path), options)
        sizes = {"rows": 1, "tokens": 1, "past": past}
        given = {
            one.name: np.ones([sizes.get(side, side) for side in one.shape], np.bool_)
            if one.type == "tensor(bool)"
            else np.ones([sizes.get(side, side) for side in one.shape], np.float32)
            for one in session.get_inputs()
        }
        spent = []
        for _ in range(STEPS):
            began = time.thread_time()
            session.run(None, given)
            spent.append((time.thread_time() - began) * 1e3)
        events = json.loads(Path(session.end_profiling()).read_text())
    taken: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            taken[event["args"]["op_name"]] += event["dur"]
    return {
        "step_ms": round(statistics.median(spent), 2),
        "share_of_joining": round(taken["Concat"] / taken.total(), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, nargs="+", default=[96, 1000])
    parser.add_argument("--released", action="store_true")
    parser.add_argument("--json", action="store_true", help="One JSON document.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"graph": {past: profile_graph(past) for past in options.positions}}
    for name, sizes in SIZES.items():
        if name == "released" and not options.released:
            continue
        for past in options.positions:
            graphs = {
                "joined": make_joined_step(sizes, past),
                "shared": make_shared_step(sizes, past),
            }
            width = sizes[0] * sizes[1]
            shared, growing = race(graphs, width), race(make_torch_steps(sizes, past), width)
            found[f"{name}|{past}"] = {
                "joined_over_shared": round(shared["joined"] / shared["shared"], 2),
                "joined_over_growing": round(growing["joined"] / growing["growing"], 2),
                "onnxruntime_ms": {form: round(taken, 3) for form, taken in shared.items()},
                "torch_ms": {form: round(taken, 3) for form, taken in growing.items()},
            }
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for key, values in found.items():
        print(key, json.dumps(values))


if __name__ == "__main__":
    main()
