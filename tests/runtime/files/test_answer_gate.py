"""The gate of quantised language models: many answers at once, and how far they agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vl2_ros.errors import EngineError
from vl2_ros.flow.generate import generate
from vl2_ros.flow.prompt_features import encode_features, prepare_prompt
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.processing.images.preprocess import preprocess_decoder
from vl2_ros.processing.language.command_prompt import write_prompt
from vl2_ros.recordings.bag import read_frames
from vl2_ros.runtime.engine import EngineInfo, PerceptionDecoder
from vl2_ros.runtime.files.answer_gate import (
    AnswerScript,
    compare_answers,
    make_speaker,
    read_script,
    script_path,
    write_script,
)
from vl2_ros.runtime.files.engine_files import read_engine_files
from vl2_ros.runtime.files.parity_gate import describe_misses, measure_answers
from vl2_ros.runtime.language.graph_language import load_embedding_tables
from vl2_ros.runtime.language.speaking import Prompt, Spoken
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine
from vl2_ros.structures import Command, Route

SENTENCES = (
    "find the red mug and the bowl",
    "segment every cube",
    "where is the yellow banana?",
    "what is on the table?",
    "find the mug and segment the bowl",
)
FILES = read_engine_files(EMBEDDED_WEIGHTS)
SOURCE = FILES.require("language_model")


class Changed:
    """An engine whose outputs are changed after each run."""

    def __init__(self, engine, change: Callable[[dict], None]) -> None:
        self.info: EngineInfo = engine.info
        self._engine, self._change = engine, change

    def run(self, inputs):
        outputs = self._engine.run(inputs)
        self._change(outputs)
        return outputs


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline(LoadOptions(device="cpu", precision="float32"))


@pytest.fixture(scope="module")
def language():
    return OnnxEngine(SOURCE)


@pytest.fixture(scope="module")
def decoder():
    graphs = ("detection_backbone", "detection_decoder")
    return PerceptionDecoder(*(OnnxEngine(FILES.require(graph)) for graph in graphs))


@pytest.fixture(scope="module")
def tables(pipeline):
    tokens = pipeline.tokenizer.tokens
    return load_embedding_tables(FILES.embeddings, tokens, FILES.embeddings_tables)


@pytest.fixture(scope="module")
def frame():
    return next(iter(read_frames(EMBEDDED_WEIGHTS / "demo" / "tabletop.mcap")))


@pytest.fixture(scope="module")
def prompts(pipeline, frame) -> list[Prompt]:
    made = []
    routes = (Route.ANSWER, Route.DETECT, Route.GROUND, Route.SEGMENT)
    for sentence in SENTENCES:
        prompt = write_prompt(frame, Command(sentence), pipeline.processing, routes)
        inputs = prepare_prompt(prompt, pipeline.tokenizer, pipeline.processing)
        features = encode_features(inputs, pipeline.engines)
        made.append(Prompt(inputs.ids, features.image_tokens.astype(np.float16)))
    return made


@pytest.fixture(scope="module")
def script(pipeline, frame, prompts, language, tables, decoder) -> AnswerScript:
    answers = dict(make_speaker(language, tables, SOURCE, 8).speak(prompts))
    made = preprocess_decoder(frame, pipeline.processing, decoder.decoder.info.canvases)
    return AnswerScript(
        pipeline.tokenizer.tokens,
        prompts,
        [0] * len(prompts),
        [answers[index] for index in range(len(prompts))],
        made[0][None].astype(np.float16),
        made[1][None],
    )


@pytest.fixture
def source(tmp_path, script):
    """The embedded language model's file, as if it was exported to a folder with this script."""
    path = tmp_path / "language_model.onnx"
    write_script(script_path(path), script)
    return replace(SOURCE, path=path)


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_answers_of_many_rows_are_those_of_one_after_the_other(
    pipeline, language, tables, prompts, rows
):
    spoken = dict(make_speaker(language, tables, SOURCE, rows).speak(prompts))
    assert len(spoken) == len(prompts)
    for index, prompt in enumerate(prompts):
        expected = Spoken()
        for token in generate(
            pipeline.engines.language_model.open_session(),
            prompt.ids,
            tokens=pipeline.tokenizer.tokens,
            num_embs=pipeline.processing.num_embs,
            num_embs_gen=pipeline.processing.num_embs_gen,
            max_new_tokens=48,
            image_tokens=prompt.image_tokens,
        ):
            expected.ids.append(token.token_id)
            if token.slot_states is not None:
                expected.states.append(token.slot_states)
        assert spoken[index].ids == expected.ids
        assert len(spoken[index].states) == len(expected.states)
        for got, wanted in zip(spoken[index].states, expected.states, strict=True):
            np.testing.assert_allclose(got, wanted, atol=2e-3)
    assert sum(len(one.states) for one in spoken.values()) >= 5


def test_fewer_rows_share_a_call_where_their_cache_is_large(language, tables, prompts):
    largest = []

    class Counting:
        def run(self, inputs):
            largest.append(len(inputs["input_embeds"]))
            return language.run(inputs)

    speaker = make_speaker(Counting(), tables, SOURCE, 8)
    longest = max(len(one.ids) for one in prompts) + speaker.most_tokens
    layers, heads, width = speaker.cache_shape
    row = 2 * layers * heads * width * 4 * longest
    for most_bytes, rows in ((10 * row, min(8, len(prompts))), (3 * row, 3), (row - 1, 1)):
        largest.clear()
        spoken = dict(replace(speaker, most_cache_bytes=most_bytes).speak(prompts))
        assert max(largest) == rows and len(spoken) == len(prompts)


def test_an_answer_that_is_cut_at_a_routing_token_has_its_states(language, tables, prompts):
    whole = dict(make_speaker(language, tables, SOURCE, 8).speak(prompts))[0]
    routing = tables.tokens.routing
    first = next(i for i, token in enumerate(whole.ids) if token in routing)
    speaker = replace(make_speaker(language, tables, SOURCE, 8), most_tokens=first + 1)
    cut = dict(speaker.speak(prompts))[0]
    assert cut.ids == whole.ids[: first + 1]
    np.testing.assert_allclose(cut.states, whole.states[:1], atol=2e-3)


def test_commands_and_answers_are_stored(source, script):
    read = read_script(script_path(source.path))
    assert read.tokens == script.tokens and list(read.frames) == list(script.frames)
    for got, expected in zip(read.answers, script.answers, strict=True):
        assert got.ids == expected.ids
        np.testing.assert_array_equal(got.states, expected.states)
    for got, expected in zip(read.prompts, script.prompts, strict=True):
        np.testing.assert_array_equal(got.ids, expected.ids)
        np.testing.assert_array_equal(got.image_tokens, expected.image_tokens)


def test_the_model_itself_agrees_in_everything(language, decoder, source):
    found = compare_answers(language, source, FILES, decoder)
    assert found.commands == found.same_routes == found.same_answers == len(SENTENCES)
    assert found.instances > 2 and found.lost == 0 and found.iou > 0.999


def test_without_a_decoder_routes_alone_are_compared(language, source):
    found = compare_answers(language, source, FILES, None)
    assert found.same_routes == len(SENTENCES) and found.instances == 0


def measure(engine, source, decoder, monkeypatch):
    monkeypatch.setattr("vl2_ros.runtime.files.parity_gate.read_engine_files", lambda _: FILES)
    return {one.output: one for one in measure_answers(engine, source, decoder)}


def test_other_routing_tokens_are_refused_by_their_share(
    language, decoder, source, script, monkeypatch
):
    routing = {name: token_id for token_id, name in script.tokens.routing.items()}

    def prefer(outputs):
        logits = outputs["logits"]
        logits[..., routing["[SEG]"]] = np.maximum(
            logits[..., routing["[DET]"]] + 1, logits[..., routing["[SEG]"]]
        )

    misses = measure(Changed(language, prefer), source, decoder, monkeypatch)
    routes = misses[f"routing tokens of {len(SENTENCES)} commands"]
    # "find the red mug ..." and "find the mug ..." open [DET].
    assert routes.is_over and routes.difference == pytest.approx(2 / 5)
    assert "routing tokens of 5 commands by 0.4 of the commands, allowed 0.005" in describe_misses(
        list(misses.values())
    )


def test_states_that_lead_the_decoder_elsewhere_are_refused(language, decoder, source, monkeypatch):
    def turn(outputs):
        outputs["hidden"] *= -1

    misses = measure(Changed(language, turn), source, decoder, monkeypatch)
    assert not misses[f"routing tokens of {len(SENTENCES)} commands"].is_over
    boxes = [one for name, one in misses.items() if "instances" in name or name == "boxes"]
    assert len(boxes) == 2 and any(one.is_over for one in boxes)


def test_missing_or_damaged_answers_are_refused(tmp_path, language):
    elsewhere = replace(SOURCE, path=tmp_path / "language_model.onnx")
    with pytest.raises(EngineError, match=r"cannot read the stored answers .*export the engines"):
        compare_answers(language, elsewhere, FILES, None)
    script_path(elsewhere.path).write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(EngineError, match=r"cannot read the stored answers"):
        compare_answers(language, elsewhere, FILES, None)
