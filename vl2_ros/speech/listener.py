"""The listener: chunks of audio in, utterances with a score and what they ask for out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, inf

import numpy as np
from numpy.typing import NDArray

from vl2_ros.errors import ConfigError
from vl2_ros.speech.audio import (
    SILENT_DB,
    AudioBlock,
    AudioChunk,
    AudioConverter,
    measure_level,
)
from vl2_ros.speech.dialogue import Action, is_call, read_sentence
from vl2_ros.speech.noise_reduction import reduce_noise
from vl2_ros.speech.recogniser import Recogniser, Transcript
from vl2_ros.speech.segmenter import Segment, Segmenter
from vl2_ros.speech.vocabulary import Vocabulary

#: Who has said the wake phrase alone may take so long until the sentence.
CALL_S = 5.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What was heard between two pauses, and what it asks for.

    Attributes:
        text: the words; "" where none were heard.
        score: in 0..1, of the log probability, the no-speech probability and whether it parses.
        start_s: time at which the speech begins, in seconds of the stream's clock.
        end_s: time at which it ends.
        accepted: whether the robot should act.
        reason: why not; "" when accepted.
        action: what to do; None for words that ask for nothing. A sentence below the gate keeps its
            action, so that one can say what would have been done.
    """

    text: str
    score: float
    start_s: float
    end_s: float
    accepted: bool
    reason: str
    action: Action | None


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """What is accepted.

    Attributes:
        min_score: a sentence with a lower score is heard and not acted on, in 0..1.
        wake_phrase: only sentences that begin with it, or come within 5 s after it alone, are for
            the robot; "": all are.
        channel: index of the channel that is heard; None: the mean of all.

    Raises:
        ConfigError: if a value is out of its range.
    """

    min_score: float = 0.5
    wake_phrase: str = ""
    channel: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0.0 <= self.min_score <= 1.0:
            raise ConfigError(f"min_score of speech must be 0..1, got {self.min_score}")
        if self.wake_phrase and not any(map(str.isalnum, self.wake_phrase)):
            raise ConfigError(
                f'the wake phrase must have words, such as "hey robot", got {self.wake_phrase!r}'
            )
        if self.channel is not None and self.channel < 0:
            raise ConfigError(f"the channel of audio must be 0 or more, got {self.channel}")


class Listener:
    """Hears one stream, from one thread at a time.

    `push` does all. To know at once that speech is on, call `segment`, which takes a few
    milliseconds, and `understand`, which takes some 0.3 s, on another thread.

    Args:
        recogniser: may serve several listeners.
        segmenter: of this stream alone.
        config: what is accepted.
        report: called with one sentence for each fault of the stream; None: they are logged.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        segmenter: Segmenter,
        config: ListenerConfig | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._recogniser = recogniser
        self._segmenter = segmenter
        self._config = config or ListenerConfig()
        self._converter = AudioConverter(report or _LOG.warning, self._config.channel)
        self._vocabulary = Vocabulary()
        self._level_db = SILENT_DB
        #: When the wake phrase was said alone, so that the next sentence needs none.
        self._called_s = -inf

    @property
    def is_speech(self) -> bool:
        """Return whether speech is on at the end of what was pushed."""
        return self._segmenter.is_speech

    @property
    def level_db(self) -> float:
        """Return the level of the last chunk in decibels of full scale, -100..0."""
        return self._level_db

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Expect other words from now on; may be called from any thread."""
        self._vocabulary = vocabulary

    def push(self, chunk: AudioChunk) -> list[Utterance]:
        """Hear the next chunk, and return what was said by its end.

        Raises:
            SpeechError: if the recogniser fails.
            ModuleNotFoundError: if the audio is not at 16 kHz and soxr is not installed.
        """
        return [self.understand(segment) for segment in self.segment(chunk)]

    def flush(self) -> list[Utterance]:
        """End the stream, and return what was still being said."""
        return [self.understand(segment) for segment in self.flush_segments()]

    def segment(self, chunk: AudioChunk) -> list[Segment]:
        """Convert the next chunk and return the segments that ended in it, not yet recognised."""
        blocks = self._converter.push(chunk)
        if blocks:
            self._level_db = measure_level(blocks[-1].samples)
        return self._cut(blocks)

    def flush_segments(self) -> list[Segment]:
        """End the stream, and return the segment that was running, not yet recognised."""
        return self._cut(self._converter.flush()) + self._segmenter.flush()

    def understand(self, segment: Segment) -> Utterance:
        """Recognise a segment and say what it asks for; for one segment after the other."""
        heard, wake_phrase = self._recognise(segment.samples), self._config.wake_phrase
        is_called = 0.0 <= segment.start_s - self._called_s <= CALL_S
        reading = read_sentence(heard.text, self._vocabulary, wake_phrase, is_called=is_called)
        self._called_s = segment.end_s if is_call(heard.text, wake_phrase) else -inf
        score = measure_score(heard, reading.certainty)
        reason = reading.reason
        if reading.action is not None and score < self._config.min_score:
            reason = f"its score {score:.2f} is below {self._config.min_score:.2f}"
        return Utterance(
            heard.text,
            score,
            segment.start_s,
            segment.end_s,
            accepted=not reason,
            reason=reason,
            action=reading.action,
        )

    def preview(self) -> str:
        """Recognise what is being said so far; "" where nobody speaks. The words may still change.

        Raises:
            SpeechError: if the recogniser fails.
        """
        samples = self._segmenter.running
        return self._recognise(samples).text if len(samples) else ""

    def _recognise(self, samples: NDArray[np.float32]) -> Transcript:
        vocabulary = self._vocabulary
        return self._recogniser.recognise(
            reduce_noise(samples), prompt=vocabulary.prompt, hot_words=vocabulary.hot_words
        )

    def _cut(self, blocks: Iterable[AudioBlock]) -> list[Segment]:
        segments = []
        for block in blocks:
            segments += self._segmenter.push(block.samples, block.start_s)
        return segments


def measure_score(heard: Transcript, certainty: float) -> float:
    """Return the score of a sentence, 0..1: the probability of its words, as far as it parses.

    Args:
        heard: what the recogniser heard.
        certainty: how much the words look like a command, 0..1.
    """
    return exp(min(0.0, heard.log_probability)) * (1.0 - heard.no_speech) * certainty
