"""Grounded captions: the image is described, and each thing that is named has its boxes.

Reads COCO files in the form that detectors of phrases are trained on: an image has a `caption`, an
annotation has `tokens_positive`, the [start, end] of its phrase among the caption's characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.coco_scan import IndexOptions
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.samples import Group, TrainingSample
from vl2_ros.datasets.sources.coco_instances import CocoOptions, CocoSource
from vl2_ros.datasets.task_sentences import draw_sentence
from vl2_ros.documents import shorten
from vl2_ros.processing.language.tokenizer import neutralise
from vl2_ros.structures import Route

_SPANS = "tokens_positive"

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundedCaptionOptions(CocoOptions):
    """Options of grounded captions.

    Attributes:
        masks: whether masks are read.
    """

    masks: bool = True


class GroundedCaptions(CocoSource):
    """Asks for a caption with boxes; the answer is the caption, a [DET] behind each phrase.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: GroundedCaptionOptions) -> None:
        """Read the index; records are the images with a caption and a phrase that has a box."""
        super().__init__(
            options, IndexOptions(options.max_bytes, with_categories=False, check_row=_has_phrase)
        )
        self._masks = options.masks
        if self._index is not None:
            self._records = np.array(
                [image for image in range(len(self._index)) if self._is_described(image)], int
            )

    def _is_described(self, image: int) -> bool:
        """Count an image without a caption as bad, note one in which nothing has a box."""
        try:
            caption = _read_caption(self.index.image_row(image))
            phrases = self._read_phrases(image, len(caption))
        except BadRecordError as bad:
            self.report.skip(bad, self.index.image_name(image))
            return False
        if not phrases:
            self.report.notes["images without a phrase that has a box, which are skipped"] += 1
        return bool(phrases)

    def _read_phrases(self, image: int, length: int) -> dict[Span, list[int]]:
        """Return phrases that do not overlap, in the order of the text, and their annotations.

        Raises:
            BadRecordError: if one ends behind the caption.
        """
        found: dict[Span, list[int]] = {}
        for number in self.index.annotations(image):
            if not self.index.is_marked[number]:
                continue
            # Of a phrase in several pieces the first one stands for it.
            span = _read_span(self.index.row(number))
            if span[1] > length:
                raise BadRecordError(
                    "images", "phrase outside of its caption", f"{list(span)} of {length} letters"
                )
            found.setdefault(span, []).append(number)
        kept: dict[Span, list[int]] = {}
        end = 0
        # Of overlapping phrases the first one counts, and of those the longest.
        for span in sorted(found, key=lambda one: (one[0], -one[1])):
            if span[0] >= end:
                kept[span], end = found[span], span[1]
        return kept

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        image = int(self._records[index])
        frame = self.index.read_image(image)
        caption = _read_caption(self.index.image_row(image))
        phrases = self._read_phrases(image, len(caption))
        answer, end = "", 0
        for start, stop in phrases:
            phrase = f"<det>{_clean(caption[start:stop]).strip()}</det>{Route.DETECT.value}"
            answer += _clean(caption[end:start]) + phrase
            end = stop
        numbers = [number for several in phrases.values() for number in several]
        classes = [place for place, several in enumerate(phrases.values()) for _ in several]
        return TrainingSample(
            self.group,
            (
                (
                    draw_sentence("grounded caption questions", self._wording(rng)),
                    (answer + _clean(caption[end:])).strip(),
                ),
            ),
            (frame,),
            targets=self.read_objects(image, numbers, classes, masks=self._masks),
            key=self.key(index),
        )


def _clean(text: str) -> str:
    """Return a piece of a caption on one line, without special tokens."""
    return re.sub(r"\s+", " ", neutralise(text))


def _read_caption(row: Mapping[str, Any]) -> str:
    caption = row.get("caption")
    if caption is None or (isinstance(caption, str) and not caption.strip()):
        raise BadRecordError("images", "caption empty")
    if not isinstance(caption, str):
        raise BadRecordError("images", "caption is no text", f"got {shorten(caption)}")
    return caption


def _has_phrase(row: Mapping[str, Any]) -> bool:
    if not row.get(_SPANS):
        return False
    _read_span(row)
    return True


def _read_span(row: Mapping[str, Any]) -> Span:
    spans = row[_SPANS]
    first = spans[0] if isinstance(spans, list) else None
    if isinstance(first, list) and len(first) == 2 and all(type(one) is int for one in first):
        start, end = first
        if 0 <= start < end:
            return start, end
    raise BadRecordError(
        "annotations", f"{_SPANS} is no list of [start, end]", f"got {shorten(spans)}"
    )
