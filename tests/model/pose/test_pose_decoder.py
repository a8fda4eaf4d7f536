"""What the pose decoder promises beside the reference: edges, batches, training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.model.decoders.query_groups import GroupAttention, QueryGroups
from vl2_ros.model.decoders.set_losses import total_loss
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.model.decoders.transformer import make_transformer_config
from vl2_ros.model.pose.config import PoseConfig
from vl2_ros.model.pose.decoder import PoseDecoder
from vl2_ros.model.pose.targets import PoseTargets

HEIGHT, WIDTH = 96, 128


def make_decoder(**changes: object) -> PoseDecoder:
    torch.manual_seed(3)
    decoder = PoseDecoder(replace(PoseConfig.tiny(), **changes)).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            # Fresh heads are zero; nothing may depend on that.
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return decoder


def make_batch(classes: list[int], keypoints: list[int]) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(8)
    config, batch = PoseConfig.tiny(), {}
    batch["pixels"] = torch.randn(len(classes), 3, HEIGHT, WIDTH, generator=source)
    for link, mask, counts in (
        ("super_link", "class_mask", classes),
        ("keypoint_link", "keypoint_mask", keypoints),
    ):
        size = max(counts)
        shape = (len(counts), size, config.num_embs, config.l_hidden_size)
        batch[mask] = torch.arange(size) < torch.tensor(counts)[:, None]
        batch[link] = torch.randn(shape, generator=source) * batch[mask][..., None, None]
    return batch


def pick(batch: dict[str, Tensor], row: int, classes: int, keypoints: int) -> dict[str, Tensor]:
    one = {name: value[row : row + 1] for name, value in batch.items()}
    for name, count in (("super_link", classes), ("class_mask", classes)):
        one[name] = one[name][:, :count]
    for name in ("keypoint_link", "keypoint_mask"):
        one[name] = one[name][:, :keypoints]
    return one


@torch.inference_mode()
def test_shapes_follow_classes_and_keypoints() -> None:
    output = make_decoder()(**make_batch([3, 2], [5, 2]))
    assert output.pred_logits.shape == (2, 6, 3)
    assert output.pred_boxes.shape == (2, 6, 4)
    assert output.pred_keypoints.shape == (2, 6, 5, 2)
    assert bool((output.pred_logits[1, :, 2] == -torch.inf).all())
    for values in (output.pred_boxes, output.pred_keypoints):
        assert values.dtype == torch.float32
        assert bool(((values >= 0) & (values <= 1)).all())


@torch.inference_mode()
def test_a_image_alone_gives_what_it_gives_in_a_batch() -> None:
    decoder = make_decoder()
    batch = make_batch([3, 2], [5, 2])
    together = decoder(**batch)
    for row, (classes, keypoints) in enumerate(((3, 5), (2, 2))):
        alone = decoder(**pick(batch, row, classes, keypoints))
        torch.testing.assert_close(alone.pred_logits[0], together.pred_logits[row, :, :classes])
        torch.testing.assert_close(alone.pred_boxes[0], together.pred_boxes[row])
        points = together.pred_keypoints[row, :, :keypoints]
        torch.testing.assert_close(alone.pred_keypoints[0], points)


@torch.inference_mode()
def test_a_image_without_classes_spoils_nothing() -> None:
    decoder = make_decoder()
    batch = make_batch([3, 0], [5, 5])
    output = decoder(**batch)
    assert bool((output.pred_logits[1] == -torch.inf).all())
    assert bool(output.pred_boxes.isfinite().all()) and bool(output.pred_keypoints.isfinite().all())
    alone = decoder(**pick(batch, 0, 3, 5))
    torch.testing.assert_close(alone.pred_keypoints[0], output.pred_keypoints[0])


@torch.inference_mode()
def test_a_tiny_image_gives_as_many_objects_as_it_has_tokens() -> None:
    decoder = make_decoder()
    batch = make_batch([1], [2]) | {"pixels": torch.randn(1, 3, 8, 8)}
    # A token on each of four levels.
    assert decoder(**batch).pred_keypoints.shape == (1, 4, 2, 2)


def test_keypoints_do_not_see_what_another_object_is_asked_for() -> None:
    """The order of keypoints changes sizes by slot only; equal slots give equal answers."""
    decoder = make_decoder()
    with torch.no_grad():
        decoder.heads.slot_sizes.weight.fill_(0.3)
        batch = make_batch([2], [4])
        turned = dict(batch, keypoint_link=batch["keypoint_link"].flip(1))
        first, second = decoder(**batch), decoder(**turned)
    torch.testing.assert_close(first.pred_keypoints, second.pred_keypoints.flip(2))
    torch.testing.assert_close(first.pred_boxes, second.pred_boxes)


@pytest.mark.parametrize("front", [0, 7])
def test_attention_by_group_is_the_masked_attention_of_all(front: int) -> None:
    torch.manual_seed(0)
    config = make_transformer_config(PoseConfig.tiny())
    attention = GroupAttention(config, config.decoder_attention_heads)
    slot_mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    size = front + 5 * 4
    front_visible = torch.rand(front, size) < 0.7 if front else None
    if front:
        front_visible[:, 0] = True
    groups = QueryGroups(5, slot_mask, front_visible)
    visible = torch.zeros(2, size, size, dtype=torch.bool)
    visible[:, front:, front:] = groups.everywhere()
    if front:
        visible[:, :front] = front_visible
    states = [torch.randn(2, size, config.d_model) for _ in range(3)]
    by_group, _ = attention(*states, groups)
    blocked = torch.zeros(visible.shape).masked_fill(~visible, -torch.inf)[:, None]
    whole, _ = nn.Module.__call__(attention, *states, blocked)
    torch.testing.assert_close(by_group, whole)


def test_released_mask_needs_all_slots_and_changes_the_answer() -> None:
    batch = make_batch([2], [4])
    with torch.no_grad():
        clean = make_decoder()(**batch)
        leaky = make_decoder(group_mask="released")(**batch)
    assert leaky.pred_keypoints.shape == clean.pred_keypoints.shape
    difference = (leaky.pred_keypoints - clean.pred_keypoints).abs().max()
    assert 1e-6 < float(difference) < 0.1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"keypoint_mask": torch.ones(1, 3, dtype=torch.bool)}, ShapeError, "keypoint_mask"),
        ({"keypoint_link": torch.zeros(1, 2, 4, 63)}, ShapeError, r"\(B, M, K, 64\)"),
        ({"super_link": torch.zeros(1, 2, 4, 63)}, ShapeError, "super_link"),
        (
            {
                "super_link": torch.zeros(1, 17, 4, 64),
                "class_mask": torch.ones(1, 17, dtype=torch.bool),
            },
            InputError,
            "at most 16 classes",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_named(changes, error, message) -> None:
    with pytest.raises(error, match=message):
        make_decoder()(**make_batch([2], [2]) | changes)


# Training


def make_targets(counts: list[int], keypoints: list[int]) -> list[PoseTargets]:
    source = torch.Generator().manual_seed(2)
    targets = []
    for count, slots in zip(counts, keypoints, strict=True):
        boxes = torch.rand(count, 4, generator=source) * 0.3 + 0.3
        targets.append(
            PoseTargets(
                ObjectTargets(boxes, torch.arange(count) % 2),
                torch.rand(count, slots, 2, generator=source),
                torch.rand(count, slots, generator=source) < 0.7,
                boxes[:, 2] * boxes[:, 3],
            )
        )
    return targets


@pytest.mark.parametrize("counts", [[2, 3], [0, 2], [0, 0]])
def test_a_bfloat16_step_has_finite_losses_and_gradients(counts: list[int]) -> None:
    decoder = make_decoder().train()
    batch = make_batch([3, 2], [5, 2])
    batch["keypoint_link"].requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = decoder.compute_losses(**batch, targets=make_targets(counts, [5, 2]))
        loss = total_loss(losses, decoder.config)
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert any(name.startswith("loss_ce_dn") for name in losses) is bool(sum(counts))
    loss.backward()
    assert bool(loss.isfinite())
    assert batch["keypoint_link"].grad is not None
    for name, parameter in decoder.named_parameters():
        # Without an object nothing is to be learned.
        assert parameter.grad is not None or not sum(counts), name
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name


@pytest.mark.slow
def test_training_moves_keypoints_to_their_targets() -> None:
    torch.manual_seed(0)
    few = replace(PoseConfig.tiny(), dn_number=0, num_queries=4, num_groups=2)
    decoder = PoseDecoder(few).train()
    batch, targets = make_batch([2], [3]), make_targets([1], [3])
    batch["pixels"] = torch.randn(1, 3, 32, 64)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    history = []
    for _ in range(120):
        losses = decoder.compute_losses(**batch, targets=targets)
        optimizer.zero_grad()
        total_loss(losses, decoder.config).backward()
        optimizer.step()
        history.append(losses["loss_keypoints"].item())
    assert history[-1] < 0.4 * history[0]


def test_targets_must_be_of_what_is_asked_for() -> None:
    decoder = make_decoder().train()
    with pytest.raises(ShapeError, match="asks for 3 keypoints, its targets have 2"):
        decoder.compute_losses(**make_batch([2], [3]), targets=make_targets([1], [2]))
    with pytest.raises(ShapeError, match="expected is_visible"):
        PoseTargets(
            ObjectTargets(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)),
            torch.zeros(1, 2, 2),
            torch.ones(1, 3, dtype=torch.bool),
            torch.ones(1),
        )
