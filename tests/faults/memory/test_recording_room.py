"""A recording takes no more memory or disk than its size allows; with lowered limits."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import zstandard

from tests.recordings.test_bag import CAMERA, make_frames
from vl2_ros.errors import TransportError
from vl2_ros.recordings import mcap_storage, recording_files
from vl2_ros.recordings.bag import read_frames, write_camera_bag


def test_a_chunk_that_declares_too_much_for_its_file_is_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "camera.mcap"
    write_camera_bag(path, [(one, CAMERA) for one in make_frames()], compressed=False)
    assert len(list(read_frames(path))) == 3
    monkeypatch.setattr(mcap_storage, "FREE_CHUNK_BYTES", 100)
    monkeypatch.setattr(mcap_storage, "_CHUNK_SHARE", 0.0)
    monkeypatch.setattr(mcap_storage, "_decompress", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(TransportError, match="declares [0-9]+ bytes, expected 100 at most"):
        list(read_frames(path))


def test_a_file_that_is_unpacked_stays_below_the_room_on_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "camera.mcap"
    write_camera_bag(path, [(one, CAMERA) for one in make_frames()], compressed=False)
    packed = tmp_path / "camera.mcap.zstd"
    packed.write_bytes(zstandard.compress(path.read_bytes()))
    path.unlink()
    assert len(list(read_frames(packed))) == 3
    usage = SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=1000))
    monkeypatch.setattr(recording_files, "shutil", usage)
    with pytest.raises(TransportError, match="more than 1000 bytes .* TMPDIR"):
        list(read_frames(packed))
    assert shutil.disk_usage(tmp_path).free > 1000
