"""Audio of any rate, channels and type -> mono blocks at 16 kHz with the time of their samples.

Faults of the stream are reported and hearing goes on. The samples that come out depend on those
that came in alone, not on how the stream is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vl2_ros.errors import InputError, ShapeError, SpeechError
from vl2_ros.speech.recogniser import SAMPLE_RATE
from vl2_ros.speech.stream_faults import FaultReporter, SampleCheck, describe_low_rate

RATES = (4_000, 384_000)
#: Microphone arrays have up to 16.
MAX_CHANNELS = 64
SILENT_DB = -100.0
#: Stamps that are off by less are late, not wrong: chunks are stamped when they arrive.
JITTER_S = 0.2
#: A longer gap ends what was being said; a shorter one is filled with silence.
MOST_FILLED_S = 0.5
#: Share of a stamp's deviation that the clock follows: sound cards and clocks drift apart.
_FOLLOW = 0.01
#: Seconds of a file that are read at once.
_PIECE_S = 0.1
#: Longest file that is read as a whole.
_MAX_FILE_S = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """A piece of a stream as a device, file or message brings it.

    Attributes:
        samples: (N,) or (N, C), int16 or float32 in -1..1; N may be 0.
        rate: samples a second, 4000..384000.
        stamp_s: time of the first sample, in seconds of any clock.

    Raises:
        ShapeError: if the samples have another shape or dtype.
        InputError: if the rate or the stamp cannot be used.
    """

    samples: NDArray
    rate: int
    stamp_s: float

    def __post_init__(self) -> None:
        """Check shape, dtype, rate and stamp."""
        samples = self.samples
        if samples.dtype not in (np.int16, np.float32):
            raise ShapeError(
                f"audio must be int16 or float32, got {samples.dtype}; convert it before"
            )
        if samples.ndim not in (1, 2) or not 1 <= self.channels <= MAX_CHANNELS:
            raise ShapeError(
                f"audio must be (N,) or (N, C) with 1..{MAX_CHANNELS} channels, got {samples.shape}"
            )
        if not RATES[0] <= self.rate <= RATES[1]:
            raise InputError(
                f"the rate of audio must be {RATES[0]}..{RATES[1]} samples a second, got "
                f"{self.rate}"
            )
        if not isfinite(self.stamp_s):
            raise InputError(f"the stamp of audio must be a time in seconds, got {self.stamp_s}")

    @property
    def channels(self) -> int:
        """Return the number of channels."""
        return self.samples.shape[1] if self.samples.ndim == 2 else 1

    @property
    def format(self) -> str:
        """Describe rate, channels and type in words."""
        plural = "" if self.channels == 1 else "s"
        return f"{self.rate} Hz, {self.channels} channel{plural}, {self.samples.dtype}"


@dataclass(frozen=True, slots=True, eq=False)
class AudioBlock:
    """Converted audio.

    Attributes:
        samples: (N,) float32, mono, 16 kHz, -1..1.
        start_s: time of the first sample, in seconds of the chunks' clock.
    """

    samples: NDArray[np.float32]
    start_s: float


class AudioConverter:
    """Converts a stream; one for each stream, from one thread at a time.

    Args:
        report: called with one sentence for each fault of the stream: what came and what to do. A
            fault that lasts is reported once in ten seconds of audio.
        channel: index of the channel that is heard; None: the mean of all.
    """

    def __init__(self, report: Callable[[str], None], channel: int | None = None) -> None:
        self._channel = channel
        self._faults = FaultReporter(report)
        self._check = SampleCheck(self._faults)
        self._format = ""
        self._resampler: Any = None
        self._restart(0.0)

    def push(self, chunk: AudioChunk) -> list[AudioBlock]:
        """Convert the next chunk; what is still in the resampler comes with a later one.

        Raises:
            ModuleNotFoundError: if the audio is not at 16 kHz and soxr is not installed.
        """
        if not len(chunk.samples):
            return []
        blocks = []
        samples = self._mix(self._check.clean(chunk.samples, chunk.rate), chunk)
        if chunk.format != self._format:
            blocks += self._change_format(chunk)
        missing_s = chunk.stamp_s - self._origin_s - self._input_s
        if self._input_s == 0.0:
            self._restart(chunk.stamp_s)
        elif abs(missing_s) <= JITTER_S:
            self._origin_s += _FOLLOW * missing_s
        elif 0.0 < missing_s <= MOST_FILLED_S:
            self._report_gap(missing_s, "is heard as silence")
            gap = np.zeros(round(missing_s * chunk.rate), dtype=np.float32)
            samples = np.concatenate([gap, samples])
        else:
            self._report_jump(missing_s)
            blocks += self.flush()
            self._open(chunk)
            self._restart(chunk.stamp_s)
        self._faults.pass_time(len(samples) / chunk.rate)
        self._input_s += len(samples) / chunk.rate
        return blocks + self._convert(samples, last=False)

    def flush(self) -> list[AudioBlock]:
        """End the stream and return what is still in the resampler."""
        blocks = self._convert(np.zeros(0, dtype=np.float32), last=True)
        self._format, self._resampler = "", None
        self._restart(0.0)
        return blocks

    def _restart(self, origin_s: float) -> None:
        """Begin a run of samples without gaps at a time."""
        self._origin_s = origin_s
        self._input_s = 0.0
        self._converted = 0

    def _mix(self, samples: NDArray[np.float32], chunk: AudioChunk) -> NDArray[np.float32]:
        if samples.ndim == 1:
            return samples
        if self._channel is not None and self._channel < chunk.channels:
            return np.ascontiguousarray(samples[:, self._channel])
        if self._channel is not None:
            self._faults.report(
                "channel",
                f"channel {self._channel} was asked for and the audio has {chunk.channels}, "
                "counted from 0; the mean of all is heard",
            )
        mixed: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
        return mixed

    def _change_format(self, chunk: AudioChunk) -> list[AudioBlock]:
        """Take up another format in the middle of the stream; no sample is lost."""
        blocks = []
        if self._format:
            self._faults.report("format", f"audio changed from {self._format} to {chunk.format}")
            blocks = self._convert(np.zeros(0, dtype=np.float32), last=True)
        if chunk.rate < SAMPLE_RATE:
            self._faults.report("rate", describe_low_rate(chunk.rate))
        self._open(chunk)
        return blocks

    def _open(self, chunk: AudioChunk) -> None:
        self._format, self._resampler = chunk.format, None
        if chunk.rate != SAMPLE_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(chunk.rate, SAMPLE_RATE, 1, dtype="float32")

    def _convert(self, samples: NDArray[np.float32], *, last: bool) -> list[AudioBlock]:
        if self._resampler is not None:
            # The filter overshoots by a little.
            samples = np.clip(self._resampler.resample_chunk(samples, last=last), -1.0, 1.0)
        if not len(samples):
            return []
        start_s = self._origin_s + self._converted / SAMPLE_RATE
        self._converted += len(samples)
        return [AudioBlock(samples, start_s)]

    def _report_gap(self, missing_s: float, outcome: str) -> None:
        self._faults.report(
            "gap",
            f"{missing_s:.2f} s of audio are missing, which {outcome}; check the load and the "
            "network between microphone and here",
        )

    def _report_jump(self, missing_s: float) -> None:
        if missing_s > 0.0:
            self._report_gap(missing_s, "ends what was being said")
        else:
            self._faults.report(
                "jump",
                f"the stamps of the audio jumped back by {-missing_s:.2f} s, which ends what was "
                "being said; check the clock that stamps it, and that one source alone publishes",
            )


def measure_level(samples: NDArray[np.float32]) -> float:
    """Return the root mean square of samples in decibels of full scale, -100..0.

    Args:
        samples: (N,) in -1..1; N may be 0.
    """
    if not samples.size:
        return SILENT_DB
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(SILENT_DB, 10.0 * float(np.log10(max(power, 1e-12))))


def read_chunks(path: Path, piece_s: float = _PIECE_S) -> Generator[AudioChunk]:
    """Read a WAV or FLAC file piece by piece, with stamps from 0 on.

    Args:
        path: of the file; its rate and channels stay.
        piece_s: length of a piece in seconds.

    Raises:
        SpeechError: if it is missing, empty or no audio.
        ModuleNotFoundError: if soundfile is not installed.
    """
    import soundfile

    if not path.is_file():
        raise SpeechError(f"expected a WAV or FLAC file, got {path}, which is no file")
    count = 0
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            for samples in file.blocks(max(1, int(piece_s * rate)), dtype="float32"):
                yield AudioChunk(samples, rate, count / rate)
                count += len(samples)
    except soundfile.LibsndfileError as error:
        raise SpeechError(
            f"{path} cannot be read as audio: {error}; convert it, for example with "
            f"ffmpeg -i {path.name} {path.stem}.flac"
        ) from error
    if not count:
        raise SpeechError(f"{path} holds no sound; expected a WAV or FLAC file with samples")


def read_audio(path: Path) -> AudioChunk:
    """Read a WAV or FLAC file as a whole, with the stamp 0.

    Raises:
        SpeechError: if it is missing, empty, longer than ten minutes or no audio.
        ModuleNotFoundError: if soundfile is not installed.
    """
    pieces = []
    for piece in read_chunks(path):
        if piece.stamp_s > _MAX_FILE_S:
            raise SpeechError(
                f"{path} is longer than {_MAX_FILE_S:.0f} s; expected a spoken question"
            )
        pieces.append(piece)
    return AudioChunk(np.concatenate([one.samples for one in pieces]), pieces[0].rate, 0.0)
