"""Generated images against their captions, scored by CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vl2_ros.documents import check_list, check_object, check_text, read_json_object
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.evaluation.benchmarks.task import Answer, BadRows, BenchmarkData
from vl2_ros.evaluation.coco.document import MAX_FILE_BYTES
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.structures import Command

if TYPE_CHECKING:
    from vl2_ros.evaluation.benchmarks.clip_score import ClipScorer

_MAX_ROWS = 10_000_000


class GeneratedTask:
    """Has an image generated of every caption.

    Args:
        data: COCO captions, of which each image's first is taken, and the folder of the CLIP
            weights.
    """

    def __init__(self, data: BenchmarkData) -> None:
        """Read the captions; the weights are loaded when the first image is there."""
        if data.scorer is None:
            raise ConfigError(
                "the CLIP score needs --scorer, a folder with a CLIP of transformers (config.json, "
                "model.safetensors, tokenizer.json), such as openai/clip-vit-large-patch14; FID "
                "needs the Inception weights pt_inception-2015-12-05 and a tool of its own. "
                "Nothing is downloaded"
            )
        self._scorer_folder = data.scorer
        self._scorer: ClipScorer | None = None
        self._bad = BadRows()
        document = read_json_object(data.only_path, InputError, max_bytes=MAX_FILE_BYTES)
        rows = check_list(
            "annotations", document.get("annotations"), most=_MAX_ROWS, error=InputError
        )
        captions: dict[str, str] = {}
        for number, row in enumerate(rows):
            try:
                row = check_object("an annotation", row, error=InputError)
                text = " ".join(check_text("caption", row.get("caption"), error=InputError).split())
                if not text:
                    raise InputError("its caption is empty")
                captions.setdefault(f"image {row.get('image_id')}", text)
            except InputError as error:
                self._bad.add(f"annotations[{number}]", error)
        if not captions:
            raise InputError(f"{data.only_path} has no captions")
        self.keys = tuple(captions)
        self._captions = tuple(captions.values())

    @property
    def bad(self) -> Mapping[str, str]:
        """Return the captions that cannot be used."""
        return self._bad.reasons

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return the CLIP score of the generated image."""
        caption = self._captions[index].rstrip(".")
        result = pipeline.answer(None, Command(f"draw a picture of {caption}", direct=True))
        if not result.images:
            raise InputError(f"no image was generated of {caption!r}")
        if self._scorer is None:
            from vl2_ros.evaluation.benchmarks.clip_score import ClipScorer

            self._scorer = ClipScorer(self._scorer_folder)
        return {"clip": self._scorer.score(result.images[0].rgb, caption)}

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return the mean CLIP score."""
        return {"clip_score": sum(one["clip"] for one in answers.values()) / len(answers)}
