"""Whisper through faster-whisper, from a folder, an installed package of weights or the hub."""

from __future__ import annotations

from vl2_ros.speech.recogniser import Recogniser
from vl2_ros.speech.segmenter import VoiceDetector


def load_recogniser(weights: str = "", *, threads: int = 2) -> Recogniser:
    """Load a Whisper model in the form of CTranslate2.

    Args:
        weights: a folder; "": the installed package of weights; "hub:NAME": the model of this name
            from the hub, which downloads it once.
        threads: most threads that it computes on.

    Raises:
        SpeechError: if the weights are missing or of another form.
        ModuleNotFoundError: if faster-whisper is not installed.
    """
    raise NotImplementedError


def load_voice_detector() -> VoiceDetector:
    """Load Silero's voice activity detector, which comes with faster-whisper; one for each stream.

    Raises:
        SpeechError: if the installed faster-whisper has another one.
        ModuleNotFoundError: if faster-whisper is not installed.
    """
    raise NotImplementedError
