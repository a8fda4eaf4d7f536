"""Tasks with predictions for Label Studio; coordinates are percents of the image.

The labelling interface needs `<RectangleLabels name="box" toName="image">`, with masks
`<PolygonLabels name="outline" toName="image">`; see https://labelstud.io/guide/predictions.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

import numpy as np

from vl2_ros.structures import Detections
from vl2_ros.views.formats.outlines import trace_outline
from vl2_ros.views.formats.writer import Entry


class LabelStudioWriter:
    """Writes one task after the other into one list.

    Args:
        file: open for text.
        with_masks: write the outline of an instance's mask in place of its box.
    """

    def __init__(self, file: TextIO, *, with_masks: bool) -> None:
        self._file, self._with_masks = file, with_masks
        self._count = 0

    def add(self, entry: Entry) -> None:
        """Write a task."""
        if entry.image_hw is None:
            return
        found = [branch.detections for branch in entry.result.branches]
        regions = [
            self._describe(part, index, entry.image_hw)
            for part in found
            for index in range(len(part))
        ]
        for number, region in enumerate(regions):
            region["id"] = str(number)
        task = {
            "data": {"image": entry.image, "command": entry.document["command"]},
            "predictions": [
                {"model_version": entry.document["model"] or "vl2_ros", "result": regions}
            ],
        }
        self._file.write(("[\n" if self._count == 0 else ",\n") + json.dumps(task))
        self._count += 1

    def close(self) -> None:
        """End the list."""
        self._file.write("[]\n" if self._count == 0 else "\n]\n")

    def _describe(self, found: Detections, index: int, image_hw: tuple[int, int]) -> dict[str, Any]:
        height, width = image_hw
        percent = 100.0 / np.array([width, height], np.float64)
        outline = np.zeros((0, 2))
        if self._with_masks and found.masks is not None:
            outline = trace_outline(found.masks.crops[index])
        if len(outline) >= 3:
            kind, name = "polygonlabels", "outline"
            points = (outline * percent).round(4)
            value: dict[str, Any] = {"points": points.tolist(), "closed": True}
        else:
            kind, name = "rectanglelabels", "box"
            corners = found.boxes_xyxy[index].astype(np.float64).reshape(2, 2) * percent
            (x, y), (right, bottom) = np.clip(corners, 0.0, 100.0).round(4).tolist()
            value = {"x": x, "y": y, "width": right - x, "height": bottom - y, "rotation": 0}
        return {
            "type": kind,
            "from_name": name,
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": round(float(found.scores[index]), 4),
            "value": value | {kind: [found.labels[index]]},
        }
