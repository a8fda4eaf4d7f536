"""Read audio messages, ours and those of audio_common, as chunks of samples with their time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vl2_ros.errors import InputError
from vl2_ros.speech.audio import AudioChunk

AUDIO_TYPE = "vl2_ros/msg/Audio"
#: Of https://github.com/mgonzs13/audio_common, which whisper_ros hears.
AUDIO_STAMPED_TYPE = "audio_common_msgs/msg/AudioStamped"
#: What the node hears, the best one first.
AUDIO_TYPES = (AUDIO_TYPE, AUDIO_STAMPED_TYPE)

#: Fields of samples, the value that is silence and the one that is the loudest.
_FIELDS = {
    "int16_data": None,
    "float32_data": None,
    "int32_data": (0.0, 2.0**31),
    "int8_data": (0.0, 2.0**7),
    "uint8_data": (2.0**7, 2.0**7),
}
#: Most seconds that the stamp of audio may be off the clock: one that is further off is of another
#: clock, as that of a recording.
_MOST_OFF_S = 10.0
#: Seconds without a chunk after which a stream begins anew.
_PAUSE_S = 1.0
#: How fast counted times follow the arrivals, in seconds for each second of audio: slowly enough
#: that a thread that was late, and then gets several chunks at once, makes neither gap nor jump.
_FOLLOW = 0.05


def read_audio(message: Any) -> AudioChunk:
    """Read a vl2_ros/Audio or an audio_common_msgs/AudioStamped.

    Returns:
        The samples with the time of the header in seconds since the epoch, 0 where it has none.

    Raises:
        InputError: if it has no form of samples, or not for all channels.
        ShapeError: as `AudioChunk` raises it.
    """
    stamp = message.header.stamp
    stamp_s = int(stamp.sec) + int(stamp.nanosec) * 1e-9
    if hasattr(message, "audio"):
        info, data = message.audio.info, message.audio.audio_data
    else:
        info = data = message
    samples = _read_samples(data)
    channels = int(info.channels)
    if channels < 1 or len(samples) % channels:
        raise InputError(
            f"audio has {len(samples)} samples for {channels} channels; expected as many for each "
            "of 1 or more channels"
        )
    shaped = samples.reshape(-1, channels) if channels > 1 else samples
    return AudioChunk(shaped, int(info.rate), stamp_s)


class AudioTimes:
    """Gives chunks the time of their first sample by one clock.

    That is the stamp of their header. Where it is none, or of another clock, it is counted from the
    arrivals: chunk after chunk, so that their jitter makes no gaps.
    """

    def __init__(self) -> None:
        self._next_s = self._arrived_s = -np.inf

    def find_start_s(self, chunk: AudioChunk, now_s: float) -> float:
        """Return when the first sample of a chunk was recorded.

        Args:
            chunk: with the stamp of its header.
            now_s: seconds since the epoch at its arrival.
        """
        if abs(chunk.stamp_s - now_s) <= _MOST_OFF_S:
            return chunk.stamp_s
        duration_s = len(chunk.samples) / chunk.rate
        start_s, late_s = self._next_s, now_s - duration_s - self._next_s
        if now_s - self._arrived_s > _PAUSE_S or abs(late_s) > _MOST_OFF_S:
            start_s = now_s - duration_s
        else:
            most_s = _FOLLOW * duration_s
            start_s += min(most_s, max(-most_s, late_s))
        self._next_s, self._arrived_s = start_s + duration_s, now_s
        return start_s


def _read_samples(data: Any) -> NDArray:
    """Return the samples of the only field that has any, int16 or float32."""
    fields = {name: getattr(data, name) for name in _FIELDS if hasattr(data, name)}
    filled = [name for name, values in fields.items() if len(values)]
    if len(filled) > 1:
        raise InputError(f"audio must have one form of samples, got {' and '.join(filled)}")
    if not filled:
        return np.zeros(0, np.int16)
    (name,) = filled
    samples = np.asarray(fields[name])
    scale = _FIELDS[name]
    if scale is None:
        return samples
    silence, loudest = scale
    return ((samples.astype(np.float64) - silence) / loudest).astype(np.float32)
