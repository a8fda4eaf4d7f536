"""Give a trained network a vision tower for larger images, with the weights that it has."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vl2_ros.errors import ConfigError
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig

_POSITIONS = "vision_encoder.embeddings.position_embedding.weight"


def enlarge_vision(network: VisionLLM, side: int) -> VisionLLM:
    """Return the network with tiles of another side, 2x2 tokens merged into one for the LLM.

    Positions are interpolated. The projector starts with the mean of the tokens that are merged, so
    that the LLM reads about what it read before. A network that has this side already, and merges,
    is returned as it is.

    Args:
        network: with a projector of linear layers; its other parts go into the result.
        side: of a tile, in pixels.

    Raises:
        ConfigError: if the side does not fit the patches, or the projector cannot take it.
    """
    config = network.config
    if config.use_pixel_shuffle:
        if config.vision["image_size"] == side:
            return network
        raise ConfigError(
            f"expected a network without merged tokens, or one of side {side}; got one of "
            f"{config.vision['image_size']} pixels with merged tokens"
        )
    larger = replace(config, vision={**config.vision, "image_size": side}, use_pixel_shuffle=True)
    result = VisionLLM(larger, network.tokens)
    states = network.state_dict()
    states[_POSITIONS] = interpolate_positions(states[_POSITIONS], larger.vision_grid)
    first = _find_first_layer(network.projector)
    states[f"projector.{first}"] = states[f"projector.{first}"].repeat(1, 4) / 4.0
    result.load_state_dict(states)
    return result


def _find_first_layer(projector: nn.Module) -> str:
    """Return the name of the weight that reads the tokens.

    Raises:
        ConfigError: if a norm comes before it, which would have to grow as well.
    """
    if isinstance(projector, nn.Linear):
        return "weight"
    if isinstance(projector, nn.Sequential) and isinstance(projector[0], nn.Linear):
        return "0.weight"
    raise ConfigError(
        "tokens can be merged for projectors that begin with a linear layer, such as mlp2x_gelu; "
        f"got {type(projector).__name__}"
    )


def interpolate_positions(table: Tensor, grid: int) -> Tensor:
    """Return the table of positions (1 + grid**2, C), class token first, for another grid."""
    old = round((len(table) - 1) ** 0.5)
    # (1, C, old, old)
    on_grid = table[1:].float().T.unflatten(1, (old, old))[None]
    new = nn.functional.interpolate(on_grid, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:1].float(), new[0].flatten(1).T]).to(table.dtype)


def enlarge_processing(processing: ProcessingConfig, network: VisionLLM) -> ProcessingConfig:
    """Return the processing settings for the tiles of a network."""
    return replace(
        processing,
        vision_side=network.config.vision["image_size"],
        vision_tokens=network.config.tokens_per_tile,
    )
