"""A complete release, from its folder, a photo and a sentence to ids and named keypoints."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.model.checkpoint.test_release_tiny import (
    BOX_TOLERANCE_PX,
    DECODER_TOLERANCE,
    FORMS,
    PIXEL_TOLERANCE,
    STATE_TOLERANCE,
    Case,
    Release,
    assert_close,
)
from tests.model.pose.pose_golden import lay_out
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.language.super_link import pack_pose
from vl2_ros.processing.images.preprocess import preprocess_pose
from vl2_ros.processing.language.pose_prompt import pose_conversation
from vl2_ros.processing.language.prompt import encode_conversation
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.processing.results.pose import make_poses
from vl2_ros.runtime.engine import Engines
from vl2_ros.runtime.torch_backend.engine import TorchLanguageModel, make_decoder, make_engine
from vl2_ros.structures import Frame, Route

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def case(golden_dir):
    return Case.read(golden_dir / "release_tiny", "pose")


@pytest.fixture(scope="module", params=FORMS)
def release(golden_dir, request):
    folder = golden_dir / "release_tiny" / request.param
    config = json.loads((folder / "config.json").read_text())
    model = load_model(folder)
    # The reference evaluates with its own mask, see `PoseConfig.group_mask`.
    model.pose_decoder.config = replace(model.pose_decoder.config, group_mask="released")
    return Release(folder, model, load_tokenizer(folder), config)


@torch.inference_mode()
def test_pose_ids_and_states_come_from_photo_and_sentences(release, case):
    config, model = case.processing(release), release.model
    question, answer = (turn["value"] for turn in case.info["conversation"])
    conversation = question.removeprefix("<image>\n"), re.sub(r"\[EMB\d*\]", "", answer)
    names = case.info["object_names"], case.info["keypoint_names"]
    assert pose_conversation(*names, config) == conversation
    tiles = case.tiles(config)
    ids, labels = encode_conversation(
        [conversation], release.tokenizer, config, tile_counts=[len(tiles)]
    )
    assert ids.tolist() == case["input_ids"][0].tolist()
    assert labels.tolist() == case["labels"][0].tolist()

    given, image_tokens = torch.from_numpy(ids)[None], model.encode_images(tiles).image_tokens
    output = model(given, None, image_tokens, labels=torch.from_numpy(labels)[None])
    assert_close(image_tokens, case["bridged"], STATE_TOLERANCE)
    assert_close(output.input_embeds, case["llm_inputs_embeds"], STATE_TOLERANCE)
    assert_close(output.hidden, case["hidden_last"], STATE_TOLERANCE)
    assert_close(output.loss[None], case["loss"], STATE_TOLERANCE)
    groups = model.super_link.gather(output.hidden, given)[0]
    assert_close(torch.stack([one.states for one in groups]), case["slot_hidden"], STATE_TOLERANCE)


def prepare(release, case):
    """The pose decoder's image and mask, from the photo or, without it, from stored pixels."""
    config = case.processing(release)
    frame = case.frame or Frame(np.zeros((*case.frame_hw, 3), np.uint8))
    pixels, pixel_mask, letterbox = preprocess_pose(frame, config)
    pixels, pixel_mask = torch.from_numpy(pixels), torch.from_numpy(pixel_mask)
    height, width = letterbox.model_hw
    assert [height, width] == case.info["decoder_preprocess"]["size_hw"]
    assert [1, *pixels.shape] == case["padded_pixels_shape"].tolist()
    assert torch.equal(~pixel_mask[None], case["pad_mask"].bool())
    if case.frame is None:
        pixels = torch.zeros_like(pixels)
        pixels[:, :height, :width] = case["decoder_image"]
    assert_close(pixels[:, :height, :width], case["decoder_image"], PIXEL_TOLERANCE)
    return pixels[None], pixel_mask[None], letterbox


@torch.inference_mode()
def test_poses_from_photo_and_ids(release, case):
    config, model = case.processing(release), release.model
    pixels, pixel_mask, letterbox = prepare(release, case)
    ids = case["input_ids"]
    hidden = model(ids, None, model.encode_images(case.tiles(config)).image_tokens).hidden
    groups = model.super_link.gather(hidden, ids)
    asked = pack_pose(groups, [len(case.info["object_names"])], like=groups[0][0].states)
    assert torch.equal(asked.object_mask, case["obj_query_masks"].bool())
    assert torch.equal(asked.keypoint_mask, case["kpt_query_masks"].bool())

    link = (asked.objects, asked.object_mask, asked.keypoints, asked.keypoint_mask)
    decoder = model.pose_decoder
    scene = decoder.encode(pixels, *link, pixel_mask)
    selected = decoder.select(scene)
    assert torch.equal(selected.token_index, case["encoder_topk"])
    assert torch.equal(decoder.decode(scene, selected).chosen, case["group_topk"])
    output = decoder(pixels, *link, pixel_mask)
    assert_close(output.pred_boxes, case["pred_boxes"], DECODER_TOLERANCE)
    assert_close(lay_out(output.pred_keypoints), case["pred_keypoints"], DECODER_TOLERANCE)
    real = asked.object_mask[0]
    assert_close(output.pred_logits[..., real], case["pred_logits"][..., real], DECODER_TOLERANCE)
    assert bool((output.pred_logits[..., ~real] == -torch.inf).all())

    raw = (output.pred_logits, output.pred_boxes, output.pred_keypoints)
    poses = make_poses(
        *(array[0].numpy() for array in raw),
        objects=case.info["object_names"],
        keypoints=case.info["keypoint_names"],
        frame_hw=letterbox.frame_hw,
        top_k=len(case["post_scores"]),
    )
    assert_poses(poses, case)


def test_poses_come_out_of_the_pipeline(release, case):
    if case.frame is None:
        pytest.skip("the photo is in no photo folder; set VL2_GOLDEN to the complete vectors")
    model, device = release.model, torch.device("cpu")
    engines = Engines(
        make_engine(model, "vision_encoder", device),
        TorchLanguageModel(model, device),
        {"pose_decoder": make_decoder(model, "pose_decoder", device)},
    )
    pipeline = Pipeline(engines, release.tokenizer, case.processing(release))
    assert Route.POSE in pipeline.info.routes
    branch = pipeline.pose(
        case.frame,
        case.info["object_names"],
        case.info["keypoint_names"],
        max_instances=len(case["post_scores"]),
    )
    assert (branch.route, branch.phrases) == (Route.POSE, tuple(case.info["object_names"]))
    assert_poses(branch.detections, case)


def assert_poses(poses, case):
    scores = case["post_scores"]
    assert_close(torch.from_numpy(poses.scores), scores, STATE_TOLERANCE)
    ids = {int(place): label for place, label in case.info["id_mapping"].items()}
    assert [ids[place] for place in poses.class_ids.tolist()] == case["post_labels"].tolist()
    height, width = case.info["original_hw"]
    boxes = case["post_boxes"].clamp(min=0)
    boxes = torch.minimum(boxes, torch.tensor([width, height, width, height]))
    assert_close(torch.from_numpy(poses.boxes_xyxy), boxes, BOX_TOLERANCE_PX)
    points = case["post_keypoints"].unflatten(1, (-1, 3))[..., :2]
    assert poses.keypoints.names == tuple(case.info["keypoint_names"])
    assert_close(torch.from_numpy(poses.keypoints.points_xy), points, BOX_TOLERANCE_PX)
