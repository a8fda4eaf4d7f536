"""Render household scenes into tar shards, and read a scene of one.

A scene is three members: `00000042.rgb.jpg` (as a cheap camera sees it), `00000042.instances.png`
(grey, 0 for none, i + 1 for object i) and `00000042.objects.json`. At 320x240 pixels it takes about
20 kB, a tenth of its arrays. A shard appears when it is whole; interrupted rendering resumes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.reading.tar_shards import write_shard
from vl2_ros.datasets.samples import LabelledObjects
from vl2_ros.documents import read_json_object, write_whole
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.processing.images.image_file import read_image
from vl2_ros.sim.household.household import HouseholdFrame, HouseholdSimulator
from vl2_ros.sim.household.labels import HouseholdObject
from vl2_ros.sim.household.photograph import photograph

RGB, INSTANCES, OBJECTS = PARTS = ("rgb.jpg", "instances.png", "objects.json")
#: Scenes of a shard; a multiple of those that share their models.
SHARD_SCENES = 500
#: File that a folder of shards is known by.
SHARD_SETTINGS = "household.json"
_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True, eq=False)
class HouseholdScene:
    """A labelled image.

    Attributes:
        rgb: (H, W, 3) uint8.
        instance_map: (H, W) uint8, 0 = none, i + 1 = `objects[i]`.
        objects: labelled objects.
    """

    rgb: np.ndarray
    instance_map: np.ndarray
    objects: tuple[HouseholdObject, ...]

    def label(self, numbers: np.ndarray, classes: np.ndarray) -> LabelledObjects:
        """Return some objects as targets, with their masks.

        Args:
            numbers: (n,) int64, index of each.
            classes: (n,) int64, phrase of each.
        """
        boxes = np.array([self.objects[one].box_xyxy for one in numbers], np.float32)
        masks = self.instance_map[None] == (numbers + 1)[:, None, None]
        return LabelledObjects(boxes.reshape(-1, 4), classes, masks)


def render_shards(
    folder: Path,
    seeds: range,
    *,
    catalogues: Path | None = None,
    cache: Path | None = None,
    width: int = 320,
    height: int = 240,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render the scenes of some seeds into shards; those that are there are kept.

    Args:
        folder: made when missing.
        seeds: range with step 1 that begins with a shard.
        catalogues: as the simulator takes them.
        cache: likewise.
        width: image width in pixels.
        height: image height in pixels.
        progress: called as (finished scenes, all scenes) after each scene.

    Raises:
        InputError: if the seeds are no such range.
        ConfigError: if the folder has scenes of another size.
        SimulationError: if this machine cannot render.
    """
    if seeds.step != 1 or not len(seeds) or seeds.start < 0 or seeds.start % SHARD_SCENES:
        raise InputError(
            f"seeds must be a range of step 1 from a multiple of {SHARD_SCENES} on, got {seeds}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _check_settings(folder, {"format": 1, "width": width, "height": height})
    simulator = HouseholdSimulator(catalogues=catalogues, cache=cache, width=width, height=height)
    with simulator:
        for start in range(seeds.start, seeds.stop, SHARD_SCENES):
            shard = range(start, min(start + SHARD_SCENES, seeds.stop))
            path = folder / f"seeds-{shard.start:08d}-{shard.stop:08d}.tar"
            if path.exists():
                continue

            def show(scene: int, done: int = start - seeds.start) -> None:
                if progress is not None:
                    progress(done + scene, len(seeds))

            write_shard(path, _encode_scenes(simulator, shard, show))


def _check_settings(folder: Path, wanted: dict[str, int]) -> None:
    path = folder / SHARD_SETTINGS
    if not path.is_file():

        def write(partial: Path) -> None:
            partial.write_text(json.dumps(wanted))

        write_whole(path, write)
        return
    found = read_json_object(path, ConfigError, advice="choose another folder")
    if found != wanted:
        raise ConfigError(f"{folder} has scenes of {found}, asked for {wanted}; choose another one")


def _encode_scenes(
    simulator: HouseholdSimulator, seeds: range, show: Callable[[int], None]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    for done, seed in enumerate(seeds, start=1):
        yield f"{seed:08d}", encode_scene(simulator.render(seed), np.random.default_rng([5, seed]))
        show(done)


def encode_scene(frame: HouseholdFrame, rng: np.random.Generator) -> dict[str, bytes]:
    """Return the parts of a frame, its image with the faults of a camera."""
    bgr = cv2.cvtColor(photograph(frame.rgb, rng), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    _, png = cv2.imencode(".png", frame.instance_map)
    objects = [asdict(one) for one in frame.objects]
    for entry in objects:
        entry["visible_share"] = round(entry["visible_share"], 3)
        entry["keypoints"] = {
            name: (round(x, 2), round(y, 2), visible)
            for name, (x, y, visible) in entry["keypoints"].items()
        }
    return {
        RGB: jpeg.tobytes(),
        INSTANCES: png.tobytes(),
        OBJECTS: json.dumps(objects).encode(),
    }


def decode_scene(rgb: bytes, instances: bytes, objects: bytes) -> HouseholdScene:
    """Return the scene of a record's parts.

    Raises:
        BadRecordError: if they are damaged or do not fit each other.
    """
    try:
        frame = read_image(rgb)
        with Image.open(io.BytesIO(instances)) as image:
            instance_map = np.array(image)
        read = tuple(_read_object(one) for one in json.loads(objects))
    except (InputError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadRecordError("records", "scene damaged", str(error)) from error
    is_map = instance_map.dtype == np.uint8 and instance_map.shape == frame.frame_hw
    if not is_map or instance_map.max(initial=0) > len(read):
        raise BadRecordError("records", "scene damaged", "instances do not fit image and objects")
    return HouseholdScene(frame.rgb, instance_map, read)


def _read_object(entry: dict) -> HouseholdObject:
    points = {name: (float(x), float(y), bool(v)) for name, (x, y, v) in entry["keypoints"].items()}
    x1, y1, x2, y2 = (float(side) for side in entry["box_xyxy"])
    return HouseholdObject(**(entry | {"box_xyxy": (x1, y1, x2, y2), "keypoints": points}))
