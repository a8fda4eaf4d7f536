from __future__ import annotations

import numpy as np
import pytest

from tests.speech.scripted import LoudnessDetector, make_stream
from vl2_ros.errors import ConfigError, ShapeError
from vl2_ros.speech.recogniser import SAMPLE_RATE
from vl2_ros.speech.segmenter import WINDOW, Segment, Segmenter, SegmenterConfig

WINDOW_S = WINDOW / SAMPLE_RATE


def hear(samples: np.ndarray, step: int, config: SegmenterConfig | None = None) -> list[Segment]:
    """Segments of a stream that begins at 100 s and comes in steps of samples."""
    segmenter, found = Segmenter(LoudnessDetector(), config), []
    for index in range(0, len(samples), step):
        found += segmenter.push(samples[index : index + step], 100.0 + index / SAMPLE_RATE)
    return found + segmenter.flush()


def spans(segments: list[Segment]) -> list[tuple[float, float]]:
    return [(one.start_s - 100.0, one.end_s - 100.0) for one in segments]


def test_each_sentence_is_a_segment_with_its_boundaries():
    said = [(0.5, 1.5), (2.5, 4.0), (5.0, 5.4)]
    found = hear(make_stream(said, 6.5), 320)
    np.testing.assert_allclose(spans(found), said, atol=WINDOW_S)


def test_segments_do_not_depend_on_how_the_stream_is_cut():
    said = [(3.0 * index + 0.3, 3.0 * index + 0.8 + 0.09 * index) for index in range(20)]
    samples = make_stream(said, 61.0)
    whole = hear(samples, len(samples))
    assert len(whole) == 20
    for step in (320, 333, 4_097):
        cut = hear(samples, step)
        np.testing.assert_allclose(spans(cut), spans(whole), atol=1e-9)
        for one, other in zip(cut, whole, strict=True):
            np.testing.assert_array_equal(one.samples, other.samples)


def test_a_segment_has_its_pre_roll_and_its_hang_over():
    samples = make_stream([(1.0, 2.0)], 4.0)
    config = SegmenterConfig(pre_roll_s=0.32, hang_over_s=0.64)
    (segment,) = hear(samples, 320, config)
    begin = round((segment.start_s - 100.0 - 0.32) * SAMPLE_RATE)
    end = round((segment.end_s - 100.0 + 0.64) * SAMPLE_RATE)
    np.testing.assert_array_equal(segment.samples, samples[begin:end])


def test_pauses_within_a_sentence_do_not_end_it():
    samples = make_stream([(0.5, 1.0), (1.3, 1.8), (2.4, 3.0)], 4.0)
    found = hear(samples, 320, SegmenterConfig(hang_over_s=0.45))
    np.testing.assert_allclose(spans(found), [(0.5, 1.8), (2.4, 3.0)], atol=WINDOW_S)


def test_two_talkers_in_a_row_share_no_words():
    config = SegmenterConfig(pre_roll_s=1.0, hang_over_s=0.3)
    samples = make_stream([(0.5, 1.5), (1.9, 3.0)], 4.0)
    first, second = hear(samples, 320, config)
    # The pre-roll of the second would reach into the first.
    assert np.abs(second.samples[: round(0.2 * SAMPLE_RATE)]).max() < 0.1
    assert second.start_s - first.end_s == pytest.approx(0.4, abs=2 * WINDOW_S)


def test_a_click_is_no_speech():
    assert not hear(make_stream([(0.5, 0.6)], 2.0), 320)
    assert len(hear(make_stream([(0.5, 0.6)], 2.0), 320, SegmenterConfig(min_speech_s=0.05))) == 1


def test_long_speech_is_cut_where_a_pause_is_most_likely():
    samples = make_stream([(0.5, 4.2), (4.4, 9.0)], 10.0)
    found = hear(samples, 320, SegmenterConfig(max_length_s=5.0, pre_roll_s=0.0))
    assert found[0].end_s == pytest.approx(104.2, abs=2 * WINDOW_S)
    assert all(len(one.samples) <= 5 * SAMPLE_RATE for one in found)
    joined = np.concatenate([one.samples for one in found])
    begin = round((found[0].start_s - 100.0) * SAMPLE_RATE)
    np.testing.assert_array_equal(joined, samples[begin : begin + len(joined)])


def test_speech_at_the_end_of_a_stream_is_not_lost():
    (segment,) = hear(make_stream([(0.5, 1.01)], 1.01), 320)
    assert segment.end_s == pytest.approx(101.01, abs=WINDOW_S)


def test_a_step_of_the_time_ends_what_was_said_and_begins_anew():
    detector = LoudnessDetector()
    segmenter = Segmenter(detector)
    assert not segmenter.push(make_stream([(0.5, 1.0)], 1.0), 10.0)
    assert segmenter.is_speech
    resets = detector.reset_count
    (first,) = segmenter.push(make_stream([(0.0, 0.6)], 0.6), 50.0)
    (second,) = segmenter.flush()
    assert detector.reset_count == resets + 2
    np.testing.assert_allclose([first.start_s, first.end_s], [10.5, 11.0], atol=WINDOW_S)
    np.testing.assert_allclose([second.start_s, second.end_s], [50.0, 50.6], atol=WINDOW_S)
    assert not segmenter.is_speech


@pytest.mark.parametrize("samples", [np.zeros(4), np.zeros((4, 1), np.float32)])
def test_samples_of_another_form_are_refused(samples):
    with pytest.raises(ShapeError, match="AudioConverter makes it so"):
        Segmenter(LoudnessDetector()).push(samples, 0.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 1.0),
        ("pre_roll_s", -0.1),
        ("hang_over_s", 0.0),
        ("min_speech_s", float("nan")),
        ("max_length_s", 31.0),
    ],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} of speech must be .* got"):
        SegmenterConfig(**{name: value})
