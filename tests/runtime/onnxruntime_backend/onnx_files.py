"""Small engine folders for tests, written with the onnx package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from vl2_ros.runtime.files.engine_files import FILE_NAME, EngineFile, read_engine_files


def write_mapper(
    path: Path, *, kind: int = TensorProto.FLOAT, output: str = "prompt_embeds"
) -> Path:
    """Write a `prompt_mapper`: the states summed over the slots, 77 times over; no words are 0."""
    nodes = [
        helper.make_node("Constant", [], ["axis"], value_ints=[1]),
        helper.make_node("Constant", [], ["repeats"], value_ints=[1, 77, 1]),
        helper.make_node("ReduceSum", ["super_link", "axis"], ["sum"], keepdims=1),
        helper.make_node("Tile", ["sum", "repeats"], [output]),
        helper.make_node("Sub", [output, output], ["no_words"]),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("super_link", kind, [1, "image_slots", 8])],
        [helper.make_tensor_value_info(name, kind, [1, 77, 8]) for name in (output, "no_words")],
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


def write_decoder(path: Path, *, hw: tuple[int | str, int | str] = ("height", "width")) -> Path:
    """Write a `detection_decoder` whose one query sees the whole image and masks all but padding.

    A class's logit is the mean of its states. Mask features have a quarter of the canvas.
    """
    nodes = [
        helper.make_node("Constant", [], ["state_axes"], value_ints=[2, 3]),
        helper.make_node("Constant", [], ["axis"], value_ints=[1]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("ReduceMean", ["super_link", "state_axes"], ["logits"], keepdims=0),
        helper.make_node("Unsqueeze", ["logits", "axis"], ["pred_logits"]),
        *(
            helper.make_node(
                "Constant",
                [],
                [name],
                value=helper.make_tensor(name, TensorProto.FLOAT, shape, values),
            )
            for name, shape, values in (
                ("pred_boxes", [1, 1, 4], [0.5, 0.5, 1, 1]),
                ("mask_queries", [1, 1, 1], [1]),
            )
        ),
        helper.make_node("Cast", ["pixel_mask"], ["shares"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["shares", "axis"], ["plane"]),
        helper.make_node("MaxPool", ["plane"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Sub", ["pooled", "half"], ["mask_features"]),
    ]
    inputs = {
        "maps.0": (TensorProto.FLOAT, [1, 3, "map_h.0", "map_w.0"]),
        "pixel_mask": (TensorProto.BOOL, [1, *hw]),
        "super_link": (TensorProto.FLOAT, [1, "classes", 4, 8]),
        "class_mask": (TensorProto.BOOL, [1, "classes"]),
    }
    outputs = {
        "pred_logits": [1, 1, "classes"],
        "pred_boxes": [1, 1, 4],
        "mask_queries": [1, 1, 1],
        "mask_features": [1, 1, "mask_h", "mask_w"],
    }
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info(name, *one) for name, one in inputs.items()],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, one)
            for name, one in outputs.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return path
