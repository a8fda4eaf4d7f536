from __future__ import annotations

from pathlib import Path

import pytest

from vl2_ros.evaluation.benchmarks.table import BENCHMARKS, Form, format_table

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_page_has_the_table() -> None:
    assert format_table() in (REPOSITORY / "docs" / "evaluation.md").read_text()


def test_published_numbers_are_those_of_the_paper() -> None:
    published = {
        (one.name, metric.name): metric.published
        for one in BENCHMARKS.values()
        for metric in one.metrics
        if metric.published is not None
    }
    assert published == {
        ("coco-bbox", "box_ap"): 56.7,
        ("coco-segm", "mask_ap"): 47.8,
        ("coco-keypoints", "keypoint_ap"): 74.0,
        ("crowdpose", "keypoint_ap"): 79.4,
        ("ap10k", "keypoint_ap"): 76.8,
        ("vcr", "q_ar"): 82.5,
        ("mmbench", "accuracy"): 76.3,
    }


def test_every_form_has_an_evaluation() -> None:
    assert {one.form for one in BENCHMARKS.values()} == set(Form)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_names_are_words_of_a_command(name: str) -> None:
    assert name == BENCHMARKS[name].name
    assert name.replace("-", "").isalnum() and name == name.lower()
    assert BENCHMARKS[name].title.endswith(".")


def test_limits_are_those_of_the_specification() -> None:
    """Docs/spec/core.md, 9.4 and 9.5."""
    assert {one.top_k for one in BENCHMARKS.values() if one.form is Form.OBJECTS} == {100}
    assert {one.top_k for one in BENCHMARKS.values() if one.form is Form.REGIONS} == {300}
    assert BENCHMARKS["refcoco"].top_k == BENCHMARKS["reasonseg"].top_k == 1
    assert BENCHMARKS["vqa"].max_new_tokens == 10
    assert BENCHMARKS["region-captions"].max_new_tokens == 64
