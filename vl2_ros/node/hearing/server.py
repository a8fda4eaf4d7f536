"""The hearing node without ROS: audio of a topic in, what was heard out on the topic of a node.

One thread receives and only stores, one hears, one looks after both. Knows no library of speech
recognition: what hears is given.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vl2_ros.errors import ConfigError
from vl2_ros.node.cameras.camera_topic import CameraTopic
from vl2_ros.node.cameras.topic_choice import TopicChoice
from vl2_ros.node.fault_log import FaultLog
from vl2_ros.node.guarded import catch_failure, error_text, guarded
from vl2_ros.node.hearing.audio_messages import AUDIO_TYPES, AudioTimes, read_audio
from vl2_ros.node.hearing.audio_queue import AudioQueue
from vl2_ros.node.hearing.heard_messages import HEARD_QOS, HEARD_TOPIC, HEARD_TYPE, make_heard
from vl2_ros.node.hearing.hearing_status import DIAGNOSTICS_TYPE, HearingReport, make_status
from vl2_ros.node.hearing.vocabulary_output import (
    VOCABULARY_TOPIC,
    VOCABULARY_TYPE,
    read_vocabulary,
)
from vl2_ros.node.parameters import HearingParameters
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import LATCHED, Publisher, Qos, Subscription, Transport
from vl2_ros.processing.printable import make_printable
from vl2_ros.speech.audio import AudioChunk
from vl2_ros.speech.listener import Listener, ListenerConfig, Utterance
from vl2_ros.speech.recogniser import Recogniser
from vl2_ros.speech.segmenter import Segment, Segmenter, VoiceDetector

DIAGNOSTICS_TOPIC = "/diagnostics"
#: Chunks that wait while the thread that stores them is late.
_AUDIO_DEPTH = 100
#: Seconds without a chunk after which what is being said is taken for over, as a microphone that
#: is switched off sends no pause.
_SILENT_S = 1.0
#: Most seconds between two looks at threads and publishers, and between two diagnostics.
_LOOK_PERIOD_S = 0.5
_REPORT_PERIOD_S = 1.0
_DROPPED = (
    "audio comes faster than it is recognised, and what waited for too long is dropped; let fewer "
    "programs run, or use a smaller model (parameter speech_weights)"
)
_UNHEARD = (
    "nothing subscribes to {topic}, so nothing that is heard is done; start the node, or name it "
    "(parameter node)"
)
_OTHERS = (
    "{count} nodes publish on {topic}; where they hear the same voices, each sentence is done as "
    "often: end the others"
)
#: Most seconds that `stop` waits for a sentence that is being recognised.
_STOP_S = 5.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ears:
    """What hears.

    Attributes:
        recogniser: turns a sentence into text.
        make_detector: makes what finds voices in one stream.
    """

    recogniser: Recogniser
    make_detector: Callable[[], VoiceDetector]


def describe_heard(utterance: Utterance) -> str:
    """Write what was heard in one line, with its score and why it was not accepted."""
    refusal = f": not accepted, {utterance.reason}" if utterance.reason else ""
    return make_printable(f"heard {utterance.text!r} ({utterance.score:.2f}){refusal}")


def make_config(parameters: HearingParameters) -> ListenerConfig:
    """Return what is accepted by the parameters.

    Raises:
        ConfigError: if the wake phrase has no words.
    """
    return ListenerConfig(
        min_score=parameters.min_score,
        wake_phrase=parameters.wake_phrase,
        channel=None if parameters.channel < 0 else parameters.channel,
    )


class HearingServer:
    """Hears an audio topic for one perception node.

    The transport stays the caller's: stop the server first, then close the transport.

    Args:
        ears: hear.
        transport: carries the messages.
        parameters: of the hearing node.
        on_failure: called once, with the reason, when nothing is heard any more, as a thread has
            ended; the process should end then, with a code that is not 0.
        on_heard: called with each utterance, on the thread that hears.
    """

    def __init__(
        self,
        ears: Ears,
        transport: Transport,
        parameters: HearingParameters,
        on_failure: Callable[[str], None] = _LOG.critical,
        on_heard: Callable[[Utterance], None] = lambda utterance: None,
    ) -> None:
        """Store the parts; no topic is opened before `advertise` or `start`.

        Raises:
            ConfigError: if a topic is none, or the wake phrase has no words.
        """
        self._ears, self._transport, self.parameters = ears, transport, parameters
        self._on_failure, self._on_heard = on_failure, on_heard
        self._log = RepeatedLog(_LOG)
        self._faults = FaultLog(_LOG)
        topics = [
            CameraTopic(
                parameters.audio_topic, type_name, "auto", _AUDIO_DEPTH, transport, self._take
            )
            for type_name in AUDIO_TYPES
            if transport.types.has(type_name)
        ]
        self._audio = TopicChoice(topics)
        self.heard_topic = HEARD_TOPIC.replace("~", parameters.node, 1)
        self._vocabulary_topic = VOCABULARY_TOPIC.replace("~", parameters.node, 1)
        # As early as this, so that what is wrong is an error of the parameters.
        transport.resolve(self.heard_topic)
        make_config(parameters)
        self._heard: Publisher | None = None
        self._diagnostics: Publisher | None = None
        self._vocabulary: Subscription | None = None
        self._threads: tuple[threading.Thread, ...] = ()
        self._stopping = threading.Event()
        self._report = HearingReport()

    @property
    def is_active(self) -> bool:
        """Return whether it hears."""
        return bool(self._threads)

    def count_hearers(self) -> int:
        """Return how many subscriptions get what is heard now, that of the node among them."""
        return 0 if self._heard is None else self._heard.count_subscribers()

    def advertise(self) -> None:
        """Open the outgoing topics; a second call does nothing."""
        if self._heard is None:
            self._heard = self._transport.advertise(self.heard_topic, HEARD_TYPE, HEARD_QOS)
            self._diagnostics = self._transport.advertise(
                DIAGNOSTICS_TOPIC, DIAGNOSTICS_TYPE, Qos()
            )

    def start(self) -> None:
        """Subscribe to audio and begin to hear.

        Raises:
            ConfigError: if it hears already.
        """
        if self._threads:
            raise ConfigError("the server hears already; stop it before it is started again")
        self.advertise()
        self._stopping = threading.Event()
        self._queue, self._times = AudioQueue(), AudioTimes()
        self._report = HearingReport(last_s=time.monotonic(), hearer_s=time.monotonic())
        config = make_config(self.parameters)
        segmenter = Segmenter(self._ears.make_detector())
        self._listener = Listener(self._ears.recogniser, segmenter, config, self._note_fault)
        self._threads = (
            threading.Thread(target=self._hear, name="vl2 hearing", daemon=True),
            threading.Thread(target=self._supervise, name="vl2 hearing supervisor", daemon=True),
        )
        for thread in self._threads:
            thread.start()
        self._vocabulary = self._transport.subscribe(
            self._vocabulary_topic, VOCABULARY_TYPE, LATCHED, self._take_vocabulary
        )
        self._audio.open()

    def stop(self) -> bool:
        """Stop hearing; what is being said is dropped. Twice is harmless.

        Returns:
            False when the recogniser hangs, so that only the end of the process ends it.
        """
        threads, self._threads = self._threads, ()
        if not threads:
            return True
        self._stopping.set()
        self._audio.close()
        if self._vocabulary is not None:
            self._vocabulary.close()
        self._queue.close()
        end_s = time.monotonic() + _STOP_S
        for thread in threads:
            # The callback of a failure may stop the server on its supervisor's thread.
            if thread is not threading.current_thread():
                thread.join(max(0.0, end_s - time.monotonic()))
        return not threads[0].is_alive()

    def _take(self, message: Any) -> None:
        """Store the samples of a message; on the transport's thread."""
        failure = catch_failure("reading audio", partial(self._store, message), self._log)
        if failure is not None:
            # It has come: what is to be reported is its fault, not silence.
            self._report.last_s = time.monotonic()
            self._note_fault(error_text(failure))

    def _store(self, message: Any) -> None:
        chunk = read_audio(message)
        if not len(chunk.samples):
            return
        self._report.last_s = time.monotonic()
        self._report.chunk_count += 1
        start_s = self._times.find_start_s(chunk, self._transport.now_ns() * 1e-9)
        self._queue.put(replace(chunk, stamp_s=start_s))

    def _take_vocabulary(self, message: Any) -> None:
        self._listener.set_vocabulary(read_vocabulary(message))

    def _hear(self) -> None:
        stopping, queue = self._stopping, self._queue
        while not stopping.is_set():
            chunk = queue.take(_SILENT_S)
            if stopping.is_set():
                return
            self._survive("hearing", partial(self._hear_chunk, chunk, stopping))

    def _hear_chunk(self, chunk: AudioChunk | None, stopping: threading.Event) -> None:
        # Without speech as well: the time until a key is pressed again is no gap in the audio.
        listener = self._listener
        segments = listener.flush_segments() if chunk is None else listener.segment(chunk)
        self._report.level_db = listener.level_db
        for segment in segments:
            self._survive("recognising", partial(self._recognise, listener, segment, stopping))

    def _recognise(self, listener: Listener, segment: Segment, stopping: threading.Event) -> None:
        utterance = listener.understand(segment)
        # Recognised after the end: who has stopped hearing expects no command any more.
        if not stopping.is_set():
            self._publish(utterance)

    def _survive(self, what: str, step: Callable[[], None]) -> None:
        failure = catch_failure(what, step, self._log)
        if failure is not None:
            self._note_fault(error_text(failure))

    def _publish(self, utterance: Utterance) -> None:
        message = make_heard(
            self._transport.types, utterance, command_id=f"heard-{uuid.uuid4().hex[:8]}"
        )
        self._report.count(utterance)
        _LOG.info("%s", describe_heard(utterance))
        self._on_heard(utterance)
        if self._heard is not None:
            self._heard.publish(message)

    def _note_fault(self, fault: str) -> None:
        self._report.fault, self._report.fault_s = fault, time.monotonic()
        self._log.log(logging.WARNING, fault[:40], "%s", make_printable(fault))

    def _supervise(self) -> None:
        stopping, threads = self._stopping, self._threads
        look = guarded(self._look_after, "the supervisor of hearing", self._log)
        has_failed, due_s = False, time.monotonic()
        while not stopping.wait(_LOOK_PERIOD_S):
            look(time.monotonic() >= due_s)
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + _REPORT_PERIOD_S
            failure = self._transport.failure
            if not threads[0].is_alive() and not stopping.is_set():
                failure = "the thread that hears has ended; the process must be started again"
            if failure and not has_failed:
                has_failed = True
                self._on_failure(failure)

    def _look_after(self, is_report_due: bool) -> None:
        now_s = time.monotonic()
        self._audio.update(now_s)
        report = self._report
        if self._queue.dropped_s > report.dropped_s:
            self._note_fault(_DROPPED)
        report.waiting_s, report.dropped_s = self._queue.waiting_s, self._queue.dropped_s
        report.lost_count = self._audio.lost_count
        silence = report.explain_silence(now_s, self._audio.topic.name, self.parameters)
        self._faults.note("audio", silence, "it comes again", kind="silent")
        if self.count_hearers():
            report.hearer_s = now_s
        is_heard = now_s - report.hearer_s < self.parameters.audio_timeout_s
        unheard = "" if is_heard else _UNHEARD.format(topic=self.heard_topic)
        self._faults.note("what is heard", unheard, "a node does it")
        count = self._transport.count_publishers(self.heard_topic)
        others = _OTHERS.format(count=count, topic=self.heard_topic) if count > 1 else ""
        self._faults.note("other hearing nodes", others, "this one alone hears")
        self._faults.flush()
        self._log.flush()
        if is_report_due and self._diagnostics is not None:
            types, name = self._transport.types, self._transport.resolve("~").lstrip("/")
            self._diagnostics.publish(
                make_status(types, report, silence or unheard, name, self._transport.now_ns())
            )
