"""Graphs at the released size with random weights, each in a network that has little else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vl2_ros.export.engine_folder import fixed_axes, size_maps
from vl2_ros.export.engine_profile import EngineProfile
from vl2_ros.export.onnx_export import export_onnx
from vl2_ros.model.checkpoint.plan import find_places
from vl2_ros.model.checkpoint.weights import build_empty_model, fill_place, move_computed_buffers
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.language.tokens import ADDED_TOKENS, TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.pose.config import PoseConfig

#: Of the 32 of the release: the others are copies, and do not fit into 6 GB while they are built.
LAYERS = 2
#: Height and width of the embedded decoder's images.
EMBEDDED_HW = (192, 256)
_WIDTH, _SLOTS, _VOCABULARY = 4096, 4, 32026
_CLIP_LARGE: Mapping[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
_THIN_LLM: Mapping[str, Any] = {
    "vocab_size": 128,
    "hidden_size": _WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "pad_token_id": 0,
}
_SWIN_TINY: Mapping[str, Any] = {
    "model_type": "swin",
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [3, 6, 12, 24],
    "window_size": 7,
    "drop_path_rate": 0.0,
}


def make_network(
    graph: str,
    *,
    dtype: torch.dtype = torch.float32,
    layers: int = LAYERS,
    vocabulary: int = _VOCABULARY,
) -> VisionLLM:
    """Make the network of one graph; parts that it does not use are thin or not there.

    Args:
        graph: `vision_encoder`, `language_model`, or one of a perception decoder.
        dtype: of the weights.
        layers: of the language model where it is the graph.
        vocabulary: words of it, likewise; the special tokens are the last.
    """
    torch.manual_seed(0)
    llm, vision, base = dict(_THIN_LLM), dict(_CLIP_LARGE), 100
    if graph == "language_model":
        llm |= {"vocab_size": vocabulary, "intermediate_size": 11008, "num_hidden_layers": layers}
        base = vocabulary - len(ADDED_TOKENS)
    if graph != "vision_encoder":
        vision |= {"num_hidden_layers": 1, "intermediate_size": 64}
    parts: dict[str, Any] = {"use_region_encoder": False}
    if graph.startswith("detection_"):
        swin = {"backbone_config": dict(_SWIN_TINY)}
        parts["detection"] = DetectionConfig.from_release(swin, _WIDTH, _SLOTS)
    if graph.startswith("pose_"):
        parts["pose"] = PoseConfig.from_release({}, _WIDTH, _SLOTS)
    model = build_empty_model(
        ModelConfig(vision=vision, llm=llm, **parts), TokenIds.from_base(base)
    )
    for name, place in find_places(model).items():
        if name == place.names[0]:
            fill_place(model, place, torch.empty(place.shape, dtype=dtype).normal_(std=0.02))
    move_computed_buffers(model, "cpu")
    return model.eval()


def write_graph(
    model: VisionLLM, graph: str, precision: str, profile: EngineProfile, folder: Path
) -> Path:
    """Export one graph with the ranges and image sizes of a profile; narrows the network.

    Returns:
        The ONNX file.
    """
    ranges = profile.graphs[graph].shapes
    axes = fixed_axes(model) | {axis: sizes for one in ranges for axis, sizes in one.items()}
    axes |= dict(zip(("height", "width"), profile.decoder_hw or EMBEDDED_HW, strict=True))
    axes |= size_maps(model, graph, axes)
    path = folder / f"{graph}.onnx"
    # The operator table is for older parsers; the real one reads the file next.
    export_onnx(
        build_graph(model, graph),
        spec_of(model, graph),
        axes,
        path,
        precision=precision,
        is_checked=False,
    )
    return path
