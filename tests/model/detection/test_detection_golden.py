from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.model.detection.detection_golden import Group, assert_close, inputs_of, make_decoder
from vl2_ros.model.decoders.attention.feature_levels import resize_mask
from vl2_ros.model.decoders.query_selection import make_proposals
from vl2_ros.model.detection.decoder import DetectionDecoder

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def eval_group(golden_dir: Path) -> Group:
    return Group(golden_dir, "gdino_eval")


@pytest.fixture(scope="module")
def decoder(golden_dir: Path, eval_group: Group) -> DetectionDecoder:
    return make_decoder(golden_dir, eval_group.info)


class Recorder:
    """Keeps what submodules take and give."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Any]] = {}

    def watch(self, name: str, module: torch.nn.Module) -> None:
        def keep(_: Any, args: tuple, kwargs: dict, output: Any) -> None:
            self.seen.setdefault(name, []).append((args, kwargs, output))

        module.register_forward_hook(keep, with_kwargs=True)

    def output(self, name: str, index: int = 0) -> Any:
        return self.seen[name][index][2]


@pytest.fixture(scope="module")
def recorded(golden_dir: Path, eval_group: Group) -> tuple[DetectionDecoder, Recorder, Any]:
    decoder = make_decoder(golden_dir, eval_group.info)
    recorder = Recorder()
    watched: dict[str, torch.nn.Module] = {
        "backbone": decoder.backbone,
        "levels": decoder.levels,
        "text_projection": decoder.text_projection,
        "encoder": decoder.encoder,
        "fpn": decoder.mask_branch.features,
        "token_norm": decoder.query_selection.norm,
        "selection": decoder.query_selection,
        "query_position": decoder.decoder.reference_points_head,
        "decoder": decoder.decoder,
    }
    for index, layer in enumerate(decoder.encoder.layers):
        watched[f"encoder{index}"] = layer
        watched[f"fusion{index}"] = layer.fusion_layer
    for index, layer in enumerate(decoder.decoder.layers):
        watched[f"decoder{index}"] = layer
    for name, module in watched.items():
        recorder.watch(name, module)
    with torch.no_grad():
        output = decoder(*inputs_of(eval_group))
    return decoder, recorder, output


def test_backbone_and_levels_match(recorded, eval_group: Group) -> None:
    decoder, recorder, _ = recorded
    image = recorder.output("levels")
    mask = eval_group["in.pixel_mask"].bool()
    for index, feature in enumerate(recorder.output("backbone").feature_maps, start=1):
        assert_close(feature, eval_group[f"backbone.stage{index}"])
        resized = resize_mask(mask, feature.shape[-2:])
        assert torch.equal(resized, eval_group[f"backbone.mask{index}"].bool())
    for level in range(len(image.level_sizes)):
        assert_close(image.level_map(image.tokens, level), eval_group[f"input_proj.{level}"])
        name = f"backbone.pos{level + 2}"
        if name in eval_group.tensors:
            sine = image.positions - decoder.levels.level_embed[level]
            assert_close(image.level_map(sine, level), eval_group[name])
    assert_close(image.tokens, eval_group["enc.in.vision"])
    assert_close(image.positions, eval_group["enc.in.vision_pos"])
    assert torch.equal(image.is_padding, eval_group["enc.in.vision_padding_mask"].bool())
    assert_close(image.valid_ratios, eval_group["enc.in.valid_ratios"])
    assert [list(size) for size in image.level_sizes] == (
        eval_group["enc.in.spatial_shapes"].tolist()
    )
    assert image.level_starts == eval_group["enc.in.level_start_index"].tolist()


def test_class_features_and_masks_match(recorded, eval_group: Group) -> None:
    _, recorder, _ = recorded
    projected = recorder.output("text_projection")
    assert_close(projected, eval_group["text.patch2query_all"])
    given = recorder.seen["encoder"][0][1]
    assert_close(given["text_features"], eval_group["text.features"])
    padding = eval_group["enc.in.text_padding_mask"].bool()
    assert torch.equal(given["text_attention_mask"], padding)
    allowed = eval_group["enc.in.text_self_attention_allowed"].bool()
    assert torch.equal(~given["text_self_attention_masks"], allowed)


def test_encoder_matches_layer_by_layer(recorded, eval_group: Group) -> None:
    decoder, recorder, _ = recorded
    references = recorder.seen["encoder0"][0][1]["reference_points"]
    assert_close(references, eval_group["enc.in.reference_points"])
    for index in range(decoder.config.encoder_layers):
        (vision, _), (text, _) = recorder.output(f"fusion{index}")
        assert_close(vision, eval_group[f"enc.layer{index}.fused_vision"])
        assert_close(text, eval_group[f"enc.layer{index}.fused_text"])
        (vision, text), _ = recorder.output(f"encoder{index}")
        assert_close(vision, eval_group[f"enc.layer{index}.vision"])
        assert_close(text, eval_group[f"enc.layer{index}.text"])


def test_query_selection_matches_and_indices_are_exact(recorded, eval_group: Group) -> None:
    decoder, recorder, _ = recorded
    image, selected = recorder.output("levels"), recorder.output("selection")
    proposals = make_proposals(image.is_padding, image.centres, image.level_sizes)
    assert_close(proposals, eval_group["two_stage.proposals"])
    features = recorder.output("token_norm")
    assert_close(features, eval_group["two_stage.object_query"])
    boxes = decoder.query_selection.box_head(features) + proposals
    assert_close(boxes, eval_group["two_stage.coord_logits"])
    # A product of features amplifies their rounding, so this stage starts from the golden ones.
    last = f"enc.layer{decoder.config.encoder_layers - 1}"
    class_logits = decoder.query_selection.class_logits
    logits = class_logits(eval_group["two_stage.object_query"], eval_group[f"{last}.text"])
    logits = logits.masked_fill(~eval_group["in.text_query_masks"].bool()[:, None], -torch.inf)
    assert_close(logits, eval_group["two_stage.class_logits"])
    assert_close(logits.amax(-1), eval_group["two_stage.topk_scores_in"])
    assert torch.equal(selected.token_index, eval_group["two_stage.topk_indices"])
    assert_close(selected.boxes_cxcywh_norm, eval_group["two_stage.reference_points"])


def test_decoder_matches_layer_by_layer(recorded, eval_group: Group) -> None:
    decoder, recorder, _ = recorded
    for index in range(decoder.config.decoder_layers):
        position = recorder.output("query_position", index)
        assert_close(position, eval_group[f"dec.layer{index}.query_pos"])
        hidden = recorder.output(f"decoder{index}")[0]
        assert_close(hidden, eval_group[f"dec.layer{index}.hidden"])
    normed, boxes = recorder.output("decoder")
    assert_close(torch.stack(normed, dim=1), eval_group["dec.normed_hidden"])
    assert_close(torch.stack(boxes[1:], dim=1), eval_group["dec.reference_points"])


def test_masks_and_outputs_match(recorded, eval_group: Group) -> None:
    _, recorder, output = recorded
    assert_close(recorder.seen["fpn"][0][0][0], eval_group["mask.fpn_out"])
    assert_close(output.mask_features, eval_group["mask.features"])
    assert_outputs(output, eval_group)
    index = torch.tensor([[3, 0], [1, 5]])
    chosen = eval_group["out.pred_masks"][torch.arange(2)[:, None], index]
    assert_close(output.decode_masks(index), chosen)


def assert_outputs(output: Any, group: Group) -> None:
    """The reference pads logits with -inf to max_text_len columns; ours end at N."""
    classes = output.pred_logits.shape[-1]
    assert_close(output.pred_logits, group["out.logits"][..., :classes])
    assert bool((group["out.logits"][..., classes:] == -torch.inf).all())
    assert_close(output.pred_boxes, group["out.pred_boxes"])
    assert_close(output.mask_logits, group["out.pred_masks"])


def test_small_image_in_a_large_canvas_matches(
    golden_dir: Path, eval_group: Group, decoder: DetectionDecoder
) -> None:
    group = Group(golden_dir, "gdino_eval_small")
    with torch.no_grad():
        inputs = inputs_of(eval_group, group["in.pixel_values"])
        scene = decoder.encode(*inputs)
        selected = decoder.select(scene)
        output = decoder(*inputs)
    proposals = make_proposals(scene.image.is_padding, scene.image.centres, scene.image.level_sizes)
    assert_close(proposals, group["two_stage.proposals"])
    golden = group["two_stage.topk_indices"]
    is_valid = proposals.isfinite().all(-1)
    # Invalid tokens tie, in any order.
    same = selected.token_index == golden
    assert bool((same | ~is_valid.gather(1, golden)).all())
    assert torch.equal(is_valid.gather(1, golden), is_valid.gather(1, selected.token_index))
    assert_close(selected.boxes_cxcywh_norm, group["two_stage.reference_points"])
    assert_outputs(output, group)


def test_caller_given_mask_reproduces_the_zero_red_variant(
    golden_dir: Path, eval_group: Group, decoder: DetectionDecoder
) -> None:
    group = Group(golden_dir, "gdino_eval_zero_red")
    holes = eval_group["in.pixel_mask"].bool() & ~group["in.pixel_mask"].bool()
    assert bool(holes.any())
    pixels = eval_group["in.pixel_values"].clone()
    pixels[:, 0][holes] = 0.0
    recomputed = inputs_of(eval_group, pixels)
    assert torch.equal(recomputed[3], group["in.pixel_mask"].bool())
    with torch.no_grad():
        image = decoder.encode(*recomputed).image
        output = decoder(*recomputed)
    assert_close(image.valid_ratios, group["enc.in.valid_ratios"])
    assert torch.equal(image.is_padding, group["enc.in.vision_padding_mask"].bool())
    classes = output.pred_logits.shape[-1]
    assert_close(output.pred_logits, group["out.logits"][..., :classes])
    assert_close(output.pred_boxes, group["out.pred_boxes"])
