"""Which processors multiply bytes, by what Linux says of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vl2_ros.runtime.processor import multiplies_bytes


@pytest.mark.skipif(sys.platform == "darwin", reason="no /proc there")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n", True),
        ("flags : fpu avx_vnni\n", True),
        ("flags\t\t: fpu sse2 avx2 fma\n", False),
        ("Features\t: fp asimd asimddp crc32\n", True),
        ("Features\t: fp asimd crc32\n", False),
        # A processor with cores of two kinds, one of which has no such unit.
        ("Features\t: asimd asimddp\n\nFeatures\t: asimd\n", False),
        ("flags : notavx_vnni\n", False),
        ("model name : avx_vnni\n", False),
        ("", False),
    ],
)
def test_units_are_read_from_the_flags_of_every_core(tmp_path: Path, text: str, expected: bool):
    (tmp_path / "cpuinfo").write_text(text)
    assert multiplies_bytes(tmp_path / "cpuinfo") is expected


@pytest.mark.skipif(sys.platform == "darwin", reason="no /proc there")
def test_an_unknown_processor_has_none(tmp_path: Path):
    assert not multiplies_bytes(tmp_path / "missing")
