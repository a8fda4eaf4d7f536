"""Simulated household scenes of tar shards, as commands and questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vl2_ros.datasets.commands import CommandExample, sample_class_list, sample_perception
from vl2_ros.datasets.household.questions import sample_household_text
from vl2_ros.datasets.household.shards import PARTS, HouseholdScene, decode_scene
from vl2_ros.datasets.household.things import HOUSEHOLD
from vl2_ros.datasets.reading.tar_shards import TarShards, list_shards
from vl2_ros.datasets.samples import Group, TrainingSample
from vl2_ros.datasets.scene_text import SceneObject
from vl2_ros.datasets.sources.labelled_source import LabelledSource, SourceOptions
from vl2_ros.datasets.sources.simulator import gather_targets
from vl2_ros.errors import ConfigError
from vl2_ros.structures import Frame

_Sampler = Callable[[np.random.Generator, Sequence[SceneObject]], CommandExample]
#: Task -> what draws a command and its answer.
HOUSEHOLD_SAMPLERS: dict[str, _Sampler] = {
    "perception": partial(sample_perception, world=HOUSEHOLD),
    "class_lists": partial(sample_class_list, max_names=24, world=HOUSEHOLD),
    "text": sample_household_text,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseholdOptions(SourceOptions):
    """Options of household scenes.

    Attributes:
        path: shards of `render_shards`: a tar file or their folder.
        task: "perception" (commands as they are spoken), "class_lists" or "text".
    """

    path: Path
    task: str = "perception"

    def __post_init__(self) -> None:
        """Check the task."""
        if self.task not in HOUSEHOLD_SAMPLERS:
            raise ConfigError(
                f"task must be one of {', '.join(HOUSEHOLD_SAMPLERS)}, got {self.task!r}"
            )


class Household(LabelledSource):
    """Commands about household scenes.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: HouseholdOptions) -> None:
        """List the records of the shards."""
        super().__init__(options, options.path)
        self._sampler = HOUSEHOLD_SAMPLERS[options.task]
        if options.task == "text":
            self.group = Group.TEXT  # type: ignore[misc]
        self._shards = TarShards(list_shards(options.path), PARTS, self.report)

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self._shards)

    def key(self, index: int) -> str:
        """Return the name of the record, which is its seed."""
        return self._shards.names[index]

    def read_scene(self, index: int) -> HouseholdScene:
        """Return a scene.

        Raises:
            BadRecordError: if the record is damaged.
        """
        return decode_scene(*(self._shards.read(index, part) for part in PARTS))

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        scene = self.read_scene(index)
        example = self._sampler(rng, scene.objects)
        return TrainingSample(
            self.group,
            ((example.question, example.answer),),
            (Frame(scene.rgb),),
            targets=None if self.group is Group.TEXT else gather_targets(example, scene),
            key=self.key(index),
        )
