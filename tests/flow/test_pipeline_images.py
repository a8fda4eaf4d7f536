"""From a sentence to images: the flow with scripted engines, and through a small generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.flow.see_through import put_behind_image
from tests.flow.test_pipeline import CONFIG, WIDTH, DetectionDecoder, LanguageModel, VisionEncoder
from tests.runtime.diffusion.diffusion_parts import SLOTS, make_generator, make_parts
from vl2_ros.errors import InputError, RouteError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.runtime.engine import EngineInfo, Engines, LanguageStep
from vl2_ros.structures import (
    Command,
    Frame,
    GeneratedImage,
    ImageOptions,
    ProgressEvent,
    ResultEvent,
    Route,
    StageEvent,
)

GENERATED = "Here it is [GEN]."
EDITED = "Here it is [EDIT]."


class Generator:
    """Two steps; a generated image is grey, an edit its source upside down."""

    info = EngineInfo("denoiser", "scripted", "cpu", (), ())

    def __init__(self, route):
        self.route = route
        self.calls = []
        self.steps_done = 0

    def generate(self, states, options, source=None):
        self.calls.append((np.asarray(states), options, source))
        for step in (1, 2):
            self.steps_done += 1
            yield ProgressEvent("diffusion", step, 2)
        rgb = np.full((64, 64, 3), 128, np.uint8)
        if self.route is Route.EDIT:
            rgb = source.rgb[::-1]
        return GeneratedImage(self.route, rgb, options.seed or 9, 2, "euler")


class CountingVision(VisionEncoder):
    def __init__(self):
        self.runs = 0

    def run(self, inputs, outputs=None):
        self.runs += 1
        return super().run(inputs)


@pytest.fixture
def frame():
    rows = np.arange(48, dtype=np.uint8)[:, None, None]
    return Frame(np.broadcast_to(rows, (48, 64, 3)).copy(), stamp_ns=7, frame_id="camera")


def make_pipeline(tokenizer, answer, *, detection=None, generators=(), absent=None):
    script = [*tokenizer.encode(answer), tokenizer.tokens.eos]
    engines = Engines(
        CountingVision(),
        LanguageModel(script, tokenizer.vocab_size),
        {} if detection is None else put_behind_image(detection),
        image_generators={one.route: one for one in generators},
        absent=absent or {},
    )
    return Pipeline(engines, tokenizer, CONFIG)


def test_a_generated_image_comes_with_the_result(tokenizer, frame):
    drawer = Generator(Route.GENERATE)
    pipeline = make_pipeline(tokenizer, GENERATED, generators=[drawer])
    options = ImageOptions(seed=3, steps=2)
    result = pipeline.answer(frame, Command("draw a mug", id="a", image_options=options))
    (image,) = result.images
    assert (image.route, image.seed) == (Route.GENERATE, 3)
    assert result.routes == (Route.GENERATE,) and result.branches == ()
    assert result.text == "Here it is."
    assert set(result.stage_ms) == {"preprocess", "vision", "language", "diffusion"}
    assert (result.command_id, result.stamp_ns) == ("a", 7)


def test_the_generator_gets_the_states_of_its_own_slots(tokenizer, frame):
    drawer, editor = Generator(Route.GENERATE), Generator(Route.EDIT)
    answer = "First [GEN], then [EDIT]."
    pipeline = make_pipeline(tokenizer, answer, generators=[drawer, editor])
    result = pipeline.answer(frame, Command("both"))
    first, second = drawer.calls[0][0], editor.calls[0][0]
    assert first.shape == second.shape == (CONFIG.num_embs_gen, WIDTH)
    # The scripted language model's states are positions.
    assert first[:, 0].tolist() == [first[0, 0] + step for step in range(3)]
    assert second[0, 0] > first[-1, 0] + 1
    assert [image.route for image in result.images] == [Route.GENERATE, Route.EDIT]


def test_an_edit_gets_the_frame_and_keeps_its_pixels(tokenizer, frame):
    pipeline = make_pipeline(tokenizer, EDITED, generators=[Generator(Route.EDIT)])
    (image,) = pipeline.answer(frame, Command("make it winter")).images
    assert (image.rgb == frame.rgb[::-1]).all()


def test_steps_are_reported_between_stage_and_result(tokenizer, frame):
    pipeline = make_pipeline(tokenizer, GENERATED, generators=[Generator(Route.GENERATE)])
    events = list(pipeline.run(frame, Command("draw a mug")))
    place = events.index(StageEvent("diffusion"))
    steps = [ProgressEvent("diffusion", step, 2) for step in (1, 2)]
    assert events[place + 1 : -1] == steps
    assert isinstance(events[-1], ResultEvent)


def test_closing_the_run_stops_before_the_next_step(tokenizer, frame):
    drawer = Generator(Route.GENERATE)
    run = make_pipeline(tokenizer, GENERATED, generators=[drawer]).run(frame, Command("draw"))
    for event in run:
        if isinstance(event, ProgressEvent):
            break
    run.close()
    assert drawer.steps_done == 1


def test_things_and_images_of_one_answer_come_together(tokenizer, frame):
    answer = "I found: mug[DET]. Here it is [EDIT]."
    pipeline = make_pipeline(
        tokenizer, answer, detection=DetectionDecoder(), generators=[Generator(Route.EDIT)]
    )
    result = pipeline.answer(frame, Command("find it and make it red"))
    assert result.routes == (Route.DETECT, Route.EDIT)
    assert result.branches[0].phrases == ("mug",)
    assert set(result.stage_ms) >= {"detection", "diffusion"}


def test_routes_of_the_model_name_what_it_can_make(tokenizer):
    generators = [Generator(Route.GENERATE), Generator(Route.EDIT)]
    info = make_pipeline(tokenizer, "", generators=generators).info
    assert info.routes == (Route.ANSWER, Route.GENERATE, Route.EDIT)
    detection = make_pipeline(tokenizer, "", detection=DetectionDecoder()).info
    assert detection.routes == (Route.ANSWER, Route.DETECT, Route.GROUND, Route.SEGMENT)


def test_a_route_without_a_generator_is_refused_before_anything_is_detected(tokenizer, frame):
    detection = DetectionDecoder()
    answer = "I found: mug[DET]. Here it is [GEN]."
    pipeline = make_pipeline(tokenizer, answer, detection=detection)
    with pytest.raises(RouteError, match=r"\[GEN\].*no image generation.*\[DET\]"):
        pipeline.answer(frame, Command("draw"))
    assert detection.calls == []


def test_a_route_that_is_switched_off_says_why_it_is_not_there(tokenizer, frame):
    absent = {"image_editing": "it was switched off", "detection_decoder": "it was switched off"}
    pipeline = make_pipeline(tokenizer, EDITED, absent=absent)
    with pytest.raises(RouteError, match=r"\[EDIT\].*image_editing is not loaded: it was switched"):
        pipeline.answer(frame, Command("make it winter"))
    pipeline = make_pipeline(tokenizer, "mug[DET]", absent=absent)
    with pytest.raises(RouteError, match=r"\[DET\].*detection_decoder is not loaded"):
        pipeline.answer(frame, Command("find the mug"))


def test_image_generation_needs_no_frame_and_no_vision(tokenizer):
    drawer = Generator(Route.GENERATE)
    pipeline = make_pipeline(tokenizer, GENERATED, generators=[drawer])
    result = pipeline.answer(None, Command("draw a red mug"))
    assert (result.stamp_ns, result.frame_id) == (0, "")
    assert len(result.images) == 1
    assert drawer.calls[0][2] is None
    assert pipeline.engines.vision_encoder.runs == 0


@pytest.mark.parametrize("answer", [EDITED, "mug[DET]"])
def test_an_answer_about_a_frame_that_is_not_there_is_refused(tokenizer, answer):
    pipeline = make_pipeline(
        tokenizer,
        answer,
        detection=DetectionDecoder(),
        generators=[Generator(Route.GENERATE), Generator(Route.EDIT)],
    )
    with pytest.raises(InputError, match="there is (no image|none)"):
        pipeline.answer(None, Command("draw a red mug"))


class WideLanguageModel(LanguageModel):
    """States of the width that the small generator takes, other ones for every position."""

    def open_session(self, prefix=None):
        session = super().open_session(prefix)
        feed = session.feed

        def widened(*given, **options):
            step = feed(*given, **options)
            states = np.sin(step.hidden[:, :1] * np.arange(1, 17, dtype=np.float32))
            return LanguageStep(step.logits, states)

        session.feed = widened
        return session


def test_a_sentence_becomes_an_edited_frame_through_a_real_loop(tokenizer, frame):
    parts = make_parts(Route.EDIT)
    script = [*tokenizer.encode(EDITED), tokenizer.tokens.eos]
    engines = Engines(
        VisionEncoder(),
        WideLanguageModel(script, tokenizer.vocab_size),
        image_generators={Route.EDIT: make_generator(parts)},
    )
    pipeline = Pipeline(engines, tokenizer, replace(CONFIG, num_embs_gen=SLOTS))
    options = ImageOptions(seed=1, steps=4)
    command = Command("make it winter", image_options=options)
    first = pipeline.answer(frame, command)
    assert first.images[0].rgb.shape == (48, 64, 3)
    again = pipeline.answer(frame, command)
    assert again.images[0].rgb.tobytes() == first.images[0].rgb.tobytes()
    assert first.stage_ms["diffusion"] > 0
