from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.model.detection.test_detection_decoder import (
    HEIGHT,
    WIDTH,
    conv_config,
    make_batch,
    perturb,
)
from vl2_ros.errors import ShapeError
from vl2_ros.model.decoders.set_losses import total_loss
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.detection.decoder import DetectionDecoder

MASK_HW = (HEIGHT // 4, WIDTH // 4)


def make_decoder(kind: str, **changes: object) -> DetectionDecoder:
    torch.manual_seed(5)
    config = DetectionConfig.tiny() if kind == "swin" else conv_config()
    return DetectionDecoder(replace(config, **changes)).train()


def make_targets(counts: list[int], classes: int, *, masks: bool = True) -> list[ObjectTargets]:
    source = torch.Generator().manual_seed(1)
    targets = []
    for count in counts:
        centres = torch.rand(count, 2, generator=source) * 0.4 + 0.3
        sizes = torch.rand(count, 2, generator=source) * 0.2 + 0.2
        boxes = torch.cat([centres, sizes], dim=1)
        index = torch.arange(count) % classes
        targets.append(ObjectTargets(boxes, index, paint(boxes) if masks else None))
    return targets


def paint(boxes: Tensor) -> Tensor:
    """Return (n, H, W) masks that fill the boxes."""
    y = (torch.arange(HEIGHT) + 0.5)[None, :, None] / HEIGHT
    x = (torch.arange(WIDTH) + 0.5)[None, None, :] / WIDTH
    cx, cy, w, h = boxes[:, :, None, None].unbind(1)
    return ((x - cx).abs() < w / 2) & ((y - cy).abs() < h / 2)


def train_batch(config: DetectionConfig, counts: list[int]) -> list[Tensor]:
    pixels, super_link, class_mask, _ = make_batch(config, counts)
    return [pixels, super_link, class_mask]


@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_a_bfloat16_autocast_step_has_finite_losses_and_gradients(kind: str) -> None:
    decoder = make_decoder(kind)
    batch = train_batch(decoder.config, [3, 4])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = decoder.compute_losses(*batch, make_targets([2, 3], 3))
        loss = total_loss(losses, decoder.config)
    assert all(value.dtype == torch.float32 for value in losses.values())
    loss.backward()
    assert bool(loss.isfinite())
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_autocast_changes_the_loss_little(kind: str) -> None:
    decoder = perturb(make_decoder(kind, dn_number=0))
    batch = train_batch(decoder.config, [3])
    totals = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            losses = decoder.compute_losses(
                *batch, make_targets([2], 3), generator=torch.Generator().manual_seed(0)
            )
            totals.append(total_loss(losses, decoder.config).item())
    assert totals[1] == pytest.approx(totals[0], rel=0.15)


def test_one_batch_can_be_learned() -> None:
    decoder = make_decoder("resnet")
    batch = train_batch(decoder.config, [3, 2])
    targets = make_targets([3, 2], 2)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=2e-3)
    source = torch.Generator().manual_seed(0)
    totals = []
    for _ in range(80):
        losses = decoder.compute_losses(*batch, targets, generator=source)
        total = total_loss(losses, decoder.config)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < 0.35 * sum(totals[:5])
    assert losses["loss_mask"].item() < 0.4


def test_the_same_generator_gives_the_same_losses() -> None:
    decoder = make_decoder("swin")
    batch = train_batch(decoder.config, [3, 2])
    targets = make_targets([3, 1], 2)
    first, second = (
        decoder.compute_losses(*batch, targets, generator=torch.Generator().manual_seed(9))
        for _ in range(2)
    )
    assert {name: value.item() for name, value in first.items()} == {
        name: value.item() for name, value in second.items()
    }


def test_names_of_the_losses_say_their_set() -> None:
    decoder = make_decoder("swin")
    losses = decoder.compute_losses(*train_batch(decoder.config, [2]), make_targets([2], 2))
    kinds = ("ce", "bbox", "giou", "mask", "dice")
    sets = ("", "_0", "_enc", "_dn", "_dn_0")
    assert set(losses) == {f"loss_{kind}{ending}" for kind in kinds for ending in sets}


def test_masks_of_the_last_layer_only_leave_out_the_encoder_head() -> None:
    decoder = make_decoder("resnet")
    assert decoder.encoder_mask_head is None
    losses = decoder.compute_losses(*train_batch(decoder.config, [2]), make_targets([2], 2))
    assert {name for name in losses if "mask" in name} == {"loss_mask"}


def test_a_image_without_classes_and_objects_disturbs_nothing() -> None:
    decoder = make_decoder("swin", dn_number=0, mask_loss_points=0)
    decoder.eval()
    batch = train_batch(decoder.config, [3, 0])
    targets = make_targets([2, 0], 3)
    together = decoder.compute_losses(*batch, targets)
    alone = decoder.compute_losses(*(tensor[:1] for tensor in batch), targets[:1])
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        assert together[name].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-6), name


def test_masks_may_come_at_the_size_of_the_features() -> None:
    decoder = make_decoder("resnet", dn_number=0)
    decoder.eval()
    batch = train_batch(decoder.config, [2])
    (full,) = make_targets([2], 2)
    assert full.masks is not None
    shares = torch.nn.functional.interpolate(full.masks[None].float(), size=MASK_HW, mode="area")
    small = replace(full, masks=shares[0])
    losses = [decoder.compute_losses(*batch, [target]) for target in (full, small)]
    for name in losses[0]:
        assert losses[0][name].item() == pytest.approx(losses[1][name].item(), rel=1e-5), name


def test_images_without_masks_train_boxes_only() -> None:
    decoder = make_decoder("resnet", dn_number=0)
    decoder.eval()
    batch = train_batch(decoder.config, [2, 2])
    painted, plain = make_targets([2, 2], 2), make_targets([2, 2], 2, masks=False)
    mixed = decoder.compute_losses(*batch, [painted[0], plain[1]])
    none = decoder.compute_losses(*batch, plain)
    assert mixed["loss_mask"].item() > 0
    assert none["loss_mask"].item() == none["loss_dice"].item() == 0
    assert mixed["loss_bbox"].item() == pytest.approx(none["loss_bbox"].item())


def test_an_empty_batch_trains_nothing_but_keeps_the_graph() -> None:
    decoder = make_decoder("swin")
    losses = decoder.compute_losses(*train_batch(decoder.config, [2]), make_targets([0], 1))
    total = total_loss(losses, decoder.config)
    total.backward()
    assert total.item() == 0
    gradients = [parameter.grad for parameter in decoder.parameters() if parameter.grad is not None]
    assert gradients
    assert not any(bool(gradient.any()) for gradient in gradients)


def test_more_objects_than_queries_are_matched_as_far_as_queries_go() -> None:
    decoder = make_decoder("resnet", num_queries=3)
    losses = decoder.compute_losses(*train_batch(decoder.config, [2]), make_targets([5], 2))
    assert bool(total_loss(losses, decoder.config).isfinite())


@pytest.mark.parametrize("index", [2, -1])
def test_a_class_that_was_not_asked_for_is_refused(index: int) -> None:
    decoder = make_decoder("resnet")
    boxes = torch.full((1, 4), 0.5)
    with pytest.raises(ShapeError, match="class_index"):
        decoder.compute_losses(
            *train_batch(decoder.config, [2]), [ObjectTargets(boxes, torch.tensor([index]))]
        )


def test_targets_must_be_parallel_and_one_per_image() -> None:
    with pytest.raises(ShapeError, match="boxes_cxcywh_norm"):
        ObjectTargets(torch.zeros(2, 4), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ShapeError, match="masks"):
        ObjectTargets(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), torch.ones(2, 3, 3))
    decoder = make_decoder("resnet")
    with pytest.raises(ShapeError, match="2 images"):
        decoder.compute_losses(*train_batch(decoder.config, [2, 2]), make_targets([1], 2))
