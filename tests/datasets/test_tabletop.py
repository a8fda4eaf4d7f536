from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")

from vl2_ros.datasets.tabletop import TabletopCache, render_cache
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.sim.tabletop import TabletopSimulator

SIZE = {"width": 160, "height": 120}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, int]]]:
    folder = tmp_path_factory.mktemp("cache")
    calls: list[tuple[int, int]] = []
    render_cache(
        folder,
        range(20, 25),
        **SIZE,
        processes=2,
        chunk_frames=2,
        progress=lambda done, total: calls.append((done, total)),
    )
    return folder, calls


@pytest.fixture
def folder(rendered: tuple[Path, list[tuple[int, int]]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(rendered[0], tmp_path / "cache"))


def test_cache_returns_what_was_rendered(folder: Path) -> None:
    cache = TabletopCache(folder)
    assert len(cache) == 5 and (cache.width, cache.height) == (160, 120)
    with TabletopSimulator(**SIZE) as simulator:
        for record in cache:
            frame = simulator.render(record.seed)
            np.testing.assert_array_equal(record.rgb, frame.rgb)
            np.testing.assert_array_equal(record.instance_map, frame.instance_map)
            assert len(record.objects) == len(frame.objects)
            for cached, item in zip(record.objects, frame.objects, strict=True):
                assert (cached.kind, cached.color) == (item.kind, item.color)
                assert cached.box_xyxy == item.box_xyxy
                assert cached.visible_pixels == item.visible_pixels
                assert set(cached.keypoints) == set(item.keypoints)
                for name, point in cached.keypoints.items():
                    assert point == pytest.approx(item.keypoints[name], abs=0.006)
    assert [record.seed for record in cache] == [20, 21, 22, 23, 24]


def test_progress_ends_at_all_frames(rendered: tuple[Path, list[tuple[int, int]]]) -> None:
    calls = rendered[1]
    assert len(calls) == 3
    assert calls[-1] == (5, 5)


def test_finished_chunks_are_not_rendered_again(folder: Path) -> None:
    kept = folder / "seeds_00000020_00000022" / "rgb.npy"
    before = kept.stat().st_mtime_ns
    shutil.rmtree(folder / "seeds_00000022_00000024")
    (folder / "partial_seeds_00000022_00000024_1").mkdir()
    calls: list[tuple[int, int]] = []
    render_cache(
        folder,
        range(20, 25),
        **SIZE,
        processes=1,
        chunk_frames=2,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(5, 5)]
    assert kept.stat().st_mtime_ns == before
    assert not list(folder.glob("partial_*"))
    assert len(TabletopCache(folder)) == 5


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def save_other(path: Path) -> None:
    np.save(path, np.zeros((2, 8, 8), np.uint16))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("rgb.npy", cut),
        ("instances.npy", lambda path: path.write_bytes(b"")),
        ("instances.npy", save_other),
        ("rgb.npy", Path.unlink),
        ("objects.json", cut),
        ("objects.json", lambda path: path.write_text('{"first_seed": 24, "frames": []}')),
    ],
    ids=["cut array", "empty array", "other array", "no array", "cut labels", "other labels"],
)
def test_a_damaged_chunk_is_named_by_the_reader_and_rendered_again(
    folder: Path, name: str, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    chunk = folder / "seeds_00000022_00000024"
    good = {path.name: path.read_bytes() for path in chunk.iterdir()}
    damage(chunk / name)
    with pytest.raises(ConfigError, match=f"{chunk.name}.*delete .* and render it again"):
        TabletopCache(folder)
    calls: list[tuple[int, int]] = []
    render_cache(
        folder,
        range(20, 25),
        **SIZE,
        processes=1,
        chunk_frames=2,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(5, 5)]
    assert "rendering again" in caplog.text and chunk.name in caplog.text
    assert {path.name: path.read_bytes() for path in chunk.iterdir()} == good
    assert len(TabletopCache(folder)) == 5


def test_reader_sees_finished_chunks_only_and_refreshes(folder: Path, tmp_path: Path) -> None:
    later = folder / "seeds_00000020_00000022"
    later.rename(tmp_path / "aside")
    (folder / "partial_seeds_00000020_00000022_1").mkdir()
    cache = TabletopCache(folder)
    assert [record.seed for record in cache] == [22, 23, 24]
    (tmp_path / "aside").rename(later)
    assert cache.refresh() == 5
    assert cache[0].seed == 20 and cache[-1].seed == 24


def test_cached_arrays_are_read_only(folder: Path) -> None:
    record = TabletopCache(folder)[0]
    with pytest.raises(ValueError, match="read-only"):
        record.rgb[0, 0] = 0


def test_other_size_in_the_same_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="choose another folder"):
        render_cache(folder, range(20, 25), width=64, height=48, chunk_frames=2)


def test_folder_without_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="render_cache"):
        TabletopCache(tmp_path)


@pytest.mark.parametrize("seeds", [range(0), range(0, 8, 2), range(-3, 3)])
def test_unusable_seed_range_is_refused(tmp_path: Path, seeds: range) -> None:
    with pytest.raises(InputError, match="range"):
        render_cache(tmp_path / "cache", seeds)
