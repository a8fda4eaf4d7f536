"""The modules of the graph table, out of VisionLLM: tensors in and out in the table's order.

One small module per graph, so that eager engines and the exporter run the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from vl2_ros.errors import ConfigError
from vl2_ros.model.graphs import (
    GRAPHS,
    GraphSpec,
    with_layers,
    with_no_words,
    with_region_maps,
)
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import (
    CORE_GRAPHS,
    IMAGE_PARTS,
    PERCEPTION_GRAPHS,
    SAFETY_CHECKER,
    graph_of,
)

if TYPE_CHECKING:
    from vl2_ros.model.detection.decoder import DetectionDecoder
    from vl2_ros.model.pose.decoder import PoseDecoder

#: Rotary embeddings whose frequencies change with the length of the sequence.
_CHANGING_ROPE = ("dynamic", "longrope")


class VisionEncoderGraph(nn.Module):
    """Tiles to tokens of the LLM and, where the model has a region encoder, its maps."""

    def __init__(self, model: VisionLLM) -> None:
        """Store only the parts that are used, so that changes of this module affect no others."""
        super().__init__()
        self.vision_encoder, self.projector = model.vision_encoder, model.projector
        self._encode = model.encode_images

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Encode n tiles (n, 3, S, S): (n * N, C) and maybe maps (L, n, Cv, g, g)."""
        features = self._encode(pixels)
        tokens = features.image_tokens.flatten(0, 1)
        maps = features.region_maps
        return (tokens, torch.stack(maps)) if maps else (tokens,)


class RegionEncoderGraph(nn.Module):
    """Regions on encoded tiles to one token of the LLM each."""

    def __init__(self, model: VisionLLM) -> None:
        """Keep the encoder.

        Raises:
            ConfigError: if it has no region encoder.
        """
        super().__init__()
        if model.region_encoder is None:
            raise ConfigError("the checkpoint has no region encoder")
        self.region_encoder = model.region_encoder
        self._encode = model.encode_regions

    def forward(
        self, pixels: Tensor, region_maps: Tensor, masks: Tensor, tile_index: Tensor
    ) -> tuple[Tensor]:
        """Encode R regions (R, S, S): (R, C)."""
        maps = region_maps.unbind(0)
        return (self._encode(pixels, masks, maps, tile_index),)


class LanguageGraph(nn.Module):
    """The LLM with its key-value cache as plain tensors, one call for prompts and for steps.

    Which position sees which, and the rotary angles, come from the masks.
    """

    def __init__(self, model: VisionLLM) -> None:
        """Keep the LLM.

        Raises:
            ConfigError: if its rotary embedding changes with the length of the sequence.
        """
        super().__init__()
        self.llm: LlamaForCausalLM = model.llm
        kind = self.llm.model.rotary_emb.rope_type
        if kind in _CHANGING_ROPE:
            raise ConfigError(
                f"rotary embeddings of type {kind!r} change with the length of the sequence; "
                "expected default, linear, llama3 or yarn for a graph with a cache"
            )

    def forward(
        self, input_embeds: Tensor, token_mask: Tensor, past_mask: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        """Append T positions to a cache of P positions; P may be 0.

        Args:
            input_embeds: (B, T, C).
            token_mask: (B, T) bool, false for a position that no other one shall see.
            past_mask: (B, P) bool, the same of those in the cache.
            past: keys of each layer (B, heads, P, d), then values of each layer.

        Returns:
            Logits (B, T, V) float32, states (B, T, C) after the final norm, and of all P + T
            positions the keys of each layer, then the values of each layer.
        """
        network = self.llm.model
        hidden = input_embeds.to(self.llm.lm_head.weight.dtype)
        is_seen = _list_seen(token_mask, past_mask)
        # A position stands behind as many as it sees, itself not counted.
        positions = is_seen.sum(dim=-1) - 1
        blocked = torch.zeros_like(is_seen, dtype=hidden.dtype)
        blocked = blocked.masked_fill(~is_seen, torch.finfo(hidden.dtype).min)
        angles = network.rotary_emb(hidden, positions)
        layers = len(network.layers)
        cache = _CacheTensors(past[:layers], past[layers:])
        for layer in network.layers:
            hidden = layer(
                hidden,
                attention_mask=blocked[:, None],
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                position_embeddings=angles,
            )
        hidden = network.norm(hidden)
        logits = self.llm.lm_head(hidden).float()
        return logits, hidden, *cache.keys, *cache.values


def _list_seen(token_mask: Tensor, past_mask: Tensor) -> Tensor:
    """Return (B, T, P + T): which positions each of the T sees, those up to itself."""
    fed, past = token_mask.shape[1], past_mask.shape[1]
    rows = torch.arange(past, past + fed, device=token_mask.device)
    columns = torch.arange(past + fed, device=token_mask.device)
    is_reached = columns[None, :] <= rows[:, None]
    return torch.cat([past_mask, token_mask], dim=1)[:, None] & is_reached


class _CacheTensors:
    """The part of transformers' `Cache` that a layer needs: its past, joined with its own."""

    def __init__(self, past_keys: Sequence[Tensor], past_values: Sequence[Tensor]) -> None:
        self._past_keys, self._past_values = past_keys, past_values
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, heads, P + T, d) of a layer; layers come in order."""
        assert layer == len(self.keys)
        self.keys.append(torch.cat([self._past_keys[layer].to(keys.dtype), keys], dim=2))
        self.values.append(torch.cat([self._past_values[layer].to(values.dtype), values], dim=2))
        return self.keys[layer], self.values[layer]


class BackboneGraph(nn.Module):
    """The image branch of a perception decoder: pixels to maps, whatever the words."""

    def __init__(self, model: VisionLLM, part: str) -> None:
        """Store only the modules that are used.

        Args:
            model: the network.
            part: one of `PERCEPTION_PARTS`.

        Raises:
            ConfigError: if the network has none.
        """
        super().__init__()
        decoder = _find_decoder(model, part)
        for name, module in decoder.image_parts.items():
            self.add_module(name, module)
        self._encode = decoder.encode_image

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Encode images (B, 3, H, W): maps (B, D, h, w), see `SceneEncoder.encode_image`."""
        return self._encode(pixels)


class DecoderGraph(nn.Module):
    """A perception decoder behind its image branch, on the images of a batch.

    Its decoder's `decode_maps` has arguments, and the output has attributes, of the names in the
    graph table.
    """

    def __init__(self, model: VisionLLM, part: str) -> None:
        """Keep the decoder; arguments and errors are those of `BackboneGraph`."""
        super().__init__()
        self.decoder = _find_decoder(model, part)
        self._spec, self._maps = GRAPHS[part], self.decoder.config.map_count

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the decoder; inputs and outputs in the order of the table."""
        maps, others = inputs[: self._maps], inputs[self._maps :]
        names = self._spec.input_names[1:]
        found = self.decoder.decode_maps(maps, **dict(zip(names, others, strict=True)))
        return tuple(getattr(found, name) for name in self._spec.output_names)


def _find_decoder(model: VisionLLM, part: str) -> DetectionDecoder | PoseDecoder:
    decoder = getattr(model, part)
    if decoder is None:
        raise ConfigError(f"the checkpoint has no {part.replace('_', ' ')}")
    return decoder


_MODULES: Mapping[str, Callable[[VisionLLM], nn.Module]] = {
    "vision_encoder": VisionEncoderGraph,
    "region_encoder": RegionEncoderGraph,
    "language_model": LanguageGraph,
    **{
        graph: partial(BackboneGraph if graph == part.backbone else DecoderGraph, part=part.name)
        for graph, part in PERCEPTION_GRAPHS.items()
    },
}


def build_graph(model: VisionLLM, name: str) -> nn.Module:
    """Make the module of a graph; it shares the network's weights.

    Args:
        model: the network, in evaluation mode.
        name: of an engine of `VisionLLM`, such as `detection_decoder` or `image_editing.denoiser`.

    Raises:
        CheckpointError: if a safety checker is missing though named, or damaged.
        ConfigError: if there is no such graph or the checkpoint lacks the part.
    """
    for part in IMAGE_PARTS.values():
        if part.owns(name) and (network := getattr(model, part.name)) is not None:
            # Its libraries take a while to import.
            from vl2_ros.model.diffusion.graphs import build_diffusion_graph

            return build_diffusion_graph(graph_of(name), network)
    if name not in _MODULES:
        raise ConfigError(
            f"no graph {name!r} in this network; expected one of {', '.join(list_graphs(model))}"
        )
    return _MODULES[name](model).eval()


def spec_of(model: VisionLLM, name: str) -> GraphSpec:
    """Return the row of the table for this network: `build_graph` gives its outputs in order."""
    spec = GRAPHS[graph_of(name)]
    if name == "vision_encoder" and model.region_encoder is not None:
        return with_region_maps(spec)
    if spec.name == "prompt_mapper":
        return with_no_words(spec)
    if name in PERCEPTION_GRAPHS:
        return with_layers(
            spec, _find_decoder(model, PERCEPTION_GRAPHS[name].name).config.map_count
        )
    return with_layers(spec, model.llm.config.num_hidden_layers) if spec.is_layered else spec


def _has_part(model: VisionLLM, graph: str) -> bool:
    part = PERCEPTION_GRAPHS.get(graph)
    return getattr(model, graph if part is None else part.name) is not None


def list_graphs(model: VisionLLM) -> tuple[str, ...]:
    """Return the names of the network's engines, in the order of the table.

    Raises:
        CheckpointError: if a safety checker is missing though named.
    """
    names = [name for name in _MODULES if name in CORE_GRAPHS or _has_part(model, name)]
    for part in IMAGE_PARTS.values():
        network = getattr(model, part.name)
        if network is None:
            continue
        is_checked = network.folder is not None and network.folder.find_safety() is not None
        graphs = (*part.graphs, *((SAFETY_CHECKER,) if is_checked else ()))
        names += [part.name_engine(graph) for graph in graphs]
    return tuple(names)
