"""The simulated tabletop: rendered when a sample is made, from a cache, or from tar shards."""

from __future__ import annotations

import io
import json
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vl2_ros.datasets.commands import (
    CommandExample,
    sample_class_list,
    sample_perception,
    sample_words,
)
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.reading.tar_shards import TarShards, list_shards
from vl2_ros.datasets.samples import Group, LabelledObjects, TrainingSample
from vl2_ros.datasets.scene_questions.relations import place_objects
from vl2_ros.datasets.scene_text import SceneObject
from vl2_ros.datasets.simulated.poses import make_pose_commands, make_poses
from vl2_ros.datasets.simulated.regions import make_interactive, make_region_names
from vl2_ros.datasets.simulated.scene import Scene, Task
from vl2_ros.datasets.sources.labelled_source import LabelledSource, SourceOptions
from vl2_ros.datasets.tabletop import CACHE_SETTINGS, TabletopCache
from vl2_ros.errors import ConfigError, InputError, SimulationError
from vl2_ros.processing.images.image_file import read_image
from vl2_ros.sim.tabletop import TabletopObject, TabletopSimulator
from vl2_ros.structures import Frame

RGB, INSTANCES, OBJECTS = PARTS = ("rgb.png", "instances.png", "objects.json")
_Sample = Callable[[np.random.Generator, Sequence[SceneObject]], CommandExample]
_Make = Callable[[Scene, np.random.Generator, np.random.Generator | None], Task]


def _make_command(
    sample: _Sample, scene: Scene, rng: np.random.Generator, words: np.random.Generator | None
) -> Task:
    """Draw a command; its wording is drawn even for evaluation."""
    example = sample(rng, scene.objects)
    return Task(((example.question, example.answer),), gather_targets(example, scene))


def _make_words(scene: Scene, rng: np.random.Generator, words: np.random.Generator | None) -> Task:
    """Draw a question that is answered in words, its wording as well."""
    example = sample_words(rng, place_objects(scene.objects, scene.instance_map.shape))
    return Task(((example.question, example.answer),))


#: Task -> group of its samples, and what makes them.
TASKS: Mapping[str, tuple[Group, _Make]] = {
    "perception": (Group.DETECTION, partial(_make_command, sample_perception)),
    "class_lists": (Group.DETECTION, partial(_make_command, sample_class_list)),
    "text": (Group.TEXT, _make_words),
    "poses": (Group.POSE, make_poses),
    "pose_commands": (Group.POSE, make_pose_commands),
    "region_names": (Group.TEXT, make_region_names),
    "interactive": (Group.DETECTION, make_interactive),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions(SourceOptions):
    """Options of simulated scenes.

    Attributes:
        path: cache of `render_cache`, tar file or folder of tar files; None renders.
        task: what is asked for, one of `TASKS`: commands as they are spoken, lists of classes,
            words, keypoints, keypoints as people ask for them, names and masks of things that are
            pointed at.
        seeds: first and last + 1 of the rendered scenes; below 1,000,000 to train on.
        width: of rendered images in pixels.
        height: likewise.
    """

    path: Path | None = None
    task: str = "perception"
    seeds: tuple[int, ...] = (0, 20_000)
    width: int = 320
    height: int = 240

    def __post_init__(self) -> None:
        """Check task and seeds."""
        if self.task not in TASKS:
            raise ConfigError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        if len(self.seeds) != 2 or self.seeds[1] <= self.seeds[0]:
            raise ConfigError(f"seeds must be [first, last + 1], got {list(self.seeds)}")


class Simulator(LabelledSource):
    """Commands about simulated scenes.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: SimulatorOptions) -> None:
        """Open the cache or the shards; a renderer is opened with the first sample."""
        super().__init__(options, options.path or Path("simulator"))
        self._options = options
        self.group, self._make_task = TASKS[options.task]  # type: ignore[misc]
        self._cache: TabletopCache | None = None
        self._shards: TarShards | None = None
        #: With the process that it was opened in.
        self._renderer: tuple[int, TabletopSimulator] | None = None
        if options.path is None:
            self.report.totals["records"] = len(self)
        elif (options.path / CACHE_SETTINGS).is_file():
            self._cache = TabletopCache(options.path)
            self.report.totals["records"] = len(self)
        else:
            self._shards = TarShards(list_shards(options.path), PARTS, self.report)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the renderer behind, which belongs to its thread."""
        return self.__dict__ | {"_renderer": None}

    def __len__(self) -> int:
        """Return the number of scenes."""
        if self._cache is not None:
            return len(self._cache)
        if self._shards is not None:
            return len(self._shards)
        return self._options.seeds[1] - self._options.seeds[0]

    def key(self, index: int) -> str:
        """Return the seed, or the name of the record."""
        if self._shards is not None:
            return self._shards.names[index]
        seed = self._cache[index].seed if self._cache else self._options.seeds[0] + index
        return f"seed {seed}"

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        scene = self.read_scene(index)
        task = self._make_task(scene, rng, self._wording(rng))
        return TrainingSample(
            self.group,
            task.rounds,
            (Frame(scene.rgb),),
            task.regions,
            (0,) * len(task.regions),
            task.targets,
            self.key(index),
        )

    def read_scene(self, index: int) -> Scene:
        """Return a labelled frame.

        Raises:
            BadRecordError: if the record of a shard is damaged.
            SimulationError: if frames cannot be rendered here.
        """
        if self._shards is not None:
            return _decode_scene(*(self._shards.read(index, part) for part in PARTS))
        if self._cache is not None:
            record = self._cache[index]
            return Scene(np.array(record.rgb), np.array(record.instance_map), record.objects)
        frame = self._open_renderer().render(self._options.seeds[0] + index)
        return Scene(frame.rgb, frame.instance_map, frame.objects)

    def _open_renderer(self) -> TabletopSimulator:
        """Return the renderer of this process.

        Raises:
            SimulationError: in a process that was forked after its parent had rendered.
        """
        process = os.getpid()
        if self._renderer is None:
            options = self._options
            renderer = TabletopSimulator(width=options.width, height=options.height)
            # OpenGL cannot be closed any more while the interpreter ends.
            weakref.finalize(self, renderer.close)
            self._renderer = (process, renderer)
        if self._renderer[0] != process:
            # OpenGL waits for ever for threads that a fork does not have.
            raise SimulationError(
                f"{self.name} cannot render in a process that was forked after the first image; "
                "start the workers by spawn, or read the scenes from a cache or shards"
            )
        return self._renderer[1]


def gather_targets(example: CommandExample, scene: Scene) -> LabelledObjects:
    """Return the objects of the phrases of a command; one that is named twice is there twice."""
    pairs = [(one, phrase) for phrase, found in enumerate(example.targets) for one in found]
    return scene.label(*np.array(pairs, np.int64).reshape(-1, 2).T)


def encode_scenes(
    seeds: Sequence[int], *, width: int = 320, height: int = 240
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Render scenes as records of `write_shards`.

    Yields:
        The seed with eight digits, and the parts `rgb.png`, `instances.png` (grey, 0 = none, i + 1
        = object i) and `objects.json` (list of objects, their boxes in pixels).
    """
    with TabletopSimulator(width=width, height=height) as simulator:
        for seed in seeds:
            frame = simulator.render(seed)
            objects = [asdict(one) for one in frame.objects]
            yield (
                f"{seed:08d}",
                {
                    RGB: _encode_png(frame.rgb),
                    INSTANCES: _encode_png(frame.instance_map),
                    OBJECTS: json.dumps(objects).encode(),
                },
            )


def _encode_png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _decode_scene(rgb: bytes, instances: bytes, objects: bytes) -> Scene:
    try:
        frame = read_image(rgb)
        with Image.open(io.BytesIO(instances)) as image:
            instance_map = np.array(image)
        read = tuple(
            TabletopObject(**(one | {"box_xyxy": tuple(one["box_xyxy"])}))
            for one in json.loads(objects)
        )
    except (InputError, OSError, ValueError, TypeError, KeyError) as error:
        raise BadRecordError("records", "scene damaged", str(error)) from error
    is_map = instance_map.dtype == np.uint8 and instance_map.shape == frame.frame_hw
    if not is_map or instance_map.max(initial=0) > len(read):
        raise BadRecordError("records", "scene damaged", "instances do not fit image and objects")
    return Scene(frame.rgb, instance_map, read)
