"""Render seeds into a cache of frames on disk, and read frames from the cache.

A cache is a folder of chunks (one sub-folder per run of seeds) with `rgb.npy`, `instances.npy` and
`objects.json`. A chunk appears by one rename when it is complete, so that a cache can be read
while later chunks are still rendered, and interrupted rendering resumes. A chunk that
was damaged since, by a full disk or a copy that ended early, is rendered again.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.documents import MAX_LIST_BYTES, check_int, check_list, read_json_object, take_int
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.sim.tabletop import TabletopFrame, TabletopObject, TabletopSimulator

logger = logging.getLogger(__name__)

CHUNK_FRAMES = 500
_MAX_SIDE = 1 << 14
FORMAT = 1
#: File that a cache is known by.
CACHE_SETTINGS = "cache.json"


@dataclass(frozen=True, slots=True, eq=False)
class TabletopRecord:
    """One cached frame; the arrays are read-only views of the files.

    Attributes:
        seed: scene seed.
        rgb: (H, W, 3) uint8.
        instance_map: (H, W) uint8, 0 = none, i + 1 = `objects[i]`.
        objects: labelled objects.
    """

    seed: int
    rgb: np.ndarray
    instance_map: np.ndarray
    objects: tuple[TabletopObject, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    seeds: range
    rgb: np.ndarray
    instances: np.ndarray
    objects: list[list[dict[str, Any]]]


def render_cache(
    folder: str | Path,
    seeds: range,
    *,
    width: int = 320,
    height: int = 240,
    processes: int = 2,
    chunk_frames: int = CHUNK_FRAMES,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render the frames of a run of seeds; finished chunks are kept, damaged ones replaced.

    One call at a time per folder. Workers are spawned, so a script that calls this needs the
    `if __name__ == "__main__"` guard.

    Args:
        folder: made when missing.
        seeds: range with step 1.
        width: image width in pixels.
        height: image height in pixels.
        processes: number of worker processes.
        chunk_frames: frames per chunk.
        progress: called as (finished frames, all frames) after each chunk.

    Raises:
        InputError: if the range has another step, or a number is not positive.
        ConfigError: if the folder has frames of another size or other chunk borders.
        SimulationError: if this machine cannot render.
    """
    _check_request(seeds, processes, chunk_frames)
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    _check_settings(
        root,
        {
            "format": FORMAT,
            "width": width,
            "height": height,
            "chunk_frames": chunk_frames,
            "first_seed": seeds.start,
        },
    )
    starts = range(seeds.start, seeds.stop, chunk_frames)
    chunks = [range(start, min(start + chunk_frames, seeds.stop)) for start in starts]
    missing = [chunk for chunk in chunks if not _is_whole(root, chunk, width, height)]
    done = len(seeds) - sum(len(chunk) for chunk in missing)
    for chunk in _render_chunks(root, missing, width, height, processes):
        done += len(chunk)
        if progress is not None:
            progress(done, len(seeds))


def _is_whole(root: Path, seeds: range, width: int, height: int) -> bool:
    """Return whether a chunk exists and can be read."""
    folder = _chunk_folder(root, seeds)
    if not folder.exists():
        return False
    try:
        found = _open_chunk(folder, width, height).seeds
    except ConfigError as error:
        logger.warning("rendering again: %s", error)
        return False
    if found != seeds:
        logger.warning("rendering again: %s has the seeds %s", folder, found)
    return found == seeds


def _check_request(seeds: range, processes: int, chunk_frames: int) -> None:
    if seeds.step != 1 or len(seeds) == 0 or seeds.start < 0:
        raise InputError(f"seeds must be a range of step 1 from 0 or more, got {seeds}")
    if processes < 1 or chunk_frames < 1:
        raise InputError(
            f"processes and chunk_frames must be at least 1, got {processes} and {chunk_frames}"
        )


def _render_chunks(
    root: Path, chunks: list[range], width: int, height: int, processes: int
) -> Iterator[range]:
    """Render chunks in worker processes; yield each when it is finished."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = {pool.submit(_render_chunk, root, chunk, width, height): chunk for chunk in chunks}
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        finally:
            # After an error or an interruption, chunks that wait must not be started.
            pool.shutdown(wait=False, cancel_futures=True)


class TabletopCache(Sequence[TabletopRecord]):
    """The finished chunks of a cache folder as one sequence, in the order of seeds.

    `refresh()` adds chunks that were finished since; an index may then name another frame.

    Args:
        folder: what `render_cache` wrote.

    Raises:
        ConfigError: if the folder is no cache of this format.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open every finished chunk."""
        self._root = Path(folder)
        settings = _read_settings(self._root)
        if settings is None or settings.get("format") != FORMAT:
            raise ConfigError(
                f"{self._root} is no tabletop cache of format {FORMAT}; make one with render_cache"
            )
        self.width = take_int(settings, "width", least=1, most=_MAX_SIDE)
        self.height = take_int(settings, "height", least=1, most=_MAX_SIDE)
        self._chunks: dict[str, _Chunk] = {}
        self._positions: list[tuple[str, int]] = []
        self.refresh()

    def refresh(self) -> int:
        """Open chunks that were finished since; return the number of frames."""
        for folder in sorted(self._root.glob("seeds_*")):
            if folder.name not in self._chunks:
                self._chunks[folder.name] = _open_chunk(folder, self.width, self.height)
        ordered = sorted(self._chunks.items(), key=lambda item: item[1].seeds.start)
        self._positions = [(name, i) for name, chunk in ordered for i in range(len(chunk.seeds))]
        return len(self._positions)

    def __len__(self) -> int:
        """Return the number of frames that can be read."""
        return len(self._positions)

    def __getitem__(self, index: int) -> TabletopRecord:  # type: ignore[override]
        """Return one frame without copying its arrays."""
        name, row = self._positions[index]
        chunk = self._chunks[name]
        try:
            objects = tuple(_read_object(entry) for entry in chunk.objects[row])
        except (AttributeError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self._root / name} describes frame {row} wrongly ({error}); delete it and "
                "render it again"
            ) from error
        return TabletopRecord(chunk.seeds[row], chunk.rgb[row], chunk.instances[row], objects)


def _check_settings(root: Path, wanted: dict[str, int]) -> None:
    found = _read_settings(root)
    if found is None:
        partial = root / f"{CACHE_SETTINGS}.{os.getpid()}"
        partial.write_text(json.dumps(wanted))
        partial.replace(root / CACHE_SETTINGS)
    elif found != wanted:
        raise ConfigError(
            f"{root} was rendered with {found}, asked for {wanted}; choose another folder"
        )


def _read_settings(root: Path) -> dict[str, int] | None:
    path = root / CACHE_SETTINGS
    if not path.is_file():
        return None
    advice = "delete the folder and render it again"
    values = read_json_object(path, ConfigError, advice=advice)
    return {name: check_int(f"{path}: {name}", value) for name, value in values.items()}


def _chunk_folder(root: Path, seeds: range) -> Path:
    return root / f"seeds_{seeds.start:08d}_{seeds.stop:08d}"


def _render_chunk(root: Path, seeds: range, width: int, height: int) -> None:
    """Render one chunk into a partial folder and rename it; runs in a worker process."""
    final = _chunk_folder(root, seeds)
    partial = root / f"partial_{final.name}_{os.getpid()}"
    for stale in root.glob(f"partial_{final.name}_*"):  # of a run that was killed
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir()
    rgb = np.lib.format.open_memmap(
        partial / "rgb.npy", mode="w+", dtype=np.uint8, shape=(len(seeds), height, width, 3)
    )
    instances = np.lib.format.open_memmap(
        partial / "instances.npy", mode="w+", dtype=np.uint8, shape=(len(seeds), height, width)
    )
    entries = []
    try:
        with TabletopSimulator(width=width, height=height) as simulator:
            for index, seed in enumerate(seeds):
                frame = simulator.render(seed)
                rgb[index], instances[index] = frame.rgb, frame.instance_map
                entries.append(_write_objects(frame))
        rgb.flush()
        instances.flush()
        document = {"first_seed": seeds.start, "frames": entries}
        (partial / "objects.json").write_text(json.dumps(document))
        _remove(final)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_objects(frame: TabletopFrame) -> list[dict[str, Any]]:
    entries = [asdict(item) for item in frame.objects]
    for entry in entries:
        entry["keypoints"] = {
            name: (round(x, 2), round(y, 2), visible)
            for name, (x, y, visible) in entry["keypoints"].items()
        }
    return entries


def _read_object(entry: dict[str, Any]) -> TabletopObject:
    return TabletopObject(
        kind=entry["kind"],
        color=entry["color"],
        box_xyxy=tuple(entry["box_xyxy"]),
        visible_pixels=entry["visible_pixels"],
        keypoints={name: tuple(point) for name, point in entry["keypoints"].items()},
    )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _open_chunk(folder: Path, width: int, height: int) -> _Chunk:
    """Open one chunk; its arrays are read when a frame is.

    Raises:
        ConfigError: naming what is missing, damaged or of another size, and what to do.
    """
    path = folder / "objects.json"
    advice = f"delete {folder} and render it again"
    document = read_json_object(path, ConfigError, max_bytes=MAX_LIST_BYTES, advice=advice)
    first, frames = take_int(document, "first_seed"), check_list("frames", document.get("frames"))
    try:
        rgb, instances = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("rgb", "instances")
        )
    # numpy raises of its own for damaged arrays.
    except Exception as error:
        raise ConfigError(f"cannot read {folder} ({str(error)[:300]}); {advice}") from error
    wanted = (len(frames), height, width)
    for name, array, shape in (("rgb", rgb, (*wanted, 3)), ("instances", instances, wanted)):
        if array.shape != shape or array.dtype != np.uint8:
            raise ConfigError(
                f"{folder / name}.npy has {array.shape} {array.dtype}, expected {shape} uint8; "
                f"{advice}"
            )
    return _Chunk(range(first, first + len(frames)), rgb, instances, frames)
