"""Record frames and results as a file of Rerun: images, boxes, masks, keypoints, answers.

The package is imported when a recording is opened, as it is large and an extra of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.structures import Detections, Frame, Result
from vl2_ros.views.live.frames import encode_jpeg, select_branches
from vl2_ros.views.overlay import PALETTE

#: Entities of the recording, and its time: that of the camera.
IMAGE, BOXES, MASKS = "camera/image", "camera/image/boxes", "camera/image/masks"
POINTS, LINES, ANSWERS = "camera/image/keypoints", "camera/image/skeletons", "answers"
TIMELINE = "camera_time"
_MASK_OPACITY = 0.4


class RerunOutput:
    """Records every frame that it is shown, until it is closed.

    Args:
        path: of the recording, such as `out.rrd`.

    Raises:
        InputError: if the file is there already or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        import rerun

        if path.exists():
            raise InputError(f"{path} is there already; name another file or delete it")
        self._rerun = rerun
        self._stream = rerun.RecordingStream("vl2_ros")
        try:
            self._stream.save(path)
        except RuntimeError as error:
            raise InputError(
                f"cannot write {path}: {error}; expected a name such as out.rrd in a folder that "
                "is there"
            ) from error
        self._answered: set[tuple[str, int]] = set()

    @property
    def wants_frame(self) -> bool:
        """Return True: whoever records wants all of them."""
        return True

    def show(self, frame: Frame, results: Sequence[Result], age_s: float | None) -> None:
        """Record a frame, what was found, and the sentence of each answer once."""
        rerun, log = self._rerun, self._stream.log
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(frame.stamp_ns, "ns"))
        log(IMAGE, rerun.EncodedImage(contents=encode_jpeg(frame.rgb), media_type="image/jpeg"))
        found = [branch.detections for branch in select_branches(frame, results)]
        self._log_boxes(found)
        self._log_masks(found, frame.frame_hw)
        self._log_keypoints(found)
        drawn = {(one.command_id, one.stamp_ns): one.text for one in results}
        for key in drawn.keys() - self._answered:
            log(ANSWERS, rerun.TextLog(drawn[key]))
        self._answered = set(drawn)

    def close(self) -> None:
        """Write what is left and end the file."""
        self._stream.flush()
        self._stream.disconnect()

    def _log_boxes(self, found: Sequence[Detections]) -> None:
        labels = [label for one in found for label in _name(one)]
        boxes = [box for one in found for box in one.boxes_xyxy]
        logged = self._rerun.Boxes2D(
            array=np.array(boxes, np.float32).reshape(-1, 4),
            array_format=self._rerun.Box2DFormat.XYXY,
            labels=labels,
            colors=[PALETTE[index % len(PALETTE)] for index in range(len(boxes))],
        )
        self._stream.log(BOXES, logged)

    def _log_masks(self, found: Sequence[Detections], frame_hw: tuple[int, int]) -> None:
        crops = [crop for one in found if one.masks is not None for crop in one.masks.crops]
        numbers = np.zeros(frame_hw, np.uint16)
        # Weak ones first, so that the best stay on top.
        for number, crop in reversed(list(enumerate(crops, start=1))):
            numbers[crop.place][crop.pixels] = number
        self._stream.log(MASKS, self._rerun.SegmentationImage(numbers, opacity=_MASK_OPACITY))

    def _log_keypoints(self, found: Sequence[Detections]) -> None:
        posed = [one.keypoints for one in found if one.keypoints is not None]
        points = [xy for keypoints in posed for xy in keypoints.points_xy.reshape(-1, 2)]
        lines = [
            one[list(edge)]
            for keypoints in posed
            for one in keypoints.points_xy
            for edge in keypoints.edges
        ]
        self._stream.log(POINTS, self._rerun.Points2D(np.array(points, np.float32).reshape(-1, 2)))
        self._stream.log(LINES, self._rerun.LineStrips2D(lines))


def _name(found: Detections) -> list[str]:
    labels = [f"{label} {score:.2f}" for _, score, label in found]
    if found.track_ids is None:
        return labels
    return [
        f"{label} #{track}" if track else label
        for label, track in zip(labels, found.track_ids, strict=True)
    ]
