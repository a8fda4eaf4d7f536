"""Measure how well spoken commands are heard: four voices, noise, music, and what is no command.

    python benchmarks/speech.py --voices FOLDER --json [--queries FILE] [--weights FOLDER]
        [--pairs 480] [--minutes 10] [--threads 2]

The voices are rendered once by `hearing/voices.py` and are no part of the project; what is missing
in FOLDER is not measured: its key is null, and `lacks` names it. Each query is one stream, heard in
chunks of 20 ms by the listener as it runs in the node. A command counts when exactly one was
accepted and it parses to the same as the written sentence. `10db` and `5db` are pink noise, `music`
is a second of it before the sentence. `--queries` names other sentences, one a line, spoken in
FOLDER/VOICE/sentence-in-words.flac. Printed, as JSON with `--json`:

commands_clean, _10db, _5db, _music   share of the commands
sentences, sentences_without_prompt   share of the sentences heard word for word, by condition
false_commands                        commands taken from --minutes of noise, music and small talk
end_to_command_s                      end of speech to command by the clock, median of clean ones:
                                      the pause that is waited for (pause_s), and the recogniser
                                      (its processor seconds, which other programs change least,
                                      are recogniser_processor_s)
real_time_factor                      processor seconds a second of a stream of commands
memory_mb                             what recogniser, detector and hearing add to the process
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hearing.meaning import mean, mean_written, plain
from hearing.noise import RATE, Samples
from hearing.sentences import QUERIES, SMALL_TALK, read_sentences
from hearing.trials import CONDITIONS, find_clip, make_trial, make_undirected, read_clip

from vl2_ros.sim.household.kinds import HOUSEHOLD_KINDS
from vl2_ros.speech.audio import AudioChunk
from vl2_ros.speech.listener import Listener, Utterance
from vl2_ros.speech.noise_reduction import reduce_noise
from vl2_ros.speech.segmenter import Segment, Segmenter
from vl2_ros.speech.vocabulary import Vocabulary
from vl2_ros.speech.whisper import load_recogniser, load_voice_detector

_CHUNK = RATE // 50
#: Conditions in which the sentences are recognised once more, without a prompt.
_WITHOUT_PROMPT = ("clean", "10db")
_MB = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A segment that was recognised.

    Attributes:
        segment: the samples.
        utterance: what they were taken for.
        ended_s: time in the stream at which the segment was known to have ended.
        clock_s: seconds of the recogniser by the clock.
        processor_s: its processor seconds, of all threads.
    """

    segment: Segment
    utterance: Utterance
    ended_s: float
    clock_s: float
    processor_s: float


@dataclass
class Score:
    """Counts of one condition."""

    commands: list[bool] = field(default_factory=list)
    sentences: list[bool] = field(default_factory=list)
    without_prompt: list[bool] = field(default_factory=list)
    #: Commands with the time at which their speech ended.
    in_time: list[tuple[Heard, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Ear:
    """Hears streams, and keeps what it took.

    Args:
        weights: of the recogniser; "": the installed ones.
        threads: of the recogniser.
        vocabulary: what is expected.
    """

    def __init__(self, weights: str, threads: int, vocabulary: Vocabulary) -> None:
        self.recogniser = load_recogniser(weights, threads=threads)
        self._detector = load_voice_detector()
        self._vocabulary = vocabulary
        self.audio_s = self.processor_s = 0.0

    def hear(self, samples: Samples) -> Iterator[Heard]:
        """Yield each segment of a stream, recognised."""
        listener = Listener(self.recogniser, Segmenter(self._detector), report=print)
        listener.set_vocabulary(self._vocabulary)
        self.audio_s += len(samples) / RATE
        for start in range(0, len(samples), _CHUNK):
            chunk = samples[start : start + _CHUNK]
            began = time.process_time()
            segments = listener.segment(AudioChunk(chunk, RATE, start / RATE))
            self.processor_s += time.process_time() - began
            for segment in segments:
                yield self._understand(listener, segment, (start + len(chunk)) / RATE)
        for segment in listener.flush_segments():
            yield self._understand(listener, segment, len(samples) / RATE)

    def hear_bare(self, segment: Segment) -> str:
        """Return the words of a segment as they are heard without a prompt."""
        return self.recogniser.recognise(reduce_noise(segment.samples)).text

    def _understand(self, listener: Listener, segment: Segment, ended_s: float) -> Heard:
        began, processor = time.perf_counter(), time.process_time()
        utterance = listener.understand(segment)
        clock_s, processor_s = time.perf_counter() - began, time.process_time() - processor
        self.processor_s += processor_s
        return Heard(segment, utterance, ended_s, clock_s, processor_s)


def hear_queries(
    ear: Ear, vocabulary: Vocabulary, pairs: list[tuple[str, Path]], condition: str
) -> Score:
    """Hear each query once."""
    score = Score()
    for seed, (query, clip) in enumerate(pairs):
        trial = make_trial(read_clip(clip), condition, seed)
        heard = list(ear.hear(trial.samples))
        accepted = [one for one in heard if one.utterance.accepted]
        wanted = mean_written(query, vocabulary)
        score.commands.append([mean(one.utterance.action) for one in accepted] == [wanted])
        text = " ".join(one.utterance.text for one in heard)
        score.sentences.append(plain(text) == plain(query))
        if score.commands[-1]:
            score.in_time += [(one, trial.end_s) for one in accepted]
        else:
            why = "; ".join(one.utterance.reason for one in heard if one.utterance.reason)
            score.wrong.append(f"{clip.parent.name}: {query} | {text} | {why}")
        if condition in _WITHOUT_PROMPT:
            bare = " ".join(ear.hear_bare(one.segment) for one in heard)
            score.without_prompt.append(plain(bare) == plain(query))
    return score


def list_pairs(folder: Path, voices: list[str], queries: tuple[str, ...]) -> list[tuple[str, Path]]:
    """List queries with their clips, in an order that mixes the voices."""
    found = [(query, find_clip(folder, voice, query)) for query in queries for voice in voices]
    pairs = [(query, clip) for query, clip in found if clip is not None]
    random.Random(0).shuffle(pairs)
    return pairs


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything once."""
    vocabulary = Vocabulary(names=tuple(HOUSEHOLD_KINDS))
    prompted = {plain(one) for one in vocabulary.prompt.replace("?", ".").split(".")}
    queries = tuple(one for one in read_sentences(options.queries) if plain(one) not in prompted)
    voices = sorted(one.name for one in options.voices.iterdir() if one.is_dir())
    every_pair = list_pairs(options.voices, voices, queries)
    pairs = every_pair[: options.pairs]
    before_mb = _measure_memory_mb()
    ear = Ear(options.weights, options.threads, vocabulary)
    document: dict[str, Any] = {"queries": len(queries), "voices": voices, "pairs": {}}
    document |= {f"commands_{condition}": None for condition in CONDITIONS}
    document |= dict.fromkeys(
        ("false_commands", "end_to_command_s", "real_time_factor", "memory_mb")
    )
    document |= {"sentences": {}, "sentences_without_prompt": {}, "wrong": {}}
    for condition in options.conditions:
        if not pairs:
            break
        ear.audio_s = ear.processor_s = 0.0
        score = hear_queries(ear, vocabulary, pairs, condition)
        document["pairs"][condition] = len(pairs)
        document[f"commands_{condition}"] = _share(score.commands)
        document["sentences"][condition] = _share(score.sentences)
        document["wrong"][condition] = score.wrong
        if score.without_prompt:
            document["sentences_without_prompt"][condition] = _share(score.without_prompt)
        if condition == "clean":
            document["real_time_factor"] = round(ear.processor_s / ear.audio_s, 3)
            document |= measure_times(score.in_time)
        document["memory_mb"] = round(_measure_memory_mb() - before_mb)
    talk = [
        clip
        for sentence in read_sentences(SMALL_TALK)
        for voice in voices
        if (clip := find_clip(options.voices, voice, sentence))
    ]
    if options.minutes:
        document |= hear_undirected(ear, options.minutes, talk)
    document["lacks"] = _list_missing(options, queries, voices, len(every_pair), len(talk))
    return document


def measure_times(in_time: list[tuple[Heard, float]]) -> dict[str, float]:
    """Return the medians of what passes between the end of speech and the command."""
    if not in_time:
        return {}
    median = statistics.median
    return {
        "end_to_command_s": round(
            median(one.ended_s - end + one.clock_s for one, end in in_time), 3
        ),
        "pause_s": round(median(one.ended_s - end for one, end in in_time), 3),
        "recogniser_processor_s": round(median(one.processor_s for one, _ in in_time), 3),
    }


def hear_undirected(ear: Ear, minutes: float, talk: list[Path]) -> dict[str, Any]:
    """Count the commands that are taken from what holds none."""
    document: dict[str, Any] = {"heard": {}, "false": []}
    for name, samples in make_undirected(60 * minutes, [read_clip(one) for one in talk]).items():
        utterances = [one.utterance for one in ear.hear(samples)]
        document["heard"][name] = len(utterances)
        document["false"] += [
            f"{name}: {one.text} ({one.score:.2f})" for one in utterances if one.accepted
        ]
    return {"false_commands": len(document["false"]), "undirected": document}


def _list_missing(
    options: argparse.Namespace, queries: tuple[str, ...], voices: list[str], pairs: int, talk: int
) -> list[str]:
    """Return what was not measured, in sentences."""
    lacks = []
    if len(voices) < 4:
        lacks.append(f"{len(voices)} of 4 voices are in {options.voices}")
    if pairs < len(queries) * len(voices):
        lacks.append(f"{len(queries) * len(voices) - pairs} queries are not spoken by every voice")
    if pairs > options.pairs:
        lacks.append(f"{options.pairs} of {pairs} pairs of query and voice are measured")
    if not talk:
        lacks.append("no small talk is spoken: false commands are of noise and music alone")
    return lacks


def _share(counts: list[bool]) -> float:
    return round(float(np.mean(counts)), 3)


def _measure_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MB


def main() -> None:
    """Measure, and print the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voices", type=Path, required=True, help="folder of rendered voices")
    parser.add_argument("--queries", type=Path, default=QUERIES)
    parser.add_argument("--weights", default="", help="folder of a Whisper model for CTranslate2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--pairs", type=int, default=480, help="most of noise, of music and without a prompt each"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of what holds no command")
    parser.add_argument("--conditions", nargs="*", choices=(*CONDITIONS,), default=[*CONDITIONS])
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    if not options.voices.is_dir():
        parser.error(
            f"{options.voices} is no folder of spoken sentences; benchmarks/hearing/voices.py "
            "renders one"
        )
    document = measure(options)
    if options.json:
        print(json.dumps(document, indent=1))
        return
    for key, value in document.items():
        print(f"{key:26} {json.dumps(value) if isinstance(value, dict | list) else value}")


if __name__ == "__main__":
    main()
