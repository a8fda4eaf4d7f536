"""Scores of a network on labelled images, for training: boxes, masks and keypoints in one call."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vl2_ros.errors import RouteError
from vl2_ros.evaluation.benchmarks.annotations import read_annotations
from vl2_ros.evaluation.benchmarks.run import RunOptions, run_task
from vl2_ros.evaluation.benchmarks.task import BenchmarkData, Task
from vl2_ros.evaluation.benchmarks.tasks.objects import ObjectsTask
from vl2_ros.evaluation.benchmarks.tasks.poses import PosesTask
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.runtime.engine import Engines
from vl2_ros.structures import Route

if TYPE_CHECKING:
    from vl2_ros.model.network import VisionLLM

TOP_K = 100


def wrap_network(
    network: VisionLLM, tokenizer: Tokenizer, processing: ProcessingConfig
) -> Pipeline:
    """Make a pipeline of a network that is in memory, such as one that is being trained.

    Args:
        network: it is used as it is, on the device where it lies; the caller sets it to evaluation.
        tokenizer: tokenizer of the network.
        processing: how its images and prompts are prepared.
    """
    from vl2_ros.runtime.torch_backend.engine import (
        TorchLanguageModel,
        make_decoder,
        make_engine,
    )

    device = next(network.parameters()).device
    there = network.config.parts
    engines = Engines(
        vision_encoder=make_engine(network, "vision_encoder", device),
        language_model=TorchLanguageModel(network, device),
        decoders={
            name: make_decoder(network, name, device) for name in PERCEPTION_PARTS if name in there
        },
        region_encoder=make_engine(network, "region_encoder", device)
        if "region_encoder" in there
        else None,
    )
    return Pipeline(engines, tokenizer, processing, name="in memory")


def score_detections(
    pipeline: Pipeline, annotations: Path, images: Path | None = None, limit: int | None = None
) -> dict[str, float]:
    """Score a model on labelled images by the direct pass, as the published numbers are computed.

    Args:
        pipeline: the model; see `wrap_network`.
        annotations: COCO file; any classes, masks and keypoints where there are some.
        images: their folder; None: beside the file.
        limit: most images, the first of the file; None: all.

    Returns:
        shares of 1: `box_ap`, `box_ap50`, `box_ap75` where there is a detection decoder, the same
        of `mask` where the file has masks, `keypoint_ap`, ... and `pck` where it has keypoints and
        there is a pose decoder.

    Raises:
        InputError: if the file cannot be used, or no image of it.
    """
    data = BenchmarkData((annotations,), images)
    rows = read_annotations(annotations).rows()
    scores: dict[str, float] = {}
    if Route.DETECT in pipeline.info.routes:
        with_masks = any(row.get("segmentation") for row in rows)
        task = ObjectsTask(data, top_k=TOP_K, with_masks=with_masks)
        scores |= _run(task, pipeline, limit)
    if any(row.get("keypoints") for row in rows):
        # Models without a decoder of poses have the other scores.
        with suppress(RouteError):
            scores |= _run(PosesTask(data, top_k=TOP_K), pipeline, limit)
    return scores


def _run(task: Task, pipeline: Pipeline, limit: int | None) -> Mapping[str, float]:
    outcome = run_task(task, pipeline, {}, RunOptions(limit))
    return {} if outcome is None else outcome.scores
