"""Where the boxes of tracks are expected: constant velocity, by a Kalman filter of each box.

Centre and size are filtered alike, so that one gain for each track serves all four. Uncertainties
are shares of the size of the box, so that near and far objects, small and large images are alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Standard deviation of a found box, as a share of its size.
_BOX_DEVIATION = 0.08
#: Of the speed of a new track, in sizes per second: a camera may turn.
_SPEED_DEVIATION = 4.0
#: Of the change of speed in one second, in sizes per second.
_TURN_DEVIATION = 1.5
#: A hidden object is expected to come to rest: it moves on for at most so many seconds.
_COAST_S = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """M moving boxes at one time, each at the frame that it was last seen in.

    Attributes:
        boxes_cxcywh: (M, 4) filtered centres and sizes in pixels.
        speeds: (M, 4) their change in pixels per second.
        spreads: (M, 3) variance of the box, covariance with the speed, variance of the speed, in
            sizes of the box and seconds.
    """

    boxes_cxcywh: np.ndarray
    speeds: np.ndarray
    spreads: np.ndarray

    def take(self, index: np.ndarray) -> Motion:
        """Return the boxes that `index` selects, in its order."""
        return Motion(self.boxes_cxcywh[index], self.speeds[index], self.spreads[index])

    def join(self, other: Motion) -> Motion:
        """Return these boxes and then the other ones."""
        return Motion(
            np.concatenate([self.boxes_cxcywh, other.boxes_cxcywh]),
            np.concatenate([self.speeds, other.speeds]),
            np.concatenate([self.spreads, other.spreads]),
        )

    def predict(self, elapsed_s: np.ndarray) -> Motion:
        """Return where the boxes are expected.

        Args:
            elapsed_s: (M,) seconds since each was seen, 0 or more.
        """
        passed_s = _COAST_S * -np.expm1(-elapsed_s / _COAST_S)
        boxes = self.boxes_cxcywh + self.speeds * passed_s[:, None]
        # A size that shrinks does not shrink to nothing.
        boxes[:, 2:] = np.maximum(boxes[:, 2:], self.boxes_cxcywh[:, 2:] / 2)
        place, joint, speed = self.spreads.T
        turn = _TURN_DEVIATION**2
        spreads = np.stack(
            [
                place + 2 * passed_s * joint + passed_s**2 * speed + turn * passed_s**3 / 3,
                joint + passed_s * speed + turn * passed_s**2 / 2,
                speed + turn * passed_s,
            ],
            axis=1,
        )
        return Motion(boxes, self.speeds, spreads)

    def correct(self, boxes_cxcywh: np.ndarray) -> Motion:
        """Return the boxes after each was found, (M, 4), as the mean of expected and found."""
        place, joint, speed = self.spreads.T
        noise = _BOX_DEVIATION**2
        gain, speed_gain = place / (place + noise), joint / (place + noise)
        missed = boxes_cxcywh - self.boxes_cxcywh
        return Motion(
            self.boxes_cxcywh + gain[:, None] * missed,
            self.speeds + speed_gain[:, None] * missed,
            np.stack([(1 - gain) * place, (1 - gain) * joint, speed - speed_gain * joint], axis=1),
        )


def start_motion(boxes_cxcywh: np.ndarray) -> Motion:
    """Return the motion of (M, 4) boxes that are seen for the first time."""
    count = len(boxes_cxcywh)
    return Motion(
        boxes_cxcywh,
        np.zeros((count, 4)),
        np.tile([_BOX_DEVIATION**2, 0.0, _SPEED_DEVIATION**2], (count, 1)),
    )
