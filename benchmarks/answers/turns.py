"""Time actions in turns, on simulator frames that no model was trained on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.sim.tabletop import TabletopSimulator
from vl2_ros.structures import Frame

#: Reported numbers are measured on scenes from here on.
FIRST_SEED = 9_500_000


@dataclass(frozen=True, slots=True)
class Spent:
    """What the calls of one action took.

    Attributes:
        cpu_ms: processor time of each call, of all threads of the process.
        wall_ms: wall time of each call.
    """

    cpu_ms: list[float]
    wall_ms: list[float]

    @property
    def median_ms(self) -> float:
        """Return the median processor time of a call."""
        return statistics.median(self.cpu_ms)


def render_frames(count: int, width: int = 640, height: int = 480) -> list[Frame]:
    """Render held-out scenes; the stamps are those of a camera at 10 Hz."""
    with TabletopSimulator(width=width, height=height) as simulator:
        images = [np.array(simulator.render(FIRST_SEED + index).rgb) for index in range(count)]
    return [Frame(rgb, stamp_ns=(index + 1) * 10**8) for index, rgb in enumerate(images)]


def take_turns(
    actions: Mapping[str, Callable[[Frame], object]], frames: Sequence[Frame]
) -> dict[str, Spent]:
    """Call every action with each frame, one after the other, after a first frame that warms up.

    The order turns by one from frame to frame, so that none of them is always the first to see a
    frame.
    """
    spent = {name: Spent([], []) for name in actions}
    names = list(actions)
    for name in names:
        actions[name](frames[0])
    for index, frame in enumerate(frames):
        turn = index % len(names)
        for name in (*names[turn:], *names[:turn]):
            began, began_cpu = time.perf_counter(), time.process_time()
            actions[name](frame)
            spent[name].cpu_ms.append((time.process_time() - began_cpu) * 1e3)
            spent[name].wall_ms.append((time.perf_counter() - began) * 1e3)
    return spent


def ratio(slow: Spent, fast: Spent) -> float:
    """Return how many times more processor time the first takes: the median over the frames."""
    return statistics.median(a / b for a, b in zip(slow.cpu_ms, fast.cpu_ms, strict=True))
