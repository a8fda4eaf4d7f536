"""Convert answers of `vl2 ask` to COCO results: images by file name, labels by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any

from vl2_ros.documents import check_list, check_number, check_object, check_text, shorten
from vl2_ros.errors import InputError

_list = partial(check_list, error=InputError)
_object = partial(check_object, error=InputError)
_text = partial(check_text, error=InputError)


def is_answer(row: Any) -> bool:
    """Return whether a JSON value is an answer rather than a row of results."""
    return isinstance(row, Mapping) and "instances" in row


def is_data_set(value: Any) -> bool:
    """Return whether a JSON value is a COCO data set rather than a row of results."""
    return isinstance(value, Mapping) and "images" in value and "annotations" in value


def list_data_set_rows(found: Mapping[str, Any], truth: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Make COCO results of a data set that has scores, as `vl2 ask --format coco` writes it.

    Args:
        found: its images are those of the truth by file name, its categories by name; checked.
        truth: COCO annotations, checked.

    Raises:
        InputError: if an annotation has no score, or belongs to none of the images.
    """
    names = {row.get("id"): row.get("file_name") for row in found["images"]}
    labels = {row.get("id"): str(row.get("name", "")) for row in found["categories"]}
    rows = []
    for index, row in enumerate(found["annotations"]):
        what = f"annotation {index} of the results"
        if "score" not in row:
            raise InputError(f"{what} has no score; expected what `vl2 ask --format coco` writes")
        image = _find_image({"image": names.get(row.get("image_id"))}, truth["images"], what)
        label = labels.get(row.get("category_id"), "")
        category = _find_category(label, truth).get("id", label)
        rows.append(row | {"image_id": image, "category_id": category})
    return rows


def list_answer_rows(
    answers: Sequence[Any], truth: Mapping[str, Any], *, masks: bool
) -> list[dict[str, Any]]:
    """Make COCO results of answers; their numbers are not checked yet.

    Args:
        answers: with `instances`, and `image_id` or `image`, a path whose file name is that of an
            image.
        truth: COCO annotations, checked.
        masks: whether masks are compared; their pixels then give the sizes.

    Raises:
        InputError: if an answer belongs to none of the images, or an instance has no mask.
    """
    rows = []
    for index, answer in enumerate(answers):
        what = f"answer {index}"
        answer = _object(what, answer)
        image = _find_image(answer, truth["images"], what)
        for instance in _list(f"instances of {what}", answer.get("instances")):
            row = _make_row(_object(f"an instance of {what}", instance), truth, masks=masks)
            rows.append(row | {"image_id": image})
    return rows


def _find_image(
    answer: Mapping[str, Any], images: Sequence[Mapping[str, Any]], what: str
) -> int | float | str:
    if answer.get("image_id") is not None:
        found: int | float | str = answer["image_id"]
        return found
    path = _text(f"image of {what}", answer.get("image"))
    names = [(str(row.get("file_name", "")), row.get("id")) for row in images]
    for fits in (
        [one for name, one in names if name == path],
        [one for name, one in names if name and PurePath(name).name == PurePath(path).name],
    ):
        if len(fits) == 1 and fits[0] is not None:
            return fits[0]
    raise InputError(
        f"{what} is about {shorten(path)}, which is the file_name of no or of several images; "
        "expected one, or image_id beside image"
    )


def _make_row(
    instance: Mapping[str, Any], truth: Mapping[str, Any], *, masks: bool
) -> dict[str, Any]:
    label = _text("label", instance.get("label"))
    category = _find_category(label, truth)
    row = {"category_id": category.get("id", label), "score": instance.get("score")}
    if masks:
        if "mask" not in instance:
            raise InputError(f"an instance ({shorten(label)}) has no mask; ask with --masks")
        return row | {"segmentation": instance["mask"]}
    row["bbox"] = _convert_box(instance.get("box_xyxy"))
    if "keypoints" in instance:
        row["keypoints"] = _flatten_keypoints(instance["keypoints"], category)
    return row


def _convert_box(box_xyxy: Any) -> list[float]:
    corners = _list("box_xyxy", box_xyxy, most=4)
    if len(corners) != 4:
        raise InputError(f"box_xyxy must be [x1, y1, x2, y2], got {shorten(box_xyxy)}")
    left, top, right, bottom = (check_number("box_xyxy", one, error=InputError) for one in corners)
    return [left, top, right - left, bottom - top]


def _find_category(label: str, truth: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the category of a label, whatever its capitals; an empty one if there is none."""
    for category in truth["categories"]:
        if str(category.get("name", "")).casefold() == label.casefold():
            return dict(category)
    return {}


def _flatten_keypoints(keypoints: Any, category: Mapping[str, Any]) -> list[Any]:
    """Return x, y and 1 of each keypoint, in the category's order where it lists names."""
    points = {}
    for point in _list("keypoints", keypoints):
        point = _object("a keypoint", point)
        name = _plain(_text("name of a keypoint", point.get("name")))
        points[name] = [*_list(f"xy of {name}", point.get("xy"), most=2), 1]
    names = [_plain(str(name)) for name in category.get("keypoints", points)]
    return [number for name in names for number in points.get(name, [0, 0, 0])]


def _plain(name: str) -> str:
    """Return the name of a keypoint as we write it: COCO writes left_eye."""
    return name.replace("_", " ").casefold()
