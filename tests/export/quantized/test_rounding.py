"""Rounding of matrices to whole numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from vl2_ros.export.quantized.rounding import (
    choose_block,
    pack_int4,
    round_blocks,
    round_columns,
    round_compensated,
)


@pytest.fixture
def weights() -> np.ndarray:
    drawn = np.random.default_rng(0).standard_normal((256, 1500)) * 0.02
    return drawn.astype(np.float32)


def test_a_column_is_off_by_half_a_step_at_most(weights):
    weights[:, 3] *= 1000
    rounded = round_columns(weights)
    assert rounded.values.dtype == np.int8 and rounded.scales.shape == (1500,)
    # The scale is float16, so that the largest value may be a little outside of its range.
    steps = np.abs(rounded.widen() - weights) / rounded.scales
    assert steps.max() < 0.5 + 127 * 2**-11
    assert np.abs(rounded.values).max() == 127


def test_small_columns_keep_their_signs(weights):
    weights *= 1e-3 / 0.02 / 4
    weights[:, ::2] *= 0.05
    rounded = round_columns(weights)
    signs = rounded.values * weights
    assert (signs >= 0).all() and rounded.values.min() == -127


def test_scales_are_such_that_float16_has_them(weights):
    for rounded in (round_columns(weights), round_blocks(weights, 128)):
        scales = rounded.scales
        assert (scales > 0).all() and (scales.astype(np.float16) == scales).all()


@pytest.mark.parametrize("make", [round_columns, lambda zeros: round_blocks(zeros, 16)])
def test_zeros_stay_zeros(make):
    assert not make(np.zeros((32, 3), np.float32)).widen().any()


def test_half_precision_rounds_like_its_float32(weights):
    half = weights.astype(np.float16)
    np.testing.assert_array_equal(
        round_columns(half).values, round_columns(half.astype(np.float32)).values
    )


def test_blocks_are_no_worse_than_the_plain_range(weights):
    rounded = round_blocks(weights, 64)
    assert rounded.scales.shape == (4, 1500) and np.abs(rounded.values).max() == 7
    blocks = weights.reshape(4, 64, -1)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / 7).astype(np.float16)
    plain = np.rint(blocks / scale.astype(np.float32)).clip(-7, 7) * scale
    errors = [np.square(one - weights).mean() for one in (rounded.widen(), plain.reshape(256, -1))]
    assert errors[0] < 0.95 * errors[1]


def test_products_err_less_where_rows_make_up_for_each_other(weights):
    rng = np.random.default_rng(3)
    # Activations of many strengths that go together, as those of networks do.
    mix = rng.standard_normal((256, 256)) * np.exp(-np.arange(256) / 60)[:, None]
    activations = (rng.standard_normal((2000, 256)) @ mix).astype(np.float32)
    moments = activations.T @ activations / len(activations)
    compensated = round_compensated(weights, 128, moments)
    assert np.abs(compensated.values).max() == 7 and compensated.scales.shape == (2, 1500)
    errors = [
        np.abs(activations @ (one.widen() - weights)).mean()
        for one in (compensated, round_blocks(weights, 128))
    ]
    assert errors[0] < 0.6 * errors[1]


def test_activations_that_were_never_seen_are_rounded_as_well(weights):
    moments = np.zeros((256, 256), np.float32)
    alone = round_blocks(weights, 128)
    np.testing.assert_array_equal(round_compensated(weights, 128, moments).values, alone.values)


@pytest.mark.parametrize(
    ("width", "block"), [(4096, 128), (11008, 128), (640, 128), (96, 32), (48, 16), (40, 0)]
)
def test_blocks_divide_the_width(width, block):
    assert choose_block(width) == block


def test_two_numbers_of_int4_share_a_byte_as_onnx_has_them():
    values = np.array([[-7, 7, 0], [3, -1, -8], [1, 2, 5]], np.int8)
    tensor = onnx.helper.make_tensor(
        "v", onnx.TensorProto.INT4, values.shape, pack_int4(values).tobytes(), raw=True
    )
    assert onnx.numpy_helper.to_array(tensor).astype(np.int8).tolist() == values.tolist()
