from __future__ import annotations

import io
import itertools
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.speech.scripted import make_stream
from vl2_ros.errors import SpeechError
from vl2_ros.speech.recogniser import SAMPLE_RATE
from vl2_ros.speech.sources import read_microphone, read_stream


class Pipe(io.RawIOBase):
    """Bytes as another program writes them: a few at a time, and no way back."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._data.readinto(memoryview(buffer)[:777])


def make_wav(samples: np.ndarray, rate: int = SAMPLE_RATE, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format="WAV")
    return file.getvalue()


def read(data: bytes) -> list:
    return list(read_stream(io.BufferedReader(Pipe(data))))


@pytest.mark.parametrize("length", [None, b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
def test_a_stream_is_read_also_when_its_header_knows_no_length(length):
    samples = np.stack([make_stream([(0.1, 0.4)], 0.51)] * 2, axis=1)
    data = make_wav(samples, 44_100)
    if length is not None:
        place = data.index(b"data") + 4
        data = data[:place] + length + data[place + 4 :]
    chunks = read(data)
    joined = np.concatenate([one.samples for one in chunks])
    expected, _ = soundfile.read(io.BytesIO(make_wav(samples, 44_100)), dtype="int16")
    np.testing.assert_array_equal(joined, expected)
    assert {one.rate for one in chunks} == {44_100}
    assert chunks[3].stamp_s == pytest.approx(0.15)


def test_a_stream_that_is_cut_off_within_a_sample_is_read_to_its_last_whole_one():
    data = make_wav(np.stack([make_stream([], 0.1)] * 2, axis=1))
    assert sum(len(one.samples) for one in read(data[:-3])) == 1_599


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it ends at once"),
        (b"fLaC and so on and so on", "something else"),
        (make_wav(np.zeros(100), subtype="PCM_24"), "got 24 bits"),
        (make_wav(np.zeros(100), subtype="FLOAT"), "something else"),
        (make_wav(np.zeros(0)), "holds no sound"),
    ],
)
def test_other_streams_are_refused_with_a_command_that_makes_one(data, text):
    with pytest.raises(SpeechError, match=f"{text}.*arecord -f S16_LE"):
        read(data)


class FakePortAudio:
    """A `sounddevice` with one microphone, which brings a ramp when it is opened.

    Attributes:
        opened: settings of the stream.
        piece_count: pieces that it brings.
    """

    class PortAudioError(Exception):
        pass

    def __init__(self, *rates: int, piece_count: int = 3) -> None:
        self._rates, self.piece_count = rates, piece_count
        self.opened: dict = {}
        self.is_closed = False

    def check_input_settings(self, device, channels, dtype, samplerate):
        if samplerate not in self._rates:
            raise self.PortAudioError("Invalid sample rate")

    def query_devices(self, device, kind):
        return {"default_samplerate": float(self._rates[0])}

    def InputStream(self, callback, **settings):  # noqa: N802
        if settings["device"] == "none":
            raise ValueError("No input device matching 'none'")
        self.opened = settings
        piece = np.zeros((settings["blocksize"], settings["channels"]), np.int16)
        for number in range(self.piece_count):
            piece[:] = number
            callback(piece, len(piece), SimpleNamespace(), None)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_closed = True


def install(monkeypatch, library: object) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", library)


def test_a_microphone_is_read_at_16_khz_where_it_can_and_closed(monkeypatch):
    library = FakePortAudio(48_000, SAMPLE_RATE)
    install(monkeypatch, library)
    chunks = read_microphone("2", channels=2)
    read = list(itertools.islice(chunks, 3))
    assert library.opened["device"] == 2 and not library.is_closed
    chunks.close()
    assert library.is_closed
    assert [one.samples[0, 1] for one in read] == [0, 1, 2]
    assert {(one.rate, one.samples.shape) for one in read} == {(SAMPLE_RATE, (800, 2))}


def test_a_microphone_of_another_rate_is_read_at_its_own(monkeypatch):
    install(monkeypatch, FakePortAudio(44_100))
    assert next(read_microphone()).rate == 44_100


def test_pieces_that_find_no_room_are_dropped(monkeypatch):
    install(monkeypatch, FakePortAudio(SAMPLE_RATE, piece_count=1_000))
    chunks = read_microphone()
    read = list(itertools.islice(chunks, 400))
    assert read[-1].samples[0, 0] == 399


def test_a_microphone_that_cannot_be_used_is_named(monkeypatch):
    install(monkeypatch, FakePortAudio(SAMPLE_RATE))
    with pytest.raises(SpeechError, match="microphone none cannot be used.*-m sounddevice"):
        next(read_microphone("none"))


def test_a_microphone_that_brings_nothing_is_gone(monkeypatch):
    install(monkeypatch, FakePortAudio(SAMPLE_RATE, piece_count=0))
    monkeypatch.setattr("vl2_ros.speech.sources._STALLED_S", 0.01)
    began = time.monotonic()
    with pytest.raises(SpeechError, match="brought no audio"):
        next(read_microphone())
    assert time.monotonic() - began < 5.0


def test_a_machine_without_portaudio_names_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(SpeechError, match="apt install libportaudio2"):
        next(read_microphone())
