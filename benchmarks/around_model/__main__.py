"""Time what is computed around the model against plain forms of the same, in turns.

    python -m benchmarks.around_model [--rounds 7] [--json]

Each row runs both forms in turns on one thread and compares medians of its processor time; that
both give the same is checked first. `plain` is how it would be done without further thought: JPEG
by Pillow, the label map one class at a time from one tensor of scores, masks as large as their
image, an answer that is parsed again with each token.

* `jpeg`: a 1280x720 camera image, JPEG of quality 90, to RGB; the byte after its end leaves it to
  Pillow.
* `label_map`: 900 queries on a map of 200x336, 20 classes, to a 1280x720 frame: the sizes of the
  released model.
* `mask_messages`: run lengths of five masks of 250 pixels across on 1280x720.
* `overlay`: these five drawn.
* `answer`: the words of 80 names, after each token.

Beside the times `memory_mb` has what 100 masks of a 12-megapixel frame keep, each a twelfth of it
wide and high, counted by tracemalloc.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.around_model.instant import FRAME_HW, InstantPerceiver
from vl2_ros.geometry import Letterbox
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.processing.images.image_file import read_stored_pixels
from vl2_ros.processing.language.answer import parse_answer
from vl2_ros.processing.language.answer_stream import AnswerStream
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.processing.results.detection import resize_map, resize_masks, semantic_map, sigmoid
from vl2_ros.structures import (
    Command,
    Frame,
    MaskCrop,
    Masks,
    Result,
    ResultEvent,
    RunLengths,
)
from vl2_ros.views.overlay import draw_overlay

LARGE_HW = (3000, 4000)


@dataclass(frozen=True)
class Row:
    """Two forms of one piece of work; `fast` is what the package does.

    Attributes:
        name: of the row.
        fast: ours.
        plain: the other.
        least_equal: share of the values of their results that must be equal.
    """

    name: str
    fast: Callable[[], Any]
    plain: Callable[[], Any]
    least_equal: float = 1.0


def make_photo(height: int, width: int) -> np.ndarray:
    """Make an image with smooth areas, edges and noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int64)
    return (smooth + rng.integers(-2, 3, smooth.shape)).clip(0, 255).astype(np.uint8)


def compare_jpeg() -> Row:
    """Decode a camera image."""
    file = io.BytesIO()
    Image.fromarray(make_photo(*FRAME_HW)).save(file, "JPEG", quality=90)
    data = file.getvalue()
    return Row(
        "jpeg",
        lambda: read_stored_pixels(data),
        lambda: read_stored_pixels(data + b"\0"),
    )


def compare_label_map() -> Row:
    """Merge the queries of the released model into classes."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-4, 2, (900, 20)).astype(np.float32)
    masks = rng.normal(-3, 3, (900, 200, 336)).astype(np.float32)
    letterbox = Letterbox(FRAME_HW, (750, 1333), (800, 1344))

    def merge_plainly() -> np.ndarray:
        scores, maps = sigmoid(logits), sigmoid(masks)
        best, chosen = np.full(FRAME_HW, -np.inf), np.zeros(FRAME_HW, np.uint16)
        for index in range(logits.shape[1]):
            layer = np.tensordot(scores[:, index], maps, axes=1)
            total = resize_map(layer, letterbox)
            better = total > best
            best[better], chosen[better] = total[better], index
        return chosen

    # Sums in another order: a pixel between two classes may change its side.
    return Row(
        "label_map",
        lambda: semantic_map(logits, masks, letterbox, num_classes=20),
        merge_plainly,
        least_equal=0.9999,
    )


def make_mask_logits() -> tuple[np.ndarray, Letterbox]:
    """Make 100 masks of a large image, on the canvas of the released model."""
    rng = np.random.default_rng(0)
    logits = np.full((100, 200, 268), -4.0, np.float32)
    tops, lefts = rng.integers(0, 184, 100), rng.integers(0, 245, 100)
    for layer, top, left in zip(logits, tops, lefts, strict=True):
        layer[top : top + 16, left : left + 22] = 4.0
    return logits, Letterbox(LARGE_HW, (800, 1067), (800, 1072))


def find_discs() -> Result:
    """Return the answer with five masks."""
    frame = Frame(np.zeros((*FRAME_HW, 3), np.uint8))
    (event,) = InstantPerceiver(with_masks=True).run(frame, Command("segment it"))
    assert isinstance(event, ResultEvent)
    return event.result


def compare_messages() -> Row:
    """Encode masks for messages and JSON."""
    masks = find_discs().branches[0].detections.masks
    assert masks is not None
    dense = np.asarray(masks)
    return Row(
        "mask_messages",
        lambda: np.concatenate([crop.encode(FRAME_HW).counts for crop in masks.crops]),
        lambda: np.concatenate([RunLengths.encode(mask).counts for mask in dense]),
    )


def compare_overlay() -> Row:
    """Draw masks as rectangles, and as whole."""
    result, frame = find_discs(), Frame(make_photo(*FRAME_HW))
    (branch,) = result.branches
    whole = Masks(FRAME_HW, tuple(MaskCrop(0, 0, mask) for mask in branch.detections.masks or ()))
    found = replace(branch.detections, masks=whole)
    plain = replace(result, branches=(replace(branch, detections=found),))
    return Row("overlay", lambda: draw_overlay(frame, result), lambda: draw_overlay(frame, plain))


def compare_answer() -> Row:
    """Read an answer after each token."""
    tokenizer = load_tokenizer(EMBEDDED_WEIGHTS)
    names = ", ".join(f"red mug {index}[DET]" for index in range(80))
    ids = tokenizer.encode(f"I found: {names}.")

    def read_on() -> list[str]:
        stream, texts = AnswerStream(tokenizer), []
        for token_id in ids:
            stream.add(token_id)
            texts.append(stream.text)
        return texts

    def read_again() -> list[str]:
        return [parse_answer(ids[:count], tokenizer).text for count in range(1, len(ids) + 1)]

    return Row("answer", read_on, read_again)


def measure_memory() -> dict[str, float]:
    """Count what 100 masks of a large image keep, and what whole ones would."""
    logits, letterbox = make_mask_logits()
    tracemalloc.start()
    masks = resize_masks(logits, letterbox)
    kept, peak = (value / 1e6 for value in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    whole = float(np.prod(masks.shape)) / 1e6
    return {"kept": round(kept, 1), "peak": round(peak, 1), "whole": round(whole, 1)}


def compare(row: Row, rounds: int) -> dict[str, float]:
    """Run both forms in turns; return medians in milliseconds and their ratio."""
    ours, theirs = np.asarray(row.fast()), np.asarray(row.plain())
    assert ours.shape == theirs.shape, row.name
    assert (ours == theirs).mean() >= row.least_equal, row.name
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds):
        forms = [(times[0], row.fast), (times[1], row.plain)]
        for spent, form in forms if index % 2 else reversed(forms):
            began_s = time.thread_time()
            form()
            spent.append((time.thread_time() - began_s) * 1e3)
    fast, plain = (float(np.median(spent)) for spent in times)
    return {"ms": round(fast, 3), "plain_ms": round(plain, 3), "ratio": round(plain / fast, 2)}


def list_rows() -> Iterator[Row]:
    """Make the rows, one at a time."""
    yield compare_jpeg()
    yield compare_label_map()
    yield compare_messages()
    yield compare_overlay()
    yield compare_answer()


def main() -> None:
    """Print a line for each row, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    document: dict[str, Any] = {}
    for row in list_rows():
        document[row.name] = compare(row, options.rounds)
        if not options.json:
            print(f"{row.name:14}", document[row.name], flush=True)
    document["memory_mb"] = measure_memory()
    print(json.dumps(document, indent=1) if options.json else document["memory_mb"])


if __name__ == "__main__":
    main()
