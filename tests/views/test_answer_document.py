"""The published schema holds for what every command prints."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.structures import (
    Branch,
    Detections,
    GeneratedImage,
    Keypoints,
    LabelMap,
    Masks,
    Result,
    Route,
)
from vl2_ros.views.answer_document import (
    SCHEMA,
    SCHEMA_FILE,
    AnswerSource,
    describe_answer,
    describe_error,
)

PUBLISHED = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(PUBLISHED)


def make_result() -> Result:
    """A result with everything in it."""
    keypoints = Keypoints(
        ("nose",), np.ones((1, 1, 2), np.float32), np.ones((1, 1), np.float32), ()
    )
    detections = Detections(
        np.array([[0, 0, 4, 4]], np.float32),
        np.array([0.5], np.float32),
        np.array([0]),
        ("cat",),
        Masks.cut(np.ones((1, 6, 8), bool)),
        keypoints,
        track_ids=np.array([2]),
    )
    label_map = LabelMap(np.zeros((6, 8), np.uint16), 0.35)
    return Result(
        "id",
        1,
        "camera",
        "Cats.",
        (
            Branch(Route.POSE, ("cat",), detections),
            Branch(Route.SEGMENT, ("road",), Detections.empty(), label_map),
        ),
        {"vision": 1.5},
        (GeneratedImage(Route.GENERATE, np.zeros((2, 2, 3), np.uint8), 1, 2, "ddim"),),
        "Cats[POSE]",
        True,
        0.75,
    )


def test_schema_is_a_schema():
    VALIDATOR.check_schema(PUBLISHED)
    assert PUBLISHED["$defs"]["answer"]["properties"]["schema"] == {"const": SCHEMA}


def test_full_and_empty_answers_fit_and_have_the_same_keys():
    full = describe_answer(make_result(), AnswerSource("find", "a.jpg"), with_masks=True)
    empty = describe_answer(Result("", 0, "", "Yes."), AnswerSource("is it?"), with_masks=False)
    for document in (full, empty):
        VALIDATOR.validate(json.loads(json.dumps(document)))
    assert list(full) == list(empty) == PUBLISHED["$defs"]["answer"]["required"]


def test_refusals_and_errors_are_objects():
    source = AnswerSource("find", status="BUSY", message="4 commands wait; send it again")
    refused = describe_answer(Result("7", 0, "", ""), source, with_masks=False)
    assert refused["error"] == {"type": "BUSY", "message": "4 commands wait; send it again"}
    failed = describe_error(InputError("expected an image"), image="a.txt", command="find")
    assert failed == {
        "schema": 1,
        "error": {"type": "InputError", "message": "expected an image"},
        "image": "a.txt",
        "command": "find",
    }
    for document in (refused, failed):
        VALIDATOR.validate(document)


@pytest.mark.parametrize(
    ("key", "value"),
    [("schema", 2), ("stamp_ns", "now"), ("instances", [{"label": "mug"}]), ("status", "FINE")],
)
def test_other_documents_do_not_fit(key, value):
    document = describe_answer(make_result(), AnswerSource("find"), with_masks=True)
    assert not VALIDATOR.is_valid(document | {key: value})
    assert not VALIDATOR.is_valid({"error": None})


def test_seconds_are_those_of_the_stages_unless_known():
    assert describe_answer(make_result(), AnswerSource("x"), with_masks=False)["seconds"] == 0.0015
    source = AnswerSource("x", seconds=2.0)
    assert describe_answer(make_result(), source, with_masks=False)["seconds"] == 2.0
