"""Publish audio as a microphone does, stamped with the time at which it was recorded."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from vl2_ros.node.hearing.audio_messages import AUDIO_TYPE
from vl2_ros.node.transport import Qos, Transport
from vl2_ros.speech.audio import AudioChunk

AUDIO = "/audio"
FRAME_ID = "microphone"
#: Seconds of silence after a file, so that its last sentence ends.
_AFTER_S = 1.0


class Microphone:
    """A microphone on a transport.

    Args:
        transport: publishes the audio, and gives its time.
        topic: of the audio.
    """

    def __init__(self, transport: Transport, topic: str = AUDIO) -> None:
        self._transport = transport
        self._make = transport.types.make
        self._publisher = transport.advertise(topic, AUDIO_TYPE, Qos(depth=100))
        #: Absolute name of the topic, as `vl2 hear --audio-topic` takes it.
        self.name = transport.resolve(topic)

    def play(self, chunks: Iterable[AudioChunk]) -> None:
        """Publish chunks at their own pace, and a pause after the last one.

        Args:
            chunks: with stamps from 0 on; those of a live source come at that pace by themselves.
        """
        began_s = began_ns = None
        end_s, last = 0.0, None
        for chunk in chunks:
            end_s = chunk.stamp_s + len(chunk.samples) / chunk.rate
            if began_s is None or began_ns is None:
                began_s = time.monotonic() - end_s
                began_ns = self._transport.now_ns() - round(end_s * 1e9)
            time.sleep(max(0.0, began_s + end_s - time.monotonic()))
            self._publish(chunk, began_ns + round(chunk.stamp_s * 1e9))
            last = chunk
        if last is not None and began_ns is not None:
            silence = np.zeros((round(_AFTER_S * last.rate), *last.samples.shape[1:]), np.int16)
            pause = AudioChunk(silence.astype(last.samples.dtype), last.rate, end_s)
            self._publish(pause, began_ns + round(end_s * 1e9))

    def _publish(self, chunk: AudioChunk, stamp_ns: int) -> None:
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        self._publisher.publish(
            self._make(
                AUDIO_TYPE,
                header=self._make("std_msgs/msg/Header", stamp=stamp, frame_id=FRAME_ID),
                rate=chunk.rate,
                channels=chunk.channels,
                **{f"{chunk.samples.dtype.name}_data": chunk.samples.reshape(-1)},
            )
        )
