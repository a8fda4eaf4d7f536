from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.recordings.recordings import (
    add_to_database,
    assert_same,
    make_frames,
    record_old_database,
)
from vl2_ros.errors import TransportError
from vl2_ros.recordings import sqlite_storage
from vl2_ros.recordings.bag import count_images, read_frames

FRAMES = make_frames(4)


@pytest.fixture
def logged(tmp_path) -> Path:
    """A recording with two images in the file and two in its write-ahead log, as when killed."""
    path = record_old_database(tmp_path / "live.db3", FRAMES[:2])
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = wal")
    add_to_database(database, FRAMES[2:])
    killed = tmp_path / "killed"
    killed.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", killed / f"drive.db3{end}")
    database.close()
    return killed / "drive.db3"


def test_images_in_the_write_ahead_log_are_read(logged):
    content = logged.read_bytes()
    assert count_images(logged) == 4
    assert_same(FRAMES, read_frames(logged))
    assert logged.read_bytes() == content


def test_log_of_a_recorder_that_still_runs_is_read(tmp_path):
    path = record_old_database(tmp_path / "live.db3", FRAMES[:2])
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = wal")
    add_to_database(database, FRAMES[2:3])
    assert_same(FRAMES[:3], read_frames(path))
    add_to_database(database, FRAMES[3:])
    assert_same(FRAMES, read_frames(path))
    database.close()


def test_log_is_read_where_nothing_may_be_written_beside_it(logged, monkeypatch):
    """SQLite cannot open such a database in a folder of others; a copy of it can be opened."""
    connect = sqlite_storage._open

    def refuse(path, mode):
        return connect(path.with_name("none.db3") if path == logged else path, mode)

    monkeypatch.setattr(sqlite_storage, "_open", refuse)
    assert_same(FRAMES, read_frames(logged))
    assert sorted(os.listdir(logged.parent)) == ["drive.db3", "drive.db3-wal"]


def test_change_that_was_not_finished_is_undone_in_a_copy(tmp_path):
    """A hot rollback journal: the recorder was killed while it wrote to the file itself."""
    path = record_old_database(tmp_path / "live.db3", FRAMES[:3])
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA cache_size = 1")
    database.execute("PRAGMA cache_spill = 1")
    database.execute("BEGIN")
    database.execute("UPDATE messages SET data = zeroblob(20000)")
    killed = tmp_path / "killed"
    killed.mkdir()
    for end in ("", "-journal"):
        shutil.copy(f"{path}{end}", killed / f"drive.db3{end}")
    database.close()
    assert (killed / "drive.db3").read_bytes() != path.read_bytes()
    assert_same(FRAMES[:3], read_frames(killed / "drive.db3"))
    assert sorted(os.listdir(killed)) == ["drive.db3", "drive.db3-journal"]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_database_that_was_cut_short_is_refused_not_read_as_black_images(tmp_path, share):
    path = record_old_database(tmp_path / "drive.db3", FRAMES)
    size = path.stat().st_size
    os.truncate(path, int(size * share))
    with pytest.raises(TransportError, match=rf"has {int(size * share)} of {size} bytes"):
        list(read_frames(path))


def test_images_are_read_in_the_order_of_time_and_of_one_time_as_written(tmp_path):
    path = record_old_database(tmp_path / "drive.db3", [FRAMES[index] for index in (2, 0, 3, 1)])
    assert_same(FRAMES, read_frames(path))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE messages SET timestamp = 7")
    assert_same([FRAMES[index] for index in (2, 0, 3, 1)], read_frames(path))


def test_image_topic_with_an_odd_neighbour_is_read(tmp_path):
    path = record_old_database(tmp_path / "drive.db3", FRAMES)
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO topics VALUES (2, '/odd', 'a/srv/B_Event', 'protobuf', '{')")
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (2, 0, 'x')")
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (9, 0, 'x')")
    assert_same(FRAMES, read_frames(path))
