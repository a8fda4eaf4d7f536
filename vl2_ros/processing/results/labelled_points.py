"""Points in space of the pixels of masks, each with its colour, class and instance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vl2_ros.processing.results.spatial import SpatialView
from vl2_ros.structures import Detections


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPoints:
    """P points on the visible surfaces of instances.

    Attributes:
        positions_m: (P, 3) float32, in the frame of the view.
        rgb: (P, 3) uint8 colours of the image.
        labels: (P,) uint32 class of the instance.
        instances: (P,) uint32 index of the instance.
    """

    positions_m: np.ndarray
    rgb: np.ndarray
    labels: np.ndarray
    instances: np.ndarray


def lift_instances(
    view: SpatialView, rgb: np.ndarray, detections: Detections, most: int
) -> LabelledPoints:
    """Lift the masked pixels of a depth image into space.

    A pixel in two masks is two points. Where there are more than `most` points, every second,
    third, ... row and column of the depth image is used, so that they stay evenly spread.

    Args:
        view: calibration, depth and frame.
        rgb: (H, W, 3) uint8, the camera image.
        detections: N instances on it; without masks there are no points.
        most: number of points that are returned at most, 1 or more.
    """
    masks = detections.masks
    if masks is None or not len(masks):
        masks = np.zeros((0, *rgb.shape[:2]), np.bool_)
    height, width = rgb.shape[:2]
    depth_h, depth_w = view.depth.values.shape
    # Where the middle of each row and column of the depth image lies in the camera image.
    y = (np.arange(depth_h) + 0.5) * (height / depth_h)
    x = (np.arange(depth_w) + 0.5) * (width / depth_w)
    grid = np.ix_(y.astype(int), x.astype(int))
    values = view.depth.values
    is_known = np.isfinite(values) & (values > 0)
    inside = masks[:, grid[0], grid[1]] & is_known
    step = max(1, math.isqrt(max(0, int(np.count_nonzero(inside)) - 1) // most + 1))
    while int(np.count_nonzero(inside[:, ::step, ::step])) > most:
        step += 1
    instances, rows, columns = np.nonzero(inside[:, ::step, ::step])
    rows, columns = rows * step, columns * step
    rays = view.camera.cast_rays(np.stack([x[columns], y[rows]], axis=1))
    depths_m = values[rows, columns].astype(np.float64) * view.depth.unit_m
    is_seen = np.isfinite(rays).all(axis=1)
    points_m = np.concatenate([rays, np.ones((len(rays), 1))], axis=1) * depths_m[:, None]
    pixels = rgb[grid[0][rows, 0], grid[1][0, columns]]
    return LabelledPoints(
        positions_m=view.place(points_m)[is_seen].astype(np.float32),
        rgb=pixels[is_seen],
        labels=detections.class_ids[instances[is_seen]].astype(np.uint32),
        instances=instances[is_seen].astype(np.uint32),
    )
