"""Make the PointCloud2 of an answer's masks: position, colour, class and instance of each point."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from vl2_ros.node.messages.instance_messages import InstanceMessages
from vl2_ros.node.request import Answer
from vl2_ros.processing.results.labelled_points import LabelledPoints, lift_instances

POINTS_TYPE = "sensor_msgs/msg/PointCloud2"
#: Points of one message, 4.8 MB; of more every second, third, ... row and column is sent.
MOST_POINTS = 200_000
# sensor_msgs/PointField: its constants for uint32 and float32.
_UINT32, _FLOAT32 = 6, 7
_DTYPES = {_UINT32: np.uint32, _FLOAT32: np.float32}
#: The point as viewers and PCL read it: rgb is a float whose bytes are blue, green, red and 0.
_FIELDS = {
    "x": _FLOAT32,
    "y": _FLOAT32,
    "z": _FLOAT32,
    "rgb": _FLOAT32,
    "label": _UINT32,
    "instance": _UINT32,
}
_POINT = np.dtype([(name, _DTYPES[kind]) for name, kind in _FIELDS.items()])


def lift_masks(answer: Answer) -> LabelledPoints | None:
    """Return the points of an answer's masks; None without depth or an answer.

    Their classes are `Instance.class_id`, their instances indices of `VisionResult.instances`.
    """
    if answer.space is None or answer.result is None or answer.frame is None:
        return None
    ids = [branch.detections.class_ids for branch in answer.result.branches]
    found = replace(
        answer.result.detections, class_ids=np.concatenate([*ids, np.zeros(0, np.int64)])
    )
    return lift_instances(answer.space, answer.frame.rgb, found, MOST_POINTS)


def make_points(parts: InstanceMessages, answer: Answer, points: LabelledPoints) -> Any:
    """Make the sensor_msgs/PointCloud2 of points, in the frame of the answer's view."""
    make, count = parts.types.make, len(points.positions_m)
    table = np.zeros(count, _POINT)
    for index, name in enumerate("xyz"):
        table[name] = points.positions_m[:, index]
    red, green, blue = points.rgb.astype(np.uint32).T
    table["rgb"] = (red << 16 | green << 8 | blue).view(np.float32)
    table["label"], table["instance"] = points.labels, points.instances
    return make(
        POINTS_TYPE,
        header=parts.make_space_header(answer),
        height=1,
        width=count,
        fields=[
            make("sensor_msgs/msg/PointField", name=name, offset=4 * index, datatype=kind, count=1)
            for index, (name, kind) in enumerate(_FIELDS.items())
        ],
        is_bigendian=sys.byteorder == "big",
        point_step=_POINT.itemsize,
        row_step=_POINT.itemsize * count,
        data=table.view(np.uint8).reshape(-1),
        is_dense=True,
    )
