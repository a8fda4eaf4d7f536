from __future__ import annotations

import numpy as np
import pytest

from tests.node.hearing.scripted_ears import make_audio, make_audio_stamped, make_voice
from vl2_ros.errors import InputError
from vl2_ros.node.hearing.audio_messages import AUDIO_TYPE, AudioTimes, read_audio
from vl2_ros.speech.audio import AudioChunk
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()
LEFT_RIGHT = np.array([[1, -2], [3, -4], [5, -6]], np.int16)
S = 1_000_000_000


@pytest.mark.parametrize("make", [make_audio, make_audio_stamped])
def test_channels_lie_beside_each_other(make):
    chunk = read_audio(make(TYPES, LEFT_RIGHT, stamp_ns=7 * S + 5, rate=44_100))
    assert chunk.samples.dtype == np.int16 and chunk.samples.tolist() == LEFT_RIGHT.tolist()
    assert chunk.rate == 44_100
    assert chunk.stamp_s == pytest.approx(7.000000005, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("float32_data", np.array([0.5, -1.0], np.float32), [0.5, -1.0]),
        ("int32_data", np.array([2**30, -(2**31)], np.int32), [0.5, -1.0]),
        ("int8_data", np.array([64, -128], np.int8), [0.5, -1.0]),
        ("uint8_data", np.array([192, 0], np.uint8), [0.5, -1.0]),
    ],
)
def test_every_form_of_audio_common_is_read(name, values, expected):
    chunk = read_audio(make_audio_stamped(TYPES, values, name=name))
    assert chunk.samples.dtype == np.float32 and chunk.samples.tolist() == expected


def test_message_as_received_is_read_without_a_copy():
    voice = make_voice(0.1)
    cdr = bytes(TYPES.serialize(make_audio(TYPES, voice)))
    chunk = read_audio(TYPES.deserialize(cdr, AUDIO_TYPE))
    np.testing.assert_array_equal(chunk.samples, voice)
    assert not chunk.samples.flags.owndata


def test_audio_without_samples_is_empty():
    assert len(read_audio(TYPES.make(AUDIO_TYPE, rate=16_000, channels=2)).samples) == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"channels": 0, "int16_data": np.zeros(4, np.int16)}, "4 samples for 0 channels"),
        ({"channels": 3, "int16_data": np.zeros(4, np.int16)}, "4 samples for 3 channels"),
        (
            {"int16_data": np.zeros(4, np.int16), "float32_data": np.zeros(4, np.float32)},
            "got int16_data and float32_data",
        ),
        ({"rate": 0, "int16_data": np.zeros(4, np.int16)}, "rate"),
    ],
)
def test_audio_that_cannot_be_used_says_why(fields, expected):
    with pytest.raises(InputError, match=expected):
        read_audio(TYPES.make(AUDIO_TYPE, **({"rate": 16_000, "channels": 1} | fields)))


def chunk_at(stamp_s: float, seconds: float = 0.1) -> AudioChunk:
    return AudioChunk(np.zeros(round(seconds * 16_000), np.float32), 16_000, stamp_s)


def test_stamps_of_the_clock_count():
    times = AudioTimes()
    assert times.find_start_s(chunk_at(999.5), now_s=1000.0) == 999.5


@pytest.mark.parametrize("stamp_s", [0.0, 5.0])
def test_without_such_stamps_time_is_counted_from_arrivals_without_their_jitter(stamp_s):
    times = AudioTimes()
    # The third one is late, and the others come with it.
    arrivals = (1000.1, 1000.2, 1000.9, 1000.9, 1000.9, 1000.9, 1000.9, 1000.9, 1000.9)
    starts = [times.find_start_s(chunk_at(stamp_s), now_s=now_s) for now_s in arrivals]
    assert starts == pytest.approx([1000.0 + index / 10 for index in range(9)], abs=0.045)
    assert np.diff(starts) == pytest.approx(np.full(8, 0.1), abs=0.0051)
    # A microphone that was switched off begins anew.
    assert times.find_start_s(chunk_at(stamp_s), now_s=1003.1) == pytest.approx(1003.0)


def test_counted_times_follow_a_clock_that_is_faster():
    times = AudioTimes()
    for index in range(1, 201):
        now_s = 1000.0 + 0.101 * index
        start_s = times.find_start_s(chunk_at(0.0), now_s=now_s)
    assert start_s == pytest.approx(now_s - 0.1, abs=0.01)
