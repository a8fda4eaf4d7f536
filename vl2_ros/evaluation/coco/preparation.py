"""Prepare checked COCO documents, as various tools write them, for the library.

Ids become numbers, what can be computed is filled in, and what cannot is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vl2_ros.documents import shorten
from vl2_ros.errors import InputError
from vl2_ros.evaluation.coco.ids import IdNumbers, require
from vl2_ros.evaluation.coco.shapes import (
    Size,
    box_of_keypoints,
    box_of_mask,
    encode_segmentation,
    measure_mask,
    outline_of_box,
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared; boxes, unless `masks` or `points` is set.

    Attributes:
        masks: whether masks are.
        points: number of keypoints of an instance where keypoints are; else None.
        with_classes: whether things of different classes are kept apart.
    """

    masks: bool = False
    points: int | None = None
    with_classes: bool = True


class CocoPreparation:
    """Makes the library's documents of an annotation document and rows of results.

    Its input is not changed.

    Args:
        truth: checked annotations.
        compared: what is compared.

    Raises:
        InputError: if an image or a category has no id.
    """

    def __init__(self, truth: Mapping[str, Any], compared: Compared) -> None:
        """Number images and categories."""
        self._truth, self._compared = truth, compared
        self._category_rows = _list_categories(truth)
        self._images = IdNumbers("image", truth["images"])
        self._categories = IdNumbers("category", self._category_rows)
        self._sizes: dict[int, Size] = {
            self._images.find(row["id"]) or 0: (row["height"], row["width"])
            for row in truth["images"]
            if "height" in row and "width" in row
        }

    def prepare_truth(self) -> Row:
        """Return the annotations as the library reads them.

        Those of images or categories that are not listed are skipped, as in the COCO API.

        Raises:
            InputError: naming the annotation and what it lacks, or if none is left.
        """
        rows, kept = self._truth["annotations"], list[Row]()
        for index, row in enumerate(rows):
            what = f"annotation {shorten(row.get('id', index))}"
            image = self._images.find(require(row, "image_id", what))
            category = self._find_category(row, what)
            if image is not None and category is not None:
                ids = {"id": len(kept) + 1, "image_id": image, "category_id": category}
                kept.append(self._prepare_annotation(row | ids, what))
        if rows and not kept:
            raise InputError(
                f"none of the {len(rows)} annotations is of a listed image and category; listed "
                f"are the images {self._images} and the categories {self._categories}"
            )
        images = [row | {"id": self._images.find(row["id"])} for row in self._truth["images"]]
        for image_row in images:
            # The library requires the size of an image even where the masks have it.
            image_row["height"], image_row["width"] = self._sizes.get(image_row["id"], (0, 0))
        categories = [row | {"id": self._categories.find(row["id"])} for row in self._category_rows]
        return {"images": images, "categories": categories, "annotations": kept}

    def prepare_results(self, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Return results as the library reads them.

        Those of categories that are not listed are skipped, as in the COCO API.

        Args:
            rows: checked results.

        Raises:
            InputError: naming the result and what it lacks, or if none is left.
        """
        shape, kept = self._find_shape(rows), list[Row]()
        for index, row in enumerate(rows):
            what = f"result {index}"
            image = self._images.find(require(row, "image_id", what))
            if image is None:
                raise InputError(
                    f"{what} is of the image {shorten(row['image_id'])}, which is none of the "
                    f"annotations' images: {self._images}"
                )
            category = self._find_category(row, what)
            if category is not None:
                ids = {"image_id": image, "category_id": category}
                kept.append(self._prepare_result(dict(row) | ids, shape, what))
        if rows and not kept:
            raise InputError(
                f"none of the {len(rows)} results is of a category of the annotations: "
                f"{self._categories}; the first is of {shorten(rows[0]['category_id'])}"
            )
        return kept

    def _find_category(self, row: Mapping[str, Any], what: str) -> int | None:
        """Return the category of a row; one that names none is of the only one."""
        if "category_id" not in row and (
            len(self._categories) == 1 or not self._compared.with_classes
        ):
            return 1
        return self._categories.find(require(row, "category_id", what))

    def _prepare_annotation(self, row: Row, what: str) -> Row:
        row["iscrowd"] = int(row.get("iscrowd", 0))
        points = self._compared.points
        if points is not None:
            # What has no keypoints is neither right nor wrong.
            row.setdefault("keypoints", [0] * (3 * points))
            _check_points(row["keypoints"], points, what)
        if "keypoints" in row:
            row.setdefault("num_keypoints", sum(flag > 0 for flag in row["keypoints"][2::3]))
        is_needed = self._compared.masks or not row.get("bbox") or "area" not in row
        runs = self._encode(row, what) if is_needed else None
        if self._compared.masks:
            if runs is None:
                raise InputError(f"{what} has no segmentation; expected one in each")
            row["segmentation"] = runs
        else:
            row["bbox"] = _find_box(row, runs, what)
        if "area" not in row:
            row["area"] = measure_mask(runs) if runs else row["bbox"][2] * row["bbox"][3]
        return row

    def _find_shape(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Return what gives the sizes of results: one kind for all, as in the COCO API."""
        if rows and not rows[0].get("bbox"):
            if all(row.get("segmentation") for row in rows):
                return "segmentation"
            if self._compared.points is not None:
                return "keypoints"
        return "bbox"

    def _prepare_result(self, row: Row, shape: str, what: str) -> Row:
        """Keep what is compared: other fields, such as a caption, lead the library astray."""
        names = {"image_id", "category_id", "score", shape}
        if self._compared.points is not None:
            names.add("keypoints")
            _check_points(require(row, "keypoints", what), self._compared.points, what)
        if self._compared.masks:
            names.add("segmentation")
            if not row.get("segmentation"):
                # As the COCO API does with results that are boxes.
                row["segmentation"] = outline_of_box(_find_box(row, None, what))
        runs = None
        if "segmentation" in names or not row.get("bbox"):
            row["segmentation"] = runs = self._encode(row, what)
        if "bbox" in names:
            row["bbox"] = _find_box(row, runs, what)
        return {name: require(row, name, what) for name in names}

    def _encode(self, row: Row, what: str) -> Row | None:
        """Return run lengths of a row's mask, if it has one; masks give the size of an image."""
        value, image = row.get("segmentation"), row["image_id"]
        if not value:
            return None
        size = self._sizes.get(image)
        if not self._compared.masks:
            # Masks of another size than the image do no harm here.
            return encode_segmentation(value, None if isinstance(value, Mapping) else size, what)
        if size is None and not isinstance(value, Mapping):
            raise InputError(f"{what} has an outline, but its image no height and width")
        runs = encode_segmentation(value, size, what)
        self._sizes[image] = (runs["size"][0], runs["size"][1])
        return runs


def _list_categories(truth: Mapping[str, Any]) -> list[Row]:
    """Return the categories; where none are listed, those that are named, or a single one."""
    if truth["categories"]:
        return list(truth["categories"])
    named = {row["category_id"] for row in truth["annotations"] if "category_id" in row}
    return [{"id": one} for one in named or {1}]


def _find_box(row: Mapping[str, Any], runs: Row | None, what: str) -> list[float]:
    """Return the box of a row, or that around its mask or its keypoints."""
    if row.get("bbox"):
        return list(row["bbox"])
    if runs is not None:
        return box_of_mask(runs)
    if "keypoints" in row:
        return box_of_keypoints(row["keypoints"])
    raise InputError(f"{what} has neither bbox nor segmentation, got {shorten(dict(row))}")


def _check_points(keypoints: Sequence[float], expected: int, what: str) -> None:
    if len(keypoints) != 3 * expected:
        raise InputError(
            f"{expected} sigmas are there for the {len(keypoints) // 3} keypoints of {what}; give "
            "one sigma for each keypoint"
        )
