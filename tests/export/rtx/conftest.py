from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import make_once
from vl2_ros.export.engine_folder import PlainRequest, export_engines
from vl2_ros.loading import EMBEDDED_WEIGHTS


@pytest.fixture(scope="session")
def find_embedded(run_dir: Path) -> Callable[[str, str], Path]:
    """A graph of the embedded model; float32 is shipped, float16 is exported once in a run."""

    @cache
    def find(name: str, precision: str) -> Path:
        if precision == "float32":
            return EMBEDDED_WEIGHTS / f"{name}.onnx"
        requests = {name: PlainRequest(precision)}
        folder = make_once(
            run_dir / "exports" / f"embedded_{name}_{precision}",
            lambda folder: export_engines(EMBEDDED_WEIGHTS, folder, requests, is_compact=False),
        )
        return folder / f"{name}.onnx"

    return find


@pytest.fixture(scope="session")
def find_release(run_dir: Path, golden_dir: Path) -> Callable[[str, str], Path]:
    """A graph of the tiny release at a precision; exported once in a run."""

    @cache
    def find(name: str, precision: str) -> Path:
        requests = {name: PlainRequest(precision)}
        folder = make_once(
            run_dir / "exports" / f"release_{name}_{precision}",
            lambda folder: export_engines(
                golden_dir / "release_tiny" / "safetensors",
                folder,
                requests,
                decoder_hw=(64, 96),
                is_compact=False,
            ),
        )
        return folder / f"{name}.onnx"

    return find
