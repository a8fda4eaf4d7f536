from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def eval_reference() -> Path:
    """Annotations and results with published numbers; they are not part of the repository."""
    folder = SHARED / "eval_reference"
    if not folder.is_dir():
        pytest.skip(f"data that is not part of the repository: {folder.name}")
    return folder
