from __future__ import annotations

import threading

import numpy as np
import pytest

from vl2_ros.node.hearing.audio_queue import MOST_WAITING_S, AudioQueue
from vl2_ros.speech.audio import AudioChunk


def chunk(index: int) -> AudioChunk:
    return AudioChunk(np.zeros(16_000, np.int16), 16_000, float(index))


def test_chunks_come_out_in_order_and_none_when_there_is_none():
    queue = AudioQueue()
    for index in range(3):
        queue.put(chunk(index))
    assert queue.waiting_s == pytest.approx(3.0)
    assert [queue.take(0.0).stamp_s for _ in range(3)] == [0.0, 1.0, 2.0]
    assert queue.take(0.01) is None and queue.waiting_s == pytest.approx(0.0)


def test_full_queue_drops_the_oldest_and_counts_it():
    queue = AudioQueue()
    for index in range(100):
        queue.put(chunk(index))
    assert queue.waiting_s == pytest.approx(MOST_WAITING_S)
    assert queue.dropped_s == pytest.approx(100 - MOST_WAITING_S)
    assert queue.take(0.0).stamp_s == 100 - MOST_WAITING_S


def test_close_ends_the_wait():
    queue, taken = AudioQueue(), []
    thread = threading.Thread(target=lambda: taken.append(queue.take(30.0)))
    thread.start()
    queue.close()
    thread.join(30.0)
    assert taken == [None]
    queue.put(chunk(1))
    assert queue.take(0.0) is None


def test_a_chunk_that_is_longer_than_the_queue_is_heard():
    queue = AudioQueue()
    queue.put(chunk(0))
    queue.put(AudioChunk(np.zeros(16_000 * 40, np.int16), 16_000, 1.0))
    assert queue.dropped_s == 1.0
    assert queue.take(0.0).stamp_s == 1.0 and queue.take(0.0) is None
