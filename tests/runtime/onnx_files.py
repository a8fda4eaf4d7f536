"""Small engine folders for tests, written with the onnx package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from vl2_ros.runtime.engine_files import FILE_NAME, EngineFile, read_engine_files


def write_mapper(
    path: Path, *, kind: int = TensorProto.FLOAT, output: str = "prompt_embeds"
) -> Path:
    """Write a `prompt_mapper`: the states summed over the slots, 77 times over."""
    nodes = [
        helper.make_node("Constant", [], ["axis"], value_ints=[1]),
        helper.make_node("Constant", [], ["repeats"], value_ints=[1, 77, 1]),
        helper.make_node("ReduceSum", ["super_link", "axis"], ["sum"], keepdims=1),
        helper.make_node("Tile", ["sum", "repeats"], [output]),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("super_link", kind, [1, "image_slots", 8])],
        [helper.make_tensor_value_info(output, kind, [1, 77, 8])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return path


def list_engines(folder: Path, graphs: dict[str, Path], checkpoint: str = "none") -> Path:
    """Write `engines.json` for files that are in the folder."""
    entries = {
        name: {
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "precision": "float32",
            "axes": {},
        }
        for name, path in graphs.items()
    }
    document = {"format": 1, "checkpoint": checkpoint, "graphs": entries}
    (folder / FILE_NAME).write_text(json.dumps(document))
    return folder


def read_one(path: Path, graph: str) -> EngineFile:
    """List and read one file."""
    return read_engine_files(list_engines(path.parent, {graph: path})).require(graph)
