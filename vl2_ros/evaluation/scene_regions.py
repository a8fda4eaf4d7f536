"""Score what a model says of things that are pointed at, and the masks that it cuts out for them.

Things are pointed at by a point, a box and a scribble in turn, drawn from what is seen of them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vl2_ros.datasets.simulated.regions import MARKS, point_at
from vl2_ros.datasets.simulated.scene import Scene
from vl2_ros.processing.images.regions import draw_prompt
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.sim.tabletop import TabletopFrame
from vl2_ros.structures import Command, Frame, Result

#: Things of a scene that are pointed at, and scenes; generation takes most of the time.
_MOST_THINGS, _MOST_FRAMES = 3, 100
_WORD = re.compile(r"[a-z]+")


class RegionPipeline(Protocol):
    """The evaluated model."""

    def answer(self, frame: Frame, command: Command) -> Result:
        """Return the complete answer to one command."""


@dataclass(slots=True)
class SceneRegionScores:
    """Collects the answers about things that are pointed at."""

    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    _frames: int = 0
    _right: list[bool] = field(default_factory=list)
    _names: list[tuple[str, str]] = field(default_factory=list)
    _ious: list[float] = field(default_factory=list)
    _mark_ious: list[float] = field(default_factory=list)

    def add(self, pipeline: RegionPipeline, frame: Frame, view: TabletopFrame) -> None:
        """Ask about some things of the view; enough views were seen at some time."""
        self._frames += 1
        if self._frames > _MOST_FRAMES:
            return
        scene = Scene(view.rgb, view.instance_map, view.objects)
        for number in self._rng.permutation(len(view.objects))[:_MOST_THINGS].tolist():
            item, truth = view.objects[number], view.instance_map == number + 1
            mark = point_at(scene, number, MARKS[len(self._right) % len(MARKS)], self._rng)
            said = pipeline.answer(frame, Command("what is this?", visual_prompts=(mark,)))
            # Both words right, and no others beside them.
            self._right.append(_list_names(said) == ([item.color], [item.kind]))
            self._names.append((item.color, item.kind))
            cut = pipeline.answer(
                frame, Command("segment this", score_threshold=0.0, visual_prompts=(mark,))
            )
            self._ious.append(_measure(_find_mask(cut, truth), truth))
            self._mark_ious.append(_measure(draw_prompt(mark, truth.shape), truth))

    def to_dict(self) -> dict[str, float]:
        """Return the shares of right names and the mean IoU of the masks, where there are any.

        Chance is the most frequent name, and the mark itself taken as the mask.
        """
        if not self._right:
            return {}
        most = Counter(self._names).most_common(1)[0][1]
        return {
            "region_accuracy": float(np.mean(self._right)),
            "region_chance": most / len(self._names),
            "interactive_miou": float(np.mean(self._ious)),
            "interactive_chance": float(np.mean(self._mark_ious)),
        }


def _list_names(said: Result) -> tuple[list[str], list[str]]:
    """Return the colours and the kinds that the model's own words name."""
    words = _WORD.findall((said.raw_text or said.text).lower())
    return [one for one in words if one in COLORS], [one for one in words if one in KINDS]


def _find_mask(result: Result, truth: np.ndarray) -> np.ndarray:
    """Return the best-scored mask; an empty one where there is none."""
    for branch in result.branches:
        found = branch.detections
        if found.masks is not None and len(found):
            return np.asarray(found.masks[int(np.argmax(found.scores))], np.bool_)
    return np.zeros_like(truth)


def _measure(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / max((mask | truth).sum(), 1))
