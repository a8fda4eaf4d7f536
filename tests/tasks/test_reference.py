"""Prompts, regions and examples through the engines and the pipeline against reference vectors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.model.conftest import build_core_model
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.model.language.slots import gather_slots
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.images.preprocess import read_image
from vl2_ros.processing.images.regions import region_mask
from vl2_ros.processing.language.command_prompt import place_regions
from vl2_ros.processing.language.pose_prompt import pose_conversation
from vl2_ros.processing.language.prompt import encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.runtime.torch_backend.engine import TorchLanguageSession, make_engine
from vl2_ros.structures import Command, Frame, PromptKind, VisualPrompt

pytestmark = pytest.mark.golden

TOLERANCE = 1e-4
CPU = torch.device("cpu")
REPOSITORY = Path(__file__).resolve().parents[2]


class Core:
    """One file of reference vectors, numbered tensors as lists."""

    def __init__(self, folder: Path, name: str) -> None:
        self.info = json.loads((folder / f"{name}.json").read_text())
        self.tensors = load_file(folder / f"{name}.safetensors")

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensors[name].numpy()

    def numbered(self, stem: str) -> list[np.ndarray]:
        names = (f"{stem}_{index}" for index in range(len(self.tensors)))
        return [self[name] for name in names if name in self.tensors]


@pytest.fixture(scope="module")
def core(golden_dir: Path) -> Any:
    return lambda name: Core(golden_dir, name)


@pytest.fixture(scope="module")
def model(core: Any) -> VisionLLM:
    weights = core("core_weights")
    return build_core_model(weights.info, weights.tensors)


def run_row(
    model: VisionLLM, golden: Core, row: int, tiles: np.ndarray, masks: np.ndarray, index: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run one row through the engines; return region features, hidden states and slot states."""
    encoded = make_engine(model, "vision_encoder", CPU).run({"pixels": tiles})
    regions = make_engine(model, "region_encoder", CPU).run(
        {
            "pixels": tiles,
            "region_maps": encoded["region_maps"],
            "masks": masks,
            "tile_index": np.array(index),
        }
    )["region_features"]
    ids = golden["input_ids"][row][golden["attention_mask"][row].astype(bool)]
    session = TorchLanguageSession(model, CPU)
    hidden = session.feed(ids, encoded["image_tokens"], regions).hidden
    groups = gather_slots(hidden, ids.tolist(), model.tokens, model.super_link.counts)
    return regions, hidden, np.stack([group.states for group in groups])


def assert_row(golden: Core, row: int, hidden: np.ndarray, states: np.ndarray) -> None:
    expected = golden["llm_hidden_last"][row][golden["attention_mask"][row].astype(bool)]
    np.testing.assert_allclose(hidden, expected, atol=TOLERANCE)
    np.testing.assert_allclose(states, golden["text_query"][row][: len(states)], atol=TOLERANCE)


def test_regions_through_the_engines(model: VisionLLM, core: Any) -> None:
    golden = core("core_region")
    masks = golden.numbered("regions")
    # The second row has a region of more pixels than the reference draws; its first 2304 alone are
    # in the stored states.
    tiles = golden["images"][:1]
    regions, hidden, states = run_row(model, golden, 0, tiles, masks[0], [0] * len(masks[0]))
    count = len(masks[0])
    np.testing.assert_allclose(regions, golden["region_features"][:count], atol=TOLERANCE)
    assert_row(golden, 0, hidden, states)
    regions, _, _ = run_row(model, golden, 1, golden["images"][1:], masks[1], [0] * len(masks[1]))
    np.testing.assert_allclose(
        regions, golden["region_features_all_points"][count:], atol=TOLERANCE
    )


def test_examples_through_the_engines(model: VisionLLM, core: Any) -> None:
    golden = core("core_incontext")
    for row, (tiles, masks) in enumerate(
        zip(golden.numbered("images"), golden.numbered("regions"), strict=True)
    ):
        ends = np.cumsum(golden["num_splits"][row])
        regions, hidden, states = run_row(
            model, golden, row, tiles, masks, [int(end) - 1 for end in ends[: len(masks)]]
        )
        np.testing.assert_allclose(regions[0], golden["region_features"][row], atol=TOLERANCE)
        assert_row(golden, row, hidden, states)


def test_pose_groups_are_objects_first(model: VisionLLM, core: Any) -> None:
    golden = core("core_pose")
    ids = golden["input_ids"][0]
    encoded = make_engine(model, "vision_encoder", CPU).run({"pixels": golden["images"]})
    hidden = TorchLanguageSession(model, CPU).feed(ids, encoded["image_tokens"]).hidden
    groups = gather_slots(hidden, ids.tolist(), model.tokens, model.super_link.counts)
    objects = [group.states for group in groups if group.route == "[DET]"]
    keypoints = [group.states for group in groups if group.route == "[POSE]"]
    assert len(objects) == golden["obj_query_masks"].sum()
    assert len(keypoints) == golden["kpt_query_masks"].sum()
    np.testing.assert_allclose(objects, golden["obj_querys"][0][:1], atol=TOLERANCE)
    np.testing.assert_allclose(keypoints, golden["kpt_querys"][0][:3], atol=TOLERANCE)


@pytest.fixture(scope="module", params=["bin", "safetensors"])
def pipeline(golden_dir: Path, request: pytest.FixtureRequest) -> Pipeline:
    return load_pipeline(LoadOptions(golden_dir / "release_tiny" / request.param, "cpu"))


def test_pose_prompt_of_the_release(golden_dir: Path, core: Any, pipeline: Pipeline) -> None:
    case = core("release_tiny/pose")
    config, tokenizer = pipeline.processing, pipeline.tokenizer
    rounds = [pose_conversation(case.info["object_names"], case.info["keypoint_names"], config)]
    tiles = [case.info["clip_preprocess"]["splits"]]
    ids, labels = encode_conversation(rounds, tokenizer, config, tile_counts=tiles)
    np.testing.assert_array_equal(ids, case["input_ids"][0])
    np.testing.assert_array_equal(labels, case["labels"][0])


def find_photo(info: dict[str, Any]) -> Frame:
    for folder in (REPOSITORY.parent / "shared", REPOSITORY / "tests"):
        path = folder / "data" / "photos" / info["photo"]["file"]
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() == info["photo"]["sha256"]:
            return read_image(content)
    pytest.skip(f"photo that is not part of the repository: {info['photo']['file']}")


def test_box_on_a_photo_is_answered_as_by_the_release(core: Any, pipeline: Pipeline) -> None:
    case = core("release_tiny/region")
    frame = find_photo(case.info)
    corners = np.array(case.info["box_xyxy_pixels"], np.float64).reshape(2, 2)
    box = VisualPrompt(PromptKind.BOX, corners)
    mask = region_mask(box, frame.frame_hw, pipeline.processing)
    np.testing.assert_array_equal(mask, case["region_mask"][0])

    sentence = "What is inside region1? Answer in one short sentence."
    assert case.info["question"] == f"<image>\n{place_regions(sentence, 1)}"
    generated = case["generated_ids"][0].tolist()
    command = Command(sentence, visual_prompts=(box,), max_new_tokens=len(generated))
    result = pipeline.answer(frame, command)
    assert result.text == decode(pipeline.tokenizer, generated)
    assert result.text


def decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    from vl2_ros.processing.language.answer import parse_answer

    return parse_answer(ids, tokenizer).text
