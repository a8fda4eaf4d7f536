"""A complete release, from its folder, a photo and a sentence to ids, boxes and masks."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import DynamicCache

from vl2_ros.flow.generate import generate
from vl2_ros.model.checkpoint.folder import describe_checkpoint, load_model
from vl2_ros.model.checkpoint.shards import find_weight_files, iterate_tensors
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import (
    fit_letterbox,
    preprocess_decoder,
    preprocess_vision,
    read_image,
    resize_decoder,
)
from vl2_ros.processing.images.regions import region_masks_from_boxes
from vl2_ros.processing.language.prompt import encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.processing.results.detection import resize_masks, select_instances
from vl2_ros.runtime.torch_backend.engine import TorchLanguageSession
from vl2_ros.structures import Frame

pytestmark = pytest.mark.golden

SHARED = Path(__file__).resolve().parents[4] / "shared"
FORMS = ("bin", "safetensors")

#: From the README of the reference vectors.
STATE_TOLERANCE = 1e-4
DECODER_TOLERANCE = 2e-4
BOX_TOLERANCE_PX = 0.05
MASK_FLIP_SHARE = 1e-3
#: Another JPEG or resize library may differ by one 8-bit step in a few places.
PIXEL_TOLERANCE = 0.021


@dataclass(frozen=True)
class Release:
    folder: Path
    model: VisionLLM
    tokenizer: Tokenizer
    config: dict[str, Any]


@dataclass(frozen=True)
class Case:
    info: dict[str, Any]
    tensors: dict[str, Tensor]
    photo_folders: tuple[Path, ...]

    @classmethod
    def read(cls, root: Path, name: str) -> Case:
        info = json.loads((root / f"{name}.json").read_text())
        tensors = load_file(root / f"{name}.safetensors")
        shared = (root.parents[2], SHARED)
        return cls(info, tensors, tuple(folder / "data" / "photos" for folder in shared))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @cached_property
    def frame(self) -> Frame | None:
        """The photo, or None where no photo folder has it: then stored pixels stand in."""
        for folder in self.photo_folders:
            path = folder / self.info["photo"]["file"]
            content = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(content).hexdigest() == self.info["photo"]["sha256"]:
                return read_image(content)
        return None

    @property
    def frame_hw(self) -> tuple[int, int]:
        return self.info["photo"]["height"], self.info["photo"]["width"]

    def processing(self, release: Release) -> ProcessingConfig:
        config = ProcessingConfig.from_model_config(release.config)
        config = replace(config, max_tiles=self.info["clip_preprocess"]["max_tile"])
        if "decoder_preprocess" not in self.info:
            return config
        rule = self.info["decoder_preprocess"]["scale_rule"]
        found = re.search(r"min\((?P<long>\d+)/long, (?P<short>\d+)/short\)", rule)
        found = found or re.search(r"short side (?P<short>\d+), long side <= (?P<long>\d+)", rule)
        long, short = found["long"], found["short"]
        return replace(config, decoder_long=int(long), decoder_short=int(short))

    def tiles(self, config: ProcessingConfig) -> Tensor:
        if self.frame is None:
            return self["clip_pixels"]
        tiles = torch.from_numpy(preprocess_vision(self.frame, config))
        assert_close(tiles, self["clip_pixels"], PIXEL_TOLERANCE)
        return tiles


@pytest.fixture(scope="module")
def root(golden_dir):
    return golden_dir / "release_tiny"


@pytest.fixture(scope="module", params=FORMS)
def release(root, request):
    folder = root / request.param
    config = json.loads((folder / "config.json").read_text())
    return Release(folder, load_model(folder), load_tokenizer(folder), config)


@pytest.fixture
def read_case(root):
    return lambda name: Case.read(root, name)


def assert_close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    difference = (actual.double() - expected.double()).abs().max().item()
    assert difference <= tolerance, f"off by {difference:.2e}, tolerance {tolerance:.0e}"


def recorded_session(model):
    """A language session that keeps what it was fed and what came out."""

    class Recorder(TorchLanguageSession):
        def feed(self, input_ids, image_tokens=None, region_features=None, *, logit_count=1):
            step = super().feed(input_ids, image_tokens, region_features, logit_count=logit_count)
            steps.append((len(input_ids), step.last_logits, step.hidden))
            return step

    steps: list[tuple[int, np.ndarray, np.ndarray]] = []
    return Recorder(model, torch.device("cpu")), steps


# Weights


def test_both_forms_hold_the_keys_that_the_record_counts(root):
    counts = json.loads((root / "release.json").read_text())["key_counts"]
    for form in FORMS:
        names = [name for name, _ in iterate_tensors(find_weight_files(root / form))]
        assert len(names) == len(set(names)) == counts[form]


def test_both_forms_give_equal_weights(root):
    first, second = (load_model(root / form).state_dict() for form in FORMS)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert torch.equal(tensor, second[name]), name


def test_network_and_tokenizer_agree_on_the_special_tokens(root, release):
    assert release.model.tokens == release.tokenizer.tokens
    ids = json.loads((root / "release.json").read_text())["token_ids"]
    assert release.model.tokens.image_patch == ids["<im_patch>"]
    assert release.model.tokens.routing[ids["[POSE]"]] == "[POSE]"


def test_every_decoder_can_be_used(release):
    info = describe_checkpoint(release.folder)
    expected = ("detection_decoder", "pose_decoder", "image_generation", "image_editing")
    assert info.decoders == expected
    assert info.unavailable == {}


# Chat


@torch.inference_mode()
def test_chat_answers_the_photo_token_by_token(release, read_case):
    case = read_case("chat")
    config, model = case.processing(release), release.model
    tiles = case.tiles(config)
    image_tokens = model.encode_images(tiles).image_tokens
    assert_close(image_tokens, case["bridged"], STATE_TOLERANCE)

    question = case.info["question"].removeprefix("<image>\n")
    prompt, _ = encode_conversation(
        [(question, None)], release.tokenizer, config, tile_counts=[len(tiles)]
    )
    assert prompt.tolist() == case["prompt_ids"][0].tolist()

    session, steps = recorded_session(model)
    answer = generate(
        session,
        prompt,
        tokens=release.tokenizer.tokens,
        num_embs=config.num_embs,
        num_embs_gen=config.num_embs_gen,
        max_new_tokens=case["generated_ids"].numel(),
        image_tokens=image_tokens.flatten(0, 1),
    )
    generated = [token.token_id for token in answer]
    assert generated == case["generated_ids"][0].tolist()
    assert [length for length, _, _ in steps] == case["step_lengths"].tolist()
    logits = torch.from_numpy(np.stack([row for _, row, _ in steps]))
    assert_close(logits, case["step_logits"], STATE_TOLERANCE)
    hidden = torch.from_numpy(np.concatenate([states for _, _, states in steps]))
    assert_close(hidden[None], case["cache_hidden_last"], STATE_TOLERANCE)
    decoded = release.tokenizer.decode(generated, keep_special=True)
    assert "".join(decoded.split()) == "".join(case.info["decoded"].split())


@torch.inference_mode()
def test_chat_in_one_pass_gives_the_states_of_the_steps(release, read_case):
    case = read_case("chat")
    model = release.model
    image_tokens = model.encode_images(case["clip_pixels"]).image_tokens
    output = model(case["expanded_ids"], None, image_tokens)
    assert_close(output.hidden, case["one_pass_hidden_last"], STATE_TOLERANCE)


# Detection


@torch.inference_mode()
def test_detection_ids_and_states_come_from_photo_and_sentences(release, read_case):
    case = read_case("det")
    config, model = case.processing(release), release.model
    question, answer = (turn["value"] for turn in case.info["conversation"])
    answer = re.sub(r"\[EMB\d*\]", "", answer)
    assert question.startswith("<image>\n")
    tiles = case.tiles(config)
    ids, labels = encode_conversation(
        [(question, answer)], release.tokenizer, config, tile_counts=[len(tiles)]
    )
    assert ids.tolist() == case["input_ids"][0].tolist()
    assert labels.tolist() == case["labels"][0].tolist()

    output = model(
        torch.from_numpy(ids)[None],
        None,
        model.encode_images(tiles).image_tokens,
        labels=torch.from_numpy(labels)[None],
    )
    assert_close(output.input_embeds, case["llm_inputs_embeds"], STATE_TOLERANCE)
    assert_close(output.hidden, case["hidden_last"], STATE_TOLERANCE)
    assert_close(output.loss[None], case["loss"], STATE_TOLERANCE)
    groups = model.super_link.gather(output.hidden, torch.from_numpy(ids)[None])[0]
    states = torch.stack([group.states for group in groups])
    assert_close(states, case["slot_hidden"], STATE_TOLERANCE)


@torch.inference_mode()
def run_detection(release, case):
    """From photo and stored ids to what the decoder says, and the way back to camera pixels."""
    config, model = case.processing(release), release.model
    letterbox = fit_letterbox(case.frame_hw, config)
    height, width = letterbox.model_hw
    if case.frame is None:
        pixels = torch.zeros(3, *letterbox.padded_hw)
        pixels[:, :height, :width] = case["decoder_image"]
        pixel_mask = torch.zeros(letterbox.padded_hw, dtype=torch.bool)
        pixel_mask[:height, :width] = True
    else:
        resized = resize_decoder(case.frame.rgb, letterbox)
        steps = resized[..., ::-1].astype(int) - case["decoder_uint8_bgr"].numpy()
        assert np.abs(steps).max() <= 1
        arrays = preprocess_decoder(case.frame, config)
        pixels, pixel_mask = map(torch.from_numpy, arrays[:2])
        assert_close(pixels[:, :height, :width], case["decoder_image"], PIXEL_TOLERANCE)
    assert [height, width] == case.info["decoder_preprocess"]["size_hw"]
    assert [1, *pixels.shape] == case["padded_pixels_shape"].tolist()
    assert torch.equal(pixel_mask[None], case["pixel_mask"].bool())

    ids = case["input_ids"]
    hidden = model(ids, None, model.encode_images(case.tiles(config)).image_tokens).hidden
    super_link, class_mask = model.super_link.gather_detection(hidden, ids)
    inputs = pixels[None], super_link, class_mask, pixel_mask[None]
    scene = model.detection_decoder.encode(*inputs)
    selected = model.detection_decoder.select(scene).token_index
    return model.detection_decoder(*inputs), selected, (super_link, class_mask), letterbox


@pytest.fixture(scope="module")
def detected(release, root):
    case = Case.read(root, "det")
    return case, *run_detection(release, case)


def test_detection_condition(detected):
    case, _, _, (super_link, class_mask), _ = detected
    assert_close(super_link, case["text_query"], STATE_TOLERANCE)
    assert torch.equal(class_mask, case["text_query_masks"].bool())


def test_detection_logits_boxes_and_masks(detected):
    case, output, selected, _, _ = detected
    count = case.info["num_classes"]
    assert torch.equal(selected, case["encoder_topk"])
    assert output.pred_logits.shape[2] == count
    assert_close(output.pred_logits, case["logits"][..., :count], DECODER_TOLERANCE)
    assert_close(output.pred_boxes, case["pred_boxes"], DECODER_TOLERANCE)
    assert_close(output.mask_logits, case["pred_masks"], DECODER_TOLERANCE)


def select(case, output, top_k):
    return select_instances(
        output.pred_logits[0].numpy(),
        output.pred_boxes[0].numpy(),
        num_classes=case.info["num_classes"],
        frame_hw=tuple(case.info["original_hw"]),
        top_k=top_k,
    )


@pytest.mark.parametrize("prefix", ["post", "seg"])
def test_detections_in_pixels_of_the_photo(detected, prefix):
    case, output = detected[:2]
    expected = case[f"{prefix}_scores"]
    chosen = select(case, output, len(expected))
    assert chosen.class_ids.tolist() == case[f"{prefix}_labels"].tolist()
    assert_close(torch.from_numpy(chosen.scores), expected, STATE_TOLERANCE)
    boxes = torch.from_numpy(chosen.boxes_xyxy)
    assert_close(boxes, case[f"{prefix}_boxes"], BOX_TOLERANCE_PX)


def test_instance_masks_at_the_size_of_the_photo(detected):
    case, output, _, _, letterbox = detected
    expected = np.unpackbits(case["seg_masks_packed"].numpy(), axis=1)
    height, width = case.info["original_hw"]
    expected = expected[:, : height * width].reshape(-1, height, width).astype(bool)
    assert expected.sum(axis=(1, 2)).tolist() == case["seg_mask_area"].tolist()
    chosen = select(case, output, len(expected))
    masks = resize_masks(output.mask_logits[0].numpy()[chosen.query_index], letterbox)
    flips = (masks != expected).mean(axis=(1, 2))
    assert flips.max() <= MASK_FLIP_SHARE, f"{flips.max():.2%} of the pixels of a mask differ"


# Region


@torch.inference_mode()
def test_region_is_described_token_by_token(release, read_case):
    case = read_case("region")
    config, model = case.processing(release), release.model
    tiles = case.tiles(config)
    box = np.array([case.info["box_xyxy_pixels"]])
    masks = torch.from_numpy(region_masks_from_boxes(box, case.frame_hw, config))
    assert torch.equal(masks, case["region_mask"])
    ids, _ = encode_conversation(
        [(case.info["question"], None)], release.tokenizer, config, tile_counts=[len(tiles)]
    )
    assert ids.tolist() == case["input_ids"][0].tolist()

    features = model.encode_images(tiles)
    # The region refers to the whole image, which is the last tile.
    regions = model.encode_regions(tiles, masks, features.region_maps, [len(tiles) - 1])
    assert_close(regions, case["region_features"], STATE_TOLERANCE)

    prompt = torch.from_numpy(ids)[None]
    output = model(prompt, None, features.image_tokens, regions)
    assert_close(output.input_embeds, case["llm_inputs_embeds"], STATE_TOLERANCE)
    assert_close(output.hidden, case["hidden_last"], STATE_TOLERANCE)
    last = case["logits_last16"].shape[1]
    assert_close(output.logits[:, -last:], case["logits_last16"], STATE_TOLERANCE)
    assert torch.equal(output.logits.argmax(-1), case["argmax_all"])

    cache = DynamicCache()
    step = model.step(prompt, cache, features.image_tokens, regions)
    rows = [step.last_logits]
    while len(rows) < case["generated_ids"].numel():
        rows.append(model.step(rows[-1].argmax(-1, keepdim=True), cache).last_logits)
    logits = torch.cat(rows)
    assert logits.argmax(-1).tolist() == case["generated_ids"][0].tolist()
    assert_close(logits, case["step_logits"], STATE_TOLERANCE)
