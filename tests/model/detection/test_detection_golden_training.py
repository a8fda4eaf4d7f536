from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.model.detection.detection_golden import Group, assert_close, inputs_of, make_decoder
from vl2_ros.model.decoders.denoising import DenoisingNoise, count_groups, make_denoising
from vl2_ros.model.decoders.set_losses import total_loss
from vl2_ros.model.decoders.targets import ObjectTargets, TargetBatch
from vl2_ros.model.detection.decoder import DetectionDecoder
from vl2_ros.model.detection.losses import match_sets

pytestmark = pytest.mark.golden

LOSS_CASES = (
    "with_masks",
    "boxes_only",
    "image1_empty",
    "image0_empty",
    "both_empty",
    "both_empty_nomask",
    "dn_off",
)


@pytest.fixture(scope="module")
def eval_group(golden_dir: Path) -> Group:
    return Group(golden_dir, "gdino_eval")


@pytest.fixture(scope="module")
def decoder(golden_dir: Path, eval_group: Group) -> DetectionDecoder:
    return make_decoder(golden_dir, eval_group.info)


@pytest.fixture(scope="module")
def train_group(golden_dir: Path) -> Group:
    return Group(golden_dir, "gdino_train")


def make_targets(group: Group, *, empty: tuple[int, ...], with_masks: bool) -> list:
    targets = []
    for image, positions in enumerate(group.info["id2index"]):
        ids = group[f"in.class_labels.{image}"].tolist()
        count = 0 if image in empty else len(ids)
        masks = group[f"in.mask_labels.{image}"].bool()[:count]
        targets.append(
            ObjectTargets(
                group[f"in.boxes.{image}"][:count],
                torch.tensor([positions[str(i)] for i in ids[:count]], dtype=torch.int64),
                masks if with_masks else None,
            )
        )
    return targets


def targets_of_case(group: Group, case: str) -> list:
    empty = {"image1_empty": (1,), "image0_empty": (0,), "both_empty": (0, 1)}
    named = case.removesuffix("_nomask")
    with_masks = case not in ("boxes_only", "both_empty_nomask")
    return make_targets(group, empty=empty.get(named, ()), with_masks=with_masks)


def spread(rows: Tensor, groups: int, counts: list[int]) -> Tensor:
    """Lay draws per (group, sign, object of the batch) out as (groups, 2, B, m, ...)."""
    parts = rows.unflatten(0, (groups, 2, sum(counts))).split(counts, dim=2)
    out = rows.new_zeros(groups, 2, len(counts), max(counts), *rows.shape[1:])
    for image, part in enumerate(parts):
        out[:, :, image, : part.shape[2]] = part
    return out


def make_noise(
    group: Group, counts: list[int], draws: tuple[Tensor, Tensor, Tensor, Tensor]
) -> DenoisingNoise:
    relabel, replacement, sign, amount = draws
    groups = count_groups(group.info["dn"]["dn_number"], max(counts))
    new_class = torch.zeros(len(relabel), dtype=torch.int64)
    new_class[relabel < 0.5 * group.info["dn"]["label_noise_ratio"]] = replacement
    return DenoisingNoise(
        relabel=spread(relabel, groups, counts),
        new_class=spread(new_class, groups, counts),
        sign=spread(sign.float() * 2 - 1, groups, counts),
        amount=spread(amount, groups, counts),
    )


def stored_draws(group: Group) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    names = ("rand_label", "new_label", "rand_sign01", "rand_part")
    relabel, replacement, sign, amount = (group[f"dn.{name}"] for name in names)
    return relabel, replacement, sign, amount


def draw(group: Group, seed: int, rows: int, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    relabel = torch.rand(rows, generator=source)
    changed = int((relabel < 0.5 * group.info["dn"]["label_noise_ratio"]).sum())
    replacement = torch.randint(0, classes, (changed,), generator=source)
    sign = torch.randint(0, 2, (rows, 4), generator=source)
    return relabel, replacement, sign, torch.rand(rows, 4, generator=source)


def find_seed(group: Group, classes: int) -> int | None:
    """Return the seed that gives the stored draws; the other cases were sampled from it as well."""
    stored = stored_draws(group)
    for seed in range(2000):
        if torch.equal(torch.rand(1, generator=torch.Generator().manual_seed(seed)), stored[0][:1]):
            sampled = draw(group, seed, len(stored[0]), classes)
            if all(torch.equal(a, b.to(a.dtype)) for a, b in zip(sampled, stored, strict=True)):
                return seed
    return None


def noise_of_case(group: Group, case: str, targets: list, classes: int) -> DenoisingNoise | None:
    counts = [len(target.class_index) for target in targets]
    if case in ("with_masks", "boxes_only"):
        return make_noise(group, counts, stored_draws(group))
    seed = find_seed(group, classes)
    if not sum(counts) or seed is None:
        return None
    rows = count_groups(group.info["dn"]["dn_number"], max(counts)) * 2 * sum(counts)
    return make_noise(group, counts, draw(group, seed, rows, classes))


def formula_points(masks: int, points: int) -> Tensor:
    """The sequence that the JSON of gdino_train states."""
    k = torch.arange(1, points + 1, dtype=torch.float64)
    x, y = 0.5 + k * 0.7548776662466927, 0.5 + k * 0.5698402909980532
    return torch.stack([x % 1, y % 1], dim=-1).float().expand(masks, -1, -1)


def make_trainer(folder: Path, group: Group, case: str = "with_masks") -> DetectionDecoder:
    dn_number = 0 if case == "dn_off" else group.info["dn"]["dn_number"]
    return make_decoder(folder, group.info, dn_number=dn_number).train()


@pytest.mark.parametrize("case", LOSS_CASES)
def test_losses_match(golden_dir: Path, eval_group: Group, train_group: Group, case: str) -> None:
    assert set(train_group.info["losses"]) == set(LOSS_CASES)
    decoder = make_trainer(golden_dir, train_group, case)
    pixels, super_link, class_mask, pixel_mask = inputs_of(eval_group)
    targets = targets_of_case(train_group, case)
    noise = noise_of_case(train_group, case, targets, class_mask.shape[1])
    losses = decoder.compute_losses(
        pixels,
        super_link,
        class_mask,
        targets,
        pixel_mask,
        noise=noise,
        sample_points=formula_points,
    )
    golden = dict(train_group.info["losses"][case])
    total = golden.pop("TOTAL")
    known_noise = noise is not None or not any(value for k, value in golden.items() if "_dn" in k)
    for name, value in golden.items():
        if "_dn" in name and not known_noise:
            continue
        ours = losses[name].item() if name in losses else 0.0
        assert ours == pytest.approx(value, rel=1e-5, abs=1e-7), name
    assert set(losses) <= set(golden)
    if not known_noise:
        pytest.skip(f"{case}: denoising terms not compared, no seed gives the stored draws")
    ours = total_loss(losses, decoder.config).item()
    assert ours == pytest.approx(total, rel=1e-5, abs=1e-7)


def test_matches_are_exact(golden_dir: Path, eval_group: Group, train_group: Group) -> None:
    decoder = make_trainer(golden_dir, train_group)
    pixels, super_link, class_mask, pixel_mask = inputs_of(eval_group)
    targets = targets_of_case(train_group, "with_masks")
    noise = noise_of_case(train_group, "with_masks", targets, class_mask.shape[1])
    predictions, batch = decoder.predict_for_training(
        pixels, super_link, class_mask, targets, pixel_mask, noise=noise
    )
    matched = match_sets(predictions.matching, batch, decoder.config)
    for index, suffix in enumerate(predictions.matching.suffixes):
        name = {"": "last", "_enc": "enc"}.get(suffix, f"aux{suffix}")
        for image, target in enumerate(targets):
            query, goal = train_group[f"match.{name}.{image}"]
            ours = matched[index, image, : len(target.class_index)]
            assert torch.equal(ours[goal], query), (name, image)
    last = predictions.matching.suffixes.index("")
    logits = predictions.matching.logits[last].masked_fill(~class_mask[:, None], -torch.inf)
    assert_close(logits, train_group["out.logits"][..., : class_mask.shape[1]])
    assert_close(predictions.matching.boxes_cxcywh_norm[last], train_group["out.pred_boxes"])


def test_denoising_queries_match(
    golden_dir: Path, eval_group: Group, train_group: Group, decoder: DetectionDecoder
) -> None:
    pixels, super_link, class_mask, pixel_mask = inputs_of(eval_group)
    targets = targets_of_case(train_group, "with_masks")
    noise = noise_of_case(train_group, "with_masks", targets, class_mask.shape[1])
    assert noise is not None
    with torch.no_grad():
        scene = decoder.encode(pixels, super_link, class_mask, pixel_mask)
        queries = make_denoising(
            TargetBatch.stack(targets, class_mask),
            scene.raw_classes,
            noise,
            label_noise_ratio=train_group.info["dn"]["label_noise_ratio"],
            box_noise_scale=train_group.info["dn"]["box_noise_scale"],
        )
    assert_close(queries.content, train_group["dn.query_label"])
    assert_close(queries.box_logits, train_group["dn.query_bbox"])
    blocked = queries.blocked(decoder.config.num_queries)
    assert torch.equal(blocked, train_group["dn.attn_mask_blocked"].bool())
    assert queries.groups == train_group.info["dn"]["dn_num"]


def test_gradients_match(golden_dir: Path, eval_group: Group, train_group: Group) -> None:
    decoder = make_trainer(golden_dir, train_group)
    pixels, super_link, class_mask, pixel_mask = inputs_of(eval_group)
    pixels = pixels.clone().requires_grad_()
    super_link = super_link.clone().requires_grad_()
    targets = targets_of_case(train_group, "with_masks")
    losses = decoder.compute_losses(
        pixels,
        super_link,
        class_mask,
        targets,
        pixel_mask,
        noise=noise_of_case(train_group, "with_masks", targets, class_mask.shape[1]),
        sample_points=formula_points,
    )
    total_loss(losses, decoder.config).backward()
    assert decoder.encoder_mask_head is not None
    weights = {
        "text_query": super_link,
        "level_embed": decoder.levels.level_embed,
        "query_position_embeddings": decoder.query_embeddings.weight,
        "enc_mask_embed_last_bias": decoder.encoder_mask_head.layers[-1].bias,
        "enc_bbox_embed_last_weight": decoder.query_selection.box_head.layers[-1].weight,
        "patch2query0": decoder.text_projection.layers[0].weight,
        "mask_features_bias": decoder.mask_branch.features.bias,
        "bbox_embed_last_weight": decoder.box_head.layers[-1].weight,
    }
    gradients = {name: weight.grad for name, weight in weights.items()}
    gradients["pixel_values_absmean"] = pixels.grad.abs().mean()
    named = {name for name in train_group.tensors if name.startswith("grad.")}
    assert named == {f"grad.{name}" for name in gradients}
    for name, gradient in gradients.items():
        assert_close(gradient, train_group[f"grad.{name}"], tolerance=1e-4)
