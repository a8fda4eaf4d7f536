"""Export a checkpoint as ONNX engines: graphs, embeddings and `engines.json`.

Graphs hold their weights, or lie beside the checkpoint's own and refer to them.
`runtime.engine_files` reads what is written here. Knows which sizes a network has, and which may
change from call to call.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.numpy import save_file

from vl2_ros.documents import is_file, write_whole
from vl2_ros.errors import ConfigError
from vl2_ros.export.full_size.mapped_network import MappedNetwork
from vl2_ros.export.onnx_export import MOST_INLINE_BYTES, OPSET, AxisSize, export_onnx
from vl2_ros.export.operator_check import check_operators
from vl2_ros.export.quantized.graph import OPSET as QUANTISED_OPSET
from vl2_ros.export.quantized.graph import quantise_graph
from vl2_ros.export.quantized.questions import measure_activations
from vl2_ros.export.store_files import describe_embeddings, hash_file
from vl2_ros.export.weight_storage import StoredWeights
from vl2_ros.loading import load_processing
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.checkpoint.shards import WEIGHT_FILES
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.decoders.scene_encoder import SceneEncoder
from vl2_ros.model.diffusion.graphs import size_diffusion_axes
from vl2_ros.model.graph_modules import build_graph, list_graphs, spec_of
from vl2_ros.model.graphs import GRAPHS, MAP_AXES, QUANTISED, GraphSpec
from vl2_ros.model.language.super_link import TABLES
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import PARTS, PERCEPTION_GRAPHS, SAFETY_CHECKER, graph_of
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.runtime.diffusion.safety import read_checked_images
from vl2_ros.runtime.files.engine_files import EMBEDDINGS, FILE_NAME, FORMAT, WEIGHTS_SUFFIX
from vl2_ros.runtime.files.weights_identity import identify_weights
from vl2_ros.runtime.language.graph_language import TOKEN_EMBEDDINGS

_log = logging.getLogger(__name__)

#: Default for the most regions of one command, and the most rows of one call.
_MOST_REGIONS, _MOST_ROWS = 16, 8
#: Rows of a denoising step: without guidance, of generation, of editing.
_IMAGES = (1, 2, 3)
_SIDES = ("height", "width")
#: Rows of a table that are compared at a time.
_BLOCK_ROWS = 1024
#: The file of weights in a checkpoint folder that graphs may refer to.
WEIGHTS = WEIGHT_FILES[0]
#: Table that is looked up outside of the graphs -> its name in the network and in that file.
_TABLES: Mapping[str, str] = {
    TOKEN_EMBEDDINGS: "llm.model.embed_tokens.weight",
    **{name: f"super_link.{name}.weight" for name in TABLES},
}


class GraphRequest(Protocol):
    """The settings of one graph."""

    @property
    def precision(self) -> str:
        """One that the graph table has a tolerance for."""

    @property
    def axes(self) -> Mapping[str, tuple[int, int, int]]:
        """Least, best and most of axes that change from call to call; others take defaults."""


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A graph at one precision with the default range of every axis.

    Attributes:
        precision: one that the graph table has a tolerance for.
        axes: ranges in place of the defaults.
    """

    precision: str = "float32"
    axes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def export_engines(
    weights: Path,
    out: Path,
    graphs: Mapping[str, GraphRequest] | None = None,
    *,
    decoder_hw: tuple[int, int] | None = None,
    generated_hw: tuple[int, int] | None = None,
    is_compact: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write ONNX engines of a checkpoint, with everything that answers without torch.

    Args:
        weights: a checkpoint folder, released or saved by vl2_ros.
        out: folder to write to; engines of the same names are replaced. In the checkpoint folder
            itself graphs and embeddings refer to its `model.safetensors`.
        graphs: name in the graph table -> its settings; one that the checkpoint lacks is skipped.
            None exports every graph of the checkpoint in float32.
        decoder_hw: height and width of the perception decoders' images, which then are fixed.
            None leaves them open where the backbone can (ResNet), and uses the sides that the
            model was trained on where not (Swin).
        generated_hw: height and width of generated and edited images, which are fixed; None: those
            that the denoiser was trained on.
        is_compact: see `export_onnx`; files for TensorRT are better without.
        progress: called with the name of each graph before it is exported.

    Returns:
        Path of `engines.json`, which is written last.

    Raises:
        CheckpointError: if the checkpoint is not complete.
        ConfigError: if none of the graphs is in it, a request cannot be used, or there is no one
            file of weights that graphs in the checkpoint folder could refer to.
        EngineError: if a graph cannot be exported, or has a node that TensorRT does not take.
    """
    out.mkdir(parents=True, exist_ok=True)
    stored = _open_weights(weights) if out.samefile(weights) else None
    processing = load_processing(weights)
    checkpoint = read_checkpoint_config(weights)
    config = checkpoint.model
    for name, reason in checkpoint.unavailable.items():
        if graphs is None or not {*PARTS[name].graphs}.isdisjoint(graphs):
            _log.warning("%s: no engines of %s: %s", weights, name, reason)
    entries: dict[str, Any] = {}
    for precision in ("float32", "float16"):
        requests = _requests_of(graphs, precision, is_compact)
        if not requests:
            continue
        parts = _parts_of(config, requests)
        # Graphs that refer to the weights of the checkpoint find them by their values.
        network = MappedNetwork(weights, parts) if stored is None else None
        dtype = getattr(torch, precision)
        model = load_model(weights, dtype=dtype, parts=parts) if network is None else network.model
        for name in list_graphs(model):
            request = requests.get(graph_of(name))
            if request is None:
                continue
            if progress is not None:
                progress(name)
            if graph_of(name) == name:
                sizes = fixed_axes(model) | _changing_axes(model, name, processing, decoder_hw)
            else:
                sizes = _size_generator(model, name, generated_hw)
            sizes |= dict(request.axes)
            sizes |= size_maps(model, name, sizes)
            options: dict[str, Any] = {"precision": precision, "is_compact": is_compact}
            options |= {"weights": stored, "network": network}
            entries[name] = (
                _export_quantised(weights, name, sizes, out, request.precision, options)
                if request.precision in QUANTISED
                else _export(model, name, sizes, out, **options)
            )
            if name == "language_model" and network is not None:
                _write_embeddings(network, out / EMBEDDINGS, dtype)
    if not entries:
        raise ConfigError(f"{weights} has none of the graphs {', '.join(graphs or ())}")
    document = {"format": FORMAT, "checkpoint": identify_weights(weights), "graphs": entries}
    if "language_model" in entries and stored is None:
        document["embeddings"] = describe_embeddings(out)
    elif "language_model" in entries:
        document["embeddings"] = _describe_file(weights / WEIGHTS) | {"tables": dict(_TABLES)}
    path = out / FILE_NAME
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def _requests_of(
    graphs: Mapping[str, GraphRequest] | None, precision: str, is_compact: bool
) -> Mapping[str, GraphRequest]:
    """Return the graphs that are made from the network of one precision."""
    if graphs is None:
        return _EVERYTHING if precision == "float32" else {}
    # Beside rounded weights TensorRT computes in float16, ONNX Runtime in float32.
    wide = "float32" if is_compact else "float16"
    return {
        name: one
        for name, one in graphs.items()
        if (wide if one.precision in QUANTISED else one.precision) == precision
    }


def _parts_of(config: ModelConfig, requests: Mapping[str, GraphRequest]) -> list[str]:
    """Return the parts of the network that the graphs need; others need not be read."""
    parts = (PARTS[name] for name in config.parts)
    # A graph gives more where the network has a part that reads it.
    return [
        part.name
        for part in parts
        if not {*part.graphs, *part.optional_graphs, part.read_from}.isdisjoint(requests)
    ]


_EVERYTHING: Mapping[str, GraphRequest] = {graph: PlainRequest() for graph in GRAPHS}


def fixed_axes(model: VisionLLM) -> dict[str, AxisSize]:
    """Return the sizes that a network gives the axes of its graphs."""
    config, llm = model.config, model.llm.config
    return {
        "tile_side": config.vision["image_size"],
        "vision_width": config.vision["hidden_size"],
        "grid": config.vision_grid,
        "llm_width": config.llm_width,
        "slots": config.num_embs,
        "layers": llm.num_hidden_layers,
        "heads": llm.num_key_value_heads,
        "head_width": llm.head_dim,
        "vocabulary": llm.vocab_size,
    }


def _changing_axes(
    model: VisionLLM,
    name: str,
    processing: ProcessingConfig,
    decoder_hw: tuple[int, int] | None,
) -> dict[str, AxisSize]:
    """Return the ranges of the other axes, and the image of a decoder."""
    sizes: dict[str, AxisSize] = {
        "rows": (1, 1, _MOST_ROWS),
        "tiles": (1, 1, processing.max_tiles + 1),
        "regions": (1, 1, _MOST_REGIONS),
        "tokens": (1, 1, processing.max_length),
        "past": (0, 128, processing.max_length),
        "classes": (1, 4, processing.max_classes),
        "keypoints": (1, 17, processing.max_keypoints),
    }
    if name not in PERCEPTION_GRAPHS:
        return sizes
    config = getattr(model.config, PERCEPTION_GRAPHS[name].config_field)
    sizes["classes"] = (1, 4, min(processing.max_classes, config.max_text_len))
    return sizes | _image_axes(config.backbone_config["model_type"], processing, decoder_hw)


def size_maps(model: VisionLLM, name: str, sizes: Mapping[str, AxisSize]) -> dict[str, AxisSize]:
    """Return the axes of the maps of a perception decoder; none of another graph.

    Args:
        model: the network.
        name: of a graph.
        sizes: of its other axes, height and width of the images among them.
    """
    if name not in PERCEPTION_GRAPHS:
        return {}
    decoder: SceneEncoder = getattr(model, PERCEPTION_GRAPHS[name].name)
    spans = [size if isinstance(size, tuple) else (size,) for size in map(sizes.get, _SIDES)]
    count = max(map(len, spans))
    hws = zip(*(span * count if len(span) < count else span for span in spans), strict=True)
    shapes = [decoder.list_map_shapes(hw) for hw in hws]
    axes: dict[str, AxisSize] = {}
    for index, of_map in enumerate(zip(*shapes, strict=True)):
        for axis, span in zip(MAP_AXES, zip(*of_map, strict=True), strict=True):
            axes[f"{axis}.{index}"] = span[0] if len(set(span)) == 1 else span
    return axes


def _size_generator(
    model: VisionLLM, name: str, generated_hw: tuple[int, int] | None
) -> dict[str, AxisSize]:
    """Return the axes of a graph of image generation or editing."""
    network = model.get_submodule(name.partition(".")[0])
    sizes: dict[str, AxisSize] = {**size_diffusion_axes(network, generated_hw), "images": _IMAGES}
    if graph_of(name) == SAFETY_CHECKER and (images := read_checked_images(network.folder)):
        sizes["checker_side"] = images.crop_hw[0]
    return sizes


def _image_axes(
    backbone: str, processing: ProcessingConfig, decoder_hw: tuple[int, int] | None
) -> dict[str, AxisSize]:
    step = processing.decoder_multiple
    trained = (processing.decoder_short, processing.decoder_long)
    padded = tuple(-(-side // step) * step for side in trained)
    if decoder_hw is None and backbone == "resnet":
        long = max(processing.decoder_long, processing.segment_long)
        most = -(-long // step) * step
        pairs = zip(_SIDES, padded, strict=True)
        return {side: (step, best, most) for side, best in pairs}
    return dict(zip(_SIDES, decoder_hw or padded, strict=True))


def _open_weights(folder: Path) -> StoredWeights:
    """Return the weights of a checkpoint that graphs beside them refer to."""
    if not is_file(folder / WEIGHTS):
        raise ConfigError(
            f"graphs in {folder} would refer to {WEIGHTS}, which is not there; save the checkpoint "
            "with vl2_ros as one file, or export to another folder"
        )
    return StoredWeights(folder / WEIGHTS)


def _export(
    model: VisionLLM,
    name: str,
    sizes: Mapping[str, AxisSize],
    out: Path,
    network: MappedNetwork | None,
    **options: Any,
) -> dict[str, Any]:
    """Write one graph, with its own weights alone in memory, and return its entry."""
    spec = spec_of(model, name)
    path = out / f"{name}.onnx"
    # An old weights file would stay beside a graph that does not need one.
    path.with_name(path.name + WEIGHTS_SUFFIX).unlink(missing_ok=True)
    module = build_graph(model, name) if network is None else network.build_graph(name)
    dtype = getattr(torch, options["precision"])
    if network is None:
        export_onnx(module, spec, sizes, path, **options)
    elif name == "language_model":
        with network.traced(module, dtype) as traced:
            export_onnx(module, spec, sizes, path, traced=traced, **options)
    else:
        with network.filled(module, dtype):
            export_onnx(module, spec, sizes, path, **options)
    entry = {
        **_describe_file(path),
        "precision": options["precision"],
        "opset": OPSET,
        "axes": {axis: _plain(sizes[axis]) for axis in _named_axes(name, spec)},
    }
    weights = path.with_name(path.name + WEIGHTS_SUFFIX)
    if options["weights"] is not None:
        entry["weights"] = _describe_file(options["weights"].path)
    elif weights.is_file():
        entry["weights"] = _describe_file(weights)
    return entry


def _export_quantised(
    checkpoint: Path,
    name: str,
    sizes: Mapping[str, AxisSize],
    out: Path,
    precision: str,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Write one graph with rounded weights, by way of a file that has them all."""
    path, is_compact = out / f"{name}.onnx", options["is_compact"]
    network = MappedNetwork(checkpoint, [])
    # Int8 is as close with each weight rounded alone.
    moments = measure_activations(network, checkpoint) if precision == "int4" else []
    options = {**options, "network": network, "weights": None}
    path.with_name(path.name + WEIGHTS_SUFFIX).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        entry = _export(network.model, name, sizes, Path(folder), **options)
        quantise_graph(
            Path(folder) / path.name,
            path,
            precision,
            form="integer" if is_compact else "widened",
            most_inline_bytes=MOST_INLINE_BYTES,
            moments=moments,
        )
    # The other form is ONNX Runtime's own.
    if not is_compact:
        check_operators(path)
    opset = {"precision": precision, "opset": QUANTISED_OPSET}
    entry = {**entry, **_describe_file(path), **opset}
    weights = path.with_name(path.name + WEIGHTS_SUFFIX)
    entry.pop("weights", None)
    return entry | ({"weights": _describe_file(weights)} if weights.is_file() else {})


def _describe_file(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": hash_file(path)}


def _named_axes(name: str, spec: GraphSpec) -> list[str]:
    axes = (axis for tensor in spec.inputs for axis in tensor.axes)
    named = [axis for axis in axes if isinstance(axis, str)]
    return list(dict.fromkeys([*named, *(["layers"] if name == "language_model" else [])]))


def _plain(size: AxisSize) -> int | list[int]:
    return size if isinstance(size, int) else list(size)


def _write_embeddings(network: MappedNetwork, path: Path, dtype: torch.dtype) -> None:
    """Write the tables that are looked up outside of the graphs, at half size where exact."""
    arrays = {}
    for name, parameter in _TABLES.items():
        wide = network.read(parameter, dtype)
        narrow = wide.half()
        blocks = zip(narrow.split(_BLOCK_ROWS), wide.split(_BLOCK_ROWS), strict=True)
        is_exact = all(torch.equal(one.float(), other.float()) for one, other in blocks)
        arrays[name] = (narrow if is_exact else wide.float()).numpy()
    write_whole(path, partial(save_file, arrays))
