from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import make_once
from vl2_ros.export.engine_folder import PlainRequest, export_engines
from vl2_ros.loading import EMBEDDED_WEIGHTS


@pytest.fixture(scope="session")
def find_embedded(run_dir: Path) -> Callable[[str], Path]:
    """The folder of the embedded model's graphs at a precision; exported once in a run."""

    @cache
    def find(precision: str) -> Path:
        if precision == "float32":
            return EMBEDDED_WEIGHTS
        graphs = ("vision_encoder", "language_model", "detection_decoder")
        requests = {name: PlainRequest(precision) for name in graphs}
        return make_once(
            run_dir / "exports" / f"embedded_{precision}",
            lambda folder: export_engines(EMBEDDED_WEIGHTS, folder, requests, is_compact=False),
        )

    return find


@pytest.fixture(scope="session")
def find_release(run_dir: Path, golden_dir: Path) -> Callable[[str, str], Path]:
    """The folder of some graphs of the tiny release at a precision; exported once in a run."""

    @cache
    def find(precision: str, part: str) -> Path:
        graphs = ("vision_encoder", "region_encoder", "language_model")
        requests = {
            name: PlainRequest(precision) for name in (graphs if part == "language" else (part,))
        }
        return make_once(
            run_dir / "exports" / f"release_{part}_{precision}",
            lambda folder: export_engines(
                golden_dir / "release_tiny" / "safetensors",
                folder,
                requests,
                decoder_hw=(64, 96),
                is_compact=False,
            ),
        )

    return find
