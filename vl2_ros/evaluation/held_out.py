"""Score a network in training on held-out images of a COCO file, as the published scores are."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path

import torch

from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.task import BenchmarkData, Task
from vl2_ros.evaluation.benchmarks.tasks.objects import ObjectsTask
from vl2_ros.evaluation.benchmarks.tasks.poses import PosesTask
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.runtime.engine import Engines
from vl2_ros.runtime.torch_backend.engine import TorchLanguageModel, make_decoder, make_engine

logger = logging.getLogger(__name__)

#: Counts average precision; extra `eval`.
SCORING_PACKAGE = "faster_coco_eval"
#: Best instances of an image.
_TOP_K = 100
#: Bad rows that are named.
_SHOWN_ROWS = 5


class HeldOutScores:
    """Scores of boxes, of masks where there are some, and of keypoints where there are some.

    Args:
        annotations: COCO file of the held-out images.
        images: folder of them.
        folder: of the run, with the tokenizer and the processing settings of the network.
        with_masks: whether masks are compared.
        with_keypoints: whether keypoints are.
        most_images: the first ones of the file that are used.

    Raises:
        InputError: if the annotations cannot be used.
        ModuleNotFoundError: if the package that scores is missing.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        folder: Path,
        *,
        with_masks: bool = False,
        with_keypoints: bool = False,
        most_images: int = 250,
    ) -> None:
        """Read the annotations."""
        # Else only the first evaluation would find that it is missing.
        import_module(SCORING_PACKAGE)
        data = BenchmarkData((annotations,), images)
        self._tasks: list[Task] = [ObjectsTask(data, top_k=_TOP_K, with_masks=with_masks)]
        if with_keypoints:
            self._tasks.append(PosesTask(data, top_k=_TOP_K))
        self._folder, self._most = folder, most_images
        self._skipped: dict[str, str] = {}
        self._log_limits(annotations)

    def _log_limits(self, annotations: Path) -> None:
        """Say what of the file is not used."""
        bad = {name: why for task in self._tasks for name, why in task.bad.items()}
        if bad:
            first = "; ".join(f"{name}: {why}" for name, why in list(bad.items())[:_SHOWN_ROWS])
            logger.warning("%s: rows that are not measured: %d: %s", annotations, len(bad), first)
        count = len(self._tasks[0].keys)
        if count > self._most:
            logger.warning(
                "%s: the first %d of %d images are measured", annotations, self._most, count
            )

    def __call__(self, network: VisionLLM, step: int) -> dict[str, float]:
        """Return the scores of a network in evaluation mode; shares of 1.

        Images that cannot be used are skipped, named once.

        Args:
            network: on any device.
            step: of the run; the same images are scored at every one.

        Raises:
            InputError: if no image can be used.
        """
        pipeline = open_pipeline(
            network, load_tokenizer(self._folder), ProcessingConfig.load(self._folder)
        )
        scores: dict[str, float] = {}
        for task in self._tasks:
            answers = {}
            for index in range(min(self._most, len(task.keys))):
                try:
                    answers[index] = task.answer(pipeline, index)
                except InputError as error:
                    self._skip(task.keys[index], error)
            if not answers:
                raise InputError(
                    f"none of the held-out images can be used: {'; '.join(self._skipped.values())}"
                )
            scores |= task.score(answers)
        return scores

    def _skip(self, key: str, error: InputError) -> None:
        if key not in self._skipped:
            logger.warning("held-out %s is skipped: %s", key, error)
            self._skipped[key] = str(error)


def open_pipeline(
    network: VisionLLM, tokenizer: Tokenizer, processing: ProcessingConfig
) -> Pipeline:
    """Open the flow around a network as it is, without a copy of its weights.

    It draws no images.
    """
    device = next(network.parameters()).device
    decoders = {
        name: make_decoder(network, name, device)
        for name in PERCEPTION_PARTS
        if isinstance(getattr(network, name, None), torch.nn.Module)
    }
    vision = make_engine(network, "vision_encoder", device)
    regions = None
    if "region_encoder" in network.config.parts:
        regions = make_engine(network, "region_encoder", device)
    engines = Engines(vision, TorchLanguageModel(network, device), decoders, region_encoder=regions)
    return Pipeline(engines, tokenizer, processing)
