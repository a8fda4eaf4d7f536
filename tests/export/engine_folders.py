"""Small folders of exported graphs, and builders that are counted or fail on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto

from tests.runtime.onnxruntime_backend.onnx_files import list_engines, write_mapper
from vl2_ros.export.engine_builders import OnnxRuntimeBuilder
from vl2_ros.export.engine_profile import EngineProfile, GraphProfile
from vl2_ros.runtime.files.engine_files import EMBEDDINGS, FILE_NAME, EngineFile, read_engine_files
from vl2_ros.runtime.files.parity_gate import Sample, sample_path, write_sample

MAPPER = GraphProfile("prompt_mapper", "float32", ({},))
PROFILE = EngineProfile("testing", "onnxruntime", {"prompt_mapper": MAPPER})


def export_mapper(folder: Path, *, checkpoint: str = "checkpoint-a", off: float = 0.0) -> Path:
    """Write an exported folder with one graph, its stored call `off` from what it computes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = write_mapper(folder / "prompt_mapper.onnx", kind=TensorProto.FLOAT)
    states = np.random.default_rng(0).normal(size=(1, 4, 8)).astype(np.float32)
    embeds = np.tile(states.sum(1, keepdims=True), (1, 77, 1))
    embeds[0, 0, 0] += off * np.abs(embeds).max()
    outputs = {"prompt_embeds": embeds, "no_words": np.zeros_like(embeds)}
    write_sample(sample_path(path), Sample({"super_link": states}, outputs))
    (folder / EMBEDDINGS).write_bytes(b"tables of " + checkpoint.encode())
    return list_engines(folder, {"prompt_mapper": path}, checkpoint)


def open_slots(folder: Path) -> Path:
    """Say that the exported graph leaves its number of slots open, as it does."""
    document = json.loads((folder / FILE_NAME).read_text())
    document["graphs"]["prompt_mapper"]["axes"] = {"image_slots": [1, 4, 64]}
    (folder / FILE_NAME).write_text(json.dumps(document))
    return folder


def find_mapper(folder: Path) -> EngineFile:
    return read_engine_files(folder).require("prompt_mapper")


class CountingBuilder(OnnxRuntimeBuilder):
    """The real builder of ONNX Runtime, with a count of its builds."""

    def __init__(self, runtime: str = "", device_name: str = "") -> None:
        super().__init__()
        self.runtime = runtime or self.runtime
        self.device_name = device_name or self.device_name
        self.builds = 0

    def build(self, *arguments) -> None:
        self.builds += 1
        super().build(*arguments)
