"""Losses, matches, denoising and gradients of the pose decoder against the reference."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.detection.detection_golden import Group
from tests.model.detection.test_detection_golden_training import spread
from tests.model.pose.pose_golden import assert_close, inputs_of, lay_out, make_decoder, read_runs
from vl2_ros.model.checkpoint.release_keys import rename_key
from vl2_ros.model.decoders.denoising import DenoisingNoise, count_groups, prepare_denoising
from vl2_ros.model.decoders.query_groups import QueryGroups
from vl2_ros.model.decoders.set_losses import total_loss
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.model.pose.config import OKS_SIGMAS
from vl2_ros.model.pose.decoder import PoseDecoder
from vl2_ros.model.pose.heads import POSE_LOGIT_EPS
from vl2_ros.model.pose.losses import match_poses
from vl2_ros.model.pose.targets import PoseTargetBatch, PoseTargets

pytestmark = pytest.mark.golden

#: Cases whose text masks belong to their own image; the others are a defect of the reference.
CASES = ("nodn_main", "dn_main")
LOSS_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3
#: Of gradients that cancel out, such as that of a bias before a norm, of others up to 1600.
GRADIENT_ROUNDING = 1e-4


@pytest.fixture(scope="module")
def eval_group(golden_dir: Path) -> Group:
    return Group(golden_dir, "unipose_tiny_eval")


@pytest.fixture(scope="module")
def train_group(golden_dir: Path) -> Group:
    return Group(golden_dir, "unipose_tiny_train")


def make_trainer(folder: Path, group: Group, case: str) -> PoseDecoder:
    (number,) = re.findall(r"dn_number=(\d+)", group.info["cases"][case])
    # Without denoising the reference trains with its evaluation's mask.
    mask = "released" if number == "0" else "group"
    return make_decoder(folder, dn_number=int(number), group_mask=mask).train()


def order_of(meta: dict[str, Any]) -> Tensor:
    """Data set index of every keypoint of the prompt."""
    places = {place: int(index) for index, place in meta["kpt_id2index"].items()}
    return torch.tensor([places[place] for place in range(len(places))])


def make_targets(group: Group) -> list[PoseTargets]:
    """From data set order to the order of the prompt."""
    targets = []
    for image, meta in enumerate(group.info["image_meta"]):
        ids = group[f"target.{image}.class_labels"].tolist()
        flat = group[f"target.{image}.keypoints"]
        points, visible = flat.tensor_split([flat.shape[1] * 2 // 3], dim=1)
        order = order_of(meta)
        targets.append(
            PoseTargets(
                ObjectTargets(
                    group[f"target.{image}.boxes"],
                    torch.tensor([meta["id2index"][str(one)] for one in ids]),
                ),
                points.unflatten(1, (-1, 2))[:, order],
                visible[:, order] > 0,
                group[f"target.{image}.area"],
                torch.tensor(OKS_SIGMAS)[order],
            )
        )
    return targets


def make_noise(group: Group, case: str, config: Any) -> DenoisingNoise | None:
    if f"{case}.draw.0" not in group.tensors:
        return None
    relabel, replacement, sign, amount = (group[f"{case}.draw.{index}"] for index in range(4))
    counts = [len(target.objects.class_index) for target in make_targets(group)]
    groups = count_groups(config.dn_number, max(counts))
    new_class = torch.zeros(len(relabel), dtype=torch.int64)
    new_class[relabel < 0.5 * config.label_noise_ratio] = replacement
    return DenoisingNoise(
        relabel=spread(relabel, groups, counts),
        new_class=spread(new_class, groups, counts),
        sign=spread(sign.float() * 2 - 1, groups, counts),
        amount=spread(amount, groups, counts),
    )


@pytest.fixture(scope="module", params=CASES)
def trained(request, golden_dir: Path, eval_group: Group, train_group: Group) -> tuple:
    """One pass with gradients: what it predicts, the losses, the network."""
    case = request.param
    decoder = make_trainer(golden_dir, train_group, case)
    noise = make_noise(train_group, case, decoder.config)
    arguments = {**inputs_of(eval_group), "targets": make_targets(train_group), "noise": noise}
    with torch.no_grad():
        predictions, batch = decoder.predict_for_training(**arguments)
    losses = decoder.compute_losses(**arguments)
    total_loss(losses, decoder.config).backward()
    return case, decoder, predictions, batch, losses


def test_losses_match(trained, train_group: Group) -> None:
    case, decoder, _, _, losses = trained
    golden = train_group.info["results"][case]
    ours = {name.replace("_enc", "_interm"): value.item() for name, value in losses.items()}
    # Without denoising the reference lists zeros, some under names that have no weight.
    expected = {name: value for name, value in golden["losses"].items() if value}
    assert ours == pytest.approx(expected, rel=LOSS_TOLERANCE)
    total = total_loss(losses, decoder.config).item()
    assert total == pytest.approx(golden["total_loss"], rel=LOSS_TOLERANCE)
    weights = decoder.config.loss_weights
    for name, weight in train_group.info["loss_weights"].items():
        assert weights[name.split("_")[1]] == weight


def test_matches_are_exact(trained, train_group: Group) -> None:
    case, decoder, predictions, batch, _ = trained
    points = predictions.keypoints_xy_norm
    matched = {}
    for sets, keypoints in ((predictions.boxes, None), (predictions.groups, points)):
        found = match_poses(sets, batch, decoder.config, keypoints)
        matched |= dict(zip(sets.suffixes, found, strict=True))
    assert len(matched) == decoder.config.decoder_layers + 1
    for suffix, rows in matched.items():
        name = {"": "final", "_enc": "interm"}.get(suffix, suffix.replace("_", "aux"))
        for image, row in enumerate(rows):
            query, goal = train_group[f"{case}.match.{name}.{image}"]
            assert torch.equal(row[goal], query), (name, image)


def test_predictions_match(trained, train_group: Group) -> None:
    case, decoder, predictions, _, _ = trained
    last = predictions.groups.suffixes.index("")
    logits = predictions.groups.logits[last]
    logits = logits.masked_fill(~predictions.class_mask[:, None], -torch.inf)
    assert_close(logits, train_group[f"{case}.pred_logits"])
    assert_close(predictions.groups.boxes_cxcywh_norm[last], train_group[f"{case}.pred_boxes"])
    found = predictions.keypoints_xy_norm[last]
    points = torch.zeros_like(found)
    for image, meta in enumerate(train_group.info["image_meta"]):
        order = order_of(meta)
        points[image][:, order] = found[image][:, : len(order)]
    golden = train_group[f"{case}.pred_keypoints"]
    assert_close(lay_out(points)[..., : 2 * points.shape[2]], golden[..., : 2 * points.shape[2]])


def test_gradient_norms_match(trained, train_group: Group) -> None:
    case, decoder, _, _, _ = trained
    gradients = {name: parameter.grad for name, parameter in decoder.named_parameters()}
    golden = train_group.info["results"][case]["grad_norm"]
    named = defaultdict(list)
    for name in golden:
        for target in rename_key(f"unipose.{name}"):
            named[name].append(target.name.removeprefix("pose_decoder."))
    assert {part for parts in named.values() for part in parts} == set(gradients)
    for name, norm in golden.items():
        squares = sum(float(gradients[part].square().sum()) for part in named[name])
        expected = pytest.approx(norm, rel=GRADIENT_TOLERANCE, abs=GRADIENT_ROUNDING)
        assert squares**0.5 == expected, name


def test_denoising_queries_and_their_masks_match(
    golden_dir: Path, eval_group: Group, train_group: Group
) -> None:
    case = "dn_main"
    decoder = make_trainer(golden_dir, train_group, case)
    meta = train_group.info["results"][case]["dn_meta"]
    with torch.no_grad():
        scene = decoder.encode(**inputs_of(eval_group))
        selected = decoder.select(scene)
        targets = make_targets(train_group)
        batch = PoseTargetBatch.stack(targets, scene.class_mask, scene.keypoint_mask)
        noise = make_noise(train_group, case, decoder.config)
        queries = prepare_denoising(
            batch.objects, scene.raw_classes, decoder.config, None, noise, POSE_LOGIT_EPS
        )
        states = decoder.decode(scene, selected, queries)
    assert (queries.count, queries.groups) == (meta["pad_size"], meta["dn_num"])
    assert_close(queries.content, train_group[f"{case}.dn_content"])
    assert_close(queries.box_logits, train_group[f"{case}.dn_ref_logit"])
    blocked = queries.blocked(decoder.config.num_queries)
    assert torch.equal(blocked, train_group[f"{case}.attn_mask_box"].bool())
    assert torch.equal(selected.token_index, train_group[f"{case}.topk_encoder"])
    assert torch.equal(states.chosen, train_group[f"{case}.topk_group"])
    slot_mask = torch.nn.functional.pad(scene.keypoint_mask, (1, 0), value=True)
    behind = QueryGroups(states.count, slot_mask).everywhere()
    size = queries.count + behind.shape[1]
    for image, visible in enumerate(behind):
        whole = ~queries.blocked(behind.shape[1])
        whole[queries.count :, queries.count :] = visible
        runs = train_group[f"{case}.attn_mask_kpt_visible_segments.{image}"]
        assert torch.equal(whole, read_runs(runs, size)), image
