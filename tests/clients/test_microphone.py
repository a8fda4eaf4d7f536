from __future__ import annotations

import time
from contextlib import closing

import numpy as np

from tests.node.hearing.scripted_ears import make_voice
from tests.node.wire import Inbox, stamp_of
from vl2_ros.clients.microphone import Microphone
from vl2_ros.node.hearing.audio_messages import AUDIO_TYPE, read_audio
from vl2_ros.node.transport import Qos
from vl2_ros.speech.audio import AudioChunk
from vl2_ros.transports.memory import MemoryBus, MemoryTransport


def test_file_is_played_at_its_own_pace_and_ends_with_a_pause():
    bus = MemoryBus()
    with closing(MemoryTransport(bus, "a")) as sender, closing(MemoryTransport(bus, "b")) as heard:
        inbox = Inbox(heard, "/mic", AUDIO_TYPE, Qos(depth=100))
        voice = np.stack([make_voice(0.4, 8000), -make_voice(0.4, 8000)], axis=1)
        chunks = [
            AudioChunk(voice[first : first + 800], 8000, first / 8000)
            for first in range(0, 3200, 800)
        ]
        microphone = Microphone(sender, "/mic")
        before_ns, before_s = sender.now_ns(), time.monotonic()
        microphone.play(chunks)
        spent_s = time.monotonic() - before_s
        messages = inbox.wait(5)
    assert microphone.name == "/mic"
    # The first chunk is there when it is read, the other three take their time.
    assert spent_s >= 0.3
    stamps = [stamp_of(message) for message in messages]
    assert np.diff(stamps).tolist() == [100_000_000] * 4
    assert abs(stamps[0] - before_ns + 100_000_000) < 1_000_000_000
    read = [read_audio(message) for message in messages]
    assert {(one.rate, one.channels) for one in read} == {(8000, 2)}
    np.testing.assert_array_equal(np.concatenate([one.samples for one in read[:4]]), voice)
    assert len(read[4].samples) == 8000 and not read[4].samples.any()


def test_nothing_to_play_is_nothing_played():
    with closing(MemoryTransport(MemoryBus(), "a")) as sender:
        Microphone(sender).play([])
