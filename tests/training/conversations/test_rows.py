"""A sample as tensors: prompt, tiles, regions, decoder image and normalised targets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.conversations.small_sources import (
    FRAME_HW,
    KINDS,
    PROCESSING,
    SmallSource,
)
from vl2_ros.datasets.samples import Group
from vl2_ros.errors import InputError
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.processing.images.preprocess import preprocess_decoder, preprocess_vision
from vl2_ros.training.conversations.batch import collate
from vl2_ros.training.conversations.rows import ImageForm, RowEncoder


@pytest.fixture
def encoder(json_tokenizer):
    forms = {Group.GENERATION: ImageForm(64), Group.EDITING: ImageForm(64)}
    return RowEncoder(json_tokenizer, PROCESSING, forms)


def sample_of(kind, index=0):
    return SmallSource(kind).sample(index, np.random.default_rng(0))


def test_labels_are_the_answers_and_their_ends(encoder, json_tokenizer):
    row = encoder.encode(sample_of("text"))
    supervised = row.ids[row.labels != -100]
    assert torch.equal(supervised, row.labels[row.labels != -100])
    text = json_tokenizer.decode(supervised.tolist(), keep_special=True)
    sample = sample_of("text")
    assert text.replace("</s>", "").split() == " ".join(a for _, a in sample.rounds).split()
    assert int((supervised == json_tokenizer.tokens.eos).sum()) == 2
    patches = int((row.ids == json_tokenizer.tokens.image_patch).sum())
    assert patches == len(row.tiles) * PROCESSING.vision_tokens == 3 * 16


def test_the_decoder_image_and_the_tiles_are_those_of_the_flow(encoder):
    sample = sample_of("detection")
    row = encoder.encode(sample)
    pixels, pixel_mask, _ = preprocess_decoder(sample.images[0], PROCESSING)
    np.testing.assert_array_equal(row.pixels.numpy(), pixels)
    np.testing.assert_array_equal(row.pixel_mask.numpy(), pixel_mask)
    np.testing.assert_array_equal(
        row.tiles.numpy(), preprocess_vision(sample.images[0], PROCESSING)
    )


def test_targets_are_shares_of_the_valid_image(encoder):
    sample = sample_of("detection")
    targets = encoder.encode(sample).targets
    height, width = FRAME_HW
    x1, y1, x2, y2 = (sample.targets.boxes_xyxy / (width, height, width, height)).T
    expected = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1)
    np.testing.assert_allclose(targets.boxes_cxcywh_norm.numpy(), expected, rtol=1e-6)
    assert targets.masks.shape == (2, 60, 90)
    shares = targets.masks.float().mean((1, 2)).numpy()
    np.testing.assert_allclose(shares, (x2 - x1) * (y2 - y1), rtol=0.1)


def test_a_smaller_scale_makes_a_smaller_decoder_image(encoder):
    row = encoder.encode(sample_of("detection"), scale=0.5)
    assert row.pixels.shape == (3, 32, 64)
    assert int(row.pixel_mask.sum()) == 30 * 45
    assert row.targets.masks.shape == (2, 30, 45)


def test_pose_targets_are_normalised_with_their_own_sigmas(encoder):
    sample = sample_of("pose")
    targets = encoder.encode(sample).targets
    height, width = FRAME_HW
    np.testing.assert_allclose(
        targets.keypoints_xy_norm.numpy() * (width, height), sample.targets.keypoints_xy, rtol=1e-6
    )
    np.testing.assert_allclose(
        targets.areas_norm.numpy() * height * width, sample.targets.areas, rtol=1e-6
    )
    assert targets.sigmas.tolist() == sample.targets.sigmas.tolist()


def test_regions_lie_on_the_whole_image_of_their_own(encoder):
    row = encoder.encode(sample_of("context"))
    # Two images of two tiles and the whole; the example is the first.
    assert len(row.tiles) == 6
    assert row.region_tiles.tolist() == [2]
    assert row.region_masks.shape == (1, 56, 56)
    assert set(row.region_masks.unique().tolist()) == {0.0, 1.0}


def test_a_batch_pads_on_the_right_and_counts_tiles_on(encoder, json_tokenizer):
    samples = [sample_of("prompts", index) for index in range(2)]
    rows = [encoder.encode(samples[0]), encoder.encode(samples[1], scale=0.5)]
    batch = collate(rows, pad_id=json_tokenizer.tokens.pad)
    assert batch.pixels.shape == (2, 3, 64, 96)
    assert int(batch.pixel_mask[1].sum()) == 30 * 45
    assert not batch.pixels[1, :, 32:].any() and not batch.pixels[1, :, :, 64:].any()
    assert batch.region_tiles.tolist() == [2, 5]
    for index, row in enumerate(rows):
        length = len(row.ids)
        assert torch.equal(batch.input_ids[index, :length], row.ids)
        assert batch.attention_mask[index].sum() == length
        assert (batch.labels[index, length:] == -100).all()


def test_a_batch_of_two_groups_is_refused(encoder):
    rows = [encoder.encode(sample_of(kind)) for kind in ("detection", "text")]
    with pytest.raises(InputError, match="detection.*text"):
        collate(rows, pad_id=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_encoded(encoder, kind):
    row = encoder.encode(sample_of(kind))
    assert row.group is sample_of(kind).group
    assert len(row.ids) == len(row.labels)


def test_segments_take_the_image_size_of_their_own(encoder):
    sample = sample_of("detection")
    (question, answer), *_ = sample.rounds
    segments = replace(sample, rounds=((question, answer.replace("[DET]", "[SEG]")),))
    row = encoder.encode(segments)
    assert int(row.pixel_mask.sum()) == 48 * 72
    assert isinstance(row.targets, ObjectTargets)


def test_an_error_names_its_sample(encoder):
    sample = replace(sample_of("detection", 3), targets=None)
    with pytest.raises(InputError, match=r"sample detection/3: .*LabelledObjects, got NoneType"):
        encoder.encode(sample)


def test_a_network_without_images_says_so(json_tokenizer):
    bare = RowEncoder(json_tokenizer, PROCESSING)
    with pytest.raises(InputError, match="no part for generation"):
        bare.encode(sample_of("generation"))
