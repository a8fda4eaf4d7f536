from __future__ import annotations

import pytest
import torch

from vl2_ros.errors import InputError
from vl2_ros.model.language.image_rows import gather_rows, pad_images, pair_regions


def tiles(count: int, value: float = 0.0) -> torch.Tensor:
    return torch.full((count, 3, 4, 4), value)


def test_rows_without_image_tokens_are_skipped_with_their_tiles():
    batch = gather_rows([tiles(2, 1.0), tiles(1, 9.0), tiles(1, 2.0)[0]], [8, 0, 4], 4)
    assert batch.pixels[:, 0, 0, 0].tolist() == [1.0, 1.0, 2.0]
    assert batch.starts == (0, None, 2)
    assert batch.counts == (2, 0, 1)


def test_text_only_batch_needs_no_encoder():
    assert gather_rows(None, [0, 0], 4) is None
    assert gather_rows(torch.zeros(2, 3, 4, 4), [0, 0], 4) is None


def test_one_tensor_is_one_tile_per_row():
    batch = gather_rows(torch.stack([tiles(1, 1.0)[0], tiles(1, 2.0)[0]]), [4, 4], 4)
    assert batch.counts == (1, 1)


@pytest.mark.parametrize("images", [[tiles(2)], [None], None])
def test_count_mismatch_names_the_row(images: list[torch.Tensor | None] | None):
    with pytest.raises(InputError, match="row 0 has 4 <im_patch> ids"):
        gather_rows(images, [4], 4)


def test_number_of_rows_must_agree():
    with pytest.raises(InputError, match="images for 2 rows, got 1"):
        gather_rows([tiles(1)], [4, 4], 4)


def test_regions_read_the_last_split_of_their_row():
    batch = gather_rows([tiles(3), None, tiles(1)], [12, 0, 4], 4)
    assert pair_regions(batch, [2, 0, 1]) == [2, 2, 3]


def test_regions_in_context_read_the_last_split_of_their_image():
    batch = gather_rows([tiles(4), tiles(5)], [16, 20], 4)
    assert pair_regions(batch, [1, 2], [[3, 1], [1, 3, 1]]) == [2, 4, 7]


def test_region_without_image_is_refused():
    batch = gather_rows([tiles(1), None], [4, 0], 4)
    with pytest.raises(InputError, match="row 1 has 1 regions but no image"):
        pair_regions(batch, [0, 1])


@pytest.mark.parametrize(("count", "splits"), [(1, [1, 1]), (2, [3]), (1, [])])
def test_splits_that_do_not_fit_are_refused(count: int, splits: list[int]):
    batch = gather_rows([tiles(3)], [12], 4)
    with pytest.raises(InputError, match="must add up"):
        pair_regions(batch, [count], [splits])


def test_padding_goes_right_and_below():
    pixels, mask = pad_images([torch.ones(3, 5, 33), torch.ones(3, 32, 8)])
    assert pixels.shape == (2, 3, 32, 64)
    assert mask.sum(dim=(1, 2)).tolist() == [5 * 33, 32 * 8]
    assert torch.equal(pixels[:, 0] > 0, mask)
