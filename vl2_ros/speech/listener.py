"""The listener: chunks of audio in, utterances with a score and what they ask for out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vl2_ros.speech.audio import AudioChunk
from vl2_ros.speech.dialogue import Action
from vl2_ros.speech.recogniser import Recogniser
from vl2_ros.speech.segmenter import Segment, Segmenter
from vl2_ros.speech.vocabulary import Vocabulary


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
        wake_phrase: only sentences that begin with it are for the robot; "": all are.
        channel: index of the channel that is heard; None: the mean of all.

    Raises:
        ConfigError: if a value is out of its range.
    """

    min_score: float = 0.5
    wake_phrase: str = ""
    channel: int | None = None


class Listener:
    """Hears one stream, from one thread at a time.

    `push` does all. Who must know at once that somebody speaks calls `segment`, which takes a few
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
        raise NotImplementedError

    @property
    def is_speech(self) -> bool:
        """Return whether somebody speaks at the end of what was pushed."""
        raise NotImplementedError

    @property
    def level_db(self) -> float:
        """Return the level of the last chunk in decibels of full scale, -100..0."""
        raise NotImplementedError

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Expect other words from now on; may be called from any thread."""
        raise NotImplementedError

    def push(self, chunk: AudioChunk) -> list[Utterance]:
        """Hear the next chunk, and return what was said by its end."""
        raise NotImplementedError

    def flush(self) -> list[Utterance]:
        """End the stream, and return what was still being said."""
        raise NotImplementedError

    def segment(self, chunk: AudioChunk) -> list[Segment]:
        """Convert the next chunk and return the segments that ended in it, not yet recognised."""
        raise NotImplementedError

    def flush_segments(self) -> list[Segment]:
        """End the stream, and return the segment that was running, not yet recognised."""
        raise NotImplementedError

    def understand(self, segment: Segment) -> Utterance:
        """Recognise a segment and say what it asks for; keeps no state."""
        raise NotImplementedError
