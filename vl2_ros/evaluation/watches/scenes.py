"""What the modes of a watch are compared on: simulated orbits with labels, or any frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from vl2_ros.datasets.nouns import phrase_of
from vl2_ros.errors import InputError
from vl2_ros.sim.scene import sample_scene
from vl2_ros.sim.tabletop import TabletopFrame, TabletopSimulator
from vl2_ros.structures import Frame

FRAME_WIDTH, FRAME_HEIGHT = 640, 480
PERIOD_NS = 33_333_333


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """An object that is visible in a frame.

    Attributes:
        box_xyxy: its corners in camera pixels.
        names: what it may be asked for by.
    """

    box_xyxy: tuple[float, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class WatchedFrame:
    """A frame and what is visible in it; None where that is not known."""

    frame: Frame
    objects: tuple[LabelledBox, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WatchedScene:
    """Frames that follow each other and the sentence of the watch.

    Attributes:
        sentence: what is asked.
        count: most frames that there are.
        frames: read once.
    """

    sentence: str
    count: int
    frames: Iterable[WatchedFrame]


def simulate_scenes(
    seeds: range, count: int, turn_degrees: float, sentence: str = ""
) -> list[WatchedScene]:
    """Make scenes of a camera that goes around a tabletop; frames are rendered when they are read.

    Args:
        seeds: one scene each; held-out ones start at 1,000,000.
        count: frames of each.
        turn_degrees: of the camera between two frames.
        sentence: what is asked; empty: to find everything that the scene has, by colour and kind.

    Raises:
        InputError: if the camera turns by no more than 0 degrees or more than a whole circle.
    """
    if not 0.0 < turn_degrees <= 360.0:
        raise InputError(f"a turn must be above 0 and at most 360 degrees, got {turn_degrees}")
    steps = round(360.0 / turn_degrees)
    return [
        WatchedScene(sentence or _ask_for_all(seed), min(count, steps), _render(seed, steps, count))
        for seed in seeds
    ]


def read_scene(frames: Iterable[Frame], count: int, sentence: str) -> WatchedScene:
    """Make a scene of the first `count` frames of a recording, of which no label is known."""
    return WatchedScene(sentence, count, map(WatchedFrame, islice(frames, count)))


def _ask_for_all(seed: int) -> str:
    labelled = (one for one in sample_scene(seed).pieces if one.is_labelled)
    names = dict.fromkeys(phrase_of(one.color, one.kind) for one in labelled)
    return f"find the {', the '.join(names)}"


def _render(seed: int, steps: int, count: int) -> Iterator[WatchedFrame]:
    with TabletopSimulator(width=FRAME_WIDTH, height=FRAME_HEIGHT) as simulator:
        for index, view in enumerate(islice(simulator.render_orbit(seed, steps), count)):
            # Stamps begin at one period: 0 is an unknown stamp.
            frame = Frame(np.array(view.rgb), (index + 1) * PERIOD_NS, "camera")
            yield WatchedFrame(frame, _list_objects(view))


def _list_objects(view: TabletopFrame) -> tuple[LabelledBox, ...]:
    return tuple(
        LabelledBox(tuple(one.box_xyxy), (one.kind, phrase_of(one.color, one.kind)))
        for one in view.objects
    )
