"""Read masks of messages: uncompressed COCO run lengths, as in InstanceMask.counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from vl2_ros.structures import RunLengths


def read_mask(message: Any) -> RunLengths:
    """Read a vl2_ros/InstanceMask; no pixel of it is made.

    Raises:
        InputError: if the runs do not add up to the size, or the size is over the pixel limit.
    """
    counts = np.asarray(message.counts, np.uint32)
    return RunLengths((int(message.height), int(message.width)), counts)
