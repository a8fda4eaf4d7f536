"""Points in space of the pixels of masks, each with its colour, class and instance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.processing.results.ray_lattice import cast_many_rays
from vl2_ros.processing.results.spatial import SpatialView
from vl2_ros.structures import Detections, MaskCrop


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
    grid = _Grid(view, rgb.shape[:2])
    masks = () if detections.masks is None else detections.masks.crops
    step = grid.find_step(masks, most)
    found = [grid.select(mask, step) for mask in masks]
    rows, columns = np.concatenate([np.zeros((2, 0), np.int64), *found], axis=1)
    instances = np.repeat(np.arange(len(masks)), [one.shape[1] for one in found])
    points_m = grid.lift(rows, columns)
    is_seen = np.isfinite(points_m).all(axis=1)
    pixels = rgb[grid.image_rows[rows[is_seen]], grid.image_columns[columns[is_seen]]]
    return LabelledPoints(
        positions_m=points_m[is_seen].astype(np.float32),
        rgb=pixels,
        labels=detections.class_ids[instances[is_seen]].astype(np.uint32),
        instances=instances[is_seen].astype(np.uint32),
    )


class _Grid:
    """The pixels of a depth image over those of its camera image.

    Attributes:
        image_rows: of the camera image, under the middle of each row of the depth image.
        image_columns: likewise.
    """

    def __init__(self, view: SpatialView, image_hw: tuple[int, int]) -> None:
        height, width = view.depth.values.shape
        self._view = view
        self._y = (np.arange(height) + 0.5) * (image_hw[0] / height)
        self._x = (np.arange(width) + 0.5) * (image_hw[1] / width)
        self.image_rows, self.image_columns = self._y.astype(int), self._x.astype(int)
        values = view.depth.values
        self._is_known = np.isfinite(values) & (values > 0)

    def find_step(self, masks: Sequence[MaskCrop], most: int) -> int:
        """Return the distance of the rows and columns that give at most so many points."""
        count = self._count(masks, 1)
        if count <= most:
            return 1
        step = math.isqrt(count // most)
        while self._count(masks, step) > most:
            step += 1
        return step

    def select(self, mask: MaskCrop, step: int) -> np.ndarray:
        """Return (2, P) rows and columns of the depth image, of known pixels in a mask."""
        return np.stack(np.nonzero(self._look(mask, step))) * step

    def lift(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return (P, 3) points in space of pixels; NaN where the lens cannot be undone."""
        depth = self._view.depth
        points_xy = np.stack([self._x[columns], self._y[rows]], axis=1)
        rays = cast_many_rays(self._view.camera, points_xy)
        depths_m = depth.values[rows, columns].astype(np.float64) * depth.unit_m
        ahead = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        return self._view.place(ahead * depths_m[:, None])

    def _count(self, masks: Sequence[MaskCrop], step: int) -> int:
        return sum(int(np.count_nonzero(self._look(mask, step))) for mask in masks)

    def _look(self, mask: MaskCrop, step: int) -> np.ndarray:
        """Return which pixels of every `step`-th row and column are known and in a mask."""
        inside = mask.look_up(self.image_rows[::step], self.image_columns[::step])
        return np.asarray(inside & self._is_known[::step, ::step])
