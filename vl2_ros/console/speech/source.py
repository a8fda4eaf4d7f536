"""Where a command hears: a file, a stream on standard input, or a microphone."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.speech.audio import AudioChunk

#: Standard input as a source.
STREAM = "-"


def open_source(source: str, microphone: str, channels: int) -> Generator[AudioChunk]:
    """Read audio piece by piece.

    Args:
        source: a WAV or FLAC file; "-": a WAV stream on standard input; "": the microphone.
        microphone: its number, or a part of its name; "": that of the system.
        channels: how many channels of the microphone are read.

    Raises:
        InputError: if there are a file and a microphone, or the stream is a terminal.
    """
    from vl2_ros.speech.audio import read_chunks
    from vl2_ros.speech.sources import read_microphone, read_stream

    if source and microphone:
        raise InputError(f"expected a file or a microphone, got {source!r} and {microphone!r}")
    if not source:
        return read_microphone(microphone, channels)
    if source != STREAM:
        return read_chunks(Path(source))
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            "expected a WAV stream on standard input, which is a terminal; pipe one in: "
            "arecord -f S16_LE -r 16000 -t wav | vl2 ..."
        )
    return read_stream(sys.stdin.buffer)
