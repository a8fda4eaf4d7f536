"""A labelled frame of the simulator, and what a task makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets.samples import LabelledObjects, LabelledPoses
from vl2_ros.sim.tabletop import TabletopObject


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A labelled frame.

    Attributes:
        rgb: (H, W, 3) uint8.
        instance_map: (H, W) uint8, 0 = none, i + 1 = `objects[i]`.
        objects: labelled objects.
    """

    rgb: np.ndarray
    instance_map: np.ndarray
    objects: tuple[TabletopObject, ...]

    def label(self, numbers: np.ndarray, classes: np.ndarray) -> LabelledObjects:
        """Return some objects as targets, with their masks.

        Args:
            numbers: (n,) int64, index of each.
            classes: (n,) int64, phrase of each.
        """
        boxes = np.array([self.objects[one].box_xyxy for one in numbers], np.float32)
        masks = self.instance_map[None] == (numbers + 1)[:, None, None]
        return LabelledObjects(boxes.reshape(-1, 4), classes, masks)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A conversation about a scene and what its answer is measured against.

    Attributes:
        rounds: questions and answers, see `TrainingSample`.
        targets: of its group.
        regions: (H, W) bool masks, in the order of the text.
    """

    rounds: tuple[tuple[str, str], ...]
    targets: LabelledObjects | LabelledPoses | None = None
    regions: tuple[np.ndarray, ...] = ()
