"""A folder of engine files to the engines that the flow executes, whatever library runs them."""

from __future__ import annotations

from collections.abc import Callable

from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.runtime.engine import Engine, Engines
from vl2_ros.runtime.files.engine_files import EngineFile, EngineFiles
from vl2_ros.runtime.language.graph_language import GraphLanguageModel, load_embedding_tables

#: Loads one engine with a library, onto a device.
LoadEngine = Callable[[EngineFile], Engine]


def load_exported_engines(files: EngineFiles, tokens: TokenIds, load: LoadEngine) -> Engines:
    """Load the engines of a folder; a decoder that it lacks is None.

    Args:
        files: from `read_engine_files`.
        tokens: ids of the special tokens.
        load: loads one engine.

    Raises:
        EngineError: if a file is missing, damaged or holds another graph, or as `load` raises.
    """

    def find(graph: str) -> Engine | None:
        return load(files.graphs[graph]) if graph in files.graphs else None

    language = files.require("language_model")
    layers, heads, width = (language.fixed_size(axis) for axis in ("layers", "heads", "head_width"))
    files.check_embeddings()
    tables = load_embedding_tables(files.embeddings, tokens)
    return Engines(
        vision_encoder=load(files.require("vision_encoder")),
        language_model=GraphLanguageModel(load(language), tables, (layers, heads, width)),
        detection_decoder=find("detection_decoder"),
        region_encoder=find("region_encoder"),
        pose_decoder=find("pose_decoder"),
    )
