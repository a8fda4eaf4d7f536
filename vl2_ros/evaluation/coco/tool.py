"""Evaluate COCO results against annotations with faster-coco-eval.

The library counts, on documents prepared by `preparation.py`; this file runs it without its
output and names its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.errors import InputError, VL2Error
from vl2_ros.evaluation.coco.document import read_results, read_truth
from vl2_ros.evaluation.coco.preparation import CocoPreparation, Compared
from vl2_ros.processing.sigmas import CROWDPOSE_SIGMAS, find_sigmas, list_keypoint_names

#: Of the library's own words.
_SHOWN_LETTERS = 300


class CocoKind(Enum):
    """Kind of shapes to compare; the value is the library's word."""

    BOXES = "bbox"
    MASKS = "segm"
    KEYPOINTS = "keypoints"
    CROWD_KEYPOINTS = "keypoints_crowd"


@dataclass(frozen=True, slots=True)
class CocoScores:
    """Means over classes that occur, 0..1; -1 where there was nothing to count.

    Attributes:
        ap: average precision, mean over IoU or OKS thresholds .50 to .95.
        ap50: at threshold .50.
        ap75: at threshold .75.
        by_name: all numbers of the library under its own names, such as `AR_all`.
    """

    ap: float
    ap50: float
    ap75: float
    by_name: Mapping[str, float]


def score_coco(
    truth: Mapping[str, Any] | Path,
    found: Sequence[Mapping[str, Any]] | Path,
    kind: CocoKind,
    *,
    with_classes: bool = True,
    sigmas: Sequence[float] | None = None,
    min_score: float = 0.0,
) -> CocoScores:
    """Score results against the truth.

    Args:
        truth: COCO annotations, as a document or as a file of one; not changed.
        found: COCO results, or answers as `vl2 ask --json` prints them, as rows or as a file of
            them; not changed.
        kind: what is compared.
        with_classes: False scores as if there were one class.
        sigmas: OKS falloff of each keypoint; None takes those of the skeleton, see `find_sigmas`,
            which the categories name; without names it is COCO's, or CrowdPose's for crowds.
        min_score: rows scored below it are skipped.

    Raises:
        InputError: if a file cannot be read, a row lacks what is compared, the results are of
            images that the truth lacks, or sigmas and keypoints differ in number.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    is_crowd = kind is CocoKind.CROWD_KEYPOINTS
    try:
        annotations = read_truth(truth)
        if sigmas is None and kind in (CocoKind.KEYPOINTS, CocoKind.CROWD_KEYPOINTS):
            sigmas = _find_sigmas(annotations, kind)
        points = None if sigmas is None else len(sigmas)
        compared = Compared(kind is CocoKind.MASKS, points, with_classes)
        preparation = CocoPreparation(annotations, compared)
        document = preparation.prepare_truth()
        rows = preparation.prepare_results(read_results(found, annotations, masks=compared.masks))
        coco = COCO(document)
        results = coco.loadRes(rows, min_score=min_score)
        evaluation = COCOeval_faster(
            coco,
            results,
            iouType=kind.value,
            kpt_oks_sigmas=None if sigmas is None else np.array(sigmas),
            # CrowdPose counts every person, however small.
            use_area=not is_crowd,
            print_function=lambda *words: None,
        )
        if not with_classes:
            evaluation.params.useCats = 0
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        numbers = {name: float(value) for name, value in evaluation.stats_as_dict.items()}
        return CocoScores(numbers["AP_all"], numbers["AP_50"], numbers["AP_75"], numbers)
    # The library does not document what it may raise.
    except Exception as error:
        said = str(error) if isinstance(error, VL2Error) else repr(error)[:_SHOWN_LETTERS]
        raise InputError(
            f"cannot read COCO annotations or results: {said}; expected the format of "
            "https://cocodataset.org/#format-data and results of these images only"
        ) from error


def _find_sigmas(annotations: Mapping[str, Any], kind: CocoKind) -> Sequence[float]:
    """Return the falloffs of the one skeleton that the categories with keypoints have."""
    skeletons = {
        tuple(map(str, row["keypoints"]))
        for row in annotations["categories"]
        if isinstance(row.get("keypoints"), list)
    }
    if len(skeletons) > 1:
        raise InputError(
            f"the categories have {len(skeletons)} skeletons; expected one list of keypoints, "
            "score each skeleton by itself"
        )
    if skeletons:
        return find_sigmas(skeletons.pop())
    if kind is CocoKind.CROWD_KEYPOINTS:
        return CROWDPOSE_SIGMAS
    # Without names only their number is known.
    counts = {
        len(row["keypoints"]) // 3 for row in annotations["annotations"] if "keypoints" in row
    }
    count = counts.pop() if len(counts) == 1 else 17
    return find_sigmas(list_keypoint_names(count) or [str(number) for number in range(count)])
