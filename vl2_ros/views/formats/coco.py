"""A COCO data set: images, categories and annotations with scores, as annotation tools read it.

Masks are compressed run lengths, the form that every COCO tool takes; see
https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

from vl2_ros.structures import Detections, RunLengths
from vl2_ros.views.formats.writer import Entry


class CocoWriter:
    """Gathers annotations, and writes the document when it is closed.

    Several answers about one image share its entry.

    Args:
        file: open for text.
        with_masks: give annotations a segmentation.
    """

    def __init__(self, file: TextIO, *, with_masks: bool) -> None:
        self._file, self._with_masks = file, with_masks
        self._images: dict[str, dict[str, Any]] = {}
        self._categories: dict[str, dict[str, Any]] = {}
        self._annotations: list[dict[str, Any]] = []

    def add(self, entry: Entry) -> None:
        """Keep the annotations of an answer."""
        if entry.image_hw is None:
            return
        height, width = entry.image_hw
        image = self._images.setdefault(
            entry.image,
            {
                "id": len(self._images) + 1,
                "file_name": entry.image,
                "width": width,
                "height": height,
            },
        )
        for branch in entry.result.branches:
            for index in range(len(branch.detections)):
                self._annotations.append(
                    {
                        "id": len(self._annotations) + 1,
                        "image_id": image["id"],
                        **self._describe(branch.detections, index),
                    }
                )

    def close(self) -> None:
        """Write the document."""
        json.dump(
            {
                "images": list(self._images.values()),
                "categories": list(self._categories.values()),
                "annotations": self._annotations,
            },
            self._file,
        )
        self._file.write("\n")

    def _describe(self, found: Detections, index: int) -> dict[str, Any]:
        x1, y1, x2, y2 = (float(value) for value in found.boxes_xyxy[index])
        category = self._categories.setdefault(
            found.labels[index],
            {"id": len(self._categories) + 1, "name": found.labels[index]},
        )
        row: dict[str, Any] = {
            "category_id": category["id"],
            "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
            "area": round((x2 - x1) * (y2 - y1), 2),
            "iscrowd": 0,
            "score": round(float(found.scores[index]), 4),
        }
        if self._with_masks and found.masks is not None:
            crop = found.masks.crops[index]
            row["segmentation"] = compress_rle(crop.encode(found.masks.frame_hw))
            row["area"] = crop.area
        if found.keypoints is not None:
            names, edges = found.keypoints.names, found.keypoints.edges
            category.setdefault("keypoints", list(names))
            # COCO counts from one.
            category.setdefault("skeleton", [[a + 1, b + 1] for a, b in edges])
            points = found.keypoints.points_xy[index]
            row["keypoints"] = [
                value for x, y in points for value in (round(float(x), 2), round(float(y), 2), 2)
            ]
            row["num_keypoints"] = len(points)
        return row


def compress_rle(runs: RunLengths) -> dict[str, Any]:
    """Write a mask as COCO's compressed run lengths.

    Each run, from the fourth on its difference to the one before the last, is written in groups
    of five bits, the least first; a sixth bit says that more follow, and 48 makes it a character.

    Args:
        runs: of the mask.

    Returns:
        `size` [H, W] and `counts`, a string.
    """
    counts = runs.counts.tolist()
    text = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            # The sign is the fifth bit of the last group.
            more = value != (-1 if group & 0x10 else 0)
            text.append(chr(48 + (group | (0x20 if more else 0))))
    return {"size": list(runs.mask_hw), "counts": "".join(text)}
