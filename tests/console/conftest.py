"""What the tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recordings.recordings import record_camera


@pytest.fixture
def bag(tmp_path) -> Path:
    record_camera(tmp_path / "camera.mcap", 4, compressed=True)
    return tmp_path / "camera.mcap"
