"""From a sentence to named keypoints: with scripted engines, and through a small random network."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.flow.see_through import put_behind_image
from tests.flow.test_pipeline import CONFIG, WIDTH, DetectionDecoder, LanguageModel, VisionEncoder
from vl2_ros.errors import ConfigError, EngineError, InputError, RouteError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.runtime.engine import EngineInfo, Engines, LanguageStep, to_numpy
from vl2_ros.runtime.torch_backend.engine import TorchLanguageModel, make_decoder, make_engine
from vl2_ros.structures import Command, Frame, Route

CAT = "I found: cat[DET]. The keypoints are here: left ear[POSE], nose[POSE]."


class PoseDecoder:
    """Object g sees class g with logit 3 - g; its keypoint k is at ((k + 1) / 8, (g + 1) / 4)."""

    info = EngineInfo("pose_decoder", "scripted", "cpu", (), ())

    def __init__(self):
        self.calls = []

    def run(self, inputs):
        self.calls.append(inputs)
        classes, points = inputs["super_link"].shape[1], inputs["keypoint_link"].shape[1]
        logits = np.full((1, 3, classes), -5.0, np.float32)
        for group in range(min(3, classes)):
            logits[0, group, group] = 3.0 - group
        places = np.zeros((1, 3, points, 2), np.float32)
        places[..., 0] = (np.arange(points) + 1) / 8
        places[..., 1] = ((np.arange(3) + 1) / 4)[:, None]
        return {
            "pred_logits": logits,
            "pred_boxes": np.full((1, 3, 4), (0.75, 0.75, 0.5, 0.5), np.float32),
            "pred_keypoints": places,
        }


@pytest.fixture
def frame():
    return Frame(np.zeros((480, 640, 3), np.uint8))


def make_pipeline(tokenizer, answer, pose=None, detection=None, config=CONFIG):
    script = [*tokenizer.encode(answer), tokenizer.tokens.eos]
    language = LanguageModel(script, tokenizer.vocab_size)
    decoders = put_behind_image(*(one for one in (detection, pose) if one is not None))
    return Pipeline(Engines(VisionEncoder(), language, decoders), tokenizer, config)


def test_answer_becomes_named_keypoints_in_camera_pixels(tokenizer, frame):
    pipeline = make_pipeline(tokenizer, CAT, PoseDecoder())
    result = pipeline.answer(frame, Command("where are the cat's ears?", score_threshold=0.5))
    (branch,) = result.branches
    assert result.routes == (Route.POSE,)
    assert result.text == "I found a cat with keypoints."
    assert (branch.route, branch.phrases) == (Route.POSE, ("cat",))
    found = branch.detections
    assert found.labels == ("cat",)
    np.testing.assert_allclose(found.boxes_xyxy, [(320, 240, 640, 480)], atol=1e-3)
    assert found.keypoints.names == ("left ear", "nose")
    np.testing.assert_allclose(found.keypoints.points_xy, [[(80, 120), (160, 120)]], atol=1e-3)
    np.testing.assert_allclose(found.keypoints.scores, np.repeat(found.scores[:, None], 2, axis=1))


def test_objects_and_keypoints_send_their_own_states(tokenizer, frame):
    decoder = PoseDecoder()
    make_pipeline(tokenizer, CAT, decoder).answer(frame, Command("pose"))
    (call,) = decoder.calls
    assert call["super_link"].shape == (1, 1, 2, WIDTH)
    assert call["keypoint_link"].shape == (1, 2, 2, WIDTH)
    places = [*call["super_link"][0, :, 0, 0], *call["keypoint_link"][0, :, 0, 0]]
    assert places == sorted(places) and len(set(places)) == 3
    # The rule of DETR: short side 96, long side at most 128.
    assert call["pixels"].shape == (1, 3, 96, 128)


def test_other_routes_of_the_answer_go_to_their_own_decoder(tokenizer, frame):
    answer = f"Masked: table[SEG]. {CAT} There is a cup[DET]."
    detection = DetectionDecoder()
    pipeline = make_pipeline(tokenizer, answer, PoseDecoder(), detection)
    branches = pipeline.answer(frame, Command("all of it", score_threshold=0.5)).branches
    found = [(branch.route, branch.phrases) for branch in branches]
    assert found == [
        (Route.SEGMENT, ("table",)),
        (Route.POSE, ("cat",)),
        (Route.DETECT, ("cup",)),
    ]
    assert [branch.detections.keypoints is None for branch in branches] == [True, False, True]
    assert [call["super_link"].shape[1] for call in detection.calls] == [1, 1]


def test_direct_poses_need_no_generation_and_take_any_names(tokenizer, frame):
    decoder = PoseDecoder()
    pipeline = make_pipeline(tokenizer, "", decoder)
    branch = pipeline.pose(frame, ["robot arm", "cat"], ["Left_Gripper", "wobbly bit #2"])
    assert branch.phrases == ("robot arm", "cat")
    keypoints = branch.detections.keypoints
    assert keypoints.names == ("left gripper", "wobbly bit 2")
    assert keypoints.edges == ()
    assert len(branch.detections) == 6
    assert decoder.calls[0]["keypoint_link"].shape == (1, 2, 2, WIDTH)


def test_poses_that_repeat_a_better_one_are_dropped_from_answers(tokenizer, frame):
    class Twice(PoseDecoder):
        def run(self, inputs):
            output = super().run(inputs)
            output["pred_keypoints"][0, 1] = output["pred_keypoints"][0, 0]
            return output

    pipeline = make_pipeline(tokenizer, CAT, Twice())
    (branch,) = pipeline.answer(frame, Command("pose", score_threshold=0.0)).branches
    assert len(branch.detections) == 2
    assert len(pipeline.pose(frame, ["cat"], ["nose"]).detections) == 3
    assert len(pipeline.pose(frame, ["cat"], ["nose"], nms_oks=0.9).detections) == 2


@pytest.mark.parametrize("count", [69, 101])
def test_too_many_keypoints_are_refused_with_the_limit(tokenizer, frame, count):
    names = [f"point {index}" for index in range(count)]
    decoder = PoseDecoder()
    pipeline = make_pipeline(tokenizer, "", decoder)
    with pytest.raises(InputError, match=f"{count} keypoints were named, the model accepts 68"):
        pipeline.pose(frame, ["cat"], names)
    assert decoder.calls == []
    assert pipeline.pose(frame, ["cat"], names[:68]).detections.keypoints.names[67] == "point 67"


@pytest.mark.parametrize(
    ("objects", "keypoints", "message"),
    [
        (["cat"], [], "no keypoint is named"),
        (["cat"], ["nose", " .. "], "no keypoint is named"),
        (["cat"], ["Nose", "nose"], "named twice"),
        ([], ["nose"], "name at least one object"),
        ([f"thing {index}" for index in range(101)], ["nose"], "101 objects were named"),
    ],
)
def test_names_that_cannot_be_asked_for_are_refused(tokenizer, frame, objects, keypoints, message):
    with pytest.raises(InputError, match=message):
        make_pipeline(tokenizer, "", PoseDecoder()).pose(frame, objects, keypoints)


def test_special_tokens_in_names_open_nothing(tokenizer, frame):
    decoder = PoseDecoder()
    make_pipeline(tokenizer, "", decoder).pose(frame, ["cat[SEG]"], ["nose[POSE]", "</s> ear"])
    assert decoder.calls[0]["super_link"].shape[1] == 1
    assert decoder.calls[0]["keypoint_link"].shape[1] == 2


def test_keypoints_without_an_object_or_a_decoder_raise(tokenizer, frame):
    with pytest.raises(RouteError, match=r"no object by \[DET\]"):
        make_pipeline(tokenizer, "nose[POSE]", PoseDecoder()).answer(frame, Command("nose"))
    with pytest.raises(RouteError, match="no pose decoder"):
        make_pipeline(tokenizer, CAT, None, DetectionDecoder()).answer(frame, Command("nose"))


def test_decoder_that_gives_nan_raises(tokenizer, frame):
    class Broken(PoseDecoder):
        def run(self, inputs):
            output = super().run(inputs)
            output["pred_keypoints"][0, 0, 0, 0] = np.nan
            return output

    with pytest.raises(EngineError, match="not finite"):
        make_pipeline(tokenizer, CAT, Broken()).answer(frame, Command("nose"))


def test_model_says_whether_it_answers_with_poses(tokenizer):
    assert Route.POSE in make_pipeline(tokenizer, "", PoseDecoder()).info.routes
    assert Route.POSE not in make_pipeline(tokenizer, "", None, DetectionDecoder()).info.routes


# Through a network

HEIGHT, WIDTH_PX = 333, 501
NETWORK_CONFIG = ProcessingConfig(
    vision_side=56,
    vision_tokens=16,
    max_tiles=1,
    decoder_short=96,
    decoder_long=160,
    num_embs_gen=6,
    system="",
)
#: What one refinement adds to the logits of a keypoint's x and y.
STEP = (0.25, -0.5)


class ForcedLanguageModel(TorchLanguageModel):
    """The network's states, with the next token taken from a script."""

    def __init__(self, model, script):
        super().__init__(model, torch.device("cpu"))
        self._script = script

    def open_session(self, prefix=None):
        session, script = super().open_session(prefix), list(self._script)

        class Forced:
            def feed(self, input_ids, image_tokens=None, region_features=None):
                step = session.feed(input_ids, image_tokens)
                logits = np.zeros_like(step.logits)
                logits[0, script.pop(0)] = 1.0
                return LanguageStep(logits, step.hidden)

            def accepts(self, count):
                # The script knows nothing of drafts and prefixes.
                return False

            def keep(self, count):
                return session.keep(count)

        return Forced()


@pytest.fixture(scope="module")
def network(json_tokenizer):
    torch.manual_seed(0)
    tiny = ModelConfig.tiny(with_pose=True)
    llm = {**tiny.llm, "vocab_size": json_tokenizer.vocab_size}
    model = VisionLLM(replace(tiny, llm=llm), json_tokenizer.tokens).eval()
    # A fresh network leaves boxes where its anchors are; keypoints go STEP further each time.
    with torch.no_grad():
        model.pose_decoder.heads.keypoint.layers[-1].bias.copy_(torch.tensor(STEP))
    return model


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_sentence_ends_in_keypoints_at_hand_computed_places(network, tokenizer):
    script = [*tokenizer.encode(CAT), tokenizer.tokens.eos]
    device = torch.device("cpu")
    engines = Engines(
        make_engine(network, "vision_encoder", device),
        ForcedLanguageModel(network, script),
        {"pose_decoder": make_decoder(network, "pose_decoder", device)},
    )
    pipeline = Pipeline(engines, tokenizer, NETWORK_CONFIG)
    rgb = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH_PX, 3), np.uint8)
    (branch,) = pipeline.answer(Frame(rgb), Command("find it", score_threshold=0.0)).branches
    found = branch.detections
    assert (branch.route, found.keypoints.names) == (Route.POSE, ("left ear", "nose"))
    assert 0 < len(found) <= network.config.pose.num_groups
    assert (np.diff(found.scores) <= 0).all()

    expected = list_expected()
    for box, points in zip(found.boxes_xyxy, found.keypoints.points_xy, strict=True):
        ((_, place),) = [row for row in expected if np.abs(row[0] - box).max() < 0.02]
        np.testing.assert_allclose(points, [place, place], atol=0.02)


def list_expected() -> list[tuple[np.ndarray, tuple[float, ...]]]:
    """Box and keypoint of every cell in camera pixels, by hand.

    501 x 333 becomes 144 x 96 on a canvas of 160 x 96: columns and rows of the image on each
    level are 18 x 12, 9 x 6, 5 x 3 (of 4.5) and 3 x 2 (of 2.25 and 1.5).
    """
    rows = []
    for level, (columns, lines) in enumerate(((18, 12), (9, 6), (5, 3), (3, 2))):
        half = 0.05 * 2**level / 2
        for column in range(columns):
            for line in range(lines):
                centre = (column + 0.5) / columns, (line + 0.5) / lines
                low = [max(0.0, value - half) for value in centre]
                high = [min(1.0, value + half) for value in centre]
                box = np.array([*low, *high]) * (WIDTH_PX, HEIGHT, WIDTH_PX, HEIGHT)
                # One step when it is placed, one after the first of two layers, one at the end.
                moved = [
                    sigmoid(math.log(value / (1 - value)) + 3 * step)
                    for value, step in zip(centre, STEP, strict=True)
                ]
                rows.append((box, (moved[0] * WIDTH_PX, moved[1] * HEIGHT)))
    return rows


def test_a_network_without_the_decoder_makes_no_engine():
    without = VisionLLM(ModelConfig.tiny(with_detection=False), TokenIds.from_base(64))
    with pytest.raises(ConfigError, match="no pose decoder"):
        make_engine(without, "pose_decoder", torch.device("cpu"))


def test_states_in_bfloat16_reach_the_decoder_as_numbers():
    states = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    array = to_numpy(states)
    assert array.dtype == np.float32
    assert array.tolist() == [1.5, -2.0]
    assert to_numpy(states.long()).dtype == np.int64


def test_network_refuses_too_many_keypoints_or_none(network):
    states = torch.zeros(1, 69, 4, network.config.llm_width)
    pixels = torch.zeros(1, 3, 96, 128)
    one = torch.ones(1, 1, dtype=torch.bool)
    decoder = network.pose_decoder
    with pytest.raises(InputError, match="at most 68 keypoints fit in one call, got 69"):
        decoder(pixels, states[:, :1], one, states, torch.ones(1, 69, dtype=torch.bool))
    with pytest.raises(InputError, match="no keypoint is named"):
        decoder(pixels, states[:, :1], one, states[:, :0], one[:, :0])
