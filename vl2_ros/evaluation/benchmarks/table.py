"""The table of evaluations: data, prompt, limits and published numbers of each.

Standard library alone, so that the command line lists it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

#: What stands where no page that we have names a number.
NOT_PUBLISHED = "not published"
#: Most tokens of an answer, see docs/spec/core.md, 9.5; there is none for letters.
_LETTER_TOKENS, _SHORT_TOKENS, _CAPTION_TOKENS = 10, 10, 64
_BOX_SIZE = "short side 800, long side at most 1333"
_SEGMENT_SIZE = "short side 512, long side at most 2048"
_TILES = "tiles of the vision encoder"
_CLASSES = "all class names of the file, in its order"


class Form(Enum):
    """Form of the data, and what is asked about a record of it."""

    OBJECTS = "COCO annotations"
    KEYPOINTS = "COCO keypoint annotations"
    REFERRING = "COCO annotations with expressions"
    REASONING = "folder of images, each with a JSON of polygons and questions"
    LABELS = "folder of label images, and objectInfo150.txt or classes.txt"
    REGIONS = "COCO annotations with masks"
    CAPTIONS = "COCO annotations with a caption each"
    CHOICES = "TSV with images in base64"
    SHORT_ANSWERS = "VQAv2 questions and annotations"
    VCR = "VCR JSON lines"
    IMAGES = "COCO captions"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of an evaluation.

    Attributes:
        name: as in the scores.
        published: number of the paper's table, a percentage; None: not published here.
    """

    name: str
    published: float | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One evaluation.

    Attributes:
        name: of the command, `vl2 eval NAME`.
        title: what is measured.
        form: of its data.
        prompt: what is asked.
        metrics: the numbers, the first is the main one.
        top_k: most instances of an image; None where nothing is looked for.
        image_size: of the image that the decoder or the vision encoder sees, of the released model.
        max_new_tokens: most generated tokens; 0 where nothing is generated.
        variant: distinguishes evaluations of one form.
        remark: what differs from the published evaluation, or is not published.
    """

    name: str
    title: str
    form: Form
    prompt: str
    metrics: tuple[Metric, ...]
    top_k: int | None = None
    image_size: str = _BOX_SIZE
    max_new_tokens: int = 0
    variant: str = ""
    remark: str = ""


def _keypoints(name: str, title: str, ap: Metric, variant: str, remark: str = "") -> Benchmark:
    more = {
        "crowd": ("keypoint_ap50", "keypoint_ap_easy", "keypoint_ap_medium", "keypoint_ap_hard"),
        "oks": ("keypoint_ap50", "keypoint_ap75", "pck"),
        "pck": ("keypoint_ap",),
    }[variant]
    prompt = "all object names, then all keypoint names of the file"
    metrics = (ap, *map(Metric, more))
    return Benchmark(
        name, title, Form.KEYPOINTS, prompt, metrics, 100, variant=variant, remark=remark
    )


def _interactive(kind: str) -> Benchmark:
    return Benchmark(
        f"interactive-{kind}",
        f"Interactive segmentation from one {kind} for each object, mIoU.",
        Form.REGIONS,
        f"one {kind} for each object of an image, made from its mask",
        (Metric("miou"), Metric("ciou")),
        300,
        variant=kind,
        remark="at most 64 prompts a pass; the published prompts are a file of their own",
    )


def _choices(name: str, title: str, variant: str, published: float | None) -> Benchmark:
    return Benchmark(
        name,
        title,
        Form.CHOICES,
        "hint, question and lettered options, then a request for the letter",
        (Metric("accuracy", published),),
        image_size=_TILES,
        max_new_tokens=_LETTER_TOKENS,
        variant=variant,
        remark="wording and tokens not published",
    )


_LISTED = (
    Benchmark(
        "coco-bbox",
        "Object detection on COCO or data in its format, box AP.",
        Form.OBJECTS,
        _CLASSES,
        (Metric("box_ap", 56.7), Metric("box_ap50"), Metric("box_ap75")),
        100,
        variant="boxes",
    ),
    Benchmark(
        "coco-segm",
        "Instance segmentation on COCO or data in its format, mask AP.",
        Form.OBJECTS,
        _CLASSES,
        (Metric("mask_ap", 47.8), Metric("mask_ap50"), Metric("mask_ap75")),
        100,
        variant="masks",
    ),
    _keypoints(
        "coco-keypoints",
        "Poses on COCO or any skeleton in its format, OKS AP.",
        Metric("keypoint_ap", 74.0),
        "oks",
    ),
    _keypoints(
        "crowdpose", "Poses in crowds on CrowdPose, OKS AP.", Metric("keypoint_ap", 79.4), "crowd"
    ),
    _keypoints(
        "ap10k",
        "Poses of animals on AP-10K, OKS AP.",
        Metric("keypoint_ap", 76.8),
        "oks",
        "falloffs of the field's tools; the release has COCO's, 0.001 apart at two keypoints",
    ),
    _keypoints(
        "pck",
        "Poses by the share of keypoints nearer than 0.2 of the box, PCK.",
        Metric("pck"),
        "pck",
    ),
    Benchmark(
        "refcoco",
        "Referring expressions on RefCOCO, RefCOCO+ or RefCOCOg: P@0.5 of boxes, cIoU of masks.",
        Form.REFERRING,
        "the expression in lower case, without punctuation",
        (Metric("accuracy"), Metric("ciou"), Metric("giou")),
        1,
        remark="every expression is asked; the published evaluation draws one for each object",
    ),
    Benchmark(
        "reasonseg",
        "Reasoning segmentation on ReasonSeg, gIoU and cIoU.",
        Form.REASONING,
        "the first question of the record, unchanged",
        (Metric("giou"), Metric("ciou")),
        1,
    ),
    Benchmark(
        "ade20k",
        "Semantic segmentation on ADE20K, mIoU.",
        Form.LABELS,
        _CLASSES,
        (Metric("miou"), Metric("pixel_accuracy")),
        image_size=_SEGMENT_SIZE,
    ),
    *map(_interactive, ("point", "box", "scribble", "mask")),
    Benchmark(
        "vcr",
        "Visual commonsense reasoning: answers, reasons, and both right.",
        Form.VCR,
        "people as regions, lettered choices, then a request for the letter",
        (Metric("q_ar", 82.5), Metric("q_a"), Metric("qa_r")),
        image_size=_TILES,
        max_new_tokens=_LETTER_TOKENS,
        remark="wording and tokens not published",
    ),
    _choices("mmbench", "Multiple choice, right in every order of the options.", "circular", 76.3),
    _choices("mmbench-vanilla", "Multiple choice, each question asked once.", "vanilla", None),
    Benchmark(
        "vqa",
        "Short answers on VQAv2, VQA accuracy.",
        Form.SHORT_ANSWERS,
        "the question, then a request for a short answer",
        (Metric("accuracy"),),
        image_size=_TILES,
        max_new_tokens=_SHORT_TOKENS,
        remark="wording of the request not published",
    ),
    Benchmark(
        "region-captions",
        "Captions of regions, CIDEr-D.",
        Form.CAPTIONS,
        "a request to describe one region",
        (Metric("cider"),),
        image_size=_TILES,
        max_new_tokens=_CAPTION_TOKENS,
        remark="words are split by a rule of ours; METEOR is not computed, it needs Java",
    ),
    Benchmark(
        "generation",
        "Generated images, CLIP score.",
        Form.IMAGES,
        "the caption in lower case",
        (Metric("clip_score"),),
        image_size="of the generator",
        remark="needs --scorer, a folder of CLIP weights; FID needs Inception weights and is not "
        "computed",
    ),
)

#: Name -> evaluation.
BENCHMARKS: Mapping[str, Benchmark] = {one.name: one for one in _LISTED}


def format_table() -> str:
    """Write the table of docs/evaluation.md."""
    lines = [
        "| `vl2 eval` | Data | Asked | Top-k | Image size | Tokens | Metric, published | Remark |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in BENCHMARKS.values():
        numbers = ", ".join(f"{m.name} {format_published(m)}" for m in one.metrics)
        cells = (
            *(f"`{one.name}`", one.form.value, one.prompt, str(one.top_k or "-")),
            *(one.image_size, str(one.max_new_tokens or "-"), numbers, one.remark or "-"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def format_published(metric: Metric) -> str:
    """Return the published number as a text."""
    return NOT_PUBLISHED if metric.published is None else f"{metric.published:.1f}"
