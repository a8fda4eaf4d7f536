"""The executable graphs of the network, in one table: tensor names, dtypes, axes, tolerances.

Exporter, loaders, builder and tests read it, so that a name is written once. Knows no tensor
library. An axis is a number where every checkpoint has the same, else a letter or a word: those of
`DYNAMIC_AXES` change from call to call within the range of a profile, all others are fixed by the
checkpoint or, for images, by the profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

Axis = int | str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a graph.

    Attributes:
        name: public name.
        dtype: numpy's name of it, for the float32 form of the graph.
        axes: sizes or names of the axes.
        narrows: whether the float16 form of the graph has it as float16. All others keep their
            dtype, whatever the precision inside: they are small, and the caller need not know.
        is_layered: whether there is one for each layer of the language model, or for each map of a
            decoder's image branch, see `with_layers`.
        layer_axes: axes whose sizes differ from layer to layer.
    """

    name: str
    dtype: str
    axes: tuple[Axis, ...]
    narrows: bool = False
    is_layered: bool = False
    layer_axes: tuple[str, ...] = ()

    def take_layer(self, layer: int) -> TensorSpec:
        """Return that of one layer: `maps` becomes `maps.0`, and its axis `map_h` `map_h.0`."""
        axes = (f"{axis}.{layer}" if axis in self.layer_axes else axis for axis in self.axes)
        return TensorSpec(f"{self.name}.{layer}", self.dtype, tuple(axes), self.narrows)

    def dtype_at(self, precision: str) -> str:
        """Return the dtype in the `float32` or `float16` form of the graph."""
        return precision if self.narrows else self.dtype


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One executable graph.

    Attributes:
        name: public name; also the stem of its files.
        inputs: in the order of the module's arguments.
        outputs: in the order in which the module returns them.
        tolerance: largest difference of an output from float32 torch on the CPU that an engine
            may have, as a share of the output's largest value, for each precision.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tolerance: Mapping[str, float]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(one.name for one in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(one.name for one in self.outputs)

    @property
    def is_layered(self) -> bool:
        """Return whether it has tensors for each layer or map of the network."""
        return any(one.is_layered for one in (*self.inputs, *self.outputs))


#: Axes that change from call to call -> what they count.
DYNAMIC_AXES: Mapping[str, str] = {
    "rows": "commands, or images of cameras, that go through one call",
    "tiles": "tiles that the images of a command are cut into",
    "regions": "regions that a command points at",
    "classes": "slot groups that the answer opened for the decoder",
    "keypoints": "slot groups of keypoint names",
    "tokens": "positions fed to the language model in one call",
    "past": "positions in its key-value cache before the call",
    "images": "rows of a denoising step: 1, 2 or 3 with guidance",
}

#: Axes of each map of a decoder's image branch, with its number behind: `map_h.0`.
MAP_AXES = ("map_width", "map_h", "map_w")

_TOLERANCE = {"float32": 1e-4, "float16": 2e-2}
#: Precisions of weights that are whole numbers; activations stay floats.
QUANTISED = ("int8", "int4")
#: Their numbers differ; what counts beside these is the answers, which have a gate of their own.
_LANGUAGE_TOLERANCE = {**_TOLERANCE, "int8": 8e-2, "int4": 4e-1}

_MAPS = TensorSpec(
    "maps", "float32", ("rows", *MAP_AXES), narrows=True, is_layered=True, layer_axes=MAP_AXES
)
_PIXELS = TensorSpec("pixels", "float32", ("rows", 3, "height", "width"))
_PIXEL_MASK = TensorSpec("pixel_mask", "bool", ("rows", "height", "width"))
_SUPER_LINK = TensorSpec("super_link", "float32", ("rows", "classes", "slots", "llm_width"))
_CLASS_MASK = TensorSpec("class_mask", "bool", ("rows", "classes"))
_PRED_LOGITS = TensorSpec("pred_logits", "float32", ("rows", "queries", "classes"))
_PRED_BOXES = TensorSpec("pred_boxes", "float32", ("rows", "queries", 4))
_TILES = TensorSpec("pixels", "float32", ("tiles", 3, "tile_side", "tile_side"))
_REGION_MAPS = TensorSpec("region_maps", "float32", (3, "tiles", "vision_width", "grid", "grid"))


def _cache(name: str, length: str) -> TensorSpec:
    axes = ("rows", "heads", length, "head_width")
    return TensorSpec(name, "float32", axes, narrows=True, is_layered=True)


GRAPHS: Mapping[str, GraphSpec] = {
    spec.name: spec
    for spec in (
        # Vision tower and projector; for models with a region encoder see `with_region_maps`.
        GraphSpec(
            "vision_encoder",
            (_TILES,),
            (TensorSpec("image_tokens", "float32", ("image_tokens", "llm_width")),),
            _TOLERANCE,
        ),
        # A mask is 0 or 1, on the whole image; its tile is the last one of that image.
        GraphSpec(
            "region_encoder",
            (
                *(_TILES, _REGION_MAPS),
                TensorSpec("masks", "float32", ("regions", "tile_side", "tile_side")),
                TensorSpec("tile_index", "int64", ("regions",)),
            ),
            (TensorSpec("region_features", "float32", ("regions", "llm_width")),),
            _TOLERANCE,
        ),
        # Prefill (past 0) and step are calls of one graph; embeddings are looked up outside. A
        # position whose mask is false is padding, or was taken back: no other one sees it, and it
        # does not count where later ones stand.
        GraphSpec(
            "language_model",
            (
                TensorSpec("input_embeds", "float32", ("rows", "tokens", "llm_width")),
                TensorSpec("token_mask", "bool", ("rows", "tokens")),
                TensorSpec("past_mask", "bool", ("rows", "past")),
                _cache("past_keys", "past"),
                _cache("past_values", "past"),
            ),
            (
                TensorSpec("logits", "float32", ("rows", "tokens", "vocabulary")),
                TensorSpec("hidden", "float32", ("rows", "tokens", "llm_width")),
                _cache("keys", "total"),
                _cache("values", "total"),
            ),
            _LANGUAGE_TOLERANCE,
        ),
        # The image branch of the detection decoder: what does not depend on the words.
        GraphSpec("detection_backbone", (_PIXELS,), (_MAPS,), _TOLERANCE),
        # The product of mask_queries and mask_features is the mask logits.
        GraphSpec(
            "detection_decoder",
            (_MAPS, _PIXEL_MASK, _SUPER_LINK, _CLASS_MASK),
            (
                *(_PRED_LOGITS, _PRED_BOXES),
                TensorSpec("mask_queries", "float32", ("rows", "queries", "mask_width")),
                TensorSpec("mask_features", "float32", ("rows", "mask_width", "mask_h", "mask_w")),
            ),
            _TOLERANCE,
        ),
        GraphSpec("pose_backbone", (_PIXELS,), (_MAPS,), _TOLERANCE),
        GraphSpec(
            "pose_decoder",
            (
                *(_MAPS, _PIXEL_MASK, _SUPER_LINK, _CLASS_MASK),
                TensorSpec("keypoint_link", "float32", ("rows", "keypoints", "slots", "llm_width")),
                TensorSpec("keypoint_mask", "bool", ("rows", "keypoints")),
            ),
            (
                *(_PRED_LOGITS, _PRED_BOXES),
                TensorSpec("pred_keypoints", "float32", ("rows", "queries", "keypoints", 2)),
            ),
            _TOLERANCE,
        ),
        # Super-link states of [GEN] or [EDIT] to what stands in for a text's embedding; for what
        # guidance compares it with see `with_no_words`.
        GraphSpec(
            "prompt_mapper",
            (TensorSpec("super_link", "float32", (1, "image_slots", "llm_width")),),
            (TensorSpec("prompt_embeds", "float32", (1, 77, "text_width")),),
            _TOLERANCE,
        ),
        # One denoising step; latents have 4 channels to generate, 8 to edit.
        GraphSpec(
            "denoiser",
            (
                TensorSpec(
                    "latents", "float32", ("images", "latent_width", "latent_h", "latent_w")
                ),
                TensorSpec("timestep", "float32", (1,)),
                TensorSpec("prompt_embeds", "float32", ("images", 77, "text_width")),
            ),
            (TensorSpec("noise", "float32", ("images", 4, "latent_h", "latent_w")),),
            _TOLERANCE,
        ),
        # Pixels in -1..1; latents unscaled, the encoder gives their mode.
        GraphSpec(
            "vae_encoder",
            (TensorSpec("pixels", "float32", (1, 3, "height", "width")),),
            (TensorSpec("latents", "float32", (1, 4, "latent_h", "latent_w")),),
            _TOLERANCE,
        ),
        GraphSpec(
            "vae_decoder",
            (TensorSpec("latents", "float32", (1, 4, "latent_h", "latent_w")),),
            (TensorSpec("pixels", "float32", (1, 3, "height", "width")),),
            _TOLERANCE,
        ),
        # CLIP's pixels of a generated image; by how much it is over the limit of each concept, and
        # of those that make the limits of all others lower.
        GraphSpec(
            "safety_checker",
            (TensorSpec("pixels", "float32", (1, 3, "checker_side", "checker_side")),),
            (
                TensorSpec("concept_margins", "float32", (1, "concepts")),
                TensorSpec("special_margins", "float32", (1, "special_concepts")),
            ),
            _TOLERANCE,
        ),
    )
}


def with_region_maps(spec: GraphSpec) -> GraphSpec:
    """Add the region encoder's inputs to the outputs of the vision encoder."""
    return replace(spec, outputs=(*spec.outputs, _REGION_MAPS))


def with_no_words(spec: GraphSpec) -> GraphSpec:
    """Add the embedding of the empty text, always the same, to the outputs of a prompt mapper."""
    no_words = TensorSpec("no_words", "float32", (1, 77, "text_width"))
    return replace(spec, outputs=(*spec.outputs, no_words))


def with_layers(spec: GraphSpec, layers: int) -> GraphSpec:
    """Replace a tensor of each layer by as many: `keys` by `keys.0`, `keys.1` and so on."""

    def spread(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(
            part
            for one in tensors
            for part in (map(one.take_layer, range(layers)) if one.is_layered else (one,))
        )

    if not spec.is_layered:
        return spec
    return replace(spec, inputs=spread(spec.inputs), outputs=spread(spec.outputs))


def match_layers(spec: GraphSpec, names: Iterable[str]) -> GraphSpec:
    """Do `with_layers` for as many layers as a file has, at least one.

    Args:
        spec: row of the table.
        names: of the file's inputs and outputs.
    """
    tensors = (*spec.inputs, *spec.outputs)
    first = next((one.name for one in tensors if one.is_layered), "")
    layers = sum(name.startswith(f"{first}.") for name in names)
    return with_layers(spec, max(1, layers))


def layer_names(name: str, layers: int) -> tuple[str, ...]:
    """Return the names of a tensor that each layer has."""
    return tuple(f"{name}.{layer}" for layer in range(layers))
