"""The interface of speech recognition: samples of one sentence in, its text with a score out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: Samples a second of all audio after its conversion.
SAMPLE_RATE = 16_000
#: Longest segment that a recogniser takes.
MAX_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recogniser heard in one segment.

    Attributes:
        text: the words, "" where none were heard.
        log_probability: mean over the tokens, natural logarithm, at most 0.
        no_speech: probability that nobody speaks, 0..1.
    """

    text: str
    log_probability: float
    no_speech: float


class Recogniser(Protocol):
    """Turns the samples of one sentence into text."""

    def recognise(
        self, samples: NDArray[np.float32], *, prompt: str = "", hot_words: Sequence[str] = ()
    ) -> Transcript:
        """Return what was said.

        Args:
            samples: (N,) mono, 16 kHz, -1..1; at most 30 s.
            prompt: sentences of the kind that is expected; words in them are heard more easily.
            hot_words: names that are likely, the likeliest first.

        Raises:
            SpeechError: if the samples have another form, or the model fails.
        """
        ...
