"""Export the ONNX files of a profile, with stored calls for the parity gate.

What is there already, of the same checkpoint, profile and versions, is not exported again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vl2_ros.documents import is_file, read_json_object
from vl2_ros.errors import EngineError
from vl2_ros.export.engine_folder import export_engines
from vl2_ros.export.engine_profile import EngineProfile, GraphProfile
from vl2_ros.export.engine_store import EXPORT_FILE
from vl2_ros.export.full_size.mapped_network import MappedNetwork
from vl2_ros.export.full_size.profile_fit import check_fit
from vl2_ros.export.onnx_export import OPSET, make_example
from vl2_ros.export.quantized.questions import make_script
from vl2_ros.export.store_files import locked, write_json
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.decoders.scene_encoder import SceneEncoder
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.graphs import QUANTISED, GraphSpec
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import PERCEPTION_GRAPHS
from vl2_ros.runtime.files.answer_gate import read_script, script_path, write_script
from vl2_ros.runtime.files.engine_files import EMBEDDINGS, AxisRange, EngineFile, read_engine_files
from vl2_ros.runtime.files.parity_gate import Sample, find_samples, sample_path, write_sample
from vl2_ros.runtime.files.weights_identity import identify_weights

#: Most positions of a stored call of the language model, and of the cache before it.
_MOST_POSITIONS = 256
#: Of a stored denoising step, in the middle of the times that denoisers are trained on.
_TIME = 500


def export_for_profile(
    profile: EngineProfile,
    weights: Path,
    folder: Path,
    *,
    lock_timeout_s: float = 3600.0,
    on_wait: Callable[[str], None] = lambda _: None,
    progress: Callable[[str, float], None] = lambda _what, _share: None,
) -> Path:
    """Export the graphs of a profile that a checkpoint has.

    Args:
        profile: precisions, ranges and image sizes.
        weights: a checkpoint folder.
        folder: to write to; files of the same names are replaced.
        lock_timeout_s: seconds to wait for another process that exports there.
        on_wait: called when there is one.
        progress: called with what is done, and its share, 0 to 1.

    Returns:
        The folder.

    Raises:
        CheckpointError: if the checkpoint is not complete.
        ConfigError: if it has none of the graphs, or prompts that the profile does not take.
        EngineError: if a graph cannot be exported, or the folder cannot be written.
    """
    check_fit(profile, weights)
    wanted = _describe(profile, weights)
    if _is_current(folder, wanted):
        return folder
    with locked(folder, timeout_s=lock_timeout_s, on_wait=on_wait):
        if _is_current(folder, wanted):
            return folder
        (folder / EXPORT_FILE).unlink(missing_ok=True)
        export_engines(
            weights,
            folder,
            profile.graphs,
            decoder_hw=profile.decoder_hw,
            generated_hw=profile.generated_hw,
            # Its strongly typed networks would multiply halves, and its plans are no smaller.
            is_compact=profile.backend == "onnxruntime",
            progress=lambda name: progress(f"exporting {name}", 0.0),
        )
        network = MappedNetwork(weights, read_checkpoint_config(weights).model.parts)
        files = read_engine_files(folder)
        for index, file in enumerate(files.graphs.values()):
            progress(f"running {file.name} in float32", index / len(files.graphs))
            store_calls(network, file, profile.graphs[file.graph])
            if file.precision in QUANTISED:
                script = make_script(network, weights, files, progress)
                write_script(script_path(file.path), script)
        write_json(folder / EXPORT_FILE, wanted)
    return folder


@torch.inference_mode()
def store_calls(network: MappedNetwork, file: EngineFile, graph: GraphProfile) -> None:
    """Run a graph in float32 torch at the best size of each of its ranges, and keep the calls.

    Sequences are not longer than they need be: the cache of the released network is 1 MB a position
    in float32.
    """
    spec = spec_of(network.model, file.name)
    module = network.build_graph(file.name)
    for old in file.path.parent.glob(f"{file.path.stem}.sample*.npz"):
        old.unlink()
    for index, shapes in enumerate(graph.shapes):
        axes: dict[str, AxisRange] = {**file.axes, **shapes}
        sizes = {name: _choose_size(name, one) for name, one in axes.items()}
        is_language = file.graph == "language_model"
        with ExitStack() as stack:
            stack.enter_context(network.streamed(torch.float32))
            if not is_language:
                stack.enter_context(network.filled(module, torch.float32))
            inputs = make_inputs(network.model, spec, sizes)
            outputs = module(*inputs)
        write_sample(
            sample_path(file.path, index),
            Sample(
                {name: one.numpy() for name, one in zip(spec.input_names, inputs, strict=True)},
                {name: one.numpy() for name, one in zip(spec.output_names, outputs, strict=True)},
            ),
        )


def _choose_size(axis: str, size: AxisRange) -> int:
    if isinstance(size, int):
        return size
    least, best, _ = size
    return max(least, min(best, _MOST_POSITIONS)) if axis in ("tokens", "past") else best


def make_inputs(model: VisionLLM, spec: GraphSpec, sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
    """Return inputs of a graph that look like those of its use.

    Outputs of the language model are made by it, from random words: noise in place of
    embeddings, of its cache or of its states has another scale, at which float16 errs otherwise.
    Images are noise; maps are those of noise.

    Args:
        model: the network, float32; its language model and the part of the graph compute.
        spec: row of the table.
        sizes: of every named axis of the inputs.
    """
    inputs = dict(zip(spec.input_names, make_example(spec, sizes), strict=True))
    if spec.name == "language_model":
        rows, past = inputs["past_mask"].shape
        words = _draw_words(model, rows, past + sizes["tokens"])
        _, cache = _run_language(model, words[:, :past])
        names = [name for name in inputs if name.startswith("past_") and name != "past_mask"]
        inputs |= {"input_embeds": words[:, past:], **dict(zip(names, cache, strict=True))}
    if "maps.0" in inputs:
        decoder: SceneEncoder = getattr(model, PERCEPTION_GRAPHS[spec.name].name)
        hw = (sizes["height"], sizes["width"])
        noise = torch.randn(sizes["rows"], 3, *hw, generator=torch.Generator().manual_seed(0))
        inputs |= {f"maps.{index}": one for index, one in enumerate(decoder.encode_image(noise))}
    for name in ("super_link", "keypoint_link"):
        if name in inputs:
            rows, *counts, _ = shape = inputs[name].shape
            words = _draw_words(model, rows, math.prod(counts))
            inputs[name] = _run_language(model, words)[0].reshape(shape)
    if "timestep" in inputs:
        inputs["timestep"].fill_(_TIME)
    return tuple(inputs[name] for name in spec.input_names)


def _draw_words(model: VisionLLM, rows: int, count: int) -> Tensor:
    """Return (rows, count, C) embeddings of random words."""
    table = model.llm.get_input_embeddings()
    generator = torch.Generator().manual_seed(0)
    ids: Tensor = torch.randint(table.num_embeddings, (rows, count), generator=generator)
    embeddings: Tensor = table(ids)
    return embeddings


def _run_language(model: VisionLLM, words: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the states (rows, count, C) of words, and keys and values of each layer."""
    config, (rows, count, _) = model.llm.config, words.shape
    empty = words.new_zeros(rows, config.num_key_value_heads, 0, config.head_dim)
    if not count:
        return words, (empty,) * (2 * config.num_hidden_layers)
    masks = (torch.ones(rows, size, dtype=torch.bool) for size in (count, 0))
    graph = build_graph(model, "language_model")
    _, states, *cache = graph(words, *masks, *[empty] * (2 * config.num_hidden_layers))
    return states, tuple(cache)


def _describe(profile: EngineProfile, weights: Path) -> dict[str, Any]:
    try:
        own = version("vl2_ros")
    except PackageNotFoundError:
        own = "unknown"
    return {
        "checkpoint": identify_weights(weights),
        "exported_with": [f"vl2_ros {own}", f"torch {torch.__version__}", f"opset {OPSET}"],
        "decoder_hw": None if profile.decoder_hw is None else list(profile.decoder_hw),
        "generated_hw": None if profile.generated_hw is None else list(profile.generated_hw),
        "is_compact": profile.backend == "onnxruntime",
        "graphs": {name: _describe_graph(one) for name, one in profile.graphs.items()},
    }


def _describe_graph(graph: GraphProfile) -> Mapping[str, Any]:
    shapes = [{axis: list(sizes) for axis, sizes in one.items()} for one in graph.shapes]
    return {"precision": graph.precision, "shapes": shapes}


def _is_current(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Return whether a folder has complete files of all requested graphs."""
    try:
        if read_json_object(folder / EXPORT_FILE, EngineError) != wanted:
            return False
        for file in read_engine_files(folder).graphs.values():
            file.check()
            find_samples(file.path)
            if file.precision in QUANTISED:
                read_script(script_path(file.path))
        if is_file(folder / EMBEDDINGS):
            read_engine_files(folder).check_embeddings()
    except EngineError:
        return False
    return True
