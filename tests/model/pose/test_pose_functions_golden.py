"""Small functions of the pose decoder against the reference, at the constants of the full size."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.model.detection.detection_golden import Group
from tests.model.pose.pose_golden import assert_close
from vl2_ros.model.decoders.attention.feature_levels import (
    count_valid,
    find_centres,
    place_pixels,
)
from vl2_ros.model.decoders.attention.sine_positions import encode_boxes, encode_sines
from vl2_ros.model.decoders.prediction_heads import inverse_sigmoid
from vl2_ros.model.decoders.query_selection import make_proposals
from vl2_ros.model.decoders.set_losses import PredictionSets, box_and_class_losses
from vl2_ros.model.decoders.targets import ObjectTargets, TargetBatch
from vl2_ros.model.pose.config import OKS_SIGMAS, PoseConfig
from vl2_ros.model.pose.heads import POSE_LOGIT_EPS
from vl2_ros.model.pose.losses import keypoint_similarity
from vl2_ros.model.pose.targets import split_triplets

pytestmark = pytest.mark.golden

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def group(golden_dir: Path) -> Group:
    return Group(golden_dir, "unipose_functions")


def test_image_positions_match(group: Group) -> None:
    config = PoseConfig.full_size()
    valid = ~group["img_sine.pad_mask"].bool()
    turns = place_pixels(valid) * (2 * math.pi)
    sines = encode_sines(turns, config.d_model // 2, config.positional_embedding_temperature)
    laid_out = sines.flatten(2).transpose(1, 2).unflatten(2, valid.shape[1:])
    assert_close(laid_out, group["img_sine.out"], TOLERANCE)


def test_box_and_class_positions_match(group: Group) -> None:
    width = PoseConfig.full_size().d_model
    boxes = encode_boxes(group["ref_sine.in"], width // 2)
    assert_close(boxes, group["ref_sine.out"], TOLERANCE)
    classes = encode_sines(group["text_sine.in"].float() * (2 * math.pi), width)
    assert_close(classes, group["text_sine.out"], TOLERANCE)


def test_inverse_sigmoid_is_cut_where_the_weights_want_it(group: Group) -> None:
    given = group["inverse_sigmoid.in"]
    ours = inverse_sigmoid(given, POSE_LOGIT_EPS)
    for name in ("inverse_sigmoid_in_model.out", "inverse_sigmoid.out"):
        assert_close(ours, group[name], TOLERANCE)
    assert not torch.allclose(inverse_sigmoid(given), ours)


def test_proposals_match(group: Group) -> None:
    sizes = [(int(height), int(width)) for height, width in group["proposals.shapes"]]
    is_padding = group["proposals.pad_mask"].bool()
    levels = is_padding.split([height * width for height, width in sizes], dim=1)
    masks = [~level.unflatten(1, size) for level, size in zip(levels, sizes, strict=True)]
    centres = [find_centres(mask.shape[1:], count_valid(mask)) for mask in masks]
    ours = make_proposals(is_padding, torch.cat(centres, dim=1), sizes)
    kept = group["proposals.kept"].bool()
    assert torch.equal(ours.isfinite().all(-1), kept)
    assert_close(ours[kept], group["proposals.out_logit"][kept], TOLERANCE)
    assert bool((group["proposals.out_logit"][~kept] == torch.inf).all())


def test_keypoint_similarity_matches(group: Group) -> None:
    sigmas = torch.tensor(OKS_SIGMAS)
    assert_close(sigmas, group["oks.sigmas"], 1e-7)
    points, goals = (group[f"oks.{name}"].unflatten(-1, (-1, 2)) for name in ("pred", "gt"))
    similarity = keypoint_similarity(points, goals, group["oks.vis"], group["oks.area"], sigmas)
    assert_close(1 - similarity, group["oks.loss"], TOLERANCE)


def test_focal_loss_matches(group: Group) -> None:
    """One object per query that is positive; queries without one are background."""
    # Our logits are finite in padding, where the class mask takes them out.
    logits, onehot = group["focal.logits"].nan_to_num(neginf=0.0), group["focal.onehot"]
    class_mask = group["focal.class_mask"].bool()
    assert int(onehot.sum(-1).max()) <= 1
    targets, matched = [], []
    for row in onehot:
        query, label = row.nonzero(as_tuple=True)
        targets.append(ObjectTargets(torch.full((len(query), 4), 0.5), label))
        matched.append(query)
    batch = TargetBatch.stack(targets, torch.ones_like(class_mask))
    index = torch.nn.utils.rnn.pad_sequence(matched, batch_first=True, padding_value=-1)
    sets = PredictionSets(("",), logits[None], torch.full((1, *logits.shape[:2], 4), 0.5))
    alpha = PoseConfig.full_size().focal_alpha
    loss = box_and_class_losses(sets, index[None], batch, class_mask, alpha)["loss_ce"]
    assert_close(loss[None] * batch.total, group["focal.sum"], TOLERANCE)


def test_keypoint_triplets_are_parted(group: Group) -> None:
    points, visibility = split_triplets(group["kpt_order.in"])
    ours = torch.cat([points.flatten(-2), visibility], dim=-1)
    assert torch.equal(ours, group["kpt_order.out"])
