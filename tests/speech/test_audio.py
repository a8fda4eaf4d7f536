from __future__ import annotations

import numpy as np
import pytest
import soundfile

from tests.speech.scripted import make_stream, split
from vl2_ros.errors import InputError, ShapeError, SpeechError
from vl2_ros.speech.audio import (
    AudioBlock,
    AudioChunk,
    AudioConverter,
    measure_level,
    read_audio,
    read_chunks,
)
from vl2_ros.speech.recogniser import SAMPLE_RATE


def make_tone(seconds: float, rate: int, frequency: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


class Converting:
    """A converter, what came out of it, and what it reported."""

    def __init__(self, channel: int | None = None) -> None:
        self.faults: list[str] = []
        self.blocks: list[AudioBlock] = []
        self._converter = AudioConverter(self.faults.append, channel)

    def push(self, *chunks: AudioChunk) -> Converting:
        for chunk in chunks:
            self.blocks += self._converter.push(chunk)
        return self

    def flush(self) -> Converting:
        self.blocks += self._converter.flush()
        return self

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate([block.samples for block in self.blocks])


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_any_rate_becomes_16_khz_of_the_same_length_and_sound(rate):
    done = Converting().push(*split(make_tone(2.0, rate), rate)).flush()
    assert len(done.samples) == 2 * SAMPLE_RATE
    inner = slice(SAMPLE_RATE // 2, -SAMPLE_RATE // 2)
    np.testing.assert_allclose(done.samples[inner], make_tone(2.0, SAMPLE_RATE)[inner], atol=2e-3)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_samples_do_not_depend_on_how_the_stream_is_cut(rate):
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 3 * rate).astype(np.float32)
    whole = Converting().push(AudioChunk(noise, rate, 5.0)).flush()
    for step_s in (0.02, 0.013, 0.7):
        cut = Converting().push(*split(noise, rate, step_s, start_s=5.0)).flush()
        np.testing.assert_array_equal(cut.samples, whole.samples)
        assert not cut.faults or rate == 8_000


def test_blocks_carry_the_time_of_their_first_sample():
    blocks = Converting().push(*split(make_tone(1.0, 48_000), 48_000, start_s=100.0)).flush().blocks
    times = [block.start_s for block in blocks]
    counts = np.cumsum([0, *(len(block.samples) for block in blocks)])[:-1]
    np.testing.assert_allclose(times, 100.0 + counts / SAMPLE_RATE)


def test_channels_are_mixed_or_chosen():
    left, right = make_tone(0.5, SAMPLE_RATE), np.zeros(SAMPLE_RATE // 2, np.float32)
    chunk = AudioChunk(np.stack([left, right], axis=1), SAMPLE_RATE, 0.0)
    np.testing.assert_allclose(Converting().push(chunk).samples, left / 2)
    np.testing.assert_array_equal(Converting(channel=0).push(chunk).samples, left)
    np.testing.assert_array_equal(Converting(channel=1).push(chunk).samples, right)


def test_a_channel_that_is_not_there_is_reported_and_all_are_heard():
    chunk = AudioChunk(np.stack([make_tone(0.5, SAMPLE_RATE)] * 2, axis=1), SAMPLE_RATE, 0.0)
    done = Converting(channel=4).push(chunk)
    assert done.faults == [
        "channel 4 was asked for and the audio has 2, counted from 0; the mean of all is heard"
    ]
    np.testing.assert_allclose(done.samples, make_tone(0.5, SAMPLE_RATE))


def test_int16_is_scaled_to_one():
    samples = np.array([-32_768, -16_384, 0, 16_384], np.int16)
    done = Converting().push(AudioChunk(samples, SAMPLE_RATE, 0.0))
    np.testing.assert_array_equal(done.samples, np.array([-1.0, -0.5, 0.0, 0.5], np.float32))


def test_nan_is_silence_and_reported_once_in_ten_seconds():
    samples = make_tone(25.0, SAMPLE_RATE)
    samples[::1000] = np.nan
    samples[1] = np.inf
    done = Converting().push(*split(samples))
    assert np.isfinite(done.samples).all() and len(done.samples) == len(samples)
    assert len(done.faults) == 3 and "NaN" in done.faults[0] and "driver" in done.faults[0]
    assert np.isnan(samples[0]), "the caller's samples are changed"


def test_clipping_is_reported_and_limited_to_one():
    done = Converting().push(*split(4.0 * make_tone(2.0, SAMPLE_RATE)))
    assert len(done.faults) == 1 and "lower the gain" in done.faults[0]
    assert np.abs(done.samples).max() == 1.0
    assert not Converting().push(*split(make_tone(2.0, SAMPLE_RATE))).faults


def test_a_low_rate_is_reported_and_heard():
    done = Converting().push(*split(make_tone(1.0, 8_000), 8_000)).flush()
    assert len(done.faults) == 1 and "nothing above 4000 Hz" in done.faults[0]
    assert len(done.samples) == SAMPLE_RATE


def test_a_dead_microphone_is_reported_once_until_it_is_back():
    silence = np.zeros(60 * SAMPLE_RATE, np.float32)
    done = Converting().push(*split(silence))
    assert done.faults == [
        "all samples were zero for 10 s; check that the microphone is connected and not muted"
    ]
    done.push(*split(make_tone(1.0, SAMPLE_RATE), start_s=60.0))
    done.push(*split(silence[: 11 * SAMPLE_RATE], start_s=61.0))
    assert len(done.faults) == 2


def test_a_short_gap_is_filled_with_silence_and_the_clock_goes_on():
    first, second = make_tone(1.0, SAMPLE_RATE), make_tone(1.0, SAMPLE_RATE)
    done = Converting().push(*split(first), *split(second, start_s=1.3))
    assert len(done.samples) == round(2.3 * SAMPLE_RATE)
    assert not done.samples[SAMPLE_RATE : round(1.3 * SAMPLE_RATE)].any()
    assert done.faults == [
        "0.30 s of audio are missing, which is heard as silence; check the load and the network "
        "between microphone and here"
    ]


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 48_000])
@pytest.mark.parametrize(
    ("start_s", "fault"), [(9.0, "8.00 s of audio are missing"), (0.2, "jumped back by 0.80 s")]
)
def test_a_jump_of_the_stamps_begins_anew_and_no_sample_is_lost(rate, start_s, fault):
    done = Converting().push(*split(make_tone(1.0, rate), rate))
    done.push(*split(make_tone(1.0, rate), rate, start_s=start_s)).flush()
    assert len(done.samples) == 2 * SAMPLE_RATE
    assert len(done.faults) == 1 and fault in done.faults[0]
    ends = [block.start_s + len(block.samples) / SAMPLE_RATE for block in done.blocks]
    assert ends[-1] == pytest.approx(start_s + 1.0)
    assert any(block.start_s == pytest.approx(start_s) for block in done.blocks)


def test_stamps_of_arrival_that_jitter_are_no_gaps():
    random = np.random.default_rng(0)
    chunks = split(make_tone(20.0, SAMPLE_RATE))
    late = [
        AudioChunk(one.samples, one.rate, one.stamp_s + random.uniform(0.0, 0.08)) for one in chunks
    ]
    done = Converting().push(*late)
    assert not done.faults and len(done.samples) == 20 * SAMPLE_RATE


def test_a_clock_that_drifts_from_the_sound_card_is_followed():
    # 1 s in 1000: after 500 s the stamps are half a second behind the count of samples.
    chunks = split(make_tone(500.0, SAMPLE_RATE), step_s=0.1)
    drifting = [AudioChunk(one.samples, one.rate, one.stamp_s * 0.999) for one in chunks]
    done = Converting().push(*drifting)
    assert not done.faults
    assert done.blocks[-1].start_s == pytest.approx(drifting[-1].stamp_s, abs=0.02)


def test_a_change_of_format_is_reported_and_no_sample_is_lost():
    stereo = np.stack([make_tone(1.0, 44_100)] * 2, axis=1)
    done = Converting().push(*split(make_tone(1.0, SAMPLE_RATE)), *split(stereo, 44_100, 0.02, 1.0))
    done.push(*split((make_tone(1.0, 8_000) * 32_767).astype(np.int16), 8_000, start_s=2.0)).flush()
    assert done.faults[0] == (
        "audio changed from 16000 Hz, 1 channel, float32 to 44100 Hz, 2 channels, float32"
    )
    assert len(done.samples) == 3 * SAMPLE_RATE


def test_nothing_comes_of_an_empty_chunk():
    empty = AudioChunk(np.zeros((0, 2), np.float32), 44_100, 3.0)
    assert not Converting().push(empty).flush().blocks


@pytest.mark.parametrize(
    ("samples", "rate", "stamp_s", "error", "text"),
    [
        (np.zeros(4), 16_000, 0.0, ShapeError, "int16 or float32, got float64"),
        (np.zeros((2, 2, 2), np.int16), 16_000, 0.0, ShapeError, r"got \(2, 2, 2\)"),
        (np.zeros((4, 0), np.int16), 16_000, 0.0, ShapeError, r"got \(4, 0\)"),
        (np.zeros((4, 65), np.int16), 16_000, 0.0, ShapeError, r"1\.\.64 channels"),
        (np.zeros(4, np.int16), 0, 0.0, InputError, r"4000\.\.384000 .* got 0"),
        (np.zeros(4, np.int16), 16_000, float("nan"), InputError, "got nan"),
    ],
)
def test_a_chunk_that_cannot_be_used_is_refused(samples, rate, stamp_s, error, text):
    with pytest.raises(error, match=text):
        AudioChunk(samples, rate, stamp_s)


def test_level_is_in_decibels_of_full_scale():
    assert measure_level(np.zeros(0, np.float32)) == -100.0
    assert measure_level(np.zeros(100, np.float32)) == -100.0
    assert measure_level(np.ones(100, np.float32)) == 0.0
    assert measure_level(np.full(100, 0.1, np.float32)) == pytest.approx(-20.0)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_files_are_read_piece_by_piece_and_whole(tmp_path, suffix):
    stereo = np.stack([make_stream([(0.2, 0.8)], 1.25)] * 2, axis=1)
    path = tmp_path / f"question{suffix}"
    soundfile.write(path, stereo, 44_100)
    whole = read_audio(path)
    assert (whole.rate, whole.stamp_s, whole.samples.shape) == (44_100, 0.0, stereo.shape)
    np.testing.assert_allclose(whole.samples, stereo, atol=1e-4)
    pieces = list(read_chunks(path, piece_s=0.1))
    np.testing.assert_array_equal(np.concatenate([one.samples for one in pieces]), whole.samples)
    assert pieces[2].stamp_s == pytest.approx(0.2)


def test_files_that_cannot_be_heard_are_refused(tmp_path):
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    soundfile.write(empty, np.zeros(0, np.float32), SAMPLE_RATE)
    text.write_text("find the mug")
    for path, expected in (
        (tmp_path / "none.wav", "which is no file"),
        (empty, "holds no sound"),
        (text, "cannot be read as audio.*ffmpeg -i text.wav text.flac"),
    ):
        with pytest.raises(SpeechError, match=expected):
            read_audio(path)


def test_a_file_of_hours_is_no_question(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(601 * 4_000, np.int16), 4_000)
    with pytest.raises(SpeechError, match="longer than 600 s"):
        read_audio(path)
