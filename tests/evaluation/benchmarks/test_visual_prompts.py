from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.visual_prompts import make_prompt
from vl2_ros.structures import PromptKind

KINDS = [PromptKind.POINT, PromptKind.BOX, PromptKind.SCRIBBLE, PromptKind.MASK]


def draw(*boxes: tuple[int, int, int, int], side: int = 40) -> np.ndarray:
    mask = np.zeros((side, side + 10), np.bool_)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


def test_prompts_of_a_rectangle() -> None:
    mask = draw((10, 4, 31, 13))
    point = make_prompt(PromptKind.POINT, mask).points_xy
    assert point[0, 1] == 8.5
    assert 14 <= point[0, 0] <= 27
    assert make_prompt(PromptKind.BOX, mask).points_xy.tolist() == [[10, 4], [31, 13]]
    stroke = make_prompt(PromptKind.SCRIBBLE, mask).points_xy
    assert stroke[:, 1].tolist() == [8.5] * 9
    assert (stroke[0, 0], stroke[-1, 0]) == (10.5, 30.5)
    assert np.array_equal(make_prompt(PromptKind.MASK, mask).decode_mask(), mask)


def test_a_point_lies_in_the_largest_part() -> None:
    mask = draw((0, 0, 3, 3), (20, 20, 29, 29))
    assert make_prompt(PromptKind.POINT, mask).points_xy.tolist() == [[24.5, 24.5]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_prompts_lie_in_the_image_and_points_on_the_object(kind: PromptKind, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(0, 41, (3, 2, 2)), axis=1)
    mask = draw(*[(x1, y1, x2 + 1, y2 + 1) for (x1, y1), (x2, y2) in corners])
    mask[rng.integers(0, 40), rng.integers(0, 50)] = True
    prompt = make_prompt(kind, mask)
    prompt.check_inside(mask.shape)
    if kind in (PromptKind.POINT, PromptKind.SCRIBBLE):
        assert all(mask[int(y), int(x)] for x, y in prompt.points_xy)
    again = make_prompt(kind, mask)
    assert np.array_equal(again.points_xy, prompt.points_xy)


@pytest.mark.parametrize("kind", KINDS)
def test_one_pixel_is_enough_and_none_is_refused(kind: PromptKind) -> None:
    mask = draw()
    with pytest.raises(InputError, match="empty"):
        make_prompt(kind, mask)
    mask[39, 49] = True
    make_prompt(kind, mask).check_inside(mask.shape)
