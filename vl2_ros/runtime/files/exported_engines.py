"""Load a folder of engine files as the engines of the flow, with any inference library."""

from __future__ import annotations

from collections.abc import Callable

from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.runtime.engine import Engine, Engines, PerceptionDecoder
from vl2_ros.runtime.files.engine_files import EngineFile, EngineFiles
from vl2_ros.runtime.language.graph_language import GraphLanguageModel, load_embedding_tables

#: Loads one engine with a library, onto a device.
LoadEngine = Callable[[EngineFile], Engine]


def load_exported_engines(files: EngineFiles, tokens: TokenIds, load: LoadEngine) -> Engines:
    """Load the engines of a folder, with the decoders that it has.

    Args:
        files: from `read_engine_files`.
        tokens: ids of the special tokens.
        load: loads one engine.

    Raises:
        EngineError: if a file is missing, damaged or of another graph, or as `load` raises.
    """
    language = files.require("language_model")
    layers, heads, width = (language.fixed_size(axis) for axis in ("layers", "heads", "head_width"))
    regions = files.graphs.get("region_encoder")
    files.check_embeddings()
    tables = load_embedding_tables(files.embeddings, tokens, files.embeddings_tables)
    return Engines(
        vision_encoder=load(files.require("vision_encoder")),
        language_model=GraphLanguageModel(load(language), tables, (layers, heads, width)),
        decoders={
            name: PerceptionDecoder(load(files.require(part.backbone)), load(files.graphs[name]))
            for name, part in PERCEPTION_PARTS.items()
            if name in files.graphs
        },
        region_encoder=load(regions) if regions is not None else None,
    )
