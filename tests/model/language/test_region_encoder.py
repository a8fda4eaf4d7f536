from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vl2_ros.errors import ShapeError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.region_encoder import RegionEncoder

CONFIG = ModelConfig.tiny(with_detection=False)
SIDE, GRID, WIDTH = CONFIG.vision["image_size"], CONFIG.vision_grid, CONFIG.vision["hidden_size"]


@pytest.fixture
def encoder() -> RegionEncoder:
    torch.manual_seed(0)
    return RegionEncoder(CONFIG).eval()


def random_inputs(count: int) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    pixels = torch.randn(count, 3, SIDE, SIDE)
    masks = (torch.rand(count, SIDE, SIDE) < 0.1).float()
    return pixels, masks, [torch.randn(count, WIDTH, GRID, GRID) for _ in range(3)]


def test_pooling_equals_reading_every_pixel(encoder: RegionEncoder):
    pixels, masks, maps = random_inputs(1)
    masks[0, 0, 0] = masks[0, -1, -1] = 1
    rows, columns = masks[0].nonzero(as_tuple=True)
    grid = 2 * torch.stack([columns, rows], dim=1).float() / SIDE - 1
    level, readings = encoder.embed_masks(pixels, masks), []
    for region_map in maps:
        level = level + region_map
        sampled = F.grid_sample(level, grid[None, None], align_corners=False)
        readings.append(encoder.up_dim(sampled[0, :, 0].mean(dim=1)))
    expected = torch.stack(readings).mean(dim=0)
    torch.testing.assert_close(encoder(pixels, masks, maps)[0], expected, atol=1e-5, rtol=0)


def test_empty_mask_gives_the_bias_and_leaves_the_others_alone(encoder: RegionEncoder):
    pixels, masks, maps = random_inputs(3)
    masks[0] = 0
    features = encoder(pixels, masks, maps)
    torch.testing.assert_close(features[0], encoder.up_dim.bias)
    for region in (1, 2):
        alone = encoder(
            pixels[region : region + 1],
            masks[region : region + 1],
            [region_map[region : region + 1] for region_map in maps],
        )
        torch.testing.assert_close(features[region], alone[0], atol=1e-5, rtol=0)


def test_first_points_rule_counts_row_by_row(encoder: RegionEncoder):
    pixels, _, maps = random_inputs(1)
    full = torch.ones(1, SIDE, SIDE)
    everything = encoder(pixels, full, maps)
    torch.testing.assert_close(encoder(pixels, full, maps, SIDE * SIDE), everything)
    assert not torch.allclose(encoder(pixels, full, maps, SIDE), everything, atol=1e-4)


def test_bool_masks_are_taken(encoder: RegionEncoder):
    pixels, masks, maps = random_inputs(1)
    assert torch.equal(encoder(pixels, masks.bool(), maps), encoder(pixels, masks, maps))


def test_mask_of_another_size_is_refused(encoder: RegionEncoder):
    pixels, masks, maps = random_inputs(1)
    with pytest.raises(ShapeError, match="masks must be"):
        encoder(pixels, masks[:, :-1], maps)
