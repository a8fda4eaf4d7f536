"""Open the task of an evaluation: the form of its data says which."""

from __future__ import annotations

from vl2_ros.evaluation.benchmarks.table import Benchmark, Form
from vl2_ros.evaluation.benchmarks.task import BenchmarkData, Task
from vl2_ros.evaluation.benchmarks.tasks.captions import CaptionsTask
from vl2_ros.evaluation.benchmarks.tasks.choices import ChoicesTask
from vl2_ros.evaluation.benchmarks.tasks.generated import GeneratedTask
from vl2_ros.evaluation.benchmarks.tasks.labels import LabelsTask
from vl2_ros.evaluation.benchmarks.tasks.objects import ObjectsTask
from vl2_ros.evaluation.benchmarks.tasks.poses import PosesTask
from vl2_ros.evaluation.benchmarks.tasks.referring import ReasoningTask, ReferringTask
from vl2_ros.evaluation.benchmarks.tasks.regions import RegionsTask
from vl2_ros.evaluation.benchmarks.tasks.short_answers import ShortAnswersTask
from vl2_ros.evaluation.benchmarks.tasks.vcr import VcrTask
from vl2_ros.structures import PromptKind


def open_task(benchmark: Benchmark, data: BenchmarkData) -> Task:
    """Read the data of an evaluation.

    Raises:
        InputError: if it is not of the evaluation's form, or nothing of it can be used.
        ConfigError: if a score needs weights that are not given.
    """
    top_k, tokens = benchmark.top_k or 1, benchmark.max_new_tokens
    match benchmark.form:
        case Form.OBJECTS:
            return ObjectsTask(data, top_k=top_k, with_masks=benchmark.variant == "masks")
        case Form.KEYPOINTS:
            return PosesTask(data, top_k=top_k, in_crowds=benchmark.variant == "crowd")
        case Form.REFERRING:
            return ReferringTask(data)
        case Form.REASONING:
            return ReasoningTask(data)
        case Form.LABELS:
            return LabelsTask(data)
        case Form.REGIONS:
            return RegionsTask(data, top_k=top_k, kind=PromptKind[benchmark.variant.upper()])
        case Form.CAPTIONS:
            return CaptionsTask(data, max_new_tokens=tokens)
        case Form.CHOICES:
            circular = benchmark.variant == "circular"
            return ChoicesTask(data, max_new_tokens=tokens, circular=circular)
        case Form.SHORT_ANSWERS:
            return ShortAnswersTask(data, max_new_tokens=tokens)
        case Form.VCR:
            return VcrTask(data, max_new_tokens=tokens)
        case Form.IMAGES:
            return GeneratedTask(data)
