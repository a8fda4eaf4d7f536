"""Where live audio comes from: a WAV stream of another program, and microphones."""

from __future__ import annotations

import queue
import time
import wave
from collections.abc import Generator
from typing import Any, BinaryIO

import numpy as np

from vl2_ros.errors import SpeechError
from vl2_ros.speech.audio import AudioChunk
from vl2_ros.speech.recogniser import SAMPLE_RATE

#: Seconds of a source that are heard at once; shorter pieces take more time of the processor.
PIECE_S = 0.05
#: Pieces of a microphone that wait while a sentence is recognised.
_MAX_WAITING = 400
#: A microphone that brings nothing for so long is gone.
_STALLED_S = 5.0
_AS_STREAM = "arecord -f S16_LE -r 16000 -t wav, or ffmpeg -i ... -c:a pcm_s16le -f wav -"


def read_stream(file: BinaryIO) -> Generator[AudioChunk]:
    """Read a WAV stream, such as standard input, as it comes, with stamps from 0 on.

    Args:
        file: needs no seek; its header may say that the length is unknown.

    Raises:
        SpeechError: if it is no WAV stream of 16-bit samples, or holds none.
    """
    count = 0
    try:
        with wave.open(file, "rb") as stream:
            rate, channels, width = (
                stream.getframerate(),
                stream.getnchannels(),
                stream.getsampwidth(),
            )
            if width != 2:
                raise SpeechError(
                    f"expected a WAV stream of 16-bit samples, got {8 * width} bits; make it with "
                    f"{_AS_STREAM}"
                )
            while data := stream.readframes(max(1, int(PIECE_S * rate))):
                # What is cut off may end within a sample.
                whole = len(data) - len(data) % (width * channels)
                samples = np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False)
                yield AudioChunk(samples.reshape(-1, channels), rate, count / rate)
                count += len(samples) // channels
    except (wave.Error, EOFError) as error:
        raise SpeechError(
            f"expected a WAV stream of 16-bit samples, got something else "
            f"({str(error) or 'it ends at once'}); make it with {_AS_STREAM}"
        ) from error
    if not count:
        raise SpeechError(f"the WAV stream holds no sound; make it with {_AS_STREAM}")


def read_microphone(name: str = "", channels: int = 1) -> Generator[AudioChunk]:
    """Read a microphone without end, with stamps from 0 on.

    Args:
        name: its number, or a part of its name; "": the default microphone.
        channels: how many of its channels are read.

    Raises:
        SpeechError: if PortAudio or the microphone is missing, or brings nothing any more.
        ModuleNotFoundError: if sounddevice is not installed.
    """
    library = _load_portaudio()
    device = int(name) if name.isdecimal() else name or None
    pieces: queue.Queue[AudioChunk] = queue.Queue(_MAX_WAITING)
    try:
        rate = _choose_rate(library, device, channels)
        began_s = time.monotonic()

        def keep(samples: Any, count: int, _moment: Any, _status: Any) -> None:
            stamp_s = time.monotonic() - began_s - count / rate
            chunk = AudioChunk(samples.copy(), rate, stamp_s)
            # A piece that finds no room is a gap, which the stamps of the next ones show.
            if not pieces.full():
                pieces.put_nowait(chunk)

        with library.InputStream(
            device=device,
            channels=channels,
            samplerate=rate,
            dtype="int16",
            blocksize=int(PIECE_S * rate),
            callback=keep,
        ):
            while True:
                yield pieces.get(timeout=_STALLED_S)
    except queue.Empty:
        raise SpeechError(
            f"the microphone brought no audio for {_STALLED_S:.0f} s; check that it is connected"
        ) from None
    except (library.PortAudioError, ValueError) as error:
        raise SpeechError(
            f"the microphone {name or '(default)'} cannot be used: {error}; python -m sounddevice "
            "lists those that there are"
        ) from error


def _load_portaudio() -> Any:
    try:
        import sounddevice
    except OSError as error:
        raise SpeechError(
            f"microphones need the library PortAudio ({error}); apt install libportaudio2"
        ) from error
    return sounddevice


def _choose_rate(library: Any, device: int | str | None, channels: int) -> int:
    """Return 16 kHz where the device can do that, else its own rate."""
    try:
        library.check_input_settings(device, channels, "int16", samplerate=SAMPLE_RATE)
    except library.PortAudioError:
        return int(library.query_devices(device, "input")["default_samplerate"])
    return SAMPLE_RATE
