"""Measure an answer of a large checkpoint on a CPU: loading, memory of its own, seconds a token.

    python -m benchmarks.released.answer /tmp/seven_b [--tiles 1] [--tokens 8]
    python -m benchmarks.released.answer /tmp/four_layers --against float32 [--engines FOLDER]

The first form loads the checkpoint as `vl2 ask` does and asks about one image with the known form
of the answer (`--direct`), then generates tokens. The second one loads it in both precisions into
one process and takes turns, prompt by prompt and token by token; its weights are there twice. With
`--engines`, ONNX Runtime on a folder of `released/engines.py` stands in for the first one. CPU
seconds of the process are printed beside wall seconds, as other work of the machine changes them
less. `anonymous_gb` is the peak of RssAnon in /proc/self/status, sampled fifty times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.flow.generate import generate
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.runtime.engine import LanguageModel
from vl2_ros.structures import Command, Frame

IMAGE_HW = (480, 640)
#: In the place of a precision: what the engines have.
ENGINES = "engines"
PERIOD_S = 0.02
#: Ids of words of the written checkpoint.
FIRST_WORD, LAST_WORD = 20, 250


def read_status(name: str) -> float:
    """Return a size of this process in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e6 for line in lines if line.startswith(f"{name}:"))


@contextmanager
def follow_memory(peaks: dict[str, float], name: str) -> Iterator[None]:
    """Note the peak of anonymous memory while the body runs."""
    ended = threading.Event()
    peaks[name] = read_status("RssAnon")

    def follow() -> None:
        while not ended.wait(PERIOD_S):
            peaks[name] = max(peaks[name], read_status("RssAnon"))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def time_call(call: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def load(options: argparse.Namespace, precision: str) -> Pipeline:
    """Load the checkpoint for images of a few tiles."""
    given = {"max_tiles": options.tiles, "without": tuple(options.without)}
    if precision == ENGINES:
        given |= {"engines": options.engines, "allow_fallback": False}
        return load_pipeline(LoadOptions(options.folder, "cpu", "onnxruntime", **given))
    return load_pipeline(LoadOptions(options.folder, "cpu", "torch", precision=precision, **given))


def answer(options: argparse.Namespace) -> dict[str, Any]:
    """Load, answer with the known form, generate tokens."""
    peaks: dict[str, float] = {}
    began = time.perf_counter()
    with follow_memory(peaks, "loading"):
        pipeline = load(options, ENGINES if options.engines else options.precision)
    loaded_s = time.perf_counter() - began
    pixels = np.random.default_rng(0).integers(0, 255, (*IMAGE_HW, 3), np.uint8)
    command = Command("find the red mug", direct=True)
    with follow_memory(peaks, "answer"):
        result = pipeline.answer(Frame(pixels), command)
    with follow_memory(peaks, "tokens"):
        spent = list(time_tokens(pipeline, options.tokens))
    return {
        "load_s": loaded_s,
        "stage_ms": result.stage_ms,
        "token_s": statistics.median(spent),
        "anonymous_gb": peaks,
        "mapped_gb": read_status("RssFile"),
    }


def time_tokens(pipeline: Pipeline, count: int) -> Iterator[float]:
    """Generate after a short prompt and yield the seconds of each token but the first."""
    processing, tokens = pipeline.processing, pipeline.tokenizer.tokens
    prompt = np.arange(FIRST_WORD, FIRST_WORD + 32)
    last_s = 0.0
    for _ in generate(
        pipeline.engines.language_model.open_session(),
        prompt,
        tokens=tokens,
        num_embs=processing.num_embs,
        num_embs_gen=processing.num_embs_gen,
        max_new_tokens=count + 1,
    ):
        now_s = time.perf_counter()
        if last_s:
            yield now_s - last_s
        last_s = now_s


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Take turns with two precisions: a prompt of one tile, then tokens."""
    names = (ENGINES if options.engines else options.precision, options.against)
    models = {name: load(options, name).engines.language_model for name in names}
    prompts: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    tokens: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    sessions = {}
    for name, model in models.items():
        feed_prompt(model, 64)  # thread pools, and pages of the mapped files
        spent, sessions[name] = feed_prompt(model, options.prompt)
        prompts[name].append(spent)
    word = np.array([FIRST_WORD])
    for _ in range(options.tokens):
        for name, session in sessions.items():
            tokens[name].append(time_call(lambda session=session: session.feed(word)))
    return {"prompt_s": summarize(prompts, names), "token_s": summarize(tokens, names)}


def feed_prompt(model: LanguageModel, count: int) -> tuple[tuple[float, float], Any]:
    """Feed a prompt of words; return its seconds and the session."""
    ids = np.random.default_rng(0).integers(FIRST_WORD, LAST_WORD, count)
    session = model.open_session()
    return time_call(lambda: session.feed(ids)), session


def summarize(
    table: dict[str, list[tuple[float, float]]], names: tuple[str, str]
) -> dict[str, Any]:
    """Return the medians of wall and CPU seconds, and how many times faster the first one is."""
    medians = {
        name: [statistics.median(column) for column in zip(*table[name], strict=True)]
        for name in names
    }
    ratios = [other / own for own, other in zip(*(medians[name] for name in names), strict=True)]
    return {"wall_and_cpu": medians, "times_faster": ratios}


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--against", help="second precision, in turns in one process")
    parser.add_argument("--engines", type=Path, help="folder of engines for ONNX Runtime")
    parser.add_argument("--without", nargs="*", default=[], help="parts that are not loaded")
    parser.add_argument("--tiles", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=640, help="tokens of the prompt in turns")
    options = parser.parse_args()
    found = compare(options) if options.against else answer(options)
    print(json.dumps(found | {"load": os.getloadavg()}, indent=2, default=float))


if __name__ == "__main__":
    main()
