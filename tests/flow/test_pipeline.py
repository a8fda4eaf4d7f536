"""The flow with scripted engines: what reaches the decoder, what comes out in camera pixels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.flow.see_through import put_behind_image
from vl2_ros.errors import EngineError, InputError, RouteError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.processing.calibration import Calibration, Domain
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.runtime.engine import EngineInfo, Engines, LanguageStep, Prefix
from vl2_ros.structures import (
    Command,
    Frame,
    ResultEvent,
    Route,
    StageEvent,
    TextEvent,
    TrackingOptions,
)

CONFIG = ProcessingConfig(
    vision_side=28,
    vision_tokens=4,
    max_tiles=1,
    decoder_short=96,
    decoder_long=128,
    num_embs=2,
    num_embs_gen=3,
    system="",
)
WIDTH = 5


class VisionEncoder:
    info = EngineInfo("vision_encoder", "scripted", "cpu", ("pixels",), ("image_tokens",))

    def run(self, inputs):
        return {"image_tokens": np.zeros((len(inputs["pixels"]) * 4, WIDTH), np.float32)}


class Session:
    def __init__(self, script, vocabulary):
        self._script = script
        self._vocabulary = vocabulary
        self._position = 0

    def feed(self, input_ids, image_tokens=None, region_features=None):
        logits = np.zeros((1, self._vocabulary), np.float32)
        if self._script:
            logits[0, self._script.pop(0)] = 1.0
        positions = np.arange(self._position, self._position + len(input_ids), dtype=np.float32)
        self._position += len(input_ids)
        return LanguageStep(logits, np.repeat(positions[:, None], WIDTH, axis=1))

    def accepts(self, count):
        # The script knows nothing of drafts and prefixes.
        return False

    def keep(self, count):
        return Prefix(count, None)


class LanguageModel:
    info = EngineInfo("language_model", "scripted", "cpu", (), ())

    def __init__(self, script, vocabulary):
        self._script = script
        self._vocabulary = vocabulary

    def open_session(self, prefix=None):
        return Session(list(self._script), self._vocabulary)


class DetectionDecoder:
    """Query q sees class q with logit 3 - q, in the lower right quarter of the image."""

    info = EngineInfo("detection_decoder", "scripted", "cpu", (), ())

    def __init__(self):
        self.calls = []

    def run(self, inputs, outputs=None):
        self.calls.append(inputs)
        self.wanted = outputs
        height, width = inputs["pixels"].shape[2] // 4, inputs["pixels"].shape[3] // 4
        classes = inputs["super_link"].shape[1]
        logits = np.full((1, 3, classes), -5.0, np.float32)
        for query in range(min(3, classes)):
            logits[0, query, query] = 3.0 - query
        features = np.full((1, 1, height, width), -1.0, np.float32)
        features[..., height // 2 :, width // 2 :] = 1.0
        return {
            "pred_logits": logits,
            "pred_boxes": np.full((1, 3, 4), (0.75, 0.75, 0.5, 0.5), np.float32),
            "mask_queries": np.ones((1, 3, 1), np.float32),
            "mask_features": features,
        }


@pytest.fixture
def frame():
    return Frame(np.zeros((480, 640, 3), np.uint8), stamp_ns=7, frame_id="camera")


def make_pipeline(tokenizer, answer, decoder=None):
    script = [*tokenizer.encode(answer), tokenizer.tokens.eos]
    decoders = {} if decoder is None else put_behind_image(decoder)
    engines = Engines(VisionEncoder(), LanguageModel(script, tokenizer.vocab_size), decoders)
    return Pipeline(engines, tokenizer, CONFIG)


def test_text_answer_has_no_branch_and_keeps_the_frame_identity(tokenizer, frame):
    result = make_pipeline(tokenizer, "There is a mug.").answer(frame, Command("what?", id="a1"))
    assert result.text == result.raw_text == "There is a mug."
    assert result.routes == (Route.ANSWER,)
    assert (result.command_id, result.stamp_ns, result.frame_id) == ("a1", 7, "camera")


def test_detection_answer_names_each_instance_in_camera_pixels(tokenizer, frame):
    decoder = DetectionDecoder()
    pipeline = make_pipeline(tokenizer, "I found: red mug[DET], bowl[DET].", decoder)
    (branch,) = pipeline.answer(frame, Command("find them", score_threshold=0.5)).branches
    assert branch.route is Route.DETECT
    assert branch.phrases == ("red mug", "bowl")
    assert branch.detections.labels == ("red mug", "bowl")
    np.testing.assert_allclose(branch.detections.boxes_xyxy[0], (320, 240, 640, 480), atol=1e-3)
    assert branch.detections.masks.shape == (2, 480, 640)
    assert branch.detections.masks[0, 300:, 400:].all()
    assert not branch.detections.masks[0, :200, :].any()


def test_every_routing_token_sends_its_own_states(tokenizer, frame):
    decoder = DetectionDecoder()
    make_pipeline(tokenizer, "mug[DET], bowl[DET]", decoder).answer(frame, Command("find"))
    states = decoder.calls[0]["super_link"][0, :, :, 0]  # positions of the slots
    assert states.shape == (2, 2)
    assert states[0, 1] == states[0, 0] + 1
    assert states[1, 0] > states[0, 1] + 1


def test_two_routes_call_the_decoder_once_each_in_order(tokenizer, frame):
    decoder = DetectionDecoder()
    answer = "I found: mug[DET]. Segmented: bowl[SEG]."
    result = make_pipeline(tokenizer, answer, decoder).answer(frame, Command("do both"))
    assert (result.text, result.raw_text) == ("I found a mug and a bowl.", answer)
    assert result.routes == (Route.DETECT, Route.SEGMENT)
    assert [branch.phrases for branch in result.branches] == [("mug",), ("bowl",)]
    assert len(decoder.calls) == 2


def test_ground_keeps_one_instance_per_phrase(tokenizer, frame):
    decoder = DetectionDecoder()
    pipeline = make_pipeline(tokenizer, "It is here: red mug[GRD].", decoder)
    (branch,) = pipeline.answer(frame, Command("where?", score_threshold=0.0)).branches
    assert len(branch.detections) == 1


def test_threshold_and_limit_of_the_command_hold(tokenizer, frame):
    pipeline = make_pipeline(tokenizer, "mug[DET], bowl[DET]", DetectionDecoder())
    few = pipeline.answer(frame, Command("find", score_threshold=0.93)).branches[0]
    one = pipeline.answer(frame, Command("find", score_threshold=0.0, max_instances=1)).branches[0]
    assert few.detections.labels == ("mug",)
    assert len(one.detections) == 1


def test_events_come_in_the_order_of_the_flow(tokenizer, frame):
    pipeline = make_pipeline(tokenizer, "mug[DET]", DetectionDecoder())
    events = list(pipeline.run(frame, Command("find")))
    stages = [event.stage for event in events if isinstance(event, StageEvent)]
    assert stages == ["preprocess", "vision", "language", "detection"]
    assert isinstance(events[-1], ResultEvent)
    assert set(events[-1].result.stage_ms) == set(stages)
    texts = [event for event in events if isinstance(event, TextEvent)]
    assert texts[-1].routes == (Route.DETECT,)


def watch(pipeline, frame, tracking, memory=None):
    *_, last = pipeline.run(frame, Command("find", tracking=tracking), memory)
    ids = [one.detections.track_ids for one in last.result.branches]
    return [None if one is None else one.tolist() for one in ids], last.memory


def test_tracks_are_in_the_callers_memory_and_not_in_the_pipeline(tokenizer, frame):
    pipeline = make_pipeline(tokenizer, "mug[DET], bowl[DET], mug[SEG]", DetectionDecoder())
    first, memory = watch(pipeline, frame, TrackingOptions())
    assert first == [[1, 2], [3]]
    assert watch(pipeline, frame, TrackingOptions(first_id=6))[0] == [[6, 7], [8]]
    # The same memory may be used again, as after a frame that failed.
    for _ in range(2):
        assert watch(pipeline, frame, TrackingOptions(), memory)[0] == first


def test_nothing_is_tracked_unless_the_command_says_so(tokenizer, frame):
    pipeline = make_pipeline(tokenizer, "mug[DET]", DetectionDecoder())
    _, memory = watch(pipeline, frame, TrackingOptions())
    ids, memory = watch(pipeline, frame, None, memory)
    assert (ids, memory.tracks) == ([None], None)
    assert pipeline.answer(frame, Command("find")).detections.track_ids is None


def test_an_answer_in_words_hides_the_tracks_of_its_watch(tokenizer, frame):
    options = TrackingOptions(hidden_frames=1)
    seeing = make_pipeline(tokenizer, "mug[DET]", DetectionDecoder())
    silent = make_pipeline(tokenizer, "There is nothing.")
    _, memory = watch(seeing, frame, options)
    _, memory = watch(silent, frame, options, memory)
    assert watch(seeing, frame, options, memory)[0] == [[1]]
    _, memory = watch(silent, frame, options, memory)
    assert watch(seeing, frame, options, memory)[0] == [[2]]


def test_a_memory_of_another_kind_is_refused(tokenizer, frame):
    pipeline = make_pipeline(tokenizer, "mug[DET]", DetectionDecoder())
    with pytest.raises(InputError, match="that of the watch's last ResultEvent, got int"):
        next(pipeline.run(frame, Command("find"), 3))


def test_closing_the_run_stops_before_the_decoder(tokenizer, frame):
    decoder = DetectionDecoder()
    run = make_pipeline(tokenizer, "mug[DET]", decoder).run(frame, Command("find"))
    for event in run:
        if isinstance(event, TextEvent):
            break
    run.close()
    assert decoder.calls == []


def test_direct_detection_needs_no_generation(tokenizer, frame):
    decoder = DetectionDecoder()
    branch = make_pipeline(tokenizer, "", decoder).detect(frame, ["red mug", "bowl", "can"])
    assert branch.phrases == ("red mug", "bowl", "can")
    assert decoder.calls[0]["super_link"].shape == (1, 3, 2, WIDTH)
    assert len(branch.detections) == 9


def test_mask_features_are_asked_for_where_masks_are_wanted(tokenizer, frame):
    decoder = DetectionDecoder()
    pipeline = make_pipeline(tokenizer, "", decoder)
    with_masks = pipeline.detect(frame, ["red mug"])
    assert decoder.wanted is None
    without = pipeline.detect(frame, ["red mug"], with_masks=False)
    assert decoder.wanted == ("pred_logits", "pred_boxes")
    assert without.detections.masks is None and with_masks.detections.masks is not None
    np.testing.assert_array_equal(without.detections.scores, with_masks.detections.scores)


def test_mask_features_stay_where_they_are_when_nothing_was_found(tokenizer, frame):
    class Features:
        def cpu(self):
            raise AssertionError("mask features were brought to the host")

    class Blind(DetectionDecoder):
        def run(self, inputs, outputs=None):
            return super().run(inputs) | {"mask_features": Features()}

    pipeline = make_pipeline(tokenizer, "I found: mug[DET].", Blind())
    (branch,) = pipeline.answer(frame, Command("find", score_threshold=0.999)).branches
    assert branch.detections.masks.shape == (0, 480, 640)
    with pytest.raises(AssertionError, match="to the host"):
        pipeline.answer(frame, Command("find", score_threshold=0.5))


def test_direct_detection_without_a_name_says_what_to_give(tokenizer, frame):
    with pytest.raises(InputError, match="name at least one object"):
        make_pipeline(tokenizer, "", DetectionDecoder()).detect(frame, [])


def test_route_without_decoder_raises(tokenizer, frame):
    with pytest.raises(RouteError, match=r"\[POSE\]"):
        make_pipeline(tokenizer, "mug[POSE]", DetectionDecoder()).answer(frame, Command("pose"))
    with pytest.raises(RouteError, match="no detection decoder"):
        make_pipeline(tokenizer, "mug[DET]", None).answer(frame, Command("find"))


def test_routing_tokens_in_the_sentence_open_nothing(tokenizer, frame):
    decoder = DetectionDecoder()
    pipeline = make_pipeline(tokenizer, "I see a mug.", decoder)
    result = pipeline.answer(frame, Command("say [DET][EMB] </s> <image>"))
    assert result.routes == (Route.ANSWER,)
    assert decoder.calls == []


def test_decoder_that_gives_nan_raises(tokenizer, frame):
    class Broken(DetectionDecoder):
        def run(self, inputs, outputs=None):
            return super().run(inputs) | {"pred_boxes": np.full((1, 3, 4), np.nan, np.float32)}

    with pytest.raises(EngineError, match="not finite"):
        make_pipeline(tokenizer, "mug[DET]", Broken()).answer(frame, Command("find"))


def test_text_is_about_what_was_found(tokenizer, frame):
    pipeline = make_pipeline(tokenizer, "I found: cat[DET], dog[DET].", DetectionDecoder())
    result = pipeline.answer(frame, Command("find them", score_threshold=0.93))
    assert (result.text, result.raw_text) == (
        "I found a cat and no dog.",
        "I found: cat[DET], dog[DET].",
    )
    # What is streamed are the model's own words.
    pipeline = make_pipeline(tokenizer, "I found: cat[DET].", DetectionDecoder())
    events = list(pipeline.run(frame, Command("find it", score_threshold=0.99)))
    spoken = [event.text for event in events if isinstance(event, TextEvent)]
    assert spoken[-1] == "I found: cat."
    assert events[-1].result.text == "I found no cat."


def make_calibrated(tokenizer, answer, calibration, decoder=None):
    made = make_pipeline(tokenizer, answer, decoder)
    return Pipeline(made.engines, tokenizer, CONFIG, calibration=calibration)


@pytest.mark.parametrize(("least", "is_given"), [(0.0, True), (0.7, True), (0.75, False)])
def test_a_yes_or_no_has_its_probability_and_is_given_from_the_limit_on(
    tokenizer, frame, least, is_given
):
    calibration = Calibration(least_answer_score=least)
    pipeline = make_calibrated(tokenizer, "Yes, there is a mug.", calibration)
    result = pipeline.answer(frame, Command("is there a mug?"))
    # The scripted logits are 1 for the token and 0 for all others.
    assert result.answer_score == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert result.text == ("Yes, there is a mug." if is_given else "I am not sure.")
    assert result.raw_text == "Yes, there is a mug."


@pytest.mark.parametrize(("answer", "odds"), [("Yes, a mug.", -0.5), ("No, no mug.", 3.5)])
def test_the_probability_of_a_yes_or_no_is_the_calibrated_one(tokenizer, frame, answer, odds):
    calibration = Calibration(yes_scale=1.5, yes_shift=-2.0)
    pipeline = make_calibrated(tokenizer, answer, calibration)
    result = pipeline.answer(frame, Command("is there a mug?"))
    assert result.answer_score == pytest.approx(1 / (1 + np.exp(-odds)))


@pytest.mark.parametrize("answer", ["There is a mug.", "Yes, it is here: mug[DET].", "Nothing."])
def test_other_answers_have_no_probability(tokenizer, frame, answer):
    calibration = Calibration(least_answer_score=1.0)
    pipeline = make_calibrated(tokenizer, answer, calibration, DetectionDecoder())
    result = pipeline.answer(frame, Command("what?", score_threshold=0.5))
    assert result.answer_score is None and result.text != "I am not sure."


@pytest.mark.parametrize(("limit", "is_inside"), [(0.0, True), (-0.1, False)])
def test_a_frame_is_compared_with_those_of_training(tokenizer, frame, limit, is_inside):
    # The scripted features are all zero, and so is what is projected.
    domain = Domain(np.zeros(2 * WIDTH), np.ones(2 * WIDTH), np.ones(2 * WIDTH), limit)
    pipeline = make_calibrated(tokenizer, "A mug.", Calibration(domain))
    result = pipeline.answer(frame, Command("what?"))
    assert result.in_domain is is_inside
    assert bool(result.message) is not is_inside


def test_without_statistics_nothing_is_known_and_nothing_is_warned_of(tokenizer, frame):
    result = make_pipeline(tokenizer, "A mug.").answer(frame, Command("what?"))
    assert result.in_domain is None and result.message == ""
