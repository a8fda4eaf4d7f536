from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
GOLDEN_TEST = "tests/processing/language/test_tokenizer.py"


def run_golden_test(golden: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "golden", GOLDEN_TEST],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "VL2_GOLDEN": str(golden)},
    )


def test_missing_reference_vectors_fail_instead_of_being_skipped(tmp_path):
    done = run_golden_test(tmp_path / "none")
    assert done.returncode == 1
    assert "not a folder" in done.stdout and " passed" not in done.stdout


def test_an_empty_folder_of_reference_vectors_fails_too(tmp_path):
    done = run_golden_test(tmp_path)
    assert done.returncode == 1 and "skipped" not in done.stdout


def test_the_small_copy_runs_and_names_what_it_leaves_out():
    done = run_golden_test(REPOSITORY / "tests" / "golden")
    assert done.returncode == 0
    assert "did not run" in done.stdout and "leaves out release_tiny/chat.json" in done.stdout


@pytest.mark.parametrize(
    "target", ["demo", "test", "slow", "quick", "check", "screenshot", "train"]
)
def test_make_knows_what_to_do(target, tmp_path):
    if shutil.which("make") is None:
        pytest.fail("expected make on the machine that runs the tests")
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    for name in ("setup.py", "constraints.txt", "speech_weights.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    done = subprocess.run(["make", "-n", target], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if target == "demo":
        assert "--editable '.[dds,view]'" in done.stdout and "torch" not in done.stdout
    else:
        assert done.stdout.index("constraints.txt torch\n") < done.stdout.index("--editable")
