from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.detection.decoder import DetectionDecoder

HEIGHT, WIDTH = 96, 128


def conv_config() -> DetectionConfig:
    """Two token levels, convolutional trunk, scaled logits: the form of the embedded model."""
    return replace(
        DetectionConfig.tiny(),
        backbone_config={
            "model_type": "resnet",
            "layer_type": "basic",
            "embedding_size": 8,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
        },
        feature_stages=("stage3", "stage4"),
        lateral_stages=("stage2", "stage1"),
        num_feature_levels=2,
        mask_branch_width=16,
        norm_groups=8,
        class_logits="scaled_dot",
        fusion_init_scale=0.1,
        mask_loss_points=0,
        mask_loss_layers="last",
    )


@pytest.fixture(scope="module", params=["swin", "resnet"])
def decoder(request: pytest.FixtureRequest) -> DetectionDecoder:
    torch.manual_seed(3)
    config = DetectionConfig.tiny() if request.param == "swin" else conv_config()
    return perturb(DetectionDecoder(replace(config, fusion_init_scale=0.3))).eval()


def perturb(decoder: DetectionDecoder) -> DetectionDecoder:
    """Make the parts count that start at zero."""
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return decoder


def make_batch(config: DetectionConfig, counts: list[int], seed: int = 0) -> list[Tensor]:
    """Return pixels, super link, class mask and pixel mask; every second image is smaller."""
    source = torch.Generator().manual_seed(seed)
    batch, classes = len(counts), max(counts)
    pixels = torch.randn(batch, 3, HEIGHT, WIDTH, generator=source)
    pixel_mask = torch.ones(batch, HEIGHT, WIDTH, dtype=torch.bool)
    pixel_mask[1::2, 70:] = False
    pixel_mask[1::2, :, 100:] = False
    shape = (batch, classes, config.num_embs, config.l_hidden_size)
    class_mask = torch.arange(classes) < torch.tensor(counts)[:, None]
    super_link = torch.randn(shape, generator=source) * class_mask[..., None, None]
    return [pixels * pixel_mask[:, None], super_link, class_mask, pixel_mask]


@torch.no_grad()
def run(decoder: DetectionDecoder, batch: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    output = decoder(*batch)
    return output.pred_logits, output.pred_boxes, output.mask_logits


def assert_same(ours: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> None:
    for a, b in zip(ours, other, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-4)


def test_output_has_the_stated_shapes(decoder: DetectionDecoder) -> None:
    batch = make_batch(decoder.config, [5, 3])
    output = decoder(*batch)
    queries = decoder.config.num_queries
    assert output.pred_logits.shape == (2, queries, 5)
    assert output.pred_boxes.shape == (2, queries, 4)
    assert output.mask_logits.shape == (2, queries, HEIGHT // 4, WIDTH // 4)
    assert output.pred_logits.dtype == output.pred_boxes.dtype == torch.float32
    assert bool(((output.pred_boxes >= 0) & (output.pred_boxes <= 1)).all())
    assert torch.equal(output.pred_logits.isinf().all(1), ~batch[2])


def test_a_image_gets_the_same_answer_alone_and_in_a_batch(decoder: DetectionDecoder) -> None:
    counts = [5, 2, 3]
    batch = make_batch(decoder.config, counts)
    together = run(decoder, batch)
    for row, count in enumerate(counts):
        alone = run(
            decoder,
            [
                batch[0][row : row + 1],
                batch[1][row : row + 1, :count],
                batch[2][row : row + 1, :count],
                batch[3][row : row + 1],
            ],
        )
        logits, boxes, masks = (tensor[row : row + 1] for tensor in together)
        assert_same(alone, (logits[..., :count], boxes, masks))


def test_a_missing_pixel_mask_means_no_padding(decoder: DetectionDecoder) -> None:
    pixels, super_link, class_mask, _ = make_batch(decoder.config, [2])
    full = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    with_mask = run(decoder, [pixels, super_link, class_mask, full])
    assert_same(run(decoder, [pixels, super_link, class_mask]), with_mask)


def test_a_image_without_classes_leaves_the_others_alone(decoder: DetectionDecoder) -> None:
    batch = make_batch(decoder.config, [4, 0])
    logits, boxes, masks = run(decoder, batch)
    assert not logits.isnan().any()
    assert bool(boxes.isfinite().all() and masks.isfinite().all())
    assert bool((logits[1] == -torch.inf).all())
    alone = run(decoder, [tensor[:1] for tensor in batch])
    assert_same((logits[:1], boxes[:1], masks[:1]), alone)


def test_no_class_at_all_gives_logits_without_columns(decoder: DetectionDecoder) -> None:
    logits, boxes, _ = run(decoder, make_batch(decoder.config, [0, 0]))
    assert logits.shape == (2, decoder.config.num_queries, 0)
    assert bool(boxes.isfinite().all())


def test_too_many_classes_are_refused_with_the_way_out(decoder: DetectionDecoder) -> None:
    batch = make_batch(decoder.config, [decoder.config.max_text_len + 1])
    with pytest.raises(InputError, match="split the list"):
        decoder(*batch)


def test_tensors_that_do_not_fit_are_refused(decoder: DetectionDecoder) -> None:
    pixels, super_link, class_mask, pixel_mask = make_batch(decoder.config, [2, 2])
    with pytest.raises(ShapeError, match="super_link"):
        decoder(pixels, super_link[..., :-1], class_mask, pixel_mask)
    with pytest.raises(ShapeError, match="class_mask"):
        decoder(pixels, super_link, class_mask[:, :1], pixel_mask)
    with pytest.raises(ShapeError, match="pixel_mask"):
        decoder(pixels, super_link, class_mask, pixel_mask[:, 1:])


def test_masks_of_chosen_queries_equal_those_of_all(decoder: DetectionDecoder) -> None:
    with torch.no_grad():
        output = decoder(*make_batch(decoder.config, [2, 2]))
    index = torch.tensor([[4, 0, 4], [1, 2, 3]])
    rows = torch.arange(2)[:, None]
    chosen = output.decode_masks(index)
    torch.testing.assert_close(chosen, output.mask_logits[rows, index])


def test_a_image_with_fewer_tokens_than_queries_works(decoder: DetectionDecoder) -> None:
    _, super_link, class_mask, _ = make_batch(decoder.config, [2])
    logits, boxes, _ = run(decoder, [torch.randn(1, 3, 32, 32), super_link, class_mask])
    assert logits.shape[1] == boxes.shape[1] <= decoder.config.num_queries


def test_a_size_that_no_stride_divides_works(decoder: DetectionDecoder) -> None:
    _, super_link, class_mask, _ = make_batch(decoder.config, [2])
    _, boxes, masks = run(decoder, [torch.randn(1, 3, 75, 101), super_link, class_mask])
    assert bool(boxes.isfinite().all() and masks.isfinite().all())


def test_half_precision_weights_give_float32_answers(decoder: DetectionDecoder) -> None:
    config = decoder.config
    half = DetectionDecoder(config).eval()
    half.load_state_dict(decoder.state_dict())
    half.to(torch.bfloat16)
    pixels, super_link, class_mask, pixel_mask = make_batch(config, [3])
    logits, boxes, masks = run(
        half, [pixels, super_link.to(torch.bfloat16), class_mask, pixel_mask]
    )
    assert logits.dtype == boxes.dtype == masks.dtype == torch.float32
    assert bool(boxes.isfinite().all() and masks.isfinite().all())


def test_fresh_boxes_start_as_their_proposals() -> None:
    torch.manual_seed(0)
    decoder = DetectionDecoder(DetectionConfig.tiny()).eval()
    with torch.no_grad():
        batch = make_batch(decoder.config, [3])
        selected = decoder.select(decoder.encode(*batch))
        output = decoder(*batch)
    torch.testing.assert_close(output.pred_boxes, selected.boxes_cxcywh_norm, atol=1e-4, rtol=0)
    first = decoder.encoder.layers[0].fusion_layer
    assert bool((first.vision_param == 1e-4).all())


def test_shared_box_head_is_stored_once(decoder: DetectionDecoder) -> None:
    names = [name for name in decoder.state_dict() if "bbox_embed" in name or "box_head" in name]
    assert sorted({name.split(".layers")[0] for name in names}) == [
        "box_head",
        "query_selection.box_head",
    ]


def test_the_full_size_has_65_4_million_parameters() -> None:
    with torch.device("meta"):
        full = DetectionDecoder(DetectionConfig.full_size())
    assert round(sum(parameter.numel() for parameter in full.parameters()) / 1e6, 1) == 65.4
    backbone = sum(parameter.numel() for parameter in full.backbone.parameters())
    assert round(backbone / 1e6, 1) == 27.5
    assert not any(name.startswith("backbone.swin.layernorm") for name in full.state_dict())
