"""The full-size pose decoder: names and shapes of its released weights, and its arithmetic."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.checkpoint.release_tables import ReleaseSizes, unipose_keys
from tests.model.detection.detection_golden import Group
from tests.model.pose.pose_golden import TOLERANCE, assert_close, lay_out
from tests.model.renamed_release import rename_release_keys
from vl2_ros.model.checkpoint.release_keys import rename_key
from vl2_ros.model.decoders.query_selection import SelectedQueries
from vl2_ros.model.pose.config import PoseConfig
from vl2_ros.model.pose.decoder import PoseDecoder

SHARED_HEAD = re.compile(r"^(?:transformer\.decoder\.)?(bbox|pose|pose_hw)_embed\.\d+\.")


@pytest.fixture(scope="module")
def table() -> dict[str, tuple[int, ...]]:
    rows = list(unipose_keys(ReleaseSizes()))
    assert len(dict(rows)) == len(rows)
    return {name.removeprefix("unipose."): shape for name, shape in rows}


def canonical(name: str) -> str:
    return SHARED_HEAD.sub(r"transformer.decoder.\1_embed.0.", name)


def test_table_holds_the_published_counts(table) -> None:
    assert len(table) == 859
    distinct = {
        canonical(name): shape
        for name, shape in table.items()
        if not name.endswith("relative_position_index")
    }
    assert len(distinct) == 685
    total = sum(torch.Size(shape).numel() for shape in distinct.values())
    assert round(total / 1e6, 2) == 65.79


def test_every_released_tensor_has_its_place_and_every_place_a_tensor(table) -> None:
    with torch.device("meta"):
        decoder = PoseDecoder(PoseConfig.full_size())
    ours = {name: tuple(tensor.shape) for name, tensor in decoder.state_dict().items()}
    filled: Counter[str] = Counter()
    for name, shape in table.items():
        for target in rename_key(f"unipose.{name}") or ():
            place = target.name.removeprefix("pose_decoder.")
            assert (shape[0] // target.blocks, *shape[1:]) == ours.get(place), name
            filled[place] += 1
    assert set(filled) == set(ours)
    shared = Counter(count for count in filled.values() if count > 1)
    # Box head under 12 names, keypoint head under 10, size head under 8; three layers each.
    assert shared == Counter({12: 6, 10: 6, 8: 6})


def formula_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """The value that the JSON of unipose_full_formula states for a canonical name."""
    source = np.random.RandomState(zlib.crc32(name.encode()))
    z = torch.from_numpy(source.standard_normal(shape).astype(np.float32))
    if name.endswith("relative_position_bias_table"):
        return 0.2 * z
    if name.endswith(("gam_v", "gam_l")):
        return 0.5 + 0.1 * z
    if name in ("transformer.level_embed", "transformer.tgt_embed.weight"):
        return 0.7 * z
    if name in ("transformer.decoder.hw.weight", "transformer.decoder.hw_append.weight"):
        return 0.8 * z - 2
    if len(shape) > 1:
        z = z * 0.9 / np.sqrt(np.prod(shape[1:]))
        if name.endswith("sampling_offsets.weight"):
            return z * 0.3
        is_head = re.search(r"(bbox|pose|pose_hw|enc_out_bbox)_embed\b", name)
        return z * 0.5 if is_head and name.endswith("layers.2.weight") else z
    if name.endswith("sampling_offsets.bias"):
        return 0.8 * z
    return 1 + 0.1 * z if name.endswith(".weight") else 0.1 * z


def formula_inputs() -> dict[str, Tensor]:
    source = np.random.RandomState(2024)
    shapes = ((1, 3, 256, 320), (3, 4, 4096), (23, 4, 4096))
    sampled = [torch.from_numpy(source.standard_normal(s).astype(np.float32)) for s in shapes]
    pixels, classes, keypoints = sampled
    link = [torch.zeros(1, 100, *part.shape[1:]) for part in (classes, keypoints)]
    for padded, part in zip(link, (classes, keypoints), strict=True):
        padded[0, : len(part)] = part
    masks = [torch.arange(100)[None] < len(part) for part in (classes, keypoints)]
    return {
        "pixels": pixels,
        "super_link": link[0],
        "class_mask": masks[0],
        "keypoint_link": link[1],
        "keypoint_mask": masks[1],
    }


@pytest.fixture(scope="module")
def formula_decoder(table) -> PoseDecoder:
    weights: dict[str, Tensor] = {}
    for name, shape in table.items():
        if not name.endswith("relative_position_index"):
            known = canonical(name)
            if known not in weights:
                weights[known] = formula_weight(known, shape)
    renamed = rename_release_keys({f"unipose.{name}": value for name, value in weights.items()})
    decoder = PoseDecoder(replace(PoseConfig.full_size(), group_mask="released")).eval()
    decoder.load_state_dict({n.removeprefix("pose_decoder."): v for n, v in renamed.items()})
    return decoder


@pytest.mark.slow
@pytest.mark.golden
@torch.inference_mode()
def test_full_size_decoder_matches(golden_dir: Path, formula_decoder: PoseDecoder) -> None:
    group = Group(golden_dir, "unipose_full_formula")
    decoder, kept = formula_decoder, {}
    decoder.backbone.register_forward_hook(lambda _, args, out: kept.update(maps=out.feature_maps))
    scene = decoder.encode(**formula_inputs())
    for index, feature in enumerate(kept["maps"]):
        assert_close(feature[0, :8, :4, :4], group[f"ck.backbone.{index}.slice"])
    assert_close(scene.raw_classes[0, :4], group["ck.obj_prompt"])
    assert_close(scene.keypoints[0, :24], group["ck.kpt_prompt"])
    assert_close(scene.tokens[0, ::37], group["ck.memory.every37"])
    assert_close(scene.classes[0, :4], group["ck.memory_text"])

    selected = decoder.select(scene)
    golden = group["ck.topk_encoder"]
    # Neighbouring scores differ by as little as 4e-6, so such may be swapped; from here on the
    # golden order is followed.
    assert set(selected.token_index[0].tolist()) == set(golden[0].tolist())
    place = {int(token): rank for rank, token in enumerate(selected.token_index[0])}
    order = torch.tensor([[place[int(token)] for token in golden[0]]])
    ordered = SelectedQueries(
        token_index=golden,
        class_logits=selected.class_logits[:, order[0]],
        box_logits=selected.box_logits[:, order[0]],
    )
    real = scene.class_mask[0]
    scores = ordered.class_logits[0][:, real].amax(-1)
    assert float((scores[1:] - scores[:-1]).max()) <= TOLERANCE
    states = decoder.decode(scene, ordered)
    assert torch.equal(states.chosen, group["ck.topk_group"])
    assert_close(states.boxes.states[-1][0, :50], group["ck.hs_box_stage.first50"])
    assert_close(states.groups.entering[0][0, :69], group["ck.ref_kpt_init.group0"])
    assert_close(states.groups.leaving[0, ::23], group["ck.ref_final.every23"])
    _, boxes, points = states.split(states.groups.states[-1])
    assert_close(boxes[0], group["ck.hs_final.every69"])
    _, boxes_from, points_from = states.split(states.groups.entering[-1])
    logits = decoder.class_logits(boxes, scene.classes)
    logits = logits.masked_fill(~scene.class_mask[:, None], -torch.inf)
    assert_close(logits[..., :4], group["out.pred_logits"])
    assert_close(decoder.heads.locate_boxes(boxes, boxes_from), group["out.pred_boxes"])
    found = decoder.heads.locate_keypoints(points, points_from)
    assert_close(lay_out(found), group["out.pred_keypoints"])
