from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.structures import MaskCrop, RunLengths
from vl2_ros.views.result_json import encode_rle


@settings(deadline=None, max_examples=200)
@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 999),
)
def test_masks_come_back_and_counts_are_those_of_coco(height, width, share, seed):
    mask = np.random.default_rng(seed).random((height, width)) < share
    counts = RunLengths.encode(mask).counts
    assert counts.dtype == np.uint32
    flat = np.concatenate([[False], mask.ravel(order="F")])
    borders = np.flatnonzero(flat[1:] != flat[:-1])
    wanted = np.diff(np.concatenate([[0], borders, [mask.size]])).tolist()
    assert counts.tolist() == wanted
    crop = MaskCrop.cut(mask)
    assert crop.encode((height, width)).counts.tolist() == wanted
    assert crop.encode((height, width)).counts.dtype == np.uint32
    assert encode_rle(mask) == {"size": [height, width], "counts": wanted}
    np.testing.assert_array_equal(RunLengths((height, width), counts).decode(), mask)


def test_other_dtype_is_refused():
    with pytest.raises(ShapeError, match="bool"):
        RunLengths.encode(np.ones((2, 2), np.uint8))
    with pytest.raises(ShapeError, match="bool"):
        RunLengths.encode(np.ones(4, np.bool_))


@pytest.mark.parametrize("counts", [[], [3], [1, 4], [2**32 - 1, 2**32 - 1]])
def test_runs_that_do_not_fill_the_image_are_refused(counts):
    with pytest.raises(InputError, match=r"add up to \d+, expected 4 for 2x2"):
        RunLengths((2, 2), np.array(counts, np.uint32)).decode()


def test_zero_runs_are_allowed():
    mask = RunLengths((2, 2), np.array([0, 1, 0, 1, 2], np.uint32)).decode()
    np.testing.assert_array_equal(mask, [[True, False], [True, False]])


def test_huge_mask_is_refused_before_it_is_made():
    with pytest.raises(InputError, match="over the limit"):
        RunLengths((20000, 20000), np.array([400_000_000], np.uint32)).decode()
