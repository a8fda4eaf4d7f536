"""The optional parts of a network, in one table that all others read.

The network, its configuration, the loaders, the exporter, `without` and the check that engines are
complete read it, so that a new decoder is one row here and its folder. Knows no tensor library.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vl2_ros.errors import ConfigError
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.pose.config import PoseConfig
from vl2_ros.structures import Route

#: Graphs (of `graphs.GRAPHS`) that every network has.
CORE_GRAPHS = ("vision_encoder", "language_model")
#: Graph of image generation and editing where their folder has a checker of images.
SAFETY_CHECKER = "safety_checker"

DecoderConfig = DetectionConfig | PoseConfig | DiffusionConfig


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a network.

    Attributes:
        name: attribute of `VisionLLM`, first name of its tensors, and name of its (last) engine;
            it is loaded alone under this name, and switched off by it.
        config_field: field of `ModelConfig`, None or False where the network lacks the part.
        config: class of that field's value; None for a switch.
        graphs: those of `graphs.GRAPHS` that execute it.
        routes: what it serves.
        query_table: table of the super link that fills the slots of these routes.
        read_from: graph that gives more outputs where the network has this part.
        image_kind: `generation` or `editing` for image generation and editing, else empty.
        release_switch: name of its switch in a released `config.json`.
        release_config: name of the object with its sizes there; empty for a switch alone.
        backbone: of a perception decoder, the graph of its image branch; the other one is named as
            the part.
        optional_graphs: those that some checkpoints with the part have.
        library: package that it needs besides those of every network.
        extra: what of vl2_ros brings that package.
    """

    name: str
    config_field: str
    config: type[DecoderConfig] | None
    graphs: tuple[str, ...]
    release_switch: str
    release_config: str = ""
    routes: tuple[Route, ...] = ()
    query_table: str = ""
    read_from: str = ""
    image_kind: str = ""
    backbone: str = ""
    optional_graphs: tuple[str, ...] = ()
    library: str = ""
    extra: str = ""

    def name_engine(self, graph: str) -> str:
        """Return the name of the engine that executes one of the part's graphs.

        Image generation and editing have graphs of the same names, with weights of their own.
        """
        return f"{self.name}.{graph}" if self.image_kind else graph

    def owns(self, engine: str) -> bool:
        """Return whether an engine is the part's."""
        graphs = (*self.graphs, *self.optional_graphs)
        return engine in map(self.name_engine, graphs)


_GENERATION_GRAPHS = ("prompt_mapper", "denoiser", "vae_decoder")
_ROWS = (
    Part(
        "region_encoder",
        config_field="use_region_encoder",
        config=None,
        graphs=("region_encoder",),
        read_from="vision_encoder",
        release_switch="use_region_encoder",
    ),
    Part(
        "detection_decoder",
        config_field="detection",
        config=DetectionConfig,
        graphs=("detection_backbone", "detection_decoder"),
        backbone="detection_backbone",
        routes=(Route.DETECT, Route.GROUND, Route.SEGMENT),
        query_table="det",
        release_switch="use_gdino",
        release_config="gdino_config",
    ),
    Part(
        "pose_decoder",
        config_field="pose",
        config=PoseConfig,
        graphs=("pose_backbone", "pose_decoder"),
        backbone="pose_backbone",
        routes=(Route.POSE,),
        query_table="pose",
        release_switch="use_unipose",
        release_config="unipose_config",
    ),
    Part(
        "image_generation",
        config_field="image_generation",
        config=DiffusionConfig,
        graphs=_GENERATION_GRAPHS,
        routes=(Route.GENERATE,),
        query_table="gen",
        image_kind="generation",
        release_switch="use_sd",
        release_config="sd_config",
        optional_graphs=(SAFETY_CHECKER,),
        library="diffusers",
        extra="diffusion",
    ),
    Part(
        "image_editing",
        config_field="image_editing",
        config=DiffusionConfig,
        graphs=(*_GENERATION_GRAPHS, "vae_encoder"),
        routes=(Route.EDIT,),
        query_table="edit",
        image_kind="editing",
        release_switch="use_ip2p",
        release_config="ip2p_config",
        optional_graphs=(SAFETY_CHECKER,),
        library="diffusers",
        extra="diffusion",
    ),
)

#: Name -> row, in the order in which a network is made.
PARTS: Mapping[str, Part] = {part.name: part for part in _ROWS}
#: Decoders of things in images.
PERCEPTION_PARTS: Mapping[str, Part] = {
    name: part for name, part in PARTS.items() if part.routes and not part.image_kind
}
#: Graph of a perception decoder -> its part.
PERCEPTION_GRAPHS: Mapping[str, Part] = {
    graph: part for part in PERCEPTION_PARTS.values() for graph in part.graphs
}
#: Image generation and editing.
IMAGE_PARTS: Mapping[str, Part] = {name: part for name, part in PARTS.items() if part.image_kind}
#: Route -> the part that serves it.
ROUTE_PARTS: Mapping[Route, Part] = {
    route: part for part in PARTS.values() for route in part.routes
}
#: Routes whose answers are images.
IMAGE_ROUTES = tuple(route for route, part in ROUTE_PARTS.items() if part.image_kind)


def graph_of(engine: str) -> str:
    """Return the name in the graph table of an engine such as `image_editing.denoiser`."""
    return engine.rpartition(".")[2]


def check_part_names(names: Collection[str], source: str = "") -> None:
    """Check that all names are parts of the table.

    Args:
        names: to check.
        source: the option or argument that they come from, for the message.

    Raises:
        ConfigError: if one is no part.
    """
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        found = f"{source} names" if source else "unknown parts"
        raise ConfigError(f"{found} {unknown}; expected some of {', '.join(PARTS)}")
