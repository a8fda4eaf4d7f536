from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

from vl2_ros.datasets.reading.tar_shards import write_shards
from vl2_ros.datasets.samples import Group
from vl2_ros.datasets.sources.simulator import encode_scenes
from vl2_ros.datasets.sources.source_table import guess_kind, open_source
from vl2_ros.datasets.tabletop import render_cache
from vl2_ros.errors import SimulationError

SIZE = {"width": 160, "height": 120}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    render_cache(folder / "cache", range(3), processes=1, **SIZE)
    write_shards(folder / "shards", encode_scenes(range(3), **SIZE), per_shard=2)
    return folder


@pytest.mark.parametrize("task", ["perception", "class_lists", "text"])
def test_rendered_cached_and_stored_scenes_give_the_same_samples(folders, task):
    settings = {"kind": "simulator", "task": task}
    sources = [
        open_source(settings | {"seeds": [0, 3]} | SIZE, folders),
        open_source(settings | {"path": "cache"}, folders),
        open_source(settings | {"path": "shards"}, folders),
    ]
    assert [len(source) for source in sources] == [3, 3, 3]
    for index in range(3):
        first, *others = [one.sample(index, np.random.default_rng(index)) for one in sources]
        assert first.group is (Group.TEXT if task == "text" else Group.DETECTION)
        for other in others:
            assert other.rounds == first.rounds
            assert (other.images[0].rgb == first.images[0].rgb).all()
            if task != "text":
                assert (other.targets.boxes_xyxy == first.targets.boxes_xyxy).all()
                assert (other.targets.class_index == first.targets.class_index).all()
                assert (other.targets.masks == first.targets.masks).all()


def test_masks_lie_in_their_boxes(folders):
    source = open_source({"kind": "simulator", "task": "class_lists", "path": "shards"}, folders)
    targets = source.sample(0, np.random.default_rng(0)).targets
    assert len(targets.masks)
    for mask, (x1, y1, x2, y2) in zip(targets.masks, targets.boxes_xyxy.astype(int), strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (x1, y1, x2, y2)


def test_the_kind_is_guessed(folders):
    for path in ("cache", "shards", "shards/shard-000000.tar"):
        assert guess_kind(folders / path) == "simulator"


def test_a_damaged_scene_is_replaced(folders, tmp_path):
    records = list(encode_scenes(range(2), **SIZE))
    for part, content in (
        ("rgb.png", b"none"),
        ("instances.png", records[0][1]["rgb.png"]),
        ("objects.json", b"[]"),
        ("objects.json", b'[{"kind": "mug"}]'),
    ):
        damaged = [("00000000", records[0][1] | {part: content}), records[1]]
        write_shards(tmp_path, damaged)
        source = open_source({"kind": "simulator", "path": str(tmp_path)}, tmp_path)
        assert source.sample(0, np.random.default_rng(0)).key == "00000001"
        assert [one.reason for one in source.report.losses] == ["scene damaged"]


def draw_answer(source, queue) -> None:
    try:
        queue.put(str(source.sample(1, np.random.default_rng(1)).rounds))
    except SimulationError as error:
        queue.put(str(error))


@pytest.mark.parametrize(("method", "works"), [("fork", False), ("spawn", True)])
def test_a_worker_renders_by_itself_or_says_that_it_cannot(folders, method, works):
    source = open_source({"kind": "simulator", "seeds": [0, 3]} | SIZE, folders)
    expected = str(source.sample(1, np.random.default_rng(1)).rounds)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=draw_answer, args=(source, queue), daemon=True)
    process.start()
    answer = queue.get(timeout=100)
    process.join()
    assert answer == expected if works else "start the workers by spawn" in answer
