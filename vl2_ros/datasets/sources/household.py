"""Simulated household scenes of tar shards, as commands and questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vl2_ros.datasets.commands import CommandExample, sample_class_list, sample_perception
from vl2_ros.datasets.household.poses import PERSON, ask_poses
from vl2_ros.datasets.household.questions import sample_household_text
from vl2_ros.datasets.household.shards import OBJECTS, PARTS, HouseholdScene, decode_scene
from vl2_ros.datasets.household.things import HOUSEHOLD
from vl2_ros.datasets.reading.tar_shards import TarShards, list_shards
from vl2_ros.datasets.samples import Group, LabelledObjects, LabelledPoses, TrainingSample
from vl2_ros.datasets.scene_text import SceneObject
from vl2_ros.datasets.sources.labelled_source import LabelledSource, SourceOptions
from vl2_ros.errors import ConfigError
from vl2_ros.structures import Frame

#: Draws a command about a scene and its answer.
Sampler = Callable[[np.random.Generator, Sequence[SceneObject]], CommandExample]
#: Task -> what draws a command and its answer.
HOUSEHOLD_SAMPLERS: dict[str, Sampler] = {
    "perception": partial(sample_perception, world=HOUSEHOLD),
    "class_lists": partial(sample_class_list, max_names=24, world=HOUSEHOLD),
    "text": sample_household_text,
}
_POSES = "poses"
_GROUPS = {
    "perception": Group.DETECTION,
    "class_lists": Group.DETECTION,
    "text": Group.TEXT,
    _POSES: Group.POSE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseholdOptions(SourceOptions):
    """Options of household scenes.

    Attributes:
        path: shards of `render_shards`: a tar file or their folder.
        task: "perception" (commands as they are spoken), "class_lists", "text" or "poses".
    """

    path: Path
    task: str = "perception"

    def __post_init__(self) -> None:
        """Check the task."""
        if self.task not in _GROUPS:
            raise ConfigError(f"task must be one of {', '.join(_GROUPS)}, got {self.task!r}")


class Household(LabelledSource):
    """Commands about household scenes.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: HouseholdOptions) -> None:
        """List the records of the shards."""
        super().__init__(options, options.path)
        self._task = options.task
        self.group = _GROUPS[options.task]  # type: ignore[misc]
        self._shards = TarShards(list_shards(options.path), PARTS, self.report)
        self._records = list(range(len(self._shards)))
        if self._task == _POSES:
            self._records = [one for one in self._records if self._shows_people(one)]

    def _shows_people(self, record: int) -> bool:
        return f'"{PERSON}"'.encode() in self._shards.read(record, OBJECTS)

    def __len__(self) -> int:
        """Return the number of scenes; of those with people for the task "poses"."""
        return len(self._records)

    def key(self, index: int) -> str:
        """Return the name of the record, which is its seed."""
        return self._shards.names[self._records[index]]

    def read_scene(self, index: int) -> HouseholdScene:
        """Return a scene.

        Raises:
            BadRecordError: if the record is damaged.
        """
        record = self._records[index]
        return decode_scene(*(self._shards.read(record, part) for part in PARTS))

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        scene = self.read_scene(index)
        if self._task == _POSES:
            said, targets = ask_poses(scene, rng, self._wording(rng))
            return self._finish(index, said, scene, targets)
        example = HOUSEHOLD_SAMPLERS[self._task](rng, scene.objects)
        said = (example.question, example.answer)
        if self.group is Group.TEXT:
            return self._finish(index, said, scene, None)
        pairs = [(one, phrase) for phrase, found in enumerate(example.targets) for one in found]
        numbers, phrases = np.array(pairs, np.int64).reshape(-1, 2).T
        return self._finish(index, said, scene, scene.label(numbers, phrases))

    def _finish(
        self,
        index: int,
        said: tuple[str, str],
        scene: HouseholdScene,
        targets: LabelledObjects | LabelledPoses | None,
    ) -> TrainingSample:
        frame = Frame(scene.rgb)
        return TrainingSample(self.group, (said,), (frame,), targets=targets, key=self.key(index))
